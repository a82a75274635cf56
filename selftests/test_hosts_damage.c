// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP-Lite over a bad path. What is damaged is sent again, unless both ends say
 * that it is wanted: then it arrives, in its place and with no more damage than
 * the path has done. The testbed's wire has transmit checksumming off before it
 * (or the receiver would not look), and is the same in every run.
 */
#include "harness.h"
#include "lab.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 8300
#define KB   1000L

FIXTURE(bad_path)
{
	struct lab lab;
	struct lab_pair p;
};

FIXTURE_VARIANT(bad_path)
{
	const char *ingress;
	int domain;
	const char *coverage;
	/* Behind the outer IP header: UDP-Lite, inner IP, TCP with all the
	 * options it can have, so that there is nothing behind these in an
	 * acknowledgement */
	int headers;
};

#define VARIANT(name, ingress_, domain_, coverage_)                            \
	FIXTURE_VARIANT_ADD(bad_path, name)                                    \
	{                                                                      \
		.ingress = ingress_, .domain = domain_, .coverage = coverage_, \
		.headers = 8 + (domain_ == AF_INET ? 20 : 40) + 60             \
	}

VARIANT(xdp_ipv4_full, "xdp", AF_INET, "full");
VARIANT(tc_ipv6_full, "tc", AF_INET6, "full");
VARIANT(xdp_ipv6_headers, "xdp", AF_INET6, "headers");
VARIANT(tc_ipv4_headers, "tc", AF_INET, "headers");

FIXTURE_SETUP(bad_path)
{
	struct lab_pair *p = &self->p;
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, lab_up_both(
			     lab, "--wire ''",
			     "--ingress %s --default udplite,udp --coverage %s",
			     variant->ingress, variant->coverage));
	ASSERT_EQ(0, lab_pair(lab, p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(p->c, p->s, 1, 1000));
	ASSERT_TRUE(
		lab_flow_on(lab, CLIENT, p->c, "udplite", variant->coverage));
	ASSERT_TRUE(
		lab_flow_on(lab, SERVER, p->s, "udplite", variant->coverage));
}

FIXTURE_TEARDOWN(bad_path)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static bool wants_damage(const FIXTURE_VARIANT(bad_path) * variant)
{
	return !strcmp(variant->coverage, "headers");
}

/* Nothing of the wire's making went wrong by itself. */
#define WIRE_IS_FINE()                                                \
	do {                                                          \
		EXPECT_EQ(0, lab_wire_did(&self->lab, "unfinished")); \
		EXPECT_EQ(0, lab_wire_did(&self->lab, "missed"));     \
	} while (0)

/* Both ways; how many bits arrived wrong. */
static uint64_t transfer(struct __test_metadata *_metadata, struct lab_pair *p,
			 size_t len)
{
	uint64_t wrong = 0;

	for (int dir = 0; dir < 2; dir++) {
		struct stream tx = {.fd = dir ? p->s : p->c,
				    .send = true,
				    .seed = 5 + dir,
				    .to = len};
		struct stream rx = {.fd = dir ? p->c : p->s,
				    .seed = 5 + dir,
				    .to = len,
				    .count_wrong = true};

		ASSERT_EQ(0, stream_start(&tx));
		ASSERT_EQ(0, stream_finish(&tx, &rx));
		wrong += rx.wrong;
	}
	return wrong;
}

/* Damage in what the application has sent, and nowhere else. */
TEST_F_TIMEOUT(bad_path, payload_damaged, 60)
{
	struct lab *lab = &self->lab;
	struct sent_again again = {};
	uint64_t wrong;
	long damaged;

	ASSERT_EQ(0, lab_do(lab, "fault", "damage=3%%,damage-at=%d,seed=3",
			    variant->headers));
	wrong = transfer(_metadata, &self->p, 510 * KB);
	damaged = lab_wire_did(lab, "damaged");
	ASSERT_EQ(0, stream_sent_again(self->p.c, &again));
	ASSERT_EQ(0, stream_sent_again(self->p.s, &again));
	fprintf(stderr,
		"# %ld packets damaged, %ld sent again (%ld needless)\n",
		damaged, again.all, again.needless);
	EXPECT_LT(5, damaged);
	WIRE_IS_FINE();
	if (wants_damage(variant)) {
		/* One bit each, if it came first; none of them was sent again
		 * for it. */
		EXPECT_GE(damaged, wrong);
		EXPECT_LE(damaged, wrong + again.all);
		EXPECT_GT(damaged, again.all - again.needless);
	} else {
		EXPECT_EQ(0, wrong);
		EXPECT_LE(damaged, again.all);
	}
	ASSERT_EQ(0, lab_do(lab, "fault", "none"));
	EXPECT_EQ(0, stream_through(self->p.c, self->p.s, 8, 50 * KB));
}

/* Anywhere behind the outer IP header. A header that came through damaged would
 * show: bytes at a wrong place are wrong in every other bit. */
TEST_F_TIMEOUT(bad_path, all_damaged, 60)
{
	struct lab *lab = &self->lab;
	uint64_t wrong;
	long damaged;

	ASSERT_EQ(0, lab_do(lab, "fault", "damage=3%%,damage-at=0,seed=4"));
	wrong = transfer(_metadata, &self->p, 510 * KB);
	damaged = lab_wire_did(lab, "damaged");
	EXPECT_LT(5, damaged);
	EXPECT_GE(wants_damage(variant) ? damaged : 0, wrong);
	WIRE_IS_FINE();
	ASSERT_EQ(0, lab_do(lab, "fault", "none"));
	EXPECT_EQ(0, stream_through(self->p.c, self->p.s, 8, 50 * KB));
}

/* Packets without payload: all of the damage is in what is covered. */
TEST_F_TIMEOUT(bad_path, acknowledgements_damaged, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair *p = &self->p;

	ASSERT_EQ(0, lab_do(lab, "fault",
			    "damage=20%%,damage-at=0,seed=5,dir=to-client"));
	EXPECT_EQ(0, stream_through(p->c, p->s, 6, 510 * KB));
	ASSERT_EQ(0, lab_do(lab, "fault", "none"));
	ASSERT_EQ(0, lab_do(lab, "fault",
			    "damage=20%%,damage-at=0,seed=6,dir=to-server"));
	EXPECT_EQ(0, stream_through(p->s, p->c, 7, 510 * KB));
	EXPECT_LT(5, lab_wire_did(lab, "damaged"));
	WIRE_IS_FINE();
}

static const struct {
	const char *spec, *did;
} faults[] = {
	{"loss=5%,seed=1", "lost"},
	{"reorder=25%,seed=2", "reordered"},
	{"dup=5%,seed=3", "duplicated"},
	{"delay=2ms,jitter=1ms,loss=1%,reorder=5%,dup=2%,seed=4", "lost"},
};

TEST_F_TIMEOUT(bad_path, lost_late_twice, 100)
{
	struct lab *lab = &self->lab;
	struct lab_pair *p = &self->p;
	struct lab_count n;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		ASSERT_EQ(0, lab_do(lab, "fault", "%s", faults[i].spec));
		ASSERT_EQ(0, lab_do(lab, "wire-stats", "reset"));
		ASSERT_EQ(0, lab_count(lab, &n));
		EXPECT_EQ(0, stream_through(p->c, p->s, i, 510 * KB));
		EXPECT_EQ(0, stream_through(p->s, p->c, i, 510 * KB));
		EXPECT_LT(2, lab_wire_did(lab, faults[i].did));
		WIRE_IS_FINE();
		ASSERT_EQ(0, lab_do(lab, "fault", "none"));
		/* In doubt, a flow is on TCP for some time: it comes back. */
		ASSERT_EQ(0, lab_count(lab, &n));
		EXPECT_LE(50 * KB, n.udplite[TO_SERVER].bytes +
					   n.udplite[TO_CLIENT].bytes);
		EXPECT_TRUE(BECOMES(!stream_through(p->c, p->s, 8, 1000) &&
				    !stream_through(p->s, p->c, 9, 1000) &&
				    lab_flows(lab, CLIENT, "redirected") == 1 &&
				    lab_flows(lab, SERVER, "redirected") == 1));
	}
	shutdown(p->c, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p->s));
	shutdown(p->s, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p->c));
}

LAB_HARNESS_MAIN
