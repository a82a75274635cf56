// SPDX-License-Identifier: GPL-2.0-only
/* What BPF costs, and an instance. */
#include "judge.h"

struct cost bpf_cost(enum system s, const char *workload, const char *hosts,
		     const char *prog)
{
	json_t *all = find("bpf", systems[s].key, workload), *one;
	struct cost sum = {};
	const char *name, *slash;

	json_object_foreach (all, name, one) {
		slash = strchr(name, '/');
		if (!slash || (prog && strcmp(slash + 1, prog)) ||
		    !memmem(hosts, strlen(hosts), name, slash - name))
			continue;
		sum.runs += num(one, "runs");
		sum.ns += num(one, "ns");
	}
	return sum;
}

double mean_ns(enum system s, const char *workload, const char *hosts,
	       const char *prog)
{
	struct cost c = bpf_cost(s, workload, hosts, prog);

	return c.runs ? c.ns / c.runs : NAN;
}

double bpf_per_byte(enum system s, const char *workload)
{
	json_t *during = find("bpf-during", systems[s].key, workload);

	return bpf_cost(s, workload, BOTH, NULL).ns / num(during, "payload");
}

double bytes_per_flow(void)
{
	json_t *maps = find("maps", NULL, NULL);
	json_t *index = json_object_get(maps, "flow_index");
	json_t *flows = json_object_get(maps, "flows");

	return (num(index, "bytes") + num(flows, "bytes")) /
	       num(index, "max_entries");
}

static void print_proxies(FILE *f)
{
	json_t *line, *data;
	bool any = false;
	size_t i;

	json_array_foreach (lines, i, line) {
		if (!is(line, "kind", "proxy"))
			continue;
		if (!any)
			fputs("Memory of the proxies, all processes of a host, "
			      "after the run:\n\n"
			      "| system | host | resident | locked | pinned |\n"
			      "|---|---|---:|---:|---:|\n",
			      f);
		any = true;
		data = json_object_get(line, "data");
		fprintf(f, "| %s | %s | %.1f MB | %.1f MB | %.1f MB |\n",
			text(line, "system"), text(line, "workload"),
			num(data, "rss") / 1024, num(data, "locked") / 1024,
			num(data, "pinned") / 1024);
	}
	fputs(any ? "\n" : "", f);
}

void print_costs(FILE *f)
{
	bool any = find("bpf", NULL, NULL);
	json_t *line, *one;
	const char *name;
	size_t i;

	if (!isnan(bytes_per_flow()))
		fprintf(f,
			"Flow table: %.1f bytes of kernel memory per flow.\n\n",
			bytes_per_flow());
	print_proxies(f);
	if (any)
		fputs("Run time of BPF programs (kernel statistics, their own "
		      "cost included; tail calls count\nfor the program that "
		      "makes them; those that ran 100 times and more):\n\n"
		      "| workload | system | host/program | runs | mean |\n"
		      "|---|---|---|---:|---:|\n",
		      f);
	json_array_foreach (lines, i, line) {
		if (!is(line, "kind", "bpf"))
			continue;
		json_object_foreach (json_object_get(line, "data"), name, one) {
			if (num(one, "runs") < 100)
				continue; /* too few to mean anything */
			fprintf(f, "| %s | %s | %s | %.0f | %.0f ns |\n",
				text(line, "workload"), text(line, "system"),
				name, num(one, "runs"), num(one, "mean_ns"));
		}
	}
	fputs(any ? "\n" : "", f);
}
