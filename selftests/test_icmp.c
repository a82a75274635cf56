// SPDX-License-Identifier: GPL-2.0-only
/*
 * ICMP errors, packet by packet: which are believed, what becomes of "too big",
 * and that everything else passes untouched and changes nothing.
 */
#include "bpf_run.h"
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78 /* 4.15 */
#endif

#define TOO_BIG	    0x100 /* a code of make_error: IPv4 3/4, IPv6 type 2 */
#define QUOTED	    256	  /* bytes of the datagram, at most */
#define ERROR_MTU   1400
#define OUTER(v6)   ((v6) ? 48 : 28)
#define IP_HLEN(v6) ((v6) ? 40 : 20)

FIXTURE(icmp)
{
	struct rig r;
	struct pkt in, out;
	struct seg s; /* of ours, on its way */
	struct shunt_key k;
};

FIXTURE_VARIANT(icmp)
{
	bool v6;
	enum rig_prog prog;
};

FIXTURE_VARIANT_ADD(icmp, ipv4_tc){.v6 = false, .prog = RIG_TC};

FIXTURE_VARIANT_ADD(icmp, ipv6_tc){.v6 = true, .prog = RIG_TC};

FIXTURE_VARIANT_ADD(icmp, ipv4_behind_xdp){.v6 = false, .prog = RIG_SLOW};

FIXTURE_VARIANT_ADD(icmp, ipv6_behind_xdp){.v6 = true, .prog = RIG_SLOW};

FIXTURE_SETUP(icmp)
{
	struct shunt_flow f;

	ASSERT_EQ(0, rig_open(&self->r, 4));
	self->s = seg_out(variant->v6);
	self->s.payload = 1000;
	self->k = key_of_sender(&self->s);
	f = flow_live(&self->k);
	f.tx_next = self->s.seq + 1000;
	f.rx_ack = self->s.seq;
	ASSERT_EQ(0, flow_put(&self->r, 1, &f));
}

FIXTURE_TEARDOWN(icmp)
{
	rig_close(&self->r);
}

/* Of the whole ICMP message behind the IP header (RFC 792, RFC 4443). */
static uint16_t icmp_sum(const uint8_t *ip, bool v6)
{
	uint32_t len = (v6 ? get16(ip + 4) : get16(ip + 2) - 20u);
	uint8_t pseudo[40] = {};

	if (!v6)
		return sum16(ip + 20, len, 0);
	memcpy(pseudo, ip + 8, 32);
	put32(pseudo + 32, len);
	pseudo[39] = 58;
	return sum16(ip + 40, len, sum16(pseudo, 40, 0));
}

static void fix_icmp(uint8_t *ip, bool v6)
{
	uint8_t *m = ip + IP_HLEN(v6);

	put16(m + 2, 0);
	put16(m + 2, ~icmp_sum(ip, v6));
}

/* A router's message to the sender of s, which quotes n bytes of `quoted`. */
static void make_error(struct pkt *p, const struct seg *s, int code,
		       const struct pkt *quoted, uint32_t n)
{
	uint32_t hlen = IP_HLEN(s->v6);
	struct seg t = *s;
	uint8_t *ip, *m;

	if (n > quoted->len - ETH_LEN)
		n = quoted->len - ETH_LEN;
	memcpy(t.dst, s->src, 16);
	memset(t.src + (s->v6 ? 15 : 3), 0x63, 1); /* the router */
	t.options_len = 0;
	t.payload = 0;
	t.tos = 0;
	pkt_seg(p, &t); /* for Ethernet and IP */
	ip = p->b + ETH_LEN;
	m = ip + hlen;
	memset(m, 0, 8);
	if (code == TOO_BIG)
		m[0] = s->v6 ? 2 : 3;
	else
		m[0] = s->v6 ? 1 : 3;
	m[1] = code == TOO_BIG ? (s->v6 ? 0 : 4) : code;
	if (code == TOO_BIG && s->v6)
		put32(m + 4, ERROR_MTU);
	else if (code == TOO_BIG)
		put16(m + 6, ERROR_MTU);
	memcpy(m + 8, quoted->b + ETH_LEN, n);
	p->len = ETH_LEN + hlen + 8 + n;
	if (s->v6) {
		ip[6] = 58;
		put16(ip + 4, 8 + n);
	} else {
		ip[9] = 1;
		put16(ip + 2, hlen + 8 + n);
		fix_ip(ip);
	}
	fix_icmp(ip, s->v6);
}

/* The datagram that the segment leaves in. */
static void datagram(struct pkt *p, const struct seg *s)
{
	pkt_seg(p, s);
	pkt_wrap(p, NULL);
}

static int run_error(struct rig *r, enum rig_prog prog, const struct seg *s,
		     int code, const struct pkt *quoted, uint32_t n,
		     struct pkt *in, struct pkt *out)
{
	make_error(in, s, code, quoted, n);
	rig_mark(r);
	return rig_run(r, prog, in, out);
}

#define RUN(code, quoted, n)                                          \
	run_error(&self->r, variant->prog, &self->s, code, quoted, n, \
		  &self->in, &self->out)

TEST_F(icmp, unreachable_puts_the_flow_in_doubt)
{
	struct shunt_flow f;
	struct pkt d;

	datagram(&d, &self->s);
	/* One may be about a damaged datagram. */
	EXPECT_EQ(V_TC_PASS, RUN(1, &d, QUOTED));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ICMP));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
	/* So it is if something has arrived since. */
	f.heard_tick = f.stall_tick;
	flow_put(&self->r, 1, &f);
	EXPECT_EQ(V_TC_PASS, RUN(1, &d, QUOTED));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
	f.heard_tick = f.stall_tick - 1;
	flow_put(&self->r, 1, &f);
	/* All that is needed is the front of the TCP header. */
	EXPECT_EQ(V_TC_PASS,
		  RUN(1, &d, OUTER(variant->v6) + IP_HLEN(variant->v6) + 8));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	EXPECT_EQ(SHUNT_REASON_UNREACHABLE, f.reason);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_SUSPECT));
}

/* Nothing is counted as believed, nothing changes, nothing is changed. */
static void refused(struct __test_metadata *_metadata, struct rig *r,
		    enum rig_prog prog, const struct seg *s, int code,
		    const struct pkt *quoted, uint32_t n,
		    enum shunt_counter counter, const char *what)
{
	static struct pkt in, out;
	struct shunt_flow before, after;

	flow_get(r, 1, &before);
	EXPECT_EQ(V_TC_PASS, run_error(r, prog, s, code, quoted, n, &in, &out));
	EXPECT_TRUE(pkt_same(&in, &out))
	{
		pkt_diff(what, &in, &out);
	}
	flow_get(r, 1, &after);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)))
	TH_LOG("%s", what);
	if (counter != SHUNT_CNT_MAX)
		EXPECT_EQ(1, rig_moved(r, counter)) TH_LOG("%s", what);
	EXPECT_EQ(NULL, rig_other_moved(r, counter)) TH_LOG("%s", what);
}

#define REFUSED(code, quoted, n, counter, what)                                \
	refused(_metadata, &self->r, variant->prog, &self->s, code, quoted, n, \
		counter, what)

/* Who can't see the flow's segments does not know its numbers. */
TEST_F(icmp, forged)
{
	static const int codes[] = {1, TOO_BIG};
	struct seg s = self->s;
	struct pkt d;

	for (int i = 0; i < 2; i++) {
		s = self->s;
		s.seq = self->s.seq - 1;
		datagram(&d, &s);
		REFUSED(codes[i], &d, QUOTED, SHUNT_CNT_ICMP_BAD,
			"acknowledged");
		s.seq = self->s.seq + 1001;
		datagram(&d, &s);
		REFUSED(codes[i], &d, QUOTED, SHUNT_CNT_ICMP_BAD, "not sent");
		s.seq = self->s.seq + 0x80000000u;
		datagram(&d, &s);
		REFUSED(codes[i], &d, QUOTED, SHUNT_CNT_ICMP_BAD, "far off");
		s = self->s;
		s.sport++;
		datagram(&d, &s);
		REFUSED(codes[i], &d, QUOTED, SHUNT_CNT_ICMP_BAD, "other port");
		s = self->s;
		s.dst[3]++;
		datagram(&d, &s);
		REFUSED(codes[i], &d, QUOTED, SHUNT_CNT_ICMP_BAD, "other peer");
		datagram(&d, &self->s);
		d.b[ETH_LEN + OUTER(variant->v6) + IP_HLEN(variant->v6) - 1]++;
		REFUSED(codes[i], &d, QUOTED, SHUNT_CNT_ICMP_BAD,
			"inner address not the outer one");
	}
}

/* About plain TCP, other datagrams, or no error at all: not ours. */
TEST_F(icmp, about_something_else)
{
	struct outer o = {.sport = FLOW_PORT, .dport = 53, .proto = 17};
	struct pkt d;

	pkt_seg(&d, &self->s);
	REFUSED(1, &d, QUOTED, SHUNT_CNT_MAX, "plain TCP");
	REFUSED(TOO_BIG, &d, QUOTED, SHUNT_CNT_MAX, "plain TCP, too big");
	pkt_seg(&d, &self->s);
	pkt_wrap(&d, &o);
	REFUSED(1, &d, QUOTED, SHUNT_CNT_MAX, "another port");
	datagram(&d, &self->s);
	make_error(&self->in, &self->s, 1, &d, QUOTED);
	self->in.b[ETH_LEN + IP_HLEN(variant->v6)] = variant->v6 ? 129 : 0;
	fix_icmp(self->in.b + ETH_LEN, variant->v6);
	rig_mark(&self->r);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, variant->prog, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

/* A frame of the message path in UDP-Lite: UDP's socket, the proxy's, is to
 * hear of it. Nobody else's is, if it is another host's. */
TEST_F(icmp, too_big_for_a_frame)
{
	struct outer o = {
		.sport = GUE_PORT, .dport = GUE_PORT, .proto = UDPLITE};
	int domain = variant->v6 ? AF_INET6 : AF_INET, one = 1, fd;
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6,
				  .sin6_port = htons(GUE_PORT)};
	struct sockaddr_in a4 = {.sin_family = AF_INET,
				 .sin_port = htons(GUE_PORT)};
	uint32_t ip = IP_HLEN(variant->v6);
	struct pkt d;

	ASSERT_EQ(0, rig_netns(&self->r, 1500));
	pkt_seg(&d, &self->s);
	pkt_wrap(&d, &o);
	REFUSED(TOO_BIG, &d, QUOTED, SHUNT_CNT_MAX, "without a socket");
	fd = socket(domain, SOCK_DGRAM, 0);
	ASSERT_LE(0, fd);
	memcpy(&a4.sin_addr, self->s.src, 4);
	memcpy(&a6.sin6_addr, self->s.src, 16);
	ASSERT_EQ(0, setsockopt(fd, variant->v6 ? IPPROTO_IPV6 : IPPROTO_IP,
				variant->v6 ? IPV6_FREEBIND : IP_FREEBIND, &one,
				sizeof(one)));
	ASSERT_EQ(0,
		  bind(fd, variant->v6 ? (void *)&a6 : (struct sockaddr *)&a4,
		       variant->v6 ? sizeof(a6) : sizeof(a4)));
	REFUSED(1, &d, QUOTED, SHUNT_CNT_MAX, "nobody listens");
	EXPECT_EQ(V_TC_PASS, RUN(TOO_BIG, &d, QUOTED));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ICMP_MTU));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_ICMP_MTU));
	/* The same, about UDP. */
	self->in.b[ETH_LEN + ip + 8 + (variant->v6 ? 6 : 9)] = 17;
	fix_icmp(self->in.b + ETH_LEN, variant->v6);
	EXPECT_TRUE(pkt_same(&self->in, &self->out))
	{
		pkt_diff("too big", &self->in, &self->out);
	}
	close(fd);
}

/* Cut off anywhere: not believed, but the path is proved again for new flows.
 */
TEST_F(icmp, quote_too_short)
{
	struct shunt_peer peer = {.verified_ns = 1234};
	uint32_t need = OUTER(variant->v6) + IP_HLEN(variant->v6) + 8;
	struct pkt d;

	datagram(&d, &self->s);
	for (uint32_t n = 0; n < need; n++) {
		bool ours = n >= IP_HLEN(variant->v6) + 4u;

		peer.verified_ns = 1234;
		peer_put(&self->r, &self->k, SHUNT_UDP, &peer);
		REFUSED(1, &d, n, ours ? SHUNT_CNT_ICMP_SHORT : SHUNT_CNT_MAX,
			"cut off");
		peer_read(&self->r, &self->k, SHUNT_UDP, &peer);
		EXPECT_EQ(ours ? 0 : 1234, peer.verified_ns);
	}
}

/* The quote becomes that of the inner packet, the MTU what is left for it. */
TEST_F(icmp, too_big_is_translated)
{
	uint32_t hlen = IP_HLEN(variant->v6), outer = OUTER(variant->v6);
	struct shunt_flow before, after;
	struct pkt d, want;
	uint8_t *ip, *m;

	datagram(&d, &self->s);
	flow_get(&self->r, 1, &before);
	/* Odd lengths, too: sums are of 16-bit words. */
	for (uint32_t n = outer + hlen + 8; n < QUOTED; n += 7) {
		ASSERT_EQ(V_TC_PASS, RUN(TOO_BIG, &d, n));
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ICMP_MTU));
		EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_ICMP_MTU));
		want = self->in;
		pkt_cut(&want, ETH_LEN + hlen + 8, outer);
		ip = want.b + ETH_LEN;
		m = ip + hlen;
		if (variant->v6) {
			put16(ip + 4, get16(ip + 4) - outer);
			put32(m + 4, ERROR_MTU - outer);
		} else {
			put16(ip + 2, get16(ip + 2) - outer);
			fix_ip(ip);
			put16(m + 6, ERROR_MTU - outer);
		}
		fix_icmp(ip, variant->v6);
		EXPECT_EQ(0xffff, icmp_sum(self->out.b + ETH_LEN, variant->v6));
		EXPECT_TRUE(pkt_same(&want, &self->out))
		{
			pkt_diff("translated", &want, &self->out);
		}
	}
	flow_get(&self->r, 1, &after);
	EXPECT_EQ(SHUNT_TX_ENCAP, after.tx);
	EXPECT_EQ(before.reason, after.reason);
}

/* A probe that is refused: no waiting, and no time of leaving the path alone.
 */
TEST_F(icmp, probe_refused)
{
	struct shunt_peer peer;
	struct shunt_flow f;
	struct pkt d;

	flow_get(&self->r, 1, &f);
	f.tx = SHUNT_TX_PROBING;
	f.probes = 1;
	f.reason = SHUNT_REASON_STALLED;
	flow_put(&self->r, 1, &f);
	pkt_probe(&d, &self->s, ASKS, f.token_remote, f.nonce ^ 1, 0);
	REFUSED(1, &d, QUOTED, SHUNT_CNT_ICMP_BAD, "another nonce");
	pkt_probe(&d, &self->s, ASKS, f.token_remote, f.nonce, 0);
	/* One may have been damaged on the way. */
	EXPECT_EQ(V_TC_PASS, RUN(1, &d, QUOTED));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	f.probes = 2;
	flow_put(&self->r, 1, &f);
	EXPECT_EQ(V_TC_PASS, RUN(1, &d, QUOTED));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_FALLBACK, f.tx);
	EXPECT_EQ(SHUNT_REASON_UNREACHABLE, f.reason);
	peer_read(&self->r, &self->k, SHUNT_UDP, &peer);
	EXPECT_EQ(0, peer.blocked_until_ns);
}

/* A probe that is as large as what stalled, where the path says how much less
 * it takes: the next one is smaller, and goes at once. */
TEST_F(icmp, probe_too_big)
{
	struct shunt_peer peer = {.first_ns = 1, .size = 1400};
	struct shunt_flow f;
	struct pkt d;
	__u32 tick;

	flow_get(&self->r, 1, &f);
	f.tx = SHUNT_TX_PROBING;
	f.probes = 1;
	flow_put(&self->r, 1, &f);
	tick = f.probe_tick;
	peer_put(&self->r, &self->k, SHUNT_UDP, &peer);
	pkt_probe(&d, &self->s, ASKS, f.token_remote, f.nonce, 0);
	EXPECT_EQ(V_TC_PASS, RUN(TOO_BIG, &d, QUOTED));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	EXPECT_EQ(0, f.probes);
	EXPECT_NE(tick, f.probe_tick);
	peer_read(&self->r, &self->k, SHUNT_UDP, &peer);
	EXPECT_EQ(ERROR_MTU - OUTER(variant->v6), peer.size);
	/* It is no larger now, so this makes no sense. */
	f.probes = 1;
	flow_put(&self->r, 1, &f);
	EXPECT_EQ(V_TC_PASS, RUN(TOO_BIG, &d, QUOTED));
	flow_get(&self->r, 1, &f);
	EXPECT_NE(SHUNT_TX_PROBING, f.tx);
	EXPECT_EQ(SHUNT_REASON_MTU, f.reason);
}

RIG_HARNESS_MAIN(4)
