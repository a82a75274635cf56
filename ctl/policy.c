// SPDX-License-Identifier: GPL-2.0-only
/* shunt policy add | del | list */
#include "cgroup.h"
#include "ctl.h"
#include "hop.h"
#include "instance.h"
#include "out.h"
#include "rules.h"
#include "transport.h"
#include "wish.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"usage: shunt policy add [--to PREFIX] [--port N[-M]] [--cgroup PATH]\n"
	"                        [--transport T[,T...]] [--coverage C]\n"
	"                        [--strict] [--path P] [--at N]\n"
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
	"  --transport T,...  in order of preference: the first that both "
	"ends\n"
	"                 have is used (default udp). tcp, leaving it alone, "
	"is\n"
	"                 what is left; `shunt transport list` shows the "
	"others\n"
	"  --coverage C   full (default), or headers: with udplite, what is\n"
	"                 damaged on the way reaches the application instead "
	"of\n"
	"                 being sent again. Both ends' policies have to say "
	"so\n"
	"  --strict       every segment on the transport. Without, a small one "
	"goes\n"
	"                 in plain TCP every 512 KB or so, so that a stateful\n"
	"                 firewall on the way knows the connection when it "
	"comes\n"
	"                 back to TCP\n"
	"  --path P       segment (the default), or message: for requests and\n"
	"                 answers, not for bulk, and where both ends were "
	"started\n"
	"                 with `shunt up --message-path`; else segment is "
	"used\n"
	"  --at N         becomes rule N; without: the last one\n"
	"\n"
	"What sockets on the message path can't do, and programs that need it\n"
	"must stay on the segment path: MSG_WAITALL, splice() and sendfile() "
	"from\n"
	"the socket, urgent data, SIOCOUTQ, MSG_ZEROCOPY. SO_RCVLOWAT, "
	"SO_ZEROCOPY\n"
	"and kTLS are noticed and keep a connection off it. FIONREAD depends "
	"on the\n"
	"kernel: see `shunt doctor`. A read that blocks may return EAGAIN when "
	"a\n"
	"signal is handled, at a reset, or when another thread shuts the "
	"socket\n"
	"down or waits for room to send: docs/message-path.md.\n"
	"\n"
	"example: shunt policy add --to 10.1.0.0/16 --port 22 --transport "
	"tcp\n";

/* ---- add ---- */

struct addition {
	struct shunt_rule rule;
	const char *cgroup;
	struct wish_text wish;
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
		{"coverage", required_argument, NULL, 'C'},
		{"strict", no_argument, NULL, 's'},
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
			add->wish.transports = optarg;
			break;
		case 'C':
			add->wish.coverage = optarg;
			break;
		case 's':
			add->wish.strict = true;
			break;
		case 'P':
			if (check_path(ctx, optarg))
				return -SHUNT_EUSAGE;
			add->wish.path = optarg;
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
	err = wish_parse(&add->wish, all, &add->rule.wish);
	if (err || !add->cgroup)
		return err;
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
		.wish = WISH_TEXT,
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
	if (!err)
		err = hops_for_policy(&in);
out:
	instance_close(&in);
	return err;
}

/* ---- del ---- */

static int run_del(struct context *ctx, int argc, char **argv)
{
	struct instance in;
	struct rules rules;
	unsigned long at;
	int err;

	if (common_options(ctx, argc, argv))
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
	const struct shunt_wish *wish = &in->settings.wish;
	json_t *array = json_array(), *json;

	for (unsigned i = 0; i < rules->n; i++) {
		const struct shunt_rule *rule = &rules->rule[i];

		json = json_pack(
			"{s:i, s:s, s:[i, i], s:s, s:o, s:s, s:b, s:s, s:b}",
			"rule", i + 1, "to", rule_format_prefix(prefix, rule),
			"port", rule->port_lo, rule->port_hi, "cgroup",
			cgroup_text(in, rule->cgroup, cgroup), "transports",
			wish_json(&rule->wish, all), "coverage",
			coverage_name(rule->wish.coverage), "strict",
			rule->wish.strict, "path", path_name(rule->wish.path),
			"default", 0);
		json_array_append_new(array, json);
	}
	json = json_pack("{s:n, s:s, s:[i, i], s:s, s:o, s:s, s:b, s:s, s:b}",
			 "rule", "to", "any", "port", 0, 65535, "cgroup", "any",
			 "transports", wish_json(wish, all), "coverage",
			 coverage_name(wish->coverage), "strict", wish->strict,
			 "path", path_name(wish->path), "default", 1);
	json_array_append_new(array, json);
	return print_json(array);
}

static void print_table(const struct instance *in, const struct rules *rules,
			const struct shunt_transport *all)
{
	static const char line[] = "%4s  %-18s %-11s %-20s %-8s %s\n";
	char prefix[PREFIX_LEN], ports[PORTS_LEN], cgroup[PATH_MAX];
	char number[16], wish[WISH_LEN];

	printf(line, "RULE", "TO", "PORT", "TRANSPORT", "PATH", "CGROUP");
	for (unsigned i = 0; i < rules->n; i++) {
		const struct shunt_rule *rule = &rules->rule[i];

		snprintf(number, sizeof(number), "%u", i + 1);
		printf(line, number, rule_format_prefix(prefix, rule),
		       rule_format_ports(ports, rule),
		       wish_format(wish, &rule->wish, all),
		       path_name(rule->wish.path),
		       cgroup_text(in, rule->cgroup, cgroup));
	}
	printf(line, "else", "any", "any",
	       wish_format(wish, &in->settings.wish, all),
	       path_name(in->settings.wish.path), "any");
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
	static const struct verb verbs[] = {
		{"add", run_add}, {"del", run_del}, {"list", run_list}, {}};

	return run_verb(ctx, argc, argv, verbs);
}

const struct command command_policy = {
	.name = "policy",
	.summary = "which connections go over which transport",
	.help = help,
	.run = run,
};
