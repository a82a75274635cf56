// SPDX-License-Identifier: GPL-2.0-only
/*
 * SK_MSG on the proxy's redirection socket: takes the struct shunt_record off
 * and gives what is behind it to the application's socket, at once and unseen
 * by TCP. SK_DROP is EACCES at the proxy's send.
 */
#include "message.h"

char _license[] SEC("license") = "GPL";

SEC("sk_msg")
int shunt_msg_deliver(struct sk_msg_md *msg)
{
	struct shunt_record r;
	struct shunt_stream *s;
	void *data = msg->data, *end = msg->data_end;

	if (data + sizeof(r) > end) {
		if (bpf_msg_pull_data(msg, 0, sizeof(r), 0))
			return SK_DROP;
		data = msg->data;
		end = msg->data_end;
		if (data + sizeof(r) > end)
			return SK_DROP;
	}
	__builtin_memcpy(&r, data, sizeof(r));
	s = bpf_map_lookup_elem(&streams, &r.stream);
	if (r.magic != SHUNT_RECORD_MAGIC || !r.stream || !r.length || !s ||
	    s->life != SHUNT_STREAM_OPEN || s->token_local != r.token)
		return SK_DROP;
	if (bpf_msg_pop_data(msg, 0, sizeof(r), 0))
		return SK_DROP;
	/* One verdict for all that the header governs, however the kernel cuts
	 * the send up; the next header gets one of its own. */
	bpf_msg_apply_bytes(msg, r.length);
	return bpf_msg_redirect_map(msg, &message_socks, r.stream,
				    BPF_F_INGRESS);
}
