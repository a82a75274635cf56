// SPDX-License-Identifier: GPL-2.0-only
/* What a peer's proxy says: believed as far as it can be right. */
#include "messages.h"

#include <errno.h>
#include <string.h>

static int on_hello(struct proxy *px, struct channel *c, const struct hello *m)
{
	struct peer *p = c->peer;

	if (c->greeted || ntohl(m->magic) != MAGIC ||
	    ntohs(m->version) != VERSION || !m->instance)
		return -EPROTO;
	c->greeted = true;
	if (p->instance && p->instance != m->instance)
		streams_abort_peer(px, p, SHUNT_RESET_PROXY,
				   "the peer's proxy has restarted");
	p->instance = m->instance;
	p->refusals = 0;
	if (!p->channel) {
		p->channel = c;
		streams_resync(px, p);
	}
	return 0;
}

static void on_enrol(struct proxy *px, struct channel *c, const struct enrol *m)
{
	struct shunt_key key = {
		.local = c->peer->local,
		.remote = c->peer->remote,
		.lport = m->dport,
		.rport = m->sport,
	};
	struct stream *st = stream_by_key(px, &key);
	uint32_t from = ntohl(m->h.from);

	if (!st || st->peer != c->peer || !from || st->doomed ||
	    ntohl(m->token) != st->shm->token_local) {
		px->shm->refused++;
		return;
	}
	if (st->remote && st->remote != from)
		return;
	st->remote = from;
	stream_due(px, st, m->h.flags & ENROL_REPLY ? DUE_ENROL : 0);
	stream_active(px, st); /* to be enrolled */
}

/* From the network into the stream, copied: the buffer is the channel's. */
static void on_repair(struct proxy *px, struct stream *st, const struct at *m,
		      uint32_t length)
{
	uint64_t offset = be64toh(m->offset);

	if (offset > st->rx_sent || length > st->rx_sent - offset ||
	    st->shm->rx < SHUNT_SRX_BASED) {
		px->shm->refused++;
		return;
	}
	if (rx_copy(px, st, m + 1, length, offset))
		st->rx_asked = st->rx_next; /* no memory: ask again */
	rx_deliver(px, st);
}

/*
 * Where it has come to its end, that matters to what was not delivered there,
 * as with TCP, which answers such a segment with a reset. SENT may have crossed
 * the last acknowledgement; or another worker there knows of none.
 */
static void on_abort(struct proxy *px, struct stream *st, bool ended)
{
	if (ended && (st->tx_complete || st->tx_acked == st->tx_sent)) {
		tx_acked(px, st, st->tx_sent, st->tx_sent);
		return;
	}
	st->remote = 0; /* it knows */
	stream_abort(px, st, ended ? SHUNT_RESET_CLOSED : SHUNT_RESET_PEER,
		     "by the peer");
}

static int on_stream(struct proxy *px, struct channel *c, const struct head *h,
		     uint32_t length)
{
	struct stream *st = stream_get(px, ntohl(h->to));
	const struct ack *ack = (const void *)h;
	const struct at *at = (const void *)h;
	const struct base *base = (const void *)h;
	const struct final *final = (const void *)h;
	const struct gaps *gaps = (const void *)h;

	if (!st || st->peer != c->peer || st->remote != ntohl(h->from) ||
	    st->doomed) {
		/* It has ended here: what the peer wants acknowledged goes
		 * nowhere. */
		struct head *m = NULL;

		if (st && !st->doomed)
			px->shm->refused++; /* nor is it that peer's */
		if (h->type == SENT)
			m = message_begin(c, NULL, ABORT, sizeof(*m));
		if (m) {
			m->flags = st && st->doomed ? 0 : ABORT_ENDED;
			m->to = h->from;
			m->from = h->to;
		}
		return 0;
	}
	switch (h->type) {
	case ABORT:
		on_abort(px, st, h->flags & ABORT_ENDED);
		return 0;
	case READY:
		enrol_ready(px, st);
		return 0;
	case DEMOTE:
		stream_demote(px, st);
		return 0;
	case RETREAT:
		enrol_retreat(px, st, h->flags & RETREAT_CROWDED);
		return 0;
	case LEFT:
		enrol_left(px, st);
		return 0;
	case NEVER:
		stream_never(px, st);
		return 0;
	case KNOWN:
		st->shm->tx_known = 1;
		return 0;
	case COMPLETE:
		stream_completed(px, st);
		return 0;
	case PROMOTED:
		if (st->shm->rx < SHUNT_SRX_ARMED)
			return -EPROTO;
		stream_set_base(px, st, ntohl(base->base));
		return 0;
	case ACK:
		if (h->flags & ACK_ARRIVED)
			st->tx_blind = 0;
		tx_acked(px, st, be64toh(ack->received), be64toh(ack->read));
		return 0;
	case FINAL:
		if (st->shm->rx < SHUNT_SRX_ARMED)
			return -EPROTO;
		stream_set_base(px, st, ntohl(final->base));
		if (!st->doomed)
			stream_set_final(px, st, be64toh(final->offset));
		return 0;
	case SENT:
		if (st->shm->rx < SHUNT_SRX_ARMED)
			return -EPROTO;
		repair_sent(px, st, be64toh(at->offset));
		return 0;
	case GAPS:
		length -= sizeof(*gaps);
		for (unsigned i = 0; i < length / sizeof(gaps->range[0]); i++)
			repair_ask(px, st, be64toh(gaps->range[i].from),
				   be64toh(gaps->range[i].to));
		return 0;
	case REPAIR:
		on_repair(px, st, at, length - sizeof(*at));
		return 0;
	}
	return -EPROTO;
}

/* Is that the length of a message of its type? */
static bool fits(const struct head *h, uint32_t length)
{
	switch (h->type) {
	case HELLO:
		return length == sizeof(struct hello);
	case ENROL:
		return length == sizeof(struct enrol);
	case PROMOTED:
		return length == sizeof(struct base);
	case ACK:
		return length == sizeof(struct ack);
	case FINAL:
		return length == sizeof(struct final);
	case SENT:
		return length == sizeof(struct at);
	case GAPS:
		return length % sizeof(((struct gaps *)0)->range[0]) ==
		       sizeof(struct gaps) %
			       sizeof(((struct gaps *)0)->range[0]);
	case REPAIR:
		return length >= sizeof(struct at);
	default:
		return length == sizeof(*h);
	}
}

int messages_read(struct proxy *px, struct channel *c)
{
	uint32_t at = 0;

	while (c->in_length - at >= sizeof(struct head)) {
		/* Messages have any length: the copy is aligned. */
		static _Thread_local _Alignas(
			8) unsigned char copy[MESSAGE_MAX];
		struct head *h = (struct head *)copy;
		uint32_t length;
		int err = 0;

		memcpy(h, c->in + at, sizeof(*h));
		length = ntohs(h->length);
		if (length < sizeof(*h) || length > MESSAGE_MAX)
			return -EPROTO;
		if (c->in_length - at < length)
			break;
		if (!fits(h, length))
			return -EPROTO;
		memcpy(copy, c->in + at, length);
		at += length;
		if (h->type == HELLO)
			err = on_hello(px, c, (void *)h);
		else if (!c->greeted)
			err = -EPROTO;
		else if (h->type == ENROL)
			on_enrol(px, c, (void *)h);
		else
			err = on_stream(px, c, h, length);
		if (err)
			return err;
	}
	return at;
}
