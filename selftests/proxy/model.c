// SPDX-License-Identifier: GPL-2.0-only
/* See model.h. */
#include "model.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define HAVE 0x100
/* So much of a stream is kept: what a life has, and what may be ahead of it. */
#define LIFE_MAX (32ULL << 20)
#define SPAN	 (2 * (LIFE_MAX + AHEAD_MAX))

static uint32_t be32(const unsigned char *b)
{
	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static uint64_t be64(const unsigned char *b)
{
	return (uint64_t)be32(b) << 32 | be32(b + 4);
}

/* ---- what is accepted ---- */

int model_init(struct model *m, struct rig *r)
{
	m->r = r;
	for (int i = 1; i <= RIG_STREAMS; i++) {
		m->bytes[i] = mmap(NULL, SPAN, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				   -1, 0);
		if (m->bytes[i] == MAP_FAILED)
			return -errno;
	}
	return 0;
}

void model_reset(struct model *m, uint32_t number)
{
	madvise(m->bytes[number], SPAN, MADV_DONTNEED);
	m->delivered[number] = 0;
}

void model_accept(struct model *m, uint32_t number, uint64_t offset,
		  const void *bytes, uint32_t n)
{
	const unsigned char *b = bytes;
	uint16_t *at = m->bytes[number] + offset;

	for (uint32_t i = 0; i < n; i++)
		if (offset + i < SPAN / 2 && !at[i])
			at[i] = HAVE | b[i];
}

static const struct stream *open_stream(const struct rig *r, uint32_t number,
					unsigned peer)
{
	const struct stream *st =
		number < RIG_NUMBERS ? r->px.streams[number] : NULL;

	return st && !st->doomed && st->peer == r->peer[peer] ? st : NULL;
}

uint32_t model_frame(const struct rig *r, unsigned peer, const void *bytes,
		     uint32_t n)
{
	const unsigned char *b = bytes;
	const struct stream *st;
	uint32_t length = n - 24, number;
	uint64_t offset;

	if (n <= 24 || b[0] != 0x11 || (uint32_t)(b[2] << 8 | b[3]) != length)
		return 0;
	number = be32(b + 4);
	st = open_stream(r, number, peer);
	if (!st || be32(b + 8) != st->shm->token_local ||
	    st->shm->rx == SHUNT_SRX_TCP)
		return 0;
	if (st->shm->rx != SHUNT_SRX_ARMED && be32(b + 12) != st->shm->rx_base)
		return 0;
	offset = be64(b + 16);
	if (offset > UINT64_MAX - length || offset + length > st->rx_final ||
	    offset > st->rx_next + AHEAD_MAX)
		return 0;
	return number;
}

/* ---- messages ---- */

/* Of each type: its length, or where it begins to vary. */
static uint32_t length_of(int type)
{
	switch (type) {
	case HELLO:
		return 28;
	case ENROL:
		return 20;
	case PROMOTED:
		return 16;
	case ACK:
		return 28;
	case FINAL:
		return 24;
	case SENT:
		return 20;
	default:
		return 12;
	}
}

static int enrol(const struct rig *r, unsigned peer, const unsigned char *b,
		 uint32_t *number)
{
	for (uint32_t i = 1; i <= RIG_STREAMS; i++) {
		const struct stream *st = open_stream(r, i, peer);

		if (!st || st->closed ||
		    memcmp(b + 12, &st->shm->key.rport, 2) ||
		    memcmp(b + 14, &st->shm->key.lport, 2) ||
		    be32(b + 16) != st->shm->token_local || !be32(b + 8))
			continue;
		*number = i;
		return st->remote ? MODEL_NOTHING : ENROL;
	}
	return MODEL_NOTHING;
}

int model_message(const struct rig *r, unsigned peer, const void *bytes,
		  uint32_t n, uint32_t *number)
{
	const unsigned char *b = bytes;
	uint32_t length = n < 2 ? 0 : b[0] << 8 | b[1];
	const struct stream *st;
	int type;

	*number = 0;
	if (n < 12)
		return MODEL_WAITS;
	if (length < 12 || length > 20 + (16 << 10))
		return MODEL_BROKEN;
	if (length > n)
		return MODEL_WAITS;
	type = b[2];
	if (type == GAPS     ? (length - 12) % 16
	    : type == REPAIR ? length < 20
			     : length != length_of(type))
		return MODEL_BROKEN;
	if (type == HELLO) /* it has been said */
		return MODEL_BROKEN;
	if (type == ENROL)
		return enrol(r, peer, b, number);
	st = open_stream(r, be32(b + 4), peer);
	if (!st || st->remote != be32(b + 8))
		return MODEL_NOTHING;
	if (type < HELLO || type > LEFT ||
	    ((type == PROMOTED || type == FINAL || type == SENT) &&
	     st->shm->rx == SHUNT_SRX_TCP))
		return MODEL_BROKEN;
	*number = st->number;
	if (type == REPAIR) {
		uint64_t offset = be64(b + 12);

		if (st->shm->rx < SHUNT_SRX_BASED || offset > st->rx_sent ||
		    length - 20 > st->rx_sent - offset)
			return MODEL_NOTHING;
	}
	return type;
}

/* ---- what changes ---- */

void model_mark(struct model *m)
{
	m->refused = m->r->shm.refused;
	for (int i = 1; i <= RIG_STREAMS; i++) {
		const struct stream *st = m->r->px.streams[i];
		uint64_t *was = m->was[i];

		m->open[i] = st;
		if (!st)
			continue;
#define X(field) *was++ = st->field;
#define S(field) *was++ = st->shm->field;
		MODEL_FIELDS(X, S)
#undef X
#undef S
	}
}

static const char *const names[] = {
#define X(field) #field,
	MODEL_FIELDS(X, X)
#undef X
};

#define B(field) (1u << BIT_##field)
#define S(field) (1u << BIT_SHM_##field)
/* A stream that is reset takes all it had along. */
#define RESET (B(doomed) | B(tx_acked) | B(n_repair) | B(held_length) | S(tx))
#define DELIVERS \
	(B(rx_next) | B(rx_turn) | S(rx_bytes) | S(rx) | B(held_length))

static unsigned may_change(int type)
{
	switch (type) {
	case MODEL_FRAME:
		return DELIVERS | B(rx_sent) | S(rx_base);
	case MODEL_HELD:
		return B(held_length);
	case ENROL:
		return B(remote);
	case ABORT:
		return RESET | B(remote) | B(tx_read) | S(tx_released);
	case READY:
		return B(peer_ready) | S(tx) | S(rx) | S(enrolled) |
		       S(excluded);
	case DEMOTE:
		return S(excluded) | S(tx);
	case RETREAT:
		return B(peer_ready) | S(tx) | S(rx) | S(enrolled) |
		       S(excluded);
	case LEFT:
		return B(peer_ready) | S(enrolled) | S(rx);
	case NEVER:
		return S(rx);
	case KNOWN:
		return S(tx_known);
	case COMPLETE:
		return B(tx_complete) | S(tx_open) | S(enrolled) | S(excluded);
	case PROMOTED:
		return RESET | S(rx) | S(rx_base);
	case ACK:
		return B(tx_acked) | B(tx_read) | S(tx_released);
	case FINAL:
		return RESET | DELIVERS | B(rx_sent) | S(rx_base) | B(rx_final);
	case SENT:
		return B(rx_sent);
	case GAPS:
		return B(n_repair);
	case REPAIR:
		return DELIVERS;
	}
	return 0;
}

#undef B
#undef S

/* Numbers that have to go together, whatever was said. */
static const char *inconsistent(const struct stream *st)
{
	if (st->doomed)
		return NULL;
	if (st->tx_acked > st->tx_sent || st->tx_sent > st->tx_end ||
	    st->tx_read > st->tx_acked)
		return "more acknowledged or read than sent";
	if (st->rx_next > st->rx_sent || st->rx_sent > st->rx_final ||
	    (st->rx_next && !st->rx_turn))
		return "more received than sent, or sent than there is";
	if (st->rx_sent > st->rx_next + AHEAD_MAX + 65536)
		return "somebody is ahead of all limits";
	for (unsigned i = 0; i < st->n_repair; i++)
		if (st->repair[i].to > st->tx_sent ||
		    st->repair[i].from > st->repair[i].to)
			return "repairs of what was not sent";
	for (const struct chunk *c = st->rx; c; c = c->next)
		if (c->offset < st->rx_next ||
		    c->offset + c->length > st->rx_final ||
		    (c->next && c->offset + c->length > c->next->offset) ||
		    (!c->next && c != st->rx_last))
			return "received chunks overlap, or are out of order";
	return NULL;
}

const char *model_changed(struct model *m, uint32_t number, int type)
{
	const char *wrong;

	for (uint32_t i = 1; i <= RIG_STREAMS; i++) {
		const struct stream *st = m->r->px.streams[i];
		unsigned may = i == number ? may_change(type) : 0;
		const uint64_t *was = m->was[i];
		unsigned bit = 0;

		/* A new channel asks again for what is missing. */
		if (type == MODEL_BROKEN || type == MODEL_WAITS)
			may |= 1u << BIT_n_repair;
		if ((bool)st != m->open[i])
			return "a stream has come or gone";
		if (!st)
			continue;
#define CHECK(value)                                   \
	if (*was++ != (value) && !(may & (1u << bit))) \
		return names[bit];                     \
	bit++;
#define X(field) CHECK(st->field)
#define S(field) CHECK(st->shm->field)
		MODEL_FIELDS(X, S)
#undef X
#undef S
		wrong = i == number ? inconsistent(st) : NULL;
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* ---- what is delivered ---- */

static const char *record(struct model *m, const struct shunt_record *d,
			  const unsigned char *bytes)
{
	const struct stream *st = d->stream && d->stream <= RIG_STREAMS
					  ? m->r->px.streams[d->stream]
					  : NULL;
	const uint16_t *want;

	if (!st || d->magic != SHUNT_RECORD_MAGIC ||
	    d->token != st->shm->token_local || !d->length)
		return "a record with a wrong header";
	if (st->shm->rx_copied != st->shm->rx_base)
		return "delivered before TCP's bytes were read";
	if (d->offset != m->delivered[d->stream])
		return "not delivered in order";
	want = m->bytes[d->stream] + d->offset;
	for (uint32_t i = 0; i < d->length; i++)
		if (want[i] != (HAVE | bytes[i]))
			return "delivered what was not accepted";
	m->delivered[d->stream] += d->length;
	m->out += d->length;
	return NULL;
}

const char *model_deliveries(struct model *m)
{
	static unsigned char buf[8 << 20];
	struct shunt_record d;
	const char *wrong = NULL;
	size_t at = 0;
	ssize_t n, have = 0;

	while ((n = recv(m->r->app, buf + have, sizeof(buf) - have,
			 MSG_DONTWAIT)) > 0)
		have += n;
	while (!wrong && at + sizeof(d) <= (size_t)have) {
		memcpy(&d, buf + at, sizeof(d));
		at += sizeof(d);
		if (d.length > have - at)
			return "half a record";
		wrong = record(m, &d, buf + at);
		at += d.length;
	}
	return wrong ?: at == (size_t)have ? NULL : "half a header";
}
