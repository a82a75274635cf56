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
			       const bool v6)
{
	const __u32 ip_min = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *data = start_of(skb), *end = end_of(skb);
	struct shunt_key key KEY_ALIGNED;
	__u32 ifindex = skb->ifindex, slot, number, headers;
	__u32 *device = bpf_map_lookup_elem(&hops, &ifindex);
	struct shunt_flow *f;
	struct ip_view ip;
	struct tcphdr *t;

	if (!device)
		return TC_ACT_SHOT;
	if (data + ETH_HLEN + ip_min + sizeof(*t) > end) {
		pull(skb, ETH_HLEN + 60 + sizeof(*t));
		data = start_of(skb);
		end = end_of(skb);
	}
	if (parse_ip(data + ETH_HLEN, end, v6, &ip))
		return TC_ACT_SHOT;
	t = ip.l4;
	if ((void *)(t + 1) > end)
		return TC_ACT_SHOT;
	if (cfg_message_path && ip.proto == IPPROTO_UDP && ip.hlen == ip_min &&
	    frame_ports((void *)t)) {
		s->hopped = skb->ingress_ifindex != ifindex;
		s->out_ifindex = *device;
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_FRAME_OUT);
	}
	if (ip.proto != IPPROTO_TCP)
		return TC_ACT_SHOT;
	key_out(&key, data + ETH_HLEN, v6, t->source, t->dest);
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
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return hop(skb, s, false);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return hop(skb, s, true);
	return TC_ACT_SHOT; /* nothing else is sent through it */
}
