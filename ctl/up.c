// SPDX-License-Identifier: GPL-2.0-only
/* shunt up */
#include "ctl.h"
#include "instance.h"

#include <getopt.h>
#include <string.h>

static const char help[] =
	"usage: shunt up --dev IF... [--cgroup PATH] [--ingress auto|xdp|tc]\n"
	"                [--attach auto|tcx|clsact] [--flows N]\n"
	"                [--default T[,T...]] [--coverage full|headers]\n"
	"                [--strict] [--message-path] [--message-memory SIZE]\n"
	"                [--message-loops N]\n"
	"\n"
	"Starts shunt in this network namespace, on these devices. Everything\n"
	"stays in the kernel when the command has ended, until `shunt down`.\n"
	"\n"
	"  --dev IF...      devices that lead to the peers: several names, "
	"one\n"
	"                   list with commas, or the option again\n"
	"  --cgroup PATH    connections made by processes in this cgroup (v2)\n"
	"                   and below; default: all. Accepted connections\n"
	"                   follow their peer, whatever the cgroup\n"
	"  --ingress MODE   where packets are taken out of the transport: "
	"xdp,\n"
	"                   tc, or auto: XDP where it is safe with this "
	"device\n"
	"                   and there, else TC\n"
	"  --attach KIND    how TC programs are attached; auto: tcx where the\n"
	"                   kernel has it, else clsact\n"
	"  --flows N        size of the flow table, 1 to 1000000\n"
	"                   (default 200000; 245 bytes each)\n"
	"  --default T,...  transports of connections that no rule of the "
	"policy\n"
	"                   matches, in order: udp (default), udplite, tcp\n"
	"  --coverage C, --strict\n"
	"                   for these: see `shunt policy --help`\n"
	"  --message-path   also start shunt-proxy, so that rules and peers "
	"can\n"
	"                   ask for the path `message`\n"
	"  --message-memory SIZE  limit on the memory of what is undelivered "
	"on\n"
	"                   that path, like 64M (default 128M)\n"
	"  --message-loops N      event loops of shunt-proxy, 1 to 16, each in "
	"a\n"
	"                   thread (default: one for each CPU it may run on)\n"
	"\n"
	"example: shunt up --dev eth0 eth1 --ingress tc\n";

#define MAX_FLOWS  1000000
#define MIN_MEMORY (1ULL << 20)
#define MAX_MEMORY (64ULL << 30)

static const char *const ingress_choices[] = {
	[INGRESS_AUTO] = "auto",
	[INGRESS_XDP] = "xdp",
	[INGRESS_TC] = "tc",
};

static const char *const attach_choices[] = {
	[ATTACH_AUTO] = "auto",
	[ATTACH_TCX] = "tcx",
	[ATTACH_CLSACT] = "clsact",
};

static int choose(const char *const choices[3], const char *text)
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(choices[i], text))
			return i;
	return -1;
}

static int bad_choice(struct context *ctx, const char *option,
		      const char *const *choices)
{
	return shunt_usage(ctx, "up: --%s is %s, %s or %s, not '%s'", option,
			   choices[0], choices[1], choices[2], optarg);
}

static int parse(struct context *ctx, int argc, char **argv,
		 struct device_list *devices, struct up_options *up)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"dev", required_argument, NULL, 'd'},
		{"cgroup", required_argument, NULL, 'c'},
		{"ingress", required_argument, NULL, 'i'},
		{"attach", required_argument, NULL, 'a'},
		{"flows", required_argument, NULL, 'f'},
		{"default", required_argument, NULL, 't'},
		{"coverage", required_argument, NULL, 'C'},
		{"message-path", no_argument, NULL, 'm'},
		{"message-memory", required_argument, NULL, 'M'},
		{"message-loops", required_argument, NULL, 'L'},
		{"strict", no_argument, NULL, 's'},
		{},
	};
	unsigned long number;
	int opt, choice;

	/* "-": arguments that are no options come in their order, as 1. */
	while ((opt = next_option(ctx, argc, argv, "-:hjvd:", options)) != -1) {
		if (device_option(ctx, devices, opt))
			return -SHUNT_EUSAGE;
		switch (opt) {
		case 'c':
			up->cgroup = optarg;
			break;
		case 'i':
			choice = choose(ingress_choices, optarg);
			if (choice < 0)
				return bad_choice(ctx, "ingress",
						  ingress_choices);
			up->ingress = choice;
			break;
		case 'a':
			choice = choose(attach_choices, optarg);
			if (choice < 0)
				return bad_choice(ctx, "attach",
						  attach_choices);
			up->attach = choice;
			break;
		case 'f':
			if (parse_number(optarg, 1, MAX_FLOWS, &number))
				return shunt_usage(
					ctx, "up: --flows is 1 to %d, not '%s'",
					MAX_FLOWS, optarg);
			up->max_flows = number;
			break;
		case 't':
			up->wish.transports = optarg;
			break;
		case 'C':
			up->wish.coverage = optarg;
			break;
		case 'm':
			up->message.on = true;
			break;
		case 'M':
			if (parse_size(optarg, MIN_MEMORY, MAX_MEMORY,
				       &up->message.memory))
				return shunt_usage(
					ctx,
					"up: --message-memory is 1M to 64G, "
					"not '%s'",
					optarg);
			break;
		case 'L':
			if (parse_number(optarg, 1, SHUNT_MSG_LOOPS, &number))
				return shunt_usage(
					ctx,
					"up: --message-loops is 1 to %d, not "
					"'%s'",
					SHUNT_MSG_LOOPS, optarg);
			up->message.loops = number;
			break;
		case 's':
			up->wish.strict = true;
			break;
		}
	}
	if (optind < argc)
		return shunt_usage(ctx, "up: unexpected argument '%s'",
				   argv[optind]);
	if (!devices->n)
		return shunt_usage(ctx, "up: which device? --dev IF; `ip link` "
					"lists them");
	up->devices = devices->names;
	up->n_devices = devices->n;
	return 0;
}

static int run(struct context *ctx, int argc, char **argv)
{
	struct device_list devices = {};
	struct up_options up = {
		.max_flows = SHUNT_MAX_FLOWS,
		.wish = WISH_TEXT,
		.message.memory = SHUNT_MSG_TOTAL_LIMIT,
		.probes = probes_required,
		.n_probes = n_probes_required,
	};
	int err;

	err = parse(ctx, argc, argv, &devices, &up);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_up(&up);
	return err;
}

const struct command command_up = {
	.name = "up",
	.summary = "start, in this network namespace, on these devices",
	.help = help,
	.run = run,
};
