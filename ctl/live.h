/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The flow table itself, not a copy: single bytes of a flow can be written
 * while BPF programs count packets beside them. The bpf() call writes whole
 * values.
 */
#ifndef SHUNT_LIVE_H
#define SHUNT_LIVE_H

#include <shunt/shared.h>
#include <stdbool.h>
#include <stddef.h>

struct live {
	struct shunt_flow *flow; /* slot 0 is never used */
	size_t n;
	int hand;
};

/* The instance in dir. Explains its errors. */
int live_open(const char *dir, struct live *live);
void live_close(struct live *live);

/* All slots from this one on have never been used: the rest of 26 MB need not
 * be mapped in. */
size_t live_end(const struct live *live);

/* The flow's next packet goes back to TCP. False if it is there already. */
bool live_leave(struct shunt_flow *f, enum shunt_reason reason);

#endif
