// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path under programs whose reads block: such a read may wait, and
 * return bytes, but must not return EAGAIN, which TCP never does. What provokes
 * it are writes that have to wait for room in the send buffer while the path is
 * being set up: the acknowledgements behind them wake whoever reads.
 */
#include "harness.h"
#include "lab_message.h"
#include "lab_own.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PORT	7790
#define AT_ONCE 50 /* connections; */
#define GUEST	10 /* in guests, which are slow */
#define KB	1000L
#define SMALL	100
#define LARGE	(1000 * KB)
#define LARGES	size_here(3, 1)

/* What one end of a connection does in a round: bytes to send, and to read. */
struct way {
	size_t up, down; /* requests and responses of the large rounds */
};

FIXTURE(blocking)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(blocking)
{
	struct way way;
};

FIXTURE_VARIANT_ADD(blocking, requests){.way = {LARGE, SMALL}};
FIXTURE_VARIANT_ADD(blocking, responses){.way = {SMALL, LARGE}};

FIXTURE_SETUP(blocking)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(blocking)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

struct connection {
	struct lab_pair p;
	unsigned number;
	const struct way *way;
	unsigned smalls; /* rounds before the large ones */
	unsigned again;	 /* EAGAINs, of both ends … */
	int err[2];
	pthread_t thread[2];
};

static ssize_t read_by(unsigned how, int fd, void *buf, size_t len)
{
	struct iovec iov[2] = {{buf, len / 2},
			       {(char *)buf + len / 2, len - len / 2}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	switch (how % 4) {
	case 0:
		return read(fd, buf, len);
	case 1:
		return recv(fd, buf, len, 0);
	case 2:
		return recvmsg(fd, &msg, 0);
	default:
		return readv(fd, iov, 2);
	}
}

static int write_all(int fd, uint64_t seed, size_t len, void *buf)
{
	ssize_t n;

	pattern(buf, seed, 0, len);
	for (size_t done = 0; done < len; done += n) {
		n = send(fd, (char *)buf + done, len - done, MSG_NOSIGNAL);
		if (n < 0)
			return -errno;
	}
	return 0;
}

static int read_all(struct connection *c, int fd, uint64_t seed, size_t len,
		    char *buf, char *want)
{
	ssize_t n;

	for (size_t done = 0; done<len; done += n> 0 ? n : 0) {
		uint64_t then = now_us();

		n = read_by(c->number, fd, buf + done, len - done);
		if (!n)
			return -EPIPE;
		if (n > 0)
			continue;
		/* Not the one of SO_RCVTIMEO */
		if (errno != EAGAIN ||
		    now_us() - then > LAB_TIMEOUT * 900000ULL)
			return -errno;
		__atomic_add_fetch(&c->again, 1, __ATOMIC_RELAXED);
	}
	pattern(want, seed, 0, len);
	return memcmp(buf, want, len) ? -EBADMSG : 0;
}

static int run_end(struct connection *c, bool client)
{
	char *buf = malloc(2 * LARGE), *want = buf + LARGE;
	int fd = client ? c->p.c : c->p.s, err = 0;

	for (unsigned i = 0; i < c->smalls + LARGES && !err; i++) {
		bool large = i >= c->smalls;
		size_t up = large ? c->way->up : SMALL;
		size_t down = large ? c->way->down : SMALL;
		uint64_t seed = (uint64_t)c->number << 20 | i << 1;

		if (client)
			err = write_all(fd, seed, up, buf)
				      ?: read_all(c, fd, seed + 1, down, buf,
						  want);
		else
			err = read_all(c, fd, seed, up, buf, want)
				      ?: write_all(fd, seed + 1, down, buf);
	}
	free(buf);
	if (err)
		shutdown(fd, SHUT_RDWR);
	return err;
}

static void *client(void *arg)
{
	struct connection *c = arg;

	c->err[0] = run_end(c, true);
	return NULL;
}

static void *server(void *arg)
{
	struct connection *c = arg;

	c->err[1] = run_end(c, false);
	return NULL;
}

/* Many connections, AT_ONCE at a time, each with large messages after another
 * number of small ones: some of them meet the enrolment. EAGAINs; or -1. */
static long provoke(struct lab *lab, int listener, const struct way *way,
		    unsigned n)
{
	struct connection c[AT_ONCE];
	struct timeval forever = {};
	unsigned at_once = size_here(AT_ONCE, GUEST);
	long again = 0;
	int err = 0;

	for (unsigned i = 0; i < n && !err; i += at_once) {
		for (unsigned j = 0; j < at_once; j++) {
			c[j] = (struct connection){.number = i + j,
						   .way = way,
						   .smalls = (i + j) * 7 % 23};
			if (lab_pair_on(lab, &c[j].p, AF_INET, listener))
				return -1;
			if ((i + j) / 4 % 2) {
				setsockopt(c[j].p.c, SOL_SOCKET, SO_RCVTIMEO,
					   &forever, sizeof(forever));
				setsockopt(c[j].p.s, SOL_SOCKET, SO_RCVTIMEO,
					   &forever, sizeof(forever));
			}
		}
		for (unsigned j = 0; j < at_once; j++)
			if (pthread_create(&c[j].thread[0], NULL, client,
					   &c[j]) ||
			    pthread_create(&c[j].thread[1], NULL, server,
					   &c[j]))
				abort();
		for (unsigned j = 0; j < at_once; j++) {
			pthread_join(c[j].thread[0], NULL);
			pthread_join(c[j].thread[1], NULL);
			lab_pair_close(&c[j].p);
			again += c[j].again;
			err = err ?: c[j].err[0] ?: c[j].err[1];
		}
	}
	if (err)
		fprintf(stderr, "# %s\n", strerror(-err));
	return err ? -1 : again;
}

/* Are there n more directions that came to the path, at both ends? */
static bool have_come(const struct shunt_proxy was[LAB_HOSTS],
		      const struct shunt_proxy is[LAB_HOSTS], unsigned n)
{
	return is[CLIENT].promoted - was[CLIENT].promoted > n &&
	       is[SERVER].promoted - was[SERVER].promoted > n;
}

TEST_F_TIMEOUT(blocking, no_read_fails, 120)
{
	struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];
	unsigned n = size_here(4 * AT_ONCE, 4 * GUEST), tries = 0;

	/* Most come, at once; on a busy machine many are over before. */
	lab_proxies(&self->lab, was);
	do {
		ASSERT_EQ(0, provoke(&self->lab, self->listener, &variant->way,
				     n));
		lab_proxies(&self->lab, is);
	} while (!have_come(was, is, n / 4) && ++tries < 8);
	EXPECT_TRUE(have_come(was, is, n / 4));
	EXPECT_EQ(was[CLIENT].aborted, is[CLIENT].aborted);
}

/* ---- a send that has to wait, while the socket waits for its peer's ---- */

#define TRIES 20

FIXTURE(waiting)
{
	struct lab lab;
	int listener, streams;
};

FIXTURE_SETUP(waiting)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET, PORT + 1);
	ASSERT_LE(0, self->listener);
	self->streams = lab_map(&self->lab, CLIENT, "streams");
	ASSERT_LE(0, self->streams);
}

FIXTURE_TEARDOWN(waiting)
{
	close(self->streams);
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The only stream that is open. */
static bool stream_of(int map, struct shunt_stream *s)
{
	for (__u32 i = 1; !bpf_map_lookup_elem(map, &i, s); i++)
		if (s->life == SHUNT_STREAM_OPEN)
			return true;
	return false;
}

/* For some 20 ms: so it looks all the time. */
static bool is_enrolled(int map)
{
	uint64_t end = now_us() + LAB_TIMEOUT * 500000ULL;
	struct shunt_stream s;

	while (now_us() < end)
		if (stream_of(map, &s) && s.enrolled)
			return true;
	return false;
}

struct sender {
	int fd, map;
	void *buf;
	size_t len;
	ssize_t sent;		/* by the one send() */
	struct shunt_stream as; /* the stream when it has returned */
	atomic_bool done;
	pthread_t thread;
};

static void *one_send(void *arg)
{
	struct sender *s = arg;

	s->sent = send(s->fd, s->buf, s->len, MSG_NOSIGNAL);
	if (!stream_of(s->map, &s->as))
		s->as.life = 0;
	s->done = true;
	return NULL;
}

/* A send in the time between two ends' enrolments, which the client's proxy
 * makes longer: it stands still until SK_MSG has seen the send. */
static bool send_enrolled(struct sender *s, long proxy)
{
	struct shunt_stream now;

	if (!is_enrolled(s->map) || kill(proxy, SIGSTOP))
		return false;
	if (pthread_create(&s->thread, NULL, one_send, s))
		abort();
	BECOMES(s->done || (stream_of(s->map, &now) && now.tx_held));
	return !kill(proxy, SIGCONT);
}

/* One connection: has it all been right? What its stream was behind a large
 * send is in *as. */
static int try_once(struct lab *lab, int listener, int map,
		    struct shunt_stream *as)
{
	struct stream in = {.seed = 3, .to = 4 * LARGE};
	struct sender out = {.map = map, .len = in.to};
	struct lab_pair p;
	int err, two = 2;

	err = lab_pair_on(lab, &p, AF_INET, listener);
	if (err)
		return err;
	in.fd = p.s;
	out.fd = p.c;
	out.buf = malloc(in.to);
	pattern(out.buf, in.seed, 0, in.to);
	/* Keeps the server's socket out: the client's comes and goes. */
	if (setsockopt(p.s, SOL_SOCKET, SO_RCVLOWAT, &two, sizeof(two)))
		err = -errno;
	err = err ?: stream_through(p.c, p.s, 1, SMALL);
	err = err ?: stream_start(&in);
	if (!err) {
		if (!send_enrolled(&out, lab_proxy(lab, CLIENT).worker))
			err = -ESRCH;
		if (out.thread)
			pthread_join(out.thread, NULL);
		*as = out.as;
		if (out.sent != (ssize_t)in.to) {
			shutdown(p.c, SHUT_RDWR);
			err = err ?: -EPIPE;
		}
		err = stream_join(&in) ?: err;
	}
	err = err ?: stream_through(p.s, p.c, 5, LARGE);
	lab_pair_close(&p);
	free(out.buf);
	return err;
}

/* It returns when nothing is left that could wake a read, and all arrives.
 * (A try may stop the proxy too late: the socket has left just then. Or the
 * server's was as fast as the client's: in a guest with one CPU it may be each
 * time.) */
TEST_F_TIMEOUT(waiting, socket_leaves_before_send_ends, 60)
{
	struct shunt_stream s = {};
	int promoted = 0;

	for (int i = 0; i < TRIES && !s.tx_held; i++) {
		ASSERT_EQ(0, try_once(&self->lab, self->listener, self->streams,
				      &s));
		ASSERT_TRUE(BECOMES(
			!stream_of(self->streams, &(struct shunt_stream){})));
		promoted += s.tx_based;
	}
	if (promoted == TRIES)
		SKIP(return, "each time both ends were enrolled at once");
	EXPECT_EQ(1, s.tx_held);
	EXPECT_EQ(0, s.enrolled);
	EXPECT_EQ(1, s.tx_open);
}

LAB_HARNESS_MAIN
