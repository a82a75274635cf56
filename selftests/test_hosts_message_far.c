// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path between hosts far from each other: what a round trip of
 * 50 ms makes long, and so seen.
 */
#include "harness.h"
#include "lab_message.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define PORT 7750
#define MB   1000000L

FIXTURE(far)
{
	struct lab lab;
	struct lab_pair p;
};

FIXTURE_VARIANT(far)
{
	enum lab_host sender;
};

FIXTURE_VARIANT_ADD(far, upload){.sender = CLIENT};
FIXTURE_VARIANT_ADD(far, download){.sender = SERVER};

FIXTURE_SETUP(far)
{
	ASSERT_EQ(
		0,
		lab_up_both(&self->lab, "--wire delay=25ms",
			    "--ingress tc --message-path --message-memory 1M"));
	ASSERT_EQ(0, lab_ask_for_path(&self->lab, "udp"));
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->p));
}

FIXTURE_TEARDOWN(far)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The rest of what was demoted goes by the segment path, neither end doubts it,
 * and TCP opens its window as it does at the start: what has been kept back
 * here says nothing of the network. */
TEST_F_TIMEOUT(far, demoted_and_as_fast_as_ever, 60)
{
	enum lab_host sender = variant->sender;
	int tx = sender == CLIENT ? self->p.c : self->p.s;
	int rx = sender == CLIENT ? self->p.s : self->p.c;
	struct lab *lab = &self->lab;
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	long took = lab_proxy_stat(lab, sender, "bytes_tx");
	long demoted = lab_proxy_stat(lab, sender, "demoted");

	ASSERT_EQ(0, stream_through(tx, rx, 6, 3 * MB));
	ASSERT_EQ(0, stream_through(rx, tx, 7, 100));
	took = lab_proxy_stat(lab, sender, "bytes_tx") - took;
	EXPECT_EQ(demoted + 1, lab_proxy_stat(lab, sender, "demoted"));
	EXPECT_LT(0, took);
	EXPECT_GT(2 * MB, took);
	EXPECT_LT(1, lab_stat(lab, sender, "message_late_kept"));

	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_suspect"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_suspect"));
	EXPECT_TRUE(lab_flow(lab, sender, tx, "redirected", "none"));
	EXPECT_LT(50, lab_stat(lab, sender, "encap_packets"));
	ASSERT_EQ(0, getsockopt(tx, IPPROTO_TCP, TCP_INFO, &info, &len));
	/* Ten segments is where it begins, and 7 what it made of them. */
	EXPECT_LT(20U, info.tcpi_snd_ssthresh);
}

LAB_HARNESS_MAIN
