// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends without a copy: long messages are sent so, headers and all, until the
 * kernel says that it copies them nevertheless, as it does for a receiver on
 * the same machine. The bytes are right either way, and all are counted.
 */
#include "harness.h"
#include "lab_message.h"

#include <shunt/message.h>
#include <sys/socket.h>

#define PORT 7670
#define KB   1000L

FIXTURE(copies)
{
	struct lab lab;
	struct lab_pair p;
};

FIXTURE_SETUP(copies)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--message-path"));
	lab_spoil(&self->lab);
	ASSERT_EQ(0, lab_shunt(&self->lab, CLIENT,
			       "policy add --path message --transport udp"));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
}

FIXTURE_TEARDOWN(copies)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static bool sent_through(struct lab_pair *p, unsigned seed, size_t size)
{
	return !stream_through(p->c, p->s, seed, size) &&
	       !stream_through(p->s, p->c, seed, 100);
}

/* Sizes that a read of the redirection socket, a frame, a batch and a slab end
 * within: each byte is compared at the far end. */
TEST_F(copies, long_messages)
{
	struct lab *lab = &self->lab;
	long batches, headers;

	ASSERT_TRUE(BECOMES(sent_through(&self->p, 1, 100) &&
			    lab_proxy_stat(lab, CLIENT, "bytes_tx") > 0));
	ASSERT_LE(0, lab_proxy_stat(lab, CLIENT, "bytes_copied"));
	EXPECT_EQ(0, lab_proxy_stat(lab, CLIENT, "bytes_zc") +
			     lab_proxy_stat(lab, CLIENT, "bytes_zc_copied"));
	for (unsigned i = 0; i < 40; i++)
		ASSERT_TRUE(sent_through(&self->p, 10 + i, 20 * KB + i * 4999));
	EXPECT_EQ(0, lab_proxy_stat(lab, CLIENT, "demoted"));
	batches = lab_proxy_stat(lab, CLIENT, "sends");
	headers = lab_proxy_stat(lab, CLIENT, "datagrams_tx") *
		  sizeof(struct shunt_frame);
	EXPECT_LT(40 * 20 * KB, lab_proxy_stat(lab, CLIENT, "bytes_tx"));
	/* A batch has many frames, where the window lets it. */
	EXPECT_GT(lab_proxy_stat(lab, CLIENT, "datagrams_tx"), 3 * batches);
	EXPECT_LT(0, lab_proxy_stat(lab, CLIENT, "bytes_zc") +
			     lab_proxy_stat(lab, CLIENT, "bytes_zc_copied"));
	EXPECT_TRUE(
		BECOMES(lab_proxy_stat(lab, CLIENT, "bytes_zc") +
				lab_proxy_stat(lab, CLIENT, "bytes_zc_copied") +
				lab_proxy_stat(lab, CLIENT, "bytes_copied") ==
			lab_proxy_stat(lab, CLIENT, "bytes_tx") + headers));
	/* Having been told, it stops asking. */
	if (lab_proxy_stat(lab, CLIENT, "bytes_zc_copied"))
		EXPECT_GT(
			lab_proxy_stat(lab, CLIENT, "bytes_copied"),
			lab_proxy_stat(lab, CLIENT, "bytes_zc") +
				lab_proxy_stat(lab, CLIENT, "bytes_zc_copied"));
}

LAB_HARNESS_MAIN
