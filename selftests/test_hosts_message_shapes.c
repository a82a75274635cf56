// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and how connections begin and end: who speaks first, and who
 * is the first to have nothing more to say.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define PORT 7660

FIXTURE(shapes)
{
	struct lab lab;
	int listener;
	struct lab_pair p;
	struct talk t;
	struct shunt_proxy was[LAB_HOSTS];
};

FIXTURE_SETUP(shapes)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, self->listener);
	lab_proxies(&self->lab, self->was);
}

FIXTURE_TEARDOWN(shapes)
{
	lab_pair_close(&self->p);
	close(self->listener);
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

#define CONNECT()                                                       \
	do {                                                            \
		ASSERT_EQ(0, lab_pair_on(&self->lab, &self->p, AF_INET, \
					 self->listener));              \
		self->t = talk_of(&self->p);                            \
	} while (0)

static struct talk talk_of(const struct lab_pair *p)
{
	return (struct talk){.c = {p->c, talk_send, talk_recv},
			     .s = {p->s, talk_send, talk_recv}};
}

/* More of the same in that direction, until it takes the path: does it? */
static bool goes_over(struct lab *lab, struct talk *t, int direction)
{
	enum lab_host from = direction == TO_SERVER ? CLIENT : SERVER;
	uint64_t was = lab_proxy(lab, from).promoted;
	uint64_t end = now_us() + LAB_TIMEOUT * 500000ULL;

	while (lab_proxy(lab, from).promoted == was) {
		if (now_us() > end || talk_one_way(t, direction, 100))
			return false;
		usleep(5000);
	}
	return true;
}

static uint64_t sent(struct lab *lab, enum lab_host host)
{
	return lab_proxy(lab, host).bytes_tx;
}

/* The listener has the connection when there is something to read, and what
 * there is has come by TCP. */
TEST_F(shapes, tcp_defer_accept)
{
	struct lab *lab = &self->lab;
	struct timeval limit = {.tv_sec = LAB_TIMEOUT};
	int seconds = 5;
	uint64_t was, then;
	char c = 0;

	ASSERT_EQ(0, setsockopt(self->listener, IPPROTO_TCP, TCP_DEFER_ACCEPT,
				&seconds, sizeof(seconds)));
	then = now_us();
	self->p.c = lab_connect(lab, AF_INET, PORT);
	ASSERT_LE(0, self->p.c);
	ASSERT_EQ(1, send(self->p.c, "x", 1, 0));
	self->p.s = accept(self->listener, NULL, NULL);
	ASSERT_LE(0, self->p.s);
	setsockopt(self->p.s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ASSERT_EQ(1, recv(self->p.s, &c, 1, 0));
	EXPECT_EQ('x', c);
	/* Nobody has waited for a timer, which has a second. */
	EXPECT_GT(500000ULL * time_factor(), now_us() - then);
	self->t = talk_of(&self->p);
	ASSERT_TRUE(talk_promoted(lab, &self->t));
	was = sent(lab, CLIENT);
	ASSERT_EQ(0, talk_one_way(&self->t, TO_SERVER, 50000));
	EXPECT_TOOK_PATH(was, sent(lab, CLIENT), 50000);
	was = sent(lab, SERVER);
	ASSERT_EQ(0, talk_one_way(&self->t, TO_CLIENT, 50000));
	EXPECT_TOOK_PATH(was, sent(lab, SERVER), 50000);
}

/* It greets, and is answered: as mail servers do. */
TEST_F(shapes, server_speaks_first)
{
	struct lab *lab = &self->lab;
	uint64_t was;

	CONNECT();
	ASSERT_EQ(0, talk_one_way(&self->t, TO_CLIENT, 70));
	ASSERT_TRUE(talk_promoted(lab, &self->t));
	for (int i = 1; i < 20; i++) {
		was = sent(lab, SERVER);
		ASSERT_EQ(0, talk_one_way(&self->t, TO_CLIENT, 1000 * i));
		EXPECT_TOOK_PATH(was, sent(lab, SERVER), 1000 * i);
		was = sent(lab, CLIENT);
		ASSERT_EQ(0, talk_one_way(&self->t, TO_SERVER, 70));
		EXPECT_EQ(was + 70, sent(lab, CLIENT));
	}
}

/* The client never says a word. */
TEST_F(shapes, only_the_server_speaks)
{
	struct lab *lab = &self->lab;
	uint64_t was;

	CONNECT();
	ASSERT_TRUE(goes_over(lab, &self->t, TO_CLIENT));
	was = sent(lab, SERVER);
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, talk_one_way(&self->t, TO_CLIENT, 5000));
	EXPECT_TOOK_PATH(was, sent(lab, SERVER), 100000);
	ASSERT_EQ(0, shutdown(self->p.s, SHUT_WR));
	EXPECT_TRUE(stream_at_end(self->p.c));
}

TEST_F(shapes, only_the_client_speaks)
{
	struct lab *lab = &self->lab;
	uint64_t was;

	CONNECT();
	ASSERT_TRUE(goes_over(lab, &self->t, TO_SERVER));
	was = sent(lab, CLIENT);
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, talk_one_way(&self->t, TO_SERVER, 5000));
	EXPECT_TOOK_PATH(was, sent(lab, CLIENT), 100000);
	ASSERT_EQ(0, shutdown(self->p.c, SHUT_WR));
	EXPECT_TRUE(stream_at_end(self->p.s));
}

/* ---- echo, up to the end ---- */

struct echo {
	int fd;
	bool at_end; /* reads all before it answers */
	char *buf;
	size_t size;
	int err;
};

static int send_all(int fd, const char *buf, size_t len)
{
	ssize_t n = 1;

	for (; len && n > 0; buf += n, len -= n) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		if (n < 0)
			return -errno;
	}
	return 0;
}

static void *echo(void *arg)
{
	struct echo *e = arg;
	size_t have = 0;
	ssize_t n;

	while ((n = recv(e->fd, e->buf + have, e->size - have, 0)) > 0) {
		if (e->at_end)
			have += n;
		else if ((e->err = send_all(e->fd, e->buf, n)))
			break;
	}
	if (n < 0)
		e->err = -errno;
	if (!e->err)
		e->err = send_all(e->fd, e->buf, have);
	close(e->fd);
	return NULL;
}

/* The client shuts down behind what it has sent; the server sends all of it
 * back, and closes. */
static void half_close_echo(struct __test_metadata *_metadata, struct lab *lab,
			    struct lab_pair *p, bool at_end, size_t len)
{
	struct echo e = {.fd = p->s, .at_end = at_end, .size = len + 1};
	struct stream tx = {.fd = p->c, .send = true, .seed = 9, .to = len};
	struct stream rx = {.fd = p->c, .seed = 9, .to = len};
	uint64_t up = sent(lab, CLIENT), down = sent(lab, SERVER);
	pthread_t thread;

	e.buf = malloc(e.size);
	ASSERT_EQ(0, pthread_create(&thread, NULL, echo, &e));
	ASSERT_EQ(0, stream_run(&tx));
	ASSERT_EQ(0, shutdown(p->c, SHUT_WR));
	EXPECT_EQ(0, stream_run(&rx));
	EXPECT_TRUE(stream_at_end(p->c));
	pthread_join(thread, NULL);
	p->s = -1;
	EXPECT_EQ(0, e.err);
	free(e.buf);
	EXPECT_TOOK_PATH(up, sent(lab, CLIENT), len);
	EXPECT_TOOK_PATH(down, sent(lab, SERVER), len);
}

TEST_F(shapes, half_close_echo_behind_it)
{
	static const size_t sizes[] = {1, 1449, 100000, 2000000};

	for (int i = 0; i < size_here(4, 3); i++) {
		CONNECT();
		ASSERT_TRUE(talk_promoted(&self->lab, &self->t));
		half_close_echo(_metadata, &self->lab, &self->p, true,
				sizes[i]);
		close(self->p.c);
		self->p.c = -1;
	}
}

TEST_F(shapes, half_close_echo_meanwhile)
{
	static const size_t sizes[] = {1, 1449, 100000, 2000000};

	for (int i = 0; i < size_here(4, 3); i++) {
		CONNECT();
		ASSERT_TRUE(talk_promoted(&self->lab, &self->t));
		half_close_echo(_metadata, &self->lab, &self->p, false,
				sizes[i]);
		close(self->p.c);
		self->p.c = -1;
	}
}

LAB_HARNESS_MAIN
