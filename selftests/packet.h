/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets for tests, built byte by byte from the RFCs' field offsets: nothing
 * here shares code with bpf/, so that a mistake there cannot hide itself.
 */
#ifndef PACKET_H
#define PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKT_MAX	  9400
#define ETH_LEN	  14
#define FIN	  0x01
#define SYN	  0x02
#define RST	  0x04
#define PSH	  0x08
#define ACK	  0x10
#define GUE_PORT  6080
#define UDPLITE	  136
#define FLOW_PORT 51001 /* outer source port of the flows of tests */
#define TAG_MAX	  3

/* A frame, and what an skb knows besides. */
struct pkt {
	uint32_t len;
	uint32_t gso_size;
	uint32_t gso_segs;
	uint8_t b[PKT_MAX];
};

/* A TCP segment by its fields; the default ones come from seg_out(). */
struct seg {
	bool v6;
	uint8_t src[16]; /* IPv4: the first four bytes */
	uint8_t dst[16];
	uint16_t sport;
	uint16_t dport;
	uint8_t tags; /* VLAN tags in the frame */
	uint16_t tpid[TAG_MAX];
	uint16_t tci[TAG_MAX];
	uint8_t tos;
	uint8_t ttl;
	uint16_t id;
	uint16_t frag;	    /* flags and offset */
	uint32_t label;	    /* IPv6 flow label */
	uint8_t ip_options; /* bytes, a multiple of 4 */
	uint32_t seq;
	uint32_t ack;
	uint8_t flags;
	uint8_t options[40];
	uint8_t options_len;
	uint32_t payload;
};

/* Outer headers as docs/wire-format.md has them; fields a test may bend. */
struct outer {
	uint16_t sport;
	uint16_t dport;
	uint8_t proto;
	uint8_t tos;
	uint8_t ttl;
	bool set_tos;	   /* use tos; else the inner one is copied */
	uint16_t coverage; /* UDP-Lite's field */
};

uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put16(uint8_t *p, uint16_t v);
void put32(uint8_t *p, uint32_t v);

/* RFC 1071: the folded sum, not inverted. */
uint16_t sum16(const uint8_t *p, uint32_t len, uint32_t start);

/* Offsets in a frame. */
uint32_t pkt_l3(const struct pkt *p); /* behind the VLAN tags */
bool pkt_v6(const struct pkt *p);
uint32_t ip_hlen(const uint8_t *ip);
uint32_t pkt_l4(const struct pkt *p);

/* Checksums of the (outermost) IP packet in the frame. */
void fix_ip(uint8_t *ip);
bool ip_good(const uint8_t *ip);
void fix_tcp(uint8_t *ip);
bool tcp_good(const uint8_t *ip);
/* UDP's (RFC 768). */
void fix_udp(uint8_t *ip);
/* UDP-Lite's, over so many bytes as its coverage field says. */
void fix_udplite(uint8_t *ip);
bool udplite_good(const uint8_t *ip);

/* A host's segment to its peer, and the peer's to the host: data, ACK set. */
struct seg seg_out(bool v6);
struct seg seg_in(bool v6);

/* options_len bytes of TCP options. */
void seg_options(struct seg *s, const void *options, uint8_t len);

void pkt_seg(struct pkt *p, const struct seg *s);

/* Put the frame's IP packet into UDP or UDP-Lite. NULL: into UDP, as a peer of
 * ours would. */
void pkt_wrap(struct pkt *p, const struct outer *o);

/* A probe of the segment's flow, wrapped up. */
enum { ASKS = 1, ECHOS = 2 };
void pkt_probe(struct pkt *p, const struct seg *s, uint8_t flags,
	       uint32_t token, uint32_t nonce, uint32_t echo);
/* The same on UDP-Lite. */
void pkt_probe_lite(struct pkt *p, const struct seg *s, uint8_t flags,
		    uint32_t token, uint32_t nonce, uint32_t echo);

/* Bytes out of, or into, the middle of a frame. */
void pkt_cut(struct pkt *p, uint32_t at, uint32_t n);
void pkt_insert(struct pkt *p, uint32_t at, uint32_t n);

bool pkt_same(const struct pkt *a, const struct pkt *b);
/* Where two frames differ, for a person, on stderr as TAP comments. */
void pkt_diff(const char *what, const struct pkt *want, const struct pkt *got);

#endif
