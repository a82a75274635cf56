// SPDX-License-Identifier: GPL-2.0-only
/*
 * TC, for the proxy's datagrams that are UDP-Lite on the wire: at egress into
 * it, at ingress out of it. See frame.h; XDP does the latter by itself. And for
 * what routers say about them.
 */
#include "frame.h"
#include "hop.h"
#include "ingress.h"

char _license[] SEC("license") = "GPL";

/* The checksum may be one that the device has yet to finish, or one that it has
 * summed up: the helpers know. IPv6 has none of its own to make up for the
 * change of its header. */
static __always_inline int change(struct __sk_buff *skb, const bool v6,
				  __u8 from, __u8 to)
{
	const __u32 at = ETH_HLEN + (v6 ? offsetof(struct ipv6hdr, nexthdr)
					: offsetof(struct iphdr, protocol));
	const __u32 l4 =
		ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));

	if (!v6 &&
	    bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check),
				bpf_htons(from), bpf_htons(to), 2))
		return -1;
	if (bpf_l4_csum_replace(skb, l4 + offsetof(struct udphdr, check),
				bpf_htons(from), bpf_htons(to),
				BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | 2))
		return -1;
	return bpf_skb_store_bytes(skb, at, &to, 1,
				   v6 ? BPF_F_RECOMPUTE_CSUM : 0);
}

/* Out of our own proxy? It says so by a flag. */
static __always_inline bool wanted(struct __sk_buff *skb, const bool v6)
{
	const __u32 at = ETH_HLEN + sizeof(struct udphdr) +
			 (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct {
		__u8 type, flags;
	} f;

	return skb->sk && !bpf_skb_load_bytes(skb, at, &f, sizeof(f)) &&
	       f.type == SHUNT_FRAME_DATA && f.flags & SHUNT_FRAME_LITE &&
	       deployed(SHUNT_UDPLITE);
}

/* At egress (s->out_ifindex is 0), or behind the hop, where it has been through
 * here before. */
SEC("tc")
int shunt_frame_out(struct __sk_buff *skb)
{
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct shunt_scratch *s = shunt_scratch();
	__u32 out;

	if (!s)
		return TC_ACT_SHOT;
	out = s->out_ifindex;
	if (!out && !wanted(skb, v6))
		return TC_ACT_UNSPEC;
	/* The kernel can segment below UDP only. */
	if (skb->gso_size)
		return out ? bpf_redirect(out, 0) : to_hop(skb, s, false);
	if (v6 ? change(skb, true, IPPROTO_UDP, IPPROTO_UDPLITE)
	       : change(skb, false, IPPROTO_UDP, IPPROTO_UDPLITE))
		return TC_ACT_SHOT;
	shunt_count(s, SHUNT_CNT_MSG_LITE_TX);
	return out ? bpf_redirect(out, 0) : TC_ACT_UNSPEC;
}

SEC("tc")
int shunt_frame_in(struct __sk_buff *skb)
{
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct shunt_scratch *s = shunt_scratch();
	struct frame fr = {};
	enum verdict verdict =
		v6 ? look_skb(skb, &fr, true) : look_skb(skb, &fr, false);

	if (verdict != FRAME)
		return TC_ACT_UNSPEC;
	if (v6 ? change(skb, true, IPPROTO_UDPLITE, IPPROTO_UDP)
	       : change(skb, false, IPPROTO_UDPLITE, IPPROTO_UDP))
		return TC_ACT_SHOT;
	/* What a device has verified was not UDP's checksum. */
	bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
	shunt_count(s, SHUNT_CNT_MSG_LITE_RX);
	return TC_ACT_UNSPEC;
}

/* Is the datagram that is quoted at `at` one of a proxy of this host? */
static __always_inline bool quotes_ours(struct __sk_buff *skb, const bool v6,
					__u32 at)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int err;

	if (v6)
		err = bpf_skb_load_bytes(skb,
					 at + offsetof(struct ipv6hdr, saddr),
					 &t.ipv6.daddr, 16) ||
		      bpf_skb_load_bytes(skb,
					 at + offsetof(struct ipv6hdr, daddr),
					 &t.ipv6.saddr, 16);
	else
		err = bpf_skb_load_bytes(skb,
					 at + offsetof(struct iphdr, saddr),
					 &t.ipv4.daddr, 4) ||
		      bpf_skb_load_bytes(skb,
					 at + offsetof(struct iphdr, daddr),
					 &t.ipv4.saddr, 4);
	if (err)
		return false;
	if (v6)
		t.ipv6.sport = t.ipv6.dport = bpf_htons(SHUNT_PORT);
	else
		t.ipv4.sport = t.ipv4.dport = bpf_htons(SHUNT_PORT);
	sk = bpf_sk_lookup_udp(skb, &t, v6 ? sizeof(t.ipv6) : sizeof(t.ipv4),
			       BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* It becomes one about UDP. ICMP's checksum follows; that of the quoted header
 * need not be right. */
static __always_inline int quote_udp(struct __sk_buff *skb, const bool v6)
{
	const __u32 icmp =
		ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	const __u32 at = icmp + 8; /* the quoted IP header */
	/* The field is one half of a word of the sum. */
	const __u32 shift = v6 ? 8 : 0;
	__u8 udp = IPPROTO_UDP;

	if (!quotes_ours(skb, v6, at))
		return TC_ACT_UNSPEC;
	if (bpf_l4_csum_replace(skb, icmp + 2,
				bpf_htons(IPPROTO_UDPLITE << shift),
				bpf_htons(IPPROTO_UDP << shift), 2) ||
	    bpf_skb_store_bytes(skb,
				at + (v6 ? offsetof(struct ipv6hdr, nexthdr)
					 : offsetof(struct iphdr, protocol)),
				&udp, 1, 0))
		return TC_ACT_SHOT;
	shunt_count(shunt_scratch(), SHUNT_CNT_ICMP_MTU);
	return TC_ACT_UNSPEC;
}

/* "Too big" about a frame in UDP-Lite, which nobody listens for: the proxy's
 * socket, which is UDP's, is to hear of it. */
SEC("tc")
int shunt_frame_icmp(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IPV6) ? quote_udp(skb, true)
						      : quote_udp(skb, false);
}
