// SPDX-License-Identifier: GPL-2.0-only
/*
 * Into the sockmap and out of it: when, and what the two ends say to each other
 * about it (READY, RETREAT, LEFT).
 */
#include "proxy.h"

/* A socket that is busy is asked again, later and later. */
#define ENROL_WAIT_MAX (1000 * NSEC_PER_MS)
/* How long an enrolled one waits for its peer's, with the round trip. */
#define ENROL_ALONE_NS (20 * NSEC_PER_MS)
/* How long a send is kept for its socket to leave. That takes a round trip; if
 * the peer has gone meanwhile, only TCP can find out. */
#define CROWDED_NS (1000 * NSEC_PER_MS)

static void try_later(struct proxy *px, struct stream *st)
{
	st->enrol_wait_ns = 2 * st->enrol_wait_ns ?: TICK_NS;
	if (st->enrol_wait_ns > ENROL_WAIT_MAX)
		st->enrol_wait_ns = ENROL_WAIT_MAX;
	st->enrol_ns = px->now_ns + st->enrol_wait_ns;
}

/*
 * Into the sockmap, when both proxies know the connection, datagrams arrive,
 * and nothing waits. The side that connected begins; the other one's direction
 * may be promoted at that very moment. Between them is the time in which an
 * enrolled socket still sends by TCP, which is to be short (msg_enrol.bpf.c).
 */
static void try_enrol(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	if (!st->remote || s->enrolled || s->excluded || st->closing ||
	    st->doomed || px->now_ns < st->enrol_ns || !st->peer->channel ||
	    (s->role != SHUNT_ROLE_ACTIVE && !st->peer_ready))
		return;
	if (!kernel_on_transport(px, &s->key)) {
		try_later(px, st);
		return;
	}
	switch (kernel_enrol(px, st->number)) {
	case SHUNT_ENROL_DONE:
		s->enrolled = 1;
		st->enrolled_ns = px->now_ns;
		__atomic_store_n(&s->rx, SHUNT_SRX_ARMED, __ATOMIC_SEQ_CST);
		stream_due(px, st, DUE_READY);
		stream_try_promote(st);
		break;
	case SHUNT_ENROL_LATER:
		try_later(px, st);
		break;
	default:
		s->excluded = 1;
	}
}

static void leave(struct proxy *px, struct stream *st)
{
	kernel_release(px, st->number);
	st->shm->enrolled = 0;
}

void enrol_retreat(struct proxy *px, struct stream *st)
{
	if (st->shm->enrolled)
		return; /* it will hear so */
	st->peer_ready = false;
	stream_due(px, st, DUE_LEFT);
}

void enrol_left(struct proxy *px, struct stream *st)
{
	if (!st->retreating || st->peer_ready)
		return;
	st->retreating = false;
	leave(px, st);
	__atomic_store_n(&st->shm->rx, SHUNT_SRX_TCP, __ATOMIC_SEQ_CST);
	try_later(px, st);
	stream_active(px, st);
}

/*
 * Out of it, when it has been demoted and the peer's direction is on TCP, too:
 * a bulk sender is better off there, see msg_enrol.bpf.c. Or when the peer's
 * socket is too busy to come in.
 */
static void try_release(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	/* Whoever has shut down may be blocked in a read, see late.h. */
	if (!s->enrolled || st->closing || s->shut)
		return;
	if (!st->peer_ready && !st->retreating &&
	    px->now_ns - st->enrolled_ns >
		    ENROL_ALONE_NS + 2 * control_rtt_ns(st->peer)) {
		st->retreating = true;
		stream_due(px, st, DUE_RETREAT);
	}
	if (s->tx != SHUNT_STX_OFF || st->settling ||
	    (s->rx != SHUNT_SRX_TCP && s->rx != SHUNT_SRX_COMPLETE) ||
	    stream_read(st) < st->rx_next)
		return;
	s->excluded = 1;
	leave(px, st);
}

/* Is there something of the path that the application has to read first? It may
 * not get to that before its send has ended. */
static bool unread(const struct stream *st)
{
	return (st->shm->rx == SHUNT_SRX_BASED && !st->rx_turn) || st->rx ||
	       stream_read(st) < st->rx_next;
}

/*
 * The peer has all of the path, or there was none: what TCP has kept may go.
 * First out of the sockmap, if that can be: then whoever blocks in a send until
 * it goes finds TCP's own recvmsg() behind it. What is still to be read must be
 * read there.
 */
static void try_open(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	if (!(st->tx_complete || s->tx_held) || s->tx_open)
		return;
	if (s->enrolled && !st->closing && !unread(st) &&
	    !(s->tx_held && px->now_ns - st->crowded_ns > CROWDED_NS))
		return;
	s->tx_open = 1;
	inject_poke(px, st);
}

void enrol_release(struct proxy *px, struct stream *st)
{
	try_release(px, st);
	try_open(px, st);
}

void enrol_tick(struct proxy *px, struct stream *st)
{
	try_enrol(px, st);
	enrol_release(px, st);
}
