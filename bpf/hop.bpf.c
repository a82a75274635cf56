// SPDX-License-Identifier: GPL-2.0-only
/*
 * The segmentation hop: a transport that the kernel can't segment below gets
 * its packets one by one. TC egress of the device sends a flow's packets into
 * another, which segments them and hands each on to a third. There, here, it is
 * encapsulated, and goes back to the device.
 *
 *   device, TC egress ─▶ upper device: segments ─▶ far end, TC egress
 *                 or ─▶ near end: segments, sums ═▶ far end, TC ingress
 *                                                        │ encap
 *   device, TC egress: not TCP any more, goes out ◀──────┘
 *
 * The upper device is a macvlan on top of the far end of a veth pair. It calls
 * the far end straight from its transmit function: nothing is queued, nothing
 * is overtaken, TCP's checksum stays for the device to fill in. The pair itself
 * has no checksum offload, so what comes out of it is finished, as coverage
 * `headers` needs it; that takes a softirq, and reads the payload. It does the
 * rest, too, where the kernel has no macvlan.
 */
#include "flow.h"
#include "frame.h"
#include "parse.h"

char _license[] SEC("license") = "GPL";

static __always_inline int hop(struct __sk_buff *skb, struct shunt_scratch *s,
			       bool v6)
{
	struct shunt_key key KEY_ALIGNED;
	__u32 ifindex = skb->ifindex, slot, number, headers;
	__u32 *device = bpf_map_lookup_elem(&hops, &ifindex);
	struct shunt_flow *f;
	struct ip_view ip;
	struct tcphdr *t;

	if (!device)
		return TC_ACT_SHOT;
	if (!v6 ? parse_out(skb, false, &ip, &key)
		: parse_out(skb, true, &ip, &key))
		return TC_ACT_SHOT;
	t = start_of(skb) + ETH_HLEN + ip.hlen;
	if ((void *)(t + 1) > end_of(skb))
		return TC_ACT_SHOT;
	if (cfg_message_path && ip.proto == IPPROTO_UDP && !ip.options &&
	    frame_ports((void *)t)) {
		s->hopped = skb->ingress_ifindex != ifindex;
		s->out_ifindex = *device;
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_FRAME_OUT);
	}
	if (ip.proto != IPPROTO_TCP)
		return TC_ACT_SHOT;
	key.lport = t->source;
	key.rport = t->dest;
	headers = ip.hlen + t->doff * 4;
	/* From here on it goes to the device. */
	s->hopped = skb->ingress_ifindex != ifindex;
	f = flow_find(s, &key, &slot);
	if (skb->gso_size || !f || f->tx != SHUNT_TX_ENCAP ||
	    ip.total < headers)
		return bpf_redirect(*device, 0); /* as TCP */
	number = f->transport;
	s->out_ifindex = *device;
	describe_segment(s, f, slot, headers, v6);
	f->tx_bytes += ip.total - headers;
	shunt_tail_call(skb, &encap_progs, number);
	/* Still here: the transport has been withdrawn. */
	f->tx_bytes -= ip.total - headers;
	shunt_count(s, SHUNT_CNT_ENCAP_FAILED);
	tx_fallback(f, SHUNT_REASON_NO_TRANSPORT, now_ns());
	return bpf_redirect(*device, 0);
}

SEC("tc")
int shunt_hop(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();

	if (!s)
		return TC_ACT_SHOT;
	if (skb->protocol != bpf_htons(ETH_P_IP) &&
	    skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_SHOT; /* nothing else is sent through it */
	return hop(skb, s, skb->protocol == bpf_htons(ETH_P_IPV6));
}
