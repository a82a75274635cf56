/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that the author of a transport includes; docs/writing-a-transport.md has
 * an example, whole.
 *
 * A transport puts a header of its own between an outer IP header and the inner
 * IP packet (a TCP segment, or one of our probes), and takes it off again:
 *
 *   eth | outer IP | transport header | inner IP | TCP | payload
 *
 * The author defines, before including this file,
 *   SHUNT_T_HEADER      the header's type: at most 32 bytes, a multiple of 4
 *   SHUNT_T_IP_PROTO    the outer IP protocol
 *   SHUNT_T_PORT        the destination port that the header has in its bytes 2
 *                       and 3, if that protocol is UDP or UDP-Lite
 *   SHUNT_T_SUM         (optional) fill in the sums of struct shunt_packet
 * and after it
 *   static int write_header(SHUNT_T_HEADER *h, const struct shunt_packet *p);
 *   static int check_header(const SHUNT_T_HEADER *h,
 *			     const struct shunt_packet *p);
 *   SHUNT_TRANSPORT("name", version, flags);
 *
 * write_header() gets *h zeroed. It returns 0, or a negative number: then the
 * segment leaves as plain TCP, counted. check_header() returns 0, or
 * SHUNT_UNCOVERED when the payload may be damaged and is to be delivered all
 *the same, or a negative number: then the packet is dropped, counted.
 *
 * Parsing, the flow look-up, IP headers, ECN, MTU, counters and the three
 * programs come from here. A transport may have maps of its own; what is in one
 * made by SHUNT_REPORT is printed by `shunt transport show`.
 *
 * flags: SHUNT_T_GSO, if the kernel can segment packets of many segments below
 * this header: true for what is UDP on the outside and has the same header on
 * each of them. Without it, every packet is one segment.
 * SHUNT_T_COVERAGE, if it can leave the payload out of a checksum.
 *
 * version: of the header on the wire. Peers use a transport if they have the
 * same version of it.
 */
#ifndef SHUNT_TRANSPORT_BPF_H
#define SHUNT_TRANSPORT_BPF_H

#include <shunt/bpf.h>

#ifdef SHUNT_T_HEADER

struct shunt_packet {
	__u32 flow;   /* random, of one connection: a key for state of your own
		       */
	__be16 sport; /* the flow's hash: spreads flows over queues and paths */
	__u16 length; /* bytes from the transport header to the end */
	__u16 covered; /* from the transport header on, what must be intact:
			* length, or less if both ends wish for that */
#ifdef SHUNT_T_SUM
	/* Ones' complement sums, as they are in memory: of the pseudo header
	 * (RFC 8200 8.1, RFC 768) and of what is behind the transport header,
	 * up to the end, and up to `covered`. */
	__u16 sum;
	__u16 sum_covered;
#endif
};

#define SHUNT_UNCOVERED 1

#ifndef SHUNT_T_PORT
#define SHUNT_T_PORT 0
#endif

static int write_header(SHUNT_T_HEADER *h, const struct shunt_packet *p);
static int check_header(const SHUNT_T_HEADER *h, const struct shunt_packet *p);

/* ---- what `shunt transport show` prints ---- */

/* Members of a report are __u64, printed as their sum over all CPUs, or one of
 * these. */
struct shunt_mean {
	__u64 sum;
	__u64 count;
};

struct shunt_max {
	__u64 max;
};

/* A map `report` of one struct per CPU: report_here() is this one's, or NULL.
 */
#define SHUNT_REPORT(report_type)                             \
	struct {                                              \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);      \
		__uint(max_entries, 1);                       \
		__type(key, __u32);                           \
		__type(value, report_type);                   \
	} report SEC(".maps");                                \
	static __always_inline report_type *report_here(void) \
	{                                                     \
		__u32 zero = 0;                               \
		return bpf_map_lookup_elem(&report, &zero);   \
	}

static __always_inline void shunt_mean_of(struct shunt_mean *m, __u64 value)
{
	m->sum += value;
	m->count++;
}

static __always_inline void shunt_max_of(struct shunt_max *m, __u64 value)
{
	if (value > m->max)
		m->max = value;
}

/* ---- state of a connection ---- */

/* A map of one struct per connection, zeroed at first: state_of() is that of a
 * packet's, or NULL. */
#define SHUNT_STATE(state_type)                                             \
	struct {                                                            \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                        \
		__uint(max_entries, 65536);                                 \
		__type(key, __u32);                                         \
		__type(value, state_type);                                  \
	} state SEC(".maps");                                               \
	static __always_inline state_type *state_of(                        \
		const struct shunt_packet *p)                               \
	{                                                                   \
		state_type *s = bpf_map_lookup_elem(&state, &p->flow);      \
		state_type fresh = {};                                      \
		if (s)                                                      \
			return s;                                           \
		bpf_map_update_elem(&state, &p->flow, &fresh, BPF_NOEXIST); \
		return bpf_map_lookup_elem(&state, &p->flow);               \
	}

/* ---- headers ---- */

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

/* ---- sums ---- */

#ifdef SHUNT_T_SUM
/* Of n bytes of the frame, 1 to 64: a TCP header or a probe. Through a buffer,
 * because a loop over the packet takes the verifier five times as long. */
static __always_inline int shunt_sum_bytes(struct __sk_buff *skb, __u32 offset,
					   __u32 n, __u64 *sum)
{
	__u32 buf[16] = {};

	asm volatile("" : "+r"(n));
	n = ((n - 1) & 63) + 1;
	if (bpf_skb_load_bytes(skb, offset, buf, n))
		return -1;
	*sum += (__u32)bpf_csum_diff(NULL, 0, buf, sizeof(buf), 0);
	return 0;
}

/*
 * The sums of the packet whose inner IP header is at `inner`, `at` bytes behind
 * the frame's start. A segment's
 * payload is not read: an intact IPv4 header sums up to zero, and an intact
 * segment to the complement of its pseudo header, also when a device has yet to
 * fill in its checksum (RFC 1624; the kernel's "local checksum offload"). So a
 * sum that fits says that the outer headers are intact, and TCP's checksum,
 * which the stack verifies, says the rest. skb is NULL at XDP, where there are
 * neither probes nor payloads to leave out.
 */
static __always_inline int shunt_sums(struct shunt_packet *p,
				      const struct shunt_scratch *s,
				      void *inner, void *end, const bool v6,
				      struct __sk_buff *skb, __u32 at)
{
	struct iphdr *h4 = inner;
	struct ipv6hdr *h6 = inner;
	__u32 hlen = sizeof(*h6);
	__u64 pseudo, ip = 0, all;

	if (inner + (v6 ? sizeof(*h6) : sizeof(*h4)) > end)
		return -1;
	pseudo = (__u32)bpf_htons(SHUNT_T_IP_PROTO) + bpf_htons(p->length);
	if (v6) {
		const __u32 *w = inner;

#pragma unroll
		for (int i = 0; i < 8; i++)
			ip += w[2 + i]; /* the addresses */
		pseudo += ip;
		all = pseudo + w[0] + w[1]; /* TCP's cancel them out */
		ip += (__u64)w[0] + w[1];
	} else {
		hlen = h4->ihl * 4;
		all = pseudo;
		pseudo += (__u64)h4->saddr + h4->daddr;
	}
	if (skb && (s->probe || s->coverage)) {
		__u64 part = pseudo + ip;

		if (shunt_sum_bytes(skb, at + hlen, s->headers - hlen, &part))
			return -1;
		p->sum_covered = shunt_fold(part);
		if (s->probe) {
			p->sum = p->sum_covered;
			return 0;
		}
	}
	p->sum = shunt_fold(
		all +
		(__u16)~shunt_fold(
			(__u32)bpf_htons(IPPROTO_TCP) +
			bpf_htons(p->length - sizeof(SHUNT_T_HEADER) - hlen)));
	if (!skb || !s->coverage)
		p->sum_covered = p->sum;
	return 0;
}
#else
#define shunt_sums(...) 0
#endif

static __always_inline void shunt_describe(struct shunt_packet *p,
					   const struct shunt_scratch *s,
					   __u16 length)
{
	p->flow = s->token_local;
	p->sport = s->sport;
	p->length = length;
	p->covered = s->coverage && !s->probe
			     ? sizeof(SHUNT_T_HEADER) + s->headers
			     : length;
}

/* ---- encap ---- */

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
	struct shunt_packet p = {};

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
	shunt_describe(&p, s, len - sizeof(o.ip));
	if (shunt_sums(&p, s, in, end, false, skb, ETH_HLEN) ||
	    write_header(&o.h, &p) ||
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
	struct shunt_packet p = {};

	if ((void *)(in + 1) > end || len > 0xffff)
		return -1;
	o.ip = *in; /* version, class, flow label, addresses */
	o.ip.payload_len = bpf_htons(len);
	o.ip.nexthdr = SHUNT_T_IP_PROTO;
	shunt_describe(&p, s, len);
	if (shunt_sums(&p, s, in, end, true, skb, ETH_HLEN) ||
	    write_header(&o.h, &p) ||
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
	if (s->out_ifindex && s->probe)
		flags = 0;
	err = skb->protocol == bpf_htons(ETH_P_IP)
		      ? shunt_encap4(skb, s, flags)
		      : shunt_encap6(skb, s, flags);
	if (!err && !s->probe)
		shunt_count(s, SHUNT_CNT_ENCAP);
	else if (err)
		shunt_count(s, SHUNT_CNT_ENCAP_FAILED);
	/* A probe must not leave in the clothes of its inner packet. */
	if (err > 0 || (err && s->probe))
		return TC_ACT_SHOT;
	return s->out_ifindex ? bpf_redirect(s->out_ifindex, 0) : TC_ACT_UNSPEC;
}

/* ---- decap ---- */

/* The hook has checked: outer and inner IP, lengths, flow, transport. */
static __always_inline int shunt_check(void *data, void *end,
				       struct shunt_scratch *s,
				       struct __sk_buff *skb)
{
	__u32 off = s->outer & 0x3f;
	struct shunt_packet p = {};
	SHUNT_T_HEADER *h;

	(void)skb; /* without SHUNT_T_SUM */
	off += s->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	h = data + off;
	off += sizeof(*h);
	if ((void *)(h + 1) > end)
		return -1;
	shunt_describe(&p, s, s->length);
	p.sport = 0;
	if (s->v6 ? shunt_sums(&p, s, h + 1, end, true, skb, off)
		  : shunt_sums(&p, s, h + 1, end, false, skb, off))
		return -1;
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
	int room, checked;

	if (!s)
		return TC_ACT_SHOT;
	room = s->v6 ? SHUNT_OUTER6 : SHUNT_OUTER4;
	checked = shunt_check((void *)(long)skb->data,
			      (void *)(long)skb->data_end, s, skb);
	if (checked < 0)
		goto drop;
	if (bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    shunt_ecn_skb(skb, s))
		goto drop;
	/* What the device verified was the outer packet: make the stack look
	 * at the TCP checksum itself (CHECKSUM_PARTIAL, a packet that never
	 * left this machine, stays as it is). */
	bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
	/* … or believe that it is right: the headers are, and damage behind
	 * them is wanted. */
	if (checked == SHUNT_UNCOVERED)
		bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
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
	if (shunt_check(data, end, s, NULL) < 0)
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

#define SHUNT_TRANSPORT(t_name, t_version, t_flags)                           \
	const struct shunt_description description SEC("shunt.transport") = { \
		.abi = SHUNT_ABI,                                             \
		.name = t_name,                                               \
		.ip_proto = SHUNT_T_IP_PROTO,                                 \
		.header_len = sizeof(SHUNT_T_HEADER),                         \
		.flags = t_flags,                                             \
		.version = t_version,                                         \
		.port = bpf_htons(SHUNT_T_PORT),                              \
	};                                                                    \
	SEC("tc")                                                             \
	int encap(struct __sk_buff *skb)                                      \
	{                                                                     \
		return shunt_encap(skb);                                      \
	}                                                                     \
	SEC("tc")                                                             \
	int decap_tc(struct __sk_buff *skb)                                   \
	{                                                                     \
		return shunt_decap_tc(skb);                                   \
	}                                                                     \
	SEC("xdp.frags")                                                      \
	int decap_xdp(struct xdp_md *ctx)                                     \
	{                                                                     \
		return shunt_decap_xdp(ctx);                                  \
	}                                                                     \
	char _license[] SEC("license") = "GPL"

#endif /* SHUNT_T_HEADER */
#endif
