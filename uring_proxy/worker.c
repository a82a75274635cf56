// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker: a loop for each CPU, the first one in the process's own thread.
 * Threads and not processes, because they share the slabs, and because nothing
 * is won if one loop outlives another: when one ends, the process does, and the
 * supervisor resets what it had.
 */
#include "worker.h"

#include <cap-ng.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

/* It maps and updates what is open, injects packets, resets connections, and
 * connects from a reserved port. */
static int drop_privileges(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
		      CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_BPF, CAP_PERFMON,
		      -1);
	if (capng_apply(CAPNG_SELECT_BOTH) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -EPERM;
	return 0;
}

/* ---- a loop ---- */

static void tick(struct proxy *px)
{
	px->tick_ns = px->wake_ns = px->now_ns + TICK_IDLE_NS;
	kernel_events(px);
	redirect_tick(px);
	streams_tick(px);
	peers_tick(px);
	control_tick(px);
}

/* In its thread: a ring knows who has made it. */
static int begin(struct proxy *px)
{
	int err;

	px->now_ns = clock_ns();
	err = ring_init(px);
	if (!err)
		err = buffers_init(px);
	if (!err)
		err = streams_init(px);
	if (!err)
		err = redirect_init(px);
	if (err) {
		say("cannot start: %s", strerror(-err));
		return err;
	}
	kernel_watch(px);
	accept_init(px);
	return 0;
}

/* Signals are for the first one; the others end with it. */
static bool has_ended(const struct proxy *px)
{
	return px->quit || (!px->index && stop);
}

static int loop(struct proxy *px)
{
	int err = 0;

	while (!err && !has_ended(px)) {
		bool due = px->now_ns >= px->tick_ns;

		if (due)
			tick(px);
		for (struct peer *p = px->peers; p; p = p->next) {
			if (px->tx_work)
				tx_push(px, p);
			if (due || p->due)
				messages_send(px, p, due);
		}
		px->tx_work = false;
		redirect_read(px);
		err = ring_round(px);
	}
	if (err)
		say("io_uring: %s", strerror(-err));
	return err || px->quit ? -EIO : 0;
}

/* ---- all of them ---- */

static void *run(void *arg)
{
	struct proxy *px = arg;

	if (begin(px))
		_exit(1);
	pthread_barrier_wait(&px->worker->ready);
	loop(px);
	_exit(1);
}

static int start_others(struct proxy *loops, unsigned n)
{
	sigset_t all, was;
	pthread_t thread;
	int err = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	for (unsigned i = 1; !err && i < n; i++)
		err = -pthread_create(&thread, NULL, run, &loops[i]);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return err;
}

/* What is open once is the same for all. */
static int open_all(struct worker *w, struct proxy *loops, const char *pins)
{
	struct proxy *first = &loops[0];
	int err = kernel_open(first, pins);

	if (err)
		return err;
	w->n_loops = first->shared->loops;
	if (!w->n_loops || w->n_loops > SHUNT_MSG_LOOPS)
		return -EINVAL;
	if (getrandom(&first->instance, sizeof(first->instance), 0) < 0)
		return -errno;
	first->worker = w;
	first->zero_copy_from = SHUNT_MSG_ZERO_COPY;
	for (unsigned i = 0; !err && i < w->n_loops; i++) {
		loops[i] = *first;
		loops[i].index = i;
		loops[i].shm = &first->shared[i];
	}
	for (unsigned i = 0; !err && i < w->n_loops; i++)
		err = kernel_open_events(&loops[i], pins);
	if (!err)
		err = slabs_init(w, first->shared->total_limit);
	if (!err)
		err = accept_open(w);
	if (!err)
		err = -pthread_barrier_init(&w->ready, NULL, w->n_loops);
	return err;
}

int work(const char *pins)
{
	static struct proxy loops[SHUNT_MSG_LOOPS];
	static struct worker w;
	struct proxy *first = &loops[0];
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err = open_all(&w, loops, pins);
	if (!err)
		err = drop_privileges();
	if (!err)
		err = start_others(loops, w.n_loops);
	if (err) {
		say("cannot start: %s", strerror(-err));
		return err;
	}
	err = begin(first);
	if (err)
		return err;
	kernel_refill(first); /* none of them gives one back meanwhile */
	pthread_barrier_wait(&w.ready);
	first->shared->worker = getpid();
	__atomic_store_n(&first->shared->up, 1, __ATOMIC_SEQ_CST);
	return loop(first);
}
