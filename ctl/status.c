// SPDX-License-Identifier: GPL-2.0-only
/* shunt status */
#include "ctl.h"
#include "hop.h"
#include "instance.h"
#include "message.h"
#include "out.h"
#include "table.h"
#include "transport.h"
#include "wish.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt status [-j]\n"
	"\n"
	"Shows the instance of this network namespace: devices and how "
	"packets\n"
	"come in, cgroup, transports, flows, policy. Exit 1 when shunt is not\n"
	"up.\n"
	"\n"
	"  -j  JSON: an object\n"
	"\n"
	"example: shunt status\n";

struct status {
	const struct instance *in;
	struct shunt_device devices[SHUNT_MAX_DEVICES];
	bool present[SHUNT_MAX_DEVICES];
	int n_devices;
	struct shunt_transport transports[SHUNT_MAX_TRANSPORTS];
	char cgroup[PATH_MAX];
	bool cgroup_attached;
	unsigned live;
	unsigned redirected;
	unsigned rules;
	__u64 up_ns;
	char since[32];
	struct shunt_proxy proxy; /* if settings.message_path */
	bool proxy_alive;
};

static int count_flow(const void *key, const void *value, void *arg)
{
	const struct shunt_flow *flow = value;
	struct status *st = arg;

	(void)key;
	if (flow->life == SHUNT_LIVE) {
		st->live++;
		if (flow->tx == SHUNT_TX_ENCAP)
			st->redirected++;
	}
	return 0;
}

static int collect(const struct instance *in, struct status *st)
{
	const struct shunt_settings *settings = &in->settings;
	struct tm tm;
	time_t start;
	int fd, err;

	st->in = in;
	st->n_devices = instance_devices(in, st->devices);
	if (st->n_devices < 0)
		return st->n_devices;
	for (int i = 0; i < st->n_devices; i++) {
		st->present[i] = instance_device_present(in, i);
		/* It may have been renamed since. */
		if (st->present[i])
			if_indextoname(st->devices[i].ifindex,
				       st->devices[i].name);
	}
	if (cgroup_path_by_id(&in->host, settings->cgroup, st->cgroup))
		strcpy(st->cgroup, "(removed)");
	st->cgroup_attached = sock_ops_attached(in->dir);
	st->rules = settings->n_rules[settings->rules_half & 1];
	st->up_ns = ns_since(now_ns(), settings->started_ns);
	start = time(NULL) - st->up_ns / SHUNT_NSEC;
	localtime_r(&start, &tm);
	strftime(st->since, sizeof(st->since), "%FT%T%z", &tm);
	err = transport_read_all(in->dir, st->transports);
	if (err)
		return err;
	if (settings->message_path && !proxy_read(in->dir, &st->proxy))
		st->proxy_alive = proxy_alive(&st->proxy);
	fd = instance_map(in, "flows");
	if (fd < 0)
		return fd;
	err = table_walk(fd, count_flow, st);
	close(fd);
	return err;
}

/* The near end of a device's segmentation hop, or "" and false. */
static bool hop_of(const struct status *st, int i, char hop[static IFNAMSIZ])
{
	hop[0] = '\0';
	return hop_name(st->in->dir, st->devices[i].ifindex, hop);
}

static const char *proxy_state(const struct status *st)
{
	if (!st->proxy_alive)
		return "dead";
	return st->proxy.up ? "up" : "starting";
}

/* null: the message path is off. */
static json_t *message_path_json(const struct status *st)
{
	if (!st->in->settings.message_path)
		return json_null();
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "proxy",
			 proxy_state(st), "pid", st->proxy.supervisor, "worker",
			 st->proxy.worker, "restarts", st->proxy.restarts,
			 "loops", st->proxy.loops, "memory",
			 (json_int_t)(st->proxy.charged - st->proxy.released),
			 "memory_limit", (json_int_t)st->proxy.total_limit,
			 "stream_limit", (json_int_t)st->proxy.stream_limit);
}

static void print_message_path(const struct status *st)
{
	char used[SIZE_LEN], limit[SIZE_LEN];

	if (!st->in->settings.message_path)
		return;
	printf("messages   proxy %s, pid %u, %u loop%s", proxy_state(st),
	       st->proxy.supervisor, st->proxy.loops,
	       st->proxy.loops == 1 ? "" : "s");
	if (st->proxy.restarts)
		printf(", restarted %u times", st->proxy.restarts);
	printf("; undelivered %s of %s\n",
	       format_size(used, st->proxy.charged - st->proxy.released),
	       format_size(limit, st->proxy.total_limit));
}

static int print_object(const struct status *st)
{
	const struct shunt_settings *settings = &st->in->settings;
	json_t *devices = json_array(), *transports = json_array();
	char hop[IFNAMSIZ];

	for (int i = 0; i < st->n_devices; i++)
		json_array_append_new(
			devices,
			json_pack("{s:s, s:i, s:s, s:s, s:s?, s:b}", "name",
				  st->devices[i].name, "ifindex",
				  st->devices[i].ifindex, "ingress",
				  ingress_name(st->devices[i].ingress),
				  "attach", attach_name(st->devices[i].attach),
				  "hop", hop_of(st, i, hop) ? hop : NULL,
				  "present", st->present[i]));
	for (int i = 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (st->transports[i].deployed)
			json_array_append_new(
				transports,
				json_pack("{s:s, s:i, s:i, s:i, s:b}", "name",
					  st->transports[i].name, "number", i,
					  "ip_protocol",
					  st->transports[i].ip_proto,
					  "header_len",
					  st->transports[i].header_len, "gso",
					  st->transports[i].flags &
						  SHUNT_T_GSO));
	return print_json(json_pack(
		"{s:I, s:i, s:s, s:f, s:o, s:s, s:b, s:o, s:{s:i, s:i, s:i},"
		" s:{s:o, s:s, s:b, s:s}, s:i, s:o}",
		"netns_cookie", (json_int_t)settings->netns_cookie, "abi",
		settings->abi, "since", st->since, "uptime", seconds(st->up_ns),
		"devices", devices, "cgroup", st->cgroup, "cgroup_attached",
		st->cgroup_attached, "transports", transports, "flows", "live",
		st->live, "redirected", st->redirected, "max",
		settings->max_flows, "default", "transports",
		wish_json(&settings->wish, st->transports), "coverage",
		coverage_name(settings->wish.coverage), "strict",
		settings->wish.strict, "path", path_name(settings->wish.path),
		"rules", st->rules, "message_path", message_path_json(st)));
}

static void print_text(const struct status *st)
{
	const struct shunt_settings *settings = &st->in->settings;
	char up[DURATION_LEN], wish[WISH_LEN], hop[IFNAMSIZ];

	printf("up since   %s (%s)\n", st->since,
	       format_duration(up, st->up_ns));
	printf("namespace  %llu (cookie)\n", settings->netns_cookie);
	for (int i = 0; i < st->n_devices; i++)
		printf("device     %s, ingress %s, attached by %s%s%s%s\n",
		       st->devices[i].name,
		       ingress_name(st->devices[i].ingress),
		       attach_name(st->devices[i].attach),
		       hop_of(st, i, hop) ? ", segmentation hop " : "", hop,
		       st->present[i] ? "" : " -- is gone");
	printf("cgroup     %s%s\n", st->cgroup,
	       st->cgroup_attached ? "" : " -- not attached any more");
	for (int i = 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (st->transports[i].deployed)
			printf("transport  %s, number %d, IP protocol %d%s\n",
			       st->transports[i].name, i,
			       st->transports[i].ip_proto,
			       st->transports[i].flags & SHUNT_T_GSO ? ", GSO"
								     : "");
	printf("flows      %u live, %u redirected, room for %u\n", st->live,
	       st->redirected, settings->max_flows);
	printf("policy     %u rule%s, then %s (%s)\n", st->rules,
	       st->rules == 1 ? "" : "s",
	       wish_format(wish, &settings->wish, st->transports),
	       path_name(settings->wish.path));
	print_message_path(st);
}

static int run(struct context *ctx, int argc, char **argv)
{
	struct status st = {};
	struct instance in;
	int err;

	err = no_options(ctx, argc, argv);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	err = collect(&in, &st);
	if (!err && ctx->json)
		err = print_object(&st);
	else if (!err)
		print_text(&st);
	instance_close(&in);
	return err;
}

const struct command command_status = {
	.name = "status",
	.summary = "show devices, transports, flows, policy",
	.help = help,
	.run = run,
};
