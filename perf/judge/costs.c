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
		if (!slash || strcmp(slash + 1, prog) ||
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

double bytes_per_flow(void)
{
	json_t *maps = find("maps", NULL, NULL);
	json_t *index = json_object_get(maps, "flow_index");
	json_t *flows = json_object_get(maps, "flows");

	return (num(index, "bytes") + num(flows, "bytes")) /
	       num(index, "max_entries");
}

void print_costs(FILE *f)
{
	json_t *line, *one;
	const char *name;
	size_t i;

	fputs("| workload | system | host/program | runs | mean |\n"
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
	fputc('\n', f);
}
