/* SPDX-License-Identifier: GPL-2.0-only */
/* The transports of an instance: their numbers, names, what there is of each.
 */
#ifndef SHUNT_TRANSPORT_H
#define SHUNT_TRANSPORT_H

#include <shunt/shared.h>
#include <stddef.h>

/* The objects that this binary brings; name NULL is behind the last one. */
struct builtin {
	const char *name;
	const void *(*elf)(size_t *size);
};

extern const struct builtin builtins[];
/* By name, or NULL. */
const struct builtin *builtin_find(const char *name);

/* All SHUNT_MAX_TRANSPORTS of an instance. */
int transport_read_all(const char *dir, struct shunt_transport *all);
int transport_write(const char *dir, unsigned number,
		    const struct shunt_transport *t);
const char *transport_name(const struct shunt_transport *all, unsigned number);
/* SHUNT_TCP, a deployed transport's number, or an error, explained. */
int transport_by_name(const struct shunt_transport *all, const char *name);
/* The number that a name has by now, or always; 0: none yet. */
unsigned transport_number(const struct shunt_transport *all, const char *name);

#endif
