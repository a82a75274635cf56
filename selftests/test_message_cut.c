// SPDX-License-Identifier: GPL-2.0-only
/*
 * The proxy's own code, and a record of which the kernel delivers a part, for
 * lack of memory. The send says that all of it was taken; SK_MSG sees the rest
 * as something that is no record, and counts that.
 */
#include "proxy/craft.h"

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#define STREAM 1
#define TOKEN  0x70c3e001
#define LENGTH 1000

FIXTURE(cut)
{
	struct rig r;
	struct stream *st;
	pthread_t kernel;
	_Atomic bool short_of_memory;
	_Atomic bool end;
};

/* SK_MSG, which counts while the proxy sends */
static void *kernel(void *arg)
{
	FIXTURE_DATA(cut) *self = arg;

	while (!self->end)
		if (self->short_of_memory)
			__atomic_add_fetch(&self->r.shm.cut, 1,
					   __ATOMIC_RELAXED);
	return NULL;
}

FIXTURE_SETUP(cut)
{
	struct rig *r = &self->r;

	ASSERT_EQ(0, rig_up(r));
	self->st = rig_enrolled(r, STREAM, TOKEN);
	rig_tell(r, PROMOTED, STREAM, RIG_BASE, 0);
	r->streams[STREAM].rx_copied = RIG_BASE;
	rig_tick(r);
	ASSERT_EQ(0, pthread_create(&self->kernel, NULL, kernel, self));
}

FIXTURE_TEARDOWN(cut)
{
	self->end = true;
	pthread_join(self->kernel, NULL);
	EXPECT_TRUE(rig_closed(&self->r, STREAM));
	EXPECT_TRUE(rig_is_empty(&self->r));
}

/* How much of one more frame's bytes is sent to the application */
static ssize_t deliver(struct rig *r, uint64_t offset)
{
	unsigned char b[sizeof(struct shunt_frame) + LENGTH], got[sizeof(b)];
	struct shunt_frame f = {
		.type = SHUNT_FRAME_DATA,
		.length = htons(LENGTH),
		.stream = htonl(STREAM),
		.token = htonl(TOKEN),
		.base = htonl(RIG_BASE),
		.offset = htobe64(offset),
	};
	ssize_t n;

	memcpy(b, &f, sizeof(f));
	craft_bytes(b + sizeof(f), STREAM, offset, LENGTH);
	rig_datagram(r, 0, b, sizeof(b), 0);
	n = recv(r->app, got, sizeof(got), MSG_DONTWAIT);
	return n > 0 ? n - (ssize_t)sizeof(struct shunt_record) : 0;
}

/* What is behind the hole must not be taken for what is missing. */
TEST_F(cut, nothing_is_delivered_behind_it)
{
	EXPECT_EQ(LENGTH, deliver(&self->r, 0));
	EXPECT_FALSE(self->st->doomed);
	self->short_of_memory = true;
	/* Until one is counted in the middle of a send, or time is over. */
	for (uint64_t at = LENGTH; !self->st->doomed; at += LENGTH)
		deliver(&self->r, at);
	self->short_of_memory = false;
	EXPECT_TRUE(self->st->doomed);
	EXPECT_EQ(1, self->r.destroyed);
	EXPECT_EQ(1, self->r.shm.resets[SHUNT_RESET_MISSING]);
	EXPECT_EQ(0, deliver(&self->r, self->st->rx_next));
}

TEST_HARNESS_MAIN
