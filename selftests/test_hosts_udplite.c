// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP-Lite between hosts, over a good path: transfers, what the router sees of
 * them, which transport two policies come to, and what is left after the end.
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 8200
#define KB   1000L
#define MB   1000000L

FIXTURE(udplite)
{
	struct lab lab;
};

FIXTURE_VARIANT(udplite)
{
	const char *ingress;
	int domain;
	const char *coverage;
};

#define VARIANT(name, ingress_, domain_, coverage_)                           \
	FIXTURE_VARIANT_ADD(udplite, name)                                    \
	{                                                                     \
		.ingress = ingress_, .domain = domain_, .coverage = coverage_ \
	}

VARIANT(xdp_ipv4_full, "xdp", AF_INET, "full");
VARIANT(xdp_ipv6_full, "xdp", AF_INET6, "full");
VARIANT(tc_ipv4_full, "tc", AF_INET, "full");
VARIANT(tc_ipv6_full, "tc", AF_INET6, "full");
VARIANT(xdp_ipv4_headers, "xdp", AF_INET, "headers");
VARIANT(xdp_ipv6_headers, "xdp", AF_INET6, "headers");
VARIANT(tc_ipv4_headers, "tc", AF_INET, "headers");
VARIANT(tc_ipv6_headers, "tc", AF_INET6, "headers");

FIXTURE_SETUP(udplite)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL,
				 "--strict --ingress %s --default udplite,udp "
				 "--coverage %s",
				 variant->ingress, variant->coverage));
}

FIXTURE_TEARDOWN(udplite)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* UDP-Lite packets of more than 1500 bytes at the router, from now on. */
static int watch_mtu(struct lab *lab)
{
	return lab_run(lab, ROUTER,
		       "nft add table inet mtu && nft delete table inet mtu &&"
		       " nft add table inet mtu &&"
		       " nft add counter inet mtu big &&"
		       " nft 'add chain inet mtu seen"
		       " { type filter hook forward priority 200; }' &&"
		       " nft add rule inet mtu seen meta l4proto udplite"
		       " meta length '>' 1500 counter name big");
}

static long above_mtu(struct lab *lab)
{
	char *text = lab_output(lab, ROUTER,
				"nft list counter inet mtu big |"
				" awk '$1 == \"packets\" { print $2 }'");
	long n = text && *text ? atol(text) : -1;

	free(text);
	return n;
}

/* A connection, on UDP-Lite both ways. */
static void open_on(struct __test_metadata *_metadata, struct lab *lab,
		    struct lab_pair *p, int domain, int port,
		    const char *coverage)
{
	ASSERT_EQ(0, lab_pair(lab, p, domain, port));
	ASSERT_EQ(0, stream_through(p->c, p->s, 1, 10));
	ASSERT_EQ(0, stream_through(p->s, p->c, 2, 10));
	ASSERT_TRUE(lab_flow_on(lab, CLIENT, p->c, "udplite", coverage));
	ASSERT_TRUE(lab_flow_on(lab, SERVER, p->s, "udplite", coverage));
}

/* One way, the other way, and both at once. */
TEST_F_TIMEOUT(udplite, bulk, 60)
{
	const long one_way = size_here(26 * MB, 2 * MB);
	const long at_once = size_here(5 * MB, 1 * MB);
	struct stream tx = {.send = true, .seed = 7, .to = at_once};
	struct stream rx = {.seed = 7, .to = at_once};
	struct lab *lab = &self->lab;
	struct lab_count n;
	struct lab_pair p;

	ASSERT_EQ(0, watch_mtu(lab));
	open_on(_metadata, lab, &p, variant->domain, PORT, variant->coverage);
	ASSERT_EQ(0, lab_count(lab, &n));
	EXPECT_EQ(0, stream_through(p.c, p.s, 3, one_way));
	EXPECT_EQ(0, stream_through(p.s, p.c, 4, one_way));
	ASSERT_EQ(0, lab_count(lab, &n));
	for (int dir = 0; dir < 2; dir++) {
		EXPECT_LE(one_way, n.udplite[dir].bytes);
		EXPECT_GE(260 * KB, n.tcp[dir].bytes);
		EXPECT_EQ(0, n.udp[dir].packets);
		/* One frame each: nobody can segment them on the way. */
		EXPECT_LE(one_way / 1452, n.udplite[dir].packets);
	}
	tx.fd = p.c;
	rx.fd = p.s;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_start(&rx));
	EXPECT_EQ(0, stream_through(p.s, p.c, 9, at_once));
	EXPECT_EQ(0, stream_join(&tx));
	EXPECT_EQ(0, stream_join(&rx));
	ASSERT_EQ(0, lab_count(lab, &n));
	EXPECT_LE(at_once, n.udplite[TO_SERVER].bytes);
	EXPECT_LE(at_once, n.udplite[TO_CLIENT].bytes);
	EXPECT_EQ(0, above_mtu(lab));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "encap_no_hop"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "encap_no_hop"));
	lab_pair_close(&p);
}

/* With the path proved, TCP is on the wire for the handshake alone. Messages
 * of any size, so that some go through the segmentation hop and some do not. */
TEST_F_TIMEOUT(udplite, only_the_handshake_is_tcp, 60)
{
	struct lab *lab = &self->lab;
	struct lab_count n;
	struct lab_pair p;

	open_on(_metadata, lab, &p, variant->domain, PORT, variant->coverage);
	lab_pair_close(&p);
	ASSERT_EQ(0, lab_count(lab, &n));
	ASSERT_EQ(0, lab_pair(lab, &p, variant->domain, PORT + 1));
	for (int i = 0; i < 60; i++) {
		ASSERT_EQ(0, stream_through(p.c, p.s, i, 1 + i * i * 7));
		ASSERT_EQ(0, stream_through(p.s, p.c, i, 1 + i * i * 11));
	}
	shutdown(p.c, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p.s));
	shutdown(p.s, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p.c));
	lab_pair_close(&p);
	ASSERT_EQ(0, lab_count(lab, &n));
	for (int dir = 0; dir < 2; dir++) {
		EXPECT_LE(1, n.tcp[dir].packets);
		EXPECT_GE(4, n.tcp[dir].packets); /* one may come twice */
		EXPECT_LE(400 * KB, n.udplite[dir].bytes);
	}
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "decap_failed"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "decap_failed"));
}

/* ---- two policies ---- */

FIXTURE(agree)
{
	struct lab lab;
	int listener;
};

FIXTURE_SETUP(agree)
{
	ASSERT_EQ(0, lab_up(&self->lab, NULL));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(agree)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static const struct {
	const char *client, *server, *transport; /* NULL: TCP */
} policies[] = {
	{"udplite,udp", "udp", "udp"},
	{"udplite,udp", "udp,udplite", "udplite"},
	{"udp", "udplite,udp", "udp"},
	{"udplite", "udp", NULL},
	{"udplite,tcp", "udplite", "udplite"},
	{"udplite", "tcp", NULL},
};

TEST_F_TIMEOUT(agree, on_the_first_of_the_client_that_the_server_has, 60)
{
	struct lab *lab = &self->lab;
	struct lab_count n;
	struct lab_pair p;

	ASSERT_EQ(0, lab_shunt_both(lab, "%s", ""));
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		const char *t = policies[i].transport;

		ASSERT_EQ(0, lab_shunt(lab, CLIENT,
				       "policy add --at 1 --transport %s",
				       policies[i].client));
		ASSERT_EQ(0, lab_shunt(lab, SERVER,
				       "policy add --at 1 --transport %s",
				       policies[i].server));
		ASSERT_EQ(0, lab_count(lab, &n));
		ASSERT_EQ(0, lab_pair_on(lab, &p, i & 1 ? AF_INET6 : AF_INET,
					 self->listener));
		ASSERT_EQ(0, stream_through(p.c, p.s, 1, 10));
		if (t) {
			ASSERT_TRUE(lab_flow_on(lab, CLIENT, p.c, t, "full"));
			ASSERT_TRUE(lab_flow_on(lab, SERVER, p.s, t, "full"));
		}
		ASSERT_EQ(0, stream_through(p.c, p.s, 2, 300 * KB));
		ASSERT_EQ(0, stream_through(p.s, p.c, 3, 300 * KB));
		ASSERT_EQ(0, lab_count(lab, &n));
		for (int d = 0; d < 2; d++)
			EXPECT_LE(300 * KB, (!t		   ? n.tcp[d].bytes
					     : t[3] == 'l' ? n.udplite[d].bytes
							   : n.udp[d].bytes))
			{
				TH_LOG("%s and %s", policies[i].client,
				       policies[i].server);
			}
		lab_pair_close(&p);
		ASSERT_EQ(0, lab_shunt(lab, CLIENT, "policy del 1"));
		ASSERT_EQ(0, lab_shunt(lab, SERVER, "policy del 1"));
	}
}

/* A network that knows UDP, and not UDP-Lite, as many do. */
TEST_F_TIMEOUT(agree, protocol_136_blocked, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p, q;
	struct lab_count n;
	bool given_up = false;
	uint64_t begin, end;

	ASSERT_EQ(0, lab_shunt_both(lab, "--default udplite,udp"));
	ASSERT_EQ(0, lab_do(lab, "block", "udplite both"));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, MB));
	ASSERT_EQ(0, stream_through(p.s, p.c, 2, MB));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_redirected"));
	begin = now_us();
	end = begin + LAB_TIMEOUT * 500000ULL;
	while (!given_up && now_us() < end) {
		ASSERT_EQ(0, stream_through(p.c, p.s, 3, 1000));
		ASSERT_EQ(0, stream_through(p.s, p.c, 4, 1000));
		given_up = lab_flows(lab, CLIENT, "tcp") == 1;
		wait_since(begin);
	}
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", "no-echo"));

	/* What is blocked is offered last. */
	ASSERT_EQ(0, lab_count(lab, &n));
	ASSERT_EQ(0, lab_pair_on(lab, &q, AF_INET, self->listener));
	ASSERT_EQ(0, stream_through(q.c, q.s, 5, 10));
	EXPECT_TRUE(lab_flow_on(lab, CLIENT, q.c, "udp", "full"));
	EXPECT_TRUE(lab_flow_on(lab, SERVER, q.s, "udp", "full"));
	ASSERT_EQ(0, stream_through(q.c, q.s, 6, MB));
	ASSERT_EQ(0, stream_through(q.s, q.c, 7, MB));
	ASSERT_EQ(0, lab_count(lab, &n));
	EXPECT_LE(MB, n.udp[TO_SERVER].bytes);
	EXPECT_LE(MB, n.udp[TO_CLIENT].bytes);
	lab_pair_close(&p);
	lab_pair_close(&q);
}

/* ---- the hop ---- */

static long hop_devices(struct lab *lab, enum lab_host host)
{
	char *text =
		lab_output(lab, host, "ip -o link | grep -c ': shunt' || :");
	long n = text && *text ? atol(text) : -1;

	free(text);
	return n;
}

TEST_F(agree, hop_is_there_while_it_is_needed)
{
	struct lab *lab = &self->lab;

	/* The kernel can segment below UDP. */
	ASSERT_EQ(0, lab_shunt_up(lab, CLIENT, "--default udp"));
	EXPECT_EQ(0, hop_devices(lab, CLIENT));
	ASSERT_EQ(0, lab_shunt_down(lab, CLIENT));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0,
			  lab_shunt_up(lab, CLIENT, "--default udp,udplite"));
		EXPECT_LE(2, hop_devices(lab, CLIENT));
		/* It is not seen by anybody else: no address, no route. */
		EXPECT_EQ(0, lab_run(lab, CLIENT,
				     "! ip addr show | grep -A4 ': shunt' |"
				     " grep inet && ! ip route | grep shunt"));
		ASSERT_EQ(0, lab_shunt_down(lab, CLIENT));
		EXPECT_EQ(0, hop_devices(lab, CLIENT));
	}
}

LAB_HARNESS_MAIN
