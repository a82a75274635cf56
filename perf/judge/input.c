// SPDX-License-Identifier: GPL-2.0-only
/* What perf/run has measured. */
#include "judge.h"

json_t *lines;
json_t *meta;
struct series values[N_METRICS][N_SYSTEMS];
struct share shares[N_METRICS][N_SYSTEMS];
struct usage usages[N_METRICS][N_SYSTEMS];

const char *const usage_groups[4] = {"client", "server", "client-proxy",
				     "server-proxy"};

const char *text(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

bool is(json_t *object, const char *key, const char *value)
{
	return !strcmp(text(object, key), value);
}

double num(json_t *object, const char *key)
{
	json_t *n = json_object_get(object, key);

	return json_is_number(n) ? json_number_value(n) : NAN;
}

static double or_zero(double v)
{
	return isnan(v) ? 0 : v;
}

/* Where the sample's bytes went. */
static void add_share(struct share *share, json_t *line)
{
	const char *direction, *protocol;
	json_t *protocols, *counts;
	double bytes;

	json_object_foreach (json_object_get(line, "router"), direction,
			     protocols) {
		json_object_foreach (protocols, protocol, counts) {
			bytes = num(counts, "bytes");
			if (!strcmp(protocol, "tcp"))
				share->tcp += bytes;
			if (!strcmp(protocol, "udp"))
				share->udp += bytes;
			if (!strcmp(protocol, "udplite"))
				share->udplite += bytes;
		}
	}
	share->payload +=
		or_zero(num(json_object_get(line, "data"), "payload"));
	share->message += or_zero(num(line, "message_bytes"));
}

static void add_usage(struct usage *u, json_t *line)
{
	json_t *cpu = json_object_get(line, "cpu");
	json_t *cpus = json_object_get(cpu, "cpus");
	json_t *cgroups = json_object_get(cpu, "cgroups"), *group;

	if (!json_is_object(cpu))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(usage_groups); i++) {
		group = json_object_get(cgroups, usage_groups[i]);
		u->user[i] += or_zero(num(group, "user_us"));
		u->system[i] += or_zero(num(group, "system_us"));
	}
	u->busy += num(cpus, "busy_us");
	u->cpu_user += num(cpus, "user_us");
	u->cpu_system += num(cpus, "system_us");
	u->softirq += num(cpus, "softirq_us");
	u->payload += num(json_object_get(line, "data"), "payload");
}

/* What is not measured as such: CPU seconds per gigabyte, of client, server and
 * their proxies */
static void derive(json_t *line)
{
	json_t *data = json_object_get(line, "data"), *group;
	double us = 0, gb = num(data, "payload") / 1e9;
	const char *name;

	json_object_foreach (
		json_object_get(json_object_get(line, "cpu"), "cgroups"), name,
		group) {
		us += num(group, "user_us") + num(group, "system_us");
	}
	if (us > 0 && gb > 0)
		json_object_set_new(data, "cpu_s_per_gb",
				    json_real(us / 1e6 / gb));
}

static void add_sample(json_t *line)
{
	json_t *data = json_object_get(line, "data");
	double v;

	derive(line);
	for (int m = 0; m < N_METRICS; m++) {
		if (!is(line, "workload", metrics[m].workload))
			continue;
		for (int s = 0; s < N_SYSTEMS; s++) {
			if (!is(line, "system", systems[s].key))
				continue;
			v = num(data, metrics[m].key);
			if (isnan(v)) {
				errno = 0;
				die("a sample of %s has no %s",
				    metrics[m].workload, metrics[m].key);
			}
			/* A file that did not arrive took no time at all. */
			if (json_is_false(json_object_get(data, "right")))
				v = NAN;
			put(&values[m][s], num(line, "round"), v);
			add_share(&shares[m][s], line);
			add_usage(&usages[m][s], line);
		}
	}
}

struct summary field(enum metric m, enum system s, const char *key)
{
	struct series all = {};
	json_t *line;
	size_t i;

	json_array_foreach (lines, i, line) {
		if (is(line, "kind", "sample") &&
		    is(line, "system", systems[s].key) &&
		    is(line, "workload", metrics[m].workload))
			add(&all, num(json_object_get(line, "data"), key));
	}
	return summarise(&all);
}

bool measured(enum metric m, enum system s)
{
	return values[m][s].n > 0;
}

static void add_line(json_t *line)
{
	if (is(line, "kind", "sample"))
		add_sample(line);
	if (is(line, "kind", "meta"))
		json_object_update(meta, line);
}

static bool read_raw(const char *dir)
{
	char path[PATH_MAX], *buf = NULL;
	json_error_t error;
	size_t size = 0;
	json_t *line;
	FILE *f;

	snprintf(path, sizeof(path), "%s/raw.jsonl", dir);
	f = fopen(path, "r");
	if (!f)
		return false;
	while (getline(&buf, &size, f) > 0) {
		line = json_loads(buf, 0, &error);
		if (!line) {
			errno = 0;
			die("%s: %s: %s", path, error.text, buf);
		}
		json_array_append_new(lines, line);
	}
	free(buf);
	fclose(f);
	return true;
}

static void read_results(const char *dir)
{
	char path[PATH_MAX];
	json_error_t error;
	json_t *all;

	snprintf(path, sizeof(path), "%s/results.json", dir);
	all = json_load_file(path, 0, &error);
	errno = 0;
	if (!all)
		die("%s: %s", path, error.text);
	json_array_extend(lines, json_object_get(all, "raw"));
	json_decref(all);
}

void read_lines(const char *dir)
{
	json_t *line;
	size_t i;

	lines = json_array();
	meta = json_object();
	if (!read_raw(dir))
		read_results(dir);
	json_array_foreach (lines, i, line) {
		add_line(line);
	}
}

json_t *find(const char *kind, const char *system, const char *workload)
{
	json_t *line;
	size_t i;

	json_array_foreach (lines, i, line) {
		if (is(line, "kind", kind) &&
		    (!system || is(line, "system", system)) &&
		    (!workload || is(line, "workload", workload)))
			return json_object_get(line, "data");
	}
	return NULL;
}
