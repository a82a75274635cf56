// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and readers that stop: writers are stopped, too, memory
 * stays within its limit, and all arrives when they read again.
 */
#include "harness.h"
#include "lab_message.h"

#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define PORT 7720
/* As --message-memory says; a stream has 16 MB. */
#define LIMIT	size_here(64L << 20, 32L << 20)
#define WRITERS 5			   /* … so that all of it is used */
#define MORE	100000			   /* bytes, when there is room again */
#define BYTES	size_here(MORE, MORE / 10) /* … one by one */
#define TRIES	10

FIXTURE(memory)
{
	struct lab lab;
	int listener;
};

FIXTURE_SETUP(memory)
{
	int small = 16384; /* of TCP, whose buffers are no matter of ours */

	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--message-memory %ldM",
				    LIMIT >> 20));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, self->listener);
	setsockopt(self->listener, SOL_SOCKET, SO_RCVBUF, &small,
		   sizeof(small));
}

FIXTURE_TEARDOWN(memory)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Writes until it can't, then MORE when it can, and ends. */
struct writer {
	struct lab_pair p;
	size_t piece;
	uint64_t from; /* bytes so far */
	_Atomic bool blocked;
	int err;
	pthread_t thread;
};

static int write_piece(struct writer *w, int flags)
{
	static _Thread_local char buf[65536];
	ssize_t n;

	pattern(buf, w->p.c, w->from, w->piece);
	n = send(w->p.c, buf, w->piece, MSG_NOSIGNAL | flags);
	if (n < 0)
		return -errno;
	w->from += n;
	return 0;
}

static int wait_for_room(struct writer *w)
{
	struct epoll_event e = {.events = EPOLLOUT | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC), n;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, w->p.c, &e))
		return -errno;
	w->blocked = true;
	n = epoll_wait(ep, &e, 1, 3000 * LAB_TIMEOUT);
	w->blocked = false;
	close(ep);
	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

static void *writer(void *arg)
{
	struct writer *w = arg;
	uint64_t end = UINT64_MAX;

	while (!w->err && w->from < end) {
		w->err = write_piece(w, 0);
		if (w->err != -EAGAIN)
			continue;
		w->err = wait_for_room(w);
		if (end == UINT64_MAX)
			end = w->from + (w->piece > 1 ? MORE : BYTES);
	}
	shutdown(w->p.c, SHUT_WR);
	return NULL;
}

static bool all_blocked(const struct writer *w, int n)
{
	while (n--)
		if (!w[n].blocked)
			return false;
	return true;
}

static uint64_t written(const struct writer *w, int n)
{
	uint64_t sum = 0;

	while (n--)
		sum += w[n].from;
	return sum;
}

/* To the end, and all of it right: 0 or -errno. */
static int read_all(struct writer *w)
{
	static char buf[65536], want[65536];
	uint64_t at = 0;
	ssize_t n;

	while ((n = recv(w->p.s, buf, sizeof(buf), 0)) > 0) {
		pattern(want, w->p.c, at, n);
		if (memcmp(buf, want, n))
			return -EBADMSG;
		at += n;
	}
	if (n < 0)
		return -errno;
	pthread_join(w->thread, NULL);
	return w->err ?: at == w->from ? 0 : -EPIPE;
}

static bool drained(struct lab *lab)
{
	struct shunt_proxy p = lab_proxy(lab, CLIENT);

	return p.charged == p.released;
}

/* Until the first message has taken the path. Nobody reads any, so TCP may be
 * full before that. */
static bool promoted_unread(struct lab *lab, struct writer *w)
{
	uint64_t was = lab_proxy(lab, CLIENT).promoted;
	size_t piece = w->piece;
	int err = 0;

	w->piece = 100;
	while (!err && lab_proxy(lab, CLIENT).promoted == was) {
		err = write_piece(w, MSG_DONTWAIT);
		usleep(5000);
	}
	w->piece = piece;
	return !err;
}

/* A connection on the path, of which nothing has been read. On a slow machine
 * not each one gets there. */
static void start(struct __test_metadata *_metadata, struct lab *lab,
		  int listener, struct writer *w, size_t piece)
{
	int small = 16384, tries = 0;
	bool promoted;

	w->piece = piece;
	do {
		if (tries)
			lab_pair_close(&w->p);
		w->from = 0;
		ASSERT_EQ(0, lab_pair_on(lab, &w->p, AF_INET, listener));
		setsockopt(w->p.c, SOL_SOCKET, SO_SNDBUF, &small,
			   sizeof(small));
		promoted = promoted_unread(lab, w);
	} while (!promoted && ++tries < TRIES);
	ASSERT_TRUE(promoted);
	ASSERT_EQ(0, fcntl(w->p.c, F_SETFL, O_NONBLOCK));
}

/* Readers that do not read for so many seconds. */
static void stopped(struct __test_metadata *_metadata, struct lab *lab,
		    int listener, size_t piece, int seconds)
{
	struct writer w[WRITERS] = {};
	struct shunt_proxy was = lab_proxy(lab, CLIENT), is;
	uint64_t then, sum;
	long before, stuck, after, taken;

	for (int i = 0; i < WRITERS; i++)
		start(_metadata, lab, listener, &w[i], piece);
	before = lab_mem_available_kb();
	then = now_us();
	for (int i = 0; i < WRITERS; i++)
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, writer, &w[i]));
	ASSERT_TRUE(BECOMES(all_blocked(w, WRITERS)));
	/* It is the limit that stops them. */
	EXPECT_TRUE(BECOMES(lab_proxy(lab, CLIENT).demoted ==
			    was.demoted + WRITERS));
	is = lab_proxy(lab, CLIENT);
	EXPECT_LT(LIMIT / 2, is.charged - is.released);
	/* Each asks before it adds. */
	EXPECT_GE(LIMIT + WRITERS * (piece + SHUNT_MSG_OVERHEAD),
		  is.charged - is.released);
	stuck = lab_mem_available_kb();
	sum = written(w, WRITERS);
	while (now_us() < then + 1000000ULL * seconds) {
		ASSERT_TRUE(all_blocked(w, WRITERS));
		usleep(100000);
	}
	EXPECT_EQ(sum, written(w, WRITERS));
	after = lab_mem_available_kb();
	for (int i = 0; i < WRITERS; i++)
		EXPECT_EQ(0, read_all(&w[i]));
	EXPECT_TRUE(BECOMES(drained(lab)));
	/* What was taken then, or has come back now: others on this machine
	 * have their part in each. */
	taken = before - stuck;
	if (taken > lab_mem_available_kb() - after)
		taken = lab_mem_available_kb() - after;
	EXPECT_GE(LIMIT / 10 * 11 / 1024, taken);
	for (int i = 0; i < WRITERS; i++)
		lab_pair_close(&w[i].p);
	EXPECT_EQ(was.aborted, lab_proxy(lab, CLIENT).aborted);
}

TEST_F_TIMEOUT(memory, writers_of_64_kb, 60)
{
	stopped(_metadata, &self->lab, self->listener, 65536, 10);
}

TEST_F_TIMEOUT(memory, writers_of_64_bytes, 60)
{
	stopped(_metadata, &self->lab, self->listener, 64, 2);
}

TEST_F_TIMEOUT(memory, writers_of_one_byte, 60)
{
	stopped(_metadata, &self->lab, self->listener, 1, 2);
}

/* ---- reads that are not counted ---- */

static bool kernel_counts_queued(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	__s32 id =
		btf ? btf__find_by_name_kind(btf, "sk_psock", BTF_KIND_STRUCT)
		    : -1;
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, id) : NULL;
	bool is = false;

	for (int i = 0; t && i < btf_vlen(t); i++)
		is |= !strcmp(
			"msg_tot_len",
			btf__name_by_offset(btf, btf_members(t)[i].name_off));
	btf__free(btf);
	return is;
}

/* Without the program that counts them: what the kernel says of its queues has
 * the memory given back all the same. */
TEST_F(memory, reads_that_are_not_counted)
{
	struct lab *lab = &self->lab;
	struct shunt_proxy was = lab_proxy(lab, CLIENT);
	struct lab_pair p;
	char path[128];

	if (!kernel_counts_queued())
		SKIP(return, "struct sk_psock has no msg_tot_len here");
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	ASSERT_TRUE(lab_promoted(lab, &p));
	lab_spoil(lab);
	snprintf(path, sizeof(path), "%s/links/msg_reader", lab->pins[SERVER]);
	ASSERT_EQ(0, unlink(path));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, stream_through(p.c, p.s, i, MORE));
		EXPECT_TRUE(BECOMES(drained(lab)));
	}
	EXPECT_LT(2 * MORE, lab_proxy(lab, CLIENT).bytes_tx - was.bytes_tx);
	EXPECT_EQ(was.demoted, lab_proxy(lab, CLIENT).demoted);
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
