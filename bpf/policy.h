/* SPDX-License-Identifier: GPL-2.0-only */
/* Which transports a connection may get: first matching rule, else the default.
 */
#ifndef POLICY_H
#define POLICY_H

#include "maps.h"

/* The cgroup of a connecting socket, or nothing to match (a connection that we
 * accept: the packet does not say whose it will be). */
struct policy_cgroup {
	__u64 ancestors; /* kernel address of cgroup.ancestors[], 0: none */
	__u32 level;
};

struct policy_query {
	struct shunt_addr remote;
	struct policy_cgroup cgroup;
	__u32 base; /* first index of the active half */
	__u16 port; /* of the service, host order */
	struct shunt_wish wish;
};

/* Reads the id of an ancestor; NULL where there is no cgroup to ask about. */
typedef __u64 (*ancestor_fn)(const struct policy_cgroup *c, __u32 level);

static __always_inline bool prefix_match(const struct shunt_addr *a,
					 const struct shunt_rule *r)
{
	int bits = r->prefix_len;

#pragma unroll
	for (int i = 0; i < 4; i++, bits -= 32) {
		__u32 diff = bpf_ntohl(a->w[i] ^ r->remote.w[i]);

		if (bits <= 0)
			return true;
		if (bits < 32)
			diff >>= (32 - bits) & 31;
		if (diff)
			return false;
	}
	return true;
}

static __always_inline long policy_rule(__u32 i, struct policy_query *q,
					ancestor_fn ancestor)
{
	__u32 index = q->base + i;
	struct shunt_rule *r = bpf_map_lookup_elem(&rules, &index);

	if (!r || q->port < r->port_lo || q->port > r->port_hi ||
	    !prefix_match(&q->remote, r))
		return 0;
	if (r->cgroup &&
	    (!ancestor || ancestor(&q->cgroup, r->cgroup_level) != r->cgroup))
		return 0;
	q->wish = r->wish;
	return 1; /* ends bpf_loop */
}

/* Fill the wish. `step` is a bpf_loop callback around policy_rule. */
static __always_inline void policy_decide(struct policy_query *q, void *step)
{
	__u32 zero = 0, half;
	struct shunt_settings *s = bpf_map_lookup_elem(&settings, &zero);

	__builtin_memset(&q->wish, 0, sizeof(q->wish)); /* SHUNT_TCP */
	if (!s)
		return;
	half = s->rules_half & 1;
	q->base = half * SHUNT_MAX_RULES;
	q->wish = s->wish;
	bpf_loop(half ? s->n_rules[1] : s->n_rules[0], step, q, 0);
}

#endif
