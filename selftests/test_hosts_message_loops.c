// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two event loops in each host's proxy, and peers of both: what `shunt stats`
 * shows of each loop is what its peer's connections have moved. Two by option,
 * however many CPUs there are.
 */
#include "harness.h"
#include "lab_message.h"
#include "lab_own.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PORT  7780
#define LOOPS 2
#define MB    1000000L
#define LIMIT (4L << 20) /* as --message-memory says */

/* An address of the client, whose peer at the server is in one of the loops
 * there, and in the same one here; and a connection from it. */
struct end {
	struct sockaddr_storage from;
	socklen_t len;
	struct lab_pair p;
};

FIXTURE(loops)
{
	struct lab lab;
	int listener;
	struct end end[LOOPS];
};

FIXTURE_VARIANT(loops)
{
	int domain;
	const char *server, *client, *ip;
};

FIXTURE_VARIANT_ADD(loops, ipv4){.domain = AF_INET,
				 .server = "10.77.2.2",
				 .client = "10.77.1.%u",
				 .ip = "ip addr replace %s/24 dev eth0"};

FIXTURE_VARIANT_ADD(loops, ipv6){.domain = AF_INET6,
				 .server = "fd77:2::2",
				 .client = "fd77:1::%x",
				 .ip = "ip addr replace %s/64 dev eth0 nodad"};

static struct shunt_addr addr_of(int domain, const char *text)
{
	struct shunt_addr a = {{0, 0, htonl(0xffff)}};

	inet_pton(domain, text, domain == AF_INET ? &a.w[3] : &a.w[0]);
	return a;
}

static void set_from(struct end *e, int domain, const char *text)
{
	struct sockaddr_in *v4 = (void *)&e->from;
	struct sockaddr_in6 *v6 = (void *)&e->from;

	e->from.ss_family = domain;
	e->len = domain == AF_INET ? sizeof(*v4) : sizeof(*v6);
	inet_pton(domain, text,
		  domain == AF_INET ? (void *)&v4->sin_addr
				    : (void *)&v6->sin6_addr);
}

static int connect_from(struct lab *lab, struct end *e, int domain,
			int listener)
{
	struct timeval t = {.tv_sec = LAB_TIMEOUT};
	int err = 0;

	e->p.c = lab_socket(lab, CLIENT, domain);
	if (e->p.c < 0 || bind(e->p.c, (void *)&e->from, e->len))
		return -errno;
	err = lab_dial(e->p.c, domain, PORT);
	if (err)
		return err;
	e->p.s = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	setsockopt(e->p.s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(e->p.s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	return e->p.s < 0 ? -errno : 0;
}

FIXTURE_SETUP(loops)
{
	struct shunt_addr server = addr_of(variant->domain, variant->server);
	char text[64];

	ASSERT_EQ(0, lab_up_both(&self->lab, NULL,
				 "--message-path --message-loops %d "
				 "--message-memory %ld",
				 LOOPS, LIMIT));
	ASSERT_EQ(0, lab_ask_for_path(&self->lab, "udp"));
	self->listener = lab_listen(&self->lab, SERVER, variant->domain, PORT);
	ASSERT_LE(0, self->listener);
	for (unsigned i = 0, last = 16; i < LOOPS; i++) {
		struct shunt_addr client;

		do {
			snprintf(text, sizeof(text), variant->client, ++last);
			client = addr_of(variant->domain, text);
		} while (shunt_loop_of(&server, &client, LOOPS) != i);
		ASSERT_GT(250, last);
		ASSERT_EQ(i, shunt_loop_of(&client, &server, LOOPS));
		ASSERT_EQ(0, lab_run(&self->lab, CLIENT, variant->ip, text));
		set_from(&self->end[i], variant->domain, text);
		ASSERT_EQ(0, connect_from(&self->lab, &self->end[i],
					  variant->domain, self->listener));
		ASSERT_TRUE(lab_promoted(&self->lab, &self->end[i].p));
	}
}

FIXTURE_TEARDOWN(loops)
{
	for (int i = 0; i < LOOPS; i++)
		lab_pair_close(&self->end[i].p);
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* A counter of one loop in what `shunt stats` shows. */
static long in(json_t *stats, unsigned loop, const char *name)
{
	json_t *loops =
		json_object_get(json_object_get(stats, "proxy"), "loops");
	json_t *value = json_object_get(json_array_get(loops, loop), name);

	return value && json_array_size(loops) == LOOPS
		       ? json_integer_value(value)
		       : -1;
}

static long of_loop(struct lab *lab, enum lab_host host, unsigned loop,
		    const char *name)
{
	json_t *stats = lab_json(lab, host, "stats");
	long n = in(stats, loop, name);

	json_decref(stats);
	return n;
}

struct moved {
	long tx[LAB_HOSTS][LOOPS], rx[LAB_HOSTS][LOOPS];
};

static struct moved moved(struct lab *lab)
{
	struct moved m = {};

	for (int host = CLIENT; host <= SERVER; host += SERVER) {
		json_t *stats = lab_json(lab, host, "stats");

		for (unsigned i = 0; i < LOOPS; i++) {
			m.tx[host][i] = in(stats, i, "bytes_tx");
			m.rx[host][i] = in(stats, i, "bytes_rx");
		}
		json_decref(stats);
	}
	return m;
}

/* The same, when what one side has sent has been counted at the other: a proxy
 * counts what comes in when the application has it already. */
static bool settled(struct lab *lab, struct moved *m)
{
	*m = moved(lab);
	for (int i = 0; i < LOOPS; i++)
		if (m->rx[SERVER][i] != m->tx[CLIENT][i] ||
		    m->rx[CLIENT][i] != m->tx[SERVER][i])
			return false;
	return true;
}

/* ---- all at once ---- */

struct traffic {
	struct lab_pair *p;
	long size[2]; /* of a message to the server, to the client */
	int rounds, err;
	pthread_t thread;
};

static void *to_and_fro(void *arg)
{
	struct traffic *t = arg;

	for (int i = 0; i < t->rounds && !t->err; i++) {
		t->err = stream_through(t->p->c, t->p->s, i, t->size[0]);
		if (!t->err)
			t->err = stream_through(t->p->s, t->p->c, 1000 + i,
						t->size[1]);
	}
	return NULL;
}

TEST_F_TIMEOUT(loops, each_moves_its_share, 60)
{
	int rounds = size_here(100, 10);
	struct traffic t[LOOPS];
	struct moved was, is;
	struct shunt_proxy before[LAB_HOSTS];
	long sum = 0;
	char *text;

	ASSERT_TRUE(BECOMES(settled(&self->lab, &was)));
	lab_proxies(&self->lab, before);
	for (int i = 0; i < LOOPS; i++) {
		t[i] = (struct traffic){
			.p = &self->end[i].p,
			.size = {20000 / (i + 1), 300 + 9000 * i},
			.rounds = rounds};
		ASSERT_EQ(0, pthread_create(&t[i].thread, NULL, to_and_fro,
					    &t[i]));
	}
	for (int i = 0; i < LOOPS; i++) {
		pthread_join(t[i].thread, NULL);
		EXPECT_EQ(0, t[i].err);
	}
	EXPECT_TRUE(BECOMES(settled(&self->lab, &is)));
	for (int i = 0; i < LOOPS; i++) {
		long up = rounds * t[i].size[0], down = rounds * t[i].size[1];

		sum += is.tx[CLIENT][i];
		EXPECT_EQ(up, is.tx[CLIENT][i] - was.tx[CLIENT][i]);
		EXPECT_EQ(up, is.rx[SERVER][i] - was.rx[SERVER][i]);
		EXPECT_EQ(down, is.tx[SERVER][i] - was.tx[SERVER][i]);
		EXPECT_EQ(down, is.rx[CLIENT][i] - was.rx[CLIENT][i]);
	}
	EXPECT_EQ(sum, lab_proxy_stat(&self->lab, CLIENT, "bytes_tx"));
	EXPECT_TRUE(lab_undisturbed(&self->lab, before));
	text = lab_output(&self->lab, SERVER, "%s/shunt stats", lab_build());
	ASSERT_NE(NULL, text);
	EXPECT_NE(NULL, strstr(text, "by event loop:"));
	free(text);
}

/* ---- one limit for all loops ---- */

/* Until TCP has no room, or the proxy no time for us: then there is more later.
 */
static void fill(int fd, struct stream *in)
{
	static char buf[10000];
	ssize_t n;

	do {
		pattern(buf, in->seed, in->to, sizeof(buf));
		n = send(fd, buf, sizeof(buf), 0);
		in->to += n > 0 ? n : 0;
	} while (n > 0);
}

/* Nobody reads: what both loops hold is within the limit, and then it is TCP.
 * That fills one at a time: the second finds little left. */
TEST_F_TIMEOUT(loops, share_the_memory, 60)
{
	struct lab *lab = &self->lab;
	struct timeval soon = {.tv_usec = 300000};
	struct stream in[LOOPS];
	long taken[LOOPS];

	for (int i = 0; i < LOOPS; i++) {
		long was = of_loop(lab, CLIENT, i, "bytes_tx");
		long demoted = of_loop(lab, CLIENT, i, "demoted");

		in[i] = (struct stream){.fd = self->end[i].p.s, .seed = i};
		setsockopt(self->end[i].p.c, SOL_SOCKET, SO_SNDTIMEO, &soon,
			   sizeof(soon));
		EXPECT_TRUE(BECOMES(
			(fill(self->end[i].p.c, &in[i]),
			 of_loop(lab, CLIENT, i, "demoted") == demoted + 1)));
		taken[i] = of_loop(lab, CLIENT, i, "bytes_tx") - was;
		EXPECT_GE(LIMIT,
			  lab_proxy_stat(lab, CLIENT, "charged") -
				  lab_proxy_stat(lab, CLIENT, "released"));
	}
	EXPECT_LT(LIMIT / 2, taken[0]);
	EXPECT_GT(LIMIT / 4, taken[1]);
	for (int i = 0; i < LOOPS; i++)
		EXPECT_EQ(0, stream_run(&in[i]));
	EXPECT_TRUE(BECOMES(lab_proxy_stat(lab, CLIENT, "charged") ==
			    lab_proxy_stat(lab, CLIENT, "released")));
}

/* ---- the worker killed ---- */

#define AHEAD 100000 /* bytes, of the reader; or it demotes */

struct flow {
	struct stream out, in;
};

static bool has_to_wait(const struct flow *f)
{
	uint64_t read = __atomic_load_n(&f->in.from, __ATOMIC_RELAXED);

	return !__atomic_load_n(&f->in.err, __ATOMIC_RELAXED) &&
	       f->out.from > read + AHEAD;
}

static void *keep_sending(void *arg)
{
	struct flow *f = arg;
	struct stream *out = &f->out;
	char buf[1000];

	while (!out->err) {
		pattern(buf, out->seed, out->from, sizeof(buf));
		if (send(out->fd, buf, sizeof(buf), MSG_NOSIGNAL) < 0)
			out->err = -errno;
		out->from += sizeof(buf);
		while (has_to_wait(f))
			usleep(500);
	}
	return NULL;
}

/* A read that blocks has nothing to say of a reset: the next one has. */
static int read_to_the_end(struct stream *in)
{
	uint64_t then = now_us();

	in->to = UINT64_MAX;
	while (stream_run(in) == -EAGAIN && now_us() - then < 5 * MB)
		;
	return in->err;
}

/* Numbers of streams that are not free. */
static int numbers_in_use(struct lab *lab, enum lab_host host)
{
	int map = lab_map(lab, host, "streams"), n = 0;
	struct shunt_stream s;

	for (__u32 i = 1; !bpf_map_lookup_elem(map, &i, &s); i++)
		n += s.life != SHUNT_STREAM_FREE;
	close(map);
	return n;
}

/* In the middle of transfers of both loops: all of them are reset, soon, and
 * what was read is right; the next ones find both loops again. */
TEST_F_TIMEOUT(loops, worker_killed, 60)
{
	struct lab *lab = &self->lab;
	long pid = lab_proxy(lab, SERVER).worker, now;
	struct moved was;
	struct flow flow[LOOPS];
	uint64_t then;

	lab_touch(lab, CLIENT);
	lab_touch(lab, SERVER);
	ASSERT_TRUE(BECOMES(settled(lab, &was)));
	for (int i = 0; i < LOOPS; i++) {
		flow[i].out = (struct stream){.fd = self->end[i].p.c};
		flow[i].in = (struct stream){.fd = self->end[i].p.s,
					     .to = 2 * AHEAD};
		ASSERT_EQ(0, pthread_create(&flow[i].out.thread, NULL,
					    keep_sending, &flow[i]));
	}
	for (int i = 0; i < LOOPS; i++)
		ASSERT_EQ(0, stream_run(&flow[i].in));
	for (int i = 0; i < LOOPS; i++)
		EXPECT_TRUE(BECOMES(was.rx[SERVER][i] + 2 * AHEAD <=
				    moved(lab).rx[SERVER][i]));
	ASSERT_LT(1, pid);
	then = now_us();
	ASSERT_EQ(0, kill(pid, SIGKILL));
	for (int i = 0; i < LOOPS; i++) {
		int err = read_to_the_end(&flow[i].in);

		EXPECT_TRUE(err == -ECONNRESET || err == -ECONNABORTED);
		pthread_join(flow[i].out.thread, NULL);
		EXPECT_NE(0, flow[i].out.err);
	}
	EXPECT_GT(MB * time_factor(), now_us() - then);
	EXPECT_TRUE(BECOMES((now = lab_proxy(lab, SERVER).worker) > 1 &&
			    now != pid && lab_proxy(lab, SERVER).up));
	was = moved(lab);
	for (int i = 0; i < LOOPS; i++) {
		lab_pair_close(&self->end[i].p);
		ASSERT_EQ(0, connect_from(lab, &self->end[i], variant->domain,
					  self->listener));
		ASSERT_TRUE(lab_promoted(lab, &self->end[i].p));
		ASSERT_EQ(0, stream_through(self->end[i].p.c, self->end[i].p.s,
					    i, 5000));
		EXPECT_TRUE(BECOMES(was.rx[SERVER][i] + 5000 <=
				    moved(lab).rx[SERVER][i]));
	}
	/* Of those that were reset there is nothing left. */
	EXPECT_TRUE(BECOMES(numbers_in_use(lab, SERVER) == LOOPS));
	EXPECT_TRUE(BECOMES(lab_proxy_stat(lab, SERVER, "charged") ==
			    lab_proxy_stat(lab, SERVER, "released")));
}

LAB_HARNESS_MAIN
