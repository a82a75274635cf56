// SPDX-License-Identifier: GPL-2.0-only
/* What makes the figures doubtful. */
#include "judge.h"

char warnings[MAX_WARNINGS][160];
int n_warnings;

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
	for (int c = 0; c < N_SHOWN; c++) {
		enum metric m = shown[c];

		for (int s = 0; s < N_SYSTEMS; s++) {
			const struct share *h = &shares[m][s];
			double part = h->redirected / h->all;
			double least = m == RATE ? 0.5 : 0.99;

			if (!measured(m, s))
				continue;
			if (s < XDP && part > 0)
				warning("%s over %s: something was redirected",
					metrics[m].workload, systems[s].name);
			if (s >= XDP && !(part >= least))
				warning("%s over %s: only %.1f%% of the bytes "
					"were redirected",
					metrics[m].workload, systems[s].name,
					part * 100);
		}
	}
}

void find_doubts(void)
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
	for (int c = 0; c < N_SHOWN; c++) {
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
