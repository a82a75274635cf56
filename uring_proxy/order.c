// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two threads that write to one socket at once can have their records queued in
 * another order than SK_MSG has numbered them in: tcp_bpf_send_verdict() lets
 * go of the socket in between. What comes early waits here for what is before
 * it. The charge of the stream bounds it.
 */
#include "proxy.h"

/*
 * Nothing holds up a thread between number and queue for so many ticks, 3 s:
 * the kernel had no memory for the record, and its writer has got an error. By
 * the clock it would be reset for a proxy that had no CPU meanwhile, or a host
 * that stood still.
 */
#define MISSING_TICKS (3000 * NSEC_PER_MS / TICK_NS)

/* Where among the early ones; NULL: it overlaps with what there is. */
static struct chunk **place(struct stream *st, uint64_t offset, uint32_t length)
{
	struct chunk **where = &st->early;
	uint64_t have = st->tx_end;

	while (*where && (*where)->offset < offset) {
		have = (*where)->offset + (*where)->length;
		where = &(*where)->next;
	}
	if (offset < have || (*where && offset + length > (*where)->offset))
		return NULL;
	return where;
}

static void hold(struct proxy *px, struct stream *st, struct slab *slab,
		 uint32_t at, uint32_t length, uint64_t offset, uint32_t charge,
		 bool room)
{
	struct chunk **where = place(st, offset, length), *c = NULL;

	if (where && offset + length <= st->shm->tx_bytes)
		c = chunk_new(px, slab, at, length, offset);
	if (!c) {
		bool fits = where && offset + length <= st->shm->tx_bytes;

		stream_abort(px, st,
			     fits ? SHUNT_RESET_MEMORY : SHUNT_RESET_WRONG,
			     "a message out of place, or no memory");
		st->tx_end += length;
		return;
	}
	c->charge = charge;
	c->room = room;
	c->next = *where;
	*where = c;
	stream_active(px, st);
}

void order_add(struct proxy *px, struct stream *st, struct slab *slab,
	       uint32_t at, uint32_t length, uint64_t offset, uint32_t charge,
	       bool room)
{
	struct chunk *c;

	if (offset != st->tx_end && !st->doomed) {
		hold(px, st, slab, at, length, offset, charge, room);
		return;
	}
	tx_add(px, st, slab, at, length, charge, room);
	while ((c = st->early) && c->offset == st->tx_end) {
		st->early = c->next;
		tx_add(px, st, c->slab, c->at, c->length, c->charge, c->room);
		chunk_free(px, c);
	}
}

void order_tick(struct proxy *px, struct stream *st)
{
	/* It may be behind all that others have queued. */
	bool queued = px->starved ? !st->early : px->backlog;

	if (st->tx_end == st->shm->tx_bytes || st->tx_end != st->missing_at ||
	    queued) {
		st->missing_at = st->tx_end;
		st->missing_ticks = 0;
	} else if (++st->missing_ticks > MISSING_TICKS) {
		stream_abort(px, st, SHUNT_RESET_MISSING,
			     "a message is missing");
		st->tx_end = st->shm->tx_bytes; /* it will not come */
	}
}

void order_drop(struct proxy *px, struct stream *st)
{
	struct chunk *c;

	while ((c = st->early)) {
		st->early = c->next;
		st->tx_end += c->length;
		chunk_free(px, c);
	}
}
