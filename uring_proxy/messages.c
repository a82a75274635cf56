// SPDX-License-Identifier: GPL-2.0-only
/*
 * What two proxies say to each other; docs/message-path.md has the table. Each
 * message can be said again without harm, which is how a new channel takes over
 * from a lost one.
 */
#include "proxy.h"

#include <errno.h>
#include <string.h>

#define MAGIC	0x73687074 /* "shpt" */
#define VERSION 1

enum type {
	HELLO = 1, /* magic, version, instance */
	ABORT,	   /* the stream can't go on here: reset yours */
	ENROL,	   /* sport, dport, token: that connection is my number … */
	READY,	   /* you may promote your direction */
	PROMOTED,  /* base: I have */
	KNOWN,	   /* … I know that */
	ACK,	   /* received, read */
	FINAL,	   /* base, offset: nothing of mine comes behind */
	SENT,	   /* offset: I have sent so far */
	GAPS,	   /* (from, to)…: I lack these */
	COMPLETE,  /* I have all: TCP may go on */
	REPAIR,	   /* offset, bytes */
	DEMOTE,	   /* mine is on TCP: yours should be, so that I can leave */
	NEVER,	   /* my direction has not left TCP, and never will */
	RETREAT,   /* READY I was, but you are not: may I leave? */
	LEFT,	   /* … you may; I know that you are not READY */
};

/* In front of each message; network order. */
struct head {
	__be16 length; /* with this header */
	uint8_t type;
	uint8_t flags;
	__be32 to;   /* the receiver's number of the stream, 0: none */
	__be32 from; /* the sender's */
} __attribute__((packed));

#define ENROL_REPLY 0x01 /* I don't know your number */

struct hello {
	struct head h;
	__be32 magic;
	__be16 version;
	__be16 reserved;
	__be64 instance;
} __attribute__((packed));

struct enrol {
	struct head h;
	__be16 sport, dport; /* of the connection, as it leaves the sender */
	__be32 token;	     /* the receiver's: proof of the handshake */
} __attribute__((packed));

struct base {
	struct head h;
	__be32 base;
} __attribute__((packed));

struct ack {
	struct head h;
	__be64 received, read;
} __attribute__((packed));

struct final {
	struct head h;
	__be32 base;
	__be64 offset;
} __attribute__((packed));

struct at {
	struct head h;
	__be64 offset;
} __attribute__((packed));

struct gaps {
	struct head h;
	struct {
		__be64 from, to;
	} __attribute__((packed)) range[];
} __attribute__((packed));

#define GAPS_MAX    32
#define REPAIR_MAX  (16 << 10)
#define MESSAGE_MAX (sizeof(struct at) + REPAIR_MAX)
/* Repairs leave room for what must not wait. */
#define REPAIR_ROOM (CHANNEL_OUT / 2)

static void *message(struct channel *c, struct stream *st, enum type type,
		     uint32_t length)
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

/* ---- out ---- */

void messages_hello(struct proxy *px, struct channel *c)
{
	struct hello *m = message(c, NULL, HELLO, sizeof(*m));

	if (!m)
		return;
	m->magic = htonl(MAGIC);
	m->version = htons(VERSION);
	m->instance = px->instance;
	m->reserved = 0;
}

static bool put_enrol(struct channel *c, struct stream *st)
{
	struct enrol *m = message(c, st, ENROL, sizeof(*m));

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
	struct base *m = message(c, st, PROMOTED, sizeof(*m));

	if (m)
		m->base = htonl(st->shm->tx_base);
	return m;
}

static bool put_ack(struct channel *c, struct stream *st)
{
	struct ack *m = message(c, st, ACK, sizeof(*m));

	if (!m)
		return false;
	st->acked_next = st->rx_have;
	st->acked_read = stream_read(st);
	m->received = htobe64(st->acked_next);
	m->read = htobe64(st->acked_read);
	return true;
}

static bool put_final(struct channel *c, struct stream *st)
{
	struct final *m = message(c, st, FINAL, sizeof(*m));

	if (!m)
		return false;
	m->base = htonl(st->shm->tx_base);
	m->offset = htobe64(st->tx_final);
	return true;
}

static bool put_sent(struct channel *c, struct stream *st)
{
	struct at *m = message(c, st, SENT, sizeof(*m));

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
		m = message(c, st, GAPS,
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
		m = message(c, st, REPAIR, sizeof(*m) + n);
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
			stream_abort(px, st, "a repair has no bytes");
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
		return message(c, st, ABORT, sizeof(struct head));
	case DUE_ENROL:
		return put_enrol(c, st);
	case DUE_READY:
		return message(c, st, READY, sizeof(struct head));
	case DUE_PROMOTED:
		return put_base(c, st);
	case DUE_KNOWN:
		return message(c, st, KNOWN, sizeof(struct head));
	case DUE_ACK:
		return put_ack(c, st);
	case DUE_FINAL:
		return put_final(c, st);
	case DUE_SENT:
		return put_sent(c, st);
	case DUE_GAPS:
		return put_gaps(px, c, st);
	case DUE_COMPLETE:
		return message(c, st, COMPLETE, sizeof(struct head));
	case DUE_DEMOTE:
		return message(c, st, DEMOTE, sizeof(struct head));
	case DUE_RETREAT:
		return message(c, st, RETREAT, sizeof(struct head));
	case DUE_LEFT:
		return message(c, st, LEFT, sizeof(struct head));
	case DUE_NEVER:
		return message(c, st, NEVER, sizeof(struct head));
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
	bool full = false;

	if (!c || !c->greeted)
		return;
	list = p->due;
	p->due = NULL;
	p->due_tail = &p->due;
	while ((st = list)) {
		list = st->next_due;
		st->is_due = false;
		for (unsigned what = 1; what <= DUE_REPAIR && !full;
		     what <<= 1) {
			if (!(st->due & what) || (what == DUE_ACK && !tick) ||
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

/* ---- in ---- */

static int on_hello(struct proxy *px, struct channel *c, const struct hello *m)
{
	struct peer *p = c->peer;

	if (c->greeted || ntohl(m->magic) != MAGIC ||
	    ntohs(m->version) != VERSION || !m->instance)
		return -EPROTO;
	c->greeted = true;
	if (p->instance && p->instance != m->instance)
		streams_abort_peer(px, p, "the peer's proxy has restarted");
	p->instance = m->instance;
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
		struct head *m = h->type == SENT
					 ? message(c, NULL, ABORT, sizeof(*m))
					 : NULL;

		if (m) {
			m->to = h->from;
			m->from = h->to;
		}
		return 0;
	}
	switch (h->type) {
	case ABORT:
		st->remote = 0; /* it knows */
		stream_abort(px, st, "by the peer");
		return 0;
	case READY:
		st->peer_ready = true;
		st->retreating = false;
		stream_try_promote(st);
		stream_active(px, st); /* to be enrolled */
		return 0;
	case DEMOTE:
		stream_demote(px, st);
		return 0;
	case RETREAT:
		stream_retreat(px, st);
		return 0;
	case LEFT:
		stream_left(px, st);
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
		if (length != sizeof(*base) || st->shm->rx < SHUNT_SRX_ARMED)
			return -EPROTO;
		stream_set_base(px, st, ntohl(base->base));
		return 0;
	case ACK:
		if (length != sizeof(*ack))
			return -EPROTO;
		tx_acked(px, st, be64toh(ack->received), be64toh(ack->read));
		return 0;
	case FINAL:
		if (length != sizeof(*final) || st->shm->rx < SHUNT_SRX_ARMED)
			return -EPROTO;
		stream_set_base(px, st, ntohl(final->base));
		if (!st->doomed)
			stream_set_final(px, st, be64toh(final->offset));
		return 0;
	case SENT:
		if (length != sizeof(*at) || st->shm->rx < SHUNT_SRX_ARMED)
			return -EPROTO;
		repair_sent(px, st, be64toh(at->offset));
		return 0;
	case GAPS:
		length -= sizeof(*gaps);
		if (length % sizeof(gaps->range[0]))
			return -EPROTO;
		for (unsigned i = 0; i < length / sizeof(gaps->range[0]); i++)
			repair_ask(px, st, be64toh(gaps->range[i].from),
				   be64toh(gaps->range[i].to));
		return 0;
	case REPAIR:
		if (length < sizeof(*at))
			return -EPROTO;
		on_repair(px, st, at, length - sizeof(*at));
		return 0;
	}
	return -EPROTO;
}

int messages_read(struct proxy *px, struct channel *c)
{
	uint32_t at = 0;

	while (c->in_length - at >= sizeof(struct head)) {
		/* Messages have any length: the copy is aligned. */
		static _Alignas(8) unsigned char copy[MESSAGE_MAX];
		struct head *h = (struct head *)copy;
		uint32_t length;
		int err = 0;

		memcpy(h, c->in + at, sizeof(*h));
		length = ntohs(h->length);
		if (length < sizeof(*h) || length > MESSAGE_MAX)
			return -EPROTO;
		if (c->in_length - at < length)
			break;
		memcpy(copy, c->in + at, length);
		at += length;
		if (h->type == HELLO)
			err = length == sizeof(struct hello)
				      ? on_hello(px, c, (void *)h)
				      : -EPROTO;
		else if (!c->greeted)
			err = -EPROTO;
		else if (h->type != ENROL)
			err = on_stream(px, c, h, length);
		else if (length == sizeof(struct enrol))
			on_enrol(px, c, (void *)h);
		else
			err = -EPROTO;
		if (err)
			return err;
	}
	return at;
}
