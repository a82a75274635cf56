/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel can do, found out by trying; never by its version. */
#ifndef SHUNT_PROBE_H
#define SHUNT_PROBE_H

#include <stddef.h>

struct probe {
	const char *name;
	/* 0 or -errno; may write a few words about what was found. */
	int (*run)(char *detail, size_t size);
	const char *advice; /* for the case that it is missing */
};

/* Without one of these shunt cannot work. Each takes well below a ms. */
extern const struct probe probes_required[];
extern const size_t n_probes_required;
/* It works without these, but not as well. */
extern const struct probe probes_optional[];
extern const size_t n_probes_optional;

/* Without one of these the message path cannot. */
extern const struct probe probes_message[];
extern const size_t n_probes_message;
/* It works without these, but applications may notice. */
extern const struct probe probes_message_optional[];
extern const size_t n_probes_message_optional;

/* Names the first that is missing. */
int probes_check(const struct probe *probes, size_t n);

#endif
