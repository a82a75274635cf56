/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers, addresses and names as people read them, and JSON. */
#ifndef SHUNT_OUT_H
#define SHUNT_OUT_H

#include <jansson.h>
#include <shunt/shared.h>

#define ADDR_LEN     46		    /* an IPv6 address */
#define ENDPOINT_LEN (ADDR_LEN + 9) /* "[addr]:65535" */
#define SIZE_LEN     8
#define DURATION_LEN 16

const char *path_name(unsigned path);
const char *coverage_name(unsigned coverage);
const char *role_name(unsigned role);
const char *state_name(unsigned state);
const char *reason_name(unsigned reason);
const char *reason_text(unsigned reason);
const char *counter_name(unsigned counter);
const char *counter_text(unsigned counter);

/* v4-mapped addresses come out as IPv4. */
const char *format_addr(char buf[static ADDR_LEN],
			const struct shunt_addr *addr);
const char *format_endpoint(char buf[static ENDPOINT_LEN],
			    const struct shunt_addr *addr, __be16 port);
/* At most four characters up to 999 P: "0", "999", "1.2K", "56M". */
const char *format_size(char buf[static SIZE_LEN], __u64 bytes);
/* "12 s", "5 min", "3 h", "2 d" */
const char *format_duration(char buf[static DURATION_LEN], __u64 ns);

/* CLOCK_MONOTONIC, as bpf_ktime_get_ns() has it. */
__u64 now_ns(void);
/* What lies between; 0 when `then` is later (another CPU was quicker). */
__u64 ns_since(__u64 now, __u64 then);
double seconds(__u64 ns);

/* Prints and releases. */
int print_json(json_t *json);

#endif
