// SPDX-License-Identifier: GPL-2.0-only
/* Packets for tests: see packet.h. */
#include "packet.h"

#include <stdio.h>
#include <string.h>

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa};
static const uint8_t mac_b[6] = {2, 0, 0, 0, 0, 0xb};
static const uint8_t addr4_a[4] = {10, 77, 1, 2};
static const uint8_t addr4_b[4] = {10, 77, 2, 9};
static const uint8_t addr6_a[16] = {0xfd, 0x77, 0, 1, [15] = 2};
static const uint8_t addr6_b[16] = {0xfd, 0x77, 0, 2, [7] = 5, [15] = 9};

uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

uint16_t sum16(const uint8_t *p, uint32_t len, uint32_t start)
{
	uint64_t sum = start;

	for (; len > 1; len -= 2, p += 2)
		sum += get16(p);
	if (len)
		sum += p[0] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

uint32_t pkt_l3(const struct pkt *p)
{
	uint32_t at = 12;

	while (get16(p->b + at) == 0x8100 || get16(p->b + at) == 0x88a8)
		at += 4;
	return at + 2;
}

bool pkt_v6(const struct pkt *p)
{
	return get16(p->b + pkt_l3(p) - 2) == 0x86dd;
}

uint32_t ip_hlen(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 ? 40 : (ip[0] & 15) * 4;
}

uint32_t pkt_l4(const struct pkt *p)
{
	uint32_t l3 = pkt_l3(p);

	return l3 + ip_hlen(p->b + l3);
}

void fix_ip(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, ~sum16(ip, ip_hlen(ip), 0));
}

bool ip_good(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 || sum16(ip, ip_hlen(ip), 0) == 0xffff;
}

/* Bytes behind the IP header. */
static uint32_t l4_len(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 ? get16(ip + 4) : get16(ip + 2) - ip_hlen(ip);
}

/* Sum of the pseudo header and the first `covered` bytes behind the IP header:
 * 0xffff when it is right. */
static uint16_t l4_sum(const uint8_t *ip, uint8_t proto, uint32_t covered)
{
	uint32_t sum = l4_len(ip) + proto;

	if (ip[0] >> 4 == 6)
		sum += sum16(ip + 8, 32, 0);
	else
		sum += sum16(ip + 12, 8, 0);
	return sum16(ip + ip_hlen(ip), covered, sum);
}

static uint16_t tcp_sum(const uint8_t *ip)
{
	return l4_sum(ip, 6, l4_len(ip));
}

void fix_tcp(uint8_t *ip)
{
	uint8_t *check = ip + ip_hlen(ip) + 16;

	put16(check, 0);
	put16(check, ~tcp_sum(ip));
}

bool tcp_good(const uint8_t *ip)
{
	return tcp_sum(ip) == 0xffff;
}

void fix_udp(uint8_t *ip)
{
	uint8_t *check = ip + ip_hlen(ip) + 6;
	uint16_t sum;

	put16(check, 0);
	sum = ~l4_sum(ip, 17, l4_len(ip));
	put16(check, sum ? sum : 0xffff);
}

/* RFC 3828, 3.1. A coverage beyond the end is nonsense: all there is. */
static uint16_t udplite_sum(const uint8_t *ip)
{
	uint32_t covered = get16(ip + ip_hlen(ip) + 4), len = l4_len(ip);

	return l4_sum(ip, UDPLITE, covered && covered < len ? covered : len);
}

void fix_udplite(uint8_t *ip)
{
	uint8_t *check = ip + ip_hlen(ip) + 6;
	uint16_t sum;

	put16(check, 0);
	sum = ~udplite_sum(ip);
	put16(check, sum ? sum : 0xffff);
}

bool udplite_good(const uint8_t *ip)
{
	const uint8_t *u = ip + ip_hlen(ip);
	uint32_t covered = get16(u + 4);

	return get16(u + 6) && (!covered || covered >= 8) &&
	       covered <= l4_len(ip) && udplite_sum(ip) == 0xffff;
}

struct seg seg_out(bool v6)
{
	struct seg s = {
		.v6 = v6,
		.sport = 40123,
		.dport = 80,
		.tpid = {0x8100, 0x8100, 0x8100},
		.tci = {0x6042, 0x0017, 0x0099},
		.tos = 0x2a, /* DSCP 10, ECT(0) */
		.ttl = 61,
		.id = 0x1d0f,
		.frag = 0x4000,
		.label = 0x5a5a5,
		.seq = 1001,
		.ack = 5001,
		.flags = ACK | PSH,
		.payload = 100,
	};

	memcpy(s.src, v6 ? addr6_a : addr4_a, v6 ? 16 : 4);
	memcpy(s.dst, v6 ? addr6_b : addr4_b, v6 ? 16 : 4);
	return s;
}

struct seg seg_in(bool v6)
{
	struct seg s = seg_out(v6);
	uint8_t t[16];

	memcpy(t, s.src, 16);
	memcpy(s.src, s.dst, 16);
	memcpy(s.dst, t, 16);
	s.sport = 80;
	s.dport = 40123;
	s.seq = 5001;
	s.ack = 1001;
	return s;
}

void seg_options(struct seg *s, const void *options, uint8_t len)
{
	memcpy(s->options, options, len);
	s->options_len = len;
}

static uint32_t put_ip(uint8_t *p, const struct seg *s, uint32_t l4_len)
{
	uint32_t hlen = 20 + s->ip_options;

	if (s->v6) {
		put32(p, 6u << 28 | s->tos << 20 | (s->label & 0xfffff));
		put16(p + 4, l4_len);
		p[6] = 6;
		p[7] = s->ttl;
		memcpy(p + 8, s->src, 16);
		memcpy(p + 24, s->dst, 16);
		return 40;
	}
	p[0] = 0x40 | hlen / 4;
	p[1] = s->tos;
	put16(p + 2, hlen + l4_len);
	put16(p + 4, s->id);
	put16(p + 6, s->frag);
	p[8] = s->ttl;
	p[9] = 6;
	memcpy(p + 12, s->src, 4);
	memcpy(p + 16, s->dst, 4);
	if (s->ip_options) { /* record route, with no room left, then NOPs */
		memset(p + 20, 1, s->ip_options);
		p[20] = 7;
		p[21] = 3;
		p[22] = 4;
	}
	fix_ip(p);
	return hlen;
}

void pkt_seg(struct pkt *p, const struct seg *s)
{
	uint32_t at = 12, l3, doff = 20 + s->options_len;
	bool from_a = s->src[3] == addr4_a[3] && s->src[2] == addr4_a[2];
	uint8_t *t;

	if (s->v6)
		from_a = s->src[3] == addr6_a[3];
	memset(p, 0, sizeof(*p));
	memcpy(p->b, from_a ? mac_b : mac_a, 6);
	memcpy(p->b + 6, from_a ? mac_a : mac_b, 6);
	for (int i = 0; i < s->tags; i++, at += 4) {
		put16(p->b + at, s->tpid[i]);
		put16(p->b + at + 2, s->tci[i]);
	}
	put16(p->b + at, s->v6 ? 0x86dd : 0x0800);
	l3 = at + 2;
	t = p->b + l3 + put_ip(p->b + l3, s, doff + s->payload);
	put16(t, s->sport);
	put16(t + 2, s->dport);
	put32(t + 4, s->seq);
	put32(t + 8, s->ack);
	t[12] = doff / 4 << 4;
	t[13] = s->flags;
	put16(t + 14, 0x7210);
	memcpy(t + 20, s->options, s->options_len);
	for (uint32_t i = 0; i < s->payload; i++)
		t[doff + i] = i * 7 + (i >> 8) + s->seq;
	p->len = t - p->b + doff + s->payload;
	fix_tcp(p->b + l3);
}

void pkt_cut(struct pkt *p, uint32_t at, uint32_t n)
{
	memmove(p->b + at, p->b + at + n, p->len - at - n);
	p->len -= n;
}

void pkt_insert(struct pkt *p, uint32_t at, uint32_t n)
{
	memmove(p->b + at + n, p->b + at, p->len - at);
	memset(p->b + at, 0, n);
	p->len += n;
}

void pkt_wrap(struct pkt *p, const struct outer *o)
{
	static const struct outer usual = {
		.sport = 0xd431, .dport = GUE_PORT, .proto = 17};
	uint32_t l3 = pkt_l3(p), len = p->len - l3 + 8;
	bool v6 = pkt_v6(p);
	uint8_t *in, *out = p->b + l3, *udp;

	if (!o)
		o = &usual;
	pkt_insert(p, l3, (v6 ? 40 : 20) + 8);
	in = out + (v6 ? 48 : 28);
	udp = in - 8;
	memcpy(out, in, v6 ? 40 : 20);
	if (v6) {
		if (o->set_tos)
			put16(out, 0x6000 | o->tos << 4 | (out[1] & 15));
		put16(out + 4, len);
		out[6] = o->proto;
		out[7] = o->ttl ? o->ttl : in[7];
	} else {
		out[0] = 0x45;
		if (o->set_tos)
			out[1] = o->tos;
		put16(out + 2, 20 + len);
		out[8] = o->ttl ? o->ttl : in[8];
		out[9] = o->proto;
		fix_ip(out);
	}
	put16(udp, o->sport);
	put16(udp + 2, o->dport);
	put16(udp + 4, o->proto == UDPLITE ? o->coverage : len);
	put16(udp + 6, 0);
	if (o->proto == UDPLITE)
		fix_udplite(out);
}

/* The value of the scratch field: with it there, the sum of all is its own
 * complement, as docs/wire-format.md wants it. */
static uint16_t stable_sum(const uint8_t *b, uint32_t len)
{
	uint16_t rest = sum16(b, len, 0);

	for (uint32_t v = 0; v <= 0xffff; v++) {
		uint32_t sum = rest + v;

		sum = (sum & 0xffff) + (sum >> 16);
		if (sum == (~v & 0xffff))
			return v;
	}
	return 0;
}

static void probe(struct pkt *p, const struct seg *s, uint8_t proto,
		  uint8_t flags, uint32_t token, uint32_t nonce, uint32_t echo)
{
	struct seg t = *s;
	uint8_t *ip = p->b + ETH_LEN, *b;

	t.payload = 8; /* with a TCP header of 20, the length of a probe */
	t.options_len = 0;
	t.tos = 0;
	t.ttl = 64;
	t.id = 0;
	t.label = 0;
	pkt_seg(p, &t);
	b = p->b + pkt_l4(p);
	memset(b, 0, 28);
	if (t.v6) {
		ip[6] = 253;
	} else {
		ip[9] = 253;
		fix_ip(ip);
	}
	put16(b, 0x5348);
	b[2] = 1;
	b[3] = flags;
	put16(b + 4, t.sport);
	put16(b + 6, t.dport);
	put32(b + 8, token);
	put32(b + 12, nonce);
	put32(b + 20, echo);
	put16(b + 24, proto == UDPLITE ? 0x9d31 : 0x3f86);
	put16(b + 16, stable_sum(b, 28));
	pkt_wrap(p, &(struct outer){.sport = FLOW_PORT,
				    .dport = GUE_PORT,
				    .proto = proto});
}

void pkt_probe(struct pkt *p, const struct seg *s, uint8_t flags,
	       uint32_t token, uint32_t nonce, uint32_t echo)
{
	probe(p, s, 17, flags, token, nonce, echo);
}

void pkt_probe_lite(struct pkt *p, const struct seg *s, uint8_t flags,
		    uint32_t token, uint32_t nonce, uint32_t echo)
{
	probe(p, s, UDPLITE, flags, token, nonce, echo);
}

bool pkt_same(const struct pkt *a, const struct pkt *b)
{
	return a->len == b->len && !memcmp(a->b, b->b, a->len);
}

void pkt_diff(const char *what, const struct pkt *want, const struct pkt *got)
{
	int shown = 0;

	fprintf(stderr, "# %s: expected %u bytes, got %u\n", what, want->len,
		got->len);
	for (uint32_t i = 0; i < want->len && i < got->len; i++) {
		if (want->b[i] == got->b[i])
			continue;
		fprintf(stderr, "#   byte %u: expected %02x, got %02x\n", i,
			want->b[i], got->b[i]);
		if (++shown == 8)
			break;
	}
}
