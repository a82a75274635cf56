// SPDX-License-Identifier: GPL-2.0-only
/* shunt doctor */
#include "ctl.h"
#include "device.h"
#include "host.h"
#include "instance.h"
#include "out.h"
#include "probe.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt doctor [--dev IF...] [-j]\n"
	"\n"
	"Says what this kernel and these devices can do for shunt, and what "
	"to\n"
	"do about what they cannot. Changes nothing, needs no instance; "
	"without\n"
	"root it cannot try most things. Exit 0 when shunt can work here.\n"
	"\n"
	"  --dev IF...  only these devices; default: all with Ethernet\n"
	"  -j           JSON: an object\n"
	"\n"
	"example: sudo shunt doctor --dev eth0\n";

enum finding { OK, WARN, MISSING, UNKNOWN };

static const char *const findings[] = {
	[OK] = "ok",
	[WARN] = "warn",
	[MISSING] = "missing",
	[UNKNOWN] = "unknown",
};

struct report {
	json_t *json; /* of what is being looked at; NULL: text */
	const char *indent;
	bool fit; /* can shunt work? */
};

static void say(struct report *report, enum finding finding, const char *what,
		const char *detail, const char *advice)
{
	if (finding == MISSING)
		report->fit = false;
	if (report->json) {
		json_array_append_new(
			report->json,
			json_pack("{s:s, s:s, s:s, s:s}", "name", what, "state",
				  findings[finding], "detail", detail, "advice",
				  finding == OK ? "" : advice));
		return;
	}
	printf("%s%-8s %s", report->indent, findings[finding], what);
	if (detail[0])
		printf(": %s", detail);
	putchar('\n');
	if (finding != OK && advice[0])
		printf("%s         -> %s\n", report->indent, advice);
}

/* ---- the kernel ---- */

static void run_probes(struct report *report, const struct probe *probes,
		       size_t n, enum finding if_missing)
{
	for (size_t i = 0; i < n; i++) {
		char detail[128] = "";
		int err = probes[i].run(detail, sizeof(detail));

		if (err == -EPERM && geteuid())
			say(report, UNKNOWN, probes[i].name, "needs root", "");
		else
			say(report, err ? if_missing : OK, probes[i].name,
			    detail, probes[i].advice);
	}
}

static void check_places(struct report *report)
{
	struct host host = HOST_INIT;

	if (host_enter(&host)) {
		say(report, MISSING, "bpffs and cgroup v2",
		    "cannot be looked for", "see the error above");
		return;
	}
	if (host.bpffs)
		say(report, OK, "bpffs", SHUNT_BPFFS, "");
	else
		say(report, WARN, "bpffs", "not mounted, or not visible",
		    "`shunt up` mounts it at " SHUNT_BPFFS);
	if (host.cgroup2[0])
		say(report, OK, "cgroup v2", host.cgroup2, "");
	else
		say(report, MISSING, "cgroup v2", "not mounted",
		    "mount -t cgroup2 none /sys/fs/cgroup/unified");
	host_return(&host);
	host_leave(&host);
}

static void check_programs(struct report *report, bool message)
{
	const char *what = message ? "message path: programs, by the verifier"
				   : "our programs, by the verifier";
	enum finding refused = message ? WARN : MISSING;
	int err;

	if (geteuid()) {
		say(report, UNKNOWN, what, "needs root", "");
		return;
	}
	err = build_try(message);
	say(report, err ? refused : OK, what, err ? strerror(-err) : "",
	    "`shunt -v doctor` shows the verifier's reasons");
}

static void check_kernel(struct report *report)
{
	if (geteuid())
		say(report, MISSING, "root", "not root", "try sudo");
	else
		say(report, OK, "root", "", "");
	check_places(report);
	run_probes(report, probes_required, n_probes_required, MISSING);
	check_programs(report, false);
	run_probes(report, probes_optional, n_probes_optional, WARN);
	run_probes(report, probes_message, n_probes_message, WARN);
	check_programs(report, true);
	run_probes(report, probes_message_optional, n_probes_message_optional,
		   WARN);
}

/* ---- a device ---- */

static enum shunt_ingress check_xdp(struct report *report,
				    const struct device *dev)
{
	char holder[32] = "", text[96];
	const char *why;
	unsigned id;
	bool safe, ours;
	int native;

	/* Attaching one to see would reset many a network card. */
	native = device_native_xdp(dev);
	safe = device_xdp_is_safe(dev, &why);
	id = device_xdp_holder(dev->ifindex, holder, sizeof(holder));
	ours = !strncmp(holder, "shunt_", strlen("shunt_"));
	snprintf(text, sizeof(text), "program %u (%s) is there", id, holder);
	if (native == 0)
		say(report, WARN, "native XDP",
		    "the driver offers none, as it is set up",
		    "TC ingress is used");
	else if (ours)
		say(report, OK, "native XDP", "ours is there", "");
	else if (id)
		say(report, WARN, "native XDP", text,
		    "TC ingress is used, unless you remove it");
	else if (native < 0)
		say(report, UNKNOWN, "native XDP",
		    "this kernel does not say which drivers have it", "");
	else
		say(report, OK, "native XDP", "", "");
	return safe && native && (ours || !id) ? SHUNT_INGRESS_XDP
					       : SHUNT_INGRESS_TC;
}

static void check_checksum(struct report *report, const struct device *dev)
{
	char advice[96];
	const char *why;
	bool safe = device_xdp_is_safe(dev, &why);

	snprintf(advice, sizeof(advice),
		 "for XDP: `ethtool -K %s rx off`; else TC ingress is used",
		 dev->name);
	say(report, safe ? OK : WARN, "checksums below XDP", why, advice);
}

static void check_tc(struct report *report, const struct device *dev)
{
	int n = device_tc_programs(dev->ifindex);
	char text[96];

	/* Ours are first on the way in and last on the way out: no conflict,
	 * but what others do there is good to know when something is odd. */
	snprintf(text, sizeof(text),
		 "%d there; `bpftool net` and `tc filter` "
		 "list them",
		 n);
	say(report, OK, "TC programs and filters", n ? text : "none there", "");
}

static void check_device(struct report *report, json_t *list,
			 const struct device *dev)
{
	json_t *checks = list ? json_array() : NULL;
	struct report part = {checks, "  ", true};
	enum shunt_ingress ingress;

	if (!list)
		printf("%s: driver %s, MTU %d, receive checksums %s\n",
		       dev->name, dev->driver[0] ? dev->driver : "unnamed",
		       dev->mtu, dev->rx_checksum ? "on" : "off");
	ingress = check_xdp(&part, dev);
	check_checksum(&part, dev);
	check_tc(&part, dev);
	if (list)
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:i, s:b, s:s, s:o}", "name",
				  dev->name, "driver", dev->driver, "mtu",
				  dev->mtu, "rx_checksum", dev->rx_checksum,
				  "auto", ingress_name(ingress), "checks",
				  checks));
	else
		say(&part, OK, "--ingress auto takes", ingress_name(ingress),
		    "");
	report->fit &= part.fit;
}

static int check_devices(struct report *report, json_t *list,
			 char *const *names, int n)
{
	struct if_nameindex *all, *at;
	struct device dev;

	for (int i = 0; i < n; i++) {
		int err = device_open(names[i], &dev);

		if (err)
			return err;
		check_device(report, list, &dev);
	}
	if (n)
		return 0;
	all = if_nameindex();
	if (!all)
		return shunt_err(-errno, "devices: %s", strerror(errno));
	for (at = all; at->if_index; at++)
		if (!device_query(at->if_name, &dev) &&
		    strcmp(at->if_name, "lo"))
			check_device(report, list, &dev);
	if_freenameindex(all);
	return 0;
}

static int examine(struct context *ctx, char *const *names, int n)
{
	json_t *kernel = NULL, *devices = NULL;
	struct report report = {NULL, "", true};
	int err;

	if (ctx->json) {
		kernel = json_array();
		devices = json_array();
		report.json = kernel;
	}
	check_kernel(&report);
	err = check_devices(&report, devices, names, n);
	if (ctx->json && !err)
		err = print_json(json_pack("{s:b, s:O, s:O}", "ok", report.fit,
					   "kernel", kernel, "devices",
					   devices));
	else if (!err)
		puts(report.fit ? "shunt can work here"
				: "shunt cannot work here");
	json_decref(kernel);
	json_decref(devices);
	if (!err && !report.fit)
		err = -ENOTSUP;
	return err;
}

static int run(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"dev", required_argument, NULL, 'd'},
		{},
	};
	struct device_list list = {};
	int opt;

	while ((opt = next_option(ctx, argc, argv, "-:hjvd:", options)) != -1)
		if (device_option(ctx, &list, opt))
			return -SHUNT_EUSAGE;
	if (optind < argc)
		return shunt_usage(ctx, "doctor: unexpected argument '%s'",
				   argv[optind]);
	return examine(ctx, list.names, list.n);
}

const struct command command_doctor = {
	.name = "doctor",
	.summary = "what this kernel and these devices can do",
	.help = help,
	.run = run,
};
