// SPDX-License-Identifier: GPL-2.0-only
/* The streams of the message path: see streams.h. */
#include "streams.h"

#include "ctl.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add_stream(const void *key, const void *value, void *arg)
{
	const struct shunt_stream *stream = value;
	struct streams *streams = arg;

	(void)key;
	if (stream->token_local && streams->n <= SHUNT_MSG_STREAMS)
		streams->stream[streams->n++] = *stream;
	return 0;
}

static int by_token(const void *a, const void *b)
{
	const struct shunt_stream *x = a, *y = b;

	return (x->token_local > y->token_local) -
	       (x->token_local < y->token_local);
}

int streams_read(const struct instance *in, struct streams *streams)
{
	int fd, err;

	streams->n = 0;
	streams->stream =
		calloc(SHUNT_MSG_STREAMS + 1, sizeof(*streams->stream));
	if (!streams->stream)
		return shunt_err(-ENOMEM, "out of memory");
	fd = instance_map(in, "streams");
	if (fd < 0)
		return fd;
	err = table_walk(fd, add_stream, streams);
	close(fd);
	qsort(streams->stream, streams->n, sizeof(*streams->stream), by_token);
	return err;
}

void streams_find(const struct streams *streams, const struct shunt_key *key,
		  __u32 token, struct shunt_stream *stream)
{
	struct shunt_stream wanted = {.token_local = token};
	const struct shunt_stream *found;

	if (!streams->n)
		return;
	found = bsearch(&wanted, streams->stream, streams->n, sizeof(wanted),
			by_token);
	if (found && !memcmp(&found->key, key, sizeof(*key)))
		*stream = *found;
}

void streams_free(struct streams *streams)
{
	free(streams->stream);
}

const char *stream_tx_name(unsigned tx)
{
	static const char *const names[] = {
		[SHUNT_STX_TCP] = "tcp",
		[SHUNT_STX_READY] = "ready",
		[SHUNT_STX_ON] = "on",
		[SHUNT_STX_OFF] = "off",
	};

	return tx < ARRAY_SIZE(names) ? names[tx] : "?";
}

const char *stream_rx_name(unsigned rx)
{
	static const char *const names[] = {
		[SHUNT_SRX_TCP] = "tcp",
		[SHUNT_SRX_ARMED] = "armed",
		[SHUNT_SRX_BASED] = "on",
		[SHUNT_SRX_COMPLETE] = "complete",
	};

	return rx < ARRAY_SIZE(names) ? names[rx] : "?";
}
