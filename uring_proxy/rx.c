// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving: frames are put in order where they lie and handed to the
 * application's socket, many payloads behind one header.
 */
#include "worker.h"

#include <errno.h>
#include <string.h>

#define DELIVER_PIECES 512 /* in one sendmsg(); below UIO_MAXIOV */
#define DELIVER_BYTES  (256 << 10)

/* A buffer with less than this in it is not kept for what can't be delivered
 * yet: small datagrams that wait for an application would use them all up. */
#define KEEP_MIN (BUFFER_SIZE / 4)

/* Chunks that wait, of all streams, and each loop's share of them: those of a
 * peer that sends single bytes with holes between them would take more memory
 * than the bytes. */
#define WAITING_MAX (256 << 10)

/* Trimmed to what the stream does not have yet. */
static struct chunk *insert_part(struct proxy *px, struct stream *st,
				 struct chunk **where, struct slab *slab,
				 uint32_t at, uint32_t length, uint64_t offset)
{
	/* What goes on at once is always taken. */
	bool waits = !st->rx_turn || offset != st->rx_next;
	struct chunk *c;

	if (waits && px->rx_chunks >= WAITING_MAX / px->worker->n_loops)
		return NULL;
	c = chunk_new(px, slab, at, length, offset);
	if (!c)
		return NULL;
	px->rx_chunks++;
	c->next = *where;
	*where = c;
	return c;
}

/* room: in front of them are CHUNK_ROOM bytes that nobody needs. */
static int insert(struct proxy *px, struct stream *st, struct slab *slab,
		  uint32_t at, uint32_t length, uint64_t offset, bool room)
{
	struct chunk **where = &st->rx, *c;
	uint64_t end = offset + length, have = st->rx_next;

	/* Most come in order: behind everything there is. */
	if (st->rx_last && offset >= st->rx_last->offset + st->rx_last->length)
		where = &st->rx_last->next;
	while (offset < end) {
		uint32_t skip, n;

		if (have > offset) {
			skip = have - offset < end - offset ? have - offset
							    : end - offset;
			px->shm->duplicates += skip;
			at += skip;
			offset += skip;
			room = false; /* perhaps a chunk of its own */
			continue;
		}
		c = *where;
		if (c && c->offset <= offset) {
			have = c->offset + c->length;
			where = &c->next;
			continue;
		}
		n = c && c->offset < end ? c->offset - offset : end - offset;
		c = insert_part(px, st, where, slab, at, n, offset);
		if (!c)
			return -ENOMEM;
		c->room = room;
		room = false;
		if (!c->next)
			st->rx_last = c;
		for (struct chunk *n = c; n && n->offset == st->rx_have;
		     n = n->next)
			st->rx_have += n->length;
		where = &c->next;
		at += n;
		offset += n;
	}
	if (end > st->rx_sent)
		st->rx_sent = end;
	return 0;
}

/* What is in order, once it is the path's turn. */
void rx_deliver(struct proxy *px, struct stream *st)
{
	static _Thread_local struct iovec iov[1 + DELIVER_PIECES];

	while (st->rx_turn && !st->doomed && st->rx &&
	       st->rx->offset == st->rx_next) {
		uint64_t next = st->rx_next;
		struct chunk *c = st->rx;
		int n = 0, err;

		while (c && c->offset == next && n < DELIVER_PIECES &&
		       next - st->rx_next < DELIVER_BYTES) {
			n++;
			iov[n].iov_base = c->slab->data + c->at;
			iov[n].iov_len = c->length;
			next += c->length;
			c = c->next;
		}
		if (n == 1 && st->rx->room)
			err = redirect_deliver_one(px, st, iov[1].iov_base,
						   iov[1].iov_len);
		else
			err = redirect_deliver(px, st, iov, n + 1,
					       next - st->rx_next);
		if (err) {
			/* EACCES: the socket is gone; its peer is to know. */
			stream_abort(px, st,
				     err == -ENOMEM ? SHUNT_RESET_MISSING
						    : SHUNT_RESET_CLOSED,
				     strerror(-err));
			return;
		}
		px->shm->bytes_rx += next - st->rx_next;
		st->rx_next = next;
		st->shm->rx_bytes = next;
		while (n--) {
			c = st->rx;
			st->rx = c->next;
			chunk_free(px, c);
			px->rx_chunks--;
		}
		if (!st->rx)
			st->rx_last = NULL;
		stream_due(px, st, DUE_ACK);
	}
	stream_complete(px, st);
}

void rx_drop(struct proxy *px, struct stream *st)
{
	struct chunk *c;

	while ((c = st->rx)) {
		st->rx = c->next;
		chunk_free(px, c);
		px->rx_chunks--;
	}
	st->rx_last = NULL;
}

/* The stream of a frame that can be believed, or NULL. */
static struct stream *check(struct proxy *px, struct peer *p,
			    const struct shunt_frame *f, uint32_t length)
{
	uint64_t offset = be64toh(f->offset);
	struct stream *st;

	if (length < sizeof(*f) || f->type != SHUNT_FRAME_DATA ||
	    ntohs(f->length) != length - sizeof(*f) || !f->length)
		return NULL;
	st = stream_get(px, ntohl(f->stream));
	if (!st || st->peer != p || st->doomed ||
	    ntohl(f->token) != st->shm->token_local ||
	    st->shm->rx < SHUNT_SRX_ARMED ||
	    (st->shm->rx >= SHUNT_SRX_BASED &&
	     st->shm->rx_base != ntohl(f->base)))
		return NULL;
	if (offset > st->rx_next + AHEAD_MAX ||
	    offset + length - sizeof(*f) > st->rx_final)
		return NULL;
	return st;
}

int rx_copy(struct proxy *px, struct stream *st, const void *bytes,
	    uint32_t length, uint64_t offset)
{
	struct slab *s = px->spare;

	if (s && SLAB_SIZE - s->used < length) {
		slab_put(px, s);
		s = NULL;
	}
	if (!s)
		s = slab_get(px);
	px->spare = s;
	if (!s)
		return -ENOMEM;
	memcpy(s->data + s->used, bytes, length);
	s->used += length;
	return insert(px, st, s, s->used - length, length, offset, false);
}

static void received(struct proxy *px, struct stream *st)
{
	rx_deliver(px, st);
	stream_moves(px, st);
}

void rx_datagrams(struct proxy *px, struct peer *p, struct slab *slab,
		  uint32_t at, uint32_t length, uint32_t segment)
{
	struct stream *last = NULL, *st;
	bool keep = length >= KEEP_MIN;

	if (!segment)
		segment = length;
	while (length) {
		uint32_t n = segment < length ? segment : length;
		struct shunt_frame f = {};

		memcpy(&f, slab->data + at, n < sizeof(f) ? n : sizeof(f));
		px->shm->datagrams_rx++;
		st = check(px, p, &f, n);
		if (!st) {
			px->shm->refused++;
		} else {
			if (last && last != st)
				received(px, last);
			if (st->shm->rx == SHUNT_SRX_ARMED)
				stream_set_base(px, st, ntohl(f.base));
			stream_turn(px, st);
			st->rx_arrived = true;
			/* What waits for the application may wait for long. */
			if (st->rx_turn &&
			    (keep || be64toh(f.offset) == st->rx_next))
				insert(px, st, slab, at + sizeof(f),
				       n - sizeof(f), be64toh(f.offset), true);
			else
				rx_copy(px, st, slab->data + at + sizeof(f),
					n - sizeof(f), be64toh(f.offset));
			st->asked = f.flags & SHUNT_FRAME_ASKS;
			p->asked |= st->asked;
			last = st;
		}
		at += n;
		length -= n;
	}
	if (last)
		received(px, last);
}
