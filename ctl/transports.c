// SPDX-License-Identifier: GPL-2.0-only
/* shunt transport list | add | replace | remove | show */
#include "ctl.h"
#include "deploy.h"
#include "hop.h"
#include "instance.h"
#include "out.h"
#include "report.h"
#include "table.h"
#include "transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt transport list [-j]\n"
	"       shunt transport add FILE [--name N] [-j]\n"
	"       shunt transport replace NAME FILE [-j]\n"
	"       shunt transport remove NAME\n"
	"       shunt transport show NAME [-j]\n"
	"\n"
	"Transports come and go while connections run. FILE is a BPF object "
	"file\n"
	"as docs/writing-a-transport.md makes one; where there is no such "
	"file,\n"
	"the name of a built-in transport.\n"
	"\n"
	"  add      loads it; --name: under another name than the file's. It "
	"is\n"
	"           used by connections whose policy names it, at both ends\n"
	"  replace  puts another in its place. Connections don't notice if "
	"the\n"
	"           header on the wire is the same; else they go back to TCP\n"
	"  remove   its connections go back to TCP. The policy may go on "
	"naming\n"
	"           it, for the case that it comes back\n"
	"  show     what it is, and what it reports of itself\n"
	"\n"
	"example: shunt transport add owd.bpf.o && shunt transport show owd\n";

/* ---- the object file ---- */

static int open_file(const char *path, struct object_file *file)
{
	const struct builtin *builtin = builtin_find(path);
	struct stat st;
	int fd, err = 0;
	void *at;

	file->path = path;
	if (builtin && access(path, F_OK)) {
		file->elf = builtin->elf(&file->size);
		return 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return shunt_err(-errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode) || !st.st_size)
		err = -EINVAL;
	if (!err) {
		at = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_POPULATE, fd, 0);
		if (at == MAP_FAILED)
			err = -errno;
		file->elf = at;
		file->size = st.st_size;
	}
	close(fd);
	if (err == -EINVAL)
		return shunt_err(err, "%s: not an object file", path);
	if (err)
		return shunt_err(err, "%s: %s", path, strerror(-err));
	return 0;
}

/* ---- add, replace, remove ---- */

static int report_change(const struct context *ctx, const struct instance *in,
			 unsigned number, const char *what)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	const struct shunt_transport *t = &all[number];
	int err;

	err = transport_read_all(in->dir, all);
	if (err)
		return err;
	if (ctx->json)
		return print_json(json_pack("{s:s, s:i, s:f}", "name", t->name,
					    "number", number, "load_ms",
					    t->load_us / 1e3));
	printf("%s: %s in %.1f ms (version %u, %u bytes of header)\n", t->name,
	       what, t->load_us / 1e3, t->version, t->header_len);
	return 0;
}

static int run_add(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"name", required_argument, NULL, 'n'},
		{},
	};
	struct object_file file = {};
	struct instance in;
	int opt, err, number;

	while ((opt = next_option(ctx, argc, argv, ":hjv", options)) != -1) {
		if (opt != 'n')
			return -SHUNT_EUSAGE;
		file.name = optarg;
	}
	if (optind + 1 != argc)
		return shunt_usage(ctx, "transport add: takes one FILE");
	err = require_root(ctx);
	if (!err)
		err = open_file(argv[optind], &file);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	number = deploy_add(in.dir, &file);
	err = number < 0 ? number : hops_for_policy(&in);
	if (!err)
		err = report_change(ctx, &in, number, "added");
	instance_close(&in);
	return err;
}

/* NAME of a deployed transport, for replace, remove and show. */
static int find(const struct instance *in, const char *name)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	int err;

	err = transport_read_all(in->dir, all);
	if (!err)
		err = transport_by_name(all, name);
	if (err == SHUNT_TCP)
		err = shunt_err(-EINVAL, "tcp: that is the kernel's own");
	return err;
}

static int run_replace(struct context *ctx, int argc, char **argv)
{
	struct object_file file = {};
	struct instance in;
	int err, number, same;

	if (common_options(ctx, argc, argv))
		return -SHUNT_EUSAGE;
	if (optind + 2 != argc)
		return shunt_usage(ctx, "transport replace: takes NAME FILE");
	err = require_root(ctx);
	if (!err)
		err = open_file(argv[optind + 1], &file);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	file.name = argv[optind];
	number = find(&in, file.name);
	same = number < 0 ? number : deploy_replace(in.dir, number, &file);
	err = same < 0 ? same : hops_for_policy(&in);
	if (!err)
		err = report_change(ctx, &in, number,
				    same ? "replaced"
					 : "replaced by another header, flows "
					   "back to TCP,");
	instance_close(&in);
	return err;
}

static int run_remove(struct context *ctx, int argc, char **argv)
{
	struct instance in;
	int err;

	if (common_options(ctx, argc, argv))
		return -SHUNT_EUSAGE;
	if (optind + 1 != argc)
		return shunt_usage(ctx, "transport remove: takes one NAME");
	err = require_root(ctx);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	err = find(&in, argv[optind]);
	if (err > 0)
		err = deploy_withdraw(in.dir, err);
	instance_close(&in);
	return err;
}

/* ---- list, show ---- */

struct view {
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	unsigned flows[SHUNT_MAX_TRANSPORTS]; /* redirected now */
};

static int count_flow(const void *key, const void *value, void *arg)
{
	const struct shunt_flow *flow = value;
	struct view *view = arg;

	(void)key;
	if (flow->life == SHUNT_LIVE && flow->tx == SHUNT_TX_ENCAP &&
	    flow->transport < SHUNT_MAX_TRANSPORTS)
		view->flows[flow->transport]++;
	return 0;
}

static int look(const struct instance *in, struct view *view)
{
	int fd, err;

	memset(view, 0, sizeof(*view));
	err = transport_read_all(in->dir, view->all);
	if (err)
		return err;
	fd = instance_map(in, "flows");
	if (fd < 0)
		return fd;
	err = table_walk(fd, count_flow, view);
	close(fd);
	return err;
}

static json_t *describe(const struct view *view, unsigned i)
{
	const struct shunt_transport *t = &view->all[i];

	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:i,"
			 " s:f, s:f}",
			 "name", t->name, "number", i, "version", t->version,
			 "id", ntohs(t->id), "ip_protocol", t->ip_proto, "port",
			 ntohs(t->port), "header_len", t->header_len, "gso",
			 !!(t->flags & SHUNT_T_GSO), "coverage",
			 !!(t->flags & SHUNT_T_COVERAGE), "flows",
			 view->flows[i], "load_ms", t->load_us / 1e3, "age",
			 seconds(ns_since(now_ns(), t->added_ns)));
}

static void print_list(const struct view *view)
{
	static const char line[] = "%-15s %7s %8s %5s %6s %4s %8s %7s %8s\n";
	char version[8], proto[8], port[8], header[8], flows[12], load[16];
	char age[DURATION_LEN];

	printf(line, "NAME", "VERSION", "PROTOCOL", "PORT", "HEADER", "GSO",
	       "FLOWS", "LOAD", "AGE");
	for (int i = 1; i < SHUNT_MAX_TRANSPORTS; i++) {
		const struct shunt_transport *t = &view->all[i];

		if (!t->deployed)
			continue;
		snprintf(version, sizeof(version), "%u", t->version);
		snprintf(proto, sizeof(proto), "%u", t->ip_proto);
		snprintf(port, sizeof(port), "%u", ntohs(t->port));
		snprintf(header, sizeof(header), "%u", t->header_len);
		snprintf(flows, sizeof(flows), "%u", view->flows[i]);
		snprintf(load, sizeof(load), "%.1f ms", t->load_us / 1e3);
		printf(line, t->name, version, proto, t->port ? port : "-",
		       header, t->flags & SHUNT_T_GSO ? "yes" : "no", flows,
		       load,
		       format_duration(age, ns_since(now_ns(), t->added_ns)));
	}
}

static int run_list(struct context *ctx, int argc, char **argv)
{
	struct instance in;
	struct view view;
	json_t *array;
	int err;

	err = no_options(ctx, argc, argv);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	err = look(&in, &view);
	instance_close(&in);
	if (err)
		return err;
	if (!ctx->json) {
		print_list(&view);
		return 0;
	}
	array = json_array();
	for (int i = 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (view.all[i].deployed)
			json_array_append_new(array, describe(&view, i));
	return print_json(array);
}

static void print_show(const struct view *view, unsigned i, json_t *report)
{
	const struct shunt_transport *t = &view->all[i];
	char age[DURATION_LEN], port[24] = "";
	const char *name;
	json_t *value;

	if (t->port)
		snprintf(port, sizeof(port), ", port %u", ntohs(t->port));
	printf("transport  %s, version %u (id %04x to peers, number %u here)\n",
	       t->name, t->version, ntohs(t->id), i);
	printf("header     %u bytes, IP protocol %u%s\n", t->header_len,
	       t->ip_proto, port);
	printf("packets    %s%s\n",
	       t->flags & SHUNT_T_GSO ? "up to 64 KB, segmented below it"
				      : "one segment each",
	       t->flags & SHUNT_T_COVERAGE ? ", coverage full or headers" : "");
	printf("loaded     in %.1f ms, %s ago\n", t->load_us / 1e3,
	       format_duration(age, ns_since(now_ns(), t->added_ns)));
	printf("flows      %u on it\n", view->flows[i]);
	if (json_object_size(report))
		puts("report");
	json_object_foreach (report, name, value) {
		if (json_is_integer(value))
			printf("  %-20s %lld\n", name,
			       (long long)json_integer_value(value));
		else if (json_is_real(value))
			printf("  %-20s %.1f\n", name, json_real_value(value));
		else
			printf("  %-20s -\n", name);
	}
}

static int run_show(struct context *ctx, int argc, char **argv)
{
	json_t *report = NULL, *object;
	struct instance in;
	struct view view;
	int err, number;

	if (common_options(ctx, argc, argv))
		return -SHUNT_EUSAGE;
	if (optind + 1 != argc)
		return shunt_usage(ctx, "transport show: takes one NAME");
	err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	number = find(&in, argv[optind]);
	err = number < 0 ? number : look(&in, &view);
	if (!err) {
		report = report_read(in.dir, number);
		err = report ? 0 : -EIO;
	}
	instance_close(&in);
	if (err)
		return err;
	if (ctx->json) {
		object = describe(&view, number);
		json_object_set_new(object, "report", report);
		return print_json(object);
	}
	print_show(&view, number, report);
	json_decref(report);
	return 0;
}

static int run(struct context *ctx, int argc, char **argv)
{
	static const struct verb verbs[] = {
		{"list", run_list},	  {"add", run_add},
		{"replace", run_replace}, {"remove", run_remove},
		{"show", run_show},	  {},
	};

	return run_verb(ctx, argc, argv, verbs);
}

const struct command command_transport = {
	.name = "transport",
	.summary = "list, add, replace, remove transports",
	.help = help,
	.run = run,
};
