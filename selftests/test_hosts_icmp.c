// SPDX-License-Identifier: GPL-2.0-only
/*
 * A router that says what is wrong: datagrams refused, datagrams too big. The
 * flow acts on it before any timer of TCP's, and nothing is lost.
 */
#include "harness.h"
#include "lab_proc.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 7960
#define KB   1000L
#define MB   1000000L

FIXTURE(icmp)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(icmp)
{
	const char *ingress;
	int domain;
};

FIXTURE_VARIANT_ADD(icmp, xdp_ipv4){.ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(icmp, xdp_ipv6){.ingress = "xdp", .domain = AF_INET6};

FIXTURE_VARIANT_ADD(icmp, tc_ipv4){.ingress = "tc", .domain = AF_INET};

FIXTURE_VARIANT_ADD(icmp, tc_ipv6){.ingress = "tc", .domain = AF_INET6};

FIXTURE_SETUP(icmp)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(icmp)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* A connection that is on UDP, both ways. */
static int redirected(struct lab *lab, int domain, int listener,
		      struct lab_pair *p)
{
	if (lab_pair_on(lab, p, domain, listener) ||
	    stream_through(p->c, p->s, 1, 20 * KB) ||
	    stream_through(p->s, p->c, 2, 20 * KB))
		return -1;
	return lab_flow(lab, CLIENT, p->c, "redirected", NULL) &&
			       lab_flow(lab, SERVER, p->s, "redirected", NULL)
		       ? 0
		       : -1;
}

static int refuse_udp(struct lab *lab)
{
	return lab_run(lab, ROUTER,
		       "nft add rule inet lab block meta l4proto udp "
		       "reject with icmpx admin-prohibited");
}

/* Both ends hear it, each about its own datagrams. */
TEST_F(icmp, refused_in_a_transfer)
{
	struct lab *lab = &self->lab;
	const long size = size_here(26 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 3, .to = size};
	struct stream rx = {.seed = 3, .to = size / 3};
	struct lab_count count;
	struct lab_pair p, q;

	ASSERT_EQ(0, redirected(lab, variant->domain, self->listener, &p));
	tx.fd = p.c;
	rx.fd = p.s;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	ASSERT_EQ(0, refuse_udp(lab));
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	EXPECT_EQ(0, stream_through(p.s, p.c, 4, MB));
	EXPECT_LT(0, lab_stat(lab, CLIENT, "icmp_unreachable"));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "fallback", "unreachable"));
	/* One at the start, and two that were refused, too: no waiting. A busy
	 * guest sends some before the first refusal is back. */
	EXPECT_GE(size_here(3, 8), lab_stat(lab, CLIENT, "probes_sent"));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(p.c, p.s, 5, MB));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LE(MB, count.tcp[TO_SERVER].bytes);

	/* It was said, not guessed, so there is no time of waiting. */
	ASSERT_EQ(0, lab_do(lab, "block", "none"));
	EXPECT_EQ(0, redirected(lab, variant->domain, self->listener, &q));
	lab_pair_close(&q);
	lab_pair_close(&p);
}

/* The peer's shunt has gone: its kernel says that nobody listens there. Not
 * with IPv6, where it drops datagrams without checksum in silence: then TCP's
 * timers have to find out. */
TEST_F(icmp, peer_goes_down)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	ASSERT_EQ(0, redirected(lab, variant->domain, self->listener, &p));
	ASSERT_EQ(0, lab_shunt_down(lab, SERVER));
	EXPECT_EQ(0, stream_through(p.c, p.s, 5, MB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 6, MB));
	if (variant->domain == AF_INET)
		EXPECT_TRUE(
			lab_flow(lab, CLIENT, p.c, "fallback", "unreachable"));
	EXPECT_EQ(0, lab_flows(lab, CLIENT, "redirected"));
	lab_pair_close(&p);
}

/* A path of 1500 bytes as `lab up` has made it: below 1280, Linux has taken
 * IPv6 off the device. What the client has learned goes with its routes. */
static int restore_path(struct lab *lab)
{
	return lab_run(lab, ROUTER,
		       "ip link set rs mtu 1500 && "
		       "ip -6 addr replace fd77:2::1/64 dev rs nodad")
		       ?: lab_run(lab, CLIENT,
				  "ip route del default && ip -6 route del "
				  "::/0 && "
				  "ip route add default via 10.77.1.1 congctl "
				  "cubic && "
				  "ip -6 route add ::/0 via fd77:1::1 congctl "
				  "cubic");
}

/* The path shrinks: TCP is told what is left for it, and the flow stays. */
TEST_F(icmp, path_shrinks_in_a_transfer)
{
	struct lab *lab = &self->lab;
	const long size = size_here(26 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 6, .to = size};
	struct stream rx = {.seed = 6, .to = size / 3};
	struct lab_count count;
	struct lab_pair p;

	ASSERT_EQ(0, redirected(lab, variant->domain, self->listener, &p));
	tx.fd = p.c;
	rx.fd = p.s;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	ASSERT_EQ(0, lab_run(lab, ROUTER, "ip link set rs mtu 1400"));
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	EXPECT_LT(0, lab_stat(lab, CLIENT, "icmp_too_big"));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_fallback"));
	/* What the route knows now is what an inner packet can be. */
	EXPECT_EQ(0, lab_run(lab, CLIENT, "ip route get %s | grep -q 'mtu %d'",
			     variant->domain == AF_INET ? "10.77.2.2"
							: "fd77:2::2",
			     variant->domain == AF_INET ? 1372 : 1352));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(p.c, p.s, 7, MB));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LE(MB, count.udp[TO_SERVER].bytes);
	lab_pair_close(&p);
	ASSERT_EQ(0, restore_path(lab));
}

/* … to what TCP can live with, and the outer headers can't: IPv6's least MTU,
 * and an IPv4 path of less than the kernel takes for one. */
TEST_F(icmp, path_without_room)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	long before;

	ASSERT_EQ(0, redirected(lab, variant->domain, self->listener, &p));
	ASSERT_EQ(0, lab_run(lab, ROUTER, "ip link set rs mtu %d",
			     variant->domain == AF_INET ? 560 : 1280));
	before = lab_counter(lab, CLIENT, "TcpRetransSegs");
	EXPECT_EQ(0, stream_through(p.c, p.s, 8, 500 * KB));
	EXPECT_LE(before, lab_counter(lab, CLIENT, "TcpRetransSegs"));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "fallback", "mtu"));
	lab_pair_close(&p);
	ASSERT_EQ(0, restore_path(lab));
}

/* ---- by hand ---- */

static int peers_known(struct lab *lab)
{
	json_t *peers = lab_json(lab, CLIENT, "peers");
	int n = peers ? (int)json_array_size(peers) : -1;

	json_decref(peers);
	return n;
}

TEST_F(icmp, sent_back_by_hand)
{
	struct lab *lab = &self->lab;
	struct lab_count count;
	struct lab_pair p, q;
	char end[32];

	ASSERT_EQ(0, redirected(lab, variant->domain, self->listener, &p));
	ASSERT_EQ(0, redirected(lab, variant->domain, self->listener, &q));
	snprintf(end, sizeof(end), "%s",
		 variant->domain == AF_INET ? "10.77.2.2" : "fd77:2::2");
	EXPECT_EQ(1, lab_shunt(lab, CLIENT,
			       "flows fallback 192.0.2.1:1 2>/dev/null"));
	ASSERT_EQ(0, lab_shunt(lab, CLIENT, "flows fallback --peer %s", end));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(p.c, p.s, 5, MB));
	EXPECT_EQ(0, stream_through(q.c, q.s, 6, MB));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LE(2 * MB, count.tcp[TO_SERVER].bytes);
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "fallback", "asked"));
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "fallback", "asked"));
	lab_pair_close(&q);
	/* New ones ask the policy as before; known paths are forgotten. */
	EXPECT_EQ(0, redirected(lab, variant->domain, self->listener, &q));
	/* What is still on its way proves the path anew. */
	EXPECT_TRUE(BECOMES(!lab_shunt(lab, CLIENT, "peers flush") &&
			    peers_known(lab) == 0));
	lab_pair_close(&q);
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
