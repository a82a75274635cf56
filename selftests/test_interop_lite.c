// SPDX-License-Identifier: GPL-2.0-only
/*
 * Our UDP-Lite and the kernel's, where it has one (until 7.0): its sockets take
 * our datagrams, and we take the datagrams that they send.
 */
#include "harness.h"
#include "lab.h"
#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7950
#define SIZE 5000 /* less than what TCP sends without an answer */

#ifndef UDPLITE_SEND_CSCOV
#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11
#endif

FIXTURE(lite)
{
	struct lab lab;
	struct lab_pair p;
	int udplite; /* the kernel's socket */
	int ip;	     /* bytes of an IP header */
};

FIXTURE_VARIANT(lite)
{
	const char *ingress;
	int domain;
	bool headers;
};

FIXTURE_VARIANT_ADD(lite, ipv4_full){
	.ingress = "xdp", .domain = AF_INET, .headers = false};
FIXTURE_VARIANT_ADD(lite, ipv6_full){
	.ingress = "tc", .domain = AF_INET6, .headers = false};
FIXTURE_VARIANT_ADD(lite, ipv4_headers){
	.ingress = "tc", .domain = AF_INET, .headers = true};
FIXTURE_VARIANT_ADD(lite, ipv6_headers){
	.ingress = "xdp", .domain = AF_INET6, .headers = true};

/* With the testbed's wire, so that frames and checksums are real ones. */
FIXTURE_SETUP(lite)
{
	const char *coverage = variant->headers ? "headers" : "full";
	struct lab *lab = &self->lab;

	self->ip = variant->domain == AF_INET ? 20 : 40;
	ASSERT_EQ(0, lab_up_both(lab, "--wire ''",
				 "--ingress %s --default udplite "
				 "--coverage %s",
				 variant->ingress, coverage));
	ASSERT_EQ(0, lab_pair(lab, &self->p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 1, 10));
	ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 1, 10));
	ASSERT_TRUE(lab_flow_on(lab, CLIENT, self->p.c, "udplite", coverage));
	ASSERT_TRUE(lab_flow_on(lab, SERVER, self->p.s, "udplite", coverage));
}

/* By reset: the ends do not agree any more on what was sent, and would wait for
 * each other. The next test wants a lab without connections. */
FIXTURE_TEARDOWN(lite)
{
	struct linger none = {.l_onoff = 1};

	setsockopt(self->p.c, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	setsockopt(self->p.s, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

#define KERNEL_SOCKET(host)                                                  \
	do {                                                                 \
		self->udplite = lab_datagram(&self->lab, host,               \
					     variant->domain, UDPLITE);      \
		if (self->udplite == -EPROTONOSUPPORT)                       \
			SKIP(return, "this kernel has no UDP-Lite sockets"); \
		ASSERT_LE(0, self->udplite);                                 \
	} while (0)

static socklen_t address(struct sockaddr_in6 *a, int domain, const char *v4,
			 const char *v6)
{
	struct sockaddr_in *a4 = (void *)a;

	memset(a, 0, sizeof(*a));
	a->sin6_family = domain;
	a->sin6_port = htons(6080); /* the same place in both */
	if (domain == AF_INET6) {
		inet_pton(domain, v6, &a->sin6_addr);
		return sizeof(*a);
	}
	inet_pton(domain, v4, &a4->sin_addr);
	return sizeof(*a4);
}

/* ---- from the kernel to us ---- */

/* What the client's TCP would send next. */
static int next_segment(int fd, struct seg *s)
{
	int on = 1, off = -1, queue[] = {TCP_SEND_QUEUE, TCP_RECV_QUEUE};
	uint32_t *where[] = {&s->seq, &s->ack};
	socklen_t len = sizeof(uint32_t);
	int err;

	err = setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
	for (int i = 0; !err && i < 2; i++)
		err = setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue[i],
				 sizeof(queue[i])) ||
		      getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, where[i],
				 &len);
	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
	return err ? -errno : 0;
}

static void between(struct seg *s, const struct lab_pair *p, int domain)
{
	struct sockaddr_in6 a = {};
	socklen_t len = sizeof(a);

	getsockname(p->c, (struct sockaddr *)&a, &len);
	s->sport = ntohs(a.sin6_port);
	s->dport = PORT;
	inet_pton(domain, domain == AF_INET ? "10.77.1.2" : "fd77:1::2",
		  s->src);
	inet_pton(domain, domain == AF_INET ? "10.77.2.2" : "fd77:2::2",
		  s->dst);
}

enum { UNSET = -1, ALL = 0 };

TEST_F(lite, we_take_the_kernels_datagrams)
{
	int headers = 8 + self->ip + 20;
	const int coverages[] = {UNSET, ALL, headers};
	struct seg s = seg_out(variant->domain == AF_INET6);
	struct lab *lab = &self->lab;
	uint8_t got[2000];
	struct sockaddr_in6 a;
	struct pkt *p = calloc(1, sizeof(*p));
	socklen_t alen;

	KERNEL_SOCKET(CLIENT);
	alen = address(&a, variant->domain, "10.77.2.2", "fd77:2::2");
	ASSERT_EQ(0, connect(self->udplite, (struct sockaddr *)&a, alen));
	ASSERT_EQ(0, next_segment(self->p.c, &s));
	between(&s, &self->p, variant->domain);
	for (int i = 0; i < 3; i++) {
		bool taken = coverages[i] != headers || variant->headers;
		long failed = lab_stat(lab, SERVER, "decap_failed");
		ssize_t len;

		if (coverages[i] != UNSET)
			ASSERT_EQ(0, setsockopt(self->udplite, UDPLITE,
						UDPLITE_SEND_CSCOV,
						&coverages[i], sizeof(int)));
		s.payload = 1000 + i;
		pkt_seg(p, &s);
		len = p->len - ETH_LEN;
		ASSERT_EQ(len, send(self->udplite, p->b + ETH_LEN, len, 0));
		if (!taken) { /* less than both ends have agreed on */
			EXPECT_TRUE(
				BECOMES(lab_stat(lab, SERVER, "decap_failed") ==
					failed + 1));
			EXPECT_EQ(-1, recv(self->p.s, got, 1, MSG_DONTWAIT));
			continue;
		}
		EXPECT_EQ(s.payload,
			  recv(self->p.s, got, s.payload, MSG_WAITALL));
		EXPECT_EQ(0, memcmp(got, p->b + p->len - s.payload, s.payload));
		EXPECT_EQ(failed, lab_stat(lab, SERVER, "decap_failed"));
		s.seq += s.payload;
	}
	close(self->udplite);
	free(p);
}

/* ---- from us to the kernel ---- */

/* Last, as shunt has to be brought up anew behind it. */

struct received {
	uint8_t bytes[SIZE];
	bool have[SIZE];
	uint32_t isn; /* sequence number of the first byte, once base is set */
	bool base;
	int n;
};

/* The inner IP packet is whole and right: take the stream's bytes out of it. */
static bool take(struct received *r, const uint8_t *ip, int len)
{
	const uint8_t *t = ip + ip_hlen(ip), *data = t + (t[12] >> 4) * 4;
	uint32_t at, n = ip + len - data;

	if (!ip_good(ip) || !tcp_good(ip) || get16(t + 2) != PORT)
		return false;
	if (n && !r->base) {
		r->base = true;
		r->isn = get32(t + 4);
	}
	at = get32(t + 4) - r->isn;
	if (n && (at > SIZE || at + n > SIZE))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		r->n += !r->have[at + i];
		r->have[at + i] = true;
		r->bytes[at + i] = data[i];
	}
	return true;
}

/* The kernel verifies the checksum over what is covered, and that it is as much
 * as the socket wants. */
TEST_F(lite, kernel_socket_takes_our_datagrams)
{
	int covered = variant->headers ? 8 + self->ip + 32 : 0; /* all */
	struct received *r = calloc(1, sizeof(*r));
	struct lab *lab = &self->lab;
	struct sockaddr_in6 a;
	uint8_t buf[2000], want[SIZE];
	socklen_t alen;
	ssize_t len;
	long ours;

	KERNEL_SOCKET(SERVER);
	alen = address(&a, variant->domain, "0.0.0.0", "::");
	ASSERT_EQ(0, bind(self->udplite, (struct sockaddr *)&a, alen));
	ASSERT_EQ(0, setsockopt(self->udplite, UDPLITE, UDPLITE_RECV_CSCOV,
				&covered, sizeof(covered)));
	ASSERT_LE(1, lab_detach_ingress(lab, SERVER));
	ours = lab_stat(lab, SERVER, "decap_packets");
	pattern(want, 9, 0, SIZE);
	for (int at = 0, n = 1; at < SIZE; at += n, n += n) {
		n = n < SIZE - at ? n : SIZE - at;
		ASSERT_EQ(n, send(self->p.c, want + at, n, 0));
	}
	while (r->n < SIZE) {
		len = recv(self->udplite, buf, sizeof(buf), 0);
		ASSERT_LT(0, len);
		if (buf[variant->domain == AF_INET ? 9 : 6] == 253)
			continue; /* in doubt, as there is no answer */
		ASSERT_TRUE(take(r, buf, len));
	}
	EXPECT_EQ(0, memcmp(want, r->bytes, SIZE));
	EXPECT_EQ(ours, lab_stat(lab, SERVER, "decap_packets"));
	close(self->udplite);
	free(r);
}

LAB_HARNESS_MAIN
