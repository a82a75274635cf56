// SPDX-License-Identifier: GPL-2.0-only
/* shunt peers */
#include "ctl.h"
#include "instance.h"
#include "out.h"
#include "rules.h"
#include "table.h"
#include "transport.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt peers [list] [-j]\n"
	"       shunt peers flush [ADDR]\n"
	"\n"
	"Lists what is known of the paths to other hosts.\n"
	"\n"
	"  VERIFIED  how long ago a probe or a flow proved that our packets\n"
	"            arrive over this transport\n"
	"  BLOCKED   for how long this transport is not tried any more\n"
	"  MUTED     for how long our TCP option is not sent any more (tcp)\n"
	"\n"
	"  flush     forgets what is known, of one host or of all: new "
	"connections\n"
	"            prove their path, whatever it was\n"
	"\n"
	"  -j        JSON: an array of objects; times in seconds, null: never\n"
	"\n"
	"example: shunt peers\n";

struct list {
	json_t *json; /* NULL: text */
	__u64 now;
	struct shunt_transport transports[SHUNT_MAX_TRANSPORTS];
};

static const char *ago(char buf[static DURATION_LEN], __u64 now, __u64 then)
{
	return then ? format_duration(buf, ns_since(now, then)) : "-";
}

static const char *left(char buf[static DURATION_LEN], __u64 now, __u64 until)
{
	return until > now ? format_duration(buf, until - now) : "-";
}

static json_t *json_ago(__u64 now, __u64 then)
{
	return then ? json_real(seconds(ns_since(now, then))) : json_null();
}

static json_t *json_left(__u64 now, __u64 until)
{
	return until > now ? json_real(seconds(until - now)) : json_null();
}

static int show(const void *k, const void *v, void *arg)
{
	char addr[ADDR_LEN], verified[DURATION_LEN], blocked[DURATION_LEN];
	char muted[DURATION_LEN];
	const struct shunt_peer_key *key = k;
	const struct shunt_peer *peer = v;
	struct list *list = arg;
	const char *transport;

	transport = transport_name(list->transports, key->transport);
	if (list->json)
		return json_array_append_new(
			list->json,
			json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I}",
				  "addr", format_addr(addr, &key->addr),
				  "transport", transport, "answered_ago",
				  json_ago(list->now, peer->answered_ns),
				  "verified_ago",
				  json_ago(list->now, peer->verified_ns),
				  "blocked_for",
				  json_left(list->now, peer->blocked_until_ns),
				  "muted_for",
				  json_left(list->now, peer->muted_until_ns),
				  "flows", (json_int_t)peer->flows, "fallbacks",
				  (json_int_t)peer->fallbacks));
	printf("%-24s %-8s %8s %8s %8s %7u %9u\n",
	       format_addr(addr, &key->addr), transport,
	       ago(verified, list->now, peer->verified_ns),
	       left(blocked, list->now, peer->blocked_until_ns),
	       left(muted, list->now, peer->muted_until_ns), peer->flows,
	       peer->fallbacks);
	return 0;
}

static int run_list(struct context *ctx, int argc, char **argv)
{
	struct list list = {};
	struct instance in;
	int fd, err;

	err = no_options(ctx, argc, argv);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	list.now = now_ns();
	err = transport_read_all(in.dir, list.transports);
	fd = err ? err : instance_map(&in, "peers");
	if (fd < 0) {
		err = fd;
		goto out;
	}
	if (ctx->json)
		list.json = json_array();
	else
		printf("%-24s %-8s %8s %8s %8s %7s %9s\n", "PEER", "VIA",
		       "VERIFIED", "BLOCKED", "MUTED", "FLOWS", "FALLBACKS");
	err = table_walk(fd, show, &list);
	close(fd);
	if (err)
		json_decref(list.json);
	else if (ctx->json)
		err = print_json(list.json);
out:
	instance_close(&in);
	return err;
}

/* ---- flush ---- */

static void flush(int map, const struct shunt_addr *addr)
{
	struct shunt_peer_key key, next;
	int end = bpf_map_get_next_key(map, NULL, &next);

	while (!end) {
		key = next;
		end = bpf_map_get_next_key(map, &key, &next);
		if (!addr || !memcmp(&key.addr, addr, sizeof(*addr)))
			bpf_map_delete_elem(map, &key);
	}
}

static int run_flush(struct context *ctx, int argc, char **argv)
{
	struct shunt_rule rule = RULE_ANY;
	struct instance in;
	const char *why;
	int fd, err;

	if (common_options(ctx, argc, argv))
		return -SHUNT_EUSAGE;
	if (optind + 1 < argc)
		return shunt_usage(ctx, "peers flush: takes one ADDR, or none");
	if (optind < argc && (rule_parse_prefix(argv[optind], &rule, &why) ||
			      rule.prefix_len != 128))
		return shunt_usage(ctx, "peers flush: '%s' is no address",
				   argv[optind]);
	err = require_root(ctx);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	fd = instance_map(&in, "peers");
	if (fd >= 0) {
		flush(fd, optind < argc ? &rule.remote : NULL);
		close(fd);
	}
	instance_close(&in);
	return fd < 0 ? fd : 0;
}

static int run(struct context *ctx, int argc, char **argv)
{
	static const struct verb verbs[] = {
		{"list", run_list}, {"flush", run_flush}, {}};

	if (argc < 2 || argv[1][0] == '-')
		return run_list(ctx, argc, argv);
	return run_verb(ctx, argc, argv, verbs);
}

const struct command command_peers = {
	.name = "peers",
	.summary = "list other hosts, and what is known of the way there",
	.help = help,
	.run = run,
};
