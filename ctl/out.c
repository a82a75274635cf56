// SPDX-License-Identifier: GPL-2.0-only
/* Numbers, addresses and names as people read them, and JSON. */
#include "out.h"

#include "ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const path_names[] = {
#define X(id, name, text) #name,
	SHUNT_PATHS(X)
#undef X
};

static const char *const coverage_names[] = {
#define X(id, name, text) #name,
	SHUNT_COVERAGES(X)
#undef X
};

static const char *const role_names[] = {
#define X(id, name, text) #name,
	SHUNT_ROLES(X)
#undef X
};

static const char *const state_names[] = {
#define X(id, name, text) #name,
	SHUNT_STATES(X)
#undef X
};

static const char *const reason_names[] = {
#define X(id, name, text) #name,
	SHUNT_REASONS(X)
#undef X
};

static const char *const reason_texts[] = {
#define X(id, name, text) text,
	SHUNT_REASONS(X)
#undef X
};

static const struct {
	const char *name;
	const char *text;
} counter_names[] = {
#define X(id, name, text) {#name, text},
	SHUNT_COUNTERS(X)
#undef X
};

static const char *name_of(const char *const *names, size_t n, unsigned i)
{
	return i < n ? names[i] : "unknown";
}

const char *path_name(unsigned path)
{
	return name_of(path_names, ARRAY_SIZE(path_names), path);
}

const char *coverage_name(unsigned coverage)
{
	return name_of(coverage_names, ARRAY_SIZE(coverage_names), coverage);
}

const char *role_name(unsigned role)
{
	return name_of(role_names, ARRAY_SIZE(role_names), role);
}

const char *state_name(unsigned state)
{
	return name_of(state_names, ARRAY_SIZE(state_names), state);
}

const char *reason_name(unsigned reason)
{
	return name_of(reason_names, ARRAY_SIZE(reason_names), reason);
}

const char *reason_text(unsigned reason)
{
	return name_of(reason_texts, ARRAY_SIZE(reason_texts), reason);
}

const char *counter_name(unsigned counter)
{
	return counter_names[counter].name;
}

const char *counter_text(unsigned counter)
{
	return counter_names[counter].text;
}

static bool is_v4(const struct shunt_addr *addr)
{
	return !addr->w[0] && !addr->w[1] && addr->w[2] == htonl(0xffff);
}

const char *format_addr(char buf[static ADDR_LEN],
			const struct shunt_addr *addr)
{
	if (is_v4(addr))
		inet_ntop(AF_INET, &addr->w[3], buf, ADDR_LEN);
	else
		inet_ntop(AF_INET6, addr->w, buf, ADDR_LEN);
	return buf;
}

const char *format_endpoint(char buf[static ENDPOINT_LEN],
			    const struct shunt_addr *addr, __be16 port)
{
	char ip[ADDR_LEN];

	format_addr(ip, addr);
	snprintf(buf, ENDPOINT_LEN, is_v4(addr) ? "%s:%u" : "[%s]:%u", ip,
		 ntohs(port));
	return buf;
}

const char *format_size(char buf[static SIZE_LEN], __u64 bytes)
{
	static const char units[] = " KMGTPE";
	double value = bytes;
	int unit = 0;

	/* 999.5 would print as 1000. */
	while (value >= 999.5 && unit < 6) {
		value /= 1000;
		unit++;
	}
	if (!unit)
		snprintf(buf, SIZE_LEN, "%u", (unsigned)bytes);
	else
		snprintf(buf, SIZE_LEN, "%.*f%c", value < 9.95 ? 1 : 0, value,
			 units[unit]);
	return buf;
}

const char *format_duration(char buf[static DURATION_LEN], __u64 ns)
{
	__u64 s = ns / SHUNT_NSEC;

	if (s < 120)
		snprintf(buf, DURATION_LEN, "%llu s", s);
	else if (s < 7200)
		snprintf(buf, DURATION_LEN, "%llu min", s / 60);
	else if (s < 172800)
		snprintf(buf, DURATION_LEN, "%llu h", s / 3600);
	else
		snprintf(buf, DURATION_LEN, "%llu d", s / 86400);
	return buf;
}

__u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SHUNT_NSEC + ts.tv_nsec;
}

__u64 ns_since(__u64 now, __u64 then)
{
	return now > then ? now - then : 0;
}

double seconds(__u64 ns)
{
	/* Milliseconds are enough, and nine digits of noise are not read. */
	return (double)(ns / 1000000) / 1000;
}

int print_json(json_t *json)
{
	int err = 0;

	if (!json)
		return shunt_err(-ENOMEM, "out of memory");
	if (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)))
		err = shunt_err(-EIO, "cannot write JSON to stdout");
	putchar('\n');
	json_decref(json);
	return err;
}
