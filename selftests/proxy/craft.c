// SPDX-License-Identifier: GPL-2.0-only
/* See craft.h. */
#include "craft.h"

#include <string.h>

void craft_bytes(unsigned char *to, uint64_t seed, uint64_t offset, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, offset++)
		to[i] = (seed + offset) * 0x9e3779b97f4a7c15ULL >> 56;
}

/* ---- frames ---- */

/* Mostly the next, some ahead of it, some behind; far ahead now and then. */
static uint64_t some_offset(uint64_t *random, uint64_t next)
{
	switch (craft_below(random, 16)) {
	case 0:
	case 1:
	case 2:
		return next + craft_below(random, 3000);
	case 3:
		return next -
		       craft_below(random, next < 2000 ? next + 1 : 2000);
	case 4:
		return next + craft_below(random, 1 << 20);
	default:
		return next;
	}
}

uint32_t craft_frame(const struct rig *r, uint64_t *random, uint32_t number,
		     unsigned char *to, uint32_t n)
{
	const struct stream *st = r->px.streams[number];
	const struct shunt_stream *s = &r->streams[number];
	uint64_t offset = some_offset(random, st ? st->rx_next : 0);
	struct shunt_frame f = {
		.type = SHUNT_FRAME_DATA,
		.stream = htonl(number),
		.token = htonl(s->token_local),
		.base = htonl(RIG_BASE),
		.offset = htobe64(offset),
	};

	/* Not behind the end, where that is known. */
	if (st && st->rx_final != UNKNOWN && offset < st->rx_final &&
	    n > st->rx_final - offset)
		n = st->rx_final - offset;
	f.length = htons(n);
	memcpy(to, &f, sizeof(f));
	craft_bytes(to + sizeof(f), number, offset, n);
	return sizeof(f) + n;
}

void craft_forge(const struct rig *r, uint64_t *random, unsigned char *frame)
{
	uint32_t number = craft_below(random, RIG_NUMBERS);
	struct shunt_frame f;

	memcpy(&f, frame, sizeof(f));
	switch (craft_below(random, 6)) {
	case 0:
		f.stream = htonl(number);
		break;
	case 1:
		f.token = htonl(r->streams[number].token_local);
		break;
	case 2:
		f.token = htonl(
			r->streams[ntohl(f.stream) % RIG_NUMBERS].token_remote);
		break;
	case 3:
		f.token = craft_random(random);
		break;
	case 4:
		f.base = htonl(ntohl(f.base) + craft_below(random, 5) - 2);
		break;
	case 5:
		f.offset = htobe64(UINT64_MAX - craft_below(random, 3000));
		break;
	}
	memcpy(frame, &f, sizeof(f));
}

/* ---- messages ---- */

/* Those that end something come rarely, or there would be nothing to end. */
static enum message_type some_type(uint64_t *random)
{
	static const unsigned char often[] = {ENROL, READY, KNOWN,  ACK, SENT,
					      GAPS,  ACK,   REPAIR, LEFT};
	static const unsigned char seldom[] = {HELLO, ABORT,	PROMOTED,
					       FINAL, COMPLETE, DEMOTE,
					       NEVER, RETREAT};

	return craft_below(random, 100)
		       ? often[craft_below(random, ARRAY_SIZE(often))]
		       : seldom[craft_below(random, ARRAY_SIZE(seldom))];
}

static uint64_t between(uint64_t *random, uint64_t from, uint64_t to)
{
	return from + (to > from ? craft_random(random) % (to - from + 1) : 0);
}

uint32_t craft_message(struct rig *r, uint64_t *random, uint32_t number,
		       unsigned char *to)
{
	static const struct stream none;
	const struct stream *st = r->px.streams[number] ?: &none;
	enum message_type type = some_type(random);
	uint64_t a = RIG_BASE, b = 0;
	uint32_t n;

	switch (type) {
	case ACK:
		a = between(random, st->tx_acked, st->tx_sent);
		b = between(random, st->tx_read, a);
		break;
	case FINAL:
		b = st->rx_final != UNKNOWN
			    ? st->rx_final
			    : between(random, st->rx_sent, st->rx_sent + 9999);
		break;
	case SENT:
		a = between(random, st->rx_next, st->rx_sent + 2000);
		break;
	case GAPS:
		a = between(random, st->tx_acked, st->tx_sent);
		b = between(random, a, st->tx_sent);
		break;
	case REPAIR:
		a = between(random, st->rx_next, st->rx_sent);
		b = st->rx_sent > a ? st->rx_sent - a : 0;
		if (b > 2000)
			b = craft_below(random, 2000);
		break;
	default:
		break;
	}
	n = rig_message(r, to, type, number, a, b);
	if (type == ABORT && craft_below(random, 2))
		((struct head *)to)->flags = ABORT_ENDED;
	if (type == RETREAT && craft_below(random, 2))
		((struct head *)to)->flags = RETREAT_CROWDED;
	if (type == REPAIR)
		craft_bytes(to + n, number, a, b);
	return n + (type == REPAIR ? b : 0);
}

/* ---- damage ---- */

static uint32_t place(uint64_t *random, uint32_t n, uint32_t headers)
{
	return craft_below(random,
			   n > headers && craft_below(random, 8) ? headers : n);
}

static uint32_t damage_once(uint64_t *random, unsigned char *bytes, uint32_t n,
			    uint32_t headers, bool resize)
{
	static const unsigned char some[] = {0, 1, 0x7f, 0x80, 0xff};
	uint32_t at = place(random, n, headers), k;
	unsigned char b;

	switch (craft_below(random, resize ? 8 : 6)) {
	case 0:
	case 1:
		bytes[at] ^= 1 << craft_below(random, 8);
		break;
	case 2:
		bytes[at] = craft_random(random);
		break;
	case 3:
		bytes[at] = some[craft_below(random, ARRAY_SIZE(some))];
		break;
	case 4: /* a number a little off */
		bytes[at] += craft_below(random, 5) - 2;
		break;
	case 5:
		k = place(random, n, headers);
		b = bytes[at];
		bytes[at] = bytes[k];
		bytes[k] = b;
		break;
	case 6: /* cut off, anywhere or by a few bytes */
		k = craft_below(random,
				craft_below(random, 2) && n > 8 ? 8 : n);
		n -= k;
		break;
	case 7:
		for (k = craft_below(random, 64); k && n < CRAFT_MAX; k--)
			bytes[n++] = craft_random(random);
		break;
	}
	return n;
}

uint32_t craft_damage(uint64_t *random, unsigned char *bytes, uint32_t n,
		      uint32_t headers, bool resize)
{
	for (int k = 1 + craft_below(random, 4); k && n; k--)
		n = damage_once(random, bytes, n, headers, resize);
	return n;
}
