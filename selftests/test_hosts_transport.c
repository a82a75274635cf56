// SPDX-License-Identifier: GPL-2.0-only
/*
 * Transports that come and go between hosts: the one that
 * docs/writing-a-transport.md writes, one that refuses packets, and all that
 * can be done to them while connections run.
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT  7900
#define KB    1000L
#define MB    1000000L
#define OWD   "docs/owd.bpf.o"
#define PICKY "selftests/plugins/picky.bpf.o"

FIXTURE(transport)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(transport)
{
	const char *ingress;
};

FIXTURE_VARIANT_ADD(transport, xdp){.ingress = "xdp"};

FIXTURE_VARIANT_ADD(transport, tc){.ingress = "tc"};

FIXTURE_SETUP(transport)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, "--wire ''", "--ingress %s",
				 variant->ingress));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(transport)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static const enum lab_host ends[] = {CLIENT, SERVER};

/* Not lab_shunt(): what this changes, undo() takes back. */
static int shunt(struct lab *lab, enum lab_host host, const char *command)
{
	return lab_run(lab, host, "%s/shunt %s >/dev/null", lab_build(),
		       command);
}

static int put(struct lab *lab, enum lab_host host, const char *verb,
	       const char *file)
{
	char command[512];

	snprintf(command, sizeof(command), "transport %s %s/%s", verb,
		 lab_build(), file);
	return shunt(lab, host, command);
}

static int put_both(struct lab *lab, const char *verb, const char *file)
{
	return put(lab, CLIENT, verb, file) | put(lab, SERVER, verb, file);
}

static int prefer(struct lab *lab, const char *transports)
{
	char command[128];
	int err = 0;

	snprintf(command, sizeof(command), "policy add --at 1 --transport %s",
		 transports);
	for (int i = 0; i < 2; i++)
		err |= shunt(lab, ends[i], command);
	return err;
}

/* prefer() and put_both() of that transport */
static int undo(struct lab *lab, const char *transport)
{
	char command[128];
	int err = 0;

	snprintf(command, sizeof(command), "transport remove %s", transport);
	for (int i = 0; i < 2; i++)
		err |= shunt(lab, ends[i], "policy del 1") |
		       shunt(lab, ends[i], command);
	return err;
}

/* A number of the report of `shunt transport show`. */
static double reported(struct lab *lab, enum lab_host host, const char *name)
{
	json_t *json = lab_json(lab, host, "transport show owd");
	double value = json_number_value(
		json_object_get(json_object_get(json, "report"), name));

	json_decref(json);
	return value;
}

static long wire_lost(struct lab *lab, const char *direction)
{
	json_t *stats = lab_wire_stats(lab);
	long n = json_integer_value(
		json_object_get(json_object_get(stats, direction), "lost"));

	json_decref(stats);
	return n;
}

/* ---- the worked example ---- */

/* What the client has sent on it the server has received, or reports as lost;
 * but for the last ones, behind which nothing has come. */
static bool accounted_for(struct lab *lab)
{
	double missing = reported(lab, CLIENT, "sent") -
			 reported(lab, SERVER, "received") -
			 reported(lab, SERVER, "lost");

	return missing >= 0 && missing <= 3;
}

/* It says what the wire did: 10 ms each way, and one packet in 20 lost. */
TEST_F(transport, worked_example)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	ASSERT_EQ(0, put_both(lab, "add", OWD));
	ASSERT_EQ(0, prefer(lab, "owd,udp"));
	ASSERT_EQ(0, lab_do(lab, "fault", "delay=10ms"));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, KB));
	ASSERT_EQ(0, lab_do(lab, "fault", "delay=10ms,loss=5%%,seed=3"));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 510 * KB));
	ASSERT_EQ(0, stream_through(p.s, p.c, 2, 10 * KB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_STREQ("owd", lab_transport(lab, CLIENT, p.c));
	EXPECT_STREQ("owd", lab_transport(lab, SERVER, p.s));
	EXPECT_LT(300, reported(lab, SERVER, "received"));
	EXPECT_LT(0, reported(lab, SERVER, "lost"));
	EXPECT_TRUE(BECOMES(accounted_for(lab)));
	/* The wire's number has plain packets, too. */
	EXPECT_GE(wire_lost(lab, "to_server"), reported(lab, SERVER, "lost"));
	EXPECT_LE(10000, reported(lab, SERVER, "delay_us"));
	EXPECT_LE(10000, reported(lab, CLIENT, "delay_us"));
	EXPECT_LE(reported(lab, SERVER, "delay_us"),
		  reported(lab, SERVER, "worst_us"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "decap_failed"));
	lab_pair_close(&p);
	ASSERT_EQ(0, undo(lab, "owd"));
}

/* What it refuses goes as TCP, is counted, and nothing is missing. */
TEST_F(transport, encap_that_fails)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	struct lab_count count;

	ASSERT_EQ(0, put_both(lab, "add", PICKY));
	ASSERT_EQ(0, prefer(lab, "picky"));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET6, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 500));
	ASSERT_EQ(0, stream_through(p.s, p.c, 2, 500));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "encap_failed"));
	ASSERT_EQ(0, lab_count(lab, &count));
	/* Some of it, at least: what arrives as TCP makes the flow doubt. */
	ASSERT_EQ(0, stream_through(p.c, p.s, 3, MB));
	EXPECT_LT(0, lab_stat(lab, CLIENT, "encap_failed"));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LE(MB, count.tcp[TO_SERVER].bytes);
	EXPECT_LT(0, lab_stat(lab, CLIENT, "encap_packets"));
	lab_pair_close(&p);
	ASSERT_EQ(0, undo(lab, "picky"));
}

/* ---- while connections run ---- */

/* Built anew, or even the same: nobody notices. */
TEST_F(transport, replaced_in_a_transfer)
{
	struct lab *lab = &self->lab;
	const long size = size_here(26 * MB, 2 * MB);
	struct stream tx = {.send = true, .seed = 9, .to = size}, rx = tx;
	struct lab_pair p;

	ASSERT_EQ(0, put_both(lab, "add", OWD));
	ASSERT_EQ(0, prefer(lab, "owd"));
	ASSERT_EQ(0, lab_do(lab, "fault", "rate=%ldmbit", size_here(200, 5)));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	tx.fd = p.s;
	rx.fd = p.c;
	rx.send = false;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_start(&rx));
	for (long i = size_here(10, 4); i > 0; i--)
		EXPECT_EQ(0, put_both(lab, "replace owd", OWD));
	EXPECT_EQ(0, stream_join(&rx));
	EXPECT_EQ(0, stream_join(&tx));
	EXPECT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	EXPECT_STREQ("owd", lab_transport(lab, SERVER, p.s));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, lab_stat(lab, ends[i], "encap_failed"));
		EXPECT_EQ(0, lab_stat(lab, ends[i], "decap_failed"));
		EXPECT_EQ(0, lab_stat(lab, ends[i], "flows_fallback"));
	}
	lab_pair_close(&p);
	ASSERT_EQ(0, undo(lab, "owd"));
}

/* Taken away at one end, a connection goes on over TCP at both; put back, new
 * ones have it at once: the path was not blocked. */
TEST_F(transport, removed_in_a_transfer)
{
	struct lab *lab = &self->lab;
	const long size = size_here(10 * MB, MB);
	struct lab_pair p, q;
	struct lab_count count;

	ASSERT_EQ(0, put_both(lab, "add", OWD));
	ASSERT_EQ(0, prefer(lab, "owd"));
	for (int i = 0; i < 2; i++) {
		struct stream tx = {.send = true, .seed = 5, .to = size};
		struct stream rx = {.seed = 5, .to = size};

		ASSERT_EQ(0, lab_do(lab, "fault", "rate=%ldmbit",
				    size_here(100, 5)));
		ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
		tx.fd = p.c;
		rx.fd = p.s;
		ASSERT_EQ(0, stream_start(&tx));
		ASSERT_EQ(0, stream_start(&rx));
		ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
		ASSERT_EQ(0, shunt(lab, ends[i], "transport remove owd"));
		EXPECT_EQ(0, stream_join(&rx));
		EXPECT_EQ(0, stream_join(&tx));
		ASSERT_EQ(0, lab_do(lab, "fault", "rate=0"));
		EXPECT_EQ(0, stream_through(p.s, p.c, 6, 10 * KB));
		EXPECT_TRUE(lab_flow(lab, ends[i],
				     ends[i] == CLIENT ? p.c : p.s, "fallback",
				     "no-transport"));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_EQ(0, stream_through(p.c, p.s, 7, MB));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_LE(MB, count.tcp[TO_SERVER].bytes);
		EXPECT_EQ(0, count.udp[TO_SERVER].packets);

		ASSERT_EQ(0, lab_pair_on(lab, &q, AF_INET, self->listener));
		EXPECT_EQ(0, stream_through(q.c, q.s, 8, 10 * KB));
		EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "tcp", NULL));
		lab_pair_close(&q);
		ASSERT_EQ(0, put(lab, ends[i], "add", OWD));
		ASSERT_EQ(0, lab_pair_on(lab, &q, AF_INET, self->listener));
		EXPECT_EQ(0, stream_through(q.c, q.s, 9, 10 * KB));
		EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "redirected", NULL));
		lab_pair_close(&q);
		lab_pair_close(&p);
	}
	ASSERT_EQ(0, undo(lab, "owd"));
}

/* ---- a hundred times ---- */

#define PONGS 100

struct load {
	struct lab *lab;
	int listener;
	volatile bool stop;
	long transfers;
	volatile long pongs;
	int err;
};

#define AT_A_TIME size_here(26 * MB, 4 * MB)

/* Such transfers one after another, each on a connection of its own */
static void *transfers(void *arg)
{
	struct load *l = arg;
	struct lab_pair p;

	do {
		l->err = lab_pair_on(l->lab, &p, AF_INET6, l->listener);
		if (l->err)
			break;
		l->err = stream_through(p.c, p.s, ++l->transfers, AT_A_TIME);
		lab_pair_close(&p);
	} while (!l->err && !l->stop);
	return NULL;
}

/* A hundred connections, a message there and back on each, over and over. Every
 * tenth is a new one each time: it takes what is deployed then. */
static void *pingpongs(void *arg)
{
	struct load *l = arg;
	struct lab_pair p[PONGS];
	int n = 0;

	while (n < PONGS && !l->err) {
		l->err = lab_pair_on(l->lab, &p[n], AF_INET, l->listener);
		n += !l->err;
	}
	for (long i = 0; !l->err && !l->stop; i++) {
		struct lab_pair *q = &p[i % PONGS];

		if (i % 10 == 0) {
			lab_pair_close(q);
			l->err = lab_pair_on(l->lab, q, AF_INET, l->listener);
			if (l->err) {
				*q = p[--n];
				break;
			}
		}
		l->err = stream_through(q->c, q->s, i, 64)
				 ?: stream_through(q->s, q->c, i, 64);
		l->pongs++;
	}
	while (n > 0)
		lab_pair_close(&p[--n]);
	return NULL;
}

/* One round at one host, while the other knows nothing of it. */
static int round_at(struct lab *lab, enum lab_host host)
{
	return put(lab, host, "add", OWD) | put(lab, host, "replace owd", OWD) |
	       lab_shunt(lab, host, "transport replace udp udp") |
	       lab_shunt(lab, host, "transport remove owd");
}

/* No byte lost, no connection reset, nothing left in the kernel (which the
 * teardown looks for). */
TEST_F_TIMEOUT(transport, hundred_rounds, 120)
{
	struct lab *lab = &self->lab;
	struct load bulk = {.lab = lab, .listener = self->listener};
	struct load pong = {.lab = lab};
	const int rounds = size_here(100, 5), often = size_here(10, 5);
	pthread_t t[2];

	lab_touch(lab, CLIENT);
	lab_touch(lab, SERVER);
	/* A guest has but one CPU, which the commands shall have. */
	if (getenv("SHUNT_GUEST"))
		ASSERT_EQ(0, lab_do(lab, "fault", "rate=40mbit"));
	pong.listener = lab_listen(lab, SERVER, AF_INET6, PORT + 1);
	ASSERT_LE(0, pong.listener);
	ASSERT_EQ(0, put_both(lab, "add", OWD));
	ASSERT_EQ(0, prefer(lab, "owd,udplite,udp"));
	ASSERT_EQ(0, lab_shunt(lab, CLIENT, "transport remove owd"));
	ASSERT_EQ(0, pthread_create(&t[0], NULL, transfers, &bulk));
	ASSERT_EQ(0, pthread_create(&t[1], NULL, pingpongs, &pong));
	for (int i = 0; i < rounds && !bulk.err && !pong.err; i++) {
		/* The server has it most of the time, so flows get it. */
		EXPECT_EQ(0, round_at(lab, CLIENT));
		if (i % often == often - 1) {
			EXPECT_EQ(0, lab_shunt(lab, SERVER,
					       "transport remove owd"));
			EXPECT_EQ(0, round_at(lab, SERVER));
			EXPECT_EQ(0, put(lab, SERVER, "add", OWD));
		}
	}
	EXPECT_TRUE(BECOMES(pong.pongs > PONGS || pong.err));
	bulk.stop = pong.stop = true;
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	EXPECT_EQ(0, bulk.err) TH_LOG("%s", strerror(-bulk.err));
	EXPECT_EQ(0, pong.err) TH_LOG("%s", strerror(-pong.err));
	EXPECT_LT(0, bulk.transfers);
	EXPECT_LT(PONGS, pong.pongs);
	EXPECT_LT(0, lab_stat(lab, CLIENT, "flows_redirected"));
	EXPECT_LT(0, lab_stat(lab, CLIENT, "flows_fallback"));
	printf("# NOTE %ld MB, %ld ping-pongs in %d rounds; %ld connections "
	       "redirected, %ld sent back\n",
	       AT_A_TIME / MB * bulk.transfers, pong.pongs, rounds,
	       lab_stat(lab, CLIENT, "flows_redirected"),
	       lab_stat(lab, CLIENT, "flows_fallback"));
	close(pong.listener);
}

LAB_HARNESS_MAIN
