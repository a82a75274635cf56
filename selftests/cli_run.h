/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of the `shunt` command: running it, in a network namespace that nobody
 * else has, and seeing what it left in the kernel.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "factor.h"

struct cli_output {
	int status; /* exit code, or 128 + signal */
	char out[131072];
	char err[16384];
};

/* Path of the command: $SHUNT, else ../shunt beside this program. */
const char *cli_shunt(void);

/* argv ends with NULL; argv[0] is looked up in PATH. Returns the status. */
int cli_exec(struct cli_output *o, const char *const *argv);
/* The same as user nobody. */
int cli_exec_nobody(struct cli_output *o, const char *const *argv);
/* Shell syntax, formatted like printf; $S is the command. */
int cli_sh(struct cli_output *o, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A function of ctl/ in a process of its own; 1 if it returns an error. */
int cli_call(struct cli_output *o, int (*fn)(void *arg), void *arg);
/* The command n times, by its main() in one process, until it fails; argv[0] is
 * "shunt". */
int cli_repeat(struct cli_output *o, int n, const char *const *argv);
/* In the background, with our stdout and stderr. */
pid_t cli_start(const char *const *argv);

/* shunt(o, "up", "--dev", "v0") */
#define shunt(o, ...) \
	cli_exec(o, (const char *const[]){cli_shunt(), __VA_ARGS__, NULL})

/* What it printed, or NULL with the reason on stderr. */
json_t *cli_json(const struct cli_output *o);
/* A text field of the object in array whose field `by` is `value`. */
const char *cli_field(json_t *array, const char *by, const char *value,
		      const char *name);
/* Is there a line of more than 80 columns? */
bool cli_too_wide(const char *text);

/*
 * A network namespace for this process, with the veth pair v0 - v1. It goes
 * away with the process.
 */
int cli_netns(void);
uint64_t cli_cookie(void);

/* A small table: to clear one of the default's size takes a guest 0.1 s. */
#define CLI_UP "up", "--flows", "2000"

/* Everything that shunt could have changed here, as text to compare. */
void cli_state(char *buf, size_t size);

#define CLI_IDS 64

/* Programs, maps and links of the instance here, by id. */
struct cli_ids {
	uint32_t prog[CLI_IDS];
	uint32_t map[CLI_IDS];
	uint32_t link[CLI_IDS];
	int progs;
	int maps;
	int links;
};

int cli_ids(struct cli_ids *ids);
/* Are they all gone? The kernel frees them a while after the last use. */
bool cli_ids_gone(const struct cli_ids *ids);

/* A pinned map of the instance here. */
int cli_map(const char *name);

uint64_t cli_now_ns(void);

/* Does it become true within ten seconds? */
#define CLI_BECOMES(cond)                                                      \
	({                                                                     \
		uint64_t end_ = cli_now_ns() + time_factor() * 10000000000ULL; \
		bool is_;                                                      \
		while (!(is_ = (cond)) && cli_now_ns() < end_)                 \
			usleep(5000);                                          \
		is_;                                                           \
	})

#endif
