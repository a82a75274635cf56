/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Puts transports into an instance and takes them out, while packets flow.
 * `dir` is the instance's directory in bpffs, which nobody else edits
 * meanwhile. Everything explains its errors, and has changed nothing then.
 */
#ifndef SHUNT_DEPLOY_H
#define SHUNT_DEPLOY_H

#include <shunt/shared.h>
#include <stddef.h>

/* An object file as it was read; name: instead of the one in it, or NULL. */
struct object_file {
	const char *path; /* for messages */
	const char *name;
	const void *elf;
	size_t size;
};

/* Loads it, under a number that is free. Returns the number. */
int deploy_add(const char *dir, const struct object_file *file);

/*
 * Loads it in the place of transport `number`. With the same header on the wire
 * flows don't notice; else they go back to TCP first, as with
 * deploy_withdraw(). Returns 1 in the first case, 0 in the second.
 */
int deploy_replace(const char *dir, unsigned number,
		   const struct object_file *file);

/*
 * Takes it away: its flows go back to TCP. What their peers have sent over it
 * is taken in until they have noticed, for a second at most. The name keeps the
 * number, so that rules of the policy go on meaning the same.
 */
int deploy_withdraw(const char *dir, unsigned number);

/* The first half of that, for all at once: `shunt down` takes the rest. */
void deploy_withdraw_all(const char *dir);

/* The built-in ones, into an instance that is being made. */
int deploy_builtins(const char *dir);

#endif
