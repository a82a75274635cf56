// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and peers that do not answer: what is under way waits
 * as long as with TCP if the control channel is lost, but not for a proxy or a
 * stream there that has ended.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#define STREAM 1
#define TOKEN  0x70c3e001
#define LENGTH 3000
#define LOOK   (SHUNT_NSEC / 4)

FIXTURE(channel)
{
	struct rig r;
	struct stream *st;
};

FIXTURE_VARIANT(channel)
{
	bool active; /* connects the channel */
};

FIXTURE_VARIANT_ADD(channel, active){.active = true};
FIXTURE_VARIANT_ADD(channel, passive){.active = false};

/* A stream with bytes on their way, or NULL. */
static struct stream *begin(struct rig *r)
{
	unsigned char b[sizeof(struct shunt_record) + LENGTH];
	struct shunt_record record;
	struct stream *st;
	int err;

	st = rig_enrolled(r, STREAM, TOKEN);
	record = rig_number(r, STREAM, LENGTH);
	if (!rig_redirected(r, b, rig_queued(r, b, &record, false), &err) ||
	    err)
		return NULL;
	rig_tick(r);
	return st->tx_sent == LENGTH ? st : NULL;
}

FIXTURE_SETUP(channel)
{
	struct rig *r = &self->r;

	ASSERT_EQ(0, rig_up(r));
	self->st = begin(r);
	ASSERT_NE(NULL, self->st);
	r->peer[0]->active = variant->active;
	control_close(&r->px, &r->channel[0], "");
}

FIXTURE_TEARDOWN(channel)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* So many seconds without one; how many were needed to reset the stream. */
static double lost_for(struct rig *r, const struct stream *st, unsigned seconds)
{
	uint64_t from = r->px.now_ns;

	while (r->px.now_ns - from < seconds * SHUNT_NSEC && !st->doomed) {
		r->px.now_ns += LOOK;
		control_tick(&r->px);
		rig_tick(r);
	}
	return (double)(r->px.now_ns - from) / SHUNT_NSEC;
}

/* Nobody listens at our port there. */
TEST_F(channel, peer_that_refuses_has_lost_its_streams)
{
	EXPECT_LT(2, lost_for(&self->r, self->st, 60));
	EXPECT_TRUE(self->st->doomed);
	EXPECT_EQ(1, self->r.shm.resets[SHUNT_RESET_PROXY]);
	EXPECT_EQ(1, self->r.destroyed);
}

TEST_F(channel, peer_that_is_silent_is_waited_for)
{
	unsigned char wrong[sizeof(struct head)] = {};

	ASSERT_EQ(0, system("ip link set lo down"));
	lost_for(&self->r, self->st, 900);
	EXPECT_FALSE(self->st->doomed);
	ASSERT_EQ(0, system("ip link set lo up"));
	rig_say(&self->r, 0, wrong, 0, sizeof(wrong)); /* then another one */
	rig_tell(&self->r, ACK, STREAM, LENGTH, LENGTH);
	EXPECT_EQ(LENGTH, self->st->tx_acked);
	lost_for(&self->r, self->st, 60);
	EXPECT_FALSE(self->st->doomed);
}

TEST_F(channel, but_not_for_ever)
{
	ASSERT_EQ(0, system("ip link set lo down"));
	EXPECT_GT(1000, lost_for(&self->r, self->st, 2000));
	EXPECT_TRUE(self->st->doomed);
	EXPECT_EQ(1, self->r.shm.resets[SHUNT_RESET_SILENT]);
	ASSERT_EQ(0, system("ip link set lo up"));
}

/* ---- the peer's stream has ended ---- */

FIXTURE(ended)
{
	struct rig r;
	struct stream *st;
};

FIXTURE_SETUP(ended)
{
	ASSERT_EQ(0, rig_up(&self->r));
	self->st = begin(&self->r);
	ASSERT_NE(NULL, self->st);
}

FIXTURE_TEARDOWN(ended)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

static void say_ended(struct rig *r)
{
	rig_tell_flags(r, ABORT, ABORT_ENDED, STREAM, 0, 0);
}

/* It had all that has been sent: so TCP would not reset it, either. */
TEST_F(ended, behind_the_acknowledgement_nothing_is_lost)
{
	rig_tell(&self->r, ACK, STREAM, LENGTH, 0);
	say_ended(&self->r);
	EXPECT_FALSE(self->st->doomed);
	EXPECT_EQ(0, self->r.destroyed);
	/* Nobody will say that it has been read. */
	EXPECT_EQ(self->st->shm->tx_charged, self->st->shm->tx_released);
}

TEST_F(ended, before_it_the_rest_is)
{
	say_ended(&self->r);
	EXPECT_TRUE(self->st->doomed);
	EXPECT_EQ(1, self->r.destroyed);
	EXPECT_EQ(1, self->r.shm.resets[SHUNT_RESET_CLOSED]);
}

/* What we answer to one who waits for a stream that has ended here. */
TEST_F(ended, peer_is_told)
{
	struct buffer *out = &self->r.channel[0].out[1];
	const struct head *m = (const void *)out->data;

	ASSERT_TRUE(rig_closed(&self->r, STREAM));
	out->length = 0;
	rig_tell(&self->r, SENT, STREAM, LENGTH, 0);
	ASSERT_EQ(sizeof(*m), out->length);
	EXPECT_EQ(ABORT, m->type);
	EXPECT_EQ(ABORT_ENDED, m->flags);
	EXPECT_EQ(rig_remote(STREAM), ntohl(m->to));
}

TEST_HARNESS_MAIN
