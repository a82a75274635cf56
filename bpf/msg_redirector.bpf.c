// SPDX-License-Identifier: GPL-2.0-only
/*
 * SK_MSG on the applications' sockets: takes a message before TCP sees it, puts
 * a struct shunt_record in the place of its first bytes, or in front, and gives
 * it to the proxy's redirection socket. Runs with the socket locked, so a
 * stream's own fields need no atomics.
 */
#include "crowd.h"
#include "pressure.h"

char _license[] SEC("license") = "GPL";

/*
 * From here on messages take the path: all that TCP carries of this direction
 * is in front of tx_base. Only when TCP has sent all it had, else what a
 * demotion gives back to TCP would be appended to a segment that waits, and
 * could not be told from what was before it. That is a bulk sender, who is
 * better off where he is.
 */
static __always_inline void promote(struct shunt_stream *s, __u32 number,
				    struct bpf_sock *sk)
{
	struct tcp_sock *tp = (void *)bpf_skc_to_tcp_sock(sk);
	__u32 end;

	if (!tp)
		return;
	end = BPF_CORE_READ(tp, write_seq);
	if (end != BPF_CORE_READ(tp, snd_nxt))
		return;
	s->tx_base = end;
	/* Unless the proxy has thought better of it. */
	if (__sync_val_compare_and_swap(&s->tx, SHUNT_STX_READY,
					SHUNT_STX_ON) != SHUNT_STX_READY)
		return;
	s->tx_based = 1;
	message_event(SHUNT_EV_PROMOTED, number);
}

/*
 * The peer's socket is enrolled, but its application may still be blocked in
 * TCP's own recvmsg(), which does not see what is delivered to it: a message by
 * TCP wakes it. If that would have to wait for room, a segment of it; a full
 * one, as what is less would not be sent at once (MSG_MORE is set for it). And
 * not two, which TCP may keep, too (tcp_tso_should_defer()).
 */
static __always_inline bool prime(struct shunt_stream *s, struct sk_msg_md *msg,
				  struct bpf_sock *sk)
{
	struct tcp_sock *tp = (void *)bpf_skc_to_tcp_sock(sk);
	__u32 mss;

	s->primed = 1;
	if (!tp || !has_to_wait(tp, (void *)tp, msg->size))
		return false;
	mss = BPF_CORE_READ(tp, mss_cache);
	if (BPF_CORE_READ(tp, write_seq) != BPF_CORE_READ(tp, snd_nxt) ||
	    msg->size <= mss || has_to_wait(tp, (void *)tp, mss) ||
	    bpf_msg_apply_bytes(msg, mss))
		return false;
	s->tx_tcp += mss;
	return true;
}

/* What the proxy has released is in a line of its own, and only looked at when
 * what was seen there last is not enough. */
static __always_inline bool within(__u64 charged, const __u64 *released,
				   __u64 *seen, __u64 limit)
{
	if (charged - *seen <= limit)
		return true;
	*seen = *(const volatile __u64 *)released;
	return charged - *seen <= limit;
}

/* May so much more take the path? 0, or why not. */
static __always_inline int unwanted(struct shunt_stream *s,
				    struct shunt_proxy *p, struct bpf_sock *sk,
				    __u64 charge)
{
	if (!p || !p->up)
		return SHUNT_DEMOTED_PROXY;
	if (s->excluded)
		return s->excluded;
	if (!within(s->tx_charged + charge, &s->tx_released,
		    &s->tx_released_seen, p->stream_limit))
		return SHUNT_DEMOTED_STREAM;
	if (!within(p->charged + charge, &p->released, &p->released_seen,
		    p->total_limit))
		return SHUNT_DEMOTED_ALL;
	if (tcp_memory_is_short(sk, p))
		return SHUNT_DEMOTED_KERNEL;
	return 0;
}

/* Is there a place in `starts`? */
static __always_inline bool can_save(struct shunt_stream *s)
{
	if (s->tx_saved - s->tx_taken_seen < SHUNT_STARTS)
		return true;
	s->tx_taken_seen = *(volatile __u32 *)&s->tx_taken;
	return s->tx_saved - s->tx_taken_seen < SHUNT_STARTS;
}

/*
 * The record in the place of the message's first bytes, if these can be kept
 * where the proxy finds them. (What sendfile(2) sends can't be written to, and
 * is not seen here.) 0, or -1 with the message as it was.
 */
static __always_inline int put_record(struct sk_msg_md *msg,
				      struct shunt_stream *s,
				      struct shunt_record *r, __u32 loop)
{
	struct shunt_start *at = msg->data;
	__u32 n = s->tx_saved % SHUNT_STARTS;

	if ((void *)(at + 1) > msg->data_end || !can_save(s))
		return -1;
	s->starts[n] = *at;
	r->magic = SHUNT_RECORD_SAVED | n;
	*(struct shunt_record *)at = *r;
	if (bpf_msg_redirect_map(msg, &redirection, loop, BPF_F_INGRESS) ==
	    SK_PASS) {
		s->tx_saved++;
		return 0;
	}
	/* No socket there: the proxy has just died. */
	*at = s->starts[n];
	r->magic = SHUNT_RECORD_MAGIC;
	return -1;
}

/* The record in front. 0, or why not, with the message as it was, or -1. */
static __always_inline int push_record(struct sk_msg_md *msg,
				       const struct shunt_record *r, __u32 loop)
{
	struct shunt_record *at;
	int why = SHUNT_DEMOTED_KERNEL;

	if (bpf_msg_push_data(msg, 0, sizeof(*r), 0))
		return why;
	at = msg->data;
	if ((void *)(at + 1) > msg->data_end) {
		bpf_msg_pull_data(msg, 0, sizeof(*r), 0);
		at = msg->data;
	}
	if ((void *)(at + 1) <= msg->data_end) {
		*at = *r; /* memcpy() would go byte by byte */
		if (bpf_msg_redirect_map(msg, &redirection, loop,
					 BPF_F_INGRESS) == SK_PASS)
			return 0;
		why = SHUNT_DEMOTED_PROXY; /* no socket there */
	}
	return bpf_msg_pop_data(msg, 0, sizeof(*r), 0) ? -1 : why;
}

static __always_inline int redirect(struct sk_msg_md *msg,
				    struct shunt_stream *s, __u32 number,
				    __u32 size)
{
	struct shunt_proxy *p = message_proxy_state();
	struct shunt_record r = {
		.magic = SHUNT_RECORD_MAGIC,
		.stream = number,
		.offset = s->tx_bytes,
		.length = size,
		.token = s->token_local,
	};
	__u64 charge = (__u64)size + SHUNT_MSG_OVERHEAD;
	int why = unwanted(s, p, msg->sk, charge);

	if (!why && put_record(msg, s, &r, s->loop))
		why = push_record(msg, &r, s->loop);
	if (why) {
		s->tx_why = why < 0 ? SHUNT_DEMOTED_KERNEL : why;
		s->tx = SHUNT_STX_OFF;
		s->tx_tcp += size;
		message_event(SHUNT_EV_DEMOTED, number);
		return why < 0 ? SK_DROP : SK_PASS;
	}
	s->tx_bytes += size;
	s->tx_messages++;
	s->tx_charged += charge;
	__sync_fetch_and_add(&p->charged, charge);
	return SK_PASS;
}

SEC("sk_msg")
int shunt_msg_redirector(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	__u32 size = msg->size, number;
	__u32 *of;
	struct shunt_stream *s;

	if (!sk)
		return SK_PASS;
	of = bpf_sk_storage_get(&stream_of, sk, NULL, 0);
	if (!of)
		return SK_PASS;
	number = *of;
	s = bpf_map_lookup_elem(&streams, &number);
	if (!number || !s)
		return SK_PASS;
	if (s->tx == SHUNT_STX_READY && !s->excluded) {
		if (s->primed)
			promote(s, number, sk);
		else if (prime(s, msg, sk))
			return SK_PASS;
	}
	/* All of it, even if it is the rest of one that prime() has split: the
	 * kernel would go on in pieces as large. */
	bpf_msg_apply_bytes(msg, 0);
	if (s->tx == SHUNT_STX_ON)
		return redirect(msg, s, number, size);
	look_for_room(s, number, sk, size);
	s->tx_tcp += size;
	return SK_PASS;
}
