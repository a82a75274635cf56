// SPDX-License-Identifier: GPL-2.0-only
/* Where the time goes, for each target that was missed. */
#include "judge.h"

static enum system base_of(const struct target *t)
{
	return strstr(t->name, "pass-only") ? PASS
	       : strstr(t->name, "copying") ? COPYING
					    : PLAIN;
}

/* Programs that only pass, on the same hooks */
static enum system pass_of(enum system s)
{
	return s == XDP || s == UDPLITE ? PASS : PASS_TC;
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
	if (t->metric == PACE_64K)
		workload = metrics[PACED_64K].workload;
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
	if (base != PLAIN || !measured(t->metric, pass_of(t->system)))
		return;
	b = summarise(&values[t->metric][pass_of(t->system)]);
	fprintf(f, " With programs that only pass it is %.2f.",
		b.median * m->scale);
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

/* Everything that arrives, at either end, is dealt with on the CPU of server
 * and router. */
static void say_server(FILE *f, const struct target *t)
{
	static const double message = 128;
	const struct usage *a = &usages[t->metric][t->system];
	const struct usage *b = &usages[t->metric][PLAIN];
	double took = 1e6 / summarise(&values[t->metric][t->system]).median;
	double plain = 1e6 / summarise(&values[t->metric][PLAIN]).median;

	if (!a->payload || !b->payload)
		return;
	fprintf(f,
		" It is the server's CPU, which also has the router and what "
		"arrives at the client, that limits all of them: of %.1f us "
		"per connection the server's cgroup takes %.1f there, with "
		"these softirqs (plain TCP: %.1f of %.1f).",
		took, (a->user[1] + a->system[1]) / a->payload * message,
		(b->user[1] + b->system[1]) / b->payload * message, plain);
}

/* The kernel can't segment UDP-Lite, so the sender does. */
static void say_segmented(FILE *f, const struct target *t)
{
	struct summary v = summarise(&values[t->metric][SEGMENTED]);

	if (t->system == UDPLITE && !isnan(v.median))
		fprintf(f,
			" TCP that leaves the sender in segments, as UDP-Lite "
			"has to, has %.2f.",
			v.median * metrics[t->metric].scale);
}

/* The window is what payload may fit into the buffer. */
static void say_window(FILE *f, const struct target *t)
{
	const struct series *v = values[t->metric];
	enum system pass = pass_of(t->system);
	double a = field(t->metric, t->system, "window").median;
	double b = field(t->metric, PLAIN, "window").median;

	if (measured(t->metric, pass))
		fprintf(f, " With programs that only pass it is %+.2f ms.",
			difference(&v[pass], &v[PLAIN]).median / 1e6);
	if (a < 0.75 * b)
		fprintf(f,
			" The receive window grew to %.2f MB, and to %.2f MB "
			"by plain TCP: of the same buffer (tcp_rmem) packets "
			"that XDP has seen take twice as much, because veth "
			"gives each a page.",
			a / 1e6, b / 1e6);
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
	say_window(f, t);
	if (t->metric == FILE_26M || t->metric == KEPT_26M)
		say_cpu(f, t, t->metric);
}

static void say_single(FILE *f, const struct target *t)
{
	double strict = mean_ns(XDP_STRICT, metrics[BULK_256K].workload,
				"client", "shunt_egress");
	double larger =
		mean_ns(XDP, metrics[BULK].workload, "client", "shunt_egress");

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
	if (strcmp(t->name, "encap, mean, bulk"))
		return;
	/* A sync is cloned and sent from within the program. */
	if (!isnan(strict))
		fprintf(f,
			" Without syncs (`--strict`) it is %.0f ns: what the "
			"kernel does to send one (bpf_clone_redirect) counts "
			"for the program, and to cut a clone of 64 KB it "
			"copies them.",
			strict);
	if (!isnan(larger))
		fprintf(f,
			" With a window of 256 KB each packet sends one; with "
			"default buffers (*bulk*) it is %.0f ns.",
			larger);
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
		say_server(f, t);
		break;
	case FILE_3K ... KEPT_26M:
		say_file(f, t);
		break;
	case CPU_PACED:
	case CPU_PACED_64K:
	case PACE:
	case PACE_64K:
		say_difference(f, t);
		say_proxies(f, t, 1e6, "MB");
		say_bpf(f, t, 1e6, "MB");
		break;
	default:
		say_difference(f, t);
		say_segmented(f, t);
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
