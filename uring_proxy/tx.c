// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending: the bytes of a stream, where they lie, with a header in front of
 * each frame, many frames in one UDP_SEGMENT send. They stay until the far end
 * has acknowledged them. A frame that is one chunk has room for its header
 * where it lies (CHUNK_ROOM): a batch of these is one piece of memory, few
 * pages, and worth sending without a copy.
 */
#include "proxy.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3) /* 6.2 */
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#define FRAMES 44 /* below UDP_MAX_SEGMENTS (64), and 64 KB at 1500 */
/* What the kernel puts into one skb without copying: more is EMSGSIZE. */
#define MAX_SKB_FRAGS 17
#define PAGE	      4096
#define PIECES	      256
#define UDP_MAX	      65000 /* bytes behind the UDP header, both families */
/* Of what may be charged: more than that, and acknowledgements are asked for */
#define ASKS_PART 8
/* How long copies are made after the kernel has made one that it need not. */
#define COPIES_NS (60 * SHUNT_NSEC)

/* One UDP_SEGMENT send under way. */
struct send {
	struct op op;
	struct peer *peer;
	struct msghdr msg;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control;
	struct shunt_frame frames[FRAMES];
	struct iovec iov[FRAMES + PIECES];
	struct slab *slabs[PIECES];
	unsigned n_frames, n_iov, n_slabs;
	uint32_t bytes; /* with the headers */
	bool zero_copy;
	struct send *next;
};

void tx_add(struct proxy *px, struct stream *st, struct slab *slab, uint32_t at,
	    uint32_t length, uint32_t charge, bool room)
{
	uint64_t offset = st->tx_end;
	struct peer *p = st->peer;
	struct chunk *c;

	st->tx_end += length;
	if (st->doomed) {
		stream_active(px, st);
		return;
	}
	c = chunk_new(px, slab, at, length, offset);
	if (!c) {
		stream_abort(px, st, SHUNT_RESET_MEMORY, "out of memory");
		return;
	}
	c->charge = charge;
	c->room = room;
	*st->tx_tail = c;
	st->tx_tail = &c->next;
	if (!st->tx_next)
		st->tx_next = c;
	if (!st->is_ready) {
		st->is_ready = true;
		st->next_ready = NULL;
		*p->ready_tail = st;
		p->ready_tail = &st->next_ready;
	}
	stream_moves(px, st);
	px->tx_work = true;
}

/* ---- one send ---- */

static struct send *send_new(struct proxy *px)
{
	struct send *s = px->free_sends;

	if (s)
		px->free_sends = s->next;
	else
		s = malloc(sizeof(*s));
	if (s)
		s->n_frames = s->n_iov = s->n_slabs = s->bytes = 0;
	return s;
}

static void send_free(struct proxy *px, struct send *s)
{
	for (unsigned i = 0; i < s->n_slabs; i++)
		slab_put(px, s->slabs[i]);
	s->next = px->free_sends;
	px->free_sends = s;
}

static void failed(struct proxy *px, struct peer *p, int err)
{
	/* The frames are lost like any: the far end will ask for them. */
	if (err == -EMSGSIZE)
		peer_measure_mtu(p);
	else if (err == -EIO || err == -EINVAL)
		p->no_gso = true; /* no checksum offload below */
	else if (verbose)
		say("send: %s", strerror(-err));
	peer_lost(px, p);
}

static void sent(struct proxy *px, struct op *op, int res, unsigned flags)
{
	struct send *s = (struct send *)op;

	if (flags & IORING_CQE_F_NOTIF) {
		if (res & IORING_NOTIF_USAGE_ZC_COPIED) {
			px->shm->bytes_zc_copied += s->bytes;
			s->peer->copies_ns = px->now_ns;
		} else {
			px->shm->bytes_zc += s->bytes;
		}
		send_free(px, s);
		return;
	}
	if (res < 0 && s->zero_copy && (res == -EINVAL || res == -EOPNOTSUPP))
		px->zero_copy = false;
	else if (res < 0)
		failed(px, s->peer, res);
	if (!(flags & IORING_CQE_F_MORE))
		send_free(px, s);
}

/* Pages that a send without a copy would refer to. */
static unsigned fragments(const struct send *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_iov; i++) {
		uintptr_t at = (uintptr_t)s->iov[i].iov_base;

		n += (at + s->iov[i].iov_len - 1) / PAGE - at / PAGE + 1;
	}
	return n;
}

static void submit(struct proxy *px, struct peer *p, struct send *s)
{
	uint16_t segment = sizeof(struct shunt_frame) + p->payload;
	struct io_uring_sqe *sqe;

	s->op.done = sent;
	s->peer = p;
	s->msg = (struct msghdr){.msg_iov = s->iov, .msg_iovlen = s->n_iov};
	if (s->n_frames > 1) {
		struct cmsghdr *c = &s->control.align;

		s->msg.msg_control = s->control.bytes;
		s->msg.msg_controllen = sizeof(s->control.bytes);
		c->cmsg_level = SOL_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(c), &segment, sizeof(segment));
	}
	px->shm->sends++;
	px->shm->datagrams_tx += s->n_frames;
	px->frame_payload = p->payload;
	s->zero_copy =
		px->zero_copy && s->bytes >= px->zero_copy_from &&
		(!p->copies_ns || px->now_ns - p->copies_ns > COPIES_NS) &&
		fragments(s) <= MAX_SKB_FRAGS;
	sqe = ring_sqe(px, &s->op);
	if (s->zero_copy) {
		io_uring_prep_sendmsg_zc(sqe, p->udp, &s->msg, MSG_NOSIGNAL);
		sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
	} else {
		px->shm->bytes_copied += s->bytes;
		px->sends++;
		/* It may have to wait for room; see ring_round(). */
		if (p->inflight > SOCKET_ROOM / 2)
			ring_tick_soon(px);
		io_uring_prep_sendmsg(sqe, p->udp, &s->msg, MSG_NOSIGNAL);
	}
}

/* A frame of one piece, and its header right in front of it. */
static void in_place(struct send *s, const struct shunt_frame *f,
		     struct iovec *piece)
{
	struct iovec *last = s->n_iov ? &s->iov[s->n_iov - 1] : NULL;
	unsigned char *at = (unsigned char *)piece->iov_base - sizeof(*f);
	uint32_t length = piece->iov_len + sizeof(*f);

	memcpy(at, f, sizeof(*f));
	if (last && (unsigned char *)last->iov_base + last->iov_len == at)
		last->iov_len += length;
	else
		s->iov[s->n_iov++] = (struct iovec){at, length};
}

/* Does it wait for what acknowledgements release, or will it soon? */
static bool presses(const struct proxy *px, const struct stream *st)
{
	const struct shunt_proxy *all = px->shared;

	return st->shm->tx_charged - st->shm->tx_released >
		       all->stream_limit / ASKS_PART ||
	       all->charged - all->released > all->total_limit / ASKS_PART;
}

/* Put bytes of st, from tx_sent on, into one more frame: how many. 0: s has no
 * room for as many pieces. */
static uint32_t add_frame(struct stream *st, struct send *s, bool asks)
{
	struct peer *p = st->peer;
	struct shunt_frame *f = &s->frames[s->n_frames];
	unsigned iov = s->n_iov, slabs = s->n_slabs;
	struct chunk *c = st->tx_next;
	uint64_t offset = st->tx_sent;
	bool room = c && c->offset == offset && c->room;
	uint32_t length = 0;

	s->iov[iov++] = (struct iovec){f, sizeof(*f)};
	while (c && length < p->payload) {
		uint32_t skip = offset - c->offset;
		uint32_t take = c->length - skip;

		if (slabs == PIECES)
			break;
		/* Rather a short frame than all that follow in two pieces. */
		if (length && c->length == p->payload)
			break;
		if (take > p->payload - length)
			take = p->payload - length;
		s->iov[iov++] =
			(struct iovec){c->slab->data + c->at + skip, take};
		s->slabs[slabs++] = c->slab;
		length += take;
		offset += take;
		if (skip + take == c->length)
			c = c->next;
	}
	/* A frame that is cut short ends the batch, so it may be. */
	if (!length)
		return 0;
	asks |= p->inflight + length >= p->cwnd;
	*f = (struct shunt_frame){
		.type = SHUNT_FRAME_DATA,
		.flags = (asks ? SHUNT_FRAME_ASKS : 0) |
			 (st->shm->transport == SHUNT_UDPLITE ? SHUNT_FRAME_LITE
							      : 0),
		.length = htons(length),
		.stream = htonl(st->remote),
		.token = htonl(st->shm->token_remote),
		.base = htonl(st->shm->tx_base),
		.offset = htobe64(st->tx_sent),
	};
	for (unsigned i = s->n_slabs; i < slabs; i++)
		s->slabs[i]->refs++;
	if (room && slabs == s->n_slabs + 1)
		in_place(s, f, &s->iov[iov - 1]);
	else
		s->n_iov = iov;
	s->n_slabs = slabs;
	s->n_frames++;
	s->bytes += sizeof(*f) + length;
	st->tx_next = c;
	st->tx_sent += length;
	return length;
}

/* One batch of a stream, as far as the window goes; false: it has to wait. */
static bool send_batch(struct proxy *px, struct peer *p, struct stream *st)
{
	uint32_t frame = sizeof(struct shunt_frame) + p->payload;
	unsigned most = p->no_gso ? 1 : UDP_MAX / frame;
	bool asks = presses(px, st);
	uint32_t n = p->payload;
	struct send *s;

	if (most > FRAMES)
		most = FRAMES;
	if (!p->inflight)
		peer_resumes(px, p);
	if (p->inflight >= p->cwnd)
		return false;
	s = send_new(px);
	if (!s)
		return false;
	p->sent_ns = px->now_ns;
	if (st->tx_sent == st->tx_acked)
		st->tx_progress_ns = px->now_ns; /* the clock starts */
	if (!st->rtt_from_ns)
		st->rtt_from_ns = px->now_ns;
	/* Frames of a batch have one size, but for the last. */
	while (n == p->payload && s->n_frames < most && st->tx_next &&
	       p->inflight < p->cwnd) {
		n = add_frame(st, s, asks);
		p->inflight += n;
		px->shm->bytes_tx += n;
	}
	st->rtt_offset = st->tx_sent;
	if (!s->n_frames) {
		send_free(px, s);
		return false;
	}
	submit(px, p, s);
	return true;
}

/* In turns, a batch each, so that a bulky one does not hold up the rest. */
void tx_push(struct proxy *px, struct peer *p)
{
	while (p->ready) {
		struct stream *st = p->ready;

		if (st->tx_next && !st->doomed && st->remote &&
		    !send_batch(px, p, st))
			return;
		p->ready = st->next_ready;
		if (!p->ready)
			p->ready_tail = &p->ready;
		if (st->tx_next && !st->doomed && st->remote) {
			st->next_ready = NULL;
			*p->ready_tail = st;
			p->ready_tail = &st->next_ready;
		} else {
			st->is_ready = false;
		}
	}
}

/* ---- acknowledgements ---- */

/* RFC 5681 in bytes: slow start, then a frame a round trip. */
static void grow(struct peer *p, uint64_t acked)
{
	if (p->cwnd < p->ssthresh)
		p->cwnd += acked;
	else
		p->cwnd += acked * p->payload / p->cwnd + 1;
	if (p->cwnd > CWND_MAX)
		p->cwnd = CWND_MAX;
}

void tx_acked(struct proxy *px, struct stream *st, uint64_t received,
	      uint64_t read)
{
	struct peer *p = st->peer;
	struct chunk *c;
	uint64_t freed = 0;

	if (received > st->tx_sent || read > received || read < st->tx_read) {
		px->shm->refused++;
		return;
	}
	if (received > st->tx_acked) {
		uint64_t n = received - st->tx_acked;

		/* Growing is for those who use what they have. */
		if (p->inflight + CWND_MIN >= p->cwnd / 2)
			grow(p, n);
		p->inflight -= n < p->inflight ? n : p->inflight;
		st->tx_acked = received;
		st->tx_progress_ns = px->now_ns;
		/* What was repaired says nothing of the round trip (Karn). */
		if (st->tx_asked)
			st->rtt_from_ns = 0;
		st->tx_asked = 0;
		if (st->rtt_from_ns && received >= st->rtt_offset) {
			peer_rtt(p, px->now_ns - st->rtt_from_ns);
			st->rtt_from_ns = 0;
		}
	}
	for (c = st->tx; c && c->offset + c->length <= received; c = c->next) {
		if (!c->slab)
			continue;
		slab_put(px, c->slab);
		c->slab = NULL;
	}
	st->tx_read = read;
	while ((c = st->tx) && c->offset + c->length <= read && !c->slab) {
		freed += c->charge;
		st->tx = c->next;
		if (!st->tx)
			st->tx_tail = &st->tx;
		chunk_free(px, c);
	}
	if (freed) {
		release(px, freed);
		__atomic_store_n(&st->shm->tx_released,
				 st->shm->tx_released + freed,
				 __ATOMIC_RELAXED);
	}
	px->tx_work = true;
}

/* The stream has no more to send, or must not. */
void tx_drop(struct proxy *px, struct stream *st)
{
	uint64_t n = st->tx_sent - st->tx_acked;
	struct peer *p = st->peer;
	struct chunk *c;

	(void)px;
	p->inflight -= n < p->inflight ? n : p->inflight;
	st->tx_acked = st->tx_sent;
	while ((c = st->tx)) {
		st->tx = c->next;
		chunk_free(px, c);
	}
	st->tx_tail = &st->tx;
	st->tx_next = NULL;
	st->n_repair = 0;
	px->tx_work = true; /* others may use the window */
}
