// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a stream. What BPF and the peer say sets it going; each step is
 * one of the stream_… functions, all of which may be called again at any time.
 */
#include "proxy.h"

#include "../ctl/grace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void stream_due(struct proxy *px, struct stream *st, unsigned what)
{
	struct peer *p = st->peer;

	st->due |= what;
	if (what & DUE_ACK)
		stream_moves(px, st);
	if (st->is_due)
		return;
	st->is_due = true;
	st->next_due = NULL;
	*p->due_tail = st;
	p->due_tail = &st->next_due;
}

static void not_due(struct stream *st)
{
	struct stream **at = &st->peer->due;

	if (!st->is_due)
		return;
	while (*at != st)
		at = &(*at)->next_due;
	*at = st->next_due;
	if (!*at)
		st->peer->due_tail = at;
	st->is_due = false;
}

static void put_active(struct proxy *px, struct stream *st)
{
	if (st->is_active)
		return;
	st->is_active = true;
	st->next_active = px->active;
	px->active = st;
}

void stream_active(struct proxy *px, struct stream *st)
{
	put_active(px, st);
	ring_tick_soon(px);
}

void stream_moves(struct proxy *px, struct stream *st)
{
	put_active(px, st);
	if (stream_hurries(st))
		ring_tick_soon(px);
	else
		ring_tick_lazily(px);
}

/* ---- promotion ---- */

void stream_completed(struct proxy *px, struct stream *st)
{
	if (st->tx_final == UNKNOWN || st->tx_complete)
		return;
	st->tx_complete = true;
	enrol_release(px, st);
	stream_active(px, st);
}

/* The peer's socket is enrolled, and so is ours. */
void stream_try_promote(struct stream *st)
{
	uint32_t tcp = SHUNT_STX_TCP;

	if (!st->peer_ready || !st->remote || st->closing || st->doomed ||
	    st->shm->tx != SHUNT_STX_TCP || st->shm->excluded ||
	    !st->shm->enrolled || !st->peer->channel)
		return;
	__atomic_compare_exchange_n(&st->shm->tx, &tcp, SHUNT_STX_READY, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool stream_promoted(const struct stream *st)
{
	return st->shm->tx_based; /* even if no byte went with it */
}

void stream_set_base(struct proxy *px, struct stream *st, uint32_t base)
{
	if (st->shm->rx < SHUNT_SRX_BASED) {
		st->shm->rx_base = base;
		__atomic_store_n(&st->shm->rx, SHUNT_SRX_BASED,
				 __ATOMIC_SEQ_CST);
	} else if (st->shm->rx_base != base) {
		stream_abort(px, st, SHUNT_RESET_WRONG,
			     "the peer promoted it twice");
		return;
	}
	stream_due(px, st, DUE_KNOWN);
	stream_active(px, st);
}

uint64_t stream_read(const struct stream *st)
{
	uint64_t read = __atomic_load_n(&st->shm->rx_read, __ATOMIC_RELAXED);

	if (read < st->rx_seen)
		read = st->rx_seen;
	return read < st->rx_next ? read : st->rx_next;
}

/* How often it is asked how much waits in the sockets, and which bytes of it
 * have been read without being counted. */
#define LOOK_NS (50 * NSEC_PER_MS)

static bool has_unread(const struct stream *st)
{
	return st->rx_turn && stream_read(st) < st->rx_next;
}

static void look_for_unread(struct proxy *px)
{
	uint64_t queued;

	if (!px->unread || px->now_ns - px->looked_ns < LOOK_NS)
		return;
	px->unread = false;
	px->looked_ns = px->now_ns;
	kernel_look_queued(px);
	for (struct stream *st = px->active; st; st = st->next_active)
		if (has_unread(st) && kernel_queued(px, st->shm, &queued) &&
		    queued <= st->rx_next && st->rx_next - queued > st->rx_seen)
			st->rx_seen = st->rx_next - queued;
}

/* Has the application read what TCP brought before the promotion? Sockmap would
 * give it ours first. */
void stream_turn(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;

	if (st->rx_turn || s->rx != SHUNT_SRX_BASED ||
	    __atomic_load_n(&s->rx_copied, __ATOMIC_RELAXED) != s->rx_base)
		return;
	st->rx_turn = true;
	rx_deliver(px, st);
}

/* ---- the end of a direction ---- */

void stream_set_final(struct proxy *px, struct stream *st, uint64_t final)
{
	if (st->rx_final != UNKNOWN && st->rx_final != final) {
		stream_abort(px, st, SHUNT_RESET_WRONG,
			     "the peer ended it twice");
		return;
	}
	if (final < st->rx_sent || final > st->rx_next + AHEAD_MAX) {
		stream_abort(px, st, SHUNT_RESET_WRONG,
			     "the peer cannot have sent so much");
		return;
	}
	/* Not rx_sent: some of it may still wait for the peer's window, and
	 * what is asked for now is lost to us if it gets lost later. */
	st->rx_final = final;
	stream_active(px, st);
	stream_complete(px, st);
}

/* All of the path is in the application's socket: TCP may go on behind it. */
void stream_complete(struct proxy *px, struct stream *st)
{
	if (st->doomed || !st->rx_turn || st->rx_next != st->rx_final ||
	    st->shm->rx != SHUNT_SRX_BASED)
		return;
	__atomic_store_n(&st->shm->rx, SHUNT_SRX_COMPLETE, __ATOMIC_SEQ_CST);
	stream_due(px, st, DUE_COMPLETE | DUE_ACK);
	st->peer->asked = true;
	stream_active(px, st);
	inject_held(px, st);
}

static void demoted(struct proxy *px, struct stream *st)
{
	/* The fields of the shared stream are final by now. */
	if (!stream_promoted(st) || st->tx_final != UNKNOWN)
		return;
	st->tx_final = st->shm->tx_bytes;
	st->poked_ns = px->now_ns;
	stream_due(px, st, DUE_FINAL | (st->closing ? 0 : DUE_DEMOTE));
	if (st->tx_sent == st->tx_final && st->tx_acked < st->tx_final)
		stream_due(px, st, DUE_SENT);
	stream_active(px, st);
}

/* Not at the end of a direction: it leaves the path before that, for `why`. */
static void left(struct proxy *px, struct stream *st, unsigned why)
{
	if (why && why < SHUNT_DEMOTIONS && stream_promoted(st) &&
	    st->tx_final == UNKNOWN) {
		px->shm->demoted++;
		px->shm->demotions[why]++;
	}
	demoted(px, st);
}

/* The peer wants our direction on TCP. */
void stream_demote(struct proxy *px, struct stream *st)
{
	uint32_t tx;

	st->shm->excluded = SHUNT_DEMOTED_PEER;
	tx = __atomic_exchange_n(&st->shm->tx, SHUNT_STX_OFF, __ATOMIC_SEQ_CST);
	if (tx == SHUNT_STX_TCP || tx == SHUNT_STX_READY) {
		stream_due(px, st, DUE_NEVER);
	} else if (tx == SHUNT_STX_OFF && !stream_promoted(st) &&
		   !st->settling) {
		stream_due(px, st, DUE_NEVER); /* it has shut down, perhaps */
	} else if (tx == SHUNT_STX_ON) {
		/* One message may be in SK_MSG just now. */
		st->settling = px->settling = true;
		stream_active(px, st);
	}
}

/* Those that were demoted from here: an RCU grace period, once for all. */
static void settle(struct proxy *px)
{
	int err;

	if (!px->settling)
		return;
	px->settling = false;
	err = grace_wait();
	for (uint32_t i = 1; i < px->n_streams; i++) {
		struct stream *st = px->streams[i];

		if (!st || !st->settling)
			continue;
		st->settling = false;
		if (err) { /* where it ends can't be known */
			stream_abort(px, st, SHUNT_RESET_MEMORY,
				     strerror(-err));
			continue;
		}
		left(px, st, SHUNT_DEMOTED_PEER);
	}
}

/* The peer's direction stays on TCP for good. */
void stream_never(struct proxy *px, struct stream *st)
{
	if (st->shm->rx > SHUNT_SRX_ARMED)
		return;
	__atomic_store_n(&st->shm->rx, SHUNT_SRX_COMPLETE, __ATOMIC_SEQ_CST);
	stream_active(px, st);
}

/* ---- events ---- */

static void held(struct proxy *px, struct stream *st,
		 const struct shunt_event *e, size_t size)
{
	if (size < sizeof(*e) + e->length || e->length > SHUNT_HELD_MAX)
		return;
	px->shm->held++;
	if (!st->held)
		st->held = malloc(HELD_ALIGN + SHUNT_HELD_MAX);
	if (!st->held)
		return; /* TCP sends it again */
	memcpy(st->held + HELD_ALIGN, e->frame, e->length);
	st->held_length = e->length;
	st->held_ifindex = e->ifindex;
	/* What its option says is not believed: anybody can send a FIN. FINAL
	 * comes over the control channel, and as soon. */
	if (st->shm->rx == SHUNT_SRX_COMPLETE)
		inject_held(px, st);
	else
		stream_active(px, st);
}

void stream_event(struct proxy *px, const struct shunt_event *e, size_t size)
{
	struct stream *st = stream_get(px, e->stream);

	if (!st && e->type == SHUNT_EV_CLOSED)
		stream_unmet(px, e->stream);
	if (!st)
		return;
	switch (e->type) {
	case SHUNT_EV_PROMOTED:
		px->shm->promoted++;
		stream_due(px, st, DUE_PROMOTED);
		break;
	case SHUNT_EV_DEMOTED:
		left(px, st, st->shm->tx_why);
		break;
	case SHUNT_EV_CROWDED:
		enrol_crowded(px, st);
		break;
	case SHUNT_EV_CLOSING:
		st->closing = true;
		demoted(px, st);
		enrol_release(px, st);
		break;
	case SHUNT_EV_CLOSED:
		if (st->shm->life != SHUNT_STREAM_CLOSED)
			break; /* its number's last one, seen by rescan() */
		st->closed = st->closing = true;
		demoted(px, st);
		stream_maybe_free(px, st);
		break;
	case SHUNT_EV_REFUSED:
		/* The socket is gone; the peer is to know. */
		stream_abort(px, st, SHUNT_RESET_CLOSED, "it takes no more");
		break;
	case SHUNT_EV_HELD:
		held(px, st, e, size);
		break;
	}
}

/* ---- time ---- */

/*
 * TCP tries every half second to send what it keeps for the peer to be
 * complete. It gives the connection up after tcp_retries2 tries (15) without
 * any acknowledgement (tcp_probe_timer(), all kernels to 7.3): 8 s, and a
 * reader may take longer.
 */
static void be_patient(struct proxy *px, struct stream *st)
{
	if (st->tx_final == UNKNOWN || st->shm->tx_open || st->closed ||
	    px->now_ns - st->poked_ns < SHUNT_NSEC)
		return;
	st->poked_ns = px->now_ns;
	inject_poke(px, st);
}

bool stream_hurries(const struct stream *st)
{
	return !st->doomed &&
	       ((enrol_waits(st) && st->enrol_wait_ns <= LAZY_NS) ||
		(st->shm->enrolled && !st->closing &&
		 (!st->peer_ready || st->shm->tx == SHUNT_STX_OFF)) ||
		((st->tx_final != UNKNOWN || st->shm->tx_held) &&
		 !st->shm->tx_open && !st->closed) ||
		st->rx || st->held_length || st->rx_next < st->rx_sent ||
		(st->shm->rx == SHUNT_SRX_BASED && !st->rx_turn) ||
		(st->peer_ready && st->shm->tx == SHUNT_STX_TCP) ||
		st->missing_ticks ||
		(st->asked && (st->due & DUE_ACK || has_unread(st))));
}

/* Is there something that only time or the application brings about? */
static bool unfinished(const struct stream *st)
{
	return !st->doomed && (stream_hurries(st) || enrol_waits(st) ||
			       st->tx_read < st->shm->tx_bytes ||
			       st->due & DUE_ACK || has_unread(st));
}

static void tick(struct proxy *px, struct stream *st)
{
	if (st->doomed)
		return;
	enrol_tick(px, st);
	be_patient(px, st);
	stream_try_promote(st);
	if (st->shm->rx == SHUNT_SRX_BASED && !st->rx_turn)
		kernel_look(px, st->number);
	stream_turn(px, st);
	if (st->rx && st->rx_turn)
		rx_deliver(px, st);
	if (!st->doomed)
		stream_complete(px, st);
	if (!st->doomed)
		repair_tick(px, st);
	if (!st->doomed)
		order_tick(px, st);
	px->unread |= has_unread(st);
	st->peer->asked |= st->asked;
	if (st->rx_have != st->acked_next || stream_read(st) != st->acked_read)
		stream_due(px, st, DUE_ACK);
}

/* Events were lost: what they would have said can be seen. */
static void rescan(struct proxy *px)
{
	px->events_lost = px->shm->events_lost;
	for (uint32_t i = 1; i < px->n_streams; i++) {
		struct shunt_event e = {.stream = i};
		struct shunt_stream *s = &px->shm_streams[i];

		if (!stream_get(px, i)) {
			stream_unmet(px, i);
			continue;
		}
		if (s->tx_based)
			stream_due(px, px->streams[i], DUE_PROMOTED);
		else if (s->tx_held && !s->tx_open)
			enrol_crowded(px, px->streams[i]);
		e.type = s->life == SHUNT_STREAM_CLOSED ? SHUNT_EV_CLOSED
							: SHUNT_EV_DEMOTED;
		if (s->life == SHUNT_STREAM_CLOSED || s->tx == SHUNT_STX_OFF)
			stream_event(px, &e, sizeof(e));
	}
}

void streams_tick(struct proxy *px)
{
	struct stream *list, *st;

	settle(px);
	if (px->shm->events_lost != px->events_lost)
		rescan(px);
	look_for_unread(px);
	list = px->active;
	px->active = NULL;
	while ((st = list)) {
		list = st->next_active;
		st->is_active = false;
		tick(px, st);
		if (st->closed)
			stream_maybe_free(px, st);
		else if (unfinished(st))
			stream_moves(px, st);
	}
}

void stream_maybe_free(struct proxy *px, struct stream *st)
{
	struct shunt_stream *s = st->shm;
	bool lingers = !st->doomed && st->tx_acked < s->tx_bytes &&
		       (st->peer->channel || st->remote);

	/* What SK_MSG has redirected has to come out of the redirection socket
	 * first, and what is acknowledged must be so. */
	if (!st->closed || st->is_active || st->settling)
		return;
	if (st->tx_end < s->tx_bytes || lingers || st->is_ready ||
	    (st->is_due && st->remote && st->peer->channel)) {
		stream_active(px, st);
		return;
	}
	not_due(st);
	tx_drop(px, st);
	rx_drop(px, st);
	release(px, s->tx_charged - s->tx_released);
	stream_forget(px, st);
}

/* ---- a new channel ---- */

void streams_resync(struct proxy *px, struct peer *p)
{
	for (uint32_t i = 1; i < px->n_streams; i++) {
		struct stream *st = px->streams[i];
		unsigned due = DUE_ENROL;

		if (!st || st->peer != p || st->doomed)
			continue;
		if (st->remote) {
			due |= DUE_ACK;
			p->asked = true;
			if (st->shm->rx >= SHUNT_SRX_ARMED)
				due |= DUE_READY;
			if (st->retreating)
				due |= DUE_RETREAT;
			if (stream_promoted(st))
				due |= DUE_PROMOTED | DUE_SENT;
			if (st->shm->rx >= SHUNT_SRX_BASED)
				due |= DUE_KNOWN;
			if (st->tx_final != UNKNOWN)
				due |= DUE_FINAL;
			if (st->shm->rx == SHUNT_SRX_COMPLETE)
				due |= DUE_COMPLETE;
		}
		st->n_repair = 0;
		st->rx_asked = st->rx_next;
		stream_due(px, st, due);
	}
}
