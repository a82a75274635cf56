// SPDX-License-Identifier: GPL-2.0-only
/*
 * Judges what perf/run has measured. Its input is one JSON object a line, each
 * with a "kind"; medians, quartiles and ratios are taken here, and only here.
 */
#include "util.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>

#define MISSED 3 /* exit code of --strict */

static const char usage[] =
	"usage: report make [--strict] DIR\n"
	"       report iperf3 <OUTPUT\n"
	"       report meta KEY=VALUE...\n"
	"  make    from DIR/raw.jsonl: DIR/results.json, DIR/report.md, and a\n"
	"          table; --strict: exit 3 when a target was missed\n"
	"  iperf3  the figures of `iperf3 -J`, on one line\n"
	"  meta    a line of raw.jsonl that says where it was measured\n";

enum system { PLAIN, PASS, XDP, TC, N_SYSTEMS };

static const struct {
	const char *key, *name;
} systems[] = {
	[PLAIN] = {"plain", "plain TCP"},
	[PASS] = {"pass", "TCP, XDP pass-only"},
	[XDP] = {"xdp", "shunt, XDP ingress"},
	[TC] = {"tc", "shunt, TC ingress"},
};

enum metric {
	RTT50,
	RTT99,
	RTT999,
	RTT50_1CPU,
	RTT99_1CPU,
	BULK,
	BULK_256K,
	RATE,
	N_METRICS
};

static const struct {
	const char *workload, *key, *name, *unit;
	double scale;
} metrics[] = {
	[RTT50] = {"pingpong", "p50_ns", "ping-pong p50, two CPUs", "us", 1e-3},
	[RTT99] = {"pingpong", "p99_ns", "ping-pong p99, two CPUs", "us", 1e-3},
	[RTT999] = {"pingpong", "p999_ns", "ping-pong p99.9, two CPUs", "us",
		    1e-3},
	[RTT50_1CPU] = {"pingpong-1cpu", "p50_ns", "ping-pong p50, one CPU",
			"us", 1e-3},
	[RTT99_1CPU] = {"pingpong-1cpu", "p99_ns", "ping-pong p99, one CPU",
			"us", 1e-3},
	[BULK] = {"bulk", "bits_per_second", "bulk", "Gbit/s", 1e-9},
	[BULK_256K] = {"bulk-256k", "bits_per_second", "bulk, 256 KB window",
		       "Gbit/s", 1e-9},
	[RATE] = {"connrate", "per_second", "connections per second", "1/s", 1},
};

/* ---- numbers ---- */

#define MAX_VALUES 100

struct series {
	double v[MAX_VALUES];
	int n;
};

struct summary {
	double median, q1, q3, min, max;
};

static void add(struct series *s, double v)
{
	if (s->n == MAX_VALUES) {
		errno = 0;
		die("more than %d rounds", MAX_VALUES);
	}
	s->v[s->n++] = v;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Between the two nearest ranks. */
static double quantile(const struct series *sorted, double q)
{
	double at = q * (sorted->n - 1);
	int i = at;

	if (i + 1 >= sorted->n)
		return sorted->v[sorted->n - 1];
	return sorted->v[i] + (at - i) * (sorted->v[i + 1] - sorted->v[i]);
}

static struct summary summarise(const struct series *series)
{
	struct series s = *series;

	if (!s.n)
		return (struct summary){NAN, NAN, NAN, NAN, NAN};
	qsort(s.v, s.n, sizeof(s.v[0]), compare);
	return (struct summary){quantile(&s, 0.5), quantile(&s, 0.25),
				quantile(&s, 0.75), s.v[0], s.v[s.n - 1]};
}

/* Round by round, so that what drifts from round to round drops out. */
static struct summary ratio(const struct series *a, const struct series *b)
{
	struct series r = {};

	for (int i = 0; i < a->n && i < b->n; i++)
		add(&r, a->v[i] / b->v[i]);
	return summarise(&r);
}

/* ---- input ---- */

static json_t *lines;
static json_t *meta;
static struct series values[N_METRICS][N_SYSTEMS];

struct share {
	double udp, all;
};

static struct share shares[N_METRICS][N_SYSTEMS];

static const char *text(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static bool is(json_t *object, const char *key, const char *value)
{
	return !strcmp(text(object, key), value);
}

static double num(json_t *object, const char *key)
{
	json_t *n = json_object_get(object, key);

	return json_is_number(n) ? json_number_value(n) : NAN;
}

/* What of the sample's bytes the router has seen in UDP. */
static void add_share(struct share *share, json_t *router)
{
	const char *direction, *protocol;
	json_t *protocols, *counts;
	double bytes;

	json_object_foreach (router, direction, protocols) {
		json_object_foreach (protocols, protocol, counts) {
			bytes = num(counts, "bytes");
			if (!strcmp(protocol, "udp"))
				share->udp += bytes;
			if (!strcmp(protocol, "udp") ||
			    !strcmp(protocol, "tcp"))
				share->all += bytes;
		}
	}
}

static void add_sample(json_t *line)
{
	json_t *data = json_object_get(line, "data");
	double v;

	for (int m = 0; m < N_METRICS; m++) {
		if (!is(line, "workload", metrics[m].workload))
			continue;
		for (int s = 0; s < N_SYSTEMS; s++) {
			if (!is(line, "system", systems[s].key))
				continue;
			v = num(data, metrics[m].key);
			if (isnan(v)) {
				errno = 0;
				die("a sample of %s has no %s",
				    metrics[m].workload, metrics[m].key);
			}
			add(&values[m][s], v);
			add_share(&shares[m][s],
				  json_object_get(line, "router"));
		}
	}
}

static void read_lines(const char *dir)
{
	char path[PATH_MAX], *buf = NULL;
	json_error_t error;
	size_t size = 0;
	json_t *line;
	FILE *f;

	snprintf(path, sizeof(path), "%s/raw.jsonl", dir);
	f = fopen(path, "r");
	if (!f)
		die("%s", path);
	lines = json_array();
	while (getline(&buf, &size, f) > 0) {
		line = json_loads(buf, 0, &error);
		if (!line) {
			errno = 0;
			die("%s: %s: %s", path, error.text, buf);
		}
		json_array_append_new(lines, line);
		if (is(line, "kind", "sample"))
			add_sample(line);
		if (is(line, "kind", "meta"))
			meta = line;
	}
	free(buf);
	fclose(f);
}

/* The line of a kind, system and workload (or NULL: any). */
static json_t *find(const char *kind, const char *system, const char *workload)
{
	json_t *line;
	size_t i;

	json_array_foreach (lines, i, line) {
		if (is(line, "kind", kind) &&
		    (!system || is(line, "system", system)) &&
		    (!workload || is(line, "workload", workload)))
			return json_object_get(line, "data");
	}
	return NULL;
}

/* ---- what BPF costs ---- */

/* Mean run time over the hosts named in `hosts`, or NAN. */
static double mean_ns(enum system s, const char *workload, const char *hosts,
		      const char *prog)
{
	json_t *all = find("bpf", systems[s].key, workload), *one;
	double runs = 0, ns = 0;
	const char *name, *slash;

	json_object_foreach (all, name, one) {
		slash = strchr(name, '/');
		if (!slash || strcmp(slash + 1, prog) ||
		    !memmem(hosts, strlen(hosts), name, slash - name))
			continue;
		runs += num(one, "runs");
		ns += num(one, "ns");
	}
	return runs ? ns / runs : NAN;
}

static double bytes_per_flow(void)
{
	json_t *maps = find("maps", NULL, NULL);
	json_t *index = json_object_get(maps, "flow_index");
	json_t *flows = json_object_get(maps, "flows");

	return (num(index, "bytes") + num(flows, "bytes")) /
	       num(index, "max_entries");
}

static struct summary up_ms(void)
{
	json_t *all = find("up", NULL, NULL), *one;
	struct series s = {};
	size_t i;

	json_array_foreach (all, i, one) {
		add(&s, json_number_value(one) / 1000);
	}
	return summarise(&s);
}

/* ---- tables ---- */

#define MAX_ROWS 40
#define COLUMNS	 6

struct table {
	int columns;
	const char *head[COLUMNS];
	int width[COLUMNS]; /* negative: flush left */
	char cell[MAX_ROWS][COLUMNS][80];
	int rows;
};

__attribute__((format(printf, 3, 4))) static void
set(struct table *t, int column, const char *fmt, ...)
{
	va_list args;

	if (t->rows == MAX_ROWS) {
		errno = 0;
		die("more than %d rows", MAX_ROWS);
	}
	va_start(args, fmt);
	vsnprintf(t->cell[t->rows][column], sizeof(t->cell[0][0]), fmt, args);
	va_end(args);
}

static void print_plain(const struct table *t, FILE *f)
{
	for (int r = -1; r < t->rows; r++) {
		for (int c = 0; c < t->columns; c++)
			fprintf(f, "%s%*s", c ? "  " : "",
				c == t->columns - 1 ? 0 : t->width[c],
				r < 0 ? t->head[c] : t->cell[r][c]);
		fputc('\n', f);
	}
}

static void print_markdown(const struct table *t, FILE *f)
{
	for (int r = -1; r < t->rows; r++) {
		for (int c = 0; c < t->columns; c++)
			fprintf(f, "| %s ", r < 0 ? t->head[c] : t->cell[r][c]);
		fputs("|\n", f);
		for (int c = 0; r < 0 && c < t->columns; c++)
			fputs(t->width[c] < 0 ? "|---" : "|---:", f);
		fputs(r < 0 ? "|\n" : "", f);
	}
	fputc('\n', f);
}

/* ---- targets ---- */

struct target {
	const char *name;
	bool at_least;
	double wanted;
	const char *format; /* of a value, with its unit */
	struct summary got;
	double net; /* of the statistics' own cost; NAN: has none */
};

#define MAX_TARGETS 32

static struct target targets[MAX_TARGETS];
static int n_targets;

static void add_target(struct target t)
{
	targets[n_targets++] = t;
}

static bool met(const struct target *t)
{
	return t->at_least ? t->got.median >= t->wanted
			   : t->got.median <= t->wanted;
}

static void add_ratio(const char *name, bool at_least, double wanted,
		      enum metric m, enum system a, enum system b)
{
	add_target((struct target){name, at_least, wanted, "%.3f",
				   ratio(&values[m][a], &values[m][b]), NAN});
}

static void add_cost(const char *name, double wanted, const char *workload,
		     const char *hosts, const char *prog, const char *pass)
{
	double mean = mean_ns(XDP, workload, hosts, prog);
	double floor = mean_ns(PASS, workload, hosts, pass);

	add_target((struct target){name,
				   false,
				   wanted,
				   "%.0f ns",
				   {mean, NAN, NAN, NAN, NAN},
				   mean - floor});
}

static void find_targets(void)
{
	double per_flow = bytes_per_flow();

	add_ratio("ping-pong p50, 2 CPUs, XDP / plain", false, 1.05, RTT50, XDP,
		  PLAIN);
	add_ratio("ping-pong p50, 2 CPUs, TC / plain", false, 1.05, RTT50, TC,
		  PLAIN);
	add_ratio("ping-pong p50, 1 CPU, XDP / plain", false, 1.05, RTT50_1CPU,
		  XDP, PLAIN);
	add_ratio("ping-pong p50, 1 CPU, TC / plain", false, 1.05, RTT50_1CPU,
		  TC, PLAIN);
	add_ratio("bulk, XDP / pass-only XDP", true, 0.90, BULK, XDP, PASS);
	add_ratio("bulk, TC / plain", true, 0.75, BULK, TC, PLAIN);
	add_ratio("bulk, 256 KB, XDP / pass-only XDP", true, 0.90, BULK_256K,
		  XDP, PASS);
	add_ratio("bulk, 256 KB, TC / plain", true, 0.75, BULK_256K, TC, PLAIN);
	add_ratio("connections/s, XDP / plain", true, 0.95, RATE, XDP, PLAIN);
	add_ratio("connections/s, TC / plain", true, 0.95, RATE, TC, PLAIN);
	add_cost("encap, mean, bulk", 200, "bulk-256k", "client",
		 "shunt_egress", "pass_tc");
	add_cost("encap, mean, ping-pong", 200, "pingpong-1cpu",
		 "client server", "shunt_egress", "pass_tc");
	add_cost("decap (XDP), mean, bulk", 100, "bulk-256k", "server",
		 "shunt_ingress_xdp", "pass_xdp");
	add_cost("decap (XDP), mean, ping-pong", 100, "pingpong-1cpu",
		 "client server", "shunt_ingress_xdp", "pass_xdp");
	add_target((struct target){"shunt up, 200,000 flows", false, 150,
				   "%.0f ms", up_ms(), NAN});
	add_target((struct target){"kernel memory per flow",
				   false,
				   256,
				   "%.0f B",
				   {per_flow, NAN, NAN, NAN, NAN},
				   NAN});
}

static void miss(struct table *t, const struct target *g)
{
	double percent = (g->got.median / g->wanted - 1) * 100;

	set(t, 4, "MISS %+.*f%%", fabs(percent) < 10, percent);
}

static void fill_targets(struct table *t)
{
	char value[32];

	*t = (struct table){
		5,
		{"target", "wanted", "measured", "quartiles", "result"},
		{-34, 9, 8, 11, -10},
		{},
		0};
	for (const struct target *g = targets; g < targets + n_targets; g++) {
		set(t, 0, "%s", g->name);
		snprintf(value, sizeof(value), g->format, g->wanted);
		set(t, 1, "%s %s", g->at_least ? ">=" : "<=", value);
		snprintf(value, sizeof(value), g->format, g->got.median);
		set(t, 2, "%s", value);
		if (!isnan(g->net))
			set(t, 3, "net %.0f ns", g->net);
		else if (!isnan(g->got.q1))
			set(t, 3, g->got.q3 < 10 ? "%.3f-%.3f" : "%.0f-%.0f",
			    g->got.q1, g->got.q3);
		if (isnan(g->got.median))
			set(t, 4, "NO DATA");
		else if (met(g))
			set(t, 4, "pass");
		else
			miss(t, g);
		t->rows++;
	}
}

/* ---- the other tables ---- */

static void fill_values(struct table *t)
{
	*t = (struct table){
		5,
		{"workload", "system", "median", "quartiles", "min-max"},
		{-1, -1, 1, 1, 1},
		{},
		0};
	for (int m = 0; m < N_METRICS; m++) {
		for (int s = 0; s < N_SYSTEMS; s++) {
			struct summary v = summarise(&values[m][s]);
			double k = metrics[m].scale;
			int d = v.median * k < 1000 ? 2 : 0;

			set(t, 0, "%s", metrics[m].name);
			set(t, 1, "%s", systems[s].name);
			set(t, 2, "%.*f %s", d, v.median * k, metrics[m].unit);
			set(t, 3, "%.*f-%.*f", d, v.q1 * k, d, v.q3 * k);
			set(t, 4, "%.*f-%.*f", d, v.min * k, d, v.max * k);
			t->rows++;
		}
	}
}

static const struct {
	enum system a, b;
} pairs[] = {{PASS, PLAIN}, {XDP, PLAIN}, {XDP, PASS}, {TC, PLAIN}};

static const enum metric shown[] = {RTT50, RTT50_1CPU, BULK, BULK_256K, RATE};

static void head_by_metric(struct table *t, const char *first)
{
	*t = (struct table){6, {first}, {-1, 1, 1, 1, 1, 1}, {}, 0};
	for (int c = 0; c < 5; c++)
		t->head[c + 1] = metrics[shown[c]].name;
}

static void fill_ratios(struct table *t)
{
	head_by_metric(t, "ratio");
	for (size_t p = 0; p < sizeof(pairs) / sizeof(pairs[0]); p++) {
		set(t, 0, "%s / %s", systems[pairs[p].a].name,
		    systems[pairs[p].b].name);
		for (int c = 0; c < 5; c++) {
			const struct series *v = values[shown[c]];
			struct summary r =
				ratio(&v[pairs[p].a], &v[pairs[p].b]);

			set(t, c + 1, "%.3f (%.3f-%.3f)", r.median, r.q1, r.q3);
		}
		t->rows++;
	}
}

static void fill_shares(struct table *t)
{
	head_by_metric(t, "bytes in UDP at the router");
	for (int s = 0; s < N_SYSTEMS; s++) {
		set(t, 0, "%s", systems[s].name);
		for (int c = 0; c < 5; c++) {
			const struct share *h = &shares[shown[c]][s];

			set(t, c + 1, "%.2f%%", 100 * h->udp / h->all);
		}
		t->rows++;
	}
}

static void print_costs(FILE *f)
{
	json_t *line, *one;
	const char *name;
	size_t i;

	fputs("| workload | system | host/program | runs | mean |\n"
	      "|---|---|---|---:|---:|\n",
	      f);
	json_array_foreach (lines, i, line) {
		if (!is(line, "kind", "bpf"))
			continue;
		json_object_foreach (json_object_get(line, "data"), name, one) {
			if (num(one, "runs") < 100)
				continue; /* too few to mean anything */
			fprintf(f, "| %s | %s | %s | %.0f | %.0f ns |\n",
				text(line, "workload"), text(line, "system"),
				name, num(one, "runs"), num(one, "mean_ns"));
		}
	}
	fputc('\n', f);
}

/* ---- what makes the figures doubtful ---- */

#define MAX_WARNINGS 16

static char warnings[MAX_WARNINGS][160];
static int n_warnings;

__attribute__((format(printf, 1, 2))) static void warning(const char *fmt, ...)
{
	va_list args;

	if (n_warnings == MAX_WARNINGS)
		return;
	va_start(args, fmt);
	vsnprintf(warnings[n_warnings++], sizeof(warnings[0]), fmt, args);
	va_end(args);
}

/* Connections are made in plain TCP: three of a short one's packets, and
 * whatever was on its way when the direction switched. */
static void doubt_shares(void)
{
	for (int c = 0; c < 5; c++) {
		enum metric m = shown[c];

		for (int s = 0; s < N_SYSTEMS; s++) {
			double udp = shares[m][s].udp / shares[m][s].all;
			double least = m == RATE ? 0.5 : 0.99;

			if (s < XDP && udp > 0)
				warning("%s over %s: UDP seen",
					metrics[m].workload, systems[s].name);
			if (s >= XDP && !(udp >= least))
				warning("%s over %s: only %.1f%% of the bytes "
					"went over UDP",
					metrics[m].workload, systems[s].name,
					udp * 100);
		}
	}
}

static void find_doubts(void)
{
	double load = atof(text(meta, "load_before"));
	double errors = 0;
	json_t *line;
	size_t i;

	doubt_shares();
	if (load > 0.5)
		warning("the machine was not quiet: load %.2f at the start",
			load);
	if (atof(text(meta, "steal_percent")) > 1)
		warning("the hypervisor took %s%% of the time",
			text(meta, "steal_percent"));
	for (int c = 0; c < 5; c++) {
		struct summary v = summarise(&values[shown[c]][PLAIN]);

		if ((v.q3 - v.q1) / v.median > 0.10)
			warning("%s: quartiles of plain TCP are %.0f%% apart",
				metrics[shown[c]].workload,
				100 * (v.q3 - v.q1) / v.median);
	}
	json_array_foreach (lines, i, line) {
		json_t *data = json_object_get(line, "data");

		if (is(line, "workload", "connrate") &&
		    json_object_get(data, "errors"))
			errors += num(data, "errors");
	}
	if (errors)
		warning("%.0f connections failed", errors);
}

/* ---- output ---- */

static void write_markdown(const char *dir)
{
	static const char *const facts[] = {
		"date",	       "commit",     "mode",	      "kernel",
		"cpu",	       "pinning",    "tcp",	      "link",
		"load_before", "load_after", "steal_percent", "versions"};
	struct summary up = up_ms();
	char path[PATH_MAX];
	struct table t;
	FILE *f;

	snprintf(path, sizeof(path), "%s/report.md", dir);
	f = fopen(path, "w");
	if (!f)
		die("%s", path);
	fill_targets(&t);
	print_markdown(&t, f);
	fputs("Ratios are medians of the ratios within each round. Encap and "
	      "decap are judged by\nthe mean that the kernel reports; \"net\" "
	      "is less what it reports for a program that\nonly passes.\n\n",
	      f);
	for (int i = 0; i < n_warnings; i++)
		fprintf(f, "**Doubtful:** %s.\n\n", warnings[i]);
	fill_values(&t);
	print_markdown(&t, f);
	fill_ratios(&t);
	print_markdown(&t, f);
	fill_shares(&t);
	print_markdown(&t, f);
	fputs("Run time of BPF programs (kernel statistics, their own cost "
	      "included; tail calls count\nfor the program that makes "
	      "them):\n\n",
	      f);
	print_costs(f);
	fprintf(f,
		"`shunt up`: median %.1f ms, quartiles %.1f-%.1f, "
		"min-max %.1f-%.1f. Flow table: %.1f bytes per flow.\n\n",
		up.median, up.q1, up.q3, up.min, up.max, bytes_per_flow());
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		fprintf(f, "- %s: %s\n", facts[i], text(meta, facts[i]));
	if (fclose(f))
		die("%s", path);
}

/* JSON has no NaN: then null. */
static json_t *real(double v)
{
	return isnan(v) ? json_null() : json_real(v);
}

static json_t *json_summary(const struct summary *s)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "median", real(s->median),
			 "q1", real(s->q1), "q3", real(s->q3), "min",
			 real(s->min), "max", real(s->max));
}

static json_t *json_targets(void)
{
	json_t *all = json_array();

	for (const struct target *g = targets; g < targets + n_targets; g++)
		json_array_append_new(
			all,
			json_pack("{s:s, s:s, s:f, s:o, s:o, s:b}", "name",
				  g->name, "at", g->at_least ? "least" : "most",
				  "wanted", g->wanted, "measured",
				  json_summary(&g->got), "net_of_floor",
				  real(g->net), "met", met(g)));
	return all;
}

static json_t *json_values(void)
{
	json_t *all = json_object(), *one;

	for (int m = 0; m < N_METRICS; m++) {
		char name[64];

		one = json_object();
		for (int s = 0; s < N_SYSTEMS; s++) {
			struct summary v = summarise(&values[m][s]);

			json_object_set_new(one, systems[s].key,
					    json_summary(&v));
		}
		snprintf(name, sizeof(name), "%s.%s", metrics[m].workload,
			 metrics[m].key);
		json_object_set_new(all, name, one);
	}
	return all;
}

static void write_json(const char *dir)
{
	json_t *doubts = json_array(), *all;
	char path[PATH_MAX];

	for (int i = 0; i < n_warnings; i++)
		json_array_append_new(doubts, json_string(warnings[i]));
	all = json_pack("{s:o, s:o, s:o, s:o, s:O}", "targets", json_targets(),
			"doubts", doubts, "values", json_values(), "meta",
			meta ? json_incref(meta) : json_null(), "raw", lines);
	snprintf(path, sizeof(path), "%s/results.json", dir);
	if (!all ||
	    json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)))
		die("%s", path);
	json_decref(all);
}

static int make(const char *dir, bool strict)
{
	struct table t;
	bool all_met = true;

	read_lines(dir);
	find_targets();
	find_doubts();
	write_json(dir);
	write_markdown(dir);
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
		"{s:f, s:f, s:f, s:f}", "bits_per_second",
		num(json_object_get(end, "sum_received"), "bits_per_second"),
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

int main(int argc, char **argv)
{
	bool strict = argc == 4 && !strcmp(argv[2], "--strict");

	if (argc == 3 + strict && !strcmp(argv[1], "make"))
		return make(argv[argc - 1], strict);
	if (argc == 2 && !strcmp(argv[1], "iperf3"))
		return iperf3();
	if (argc > 2 && !strcmp(argv[1], "meta"))
		return print_meta(argc - 2, argv + 2);
	if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")))
		return fputs(usage, stdout) < 0;
	fputs(usage, stderr);
	return 2;
}
