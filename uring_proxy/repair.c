// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the network loses. The receiver asks for each hole once, when it is
 * older than reordering explains; the bytes then travel over the control
 * channel, so they can't be lost again. Losses at the end leave no hole: the
 * sender says how far it has sent when acknowledgements stop.
 */
#include "proxy.h"

/* A path that loses all that is sent: to TCP, after so many windows that had to
 * be repaired and of which the peer has seen no datagram. (How often SENT was
 * said does not count: the control channel may stand still for a while, too.
 * Nor does what was repaired: with a peer that gets little CPU time, datagrams
 * wait in its socket for longer than we for it.) */
#define SENT_MAX 5
#define WAIT_MIN (4 * NSEC_PER_MS)
#define WAIT_MAX (200 * NSEC_PER_MS)

unsigned repair_holes(const struct stream *st, struct range *ranges, unsigned n)
{
	uint64_t at = st->rx_next;
	unsigned found = 0;

	for (const struct chunk *c = st->rx; c && found < n; c = c->next) {
		if (c->offset > at)
			ranges[found++] = (struct range){at, c->offset};
		at = c->offset + c->length;
	}
	if (found < n && at < st->rx_sent)
		ranges[found++] = (struct range){at, st->rx_sent};
	return found;
}

static uint64_t clamp_wait(uint64_t wait)
{
	return wait < WAIT_MIN ? WAIT_MIN : wait > WAIT_MAX ? WAIT_MAX : wait;
}

static void receiver(struct proxy *px, struct stream *st)
{
	if (st->rx_asked < st->rx_next)
		st->rx_asked = st->rx_next;
	if (st->rx_asked >= st->rx_sent) {
		st->hole_ns = 0;
		return;
	}
	if (!st->hole_ns) {
		st->hole_ns = px->now_ns;
		st->hole_end = st->rx_sent;
	} else if (px->now_ns - st->hole_ns >=
		   clamp_wait(control_rtt_ns(st->peer) / 4)) {
		stream_due(px, st, DUE_GAPS);
	}
}

static void sender(struct proxy *px, struct stream *st)
{
	uint64_t wait;

	if (st->tx_acked == st->tx_sent || !st->peer->channel)
		return;
	wait = 2 * (st->peer->srtt_ns ?: control_rtt_ns(st->peer)) +
	       4 * TICK_NS + LAZY_NS;
	if (px->now_ns - st->tx_progress_ns < wait << st->tx_asked)
		return;
	st->tx_progress_ns = px->now_ns;
	stream_due(px, st, DUE_SENT);
	if (!st->tx_asked && ++st->tx_blind >= SENT_MAX)
		/* SK_MSG leaves the rest to TCP */
		st->shm->excluded = SHUNT_DEMOTED_LOST;
	if (st->tx_asked < SENT_MAX)
		st->tx_asked++;
}

void repair_tick(struct proxy *px, struct stream *st)
{
	receiver(px, st);
	sender(px, st);
}

/* The peer lacks [from, to). */
void repair_ask(struct proxy *px, struct stream *st, uint64_t from, uint64_t to)
{
	struct range *last = &st->repair[st->n_repair];

	if (to > st->tx_sent || from >= to || from < st->tx_acked) {
		if (from >= to || to > st->tx_sent || to <= st->tx_acked)
			return;
		from = st->tx_acked;
	}
	peer_lost(px, st->peer);
	if (st->n_repair == RANGES) {
		/* What is in between goes again as well. */
		last[-1].from = from < last[-1].from ? from : last[-1].from;
		last[-1].to = to > last[-1].to ? to : last[-1].to;
	} else {
		*last = (struct range){from, to};
		st->n_repair++;
	}
	stream_due(px, st, DUE_REPAIR);
}

/* The peer has sent all before offset. */
void repair_sent(struct proxy *px, struct stream *st, uint64_t offset)
{
	if (offset > st->rx_final || offset > st->rx_next + AHEAD_MAX) {
		px->shm->refused++;
		return;
	}
	if (offset > st->rx_sent)
		st->rx_sent = offset;
	/* What was asked for a second ago and has not come will not. */
	if (px->now_ns - st->asked_ns > SHUNT_NSEC)
		st->rx_asked = st->rx_next;
	st->peer->asked = true;
	stream_due(px, st, DUE_ACK);
	stream_active(px, st);
}
