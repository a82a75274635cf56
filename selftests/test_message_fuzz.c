// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and what a network full of enemies can send to it:
 * frames, messages on the control channel and FINs, right, damaged and forged,
 * to streams in all states. What it makes of each must be what the model says.
 * SHUNT_TEST_SEED repeats a run, SHUNT_TEST_MUTANTS sets its length.
 */
#include "proxy/craft.h"
#include "proxy/model.h"

#include "harness.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

/* Of frames and messages that must not be believed. */
#define MUTANTS	 1000000
#define LIFE	 3000 /* inputs that a stream gets */
#define TICK	 64   /* inputs between two of them */
#define PAYLOAD	 1400
#define DATAGRAM 65000

enum state {
	IS_NONE,     /* no such stream */
	IS_OPEN,     /* not enrolled */
	IS_ENROLLED, /* promotion is expected … */
	IS_PROMOTED,
	IS_WAITING, /* … is there, but TCP's bytes are still to be read */
	IS_ENDING,  /* its length is known … */
	IS_ENDED,   /* … and was delivered */
	IS_RESET,   /* by the peer */
	STATES
};

FIXTURE(fuzz)
{
	struct rig r;
	struct model m;
	uint64_t random;
	uint32_t inputs[RIG_STREAMS + 1];
	uint64_t accepted, refused;	 /* frames */
	uint64_t heard, unheard, broken; /* messages; channels */
	uint64_t held, mended, lives;
};

FIXTURE_SETUP(fuzz)
{
	ASSERT_EQ(0, rig_up(&self->r));
	ASSERT_EQ(0, model_init(&self->m, &self->r));
	self->random = env_number("SHUNT_TEST_SEED", time(NULL));
}

FIXTURE_TEARDOWN(fuzz)
{
}

typedef FIXTURE_DATA(fuzz) fuzz;

static uint64_t be64_at(const unsigned char *b)
{
	__be64 v;

	memcpy(&v, b, sizeof(v));
	return be64toh(v);
}

static enum state state_of(uint32_t number)
{
	return number % STATES;
}

static unsigned peer_of(uint32_t number)
{
	return number > RIG_STREAMS / 2;
}

static void say_to(fuzz *f, enum message_type type, uint32_t number, uint64_t a,
		   uint64_t b)
{
	unsigned char m[64];

	rig_say(&f->r, peer_of(number), m, 0,
		rig_message(&f->r, m, type, number, a, b));
}

/* So much for an application that writes. */
static void write_some(fuzz *f, uint32_t number)
{
	unsigned char b[sizeof(struct shunt_record) + 3000];
	struct shunt_record record;
	int err;

	for (int i = 0; i < 5; i++) {
		record = rig_number(&f->r, number,
				    1 + craft_below(&f->random, 3000));
		rig_redirected(&f->r, b,
			       rig_queued(&f->r, b, &record,
					  craft_below(&f->random, 2)),
			       &err);
	}
	rig_tick(&f->r);
}

/* A stream of that number in its state. */
static void be_born(struct __test_metadata *_metadata, fuzz *f, uint32_t number)
{
	enum state state = state_of(number);
	struct shunt_stream *s = &f->r.streams[number];
	unsigned char b[CRAFT_MAX];
	uint32_t n;

	ASSERT_TRUE(rig_closed(&f->r, number))
	{
		const struct stream *st = f->r.px.streams[number];

		TH_LOG("stream %u: sent %llu, acknowledged %llu of %llu",
		       number, (unsigned long long)st->tx_sent,
		       (unsigned long long)st->tx_acked,
		       (unsigned long long)st->shm->tx_bytes);
	}
	model_reset(&f->m, number);
	f->inputs[number] = 0;
	f->lives++;
	if (state == IS_NONE)
		return;
	ASSERT_NE(NULL, rig_open(&f->r, number, peer_of(number),
				 craft_random(&f->random)));
	s->excluded = state == IS_OPEN;
	say_to(f, ENROL, number, 0, 0);
	rig_tick(&f->r);
	if (state == IS_OPEN)
		return;
	ASSERT_EQ(SHUNT_SRX_ARMED, s->rx);
	if (state == IS_ENROLLED)
		return;
	say_to(f, READY, number, 0, 0);
	write_some(f, number);
	say_to(f, PROMOTED, number, RIG_BASE, 0);
	s->rx_copied = state == IS_WAITING ? RIG_BASE - 1 : RIG_BASE;
	ASSERT_EQ(SHUNT_SRX_BASED, s->rx);
	rig_tick(&f->r);
	if (state == IS_ENDING)
		say_to(f, FINAL, number, RIG_BASE, 100000);
	if (state == IS_ENDED) {
		n = sizeof(struct shunt_frame) + 100;
		do
			craft_frame(&f->r, &f->random, number, b, 100);
		while (be64toh(((struct shunt_frame *)b)->offset));
		model_accept(&f->m, number, 0, b + n - 100, 100);
		ASSERT_TRUE(rig_datagram(&f->r, peer_of(number), b, n, 0));
		say_to(f, FINAL, number, RIG_BASE, 100);
		ASSERT_EQ(SHUNT_SRX_COMPLETE, s->rx);
	}
	if (state == IS_RESET) {
		say_to(f, ABORT, number, 0, 0);
		ASSERT_TRUE(f->r.px.streams[number]->doomed);
	}
}

/* ---- one input each: NULL, or what is wrong ---- */

/* One datagram, or many of one size as GRO puts them together. */
static uint32_t make_frames(fuzz *f, uint32_t number, unsigned char *b,
			    uint32_t *segment)
{
	const struct stream *st = f->r.px.streams[number];
	uint32_t payload = 1 + craft_below(&f->random, PAYLOAD), size = 0, n;
	bool one = craft_below(&f->random, 20) ||
		   (st && st->shm->rx == SHUNT_SRX_ARMED);

	*segment = 0;
	while (size < DATAGRAM - payload - sizeof(struct shunt_frame)) {
		unsigned char *at = b + size;
		unsigned dice = craft_below(&f->random, 8);

		n = craft_frame(&f->r, &f->random, number, at, payload);
		if (*segment && n != *segment)
			break;
		*segment = n;
		if (dice < 5)
			n = craft_damage(&f->random, at, n,
					 sizeof(struct shunt_frame), one);
		else if (dice < 6)
			craft_forge(&f->r, &f->random, at);
		size += n;
		if (one)
			*segment = n;
		if (one || !craft_below(&f->random, 60))
			break;
	}
	return size;
}

static const char *frames(fuzz *f, uint32_t number)
{
	unsigned peer = peer_of(number) ^ !craft_below(&f->random, 16);
	uint32_t segment, to, only = 0, refused = 0, n;
	static unsigned char b[DATAGRAM + CRAFT_MAX];

	n = make_frames(f, number, b, &segment);
	if (!n)
		return NULL;
	model_mark(&f->m);
	for (uint32_t at = 0; at < n; at += segment) {
		to = model_frame(&f->r, peer, b + at, segment);
		if (to)
			model_accept(&f->m, to, be64_at(b + at + 16),
				     b + at + 24, segment - 24);
		only = to ?: only;
		refused += !to;
		f->accepted += !!to;
	}
	if (!rig_datagram(&f->r, peer, b, n, segment))
		return "no slab is free";
	f->refused += refused;
	if (f->r.shm.refused - f->m.refused != refused)
		return "other frames are counted as refused";
	return model_changed(&f->m, only, MODEL_FRAME);
}

static const char *messages(fuzz *f, uint32_t number)
{
	unsigned peer = peer_of(number) ^ !craft_below(&f->random, 16);
	uint32_t n, to, length, cut;
	static unsigned char b[2 * CRAFT_MAX];
	int type, said;

	n = craft_message(&f->r, &f->random, number, b);
	if (craft_below(&f->random, 8) < 6)
		n = craft_damage(&f->random, b, n, 36, true);
	length = n < 2 ? 0 : b[0] << 8 | b[1];
	if (length >= sizeof(struct head) && length < n)
		n = length; /* what is behind it would be the next one */
	type = model_message(&f->r, peer, b, n, &to);
	model_mark(&f->m);
	if (type == REPAIR)
		model_accept(&f->m, to, be64_at(b + 12), b + 20, n - 20);
	/* In one piece, or two. */
	cut = craft_below(&f->random, 8) ? 0 : craft_below(&f->random, n + 1);
	said = rig_say(&f->r, peer, b, cut, n - cut);
	f->heard += type > 0;
	f->broken += type == MODEL_BROKEN;
	f->unheard += type <= 0;
	if ((said < 0) != (type == MODEL_BROKEN) ||
	    (said == 0) != (type == MODEL_WAITS && n))
		return "the channel should have ended, or not";
	return model_changed(&f->m, to, type);
}

static const char *held(fuzz *f, uint32_t number)
{
	static unsigned char b[CRAFT_MAX];
	uint32_t n = craft_held(&f->random, b), size;
	const struct stream *st = f->r.px.streams[number];
	unsigned injected = f->r.injected, differ = 0;
	struct shunt_event *e;
	bool fits, now;

	if (craft_below(&f->random, 8))
		n = craft_damage(&f->random, b, n, 100, true);
	if (craft_below(&f->random, 2))
		craft_partial(b, n);
	f->r.flow.life = craft_below(&f->random, 2) ? SHUNT_LIVE : 0;
	f->r.flow.overhead = craft_below(&f->random, 2) ? 28 : 48;
	/* Of its own, so that ASan sees what is read behind it. */
	size = craft_below(&f->random, 8) ? n : craft_below(&f->random, n + 1);
	e = malloc(sizeof(*e) + size);
	*e = (struct shunt_event){SHUNT_EV_HELD, number, 1, n};
	memcpy(e->frame, b, size);
	fits = size >= n && n <= SHUNT_HELD_MAX && n;
	now = fits && st && st->shm->rx == SHUNT_SRX_COMPLETE;
	model_mark(&f->m);
	stream_event(&f->r.px, e, sizeof(*e) + size);
	free(e);
	f->held += fits && st;
	if (f->r.injected - injected != now)
		return "a FIN goes when it is not its turn, or does not go";
	/* It may have got its TCP checksum. */
	for (uint32_t i = 0; now && i < n; i++)
		differ += f->r.frame[i] != b[i];
	f->mended += !!differ;
	if (now && (f->r.frame_length != n || differ > 2))
		return "another FIN than the one that came";
	return model_changed(&f->m, number, MODEL_HELD);
}

static const char *input(fuzz *f, uint32_t number)
{
	uint32_t dice = craft_below(&f->random, 100);
	const char *wrong = dice < 40	? frames(f, number)
			    : dice < 97 ? messages(f, number)
					: held(f, number);

	return wrong ?: model_deliveries(&f->m);
}

/* Time goes by; applications read, and write. */
static const char *between(fuzz *f)
{
	uint32_t number = 1 + craft_below(&f->random, RIG_STREAMS);
	struct stream *st = f->r.px.streams[number];

	rig_tick(&f->r);
	if (st)
		st->shm->rx_read = st->rx_next;
	if (st && st->shm->tx_based && !st->doomed && st->tx_final == UNKNOWN &&
	    st->tx_end - st->tx_acked < 100000)
		write_some(f, number);
	return model_deliveries(&f->m);
}

/* What malloc() has given. The slabs are apart: rig_is_empty(). */
static long heap_kb(void)
{
	return mallinfo2().uordblks >> 10;
}

TEST_F_TIMEOUT(fuzz, nothing_wrong_is_believed, 300)
{
	uint64_t n = env_number("SHUNT_TEST_MUTANTS",
				size_here(MUTANTS, MUTANTS / 40));
	const char *wrong = NULL;
	uint64_t inputs = 0, seed = self->random;
	long kb = 0;

	fprintf(stderr, "# NOTE SHUNT_TEST_SEED=%#llx repeats this\n",
		(unsigned long long)seed);
	for (uint32_t i = 1; i <= RIG_STREAMS; i++)
		be_born(_metadata, self, i);
	for (; self->refused + self->unheard < n && !wrong; inputs++) {
		uint32_t i = 1 + craft_below(&self->random, RIG_STREAMS);
		const struct stream *st = self->r.px.streams[i];

		if (self->inputs[i]++ == LIFE ||
		    (st && st->doomed && state_of(i) != IS_RESET &&
		     self->inputs[i] > 20))
			be_born(_metadata, self, i);
		wrong = input(self, i);
		if (!wrong && inputs % TICK == 0)
			wrong = between(self);
		if (!kb && self->refused + self->unheard > n / 5)
			kb = heap_kb();
	}
	EXPECT_EQ(NULL, wrong)
	{
		TH_LOG("input %llu: %s", (unsigned long long)inputs, wrong);
	}
	fprintf(stderr,
		"# NOTE %llu frames and %llu messages refused, %llu channels "
		"ended\n"
		"# NOTE %llu frames and %llu messages taken, %llu bytes "
		"delivered, %llu FINs, %llu streams\n",
		(unsigned long long)self->refused,
		(unsigned long long)self->unheard,
		(unsigned long long)self->broken,
		(unsigned long long)self->accepted,
		(unsigned long long)self->heard,
		(unsigned long long)self->m.out, (unsigned long long)self->held,
		(unsigned long long)self->lives);
	/* Rubbish alone would prove nothing. */
	EXPECT_LT(n / 10, self->accepted);
	EXPECT_LT(n / 20, self->heard);
	EXPECT_LT(n / 20, self->unheard - self->broken);
	EXPECT_LT(n / 100, self->held);
	EXPECT_LE(n / 20000, self->mended + 1); /* some 5 in 25,000 */
	EXPECT_LT(n * 10, self->m.out);
	for (uint32_t i = 1; i <= RIG_STREAMS; i++)
		EXPECT_TRUE(rig_closed(&self->r, i));
	EXPECT_TRUE(rig_is_empty(&self->r));
	kb = heap_kb() - kb;
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed for a while */
	EXPECT_GT(1 << 10, kb);
#endif
}

TEST_HARNESS_MAIN
