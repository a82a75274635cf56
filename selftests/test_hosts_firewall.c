// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host's own firewall sees TCP and nothing else: encap comes after netfilter,
 * decap before it. One that knows only TCP lets redirected flows through, one
 * that counts sees all of their bytes, and one that refuses a port is obeyed.
 */
#include "harness.h"
#include "lab.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7300
#define SIZE 2000000L

FIXTURE(firewall)
{
	struct lab lab;
};

FIXTURE_VARIANT(firewall)
{
	const char *ingress;
	int domain;
};

FIXTURE_VARIANT_ADD(firewall, xdp_ipv4){.ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(firewall, xdp_ipv6){.ingress = "xdp", .domain = AF_INET6};

FIXTURE_VARIANT_ADD(firewall, tc_ipv4){.ingress = "tc", .domain = AF_INET};

FIXTURE_VARIANT_ADD(firewall, tc_ipv6){.ingress = "tc", .domain = AF_INET6};

FIXTURE_SETUP(firewall)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
}

static int both_nft(struct lab *lab, const char *rules)
{
	return lab_run(lab, CLIENT, "nft '%s'", rules) ||
	       lab_run(lab, SERVER, "nft '%s'", rules);
}

FIXTURE_TEARDOWN(firewall)
{
	EXPECT_EQ(0, both_nft(&self->lab, "flush ruleset"));
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The bytes that a counter of table fw has seen on a host. */
static long seen(struct lab *lab, enum lab_host host, const char *counter)
{
	char *text =
		lab_output(lab, host, "nft list counter inet fw %s", counter);
	const char *bytes = text ? strstr(text, "bytes ") : NULL;
	long n = bytes ? atol(bytes + strlen("bytes ")) : -1;

	free(text);
	return n;
}

/* Twice, because the first connection has the path to prove. */
static void transfers(struct __test_metadata *_metadata, struct lab *lab,
		      int domain)
{
	struct lab_count count;
	struct lab_pair p;

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, lab_count(lab, &count));
		ASSERT_EQ(0, lab_pair(lab, &p, domain, PORT));
		EXPECT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
		EXPECT_EQ(0, stream_through(p.s, p.c, 2, SIZE));
		EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
		EXPECT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
		lab_pair_close(&p);
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_LE(SIZE * 9 / 10, count.udp[TO_SERVER].bytes);
		EXPECT_LE(SIZE * 9 / 10, count.udp[TO_CLIENT].bytes);
	}
}

static const char no_udp[] =
	"table inet fw {\n"
	"	counter udp_in { }\n"
	"	counter udp_out { }\n"
	"	counter tcp_in { }\n"
	"	counter tcp_out { }\n"
	"	chain pre {\n"
	"		type filter hook prerouting priority raw\n"
	"		meta l4proto udp counter name udp_in drop\n"
	"	}\n"
	"	chain in {\n"
	"		type filter hook input priority filter\n"
	"		meta l4proto udp counter name udp_in drop\n"
	"		meta l4proto tcp counter name tcp_in\n"
	"	}\n"
	"	chain out {\n"
	"		type filter hook output priority filter\n"
	"		meta l4proto udp counter name udp_out drop\n"
	"		meta l4proto tcp counter name tcp_out\n"
	"	}\n"
	"	chain post {\n"
	"		type filter hook postrouting priority filter\n"
	"		meta l4proto udp counter name udp_out drop\n"
	"	}\n"
	"}\n";

TEST_F(firewall, drops_udp)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, both_nft(lab, no_udp));
	transfers(_metadata, lab, variant->domain);
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		EXPECT_EQ(0, seen(lab, host, "udp_in"));
		EXPECT_EQ(0, seen(lab, host, "udp_out"));
		EXPECT_LE(2 * SIZE, seen(lab, host, "tcp_in"));
		EXPECT_LE(2 * SIZE, seen(lab, host, "tcp_out"));
	}
}

/* The usual one: what I began may come back, one service is open, no more. */
static const char stateful[] =
	"table inet fw {\n"
	"	counter invalid { }\n"
	"	counter refused { }\n"
	"	chain in {\n"
	"		type filter hook input priority filter; policy drop\n"
	"		ct state invalid counter name invalid drop\n"
	"		ct state established,related accept\n"
	"		meta l4proto ipv6-icmp accept\n"
	"		tcp dport 7300 ct state new accept\n"
	"		counter name refused\n"
	"	}\n"
	"	chain out {\n"
	"		type filter hook output priority filter\n"
	"		ct state invalid counter name invalid drop\n"
	"	}\n"
	"}\n";

TEST_F(firewall, established_only)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, both_nft(lab, stateful));
	transfers(_metadata, lab, variant->domain);
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		EXPECT_EQ(0, seen(lab, host, "invalid"));
		EXPECT_EQ(0, seen(lab, host, "refused"));
	}
}

/* A firewall that cuts off a connection in the middle is not gone round. */
static const char cut_off[] =
	"table inet fw {\n"
	"	chain in {\n"
	"		type filter hook input priority filter\n"
	"		tcp dport 7300 reject with tcp reset\n"
	"	}\n"
	"}\n";

TEST_F(firewall, is_obeyed)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	char byte;

	ASSERT_EQ(0, lab_pair(lab, &p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_EQ(0, lab_run(lab, SERVER, "nft '%s'", cut_off));
	ASSERT_EQ(10, send(p.c, "0123456789", 10, MSG_NOSIGNAL));
	EXPECT_EQ(-1, recv(p.c, &byte, 1, 0));
	EXPECT_EQ(ECONNRESET, errno);
	EXPECT_EQ(-1, recv(p.s, &byte, 1, MSG_DONTWAIT));
	EXPECT_EQ(EAGAIN, errno);
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
