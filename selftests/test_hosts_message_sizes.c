// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and sizes one less, equal to and one more than what its
 * parts are made of: a frame, a send of many, a slab with a record in it, what
 * is delivered at once; requests, responses, and many without an answer.
 */
#include "harness.h"
#include "lab_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define PORT 7680

#define MTU	 1500
#define BATCH	 44	      /* frames in a send, uring_proxy/tx.c */
#define SLAB	 (256L << 10) /* SLAB_SIZE, and DELIVER_BYTES */
#define UDP_MOST 65000L	      /* UDP_MAX */
#define RECORD	 ((long)sizeof(struct shunt_record))

FIXTURE(sizes)
{
	struct lab lab;
	struct lab_pair p;
	struct talk t;
	struct shunt_proxy was[LAB_HOSTS];
};

FIXTURE_VARIANT(sizes)
{
	int domain;
	int headers; /* of IP and UDP */
	const char *ingress;
};

FIXTURE_VARIANT_ADD(sizes,
		    ipv4){.domain = AF_INET, .headers = 28, .ingress = "xdp"};
FIXTURE_VARIANT_ADD(sizes,
		    ipv6){.domain = AF_INET6, .headers = 48, .ingress = "tc"};

FIXTURE_SETUP(sizes)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress %s",
				    variant->ingress));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, variant->domain, PORT));
	self->t = (struct talk){.c = {self->p.c, talk_send, talk_recv},
				.s = {self->p.s, talk_send, talk_recv}};
	ASSERT_TRUE(talk_promoted(&self->lab, &self->t));
	lab_proxies(&self->lab, self->was);
}

FIXTURE_TEARDOWN(sizes)
{
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

TEST_F(sizes, requests_and_responses)
{
	long frame = MTU - variant->headers - sizeof(struct shunt_frame);
	const long edges[] = {2,
			      frame,
			      2 * frame,
			      BATCH * frame,
			      UDP_MOST / (frame + 24) * frame,
			      65536,
			      SLAB - RECORD,
			      SLAB,
			      2 * SLAB - RECORD,
			      1000000,
			      1 << 20};
	long most = size_here(2 << 20, SLAB + 1), sum = 0;
	struct shunt_proxy is[LAB_HOSTS];

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
		for (long len = edges[i] - 1; len <= edges[i] + 1; len++) {
			if (len > most)
				continue;
			ASSERT_EQ(0, talk_one_way(&self->t, TO_SERVER, len));
			ASSERT_EQ(0, talk_one_way(&self->t, TO_CLIENT, len));
			sum += len;
		}
	lab_proxies(&self->lab, is);
	EXPECT_TOOK_PATH(self->was[CLIENT].bytes_tx, is[CLIENT].bytes_tx, sum);
	EXPECT_TOOK_PATH(self->was[SERVER].bytes_tx, is[SERVER].bytes_tx, sum);
}

/* A message each, all of one size. */
static int in_pieces(struct talker *t, const void *buf, size_t len)
{
	size_t piece = *(size_t *)t->own;

	return talk_send(t, buf, piece < len ? piece : len);
}

/* Records that lie in slabs as it happens, so that their ends cut each at any
 * place. As many as the limit of a stream's memory lets wait. */
TEST_F(sizes, many_messages)
{
	static const size_t pieces[] = {1, 2, 40, 300, 1423, 1424, 1425, 3000};
	size_t piece, many = size_here(2000, 200);
	struct shunt_proxy is[LAB_HOSTS];
	uint64_t sum = 0;

	self->t.c.write = self->t.s.write = in_pieces;
	self->t.c.own = self->t.s.own = &piece;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		piece = pieces[i];
		ASSERT_EQ(0, talk_one_way(&self->t, TO_SERVER, many * piece));
		ASSERT_EQ(0, talk_one_way(&self->t, TO_CLIENT, many * piece));
		sum += many * piece;
		/* Room for the next ones */
		ASSERT_TRUE(BECOMES(
			(lab_proxies(&self->lab, is),
			 is[CLIENT].charged == is[CLIENT].released &&
				 is[SERVER].charged == is[SERVER].released)));
	}
	EXPECT_TOOK_PATH(self->was[CLIENT].bytes_tx, is[CLIENT].bytes_tx, sum);
	EXPECT_TOOK_PATH(self->was[SERVER].bytes_tx, is[SERVER].bytes_tx, sum);
}

LAB_HARNESS_MAIN
