/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the proxy may do with what comes from the network, written from
 * docs/message-path.md: whether a frame or a message is to be believed, what of
 * the streams may change by it, and which bytes may be delivered.
 */
#ifndef PROXY_MODEL_H
#define PROXY_MODEL_H

#include "rig.h"

/* Streams as they are seen from outside; a bit each of what may change. */
/* clang-format off */
#define MODEL_FIELDS(X, S)                                            \
	X(doomed) X(closing) X(peer_ready) X(remote) X(tx_sent)       \
	X(tx_acked) X(tx_read) X(tx_final) X(tx_complete) X(n_repair) \
	X(rx_next) X(rx_final) X(rx_sent) X(rx_turn) X(held_length)   \
	S(rx) S(tx) S(rx_base) S(tx_known) S(tx_open) S(excluded)     \
	S(enrolled) S(rx_bytes) S(tx_released)
/* clang-format on */

enum {
#define X(field) BIT_##field,
#define S(field) BIT_SHM_##field,
	MODEL_FIELDS(X, S)
#undef X
#undef S
		MODEL_BITS
};

struct model {
	struct rig *r;
	/* each byte that was accepted first at its offset, with HAVE */
	uint16_t *bytes[RIG_STREAMS + 1];
	uint64_t delivered[RIG_STREAMS + 1];
	uint64_t was[RIG_STREAMS + 1][MODEL_BITS];
	bool open[RIG_STREAMS + 1];
	uint64_t refused;
	/* for all streams together */
	uint64_t frames, frame_bytes, messages, out;
};

int model_init(struct model *m, struct rig *r);
/* It begins anew. */
void model_reset(struct model *m, uint32_t number);

/* Number of the stream that takes this frame from that peer, 0: none. */
uint32_t model_frame(const struct rig *r, unsigned peer, const void *bytes,
		     uint32_t n);
/* Its bytes may be delivered from now on. */
void model_accept(struct model *m, uint32_t number, uint64_t offset,
		  const void *bytes, uint32_t n);

/* What is to become of a message: its type, or one of these. */
#define MODEL_BROKEN  0	 /* the end of the channel */
#define MODEL_NOTHING -1 /* it changes no stream */
#define MODEL_WAITS   -2 /* there must be more of it */
int model_message(const struct rig *r, unsigned peer, const void *bytes,
		  uint32_t n, uint32_t *number);

/* Remember all streams; did only this one change since, and no more of it than
 * what the message may change? type: of a message; MODEL_FRAME: a frame. */
#define MODEL_FRAME 100
#define MODEL_HELD  101
void model_mark(struct model *m);
const char *model_changed(struct model *m, uint32_t number, int type);

/* Is all that was delivered since the last call what was accepted, in order,
 * and where it belongs? NULL, or what is wrong. */
const char *model_deliveries(struct model *m);

#endif
