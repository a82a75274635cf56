// SPDX-License-Identifier: GPL-2.0-only
/* Connections that are reset: TCP can't make up for what is lost of them. */
#include "proxy.h"

void stream_abort(struct proxy *px, struct stream *st, enum shunt_reset why,
		  const char *what)
{
	if (st->doomed)
		return;
	if (verbose)
		say("stream %u reset: %s", st->number, what);
	st->doomed = true;
	px->shm->aborted++;
	px->shm->resets[why]++;
	order_drop(px, st);
	tx_drop(px, st);
	rx_drop(px, st);
	st->due = 0;
	if (st->remote)
		stream_due(px, st, DUE_ABORT);
	if (!st->closed)
		kernel_destroy(&st->shm->key);
	stream_active(px, st);
}

/* In which the path has a part that TCP can't make up for. */
static bool entangled(const struct stream *st)
{
	return (stream_promoted(st) && !st->tx_complete) ||
	       st->shm->rx == SHUNT_SRX_BASED || st->rx;
}

void streams_abort_peer(struct proxy *px, struct peer *p, enum shunt_reset why,
			const char *what)
{
	for (uint32_t i = 1; i < px->n_streams; i++) {
		struct stream *st = px->streams[i];

		if (!st || st->peer != p)
			continue;
		if (entangled(st))
			stream_abort(px, st, why, what);
		st->remote = 0;
		st->peer_ready = false;
	}
}
