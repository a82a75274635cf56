/* SPDX-License-Identifier: GPL-2.0-only */
/* The message path: its programs, and its proxy. */
#ifndef SHUNT_MESSAGE_CTL_H
#define SHUNT_MESSAGE_CTL_H

#include "cgroup.h"

#include <bpf/libbpf.h>
#include <shunt/message.h>
#include <stdbool.h>

struct message_options {
	bool on;
	__u64 memory; /* limit on undelivered bytes, of all streams together */
	unsigned loops; /* of the proxy; 0: one for each CPU it may run on */
};

/* Between open and load: nothing of it is loaded where it is off. */
int message_configure(struct bpf_object *object, bool on);
/* What would tell how far applications have read: a function or a tracepoint
 * of this kernel's, or NULL. */
const char *message_reader(void);
/* How many loops the proxy has, unless it is told. */
unsigned message_loops(void);
/* After load: the limits, the number of loops, a ring of events for each. */
int message_prepare(const char *dir, const struct message_options *options);

/* The hooks that no device has. `dir`: the instance's directory in bpffs. */
int message_attach(const char *dir, const struct cgroup *cg);
void message_detach(const char *dir);

/* ---- proxy.c ---- */

/* Starts the proxy of a finished instance and waits until it is up. Explains
 * what went wrong; then there is none. */
int proxy_start(const char *dir);
/* Ends it, if there is one: connections with bytes in its hands are reset. */
void proxy_stop(const char *dir);
/* Its state and the counters of all its loops, summed up. -ENOENT where the
 * message path is off. */
int proxy_read(const char *dir, struct shunt_proxy *proxy);
/* … and those of each; `map` is message_proxy. loops may be NULL. */
int proxy_read_map(int map, struct shunt_proxy *proxy,
		   struct shunt_proxy loops[SHUNT_MSG_LOOPS]);
bool proxy_alive(const struct shunt_proxy *proxy);
/* Its counters, in order, with what they count; NULL: no more. */
const char *proxy_counter(const struct shunt_proxy *proxy, unsigned i,
			  const char **text, __u64 *value);

#endif
