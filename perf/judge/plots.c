// SPDX-License-Identifier: GPL-2.0-only
/* What gnuplot (perf/plots/) reads: files of columns, "-" where there is
 * nothing. */
#include "judge.h"

static FILE *open_data(const char *dir, const char *name)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "w");
	if (!f)
		die("%s", path);
	return f;
}

static bool on_any(enum metric m)
{
	for (int s = 0; s < N_SYSTEMS; s++)
		if (!isnan(summarise(&values[m][s]).median))
			return true;
	return false;
}

static void print_value(FILE *f, double v)
{
	if (isnan(v))
		fputs(" -", f);
	else
		fprintf(f, " %.6g", v);
}

static void print_values(FILE *f, enum system s, const enum metric *of, int n)
{
	for (int i = 0; i < n; i++) {
		struct summary v = summarise(&values[of[i]][s]);
		double k = metrics[of[i]].scale;

		print_value(f, v.median * k);
		print_value(f, v.q1 * k);
		print_value(f, v.q3 * k);
	}
	fputc('\n', f);
}

/* A line for each system: median and quartiles of each metric that was measured
 * at all. The first line has the names of the columns. */
static void write_metrics(const char *dir, const char *name,
			  const enum metric *of, int n)
{
	FILE *f = open_data(dir, name);
	enum metric there[GROUP_MAX];
	int columns = 0;

	for (int i = 0; i < n; i++)
		if (on_any(of[i]))
			there[columns++] = of[i];
	if (columns)
		fputs("system", f);
	for (int i = 0; i < columns; i++)
		fprintf(f, " \"%s\" q1 q3", metrics[there[i]].name);
	fputs(columns ? "\n" : "", f);
	for (int s = 0; s < N_SYSTEMS; s++) {
		bool any = false;

		for (int i = 0; i < columns; i++)
			any = any || measured(there[i], s);
		if (!any)
			continue;
		fprintf(f, "\"%s\"", systems[s].name);
		print_values(f, s, there, columns);
	}
	fclose(f);
}

/* ---- distribution of the ping-pong ---- */

#define STEPS 400

struct histogram {
	double end[STEPS], n[STEPS], all;
	int steps;
};

static void add_step(struct histogram *h, double end, double n)
{
	int i = 0;

	while (i < h->steps && h->end[i] < end)
		i++;
	if (i == h->steps || h->end[i] != end) {
		if (h->steps == STEPS)
			return;
		memmove(&h->end[i + 1], &h->end[i],
			(h->steps - i) * sizeof(h->end[0]));
		memmove(&h->n[i + 1], &h->n[i],
			(h->steps - i) * sizeof(h->n[0]));
		h->end[i] = end;
		h->n[i] = 0;
		h->steps++;
	}
	h->n[i] += n;
	h->all += n;
}

/* Of all rounds together: what part took longer than so many us. One block for
 * each system, two empty lines between. */
static void write_distribution(const char *dir)
{
	FILE *f = open_data(dir, "latency");
	json_t *line, *step;
	size_t i, j;

	for (int s = 0; s < N_SYSTEMS; s++) {
		struct histogram h = {};
		double left;

		json_array_foreach (lines, i, line) {
			if (!is(line, "kind", "sample") ||
			    !is(line, "workload", "pingpong") ||
			    !is(line, "system", systems[s].key))
				continue;
			json_array_foreach (
				json_object_get(json_object_get(line, "data"),
						"histogram"),
				j, step) {
				add_step(&h,
					 json_number_value(
						 json_array_get(step, 0)),
					 json_number_value(
						 json_array_get(step, 1)));
			}
		}
		if (!h.steps)
			continue;
		fprintf(f, "\"%s\"\n", systems[s].name);
		left = h.all;
		for (int k = 0; k < h.steps; k++) {
			left -= h.n[k];
			fprintf(f, "%.3f %.9f\n", h.end[k] / 1e3, left / h.all);
		}
		fputs("\n\n", f);
	}
	fclose(f);
}

void write_plots(const char *dir)
{
	static const enum metric files[] = {FILE_3K, FILE_510K, FILE_26M};
	static const enum metric bulk[] = {BULK, BULK_4, BULK_64};

	write_metrics(dir, "files", files, ARRAY_SIZE(files));
	write_metrics(dir, "bulk", bulk, ARRAY_SIZE(bulk));
	write_distribution(dir);
}
