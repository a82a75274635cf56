// SPDX-License-Identifier: GPL-2.0-only
/*
 * TC ingress, for FINs without data while a stream of messages comes in: the
 * one that ends the stream goes to the proxy as it came, and back to the device
 * when the stream is complete. Behind XDP, too, which passes them on untouched.
 */
#include "ingress.h"
#include "late.h"

char _license[] SEC("license") = "GPL";

/* How far a FIN may be ahead of what we have acknowledged, and how old what it
 * acknowledges: whoever can't see the connection has to guess some 24 bits. */
#define HELD_WINDOW (1U << 20)

/* The option is the last thing in the header, if it is there. */
static __always_inline bool final_option(struct __sk_buff *skb,
					 const struct tcphdr *t,
					 struct shunt_final_option *o)
{
	__u32 l4 = (void *)t - start_of(skb);

	return t->doff * 4u >= sizeof(*t) + sizeof(*o) &&
	       !bpf_skb_load_bytes(skb, l4 + t->doff * 4 - sizeof(*o), o,
				   sizeof(*o)) &&
	       o->kind == SHUNT_TCPOPT_KIND && o->len == sizeof(*o) &&
	       o->exid == bpf_htons(SHUNT_TCPOPT_EXID) &&
	       o->version_type == (SHUNT_TCPOPT_VERSION << 4 | SHUNT_OPT_FINAL);
}

static __always_inline bool plausible(const struct shunt_flow *f,
				      const struct tcphdr *t)
{
	__u32 oldest = f->rx_ack - HELD_WINDOW;

	return bpf_ntohl(t->seq) - f->tx_ack < HELD_WINDOW && t->ack &&
	       bpf_ntohl(t->ack_seq) - oldest <= f->tx_next - oldest;
}

enum fate { GOES, HELD, DROPPED };

static __always_inline enum fate fate_of(struct __sk_buff *skb,
					 const struct frame *fr,
					 const struct shunt_flow *f,
					 __u32 *number)
{
	struct shunt_stream *s = stream_find(&fr->key, number);
	const struct tcphdr *t = fr->l4;
	struct shunt_final_option o;
	bool based;
	__u32 base;

	if (late_in(f, &fr->key, t, fr->payload) != LATE_FIN || !s)
		return GOES;
	based = s->rx == SHUNT_SRX_BASED;
	base = s->rx_base;
	if (final_option(skb, t, &o)) {
		if (based && base != bpf_ntohl(o.base))
			return DROPPED;
		base = bpf_ntohl(o.base);
	} else if (!based || !after(bpf_ntohl(t->seq) + 1, base)) {
		return GOES;
	}
	/* Data behind the stream waits at its sender, and the FIN with it. */
	return bpf_ntohl(t->seq) == base && plausible(f, t) ? HELD : DROPPED;
}

/* The frame as it came in, with the VLAN tag that has become metadata. */
static __always_inline int hand_to_proxy(struct __sk_buff *skb, __u32 number)
{
	struct shunt_event *e;
	__u32 loop, tag = 0, len = skb->len;
	void *ring = message_ring(number, &loop);
	int err;

	if (!ring)
		return -1;
	if (skb->vlan_present)
		tag = 4;
	if (skb->gso_size || len < ETH_HLEN || len > SHUNT_HELD_MAX - 4)
		return -1;
	e = bpf_ringbuf_reserve(ring, sizeof(*e) + SHUNT_HELD_MAX, 0);
	if (!e)
		return -1;
	e->type = SHUNT_EV_HELD;
	e->stream = number;
	e->ifindex = skb->ifindex;
	e->length = len + tag;
	if (tag) {
		__be16 vlan[2] = {skb->vlan_proto, bpf_htons(skb->vlan_tci)};

		__builtin_memcpy(e->frame + 12, vlan, 4);
		err = bpf_skb_load_bytes(skb, 0, e->frame, 12);
		len -= 12;
		asm volatile("" : "+r"(len));
		len = ((len - 1) & 511) + 1;
		if (!err && len <= SHUNT_HELD_MAX - 16)
			err = bpf_skb_load_bytes(skb, 12, e->frame + 16, len);
	} else {
		asm volatile("" : "+r"(len));
		len = ((len - 1) & 511) + 1;
		err = -1;
		if (len <= SHUNT_HELD_MAX)
			err = bpf_skb_load_bytes(skb, 0, e->frame, len);
	}
	if (err) {
		bpf_ringbuf_discard(e, 0);
		return err;
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tc")
int shunt_hold(struct __sk_buff *skb)
{
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct shunt_scratch *s = shunt_scratch();
	struct frame fr = {};
	struct shunt_flow *f;
	enum verdict verdict;
	__u32 slot = 0, number = 0;

	if (!s)
		return TC_ACT_SHOT;
	verdict = v6 ? look_skb(skb, &fr, true) : look_skb(skb, &fr, false);
	if (verdict != PLAIN && verdict != SEGMENT)
		return TC_ACT_UNSPEC;
	f = flow_find(s, &fr.key, &slot);
	if (!f || (verdict == SEGMENT && f->transport != fr.transport))
		return TC_ACT_UNSPEC;
	if (late_in(f, &fr.key, fr.l4, fr.payload) == LATE_ACK)
		unacknowledge(fr.l4);
	switch (fate_of(skb, &fr, f, &number)) {
	case HELD:
		if (!hand_to_proxy(skb, number)) {
			shunt_count(s, SHUNT_CNT_MSG_HELD);
			return TC_ACT_SHOT;
		}
		/* fall through */
	case DROPPED:
		shunt_count(s, SHUNT_CNT_MSG_LATE_RX);
		return TC_ACT_SHOT;
	case GOES:
		break;
	}
	if (verdict == PLAIN) {
		track_rx(f, fr.l4, 0, true, now_ns());
		return TC_ACT_UNSPEC;
	}
	if (fr.drop_ce) {
		shunt_count(s, SHUNT_CNT_DECAP_ECN);
		return TC_ACT_SHOT;
	}
	track_rx(f, fr.l4, 0, false, now_ns());
	hand_over(s, &fr, f, v6, slot, ETH_HLEN, false);
	shunt_tail_call(skb, &decap_tc_progs, fr.transport);
	return TC_ACT_UNSPEC;
}
