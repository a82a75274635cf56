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

/* Does it ask for what a socket in a sockmap can't do? */
static __always_inline bool matters(const struct bpf_sockopt *ctx)
{
	int *value = ctx->optval;
	int set = 1;

	if ((void *)(value + 1) <= ctx->optval_end)
		set = *value;
	if (ctx->level == SOL_TCP)
		return ctx->optname == TCP_ULP;
	return ctx->level == SOL_SOCKET &&
	       ((ctx->optname == SO_RCVLOWAT && set > 1) ||
		(ctx->optname == SO_ZEROCOPY && set));
}

/*
 * Stays on TCP from now on; false: too late for that. kTLS would find plain
 * text in front of it. What a sockmap's socket sends is copied, and completions
 * of MSG_ZEROCOPY never come; without the option nobody waits for them.
 */
static __always_inline bool exclude(const struct bpf_sockopt *ctx,
				    struct shunt_stream *s)
{
	const bool tls = ctx->level == SOL_TCP;
	/* Not while it is in the sockmap */
	const bool never = tls || ctx->optname == SO_ZEROCOPY;

	if ((tls && promoted(s)) || (never && s->enrolled))
		return false;
	s->excluded = SHUNT_DEMOTED_OPTION;
	/* It may just be coming in: a full barrier, as there (msg_enrol.bpf.c),
	 * so that one of us sees the other. */
	__sync_fetch_and_add(&s->tx, 0);
	return !never || !s->enrolled;
}

SEC("cgroup/setsockopt")
int shunt_setsockopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct shunt_stream *s;
	__u32 *of, number;
	int verdict = 1; /* 0: EPERM */

	of = sk ? bpf_sk_storage_get(&stream_of, sk, NULL, 0) : NULL;
	if (of) {
		number = *of;
		s = bpf_map_lookup_elem(&streams, &number);
		if (number && s && matters(ctx))
			verdict = exclude(ctx, s);
	}
	/* The caller's buffer, whole: the kernel has shown us one page of it,
	 * and would refuse a longer one (d8fe449a9c51). */
	ctx->optlen = 0;
	return verdict;
}
