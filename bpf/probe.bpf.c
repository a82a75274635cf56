// SPDX-License-Identifier: GPL-2.0-only
/*
 * Probes: the proof that a path carries a flow's transport, by echo. A probe is
 * an inner packet that takes the flow's own encap, five-tuple and decap: small,
 * or as large as what did not get through, and so is its echo.
 *
 *   A: ASKS a          B: ECHOS a, ASKS b        A: ECHOS b
 *   ───────────▶       ◀───────────────          ───────────▶
 *   (on a segment)     A may send now            B may send now
 */
#include "flow.h"
#include "parse.h"

char _license[] SEC("license") = "GPL";

/*
 * The checksum offload of the packet that a probe was stays armed: whoever
 * carries it out sums the probe and writes the outcome's complement into
 * scratch. So let that be what is in scratch already: with p in it and a sum s
 * of the rest, -(s + p) = p. Then a transport's checksum over the probe is
 * right either way. A half, in ones' complement, is a rotation to the right.
 */
static __always_inline __be16 stable_scratch(const struct shunt_probe *b)
{
	const __u32 *w = (const __u32 *)b;
	__u64 sum = 0;
	__u16 minus;

	for (unsigned int i = 0; i < sizeof(*b) / 4; i++)
		sum += w[i];
	minus = ~shunt_fold(sum);
	return minus >> 1 | minus << 15;
}

/* Write IP header and body over what follows Ethernet. */
static __always_inline int write_probe(struct __sk_buff *skb, bool v6,
				       struct shunt_flow *f, __u8 flags,
				       __u32 echo)
{
	__u32 number = f->transport;
	struct shunt_transport *t = bpf_map_lookup_elem(&transports, &number);
	struct shunt_probe b = {
		.magic = bpf_htons(SHUNT_PROBE_MAGIC),
		.version = SHUNT_PROBE_VERSION,
		.flags = flags,
		.sport = f->key.lport,
		.dport = f->key.rport,
		.token = bpf_htonl(f->token_remote),
		.nonce = bpf_htonl(f->nonce),
		.echo = bpf_htonl(echo),
	};
	struct ipv6hdr h6 = {
		.version = 6,
		.payload_len = bpf_htons(skb->len - ETH_HLEN - sizeof(h6)),
		.nexthdr = SHUNT_PROBE_PROTO,
		.hop_limit = 64,
	};
	struct iphdr h4 = {
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(skb->len - ETH_HLEN),
		.frag_off = bpf_htons(0x4000), /* DF */
		.ttl = 64,
		.protocol = SHUNT_PROBE_PROTO,
		.saddr = f->key.local.w[3],
		.daddr = f->key.remote.w[3],
	};

	if (t)
		b.transport = t->id;
	b.scratch = stable_scratch(&b);
	if (v6) {
		__builtin_memcpy(&h6.saddr, &f->key.local, 16);
		__builtin_memcpy(&h6.daddr, &f->key.remote, 16);
		return bpf_skb_store_bytes(skb, ETH_HLEN, &h6, sizeof(h6), 0) ||
		       bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(h6), &b,
					   sizeof(b), 0);
	}
	h4.check = ~shunt_sum20(&h4);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &h4, sizeof(h4), 0) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(h4), &b, sizeof(b),
				   0);
}

/* Cut the clone to a probe of `len` bytes and Ethernet, then grow it with
 * zeros, which change no checksum, to what has to be proved. */
static __always_inline int resize(struct __sk_buff *skb, struct shunt_flow *f,
				  __u32 len)
{
	struct shunt_peer *p = peer_get(&f->key.remote, f->transport, now_ns());
	__u32 mtu = 0;

	if (bpf_skb_change_tail(skb, len, 0))
		return -1;
	if (!p || ETH_HLEN + p->size <= len)
		return 0;
	/* The device may take less than it did. */
	bpf_check_mtu(skb, 0, &mtu, 0, 0);
	if (mtu > f->overhead && p->size > mtu - f->overhead)
		p->size = mtu - f->overhead;
	if (ETH_HLEN + p->size <= len)
		return 0;
	return bpf_skb_change_tail(skb, ETH_HLEN + p->size, 0);
}

/* Clones of IPv4 packets with options never come here: see shunt_egress. */
SEC("tc")
int shunt_probe_out(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();
	struct shunt_flow *f;
	__u32 slot, number, len;
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);

	if (!s)
		return TC_ACT_SHOT;
	slot = s->probe_slot;
	s->probe_slot = 0;
	f = bpf_map_lookup_elem(&flows, &slot);
	if (!f)
		return TC_ACT_SHOT;
	len = ETH_HLEN + sizeof(struct shunt_probe) +
	      (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (resize(skb, f, len) || write_probe(skb, v6, f, SHUNT_PROBE_ASKS, 0))
		return TC_ACT_SHOT;
	number = f->transport;
	s->slot = slot;
	s->token_local = f->token_local;
	s->sport = f->sport;
	s->headers = len - ETH_HLEN;
	s->v6 = v6;
	s->probe = 1;
	s->coverage = SHUNT_COVERAGE_FULL;
	s->out_ifindex = 0;
	shunt_count(s, SHUNT_CNT_PROBE);
	bpf_tail_call(skb, &encap_progs, number);
	return TC_ACT_SHOT;
}

static __always_inline int swap_mac(struct __sk_buff *skb)
{
	__u8 mac[12];

	return bpf_skb_load_bytes(skb, 0, mac, 12) ||
	       bpf_skb_store_bytes(skb, 0, mac + 6, 6, 0) ||
	       bpf_skb_store_bytes(skb, 6, mac, 6, 0);
}

/* After decap. Token, flow and transport have been checked at the hook. */
SEC("tc")
int shunt_probe_in(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();
	struct shunt_probe b;
	struct shunt_peer *p;
	struct shunt_flow *f;
	__u32 slot, number, l4;
	__u64 now = now_ns();
	__u8 flags = SHUNT_PROBE_ECHOS;
	bool proves;

	if (!s)
		return TC_ACT_SHOT;
	slot = s->slot;
	f = bpf_map_lookup_elem(&flows, &slot);
	l4 = ETH_HLEN + (s->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (!f || bpf_skb_load_bytes(skb, l4, &b, sizeof(b)))
		return TC_ACT_SHOT;

	p = peer_get(&f->key.remote, f->transport, now);
	proves = !p || skb->len - ETH_HLEN >= p->size;
	if (b.flags & SHUNT_PROBE_ECHOS && bpf_ntohl(b.echo) == f->nonce &&
	    proves) {
		shunt_count(s, SHUNT_CNT_ECHO_RX);
		if (p) {
			p->verified_ns = now;
			p->blocked_until_ns = 0;
		}
		if (f->tx == SHUNT_TX_PROBING)
			tx_redirect(f);
	}
	if (b.flags & SHUNT_PROBE_GONE && bpf_ntohl(b.echo) == f->nonce &&
	    f->tx == SHUNT_TX_PROBING)
		tx_fallback(f, SHUNT_REASON_WITHDRAWN, now);
	if (!(b.flags & SHUNT_PROBE_ASKS))
		return TC_ACT_SHOT; /* consumed */

	shunt_count(s, SHUNT_CNT_PROBE_RX);
	number = f->transport;
	if (!deployed(number)) {
		flags = SHUNT_PROBE_GONE;
	} else if (f->tx == SHUNT_TX_PROBING && proves) {
		flags |= SHUNT_PROBE_ASKS;
		f->probes++;
		f->probe_tick = to_tick(now);
	}
	if (swap_mac(skb) ||
	    write_probe(skb, s->v6, f, flags, bpf_ntohl(b.nonce)))
		return TC_ACT_SHOT;
	s->sport = f->sport;
	s->coverage = SHUNT_COVERAGE_FULL;
	s->out_ifindex = skb->ifindex;
	bpf_tail_call(skb, &encap_progs, number);
	return TC_ACT_SHOT;
}
