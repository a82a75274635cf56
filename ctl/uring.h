/* SPDX-License-Identifier: GPL-2.0-only */
/* io_uring, as far as `shunt doctor` speaks of it: the proxy uses liburing. */
#ifndef SHUNT_URING_H
#define SHUNT_URING_H

/* 0 if the kernel has that operation (IORING_OP_…), or -errno. */
int uring_has(unsigned op);

#endif
