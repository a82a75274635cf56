/* SPDX-License-Identifier: GPL-2.0-only */
/* What copying.c and copying.bpf.c share. In host byte order, on the wire, too:
 * both ends are of one machine. */
#ifndef COPYING_H
#define COPYING_H

#include <linux/types.h>

#define COPYING_MAGIC 0x636f7079 /* "copy" */

/* A connection with the peer; the addresses are always the same two. */
struct copying_key {
	__u16 local;
	__u16 remote;
};

/* In front of each message on the redirection socket and of each datagram. */
struct copying_header {
	__u32 magic;
	struct copying_key key; /* the sender's */
	__u32 length;		/* bytes behind this header */
	__u32 number;		/* of the datagram; wraps */
};

struct copying_config {
	__u64 netns; /* cookie */
	__u32 local; /* IPv4 addresses, network byte order */
	__u32 peer;
};

struct copying_counts {
	__u64 refused;	      /* messages for a connection that is not there */
	__u64 not_redirected; /* … that no header could be put before: TCP's */
	__u64 enrol_failed;   /* connections */
};

#endif
