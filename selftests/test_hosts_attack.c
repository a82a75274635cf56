// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forged SYNs and ICMP errors about a live connection: see attack.h.
 */
#include "attack_fixture.h"
#include "syn.h"

#include <errno.h>
#include <pthread.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- SYNs ---- */

/* With the four-tuple of the connection, to either end. */
TEST_F(attack, spoofed_syn)
{
	struct wish w = a_wish(OFFER);
	struct pkt p;

	for (int i = 0; i < 200; i++) {
		enum lab_host host = i % 2 ? CLIENT : SERVER;
		struct seg s = self->a.s[host];

		w.type = i % 4 < 2 ? OFFER : ANSWER;
		s.seq = attack_random(&self->a.random);
		s.ack = attack_random(&self->a.random);
		if (w.type == OFFER)
			make_syn(&s);
		else
			make_synack(&s);
		s.seq = attack_random(&self->a.random);
		add_wish(&s, &w);
		pkt_seg(&p, &s);
		ASSERT_EQ(0, attack_put_on(&self->a.to[host], &p));
	}
	EXPECT_TRUE(BECOMES(lab_stat(&self->a.lab, SERVER, "offers_received") >=
			    51));
	is_well(_metadata, &self->a, true);
}

struct flood {
	struct wire *w;
	struct seg s;
	uint64_t random;
	long count;
	long took_us;
	pthread_t thread;
};

#define BATCH 50

/* From 10.128.0.0/9, or the like of fd77:1:xxxx:xxxx::2 */
static void spoofed_offer(struct flood *f, struct pkt *p)
{
	struct wish w = a_wish(OFFER);
	struct seg s = f->s;

	make_syn(&s);
	s.seq = attack_random(&f->random);
	s.sport = attack_random(&f->random);
	put32(s.src + (s.v6 ? 4 : 0),
	      s.v6 ? attack_random(&f->random)
		   : 0x0a800000 | attack_random(&f->random) >> 9);
	w.token = attack_random(&f->random);
	add_wish(&s, &w);
	pkt_seg(p, &s);
	memcpy(p->b, f->w->macs, 12);
}

/* One each 20 us, each from somebody else. */
static void *send_flood(void *arg)
{
	struct flood *f = arg;
	static struct pkt p[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH] = {};
	uint64_t start = now_us();

	for (long sent = 0; sent < f->count;) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			spoofed_offer(f, &p[i]);
			iov[i] = (struct iovec){p[i].b, p[i].len};
			msgs[i].msg_hdr.msg_iov = &iov[i];
			msgs[i].msg_hdr.msg_iovlen = 1;
		}
		n = sendmmsg(f->w->fd, msgs, BATCH, 0);
		if (n < 0 && errno != ENOBUFS)
			return (void *)1;
		sent += n > 0 ? n : 0;
		while (now_us() - start < (uint64_t)sent * 20)
			usleep(100);
	}
	f->took_us = now_us() - start;
	return NULL;
}

/* 50,000 in a second, three times what the table of handshakes holds. */
TEST_F_TIMEOUT(attack, flood_of_offers, 60)
{
	struct lab *lab = &self->a.lab;
	struct flood f = {.w = &self->a.to[SERVER],
			  .s = self->a.s[SERVER],
			  .random = self->a.random,
			  .count = size_here(50000, 2000)};
	struct lab_pair q;
	int rounds = 0;
	void *failed;

	ASSERT_EQ(0, pthread_create(&f.thread, NULL, send_flood, &f));
	while (pthread_tryjoin_np(f.thread, &failed)) {
		ASSERT_EQ(0, stream_through(self->a.p.c, self->a.p.s, 5,
					    100 * KB));
		ASSERT_EQ(0, stream_through(self->a.p.s, self->a.p.c, 6,
					    100 * KB));
		rounds++;
	}
	ASSERT_EQ(NULL, failed);
	fprintf(stderr, "# %ld offers per second, %d transfers meanwhile\n",
		f.count * 1000000 / f.took_us, rounds);
	EXPECT_LT(0, rounds);
	EXPECT_LT(f.count * 8 / 10, lab_stat(lab, SERVER, "offers_received"));
	/* A guest's one processor is so busy that TCP's timers run out. */
	is_well(_metadata, &self->a, size_here(true, false));
	/* The handshakes that are noted are so many at most, and the flow. */
	EXPECT_GE(SHUNT_MAX_HANDSHAKES + 1, lab_flows(lab, SERVER, NULL));
	/* And who is honest is still served. */
	ASSERT_EQ(0, lab_pair_on(lab, &q, variant->domain, self->a.listener));
	EXPECT_EQ(0, stream_through(q.c, q.s, 7, 100 * KB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, q.s, "redirected", NULL));
	lab_pair_close(&q);
}

/* ---- ICMP ---- */

/* Unreachable, or too big, about a segment of the connection in its datagram,
 * whose number can only be guessed. quote: how many bytes of it. */
static void make_error(struct pkt *p, struct seg s, bool too_big,
		       uint32_t quote)
{
	uint32_t hlen = s.v6 ? 40 : 20, sum;
	struct seg about = s;
	struct pkt d;
	uint8_t *ip = p->b + ETH_LEN, *m = ip + hlen;

	/* what the receiver of s would have sent */
	memcpy(about.src, s.dst, 16);
	memcpy(about.dst, s.src, 16);
	about.sport = s.dport;
	about.dport = s.sport;
	pkt_seg(&d, &about);
	pkt_wrap(&d, NULL);
	s.options_len = 0;
	s.payload = quote - 12; /* a TCP header of 20 makes 8 + quote */
	pkt_seg(p, &s);
	ip[s.v6 ? 6 : 9] = s.v6 ? 58 : 1;
	memset(m, 0, 8);
	m[0] = s.v6 ? (too_big ? 2 : 1) : 3;
	m[1] = s.v6 ? 0 : too_big ? 4 : 3;
	if (too_big)
		put16(m + 6, s.v6 ? 1280 : 576);
	memcpy(m + 8, d.b + ETH_LEN, quote);
	if (s.v6) {
		sum = sum16(ip + 8, 32, quote + 8 + 58);
	} else {
		fix_ip(ip);
		sum = 0;
	}
	put16(m + 2, ~sum16(m, quote + 8, sum));
}

TEST_F(attack, spoofed_icmp)
{
	const bool v6 = variant->domain == AF_INET6;
	/* Up to the TCP header, and cut off in the inner IP header or behind */
	const uint32_t quotes[] = {v6 ? 128 : 80, v6 ? 56 : 36, v6 ? 92 : 52};
	struct lab *lab = &self->a.lab;
	struct pkt p;
	long refused = 0;

	for (int i = 0; i < 240; i++) {
		enum lab_host host = i % 2 ? CLIENT : SERVER;
		struct seg s = self->a.s[host];

		s.payload = 100;
		s.seq = attack_random(&self->a.random);
		make_error(&p, s, i % 4 < 2, quotes[i % 3]);
		ASSERT_EQ(0, attack_put_on(&self->a.to[host], &p));
	}
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		json_t *stats = lab_json(lab, host, "stats");

		refused += attack_stat(stats, "icmp_refused") +
			   attack_stat(stats, "icmp_short");
		EXPECT_EQ(0, attack_stat(stats, "icmp_unreachable"));
		EXPECT_EQ(0, attack_stat(stats, "icmp_too_big"));
		json_decref(stats);
	}
	EXPECT_EQ(240, refused);
	is_well(_metadata, &self->a, true);
}

LAB_HARNESS_MAIN
