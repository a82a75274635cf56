// SPDX-License-Identifier: GPL-2.0-only
/*
 * Networks that block UDP, from the start or later, both ways or one: transfers
 * are complete all the same, and `shunt flows` says what is wrong.
 */
#include "harness.h"
#include "lab_proc.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 7500
#define MB   1000000L

FIXTURE(blocked)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(blocked)
{
	const char *ingress;
	const char *direction;
	int domain;
};

FIXTURE_VARIANT_ADD(blocked, xdp_both){
	.ingress = "xdp", .direction = "both", .domain = AF_INET};

FIXTURE_VARIANT_ADD(blocked, xdp_to_server){
	.ingress = "xdp", .direction = "to-server", .domain = AF_INET};

FIXTURE_VARIANT_ADD(blocked, tc_to_client){
	.ingress = "tc", .direction = "to-client", .domain = AF_INET6};

FIXTURE_SETUP(blocked)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(blocked)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Is nothing of this connection on UDP? Probes are. */
static bool no_udp(struct lab *lab, long most)
{
	struct lab_count c;

	return !lab_count(lab, &c) && c.udp[TO_SERVER].bytes <= most &&
	       c.udp[TO_CLIENT].bytes <= most;
}

TEST_F(blocked, from_the_start)
{
	uint64_t begin, end, start = now_us();
	struct lab *lab = &self->lab;
	struct lab_pair p, q;
	bool given_up = false;

	ASSERT_EQ(0, lab_do(lab, "block", "udp %s", variant->direction));
	ASSERT_EQ(0, lab_pair_on(lab, &p, variant->domain, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, MB));
	ASSERT_EQ(0, stream_through(p.s, p.c, 2, MB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "probing", "unverified"));
	EXPECT_GT(2 * MB * time_factor(), now_us() - start);

	/* As long as something is sent, the path is tried a few times. */
	begin = now_us();
	end = begin + 10 * MB * time_factor();
	while (!given_up && now_us() < end) {
		ASSERT_EQ(0, stream_through(p.c, p.s, 3, 1000));
		ASSERT_EQ(0, stream_through(p.s, p.c, 4, 1000));
		given_up = lab_stat(lab, CLIENT, "probes_sent") >= 4 &&
			   lab_flows(lab, CLIENT, "probing") == 0;
		wait_since(begin);
	}
	EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", "no-echo"));
	EXPECT_GE(4, lab_stat(lab, CLIENT, "probes_sent"));

	/* The next one is not even tried. */
	EXPECT_TRUE(no_udp(lab, 2000));
	ASSERT_EQ(0, lab_pair_on(lab, &q, variant->domain, self->listener));
	ASSERT_EQ(0, stream_through(q.c, q.s, 5, MB));
	ASSERT_EQ(0, stream_through(q.s, q.c, 6, MB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "tcp", "blocked"));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_redirected"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_redirected"));
	EXPECT_TRUE(no_udp(lab, 1000));
	lab_pair_close(&p);
	lab_pair_close(&q);
}

/* Send a little now and then: what can't get through is tried a few times, and
 * then given up. */
static void give_up(struct __test_metadata *_metadata, struct lab *lab,
		    enum lab_host host, int out, int in)
{
	uint64_t begin = now_us(), end = begin + 10 * MB * time_factor();

	while (lab_flows(lab, host, "fallback") != 1 && now_us() < end) {
		ASSERT_EQ(0, stream_through(out, in, 7, 1000));
		wait_since(begin);
	}
}

/* The window is full, and more than it holds is to come. */
static void in_transfer(struct __test_metadata *_metadata, struct lab *lab,
			int domain, int listener, const char *direction,
			bool upload)
{
	const long size = size_here(26 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 4, .to = size};
	struct stream rx = {.seed = 4, .to = size / 3};
	const char *reason;
	uint64_t start;
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair_on(lab, &p, domain, listener));
	tx.fd = upload ? p.c : p.s;
	rx.fd = upload ? p.s : p.c;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	ASSERT_EQ(0, lab_do(lab, "block", "udp %s", direction));
	start = now_us();
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	fprintf(stderr, "# back on TCP and done after %ld ms\n",
		(long)(now_us() - start) / 1000);
	ASSERT_EQ(0, stream_through(rx.fd, tx.fd, 5, MB));
	ASSERT_EQ(0, stream_through(tx.fd, rx.fd, 6, MB));

	/* What cannot get through is sent again, twice, for nothing. In a guest
	 * an end may have been in doubt already, for another reason: its timers
	 * are too fast for it, and a peer that is in doubt speaks plain TCP. */
	reason = getenv("SHUNT_GUEST") ? NULL : "stalled";
	if (strcmp(direction, "to-client")) {
		give_up(_metadata, lab, CLIENT, p.c, p.s);
		EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "fallback",
				     upload ? reason : NULL));
	}
	if (strcmp(direction, "to-server")) {
		give_up(_metadata, lab, SERVER, p.s, p.c);
		EXPECT_TRUE(lab_flow(lab, SERVER, p.s, "fallback",
				     upload ? NULL : reason));
	}
	EXPECT_LE(1, lab_stat(lab, CLIENT, "flows_fallback") +
			     lab_stat(lab, SERVER, "flows_fallback"));
	lab_pair_close(&p);
}

TEST_F_TIMEOUT(blocked, in_an_upload, 60)
{
	in_transfer(_metadata, &self->lab, variant->domain, self->listener,
		    variant->direction, true);
}

TEST_F_TIMEOUT(blocked, in_a_download, 60)
{
	in_transfer(_metadata, &self->lab, variant->domain, self->listener,
		    variant->direction, false);
}

/* ---- one connection after the other ---- */

/* Retransmission timers that have run out, on both hosts; SYNs' included. */
static long timeouts(struct lab *lab)
{
	return lab_counters(lab, "TcpExtTCPTimeouts");
}

/* Short ones, both ways: how many timers ran out on the way? */
static long ten_more(struct __test_metadata *_metadata, struct lab *lab,
		     int domain, int listener)
{
	long before = timeouts(lab);
	struct lab_pair p;

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, lab_pair_on(lab, &p, domain, listener));
		EXPECT_EQ(0, stream_through(p.c, p.s, i, 2000));
		EXPECT_EQ(0, stream_through(p.s, p.c, i, 50000));
		shutdown(p.c, SHUT_WR);
		EXPECT_TRUE(stream_at_end(p.s));
		lab_pair_close(&p);
	}
	return timeouts(lab) - before;
}

/* A slow guest's timers run out by themselves. */
#define NONE size_here(0, 4)

TEST_F_TIMEOUT(blocked, ten_in_a_row_from_the_start, 60)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, lab_do(lab, "block", "udp %s", variant->direction));
	EXPECT_GE(NONE,
		  ten_more(_metadata, lab, variant->domain, self->listener));
	EXPECT_EQ(0, lab_flows(lab, CLIENT, "redirected"));
}

/* The first is open when the path is cut, and may wait for a timer. */
TEST_F_TIMEOUT(blocked, ten_in_a_row_from_midway, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair_on(lab, &p, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(p.c, p.s, 1, 2000));
	EXPECT_EQ(0, stream_through(p.s, p.c, 2, 50000));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	ASSERT_EQ(0, lab_do(lab, "block", "udp %s", variant->direction));
	EXPECT_EQ(0, stream_through(p.c, p.s, 3, 2000));
	EXPECT_EQ(0, stream_through(p.s, p.c, 4, 50000));
	EXPECT_GE(NONE,
		  ten_more(_metadata, lab, variant->domain, self->listener));
	lab_pair_close(&p);
}

/* The same, but nothing is open: the first new one finds out. */
TEST_F_TIMEOUT(blocked, ten_in_a_row_after_a_pause, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair_on(lab, &p, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(p.c, p.s, 1, 2000));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	lab_pair_close(&p);
	ASSERT_EQ(0, lab_do(lab, "block", "udp %s", variant->direction));
	ASSERT_EQ(0, lab_pair_on(lab, &p, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(p.c, p.s, 3, 2000));
	EXPECT_EQ(0, stream_through(p.s, p.c, 4, 50000));
	lab_pair_close(&p);
	EXPECT_GE(NONE,
		  ten_more(_metadata, lab, variant->domain, self->listener));
}

LAB_HARNESS_MAIN
