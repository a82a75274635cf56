/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the headers of a flow's segments say about its health: sent anew or
 * again, acknowledged or not, ended or not. Called once per packet and flow at
 * each hook, with the TCP header in hand.
 */
#ifndef TRACK_H
#define TRACK_H

#include "flow.h"

/* A stalled flow goes back to probing when so many retransmissions, each so
 * much after the other, went out without a word from the peer: a tail loss
 * probe (RFC 8985) and the first retransmission timeout, usually. */
#define STALLS_MAX   2
#define STALL_GAP_MS 5

/* Renew the peer's proof at most this often per flow. */
#define REFRESH_MS 1000

static __always_inline void ended(struct shunt_flow *f)
{
	if ((f->flags & (SHUNT_F_FIN_TX | SHUNT_F_FIN_RX)) ==
	    (SHUNT_F_FIN_TX | SHUNT_F_FIN_RX))
		f->life = SHUNT_ENDED;
}

static __always_inline void track_retransmission(struct shunt_flow *f,
						 __u32 tick)
{
	if (after(f->heard_tick, f->stall_tick))
		f->stalls = 0;
	else if (f->stalls && tick - f->stall_tick < MS_TICKS(STALL_GAP_MS))
		return; /* one burst of retransmissions is one sign */
	f->stalls++;
	f->stall_tick = tick;
	if (f->stalls >= STALLS_MAX && f->tx == SHUNT_TX_ENCAP) {
		shunt_count(SHUNT_CNT_SUSPECT);
		tx_probe(f, SHUNT_REASON_STALLED);
	}
}

/* A segment on its way out. payload may be a whole GSO packet's. */
static __always_inline void track_tx(struct shunt_flow *f,
				     const struct tcphdr *t, __u32 payload,
				     __u64 now)
{
	__u32 tick = to_tick(now);
	__u32 next = bpf_ntohl(t->seq) + payload + t->fin;

	f->seen_ns = now;
	if (payload || t->fin) {
		if (after(next, f->tx_next)) {
			f->tx_next = next;
			/* Data after an end (a forged RST): it lives. */
			if (payload && f->life == SHUNT_ENDED)
				f->life = SHUNT_LIVE;
		} else {
			track_retransmission(f, tick);
		}
	}
	if (t->fin && !(f->flags & SHUNT_F_FIN_TX)) {
		f->flags |= SHUNT_F_FIN_TX;
		ended(f);
	}
	if (t->rst)
		f->life = SHUNT_ENDED;
}

/* A segment that has come in, on the transport or not. */
static __always_inline void track_rx(struct shunt_flow *f,
				     const struct tcphdr *t, __u32 payload,
				     __u64 now)
{
	__u32 tick = to_tick(now);
	__u32 ack = bpf_ntohl(t->ack_seq);

	f->seen_ns = now;
	if (after(ack, f->rx_ack)) {
		f->rx_ack = ack;
		f->heard_tick = tick;
		if (f->tx == SHUNT_TX_ENCAP &&
		    tick - f->refresh_tick > MS_TICKS(REFRESH_MS)) {
			struct shunt_peer *p =
				peer_get(&f->key.remote, f->transport, now);

			f->refresh_tick = tick;
			if (p)
				p->verified_ns = now;
		}
	} else if (!payload) {
		f->heard_tick = tick; /* something of ours has arrived */
	}
	if (t->fin && !(f->flags & SHUNT_F_FIN_RX)) {
		f->flags |= SHUNT_F_FIN_RX;
		ended(f);
	}
	if (t->rst)
		f->life = SHUNT_ENDED;
}

#endif
