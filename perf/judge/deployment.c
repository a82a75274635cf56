// SPDX-License-Identifier: GPL-2.0-only
/* The rows of the paper's Table II: compilation, loading, redirection. */
#include "judge.h"

/* ---- compilation and loading ---- */

static struct summary compile_ms(const char *object)
{
	json_t *all = find("compile", NULL, object), *one;
	struct series s = {};
	size_t i;

	json_array_foreach (all, i, one) {
		add(&s, json_number_value(one) / 1000);
	}
	return summarise(&s);
}

static struct summary up(const char *key)
{
	json_t *all = find("load", NULL, "up"), *one;
	struct series s = {};
	size_t i;

	json_array_foreach (all, i, one) {
		add(&s, num(one, key) * 1000);
	}
	return summarise(&s);
}

struct summary up_ms(void)
{
	return up("wall_s");
}

struct summary up_cpu_ms(void)
{
	return up("cpu_s");
}

struct summary add_ms(const char *transport)
{
	json_t *all = find("load", NULL, transport), *one;
	struct series s = {};
	size_t i;

	json_array_foreach (all, i, one) {
		add(&s, num(one, "load_ms"));
	}
	return summarise(&s);
}

/* ---- redirection ---- */

#define SMALL "pingpong-1cpu"
#define BULKY "bulk-256k"

struct redirection {
	double ns, net; /* of the statistics' own cost */
};

/* Of the programs that a packet passes in one direction, per packet. */
static struct redirection per_packet(const struct cost *c, int n,
				     double packets, double floor)
{
	double ns = 0, runs = 0;

	for (int i = 0; i < n; i++) {
		ns += c[i].ns;
		runs += c[i].runs;
	}
	if (!packets)
		return (struct redirection){NAN, NAN};
	return (struct redirection){ns / packets,
				    (ns - runs * floor) / packets};
}

/*
 * A packet that goes out directly runs egress once. One that takes the
 * segmentation hop runs egress twice, though the first time perhaps together
 * with others in a packet of 64 KB, and the hop once.
 */
static struct redirection encap(enum system s, const char *workload,
				const char *hosts)
{
	struct cost c[] = {bpf_cost(s, workload, hosts, "shunt_egress"),
			   bpf_cost(s, workload, hosts, "shunt_hop")};

	return per_packet(c, 2, fmax(c[1].runs, c[0].runs - c[1].runs),
			  mean_ns(PASS_TC, workload, hosts, "pass_tc"));
}

/* At XDP each packet is seen; behind it those of GRO, by the slow path, which
 * has no part in it except with coverage `headers`. */
static struct redirection decap(enum system s, const char *workload,
				const char *hosts)
{
	struct cost tc = bpf_cost(s, workload, hosts, "shunt_ingress_tc");
	struct cost c[] = {bpf_cost(s, workload, hosts, "shunt_ingress_xdp"),
			   bpf_cost(s, workload, hosts, "shunt_ingress_slow")};

	if (tc.runs)
		return per_packet(&tc, 1, tc.runs,
				  mean_ns(PASS_TC, workload, hosts, "pass_tc"));
	return per_packet(c, 2, c[0].runs,
			  mean_ns(PASS, workload, hosts, "pass_xdp"));
}

static const enum system redirecting[] = {XDP, TC, UDPLITE, UDPLITE_HEADERS,
					  UDPLITE_TC};
#define N_REDIRECTING (sizeof(redirecting) / sizeof(redirecting[0]))
#define N_OPERATIONS  4

static const struct {
	const char *name, *key, *workload, *hosts;
	struct redirection (*of)(enum system s, const char *workload,
				 const char *hosts);
} operations[N_OPERATIONS] = {
	{"encap, 64 B", "encap_64", SMALL, BOTH, encap},
	{"decap, 64 B", "decap_64", SMALL, BOTH, decap},
	{"encap, bulk", "encap_bulk", BULKY, "client", encap},
	{"decap, bulk", "decap_bulk", BULKY, "server", decap},
};

void fill_redirection(struct table *t)
{
	*t = (struct table){1 + N_OPERATIONS,
			    {"redirection operation (paper: 400 ns)"},
			    {-1, 1, 1, 1, 1},
			    {},
			    0};
	for (int c = 0; c < N_OPERATIONS; c++)
		t->head[c + 1] = operations[c].name;
	for (size_t i = 0; i < N_REDIRECTING; i++) {
		if (!find("bpf", systems[redirecting[i]].key, NULL))
			continue;
		for (int c = 0; c < N_OPERATIONS; c++) {
			struct redirection r = operations[c].of(
				redirecting[i], operations[c].workload,
				operations[c].hosts);

			set(t, c + 1, "%.0f ns (%.0f)", r.ns, r.net);
		}
		set_system(t, redirecting[i]);
	}
}

/* ---- the table ---- */

static const struct {
	const char *name, *paper, *key;
	struct summary (*of)(const char *key);
} rows[] = {
	{"compilation, all hooks", "6 s", "hooks", compile_ms},
	{"compilation, udp", "-", "udp", compile_ms},
	{"compilation, udplite", "200 ms", "udplite", compile_ms},
	{"compilation, owd", "-", "owd", compile_ms},
	{"loading, `shunt up`, whole", "20 ms", "up", NULL},
	{"loading, `transport add udplite`", "7 ms", "udplite", add_ms},
	{"loading, `transport add owd`", "-", "owd", add_ms},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static struct summary row(size_t i)
{
	return rows[i].of ? rows[i].of(rows[i].key) : up_ms();
}

void fill_table2(struct table *t)
{
	*t = (struct table){4,
			    {"operation", "paper", "median", "quartiles"},
			    {-1, 1, 1, 1},
			    {},
			    0};
	for (size_t i = 0; i < N_ROWS; i++) {
		struct summary v = row(i);
		int d = v.median < 100;

		if (isnan(v.median))
			continue;
		set(t, 0, "%s", rows[i].name);
		set(t, 1, "%s", rows[i].paper);
		set(t, 2, "%.*f ms", d, v.median);
		set(t, 3, "%.*f-%.*f", d, v.q1, d, v.q3);
		t->rows++;
	}
}

json_t *json_table2(void)
{
	json_t *all = json_object(), *one;

	for (size_t i = 0; i < N_ROWS; i++) {
		struct summary v = row(i);
		char name[64];

		snprintf(name, sizeof(name), "%s_%s_ms",
			 rows[i].of == compile_ms ? "compile" : "load",
			 rows[i].key);
		json_object_set_new(all, name, json_summary(&v));
	}
	for (size_t i = 0; i < N_REDIRECTING; i++) {
		one = json_object();
		for (int c = 0; c < N_OPERATIONS; c++) {
			struct redirection r = operations[c].of(
				redirecting[i], operations[c].workload,
				operations[c].hosts);

			json_object_set_new(one, operations[c].key,
					    json_pack("{s:o, s:o}", "ns",
						      json_nullable(r.ns),
						      "net_ns",
						      json_nullable(r.net)));
		}
		json_object_set_new(all, systems[redirecting[i]].key, one);
	}
	return all;
}
