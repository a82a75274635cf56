// SPDX-License-Identifier: GPL-2.0-only
/* Streams, by number and by the key of their connection. */
#include "proxy.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 8192 /* buckets, a power of two */

int streams_init(struct proxy *px)
{
	px->streams = calloc(px->n_streams, sizeof(*px->streams));
	px->by_key = calloc(KEYS, sizeof(*px->by_key));
	return px->streams && px->by_key ? 0 : -ENOMEM;
}

static struct stream **bucket(struct proxy *px, const struct shunt_key *k)
{
	uint32_t h = k->remote.w[3] ^ k->remote.w[2] ^ k->local.w[3];

	h ^= (uint32_t)k->lport << 16 | k->rport;
	return &px->by_key[(h * 0x9e3779b1) >> 16 & (KEYS - 1)];
}

/*
 * What another worker had of it, which has died: its supervisor has left us
 * only what is complete, both ways (reset_streams()), and stays on TCP.
 */
static void inherit(struct stream *st)
{
	const struct shunt_stream *s = st->shm;

	st->tx_end = st->tx_sent = st->tx_acked = st->tx_read = s->tx_bytes;
	st->rx_next = st->rx_have = s->rx_bytes;
	st->acked_next = st->acked_read = s->rx_bytes;
	if (s->tx_based) {
		st->tx_final = s->tx_bytes;
		st->tx_complete = true;
	}
}

/* A socket was enrolled under that number. */
static struct stream *open_stream(struct proxy *px, uint32_t number)
{
	struct shunt_stream *shm = &px->shm_streams[number];
	struct stream *st = calloc(1, sizeof(*st)), **b;

	if (!st)
		return NULL;
	st->shm = shm;
	st->number = number;
	st->tx_tail = &st->tx;
	st->tx_final = st->rx_final = UNKNOWN;
	if (shm->tx_open || shm->rx == SHUNT_SRX_COMPLETE)
		inherit(st);
	st->peer = peer_get(px, &shm->key.local, &shm->key.remote);
	if (!st->peer) {
		free(st);
		return NULL;
	}
	st->peer->streams++;
	b = bucket(px, &shm->key);
	st->next_key = *b;
	*b = st;
	px->streams[number] = st;
	if (shm->role == SHUNT_ROLE_ACTIVE)
		st->first = st->peer->active = true;
	stream_due(px, st, DUE_ENROL);
	control_want(px, st->peer);
	return st;
}

/* Of one that is not FREE, whose it is is final. */
static bool is_ours(const struct proxy *px, uint32_t number,
		    enum shunt_stream_life life)
{
	const struct shunt_stream *s = &px->shm_streams[number];

	return __atomic_load_n(&s->life, __ATOMIC_ACQUIRE) == life &&
	       s->loop == px->index;
}

struct stream *stream_get(struct proxy *px, uint32_t number)
{
	if (!number || number >= px->n_streams)
		return NULL;
	if (!px->streams[number] && is_ours(px, number, SHUNT_STREAM_OPEN))
		return open_stream(px, number);
	return px->streams[number];
}

struct stream *stream_by_key(struct proxy *px, const struct shunt_key *key)
{
	struct stream *st;
	uint32_t number;

	for (st = *bucket(px, key); st; st = st->next_key)
		if (!st->closed && !memcmp(&st->shm->key, key, sizeof(*key)))
			return st;
	/* Its event may still be on its way to us. */
	if (bpf_map_lookup_elem(px->stream_index_fd, key, &number))
		return NULL;
	st = stream_get(px, number);
	return st && !st->closed ? st : NULL;
}

static void give_back(struct proxy *px, uint32_t number)
{
	/* `shunt flows` shows the rest */
	__atomic_store_n(&px->shm_streams[number].life, SHUNT_STREAM_FREE,
			 __ATOMIC_RELEASE);
	kernel_free_number(px, number);
}

void stream_unmet(struct proxy *px, uint32_t number)
{
	if (number && number < px->n_streams && !px->streams[number] &&
	    is_ours(px, number, SHUNT_STREAM_CLOSED))
		give_back(px, number);
}

void stream_forget(struct proxy *px, struct stream *st)
{
	struct stream **s = bucket(px, &st->shm->key);

	while (*s && *s != st)
		s = &(*s)->next_key;
	if (*s)
		*s = st->next_key;
	px->streams[st->number] = NULL;
	st->peer->streams--;
	give_back(px, st->number);
	free(st->held);
	free(st);
}
