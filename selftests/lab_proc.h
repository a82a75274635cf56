/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel has counted on a lab's host. */
#ifndef LAB_PROC_H
#define LAB_PROC_H

#include "lab.h"

/* A counter by the name that nstat has for it, or -1: the same without the
 * three programs that this takes in a shell. */
long lab_counter(struct lab *lab, enum lab_host host, const char *name);
/* Of client and server together */
long lab_counters(struct lab *lab, const char *name);

#endif
