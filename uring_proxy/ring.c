// SPDX-License-Identifier: GPL-2.0-only
/* io_uring: one ring, and what is done with its completions. */
#include "proxy.h"

#include <errno.h>

#define ENTRIES 1024

/* What a kernel lacks is tried and dropped: each of these came later. */
static const unsigned setups[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, /* 6.1 */
	IORING_SETUP_COOP_TASKRUN,				 /* 5.19 */
	0,
};

static void timer_fired(struct proxy *px, struct op *op, int res,
			unsigned flags)
{
	(void)op, (void)res, (void)flags;
	px->timer_ns = UINT64_MAX;
}

int ring_init(struct proxy *px)
{
	struct io_uring_probe *probe;
	int err = -EINVAL;

	px->timer_op.done = timer_fired;
	px->timer_ns = UINT64_MAX;
	for (size_t i = 0; err == -EINVAL && i < ARRAY_SIZE(setups); i++)
		err = io_uring_queue_init(ENTRIES, &px->ring, setups[i]);
	if (err)
		return err;
	/* Not looked up at each call; 5.18, and no harm where it fails. */
	io_uring_register_ring_fd(&px->ring);
	probe = io_uring_get_probe_ring(&px->ring);
	if (!probe)
		return -ENOMEM;
	px->zero_copy = io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);
	io_uring_free_probe(probe);
	return 0;
}

struct io_uring_sqe *ring_sqe(struct proxy *px, struct op *op)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&px->ring)))
		io_uring_submit(&px->ring);
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

/*
 * One timer that stays in the ring until the next tick is due. A time limit for
 * each wait would be set and taken back for each message, which on a virtual
 * machine is left to the host: a third of a ping-pong there.
 */
static void set_timer(struct proxy *px)
{
	struct io_uring_sqe *sqe;

	if (px->wake_ns >= px->timer_ns)
		return;
	px->timer = (struct __kernel_timespec){
		.tv_sec = px->wake_ns / SHUNT_NSEC,
		.tv_nsec = px->wake_ns % SHUNT_NSEC,
	};
	if (px->timer_ns == UINT64_MAX) {
		sqe = ring_sqe(px, &px->timer_op);
		io_uring_prep_timeout(sqe, &px->timer, 0, IORING_TIMEOUT_ABS);
	} else {
		/* Too late, if it has just fired; then that is told next. */
		sqe = ring_sqe(px, NULL);
		io_uring_prep_timeout_update(sqe, &px->timer,
					     (uintptr_t)&px->timer_op,
					     IORING_TIMEOUT_ABS);
	}
	px->timer_ns = px->wake_ns;
}

void ring_tick_soon(struct proxy *px)
{
	if (px->tick_ns > px->now_ns + TICK_NS)
		px->tick_ns = px->now_ns + TICK_NS;
	if (px->wake_ns > px->now_ns + TICK_NS)
		px->wake_ns = px->tick_ns;
}

void ring_tick_lazily(struct proxy *px)
{
	if (px->tick_ns > px->now_ns + TICK_NS)
		px->tick_ns = px->now_ns + TICK_NS;
	if (px->wake_ns > px->now_ns + LAZY_NS)
		px->wake_ns = px->now_ns + LAZY_NS;
}

int ring_round(struct proxy *px)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	int err;

	set_timer(px);
	/* Sends complete while they are submitted: waking up for that would be
	 * a system call for each message. One that has to wait for room makes
	 * others wait with it, until the next tick at most. */
	err = io_uring_submit_and_wait(&px->ring, 1 + px->sends);
	px->sends = 0;
	px->now_ns = clock_ns();
	/* EAGAIN: no memory for what is asked for, which stays in the queue. */
	if (err < 0 && err != -EINTR && err != -EBUSY && err != -EAGAIN)
		return err;
	io_uring_for_each_cqe(&px->ring, head, cqe)
	{
		struct op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;
		unsigned flags = cqe->flags;

		n++;
		if (op)
			op->done(px, op, res, flags);
	}
	io_uring_cq_advance(&px->ring, n);
	return 0;
}
