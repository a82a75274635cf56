/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether programs, maps and links are still in the kernel, by their ids.
 *
 * It is asked without opening them. The kernel clears a program array when its
 * last user has gone, a little later and elsewhere; who opens and closes it in
 * that moment makes it count a reference twice and drop it once
 * (prog_array_map_clear() in 6.1): it stays for good, as 100 of 100 did
 * on 6.18.
 */
#ifndef LEFT_H
#define LEFT_H

#include <stdbool.h>
#include <stdint.h>

enum left_kind {
	LEFT_PROGS,
	LEFT_MAPS,
	LEFT_LINKS,
};

bool left(enum left_kind kind, uint32_t id);

/* None of these n? A 0 ends them, too. */
bool left_none(enum left_kind kind, const uint32_t *ids, int n);

/* Say on stderr which of them there are, for who has to find out why. */
void left_tell(enum left_kind kind, const uint32_t *ids, int n);

#endif
