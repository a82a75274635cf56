/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every file of the command shares: the table of sub-commands, and how
 * errors travel. Functions return 0 (or a count, or a file descriptor) or
 * -errno; whoever knows enough to say what is wrong prints it with shunt_err()
 * and hands the number on. Only shunt_main() turns it into an exit code.
 */
#ifndef SHUNT_CTL_H
#define SHUNT_CTL_H

#include <shunt/shared.h>
#include <stdbool.h>
#include <stddef.h>

/* Wrong usage, exit code 2. No errno: those end at 4095. */
#define SHUNT_EUSAGE 4096

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct context {
	bool json;
	bool helped; /* --help was printed: success, whatever follows */
	int status;  /* exit code of `run`'s command */
	const struct command *command;
};

struct command {
	const char *name;
	const char *summary;
	const char *help;
	int (*run)(struct context *ctx, int argc, char **argv);
};

extern const struct command command_up;
extern const struct command command_down;
extern const struct command command_status;
extern const struct command command_run;
extern const struct command command_policy;
extern const struct command command_transport;
extern const struct command command_flows;
extern const struct command command_stats;
extern const struct command command_peers;
extern const struct command command_doctor;
extern const struct command command_version;

/* ---- commands.c ---- */

/* `shunt ARGS...`: its exit code. Once per process. */
int shunt_main(int argc, char **argv);

/* ---- err.c ---- */

/* Prints "shunt: …" to stderr and returns err, which is negative. */
int shunt_err(int err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for wrong usage: adds where help is, returns -SHUNT_EUSAGE. */
int shunt_usage(const struct context *ctx, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void shunt_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Keeps what libbpf says instead of printing it, unless verbose. */
void libbpf_log_setup(bool verbose);
/* Prints the last lines of what it said: the verifier's reasons. */
void libbpf_log_tail(void);

int require_root(const struct context *ctx);

/* ---- options.c ---- */

struct option;
/*
 * getopt_long() in this command's voice: -h, -j and -v are known everywhere.
 * Returns the option, -1 at the end, or '?' after the complaint (or the help)
 * has been printed; callers then return -SHUNT_EUSAGE.
 */
int next_option(struct context *ctx, int argc, char **argv,
		const char *short_options, const struct option *options);
/* For commands that take -j, and arguments from optind on, */
int common_options(struct context *ctx, int argc, char **argv);
/* … or no arguments either. */
int no_options(struct context *ctx, int argc, char **argv);

/* `shunt COMMAND VERB …`: hands on what is behind the verb. A table ends with a
 * name of NULL. */
struct verb {
	const char *name;
	int (*run)(struct context *ctx, int argc, char **argv);
};

int run_verb(struct context *ctx, int argc, char **argv,
	     const struct verb *verbs);
/*
 * `--dev a b --dev c,d`: hand over what next_option() returns, which has to be
 * asked with "-" and "d:"; other options are left alone.
 */
struct device_list {
	char *names[SHUNT_MAX_DEVICES];
	int n;
	bool open; /* names that follow are devices too */
};

int device_option(struct context *ctx, struct device_list *list, int opt);
/* --path: is there one of that name? Complains if not. */
int check_path(const struct context *ctx, const char *text);
/* The whole of text is a number from lo to hi, else -EINVAL. */
int parse_number(const char *text, unsigned long lo, unsigned long hi,
		 unsigned long *value);
/* The same for bytes: "4096", "64K", "128M", "2G". */
int parse_size(const char *text, unsigned long long lo, unsigned long long hi,
	       __u64 *value);

#endif
