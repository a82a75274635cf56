// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handshakes that are not the usual one: SYNs that carry something of their
 * own, servers without memory of a SYN, options of another version, addresses
 * that change on the way. Such a connection works, no later than without shunt.
 */
#include "harness.h"
#include "lab_proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7900
#define SIZE 500000L

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

FIXTURE(handshake)
{
	struct lab lab;
};

FIXTURE_SETUP(handshake)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "%s", ""));
}

FIXTURE_TEARDOWN(handshake)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static struct sockaddr_in address_of(const char *text, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, text, &a.sin_addr);
	return a;
}

/* The transfer works in both directions, on TCP, for that reason, and not a
 * second later, which is the first timer of a SYN. */
static void works_on_tcp(struct __test_metadata *_metadata, struct lab *lab,
			 const struct lab_pair *p, const char *reason,
			 uint64_t start)
{
	struct lab_count count;

	EXPECT_EQ(0, stream_through(p->c, p->s, 1, SIZE));
	EXPECT_EQ(0, stream_through(p->s, p->c, 2, SIZE));
	EXPECT_GT(900000 * time_factor(), now_us() - start);
	EXPECT_TRUE(lab_flow(lab, CLIENT, p->c, "tcp", reason));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_redirected"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_redirected"));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_LE(SIZE, count.tcp[TO_SERVER].bytes);
	EXPECT_LE(SIZE, count.tcp[TO_CLIENT].bytes);
}

/* The first SYN asks for a cookie, the second one brings it, and data. */
TEST_F(handshake, tcp_fast_open)
{
	struct sockaddr_in to = address_of("10.77.2.2", PORT);
	struct lab *lab = &self->lab;
	int listener = lab_listen(lab, SERVER, AF_INET, PORT), backlog = 16;
	uint64_t start;
	char got[4];
	struct lab_pair p;

	ASSERT_LE(0, listener);
	ASSERT_EQ(0,
		  lab_run(lab, SERVER, "sysctl -qw net.ipv4.tcp_fastopen=3"));
	ASSERT_EQ(0, setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &backlog,
				sizeof(backlog)));
	for (int i = 0; i < 2; i++) {
		start = now_us();
		p.c = lab_socket(lab, CLIENT, AF_INET);
		ASSERT_LE(0, p.c);
		ASSERT_EQ(4, sendto(p.c, "fast", 4, MSG_FASTOPEN | MSG_NOSIGNAL,
				    (struct sockaddr *)&to, sizeof(to)));
		p.s = accept(listener, NULL, NULL);
		ASSERT_LE(0, p.s);
		ASSERT_EQ(4, recv(p.s, got, 4, MSG_WAITALL));
		EXPECT_EQ(0, memcmp(got, "fast", 4));
		works_on_tcp(_metadata, lab, &p, "syn-options", start);
		lab_pair_close(&p);
	}
	EXPECT_EQ(1, lab_counter(lab, SERVER, "TcpExtTCPFastOpenPassive"));
	EXPECT_EQ(2, lab_stat(lab, CLIENT, "syns_left_alone"));
	close(listener);
	EXPECT_EQ(0,
		  lab_run(lab, SERVER, "sysctl -qw net.ipv4.tcp_fastopen=1"));
}

static int set_md5(int fd, const char *peer)
{
	struct sockaddr_in a = address_of(peer, 0);
	struct tcp_md5sig key = {.tcpm_keylen = 6, .tcpm_key = "secret"};

	memcpy(&key.tcpm_addr, &a, sizeof(a));
	return setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof(key));
}

TEST_F(handshake, tcp_md5)
{
	struct lab *lab = &self->lab;
	int listener = lab_listen(lab, SERVER, AF_INET, PORT);
	uint64_t start = now_us();
	struct lab_pair p;

	ASSERT_LE(0, listener);
	p.c = lab_socket(lab, CLIENT, AF_INET);
	ASSERT_LE(0, p.c);
	if (set_md5(p.c, "10.77.2.2") && errno == ENOPROTOOPT)
		SKIP(return, "this kernel has no CONFIG_TCP_MD5SIG");
	ASSERT_EQ(0, set_md5(listener, "10.77.1.2"));
	ASSERT_EQ(0, lab_dial(p.c, AF_INET, PORT));
	p.s = accept(listener, NULL, NULL);
	ASSERT_LE(0, p.s);
	works_on_tcp(_metadata, lab, &p, "syn-options", start);
	lab_pair_close(&p);
	close(listener);
}

static int mptcp_socket(struct lab *lab, enum lab_host host)
{
	struct timeval limit = {.tv_sec = LAB_TIMEOUT};
	int fd, err;

	if (setns(lab->ns[host], CLONE_NEWNET))
		return -errno;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	err = errno;
	if (setns(lab->home, CLONE_NEWNET))
		abort();
	if (fd < 0)
		return -err;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return fd;
}

TEST_F(handshake, mptcp)
{
	/* Not the port of others: its close() is not the end of it. */
	struct sockaddr_in any = address_of("0.0.0.0", PORT + 1);
	struct lab *lab = &self->lab;
	int listener = mptcp_socket(lab, SERVER);
	uint64_t start = now_us();
	struct lab_pair p;

	if (listener == -EPROTONOSUPPORT || listener == -ENOPROTOOPT)
		SKIP(return, "this kernel has no MPTCP (CONFIG_MPTCP)");
	ASSERT_LE(0, listener);
	ASSERT_EQ(0, bind(listener, (struct sockaddr *)&any, sizeof(any)));
	ASSERT_EQ(0, listen(listener, 16));
	p.c = mptcp_socket(lab, CLIENT);
	ASSERT_LE(0, p.c);
	ASSERT_EQ(0, lab_dial(p.c, AF_INET, PORT + 1));
	p.s = accept(listener, NULL, NULL);
	ASSERT_LE(0, p.s);
	works_on_tcp(_metadata, lab, &p, "syn-options", start);
	EXPECT_EQ(1, lab_counter(lab, CLIENT, "MPTcpExtMPCapableSYNACKRX"));
	lab_pair_close(&p);
	close(listener);
}

/* The server keeps nothing of a SYN; shunt does, for a while. */
TEST_F(handshake, syn_cookies)
{
	struct lab *lab = &self->lab;
	int listener = lab_listen(lab, SERVER, AF_INET6, PORT);
	struct lab_count count;
	struct lab_pair p;

	ASSERT_LE(0, listener);
	ASSERT_EQ(0,
		  lab_run(lab, SERVER, "sysctl -qw net.ipv4.tcp_syncookies=2"));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, lab_pair_on(lab, &p, i ? AF_INET6 : AF_INET,
					 listener));
		EXPECT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
		EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
		EXPECT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_EQ(0, stream_through(p.c, p.s, 3, SIZE));
		EXPECT_EQ(0, stream_through(p.s, p.c, 4, SIZE));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_LE(SIZE, count.udp[TO_SERVER].bytes);
		EXPECT_LE(SIZE, count.udp[TO_CLIENT].bytes);
		lab_pair_close(&p);
	}
	EXPECT_LE(2, lab_counter(lab, SERVER, "TcpExtSyncookiesRecv"));
	close(listener);
	EXPECT_EQ(0,
		  lab_run(lab, SERVER, "sysctl -qw net.ipv4.tcp_syncookies=1"));
}

/* Behind MSS, SACK, timestamps and window scale (20 bytes) comes our option;
 * its version is in the upper half of its fifth byte. */
static int change_version(struct lab *lab, const char *flags, int type)
{
	return lab_run(
		lab, ROUTER,
		"nft 'add rule inet lab strip tcp flags & (syn | ack) == "
		"%s @th,320,32 0xfe105348 @th,352,8 set 0x2%d'",
		flags, type);
}

static int change_nothing(struct lab *lab)
{
	return lab_run(lab, ROUTER, "nft flush chain inet lab strip");
}

TEST_F(handshake, version_of_the_offer)
{
	struct lab *lab = &self->lab;
	int listener = lab_listen(lab, SERVER, AF_INET6, PORT);
	uint64_t start = now_us();
	struct lab_pair p;

	ASSERT_LE(0, listener);
	ASSERT_EQ(0, change_version(lab, "syn", 1));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, listener));
	works_on_tcp(_metadata, lab, &p, "no-answer", start);
	EXPECT_EQ(1, lab_stat(lab, CLIENT, "offers_sent"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "answers_sent"));
	lab_pair_close(&p);
	close(listener);
	EXPECT_EQ(0, change_nothing(lab));
}

TEST_F(handshake, version_of_the_answer)
{
	struct lab *lab = &self->lab;
	int listener = lab_listen(lab, SERVER, AF_INET6, PORT);
	uint64_t start = now_us();
	struct lab_pair p;

	ASSERT_LE(0, listener);
	ASSERT_EQ(0, change_version(lab, "syn | ack", 2));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET6, listener));
	works_on_tcp(_metadata, lab, &p, "refused", start);
	EXPECT_EQ(1, lab_stat(lab, SERVER, "answers_sent"));
	lab_pair_close(&p);
	close(listener);
	EXPECT_EQ(0, change_nothing(lab));
}

/* ---- addresses that change on the way ---- */

/* The datagrams' inner addresses are not the outer ones any more, so nothing is
 * taken out of them; no probe is echoed and the flow stays on TCP. */
static void through_nat(struct __test_metadata *_metadata, struct lab *lab,
			int domain, int listener)
{
	struct lab_pair p;
	uint64_t start;

	for (int i = 0; i < 2; i++) {
		start = now_us();
		ASSERT_EQ(0, lab_pair_on(lab, &p, domain, listener));
		EXPECT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
		EXPECT_EQ(0, stream_through(p.s, p.c, 2, SIZE));
		EXPECT_GT(900000 * time_factor(), now_us() - start);
		EXPECT_EQ(0, lab_flows(lab, CLIENT, "redirected"));
		EXPECT_EQ(0, lab_flows(lab, SERVER, "redirected"));
		/* As long as something is sent it tries, and then gives up. */
		EXPECT_TRUE(BECOMES(!stream_through(p.c, p.s, 3, 1000) &&
				    !stream_through(p.s, p.c, 4, 1000) &&
				    lab_flows(lab, CLIENT, "probing") == 0));
		EXPECT_TRUE(lab_flow(lab, CLIENT, p.c, "tcp", NULL));
		lab_pair_close(&p);
	}
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_redirected"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "flows_redirected"));
	EXPECT_EQ(0, lab_stat(lab, SERVER, "decap_packets"));
	EXPECT_LT(0, lab_stat(lab, SERVER, "decap_malformed"));
}

static int make_nat(struct lab *lab)
{
	return lab_run(lab, ROUTER,
		       "nft 'table inet nat { chain post { "
		       "type nat hook postrouting priority srcnat; "
		       "oifname rs masquerade; }; }'");
}

static int remove_nat(struct lab *lab)
{
	return lab_run(lab, ROUTER, "nft delete table inet nat");
}

TEST_F(handshake, nat_of_ipv4)
{
	int listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);

	ASSERT_LE(0, listener);
	ASSERT_EQ(0, make_nat(&self->lab));
	through_nat(_metadata, &self->lab, AF_INET, listener);
	close(listener);
	EXPECT_EQ(0, remove_nat(&self->lab));
}

TEST_F(handshake, nat_of_ipv6)
{
	int listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);

	ASSERT_LE(0, listener);
	ASSERT_EQ(0, make_nat(&self->lab));
	through_nat(_metadata, &self->lab, AF_INET6, listener);
	close(listener);
	EXPECT_EQ(0, remove_nat(&self->lab));
}

LAB_HARNESS_MAIN
