/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How much slower than a machine of its own this one is: 1, or what the guest
 * of selftests/check-qemu has measured at its start. Limits of time are
 * multiplied. And how many bytes to send there, and other numbers that the
 * environment may have.
 */
#ifndef FACTOR_H
#define FACTOR_H

#include <stdint.h>
#include <stdlib.h>

static inline int time_factor(void)
{
	const char *text = getenv("SHUNT_TIME_FACTOR");
	int factor = text ? atoi(text) : 1;

	return factor > 1 ? factor : 1;
}

/* In a guest with an emulated processor, plain TCP is slow, too. */
static inline long size_here(long natively, long in_guest)
{
	return getenv("SHUNT_GUEST") ? in_guest : natively;
}

/* A seed or a length, of any base, that a user has set */
static inline uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

#endif
