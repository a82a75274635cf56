// SPDX-License-Identifier: GPL-2.0-only
/* What is compared, and what perf/run has measured of it. */
#include "judge.h"

const struct system_info systems[N_SYSTEMS] = {
	[PLAIN] = {"plain", "plain TCP"},
	[PASS] = {"pass", "TCP, XDP pass-only"},
	[SEGMENTED] = {"segmented", "TCP, XDP pass-only, no TSO"},
	[XDP] = {"xdp", "udp, XDP"},
	[TC] = {"tc", "udp, TC"},
	[UDPLITE] = {"udplite", "udplite, XDP"},
	[UDPLITE_HEADERS] = {"udplite-headers", "udplite, XDP, headers"},
	[UDPLITE_TC] = {"udplite-tc", "udplite, TC"},
};

const struct metric_info metrics[N_METRICS] = {
	[RTT50] = {"pingpong", "p50_ns", "ping-pong p50, two CPUs", "us", 1e-3},
	[RTT99] = {"pingpong", "p99_ns", "ping-pong p99, two CPUs", "us", 1e-3},
	[RTT999] = {"pingpong", "p999_ns", "ping-pong p99.9, two CPUs", "us",
		    1e-3},
	[RTT50_1CPU] = {"pingpong-1cpu", "p50_ns", "ping-pong p50, one CPU",
			"us", 1e-3},
	[RTT99_1CPU] = {"pingpong-1cpu", "p99_ns", "ping-pong p99, one CPU",
			"us", 1e-3},
	[BULK] = {"bulk", "bits_per_second", "bulk", "Gbit/s", 1e-9},
	[BULK_256K] = {"bulk-256k", "bits_per_second", "bulk, 256 KB window",
		       "Gbit/s", 1e-9},
	[RATE] = {"connrate", "per_second", "connections per second", "1/s", 1},
};

const enum metric shown[N_SHOWN] = {RTT50, RTT50_1CPU, BULK, BULK_256K, RATE};

json_t *lines;
json_t *meta;
struct series values[N_METRICS][N_SYSTEMS];

struct share shares[N_METRICS][N_SYSTEMS];

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

/* What of the sample's bytes the router has seen in UDP or UDP-Lite. */
static void add_share(struct share *share, json_t *router)
{
	const char *direction, *protocol;
	json_t *protocols, *counts;
	double bytes;

	json_object_foreach (router, direction, protocols) {
		json_object_foreach (protocols, protocol, counts) {
			bytes = num(counts, "bytes");
			if (!strncmp(protocol, "udp", 3))
				share->redirected += bytes;
			if (!strncmp(protocol, "udp", 3) ||
			    !strcmp(protocol, "tcp"))
				share->all += bytes;
		}
	}
}

static void add_sample(json_t *line)
{
	json_t *data = json_object_get(line, "data");
	double v;

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
			add(&values[m][s], v);
			add_share(&shares[m][s],
				  json_object_get(line, "router"));
		}
	}
}

bool measured(enum metric m, enum system s)
{
	return values[m][s].n > 0;
}

void read_lines(const char *dir)
{
	char path[PATH_MAX], *buf = NULL;
	json_error_t error;
	size_t size = 0;
	json_t *line;
	FILE *f;

	snprintf(path, sizeof(path), "%s/raw.jsonl", dir);
	f = fopen(path, "r");
	if (!f)
		die("%s", path);
	lines = json_array();
	while (getline(&buf, &size, f) > 0) {
		line = json_loads(buf, 0, &error);
		if (!line) {
			errno = 0;
			die("%s: %s: %s", path, error.text, buf);
		}
		json_array_append_new(lines, line);
		if (is(line, "kind", "sample"))
			add_sample(line);
		if (is(line, "kind", "meta"))
			meta = line;
	}
	free(buf);
	fclose(f);
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
