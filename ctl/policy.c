// SPDX-License-Identifier: GPL-2.0-only
/* shunt policy add | del | list */
#include "cgroup.h"
#include "ctl.h"
#include "instance.h"
#include "out.h"
#include "rules.h"
#include "transport.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"usage: shunt policy add [--to PREFIX] [--port N[-M]] [--cgroup PATH]\n"
	"                        [--transport T] [--path segment] [--at N]\n"
	"       shunt policy del N\n"
	"       shunt policy list [-j]\n"
	"\n"
	"Which connections go over which transport. The first rule that "
	"matches\n"
	"decides; what none matches takes the default of `shunt up`. Only new\n"
	"connections ask the policy.\n"
	"\n"
	"  --to PREFIX    the other host's address, like 10.1.0.0/16 or\n"
	"                 2001:db8::/32\n"
	"  --port N[-M]   the service's port: the remote one of connections "
	"that\n"
	"                 we make, the local one of those that we accept\n"
	"  --cgroup PATH  made by a process in this cgroup (v2) or below;\n"
	"                 absolute, or below the mount of cgroup v2\n"
	"  --transport T  udp (default), or tcp: leave it alone\n"
	"  --path P       segment (the default)\n"
	"  --at N         becomes rule N; without: the last one\n"
	"\n"
	"example: shunt policy add --to 10.1.0.0/16 --port 22 --transport "
	"tcp\n";

/* ---- add ---- */

struct addition {
	struct shunt_rule rule;
	const char *cgroup;
	const char *transport;
	unsigned long at; /* 0: last */
};

static int parse_add(struct context *ctx, int argc, char **argv,
		     struct addition *add)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"to", required_argument, NULL, 't'},
		{"port", required_argument, NULL, 'p'},
		{"cgroup", required_argument, NULL, 'c'},
		{"transport", required_argument, NULL, 'T'},
		{"path", required_argument, NULL, 'P'},
		{"at", required_argument, NULL, 'a'},
		{},
	};
	const char *why;
	int opt;

	while ((opt = next_option(ctx, argc, argv, ":hjv", options)) != -1) {
		switch (opt) {
		case 't':
			if (rule_parse_prefix(optarg, &add->rule, &why))
				return shunt_usage(ctx, "bad prefix '%s': %s",
						   optarg, why);
			break;
		case 'p':
			if (rule_parse_ports(optarg, &add->rule, &why))
				return shunt_usage(ctx, "bad port '%s': %s",
						   optarg, why);
			break;
		case 'c':
			add->cgroup = optarg;
			break;
		case 'T':
			add->transport = optarg;
			break;
		case 'P':
			if (parse_path(ctx, optarg))
				return -SHUNT_EUSAGE;
			break;
		case 'a':
			if (parse_number(optarg, 1, SHUNT_MAX_RULES, &add->at))
				return shunt_usage(ctx,
						   "--at is 1 to %d, not '%s'",
						   SHUNT_MAX_RULES, optarg);
			break;
		default:
			return -SHUNT_EUSAGE;
		}
	}
	if (optind < argc)
		return shunt_usage(ctx, "policy add: unexpected argument '%s'",
				   argv[optind]);
	return 0;
}

/* What can only be looked up with the instance at hand. */
static int resolve(const struct instance *in, struct addition *add)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	struct cgroup cg;
	int err;

	err = transport_read_all(in->dir, all);
	if (err)
		return err;
	err = transport_by_name(all, add->transport);
	if (err < 0)
		return err;
	add->rule.transport = err;
	if (!add->cgroup)
		return 0;
	err = cgroup_open(&in->host, add->cgroup, &cg);
	if (err)
		return err;
	add->rule.cgroup = cg.id;
	add->rule.cgroup_level = cg.level;
	cgroup_close(&cg);
	return cgroup_need_level(&in->host);
}

static int run_add(struct context *ctx, int argc, char **argv)
{
	struct addition add = {
		.rule = RULE_ANY,
		.transport = "udp",
	};
	struct instance in;
	struct rules rules;
	int err;

	err = parse_add(ctx, argc, argv, &add);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	err = resolve(&in, &add);
	if (!err)
		err = rules_read(&in, &rules);
	if (err)
		goto out;
	if (!add.at)
		add.at = rules.n + 1;
	if (add.at > rules.n + 1) {
		err = shunt_err(-EINVAL,
				"--at %lu: there are %u rules, so at most %u",
				add.at, rules.n, rules.n + 1);
		goto out;
	}
	err = rules_insert(&rules, add.at, &add.rule);
	if (!err)
		err = rules_write(&in, &rules);
out:
	instance_close(&in);
	return err;
}

/* ---- del ---- */

static int run_del(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{},
	};
	struct instance in;
	struct rules rules;
	unsigned long at;
	int err;

	if (next_option(ctx, argc, argv, ":hjv", options) != -1)
		return -SHUNT_EUSAGE;
	if (optind + 1 != argc)
		return shunt_usage(ctx, "policy del: takes one number");
	if (parse_number(argv[optind], 1, SHUNT_MAX_RULES, &at))
		return shunt_usage(ctx, "policy del: '%s' is no rule's number",
				   argv[optind]);
	err = require_root(ctx);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	err = rules_read(&in, &rules);
	if (!err && at > rules.n)
		err = shunt_err(-ENOENT,
				"there is no rule %lu; `shunt policy list` "
				"shows the %u there are",
				at, rules.n);
	if (!err) {
		rules_delete(&rules, at);
		err = rules_write(&in, &rules);
	}
	instance_close(&in);
	return err;
}

/* ---- list ---- */

static const char *cgroup_text(const struct instance *in, __u64 id,
			       char path[static PATH_MAX])
{
	size_t len = strlen(in->host.cgroup2);

	if (!id)
		return "any";
	if (cgroup_path_by_id(&in->host, id, path))
		return "(removed)";
	/* Where it is mounted is known, and the lines are short. */
	if (!strncmp(path, in->host.cgroup2, len) && path[len] == '/')
		return path + len + 1;
	return path;
}

static int print_array(const struct instance *in, const struct rules *rules,
		       const struct shunt_transport *all)
{
	char prefix[PREFIX_LEN], cgroup[PATH_MAX];
	json_t *array = json_array(), *json;

	for (unsigned i = 0; i < rules->n; i++) {
		const struct shunt_rule *rule = &rules->rule[i];

		json = json_pack(
			"{s:i, s:s, s:[i, i], s:s, s:s, s:s, s:b}", "rule",
			i + 1, "to", rule_format_prefix(prefix, rule), "port",
			rule->port_lo, rule->port_hi, "cgroup",
			cgroup_text(in, rule->cgroup, cgroup), "transport",
			transport_name(all, rule->transport), "path",
			path_name(rule->path), "default", 0);
		json_array_append_new(array, json);
	}
	json = json_pack(
		"{s:n, s:s, s:[i, i], s:s, s:s, s:s, s:b}", "rule", "to", "any",
		"port", 0, 65535, "cgroup", "any", "transport",
		transport_name(all, in->settings.default_transport), "path",
		path_name(in->settings.default_path), "default", 1);
	json_array_append_new(array, json);
	return print_json(array);
}

static void print_table(const struct instance *in, const struct rules *rules,
			const struct shunt_transport *all)
{
	static const char line[] = "%4s  %-22s %-11s %-9s %-8s %s\n";
	char prefix[PREFIX_LEN], ports[PORTS_LEN], cgroup[PATH_MAX];
	char number[16];

	printf(line, "RULE", "TO", "PORT", "TRANSPORT", "PATH", "CGROUP");
	for (unsigned i = 0; i < rules->n; i++) {
		const struct shunt_rule *rule = &rules->rule[i];

		snprintf(number, sizeof(number), "%u", i + 1);
		printf(line, number, rule_format_prefix(prefix, rule),
		       rule_format_ports(ports, rule),
		       transport_name(all, rule->transport),
		       path_name(rule->path),
		       cgroup_text(in, rule->cgroup, cgroup));
	}
	printf(line, "else", "any", "any",
	       transport_name(all, in->settings.default_transport),
	       path_name(in->settings.default_path), "any");
}

static int run_list(struct context *ctx, int argc, char **argv)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	struct instance in;
	struct rules rules;
	int err;

	err = no_options(ctx, argc, argv);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	err = transport_read_all(in.dir, all);
	if (!err)
		err = rules_read(&in, &rules);
	if (!err && ctx->json)
		err = print_array(&in, &rules, all);
	else if (!err)
		print_table(&in, &rules, all);
	instance_close(&in);
	return err;
}

static int run(struct context *ctx, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "add"))
		return run_add(ctx, argc - 1, argv + 1);
	if (!strcmp(verb, "del"))
		return run_del(ctx, argc - 1, argv + 1);
	if (!strcmp(verb, "list"))
		return run_list(ctx, argc - 1, argv + 1);
	if (verb[0] != '-')
		return shunt_usage(ctx, "policy: add, del or list%s%s%s",
				   verb[0] ? ", not '" : "?", verb,
				   verb[0] ? "'" : "");
	/* `shunt policy -j list`, and --help. */
	if (!strcmp(verb, "-j") || !strcmp(verb, "--json")) {
		ctx->json = true;
		return run(ctx, argc - 1, argv + 1);
	}
	return no_options(ctx, argc, argv)
		       ? -SHUNT_EUSAGE
		       : shunt_usage(ctx, "policy: add, del or "
					  "list?");
}

const struct command command_policy = {
	.name = "policy",
	.summary = "which connections go over which transport",
	.help = help,
	.run = run,
};
