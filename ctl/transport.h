/* SPDX-License-Identifier: GPL-2.0-only */
/* Transports: objects with encap and decap that join an instance. */
#ifndef SHUNT_TRANSPORT_H
#define SHUNT_TRANSPORT_H

#include <shunt/shared.h>
#include <stddef.h>

/*
 * Reads the description, loads the object against the pinned maps of the
 * instance in `dir` and puts its programs into the program arrays.
 */
int transport_load(const char *dir, const void *elf, size_t size);
/* The ones that this binary brings. */
int transport_load_builtin(const char *dir);
/* Name of the i-th of them, or NULL. */
const char *transport_builtin(size_t i);

/* All SHUNT_MAX_TRANSPORTS of an instance. */
int transport_read_all(const char *dir, struct shunt_transport *all);
const char *transport_name(const struct shunt_transport *all, unsigned number);
/* SHUNT_TCP, a deployed transport's number, or an error, explained. */
int transport_by_name(const struct shunt_transport *all, const char *name);

#endif
