/* SPDX-License-Identifier: GPL-2.0-only */
/* What the loops of the worker have in common. */
#ifndef WORKER_H
#define WORKER_H

#include "proxy.h"

#include <pthread.h>

#define PEERS_MAX    256 /* of all loops */
#define CHANNELS_MAX 512

/* Besides this, the maps in memory: an element of `streams` is the loop's that
 * has the peer, one of `message_proxy` the loop's that counts in it. */
struct worker {
	unsigned n_loops;
	pthread_barrier_t ready;

	pthread_mutex_t lock; /* of free_slabs */
	struct slab *free_slabs;

	unsigned n_peers, n_channels; /* limit_take(), limit_give() */

	int listener;			  /* loop 0 accepts … */
	int accepted[SHUNT_MSG_LOOPS][2]; /* … and has a pipe to each other */
};

/* One more of what there may be `most` of; false: there are as many. */
static inline bool limit_take(unsigned *n, unsigned most)
{
	if (__atomic_add_fetch(n, 1, __ATOMIC_RELAXED) <= most)
		return true;
	__atomic_sub_fetch(n, 1, __ATOMIC_RELAXED);
	return false;
}

static inline void limit_give(unsigned *n)
{
	__atomic_sub_fetch(n, 1, __ATOMIC_RELAXED);
}

/* Until SIGTERM (0), or until a loop can't go on. Drops privileges. */
int work(const char *pins);

#endif
