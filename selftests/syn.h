/* SPDX-License-Identifier: GPL-2.0-only */
/* SYNs and SYN-ACKs for tests, and what their options say (RFC 9293, 6994). */
#ifndef SYN_H
#define SYN_H

#include "packet.h"

enum { OFFER = 1, ANSWER = 2 };

/* The handshake option on the wire, in host order. */
struct wish {
	uint8_t version;
	uint8_t type;
	uint8_t path;
	uint8_t coverage;
	uint16_t ids[3]; /* of transports */
	uint32_t token;
};

/* What transports are known by on the wire (docs/wire-format.md). */
#define ID_UDP	   0x3f86
#define ID_UDPLITE 0x9d31

/* MSS, SACK permitted, timestamps, window scale: 20 bytes, as Linux does it. */
extern const uint8_t usual_options[20];

/* Make s the SYN, or the SYN-ACK, of its connection: seq is the initial one. */
void make_syn(struct seg *s);
void make_synack(struct seg *s);

void add_option(struct seg *s, const void *option, uint8_t len);
void add_wish(struct seg *s, const struct wish *w);
static inline struct wish a_wish(uint8_t type)
{
	return (struct wish){.version = 1,
			     .type = type,
			     .ids = {ID_UDP},
			     .token = 0xcafe0001};
}

/* Walk the TCP options of the frame: false if they don't parse. */
bool options_parse(const struct pkt *p);
/* The n-th option of that kind: its bytes, or NULL. */
const uint8_t *find_option(const struct pkt *p, uint8_t kind, int n);
/* Our option, if the frame has just one. */
bool find_wish(const struct pkt *p, struct wish *w);
/* The MSS option's value, 0: none. */
uint16_t mss_of(const struct pkt *p);

#endif
