// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and sends that have to wait for room on a socket that
 * is enrolled: it leaves the sockmap with each, and comes in again behind its
 * peer's, five times.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <sys/socket.h>

#define STREAM 1
#define TOKEN  0x70c3e001
#define TIMES  5

FIXTURE(crowd)
{
	struct rig r;
	struct stream *st;
	struct shunt_stream *shm;
};

FIXTURE_SETUP(crowd)
{
	ASSERT_EQ(0, rig_up(&self->r));
	self->st = rig_enrolled(&self->r, STREAM, TOKEN);
	self->shm = &self->r.streams[STREAM];
	ASSERT_EQ(1, self->shm->enrolled);
	ASSERT_EQ(SHUNT_STX_READY, self->shm->tx);
}

FIXTURE_TEARDOWN(crowd)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* As SK_MSG does (bpf/crowd.h): TCP keeps it. */
static void send_has_to_wait(FIXTURE_DATA(crowd) * self)
{
	struct shunt_event e = {.type = SHUNT_EV_CROWDED, .stream = STREAM};

	self->shm->tx_held = 1;
	self->shm->tx = SHUNT_STX_OFF;
	stream_event(&self->r.px, &e, sizeof(e));
	rig_tick(&self->r);
}

/* Out of the sockmap, and the send goes on. */
static bool has_left(const FIXTURE_DATA(crowd) * self)
{
	return !self->shm->enrolled && self->shm->tx_open;
}

/* The peer's socket has left, and its application is ready again. */
static void peer_begins(struct rig *r)
{
	rig_tell(r, READY, STREAM, 0, 0);
	rig_tick(r);
}

TEST_F(crowd, comes_in_again_behind_its_peer)
{
	struct rig *r = &self->r;

	for (int i = 0; i < TIMES; i++) {
		send_has_to_wait(self);
		/* Not before the peer allows it: it may be promoted. */
		EXPECT_EQ(1, self->shm->enrolled);
		EXPECT_EQ(0, self->shm->tx_open);
		rig_tell(r, LEFT, STREAM, 0, 0);
		rig_tick(r);
		EXPECT_TRUE(has_left(self))
		TH_LOG("time %d", i);
		for (int j = 0; j < 1000; j++)
			rig_tick(r);
		EXPECT_EQ(0, self->shm->enrolled);
		peer_begins(r);
		EXPECT_EQ(1, self->shm->enrolled)
		TH_LOG("time %d", i);
		EXPECT_EQ(SHUNT_STX_READY, self->shm->tx);
	}
	EXPECT_EQ(0, self->shm->excluded);
	EXPECT_EQ(0, r->shm.demoted);
}

TEST_F(crowd, once_more_and_it_stays_on_tcp)
{
	struct rig *r = &self->r;

	for (int i = 0; i < TIMES; i++) {
		send_has_to_wait(self);
		rig_tell(r, LEFT, STREAM, 0, 0);
		peer_begins(r);
	}
	ASSERT_EQ(1, self->shm->enrolled);
	send_has_to_wait(self);
	EXPECT_EQ(1, self->shm->excluded);
	/* The peer has heard NEVER, and says so of its own direction. */
	rig_tell(r, NEVER, STREAM, 0, 0);
	rig_tick(r);
	EXPECT_TRUE(has_left(self));
	peer_begins(r);
	EXPECT_EQ(0, self->shm->enrolled);
	EXPECT_NE(SHUNT_STX_READY, self->shm->tx);
	EXPECT_EQ(0, r->destroyed);
}

/* A peer that never answers keeps a send for a second. */
TEST_F(crowd, without_an_answer_the_send_goes_on)
{
	struct rig *r = &self->r;
	int ticks = 0;

	send_has_to_wait(self);
	while (!self->shm->tx_open && ticks < 10000) {
		rig_tick(r);
		ticks++;
	}
	EXPECT_LE(400, ticks);
	EXPECT_GE(700, ticks);
	EXPECT_EQ(1, self->shm->enrolled);
}

TEST_HARNESS_MAIN
