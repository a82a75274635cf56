/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files lab*.c share. */
#ifndef LAB_OWN_H
#define LAB_OWN_H

#include "lab.h"

#include <stdarg.h>

extern const char *const lab_hosts[LAB_HOSTS];

/* Into a network namespace: 0 or -errno. */
int lab_enter(int ns);
int lab_open_home(void);
int lab_open_ns(const struct lab *lab, enum lab_host host);
int lab_make_dir(struct lab *lab);
int lab_remove_dir(struct lab *lab);

/* Run a command in a namespace (-1: ours); output NULL: leave it alone. */
int run_in(int ns, char **output, const char *command);
/* "shunt ARGS": words without quotes, no shell. */
int run_shunt_in(int ns, char **output, const char *command);

/* ---- lab_pins.c ---- */

/* Programs and maps of the instance on this host … */
int lab_note_pins(struct lab *lab, enum lab_host host);
/* … are gone a while after its end, or it says which are not. */
int lab_all_gone(struct lab *lab, enum lab_host host);

/* ---- lab_direct.c ---- */

/* A command of lab_do(): its exit status, or negative if the script has to. */
int lab_do_directly(struct lab *lab, const char *what, const char *args);

/* ---- lab_keep.c ---- */

/* The lab that an earlier test has left, if it is one with these options. */
bool lab_take(struct lab *lab, const char *options);
/* Whose end is the end of a new lab? */
pid_t lab_owner(void);
/* It is in use; it is there no more. */
void lab_taken(const struct lab *lab);
void lab_gone(const struct lab *lab);
/* A map of the instance on this host: its descriptor, or -errno. */
int lab_map(struct lab *lab, enum lab_host host, const char *name);
/* A command of lab_do(): it has to be undone. */
void lab_note_command(struct lab *lab, const char *command, const char *args);

/* Whether or not there is memory for a command is not what we test. */
#define FORMAT(text, fmt)                             \
	do {                                          \
		va_list ap_;                          \
		va_start(ap_, fmt);                   \
		if (vasprintf(&(text), fmt, ap_) < 0) \
			abort();                      \
		va_end(ap_);                          \
	} while (0)

#define TEXT(text, ...)                                 \
	do {                                            \
		if (asprintf(&(text), __VA_ARGS__) < 0) \
			abort();                        \
	} while (0)

#endif
