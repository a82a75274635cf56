/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that the author of a transport includes.
 *
 * A transport puts a header of its own between an outer IP header and the inner
 * IP packet (a TCP segment, or one of our probes), and takes it off again:
 *
 *   eth | outer IP | transport header | inner IP | TCP | payload
 *
 * The author defines, before including this file,
 *   SHUNT_T_HEADER      the header's type (at most 32 bytes)
 *   SHUNT_T_IP_PROTO    the outer IP protocol
 * and after it
 *   static int write_header(SHUNT_T_HEADER *h, const struct shunt_packet *p);
 *   static int check_header(const SHUNT_T_HEADER *h,
 *			     const struct shunt_packet *p);
 *   SHUNT_TRANSPORT(name, version, flags);
 * Each returns 0, or a negative number: then the segment leaves as plain TCP
 * (write), or is dropped and counted (check). Parsing, the flow look-up, IP
 * headers, ECN, counters and the three programs come from here.
 */
#ifndef SHUNT_TRANSPORT_BPF_H
#define SHUNT_TRANSPORT_BPF_H

#include <shunt/bpf.h>

#ifdef SHUNT_T_HEADER

struct shunt_packet {
	__be16 sport; /* the flow's hash: spreads flows over queues and paths */
	__u16 length; /* bytes from the transport header to the end */
};

static int write_header(SHUNT_T_HEADER *h, const struct shunt_packet *p);
static int check_header(const SHUNT_T_HEADER *h, const struct shunt_packet *p);

struct shunt_outer4 {
	struct iphdr ip;
	SHUNT_T_HEADER h;
};

struct shunt_outer6 {
	struct ipv6hdr ip;
	SHUNT_T_HEADER h;
};

SHUNT_ASSERT(sizeof(SHUNT_T_HEADER) % 4 == 0);
SHUNT_ASSERT(sizeof(SHUNT_T_HEADER) <= 32);

#define SHUNT_OUTER4 sizeof(struct shunt_outer4)
#define SHUNT_OUTER6 sizeof(struct shunt_outer6)

/*
 * Headers are written with bpf_skb_store_bytes, not through a packet pointer: a
 * program with direct writes gets a prologue that makes every cloned skb
 * writable, and all that TCP sends are clones.
 */
static __always_inline int shunt_encap4(struct __sk_buff *skb,
					struct shunt_scratch *s, __u64 flags)
{
	void *data = (void *)(long)skb->data,
	     *end = (void *)(long)skb->data_end;
	struct iphdr *in = data + ETH_HLEN;
	struct shunt_outer4 o = {};
	__u32 len = skb->len - ETH_HLEN + SHUNT_OUTER4;
	struct shunt_packet p = {.sport = s->sport};

	if ((void *)(in + 1) > end || len > 0xffff)
		return -1;
	o.ip.version = 4;
	o.ip.ihl = 5;
	o.ip.tos = in->tos;
	o.ip.tot_len = bpf_htons(len);
	o.ip.id = in->id;
	o.ip.frag_off = in->frag_off; /* DF; fragments never come here */
	o.ip.ttl = in->ttl;
	o.ip.protocol = SHUNT_T_IP_PROTO;
	o.ip.saddr = in->saddr;
	o.ip.daddr = in->daddr;
	o.ip.check = ~shunt_sum20(&o.ip);
	p.length = len - sizeof(o.ip);
	if (write_header(&o.h, &p) ||
	    bpf_skb_adjust_room(skb, SHUNT_OUTER4, BPF_ADJ_ROOM_MAC,
				flags ? flags | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
				      : 0))
		return -1;
	/* From here on the packet can't go as TCP any more. */
	return bpf_skb_store_bytes(skb, ETH_HLEN, &o, SHUNT_OUTER4, 0) ? 1 : 0;
}

static __always_inline int shunt_encap6(struct __sk_buff *skb,
					struct shunt_scratch *s, __u64 flags)
{
	void *data = (void *)(long)skb->data,
	     *end = (void *)(long)skb->data_end;
	struct ipv6hdr *in = data + ETH_HLEN;
	struct shunt_outer6 o = {};
	__u32 len = skb->len - ETH_HLEN + sizeof(o.h);
	struct shunt_packet p = {.sport = s->sport, .length = len};

	if ((void *)(in + 1) > end || len > 0xffff)
		return -1;
	o.ip = *in; /* version, class, flow label, addresses */
	o.ip.payload_len = bpf_htons(len);
	o.ip.nexthdr = SHUNT_T_IP_PROTO;
	if (write_header(&o.h, &p) ||
	    bpf_skb_adjust_room(skb, SHUNT_OUTER6, BPF_ADJ_ROOM_MAC,
				flags ? flags | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
				      : 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, &o, SHUNT_OUTER6, 0) ? 1 : 0;
}

/* The packet: Ethernet | IP | …, no VLAN tag in the frame; s->slot the flow. */
static __always_inline int shunt_encap(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	int err;

	if (!s)
		return TC_ACT_UNSPEC;
	if (SHUNT_T_IP_PROTO == IPPROTO_UDP)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	/* A reflected probe may still be marked as encapsulated by its sender
	 * (veth hands skbs over as they are), which the ENCAP flags refuse. It
	 * is never GSO, so bare room will do. */
	if (s->reply_ifindex)
		flags = 0;
	err = skb->protocol == bpf_htons(ETH_P_IP)
		      ? shunt_encap4(skb, s, flags)
		      : shunt_encap6(skb, s, flags);
	if (s->reply_ifindex)
		return err ? TC_ACT_SHOT : bpf_redirect(s->reply_ifindex, 0);
	if (!err) {
		shunt_count(s, SHUNT_CNT_ENCAP);
		return TC_ACT_UNSPEC;
	}
	shunt_count(s, SHUNT_CNT_ENCAP_FAILED);
	/* A probe must not leave in the clothes of its inner packet. */
	return err > 0 || s->probe ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* The hook has checked: outer and inner IP, lengths, flow, transport. */
static __always_inline int shunt_check(void *data, void *end,
				       struct shunt_scratch *s)
{
	__u32 off = s->outer & 0x3f;
	SHUNT_T_HEADER *h;
	struct shunt_packet p;

	off += s->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	h = data + off;
	if ((void *)(h + 1) > end)
		return -1;
	p.sport = 0;
	p.length = s->length;
	return check_header(h, &p);
}

/* RFC 6040: congestion experienced on the way must reach the inner header. The
 * field is in the low bits of IPv4's second byte, or of IPv6's traffic class,
 * which are bits 4 and 5 of the second byte. */
static __always_inline int shunt_ecn_skb(struct __sk_buff *skb,
					 struct shunt_scratch *s)
{
	__u8 v[2];
	__be16 old, new;

	if (!s->set_ecn)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, v, 2))
		return -1;
	__builtin_memcpy(&old, v, 2);
	if (s->v6)
		v[1] = (v[1] & ~0x30) | s->set_ecn << 4;
	else
		v[1] = (v[1] & ~3) | s->set_ecn;
	__builtin_memcpy(&new, v, 2);
	if (!s->v6 && bpf_l3_csum_replace(skb, ETH_HLEN + 10, old, new, 2))
		return -1;
	/* With CHECKSUM_COMPLETE skb->csum is the sum of all bytes. IPv4's own
	 * checksum makes up for the change, IPv6 has none. */
	return bpf_skb_store_bytes(skb, ETH_HLEN, v, 2,
				   s->v6 ? BPF_F_RECOMPUTE_CSUM : 0);
}

static __always_inline int shunt_decap_tc(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();
	int room;

	if (!s)
		return TC_ACT_SHOT;
	room = s->v6 ? SHUNT_OUTER6 : SHUNT_OUTER4;
	if (shunt_check((void *)(long)skb->data, (void *)(long)skb->data_end,
			s))
		goto drop;
	if (bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    shunt_ecn_skb(skb, s))
		goto drop;
	/* What the device verified was the outer packet: make the stack look
	 * at the TCP checksum itself (CHECKSUM_PARTIAL, a packet that never
	 * left this machine, stays as it is). */
	bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
	shunt_count(s, SHUNT_CNT_DECAP);
	if (s->probe) {
		bpf_tail_call(skb, &stages, SHUNT_TAIL_PROBE_IN);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
drop:
	shunt_count(s, SHUNT_CNT_DECAP_FAILED);
	return TC_ACT_SHOT;
}

static __always_inline int shunt_ecn_xdp(void *data, void *end, __u32 l3,
					 bool v6, __u8 ecn)
{
	struct iphdr *ip = data + l3;
	struct ipv6hdr *ip6 = data + l3;
	__u32 sum;

	if (v6) {
		if ((void *)(ip6 + 1) > end)
			return -1;
		ip6->flow_lbl[0] = (ip6->flow_lbl[0] & ~0x30) | ecn << 4;
		return 0;
	}
	if ((void *)(ip + 1) > end)
		return -1;
	/* RFC 1624: HC' = ~(~HC + ~m + m') */
	sum = (__u16)~ip->check + (__u16)~bpf_htons(ip->tos);
	ip->tos = (ip->tos & ~3) | ecn;
	sum += bpf_htons(ip->tos);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	return 0;
}

/* Move the Ethernet header (with its VLAN tags) over the outer headers. */
static __always_inline int shunt_decap_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data,
	     *end = (void *)(long)ctx->data_end;
	struct shunt_scratch *s = shunt_scratch();
	struct shunt_mac {
		__u8 b[ETH_HLEN];
	} mac;
	__u32 l3, tags[2] = {};
	int room;

	if (!s)
		return XDP_ABORTED;
	room = s->v6 ? SHUNT_OUTER6 : SHUNT_OUTER4;
	l3 = s->outer;
	if (shunt_check(data, end, s))
		goto drop;
	if (data + ETH_HLEN + 8 > end)
		goto drop;
	mac = *(struct shunt_mac *)data;
	if (l3 > ETH_HLEN)
		__builtin_memcpy(tags, data + ETH_HLEN, 8);
	if (bpf_xdp_adjust_head(ctx, room))
		goto drop;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + ETH_HLEN + 8 + sizeof(struct iphdr) > end)
		goto drop;
	/* The type of the frame's payload is the one of the outer header: the
	 * inner is of the same family, so the header moves as it is. */
	*(struct shunt_mac *)data = mac;
	if (l3 >= ETH_HLEN + 4)
		__builtin_memcpy(data + ETH_HLEN, &tags[0], 4);
	if (l3 >= ETH_HLEN + 8)
		__builtin_memcpy(data + ETH_HLEN + 4, &tags[1], 4);
	if (s->set_ecn &&
	    shunt_ecn_xdp(data, end, l3 & 0x3f, s->v6, s->set_ecn))
		goto drop;
	shunt_count(s, SHUNT_CNT_DECAP);
	return XDP_PASS;
drop:
	shunt_count(s, SHUNT_CNT_DECAP_FAILED);
	return XDP_DROP;
}

#define SHUNT_TRANSPORT(t_name, t_version, t_flags)                         \
	const struct shunt_transport description SEC("shunt.transport") = { \
		.name = t_name,                                             \
		.ip_proto = SHUNT_T_IP_PROTO,                               \
		.header_len = sizeof(SHUNT_T_HEADER),                       \
		.flags = t_flags,                                           \
		.version = t_version,                                       \
	};                                                                  \
	SEC("tc")                                                           \
	int encap(struct __sk_buff *skb)                                    \
	{                                                                   \
		return shunt_encap(skb);                                    \
	}                                                                   \
	SEC("tc")                                                           \
	int decap_tc(struct __sk_buff *skb)                                 \
	{                                                                   \
		return shunt_decap_tc(skb);                                 \
	}                                                                   \
	SEC("xdp.frags")                                                    \
	int decap_xdp(struct xdp_md *ctx)                                   \
	{                                                                   \
		return shunt_decap_xdp(ctx);                                \
	}                                                                   \
	char _license[] SEC("license") = "GPL"

#endif /* SHUNT_T_HEADER */
#endif
