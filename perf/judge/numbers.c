// SPDX-License-Identifier: GPL-2.0-only
/* Medians, quartiles, ratios. */
#include "judge.h"

void put(struct series *s, int round, double v)
{
	if (round < 1 || round > MAX_VALUES) {
		errno = 0;
		die("round %d: at most %d", round, MAX_VALUES);
	}
	while (s->n < round)
		s->v[s->n++] = NAN;
	s->v[round - 1] = v;
}

void add(struct series *s, double v)
{
	put(s, s->n + 1, v);
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

struct summary summarise(const struct series *series)
{
	struct series s = {};

	for (int i = 0; i < series->n; i++)
		if (!isnan(series->v[i]))
			add(&s, series->v[i]);
	if (!s.n)
		return (struct summary){NAN, NAN, NAN, NAN, NAN};
	qsort(s.v, s.n, sizeof(s.v[0]), compare);
	return (struct summary){quantile(&s, 0.5), quantile(&s, 0.25),
				quantile(&s, 0.75), s.v[0], s.v[s.n - 1]};
}

struct summary ratio(const struct series *a, const struct series *b)
{
	struct series r = {};

	for (int i = 0; i < a->n && i < b->n; i++)
		add(&r, a->v[i] / b->v[i]);
	return summarise(&r);
}

struct summary difference(const struct series *a, const struct series *b)
{
	struct series d = {};

	for (int i = 0; i < a->n && i < b->n; i++)
		add(&d, a->v[i] - b->v[i]);
	return summarise(&d);
}
