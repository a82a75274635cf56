// SPDX-License-Identifier: GPL-2.0-only
/* report.md and results.json. */
#include "judge.h"

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

			if (!measured(m, s))
				continue;
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
} pairs[] = {
	{PASS, PLAIN},	     {XDP, PLAIN},	   {SEGMENTED, PASS},
	{XDP, PASS},	     {TC, PLAIN},	   {UDPLITE, PLAIN},
	{UDPLITE, PASS},     {UDPLITE, SEGMENTED}, {UDPLITE_HEADERS, PASS},
	{UDPLITE_TC, PLAIN},
};

static void head_by_metric(struct table *t, const char *first)
{
	*t = (struct table){6, {first}, {-1, 1, 1, 1, 1, 1}, {}, 0};
	for (int c = 0; c < N_SHOWN; c++)
		t->head[c + 1] = metrics[shown[c]].name;
}

static void fill_ratios(struct table *t)
{
	head_by_metric(t, "ratio");
	for (size_t p = 0; p < sizeof(pairs) / sizeof(pairs[0]); p++) {
		set(t, 0, "%s / %s", systems[pairs[p].a].name,
		    systems[pairs[p].b].name);
		for (int c = 0; c < N_SHOWN; c++) {
			const struct series *v = values[shown[c]];
			struct summary r =
				ratio(&v[pairs[p].a], &v[pairs[p].b]);

			if (isnan(r.median))
				set(t, c + 1, "-");
			else
				set(t, c + 1, "%.3f (%.3f-%.3f)", r.median,
				    r.q1, r.q3);
		}
		t->rows++;
	}
}

static void fill_shares(struct table *t)
{
	head_by_metric(t, "bytes redirected, at the router");
	for (int s = 0; s < N_SYSTEMS; s++) {
		set(t, 0, "%s", systems[s].name);
		for (int c = 0; c < N_SHOWN; c++) {
			const struct share *h = &shares[shown[c]][s];

			if (measured(shown[c], s))
				set(t, c + 1, "%.2f%%",
				    100 * h->redirected / h->all);
			else
				set(t, c + 1, "-");
		}
		t->rows++;
	}
}

void write_markdown(const char *dir)
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
	fill_table2(&t);
	print_markdown(&t, f);
	fill_redirection(&t);
	print_markdown(&t, f);
	fputs("The paper is Hooker, GLOBECOM 2019, Table II. Redirection is "
	      "the run time of all of\nshunt's BPF programs that a packet "
	      "passes on its way out, or in, per packet on the\nwire (udp's "
	      "packets out are of up to 64 KB during bulk); in brackets: less "
	      "what the\nkernel's statistics count for programs that do "
	      "nothing.\n\n",
	      f);
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

json_t *json_nullable(double v)
{
	return isnan(v) ? json_null() : json_real(v);
}

json_t *json_summary(const struct summary *s)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "median",
			 json_nullable(s->median), "q1", json_nullable(s->q1),
			 "q3", json_nullable(s->q3), "min",
			 json_nullable(s->min), "max", json_nullable(s->max));
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
				  json_nullable(g->net), "met", met(g)));
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

void write_json(const char *dir)
{
	json_t *doubts = json_array(), *all;
	char path[PATH_MAX];

	for (int i = 0; i < n_warnings; i++)
		json_array_append_new(doubts, json_string(warnings[i]));
	all = json_pack("{s:o, s:o, s:o, s:o, s:o, s:O}", "targets",
			json_targets(), "doubts", doubts, "values",
			json_values(), "table2", json_table2(), "meta",
			meta ? json_incref(meta) : json_null(), "raw", lines);
	snprintf(path, sizeof(path), "%s/results.json", dir);
	if (!all ||
	    json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)))
		die("%s", path);
	json_decref(all);
}
