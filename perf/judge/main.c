// SPDX-License-Identifier: GPL-2.0-only
/*
 * report - judges what perf/run has measured
 *
 * Its input is one JSON object a line, each with a "kind"; medians, quartiles
 * and ratios are taken here, and only here.
 */
#include "judge.h"

#define MISSED 3 /* exit code of --strict */

static const char usage[] =
	"usage: report make [--strict] DIR\n"
	"       report compare [--threshold PERCENT] A B\n"
	"       report rows DIR\n"
	"       report iperf3 <OUTPUT\n"
	"       report meta KEY=VALUE...\n"
	"  make    from DIR/raw.jsonl, or what DIR/results.json has of it:\n"
	"          DIR/results.json, DIR/report.md, data for pictures, and a\n"
	"          table; --strict: exit 3 when a target was missed\n"
	"  compare what changed beyond the noise from A to B, both "
	"directories;\n"
	"          exit 1 if something is worse by more than so much (5)\n"
	"  rows    the five rows of targets that README.md quotes\n"
	"  iperf3  the figures of `iperf3 -J`, on one line\n"
	"  meta    a line of raw.jsonl that says where it was measured\n";

static int make(const char *dir, bool strict)
{
	struct table t;
	bool all_met = true;

	read_lines(dir);
	find_targets();
	find_doubts();
	write_json(dir);
	write_markdown(dir);
	write_plots(dir);
	fill_targets(&t);
	print_plain(&t, stdout);
	for (int i = 0; i < n_warnings; i++)
		printf("doubtful: %s\n", warnings[i]);
	for (int i = 0; i < n_targets; i++)
		all_met = all_met && met(&targets[i]);
	return strict && !all_met ? MISSED : 0;
}

/* ---- small helpers of perf/run ---- */

static int iperf3(void)
{
	json_error_t error;
	json_t *all = json_loadf(stdin, 0, &error), *end, *cpu, *line;

	errno = 0;
	if (!all)
		die("iperf3's output: %s", error.text);
	if (json_object_get(all, "error"))
		die("iperf3: %s", text(all, "error"));
	end = json_object_get(all, "end");
	cpu = json_object_get(end, "cpu_utilization_percent");
	line = json_pack(
		"{s:f, s:f, s:f, s:f, s:f}", "bits_per_second",
		num(json_object_get(end, "sum_received"), "bits_per_second"),
		"payload", num(json_object_get(end, "sum_received"), "bytes"),
		"retransmits",
		num(json_object_get(end, "sum_sent"), "retransmits"),
		"cpu_client_percent", num(cpu, "host_total"),
		"cpu_server_percent", num(cpu, "remote_total"));
	if (!line ||
	    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)))
		die("iperf3's output lacks figures");
	putchar('\n');
	return 0;
}

static int print_meta(int argc, char **argv)
{
	json_t *line = json_pack("{s:s}", "kind", "meta");
	char *value;

	for (int i = 0; i < argc; i++) {
		value = strchr(argv[i], '=');
		if (!value)
			continue;
		*value++ = 0;
		json_object_set_new(line, argv[i], json_string(value));
	}
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	return 0;
}

static int rows(const char *dir)
{
	struct table t;

	read_lines(dir);
	find_targets();
	fill_rows(&t);
	printf("Measured %.4s-%.2s-%.2s, %s, load %s; %s:\n\n",
	       text(meta, "date"), text(meta, "date") + 4,
	       text(meta, "date") + 6, text(meta, "mode"),
	       text(meta, "load_before"), text(meta, "kernel"));
	print_markdown(&t, stdout);
	return 0;
}

static int compare(int argc, char **argv)
{
	double threshold = 5;

	if (argc == 4 && !strcmp(argv[0], "--threshold")) {
		threshold = number(argv[1], 0, 1000);
		argv += 2;
		argc -= 2;
	}
	if (argc != 2 || argv[0][0] == '-') {
		fputs(usage, stderr);
		return 2;
	}
	return compare_runs(argv[0], argv[1], threshold);
}

int main(int argc, char **argv)
{
	bool strict = argc == 4 && !strcmp(argv[2], "--strict");

	if (argc == 3 + strict && !strcmp(argv[1], "make"))
		return make(argv[argc - 1], strict);
	if (argc >= 2 && !strcmp(argv[1], "compare"))
		return compare(argc - 2, argv + 2);
	if (argc == 3 && !strcmp(argv[1], "rows"))
		return rows(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "iperf3"))
		return iperf3();
	if (argc > 2 && !strcmp(argv[1], "meta"))
		return print_meta(argc - 2, argv + 2);
	if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")))
		return fputs(usage, stdout) < 0;
	fputs(usage, stderr);
	return 2;
}
