/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A blocking send that TCP would make wait for room, on a socket that is in the
 * sockmap and not promoted. When there is room, TCP wakes whoever waits on the
 * socket, at some acknowledgement after the send has returned, too; and a read
 * that blocks then returns EAGAIN (tcp_msg_wait_data(), all kernels to 7.3). So
 * TCP keeps what it can't send at once, by late_out(), and the writer with it,
 * until the socket has left the sockmap: behind that send, the application
 * finds TCP's own recvmsg(). It may come in again, behind its peer's.
 */
#ifndef CROWD_H
#define CROWD_H

#include "suitable.h"

#define O_NONBLOCK 04000 /* include/uapi/asm-generic/fcntl.h */

/* Behind these, no room can be missing: the headers of the socket buffers that
 * it is cut into, some 1.3 KB for each 32 KB, and the last one begun. */
#define CROWD_SLACK(size) ((size) / 16 + 8192)

static __always_inline bool blocks(struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	return socket && !(BPF_CORE_READ(socket, file, f_flags) & O_NONBLOCK);
}

/* sk_stream_memory_free() behind it, but for net.ipv4.tcp_notsent_lowat. */
static __always_inline bool has_to_wait(struct tcp_sock *tp, struct sock *sk,
					__u32 size)
{
	__u32 lowat = BPF_CORE_READ(tp, notsent_lowat);
	__u32 unsent =
		BPF_CORE_READ(tp, write_seq) - BPF_CORE_READ(tp, snd_nxt);
	__s64 room = (__s64)BPF_CORE_READ(sk, sk_sndbuf) -
		     BPF_CORE_READ(sk, sk_wmem_queued);

	return (__s64)size + CROWD_SLACK(size) > room ||
	       (lowat && (__u64)unsent + size >= lowat);
}

/* A message that goes by TCP; the socket is locked. */
static __always_inline void look_for_room(struct shunt_stream *s, __u32 number,
					  struct bpf_sock *sk, __u32 size)
{
	struct tcp_sock *tp;

	/* Not enrolled: what is left of a send that began when it was. */
	if (s->tx_based || s->tx_held || !s->enrolled)
		return;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	if (!tp || !has_to_wait(tp, (void *)tp, size) || !blocks((void *)tp))
		return;
	s->tx_base = BPF_CORE_READ(tp, snd_nxt);
	s->tx_held = 1;
	__sync_lock_test_and_set(&s->tx, SHUNT_STX_OFF);
	message_event(SHUNT_EV_CROWDED, number);
}

#endif
