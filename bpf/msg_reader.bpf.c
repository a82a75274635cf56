// SPDX-License-Identifier: GPL-2.0-only
/*
 * How far the application has read: TCP's bytes, which delivery waits for, and
 * the path's, which credit follows. No socket statistic has it.
 */
#include "message.h"

char _license[] SEC("license") = "GPL";

#define MSG_PEEK     0x2
#define MSG_ERRQUEUE 0x2000

struct sock {
	void *sk_bpf_storage;
} __attribute__((preserve_access_index));

static __always_inline void count_read(struct sock *sk, int result, int flags)
{
	struct shunt_stream *s;
	__u32 *of, number, copied;

	if (result <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE))
		return;
	if (!sk->sk_bpf_storage)
		return; /* as most of those that the tracepoint sees */
	of = bpf_sk_storage_get(&stream_of, sk, NULL, 0);
	if (!of)
		return;
	number = *of;
	s = bpf_map_lookup_elem(&streams, &number);
	if (!number || !s)
		return;
	/* One call returns TCP's bytes or the path's, never both, and only
	 * TCP's move copied_seq. */
	copied = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	if (copied != s->rx_copied)
		s->rx_copied = copied;
	else
		__sync_fetch_and_add(&s->rx_read, result);
}

/* Of enrolled sockets only. The number of arguments has changed before and will
 * again, so the result is asked for by a helper. */
SEC("fexit/tcp_bpf_recvmsg")
int shunt_msg_reader(__u64 *ctx)
{
	__u64 result = 0;

	if (!bpf_get_func_ret(ctx, &result))
		count_read((struct sock *)ctx[0], result, ctx[3]);
	return 0;
}

/* Of all sockets there are, where fexit is not to be had: 6e6eda44b939 (6.3).
 */
SEC("tp_btf/sock_recv_length")
int shunt_msg_reader_tp(__u64 *ctx)
{
	count_read((struct sock *)ctx[0], ctx[1], ctx[2]);
	return 0;
}
