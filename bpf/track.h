/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the headers of a flow's segments say about its health: sent anew or
 * again, acknowledged or not, ended or not. Called once per packet and flow at
 * each hook, with the TCP header in hand.
 */
#ifndef TRACK_H
#define TRACK_H

#include "flow.h"

/*
 * A flow on the transport is in doubt, and goes back to probing, at so many
 * retransmissions, each so much after the other, without a sign of progress in
 * between: ours (usually a tail loss probe, RFC 8985, and the first timeout),
 * or the peer's of what has arrived here long ago (our acknowledgements are
 * lost).
 */
#define STALLS_MAX   2
#define STALL_GAP_MS 5

/* The peer was on the transport, has been silent there for so long, and now
 * speaks plain TCP: more than reordering explains. It is in doubt about its
 * direction, and would not hear our acknowledgements if the path is cut. */
#define PLAIN_MS 50

/* Data further ahead of what we have acknowledged is forged, or of no use. */
#define JUMP_MAX (1U << 30)

/* A reset stands at what we have acknowledged, or behind what is on its way to
 * us (RFC 5961 3.2): what is further away is forged, and TCP ignores it. */
#define RST_BEFORE (1U << 16)
#define RST_WITHIN (1U << 24)

/* Renew the peer's proof at most this often per flow. */
#define REFRESH_MS 1000

static __always_inline void ended(struct shunt_flow *f)
{
	if ((f->flags & (SHUNT_F_FIN_TX | SHUNT_F_FIN_RX)) ==
	    (SHUNT_F_FIN_TX | SHUNT_F_FIN_RX))
		f->life = SHUNT_ENDED;
}

/*
 * New flows to the peer have to prove the path again, too. len: what did not
 * get through, 0 if that is not known. From then on probes are as large: a path
 * may drop large datagrams in silence and let small ones through. A global
 * function, like flow_create(); track_rx() as one would cost a decap 10 ns.
 */
__weak __noinline int doubt(struct shunt_flow *f, __u8 reason, __u32 len,
			    __u64 now)
{
	struct shunt_peer *p;

	if (!f || f->tx != SHUNT_TX_ENCAP)
		return 0;
	shunt_count(shunt_scratch(), SHUNT_CNT_SUSPECT);
	tx_probe(f, reason);
	p = peer_get(&f->key.remote, f->transport, now);
	if (!p)
		return 0;
	p->verified_ns = 0;
	if (len > p->size)
		p->size = len;
	return 0;
}

static __always_inline void retransmission(struct shunt_flow *f, __u32 len,
					   __u64 now)
{
	__u32 tick = to_tick(now);

	/* An answer may come within the tick, so "not before". */
	if (!after(f->stall_tick, f->heard_tick))
		f->stalls = 0;
	else if (f->stalls && tick - f->stall_tick < MS_TICKS(STALL_GAP_MS))
		return; /* one burst of retransmissions is one sign */
	f->stalls++;
	f->stall_tick = tick;
	if (f->stalls >= STALLS_MAX)
		doubt(f, SHUNT_REASON_STALLED, len, now);
}

/* A segment on its way out. payload may be a whole GSO packet's; len is that of
 * one packet on the wire, its IP header included. A late one (late.h) is sent
 * again as long as the peer holds it, which is no bad sign. */
static __always_inline void track_tx(struct shunt_flow *f,
				     const struct tcphdr *t, __u32 payload,
				     __u32 len, bool late, __u64 now)
{
	__u32 seq = bpf_ntohl(t->seq), next = seq + payload + t->fin;
	__u32 ack = bpf_ntohl(t->ack_seq);

	f->seen_tick = to_tick(now);
	if (t->ack && after(ack, f->tx_ack))
		f->tx_ack = ack;
	if (after(next, f->tx_next)) {
		f->tx_next = next;
		/* Data after an end (a forged RST): it lives. */
		if (payload && f->life == SHUNT_ENDED)
			f->life = SHUNT_LIVE;
	} else if (seq != f->tx_next && !t->rst && !late) {
		/* Data or a FIN again, or a probe of a closed window or an idle
		 * connection, which repeats a number without its byte. A plain
		 * acknowledgement stands at tx_next. */
		retransmission(f, len, now);
	}
	if (t->fin && !(f->flags & SHUNT_F_FIN_TX)) {
		f->flags |= SHUNT_F_FIN_TX;
		ended(f);
	}
	if (t->rst)
		f->life = SHUNT_ENDED;
}

static __always_inline void renew_proof(struct shunt_flow *f, __u32 tick,
					__u64 now)
{
	struct shunt_peer *p;

	if (f->tx != SHUNT_TX_ENCAP ||
	    tick - f->probe_tick <= MS_TICKS(REFRESH_MS))
		return;
	f->probe_tick = tick;
	p = peer_get(&f->key.remote, f->transport, now);
	if (p)
		p->verified_ns = now;
}

/* Linux does not push when there is nothing to push: see sync.bpf.c. */
static __always_inline bool is_sync(const struct tcphdr *t, __u32 payload)
{
	return !payload && t->psh && !t->fin && !t->rst;
}

/* A segment that has come in, on the transport or plain. */
static __always_inline void track_rx(struct shunt_flow *f,
				     const struct tcphdr *t, __u32 payload,
				     const bool plain, __u64 now)
{
	__u32 tick = to_tick(now);
	__u32 ack = bpf_ntohl(t->ack_seq);
	__u32 next = bpf_ntohl(t->seq) + payload;

	f->seen_tick = tick;
	if (plain && after(next, f->rx_plain) && next - f->rx_plain < JUMP_MAX)
		f->rx_plain = next;
	if (plain && is_sync(t, payload))
		return;
	if (!plain)
		f->rx_tick = tick ?: 1;
	else if (f->rx_tick && tick - f->rx_tick > MS_TICKS(PLAIN_MS))
		doubt(f, SHUNT_REASON_PEER_PLAIN, 0, now);

	if (after(ack, f->rx_ack) && !after(ack, f->tx_next)) {
		f->rx_ack = ack;
		f->heard_tick = tick;
		renew_proof(f, tick, now);
	} else if (!payload) {
		f->heard_tick = tick; /* something of ours has arrived */
	}
	if (payload) {
		/* What fills a hole is no sign of anything: only what we have
		 * acknowledged, and comes again. */
		if (!after(next, f->tx_ack))
			retransmission(f, 0, now);
		else if (next - f->tx_ack < JUMP_MAX)
			f->heard_tick = tick;
	}
	if (t->fin && !(f->flags & SHUNT_F_FIN_RX)) {
		f->flags |= SHUNT_F_FIN_RX;
		ended(f);
	}
	if (t->rst && bpf_ntohl(t->seq) - f->tx_ack + RST_BEFORE < RST_WITHIN)
		f->life = SHUNT_ENDED;
}

#endif
