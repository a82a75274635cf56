// SPDX-License-Identifier: GPL-2.0-only
/* shunt down */
#include "ctl.h"
#include "instance.h"

static const char help[] =
	"usage: shunt down\n"
	"\n"
	"Ends shunt in this network namespace. Connections go on in plain "
	"TCP;\n"
	"nothing stays behind: no program, map, pin, qdisc or cgroup of ours.\n"
	"\n"
	"example: shunt down\n";

static int run(struct context *ctx, int argc, char **argv)
{
	int err;

	err = no_options(ctx, argc, argv);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_down();
	return err;
}

const struct command command_down = {
	.name = "down",
	.summary = "end; connections go on in plain TCP",
	.help = help,
	.run = run,
};
