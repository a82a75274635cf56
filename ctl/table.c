// SPDX-License-Identifier: GPL-2.0-only
/* Reads whole maps, many entries per system call. */
#include "table.h"

#include "ctl.h"
#include "out.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A hash hands out a bucket as a whole, and no bucket of ours is longer. */
#define BATCH 4096

int table_walk(int map, entry_fn fn, void *arg)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), n;
	char *keys, *values;
	void *cursor;
	bool first = true;
	int err;

	err = bpf_obj_get_info_by_fd(map, &info, &len);
	if (err)
		return shunt_err(err, "map: %s", strerror(-err));
	keys = malloc((size_t)BATCH * info.key_size);
	values = malloc((size_t)BATCH * info.value_size);
	/* A key for arrays, a number for hashes. */
	cursor = malloc(info.key_size + sizeof(__u64));
	if (!keys || !values || !cursor) {
		err = shunt_err(-ENOMEM, "out of memory");
		goto out;
	}
	do {
		n = BATCH;
		err = bpf_map_lookup_batch(map, first ? NULL : cursor, cursor,
					   keys, values, &n, NULL);
		if (err && err != -ENOENT) {
			shunt_err(err, "map %s: %s", info.name, strerror(-err));
			goto out;
		}
		first = false;
		for (__u32 i = 0; i < n; i++) {
			int ret = fn(keys + (size_t)i * info.key_size,
				     values + (size_t)i * info.value_size, arg);

			if (ret) {
				err = ret;
				goto out;
			}
		}
	} while (!err);
	err = 0; /* -ENOENT was the end */
out:
	free(keys);
	free(values);
	free(cursor);
	return err;
}

__u64 flow_seen_ns(const struct shunt_flow *flow, __u64 now)
{
	__u32 ago = (__u32)(now >> SHUNT_TICK_SHIFT) - flow->seen_tick;

	/* Another CPU's clock may be a tick ahead. */
	return (__s32)ago > 0 ? now - ((__u64)ago << SHUNT_TICK_SHIFT) : now;
}

int flow_state(const struct shunt_flow *flow, __u64 now,
	       enum shunt_state *state)
{
	static const enum shunt_state by_tx[] = {
		[SHUNT_TX_PLAIN] = SHUNT_STATE_TCP,
		[SHUNT_TX_PROBING] = SHUNT_STATE_PROBING,
		[SHUNT_TX_ENCAP] = SHUNT_STATE_REDIRECTED,
		[SHUNT_TX_FALLBACK] = SHUNT_STATE_FALLBACK,
		[SHUNT_TX_LEAVING] = SHUNT_STATE_FALLBACK,
	};

	switch (flow->life) {
	case SHUNT_LIVE:
		*state = flow->tx < ARRAY_SIZE(by_tx) ? by_tx[flow->tx]
						      : SHUNT_STATE_TCP;
		return 0;
	case SHUNT_ENDED:
		if (ns_since(now, flow_seen_ns(flow, now)) > SHUNT_LINGER_NS)
			return -ENOENT;
		*state = SHUNT_STATE_CLOSED;
		return 0;
	default:
		return -ENOENT;
	}
}
