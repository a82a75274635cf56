/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What two proxies say to each other; docs/message-path.md has the table. Each
 * message can be said again without harm, which is how a new channel takes over
 * from a lost one.
 */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "proxy.h"

#define MAGIC	0x73687074 /* "shpt" */
#define VERSION 2

enum message_type {
	HELLO = 1, /* magic, version, instance */
	ABORT,	   /* the stream can't go on here: reset yours */
	ENROL,	   /* sport, dport, token: that connection is my number … */
	READY,	   /* you may promote your direction */
	PROMOTED,  /* base: I have */
	KNOWN,	   /* … I know that */
	ACK,	   /* received, read */
	FINAL,	   /* base, offset: nothing of mine comes behind */
	SENT,	   /* offset: I have sent so far */
	GAPS,	   /* (from, to)…: I lack these */
	COMPLETE,  /* I have all: TCP may go on */
	REPAIR,	   /* offset, bytes */
	DEMOTE,	   /* mine is on TCP: yours should be, so that I can leave */
	NEVER,	   /* my direction has not left TCP, and never will */
	RETREAT,   /* READY I was, but you are not, or a send of mine
		      has to wait: may I leave? */
	LEFT,	   /* … you may; I know that you are not READY, nor
		      am I */
};

/* In front of each message; network order. */
struct head {
	__be16 length; /* with this header */
	uint8_t type;
	uint8_t flags;
	__be32 to;   /* the receiver's number of the stream, 0: none */
	__be32 from; /* the sender's */
} __attribute__((packed));

#define RETREAT_CROWDED 0x01 /* RETREAT: even if you are, if you can */
#define ENROL_REPLY	0x01 /* I don't know your number */
#define ACK_ARRIVED	0x01 /* datagrams of it have come since the last one */
#define ABORT_ENDED \
	0x01 /* it has come to its end: what I have not got is lost */

struct hello {
	struct head h;
	__be32 magic;
	__be16 version;
	__be16 reserved;
	__be64 instance;
} __attribute__((packed));

struct enrol {
	struct head h;
	__be16 sport, dport; /* of the connection, as it leaves the sender */
	__be32 token;	     /* the receiver's: proof of the handshake */
} __attribute__((packed));

struct base {
	struct head h;
	__be32 base;
} __attribute__((packed));

struct ack {
	struct head h;
	__be64 received, read;
} __attribute__((packed));

struct final {
	struct head h;
	__be32 base;
	__be64 offset;
} __attribute__((packed));

struct at {
	struct head h;
	__be64 offset;
} __attribute__((packed));

struct gaps {
	struct head h;
	struct {
		__be64 from, to;
	} __attribute__((packed)) range[];
} __attribute__((packed));

#define GAPS_MAX    32
#define REPAIR_MAX  (16 << 10)
#define MESSAGE_MAX (sizeof(struct at) + REPAIR_MAX)
/* Repairs leave room for what must not wait. */
#define REPAIR_ROOM (CHANNEL_OUT / 2)

/* A message with its header, length bytes with that, or NULL: no room. st NULL:
 * about no stream. */
void *message_begin(struct channel *c, struct stream *st,
		    enum message_type type, uint32_t length);

#endif
