// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and its congestion window: losses make it small, so
 * that the same bytes take many round trips; when nothing has been under way
 * for a second that is forgotten, and they take as few as on a new path.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <stdio.h>
#include <sys/socket.h>

#define STREAM	1
#define TOKEN	0x70c3e001
#define LENGTH	16384
#define PAYLOAD 1424	  /* of a frame, on Ethernet */
#define BYTES	(1 << 20) /* of a transfer */
#define LOSSES	64	  /* as small as it gets */

FIXTURE(window)
{
	struct rig r;
	struct stream *st;
};

FIXTURE_SETUP(window)
{
	struct rig *r = &self->r;

	ASSERT_EQ(0, rig_up(r));
	r->peer[0]->payload = PAYLOAD; /* loopback's is 64 KB */
	self->st = rig_enrolled(r, STREAM, TOKEN);
}

FIXTURE_TEARDOWN(window)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* The application writes so much. */
static bool put(struct rig *r, uint32_t bytes)
{
	unsigned char b[sizeof(struct shunt_record) + LENGTH] = {};
	int err = 0;

	for (uint32_t at = 0; at < bytes && !err; at += LENGTH) {
		struct shunt_record record = rig_number(r, STREAM, LENGTH);

		memcpy(b, &record, sizeof(record));
		if (!rig_redirected(r, b, sizeof(b), &err))
			return false;
	}
	return !err;
}

/* What has been sent arrives, and is acknowledged. */
static void arrive(struct rig *r, const struct stream *st)
{
	static unsigned char b[65536];

	while (recv(r->wire[0], b, sizeof(b), MSG_DONTWAIT) > 0)
		;
	if (st->tx_sent > st->tx_acked)
		rig_tell(r, ACK, STREAM, st->tx_sent, st->tx_sent);
}

/* Round trips that a transfer takes; 0: it comes to no end. */
static unsigned transfer(struct rig *r, const struct stream *st)
{
	uint64_t end = st->tx_end + BYTES;
	unsigned trips = 0;

	if (!put(r, BYTES))
		return 0;
	for (; st->tx_acked < end; trips++) {
		if (trips > BYTES / LENGTH * 2)
			return 0;
		rig_tick(r);
		arrive(r, st);
	}
	return trips;
}

/* A hole in each of many round trips. */
static bool lose(struct rig *r, const struct stream *st)
{
	for (int i = 0; i < LOSSES; i++) {
		uint64_t at = st->tx_end;

		if (!put(r, LENGTH))
			return false;
		rig_tick(r);
		rig_tell(r, GAPS, STREAM, at, at + 1);
		rig_tick(r);
		arrive(r, st);
	}
	return true;
}

static void idle(struct rig *r, uint64_t ns)
{
	for (uint64_t end = r->px.now_ns + ns; r->px.now_ns < end;)
		rig_tick(r);
}

TEST_F(window, losses_are_forgotten_when_nothing_is_under_way)
{
	struct rig *r = &self->r;
	struct stream *st = self->st;
	unsigned first = transfer(r, st), soon, later;

	EXPECT_LT(0, first);
	ASSERT_TRUE(lose(r, st));
	soon = transfer(r, st);
	EXPECT_LT(3 * first, soon);
	ASSERT_TRUE(lose(r, st));
	idle(r, SHUNT_NSEC / 2);
	soon = transfer(r, st);
	EXPECT_LT(3 * first, soon);
	ASSERT_TRUE(lose(r, st));
	idle(r, SHUNT_NSEC + SHUNT_NSEC / 10);
	later = transfer(r, st);
	EXPECT_LT(0, later);
	EXPECT_GE(first, later);
	fprintf(stderr, "# round trips: %u, behind losses %u, later %u\n",
		first, soon, later);
}

TEST_HARNESS_MAIN
