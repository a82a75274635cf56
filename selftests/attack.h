/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Somebody who is not the peer sends what a peer would, while a connection is
 * on the transport: it stays there, what it carries is what was sent, no flow
 * comes of it, and `shunt stats` says what it was. See docs/security.md.
 *
 * Forged frames are put onto the wire behind the router, which has their
 * senders' addresses, and no part in the connection's numbers.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include "lab.h"
#include "packet.h"

#define MB 1000000L
#define KB 1000L

/* A way onto the wire towards a host. */
struct wire {
	int fd;
	uint8_t macs[12];
};

struct attack {
	struct lab lab;
	int listener;
	struct lab_pair p;
	struct wire to[LAB_HOSTS];
	struct seg s[LAB_HOSTS]; /* of p, as that host receives it */
	uint64_t random;
};

/* Hosts, and a connection that is on the transport: 0 or an error. */
int attack_up(struct attack *a, const char *ingress, int domain);
void attack_end(struct attack *a);

int attack_put_on(const struct wire *w, struct pkt *p);
uint32_t attack_random(uint64_t *state);

/* One of the counters that `shunt stats -j` has shown; -1: there is none. */
long attack_stat(json_t *stats, const char *counter);

#endif
