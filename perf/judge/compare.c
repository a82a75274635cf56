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

/* Quartiles that overlap are noise. A figure without quartiles, a mean of many
 * runs, has none. */
static bool is_noise(json_t *a, json_t *b)
{
	double a1 = num(a, "q1"), a3 = num(a, "q3");
	double b1 = num(b, "q1"), b3 = num(b, "q3");

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
		if (!a || isnan(percent))
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
