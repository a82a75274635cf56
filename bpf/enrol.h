/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SOCK_OPS: gives a connection a stream on the message path, and takes it. Its
 * socket enters the sockmap later, see msg_enrol.bpf.c.
 */
#ifndef ENROL_H
#define ENROL_H

#include "flow.h"
#include "suitable.h"

/* The handshake of this very connection, if it has agreed on the path. */
static __always_inline struct shunt_handshake *agreed(const struct shunt_key *k,
						      __u32 first)
{
	struct shunt_handshake *hs = bpf_map_lookup_elem(&handshakes, k);

	if (!hs || hs->path != SHUNT_PATH_MESSAGE ||
	    hs->isn_remote + 1 != first)
		return NULL;
	if (hs->stage == SHUNT_HS_DONE || hs->stage == SHUNT_HS_ANSWERED)
		return hs;
	return NULL;
}

/*
 * The hooks on packets have to know what waits for the stream, so there is a
 * flow from the beginning. A passive one's peer has not shown yet that it took
 * our answer, only that it is there.
 */
static __always_inline struct shunt_flow *
flow_for_stream(const struct shunt_key *k, struct shunt_handshake *hs)
{
	__u32 slot = 0;
	struct shunt_flow *f = flow_indexed(k, &slot);

	if (!f && hs->stage == SHUNT_HS_ANSWERED) {
		slot = flow_create(k, hs, now_ns(), false);
		f = bpf_map_lookup_elem(&flows, &slot);
	}
	return slot && f && f->token_local == hs->token_local ? f : NULL;
}

static __always_inline int open_as(struct bpf_sock_ops *ctx,
				   const struct shunt_key *k,
				   const struct shunt_flow *f, __u32 number,
				   __u32 first, __u32 loops)
{
	struct shunt_stream *s = bpf_map_lookup_elem(&streams, &number);
	struct bpf_sock *sk = ctx->sk;
	__u32 *of;

	if (!s || !sk)
		return -1;
	__builtin_memset(s, 0, offsetof(struct shunt_stream, starts));
	s->key = *k;
	s->token_local = f->token_local;
	s->token_remote = f->token_remote;
	s->role = f->role;
	s->transport = f->transport;
	s->loop = shunt_loop_of(&k->local, &k->remote, loops);
	s->rx_copied = first;
	of = bpf_sk_storage_get(&stream_of, sk, NULL,
				BPF_SK_STORAGE_GET_F_CREATE);
	if (!of)
		return -1;
	*of = number;
	if (bpf_map_update_elem(&stream_index, k, &number, BPF_ANY))
		return -1;
	s->life = SHUNT_STREAM_OPEN;
	return 0;
}

/* A connection is established. Whatever goes wrong, it stays on the segment
 * path; the peer's proxy then never hears of it. */
static __always_inline void enrol(struct bpf_sock_ops *ctx,
				  const struct shunt_key *k)
{
	struct shunt_scratch *scratch = shunt_scratch();
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? (void *)bpf_skc_to_tcp_sock(sk) : NULL;
	enum shunt_counter failed = SHUNT_CNT_MSG_FAILED;
	struct shunt_proxy *proxy = message_proxy_state();
	struct shunt_handshake *hs;
	struct shunt_flow *f;
	__u32 number = 0, first;

	if (!tp || !proxy || !proxy->up)
		return;
	first = BPF_CORE_READ(tp, copied_seq);
	hs = agreed(k, first);
	if (!hs)
		return;
	if (unsuitable(tp)) {
		failed = SHUNT_CNT_MSG_EXCLUDED;
	} else if (bpf_map_pop_elem(&message_free, &number)) {
		failed = SHUNT_CNT_MSG_NO_STREAM;
	} else {
		f = flow_for_stream(k, hs);
		if (f && number &&
		    !open_as(ctx, k, f, number, first, proxy->loops)) {
			bpf_sock_ops_cb_flags_set(
				ctx, ctx->bpf_sock_ops_cb_flags |
					     BPF_SOCK_OPS_RTT_CB_FLAG);
			shunt_count(scratch, SHUNT_CNT_MSG_STREAM);
			message_event(SHUNT_EV_ENROLLED, number);
			return;
		}
		if (number)
			bpf_map_push_elem(&message_free, &number, 0);
	}
	shunt_count(scratch, failed);
	hs->path = SHUNT_PATH_SEGMENT;
	f = flow_indexed(k, &number);
	if (f)
		f->path = SHUNT_PATH_SEGMENT;
}

/* shutdown(SHUT_WR), not close() or SHUT_RDWR. */
static __always_inline bool still_reads(struct bpf_sock *sk)
{
	struct sock *full = (void *)bpf_skc_to_tcp_sock(sk);

	return full && BPF_CORE_READ(full, sk_shutdown) == SEND_SHUTDOWN;
}

/* The stream of a socket and where its number is kept, or NULL. */
static __always_inline struct shunt_stream *
stream_of_socket(struct bpf_sock *sk, __u32 **of)
{
	__u32 number;

	*of = sk ? bpf_sk_storage_get(&stream_of, sk, NULL, 0) : NULL;
	if (!*of || !**of)
		return NULL;
	number = **of;
	return bpf_map_lookup_elem(&streams, &number);
}

#define SOL_TCP		      6
#define TCP_INFINITE_SSTHRESH 0x7fffffff /* include/net/tcp.h */

/*
 * What TCP sends again after a demotion has been acknowledged. Each drop of
 * late_out was a full device to it, so it has halved what was a first window of
 * ten segments, and would grow from there by one per round trip: 11 MB took
 * 8 s at 50 ms. It is to find out what the path can do, as at the start. The
 * option sets the threshold of slow start as well.
 */
static __always_inline void stream_resumes(struct bpf_sock_ops *ctx)
{
	int infinite = TCP_INFINITE_SSTHRESH;
	struct shunt_stream *s;
	__u32 *of;

	s = stream_of_socket(ctx->sk, &of);
	if (!s || !s->tx_open)
		return;
	/* It may come in again if it has not been promoted. */
	if (s->tx_based || s->excluded)
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags &
						  ~BPF_SOCK_OPS_RTT_CB_FLAG);
	if (s->tx_resumed)
		return;
	s->tx_resumed = 1;
	bpf_setsockopt(ctx, SOL_TCP, TCP_BPF_SNDCWND_CLAMP, &infinite,
		       sizeof(infinite));
}

/*
 * The application has shut down or closed: no message can come any more. Or the
 * connection has ended.
 */
static __always_inline void stream_state(struct bpf_sock_ops *ctx,
					 const struct shunt_key *k, __u32 state)
{
	struct bpf_sock *sk = ctx->sk;
	struct shunt_stream *s;
	__u32 *of, number;

	s = stream_of_socket(sk, &of);
	if (!sk || !s)
		return;
	number = *of;
	s->shut = still_reads(sk);
	s->tx = SHUNT_STX_OFF;
	if (state != BPF_TCP_CLOSE) {
		message_event(SHUNT_EV_CLOSING, number);
	} else {
		s->life = SHUNT_STREAM_CLOSED;
		bpf_map_delete_elem(&stream_index, k);
		*of = 0;
		message_event(SHUNT_EV_CLOSED, number);
	}
}

#endif
