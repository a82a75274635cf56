// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks how far the application has read what TCP brought, or
 * puts the socket of a stream into the sockmap: of the one whose number the
 * proxy has written into its state before it reads this iterator. (Of the
 * program types that kernels from 6.1 to 7.3 let do that, the iterators are
 * what they have in common; this one sees only sockets with a stream.) Not when
 * the connection is established: from then on the socket's blocking reads
 * return EAGAIN when they are woken for another reason than data
 * (tcp_msg_wait_data(), all kernels to 7.3; 1 of 20 after a bulk send). A
 * sender that is waited for, or waits for the network, is woken so; one whose
 * messages leave at once is not, and only he gains by the path. What else
 * wakes: the acknowledgement of a FIN, see unacknowledge().
 */
#include "suitable.h"

char _license[] SEC("license") = "GPL";

#define SOCK_NOSPACE		  2 /* include/linux/net.h: a number, not an enum */
#define TCP_ESTABLISHED		  1
#define TCP_CHRONO_SNDBUF_LIMITED 3 /* include/net/tcp.h */

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct sock *sk;
	__u32 *value;
} __attribute__((preserve_access_index));

/* Nothing is waiting to be sent, and nobody to send; nor is anybody just in a
 * call. */
static __always_inline bool at_ease(void *full)
{
	struct tcp_sock *tp = full;
	struct sock *sk = full;
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	return !BPF_CORE_READ(sk, sk_lock.owned) &&
	       !BPF_CORE_READ(sk, sk_write_pending) &&
	       BPF_CORE_READ(tp, write_seq) == BPF_CORE_READ(tp, snd_nxt) &&
	       socket && !(BPF_CORE_READ(socket, flags) >> SOCK_NOSPACE & 1);
}

/* Has a send had to wait for room since this was asked last? Then others will,
 * and what wakes them may wake a reader. */
static __always_inline bool has_waited(struct shunt_stream *s, void *full)
{
	struct tcp_sock *tp = full;
	__u32 was = s->tx_full;

	s->tx_full =
		BPF_CORE_READ(tp, chrono_stat[TCP_CHRONO_SNDBUF_LIMITED - 1]);
	return s->tx_full != was;
}

static __always_inline enum shunt_enrol look(struct sock *sk, __u32 number)
{
	struct shunt_stream *s = bpf_map_lookup_elem(&streams, &number);

	if (s)
		s->rx_copied = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	return SHUNT_ENROL_DONE;
}

#define SK_USER_DATA_PSOCK 4UL /* include/net/sock.h */
#define SK_USER_DATA_FLAGS 7UL

struct sk_psock {
	__u32 msg_tot_len;
} __attribute__((preserve_access_index));

/*
 * What is still to be read, where the kernel counts that (7.3, and some
 * before). The counting of msg_reader.bpf.c misses reads if its program is
 * active on the CPU already: half of them, once.
 */
static __always_inline void look_for_queued(struct sock *sk, __u32 number,
					    __u32 asked)
{
	struct shunt_stream *s = bpf_map_lookup_elem(&streams, &number);
	unsigned long user = (unsigned long)BPF_CORE_READ(sk, sk_user_data);
	struct sk_psock *psock = (void *)(user & ~SK_USER_DATA_FLAGS);

	if (!s || s->loop != SHUNT_ENROL_QUEUED_LOOP(asked) ||
	    !(user & SK_USER_DATA_PSOCK) ||
	    !bpf_core_field_exists(psock->msg_tot_len))
		return;
	s->rx_queued = BPF_CORE_READ(psock, msg_tot_len);
	s->rx_look = asked;
}

static __always_inline enum shunt_enrol enrol(struct sock *sk, __u32 number)
{
	struct shunt_stream *s = bpf_map_lookup_elem(&streams, &number);
	int err;

	if (!s || s->life != SHUNT_STREAM_OPEN)
		return SHUNT_ENROL_NEVER;
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_ESTABLISHED ||
	    !at_ease(sk))
		return SHUNT_ENROL_LATER;
	if (s->excluded || unsuitable(sk)) {
		s->excluded = 1;
		return SHUNT_ENROL_NEVER;
	}
	if (has_waited(s, sk))
		return SHUNT_ENROL_LATER;
	/* Of when it was in before. The proxy, which has tx_open, waits. */
	s->primed = s->tx_held = s->tx_resumed = 0;
	s->tx_open = 0;
	/* Said before it is so, and asked again behind it: a setsockopt() at
	 * this moment is refused, or is seen here (sockopt.bpf.c). */
	s->enrolled = 1;
	err = bpf_map_update_elem(&message_socks, &number, sk, BPF_ANY);
	if (!err && !s->excluded)
		return SHUNT_ENROL_DONE;
	if (!err)
		bpf_map_delete_elem(&message_socks, &number);
	s->enrolled = 0;
	return err ? SHUNT_ENROL_LATER : SHUNT_ENROL_NEVER;
}

SEC("iter/bpf_sk_storage_map")
int shunt_msg_enrol(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct shunt_proxy *p = message_proxy_state();
	struct sock *sk = ctx->sk;
	__u32 *value = ctx->value, number, result;

	if (!sk || !value || !p)
		return 0;
	number = *value;
	if (!number)
		return 0;
	if (p->enrol & SHUNT_ENROL_QUEUED) {
		look_for_queued(sk, number, p->enrol);
		return 0;
	}
	if (number != (__u32)p->enrol)
		return 0;
	result = p->enrol & SHUNT_ENROL_LOOK ? look(sk, number)
					     : enrol(sk, number);
	bpf_seq_write(ctx->meta->seq, &result, sizeof(result));
	return 0;
}
