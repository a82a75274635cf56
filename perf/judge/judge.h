/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of `report` share. */
#ifndef PERF_JUDGE_H
#define PERF_JUDGE_H

#include "../util.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>

/* ---- what is compared (input.c) ---- */

enum system {
	PLAIN,
	PASS,
	SEGMENTED,
	XDP,
	TC,
	UDPLITE,
	UDPLITE_HEADERS,
	UDPLITE_TC,
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
	RTT50_1CPU,
	RTT99_1CPU,
	BULK,
	BULK_256K,
	RATE,
	N_METRICS
};

struct metric_info {
	const char *workload, *key, *name, *unit;
	double scale;
};

extern const struct metric_info metrics[N_METRICS];

/* Those that have a column in the tables of ratios and shares */
#define N_SHOWN 5
extern const enum metric shown[N_SHOWN];

/* ---- numbers (numbers.c) ---- */

#define MAX_VALUES 100

struct series {
	double v[MAX_VALUES];
	int n;
};

struct summary {
	double median, q1, q3, min, max;
};

void add(struct series *s, double v);
struct summary summarise(const struct series *series);

/* Round by round, so that what drifts from round to round drops out. */
struct summary ratio(const struct series *a, const struct series *b);

/* ---- input (input.c) ---- */

/* Bytes at the router */
struct share {
	double redirected, all;
};

extern json_t *lines; /* of raw.jsonl */
extern json_t *meta;  /* the one that says where it was measured, or NULL */
extern struct series values[N_METRICS][N_SYSTEMS];
extern struct share shares[N_METRICS][N_SYSTEMS];

const char *text(json_t *object, const char *key); /* or "" */
bool is(json_t *object, const char *key, const char *value);
double num(json_t *object, const char *key); /* or NAN */
void read_lines(const char *dir);

/* Was this workload measured on this system? */
bool measured(enum metric m, enum system s);

/* The data of a kind, system and workload (NULL: of any), or NULL. */
json_t *find(const char *kind, const char *system, const char *workload);

/* ---- tables (table.c) ---- */

#define MAX_ROWS 64
#define COLUMNS	 6

struct table {
	int columns;
	const char *head[COLUMNS];
	int width[COLUMNS]; /* negative: flush left */
	char cell[MAX_ROWS][COLUMNS][80];
	int rows;
};

__attribute__((format(printf, 3, 4))) void set(struct table *t, int column,
					       const char *fmt, ...);
void print_plain(const struct table *t, FILE *f);
void print_markdown(const struct table *t, FILE *f);

/* ---- costs (costs.c) ---- */

struct cost {
	double runs, ns;
};

/* Of a program, on the hosts named in `hosts` */
struct cost bpf_cost(enum system s, const char *workload, const char *hosts,
		     const char *prog);
/* Its mean run time, or NAN */
double mean_ns(enum system s, const char *workload, const char *hosts,
	       const char *prog);
double bytes_per_flow(void);
void print_costs(FILE *f);

/* ---- the paper's Table II (deployment.c) ---- */

struct summary up_ms(void);
struct summary add_ms(const char *transport);
void fill_table2(struct table *t);
void fill_redirection(struct table *t);
json_t *json_table2(void);

/* ---- targets (targets.c) ---- */

struct target {
	const char *name;
	bool at_least;
	double wanted;
	const char *format; /* of a value, with its unit */
	struct summary got;
	double net; /* of the statistics' own cost; NAN: has none */
};

#define MAX_TARGETS 32

extern struct target targets[MAX_TARGETS];
extern int n_targets;

void find_targets(void);
bool met(const struct target *t);
void fill_targets(struct table *t);

/* ---- doubts (doubts.c) ---- */

#define MAX_WARNINGS 16

extern char warnings[MAX_WARNINGS][160];
extern int n_warnings;

void find_doubts(void);

/* ---- output (output.c) ---- */

void write_markdown(const char *dir);
void write_json(const char *dir);
json_t *json_nullable(double v); /* JSON has no NaN: then null */
json_t *json_summary(const struct summary *s);

#endif
