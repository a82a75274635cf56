// SPDX-License-Identifier: GPL-2.0-only
/* The table of sub-commands. */
#include "ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
	&command_up,	 &command_down,	     &command_status,  &command_run,
	&command_policy, &command_transport, &command_flows,   &command_stats,
	&command_peers,	 &command_doctor,    &command_version,
};

static void print_help(FILE *out)
{
	fputs("usage: shunt [-j] [-v] COMMAND [OPTION...]\n\n"
	      "Moves the TCP connections of unmodified applications onto a\n"
	      "lighter transport between two hosts that both run it.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i]->name,
			commands[i]->summary);
	fputs("\n"
	      "  -j, --json     print JSON\n"
	      "  -v, --verbose  print what libbpf says too\n"
	      "  -h, --help     this text; after a COMMAND: about it\n"
	      "\n"
	      "example: shunt up --dev eth0 && shunt status\n",
	      out);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static int run_command(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"version", no_argument, NULL, 'V'},
		{},
	};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+hjvV", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			print_help(stdout);
			return 0;
		case 'j':
			ctx->json = true;
			break;
		case 'v':
			libbpf_log_setup(true);
			break;
		case 'V':
			ctx->command = &command_version;
			return ctx->command->run(ctx, 0, argv);
		default:
			return shunt_usage(ctx, "unknown option '%s'",
					   argv[optind - 1]);
		}
	}
	if (optind == argc) {
		print_help(stderr);
		return -SHUNT_EUSAGE;
	}
	ctx->command = find_command(argv[optind]);
	if (!ctx->command)
		return shunt_usage(ctx, "unknown command '%s'", argv[optind]);
	argc -= optind;
	argv += optind;
	/* 0 and not 1: glibc then starts afresh with another option string. */
	optind = 0;
	return ctx->command->run(ctx, argc, argv);
}

int shunt_main(int argc, char **argv)
{
	struct context ctx = {};
	int err;

	libbpf_log_setup(false);
	err = run_command(&ctx, argc, argv);
	if (ctx.helped)
		err = 0;
	if (fflush(stdout) || ferror(stdout)) {
		shunt_err(-EIO, "cannot write to stdout: %s", strerror(errno));
		err = err ? err : -EIO;
	}
	if (err == -SHUNT_EUSAGE)
		return 2;
	if (err)
		return 1;
	return ctx.status;
}
