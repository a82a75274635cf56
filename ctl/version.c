// SPDX-License-Identifier: GPL-2.0-only
/* shunt version */
#include "ctl.h"
#include "out.h"
#include "transport.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>

static const char help[] =
	"usage: shunt version [-j]\n"
	"\n"
	"Shows the version, that of the pinned state (ABI), and what was\n"
	"compiled in.\n"
	"\n"
	"  -j  JSON: an object\n"
	"\n"
	"example: shunt version\n";

static const char *const features[] = {
	"segment-path", "xdp", "tcx", "clsact", "json",
};

static int run(struct context *ctx, int argc, char **argv)
{
	json_t *list, *transports;
	int err;

	err = no_options(ctx, argc, argv);
	if (err)
		return err;
	if (!ctx->json) {
		printf("shunt %s\nABI %d\nlibbpf %u.%u\nfeatures:",
		       SHUNT_VERSION, SHUNT_ABI, libbpf_major_version(),
		       libbpf_minor_version());
		for (size_t i = 0; i < ARRAY_SIZE(features); i++)
			printf(" %s", features[i]);
		printf("\ntransports:");
		for (const struct builtin *b = builtins; b->name; b++)
			printf(" %s", b->name);
		putchar('\n');
		return 0;
	}
	list = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		json_array_append_new(list, json_string(features[i]));
	transports = json_array();
	for (const struct builtin *b = builtins; b->name; b++)
		json_array_append_new(transports, json_string(b->name));
	return print_json(json_pack("{s:s, s:i, s:s, s:o, s:o}", "version",
				    SHUNT_VERSION, "abi", SHUNT_ABI, "libbpf",
				    libbpf_version_string(), "features", list,
				    "transports", transports));
}

const struct command command_version = {
	.name = "version",
	.summary = "show version, ABI and features",
	.help = help,
	.run = run,
};
