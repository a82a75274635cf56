// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and how applications wait: a wake-up too few and a test
 * stands still; one too many, and a read that should have bytes has none.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>

#define PORT 7640

FIXTURE(waits)
{
	struct lab lab;
	struct lab_pair p;
	struct talk t;
};

FIXTURE_SETUP(waits)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	self->t = (struct talk){.c = {self->p.c, talk_send, talk_recv},
				.s = {self->p.s, talk_send, talk_recv}};
}

FIXTURE_TEARDOWN(waits)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Messages to and fro, each waited for; now and then one of many frames. */
static void talk(struct __test_metadata *_metadata, struct lab *lab,
		 struct talk *t)
{
	struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];
	int rounds = size_here(400, 40);
	size_t sum = 0;

	ASSERT_TRUE(talk_promoted(lab, t));
	lab_proxies(lab, was);
	for (int i = 1; i <= rounds; i++) {
		size_t len = i % 40 ? 1 + i * 37 % 3000 : 100000;

		ASSERT_EQ(0, talk_one_way(t, TO_SERVER, len));
		ASSERT_EQ(0, talk_one_way(t, TO_CLIENT, len));
		sum += len;
	}
	lab_proxies(lab, is);
	EXPECT_TOOK_PATH(was[CLIENT].bytes_tx, is[CLIENT].bytes_tx, sum);
	EXPECT_TOOK_PATH(was[SERVER].bytes_tx, is[SERVER].bytes_tx, sum);
	EXPECT_TRUE(lab_undisturbed(lab, was));
}

TEST_F(waits, blocking)
{
	talk(_metadata, &self->lab, &self->t);
}

/* ---- sockets that do not block ---- */

#define WAIT_MS (1000 * LAB_TIMEOUT)

/* wait() for POLLIN or POLLOUT: 0 or -errno. Only when there is nothing to do:
 * so it is right for edges, too. */
#define DEFINE_WAITER(name, wait)                                              \
	static int write_##name(struct talker *t, const void *buf, size_t len) \
	{                                                                      \
		int n, err;                                                    \
                                                                               \
		while ((n = talk_send(t, buf, len)) == -EAGAIN)                \
			if ((err = wait(t, POLLOUT)))                          \
				return err;                                    \
		return n;                                                      \
	}                                                                      \
	static int read_##name(struct talker *t, void *buf, size_t len)        \
	{                                                                      \
		int n, err;                                                    \
                                                                               \
		while ((n = talk_recv(t, buf, len)) == -EAGAIN)                \
			if ((err = wait(t, POLLIN)))                           \
				return err;                                    \
		return n;                                                      \
	}

static int by_poll(struct talker *t, int events)
{
	struct pollfd pfd = {.fd = t->fd, .events = events};
	int n = poll(&pfd, 1, WAIT_MS);

	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

static int by_select(struct talker *t, int events)
{
	struct timeval timeout = {.tv_sec = LAB_TIMEOUT};
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(t->fd, &set);
	n = select(t->fd + 1, events & POLLIN ? &set : NULL,
		   events & POLLOUT ? &set : NULL, NULL, &timeout);
	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

/* own: an epoll descriptor that has the socket. EPOLLIN is POLLIN, and so on;
 * what we do not wait for may wake us as well, for nothing. */
static int by_epoll(struct talker *t, int events)
{
	uint64_t end = now_us() + 1000ULL * WAIT_MS;
	struct epoll_event e;
	int n;

	do {
		n = epoll_wait(*(int *)t->own, &e, 1, WAIT_MS);
		if (n <= 0)
			return n ? -errno : -ETIMEDOUT;
	} while (!(e.events & (events | EPOLLHUP | EPOLLERR)) &&
		 now_us() < end);
	return 0;
}

DEFINE_WAITER(poll, by_poll)
DEFINE_WAITER(select, by_select)
DEFINE_WAITER(epoll, by_epoll)

static void do_not_block(struct __test_metadata *_metadata, struct talk *t)
{
	ASSERT_EQ(0, fcntl(t->c.fd, F_SETFL, O_NONBLOCK));
	ASSERT_EQ(0, fcntl(t->s.fd, F_SETFL, O_NONBLOCK));
}

#define USE(t, way)                                        \
	do {                                               \
		(t)->c.write = (t)->s.write = write_##way; \
		(t)->c.read = (t)->s.read = read_##way;    \
	} while (0)

TEST_F(waits, poll)
{
	do_not_block(_metadata, &self->t);
	USE(&self->t, poll);
	talk(_metadata, &self->lab, &self->t);
}

TEST_F(waits, select)
{
	do_not_block(_metadata, &self->t);
	USE(&self->t, select);
	talk(_metadata, &self->lab, &self->t);
}

static void epoll_talk(struct __test_metadata *_metadata, struct lab *lab,
		       struct talk *t, uint32_t events)
{
	struct talker *end[] = {&t->c, &t->s};
	int fds[2];

	do_not_block(_metadata, t);
	for (int i = 0; i < 2; i++) {
		struct epoll_event e = {.events = events};

		fds[i] = epoll_create1(EPOLL_CLOEXEC);
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, epoll_ctl(fds[i], EPOLL_CTL_ADD, end[i]->fd, &e));
		end[i]->own = &fds[i];
	}
	USE(t, epoll);
	talk(_metadata, lab, t);
	close(fds[0]);
	close(fds[1]);
}

TEST_F(waits, epoll_level)
{
	epoll_talk(_metadata, &self->lab, &self->t, EPOLLIN);
}

/* Registered once, for all there is: so every edge counts. */
TEST_F(waits, epoll_edge)
{
	epoll_talk(_metadata, &self->lab, &self->t,
		   EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* ---- io_uring ---- */

#define BUFFERS	    8
#define BUFFER_SIZE 4096

/* An application's ring, and buffers that a multishot receive fills. */
struct uring {
	struct io_uring ring;
	struct io_uring_buf_ring *group;
	char *buffers;
	bool armed;
	int have; /* bytes of that buffer that have not been read … */
	int at;	  /* … from here on */
	int number;
};

static int completed(struct io_uring *ring, uint32_t *flags)
{
	struct __kernel_timespec timeout = {.tv_sec = LAB_TIMEOUT};
	struct io_uring_cqe *cqe;
	int err, res;

	err = io_uring_submit(ring);
	if (err >= 0)
		err = io_uring_wait_cqe_timeout(ring, &cqe, &timeout);
	if (err < 0)
		return err;
	res = cqe->res;
	*flags = cqe->flags;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

static int write_uring(struct talker *t, const void *buf, size_t len)
{
	struct uring *u = t->own;
	uint32_t flags;

	io_uring_prep_send(io_uring_get_sqe(&u->ring), t->fd, buf, len,
			   MSG_NOSIGNAL);
	return completed(&u->ring, &flags);
}

static int read_uring(struct talker *t, void *buf, size_t len)
{
	struct uring *u = t->own;
	uint32_t flags;

	io_uring_prep_recv(io_uring_get_sqe(&u->ring), t->fd, buf, len, 0);
	return completed(&u->ring, &flags) ?: -EPIPE;
}

static void give(struct uring *u, int number)
{
	io_uring_buf_ring_add(u->group, u->buffers + number * BUFFER_SIZE,
			      BUFFER_SIZE, number,
			      io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(u->group, 1);
}

/* One request for all messages to come. It ends when buffers run out. */
static int read_multishot(struct talker *t, void *buf, size_t len)
{
	struct uring *u = t->own;
	uint32_t flags;

	while (!u->have) {
		if (!u->armed) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

			io_uring_prep_recv_multishot(sqe, t->fd, NULL, 0, 0);
			sqe->flags |= IOSQE_BUFFER_SELECT;
			u->armed = true;
		}
		u->have = completed(&u->ring, &flags);
		u->armed = flags & IORING_CQE_F_MORE;
		if (u->have == -ENOBUFS)
			u->have = 0;
		else if (u->have <= 0)
			return u->have ?: -EPIPE;
		else
			u->number = flags >> IORING_CQE_BUFFER_SHIFT;
		u->at = 0;
	}
	if (len > (size_t)u->have)
		len = u->have;
	memcpy(buf, u->buffers + u->number * BUFFER_SIZE + u->at, len);
	u->at += len;
	u->have -= len;
	if (!u->have)
		give(u, u->number);
	return len;
}

static void make_ring(struct __test_metadata *_metadata, struct uring *u)
{
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS};

	ASSERT_EQ(0, io_uring_queue_init(8, &u->ring, 0));
	u->group = mmap(
		NULL, BUFFERS * (sizeof(struct io_uring_buf) + BUFFER_SIZE),
		PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)u->group);
	u->buffers = (char *)u->group + BUFFERS * sizeof(struct io_uring_buf);
	reg.ring_addr = (uintptr_t)u->group;
	ASSERT_EQ(0, io_uring_register_buf_ring(&u->ring, &reg, 0));
	io_uring_buf_ring_init(u->group);
	for (int i = 0; i < BUFFERS; i++)
		give(u, i);
}

static void uring_talk(struct __test_metadata *_metadata, struct lab *lab,
		       struct talk *t)
{
	struct uring u[2] = {};

	make_ring(_metadata, &u[0]);
	make_ring(_metadata, &u[1]);
	t->c.own = &u[0];
	t->s.own = &u[1];
	talk(_metadata, lab, t);
	io_uring_queue_exit(&u[0].ring);
	io_uring_queue_exit(&u[1].ring);
}

TEST_F(waits, io_uring)
{
	USE(&self->t, uring);
	uring_talk(_metadata, &self->lab, &self->t);
}

TEST_F(waits, io_uring_multishot)
{
	self->t.c.read = self->t.s.read = read_multishot;
	uring_talk(_metadata, &self->lab, &self->t);
}

LAB_HARNESS_MAIN
