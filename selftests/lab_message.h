/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The message path between a lab's hosts: connections that are on it, what its
 * proxies have counted, and applications that write and read in ways of their
 * own.
 */
#ifndef LAB_MESSAGE_H
#define LAB_MESSAGE_H

#include "lab.h"

#include <shunt/message.h>
#include <stdatomic.h>

/* lab_up_both() with the path, and a policy on the client that asks for it for
 * all connections. With LAB_HARNESS_MAIN the next test gets the same proxies:
 * compare counters with what they were. */
int lab_message_up(struct lab *lab, const char *options, const char *fmt, ...)
	LAB_PRINTF(3);
/* The policy alone, for instances with other options, if there is none yet. */
int lab_ask_for_path(struct lab *lab, const char *transport);

/* The state and counters of the proxy there; all zero: no such thing. */
struct shunt_proxy lab_proxy(struct lab *lab, enum lab_host host);

/* A counter of it as `shunt stats` shows it, or -1. */
long lab_proxy_stat(struct lab *lab, enum lab_host host, const char *name);

/* Of this machine: others move it, too. */
long lab_mem_available_kb(void);

/* Small messages to and fro until both directions take the path: do they? */
bool lab_promoted(struct lab *lab, const struct lab_pair *pair);

/* The two counters of bytes have grown by so much and hardly more, from TCP's
 * first messages: nothing went another way. */
#define EXPECT_TOOK_PATH(before, after, bytes)            \
	do {                                              \
		long grown_ = (long)((after) - (before)); \
		EXPECT_LE((long)(bytes)-1000, grown_);    \
		EXPECT_GE((long)(bytes) + 1000, grown_);  \
	} while (0)

/* No stream was lost or sent back to TCP since then. */
bool lab_undisturbed(struct lab *lab, const struct shunt_proxy was[LAB_HOSTS]);
/* was[CLIENT] and was[SERVER] */
void lab_proxies(struct lab *lab, struct shunt_proxy now[LAB_HOSTS]);

/* ---- talk: two applications, a stream of bytes each way ---- */

/* One end: a socket, and how the application uses it. Both return what they
 * have done of len, at least one byte, or -errno. */
struct talker {
	int fd;
	int (*write)(struct talker *t, const void *buf, size_t len);
	int (*read)(struct talker *t, void *buf, size_t len);
	void *own;
};

/* With send() and recv() */
int talk_send(struct talker *t, const void *buf, size_t len);
int talk_recv(struct talker *t, void *buf, size_t len);

struct talk {
	struct talker c, s;
	uint64_t at[2]; /* bytes so far, by direction TO_… */
};

/* len bytes in one direction, all of them given to write() at once, compared at
 * the other end: 0 or -errno. */
int talk_one_way(struct talk *t, int direction, size_t len);
/* There and back, until both directions take the path: do they? */
bool talk_promoted(struct lab *lab, struct talk *t);

#endif
