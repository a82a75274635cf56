// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and many bytes from writers that keep pace with their
 * readers: 1 GB each way at once, and the paper's three files over networks
 * that lose, reorder, duplicate and damage. All of it takes the path, and is
 * right.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define PORT 7700
#define KB   1000L
#define MB   1000000L

#define PIECE 65536

/* A writer who is never further ahead of the reader than that. */
struct paced {
	int out, in;
	uint64_t seed, size, ahead;
	_Atomic uint64_t read;
	_Atomic int err;
	pthread_t writer, reader;
};

static void *paced_writer(void *arg)
{
	struct paced *p = arg;
	struct stream tx = {.fd = p->out, .send = true, .seed = p->seed};

	while (tx.from < p->size && !p->err) {
		if (tx.from - p->read >= p->ahead) {
			usleep(100);
			continue;
		}
		tx.to = tx.from + PIECE < p->size ? tx.from + PIECE : p->size;
		if (stream_run(&tx))
			p->err = tx.err;
	}
	return NULL;
}

static void *paced_reader(void *arg)
{
	struct paced *p = arg;
	struct stream rx = {.fd = p->in, .seed = p->seed};

	while (rx.from < p->size && !p->err) {
		rx.to = rx.from + PIECE < p->size ? rx.from + PIECE : p->size;
		if (stream_run(&rx))
			p->err = rx.err;
		p->read = rx.from;
	}
	if (p->err)
		shutdown(p->out, SHUT_RDWR); /* or the writer would wait */
	return NULL;
}

static void paced_start(struct __test_metadata *_metadata, struct paced *p)
{
	ASSERT_EQ(0, pthread_create(&p->writer, NULL, paced_writer, p));
	ASSERT_EQ(0, pthread_create(&p->reader, NULL, paced_reader, p));
}

static int paced_join(struct paced *p)
{
	pthread_join(p->reader, NULL);
	pthread_join(p->writer, NULL);
	return p->err;
}

FIXTURE(bulk)
{
	struct lab lab;
	struct lab_pair p;
	struct shunt_proxy was[LAB_HOSTS];
};

FIXTURE_VARIANT(bulk)
{
	const char *ingress;
};

FIXTURE_VARIANT_ADD(bulk, xdp){.ingress = "xdp"};
FIXTURE_VARIANT_ADD(bulk, tc){.ingress = "tc"};

FIXTURE_SETUP(bulk)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress %s",
				    variant->ingress));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->p));
	lab_proxies(&self->lab, self->was);
}

FIXTURE_TEARDOWN(bulk)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* XDP has the 1 GB, TC a tenth of it. */
TEST_F_TIMEOUT(bulk, both_ways, 120)
{
	bool whole = !strcmp(variant->ingress, "xdp");
	uint64_t size = size_here(whole ? 1000 * MB : 100 * MB, 5 * MB);
	struct paced up = {.out = self->p.c,
			   .in = self->p.s,
			   .seed = 1,
			   .size = size,
			   .ahead = 2 * MB};
	struct paced down = {.out = self->p.s,
			     .in = self->p.c,
			     .seed = 2,
			     .size = size,
			     .ahead = 2 * MB};
	struct shunt_proxy is[LAB_HOSTS];

	paced_start(_metadata, &up);
	paced_start(_metadata, &down);
	EXPECT_EQ(0, paced_join(&up));
	EXPECT_EQ(0, paced_join(&down));
	lab_proxies(&self->lab, is);
	EXPECT_TOOK_PATH(self->was[CLIENT].bytes_tx, is[CLIENT].bytes_tx, size);
	EXPECT_TOOK_PATH(self->was[SERVER].bytes_tx, is[SERVER].bytes_tx, size);
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
}

/* ---- the paper's files ---- */

FIXTURE(files)
{
	struct lab lab;
	struct lab_pair p;
	struct shunt_proxy was[LAB_HOSTS];
};

FIXTURE_VARIANT(files)
{
	const char *fault;
	const char *did; /* what the wire calls it */
};

FIXTURE_VARIANT_ADD(files, whole){};
FIXTURE_VARIANT_ADD(files, loss_1){.fault = "loss=1%", .did = "lost"};
FIXTURE_VARIANT_ADD(files, loss_5){.fault = "loss=5%", .did = "lost"};
FIXTURE_VARIANT_ADD(files, reorder){.fault = "reorder=25%", .did = "reordered"};
FIXTURE_VARIANT_ADD(files, duplicate){.fault = "dup=10%", .did = "duplicated"};
FIXTURE_VARIANT_ADD(files, damage){.fault = "damage=1%", .did = "damaged"};

FIXTURE_SETUP(files)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, "--wire ''", "--ingress auto"));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->p));
	if (variant->fault)
		ASSERT_EQ(0, lab_do(&self->lab, "fault", "%s,seed=3",
				    variant->fault));
	lab_proxies(&self->lab, self->was);
}

FIXTURE_TEARDOWN(files)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The largest one way only, where that takes long. */
TEST_F_TIMEOUT(files, both_ways, 120)
{
	const long sizes[] = {3 * KB, 510 * KB,
			      size_here(26 * MB, variant->fault ? 0 : 5 * MB)};
	struct shunt_proxy is[LAB_HOSTS];
	long up_sum = 0, down_sum = 0, back = variant->fault ? 0 : sizes[2];

	for (int i = 0; i < 3; i++) {
		struct paced up = {.out = self->p.c,
				   .in = self->p.s,
				   .seed = 1 + i,
				   .size = sizes[i],
				   .ahead = MB};
		struct paced down = {.out = self->p.s,
				     .in = self->p.c,
				     .seed = 11 + i,
				     .size = i < 2 ? sizes[i] : back,
				     .ahead = MB};

		paced_start(_metadata, &up);
		ASSERT_EQ(0, paced_join(&up));
		paced_start(_metadata, &down);
		ASSERT_EQ(0, paced_join(&down));
		up_sum += up.size;
		down_sum += down.size;
	}
	lab_proxies(&self->lab, is);
	EXPECT_TOOK_PATH(self->was[CLIENT].bytes_tx, is[CLIENT].bytes_tx,
			 up_sum);
	EXPECT_TOOK_PATH(self->was[SERVER].bytes_tx, is[SERVER].bytes_tx,
			 down_sum);
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
	if (variant->did)
		EXPECT_LT(0, lab_wire_did(&self->lab, variant->did));
	/* And the end, on the same network */
	ASSERT_EQ(0, shutdown(self->p.c, SHUT_WR));
	EXPECT_TRUE(stream_at_end(self->p.s));
	ASSERT_EQ(0, shutdown(self->p.s, SHUT_WR));
	EXPECT_TRUE(stream_at_end(self->p.c));
}

LAB_HARNESS_MAIN
