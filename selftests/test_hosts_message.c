// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path between hosts: what applications send and read is the same
 * as ever, whatever the network does to the datagrams, and nearly all of it
 * took the path. `shunt stats` and the proxies' counters say so.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PORT 7600
#define KB   1000L
#define MB   1000000L

/* Sizes that fit into a frame, straddle two, fill a send and more. */
static const long sizes[] = {1,	   64,	  1400,	 1448,	 1449,
			     3000, 16384, 65536, 200000, 1000000};

#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

FIXTURE(message)
{
	struct lab lab;
	struct lab_pair p;
	struct shunt_proxy was[LAB_HOSTS]; /* once it is promoted */
};

FIXTURE_VARIANT(message)
{
	const char *faults; /* of the wire */
	const char *ingress;
	int domain;
};

FIXTURE_VARIANT_ADD(message,
		    xdp){.faults = NULL, .ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(message, tc_ipv6){
	.faults = NULL, .ingress = "tc", .domain = AF_INET6};

/* Those with the same ingress in a row: they share an instance. */
FIXTURE_VARIANT_ADD(message, reorder){
	.faults = "reorder=25%,seed=11", .ingress = "tc", .domain = AF_INET};

FIXTURE_VARIANT_ADD(message, loss){
	.faults = "loss=5%,seed=11", .ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(message, dup_damage){.faults = "dup=10%,damage=1%,seed=11",
					 .ingress = "xdp",
					 .domain = AF_INET6};

FIXTURE_SETUP(message)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, lab_message_up(lab, variant->faults ? "--wire ''" : NULL,
				    "--ingress %s", variant->ingress));
	if (variant->faults)
		ASSERT_EQ(0, lab_do(lab, "fault", "%s", variant->faults));
	ASSERT_EQ(0, lab_pair(lab, &self->p, variant->domain, PORT));
	ASSERT_TRUE(lab_promoted(lab, &self->p));
	lab_proxies(lab, self->was);
}

FIXTURE_TEARDOWN(message)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

TEST_F(message, requests_and_responses)
{
	struct lab *lab = &self->lab;
	long up = lab_proxy_stat(lab, CLIENT, "bytes_tx");
	long down = lab_proxy_stat(lab, SERVER, "bytes_tx");
	long sum = 0, most = variant->faults ? size_here(200 * KB, 20 * KB)
					     : size_here(MB, 200 * KB);

	for (int round = 0; round < 3; round++)
		for (unsigned i = 0; i < SIZES; i++) {
			if (sizes[i] > most)
				continue;
			ASSERT_EQ(0, stream_through(self->p.c, self->p.s,
						    10 + i, sizes[i]));
			ASSERT_EQ(0, stream_through(self->p.s, self->p.c,
						    30 + i, sizes[i]));
			sum += sizes[i];
		}
	EXPECT_TOOK_PATH(up, lab_proxy_stat(lab, CLIENT, "bytes_tx"), sum);
	EXPECT_TOOK_PATH(down, lab_proxy_stat(lab, SERVER, "bytes_tx"), sum);
	EXPECT_TRUE(lab_undisturbed(lab, self->was));
}

/* shutdown(SHUT_WR) behind messages: the peer reads all, then the end; and
 * whoever has shut down goes on reading, with reads that block. */
TEST_F(message, half_close)
{
	struct stream late = {
		.fd = self->p.s, .send = true, .seed = 5, .to = 100 * KB};
	struct stream in = {.fd = self->p.c, .seed = 5, .to = 100 * KB};

	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 4, 50 * KB));
	ASSERT_EQ(0, shutdown(self->p.c, SHUT_WR));
	ASSERT_TRUE(stream_at_end(self->p.s));
	/* The acknowledgement of the FIN is here by now, and woke nobody. */
	usleep(50000);
	ASSERT_EQ(0, stream_start(&late));
	ASSERT_EQ(0, stream_finish(&late, &in));
	ASSERT_EQ(0, shutdown(self->p.s, SHUT_WR));
	EXPECT_TRUE(stream_at_end(self->p.c));
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT)
		EXPECT_EQ(self->was[host].aborted,
			  lab_proxy(&self->lab, host).aborted);
}

/* ---- threads ---- */

#define WRITERS 2
#define WRITE	4096		  /* at most */
#define AHEAD	size_here(400, 8) /* writes, of the reader; or it demotes */

/* In front of what a thread writes at once. */
struct written {
	uint16_t who, length; /* bytes behind it */
	uint32_t turn;
};

struct writer {
	int fd;
	uint16_t who;
	uint32_t writes, read; /* to do; that have arrived */
	pthread_t thread;
	bool failed;
};

static uint64_t seed_of(const struct written *w)
{
	return 1000 + w->who * 1000000ULL + w->turn;
}

static void *write_in_turns(void *arg)
{
	struct writer *me = arg;
	char buf[sizeof(struct written) + WRITE];
	struct written w = {.who = me->who};
	uint64_t random = me->who;

	for (; w.turn < me->writes && !me->failed; w.turn++) {
		random = random * 6364136223846793005ULL + 1;
		w.length = 1 + (random >> 40) % WRITE;
		memcpy(buf, &w, sizeof(w));
		pattern(buf + sizeof(w), seed_of(&w), 0, w.length);
		me->failed =
			send(me->fd, buf, sizeof(w) + w.length, MSG_NOSIGNAL) !=
			(ssize_t)sizeof(w) + w.length;
		while (w.turn + 1 -
			       __atomic_load_n(&me->read, __ATOMIC_RELAXED) >
		       AHEAD)
			usleep(1000);
	}
	return NULL;
}

/* Not MSG_WAITALL, see docs/message-path.md. */
static bool read_all(int fd, void *buf, size_t n)
{
	size_t at = 0;
	ssize_t k;

	while (at < n && (k = recv(fd, (char *)buf + at, n - at, 0)) > 0)
		at += k;
	return at == n;
}

/* Two threads write to one socket at the same moment: each write arrives in one
 * piece, and those of each thread in their order. */
TEST_F_TIMEOUT(message, threads_on_one_socket, 120)
{
	uint32_t writes =
		variant->faults ? size_here(400, 100) : size_here(10000, 300);
	long up = lab_proxy_stat(&self->lab, CLIENT, "bytes_tx"), sum = 0;
	static char buf[WRITE], want[WRITE];
	struct writer writer[WRITERS];
	struct written w;

	for (int i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer){
			.fd = self->p.c, .who = i, .writes = writes};
		ASSERT_EQ(0, pthread_create(&writer[i].thread, NULL,
					    write_in_turns, &writer[i]));
	}
	for (uint32_t n = 0; n < WRITERS * writes; n++) {
		ASSERT_TRUE(read_all(self->p.s, &w, sizeof(w)));
		ASSERT_GT(WRITERS, w.who);
		ASSERT_EQ(writer[w.who].read, w.turn);
		ASSERT_GE(WRITE, w.length);
		ASSERT_TRUE(read_all(self->p.s, buf, w.length));
		pattern(want, seed_of(&w), 0, w.length);
		ASSERT_EQ(0, memcmp(want, buf, w.length));
		__atomic_fetch_add(&writer[w.who].read, 1, __ATOMIC_RELAXED);
		sum += sizeof(w) + w.length;
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writer[i].thread, NULL);
		EXPECT_FALSE(writer[i].failed);
	}
	EXPECT_TOOK_PATH(up, lab_proxy_stat(&self->lab, CLIENT, "bytes_tx"),
			 sum);
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
}

FIXTURE(message_end)
{
	struct lab lab;
	struct lab_pair p;
};

FIXTURE_SETUP(message_end)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--message-memory 4M"));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->p));
}

FIXTURE_TEARDOWN(message_end)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Who writes without waiting ends up on TCP, with not a byte out of place. */
TEST_F(message_end, unpaced_writer)
{
	struct lab *lab = &self->lab;
	long size = size_here(100 * MB, 10 * MB);
	long tx = lab_proxy_stat(lab, CLIENT, "bytes_tx");
	long demoted = lab_proxy_stat(lab, CLIENT, "demoted");
	long full = lab_proxy_stat(lab, CLIENT, "demoted_stream");

	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 6, size));
	ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 7, 100));
	tx = lab_proxy_stat(lab, CLIENT, "bytes_tx") - tx;
	EXPECT_LT(0, tx);
	EXPECT_GT(size, tx);
	EXPECT_EQ(demoted + 1, lab_proxy_stat(lab, CLIENT, "demoted"));
	EXPECT_EQ(full + 1, lab_proxy_stat(lab, CLIENT, "demoted_stream"));
	EXPECT_TRUE(BECOMES(lab_proxy_stat(lab, CLIENT, "charged") ==
			    lab_proxy_stat(lab, CLIENT, "released")));
}

/* Nobody reads: the writer is stopped, and memory with him. */
static void stalled(struct __test_metadata *_metadata, struct lab *lab,
		    size_t piece)
{
	struct timeval half = {.tv_usec = 500000};
	long before = lab_mem_available_kb(), demoted, now;
	static char buf[65536];
	struct stream in = {.seed = piece};
	struct lab_pair p;
	ssize_t n;

	ASSERT_EQ(0, lab_pair(lab, &p, AF_INET, PORT + 1));
	ASSERT_TRUE(lab_promoted(lab, &p));
	demoted = lab_proxy_stat(lab, CLIENT, "demoted");
	ASSERT_EQ(0, setsockopt(p.c, SOL_SOCKET, SO_SNDTIMEO, &half,
				sizeof(half)));
	do {
		pattern(buf, piece, in.to, piece);
		n = send(p.c, buf, piece, 0);
		in.to += n > 0 ? n : 0;
		/* What TCP takes byte by byte takes long. */
	} while (n > 0 && (piece > 1 || in.to < 100 * (uint64_t)KB));
	now = lab_mem_available_kb();
	EXPECT_LT(demoted, lab_proxy_stat(lab, CLIENT, "demoted"));
	/* The limit is 4 MB; TCP's own buffers and the noise of a machine come
	 * on top. Without it: 4.8 KB a message. */
	EXPECT_GT(4096 + 100 * 1024, before - now);
	/* And it all arrives, once somebody reads. */
	in.fd = p.s;
	EXPECT_EQ(0, stream_run(&in));
	lab_pair_close(&p);
	EXPECT_TRUE(BECOMES(lab_proxy_stat(lab, CLIENT, "charged") ==
			    lab_proxy_stat(lab, CLIENT, "released")));
}

TEST_F(message_end, reader_that_stops)
{
	stalled(_metadata, &self->lab, 64);
	stalled(_metadata, &self->lab, 65536);
	stalled(_metadata, &self->lab, 1);
}

/* UDP is gone in the middle: what was under way comes over the control channel,
 * the rest by TCP. */
TEST_F(message_end, blackhole)
{
	struct lab *lab = &self->lab;
	uint64_t end = now_us() + LAB_TIMEOUT * 500000ULL;
	struct shunt_proxy was = lab_proxy(lab, CLIENT);

	/* The proxies know that the path is blocked. */
	lab_touch(lab, CLIENT);
	lab_touch(lab, SERVER);
	ASSERT_EQ(0, lab_do(lab, "block", "udp"));
	while (lab_proxy(lab, CLIENT).demoted == was.demoted &&
	       now_us() < end) {
		ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 8, 20 * KB));
		ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 9, 20 * KB));
	}
	EXPECT_LT(was.demoted, lab_proxy(lab, CLIENT).demoted);
	EXPECT_LT(was.demotions[SHUNT_DEMOTED_LOST] +
			  was.demotions[SHUNT_DEMOTED_PEER],
		  lab_proxy(lab, CLIENT).demotions[SHUNT_DEMOTED_LOST] +
			  lab_proxy(lab, CLIENT).demotions[SHUNT_DEMOTED_PEER]);
	EXPECT_LT(was.repaired, lab_proxy(lab, CLIENT).repaired);
	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 10, MB));
	ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 11, MB));
	EXPECT_EQ(was.aborted, lab_proxy(lab, CLIENT).aborted);
}

static long worker(struct lab *lab, enum lab_host host)
{
	json_t *status = lab_json(lab, host, "status"), *path;
	long pid;

	path = json_object_get(status, "message_path");
	pid = json_integer_value(json_object_get(path, "worker"));
	json_decref(status);
	return pid;
}

/* The proxy is killed: what had bytes in its hands is reset, and the next
 * connection finds another proxy. */
TEST_F(message_end, proxy_killed)
{
	struct lab *lab = &self->lab;
	long pid = worker(lab, SERVER);
	struct lab_pair next;
	uint64_t start;
	ssize_t n;
	char c;

	lab_touch(lab, SERVER);
	ASSERT_LT(1, pid);
	start = now_us();
	ASSERT_EQ(0, kill(pid, SIGKILL));
	do
		n = recv(self->p.c, &c, 1, 0);
	while (n < 0 && errno == EAGAIN && now_us() - start < 5 * MB);
	EXPECT_GT(0, n);
	EXPECT_EQ(ECONNRESET, errno);
	EXPECT_GT(MB * time_factor(), now_us() - start);
	EXPECT_TRUE(
		BECOMES(worker(lab, SERVER) > 1 && worker(lab, SERVER) != pid));
	ASSERT_EQ(0, lab_pair(lab, &next, AF_INET, PORT + 2));
	EXPECT_TRUE(lab_promoted(lab, &next));
	lab_pair_close(&next);
}

static void *keep_sending(void *arg)
{
	struct stream *s = arg;

	while (s->from < s->to && !s->err) {
		struct stream part = *s;

		part.to = s->from + 1000;
		s->err = stream_run(&part);
		s->from = part.from;
		usleep(200);
	}
	return NULL;
}

/* The same in the middle of a transfer, at either end: both sides get an error,
 * soon, and what was read until then is right. It is no end of file. */
static void killed_in_transfer(struct __test_metadata *_metadata,
			       struct lab *lab, enum lab_host host, int port)
{
	long tx = lab_proxy_stat(lab, CLIENT, "bytes_tx"), pid;
	struct stream out = {.send = true, .seed = 8, .to = UINT64_MAX};
	struct stream in = {.seed = 8, .to = 300 * KB};
	struct lab_pair p;
	pthread_t thread;
	uint64_t then;

	ASSERT_EQ(0, lab_pair(lab, &p, AF_INET, port));
	ASSERT_TRUE(lab_promoted(lab, &p));
	out.fd = p.c;
	in.fd = p.s;
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_sending, &out));
	ASSERT_EQ(0, stream_run(&in));
	EXPECT_LT(200 * KB, lab_proxy_stat(lab, CLIENT, "bytes_tx") - tx);
	pid = worker(lab, host);
	ASSERT_LT(1, pid);
	in.to = UINT64_MAX;
	then = now_us();
	ASSERT_EQ(0, kill(pid, SIGKILL));
	/* A read that blocked has nothing to say of it, see message-path.md. */
	while (stream_run(&in) == -EAGAIN && now_us() - then < 5 * MB)
		;
	/* SOCK_DESTROY here, the RST that it sends there */
	EXPECT_TRUE(in.err == -ECONNRESET || in.err == -ECONNABORTED);
	pthread_join(thread, NULL);
	EXPECT_GT(MB * time_factor(), now_us() - then);
	EXPECT_TRUE(out.err == -ECONNRESET || out.err == -EPIPE ||
		    out.err == -ECONNABORTED);
	lab_pair_close(&p);
	EXPECT_TRUE(BECOMES(worker(lab, host) > 1 && worker(lab, host) != pid));
}

TEST_F(message_end, proxy_killed_in_transfer)
{
	lab_touch(&self->lab, CLIENT);
	lab_touch(&self->lab, SERVER);
	killed_in_transfer(_metadata, &self->lab, SERVER, PORT + 3);
	killed_in_transfer(_metadata, &self->lab, CLIENT, PORT + 4);
}

LAB_HARNESS_MAIN
