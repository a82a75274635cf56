/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads whole maps, many entries per system call. */
#ifndef SHUNT_TABLE_H
#define SHUNT_TABLE_H

#include <shunt/shared.h>
#include <stddef.h>

/* Called for each entry; a result other than 0 ends the walk. */
typedef int (*entry_fn)(const void *key, const void *value, void *arg);

/* Every entry of a map; those that come or go meanwhile may be missed. */
int table_walk(int map, entry_fn fn, void *arg);

/* What `shunt flows` says of a slot. -ENOENT: nothing, it is not in use. */
int flow_state(const struct shunt_flow *flow, __u64 now,
	       enum shunt_state *state);

/* When its last packet was, as CLOCK_MONOTONIC has it. */
__u64 flow_seen_ns(const struct shunt_flow *flow, __u64 now);

#endif
