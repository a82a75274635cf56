// SPDX-License-Identifier: GPL-2.0-only
/* report.md and results.json. */
#include "judge.h"

static void print_deployment(FILE *f)
{
	struct table t;

	fill_table2(&t);
	if (t.rows) {
		fputs("### Deployment: the paper's Table II\n\n", f);
		print_markdown(&t, f);
	}
	fill_redirection(&t);
	if (!t.rows)
		return;
	print_markdown(&t, f);
	fputs("The paper is Hooker, GLOBECOM 2019. Redirection is the run time "
	      "of all of shunt's BPF\nprograms that a packet passes on its way "
	      "out, or in, per packet on the wire (udp's\npackets out are of "
	      "up "
	      "to 64 KB during bulk); in brackets: less what the kernel's\n"
	      "statistics count for programs that do nothing.\n\n",
	      f);
}

static void print_outside_judge(FILE *f)
{
	double own = num(find("sample", "plain", "pingpong"), "min_ns");
	double tcp = num(find("sample", "plain", "pingpong"), "tcp_min_us");

	if (isnan(summarise(&values[BULK_OWN][PLAIN]).median) && isnan(own))
		return;
	fputs("### An outside judge\n\n", f);
	if (!isnan(summarise(&values[BULK_OWN][PLAIN]).median))
		fprintf(f,
			"Bulk is iperf3's figure; our own writer stands beside "
			"it (last column of the table): for plain\nTCP %.3f of "
			"iperf3's (quartiles %.3f-%.3f). It runs for a shorter "
			"time, so more of it is slow start. Where they differ "
			"beyond "
			"their quartiles it is said above.\n",
			ratio(&values[BULK_OWN][PLAIN], &values[BULK][PLAIN])
				.median,
			ratio(&values[BULK_OWN][PLAIN], &values[BULK][PLAIN])
				.q1,
			ratio(&values[BULK_OWN][PLAIN], &values[BULK][PLAIN])
				.q3);
	if (!isnan(own))
		fprintf(f,
			"Ping-pong: the shortest round trip was %.1f us; the "
			"kernel's own (TCP_INFO, tcpi_min_rtt) %.0f us, which\n"
			"ends with the acknowledgement in the receiver's "
			"softirq and not in a process that was woken.\n",
			own / 1e3, tcp);
	fputc('\n', f);
}

static void print_facts(FILE *f)
{
	static const char *const facts[] = {
		"date",	       "commit",     "mode",	      "took",
		"kernel",      "emulated",   "cpu",	      "pinning",
		"frequency",   "tcp",	     "buffers",	      "link",
		"load_before", "load_after", "steal_percent", "versions"};

	fputs("### Where\n\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
		if (*text(meta, facts[i]))
			fprintf(f, "- %s: %s\n", facts[i],
				text(meta, facts[i]));
}

void write_markdown(const char *dir)
{
	char path[PATH_MAX];
	struct table t;
	FILE *f;

	snprintf(path, sizeof(path), "%s/report.md", dir);
	f = fopen(path, "w");
	if (!f)
		die("%s", path);
	fprintf(f, "# shunt, measured %.4s-%.2s-%.2s%s\n\n", text(meta, "date"),
		text(meta, "date") + 4, text(meta, "date") + 6,
		*text(meta, "emulated") ? ", emulated" : "");
	fill_targets(&t);
	print_markdown(&t, f);
	fputs("Ratios are medians of the ratios within each round. Encap, "
	      "decap and SK_MSG are judged\nby the mean that the kernel "
	      "reports; \"net\" is less what it reports for a program that\n"
	      "only passes. *added*: more than plain TCP at 50 ms, in the same "
	      "round.\n\n",
	      f);
	print_where(f);
	for (int i = 0; i < n_warnings; i++)
		fprintf(f, "%s- doubtful: %s\n",
			i ? "" : "### What is doubtful\n\n", warnings[i]);
	fputs(n_warnings ? "\n" : "", f);
	print_delay(f);
	if (!isnan(summarise(&values[FILE_3K][PLAIN]).median))
		fputs("![Time for the paper's files](figure-6.png)\n\n", f);
	print_files(f);
	fputs("In what follows: median, and = ratio to plain TCP (quartiles of "
	      "the rounds' ratios).\nIn square brackets: what part of the "
	      "payload took the message path.\n\n",
	      f);
	if (measured(BULK, PLAIN))
		fputs("![Bulk](throughput.png)\n\n", f);
	if (measured(RTT50, PLAIN))
		fputs("![Distribution of the 64-byte ping-pong]"
		      "(latency.png)\n\n",
		      f);
	print_groups(f);
	print_pairs(f);
	print_cpu(f);
	print_paths(f);
	print_outside_judge(f);
	print_deployment(f);
	print_costs(f);
	print_facts(f);
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

			if (measured(m, s))
				json_object_set_new(one, systems[s].key,
						    json_summary(&v));
		}
		snprintf(name, sizeof(name), "%s.%s", metrics[m].workload,
			 metrics[m].key);
		json_object_set_new(all, name, one);
	}
	return all;
}

/* What `compare` compares: for other systems the ratio to plain TCP, as
 * machines differ from day to day. */
static json_t *json_figures(void)
{
	json_t *all = json_array();

	for (int m = 0; m < N_METRICS; m++) {
		for (int s = 0; s < N_SYSTEMS; s++) {
			struct summary v = s == PLAIN
						   ? summarise(&values[m][s])
						   : ratio(&values[m][s],
							   &values[m][PLAIN]);
			char name[96];

			if (isnan(v.median))
				continue;
			snprintf(name, sizeof(name), "%s.%s %s",
				 metrics[m].workload, metrics[m].key,
				 systems[s].key);
			json_array_append_new(
				all,
				json_pack("{s:s, s:s, s:b, s:o}", "name", name,
					  "better",
					  metrics[m].more ? "more" : "less",
					  "ratio", s != PLAIN, "value",
					  json_summary(&v)));
		}
	}
	for (const struct target *g = targets; g < targets + n_targets; g++)
		if (g->metric == N_METRICS)
			json_array_append_new(
				all, json_pack("{s:s, s:s, s:b, s:o}", "name",
					       g->name, "better",
					       g->at_least ? "more" : "less",
					       "ratio", false, "value",
					       json_summary(&g->got)));
	return all;
}

void write_json(const char *dir)
{
	json_t *doubts = json_array(), *all;
	char path[PATH_MAX];

	for (int i = 0; i < n_warnings; i++)
		json_array_append_new(doubts, json_string(warnings[i]));
	all = json_pack("{s:o, s:o, s:o, s:o, s:o, s:O, s:O}", "targets",
			json_targets(), "doubts", doubts, "figures",
			json_figures(), "values", json_values(), "table2",
			json_table2(), "meta", meta, "raw", lines);
	snprintf(path, sizeof(path), "%s/results.json", dir);
	if (!all ||
	    json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)))
		die("%s", path);
	json_decref(all);
}
