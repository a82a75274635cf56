// SPDX-License-Identifier: GPL-2.0-only
/* What makes the figures doubtful. */
#include "judge.h"

char warnings[MAX_WARNINGS][200];
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

/* ---- did it take its path? ---- */

/* What a metric's bytes can be of at most, less some: connections are made in
 * plain TCP, and a short one is over soon. */
static double least_redirected(enum metric m)
{
	switch (m) {
	case RATE:
		return 0.5;
	case FILE_3K ... FILE_26M:
	case KEPT_3K ... KEPT_26M:
		return 0; /* shown, not judged: the first bytes are TCP's */
	case MEMORY:
	case LOSS_01 ... LOSS_RTT_1:
		return 0.5;
	default:
		return 0.98;
	}
}

/* Bulk leaves the message path by itself, which is right. */
static bool is_for_messages(enum metric m)
{
	return m <= RTT999_16K || (m >= PACED && m <= PACE_64K);
}

static bool redirects(enum system s)
{
	return is_shunt(s) || s == COPYING || s == FOU;
}

static void doubt_share(enum metric m, enum system s)
{
	const struct share *h = &shares[m][s];
	double all = h->tcp + h->udp + h->udplite;
	double part = (h->udp + h->udplite) / all;
	const char *workload = metrics[m].workload;

	if (!redirects(s) && part > 0)
		warning("%s over %s: something was redirected", workload,
			systems[s].name);
	if (redirects(s) && !is_message(s) && !(part >= least_redirected(m)))
		warning("%s over %s: only %.1f%% of the bytes were redirected",
			workload, systems[s].name, part * 100);
	if ((s == UDPLITE || s == UDPLITE_TC || s == UDPLITE_HEADERS) &&
	    h->udplite < 0.9 * (h->udp + h->udplite))
		warning("%s over %s: %.1f%% of what was redirected was UDP",
			workload, systems[s].name,
			100 * h->udp / (h->udp + h->udplite));
	if (is_message(s) && is_for_messages(m) &&
	    !(h->message >= 0.9 * h->payload))
		warning("%s over %s: only %.1f%% of the payload took the "
			"message path",
			workload, systems[s].name,
			100 * h->message / h->payload);
	if (s == MESSAGE_UDPLITE && is_for_messages(m) &&
	    h->udplite < 0.9 * (h->udp + h->udplite))
		warning("%s over %s: %.1f%% of the datagrams' bytes were UDP: "
			"not redirected to UDP-Lite",
			workload, systems[s].name,
			100 * h->udp / (h->udp + h->udplite));
}

static void doubt_shares(void)
{
	for (int m = 0; m < N_METRICS; m++) {
		if (m && !strcmp(metrics[m].workload, metrics[m - 1].workload))
			continue; /* the same samples */
		if (is_cpu_time(m))
			continue;
		for (int s = 0; s < N_SYSTEMS; s++)
			if (measured(m, s))
				doubt_share(m, s);
	}
}

/* ---- is it right? ---- */

static void doubt_samples(void)
{
	double errors = 0, lost[N_SYSTEMS] = {}, sent[N_SYSTEMS] = {};
	int wrong[N_SYSTEMS] = {}, failed[N_SYSTEMS] = {};
	json_t *line, *data;
	size_t i;

	json_array_foreach (lines, i, line) {
		data = json_object_get(line, "data");
		if (is(line, "kind", "missing"))
			warning("no %s: %s", text(line, "system"),
				json_string_value(data));
		if (is(line, "workload", "connrate") &&
		    json_object_get(data, "errors"))
			errors += num(data, "errors");
		for (int s = 0; s < N_SYSTEMS; s++) {
			if (!is(line, "system", systems[s].key))
				continue;
			if (json_is_false(json_object_get(data, "right")))
				wrong[s]++;
			if (is(line, "kind", "failed"))
				failed[s]++;
			if (is(line, "workload", "paced") ||
			    is(line, "workload", "paced-64k")) {
				sent[s] += num(data, "sent");
				lost[s] += num(data, "sent") -
					   num(data, "delivered");
			}
		}
	}
	if (errors)
		warning("%.0f connections failed", errors);
	for (int s = 0; s < N_SYSTEMS; s++) {
		if (wrong[s])
			warning("%s: %d files did not arrive as they were sent",
				systems[s].name, wrong[s]);
		if (failed[s])
			warning("%s: %d samples failed", systems[s].name,
				failed[s]);
		if (lost[s] > 0)
			warning("%s: %.2f%% of the paced bytes were lost",
				systems[s].name, 100 * lost[s] / sent[s]);
	}
}

/* ---- an outside judge ---- */

/* iperf3 against our own writer: both write 128 KB at a time for about as long,
 * and neither counts connection setup. */
static void doubt_own_tools(void)
{
	for (int s = 0; s < N_SYSTEMS; s++) {
		struct summary theirs = summarise(&values[BULK][s]);
		struct summary ours = summarise(&values[BULK_OWN][s]);

		if (!(ours.min < ours.max) || !(theirs.min < theirs.max))
			continue; /* measured once: no noise is known */
		if (ours.q1 > theirs.q3 * 1.05 || theirs.q1 > ours.q3 * 1.05)
			warning("bulk over %s: iperf3 says %.2f Gbit/s and our "
				"own writer %.2f: beyond their quartiles",
				systems[s].name, theirs.median / 1e9,
				ours.median / 1e9);
	}
}

static void doubt_machine(void)
{
	double load = atof(text(meta, "load_before"));

	if (*text(meta, "emulated"))
		warning("emulated, %s: ratios here can be compared with each "
			"other, and with nothing else",
			text(meta, "emulated"));
	if (load > 0.5)
		warning("the machine was not quiet: load %.2f at the start",
			load);
	if (atof(text(meta, "steal_percent")) > 1)
		warning("the hypervisor took %s%% of the time",
			text(meta, "steal_percent"));
	for (int m = 0; m < N_METRICS; m++) {
		struct summary v = summarise(&values[m][PLAIN]);

		/* The tails and loss vary by nature. */
		if (m == RTT99 || m == RTT999 || m == RTT99_1K ||
		    m == RTT999_1K || m == RTT99_16K || m == RTT999_16K ||
		    m == RTT99_1CPU || (m >= LOSS_01 && m <= LOSS_RTT_1))
			continue;
		if ((v.q3 - v.q1) / v.median > 0.10)
			warning("%s (%s): quartiles of plain TCP are %.0f%% "
				"apart",
				metrics[m].workload, metrics[m].name,
				100 * (v.q3 - v.q1) / v.median);
	}
}

void find_doubts(void)
{
	doubt_machine();
	doubt_samples();
	doubt_shares();
	doubt_own_tools();
}
