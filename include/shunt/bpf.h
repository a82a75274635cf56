/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every BPF object of ours has: the maps that pass a packet from a hook to
 * a transport and back, counters, small helpers. Maps are __weak so that the
 * objects of the hooks can be linked into one; a transport's are bound to the
 * pinned ones of the instance by name.
 */
#ifndef SHUNT_BPF_H
#define SHUNT_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include <shunt/shared.h>

#ifndef TC_ACT_UNSPEC
#define TC_ACT_UNSPEC (-1) /* go on with the next program: not our packet */
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct shunt_scratch);
} scratch SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SHUNT_TAIL_MAX);
	__uint(key_size, 4);
	__uint(value_size, 4);
} stages SEC(".maps") __weak;

static __always_inline struct shunt_scratch *shunt_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline void shunt_count(struct shunt_scratch *s,
					enum shunt_counter c)
{
	if (s)
		s->counters[c]++;
}

/*
 * Tail call by transport number. A constant index lets the JIT patch in a
 * direct jump, where a variable one goes through a retpoline: worth a compare
 * for the transports that most flows use. Returns if the transport has no
 * program.
 */
#define shunt_tail_call(ctx, map, number)                              \
	do {                                                           \
		if ((number) == SHUNT_UDP)                             \
			bpf_tail_call_static(ctx, map, SHUNT_UDP);     \
		else if ((number) == SHUNT_UDPLITE)                    \
			bpf_tail_call_static(ctx, map, SHUNT_UDPLITE); \
		else                                                   \
			bpf_tail_call(ctx, map, number);               \
	} while (0)

/* Ones' complement sums (RFC 1071): of 16-bit words as they are in memory, so
 * that the byte order does not matter, added up in any unit. */
static __always_inline __u16 shunt_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Folded sum of an IPv4 header without options; 0xffff when it is intact. */
static __always_inline __u16 shunt_sum20(const void *header)
{
	const __u32 *w = header;

	return shunt_fold((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
}

#endif
