// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and when it acknowledges: at the next tick if the
 * sender says that it waits for that, or soon will; else not before some
 * milliseconds have passed, as each acknowledgement wakes both ends.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <sys/socket.h>

#define STREAM	1
#define TOKEN	0x70c3e001
#define PAYLOAD 1424 /* of a frame, on Ethernet */
#define LENGTH	16384

FIXTURE(acks)
{
	struct rig r;
	struct stream *st;
	uint64_t next; /* to be received */
};

FIXTURE_SETUP(acks)
{
	struct rig *r = &self->r;

	ASSERT_EQ(0, rig_up(r));
	r->peer[0]->payload = PAYLOAD; /* loopback's is 64 KB */
	self->st = rig_enrolled(r, STREAM, TOKEN);
	rig_tell(r, PROMOTED, STREAM, RIG_BASE, 0);
	r->streams[STREAM].rx_copied = RIG_BASE;
	rig_tick(r);
	self->next = 0;
}

FIXTURE_TEARDOWN(acks)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* ---- as the sender ---- */

/* The application writes n messages, which leave: is there a frame that asks,
 * and is it the last one? */
static bool asks(struct __test_metadata *_metadata, struct rig *r, int n,
		 bool *last)
{
	unsigned char b[sizeof(struct shunt_record) + LENGTH] = {};
	static unsigned char d[65536];
	bool some = false;
	ssize_t got;
	int err = 0;

	for (int i = 0; i < n; i++) {
		struct shunt_record record = rig_number(r, STREAM, LENGTH);

		memcpy(b, &record, sizeof(record));
		EXPECT_TRUE(rig_redirected(r, b, sizeof(b), &err));
		EXPECT_EQ(0, err);
	}
	tx_push(&r->px, r->peer[0]);
	ring_round(&r->px);
	while ((got = recv(r->wire[0], d, sizeof(d), MSG_DONTWAIT)) > 0) {
		struct shunt_frame f;

		memcpy(&f, d, sizeof(f));
		*last = f.flags & SHUNT_FRAME_ASKS;
		some |= *last;
	}
	return some;
}

TEST_F(acks, a_full_window_asks)
{
	uint64_t window = self->r.peer[0]->cwnd;
	bool last = false;

	ASSERT_LT(2 * LENGTH, window);
	EXPECT_FALSE(asks(_metadata, &self->r, 1, &last));
	EXPECT_TRUE(asks(_metadata, &self->r, window / LENGTH, &last));
	EXPECT_TRUE(last);
	EXPECT_LE(window, self->r.peer[0]->inflight);
}

/* All that is unread at the far end counts, whatever the window is. */
TEST_F(acks, memory_that_runs_out_asks)
{
	struct rig *r = &self->r;
	bool last;

	r->peer[0]->cwnd = CWND_MAX;
	EXPECT_FALSE(asks(_metadata, r, 1, &last));
	r->shm.charged += r->shm.total_limit / 4; /* other streams' */
	EXPECT_TRUE(asks(_metadata, r, 1, &last));
	r->shm.charged -= r->shm.total_limit / 4;
	EXPECT_FALSE(asks(_metadata, r, 1, &last));
}

/* ---- as the receiver ---- */

static void frame(struct __test_metadata *_metadata, struct rig *r,
		  uint64_t offset, uint8_t flags)
{
	struct {
		struct shunt_frame f;
		unsigned char bytes[100];
	} d = {.f = {.type = SHUNT_FRAME_DATA,
		     .flags = flags,
		     .length = htons(sizeof(d.bytes)),
		     .stream = htonl(STREAM),
		     .token = htonl(TOKEN),
		     .base = htonl(RIG_BASE),
		     .offset = htobe64(offset)}};

	ASSERT_TRUE(rig_datagram(r, 0, &d, sizeof(d.f) + sizeof(d.bytes), 0));
}

/* Milliseconds until a frame is acknowledged, by a loop that something wakes
 * every two. */
static unsigned waits(struct __test_metadata *_metadata, struct rig *r,
		      struct stream *st, uint64_t *next, uint8_t flags)
{
	unsigned ms = 0;

	frame(_metadata, r, *next, flags);
	*next += 100;
	while (st->acked_next != *next && ms < 100) {
		/* The rig's timer is always over. */
		r->px.timer_ns = r->px.now_ns + SHUNT_NSEC;
		r->px.now_ns += TICK_NS;
		streams_tick(&r->px);
		r->channel[0].out[1].length = 0;
		messages_send(&r->px, r->peer[0], true);
		r->px.timer_ns = UINT64_MAX;
		ms += TICK_NS / NSEC_PER_MS;
	}
	return ms;
}

TEST_F(acks, sent_at_once_to_who_asks)
{
	struct rig *r = &self->r;

	rig_tick(r);
	waits(_metadata, r, self->st, &self->next, SHUNT_FRAME_ASKS);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(2, waits(_metadata, r, self->st, &self->next,
				   SHUNT_FRAME_ASKS));
		EXPECT_EQ(8, waits(_metadata, r, self->st, &self->next, 0));
	}
}

/* What only the timer brings about: nothing wakes the loop any more. */
TEST_F(acks, timer_is_set_by_who_asks)
{
	struct rig *r = &self->r;

	for (int asks = 0; asks < 2; asks++) {
		rig_tick(r);
		r->px.tick_ns = r->px.wake_ns = UINT64_MAX;
		frame(_metadata, r, self->next, asks ? SHUNT_FRAME_ASKS : 0);
		self->next += 100;
		EXPECT_EQ(r->px.now_ns + TICK_NS, r->px.tick_ns);
		EXPECT_EQ(r->px.now_ns + (asks ? TICK_NS : LAZY_NS),
			  r->px.wake_ns);
		r->px.wake_ns = 0;
	}
}

/* The next acknowledgement says that datagrams have come, or that none has. */
static bool arrived(struct __test_metadata *_metadata, struct rig *r)
{
	const struct buffer *out = &r->channel[0].out[1];
	const struct head *m;
	int flags = -1;

	rig_tick(r);
	for (uint32_t at = 0; at < out->length; at += ntohs(m->length)) {
		m = (const void *)(out->data + at);
		if (m->type == ACK)
			flags = m->flags;
	}
	EXPECT_LE(0, flags);
	return flags & ACK_ARRIVED;
}

/* The bytes of a frame, from the control channel */
static void repair(struct rig *r, uint64_t offset)
{
	unsigned char m[sizeof(struct at) + 100] = {};
	uint32_t n = rig_message(r, m, REPAIR, STREAM, offset, 100);

	rig_tell(r, SENT, STREAM, offset + 100, 0);
	rig_say(r, 0, m, 0, n + 100);
}

/* That is how the sender knows a path that loses all: what had to be repaired
 * may have come, too, but later. */
TEST_F(acks, say_whether_datagrams_arrive)
{
	struct rig *r = &self->r;

	frame(_metadata, r, 0, 0);
	EXPECT_TRUE(arrived(_metadata, r));
	repair(r, 100);
	EXPECT_FALSE(arrived(_metadata, r));
	frame(_metadata, r, 100, 0);
	repair(r, 200);
	EXPECT_TRUE(arrived(_metadata, r));
	repair(r, 300);
	EXPECT_FALSE(arrived(_metadata, r));
	EXPECT_EQ(400, self->st->acked_next);
}

TEST_HARNESS_MAIN
