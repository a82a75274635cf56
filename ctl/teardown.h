/* SPDX-License-Identifier: GPL-2.0-only */
/* Takes an instance down, whole or half built, ours or orphaned. */
#ifndef SHUNT_TEARDOWN_H
#define SHUNT_TEARDOWN_H

#include "host.h"

/* Everything that is pinned in dir, and what those programs are attached to. */
void teardown(const struct host *host, const char *dir);
/* Instances and half-built ones that nobody can use any more. Under lock. */
void teardown_orphans(const struct host *host);

#endif
