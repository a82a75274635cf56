/* SPDX-License-Identifier: GPL-2.0-only */
/* An instance's directory in bpffs: maps/, progs/, links/. */
#ifndef SHUNT_PINS_H
#define SHUNT_PINS_H

#include <linux/types.h>

#define PIN_NAME 64
#define PIN_DIR	 64

/* The directory of a network namespace's instance, or of one being built. */
void pin_dir(char buf[static PIN_DIR], __u64 cookie);
void pin_dir_building(char buf[static PIN_DIR], __u64 cookie);

int pin_mkdirs(const char *dir);
/* Returns a descriptor or -errno. */
int pin_get(const char *dir, const char *kind, const char *name);
int pin_put(const char *dir, const char *kind, const char *name, int fd);
void pin_remove(const char *dir, const char *kind, const char *name);
/* The directory with all that is pinned in it; and the one above if empty. */
void pin_remove_all(const char *dir);

#endif
