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
/* So often a socket leaves because a send has to wait; and then it waits for
 * longer and longer before it comes in again. A bulk sender is not delayed for
 * good. */
#define CROWDS_MAX	    5
#define CROWDS_WAIT(crowds) ((TICK_NS / 2) << 2 * ((crowds)-1))
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
 * and nothing waits. The side that connected begins, until a send has to wait
 * there; the other one's direction may be promoted at that very moment. Between
 * them is the time in which an enrolled socket still sends by TCP, which is to
 * be short (msg_enrol.bpf.c).
 */
static void try_enrol(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	if (!st->remote || s->enrolled || s->excluded || st->closing ||
	    st->doomed || px->now_ns < st->enrol_ns || !st->peer->channel ||
	    !(st->first || st->peer_ready))
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

bool enrol_waits(const struct stream *st)
{
	const struct shunt_stream *s = st->shm;

	return st->remote && !s->enrolled && !s->excluded && !st->closing &&
	       (st->first || st->peer_ready);
}

void enrol_ready(struct proxy *px, struct stream *st)
{
	st->peer_ready = true;
	if (!st->shm->tx_held)
		st->retreating = false;
	stream_try_promote(st);
	stream_active(px, st);
	/* Not at the next tick: the peer's is alone so long. */
	try_enrol(px, st);
}

static void leave(struct proxy *px, struct stream *st)
{
	kernel_release(px, st->number);
	st->shm->enrolled = 0;
}

/* What has left with a send that had to wait may come in again. */
static void back_to_tcp(struct stream *st)
{
	uint32_t off = SHUNT_STX_OFF;

	if (st->shm->tx_held && !stream_promoted(st) && !st->closing)
		__atomic_compare_exchange_n(&st->shm->tx, &off, SHUNT_STX_TCP,
					    false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
}

/* Neither direction has been promoted, nor will be before both are READY again.
 */
static void withdraw(struct proxy *px, struct stream *st)
{
	st->retreating = false;
	st->crowded_ns = 0;
	st->peer_ready = false;
	leave(px, st);
	__atomic_store_n(&st->shm->rx, SHUNT_SRX_TCP, __ATOMIC_SEQ_CST);
	back_to_tcp(st);
	enrol_release(px, st);
	stream_active(px, st);
}

/* The side that sends less begins next time, and after some time: of the two,
 * ours has to wait for. */
static void begin_next(struct proxy *px, struct stream *st)
{
	st->first = true;
	if (++st->crowds > CROWDS_MAX)
		st->crowds = CROWDS_MAX;
	st->enrol_wait_ns = CROWDS_WAIT(st->crowds);
	try_later(px, st);
}

void enrol_retreat(struct proxy *px, struct stream *st, bool crowded)
{
	struct shunt_stream *s = st->shm;
	uint32_t tx = SHUNT_STX_READY;

	if (crowded)
		begin_next(px, st);
	if (!s->enrolled) {
		st->peer_ready = false;
		stream_due(px, st, DUE_LEFT);
		return;
	}
	if (!crowded)
		return; /* it will hear so */
	__atomic_compare_exchange_n(&s->tx, &tx, SHUNT_STX_TCP, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (tx == SHUNT_STX_ON || stream_promoted(st) || st->closing ||
	    s->shut || s->rx >= SHUNT_SRX_BASED) {
		/* Too late for both to begin anew: it stays on TCP. */
		stream_never(px, st);
		stream_demote(px, st);
		return;
	}
	withdraw(px, st);
	stream_due(px, st, DUE_LEFT);
}

void enrol_left(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	/* Whoever has shut down may be blocked in a read, see late.h. */
	if (!st->retreating || (st->peer_ready && !s->tx_held) || st->closing ||
	    s->shut || s->rx >= SHUNT_SRX_BASED)
		return;
	try_later(px, st);
	if (s->tx_held) { /* the peer begins, see begin_next() */
		st->first = false;
		st->enrol_wait_ns = st->enrol_ns = 0;
	}
	withdraw(px, st);
}

void enrol_crowded(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	if (!s->enrolled) { /* it has just left */
		back_to_tcp(st);
		enrol_release(px, st);
		return;
	}
	if (!st->crowded_ns)
		st->crowds++;
	st->crowded_ns = px->now_ns;
	if (st->crowds > CROWDS_MAX || s->rx >= SHUNT_SRX_BASED) {
		s->excluded = 1;
		stream_due(px, st, DUE_NEVER | DUE_DEMOTE);
	} else {
		st->retreating = true;
		stream_due(px, st, DUE_RETREAT);
	}
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
	    !(st->crowded_ns && px->now_ns - st->crowded_ns > CROWDED_NS))
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
