// SPDX-License-Identifier: GPL-2.0-only
/*
 * TC ingress: everything that XDP leaves, and on devices without XDP
 * everything. VLAN tags are skb metadata here.
 */
#include "ingress.h"
#include "late.h"

char _license[] SEC("license") = "GPL";

/* Is this for certain a plain segment without SYN or FIN? Most packets are,
 * behind XDP, and a cheap yes saves them a full look. */
static __always_inline bool plain_segment(struct __sk_buff *skb)
{
	void *data = start_of(skb), *end = end_of(skb);
	struct iphdr *h4 = data + ETH_HLEN;
	struct ipv6hdr *h6 = data + ETH_HLEN;
	struct tcphdr *t;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		t = (void *)(h4 + 1);
		return (void *)(t + 1) <= end && h4->ihl == 5 &&
		       h4->protocol == IPPROTO_TCP && !t->syn && !t->fin;
	}
	t = (void *)(h6 + 1);
	return skb->protocol == bpf_htons(ETH_P_IPV6) &&
	       (void *)(t + 1) <= end && h6->nexthdr == IPPROTO_TCP &&
	       !t->syn && !t->fin;
}

static __always_inline void note_first(struct shunt_first *first,
				       const struct frame *fr, bool probe)
{
	const struct shunt_probe *b = fr->l4;
	const struct tcphdr *t = fr->l4;

	first->key = fr->key;
	first->proof = bpf_ntohl(probe ? b->token : t->ack_seq);
	first->transport = fr->transport;
	first->kind = probe ? SHUNT_FIRST_PROBE : SHUNT_FIRST_SEGMENT;
	first->proves = probe || t->ack;
}

/* With v6 a constant for each family, TC ingress is 5 ns faster. Behind XDP it
 * is no constant: half as much to load, and there is little to do. */
static __always_inline int ingress(struct __sk_buff *skb, bool v6,
				   const bool all)
{
	struct shunt_scratch *s = shunt_scratch();
	struct frame fr = {};
	struct shunt_flow *f;
	enum verdict verdict;
	__u32 slot = 0;
	__u64 now;

	if (!s)
		return TC_ACT_UNSPEC;
	verdict = v6 ? look_skb(skb, &fr, true) : look_skb(skb, &fr, false);
	if (verdict == SYN) {
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_SYN_IN);
		return TC_ACT_UNSPEC;
	}
	if (verdict == ICMP) {
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_ICMP);
		return TC_ACT_UNSPEC;
	}
	if (verdict == FRAME) {
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_FRAME_IN);
		return TC_ACT_UNSPEC;
	}
	if (verdict == MALFORMED)
		shunt_count(s, SHUNT_CNT_DECAP_MALFORMED);
	if (verdict == OTHER || verdict == MALFORMED)
		return TC_ACT_UNSPEC;
	f = flow_find(s, &fr.key, &slot);
	if (f && message_flow(f) && verdict != PROBE) {
		enum late late = late_in(f, &fr.key, fr.l4, fr.payload);

		/* Packet pointers don't survive it: 1a4607ffba35 (6.13) */
		if (late == LATE_FIN || (late == LATE_ACK && all)) {
			bpf_tail_call_static(skb, &stages, SHUNT_TAIL_HOLD);
			return TC_ACT_SHOT;
		}
		if (late == LATE_DROP) {
			shunt_count(s, SHUNT_CNT_MSG_LATE_RX);
			return TC_ACT_SHOT;
		}
	}
	now = now_ns();
	if (verdict == PLAIN) {
		if (!f || !all)
			return TC_ACT_UNSPEC;
		track_rx(f, fr.l4, fr.payload, true, now);
		return is_sync(fr.l4, fr.payload) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	if (!f) {
		note_first(&s->first, &fr, verdict == PROBE);
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_ADOPT);
		return TC_ACT_UNSPEC;
	}
	if (f->transport != fr.transport) {
		shunt_count(s, SHUNT_CNT_DECAP_MISMATCH);
		return TC_ACT_UNSPEC;
	}
	if (verdict == PROBE) {
		const struct shunt_probe *b = fr.l4;

		if (bpf_ntohl(b->token) != f->token_local) {
			shunt_count(s, SHUNT_CNT_PROBE_BAD);
			return TC_ACT_UNSPEC;
		}
	}
	if (fr.drop_ce) {
		shunt_count(s, SHUNT_CNT_DECAP_ECN);
		return TC_ACT_SHOT;
	}
	if (verdict == SEGMENT) {
		track_rx(f, fr.l4, fr.payload, false, now);
		f->rx_bytes += fr.payload;
	}
	hand_over(s, &fr, f, v6, slot, ETH_HLEN, verdict == PROBE);
	shunt_tail_call(skb, &decap_tc_progs, fr.transport);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int shunt_ingress_tc(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return ingress(skb, false, true);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return ingress(skb, true, true);
	return TC_ACT_UNSPEC;
}

/* Behind XDP, which has seen plain segments already. */
SEC("tc")
int shunt_ingress_slow(struct __sk_buff *skb)
{
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);

	if ((!v6 && skb->protocol != bpf_htons(ETH_P_IP)) || plain_segment(skb))
		return TC_ACT_UNSPEC;
	return ingress(skb, v6, false);
}

/*
 * Of an accepted flow the first packet that its peer sends over the transport
 * proves that the peer took our answer: it knows our token, or our initial
 * sequence number. Only now a slot is given away, so forged SYNs get none.
 */
static __always_inline bool proved(const struct shunt_first *first,
				   const struct shunt_handshake *hs)
{
	if (first->kind == SHUNT_FIRST_ANSWER)
		return hs->role == SHUNT_ROLE_ACTIVE &&
		       hs->stage == SHUNT_HS_OFFERED;
	return hs->role == SHUNT_ROLE_PASSIVE &&
	       hs->stage == SHUNT_HS_ANSWERED &&
	       hs->transport == first->transport && first->proves &&
	       first->proof == (first->kind == SHUNT_FIRST_PROBE
					? hs->token_local
					: hs->isn_local + 1);
}

/* A program of its own, so that the others stay small for the verifier; what
 * they have seen of the packet is in scratch. */
SEC("tc")
int shunt_adopt(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();
	struct shunt_handshake *hs;
	bool made;

	if (!s)
		return TC_ACT_UNSPEC;
	hs = bpf_map_lookup_elem(&handshakes, &s->first.key);
	made = hs && proved(&s->first, hs) &&
	       flow_create(&s->first.key, hs, now_ns(), true);
	if (s->first.kind == SHUNT_FIRST_ANSWER)
		return TC_ACT_UNSPEC;
	if (made)
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_INGRESS);
	else
		shunt_count(s, SHUNT_CNT_DECAP_UNKNOWN);
	return TC_ACT_UNSPEC;
}
