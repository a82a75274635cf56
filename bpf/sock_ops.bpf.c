// SPDX-License-Identifier: GPL-2.0-only
/*
 * SOCK_OPS: decides the policy when an application connects, in its context, so
 * that its cgroup can be matched, and hears when a connection ends. Attached to
 * a cgroup, it sees sockets of every network namespace: ours are told by
 * cookie.
 */
#include "enrol.h"
#include "flow.h"
#include "policy.h"

#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "GPL";

const volatile __u64 cfg_netns_cookie = 0;
const volatile __u32 cfg_max_flows = SHUNT_MAX_FLOWS;
const volatile __u64 cfg_idle_ns = SHUNT_IDLE_NS; /* tests lower it */
const volatile __u64 cfg_secret[2] = {};
const volatile bool cfg_message_path = true;

#ifndef AF_INET
#define AF_INET	 2
#define AF_INET6 10
#endif

/* Just enough of the kernel's types to find a socket's cgroup; BTF relocates
 * the offsets. SOCK_OPS has no helper for it, unlike the hooks that see skbs.
 */
struct kernfs_node {
	__u64 id;
} __attribute__((preserve_access_index));

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[]; /* 7f203bc89eb6 (6.1) */
} __attribute__((preserve_access_index));

struct sock_cgroup_data {
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct sock___cgroup {
	struct sock_cgroup_data sk_cgrp_data;
} __attribute__((preserve_access_index));

static __u64 ancestor_id(const struct policy_cgroup *c, __u32 level)
{
	struct cgroup *cg = NULL;

	if (!c->ancestors || level > c->level)
		return 0;
	bpf_probe_read_kernel(&cg, sizeof(cg),
			      (void *)(c->ancestors + level * sizeof(cg)));
	return cg ? BPF_CORE_READ(cg, kn, id) : 0;
}

static long connect_step(__u32 i, struct policy_query *q)
{
	return policy_rule(i, q, ancestor_id);
}

static __always_inline void find_cgroup(struct bpf_sock_ops *ctx,
					struct policy_cgroup *c)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock___cgroup *full =
		sk ? (void *)bpf_skc_to_tcp_sock(sk) : NULL;
	struct cgroup *cg;

	if (!full)
		return;
	cg = BPF_CORE_READ(full, sk_cgrp_data.cgroup);
	if (!cg)
		return;
	c->level = BPF_CORE_READ(cg, level);
	c->ancestors =
		(__u64)cg + bpf_core_field_offset(struct cgroup, ancestors);
}

/* Read a field of the context now and here: the compiler would rather compute
 * the field's address first, which the verifier forbids. */
#define READ_CTX(field)                      \
	({                                   \
		__u32 v_ = (field);          \
		asm volatile("" : "+r"(v_)); \
		v_;                          \
	})

static __always_inline int sock_key(struct bpf_sock_ops *ctx,
				    struct shunt_key *k)
{
	k->lport = bpf_htons(ctx->local_port);
	k->rport = bpf_htons(bpf_ntohl(ctx->remote_port));
	if (ctx->family == AF_INET) {
		k->local.w[0] = k->local.w[1] = 0;
		k->remote.w[0] = k->remote.w[1] = 0;
		k->local.w[2] = k->remote.w[2] = bpf_htonl(0xffff);
		k->local.w[3] = READ_CTX(ctx->local_ip4);
		k->remote.w[3] = READ_CTX(ctx->remote_ip4);
		return 0;
	}
	if (ctx->family != AF_INET6)
		return -1;
	k->local.w[0] = READ_CTX(ctx->local_ip6[0]);
	k->local.w[1] = READ_CTX(ctx->local_ip6[1]);
	k->local.w[2] = READ_CTX(ctx->local_ip6[2]);
	k->local.w[3] = READ_CTX(ctx->local_ip6[3]);
	k->remote.w[0] = READ_CTX(ctx->remote_ip6[0]);
	k->remote.w[1] = READ_CTX(ctx->remote_ip6[1]);
	k->remote.w[2] = READ_CTX(ctx->remote_ip6[2]);
	k->remote.w[3] = READ_CTX(ctx->remote_ip6[3]);
	return 0;
}

/* Connections within the host leave by no device of ours. */
static __always_inline bool is_loopback(const struct shunt_addr *a)
{
	if (is_v4(a))
		return bpf_ntohl(a->w[3]) >> 24 == 127;
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == bpf_htonl(1);
}

/* Note what the policy wants; the SYN that follows finds it at TC egress. */
static __always_inline void on_connect(struct bpf_sock_ops *ctx,
				       const struct shunt_key *k)
{
	struct policy_query q = {.remote = k->remote,
				 .port = bpf_ntohs(k->rport)};
	__u64 now = now_ns();
	struct shunt_handshake hs = {
		.created_ns = now,
		.stage = SHUNT_HS_INTENT,
		.role = SHUNT_ROLE_ACTIVE,
	};
	struct shunt_peer *p;

	find_cgroup(ctx, &q.cgroup);
	policy_decide(&q, connect_step);
	hs.wish = q.wish;
	hs.transport = q.wish.transports[0];
	if (hs.transport == SHUNT_TCP) {
		hs.stage = SHUNT_HS_REFUSED;
		hs.reason = SHUNT_REASON_POLICY;
		count_reason(hs.reason);
	} else {
		struct shunt_peer_key pk = {.addr = k->remote};

		shunt_count(shunt_scratch(), SHUNT_CNT_CONNECT);
		p = bpf_map_lookup_elem(&peers, &pk);
		if (p && p->muted_until_ns > now) {
			hs.stage = SHUNT_HS_REFUSED;
			hs.reason = SHUNT_REASON_MUTED;
			count_reason(hs.reason);
		}
	}
	bpf_map_update_elem(&handshakes, k, &hs, BPF_ANY);
}

static __always_inline void on_close(const struct shunt_key *k)
{
	struct shunt_scratch *s = shunt_scratch();
	__u32 slot;
	struct shunt_flow *f = s ? flow_find(s, k, &slot) : NULL;

	/* The slot keeps serving what TIME_WAIT still has to say, until a new
	 * flow needs it. */
	if (f)
		f->life = SHUNT_ENDED;
	bpf_map_delete_elem(&handshakes, k);
}

static __always_inline int sock_ops(struct bpf_sock_ops *ctx,
				    const bool messages)
{
	struct shunt_key k KEY_ALIGNED;
	__u32 state = 0;

	/* Called many times per connection: first what costs nothing. */
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		break;
	case BPF_SOCK_OPS_RTT_CB:
		if (messages)
			stream_resumes(ctx);
		return 1;
	case BPF_SOCK_OPS_STATE_CB:
		state = ctx->args[1];
		if (state == BPF_TCP_CLOSE || state == BPF_TCP_FIN_WAIT1 ||
		    state == BPF_TCP_LAST_ACK)
			break;
		return 1;
	default:
		return 1;
	}
	if (bpf_get_netns_cookie(ctx) != cfg_netns_cookie || sock_key(ctx, &k))
		return 1;
	if (ctx->op == BPF_SOCK_OPS_STATE_CB) {
		if (messages)
			stream_state(ctx, &k, state);
		if (state == BPF_TCP_CLOSE)
			on_close(&k);
		return 1;
	}
	if (is_loopback(&k.remote) || is_control(&k))
		return 1;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		on_connect(ctx, &k);
	else if (messages)
		enrol(ctx, &k);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
					       BPF_SOCK_OPS_STATE_CB_FLAG);
	return 1;
}

SEC("sockops")
int shunt_sock_ops(struct bpf_sock_ops *ctx)
{
	return sock_ops(ctx, false);
}

/* With the message path: three times as large. */
SEC("sockops")
int shunt_msg_sock_ops(struct bpf_sock_ops *ctx)
{
	return sock_ops(ctx, true);
}
