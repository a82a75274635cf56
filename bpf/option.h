/* SPDX-License-Identifier: GPL-2.0-only */
/* Appends one of our TCP options (16 bytes) to a segment without payload. */
#ifndef OPTION_H
#define OPTION_H

#include "parse.h"

#define TCP_MAX_HEADER 60
#define OPTION_LEN     16

SHUNT_ASSERT(sizeof(struct shunt_option) == OPTION_LEN);

/* Where things are in the frame. */
struct tcp_place {
	__u32 l4;     /* offset of the TCP header */
	__u32 end;    /* … behind the IP packet */
	__be16 total; /* IPv4 tot_len or IPv6 payload_len, as in the packet */
	bool v6;
};

/* The packet is unharmed when this fails before its first store; a store that
 * fails after that (no memory) loses it, and TCP sends it again. */
static __always_inline int append_option(struct __sk_buff *skb,
					 const struct tcp_place *p, void *o)
{
	const __u16 n = OPTION_LEN;
	__u32 check = p->l4 + offsetof(struct tcphdr, check);
	__be16 total = bpf_htons(bpf_ntohs(p->total) + n);
	__be16 seg = bpf_htons(p->end - p->l4);
	__be16 seg_new = bpf_htons(p->end - p->l4 + n);
	struct {
		__u8 doff; /* and the reserved bits */
		__u8 flags;
		__be16 window;
	} word;
	__be32 old, new;
	__s64 sum;

	if (bpf_skb_load_bytes(skb, p->l4 + 12, &word, sizeof(word)))
		return -1;
	__builtin_memcpy(&old, &word, sizeof(old));
	word.doff += n / 4 << 4;
	__builtin_memcpy(&new, &word, sizeof(new));
	if (bpf_skb_change_tail(skb, skb->len + n, 0))
		return -1;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)o, n, 0);
	sum = bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), sum);
	if (bpf_skb_store_bytes(skb, p->end, o, n, 0) ||
	    bpf_skb_store_bytes(skb, p->l4 + 12, &word, 2, 0) ||
	    bpf_l4_csum_replace(skb, check, seg, seg_new,
				BPF_F_PSEUDO_HDR | 2) ||
	    bpf_l4_csum_replace(skb, check, 0, sum, 0))
		return -1;
	if (p->v6)
		return bpf_skb_store_bytes(
			skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
			&total, 2, 0);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check),
				p->total, total, 2))
		return -1;
	return bpf_skb_store_bytes(
		skb, ETH_HLEN + offsetof(struct iphdr, tot_len), &total, 2, 0);
}

#endif
