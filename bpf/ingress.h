/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ingress, for XDP and TC alike: is this frame one of ours, whole and for a
 * flow that was negotiated? Nothing is decapsulated that fails a check here.
 */
#ifndef INGRESS_H
#define INGRESS_H

#include "frame.h"
#include "parse.h"
#include "track.h"

enum verdict {
	OTHER,	   /* not ours, or not fit to be: leave it untouched */
	MALFORMED, /* for our port, and not what we send: leave it untouched */
	PLAIN,	   /* a TCP segment outside any transport */
	SYN,	   /* … with SYN set */
	SEGMENT,   /* a segment inside a transport */
	PROBE,	   /* a probe inside a transport */
	FRAME,	   /* one of a stream of messages here, in UDP-Lite */
	ICMP,	   /* an ICMP or ICMPv6 message */
};

struct frame {
	struct shunt_key key KEY_ALIGNED;
	void *l4;	  /* the (inner) TCP header or probe, within bounds */
	__u32 payload;	  /* of the TCP segment */
	__u32 header_len; /* transport's */
	__u16 length;	  /* bytes behind the outer IP header */
	__u16 headers;	  /* bytes of the inner IP and TCP header */
	__be16 id;	  /* … of the transport */
	__u8 transport;
	__u8 set_ecn; /* RFC 6040 4.2: what the inner becomes, 0: nothing */
	bool drop_ce; /* … or drop: the segment can't carry the mark */
	struct xdp_md *xdp;    /* the frame, at XDP … */
	struct __sk_buff *skb; /* … or at TC */
};

static __always_inline enum verdict plain_tcp(struct frame *fr, void *ip,
					      void *end, const bool v6,
					      struct ip_view *v)
{
	struct tcphdr *t = v->l4;

	if ((void *)(t + 1) > end || v->total < v->hlen + t->doff * 4u)
		return OTHER;
	if (t->syn)
		return SYN;
	key_in(&fr->key, ip, v6, t->source, t->dest);
	if (v6 && is_v4(&fr->key.remote))
		return OTHER;
	fr->payload = v->total - v->hlen - t->doff * 4;
	fr->l4 = t;
	return PLAIN;
}

/* The number of the transport of an outer packet, or SHUNT_TCP. The built-in
 * ones need no look-up. */
static __always_inline __u32 which_transport(struct ip_view *v, void *end)
{
	struct udphdr *u = v->l4;
	__u32 port = 0, key, *number;

	if (v->proto == IPPROTO_UDP || v->proto == IPPROTO_UDPLITE) {
		if ((void *)(u + 1) > end)
			return SHUNT_TCP;
		port = bpf_ntohs(u->dest);
		if (port == SHUNT_PORT)
			return v->proto == IPPROTO_UDP ? SHUNT_UDP
						       : SHUNT_UDPLITE;
	}
	key = SHUNT_DEMUX(v->proto, port);
	number = bpf_map_lookup_elem(&demux, &key);
	return number ? *number : SHUNT_TCP;
}

static __always_inline bool same_addresses(void *outer, void *inner,
					   const bool v6)
{
	struct iphdr *o4 = outer, *i4 = inner;
	struct ipv6hdr *o6 = outer, *i6 = inner;
	__u32 diff = 0;

	if (!v6)
		return o4->saddr == i4->saddr && o4->daddr == i4->daddr;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		diff |= o6->saddr.in6_u.u6_addr32[i] ^
			i6->saddr.in6_u.u6_addr32[i];
		diff |= o6->daddr.in6_u.u6_addr32[i] ^
			i6->daddr.in6_u.u6_addr32[i];
	}
	return !diff;
}

enum { NOT_ECT, ECT_1, ECT_0, CE };

#define ECN(outer, inner) ((outer) << 2 | (inner))

/* RFC 6040, figure 4: what the inner becomes, two bits for each pair. From a
 * table, as each branch is one more state for the verifier to follow. */
static const __u32 ecn_becomes =
	CE << 2 * ECN(CE, NOT_ECT) | CE << 2 * ECN(CE, ECT_1) |
	CE << 2 * ECN(CE, ECT_0) | ECT_1 << 2 * ECN(ECT_1, ECT_0);

static __always_inline void combine_ecn(struct frame *fr, __u8 outer,
					__u8 inner)
{
	__u32 pair = ECN(outer, inner);

	fr->drop_ce = 1 << ECN(CE, NOT_ECT) >> pair & 1;
	fr->set_ecn = ecn_becomes >> 2 * pair & 3;
}

static __always_inline enum verdict inner_packet(struct frame *fr, void *outer,
						 void *inner, void *end,
						 const bool v6,
						 struct ip_view *o)
{
	struct shunt_probe *b;
	struct ip_view v;
	struct tcphdr *t;

	if (parse_ip(inner, end, v6, &v)) {
		/* GUE's other variants, of which ours is the proxies'. */
		if (inner + 1 <= end && *(__u8 *)inner >> 4 == 1)
			return OTHER;
		return MALFORMED;
	}
	if (!same_addresses(outer, inner, v6) ||
	    v.total != fr->length - fr->header_len)
		return MALFORMED;
	/* The outer header is gone before anybody else could check it. */
	if (!v6 && (shunt_sum20(outer) != 0xffff ||
		    (v.hlen == 20 && shunt_sum20(inner) != 0xffff)))
		return MALFORMED;
	combine_ecn(fr, o->tos & 3, v.tos & 3);
	if (v.proto == IPPROTO_TCP) {
		t = v.l4;
		if ((void *)(t + 1) > end || t->syn || t->doff < 5 ||
		    v.total < v.hlen + t->doff * 4u)
			return MALFORMED;
		key_in(&fr->key, inner, v6, t->source, t->dest);
		if (v6 && is_v4(&fr->key.remote))
			return MALFORMED; /* RFC 4038: never on the wire */
		fr->headers = v.hlen + t->doff * 4;
		fr->payload = v.total - fr->headers;
		fr->l4 = t;
		return SEGMENT;
	}
	if (v.proto == SHUNT_PROBE_PROTO && (v6 || v.hlen == 20)) {
		b = v.l4;
		if ((void *)(b + 1) > end || v.total < v.hlen + sizeof(*b) ||
		    b->magic != bpf_htons(SHUNT_PROBE_MAGIC) ||
		    b->version != SHUNT_PROBE_VERSION || b->transport != fr->id)
			return MALFORMED;
		key_in(&fr->key, inner, v6, b->sport, b->dport);
		if (v6 && is_v4(&fr->key.remote))
			return MALFORMED;
		fr->headers = v.hlen + sizeof(*b);
		fr->l4 = b;
		return PROBE;
	}
	return MALFORMED;
}

/* Bytes of the frame from offset l3 on, with those outside the linear part. */
static __always_inline __u32 length_from(const struct frame *fr, __u32 l3)
{
	return (fr->xdp ? bpf_xdp_get_buff_len(fr->xdp) : fr->skb->len) - l3;
}

/* ip: the frame's IP header, at offset l3. */
static __always_inline enum verdict look(struct frame *fr, void *ip, void *end,
					 const bool v6, __u32 l3)
{
	struct shunt_transport *tr;
	struct ip_view v;
	__u32 number;

	if (parse_ip(ip, end, v6, &v) || v.total > length_from(fr, l3))
		return OTHER;
	if (v.proto == IPPROTO_TCP)
		return plain_tcp(fr, ip, end, v6, &v);
	if (v.proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return ICMP;
	number = which_transport(&v, end);
	if (number == SHUNT_TCP || (!v6 && v.hlen != 20))
		return OTHER;
	if (cfg_message_path && v.proto == IPPROTO_UDPLITE &&
	    frame_for_us(ip, v6, v.l4, end, v.total - v.hlen)) {
		fr->l4 = v.l4;
		return FRAME;
	}
	tr = bpf_map_lookup_elem(&transports, &number);
	if (!tr || !tr->deployed)
		return OTHER;
	fr->transport = number;
	fr->id = tr->id;
	fr->header_len = tr->header_len & 0x3f;
	fr->length = v.total - v.hlen;
	if (fr->length < fr->header_len)
		return MALFORMED;
	return inner_packet(fr, ip, v.l4 + fr->header_len, end, v6, &v);
}

/*
 * Make linear what look() reads. In two steps, because pulling copies: most
 * skbs have all headers in the linear part and no more (a 64 KB one from a
 * veth), and many drivers leave a plain segment with just its own.
 */
static __always_inline void linearise(struct __sk_buff *skb, const bool v6)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	const __u32 proto = v6 ? offsetof(struct ipv6hdr, nexthdr)
			       : offsetof(struct iphdr, protocol);
	const __u32 plain = ETH_HLEN + ip + sizeof(struct tcphdr);
	const __u32 nested = plain + sizeof(struct udphdr) + ip;
	void *data = start_of(skb), *end = end_of(skb);

	if (data + plain > end) {
		pull(skb, plain);
		data = start_of(skb);
		end = end_of(skb);
	}
	if (data + plain > end ||
	    *(__u8 *)(data + ETH_HLEN + proto) == IPPROTO_TCP)
		return;
	if (data + nested > end)
		pull(skb, nested + 32 + 40);
}

static __always_inline enum verdict look_skb(struct __sk_buff *skb,
					     struct frame *fr, const bool v6)
{
	void *data, *end;

	linearise(skb, v6);
	data = start_of(skb);
	end = end_of(skb);
	if (data + ETH_HLEN > end)
		return OTHER;
	fr->skb = skb;
	return look(fr, data + ETH_HLEN, end, v6, ETH_HLEN);
}

/* For the decap program that comes next. */
static __always_inline void hand_over(struct shunt_scratch *s,
				      const struct frame *fr,
				      const struct shunt_flow *f, bool v6,
				      __u32 slot, __u32 l3, bool probe)
{
	s->slot = slot;
	s->token_local = f->token_local;
	s->outer = l3;
	s->length = fr->length;
	s->headers = fr->headers;
	s->v6 = v6;
	s->set_ecn = fr->set_ecn;
	s->probe = probe;
	s->coverage = f->flags & SHUNT_F_HEADERS ? SHUNT_COVERAGE_HEADERS
						 : SHUNT_COVERAGE_FULL;
	s->out_ifindex = 0;
}

#endif
