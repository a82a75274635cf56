// SPDX-License-Identifier: GPL-2.0-only
/* SYNs and SYN-ACKs for tests: see syn.h. */
#include "syn.h"

#include <string.h>

const uint8_t usual_options[20] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 1,
				   2, 3, 0,    0,    0, 0, 1, 3,  3, 7};

void make_syn(struct seg *s)
{
	s->flags = SYN;
	s->ack = 0;
	s->payload = 0;
	seg_options(s, usual_options, sizeof(usual_options));
}

void make_synack(struct seg *s)
{
	make_syn(s);
	s->flags = SYN | ACK;
}

void add_option(struct seg *s, const void *option, uint8_t len)
{
	memcpy(s->options + s->options_len, option, len);
	s->options_len += len;
}

void add_wish(struct seg *s, const struct wish *w)
{
	uint8_t o[16] = {254,
			 16,
			 0x53,
			 0x48,
			 w->version << 4 | w->type,
			 w->path << 4 | w->coverage};

	for (int i = 0; i < 3; i++)
		put16(o + 6 + 2 * i, w->ids[i]);
	put32(o + 12, w->token);
	add_option(s, o, sizeof(o));
}

/* The option behind at, or its end; NULL where the list is broken. */
static const uint8_t *next_option(const uint8_t *at, const uint8_t *end)
{
	if (at[0] == 0)
		return end;
	if (at[0] == 1)
		return at + 1;
	if (end - at < 2 || at[1] < 2 || at[1] > end - at)
		return NULL;
	return at + at[1];
}

static void options_of(const struct pkt *p, const uint8_t **at,
		       const uint8_t **end)
{
	const uint8_t *t = p->b + pkt_l4(p);

	*at = t + 20;
	*end = t + (t[12] >> 4) * 4;
}

bool options_parse(const struct pkt *p)
{
	const uint8_t *at, *end;

	options_of(p, &at, &end);
	if (end < at || end > p->b + p->len)
		return false;
	while (at && at < end)
		at = next_option(at, end);
	return at == end;
}

const uint8_t *find_option(const struct pkt *p, uint8_t kind, int n)
{
	const uint8_t *at, *end;

	options_of(p, &at, &end);
	for (; at && at < end; at = next_option(at, end))
		if (at[0] == kind && !n--)
			return at;
	return NULL;
}

bool find_wish(const struct pkt *p, struct wish *w)
{
	const uint8_t *o = find_option(p, 254, 0);

	if (!o || find_option(p, 254, 1) || o[1] != 16 ||
	    get16(o + 2) != 0x5348)
		return false;
	*w = (struct wish){.version = o[4] >> 4,
			   .type = o[4] & 15,
			   .path = o[5] >> 4,
			   .coverage = o[5] & 15,
			   .ids = {get16(o + 6), get16(o + 8), get16(o + 10)},
			   .token = get32(o + 12)};
	return true;
}

uint16_t mss_of(const struct pkt *p)
{
	const uint8_t *o = find_option(p, 2, 0);

	return o && o[1] == 4 ? get16(o + 2) : 0;
}
