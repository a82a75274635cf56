// SPDX-License-Identifier: GPL-2.0-only
/* What changed from one run to another, beyond the noise. */
#include "judge.h"

static json_t *figures_of(const char *dir, json_t **all)
{
	char path[PATH_MAX];
	json_error_t error;
	json_t *figures;

	snprintf(path, sizeof(path), "%s/results.json", dir);
	*all = json_load_file(path, 0, &error);
	errno = 0;
	if (!*all)
		die("%s: %s", path, error.text);
	figures = json_object_get(*all, "figures");
	if (!json_is_array(figures))
		die("%s has no figures", path);
	return figures;
}

static json_t *find_figure(json_t *figures, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach (figures, i, one) {
		if (is(one, "name", name))
			return json_object_get(one, "value");
	}
	return NULL;
}

/* Of what was measured once nobody knows how much it varies. */
#define ONCE 0.05

static void noise_of(json_t *value, double *low, double *high)
{
	double median = num(value, "median");

	*low = num(value, "q1");
	*high = num(value, "q3");
	if (!(*low < *high)) {
		*low = median * (1 - ONCE);
		*high = median * (1 + ONCE);
	}
}

/* Quartiles that overlap */
static bool is_noise(json_t *a, json_t *b)
{
	double a1, a3, b1, b3;

	noise_of(a, &a1, &a3);
	noise_of(b, &b1, &b3);
	return a1 <= b3 && b1 <= a3;
}

int compare_runs(const char *dir_a, const char *dir_b, double threshold)
{
	json_t *all_a, *all_b, *one, *a, *b;
	json_t *figures_a = figures_of(dir_a, &all_a);
	json_t *figures_b = figures_of(dir_b, &all_b);
	int changed = 0, worse = 0, compared = 0;
	size_t i;

	json_array_foreach (figures_b, i, one) {
		double percent, sign = is(one, "better", "more") ? -1 : 1;
		bool ratio = json_is_true(json_object_get(one, "ratio"));
		bool bad;

		a = find_figure(figures_a, text(one, "name"));
		b = json_object_get(one, "value");
		percent = (num(b, "median") / num(a, "median") - 1) * 100;
		/* Memory can come out as nothing, or less. */
		if (!(num(a, "median") > 0) || !(num(b, "median") > 0))
			continue;
		compared++;
		if (is_noise(a, b))
			continue;
		bad = sign * percent > threshold;
		if (!changed++)
			printf("%-42s %12s %12s %8s\n", "beyond the noise", "A",
			       "B", "");
		printf("%-42s %12.*f %12.*f %+7.1f%%  %s\n", text(one, "name"),
		       ratio ? 3 : 0, num(a, "median"), ratio ? 3 : 0,
		       num(b, "median"), percent,
		       bad		    ? "REGRESSION"
		       : sign * percent > 0 ? "worse"
					    : "better");
		worse += bad;
	}
	printf("%d figures compared, %d changed beyond the noise, %d worse by "
	       "more than %g%%\n",
	       compared, changed, worse, threshold);
	json_decref(all_a);
	json_decref(all_b);
	errno = 0;
	if (!compared)
		die("nothing to compare");
	return worse > 0;
}
