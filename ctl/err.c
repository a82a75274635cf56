// SPDX-License-Identifier: GPL-2.0-only
/* Errors to stderr, and what libbpf has to say when a load fails. */
#include "ctl.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAIL_LINES 40

/* The verifier's log is one print of many KB; its end says why it refused. */
static char log_tail[16384];
static size_t log_used;
static bool log_verbose;

static void vcomplain(const char *fmt, va_list ap)
{
	fflush(stdout);
	fputs("shunt: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int shunt_err(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vcomplain(fmt, ap);
	va_end(ap);
	return err;
}

int shunt_usage(const struct context *ctx, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vcomplain(fmt, ap);
	va_end(ap);
	if (ctx && ctx->command)
		fprintf(stderr, "usage: `shunt %s --help`\n",
			ctx->command->name);
	else
		fputs("usage: `shunt --help`\n", stderr);
	return -SHUNT_EUSAGE;
}

void shunt_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vcomplain(fmt, ap);
	va_end(ap);
}

static void log_keep(const char *text, size_t len)
{
	if (len > sizeof(log_tail)) {
		text += len - sizeof(log_tail);
		len = sizeof(log_tail);
	}
	if (log_used + len > sizeof(log_tail)) {
		size_t drop = log_used + len - sizeof(log_tail);

		memmove(log_tail, log_tail + drop, log_used - drop);
		log_used -= drop;
	}
	memcpy(log_tail + log_used, text, len);
	log_used += len;
}

static int log_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char *text;
	int len;

	if (log_verbose)
		return vfprintf(stderr, fmt, ap);
	if (level != LIBBPF_WARN)
		return 0;
	len = vasprintf(&text, fmt, ap);
	if (len < 0)
		return 0;
	log_keep(text, len);
	free(text);
	return len;
}

void libbpf_log_setup(bool verbose)
{
	log_verbose = verbose;
	libbpf_set_print(log_print);
}

void libbpf_log_tail(void)
{
	size_t at = log_used;
	int lines = 0;

	while (at > 0) {
		if (log_tail[at - 1] == '\n' && ++lines > TAIL_LINES)
			break;
		at--;
	}
	fwrite(log_tail + at, 1, log_used - at, stderr);
}

int require_root(const struct context *ctx)
{
	if (geteuid() == 0)
		return 0;
	return shunt_err(-EPERM,
			 "%s needs root: BPF programs and maps are the "
			 "kernel's; try `sudo shunt %s`",
			 ctx->command->name, ctx->command->name);
}
