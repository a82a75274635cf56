/* SPDX-License-Identifier: GPL-2.0-only */
/* The streams of the message path, which has most of a flow's bytes there. */
#ifndef SHUNT_STREAMS_H
#define SHUNT_STREAMS_H

#include "instance.h"

#include <shunt/message.h>

struct streams {
	struct shunt_stream *stream; /* sorted by token_local */
	size_t n;
};

/* A stream's numbers stay until another connection gets it. Explains errors;
 * streams_free() is due in any case. */
int streams_read(const struct instance *in, struct streams *streams);
/* Leaves *stream alone if there is none. */
void streams_find(const struct streams *streams, const struct shunt_key *key,
		  __u32 token, struct shunt_stream *stream);
void streams_free(struct streams *streams);

/* Of enum shunt_stream_tx and enum shunt_stream_rx. */
const char *stream_tx_name(unsigned tx);
const char *stream_rx_name(unsigned rx);

#endif
