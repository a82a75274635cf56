// SPDX-License-Identifier: GPL-2.0-only
/* What must become of a frame: see oracle.h. Nothing is shared with bpf/. */
#include "oracle.h"

#include <string.h>

/* An IP packet of len bytes at most, as far as it can be told. */
struct ip {
	const uint8_t *at;
	bool v6;
	bool whole; /* not a fragment, lengths possible */
	bool sum_good;
	uint32_t hlen;
	uint32_t total;
	uint8_t proto;
	uint8_t ecn;
};

static struct ip read_ip(const uint8_t *at, uint32_t len, bool v6)
{
	struct ip p = {.at = at, .v6 = v6, .sum_good = true};

	if (v6) { /* RFC 8200, section 3 */
		if (len < 40 || at[0] >> 4 != 6)
			return p;
		p.hlen = 40;
		p.total = 40 + get16(at + 4);
		p.proto = at[6];
		p.ecn = at[1] >> 4 & 3;
		p.whole = p.total <= len;
		return p;
	}
	/* RFC 791, section 3.1 */
	if (len < 20 || at[0] >> 4 != 4)
		return p;
	p.hlen = (at[0] & 15) * 4;
	p.total = get16(at + 2);
	p.proto = at[9];
	p.ecn = at[1] & 3;
	if (p.hlen < 20 || p.hlen > len || p.total < p.hlen || p.total > len)
		return p;
	p.whole = !(get16(at + 6) & 0x3fff);
	p.sum_good = sum16(at, p.hlen, 0) == 0xffff;
	return p;
}

/* Offset of the IP header; 0 when there is none that we look for. */
static uint32_t find_ip(const struct pkt *in, bool xdp, bool *v6)
{
	uint32_t at = 12;
	uint16_t type;

	for (int tags = 0; at + 2 <= in->len; tags++, at += 4) {
		type = get16(in->b + at);
		if (type == 0x0800 || type == 0x86dd) {
			*v6 = type == 0x86dd;
			return at + 2;
		}
		/* At TC, tags are not in the frame. */
		if ((type != 0x8100 && type != 0x88a8) || tags == 2 || !xdp)
			return 0;
	}
	return 0;
}

static bool same_addresses(const struct ip *a, const struct ip *b)
{
	return a->v6 ? !memcmp(a->at + 8, b->at + 8, 32)
		     : !memcmp(a->at + 12, b->at + 12, 8);
}

static const struct known *find_flow(const struct ip *p, uint16_t sport,
				     uint16_t dport, const struct known *k,
				     int n)
{
	for (; n--; k++) {
		if (k->s.v6 != p->v6 || k->s.sport != sport ||
		    k->s.dport != dport)
			continue;
		if (p->v6 && !memcmp(p->at + 8, k->s.src, 16) &&
		    !memcmp(p->at + 24, k->s.dst, 16))
			return k;
		if (!p->v6 && !memcmp(p->at + 12, k->s.src, 4) &&
		    !memcmp(p->at + 16, k->s.dst, 4))
			return k;
	}
	return NULL;
}

static const struct known *probed_flow(const struct ip *in, uint8_t proto,
				       const struct known *k, int n)
{
	const uint8_t *b = in->at + in->hlen;

	if (in->total < in->hlen + 28 || (!in->v6 && in->hlen != 20) ||
	    get16(b) != 0x5348 || b[2] != 1 ||
	    get16(b + 24) != (proto == UDPLITE ? 0x9d31 : 0x3f86))
		return NULL;
	k = find_flow(in, get16(b + 4), get16(b + 6), k, n);
	return k && get32(b + 8) == k->token ? k : NULL;
}

/* headers: of IP and TCP, in bytes */
static const struct known *segments_flow(const struct ip *in, uint32_t *headers,
					 const struct known *k, int n)
{
	const uint8_t *t = in->at + in->hlen;
	uint32_t len = in->total - in->hlen, doff;

	if (len < 20)
		return NULL;
	doff = (t[12] >> 4) * 4; /* RFC 9293, section 3.1 */
	if (doff < 20 || doff > len || t[13] & SYN)
		return NULL;
	*headers = in->hlen + doff;
	return find_flow(in, get16(t), get16(t + 2), k, n);
}

/*
 * RFC 3828, section 3.1, and what docs/wire-format.md makes of it: a datagram
 * covered whole is right if it were with a TCP checksum that is right, because
 * somebody else will look at that. So is the inner IPv4 header's.
 */
static bool udplite_fine(const struct ip *o, uint32_t headers, bool partial)
{
	uint32_t len = o->total - o->hlen, coverage;
	const uint8_t *u = o->at + o->hlen;
	uint8_t copy[PKT_MAX];

	coverage = get16(u + 4) ? get16(u + 4) : len;
	if (coverage != len && (!partial || coverage != headers + 8))
		return false;
	memcpy(copy, o->at, o->total);
	if (!o->v6)
		fix_ip(copy + o->hlen + 8);
	if (coverage == len && headers)
		fix_tcp(copy + o->hlen + 8);
	return udplite_good(copy);
}

/* An empty segment of a flow, in plain TCP, that says PSH (wire-format.md). */
static bool is_sync(const struct pkt *in, const struct ip *o,
		    const struct known *k, int n)
{
	const uint8_t *t = o->at + o->hlen;

	return t + 20 <= in->b + in->len && (t[13] & PSH) &&
	       !(t[13] & (SYN | FIN | RST)) &&
	       o->total == o->hlen + (t[12] >> 4) * 4u &&
	       find_flow(o, get16(t), get16(t + 2), k, n);
}

enum fate oracle(const struct pkt *in, bool xdp, const struct known *k, int n)
{
	uint32_t l3, headers = 0;
	const uint8_t *udp;
	enum fate fate;
	struct ip o, i;
	bool v6, fine;

	l3 = find_ip(in, xdp, &v6);
	if (!l3)
		return FATE_PASS;
	o = read_ip(in->b + l3, in->len - l3, v6);
	if (o.proto == 6 && o.hlen && is_sync(in, &o, k, n))
		return o.whole && o.sum_good ? FATE_DROP : FATE_DROP_OR_PASS;
	if (!o.whole || !o.sum_good || (o.proto != 17 && o.proto != UDPLITE) ||
	    o.hlen != (v6 ? 40 : 20) || o.total < o.hlen + 8)
		return FATE_PASS;
	udp = o.at + o.hlen; /* RFC 768, RFC 3828 */
	if (get16(udp + 2) != GUE_PORT)
		return FATE_PASS;
	/* draft-ietf-intarea-gue, variant 1: IP straight behind UDP. */
	i = read_ip(udp + 8, o.total - o.hlen - 8, v6);
	if (!i.whole || i.total != o.total - o.hlen - 8 ||
	    !same_addresses(&o, &i) || (!i.sum_good && i.hlen == 20))
		return FATE_PASS;
	if (i.proto == 253) {
		k = probed_flow(&i, o.proto, k, n);
		fate = xdp ? FATE_PASS : FATE_PROBE;
	} else if (i.proto == 6) {
		k = segments_flow(&i, &headers, k, n);
		/* Only TC can say that a payload need not be verified. */
		fate = xdp && k && k->headers ? FATE_PASS : FATE_TAKE;
	} else {
		return FATE_PASS;
	}
	if (!k || k->proto != o.proto || fate == FATE_PASS)
		return FATE_PASS;
	fine = o.proto == UDPLITE
		       ? udplite_fine(&o, headers, k->headers && headers)
		       : get16(udp + 4) == o.total - o.hlen && !get16(udp + 6);
	/* RFC 6040: a mark that the segment can't carry. */
	if (!fine || (o.ecn == 3 && i.ecn == 0))
		return FATE_DROP;
	if (!i.sum_good && fate == FATE_TAKE)
		return FATE_TAKE_OR_PASS;
	return fate;
}

void oracle_take(const struct pkt *in, struct pkt *out)
{
	uint32_t l3 = pkt_l3(in), room;
	bool v6 = in->b[l3] >> 4 == 6;
	uint8_t *ip;
	int o, i, bits;

	room = v6 ? 48 : 28;
	out->len = in->len - room;
	out->gso_size = out->gso_segs = 0;
	memcpy(out->b, in->b, l3);
	memcpy(out->b + l3, in->b + l3 + room, out->len - l3);
	ip = out->b + l3;
	o = v6 ? in->b[l3 + 1] >> 4 & 3 : in->b[l3 + 1] & 3;
	i = v6 ? ip[1] >> 4 & 3 : ip[1] & 3;
	/* RFC 6040, figure 4: of ECT(0) = 2, ECT(1) = 1, CE = 3 the outer one
	 * wins if it says more. */
	bits = i == 0 || i == 3 ? i : o == 3 ? 3 : o == 1 ? 1 : i;
	if (bits == i)
		return;
	if (v6) {
		ip[1] = (ip[1] & ~0x30) | bits << 4;
		return;
	}
	/* A change by this much, so that a wrong sum stays as wrong. */
	put16(ip + 10, ~sum16(ip + 10, 0,
			      (uint16_t)~get16(ip + 10) + (uint16_t)~get16(ip) +
				      ((get16(ip) & ~3) | bits)));
	ip[1] = (ip[1] & ~3) | bits;
}

const char *fate_name(enum fate f)
{
	static const char *const names[] = {"pass",	    "take",
					    "drop",	    "probe",
					    "take or pass", "drop or pass"};

	return names[f];
}
