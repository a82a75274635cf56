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

int ring_init(struct proxy *px)
{
	struct io_uring_probe *probe;
	int err = -EINVAL;

	for (size_t i = 0; err == -EINVAL && i < ARRAY_SIZE(setups); i++)
		err = io_uring_queue_init(ENTRIES, &px->ring, setups[i]);
	if (err)
		return err;
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

int ring_round(struct proxy *px)
{
	uint64_t wait = px->tick_ns > px->now_ns ? px->tick_ns - px->now_ns : 0;
	struct __kernel_timespec ts = {
		.tv_sec = wait / SHUNT_NSEC,
		.tv_nsec = wait % SHUNT_NSEC,
	};
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	int err;

	err = io_uring_submit_and_wait_timeout(&px->ring, &cqe, 1, &ts, NULL);
	px->now_ns = clock_ns();
	if (err < 0 && err != -ETIME && err != -EINTR && err != -EBUSY)
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
