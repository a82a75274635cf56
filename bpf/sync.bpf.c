// SPDX-License-Identifier: GPL-2.0-only
/*
 * Syncs: what a stateful firewall on the way has to see of a connection, so
 * that its plain segments are still valid when it comes back to TCP. conntrack
 * (tcp_in_window) takes a segment only if its sequence number is not beyond
 * what the other side has acknowledged plus its window, and if it acknowledges
 * no more than has been seen of the other side.
 *
 * A sync is an empty segment in plain TCP that stands behind everything sent.
 * It acknowledges what came in plain and no more. PSH marks it; the peer
 * consumes it.
 */
#include "flow.h"
#include "parse.h"

char _license[] SEC("license") = "GPL";

struct empty {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 doff, flags;
	__be16 window;
	__u16 check;
	__be16 urgent;
};

static __always_inline __u64 pseudo(const struct shunt_flow *f, const bool v6)
{
	const __u32 *l = (const __u32 *)&f->key.local;
	const __u32 *r = (const __u32 *)&f->key.remote;
	__u64 sum = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(struct empty));

	if (!v6)
		return sum + l[3] + r[3];
	for (int i = 0; i < 4; i++)
		sum += (__u64)l[i] + r[i];
	return sum;
}

static __always_inline int sync(struct __sk_buff *skb,
				const struct shunt_flow *f, const bool v6)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct empty t;
	struct iphdr h4;
	__u32 ack = f->tx_ack;
	__be16 len = bpf_htons(sizeof(t));

	if (bpf_skb_change_tail(skb, ETH_HLEN + ip + sizeof(t), 0) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + ip, &t, sizeof(t)))
		return -1;
	if (after(ack, f->rx_plain))
		ack = f->rx_plain;
	t.seq = bpf_htonl(f->tx_next);
	t.ack = bpf_htonl(ack);
	t.doff = sizeof(t) / 4 << 4;
	t.flags = 0x18; /* PSH, ACK */
	t.urgent = 0;
	/* No window is larger, whatever its scale: it may open unseen. */
	t.window = 0xffff;
	/* What TCP sends is always left to the device to sum up. */
	t.check = shunt_fold(pseudo(f, v6));
	if (bpf_skb_store_bytes(skb, ETH_HLEN + ip, &t, sizeof(t), 0))
		return -1;
	if (v6)
		return bpf_skb_store_bytes(
			skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
			&len, sizeof(len), 0);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &h4, sizeof(h4)))
		return -1;
	h4.tot_len = bpf_htons(sizeof(h4) + sizeof(t));
	h4.check = 0;
	h4.check = ~shunt_sum20(&h4);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &h4, sizeof(h4), 0);
}

SEC("tc")
int shunt_sync_out(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();
	struct shunt_flow *f;
	__u32 slot;
	int err;

	if (!s)
		return TC_ACT_SHOT;
	slot = s->sync_slot;
	s->sync_slot = 0;
	f = bpf_map_lookup_elem(&flows, &slot);
	if (!f)
		return TC_ACT_SHOT;
	err = skb->protocol == bpf_htons(ETH_P_IPV6) ? sync(skb, f, true)
						     : sync(skb, f, false);
	return err ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
