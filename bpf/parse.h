/* SPDX-License-Identifier: GPL-2.0-only */
/* Parsing of headers, for TC and XDP alike. Nothing here trusts a length. */
#ifndef PARSE_H
#define PARSE_H

#include <shunt/bpf.h>

#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */

struct ip_view {
	void *l4;
	__u32 options; /* IPv4 has some: not 0 */
	__u32 total;   /* bytes of the packet, IP header included */
	__u16 hlen;
	__u8 proto;
	__u8 tos;
};

/* The connections that the proxies have with each other. */
static __always_inline bool is_control(const struct shunt_key *k)
{
	return k->lport == bpf_htons(SHUNT_PORT) ||
	       k->rport == bpf_htons(SHUNT_PORT);
}

static __always_inline bool is_v4(const struct shunt_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == bpf_htonl(0xffff);
}

static __always_inline void addr_v4(struct shunt_addr *a, __be32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = v4;
}

static __always_inline void addr_v6(struct shunt_addr *a,
				    const struct in6_addr *v6)
{
	__builtin_memcpy(a, v6, sizeof(*a));
}

/* 0, or -1 for what is no whole, unfragmented IP packet. IPv6 extension headers
 * end up as proto: nobody here takes them for TCP. */
static __always_inline int parse_ip(void *ip, void *end, const bool v6,
				    struct ip_view *v)
{
	struct iphdr *h4 = ip;
	struct ipv6hdr *h6 = ip;

	if (v6) {
		if ((void *)(h6 + 1) > end || h6->version != 6)
			return -1;
		v->hlen = sizeof(*h6);
		v->options = 0;
		v->total = sizeof(*h6) + bpf_ntohs(h6->payload_len);
		v->proto = h6->nexthdr;
		v->tos = h6->priority << 4 | h6->flow_lbl[0] >> 4;
	} else {
		if ((void *)(h4 + 1) > end || h4->version != 4 || h4->ihl < 5 ||
		    h4->frag_off & bpf_htons(IP_FRAGMENT))
			return -1;
		v->hlen = h4->ihl * 4;
		v->options = v->hlen - sizeof(*h4);
		v->total = bpf_ntohs(h4->tot_len);
		v->proto = h4->protocol;
		v->tos = h4->tos;
		if (v->total < v->hlen)
			return -1;
	}
	v->l4 = ip + v->hlen;
	return 0;
}

/* Addresses of a packet, seen from the host that sends it. */
static __always_inline void addresses_out(struct shunt_key *k, void *ip,
					  const bool v6)
{
	struct iphdr *h4 = ip;
	struct ipv6hdr *h6 = ip;

	if (v6) {
		addr_v6(&k->local, &h6->saddr);
		addr_v6(&k->remote, &h6->daddr);
	} else {
		addr_v4(&k->local, h4->saddr);
		addr_v4(&k->remote, h4->daddr);
	}
}

/* Ports and addresses of a segment. */
static __always_inline void key_out(struct shunt_key *k, void *ip,
				    const bool v6, __be16 source, __be16 dest)
{
	addresses_out(k, ip, v6);
	k->lport = source;
	k->rport = dest;
}

/* The same, seen from the host that receives it. */
static __always_inline void key_in(struct shunt_key *k, void *ip, const bool v6,
				   __be16 source, __be16 dest)
{
	struct iphdr *h4 = ip;
	struct ipv6hdr *h6 = ip;

	if (v6) {
		addr_v6(&k->local, &h6->daddr);
		addr_v6(&k->remote, &h6->saddr);
	} else {
		addr_v4(&k->local, h4->daddr);
		addr_v4(&k->remote, h4->saddr);
	}
	k->lport = dest;
	k->rport = source;
}

/*
 * The bounds of a packet, after a program may have changed them. The barrier
 * keeps the compiler from merging two reads as 32-bit values, which the
 * verifier then takes for numbers.
 */
static __always_inline void *start_of(struct __sk_buff *skb)
{
	void *p = (void *)(long)skb->data;

	asm volatile("" : "+r"(p));
	return p;
}

static __always_inline void *end_of(struct __sk_buff *skb)
{
	void *p = (void *)(long)skb->data_end;

	asm volatile("" : "+r"(p));
	return p;
}

/* Make the first n bytes readable through packet pointers, for skbs that keep
 * their headers in fragments. Call it when a look has failed: it may copy. */
static __always_inline void pull(struct __sk_buff *skb, __u32 n)
{
	bpf_skb_pull_data(skb, n < skb->len ? n : skb->len);
}

/*
 * At egress, what differs between the families, which v6, a constant, is one
 * of: behind it is the same code for both. 0 or -1; ports are the caller's.
 */
static __always_inline int parse_out(struct __sk_buff *skb, const bool v6,
				     struct ip_view *ip, struct shunt_key *k)
{
	const __u32 ip_min = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	void *data = start_of(skb), *end = end_of(skb);

	if (data + ETH_HLEN + ip_min + sizeof(struct tcphdr) > end) {
		pull(skb, ETH_HLEN + 60 + sizeof(struct tcphdr));
		data = start_of(skb);
		end = end_of(skb);
	}
	if (parse_ip(data + ETH_HLEN, end, v6, ip))
		return -1;
	addresses_out(k, data + ETH_HLEN, v6);
	return 0;
}

#endif
