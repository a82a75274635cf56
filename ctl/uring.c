// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel's io_uring has for the proxy: see uring.h. */
#include "uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPS 256

int uring_has(unsigned op)
{
	struct io_uring_params params = {};
	struct io_uring_probe *probe;
	int fd, err = 0;

	fd = syscall(SYS_io_uring_setup, 1, &params);
	if (fd < 0)
		return -errno;
	probe = calloc(1, sizeof(*probe) + OPS * sizeof(probe->ops[0]));
	if (!probe)
		err = -ENOMEM;
	else if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE,
			 probe, OPS))
		err = -errno;
	else if (op > probe->last_op ||
		 !(probe->ops[op].flags & IO_URING_OP_SUPPORTED))
		err = -EOPNOTSUPP;
	free(probe);
	close(fd);
	return err;
}
