// SPDX-License-Identifier: GPL-2.0-only
/*
 * Puts the socket of a stream into the sockmap; the proxy runs it, with the
 * stream's number as packet. Not when the connection is established: from then
 * on the socket's blocking reads return EAGAIN when they are woken for another
 * reason than data (tcp_msg_wait_data(), all kernels to 7.3; 1 of 20 after a
 * bulk send). A sender that is waited for, or waits for the network, is woken
 * so; one whose messages leave at once is not, and only he gains by the path.
 * What else wakes: the acknowledgement of a FIN, see unacknowledge().
 */
#include "suitable.h"

char _license[] SEC("license") = "GPL";

#define SOCK_NOSPACE	2 /* include/linux/net.h: a number, not an enum */
#define TCP_ESTABLISHED 1

/* Nothing is waiting to be sent, and nobody to send. */
static __always_inline bool at_ease(void *full)
{
	struct tcp_sock *tp = full;
	struct sock *sk = full;
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	return BPF_CORE_READ(tp, write_seq) == BPF_CORE_READ(tp, snd_nxt) &&
	       socket && !(BPF_CORE_READ(socket, flags) >> SOCK_NOSPACE & 1);
}

static __always_inline int enrol(struct bpf_sock *sk, struct shunt_stream *s,
				 __u32 number)
{
	void *full = bpf_skc_to_tcp_sock(sk);
	__u32 *of = bpf_sk_storage_get(&stream_of, sk, NULL, 0);

	if (!full || !of || *of != number || sk->state != TCP_ESTABLISHED ||
	    !at_ease(full))
		return SHUNT_ENROL_LATER;
	if (unsuitable(full)) {
		s->excluded = 1;
		return SHUNT_ENROL_NEVER;
	}
	return bpf_map_update_elem(&message_socks, &number, sk, BPF_ANY)
		       ? SHUNT_ENROL_LATER
		       : SHUNT_ENROL_DONE;
}

SEC("tc")
int shunt_msg_enrol(struct __sk_buff *skb)
{
	const struct shunt_key *k;
	struct bpf_sock_tuple tuple = {};
	__u32 number, size = sizeof(tuple.ipv6);
	struct shunt_stream *s;
	struct bpf_sock *sk;
	int result = SHUNT_ENROL_LATER;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &number, sizeof(number)))
		return SHUNT_ENROL_NEVER;
	s = bpf_map_lookup_elem(&streams, &number);
	if (!s || s->life != SHUNT_STREAM_OPEN)
		return SHUNT_ENROL_NEVER;
	k = &s->key;
	/* The tuple is as in a packet that comes in. */
	if (k->remote.w[2] == bpf_htonl(0xffff) && !k->remote.w[0] &&
	    !k->remote.w[1]) {
		tuple.ipv4.saddr = k->remote.w[3];
		tuple.ipv4.daddr = k->local.w[3];
		tuple.ipv4.sport = k->rport;
		tuple.ipv4.dport = k->lport;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &k->remote, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &k->local, 16);
		tuple.ipv6.sport = k->rport;
		tuple.ipv6.dport = k->lport;
	}
	sk = size == sizeof(tuple.ipv4)
		     ? bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4),
					 BPF_F_CURRENT_NETNS, 0)
		     : bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6),
					 BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return SHUNT_ENROL_NEVER;
	result = enrol(sk, s, number);
	bpf_sk_release(sk);
	return result;
}
