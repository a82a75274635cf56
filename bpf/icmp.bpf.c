// SPDX-License-Identifier: GPL-2.0-only
/*
 * ICMP and ICMPv6 errors about our datagrams. "Unreachable" puts the flow in
 * doubt at once, without waiting for a timeout. "Too big" is rewritten to be
 * about the inner packet, so that TCP lowers its segments and the route its
 * MTU.
 *
 * Anybody can send these. As TCP does with its own (RFC 5927), one is believed
 * if it quotes a segment that is on its way now: addresses, ports, and a
 * sequence number that was sent and not acknowledged; or a probe, with its
 * nonce.
 *
 *   eth | IP | ICMP | quoted: outer IP | transport header | inner IP | TCP …
 */
#include "parse.h"
#include "track.h"

char _license[] SEC("license") = "GPL";

#define ICMP_HLEN 8

#define ICMP4_UNREACHABLE 3
#define ICMP4_TOO_BIG	  4 /* a code of it */
#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG	  2

/* What inner packets have to be able to be: the kernel does not take a route's
 * MTU for less (ip_rt_update_pmtu, RFC 8200). */
#define MIN_MTU4 552
#define MIN_MTU6 1280

/* So many probes in a row: one that was damaged on the way is refused, too. */
#define PROBES_REFUSED 2

#define OUTER_MAX (sizeof(struct ipv6hdr) + 32)

struct error {
	__u32 mtu;  /* 0: not about a size */
	__u32 at;   /* offset of the quoted outer IP header */
	__u32 room; /* bytes of the quoted outer headers */
	struct shunt_transport *transport;
	__u32 number;
	bool lite_frame; /* the proxy's, see frame.bpf.c */
	bool cut;	 /* the quote ends before what is inside */
	bool probe;	 /* that is our outstanding probe */
};

static __always_inline int read_type(struct __sk_buff *skb, const bool v6,
				     struct error *e)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct {
		__u8 type, code;
		__u16 check;
		__be16 high, low;
	} h;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip, &h, sizeof(h)))
		return -1;
	e->at = ETH_HLEN + ip + ICMP_HLEN;
	if (v6 && h.type == ICMP6_TOO_BIG)
		e->mtu = (__u32)bpf_ntohs(h.high) << 16 | bpf_ntohs(h.low);
	else if (!v6 && h.type == ICMP4_UNREACHABLE && h.code == ICMP4_TOO_BIG)
		e->mtu = bpf_ntohs(h.low);
	else
		return h.type == (v6 ? ICMP6_UNREACHABLE : ICMP4_UNREACHABLE)
			       ? 0
			       : -1;
	return e->mtu ? 0 : -1; /* RFC 1191 5: nobody sends 0 any more */
}

/* Is a datagram of ours quoted? Finds the transport and fills the addresses. */
static __always_inline int read_outer(struct __sk_buff *skb, const bool v6,
				      struct error *e, struct shunt_key *k)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct ipv6hdr h6;
	struct iphdr h4;
	__be16 ports[2] = {};
	__u32 key, *number;
	__u8 proto;

	if (v6) {
		if (bpf_skb_load_bytes(skb, e->at, &h6, sizeof(h6)) ||
		    h6.version != 6)
			return -1;
		addr_v6(&k->local, &h6.saddr);
		addr_v6(&k->remote, &h6.daddr);
		proto = h6.nexthdr;
	} else {
		if (bpf_skb_load_bytes(skb, e->at, &h4, sizeof(h4)) ||
		    h4.version != 4 || h4.ihl != 5 ||
		    h4.frag_off & bpf_htons(0x1fff))
			return -1;
		addr_v4(&k->local, h4.saddr);
		addr_v4(&k->remote, h4.daddr);
		proto = h4.protocol;
	}
	if (proto == IPPROTO_TCP ||
	    bpf_skb_load_bytes(skb, e->at + ip, ports, sizeof(ports)))
		return -1;
	e->lite_frame = cfg_message_path && proto == IPPROTO_UDPLITE &&
			ports[0] == bpf_htons(SHUNT_PORT) &&
			ports[1] == ports[0];
	if (proto != IPPROTO_UDP && proto != IPPROTO_UDPLITE)
		ports[1] = 0;
	key = SHUNT_DEMUX(proto, bpf_ntohs(ports[1]));
	if (key == SHUNT_DEMUX(IPPROTO_UDP, SHUNT_PORT)) {
		e->number = SHUNT_UDP;
	} else if (key == SHUNT_DEMUX(IPPROTO_UDPLITE, SHUNT_PORT)) {
		e->number = SHUNT_UDPLITE;
	} else {
		number = bpf_map_lookup_elem(&demux, &key);
		if (!number)
			return -1;
		e->number = *number;
	}
	e->transport = bpf_map_lookup_elem(&transports, &e->number);
	if (!e->transport || !e->transport->deployed)
		return -1;
	e->room = ip + (e->transport->header_len & 0x3f);
	return 0;
}

/* The flow of the quoted inner packet, if that is on its way now. */
static __always_inline struct shunt_flow *read_inner(struct __sk_buff *skb,
						     const bool v6,
						     struct error *e,
						     struct shunt_key *k)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct shunt_scratch *s = shunt_scratch();
	__u32 at = e->at + e->room, slot, hlen = ip, seq;
	struct shunt_key inner KEY_ALIGNED = {};
	struct shunt_flow *f;
	struct ipv6hdr h6;
	struct iphdr h4;
	__be32 w[4]; /* ports and sequence number, or the front of a probe */
	__u8 proto;

	e->cut = true;
	if (v6) {
		if (bpf_skb_load_bytes(skb, at, &h6, sizeof(h6)))
			return NULL;
		addr_v6(&inner.local, &h6.saddr);
		addr_v6(&inner.remote, &h6.daddr);
		proto = h6.nexthdr;
	} else {
		if (bpf_skb_load_bytes(skb, at, &h4, sizeof(h4)))
			return NULL;
		addr_v4(&inner.local, h4.saddr);
		addr_v4(&inner.remote, h4.daddr);
		proto = h4.protocol;
		hlen = h4.ihl * 4;
	}
	if (proto == SHUNT_PROBE_PROTO) {
		if (bpf_skb_load_bytes(skb, at + hlen, w, 16))
			return NULL;
		/* magic and flags, ports, token, nonce */
		inner.lport = w[1] & 0xffff;
		inner.rport = w[1] >> 16;
	} else {
		if (bpf_skb_load_bytes(skb, at + hlen, w, 8))
			return NULL;
		inner.lport = w[0] & 0xffff;
		inner.rport = w[0] >> 16;
	}
	e->cut = false;
	e->probe = proto == SHUNT_PROBE_PROTO;
	k->lport = inner.lport;
	k->rport = inner.rport;
	if (!s || !same_key(k, &inner))
		return NULL;
	f = flow_find(s, k, &slot);
	if (!f || f->transport != e->number)
		return NULL;
	if (e->probe)
		return f->tx == SHUNT_TX_PROBING && f->probes &&
				       w[3] == bpf_htonl(f->nonce)
			       ? f
			       : NULL;
	seq = bpf_ntohl(w[1]);
	return proto == IPPROTO_TCP &&
			       f->tx_next - seq <= f->tx_next - f->rx_ack
		       ? f
		       : NULL;
}

/*
 * Take the quoted outer headers out, so that the inner packet is what is
 * quoted. ICMP's checksum follows from what changes; that of the quote need not
 * be right.
 */
static __always_inline int translate(struct __sk_buff *skb, bool v6,
				     const struct error *e, __u32 mtu)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 out[OUTER_MAX / 4] = {}, n = e->room;
	__be16 len_old, len_new;
	struct {
		__u8 type, code;
		__u16 check;
		__be32 rest;
	} h;
	struct iphdr h4;
	__be32 rest_old;
	__u64 sum;

	asm volatile("" : "+r"(n));
	n = ((n - 1) & 127) + 1; /* the identity */
	if (n > sizeof(out) || bpf_skb_load_bytes(skb, e->at, out, n) ||
	    bpf_skb_load_bytes(skb, e->at - ICMP_HLEN, &h, sizeof(h)))
		return -1;
	rest_old = h.rest;
	h.rest = v6 ? bpf_htonl(mtu)
		    : (h.rest & bpf_htonl(0xffff0000)) | bpf_htonl(mtu);
	/* RFC 1624: what is taken out, with what was there of the MTU, and for
	 * ICMPv6 the length in the pseudo header. */
	sum = (__u16)~h.check;
	sum += (__u16)~shunt_fold(
		(__u32)bpf_csum_diff(NULL, 0, out, sizeof(out), 0));
	sum += (__u32)~rest_old;
	sum += h.rest;
	if (v6) {
		len_old = bpf_htons(skb->len - ETH_HLEN - ip);
		len_new = bpf_htons(skb->len - ETH_HLEN - ip - n);
		sum += (__u16)~len_old;
		sum += len_new;
	}
	h.check = ~shunt_fold(sum);
	if (bpf_skb_adjust_room(skb, -(__s32)n, BPF_ADJ_ROOM_NET,
				BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_store_bytes(skb, e->at - ICMP_HLEN, &h, sizeof(h),
				BPF_F_RECOMPUTE_CSUM))
		return -1;
	if (v6) {
		len_new = bpf_htons(skb->len - ETH_HLEN - ip);
		return bpf_skb_store_bytes(
			skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
			&len_new, 2, BPF_F_RECOMPUTE_CSUM);
	}
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &h4, sizeof(h4)))
		return -1;
	h4.tot_len = bpf_htons(skb->len - ETH_HLEN);
	h4.check = 0;
	h4.check = ~shunt_sum20(&h4);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &h4, sizeof(h4),
				   BPF_F_RECOMPUTE_CSUM);
}

/* A probe need not be larger than the path says that it takes. */
static __always_inline bool smaller_probes(const struct shunt_flow *f,
					   __u32 mtu, __u64 now)
{
	struct shunt_peer *p = peer_get(&f->key.remote, f->transport, now);

	if (!p || p->size <= mtu)
		return false;
	p->size = mtu;
	return true;
}

static __always_inline int too_big(struct __sk_buff *skb, bool v6,
				   const struct error *e, struct shunt_flow *f,
				   __u64 now)
{
	__u32 mtu = e->mtu - e->room;

	if (e->mtu < e->room || mtu < (v6 ? MIN_MTU6 : MIN_MTU4)) {
		/* Such a path can carry TCP, and our headers not. */
		if (f->tx == SHUNT_TX_ENCAP || f->tx == SHUNT_TX_PROBING)
			tx_fallback(f, SHUNT_REASON_MTU, now);
		return TC_ACT_UNSPEC;
	}
	if (smaller_probes(f, mtu, now) && f->probes) {
		f->probes--;
		f->probe_tick -= MS_TICKS(1000); /* the next one at once */
	} else if (e->probe) {
		tx_fallback(f, SHUNT_REASON_MTU, now);
	}
	if (!e->probe && translate(skb, v6, e, mtu))
		return TC_ACT_SHOT;
	shunt_count(shunt_scratch(), SHUNT_CNT_ICMP_MTU);
	return TC_ACT_UNSPEC;
}

/*
 * A damaged datagram is refused, too, by the kernel of the peer: nobody listens
 * there but us. So one is not enough, if others arrive; when none does, the
 * next is on its way.
 */
static __always_inline void refusal(struct shunt_flow *f, __u64 now)
{
	if (!after(f->stall_tick, f->heard_tick))
		f->stalls = 0;
	f->stalls++;
	f->stall_tick = to_tick(now);
	if (f->stalls >= STALLS_MAX)
		doubt(f, SHUNT_REASON_UNREACHABLE, 0, now);
}

/* What differs between the families; v6 is a constant. */
static __always_inline int look(struct __sk_buff *skb, const bool v6,
				struct error *e, struct shunt_key *k,
				struct shunt_flow **f)
{
	if (read_type(skb, v6, e) || read_outer(skb, v6, e, k))
		return -1;
	if (!e->lite_frame)
		*f = read_inner(skb, v6, e, k);
	return 0;
}

/* IPv4 without options, IPv6 without extension headers. */
SEC("tc")
int shunt_icmp(struct __sk_buff *skb)
{
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct shunt_key key KEY_ALIGNED = {};
	struct error e = {};
	struct shunt_flow *f = NULL;
	struct shunt_peer_key pk = {};
	struct shunt_peer *p;
	struct iphdr h;
	__u64 now = now_ns();

	if (!v6 &&
	    (bpf_skb_load_bytes(skb, ETH_HLEN, &h, sizeof(h)) || h.ihl != 5))
		return TC_ACT_UNSPEC;
	if (v6 ? look(skb, true, &e, &key, &f) : look(skb, false, &e, &key, &f))
		return TC_ACT_UNSPEC;
	if (e.lite_frame) {
		if (e.mtu)
			bpf_tail_call_static(skb, &stages,
					     SHUNT_TAIL_FRAME_ICMP);
		return TC_ACT_UNSPEC;
	}
	if (e.cut) {
		/* Of new flows, the path is proved again. */
		shunt_count(shunt_scratch(), SHUNT_CNT_ICMP_SHORT);
		pk.addr = key.remote;
		pk.transport = e.number;
		p = bpf_map_lookup_elem(&peers, &pk);
		if (p)
			p->verified_ns = 0;
		return TC_ACT_UNSPEC;
	}
	if (!f) {
		shunt_count(shunt_scratch(), SHUNT_CNT_ICMP_BAD);
		return TC_ACT_UNSPEC;
	}
	if (e.mtu)
		return too_big(skb, v6, &e, f, now);
	shunt_count(shunt_scratch(), SHUNT_CNT_ICMP);
	if (!e.probe)
		refusal(f, now);
	else if (f->probes >= PROBES_REFUSED)
		tx_fallback(f, SHUNT_REASON_UNREACHABLE, now);
	else
		f->probe_tick -= MS_TICKS(1000); /* the next one at once */
	return TC_ACT_UNSPEC;
}
