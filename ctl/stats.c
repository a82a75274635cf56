// SPDX-License-Identifier: GPL-2.0-only
/* shunt stats */
#include "ctl.h"
#include "instance.h"
#include "message.h"
#include "out.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt stats [--all] [-j]\n"
	"\n"
	"Counters since `shunt up`, over all devices and processors.\n"
	"\n"
	"  --all  also those that are zero (JSON always has all)\n"
	"  -j     JSON: an object\n"
	"\n"
	"example: shunt stats -j | jq .flows_fallback\n";

struct sums {
	__u64 counters[SHUNT_CNT_MAX];
	__u64 reasons[SHUNT_REASON_MAX];
	bool message_path;
	struct shunt_proxy proxy, loops[SHUNT_MSG_LOOPS];
};

static int read_counters(const struct instance *in, struct sums *sums)
{
	int cpus = libbpf_num_possible_cpus();
	struct shunt_scratch *values;
	__u32 zero = 0;
	int fd, err = 0;

	if (cpus < 0)
		return shunt_err(cpus, "number of CPUs: %s", strerror(-cpus));
	fd = instance_map(in, "scratch");
	if (fd < 0)
		return fd;
	memset(sums, 0, sizeof(*sums));
	values = calloc(cpus, sizeof(*values));
	if (!values)
		err = shunt_err(-ENOMEM, "out of memory");
	else if (bpf_map_lookup_elem(fd, &zero, values))
		err = shunt_err(-errno, "map scratch: %s", strerror(errno));
	for (int cpu = 0; !err && cpu < cpus; cpu++) {
		for (unsigned i = 0; i < SHUNT_CNT_MAX; i++)
			sums->counters[i] += values[cpu].counters[i];
		for (unsigned i = 0; i < SHUNT_REASON_MAX; i++)
			sums->reasons[i] += values[cpu].reasons[i];
	}
	free(values);
	close(fd);
	return err;
}

static json_t *counters_json(const struct shunt_proxy *proxy)
{
	json_t *json = json_object();
	const char *name, *text;
	__u64 value;

	for (unsigned i = 0; (name = proxy_counter(proxy, i, &text, &value));
	     i++)
		json_object_set_new(json, name, json_integer(value));
	return json;
}

static json_t *proxy_json(const struct sums *sums)
{
	json_t *json = counters_json(&sums->proxy), *loops = json_array();

	for (unsigned i = 0; i < sums->proxy.loops; i++)
		json_array_append_new(loops, counters_json(&sums->loops[i]));
	json_object_set_new(json, "loops", loops);
	return json;
}

static void print_loops(const struct sums *sums)
{
	puts("\nOf these, by event loop:\n"
	     "        loop   bytes sent  bytes received");
	for (unsigned i = 0; i < sums->proxy.loops; i++)
		printf("%12u %12llu %15llu\n", i, sums->loops[i].bytes_tx,
		       sums->loops[i].bytes_rx);
}

static void print_proxy(const struct sums *sums, bool all)
{
	const struct shunt_proxy *proxy = &sums->proxy;
	const char *name, *text;
	bool any = false;
	__u64 value;

	for (unsigned i = 0; (name = proxy_counter(proxy, i, &text, &value));
	     i++) {
		if (!value && !all)
			continue;
		if (!any)
			puts("\nThe proxy of the message path:");
		any = true;
		printf("%12llu  %-16s %s\n", value, name, text);
	}
	if (any && proxy->loops > 1)
		print_loops(sums);
}

static int print_object(const struct sums *sums)
{
	json_t *json = json_object(), *reasons = json_object();

	for (unsigned i = 0; i < SHUNT_CNT_MAX; i++)
		json_object_set_new(json, counter_name(i),
				    json_integer(sums->counters[i]));
	for (unsigned i = 1; i < SHUNT_REASON_MAX; i++)
		json_object_set_new(reasons, reason_name(i),
				    json_integer(sums->reasons[i]));
	json_object_set_new(json, "stayed_tcp", reasons);
	if (sums->message_path)
		json_object_set_new(json, "proxy", proxy_json(sums));
	return print_json(json);
}

static void print_text(const struct sums *s, bool all)
{
	const __u64 *sums = s->counters;
	bool any = false;

	for (unsigned i = 0; i < SHUNT_CNT_MAX; i++) {
		if (!sums[i] && !all)
			continue;
		any = true;
		printf("%12llu  %-18s %s\n", sums[i], counter_name(i),
		       counter_text(i));
	}
	if (!any)
		puts("all counters are zero");
	any = false;
	for (unsigned i = 1; i < SHUNT_REASON_MAX; i++) {
		if (!s->reasons[i] && !all)
			continue;
		if (!any)
			puts("\nConnections and flows that stay on TCP, or "
			     "went "
			     "back to it, by reason:");
		any = true;
		printf("%12llu  %-16s %s\n", s->reasons[i], reason_name(i),
		       reason_text(i));
	}
	if (s->message_path)
		print_proxy(s, all);
}

static int read_proxy(const struct instance *in, struct sums *sums)
{
	int fd, err;

	sums->message_path = in->settings.message_path;
	if (!sums->message_path)
		return 0;
	fd = instance_map(in, "message_proxy");
	if (fd < 0)
		return fd;
	err = proxy_read_map(fd, &sums->proxy, sums->loops);
	close(fd);
	return err;
}

static int run(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"all", no_argument, NULL, 'a'},
		{},
	};
	struct sums sums;
	struct instance in;
	bool all = false;
	int opt, err;

	while ((opt = next_option(ctx, argc, argv, ":hjva", options)) != -1) {
		if (opt != 'a')
			return -SHUNT_EUSAGE;
		all = true;
	}
	if (optind < argc)
		return shunt_usage(ctx, "stats: unexpected argument '%s'",
				   argv[optind]);
	err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	err = read_counters(&in, &sums);
	if (!err)
		err = read_proxy(&in, &sums);
	instance_close(&in);
	if (err)
		return err;
	if (ctx->json)
		return print_object(&sums);
	print_text(&sums, all);
	return 0;
}

const struct command command_stats = {
	.name = "stats",
	.summary = "show counters",
	.help = help,
	.run = run,
};
