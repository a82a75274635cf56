// SPDX-License-Identifier: GPL-2.0-only
/*
 * setsockopt() on a connection with a stream: options that psock delivery would
 * break. Those that are set before it is established: enrol.h.
 */
#include "message.h"

char _license[] SEC("license") = "GPL";

#define SOL_SOCKET  1
#define SO_RCVLOWAT 18
#define SO_ZEROCOPY 60
#define SOL_TCP	    6
#define TCP_ULP	    31

/* Has it left TCP, or may it at any moment, in either direction? */
static __always_inline bool promoted(const struct shunt_stream *s)
{
	return s->tx == SHUNT_STX_ON || s->tx_based || s->rx != SHUNT_SRX_TCP;
}

/* 1: go on, 0: EPERM */
static __always_inline int decide(struct bpf_sockopt *ctx,
				  struct shunt_stream *s)
{
	int *value = ctx->optval;
	int set = 1;

	if ((void *)(value + 1) <= ctx->optval_end)
		set = *value;
	if (ctx->level == SOL_TCP && ctx->optname == TCP_ULP) {
		/* kTLS would find plain text in front of it. */
		if (promoted(s))
			return 0;
		s->excluded = 1;
	} else if (ctx->level == SOL_SOCKET && ctx->optname == SO_RCVLOWAT) {
		if (set > 1)
			s->excluded = 1;
	} else if (ctx->level == SOL_SOCKET && ctx->optname == SO_ZEROCOPY) {
		/* What a sockmap's socket sends is copied, its completions
		 * never come; without the option nobody waits for them. */
		return !set;
	}
	return 1;
}

SEC("cgroup/setsockopt")
int shunt_setsockopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct shunt_stream *s;
	__u32 *of, number;
	int verdict = 1;

	of = sk ? bpf_sk_storage_get(&stream_of, sk, NULL, 0) : NULL;
	if (of) {
		number = *of;
		s = bpf_map_lookup_elem(&streams, &number);
		if (number && s)
			verdict = decide(ctx, s);
	}
	/* The caller's buffer, whole: the kernel has shown us one page of it,
	 * and would refuse a longer one (d8fe449a9c51). */
	ctx->optlen = 0;
	return verdict;
}
