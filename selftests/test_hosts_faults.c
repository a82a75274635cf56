// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bad path: packets lost, late, twice or damaged, by the testbed's own wire,
 * the same ones in every run, and by the kernel's netem where there is one.
 * Transfers are complete, on the transport; that the path was bad is what TCP
 * at the ends says, whoever made it so.
 */
#include "harness.h"
#include "lab_proc.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 7600
#define KB   1000L

static int set_faults(struct lab *lab, const char *spec, bool netem)
{
	return lab_do(lab, "fault", "%s %s", netem ? "--netem" : "", spec);
}

/* A connection on the transport, over a path that is good so far. */
static void open_pair(struct __test_metadata *_metadata, struct lab *lab,
		      struct lab_pair *p, int domain, int listener)
{
	ASSERT_EQ(0, lab_pair_on(lab, p, domain, listener));
	ASSERT_EQ(0, stream_through(p->c, p->s, 1, 1000));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p->c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p->s, "redirected", NULL));
}

/* ---- one packet in five ---- */

/*
 * One packet in five: TCP itself lives from timer to timer. Probes get lost as
 * well, so a flow may end up on TCP for good; it may not stand still.
 */

FIXTURE(heavy_loss)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(heavy_loss)
{
	const char *ingress;
	int domain;
};

/* In this order, as the next fixture begins with the same instances. */
FIXTURE_VARIANT_ADD(heavy_loss, tc){.ingress = "tc", .domain = AF_INET6};

FIXTURE_VARIANT_ADD(heavy_loss, xdp){.ingress = "xdp", .domain = AF_INET};

FIXTURE_SETUP(heavy_loss)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, "--wire ''", "--ingress %s",
				 variant->ingress));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(heavy_loss)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

TEST_F_TIMEOUT(heavy_loss, transfers_are_complete, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	struct lab_count count = {};

	open_pair(_metadata, lab, &p, variant->domain, self->listener);
	ASSERT_EQ(0, lab_count(lab, &count));
	ASSERT_EQ(0, set_faults(lab, "loss=20%,seed=11", false));
	EXPECT_EQ(0, stream_through(p.c, p.s, 2, 60 * KB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 3, 60 * KB));
	EXPECT_LT(5, lab_wire_did(lab, "lost"));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LT(0, count.udp[TO_SERVER].packets);
	ASSERT_EQ(0, set_faults(lab, "none", false));
	EXPECT_EQ(0, stream_through(p.c, p.s, 4, 510 * KB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 5, 510 * KB));
	lab_pair_close(&p);
}

/* ---- less than that ---- */

FIXTURE(faults)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(faults)
{
	const char *ingress;
	int domain;
	const char *spec;
	const char *count; /* of wire-stats: it did happen; NULL: netem */
	const char *seen;  /* of nstat: it was noticed */
};

#define LOST	   "lost", "TcpRetransSegs"
#define REORDERED  "reordered", "TcpExtTCPOFOQueue"
#define DUPLICATED "duplicated", "TcpExtTCPDSACKOldSent"
#define DAMAGED	   "damaged", "TcpInCsumErrors"

#define VARIANT(name, ...)                \
	FIXTURE_VARIANT_ADD(faults, name) \
	{                                 \
		__VA_ARGS__               \
	}

VARIANT(xdp_loss_1, "xdp", AF_INET6, "loss=1%,seed=10", LOST);
VARIANT(xdp_loss, "xdp", AF_INET, "loss=5%,seed=1", LOST);
VARIANT(xdp_reorder, "xdp", AF_INET, "reorder=25%,seed=2", REORDERED);
VARIANT(xdp_duplicate, "xdp", AF_INET6, "dup=5%,seed=3", DUPLICATED);
VARIANT(xdp_damage, "xdp", AF_INET, "damage=2%,damage-at=any,seed=4", DAMAGED);
VARIANT(tc_loss, "tc", AF_INET6, "loss=5%,seed=5", LOST);
VARIANT(tc_reorder, "tc", AF_INET6, "reorder=25%,seed=6", REORDERED);
VARIANT(tc_duplicate, "tc", AF_INET, "dup=5%,seed=7", DUPLICATED);
VARIANT(tc_damage, "tc", AF_INET6, "damage=2%,damage-at=any,seed=8", DAMAGED);
VARIANT(tc_all, "tc", AF_INET,
	"delay=5ms,jitter=1ms,loss=2%,reorder=5%,dup=2%,damage=1%,seed=9",
	LOST);

/* Those with the same ingress in a row: they share instances. */
VARIANT(netem_loss, "xdp", AF_INET6, "loss=5%", NULL, "TcpRetransSegs");
VARIANT(netem_duplicate, "xdp", AF_INET, "dup=5%", NULL,
	"TcpExtTCPDSACKOldSent");
VARIANT(netem_all, "xdp", AF_INET,
	"delay=5ms,jitter=1ms,loss=2%,reorder=5%,dup=2%,damage=1%", NULL,
	"TcpRetransSegs");
VARIANT(netem_reorder, "tc", AF_INET, "delay=10ms,reorder=25%", NULL,
	"TcpExtTCPOFOQueue");
/* It damages only what an skb has in its linear part: mostly headers, and a
 * quarter of those are TCP's. */
VARIANT(netem_damage, "tc", AF_INET6, "damage=4%", NULL, "TcpInCsumErrors");

FIXTURE_SETUP(faults)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, lab_up_both(lab, variant->count ? "--wire ''" : NULL,
				 "--ingress %s", variant->ingress));
	/* What netem drops should be a packet, not 64 KB of them. */
	if (!variant->count)
		for (int i = CLIENT; i <= SERVER; i += SERVER - CLIENT)
			ASSERT_EQ(0,
				  lab_run(lab, i,
					  "ethtool -K eth0 tso off gso off"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(faults)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Over a kernel that has none, tc says so in these words. */
static bool has_netem(struct lab *lab)
{
	char *text = lab_output(lab, ROUTER,
				"tc qdisc add dev lo root netem 2>&1 || :");
	bool has = !text || !strstr(text, "qdisc kind is unknown");

	free(text);
	return has;
}

#define NEEDS_NETEM()                                            \
	do {                                                     \
		if (!variant->count && !has_netem(&self->lab))   \
			SKIP(return, "this kernel has no netem " \
				     "(CONFIG_NET_SCH_NETEM)");  \
	} while (0)

/* Send a little until both ends have this state. */
static bool comes_back(struct lab *lab, struct lab_pair *p)
{
	return BECOMES(!stream_through(p->c, p->s, 8, 1000) &&
		       !stream_through(p->s, p->c, 9, 1000) &&
		       lab_flows(lab, CLIENT, "redirected") == 1 &&
		       lab_flows(lab, SERVER, "redirected") == 1);
}

TEST_F_TIMEOUT(faults, transfers_are_complete, 60)
{
	struct lab *lab = &self->lab;
	const long size = size_here(1500 * KB, 510 * KB);
	struct lab_count count = {};
	struct lab_pair p;
	long before;

	NEEDS_NETEM();
	open_pair(_metadata, lab, &p, variant->domain, self->listener);
	ASSERT_EQ(0, lab_count(lab, &count));
	before = lab_counters(lab, variant->seen);
	ASSERT_LE(0, before);
	ASSERT_EQ(0, set_faults(lab, variant->spec, !variant->count));
	EXPECT_EQ(0, stream_through(p.c, p.s, 2, 510 * KB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 3, 510 * KB));
	EXPECT_EQ(0, stream_through(p.c, p.s, 4, size));
	EXPECT_EQ(0, stream_through(p.s, p.c, 5, size));
	EXPECT_LE(before + (variant->count ? 5 : 2),
		  lab_counters(lab, variant->seen));
	if (variant->count) {
		EXPECT_LT(5, lab_wire_did(lab, variant->count));
		EXPECT_EQ(0, lab_wire_did(lab, "unfinished"));
	}
	/* In doubt, a flow is on TCP for some time, but not for good. */
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LE(100 * KB, count.udp[TO_SERVER].bytes);
	EXPECT_LE(100 * KB, count.udp[TO_CLIENT].bytes);
	EXPECT_TRUE(comes_back(lab, &p));
	/* The end of a stream is the packet that nothing comes after. */
	shutdown(p.c, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p.s));
	shutdown(p.s, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p.c));
	lab_pair_close(&p);
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_fallback"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_fallback"));
}

/* Short ones, where the handshake and its options suffer as well. */
TEST_F_TIMEOUT(faults, new_connections_work, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	NEEDS_NETEM();
	open_pair(_metadata, lab, &p, variant->domain, self->listener);
	lab_pair_close(&p);
	ASSERT_EQ(0, set_faults(lab, variant->spec, !variant->count));
	for (int i = 0; i < 12; i++) {
		ASSERT_EQ(0, lab_pair_on(lab, &p, variant->domain,
					 self->listener));
		ASSERT_EQ(0, stream_through(p.c, p.s, i, 3 * KB));
		ASSERT_EQ(0, stream_through(p.s, p.c, i, 20 * KB));
		shutdown(p.c, SHUT_WR);
		ASSERT_TRUE(stream_at_end(p.s));
		lab_pair_close(&p);
	}
	EXPECT_LE(7, lab_stat(lab, CLIENT, "flows_redirected"));
	EXPECT_LE(7, lab_stat(lab, SERVER, "flows_redirected"));
}

LAB_HARNESS_MAIN
