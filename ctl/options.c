// SPDX-License-Identifier: GPL-2.0-only
/* Options, the same in every sub-command. */
#include "ctl.h"
#include "out.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int next_option(struct context *ctx, int argc, char **argv,
		const char *short_options, const struct option *options)
{
	int opt;

	opterr = 0;
	opt = getopt_long(argc, argv, short_options, options, NULL);
	switch (opt) {
	case 'h':
		fputs(ctx->command->help, stdout);
		ctx->helped = true;
		return '?';
	case 'j':
		ctx->json = true;
		return next_option(ctx, argc, argv, short_options, options);
	case 'v':
		libbpf_log_setup(true);
		return next_option(ctx, argc, argv, short_options, options);
	case ':':
		shunt_usage(ctx, "%s: %s needs a value", ctx->command->name,
			    argv[optind - 1]);
		return '?';
	case '?':
		shunt_usage(ctx, "%s: unknown option '%s'", ctx->command->name,
			    argv[optind - 1]);
		return '?';
	}
	return opt;
}

int common_options(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{},
	};

	return next_option(ctx, argc, argv, ":hjv", options) == -1
		       ? 0
		       : -SHUNT_EUSAGE;
}

int no_options(struct context *ctx, int argc, char **argv)
{
	if (common_options(ctx, argc, argv))
		return -SHUNT_EUSAGE;
	if (optind < argc)
		return shunt_usage(ctx, "%s: unexpected argument '%s'",
				   ctx->command->name, argv[optind]);
	return 0;
}

int run_verb(struct context *ctx, int argc, char **argv,
	     const struct verb *verbs)
{
	const char *name = ctx->command->name, *is = argc > 1 ? argv[1] : "";
	char known[128] = "";
	int err;

	for (const struct verb *v = verbs; v->name; v++) {
		if (!strcmp(is, v->name))
			return v->run(ctx, argc - 1, argv + 1);
		if (v != verbs)
			strcat(known, v[1].name ? ", " : " or ");
		strcat(known, v->name);
	}
	if (is[0] && is[0] != '-')
		return shunt_usage(ctx, "%s: %s, not '%s'", name, known, is);
	/* `shunt policy -j list`, and --help. */
	if (!strcmp(is, "-j") || !strcmp(is, "--json")) {
		ctx->json = true;
		return run_verb(ctx, argc - 1, argv + 1, verbs);
	}
	err = no_options(ctx, argc, argv);
	return err ? err : shunt_usage(ctx, "%s: %s?", name, known);
}

/* One name or several with commas; cuts the argument up in place. */
static int add_devices(struct context *ctx, struct device_list *list,
		       char *names)
{
	char *save, *name;

	for (name = strtok_r(names, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		if (list->n == SHUNT_MAX_DEVICES)
			return shunt_usage(ctx, "%s: at most %d devices",
					   ctx->command->name,
					   SHUNT_MAX_DEVICES);
		list->names[list->n++] = name;
	}
	return 0;
}

int device_option(struct context *ctx, struct device_list *list, int opt)
{
	switch (opt) {
	case 1: /* an argument that is no option */
		if (!list->open)
			return shunt_usage(ctx, "%s: unexpected argument '%s'",
					   ctx->command->name, optarg);
		return add_devices(ctx, list, optarg);
	case 'd':
		list->open = true;
		return add_devices(ctx, list, optarg);
	case '?':
		return -SHUNT_EUSAGE;
	default:
		list->open = false;
		return 0;
	}
}

int check_path(const struct context *ctx, const char *text)
{
	for (int i = 0; i < SHUNT_PATH_MAX; i++)
		if (!strcmp(text, path_name(i)))
			return 0;
	return shunt_usage(ctx, "--path is segment or message, not '%s'", text);
}

int parse_number(const char *text, unsigned long lo, unsigned long hi,
		 unsigned long *value)
{
	char *end;

	/* strtoul() takes "-1" and " 1". */
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	*value = strtoul(text, &end, 10);
	if (errno || *end || *value < lo || *value > hi)
		return -EINVAL;
	return 0;
}

int parse_size(const char *text, unsigned long long lo, unsigned long long hi,
	       __u64 *value)
{
	unsigned long long n;
	int shift = 0;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end == 'K' || *end == 'k')
		shift = 10;
	else if (*end == 'M' || *end == 'm')
		shift = 20;
	else if (*end == 'G' || *end == 'g')
		shift = 30;
	if (errno || end[shift ? 1 : 0] || n > hi >> shift || n << shift < lo)
		return -EINVAL;
	*value = n << shift;
	return 0;
}
