/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The proxy, all of it but main.c and kernel.c, on a kernel that the test
 * plays: streams are in memory, what is delivered to applications comes out of
 * a socket, time stands still unless it is moved. Peers are addresses of
 * loopback, in a network namespace of our own.
 */
#ifndef PROXY_RIG_H
#define PROXY_RIG_H

#include "../../uring_proxy/messages.h"
#include "../../uring_proxy/worker.h"

#define RIG_PEERS   2
#define RIG_STREAMS 16 /* numbers from 1 on; those behind are never open */
#define RIG_NUMBERS 32
#define RIG_MEMORY  (128 << 20)
#define RIG_BASE    0x80001000 /* of all promotions */

struct rig {
	struct proxy px;
	struct worker worker; /* of one loop */
	struct shunt_proxy shm;
	struct shunt_stream streams[RIG_NUMBERS];
	struct peer *peer[RIG_PEERS];
	struct channel channel[RIG_PEERS];
	struct shunt_flow flow; /* of any key, if it is LIVE */
	int app;		/* what is delivered, with its records */
	int wire[RIG_PEERS];	/* the peers' ends of UDP */
	unsigned destroyed;	/* connections reset */
	unsigned injected;	/* frames */
	unsigned char frame[SHUNT_HELD_MAX]; /* … the last one */
	uint32_t frame_length;
	size_t slabs; /* that are free at the start */
};

/* 0 or -errno. */
int rig_up(struct rig *r);
/* The one that is up: for what plays the kernel (rig_kernel.c), as the proxy
 * calls that without a rig. */
extern struct rig *rig;

/* A connection is established, with that token at this end. */
struct stream *rig_open(struct rig *r, uint32_t number, unsigned peer,
			uint32_t token);
/* … is gone: what is left of its stream is freed, in due time? */
bool rig_closed(struct rig *r, uint32_t number);

/* Bytes out of the peer's control channel, in one or two reads: how many
 * messages_read() has taken, or -EPROTO. After that, or with a rest, it is
 * another channel. */
int rig_say(struct rig *r, unsigned peer, const void *bytes, uint32_t first,
	    uint32_t rest);
/* A message for a stream, or about it (HELLO, ENROL); value: what there is to
 * say. Its length. */
uint32_t rig_message(struct rig *r, unsigned char *to, enum message_type type,
		     uint32_t number, uint64_t a, uint64_t b);
/* Peer 0 says it. */
void rig_tell(struct rig *r, enum message_type type, uint32_t number,
	      uint64_t a, uint64_t b);
/* … with flags in its header. */
void rig_tell_flags(struct rig *r, enum message_type type, uint8_t flags,
		    uint32_t number, uint64_t a, uint64_t b);
/* rig_open() with peer 0, who has enrolled it, too: we may promote it. */
struct stream *rig_enrolled(struct rig *r, uint32_t number, uint32_t token);

/* The number of a stream at the peer's */
static inline uint32_t rig_remote(uint32_t number)
{
	return number + 1000;
}

/* A datagram, or some of one size, from that peer; false: no slab is free. */
bool rig_datagram(struct rig *r, unsigned peer, const void *bytes, uint32_t n,
		  uint32_t segment);

/* What SK_MSG would put into the redirection socket; false: no slab is free. */
bool rig_redirected(struct rig *r, const void *bytes, uint32_t n, int *err);
/* A message of the application as SK_MSG numbers it, not yet queued. */
struct shunt_record rig_number(struct rig *r, uint32_t number, uint32_t length);
/* … with its bytes, as SK_MSG would queue it, in the one form or the other if
 * that can be: how many. */
uint32_t rig_queued(struct rig *r, unsigned char *to,
		    const struct shunt_record *record, bool saved);

/* Two milliseconds later: what is due is sent, what is sent has arrived. */
void rig_tick(struct rig *r);
/* Is all that was taken given back, but for what is being filled? */
bool rig_is_empty(struct rig *r);

#endif
