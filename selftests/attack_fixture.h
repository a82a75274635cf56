/* SPDX-License-Identifier: GPL-2.0-only */
/* For the tests that attack a connection, see attack.h: hosts with one, and
 * whether it has come to harm. */
#ifndef ATTACK_FIXTURE_H
#define ATTACK_FIXTURE_H

#include "attack.h"
#include "harness.h"

#include <sys/socket.h>

FIXTURE(attack)
{
	struct attack a;
};

FIXTURE_VARIANT(attack)
{
	const char *ingress;
	int domain;
};

FIXTURE_VARIANT_ADD(attack, xdp_ipv4){.ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(attack, tc_ipv6){.ingress = "tc", .domain = AF_INET6};

FIXTURE_SETUP(attack)
{
	ASSERT_EQ(0, attack_up(&self->a, variant->ingress, variant->domain));
}

FIXTURE_TEARDOWN(attack)
{
	attack_end(&self->a);
	EXPECT_EQ(0, LAB_LEAVE(&self->a.lab));
}

/* The connection works, on the transport, and no other flow has come. */
static void is_well(struct __test_metadata *_metadata, struct attack *a,
		    bool never_in_doubt)
{
	struct lab *lab = &a->lab;
	struct lab_count count;

	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(a->p.c, a->p.s, 3, MB));
	EXPECT_EQ(0, stream_through(a->p.s, a->p.c, 4, MB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, a->p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, a->p.s, "redirected", NULL));
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		json_t *stats = lab_json(lab, host, "stats");

		EXPECT_EQ(1, attack_stat(stats, "flows_created"));
		EXPECT_EQ(0, attack_stat(stats, "flows_fallback"));
		if (never_in_doubt)
			EXPECT_EQ(0, attack_stat(stats, "flows_suspect"));
		json_decref(stats);
	}
	ASSERT_EQ(0, lab_count(lab, &count));
	if (never_in_doubt) {
		EXPECT_LE(MB, count.udp[TO_SERVER].bytes);
		EXPECT_LE(MB, count.udp[TO_CLIENT].bytes);
	}
}

#endif
