// SPDX-License-Identifier: GPL-2.0-only
/* What is wanted, and whether it was met. */
#include "judge.h"

struct target targets[MAX_TARGETS];
int n_targets;

static void add_target(struct target t)
{
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
	add_target((struct target){name, at_least, wanted, "%.3f",
				   ratio(&values[m][a], &values[m][b]), NAN});
}

static void add_cost(const char *name, double wanted, const char *workload,
		     const char *hosts, const char *prog, const char *pass)
{
	double mean = mean_ns(XDP, workload, hosts, prog);
	double floor = mean_ns(PASS, workload, hosts, pass);

	add_target((struct target){name,
				   false,
				   wanted,
				   "%.0f ns",
				   {mean, NAN, NAN, NAN, NAN},
				   mean - floor});
}

void find_targets(void)
{
	double per_flow = bytes_per_flow();

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
	add_cost("encap, mean, bulk", 200, "bulk-256k", "client",
		 "shunt_egress", "pass_tc");
	add_cost("encap, mean, ping-pong", 200, "pingpong-1cpu",
		 "client server", "shunt_egress", "pass_tc");
	add_cost("decap (XDP), mean, bulk", 100, "bulk-256k", "server",
		 "shunt_ingress_xdp", "pass_xdp");
	add_cost("decap (XDP), mean, ping-pong", 100, "pingpong-1cpu",
		 "client server", "shunt_ingress_xdp", "pass_xdp");
	add_target((struct target){"shunt up, 200,000 flows", false, 150,
				   "%.0f ms", up_ms(), NAN});
	add_target((struct target){"transport add udplite", false, 10,
				   "%.1f ms", add_ms("udplite"), NAN});
	add_target((struct target){"transport add owd", false, 10, "%.1f ms",
				   add_ms("owd"), NAN});
	add_target((struct target){"kernel memory per flow",
				   false,
				   256,
				   "%.0f B",
				   {per_flow, NAN, NAN, NAN, NAN},
				   NAN});
}

static void miss(struct table *t, const struct target *g)
{
	double percent = (g->got.median / g->wanted - 1) * 100;

	set(t, 4, "MISS %+.*f%%", fabs(percent) < 10, percent);
}

void fill_targets(struct table *t)
{
	char value[32];

	*t = (struct table){
		5,
		{"target", "wanted", "measured", "quartiles", "result"},
		{-35, 9, 8, 11, -10},
		{},
		0};
	for (const struct target *g = targets; g < targets + n_targets; g++) {
		set(t, 0, "%s", g->name);
		snprintf(value, sizeof(value), g->format, g->wanted);
		set(t, 1, "%s %s", g->at_least ? ">=" : "<=", value);
		snprintf(value, sizeof(value), g->format, g->got.median);
		set(t, 2, "%s", value);
		if (!isnan(g->net))
			set(t, 3, "net %.0f ns", g->net);
		else if (!isnan(g->got.q1))
			set(t, 3, g->got.q3 < 10 ? "%.3f-%.3f" : "%.0f-%.0f",
			    g->got.q1, g->got.q3);
		if (isnan(g->got.median))
			set(t, 4, "NO DATA");
		else if (met(g))
			set(t, 4, "pass");
		else
			miss(t, g);
		t->rows++;
	}
}
