// SPDX-License-Identifier: GPL-2.0-only
/* What is due for a peer's streams, said to its proxy. */
#include "messages.h"

#include <string.h>

void *message_begin(struct channel *c, struct stream *st,
		    enum message_type type, uint32_t length)
{
	struct head *h = (struct head *)control_room(c, length);

	if (h)
		*h = (struct head){
			.length = htons(length),
			.type = type,
			.to = htonl(st ? st->remote : 0),
			.from = htonl(st ? st->number : 0),
		};
	return h;
}

void messages_hello(struct proxy *px, struct channel *c)
{
	struct hello *m = message_begin(c, NULL, HELLO, sizeof(*m));

	if (!m)
		return;
	m->magic = htonl(MAGIC);
	m->version = htons(VERSION);
	m->instance = px->instance;
	m->reserved = 0;
}

static bool put_enrol(struct channel *c, struct stream *st)
{
	struct enrol *m = message_begin(c, st, ENROL, sizeof(*m));

	if (!m)
		return false;
	m->h.flags = st->remote ? 0 : ENROL_REPLY;
	m->sport = st->shm->key.lport;
	m->dport = st->shm->key.rport;
	m->token = htonl(st->shm->token_remote);
	return true;
}

static bool put_base(struct channel *c, struct stream *st)
{
	struct base *m = message_begin(c, st, PROMOTED, sizeof(*m));

	if (m)
		m->base = htonl(st->shm->tx_base);
	return m;
}

static bool put_ack(struct channel *c, struct stream *st)
{
	struct ack *m = message_begin(c, st, ACK, sizeof(*m));

	if (!m)
		return false;
	m->h.flags = st->rx_arrived ? ACK_ARRIVED : 0;
	st->rx_arrived = false;
	st->acked_next = st->rx_have;
	st->acked_read = stream_read(st);
	m->received = htobe64(st->acked_next);
	m->read = htobe64(st->acked_read);
	return true;
}

static bool put_final(struct channel *c, struct stream *st)
{
	struct final *m = message_begin(c, st, FINAL, sizeof(*m));

	if (!m)
		return false;
	m->base = htonl(st->shm->tx_base);
	m->offset = htobe64(st->tx_final);
	return true;
}

static bool put_retreat(struct channel *c, struct stream *st)
{
	struct head *m = message_begin(c, st, RETREAT, sizeof(*m));

	if (m && st->shm->tx_held)
		m->flags |= RETREAT_CROWDED;
	return m;
}

static bool put_sent(struct channel *c, struct stream *st)
{
	struct at *m;

	/* Not behind the acknowledgement: a peer whose stream has ended would
	 * take it for one that waits, and have it reset. */
	if (st->tx_acked == st->tx_sent)
		return true;
	m = message_begin(c, st, SENT, sizeof(*m));
	if (m)
		m->offset = htobe64(st->tx_sent);
	return m;
}

/* Holes between what was asked for before and what had been sent when the wait
 * for them began. */
static bool put_gaps(struct proxy *px, struct channel *c, struct stream *st)
{
	struct range holes[GAPS_MAX];
	unsigned n = repair_holes(st, holes, GAPS_MAX), used = 0;
	uint64_t end = st->hole_end;
	struct gaps *m;

	if (n == GAPS_MAX && holes[n - 1].to < end)
		end = holes[n - 1].to; /* the rest next time */
	for (unsigned i = 0; i < n; i++) {
		struct range *h = &holes[i];

		if (h->from < st->rx_asked)
			h->from = st->rx_asked;
		if (h->to > end)
			h->to = end;
		if (h->from < h->to)
			holes[used++] = *h;
	}
	if (used) {
		m = message_begin(c, st, GAPS,
				  sizeof(*m) + used * sizeof(m->range[0]));
		if (!m)
			return false;
		for (unsigned i = 0; i < used; i++) {
			m->range[i].from = htobe64(holes[i].from);
			m->range[i].to = htobe64(holes[i].to);
		}
	}
	st->rx_asked = end;
	st->asked_ns = px->now_ns;
	st->hole_ns = 0;
	return true;
}

static bool put_repair(struct proxy *px, struct channel *c, struct stream *st)
{
	while (st->n_repair) {
		struct range *r = &st->repair[0];
		struct chunk *ch = st->tx;
		uint32_t n, done = 0;
		struct at *m;

		if (r->from < st->tx_acked)
			r->from = st->tx_acked;
		if (r->from >= r->to) {
			memmove(r, r + 1, --st->n_repair * sizeof(*r));
			continue;
		}
		n = r->to - r->from < REPAIR_MAX ? r->to - r->from : REPAIR_MAX;
		if (c->out[1].length + n > REPAIR_ROOM)
			return false;
		m = message_begin(c, st, REPAIR, sizeof(*m) + n);
		if (!m)
			return false;
		m->offset = htobe64(r->from);
		while (ch && ch->offset + ch->length <= r->from)
			ch = ch->next;
		while (done < n && ch && ch->slab) {
			uint32_t skip = r->from + done - ch->offset;
			uint32_t take = ch->length - skip;

			if (take > n - done)
				take = n - done;
			memcpy((char *)(m + 1) + done,
			       ch->slab->data + ch->at + skip, take);
			done += take;
			ch = ch->next;
		}
		if (done != n) { /* can't be: unacknowledged bytes are kept */
			stream_abort(px, st, SHUNT_RESET_WRONG,
				     "a repair has no bytes");
			memset((char *)(m + 1) + done, 0, n - done);
			m->offset = htobe64(UNKNOWN);
			return true;
		}
		px->shm->repaired += n;
		r->from += n;
	}
	return true;
}

/* One of the things that are due; false: no room for it. */
static bool put(struct proxy *px, struct channel *c, struct stream *st,
		unsigned what)
{
	switch (what) {
	case DUE_ABORT:
		return message_begin(c, st, ABORT, sizeof(struct head));
	case DUE_ENROL:
		return put_enrol(c, st);
	case DUE_READY:
		return message_begin(c, st, READY, sizeof(struct head));
	case DUE_PROMOTED:
		return put_base(c, st);
	case DUE_KNOWN:
		return message_begin(c, st, KNOWN, sizeof(struct head));
	case DUE_ACK:
		return put_ack(c, st);
	case DUE_FINAL:
		return put_final(c, st);
	case DUE_SENT:
		return put_sent(c, st);
	case DUE_GAPS:
		return put_gaps(px, c, st);
	case DUE_COMPLETE:
		return message_begin(c, st, COMPLETE, sizeof(struct head));
	case DUE_DEMOTE:
		return message_begin(c, st, DEMOTE, sizeof(struct head));
	case DUE_RETREAT:
		return put_retreat(c, st);
	case DUE_LEFT:
		return message_begin(c, st, LEFT, sizeof(struct head));
	case DUE_NEVER:
		return message_begin(c, st, NEVER, sizeof(struct head));
	case DUE_REPAIR:
		return put_repair(px, c, st);
	}
	return true;
}

/* What needs the peer's number of the stream */
#define NEEDS_REMOTE (~(unsigned)DUE_ENROL)

void messages_send(struct proxy *px, struct peer *p, bool tick)
{
	struct channel *c = p->channel;
	struct stream *list, *st, **tail;
	bool full = false, acks;

	if (!c || !c->greeted)
		return;
	/* Or if there is no timer any more: it has woken the loop for them. */
	acks = tick && (p->asked || px->timer_ns == UINT64_MAX ||
			px->now_ns - p->acked_ns >= LAZY_NS);
	if (acks) {
		p->asked = false;
		p->acked_ns = px->now_ns;
	}
	list = p->due;
	p->due = NULL;
	p->due_tail = &p->due;
	while ((st = list)) {
		list = st->next_due;
		st->is_due = false;
		for (unsigned what = 1; what <= DUE_REPAIR && !full;
		     what <<= 1) {
			if (!(st->due & what) || (what == DUE_ACK && !acks) ||
			    (what & NEEDS_REMOTE && !st->remote))
				continue;
			full = !put(px, c, st, what);
			if (!full)
				st->due &= ~what;
		}
		if (st->due && st->remote)
			stream_due(px, st, 0);
		if (full)
			break;
	}
	/* Those that found no room come first next time. */
	if (list) {
		for (tail = &list; *tail; tail = &(*tail)->next_due)
			;
		*tail = p->due;
		if (!p->due)
			p->due_tail = tail;
		p->due = list;
	}
	control_flush(px, c);
}
