/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP behind a stream of messages: what is sent after a promotion, which is
 * what follows a demotion, and the FIN. It must not reach the application
 * before the messages have. The sender keeps data back, and marks the FIN; the
 * receiver holds the FIN until the stream is complete.
 */
#ifndef LATE_H
#define LATE_H

#include "flow.h"

/* The stream that a segment of ours has to wait for, or NULL: it may go. `end`
 * is the sequence number behind its payload and FIN. */
static __always_inline struct shunt_stream *late_out(const struct shunt_key *k,
						     __u32 end)
{
	__u32 number;
	struct shunt_stream *s = stream_find(k, &number);

	if (!s || !(s->tx_based || s->tx_held) || s->tx_open ||
	    !after(end, s->tx_base))
		return NULL;
	return s;
}

enum late {
	LATE_NOT,
	LATE_FIN,  /* a FIN without payload: shunt_hold decides */
	LATE_DROP, /* its sender should not have sent it yet */
	LATE_ACK,  /* of our FIN, and nothing else: unacknowledge() */
};

/*
 * A bare acknowledgement of our FIN wakes whoever blocks in a read (the state
 * becomes FIN_WAIT2), and on an enrolled socket he gets EAGAIN: 20 of 20 tries.
 * So it acknowledges one less; TCP asks again now and then, until data or a FIN
 * of the peer says it as well.
 */
static __always_inline void unacknowledge(struct tcphdr *t)
{
	__u32 was = t->ack_seq, is = bpf_htonl(bpf_ntohl(was) - 1);

	t->ack_seq = is;
	t->check = ~shunt_fold((__u64)(__u16)~t->check + (__u32)~was + is);
}

/* A segment that comes in. A global function, like flow_create(). */
__weak __noinline int late_in(const struct shunt_flow *f,
			      const struct shunt_key *whose,
			      const struct tcphdr *t, __u32 payload)
{
	struct shunt_key k KEY_ALIGNED;
	struct shunt_stream *s;
	__u32 number;

	if (!f || !whose || !t || t->rst)
		return LATE_NOT;
	if (!payload && !t->fin &&
	    (!(f->flags & SHUNT_F_FIN_TX) ||
	     bpf_ntohl(t->ack_seq) != f->tx_next))
		return LATE_NOT;
	k = *whose;
	s = stream_find(&k, &number);
	if (!payload && !t->fin)
		return s && s->shut && s->enrolled ? LATE_ACK : LATE_NOT;
	if (!s || (s->rx != SHUNT_SRX_ARMED && s->rx != SHUNT_SRX_BASED))
		return LATE_NOT;
	if (!payload)
		return LATE_FIN;
	if (s->rx == SHUNT_SRX_BASED &&
	    after(bpf_ntohl(t->seq) + payload + t->fin, s->rx_base))
		return LATE_DROP;
	return LATE_NOT;
}

#endif
