// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and many connections at once, between programs that do not
 * block: one epoll loop for all clients, one for all servers.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define PORT 7760
#define MANY 1000
#define FEW  100 /* in guests */

/* One end of a connection: the client's sends a request and reads the response,
 * the server's the other way round. */
struct end {
	int fd;
	unsigned number; /* of the connection */
	bool client;
	bool sending;
	unsigned round;
	size_t at; /* bytes of this request or response */
};

/* One side's loop. */
struct side {
	struct end ends[MANY];
	unsigned n, done;
	int epoll;
	unsigned rounds, most; /* so many, of so many bytes at most */
	int err;
	pthread_t thread;
};

static size_t size_of(const struct side *side, const struct end *e,
		      bool request)
{
	unsigned x =
		e->number * 2654435761U + e->round * 40503U + request * 977U;

	return 1 + (x >> 8) % side->most;
}

static uint64_t seed_of(const struct end *e, bool request)
{
	return (uint64_t)e->number << 20 | e->round << 1 | request;
}

static int move(struct end *e, size_t size, bool request)
{
	static _Thread_local char buf[65536], want[65536];
	size_t len = size - e->at < sizeof(buf) ? size - e->at : sizeof(buf);
	ssize_t n;

	pattern(want, seed_of(e, request), e->at, len);
	if (e->sending)
		n = send(e->fd, want, len, MSG_NOSIGNAL);
	else
		n = recv(e->fd, buf, len, 0);
	if (n <= 0)
		return n ? -errno : -EPIPE;
	if (!e->sending && memcmp(buf, want, n))
		return -EBADMSG;
	e->at += n;
	return 0;
}

/* As far as it goes: 0, or -errno. */
static int go_on(struct side *side, struct end *e)
{
	while (e->round < side->rounds) {
		bool request = e->client == e->sending;
		size_t size = size_of(side, e, request);
		int err = move(e, size, request);

		if (err)
			return err == -EAGAIN ? 0 : err;
		if (e->at < size)
			continue;
		e->at = 0;
		/* The client's round ends with reading, the server's not. */
		e->round += e->client != e->sending;
		e->sending = !e->sending;
		side->done += e->round == side->rounds;
	}
	return 0;
}

static void *loop(void *arg)
{
	struct epoll_event events[64];
	struct side *side = arg;

	for (unsigned i = 0; i < side->n && !side->err; i++)
		side->err = go_on(side, &side->ends[i]);
	while (side->done < side->n && !side->err) {
		int n = epoll_wait(side->epoll, events, 64, 1000 * LAB_TIMEOUT);

		if (n <= 0)
			side->err = n ? -errno : -ETIMEDOUT;
		for (int i = 0; i < n && !side->err; i++)
			side->err = go_on(side, events[i].data.ptr);
	}
	if (side->err)
		fprintf(stderr, "# %s: %u of %u connections done: %s\n",
			side->ends[0].client ? "client" : "server", side->done,
			side->n, strerror(-side->err));
	return NULL;
}

FIXTURE(load)
{
	struct lab lab;
	struct side side[2]; /* clients, servers */
	unsigned n;
};

static void add(struct __test_metadata *_metadata, struct side *side, int fd,
		unsigned number)
{
	struct end *e = &side->ends[number];
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
				    .data.ptr = e};

	e->fd = fd;
	e->number = number;
	side->n = number + 1;
	ASSERT_EQ(0, fcntl(fd, F_SETFL, O_NONBLOCK));
	ASSERT_EQ(0, epoll_ctl(side->epoll, EPOLL_CTL_ADD, fd, &event));
}

FIXTURE_SETUP(load)
{
	struct rlimit files;
	int listener;

	self->n = size_here(MANY, FEW);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, listener);
	self->side[0].epoll = epoll_create1(EPOLL_CLOEXEC);
	self->side[1].epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < self->n; i++) {
		struct lab_pair p;

		ASSERT_EQ(0, lab_pair_on(&self->lab, &p, AF_INET, listener));
		add(_metadata, &self->side[0], p.c, i);
		add(_metadata, &self->side[1], p.s, i);
	}
	close(listener);
}

FIXTURE_TEARDOWN(load)
{
	for (unsigned i = 0; i < self->n; i++) {
		close(self->side[0].ends[i].fd);
		close(self->side[1].ends[i].fd);
	}
	close(self->side[0].epoll);
	close(self->side[1].epoll);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Bytes of all requests, and of all responses, of so many rounds. */
static uint64_t bytes(const struct side *side, bool request)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < side->n; i++)
		for (unsigned r = 0; r < side->rounds; r++) {
			struct end e = {.number = i, .round = r};

			sum += size_of(side, &e, request);
		}
	return sum;
}

static bool exchange(struct side side[2], unsigned rounds, unsigned most)
{
	for (int s = 0; s < 2; s++) {
		for (unsigned i = 0; i < side[s].n; i++) {
			struct end *e = &side[s].ends[i];

			e->client = e->sending = !s;
			e->round = e->at = 0;
		}
		side[s].done = 0;
		side[s].rounds = rounds;
		side[s].most = most;
		if (pthread_create(&side[s].thread, NULL, loop, &side[s]))
			return false;
	}
	pthread_join(side[0].thread, NULL);
	pthread_join(side[1].thread, NULL);
	return !side[0].err && !side[1].err;
}

TEST_F_TIMEOUT(load, requests_and_responses, 90)
{
	struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];
	uint64_t end = now_us() + LAB_TIMEOUT * 1000000ULL;
	struct side *side = self->side;

	lab_proxies(&self->lab, was);
	do {
		ASSERT_TRUE(exchange(side, 2, 100));
		usleep(5000);
		lab_proxies(&self->lab, is);
	} while ((is[CLIENT].promoted - was[CLIENT].promoted < self->n ||
		  is[SERVER].promoted - was[SERVER].promoted < self->n) &&
		 now_us() < end);
	EXPECT_EQ(self->n, is[CLIENT].promoted - was[CLIENT].promoted);
	EXPECT_EQ(self->n, is[SERVER].promoted - was[SERVER].promoted);
	lab_proxies(&self->lab, was);
	ASSERT_TRUE(exchange(side, size_here(10, 3), 20000));
	lab_proxies(&self->lab, is);
	EXPECT_TOOK_PATH(was[CLIENT].bytes_tx, is[CLIENT].bytes_tx,
			 bytes(&side[0], true));
	EXPECT_TOOK_PATH(was[SERVER].bytes_tx, is[SERVER].bytes_tx,
			 bytes(&side[1], false));
	EXPECT_TRUE(lab_undisturbed(&self->lab, was));
}

LAB_HARNESS_MAIN
