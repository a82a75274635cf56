// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many connections: at once, one after the other, and more than the flow table
 * holds. Every one gets its bytes, and `shunt stats` accounts for each.
 */
#include "harness.h"
#include "lab.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7100

FIXTURE(table)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(table)
{
	const char *ingress;
};

FIXTURE_VARIANT_ADD(table, xdp){.ingress = "xdp"};

FIXTURE_VARIANT_ADD(table, tc){.ingress = "tc"};

FIXTURE_SETUP(table)
{
	ASSERT_EQ(0, lab_open(&self->lab, NULL));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(table)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* One connection, redirected, so that the path is proved for those after it. */
static int prove(struct lab *lab, int listener)
{
	struct lab_pair p;
	int err;

	err = lab_pair_on(lab, &p, AF_INET, listener);
	if (err)
		return err;
	err = stream_through(p.c, p.s, 1, 100);
	if (!err && (!lab_flow(lab, CLIENT, p.c, "redirected", NULL) ||
		     !lab_flow(lab, SERVER, p.s, "redirected", NULL)))
		err = -ENOTCONN;
	lab_pair_close(&p);
	return err;
}

/* ---- 1,000 short ones, 50 at a time ---- */

#define CALLERS 50
#define CALLS	size_here(20, 5)

/* The answer to a request is as long again, from another seed. */
static uint64_t request_size(uint64_t seed)
{
	return 1 + seed * 97 % 4000;
}

static void *answer(void *arg)
{
	int fd = (int)(intptr_t)arg, err;
	struct stream rx = {.fd = fd};
	struct stream tx = {.fd = fd, .send = true};
	uint64_t seed;

	if (recv(fd, &seed, sizeof(seed), MSG_WAITALL) != sizeof(seed)) {
		close(fd);
		return (void *)1;
	}
	rx.seed = seed;
	rx.to = request_size(seed);
	tx.seed = ~seed;
	tx.to = 2 * rx.to;
	err = stream_run(&rx);
	if (!err && !stream_at_end(fd))
		err = -EBADMSG;
	if (!err)
		err = stream_run(&tx);
	close(fd);
	return (void *)(intptr_t)err;
}

static void *answer_all(void *arg)
{
	pthread_t threads[CALLERS * CALLS];
	intptr_t wrong = 0;

	for (int i = 0; i < CALLERS * CALLS; i++) {
		intptr_t fd = accept(*(int *)arg, NULL, NULL);

		if (fd < 0 ||
		    pthread_create(&threads[i], NULL, answer, (void *)fd)) {
			fprintf(stderr, "# accepted only %d: %m\n", i);
			return (void *)-1;
		}
	}
	for (int i = 0; i < CALLERS * CALLS; i++) {
		void *err;

		pthread_join(threads[i], &err);
		wrong += !!err;
	}
	return (void *)wrong;
}

struct caller {
	struct lab *lab;
	int number;
	int wrong;
	pthread_t thread;
};

static int call(struct lab *lab, uint64_t seed)
{
	struct stream tx = {.send = true, .seed = seed};
	struct stream rx = {.seed = ~seed};
	int err = 0, fd;

	fd = lab_connect(lab, seed % 2 ? AF_INET : AF_INET6, PORT);
	if (fd < 0)
		return fd;
	tx.fd = rx.fd = fd;
	tx.to = request_size(seed);
	rx.to = 2 * tx.to;
	if (send(fd, &seed, sizeof(seed), MSG_NOSIGNAL) != sizeof(seed))
		err = -EPIPE;
	if (!err)
		err = stream_run(&tx);
	shutdown(fd, SHUT_WR);
	if (!err)
		err = stream_run(&rx);
	if (!err && !stream_at_end(fd))
		err = -EBADMSG;
	close(fd);
	return err;
}

static void *call_often(void *arg)
{
	struct caller *c = arg;

	for (int i = 0; i < CALLS; i++)
		c->wrong += !!call(c->lab, c->number * CALLS + i);
	return NULL;
}

/* Times that a path had to be proved again, or an offer went unanswered: a host
 * without a CPU lets TCP's timers run out. What is opened then and ends before
 * an echo comes has never left TCP. */
static long doubts(struct lab *lab)
{
	long n = 0;

	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		json_t *stats = lab_json(lab, host, "stats");
		json_t *stayed = json_object_get(stats, "stayed_tcp");

		n += json_integer_value(
			     json_object_get(stats, "flows_suspect")) +
		     json_integer_value(json_object_get(stayed, "no-answer")) +
		     json_integer_value(json_object_get(stayed, "muted"));
		json_decref(stats);
	}
	return n;
}

TEST_F_TIMEOUT(table, thousand_at_once, 60)
{
	struct caller callers[CALLERS];
	struct lab *lab = &self->lab;
	long before[3], most;
	struct lab_pair p;
	pthread_t server;
	void *wrong;

	ASSERT_EQ(0, lab_shunt_both(lab, "--ingress %s", variant->ingress));
	ASSERT_EQ(0, prove(lab, self->listener));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET6, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 100));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	lab_pair_close(&p);
	before[0] = lab_stat(lab, CLIENT, "flows_redirected");
	before[1] = lab_stat(lab, SERVER, "flows_redirected");
	before[2] = doubts(lab);

	ASSERT_EQ(0,
		  pthread_create(&server, NULL, answer_all, &self->listener));
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.lab = lab, .number = i};
		ASSERT_EQ(0, pthread_create(&callers[i].thread, NULL,
					    call_often, &callers[i]));
	}
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		EXPECT_EQ(0, callers[i].wrong);
	}
	pthread_join(server, &wrong);
	EXPECT_EQ(NULL, wrong);

	/* All, if no path was in doubt. */
	most = CALLERS * CALLS * (doubts(lab) == before[2] ? 10 : 9) / 10;
	EXPECT_LE(most, lab_stat(lab, CLIENT, "flows_redirected") - before[0]);
	EXPECT_LE(most, lab_stat(lab, SERVER, "flows_redirected") - before[1]);
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_table_full"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_table_full"));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_fallback"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_fallback"));
}

/* ---- a full table ---- */

#define SMALL 16
#define MORE  5

/* So many, both ways, and no others. */
static bool all_redirected(struct lab *lab, int n)
{
	return BECOMES(lab_flows(lab, CLIENT, "redirected") == n &&
		       lab_flows(lab, SERVER, "redirected") == n);
}

static void full(struct __test_metadata *_metadata, struct lab *lab,
		 int listener, enum lab_host host)
{
	struct lab_pair held[SMALL], more[MORE];
	struct lab_count count;

	ASSERT_EQ(0, prove(lab, listener));
	for (int i = 0; i < SMALL; i++) {
		ASSERT_EQ(0, lab_pair_on(lab, &held[i], AF_INET, listener));
		ASSERT_EQ(0, stream_through(held[i].c, held[i].s, i, 1000));
	}
	ASSERT_TRUE(all_redirected(lab, SMALL));
	ASSERT_EQ(0, lab_count(lab, &count));
	for (int i = 0; i < MORE; i++) {
		ASSERT_EQ(0, lab_pair_on(lab, &more[i], AF_INET, listener));
		ASSERT_EQ(0, stream_through(more[i].c, more[i].s, i, 5000));
		ASSERT_EQ(0, stream_through(more[i].s, more[i].c, i, 5000));
		EXPECT_TRUE(lab_flow(lab, host,
				     host == CLIENT ? more[i].c : more[i].s,
				     "tcp", "table-full"));
	}
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, count.udp[TO_SERVER].packets);
	EXPECT_EQ(0, count.udp[TO_CLIENT].packets);
	EXPECT_EQ(MORE, lab_stat(lab, host, "flows_table_full"));
	EXPECT_EQ(0, lab_stat(lab, SERVER + CLIENT - host, "flows_table_full"));

	/* Those that were there are none the worse for it. */
	for (int i = 0; i < SMALL; i++)
		ASSERT_EQ(0, stream_through(held[i].s, held[i].c, i, 1000));
	EXPECT_TRUE(all_redirected(lab, SMALL));
	for (int i = 0; i < SMALL; i++)
		lab_pair_close(&held[i]);
	/* And with room again, so are new ones. */
	ASSERT_TRUE(BECOMES(lab_flows(lab, host, "redirected") == 0));
	for (int i = 0; i < SMALL; i++) {
		ASSERT_EQ(0, lab_pair_on(lab, &held[i], AF_INET, listener));
		ASSERT_EQ(0, stream_through(held[i].c, held[i].s, i, 1000));
	}
	ASSERT_TRUE(all_redirected(lab, SMALL));
	EXPECT_EQ(MORE, lab_stat(lab, host, "flows_table_full"));
	for (int i = 0; i < MORE; i++)
		lab_pair_close(&more[i]);
	for (int i = 0; i < SMALL; i++)
		lab_pair_close(&held[i]);
}

TEST_F(table, full_of_live_flows_at_client)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, lab_shunt_up(lab, CLIENT, "--flows %d --ingress %s", SMALL,
				  variant->ingress));
	ASSERT_EQ(0,
		  lab_shunt_up(lab, SERVER, "--ingress %s", variant->ingress));
	full(_metadata, lab, self->listener, CLIENT);
}

/* ---- ten times the table, one after the other ---- */

/* Small in a guest, which then needs no other instances for it. */
#define TABLE (int)size_here(64, SMALL)

static int short_connection(struct lab *lab, int listener, int seed)
{
	struct lab_pair p;
	int err;

	err = lab_pair_on(lab, &p, AF_INET, listener);
	if (err)
		return err;
	err = stream_through(p.c, p.s, seed, 300);
	if (!err)
		err = stream_through(p.s, p.c, ~seed, 3000);
	/* Either end may be the one that waits in TIME_WAIT. */
	shutdown(seed % 2 ? p.c : p.s, SHUT_WR);
	if (!err && !stream_at_end(seed % 2 ? p.s : p.c))
		err = -EBADMSG;
	lab_pair_close(&p);
	return err;
}

TEST_F_TIMEOUT(table, ten_times_its_size, 60)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, lab_shunt_both(lab, "--flows %d --ingress %s", TABLE,
				    variant->ingress));
	ASSERT_EQ(0, prove(lab, self->listener));
	for (int i = 1; i < 10 * TABLE; i++)
		ASSERT_EQ(0, short_connection(lab, self->listener, i));
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		EXPECT_EQ(10 * TABLE, lab_stat(lab, host, "flows_redirected"));
		EXPECT_EQ(0, lab_stat(lab, host, "flows_table_full"));
		EXPECT_LE(9 * TABLE, lab_stat(lab, host, "flows_recycled"));
	}
}

/* Here, as each test needs one other instance than the one before it. */
TEST_F(table, full_of_live_flows_at_server)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0,
		  lab_shunt_up(lab, CLIENT, "--ingress %s", variant->ingress));
	ASSERT_EQ(0, lab_shunt_up(lab, SERVER, "--flows %d --ingress %s", SMALL,
				  variant->ingress));
	full(_metadata, lab, self->listener, SERVER);
}

LAB_HARNESS_MAIN
