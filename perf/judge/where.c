// SPDX-License-Identifier: GPL-2.0-only
/* Where the time goes, for each target that was missed. */
#include "judge.h"

static enum system base_of(const struct target *t)
{
	return strstr(t->name, "pass-only") ? PASS
	       : strstr(t->name, "copying") ? COPYING
					    : PLAIN;
}

/* Microseconds of CPU of both proxies, for each byte of payload */
static double proxies_per_byte(enum metric m, enum system s)
{
	const struct usage *u = &usages[m][s];

	return (u->user[2] + u->system[2] + u->user[3] + u->system[3]) /
	       u->payload;
}

static void say_bpf(FILE *f, const struct target *t, double bytes,
		    const char *unit)
{
	const char *workload = metrics[t->metric].workload;
	double ns;

	/* A paced writer stands for the highest pace. */
	if (t->metric == PACE)
		workload = metrics[PACED].workload;
	if (t->metric == BULK)
		workload = metrics[BULK_256K].workload;
	if (t->metric == RTT50 && !is_message(t->system))
		workload = metrics[RTT50_1CPU].workload;
	ns = bpf_per_byte(t->system, workload) * bytes;
	if (!isnan(ns))
		fprintf(f,
			" All BPF programs of both hosts take %.2f us per %s "
			"(%s; statistics included).",
			ns / 1000, unit, workload);
}

static void say_difference(FILE *f, const struct target *t)
{
	const struct metric_info *m = &metrics[t->metric];
	enum system base = base_of(t);
	struct summary a = summarise(&values[t->metric][t->system]);
	struct summary b = summarise(&values[t->metric][base]);

	fprintf(f, " %.2f %s against %.2f (%s).", a.median * m->scale, m->unit,
		b.median * m->scale, systems[base].name);
}

static void say_proxies(FILE *f, const struct target *t, double bytes,
			const char *unit)
{
	if (is_message(t->system))
		fprintf(f,
			" The two proxies take %.2f us of CPU per %s, and each "
			"message wakes each of them.",
			proxies_per_byte(t->metric, t->system) * bytes, unit);
}

static void say_cpu(FILE *f, const struct target *t, enum metric m)
{
	const struct usage *a = &usages[m][t->system];
	const struct usage *b = &usages[m][base_of(t)];

	if (a->payload && b->payload)
		fprintf(f,
			" CPU per gigabyte: %.2f s busy (%.2f s in softirqs) "
			"against %.2f s (%.2f s).",
			a->busy / a->payload * 1e3,
			a->softirq / a->payload * 1e3,
			b->busy / b->payload * 1e3,
			b->softirq / b->payload * 1e3);
}

static void say_file(FILE *f, const struct target *t)
{
	struct summary plain = summarise(&values[t->metric][PLAIN]);
	const struct share *h = &shares[t->metric][t->system];

	fprintf(f,
		" beside %.2f ms of plain TCP, which vary by themselves from "
		"%.2f to %.2f ms.",
		plain.median / 1e6, plain.min / 1e6, plain.max / 1e6);
	if (is_message(t->system))
		fprintf(f, " %.0f%% of the payload took the message path.",
			100 * h->message / h->payload);
	if (t->metric == FILE_26M || t->metric == KEPT_26M)
		say_cpu(f, t, t->metric);
}

static void say_single(FILE *f, const struct target *t)
{
	double strict = mean_ns(XDP_STRICT, metrics[BULK_256K].workload,
				"client", "shunt_egress");

	if (!strncmp(t->name, "shunt up", 8))
		fprintf(f,
			" %.0f ms of it are CPU time, most of that the "
			"verifier's; the rest is waiting for the kernel (RCU "
			"grace periods).",
			up_cpu_ms().median);
	else if (isnan(t->net))
		fputs(" no more was measured.", f);
	else
		fprintf(f,
			" %.0f ns of it is what the statistics count for a "
			"program that only passes.",
			t->got.median - t->net);
	/* A sync is cloned and sent from within the program. */
	if (!strcmp(t->name, "encap, mean, bulk") && !isnan(strict))
		fprintf(f,
			" Without syncs (`--strict`) it is %.0f ns: what the "
			"kernel does to send one (bpf_clone_redirect) counts "
			"for the program.",
			strict);
}

static void say(FILE *f, const struct target *t)
{
	fprintf(f, "- **%s**:", t->name);
	switch (t->metric) {
	case N_METRICS:
		say_single(f, t);
		break;
	case RTT50:
	case RTT50_1CPU:
		say_difference(f, t);
		say_bpf(f, t, 128, "round trip");
		say_proxies(f, t, 128, "round trip");
		break;
	case RATE:
		say_difference(f, t);
		say_bpf(f, t, 128, "connection");
		say_cpu(f, t, t->metric);
		break;
	case FILE_3K ... KEPT_26M:
		say_file(f, t);
		break;
	case CPU_PACED:
	case PACE:
		say_difference(f, t);
		say_proxies(f, t, 1e6, "MB");
		say_bpf(f, t, 1e6, "MB");
		break;
	default:
		say_difference(f, t);
		say_cpu(f, t, t->metric);
		say_bpf(f, t, 1e6, "MB");
	}
	fputc('\n', f);
}

void print_where(FILE *f)
{
	bool any = false;

	for (const struct target *t = targets; t < targets + n_targets; t++) {
		if (met(t))
			continue;
		if (!any)
			fputs("### Where the time goes, of what is missed\n\n",
			      f);
		any = true;
		say(f, t);
	}
	fputs(any ? "\n" : "", f);
}
