/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of `report` share. */
#ifndef PERF_JUDGE_H
#define PERF_JUDGE_H

#include "../util.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- what is compared (metrics.c) ---- */

enum system {
	PLAIN,
	PASS,
	PASS_TC,
	SEGMENTED,
	XDP,
	XDP_STRICT,
	TC,
	UDPLITE,
	UDPLITE_HEADERS,
	UDPLITE_TC,
	MESSAGE,
	MESSAGE_UDPLITE,
	COPYING,
	FOU,
	N_SYSTEMS
};

struct system_info {
	const char *key, *name;
};

extern const struct system_info systems[N_SYSTEMS];

enum metric {
	RTT50,
	RTT99,
	RTT999,
	RTT50_1K,
	RTT99_1K,
	RTT999_1K,
	RTT50_16K,
	RTT99_16K,
	RTT999_16K,
	RTT50_1CPU,
	RTT99_1CPU,
	BULK,
	BULK_4,
	BULK_64,
	BULK_256K,
	BULK_OWN,
	RATE,
	PACED,
	PACE,
	PACED_64K,
	PACE_64K,
	CPU_BULK,
	CPU_BULK_64,
	CPU_PACED,
	CPU_PACED_64K,
	FILE_3K,
	FILE_510K,
	FILE_26M,
	KEPT_3K,
	KEPT_510K,
	KEPT_26M,
	LOSS_01,
	LOSS_1,
	LOSS_RTT_01,
	LOSS_RTT_1,
	MEMORY,
	N_METRICS
};

/* It is of the samples of another metric. */
static inline bool is_cpu_time(int m)
{
	return m >= CPU_BULK && m <= CPU_PACED_64K;
}

struct metric_info {
	const char *workload, *key, *name, *unit;
	double scale;
	bool more; /* is better */
};

extern const struct metric_info metrics[N_METRICS];

/* Metrics that share a table */
#define GROUP_MAX 5

struct group {
	const char *title;
	enum metric metrics[GROUP_MAX];
	int n;
};

extern const struct group groups[];
extern const int n_groups;

/* The redirecting ones */
static inline bool is_shunt(enum system s)
{
	return s >= XDP && s <= MESSAGE_UDPLITE;
}

static inline bool is_message(enum system s)
{
	return s == MESSAGE || s == MESSAGE_UDPLITE;
}

/* ---- numbers (numbers.c) ---- */

#define MAX_VALUES 300

/* One for each round; NAN where the sample failed */
struct series {
	double v[MAX_VALUES];
	int n;
};

struct summary {
	double median, q1, q3, min, max;
};

void add(struct series *s, double v);
/* Of this round, from 1 */
void put(struct series *s, int round, double v);
struct summary summarise(const struct series *series);

/* Round by round, so that what drifts from round to round drops out. */
struct summary ratio(const struct series *a, const struct series *b);
struct summary difference(const struct series *a, const struct series *b);

/* ---- input (input.c) ---- */

/* Bytes of all samples: at the router, by protocol, and payload */
struct share {
	double tcp, udp, udplite;
	double payload, message; /* … of it on the message path */
};

/* CPU time of all samples, in us */
struct usage {
	double user[4], system[4]; /* of GROUP_NAMES */
	double busy, cpu_user, cpu_system, softirq;
	double payload;
};

extern const char *const usage_groups[4];

extern json_t *lines; /* of raw.jsonl */
extern json_t *meta;  /* where it was measured */
extern struct series values[N_METRICS][N_SYSTEMS];
extern struct share shares[N_METRICS][N_SYSTEMS];
extern struct usage usages[N_METRICS][N_SYSTEMS];

const char *text(json_t *object, const char *key); /* or "" */
bool is(json_t *object, const char *key, const char *value);
double num(json_t *object, const char *key); /* or NAN */
/* DIR/raw.jsonl, or what DIR/results.json has kept of it */
void read_lines(const char *dir);

/* Of a field in the data of all samples of this workload */
struct summary field(enum metric m, enum system s, const char *key);

/* Was this workload measured on this system? */
bool measured(enum metric m, enum system s);

/* The data of a kind, system and workload (NULL: of any), or NULL. */
json_t *find(const char *kind, const char *system, const char *workload);

/* ---- tables (table.c) ---- */

#define MAX_ROWS 96
#define COLUMNS	 12

struct table {
	int columns;
	const char *head[COLUMNS];
	int width[COLUMNS]; /* negative: flush left */
	char cell[MAX_ROWS][COLUMNS][96];
	int rows;
};

__attribute__((format(printf, 3, 4))) void set(struct table *t, int column,
					       const char *fmt, ...);
void print_plain(const struct table *t, FILE *f);
void print_markdown(const struct table *t, FILE *f);
/* The name of the system in the first column, and a new row */
void set_system(struct table *t, enum system s);

/* ---- costs of BPF (costs.c) ---- */

#define BOTH "client server"

struct cost {
	double runs, ns;
};

/* Of a program (NULL: of all), on the hosts named in `hosts` */
struct cost bpf_cost(enum system s, const char *workload, const char *hosts,
		     const char *prog);
/* Its mean run time, or NAN */
double mean_ns(enum system s, const char *workload, const char *hosts,
	       const char *prog);
/* Run time of all programs for each byte of payload, in ns */
double bpf_per_byte(enum system s, const char *workload);
double bytes_per_flow(void);
void print_costs(FILE *f);

/* ---- the paper's Table II (deployment.c) ---- */

struct summary up_ms(void);
struct summary up_cpu_ms(void);
struct summary add_ms(const char *transport);
void fill_table2(struct table *t);
void fill_redirection(struct table *t);
json_t *json_table2(void);

/* ---- targets (targets.c) ---- */

struct target {
	char name[64];
	bool at_least;
	double wanted;
	const char *format; /* of a value, with its unit */
	struct summary got;
	double net;	    /* of the statistics' own cost; NAN: has none */
	enum metric metric; /* N_METRICS: no workload's */
	enum system system;
};

#define MAX_TARGETS 64

extern struct target targets[MAX_TARGETS];
extern int n_targets;

void find_targets(void);
bool met(const struct target *t);
void fill_targets(struct table *t);
/* The five that README.md quotes */
void fill_rows(struct table *t);

/* ---- where the time goes (where.c) ---- */

void print_where(FILE *f);

/* ---- doubts (doubts.c) ---- */

#define MAX_WARNINGS 64

extern char warnings[MAX_WARNINGS][200];
extern int n_warnings;

void find_doubts(void);

/* ---- tables of workloads (workloads.c) ---- */

/* "[99%]" for the message path, else "" */
const char *by_messages(enum metric m, enum system s, char *buf, size_t len);
void print_groups(FILE *f);
void print_pairs(FILE *f);
void print_paths(FILE *f);
void print_cpu(FILE *f);

/* ---- delay and files (files.c) ---- */

void print_delay(FILE *f);
void print_files(FILE *f);

/* ---- output (output.c) ---- */

void write_markdown(const char *dir);
void write_json(const char *dir);
json_t *json_nullable(double v); /* JSON has no NaN: then null */
json_t *json_summary(const struct summary *s);

/* ---- pictures (plots.c) ---- */

void write_plots(const char *dir);

/* ---- two runs (compare.c) ---- */

/* The exit code */
int compare_runs(const char *a, const char *b, double threshold);

#endif
