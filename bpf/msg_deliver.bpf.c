// SPDX-License-Identifier: GPL-2.0-only
/*
 * SK_MSG on the proxy's redirection socket: takes the struct shunt_record off
 * and gives what is behind it to the application's socket, at once and unseen
 * by TCP.
 */
#include "message.h"

char _license[] SEC("license") = "GPL";

/*
 * Not SK_DROP: the kernel never forgets that verdict (tcp_bpf_send_verdict() in
 * all kernels to 7.3), and refuses everything that is sent on the socket from
 * then on. So it goes to the far end by TCP, all but its last byte taken off;
 * in one piece, because older kernels err in what lies across several.
 */
static __always_inline int refuse(struct sk_msg_md *msg)
{
	__u32 size = msg->size;

	bpf_msg_apply_bytes(msg, 0); /* an earlier record's, else */
	if (size > 1 && !bpf_msg_pull_data(msg, 0, size, 0))
		bpf_msg_pop_data(msg, 0, size - 1, 0);
	return SK_PASS;
}

/* The proxy sends nothing but records: that is the rest of one, of which the
 * kernel has delivered a part, for lack of memory (see pressure.h). */
static __always_inline int refuse_rest(struct sk_msg_md *msg)
{
	struct shunt_proxy *p = message_proxy_state();

	if (p)
		__sync_fetch_and_add(&p->cut, 1);
	return refuse(msg);
}

static __always_inline int refuse_record(struct sk_msg_md *msg, __u32 number)
{
	message_event(SHUNT_EV_REFUSED, number);
	return refuse(msg);
}

/* Is that a socket that takes it? For all that the header governs, however the
 * kernel cuts the send up, it is decided here. */
static __always_inline int deliver(struct sk_msg_md *msg,
				   const struct shunt_record *r)
{
	if (bpf_msg_redirect_map(msg, &message_socks, r->stream,
				 BPF_F_INGRESS) != SK_PASS)
		return refuse_record(msg, r->stream);
	if (bpf_msg_pop_data(msg, 0, sizeof(*r), 0))
		return SK_DROP; /* no memory; can't be taken back now */
	bpf_msg_apply_bytes(msg, r->length);
	return SK_PASS;
}

SEC("sk_msg")
int shunt_msg_deliver(struct sk_msg_md *msg)
{
	const struct shunt_record *at = msg->data;
	struct shunt_record r;
	struct shunt_stream *s;

	if ((void *)(at + 1) > msg->data_end) {
		if (bpf_msg_pull_data(msg, 0, sizeof(r), 0))
			return refuse_rest(msg);
		at = msg->data;
		if ((void *)(at + 1) > msg->data_end)
			return refuse_rest(msg);
	}
	r = *at; /* memcpy() would go byte by byte */
	if (r.magic != SHUNT_RECORD_MAGIC)
		return refuse_rest(msg);
	s = bpf_map_lookup_elem(&streams, &r.stream);
	if (!r.stream || !r.length || !s || s->life != SHUNT_STREAM_OPEN ||
	    s->token_local != r.token)
		return refuse_record(msg, r.stream);
	return deliver(msg, &r);
}
