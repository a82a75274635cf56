// SPDX-License-Identifier: GPL-2.0-only
/*
 * XDP: the demultiplexer and the fast path. Segments of known flows lose their
 * outer headers in place. Everything rare (SYNs, probes, the first packet of an
 * accepted flow) passes to shunt_ingress_slow at TC ingress, where a reply can
 * be sent on any device: XDP_TX into a veth whose peer runs no NAPI is lost.
 */
#include "ingress.h"
#include "late.h"

char _license[] SEC("license") = "GPL";

/* Offset of the IP header behind Ethernet and up to two VLAN tags, or 0. */
static __always_inline __u32 find_ip(void *data, void *end, bool *v6)
{
	__be16 *type = data + offsetof(struct ethhdr, h_proto);
	__u32 off = ETH_HLEN;

	if (data + ETH_HLEN + 8 > end)
		return 0;
	for (int i = 0; i < 2; i++, type += 2, off += 4)
		if (*type != bpf_htons(ETH_P_8021Q) &&
		    *type != bpf_htons(ETH_P_8021AD))
			break;
	*v6 = *type == bpf_htons(ETH_P_IPV6);
	return *v6 || *type == bpf_htons(ETH_P_IP) ? off : 0;
}

/*
 * A frame becomes the UDP that the proxy reads, early enough for GRO to put
 * many of them together. (A checksum that its sender has yet to finish, on a
 * veth, is nobody's to look at.)
 */
static __always_inline int frame(struct shunt_scratch *s, void *ip,
				 struct udphdr *u, const bool v6)
{
	const __u32 lite = bpf_htons(IPPROTO_UDPLITE),
		    udp = bpf_htons(IPPROTO_UDP);
	struct ipv6hdr *h6 = ip;
	struct iphdr *h4 = ip;

	/* RFC 1624: HC' = ~(~HC + ~m + m') */
	if (v6) {
		h6->nexthdr = IPPROTO_UDP;
	} else {
		h4->check = ~shunt_fold((__u64)(__u16)~h4->check +
					(__u16)~lite + udp);
		h4->protocol = IPPROTO_UDP;
	}
	u->check = ~shunt_fold((__u64)(__u16)~u->check + (__u16)~lite + udp)
			   ?: 0xffff;
	shunt_count(s, SHUNT_CNT_MSG_LITE_RX);
	return XDP_PASS;
}

static __always_inline int ingress(struct xdp_md *ctx, void *data, void *end,
				   __u32 l3, bool v6)
{
	struct shunt_scratch *s = shunt_scratch();
	struct frame fr = {};
	struct shunt_flow *f;
	enum verdict verdict;
	__u32 slot;
	__u64 now;

	if (!s)
		return XDP_PASS;
	/* The same, but to the verifier, which would follow each offset by
	 * itself: a number read from a map is any number. */
	s->outer = l3;
	asm volatile("" ::: "memory");
	l3 = s->outer & 31;
	fr.xdp = ctx;
	verdict = v6 ? look(&fr, data + l3, end, true, l3)
		     : look(&fr, data + l3, end, false, l3);
	if (verdict == FRAME)
		return frame(s, data + l3, fr.l4, v6);
	if (verdict != SEGMENT && verdict != PLAIN)
		return XDP_PASS;
	f = flow_find(s, &fr.key, &slot);
	if (!f)
		return XDP_PASS;
	if (message_flow(f)) {
		enum late late = late_in(f, &fr.key, fr.l4, fr.payload);

		if (late == LATE_FIN)
			return XDP_PASS; /* TC ingress may hold it */
		if (late == LATE_ACK)
			unacknowledge(fr.l4);
		if (late == LATE_DROP) {
			shunt_count(s, SHUNT_CNT_MSG_LATE_RX);
			return XDP_DROP;
		}
	}
	now = now_ns();
	if (verdict == PLAIN) {
		track_rx(f, fr.l4, fr.payload, true, now);
		return is_sync(fr.l4, fr.payload) ? XDP_DROP : XDP_PASS;
	}
	if (f->transport != fr.transport)
		return XDP_PASS; /* TC ingress counts it */
	/* A payload that may be damaged has to be marked as verified, which can
	 * only be done to an skb. */
	if (f->flags & SHUNT_F_HEADERS)
		return XDP_PASS;
	if (fr.drop_ce) {
		shunt_count(s, SHUNT_CNT_DECAP_ECN);
		return XDP_DROP;
	}
	track_rx(f, fr.l4, fr.payload, false, now);
	f->rx_bytes += fr.payload;
	hand_over(s, &fr, f, v6, slot, l3, false);
	shunt_tail_call(ctx, &decap_xdp_progs, fr.transport);
	return XDP_PASS;
}

SEC("xdp.frags")
int shunt_ingress_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data,
	     *end = (void *)(long)ctx->data_end;
	bool v6 = false;
	__u32 l3 = find_ip(data, end, &v6);

	if (!l3)
		return XDP_PASS;
	return ingress(ctx, data, end, l3, v6);
}
