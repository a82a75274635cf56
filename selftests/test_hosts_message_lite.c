// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path on UDP-Lite: the router, which counts what passes by
 * protocol, sees the messages' bytes in no other, and they are right, whatever
 * the network does to them.
 */
#include "harness.h"
#include "lab_message.h"
#include "lab_proc.h"

#include <stdlib.h>
#include <sys/socket.h>

#define PORT 7650
#define KB   1000L
#define MB   1000000L

FIXTURE(lite)
{
	struct lab lab;
	struct lab_pair p;
	struct shunt_proxy was[LAB_HOSTS]; /* before it is promoted */
};

FIXTURE_VARIANT(lite)
{
	const char *faults; /* of the network, once it is promoted */
	const char *ingress;
	int domain;
	bool damage;
};

FIXTURE_VARIANT_ADD(lite,
		    xdp){.faults = NULL, .ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(lite, tc_ipv6){
	.faults = NULL, .ingress = "tc", .domain = AF_INET6};

/* Those with the same ingress in a row: they share an instance. */
FIXTURE_VARIANT_ADD(lite,
		    tc_faults){.faults = "loss=3%,reorder=10%,dup=3%,seed=13",
			       .ingress = "tc",
			       .domain = AF_INET};

/* Behind the transport header. */
FIXTURE_VARIANT_ADD(lite,
		    tc_ipv6_damage){.faults = "damage=2%,damage-at=8,seed=15",
				    .ingress = "tc",
				    .domain = AF_INET6,
				    .damage = true};

FIXTURE_VARIANT_ADD(lite, xdp_damage){.faults = "damage=2%,damage-at=8,seed=14",
				      .ingress = "xdp",
				      .domain = AF_INET,
				      .damage = true};

FIXTURE_VARIANT_ADD(lite, xdp_ipv6_faults){
	.faults = "loss=3%,reorder=10%,dup=3%,seed=12",
	.ingress = "xdp",
	.domain = AF_INET6};

/* A counter of the kernel's UDP, of both families */
static long udp_errors(struct lab *lab, enum lab_host host)
{
	return lab_counter(lab, host, "UdpInCsumErrors") +
	       lab_counter(lab, host, "Udp6InCsumErrors");
}

FIXTURE_SETUP(lite)
{
	ASSERT_EQ(0,
		  lab_up_both(&self->lab, variant->faults ? "--wire ''" : NULL,
			      "--message-path --default udplite --ingress "
			      "%s",
			      variant->ingress));
	ASSERT_EQ(0, lab_ask_for_path(&self->lab, "udplite"));
	lab_proxies(&self->lab, self->was);
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, variant->domain, PORT));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->p));
	if (variant->faults)
		ASSERT_EQ(0,
			  lab_do(&self->lab, "fault", "%s", variant->faults));
}

FIXTURE_TEARDOWN(lite)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Bytes of the path both ways, and what the router saw of them. */
#define EXPECT_ON_UDPLITE(seen, sent)                                         \
	do {                                                                  \
		for (int way_ = 0; way_ < 2; way_++) {                        \
			EXPECT_LE((sent)*9 / 10, (seen).udplite[way_].bytes); \
			EXPECT_EQ(0, (seen).udp[way_].packets);               \
		}                                                             \
	} while (0)

TEST_F(lite, requests_and_responses)
{
	static const long sizes[] = {1, 1400, 1448, 1449, 16384, 200000};
	struct lab *lab = &self->lab;
	long up, down, sum = 0, most = size_here(200 * KB, 20 * KB);
	long sent = lab_stat(lab, CLIENT, "message_udplite_sent");
	long got = lab_stat(lab, SERVER, "message_udplite_received");
	long damaged = udp_errors(lab, SERVER);
	struct lab_count seen;

	EXPECT_TRUE(lab_flow_on(lab, CLIENT, self->p.c, "udplite", "full"));
	EXPECT_TRUE(lab_flow_on(lab, SERVER, self->p.s, "udplite", "full"));
	up = lab_proxy_stat(lab, CLIENT, "bytes_tx");
	down = lab_proxy_stat(lab, SERVER, "bytes_tx");
	ASSERT_EQ(0, lab_count(lab, &seen));
	for (int round = 0; round < 4; round++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			if (sizes[i] > most)
				continue;
			ASSERT_EQ(0, stream_through(self->p.c, self->p.s,
						    10 + i, sizes[i]));
			ASSERT_EQ(0, stream_through(self->p.s, self->p.c,
						    30 + i, sizes[i]));
			sum += sizes[i];
		}
	ASSERT_EQ(0, lab_count(lab, &seen));
	EXPECT_LE(sum, lab_proxy_stat(lab, CLIENT, "bytes_tx") - up);
	EXPECT_LE(sum, lab_proxy_stat(lab, SERVER, "bytes_tx") - down);
	EXPECT_ON_UDPLITE(seen, sum);
	EXPECT_LT(sum / 1500,
		  lab_stat(lab, CLIENT, "message_udplite_sent") - sent);
	EXPECT_LT(sum * 9 / 10 / 1500,
		  lab_stat(lab, SERVER, "message_udplite_received") - got);
	if (variant->damage) /* by chance it has hit others so far */
		EXPECT_TRUE(BECOMES(
			!stream_through(self->p.c, self->p.s, 50, most) &&
			udp_errors(lab, SERVER) > damaged &&
			lab_proxy(lab, CLIENT).repaired >
				self->was[CLIENT].repaired));
	EXPECT_TRUE(lab_undisturbed(lab, self->was));
}

FIXTURE(both)
{
	struct lab lab;
	struct lab_pair udp, lite;
};

/* UDP-Lite for one port, UDP for all others; unless it is so already. */
static int ask_for_both(struct lab *lab)
{
	int err = lab_ask_for_path(lab, "udp");
	json_t *rules = err ? NULL : lab_json(lab, CLIENT, "policy list");

	if (!err && json_array_size(rules) == 2) /* UDP's, and the default */
		err = lab_run(lab, CLIENT,
			      "%s/shunt policy add --path message "
			      "--transport udplite --port %d --at 1",
			      lab_build(), PORT);
	json_decref(rules);
	return err;
}

FIXTURE_SETUP(both)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL,
				 "--message-path --default udplite,udp"));
	ASSERT_EQ(0, ask_for_both(&self->lab));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->lite, AF_INET, PORT));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->udp, AF_INET, PORT + 1));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->lite));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->udp));
}

FIXTURE_TEARDOWN(both)
{
	lab_pair_close(&self->lite);
	lab_pair_close(&self->udp);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* One pair of hosts, and each stream on its own transport. */
TEST_F(both, each_stream_on_its_own)
{
	struct lab *lab = &self->lab;
	struct lab_count seen;

	ASSERT_EQ(0, lab_count(lab, &seen));
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, stream_through(self->lite.c, self->lite.s, i,
					    30 * KB));
		ASSERT_EQ(0,
			  stream_through(self->udp.s, self->udp.c, i, 30 * KB));
	}
	ASSERT_EQ(0, lab_count(lab, &seen));
	EXPECT_LT(300 * KB, seen.udplite[TO_SERVER].bytes);
	EXPECT_LT(300 * KB, seen.udp[TO_CLIENT].bytes);
	/* An acknowledgement that TCP has delayed since before is no stream. */
	EXPECT_GT(KB, seen.udplite[TO_CLIENT].bytes);
	EXPECT_GT(KB, seen.udp[TO_SERVER].bytes);
}

/* It is gone: what is under way goes on as UDP. */
TEST_F(both, transport_removed)
{
	struct lab *lab = &self->lab;
	struct lab_count seen;

	ASSERT_EQ(0, lab_shunt(lab, CLIENT, "transport remove udplite"));
	ASSERT_EQ(0, lab_count(lab, &seen));
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, stream_through(self->lite.c, self->lite.s, i,
					    30 * KB));
		ASSERT_EQ(0, stream_through(self->lite.s, self->lite.c, i,
					    30 * KB));
	}
	ASSERT_EQ(0, lab_count(lab, &seen));
	EXPECT_LT(300 * KB, seen.udp[TO_SERVER].bytes);
	EXPECT_EQ(0, seen.udplite[TO_SERVER].packets);
	EXPECT_EQ(0, lab_proxy_stat(lab, CLIENT, "demoted"));
}

/* The way becomes narrower, and a router says so, of UDP-Lite. */
TEST_F(both, path_mtu)
{
	struct lab *lab = &self->lab;

	lab_spoil(lab);
	ASSERT_EQ(0, lab_run(lab, ROUTER,
			     "ip route replace 10.77.2.2 dev rs mtu 1300"));
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(0, stream_through(self->lite.c, self->lite.s, i,
					    30 * KB));
	EXPECT_LT(0, lab_stat(lab, CLIENT, "icmp_too_big"));
	EXPECT_EQ(0, lab_proxy_stat(lab, CLIENT, "demoted"));
	/* Just what was on its way then. */
	EXPECT_GT(100 * KB, lab_proxy_stat(lab, CLIENT, "repaired"));
}

LAB_HARNESS_MAIN
