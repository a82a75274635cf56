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

	if (!s || !s->tx_based || s->tx_open || !after(end, s->tx_base))
		return NULL;
	return s;
}

enum late {
	LATE_NOT,
	LATE_FIN,  /* a FIN without payload: shunt_hold decides */
	LATE_DROP, /* its sender should not have sent it yet */
};

/* A segment that comes in. */
static __always_inline enum late late_in(const struct shunt_key *k,
					 const struct tcphdr *t, __u32 payload)
{
	__u32 number;
	struct shunt_stream *s;

	if (t->rst || (!payload && !t->fin))
		return LATE_NOT;
	s = stream_find(k, &number);
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
