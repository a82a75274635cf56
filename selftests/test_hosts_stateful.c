// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stateful firewall on the way, which lets UDP through and drops what it
 * takes for invalid. It sees little of a redirected connection; when UDP is
 * cut, the connection goes on in plain TCP, past that firewall.
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define PORT 7990
#define KB   1000L
#define MB   1000000L

FIXTURE(stateful)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(stateful)
{
	const char *ingress;
	int domain;
	bool upload;
};

FIXTURE_VARIANT_ADD(stateful, xdp_ipv4_upload){
	.ingress = "xdp", .domain = AF_INET, .upload = true};

FIXTURE_VARIANT_ADD(stateful, xdp_ipv6_download){
	.ingress = "xdp", .domain = AF_INET6, .upload = false};

FIXTURE_VARIANT_ADD(stateful, tc_ipv4_download){
	.ingress = "tc", .domain = AF_INET, .upload = false};

FIXTURE_VARIANT_ADD(stateful, tc_ipv6_upload){
	.ingress = "tc", .domain = AF_INET6, .upload = true};

static int firewall_up(struct lab *lab)
{
	return lab_run(lab, ROUTER,
		       "nft 'table inet fw { counter invalid { }; "
		       "chain forward { type filter hook forward "
		       "priority filter; "
		       "ct state invalid counter name invalid drop; }; }'");
}

FIXTURE_SETUP(stateful)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
	ASSERT_EQ(0, firewall_up(&self->lab));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(stateful)
{
	close(self->listener);
	EXPECT_EQ(0, lab_run(&self->lab, ROUTER, "nft delete table inet fw"));
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static long invalid(struct lab *lab)
{
	char *text = lab_output(lab, ROUTER,
				"nft list counter inet fw invalid | "
				"awk '/packets/ { print $2 }'");
	long n = text ? atol(text) : -1;

	free(text);
	return n;
}

/* After `first` bytes, while a window is on its way. */
static void cut_a_transfer(struct __test_metadata *_metadata, struct lab *lab,
			   int listener, int domain, bool upload, long first)
{
	const long size = first + size_here(6 * MB, 2 * MB);
	struct stream tx = {.send = true, .seed = 4, .to = size};
	struct stream rx = {.seed = 4, .to = first};
	struct lab_pair p;
	uint64_t start;

	ASSERT_TRUE(lab_redirected(lab, domain, listener, &p));
	tx.fd = upload ? p.c : p.s;
	rx.fd = upload ? p.s : p.c;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	EXPECT_EQ(0, invalid(lab));
	ASSERT_EQ(0, lab_do(lab, "block", "udp"));
	start = now_us();
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	fprintf(stderr, "# done after %ld ms, %ld segments were invalid\n",
		(long)(now_us() - start) / 1000, invalid(lab));
	EXPECT_GT(5 * MB * time_factor(), now_us() - start);
	EXPECT_EQ(0, stream_through(rx.fd, tx.fd, 5, MB));
	EXPECT_EQ(0, stream_through(tx.fd, rx.fd, 6, MB));
	lab_pair_close(&p);
}

TEST_F_TIMEOUT(stateful, cut_in_a_transfer, 60)
{
	cut_a_transfer(_metadata, &self->lab, self->listener, variant->domain,
		       variant->upload, size_here(20 * MB, 2 * MB));
}

/* Before either end has had much reason to tell a firewall anything. */
TEST_F_TIMEOUT(stateful, cut_early, 60)
{
	cut_a_transfer(_metadata, &self->lab, self->listener, variant->domain,
		       variant->upload, 100 * KB);
}

/* Both ends have sent, and then nothing is on its way. */
TEST_F_TIMEOUT(stateful, cut_when_idle, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	uint64_t start;

	ASSERT_TRUE(lab_redirected(lab, variant->domain, self->listener, &p));
	EXPECT_EQ(0, stream_through(p.c, p.s, 3, size_here(3 * MB, MB)));
	EXPECT_EQ(0, stream_through(p.s, p.c, 4, size_here(3 * MB, MB)));
	EXPECT_EQ(0, stream_through(p.c, p.s, 5, 20 * KB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 6, 20 * KB));
	ASSERT_EQ(0, lab_do(lab, "block", "udp"));
	start = now_us();
	for (int i = 0; i < 4; i++) {
		bool up = i % 2 == variant->upload;

		EXPECT_EQ(0, stream_through(up ? p.c : p.s, up ? p.s : p.c, 7,
					    i < 2 ? 1000 : MB));
	}
	fprintf(stderr, "# done after %ld ms, %ld segments were invalid\n",
		(long)(now_us() - start) / 1000, invalid(lab));
	EXPECT_GT(5 * MB * time_factor(), now_us() - start);
	lab_pair_close(&p);
}

/* The reader has stopped: the window is closed when the path is cut. */
TEST_F_TIMEOUT(stateful, cut_with_a_closed_window, 60)
{
	const long first = 2 * MB, size = first + size_here(6 * MB, 2 * MB);
	struct lab *lab = &self->lab;
	struct stream tx = {.send = true, .seed = 4, .to = size};
	struct stream rx = {.seed = 4, .to = first};
	struct lab_pair p;
	uint64_t start;
	long before = 0, now = -1;

	ASSERT_TRUE(lab_redirected(lab, variant->domain, self->listener, &p));
	tx.fd = variant->upload ? p.c : p.s;
	rx.fd = variant->upload ? p.s : p.c;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	/* Until nothing comes any more but a probe of the window. */
	while (now - before != 0) {
		struct lab_count count;

		before = now;
		usleep(50000);
		ASSERT_EQ(0, lab_count(lab, &count));
		now = count.udp[TO_SERVER].bytes + count.udp[TO_CLIENT].bytes >
				      3000
			      ? before + 1
			      : before;
	}
	ASSERT_EQ(0, lab_do(lab, "block", "udp"));
	start = now_us();
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	fprintf(stderr, "# done after %ld ms, %ld segments were invalid\n",
		(long)(now_us() - start) / 1000, invalid(lab));
	EXPECT_GT(10 * MB * time_factor(), now_us() - start);
	EXPECT_EQ(0, stream_through(rx.fd, tx.fd, 5, MB));
	lab_pair_close(&p);
}

/*
 * No window is larger than 64 KB without window scaling. With a delay all of it
 * is on its way, so that a firewall has to be told often.
 */
FIXTURE(unscaled)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(unscaled)
{
	const char *ingress;
	int domain;
	bool upload;
};

FIXTURE_VARIANT_ADD(unscaled, xdp_ipv4_download){
	.ingress = "xdp", .domain = AF_INET, .upload = false};

FIXTURE_VARIANT_ADD(unscaled, tc_ipv6_upload){
	.ingress = "tc", .domain = AF_INET6, .upload = true};

FIXTURE_SETUP(unscaled)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, "--wire delay=5ms", "--ingress %s",
				 variant->ingress));
	ASSERT_EQ(0, firewall_up(&self->lab));
	ASSERT_EQ(0, lab_run(&self->lab, CLIENT,
			     "sysctl -qw net.ipv4.tcp_window_scaling=0"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(unscaled)
{
	close(self->listener);
	EXPECT_EQ(0, lab_run(&self->lab, CLIENT,
			     "sysctl -qw net.ipv4.tcp_window_scaling=1"));
	EXPECT_EQ(0, lab_run(&self->lab, ROUTER, "nft delete table inet fw"));
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

TEST_F_TIMEOUT(unscaled, cut_in_a_transfer, 60)
{
	cut_a_transfer(_metadata, &self->lab, self->listener, variant->domain,
		       variant->upload, 2 * MB);
}

LAB_HARNESS_MAIN
