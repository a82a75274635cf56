// SPDX-License-Identifier: GPL-2.0-only
/*
 * The BPF half of the copying proxy (copying.c): SOCK_OPS puts connections with
 * the peer into a SOCKHASH, one SK_MSG program redirects what they send to the
 * proxy, another what the proxy sends to them.
 */
#include "copying.h"

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

const volatile struct copying_config config;

struct copying_counts counts; /* the only thing in .bss */

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct copying_key);
	__type(value, __u64);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} redirection SEC(".maps");

/* A dual-stack socket says AF_INET6, and has the IPv4 addresses all the same;
 * one of IPv6 proper has 127.0.0.6 there. */
static __always_inline int ours(struct bpf_sock_ops *ctx)
{
	return bpf_get_netns_cookie(ctx) == config.netns &&
	       ctx->local_ip4 == config.local && ctx->remote_ip4 == config.peer;
}

SEC("sockops")
int copying_sock_ops(struct bpf_sock_ops *ctx)
{
	struct copying_key key;

	if ((ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	     ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) ||
	    !ours(ctx))
		return 1;
	key.local = ctx->local_port;
	key.remote = bpf_ntohl(ctx->remote_port);
	if (bpf_sock_hash_update(ctx, &connections, &key, BPF_ANY))
		__sync_fetch_and_add(&counts.enrol_failed, 1);
	return 1;
}

SEC("sk_msg")
int copying_redirect(struct sk_msg_md *msg)
{
	struct copying_header *h,
		header = {
			.magic = COPYING_MAGIC,
			.key =
				{
					.local = msg->local_port,
					.remote = bpf_ntohl(msg->remote_port),
				},
			.length = msg->size,
		};

	if (bpf_msg_push_data(msg, 0, sizeof(*h), 0))
		goto tcp;
	h = msg->data;
	if ((void *)(h + 1) > msg->data_end)
		return SK_DROP; /* never: it is a page of its own */
	*h = header;
	return bpf_msg_redirect_map(msg, &redirection, 0, BPF_F_INGRESS);
tcp:
	__sync_fetch_and_add(&counts.not_redirected, 1);
	return SK_PASS;
}

SEC("sk_msg")
int copying_deliver(struct sk_msg_md *msg)
{
	struct copying_header header, *h = msg->data;
	struct copying_key key;

	if ((void *)(h + 1) > msg->data_end) {
		bpf_msg_pull_data(msg, 0, sizeof(*h), 0);
		h = msg->data;
		if ((void *)(h + 1) > msg->data_end)
			goto refuse;
	}
	header = *h;
	key.local = header.key.remote;
	key.remote = header.key.local;
	if (header.magic != COPYING_MAGIC ||
	    bpf_msg_redirect_hash(msg, &connections, &key, BPF_F_INGRESS) !=
		    SK_PASS)
		goto refuse;
	if (bpf_msg_pop_data(msg, 0, sizeof(*h), 0))
		return SK_DROP;
	bpf_msg_apply_bytes(msg, header.length);
	return SK_PASS;
refuse:
	/* To the far end of the proxy's socket, which takes it away. */
	bpf_msg_apply_bytes(msg, 0);
	__sync_fetch_and_add(&counts.refused, 1);
	return SK_PASS;
}
