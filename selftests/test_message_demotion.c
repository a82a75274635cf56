// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and what it counts when a direction leaves the path for
 * TCP: each once, by its reason, and the end of a direction is none.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <sys/socket.h>

#define STREAM	1
#define TOKEN	0x70c3e001
#define PAYLOAD 1424 /* of a frame, on Ethernet */
#define LENGTH	1000

FIXTURE(demotion)
{
	struct rig r;
	struct stream *st;
};

FIXTURE_SETUP(demotion)
{
	ASSERT_EQ(0, rig_up(&self->r));
	self->r.peer[0]->payload = PAYLOAD; /* loopback's is 64 KB */
	self->st = rig_enrolled(&self->r, STREAM, TOKEN);
}

FIXTURE_TEARDOWN(demotion)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* The application writes. */
static void put(struct __test_metadata *_metadata, struct rig *r)
{
	unsigned char b[sizeof(struct shunt_record) + LENGTH] = {};
	struct shunt_record record = rig_number(r, STREAM, LENGTH);
	int err = 0;

	memcpy(b, &record, sizeof(record));
	ASSERT_TRUE(rig_redirected(r, b, sizeof(b), &err));
	ASSERT_EQ(0, err);
	rig_tick(r);
}

/* SK_MSG has left the rest to TCP. */
static void sk_msg_leaves(struct rig *r, __u8 why)
{
	r->streams[STREAM].tx_why = why;
	r->streams[STREAM].tx = SHUNT_STX_OFF;
}

static void event(struct rig *r, __u32 type)
{
	struct shunt_event e = {.type = type, .stream = STREAM};

	stream_event(&r->px, &e, sizeof(e));
	rig_tick(r);
}

/* Its event was lost: all streams are looked at. */
static void look_at_all(struct rig *r)
{
	r->shm.events_lost++;
	rig_tick(r);
}

/* How often for that reason, if for no other; -1: others, too. */
static long demotions(const struct rig *r, unsigned why)
{
	return r->shm.demotions[why] == r->shm.demoted ? (long)r->shm.demoted
						       : -1;
}

TEST_F(demotion, sk_msg_says_why)
{
	struct rig *r = &self->r;

	put(_metadata, r);
	sk_msg_leaves(r, SHUNT_DEMOTED_KERNEL);
	event(r, SHUNT_EV_DEMOTED);
	EXPECT_EQ(1, demotions(r, SHUNT_DEMOTED_KERNEL));
	EXPECT_EQ(LENGTH, self->st->tx_final);
	/* The peer's direction follows, and says so. */
	rig_tell(r, DEMOTE, STREAM, 0, 0);
	event(r, SHUNT_EV_CLOSING);
	look_at_all(r);
	EXPECT_EQ(1, demotions(r, SHUNT_DEMOTED_KERNEL));
}

TEST_F(demotion, with_a_full_ring_it_is_seen_all_the_same)
{
	struct rig *r = &self->r;

	put(_metadata, r);
	sk_msg_leaves(r, SHUNT_DEMOTED_STREAM);
	look_at_all(r);
	look_at_all(r);
	EXPECT_EQ(1, demotions(r, SHUNT_DEMOTED_STREAM));
}

TEST_F(demotion, peer_wants_it)
{
	struct rig *r = &self->r;

	put(_metadata, r);
	rig_tell(r, DEMOTE, STREAM, 0, 0);
	rig_tick(r);
	EXPECT_EQ(SHUNT_STX_OFF, r->streams[STREAM].tx);
	EXPECT_EQ(1, demotions(r, SHUNT_DEMOTED_PEER));
	EXPECT_EQ(LENGTH, self->st->tx_final);
}

/* The application shuts down. */
TEST_F(demotion, end_is_none)
{
	struct rig *r = &self->r;

	put(_metadata, r);
	sk_msg_leaves(r, 0);
	look_at_all(r);
	event(r, SHUNT_EV_CLOSING);
	EXPECT_EQ(0, r->shm.demoted);
	EXPECT_EQ(LENGTH, self->st->tx_final);
}

/* All comes over the control channel, of up to 20 windows: how many. arrived:
 * datagrams come, too, but later. */
static int repaired(struct __test_metadata *_metadata, struct rig *r,
		    struct stream *st, bool arrived)
{
	int windows = 0;

	for (; windows < 20 && !r->streams[STREAM].excluded; windows++) {
		put(_metadata, r);
		for (int i = 0; i < 1000 && !st->tx_asked; i++)
			rig_tick(r);
		EXPECT_LT(0, st->tx_asked);
		rig_tell(r, GAPS, STREAM, st->tx_acked, st->tx_sent);
		rig_tell_flags(r, ACK, arrived ? ACK_ARRIVED : 0, STREAM,
			       st->tx_sent, st->tx_sent);
		EXPECT_EQ(st->tx_sent, st->tx_acked);
	}
	return windows;
}

TEST_F(demotion, path_that_loses_all_is_left)
{
	struct rig *r = &self->r;

	EXPECT_EQ(5, repaired(_metadata, r, self->st, false));
	EXPECT_EQ(SHUNT_DEMOTED_LOST, r->streams[STREAM].excluded);
	EXPECT_EQ(0, r->shm.demoted); /* SK_MSG will, at the next message */
}

/* The peer gets little CPU time: what it asks for waits in its socket. */
TEST_F(demotion, path_that_is_slow_is_not)
{
	EXPECT_EQ(20, repaired(_metadata, &self->r, self->st, true));
}

TEST_HARNESS_MAIN
