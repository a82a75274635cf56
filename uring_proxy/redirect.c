// SPDX-License-Identifier: GPL-2.0-only
/*
 * The redirection socket: one end of a TCP connection over loopback that never
 * carries a byte. SK_MSG puts the applications' messages into its queue, each
 * with a struct shunt_record, and takes what is sent on it into the socket of
 * the stream that its record names.
 */
#include "proxy.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

/* Before anything has been sent: at an MTU of 1500. */
#define USUAL_PAYLOAD 1448

_Static_assert(sizeof(struct shunt_record) == CHUNK_ROOM,
	       "a frame's header fits where a record's was");

/* Bytes of a record's payload, in the slab at `at`. */
static void payload(struct proxy *px, uint32_t at, uint32_t length, bool room)
{
	const struct shunt_record *r = &px->record;
	struct stream *st = stream_get(px, r->stream);
	bool last = length == px->record_left;

	if (!st || st->shm->token_local != r->token) {
		px->shm->refused++;
		return;
	}
	order_add(px, st, px->slab, at, length,
		  r->offset + r->length - px->record_left,
		  last ? r->length + SHUNT_MSG_OVERHEAD : 0, room);
}

/* The first bytes of a message, to where its record's header was. Their place
 * may be another's then; not before those in front of it, as two threads that
 * write at once are not always queued in turn (order.c). */
static void put_back(struct proxy *px, uint32_t at)
{
	const struct shunt_record *r = &px->record;
	struct stream *st = stream_get(px, r->stream);
	struct shunt_stream *s;
	uint32_t taken;

	if (!st || st->shm->token_local != r->token)
		return; /* payload() refuses it */
	s = st->shm;
	taken = s->tx_taken;
	memcpy(px->slab->data + at, &s->starts[r->magic % SHUNT_STARTS],
	       sizeof(s->starts[0]));
	st->taken |= 1U << (r->magic - taken) % SHUNT_STARTS;
	for (; st->taken & 1; st->taken >>= 1)
		taken++;
	__atomic_store_n(&s->tx_taken, taken, __ATOMIC_RELEASE);
}

/* A header is complete: where are the message's first bytes? */
static int begin(struct proxy *px)
{
	const struct shunt_record *r = &px->record;

	px->in_front = r->magic == SHUNT_RECORD_MAGIC;
	if (!px->in_front &&
	    (r->magic - r->magic % SHUNT_STARTS != SHUNT_RECORD_SAVED ||
	     r->length < sizeof(*r)))
		return -EPROTO;
	px->record_left = r->length;
	return 0;
}

/* n more bytes, at the end of the slab, behind CHUNK_ROOM that are free */
static int parse(struct proxy *px, uint32_t n)
{
	uint32_t begins = px->slab->used, at = begins;

	px->slab->used += n;
	while (n) {
		uint32_t take;

		if (px->record_have < sizeof(px->record)) {
			take = sizeof(px->record) - px->record_have;
			if (take > n)
				take = n;
			memcpy((char *)&px->record + px->record_have,
			       px->slab->data + at, take);
			px->record_have += take;
			at += take;
			n -= take;
			if (px->record_have < sizeof(px->record))
				return 0;
			if (begin(px))
				return -EPROTO;
			if (!px->in_front) {
				at -= sizeof(px->record);
				n += sizeof(px->record);
				put_back(px, at);
			}
		} else {
			/* Behind a header, or a gap, but for this: */
			bool room = px->in_front || at == begins ||
				    px->record_left < px->record.length;

			take = px->record_left < n ? px->record_left : n;
			payload(px, at, take, room);
			px->record_left -= take;
			at += take;
			n -= take;
		}
		if (px->record_have == sizeof(px->record) && !px->record_left)
			px->record_have = 0;
	}
	return 0;
}

int redirect_taken(struct proxy *px, uint32_t n)
{
	int err = 0;

	px->backlog = n == px->room;
	for (struct iovec *v = px->pieces; n && !err; v++) {
		uint32_t take = v->iov_len < n ? v->iov_len : n;

		px->slab->used = (unsigned char *)v->iov_base - px->slab->data;
		err = parse(px, take);
		n -= take;
	}
	return err;
}

static void received(struct proxy *px, struct op *op, int res, unsigned flags)
{
	(void)op, (void)flags;
	px->reading = false;
	if (res <= 0 && res != -EINTR && res != -EAGAIN) {
		say("redirection socket: %s", strerror(-res));
		px->quit = true;
		return;
	}
	if (res > 0 && redirect_taken(px, res)) {
		say("redirection socket: a record without its mark");
		px->quit = true;
	}
}

/*
 * Where the next bytes go: as much as a frame takes, a gap, as much again. A
 * frame's header fits into the gap, so that a long message goes out as it lies
 * here, headers and all, in one piece. What is left of a record's header comes
 * first, if that will not be needed, either: as with the last one.
 */
static int lay_out(struct proxy *px)
{
	uint32_t at = px->slab->used + CHUNK_ROOM, n = 0, first = 0;

	if (!px->record_left && px->in_front)
		first = sizeof(px->record) - px->record_have;
	px->room = 0;
	while (n < READ_PIECES && at < SLAB_SIZE) {
		uint32_t end = at + first + px->frame_payload;

		if (end > SLAB_SIZE)
			end = SLAB_SIZE;
		px->pieces[n].iov_base = px->slab->data + at;
		px->pieces[n++].iov_len = end - at;
		px->room += end - at;
		at = end + CHUNK_ROOM;
		first = 0;
	}
	return n;
}

int redirect_room(struct proxy *px)
{
	if (px->slab && SLAB_SIZE - px->slab->used < 4096) {
		slab_put(px, px->slab);
		px->slab = NULL;
	}
	if (!px->slab)
		px->slab = slab_get(px);
	return px->slab ? lay_out(px) : 0;
}

void redirect_read(struct proxy *px)
{
	struct io_uring_sqe *sqe;
	int n;

	if (px->reading || px->starved)
		return;
	n = redirect_room(px);
	/* Full of what peers have not acknowledged. What waits in the kernel
	 * is charged to its stream, so that streams go to TCP now. */
	px->starved = !n;
	if (px->starved) {
		ring_tick_soon(px); /* another loop may have them */
		return;
	}
	px->reading = true;
	px->waits = false;
	sqe = ring_sqe(px, &px->redirect_op);
	px->read_msg = (struct msghdr){.msg_iov = px->pieces, .msg_iovlen = n};
	io_uring_prep_recvmsg(sqe, px->redirect[0], &px->read_msg, 0);
	/* The last one has taken all there was: a try would be in vain. */
	sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

void redirect_tick(struct proxy *px)
{
	char refused[64];

	/* SK_MSG leaves a byte there of each record that it refuses. */
	while (recv(px->redirect[1], refused, sizeof(refused), MSG_DONTWAIT) >
	       0)
		;
	/* A read that finds something is over in the round that it is in. */
	if (px->reading && px->waits)
		px->backlog = false;
	px->waits = px->reading;
	if (px->starved) {
		px->starved = false;
		redirect_read(px);
	}
}

static uint32_t cuts(const struct proxy *px)
{
	return __atomic_load_n(&px->shared->cut, __ATOMIC_ACQUIRE);
}

/*
 * One send is one record: the verdict holds for exactly its bytes
 * (bpf_msg_apply_bytes). Not through the ring, because the next record must not
 * begin before this one has ended. It may block, and never does: what is
 * redirected is not charged to this socket any more when the call returns.
 */
static int delivered(struct proxy *px, const struct stream *st, ssize_t sent,
		     uint32_t length, uint32_t cut)
{
	/* A cut may be another loop's, at the same time: a reset too many. */
	if (sent == (ssize_t)(sizeof(struct shunt_record) + length))
		return cuts(px) == cut ? 0 : -ENOMEM;
	if (sent < 0)
		return -errno;
	/* The rest would be taken for a part of this record. */
	say("stream %u: %zd of %u bytes delivered", st->number, sent, length);
	px->quit = true;
	return -EIO;
}

static struct shunt_record record_of(const struct stream *st, uint32_t length)
{
	return (struct shunt_record){
		.magic = SHUNT_RECORD_MAGIC,
		.stream = st->number,
		.offset = st->rx_next,
		.length = length,
		.token = st->shm->token_local,
	};
}

int redirect_deliver_one(struct proxy *px, struct stream *st,
			 unsigned char *bytes, uint32_t length)
{
	struct shunt_record r = record_of(st, length);
	uint32_t cut = cuts(px);
	ssize_t sent;

	memcpy(bytes - sizeof(r), &r, sizeof(r));
	do
		sent = send(px->redirect[0], bytes - sizeof(r),
			    sizeof(r) + length, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return delivered(px, st, sent, length, cut);
}

int redirect_deliver(struct proxy *px, struct stream *st, struct iovec *iov,
		     int n, uint32_t length)
{
	struct shunt_record r = record_of(st, length);
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	uint32_t cut = cuts(px);
	ssize_t sent;

	iov[0].iov_base = &r;
	iov[0].iov_len = sizeof(r);
	do
		sent = sendmsg(px->redirect[0], &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return delivered(px, st, sent, length, cut);
}

static int make_pair(int pair[2])
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t n = sizeof(a);
	int l, one = 1, err = 0;

	l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l < 0 || pair[0] < 0 || bind(l, (void *)&a, sizeof(a)) ||
	    listen(l, 1) || getsockname(l, (void *)&a, &n) ||
	    connect(pair[0], (void *)&a, sizeof(a)))
		err = -errno;
	if (!err) {
		pair[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		if (pair[1] < 0)
			err = -errno;
		setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one,
			   sizeof(one));
	}
	close(l);
	return err;
}

int redirect_init(struct proxy *px)
{
	uint32_t place = px->index;
	uint64_t fd;
	int err;

	err = make_pair(px->redirect);
	if (err) {
		say("cannot make the redirection socket: %s (is lo up?)",
		    strerror(-err));
		return err;
	}
	fd = px->redirect[0];
	err = bpf_map_update_elem(px->redirection_fd, &place, &fd, BPF_ANY);
	if (err) {
		say("cannot enrol the redirection socket: %s", strerror(-err));
		return err;
	}
	px->redirect_op.done = received;
	px->frame_payload = USUAL_PAYLOAD;
	return 0;
}
