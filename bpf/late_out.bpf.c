// SPDX-License-Identifier: GPL-2.0-only
/*
 * TC egress, for segments behind a stream of messages that the peer has not
 * got whole: data waits in TCP's own queue, for which a drop here is a full
 * device. A FIN may go if the peer can tell that it has to wait.
 */
#include "late.h"
#include "option.h"
#include "parse.h"

char _license[] SEC("license") = "GPL";

#define TCP_FIN 0x01

/* The FIN without its data: TCP has merged it with data that is in front of the
 * stream, and may be missing at the far end. */
static __always_inline int take_fin_off(struct __sk_buff *skb, __u32 l4)
{
	__u8 flags[2];
	__be16 old, new;

	if (bpf_skb_load_bytes(skb, l4 + 12, flags, 2))
		return -1;
	__builtin_memcpy(&old, flags, 2);
	flags[1] &= ~TCP_FIN;
	__builtin_memcpy(&new, flags, 2);
	return bpf_skb_store_bytes(skb, l4 + 12, flags, 2, 0) ||
	       bpf_l4_csum_replace(skb, l4 + offsetof(struct tcphdr, check),
				   old, new, 2);
}

static __always_inline int mark_fin(struct __sk_buff *skb,
				    const struct tcp_place *p,
				    const struct shunt_stream *s)
{
	__be64 offset = bpf_cpu_to_be64(s->tx_bytes);
	struct shunt_final_option o = {
		.kind = SHUNT_TCPOPT_KIND,
		.len = sizeof(o),
		.exid = bpf_htons(SHUNT_TCPOPT_EXID),
		.version_type = SHUNT_TCPOPT_VERSION << 4 | SHUNT_OPT_FINAL,
		.base = bpf_htonl(s->tx_base),
	};

	__builtin_memcpy(o.offset, (__u8 *)&offset + 1, sizeof(o.offset));
	return append_option(skb, p, &o);
}

static __always_inline int late(struct __sk_buff *skb,
				struct shunt_scratch *scratch, const bool v6)
{
	void *data = start_of(skb), *end = end_of(skb);
	struct shunt_key key KEY_ALIGNED;
	struct tcp_place at = {.v6 = v6};
	struct shunt_stream *s;
	struct shunt_flow *f;
	__u32 seq, payload, headers, slot;
	struct ip_view ip;
	struct tcphdr *t;
	bool room, fin;

	if (parse_ip(data + ETH_HLEN, end, v6, &ip))
		return -1;
	t = ip.l4;
	if ((void *)(t + 1) > end)
		return -1;
	key_out(&key, data + ETH_HLEN, v6, t->source, t->dest);
	headers = t->doff * 4;
	at.l4 = ETH_HLEN + ip.hlen;
	at.end = ETH_HLEN + ip.total;
	at.total = v6 ? ((struct ipv6hdr *)(data + ETH_HLEN))->payload_len
		      : ((struct iphdr *)(data + ETH_HLEN))->tot_len;
	payload = ip.total - ip.hlen - headers;
	room = headers + OPTION_LEN <= TCP_MAX_HEADER;
	seq = bpf_ntohl(t->seq);
	fin = t->fin;
	f = flow_find(scratch, &key, &slot);
	if (!f)
		return -1;
	/* So that egress does not send it here again. */
	scratch->late_goes = f->token_local;
	s = late_out(&key, seq + payload + fin);
	if (!s)
		return 0; /* the stream is complete now */
	if (s->tx_held)
		return -1;
	if (payload)
		return !fin || after(seq + payload, s->tx_base)
			       ? -1
			       : take_fin_off(skb, at.l4);
	/* An unknown option on a plain FIN might be the end of both. */
	if (room && f->tx == SHUNT_TX_ENCAP)
		return mark_fin(skb, &at, s);
	return s->tx_known ? 0 : -1;
}

SEC("tc")
int shunt_late_out(struct __sk_buff *skb)
{
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct shunt_scratch *s = shunt_scratch();

	if (!s)
		return TC_ACT_SHOT;
	if (!(v6 ? late(skb, s, true) : late(skb, s, false)))
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_EGRESS);
	s->late_goes = 0;
	shunt_count(s, SHUNT_CNT_MSG_LATE_TX);
	return TC_ACT_SHOT;
}
