// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, where order and memory are at stake: records of several
 * threads that were queued in another order than numbered, records that never
 * come, and a peer that knows how to be believed and sends holes.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define STREAM	1
#define OTHER	2
#define THIRD	3
#define TOKEN	0x70c3e001
#define RECORDS 200
#define LENGTH	3000

/* Instead of liburing's: for so many calls the kernel has no memory. */
static unsigned no_memory;

int io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
	static int (*real)(struct io_uring * ring, unsigned n);

	if (no_memory) {
		no_memory--;
		return -EAGAIN;
	}
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, __func__);
	return real(ring, n);
}

FIXTURE(order)
{
	struct rig r;
	struct stream *st;
	struct shunt_record record[RECORDS];
	uint64_t random;
};

/* Both directions are promoted; what TCP brought before has been read, or has
 * not. */
static struct stream *begin(struct rig *r, uint32_t number, bool read)
{
	struct stream *st = rig_enrolled(r, number, TOKEN + number);

	rig_tell(r, PROMOTED, number, RIG_BASE, 0);
	r->streams[number].rx_copied = RIG_BASE - !read;
	rig_tick(r);
	return st;
}

FIXTURE_SETUP(order)
{
	ASSERT_EQ(0, rig_up(&self->r));
	self->random = env_number("SHUNT_TEST_SEED", time(NULL));
	fprintf(stderr, "# SHUNT_TEST_SEED=%#llx repeats this\n",
		(unsigned long long)self->random);
	self->st = begin(&self->r, STREAM, true);
	ASSERT_EQ(SHUNT_SRX_BASED, self->st->shm->rx);
	for (int i = 0; i < RECORDS; i++)
		self->record[i] =
			rig_number(&self->r, STREAM,
				   1 + craft_below(&self->random, LENGTH));
}

FIXTURE_TEARDOWN(order)
{
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_closed(&self->r, OTHER));
	EXPECT_TRUE(rig_closed(&self->r, THIRD));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* Into the redirection socket, in pieces as they are read. */
static void queue_bytes(struct __test_metadata *_metadata, struct rig *r,
			uint64_t *random, const unsigned char *b, uint32_t n)
{
	uint32_t k;
	int err;

	for (uint32_t at = 0; at < n; at += k) {
		k = craft_below(random, 3) ? n - at
					   : 1 + craft_below(random, n - at);
		ASSERT_TRUE(rig_redirected(r, b + at, k, &err));
		ASSERT_EQ(0, err);
	}
}

static void queue(struct __test_metadata *_metadata, struct rig *r,
		  uint64_t *random, const struct shunt_record *record)
{
	unsigned char b[sizeof(*record) + LENGTH];
	uint32_t n = rig_queued(r, b, record, craft_below(random, 2));

	queue_bytes(_metadata, r, random, b, n);
}

/* What has come to the peer since: frames of the stream, whose next byte is at
 * `at`; where it is after them. */
static uint64_t sent(struct __test_metadata *_metadata, struct rig *r,
		     uint64_t at)
{
	static unsigned char b[65536], want[65536];
	struct shunt_frame f;
	ssize_t n;

	while ((n = recv(r->wire[0], b, sizeof(b), MSG_DONTWAIT)) > 0) {
		ASSERT_LT(sizeof(f), n);
		memcpy(&f, b, sizeof(f));
		n -= sizeof(f);
		EXPECT_EQ(n, ntohs(f.length));
		EXPECT_EQ(at, be64toh(f.offset));
		craft_bytes(want, STREAM, at, n);
		EXPECT_EQ(0, memcmp(want, b + sizeof(f), n));
		at += n;
	}
	return at;
}

/* Until all of it has been sent and acknowledged. */
static void expect_all(struct __test_metadata *_metadata, struct rig *r,
		       const struct stream *st)
{
	uint64_t at = 0;

	for (int i = 0; i < 1000 && at < st->shm->tx_bytes; i++) {
		rig_tick(r);
		at = sent(_metadata, r, at);
		rig_tell(r, ACK, STREAM, at, at);
	}
	EXPECT_EQ(st->shm->tx_bytes, at);
	EXPECT_EQ(st->shm->tx_charged, st->shm->tx_released);
	EXPECT_FALSE(st->doomed);
}

TEST_F(order, records_queued_out_of_order_are_sent_in_order)
{
	/* As threads overtake each other: each by some. */
	for (int i = 0; i < RECORDS; i++) {
		int k = i + craft_below(&self->random, 8);
		struct shunt_record r = self->record[i];

		if (k < RECORDS) {
			self->record[i] = self->record[k];
			self->record[k] = r;
		}
	}
	for (int i = 0; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	expect_all(_metadata, &self->r, self->st);
}

/* Nor is a place for first bytes given back before those in front of it. */
TEST_F(order, first_bytes_are_taken_in_any_order)
{
	static unsigned char b[SHUNT_STARTS]
			      [sizeof(struct shunt_record) + LENGTH];
	const struct shunt_stream *s = self->st->shm;
	uint32_t length[SHUNT_STARTS], place[SHUNT_STARTS + 1];

	for (int i = 0, n; i < RECORDS; i += n) {
		n = 1 + craft_below(&self->random, SHUNT_STARTS);
		if (n > RECORDS - i)
			n = RECORDS - i;
		for (int j = 0; j < n; j++) {
			place[j] = s->tx_saved;
			length[j] = rig_queued(&self->r, b[j],
					       &self->record[i + j], true);
		}
		place[n] = s->tx_saved;
		for (int left = n; left; left--) {
			int k = craft_below(&self->random, n);

			while (!length[k])
				k = (k + 1) % n;
			queue_bytes(_metadata, &self->r, &self->random, b[k],
				    length[k]);
			length[k] = 0;
			/* Up to the first that is still to come */
			for (k = 0;
			     k < n && (!length[k] || place[k] == place[k + 1]);)
				k++;
			EXPECT_EQ(place[k], s->tx_taken);
		}
		EXPECT_EQ(s->tx_saved, s->tx_taken);
	}
	expect_all(_metadata, &self->r, self->st);
}

/* One read brings many, and what lies in front of one is not always a header.
 * A frame that is one piece has its own there, if it may. */
TEST_F(order, many_in_one_read)
{
	static unsigned char b[8 * (sizeof(struct shunt_record) + LENGTH)];
	uint32_t payload = 100 + craft_below(&self->random, 500), n;
	struct shunt_record *record = self->record;

	self->r.peer[0]->payload = payload;
	for (int i = 0; i < RECORDS;) {
		n = 0;
		for (int k = 1 + craft_below(&self->random, 8);
		     k-- && i < RECORDS; i++)
			n += rig_queued(&self->r, b + n, &record[i],
					craft_below(&self->random, 4));
		queue_bytes(_metadata, &self->r, &self->random, b, n);
	}
	for (int i = 0; i < RECORDS; i++) {
		n = 0;
		for (int k = 0; k < 6; k++) {
			*record = rig_number(&self->r, STREAM,
					     k % 2 ? payload : 30 + i);
			n += rig_queued(&self->r, b + n, record,
					craft_below(&self->random, 4));
		}
		queue_bytes(_metadata, &self->r, &self->random, b, n);
	}
	expect_all(_metadata, &self->r, self->st);
}

TEST_F(order, the_first_one_comes_last)
{
	uint64_t end = SHUNT_NSEC * 5 / 2;

	for (int i = RECORDS - 1; i; i--)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	for (uint64_t ns = 0; ns < end; ns += TICK_NS)
		rig_tick(&self->r);
	EXPECT_EQ(0, sent(_metadata, &self->r, 0));
	EXPECT_FALSE(self->st->doomed);
	queue(_metadata, &self->r, &self->random, &self->record[0]);
	expect_all(_metadata, &self->r, self->st);
}

/* The kernel had no memory for one. Better no connection than with a hole. */
static void lost(struct __test_metadata *_metadata, FIXTURE_DATA(order) * self,
		 int which)
{
	for (int i = 0; i < RECORDS; i++)
		if (i != which)
			queue(_metadata, &self->r, &self->random,
			      &self->record[i]);
	for (uint64_t ns = 0; ns < 4 * SHUNT_NSEC; ns += TICK_NS) {
		rig_tick(&self->r);
		rig_tell(&self->r, ACK, STREAM, self->st->tx_sent,
			 self->st->tx_sent);
	}
	EXPECT_TRUE(self->st->doomed);
	EXPECT_EQ(1, self->r.destroyed);
	EXPECT_EQ(1, self->r.shm.resets[SHUNT_RESET_MISSING]);
	sent(_metadata, &self->r, 0);
}

TEST_F(order, one_that_is_lost_resets_the_connection)
{
	lost(_metadata, self, 20);
}

TEST_F(order, so_does_the_last_one)
{
	lost(_metadata, self, RECORDS - 1);
}

/* A worker that ended for that would take all connections along. */
TEST_F(order, kernel_without_memory_is_asked_again)
{
	for (int i = 0; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	no_memory = 5;
	while (no_memory)
		ASSERT_EQ(0, ring_round(&self->r.px));
	expect_all(_metadata, &self->r, self->st);
}

/* The proxy had no CPU, or the host stood still: nothing is lost for that. */
TEST_F(order, none_is_missing_when_the_proxy_stood_still)
{
	for (int i = 0; i < 10; i++) {
		rig_tick(&self->r);
		rig_tick(&self->r);
		self->r.px.now_ns += 10 * SHUNT_NSEC;
	}
	EXPECT_FALSE(self->st->doomed);
	for (int i = 0; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	expect_all(_metadata, &self->r, self->st);
}

/* Others have queued so much that each read is full: it is behind that. */
TEST_F(order, none_is_missing_behind_a_long_queue)
{
	static unsigned char b[SLAB_SIZE];
	struct shunt_record r = {
		.magic = SHUNT_RECORD_MAGIC,
		.stream = RIG_STREAMS + 1, /* its bytes are dropped */
	};
	int err;

	for (uint64_t ns = 0; ns < 10 * SHUNT_NSEC; ns += TICK_NS) {
		ASSERT_LT(0, redirect_room(&self->r.px));
		r.length = self->r.px.room - sizeof(r);
		memcpy(b, &r, sizeof(r));
		ASSERT_TRUE(rig_redirected(&self->r, b, self->r.px.room, &err));
		ASSERT_EQ(0, err);
		rig_tick(&self->r);
	}
	EXPECT_FALSE(self->st->doomed);
	for (int i = 0; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	expect_all(_metadata, &self->r, self->st);
}

/* All that it may, and before and behind it. */
TEST_F(order, records_that_overlap_reset_the_connection)
{
	struct shunt_record r = self->record[1];

	queue(_metadata, &self->r, &self->random, &self->record[0]);
	queue(_metadata, &self->r, &self->random, &self->record[3]);
	r.offset = self->record[3].offset - 1;
	r.length = 2;
	EXPECT_FALSE(self->st->doomed);
	queue(_metadata, &self->r, &self->random, &r);
	EXPECT_TRUE(self->st->doomed);
	for (int i = 1; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
}

/* ---- what a peer may do that has the token ---- */

static void frame(struct __test_metadata *_metadata, struct rig *r,
		  uint32_t number, uint64_t offset, uint32_t n)
{
	struct {
		struct shunt_frame f;
		unsigned char bytes[100];
	} d = {.f = {.type = SHUNT_FRAME_DATA,
		     .length = htons(n),
		     .stream = htonl(number),
		     .token = htonl(TOKEN + number),
		     .base = htonl(RIG_BASE),
		     .offset = htobe64(offset)}};

	craft_bytes(d.bytes, number, offset, n);
	ASSERT_TRUE(rig_datagram(r, 0, &d, sizeof(d.f) + n, 0));
}

static void expect_delivered(struct __test_metadata *_metadata, struct rig *r,
			     uint32_t number, uint64_t offset)
{
	unsigned char b[100], want[100];
	struct shunt_record got;

	ASSERT_EQ(sizeof(got), recv(r->app, &got, sizeof(got), MSG_DONTWAIT));
	EXPECT_EQ(number, got.stream);
	ASSERT_EQ(100, recv(r->app, b, 100, MSG_DONTWAIT));
	craft_bytes(want, number, offset, 100);
	ASSERT_EQ(0, memcmp(b, want, 100));
}

/* What waits lies side by side, and is delivered each by itself. */
TEST_F(order, streams_that_wait_leave_each_other_alone)
{
	static const uint32_t waiting[] = {OTHER, THIRD};
	char b;

	for (int i = 0; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	expect_all(_metadata, &self->r, self->st);
	for (int i = 0; i < 2; i++) {
		begin(&self->r, waiting[i], false);
		frame(_metadata, &self->r, waiting[i], 0, 100);
	}
	rig_tick(&self->r);
	ASSERT_EQ(-1, recv(self->r.app, &b, 1, MSG_DONTWAIT));
	for (int i = 2; i--;) {
		self->r.streams[waiting[i]].rx_copied = RIG_BASE;
		rig_tick(&self->r);
		expect_delivered(_metadata, &self->r, waiting[i], 0);
	}
}

/* A byte, a hole, a byte: little to keep, and much to remember. */
TEST_F_TIMEOUT(order, holes_cost_bounded_memory, 120)
{
	struct stream *other = begin(&self->r, OTHER, true);
	long before, mb;

	for (int i = 0; i < RECORDS; i++)
		queue(_metadata, &self->r, &self->random, &self->record[i]);
	expect_all(_metadata, &self->r, self->st);
	before = mallinfo2().uordblks >> 20;
	for (uint64_t i = 1; i <= 1000000; i++)
		frame(_metadata, &self->r, STREAM, 2 * i, 1);
	mb = (mallinfo2().uordblks >> 20) - before;
#ifndef __SANITIZE_ADDRESS__
	EXPECT_LT(10, mb);
	EXPECT_GT(20, mb);
#else
	(void)mb;
#endif
	EXPECT_FALSE(self->st->doomed);
	/* Who sends in order is served. */
	for (int i = 0; i < 1000; i++) {
		frame(_metadata, &self->r, OTHER, i * 100, 100);
		expect_delivered(_metadata, &self->r, OTHER, i * 100);
	}
	EXPECT_EQ(100000, other->rx_next);
}

TEST_HARNESS_MAIN
