// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stands still for some seconds, in the midst of transfers: the proxies,
 * as on a host that is busy or was paused, or the network. TCP goes on behind
 * that, and so must connections on the message path.
 */
#include "harness.h"
#include "lab_message.h"
#include "lab_own.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PORT  7810
#define CONNS 10
#define KB    1000L
#define MB    1000000L

/* Longer than any of the proxy's time limits was. */
#define STOPPED_US (4 * MB)
#define OUTAGE_US  (9 * MB)
#define QUEUED_US  (MB / 2)
#define AT_WORK_US (MB / 100)

struct exchange {
	struct lab_pair p;
	size_t size; /* of a request; its answer is small */
	const atomic_bool *end;
	unsigned number, rounds;
	int err;
	pthread_t thread;
};

FIXTURE(stalls)
{
	struct lab lab;
	struct exchange e[CONNS];
	atomic_bool end;
	struct shunt_proxy was[LAB_HOSTS];
};

FIXTURE_SETUP(stalls)
{
	int listener;

	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, listener);
	self->end = false;
	for (unsigned i = 0; i < CONNS; i++) {
		struct exchange *e = &self->e[i];

		*e = (struct exchange){.number = i, .end = &self->end};
		ASSERT_EQ(0, lab_pair_on(&self->lab, &e->p, AF_INET, listener));
		ASSERT_TRUE(lab_promoted(&self->lab, &e->p));
	}
	close(listener);
	lab_proxies(&self->lab, self->was);
}

FIXTURE_TEARDOWN(stalls)
{
	for (unsigned i = 0; i < CONNS; i++)
		lab_pair_close(&self->e[i].p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Requests and answers, one behind the other, until the end. */
static void *run(void *arg)
{
	struct exchange *e = arg;

	while (!e->err && !*e->end) {
		uint64_t seed = (uint64_t)e->number << 32 | e->rounds++;

		e->err = stream_through(e->p.c, e->p.s, seed, e->size)
				 ?: stream_through(e->p.s, e->p.c, seed, KB);
	}
	if (e->err)
		fprintf(stderr, "# connection %u, request %u: %s\n", e->number,
			e->rounds, strerror(-e->err));
	return NULL;
}

static void begin(FIXTURE_DATA(stalls) * self, size_t size)
{
	for (unsigned i = 0; i < CONNS; i++) {
		struct exchange *e = &self->e[i];

		e->size = size;
		if (pthread_create(&e->thread, NULL, run, e))
			abort();
	}
}

/* They go on, all of them, and end well. */
static void goes_on(struct __test_metadata *_metadata,
		    FIXTURE_DATA(stalls) * self)
{
	struct shunt_proxy is[LAB_HOSTS];
	unsigned rounds[CONNS];

	for (unsigned i = 0; i < CONNS; i++)
		rounds[i] =
			__atomic_load_n(&self->e[i].rounds, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < CONNS; i++) {
		struct exchange *e = &self->e[i];

		EXPECT_TRUE(
			BECOMES(e->err ||
				__atomic_load_n(&e->rounds, __ATOMIC_RELAXED) >
					rounds[i] + 1));
	}
	self->end = true;
	for (unsigned i = 0; i < CONNS; i++) {
		pthread_join(self->e[i].thread, NULL);
		EXPECT_EQ(0, self->e[i].err);
	}
	lab_proxies(&self->lab, is);
	EXPECT_EQ(self->was[CLIENT].aborted, is[CLIENT].aborted);
	EXPECT_EQ(self->was[SERVER].aborted, is[SERVER].aborted);
}

static int stand_still(const struct shunt_proxy p[LAB_HOSTS], unsigned us)
{
	if (kill(p[CLIENT].worker, SIGSTOP) || kill(p[SERVER].worker, SIGSTOP))
		return -errno;
	usleep(us);
	return kill(p[CLIENT].worker, SIGCONT) ||
			       kill(p[SERVER].worker, SIGCONT)
		       ? -errno
		       : 0;
}

/* Once for all to be queued that is to be sent, and again while they come to
 * that. */
TEST_F_TIMEOUT(stalls, proxies_stand_still, 60)
{
	begin(self, size_here(4 * MB, MB));
	EXPECT_EQ(0, stand_still(self->was, QUEUED_US));
	usleep(AT_WORK_US);
	EXPECT_EQ(0, stand_still(self->was, STOPPED_US));
	goes_on(_metadata, self);
}

/* All that is sent is lost, both ways. */
TEST_F_TIMEOUT(stalls, network_stands_still, 60)
{
	begin(self, 10 * KB);
	ASSERT_TRUE(BECOMES(self->e[0].rounds > 1));
	EXPECT_EQ(0, lab_do(&self->lab, "block", "udp"));
	EXPECT_EQ(0, lab_do(&self->lab, "block", "tcp"));
	usleep(OUTAGE_US);
	EXPECT_EQ(0, lab_do(&self->lab, "block", "none"));
	goes_on(_metadata, self);
}

LAB_HARNESS_MAIN
