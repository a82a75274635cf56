/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What must become of a frame that arrives, read off the RFCs and
 * docs/wire-format.md once more, for comparison with what bpf/ does.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "packet.h"

enum fate {
	FATE_PASS,  /* untouched */
	FATE_TAKE,  /* out of its transport: see oracle_take() */
	FATE_DROP,  /* it is ours, but damaged, or congestion says so */
	FATE_PROBE, /* answered or consumed, at TC */
	/* An inner IPv4 header with options and a wrong checksum: the stack
	 * will look at it again, so it may come out or not. */
	FATE_TAKE_OR_PASS,
	/* It would be dropped if it were not damaged; the stack will see. */
	FATE_DROP_OR_PASS,
};

/* A flow in the table, by its segments that come in. */
struct known {
	struct seg s;
	uint8_t proto;	/* its transport: 17 or UDPLITE … */
	bool headers;	/* … with this coverage */
	uint32_t token; /* that its probes must have */
};

enum fate oracle(const struct pkt *in, bool xdp, const struct known *k, int n);
/* The frame that comes out of one with FATE_TAKE. */
void oracle_take(const struct pkt *in, struct pkt *out);
const char *fate_name(enum fate f);

#endif
