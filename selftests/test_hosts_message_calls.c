// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and the system calls that applications write and read with.
 * Each test is one way of writing or of reading, used from the first byte of a
 * connection on: by TCP, through the promotion, and on the path.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PORT 7620

FIXTURE(calls)
{
	struct lab lab;
	struct lab_pair p;
	struct talk t;
};

FIXTURE_SETUP(calls)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	self->t = (struct talk){.c = {self->p.c, talk_send, talk_recv},
				.s = {self->p.s, talk_send, talk_recv}};
}

FIXTURE_TEARDOWN(calls)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static const size_t sizes[] = {1, 23, 1448, 5000, 16384, 70001, 200000};

/* All sizes, there and back, and all of it on the path. */
static void talk(struct __test_metadata *_metadata, struct lab *lab,
		 struct talk *t)
{
	struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];
	size_t most = size_here(200000, 70001), sum = 0;

	ASSERT_TRUE(talk_promoted(lab, t));
	lab_proxies(lab, was);
	for (int round = 0; round < size_here(5, 1); round++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			if (sizes[i] > most)
				continue;
			ASSERT_EQ(0, talk_one_way(t, TO_SERVER, sizes[i]));
			ASSERT_EQ(0, talk_one_way(t, TO_CLIENT, sizes[i]));
			sum += sizes[i];
		}
	lab_proxies(lab, is);
	EXPECT_TOOK_PATH(was[CLIENT].bytes_tx, is[CLIENT].bytes_tx, sum);
	EXPECT_TOOK_PATH(was[SERVER].bytes_tx, is[SERVER].bytes_tx, sum);
	EXPECT_TRUE(lab_undisturbed(lab, was));
}

#define WAY(name, method, function)                               \
	TEST_F(calls, name)                                       \
	{                                                         \
		self->t.c.method = self->t.s.method = (function); \
		talk(_metadata, &self->lab, &self->t);            \
	}

/* ---- writing ---- */

#define PIECES 16

/* Pieces of 1, 7, 49, … bytes, over and over. */
static int cut(struct iovec *iov, const void *buf, size_t len)
{
	size_t piece = 1;
	int n = 0;

	for (const char *p = buf; len && n < PIECES; n++) {
		size_t take = n == PIECES - 1 || piece > len ? len : piece;

		iov[n].iov_base = (char *)p;
		iov[n].iov_len = take;
		p += take;
		len -= take;
		piece = piece < 10000 ? 7 * piece : 1;
	}
	return n;
}

static int by_write(struct talker *t, const void *buf, size_t len)
{
	ssize_t n = write(t->fd, buf, len);

	return n < 0 ? -errno : n;
}

static int by_writev(struct talker *t, const void *buf, size_t len)
{
	struct iovec iov[PIECES];
	ssize_t n = writev(t->fd, iov, cut(iov, buf, len));

	return n < 0 ? -errno : n;
}

static int by_sendmsg(struct talker *t, const void *buf, size_t len)
{
	struct iovec iov[PIECES];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = cut(iov, buf, len)};
	ssize_t n = sendmsg(t->fd, &msg, MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

/* own: a file */
static int by_sendfile(struct talker *t, const void *buf, size_t len)
{
	int file = *(int *)t->own;
	off_t at = 0;
	ssize_t n;

	if (pwrite(file, buf, len, 0) != (ssize_t)len)
		return -EIO;
	n = sendfile(t->fd, file, &at, len);
	return n < 0 ? -errno : n;
}

/* More is coming, until it is not. */
static int by_more(struct talker *t, const void *buf, size_t len)
{
	struct iovec iov[PIECES];
	int n = cut(iov, buf, len);
	ssize_t sum = 0, did;

	for (int i = 0; i < n; i++) {
		did = send(t->fd, iov[i].iov_base, iov[i].iov_len,
			   MSG_NOSIGNAL | (i + 1 < n ? MSG_MORE : 0));
		if (did != (ssize_t)iov[i].iov_len)
			return did < 0 ? -errno : -EIO;
		sum += did;
	}
	return sum;
}

static int set_cork(int fd, int on)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)) ? -errno
								      : 0;
}

static int by_cork(struct talker *t, const void *buf, size_t len)
{
	struct iovec iov[PIECES];
	int n = cut(iov, buf, len), err = set_cork(t->fd, 1);
	ssize_t sum = 0, did;

	for (int i = 0; i < n && !err; i++) {
		did = send(t->fd, iov[i].iov_base, iov[i].iov_len,
			   MSG_NOSIGNAL);
		if (did != (ssize_t)iov[i].iov_len)
			err = did < 0 ? -errno : -EIO;
		sum += did;
	}
	return err ?: set_cork(t->fd, 0) ?: sum;
}

/* A file goes into a pipe, and from there into the socket. */
static int by_splice(struct talker *t, const void *buf, size_t len)
{
	int *pipe = t->own;
	ssize_t n;

	/* What a pipe holds */
	n = write(pipe[1], buf, len < 65536 ? len : 65536);
	if (n > 0)
		n = splice(pipe[0], NULL, t->fd, NULL, n, 0);
	return n < 0 ? -errno : n;
}

WAY(write, write, by_write);
WAY(writev, write, by_writev);
WAY(sendmsg, write, by_sendmsg);
WAY(msg_more, write, by_more);
WAY(tcp_cork, write, by_cork);

TEST_F(calls, sendfile)
{
	char path[128];
	int file[2];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/out%d", self->lab.dir, i);
		file[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		ASSERT_LE(0, file[i]);
	}
	self->t.c.write = self->t.s.write = by_sendfile;
	self->t.c.own = &file[0];
	self->t.s.own = &file[1];
	talk(_metadata, &self->lab, &self->t);
}

TEST_F(calls, splice)
{
	int pipes[2][2];

	ASSERT_EQ(0, pipe2(pipes[0], O_CLOEXEC));
	ASSERT_EQ(0, pipe2(pipes[1], O_CLOEXEC));
	self->t.c.write = self->t.s.write = by_splice;
	self->t.c.own = pipes[0];
	self->t.s.own = pipes[1];
	talk(_metadata, &self->lab, &self->t);
}

/* Many small ones, of which none waits for the one before it, and many of
 * which lie in one frame, or in two. */
static int in_crumbs(struct talker *t, const void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n = 1;

	for (size_t piece = 1; done < len && n > 0; done += n > 0 ? n : 0) {
		piece = piece % 397 + 1;
		n = send(t->fd, (const char *)buf + done,
			 piece < len - done ? piece : len - done, MSG_NOSIGNAL);
	}
	return n < 0 ? -errno : (int)done;
}

TEST_F(calls, tcp_nodelay)
{
	int one = 1;

	ASSERT_EQ(0, setsockopt(self->p.c, IPPROTO_TCP, TCP_NODELAY, &one,
				sizeof(one)));
	ASSERT_EQ(0, setsockopt(self->p.s, IPPROTO_TCP, TCP_NODELAY, &one,
				sizeof(one)));
	self->t.c.write = self->t.s.write = in_crumbs;
	talk(_metadata, &self->lab, &self->t);
}

WAY(nagle, write, in_crumbs);

/* ---- reading ---- */

static int by_read(struct talker *t, void *buf, size_t len)
{
	ssize_t n = read(t->fd, buf, len);

	return n < 0 ? -errno : n ?: -EPIPE;
}

static int by_readv(struct talker *t, void *buf, size_t len)
{
	struct iovec iov[PIECES];
	ssize_t n = readv(t->fd, iov, cut(iov, buf, len));

	return n < 0 ? -errno : n ?: -EPIPE;
}

static int by_recvmsg(struct talker *t, void *buf, size_t len)
{
	struct iovec iov[PIECES];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = cut(iov, buf, len)};
	ssize_t n = recvmsg(t->fd, &msg, 0);

	return n < 0 ? -errno : n ?: -EPIPE;
}

/* Less than there is: 1, 2, 4, … bytes. */
static int by_parts(struct talker *t, void *buf, size_t len)
{
	size_t *part = t->own;
	ssize_t n;

	*part = *part < 5000 ? 2 * *part : 1;
	n = recv(t->fd, buf, *part < len ? *part : len, 0);
	return n < 0 ? -errno : n ?: -EPIPE;
}

/* It looks twice, in two sizes, and then takes it: the same each time. */
static int by_peek(struct talker *t, void *buf, size_t len)
{
	static _Thread_local char seen[300000];
	ssize_t first = recv(t->fd, seen, (len + 1) / 2, MSG_PEEK), more, n;

	if (first <= 0)
		return first ? -errno : -EPIPE;
	more = recv(t->fd, seen, len, MSG_PEEK);
	if (more < first)
		return more < 0 ? -errno : -EBADMSG;
	n = recv(t->fd, buf, more, 0);
	if (n < 0)
		return -errno;
	return n != more || memcmp(buf, seen, n) ? -EBADMSG : n;
}

WAY(read, read, by_read);
WAY(readv, read, by_readv);
WAY(recvmsg, read, by_recvmsg);
WAY(msg_peek, read, by_peek);

TEST_F(calls, partial_reads)
{
	size_t part[2] = {1, 1};

	self->t.c.read = self->t.s.read = by_parts;
	self->t.c.own = &part[0];
	self->t.s.own = &part[1];
	talk(_metadata, &self->lab, &self->t);
}

LAB_HARNESS_MAIN
