// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hosts and paths that know nothing of shunt: everything works as it does
 * without, and no later.
 */
#include "harness.h"
#include "lab.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PORT 7400
#define SIZE 500000L

FIXTURE(plain)
{
	struct lab lab;
	int listener;
};

FIXTURE_SETUP(plain)
{
	ASSERT_EQ(0, lab_up(&self->lab, NULL));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(plain)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* A connection that works and of which no byte goes by UDP. */
static void works_plain(struct __test_metadata *_metadata, struct lab *lab,
			struct lab_pair *p, int domain, int listener)
{
	struct lab_count count;

	ASSERT_EQ(0, lab_count(lab, &count));
	ASSERT_EQ(0, lab_pair_on(lab, p, domain, listener));
	ASSERT_EQ(0, stream_through(p->c, p->s, 1, SIZE));
	ASSERT_EQ(0, stream_through(p->s, p->c, 2, SIZE));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, count.udp[TO_SERVER].packets);
	EXPECT_EQ(0, count.udp[TO_CLIENT].packets);
}

TEST_F(plain, client_alone)
{
	static const int domains[] = {AF_INET, AF_INET6, AF_INET};
	struct lab *lab = &self->lab;
	struct lab_pair p;

	ASSERT_EQ(0, lab_shunt_up(lab, CLIENT, "%s", ""));
	for (int i = 0; i < 3; i++) {
		works_plain(_metadata, lab, &p, domains[i], self->listener);
		EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", "no-answer"));
		lab_pair_close(&p);
	}
	EXPECT_EQ(3, lab_stat(lab, CLIENT, "offers_sent"));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_created"));
}

TEST_F(plain, server_alone)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	ASSERT_EQ(0, lab_shunt_up(lab, SERVER, "%s", ""));
	works_plain(_metadata, lab, &p, AF_INET, self->listener);
	lab_pair_close(&p);
	works_plain(_metadata, lab, &p, AF_INET6, self->listener);
	lab_pair_close(&p);
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_created"));
}

/* ---- how long it takes ---- */

#define ROUNDS 400

static void *answer_bytes(void *arg)
{
	int listener = *(int *)arg;
	char byte;

	for (int i = 0; i < ROUNDS; i++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return (void *)1;
		if (recv(fd, &byte, 1, 0) == 1)
			send(fd, &byte, 1, MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

/* Microseconds from connect() to the first byte of the answer. */
static long first_byte(struct lab *lab)
{
	int fd = lab_socket(lab, CLIENT, AF_INET);
	uint64_t start = now_us();
	long took = -1;
	char byte;

	if (fd < 0)
		return -1;
	if (!lab_dial(fd, AF_INET, PORT) &&
	    send(fd, "x", 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1)
		took = now_us() - start;
	close(fd);
	return took;
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

/* What one in four is faster than: a machine's other work only adds time. */
static long quartile(long *times)
{
	qsort(times, ROUNDS, sizeof(*times), compare);
	return times[ROUNDS / 4];
}

/*
 * Two labs, one with shunt on its client and one without any, in turns. The
 * allowance of 50 us is for a busy machine: what this test is about, waiting
 * for somebody who does not answer, takes a round trip or a timer.
 */
TEST_F_TIMEOUT(plain, no_delay, 60)
{
	long with[ROUNDS], without[ROUNDS];
	struct lab *lab = &self->lab, other;
	pthread_t threads[2];
	int listener;

	ASSERT_EQ(0, lab_up(&other, NULL));
	listener = lab_listen(&other, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, listener);
	ASSERT_EQ(0, lab_shunt_up(lab, CLIENT, "%s", ""));
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, answer_bytes,
				    &self->listener));
	ASSERT_EQ(0,
		  pthread_create(&threads[1], NULL, answer_bytes, &listener));
	for (int i = 0; i < ROUNDS; i++) {
		with[i] = first_byte(lab);
		without[i] = first_byte(&other);
		ASSERT_LT(0, with[i]);
		ASSERT_LT(0, without[i]);
	}
	for (int i = 0; i < 2; i++) {
		void *err;

		pthread_join(threads[i], &err);
		EXPECT_EQ(NULL, err);
	}
	fprintf(stderr, "# first byte after %ld us, without shunt %ld us\n",
		quartile(with), quartile(without));
	EXPECT_LE(quartile(with),
		  quartile(without) * 11 / 10 + 50 * time_factor());
	EXPECT_EQ(ROUNDS, lab_stat(lab, CLIENT, "offers_sent"));
	close(listener);
	EXPECT_EQ(0, lab_down(&other));
}

/* ---- paths that touch the option ---- */

FIXTURE(middlebox)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(middlebox)
{
	const char *which;
};

FIXTURE_VARIANT_ADD(middlebox, syn){.which = "syn"};

FIXTURE_VARIANT_ADD(middlebox, synack){.which = "synack"};

FIXTURE_SETUP(middlebox)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "%s", ""));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(middlebox)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

TEST_F(middlebox, option_is_stripped)
{
	struct lab *lab = &self->lab;
	uint64_t start = now_us();
	struct lab_pair p;

	ASSERT_EQ(0, lab_do(lab, "strip", "%s", variant->which));
	works_plain(_metadata, lab, &p, AF_INET, self->listener);
	/* Nothing was sent again, which would take a second. */
	EXPECT_GT(900000 * time_factor(), now_us() - start);
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", "no-answer"));
	lab_pair_close(&p);
	works_plain(_metadata, lab, &p, AF_INET6, self->listener);
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", "no-answer"));
	lab_pair_close(&p);

	/* Nobody is to blame for it: it is tried again with the next one. */
	ASSERT_EQ(0, lab_do(lab, "strip", "none"));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	EXPECT_EQ(0, stream_through(p.c, p.s, 1, 100));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	lab_pair_close(&p);
}

/* For how many seconds a host sends no options to the other one. */
static double muted_for(struct lab *lab, enum lab_host host)
{
	json_t *peers = lab_json(lab, host, "peers"), *peer;
	double seconds = 0;
	size_t i;

	json_array_foreach (peers, i, peer) {
		double s = json_real_value(json_object_get(peer, "muted_for"));

		if (s > seconds)
			seconds = s;
	}
	json_decref(peers);
	return seconds;
}

TEST_F(middlebox, option_is_dropped)
{
	struct lab *lab = &self->lab;
	bool synack = !strcmp(variant->which, "synack"), muted;
	struct sent_again client = {}, server = {};
	uint64_t start;
	struct lab_pair p;

	ASSERT_EQ(0, lab_do(lab, "dropopt", "%s", variant->which));
	start = now_us();
	works_plain(_metadata, lab, &p, AF_INET, self->listener);
	/* One retransmission, after a second. */
	EXPECT_LT(900000, now_us() - start);
	ASSERT_EQ(0, stream_sent_again(p.c, &client));
	ASSERT_EQ(0, stream_sent_again(p.s, &server));
	EXPECT_GE(size_here(1, 8), client.all);
	EXPECT_GE(size_here(2, 8), server.all); /* by its timer and the SYN */
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", "no-answer"));
	lab_pair_close(&p);
	/* The server has sent its SYN-ACK again, and if that came before the
	 * client's SYN was due again, the client knows of no loss. */
	muted = muted_for(lab, CLIENT) > 30;
	EXPECT_TRUE(muted || synack);
	EXPECT_TRUE(!synack || muted_for(lab, SERVER) > 30);

	/* From then on none at all. */
	works_plain(_metadata, lab, &p, AF_INET, self->listener);
	client = server = (struct sent_again){};
	ASSERT_EQ(0, stream_sent_again(p.c, &client));
	ASSERT_EQ(0, stream_sent_again(p.s, &server));
	EXPECT_GE(size_here(0, 8), client.all);
	EXPECT_GE(size_here(0, 8), server.all);
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp",
			     muted ? "muted" : "no-answer"));
	lab_pair_close(&p);
	EXPECT_EQ(muted ? 1 : 2, lab_stat(lab, CLIENT, "offers_sent"));
}

/* ---- several instances on one machine ---- */

TEST_F(plain, instances_keep_to_themselves)
{
	struct lab *lab = &self->lab, other;
	struct lab_pair p, q;

	ASSERT_EQ(0, lab_shunt_both(lab, "%s", ""));
	ASSERT_EQ(0, lab_up(&other, NULL));
	ASSERT_EQ(0, lab_shunt_both(&other, "%s", ""));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	/* Same addresses, other hosts: nothing of it is to be seen there. */
	EXPECT_EQ(0, lab_flows(&other, CLIENT, NULL));
	EXPECT_EQ(0, lab_flows(&other, SERVER, NULL));
	EXPECT_EQ(0, lab_stat(&other, CLIENT, "connections"));
	EXPECT_EQ(1, lab_flows(lab, CLIENT, NULL));
	EXPECT_EQ(1, lab_flows(lab, SERVER, NULL));

	ASSERT_EQ(0, lab_pair(&other, &q, AF_INET6, PORT + 1));
	ASSERT_EQ(0, stream_through(q.c, q.s, 1, SIZE));
	EXPECT_TRUE(lab_flow(&other, CLIENT, q.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, NULL, NULL));
	EXPECT_TRUE(lab_flow(&other, CLIENT, p.c, NULL, NULL));
	lab_pair_close(&q);
	/* One goes away, the other stays. */
	EXPECT_EQ(0, lab_down(&other));
	EXPECT_EQ(0, stream_through(p.s, p.c, 1, SIZE));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_EQ(1, lab_stat(lab, CLIENT, "connections"));
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
