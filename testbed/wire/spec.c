// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads a description of faults such as "delay=25ms,loss=1%,seed=7".
 */
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest delay: more is surely a mistake. */
#define MAX_TIME (60 * NSEC_PER_SEC)

struct unit {
	const char *name;
	double factor;
};

static const struct unit time_units[] = {
	{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {}};
static const struct unit rate_units[] = {
	{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {}};
static const struct unit chance_units[] = {{"%", 4294967296.0 / 100}, {}};
static const struct unit count_units[] = {{"", 1}, {}};

enum { WORD_DIR, WORD_DAMAGE_AT };

static const struct key {
	const char *name;
	size_t offset;
	const struct unit *units; /* NULL: words */
	double max;
	bool is_32;
} keys[] = {
	{"delay", offsetof(struct faults, delay), time_units, MAX_TIME, false},
	{"jitter", offsetof(struct faults, jitter), time_units, MAX_TIME,
	 false},
	{"hold", offsetof(struct faults, hold), time_units, MAX_TIME, false},
	{"rate", offsetof(struct faults, rate), rate_units, 1e12, false},
	{"loss", offsetof(struct faults, loss), chance_units, 1ULL << 32,
	 false},
	{"reorder", offsetof(struct faults, reorder), chance_units, 1ULL << 32,
	 false},
	{"dup", offsetof(struct faults, dup), chance_units, 1ULL << 32, false},
	{"damage", offsetof(struct faults, damage), chance_units, 1ULL << 32,
	 false},
	{"seed", offsetof(struct faults, seed), count_units, 1e15, false},
	{"gap", offsetof(struct faults, gap), count_units, 1000, true},
	{"limit", offsetof(struct faults, limit), count_units, 1e6, true},
	{"dir", WORD_DIR, NULL, 0, false},
	{"damage-at", WORD_DAMAGE_AT, NULL, 0, false},
};

void faults_clear(struct faults *f)
{
	*f = (struct faults){
		.seed = 1, .gap = 3, .hold = 5000000, .limit = 25000};
}

static int parse_number(const char *text, const struct unit *u, double max,
			double *value)
{
	char *end;

	/* strtod also takes signs, spaces, "inf" and hexadecimal */
	if (text[0] < '0' || text[0] > '9' || strpbrk(text, "xX"))
		return -EINVAL;
	*value = strtod(text, &end);
	if (*value == 0 && !*end)
		return 0;
	for (; u->name; u++) {
		if (strcmp(end, u->name))
			continue;
		*value *= u->factor;
		return *value <= max ? 0 : -ERANGE;
	}
	return -EINVAL;
}

static int parse_word(const struct key *key, const char *text, struct faults *f,
		      unsigned int *dirs)
{
	double n;
	int err;

	if (key->offset == WORD_DIR) {
		if (!strcmp(text, "both"))
			*dirs = DIR_TO_SERVER | DIR_TO_CLIENT;
		else if (!strcmp(text, "to-server"))
			*dirs = DIR_TO_SERVER;
		else if (!strcmp(text, "to-client"))
			*dirs = DIR_TO_CLIENT;
		else
			return -EINVAL;
		return 0;
	}

	f->damage_any = !strcmp(text, "any");
	f->damage_at = 0;
	if (f->damage_any || !strcmp(text, "payload"))
		return 0;
	err = parse_number(text, count_units, 65535, &n);
	f->damage_at = err ? 0 : n;
	return err;
}

static int parse_one(char *item, struct faults *f, unsigned int *dirs)
{
	char *value = strchr(item, '=');
	const struct key *key = NULL;
	double n;
	size_t i;
	int err;

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!strcmp(keys[i].name, item))
			key = &keys[i];
	}
	if (!key)
		return -ENOENT;
	if (!key->units)
		return parse_word(key, value, f, dirs);

	err = parse_number(value, key->units, key->max, &n);
	if (err)
		return err;
	if (key->is_32)
		*(uint32_t *)((char *)f + key->offset) = n;
	else
		*(uint64_t *)((char *)f + key->offset) = n;
	return 0;
}

int faults_parse(const char *spec, struct faults *f, unsigned int *dirs,
		 char *err, size_t err_len)
{
	char text[512], item[64], *save, *p;
	int ret;

	faults_clear(f);
	*dirs = DIR_TO_SERVER | DIR_TO_CLIENT;
	if (!strcmp(spec, "none"))
		return 0;
	if ((size_t)snprintf(text, sizeof(text), "%s", spec) >= sizeof(text)) {
		snprintf(err, err_len, "faults: more than %zu characters",
			 sizeof(text) - 1);
		return -E2BIG;
	}
	for (p = strtok_r(text, ",", &save); p;
	     p = strtok_r(NULL, ",", &save)) {
		snprintf(item, sizeof(item), "%s", p);
		ret = parse_one(p, f, dirs);
		if (!ret)
			continue;
		snprintf(err, err_len, "'%s': %s", item,
			 ret == -ENOENT	  ? "no such fault"
			 : ret == -ERANGE ? "too much"
					  : "want e.g. delay=25ms, loss=1%, "
					    "rate=100mbit, seed=7, "
					    "dir=to-server, damage-at=any");
		return ret;
	}
	if (!f->gap || !f->limit) {
		snprintf(err, err_len, "gap and limit must not be 0");
		return -EINVAL;
	}
	return 0;
}
