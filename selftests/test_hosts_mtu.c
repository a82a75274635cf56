// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paths of several sizes, and paths that become smaller without a word: what
 * is too big is dropped, and nobody says so (RFC 2923). With the word, see
 * test_hosts_icmp.c.
 */
#include "harness.h"
#include "lab.h"
#include "lab_proc.h"

#include <shunt/shared.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7970
#define KB   1000L
#define MB   1000000L

/* ---- sizes ---- */

FIXTURE(mtu)
{
	struct lab lab;
};

FIXTURE_VARIANT(mtu)
{
	const char *size;
	int domain;
};

FIXTURE_VARIANT_ADD(mtu, ipv4_1280){.size = "1280", .domain = AF_INET};

FIXTURE_VARIANT_ADD(mtu, ipv6_1280){.size = "1280", .domain = AF_INET6};

FIXTURE_VARIANT_ADD(mtu, ipv4_9000){.size = "9000", .domain = AF_INET};

FIXTURE_VARIANT_ADD(mtu, ipv6_9000){.size = "9000", .domain = AF_INET6};

FIXTURE_SETUP(mtu)
{
	char options[32];

	snprintf(options, sizeof(options), "--mtu %s", variant->size);
	ASSERT_EQ(0, lab_up_both(&self->lab, options, "%s", ""));
}

FIXTURE_TEARDOWN(mtu)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* 1500 is what all other tests have. */
TEST_F_TIMEOUT(mtu, both_ways, 60)
{
	int listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	struct lab *lab = &self->lab;
	struct lab_count count;
	struct lab_pair p;

	ASSERT_LE(0, listener);
	ASSERT_TRUE(lab_redirected(lab, variant->domain, listener, &p));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(p.c, p.s, 3, 2 * MB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 4, 2 * MB));
	ASSERT_EQ(0, lab_count(lab, &count));
	for (int dir = 0; dir < 2; dir++) {
		EXPECT_LE(2 * MB, count.udp[dir].bytes);
		EXPECT_GE(20 * KB, count.tcp[dir].bytes);
	}
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "encap_too_big"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "encap_too_big"));
	lab_pair_close(&p);
	close(listener);
}

/* ---- silence ---- */

FIXTURE(silent)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(silent)
{
	const char *ingress;
	int domain;
	bool upload;
};

FIXTURE_VARIANT_ADD(silent, xdp_ipv4_upload){
	.ingress = "xdp", .domain = AF_INET, .upload = true};

FIXTURE_VARIANT_ADD(silent, tc_ipv6_download){
	.ingress = "tc", .domain = AF_INET6, .upload = false};

/* Nothing that the router says is heard. */
FIXTURE_SETUP(silent)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
	ASSERT_EQ(0, lab_run(&self->lab, ROUTER,
			     "nft 'add chain inet lab quiet { type filter hook "
			     "output priority 0; }; "
			     "add rule inet lab quiet icmp type "
			     "destination-unreachable drop; "
			     "add rule inet lab quiet icmpv6 type "
			     "packet-too-big drop'"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

/* By the route: with a smaller device a veth would lose what comes in by it,
 * too, but for GSO packets. */
static int set_mtu(struct lab *lab, bool to_server, int mtu)
{
	return lab_run(lab, ROUTER,
		       "ip route replace 10.77.%d.2 dev %s mtu %d && "
		       "ip route replace fd77:%d::2 dev %s mtu %d",
		       1 + to_server, to_server ? "rs" : "rc", mtu,
		       1 + to_server, to_server ? "rs" : "rc", mtu);
}

FIXTURE_TEARDOWN(silent)
{
	close(self->listener);
	EXPECT_EQ(0, set_mtu(&self->lab, variant->upload, 1500));
	EXPECT_EQ(0, lab_run(&self->lab, ROUTER,
			     "nft 'flush chain inet lab quiet; "
			     "delete chain inet lab quiet'"));
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The data's way becomes this small while a window is on it; how long it takes
 * from then on. */
static uint64_t shrink(struct __test_metadata *_metadata,
		       FIXTURE_DATA(silent) * self,
		       const FIXTURE_VARIANT(silent) * variant, int mtu,
		       struct lab_pair *p)
{
	const long size = size_here(26 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 6, .to = size};
	struct stream rx = {.seed = 6, .to = size / 3};
	const enum lab_host sender = variant->upload ? CLIENT : SERVER;
	uint64_t start;
	long again;

	ASSERT_TRUE(
		lab_redirected(&self->lab, variant->domain, self->listener, p));
	tx.fd = variant->upload ? p->c : p->s;
	rx.fd = variant->upload ? p->s : p->c;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	ASSERT_EQ(0, set_mtu(&self->lab, variant->upload, mtu));
	start = now_us();
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	start = now_us() - start;
	fprintf(stderr, "# done after %ld ms\n", (long)start / 1000);
	EXPECT_EQ(0, stream_through(rx.fd, tx.fd, 7, MB));
	again = lab_counter(&self->lab, sender, "TcpRetransSegs");
	EXPECT_EQ(0, stream_through(tx.fd, rx.fd, 8, MB));
	again = lab_counter(&self->lab, sender, "TcpRetransSegs") - again;
	fprintf(stderr, "# %ld segments again\n", again);
	/* The peer's TCP takes what it gets, whatever that acknowledges. */
	EXPECT_GT(MB / 1280 / 4, again);
	return start;
}

/*
 * Room for TCP's segments, and none for the outer headers: the flow goes back
 * to TCP. Its small datagrams arrive all the same, so that probes have to be
 * as large as what did not, or it would come back and stand still again.
 */
TEST_F_TIMEOUT(silent, no_room_for_outer_headers, 60)
{
	const enum lab_host host = variant->upload ? CLIENT : SERVER;
	struct lab *lab = &self->lab;
	struct lab_pair p, q;
	int fd;

	EXPECT_GT(2 * MB * time_factor(),
		  shrink(_metadata, self, variant, 1480, &p));
	fd = variant->upload ? p.c : p.s;
	EXPECT_TRUE(BECOMES(!stream_through(p.c, p.s, 7, 1000) &&
			    !stream_through(p.s, p.c, 8, 1000) &&
			    lab_flows(lab, host, "fallback") == 1));
	EXPECT_TRUE(lab_flow(lab, host, fd, "fallback", "stalled"));
	EXPECT_EQ(1, lab_stat(lab, host, "flows_suspect"));

	/* Later the next one asks again, and stands still for nobody. */
	EXPECT_EQ(1, lab_end_holddown(lab, host));
	EXPECT_LE(0, lab_end_holddown(lab, host == CLIENT ? SERVER : CLIENT));
	ASSERT_EQ(0, lab_pair_on(lab, &q, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(q.c, q.s, 3, MB));
	EXPECT_EQ(0, stream_through(q.s, q.c, 4, MB));
	EXPECT_TRUE(lab_flows(lab, host, "redirected") == 0);
	EXPECT_EQ(1, lab_stat(lab, host, "flows_suspect"));
	lab_pair_close(&q);

	/* And when there is room again, it finds out. */
	ASSERT_EQ(0, set_mtu(lab, variant->upload, 1500));
	lab_end_holddown(lab, CLIENT);
	lab_end_holddown(lab, SERVER);
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &q));
	lab_pair_close(&q);
	lab_pair_close(&p);
}

/* Not even room for TCP's: its own probing of the MTU (RFC 4821) finds what
 * there is, after some of its timers have doubled. */
TEST_F_TIMEOUT(silent, kernel_probes_the_mtu, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;

	for (int i = CLIENT; i <= SERVER; i += SERVER - CLIENT)
		ASSERT_EQ(0, lab_run(lab, i,
				     "sysctl -qw net.ipv4.tcp_mtu_probing=1"));
	EXPECT_GT(20 * MB * time_factor(),
		  shrink(_metadata, self, variant, 1300, &p));
	lab_pair_close(&p);
	for (int i = CLIENT; i <= SERVER; i += SERVER - CLIENT)
		EXPECT_EQ(0, lab_run(lab, i,
				     "sysctl -qw net.ipv4.tcp_mtu_probing=0"));
}

LAB_HARNESS_MAIN
