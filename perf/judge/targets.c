// SPDX-License-Identifier: GPL-2.0-only
/* What is wanted, and whether it was met. */
#include "judge.h"

struct target targets[MAX_TARGETS];
int n_targets;

/* What a partial run has not measured is no target of it. */
static void add_target(struct target t)
{
	if (isnan(t.got.median))
		return;
	if (n_targets == MAX_TARGETS) {
		errno = 0;
		die("more than %d targets", MAX_TARGETS);
	}
	targets[n_targets++] = t;
}

bool met(const struct target *t)
{
	return t->at_least ? t->got.median >= t->wanted
			   : t->got.median <= t->wanted;
}

static void add_ratio(const char *name, bool at_least, double wanted,
		      enum metric m, enum system a, enum system b)
{
	struct target t = {.at_least = at_least,
			   .wanted = wanted,
			   .format = "%.3f",
			   .got = ratio(&values[m][a], &values[m][b]),
			   .net = NAN,
			   .metric = m,
			   .system = a};

	snprintf(t.name, sizeof(t.name), "%s", name);
	add_target(t);
}

/* Without anything of the workload, like loading */
static void add_single(const char *name, double wanted, const char *format,
		       struct summary got, double net)
{
	struct target t = {.wanted = wanted,
			   .format = format,
			   .got = got,
			   .net = net,
			   .metric = N_METRICS};

	snprintf(t.name, sizeof(t.name), "%s", name);
	add_target(t);
}

/* Of a BPF program; floor: what the statistics count for one that only passes
 */
static void add_cost(const char *name, double wanted, double mean, double floor)
{
	add_single(name, wanted, "%.0f ns",
		   (struct summary){mean, NAN, NAN, NAN, NAN}, mean - floor);
}

/* What each of the paper's files takes more than by plain TCP: its 55 ms */
static void add_files(void)
{
	static const enum metric files[] = {FILE_3K, FILE_510K, FILE_26M,
					    KEPT_3K, KEPT_510K, KEPT_26M};
	static const enum system paths[] = {
		XDP, UDPLITE, TC, UDPLITE_TC, MESSAGE, MESSAGE_UDPLITE};

	for (size_t f = 0; f < ARRAY_SIZE(files); f++) {
		for (size_t p = 0; p < ARRAY_SIZE(paths); p++) {
			const struct series *v = values[files[f]];
			struct summary d = difference(&v[paths[p]], &v[PLAIN]);
			struct target t = {.wanted = 2,
					   .format = "%.2f ms",
					   .got = {d.median * 1e-6, d.q1 * 1e-6,
						   d.q3 * 1e-6, d.min * 1e-6,
						   d.max * 1e-6},
					   .net = NAN,
					   .metric = files[f],
					   .system = paths[p]};

			/* Only the message path needs an open connection to
			 * be on it at all. */
			if (files[f] >= KEPT_3K && !is_message(paths[p]))
				continue;
			snprintf(t.name, sizeof(t.name), "added, %s, %s",
				 metrics[files[f]].name,
				 systems[paths[p]].name);
			add_target(t);
		}
	}
}

static void add_message(void)
{
	double floor = mean_ns(PASS_TC, "pingpong-1cpu", BOTH, "pass_tc");

	add_ratio("ping-pong 64 B p50, message path / plain", false, 2, RTT50,
		  MESSAGE, PLAIN);
	add_ratio("highest pace, message path / copying", true, 2, PACE,
		  MESSAGE, COPYING);
	add_ratio("CPU per GB at one pace, message / copying", false, 0.5,
		  CPU_PACED, MESSAGE, COPYING);
	add_ratio("highest pace, 64 KB, message path / copying", true, 2,
		  PACE_64K, MESSAGE, COPYING);
	add_ratio("CPU per GB at one pace, 64 KB, message / copying", false,
		  0.5, CPU_PACED_64K, MESSAGE, COPYING);
	add_cost("SK_MSG redirection, mean, ping-pong", 400,
		 mean_ns(MESSAGE, "pingpong", BOTH, "shunt_msg_redirector"),
		 floor);
	add_cost("SK_MSG redirection, mean, 16 KB", 400,
		 mean_ns(MESSAGE, "paced", "client", "shunt_msg_redirector"),
		 floor);
}

static void add_segment(void)
{
	add_ratio("ping-pong p50, 2 CPUs, XDP / plain", false, 1.05, RTT50, XDP,
		  PLAIN);
	add_ratio("ping-pong p50, 2 CPUs, TC / plain", false, 1.05, RTT50, TC,
		  PLAIN);
	add_ratio("ping-pong p50, 1 CPU, XDP / plain", false, 1.05, RTT50_1CPU,
		  XDP, PLAIN);
	add_ratio("ping-pong p50, 1 CPU, TC / plain", false, 1.05, RTT50_1CPU,
		  TC, PLAIN);
	add_ratio("bulk, XDP / pass-only XDP", true, 0.90, BULK, XDP, PASS);
	add_ratio("bulk, TC / plain", true, 0.75, BULK, TC, PLAIN);
	add_ratio("bulk, 256 KB, XDP / pass-only XDP", true, 0.90, BULK_256K,
		  XDP, PASS);
	add_ratio("bulk, 256 KB, TC / plain", true, 0.75, BULK_256K, TC, PLAIN);
	add_ratio("bulk, UDP-Lite, XDP / pass-only XDP", true, 0.65, BULK,
		  UDPLITE, PASS);
	add_ratio("connections/s, XDP / plain", true, 0.95, RATE, XDP, PLAIN);
	add_ratio("connections/s, TC / plain", true, 0.95, RATE, TC, PLAIN);
}

void find_targets(void)
{
	double per_flow = bytes_per_flow();

	add_files();
	add_segment();
	add_message();
	add_cost("encap, mean, bulk", 200,
		 mean_ns(XDP, "bulk-256k", "client", "shunt_egress"),
		 mean_ns(PASS, "bulk-256k", "client", "pass_tc"));
	add_cost("encap, mean, bulk, without syncs", 200,
		 mean_ns(XDP_STRICT, "bulk-256k", "client", "shunt_egress"),
		 mean_ns(PASS, "bulk-256k", "client", "pass_tc"));
	add_cost("encap, mean, ping-pong", 200,
		 mean_ns(XDP, "pingpong-1cpu", BOTH, "shunt_egress"),
		 mean_ns(PASS, "pingpong-1cpu", BOTH, "pass_tc"));
	add_cost("decap (XDP), mean, bulk", 100,
		 mean_ns(XDP, "bulk-256k", "server", "shunt_ingress_xdp"),
		 mean_ns(PASS, "bulk-256k", "server", "pass_xdp"));
	add_cost("decap (XDP), mean, ping-pong", 100,
		 mean_ns(XDP, "pingpong-1cpu", BOTH, "shunt_ingress_xdp"),
		 mean_ns(PASS, "pingpong-1cpu", BOTH, "pass_xdp"));
	add_single("shunt up, 200,000 flows", 150, "%.0f ms", up_ms(), NAN);
	add_single("transport add udplite", 10, "%.1f ms", add_ms("udplite"),
		   NAN);
	add_single("transport add owd", 10, "%.1f ms", add_ms("owd"), NAN);
	add_single("kernel memory per flow", 256, "%.0f B",
		   (struct summary){per_flow, NAN, NAN, NAN, NAN}, NAN);
}

static void miss(struct table *t, const struct target *g)
{
	double percent = (g->got.median / g->wanted - 1) * 100;

	set(t, 4, "MISS %+.*f%%", fabs(percent) < 10, percent);
}

static void fill_row(struct table *t, const struct target *g)
{
	char value[32];

	set(t, 0, "%s", g->name);
	snprintf(value, sizeof(value), g->format, g->wanted);
	set(t, 1, "%s %s", g->at_least ? ">=" : "<=", value);
	snprintf(value, sizeof(value), g->format, g->got.median);
	set(t, 2, "%s", value);
	if (!isnan(g->net))
		set(t, 3, "net %.0f ns", g->net);
	else if (g->got.min < g->got.max)
		set(t, 3,
		    fabs(g->got.q3) < 10 ? "%.3f to %.3f" : "%.0f to %.0f",
		    g->got.q1, g->got.q3);
	if (met(g))
		set(t, 4, "pass");
	else
		miss(t, g);
	if (g->metric != N_METRICS)
		set(t, 5, "%s",
		    by_messages(g->metric, g->system, value, sizeof(value)));
	t->rows++;
}

static const struct table empty = {
	6,
	{"target", "wanted", "measured", "quartiles", "result", "by messages"},
	{-53, 10, 10, 15, -12, -11},
	{},
	0};

void fill_targets(struct table *t)
{
	*t = empty;
	for (int i = 0; i < n_targets; i++)
		fill_row(t, &targets[i]);
}

void fill_rows(struct table *t)
{
	static const char *const quoted[] = {
		"added, 510 KB, udp, TC",
		"ping-pong p50, 2 CPUs, TC / plain",
		"bulk, TC / plain",
		"connections/s, TC / plain",
		"ping-pong 64 B p50, message path / plain",
	};

	*t = empty;
	for (size_t q = 0; q < ARRAY_SIZE(quoted); q++)
		for (int i = 0; i < n_targets; i++)
			if (!strcmp(targets[i].name, quoted[q]))
				fill_row(t, &targets[i]);
}
