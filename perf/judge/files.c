// SPDX-License-Identifier: GPL-2.0-only
/* The delay, and the paper's files through it. */
#include "judge.h"

static double delay_num(const char *workload, const char *key)
{
	return num(find("sample", "plain", workload), key);
}

void print_delay(FILE *f)
{
	json_t *by = find("delay", NULL, NULL), *wire, *way;
	double bad = 0;
	const char *name;

	if (!by)
		return;
	fprintf(f,
		"### The delay: its own cost and ceiling\n\n"
		"25 ms each way, by %s. Plain TCP, measured before all that "
		"follows:\n\n"
		"| path | round trip, p50 | p99 | bulk, 1 connection |\n"
		"|---|---:|---:|---:|\n",
		strcmp(json_string_value(by), "wire")
			? "netem"
			: "the testbed's wire (testbed/README.md)");
	static const char *const rows[][2] = {
		{"direct", "direct"},
		{"path", "through it, no delay set"},
		{"delay", "through it, 50 ms"}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char ping[32], bulk[32];

		snprintf(ping, sizeof(ping), "pingpong-%s", rows[i][0]);
		snprintf(bulk, sizeof(bulk), "bulk-%s", rows[i][0]);
		fprintf(f, "| %s | %.3f ms | %.3f ms | %.2f Gbit/s |\n",
			rows[i][1], delay_num(ping, "p50_ns") / 1e6,
			delay_num(ping, "p99_ns") / 1e6,
			delay_num(bulk, "bits_per_second") / 1e9);
	}
	wire = find("wire", NULL, NULL);
	json_object_foreach (wire, name, way) {
		bad += num(way, "missed") + num(way, "unfinished") +
		       num(way, "send_failed");
	}
	if (wire)
		fprintf(f,
			"\nPackets that the wire itself missed, could not send "
			"or found unfinished: %.0f.\n",
			bad);
	fputc('\n', f);
}

static const struct {
	enum metric fresh, kept;
	const char *name, *workload;
	double bytes;
} files[] = {
	{FILE_3K, KEPT_3K, "3 KB", "file-3k", 3072},
	{FILE_510K, KEPT_510K, "510 KB", "file-510k", 510 * 1024},
	{FILE_26M, KEPT_26M, "26 MB", "file-26m", 26 << 20},
};

/* Of all samples of this workload (and -kept): how many, and how many had all
 * bytes right; and what arrived. */
struct arrived {
	int samples, right;
	double least, wanted;
	char sha256[65];
};

static struct arrived arrived(const char *workload, enum system s)
{
	struct arrived a = {.least = INFINITY};
	size_t i, len = strlen(workload);
	json_t *line, *data;

	json_array_foreach (lines, i, line) {
		data = json_object_get(line, "data");
		if (!is(line, "system", systems[s].key) ||
		    strncmp(text(line, "workload"), workload, len) ||
		    !is(line, "kind", "sample"))
			continue;
		a.samples++;
		a.wanted = num(data, "bytes");
		a.least = fmin(a.least, num(data, "delivered"));
		if (json_is_true(json_object_get(data, "right")))
			a.right++;
		snprintf(a.sha256, sizeof(a.sha256), "%s",
			 text(data, "sha256"));
	}
	return a;
}

static void set_time(struct table *t, int column, enum metric m, enum system s)
{
	struct summary v = summarise(&values[m][s]);
	struct summary d = difference(&values[m][s], &values[m][PLAIN]);
	char share[16];

	if (isnan(v.median))
		set(t, column, "-");
	else if (s == PLAIN)
		set(t, column, "%.2f (%.2f-%.2f)", v.median / 1e6, v.q1 / 1e6,
		    v.q3 / 1e6);
	else
		set(t, column, "%.2f: %+.2f (%+.2f to %+.2f) %s",
		    v.median / 1e6, d.median / 1e6, d.q1 / 1e6, d.q3 / 1e6,
		    by_messages(m, s, share, sizeof(share)));
}

static void print_delivered(FILE *f)
{
	fputs("| file | system | delivered | transfers with all bytes right | "
	      "sha256 of the last |\n|---|---|---:|---:|---|\n",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		for (int s = 0; s < N_SYSTEMS; s++) {
			struct arrived a = arrived(files[i].workload, s);

			if (!a.samples)
				continue;
			fprintf(f, "| %s | %s | %.*f%% | %d of %d | %.16s |\n",
				files[i].name, systems[s].name,
				a.least < a.wanted ? 2 : 0,
				100 * a.least / a.wanted, a.right, a.samples,
				a.sha256);
		}
	}
	fputc('\n', f);
}

void print_files(FILE *f)
{
	struct table t = {7,
			  {"system", "3 KB", "510 KB", "26 MB", "3 KB, open",
			   "510 KB, open", "26 MB, open"},
			  {-1, 1, 1, 1, 1, 1, 1},
			  {},
			  0};

	for (int s = 0; s < N_SYSTEMS; s++) {
		bool any = false;

		for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
			any = any || measured(files[i].fresh, s);
			set_time(&t, i + 1, files[i].fresh, s);
			set_time(&t, i + 4, files[i].kept, s);
		}
		if (any)
			set_system(&t, s);
	}
	if (!t.rows)
		return;
	fputs("### The paper's files at 50 ms\n\n"
	      "Milliseconds from connect() to the last byte; *open*: from the "
	      "request, on a connection\nthat has been used 8 times. Behind "
	      "the colon: more than plain TCP took in the same\nround (the "
	      "paper: +55). Only transfers with all bytes right count.\n\n",
	      f);
	print_markdown(&t, f);
	print_delivered(f);
}
