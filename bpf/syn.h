/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A SYN or SYN-ACK, parsed: its numbers, and what of its TCP options the
 * handshake has to know.
 */
#ifndef SYN_H
#define SYN_H

#include "flow.h"
#include "parse.h"

#define TCPOPT_EOL	0
#define TCPOPT_NOP	1
#define TCPOPT_MSS	2
#define TCPOPT_WSCALE	3
#define TCPOPT_MD5	19 /* RFC 2385: the option would not be signed */
#define TCPOPT_AO	29 /* RFC 5925 */
#define TCPOPT_MPTCP	30 /* RFC 8684: brings its own paths */
#define TCPOPT_FASTOPEN 34 /* RFC 7413 */
#define TCPOPT_EXP	254
#define EXID_FASTOPEN	0xf989

struct syn {
	struct shunt_key key KEY_ALIGNED; /* local is this host */
	struct shunt_option option;
	__u32 seq;
	__u32 ack_seq;
	__u32 payload;
	__u32 l4;  /* offset of the TCP header in the frame */
	__u32 end; /* offset behind the IP packet */
	__u32 optlen;
	__u32 mss_at; /* offset of the MSS value, 0: none */
	__u16 mss;
	__u8 wscale;  /* 0 as well if it has no such option */
	__be16 total; /* IPv4 tot_len or IPv6 payload_len, as in the packet */
	bool v6;
	bool ack;
	bool closed; /* options that we leave alone */
	bool ours;   /* option is filled in */
};

#define OPTIONS_MAX 40

/*
 * How far the walk is lives in map memory: before 6.7 (ab5cfac139ab) the
 * verifier follows a bpf_loop callback once, believes what it knows of the
 * stack then, and takes the test for the end out as never true.
 */
struct opt_walk {
	struct __sk_buff *skb;
	__u32 start; /* offset of the options in the frame */
};

#define AT(i) s->options[(s->option_at + (i)) & 63]

static long walk_option(__u32 i, struct opt_walk *w)
{
	struct shunt_scratch *s = shunt_scratch();
	__u32 len;

	(void)i;
	if (!s || s->option_at >= s->option_len)
		return 1;
	if (AT(0) == TCPOPT_NOP) {
		s->option_at++;
		return 0;
	}
	len = AT(1);
	/* Behind an end nobody reads what we would append. */
	if (AT(0) == TCPOPT_EOL || len < 2 ||
	    len > s->option_len - s->option_at)
		goto closed;
	switch (AT(0)) {
	case TCPOPT_MSS:
		if (len != 4)
			goto closed;
		s->option_mss_at = w->start + s->option_at + 2;
		s->option_mss = AT(2) << 8 | AT(3);
		break;
	case TCPOPT_WSCALE:
		if (len == 3)
			s->option_wscale = AT(2);
		break;
	case TCPOPT_MD5:
	case TCPOPT_AO:
	case TCPOPT_MPTCP:
	case TCPOPT_FASTOPEN:
		goto closed;
	case TCPOPT_EXP:
		if (len < 4)
			break;
		if ((AT(2) << 8 | AT(3)) == EXID_FASTOPEN)
			goto closed;
		if (len == sizeof(s->option) &&
		    (AT(2) << 8 | AT(3)) == SHUNT_TCPOPT_EXID &&
		    !bpf_skb_load_bytes(w->skb, w->start + s->option_at,
					s->option, sizeof(s->option)))
			s->option_ours = 1;
		break;
	}
	s->option_at += len;
	return 0;
closed:
	s->option_closed = 1;
	return 1;
}

static __always_inline int parse_family(struct __sk_buff *skb, struct syn *y,
					const bool out, const bool v6)
{
	void *data, *end;
	struct ip_view ip;
	struct tcphdr *t;

	y->v6 = v6;
	data = start_of(skb);
	end = end_of(skb);
	if (data + ETH_HLEN + 60 + sizeof(*t) > end) {
		pull(skb, ETH_HLEN + 60 + sizeof(*t));
		data = start_of(skb);
		end = end_of(skb);
	}
	if (parse_ip(data + ETH_HLEN, end, v6, &ip) || ip.proto != IPPROTO_TCP)
		return -1;
	t = ip.l4;
	if ((void *)(t + 1) > end || !t->syn || t->doff < 5 ||
	    ip.total < ip.hlen + t->doff * 4u || skb->len < ETH_HLEN + ip.total)
		return -1;
	if (out)
		key_out(&y->key, data + ETH_HLEN, v6, t->source, t->dest);
	else
		key_in(&y->key, data + ETH_HLEN, v6, t->source, t->dest);
	y->seq = bpf_ntohl(t->seq);
	y->ack_seq = bpf_ntohl(t->ack_seq);
	y->ack = t->ack;
	y->l4 = ETH_HLEN + ip.hlen;
	y->end = ETH_HLEN + ip.total;
	y->optlen = t->doff * 4 - sizeof(*t);
	y->payload = ip.total - ip.hlen - t->doff * 4;
	y->total = v6 ? ((struct ipv6hdr *)(data + ETH_HLEN))->payload_len
		      : ((struct iphdr *)(data + ETH_HLEN))->tot_len;
	return 0;
}

static __always_inline int parse_options(struct __sk_buff *skb, struct syn *y)
{
	struct shunt_scratch *s = shunt_scratch();
	struct opt_walk w = {.skb = skb};
	__u32 n = y->optlen;

	if (n) {
		if (!s || n > OPTIONS_MAX)
			return -1;
		w.start = y->l4 + sizeof(struct tcphdr);
		s->option_at = 0;
		s->option_len = n;
		__builtin_memset(s->options, TCPOPT_EOL, sizeof(s->options));
		/* The identity for 1 to 64. Tests of n's bounds do not do: the
		 * compiler leaves out what it knows, and the verifiers differ
		 * in what they learn from the rest. */
		asm volatile("" : "+r"(n));
		n = ((n - 1) & (sizeof(s->options) - 1)) + 1;
		if (bpf_skb_load_bytes(skb, w.start, s->options, n))
			return -1;
		s->option_mss_at = 0;
		s->option_wscale = 0;
		s->option_closed = 0;
		s->option_ours = 0;
		bpf_loop(OPTIONS_MAX, walk_option, &w, 0);
		y->mss_at = s->option_mss_at;
		y->mss = s->option_mss;
		y->wscale = s->option_wscale;
		y->closed = s->option_closed;
		y->ours = s->option_ours;
		__builtin_memcpy(&y->option, s->option, sizeof(y->option));
	}
	if (y->payload)
		y->closed = true; /* TCP Fast Open */
	return 0;
}

/*
 * The SYN or SYN-ACK in skb, 0 or -1. A global function: the verifier forgets
 * how its end was reached, and goes once through all that follows.
 */
__noinline int parse_syn(struct __sk_buff *skb, struct syn *y, bool out)
{
	int err;

	if (!y)
		return -1;
	err = skb->protocol == bpf_htons(ETH_P_IPV6)
		      ? parse_family(skb, y, out, true)
		      : parse_family(skb, y, out, false);
	return err ? err : parse_options(skb, y);
}

#endif
