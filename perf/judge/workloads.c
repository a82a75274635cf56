// SPDX-License-Identifier: GPL-2.0-only
/* Tables of workloads: a row for each system, a column for each metric. */
#include "judge.h"

static bool any_measured(const struct group *g, enum system s)
{
	for (int c = 0; c < g->n; c++)
		if (measured(g->metrics[c], s))
			return true;
	return false;
}

static bool group_measured(const struct group *g)
{
	for (int s = 0; s < N_SYSTEMS; s++)
		if (any_measured(g, s))
			return true;
	return false;
}

const char *by_messages(enum metric m, enum system s, char *buf, size_t len)
{
	const struct share *h = &shares[m][s];

	buf[0] = 0;
	if (is_message(s) && h->payload)
		snprintf(buf, len, "[%.0f%%]", 100 * h->message / h->payload);
	return buf;
}

static void set_value(struct table *t, int column, enum metric m, enum system s)
{
	char share[16];

	struct summary v = summarise(&values[m][s]);
	struct summary r = ratio(&values[m][s], &values[m][PLAIN]);
	double k = metrics[m].scale;
	int d = v.median * k < 100 ? 2 : 0;

	if (isnan(v.median))
		set(t, column, "-");
	else if (s == PLAIN || isnan(r.median))
		set(t, column, "%.*f (%.*f-%.*f)", d, v.median * k, d, v.q1 * k,
		    d, v.q3 * k);
	else
		set(t, column, "%.*f = %.3f x (%.3f-%.3f) %s", d, v.median * k,
		    r.median, r.q1, r.q3,
		    by_messages(m, s, share, sizeof(share)));
}

void print_groups(FILE *f)
{
	for (const struct group *g = groups; g < groups + n_groups; g++) {
		struct table t = {g->n + 1, {"system"}, {-1}, {}, 0};
		char head[GROUP_MAX][80];

		if (!group_measured(g))
			continue;
		for (int c = 0; c < g->n; c++) {
			snprintf(head[c], sizeof(head[c]), "%s, %s",
				 metrics[g->metrics[c]].name,
				 metrics[g->metrics[c]].unit);
			t.head[c + 1] = head[c];
		}
		for (int s = 0; s < N_SYSTEMS; s++) {
			if (!any_measured(g, s))
				continue;
			for (int c = 0; c < g->n; c++)
				set_value(&t, c + 1, g->metrics[c], s);
			set_system(&t, s);
		}
		fprintf(f, "### %s\n\n", g->title);
		print_markdown(&t, f);
	}
}

/* ---- against what programs that only pass cost ---- */

static const struct {
	enum system a, b;
} pairs[] = {
	{PASS, PLAIN},
	{PASS_TC, PLAIN},
	{SEGMENTED, PASS},
	{XDP, PASS},
	{TC, PASS_TC},
	{UDPLITE, PASS},
	{XDP_STRICT, PASS},
	{UDPLITE, SEGMENTED},
	{UDPLITE_HEADERS, PASS},
	{UDPLITE_TC, PASS_TC},
	{MESSAGE, PASS_TC},
	{MESSAGE, COPYING},
	{MESSAGE_UDPLITE, COPYING},
};

static const enum metric paired[] = {RTT50,	RTT50_1CPU,   BULK, BULK_64,
				     BULK_256K, RATE,	      PACE, CPU_PACED,
				     PACE_64K,	CPU_PACED_64K};

void print_pairs(FILE *f)
{
	struct table t = {ARRAY_SIZE(paired) + 1, {"ratio"}, {-1}, {}, 0};

	for (size_t c = 0; c < ARRAY_SIZE(paired); c++)
		t.head[c + 1] = metrics[paired[c]].name;
	for (size_t p = 0; p < ARRAY_SIZE(pairs); p++) {
		bool any = false;

		for (size_t c = 0; c < ARRAY_SIZE(paired); c++) {
			const struct series *v = values[paired[c]];
			struct summary r =
				ratio(&v[pairs[p].a], &v[pairs[p].b]);

			any = any || !isnan(r.median);
			if (isnan(r.median))
				set(&t, c + 1, "-");
			else
				set(&t, c + 1, "%.3f (%.3f-%.3f)", r.median,
				    r.q1, r.q3);
		}
		set(&t, 0, "%s / %s", systems[pairs[p].a].name,
		    systems[pairs[p].b].name);
		t.rows += any;
	}
	if (!t.rows)
		return;
	fputs("### Ratios to other baselines\n\n", f);
	print_markdown(&t, f);
}

/* ---- which way the bytes went ---- */

/* One of the metrics that a workload has */
static bool stands_for_workload(int m)
{
	return !is_cpu_time(m) &&
	       (!m || strcmp(metrics[m].workload, metrics[m - 1].workload));
}

static void print_messages(FILE *f)
{
	fputs("The message path. *by messages*: of the application's payload, "
	      "what the proxies sent as\ndatagrams, and again over the control "
	      "channel (above 100%: sent again).\n\n"
	      "| workload | system | by messages | TCP at the router | UDP | "
	      "UDP-Lite |\n|---|---|---:|---:|---:|---:|\n",
	      f);
	for (int m = 0; m < N_METRICS; m++) {
		for (int s = MESSAGE; s <= MESSAGE_UDPLITE; s++) {
			const struct share *h = &shares[m][s];
			double all = h->tcp + h->udp + h->udplite;

			if (!stands_for_workload(m) || !measured(m, s))
				continue;
			fprintf(f,
				"| %s | %s | %.1f%% | %.1f%% | %.1f%% | "
				"%.1f%% |\n",
				metrics[m].workload, systems[s].name,
				100 * h->message / h->payload,
				100 * h->tcp / all, 100 * h->udp / all,
				100 * h->udplite / all);
		}
	}
	fputc('\n', f);
}

static const enum system redirecting[] = {
	XDP,	    XDP_STRICT, TC, UDPLITE, UDPLITE_HEADERS,
	UDPLITE_TC, COPYING,	FOU};

void print_paths(FILE *f)
{
	struct table t = {
		ARRAY_SIZE(redirecting) + 1, {"workload"}, {-1}, {}, 0};

	for (size_t c = 0; c < ARRAY_SIZE(redirecting); c++)
		t.head[c + 1] = systems[redirecting[c]].name;
	for (int m = 0; m < N_METRICS; m++) {
		bool any = false;

		for (size_t c = 0; c < ARRAY_SIZE(redirecting); c++) {
			const struct share *h = &shares[m][redirecting[c]];
			double away = h->udp + h->udplite;

			if (away)
				set(&t, c + 1, "%.1f%%",
				    100 * away / (away + h->tcp));
			else
				set(&t, c + 1, "-");
			any = any || away;
		}
		if (!any || !stands_for_workload(m))
			continue;
		set(&t, 0, "%s", metrics[m].workload);
		t.rows++;
	}
	if (!t.rows && !measured(RTT50, MESSAGE))
		return;
	fputs("### Bytes by path\n\n"
	      "What the router saw of UDP and UDP-Lite, of all bytes of TCP, "
	      "UDP and UDP-Lite in both\ndirections (shunt begins in TCP, and "
	      "sends a small segment in TCP now and then).\n\n",
	      f);
	print_markdown(&t, f);
	print_messages(f);
}

/* ---- CPU time ---- */

static const enum metric with_cpu[] = {CPU_BULK, CPU_BULK_64, CPU_PACED,
				       CPU_PACED_64K};

static double per_gb(const struct usage *u, double us)
{
	return us / 1e6 / (u->payload / 1e9);
}

void print_cpu(FILE *f)
{
	if (isnan(summarise(&values[CPU_BULK][PLAIN]).median) &&
	    isnan(summarise(&values[CPU_PACED][PLAIN]).median))
		return;
	fputs("### CPU seconds per gigabyte, by who spends them\n\n"
	      "user + system of each cgroup: system calls, and softirqs that "
	      "run in them. Softirqs that\ninterrupt an idle CPU, or run in "
	      "ksoftirqd, belong to no cgroup. They are in *busy*, what\nidle "
	      "time leaves of all CPUs, with the router's share and with all "
	      "else that this machine did:\nthat means something on a quiet "
	      "machine only.\n\n"
	      "| workload | system | client | its proxy | server | its proxy | "
	      "softirq, all CPUs | busy, all CPUs |\n"
	      "|---|---|---:|---:|---:|---:|---:|---:|\n",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(with_cpu); i++) {
		for (int s = 0; s < N_SYSTEMS; s++) {
			static const int order[] = {0, 2, 1, 3};
			enum metric m = with_cpu[i];
			const struct usage *u = &usages[m][s];

			if (!u->payload)
				continue;
			fprintf(f, "| %s | %s |", metrics[m].workload,
				systems[s].name);
			for (size_t g = 0; g < ARRAY_SIZE(order); g++)
				fprintf(f, " %.2f + %.2f |",
					per_gb(u, u->user[order[g]]),
					per_gb(u, u->system[order[g]]));
			fprintf(f, " %.2f | %.2f |\n", per_gb(u, u->softirq),
				per_gb(u, u->busy));
		}
	}
	fputc('\n', f);
}
