// SPDX-License-Identifier: GPL-2.0-only
/*
 * SK_MSG programs that hand the writer's messages to receive.c, each in a way
 * of its own.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include <shunt/message.h>

char _license[] SEC("license") = "GPL";

/* Bytes of a datagram's payload at 1,500, and what a ring's record has. */
#define FRAME 1444
#define CHUNK 4096

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} writer SEC(".maps"), target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

/* struct shunt_record in front of the first `length` bytes, which is as long as
 * it rules. */
static __always_inline int with_record(struct sk_msg_md *msg, __u32 length)
{
	__u32 size = msg->size;
	struct shunt_record *r;

	if (length > size)
		length = size;
	if (bpf_msg_push_data(msg, 0, sizeof(*r), 0))
		return SK_DROP;
	r = msg->data;
	if ((void *)(r + 1) > msg->data_end)
		return SK_DROP;
	*r = (struct shunt_record){
		.magic = SHUNT_RECORD_MAGIC,
		.length = length,
	};
	bpf_msg_apply_bytes(msg, length < size ? length + sizeof(*r) : 0);
	return bpf_msg_redirect_map(msg, &target, 0, BPF_F_INGRESS);
}

SEC("sk_msg")
int record_per_message(struct sk_msg_md *msg)
{
	return with_record(msg, msg->size);
}

SEC("sk_msg")
int record_per_frame(struct sk_msg_md *msg)
{
	return with_record(msg, FRAME);
}

SEC("sk_msg")
int bare(struct sk_msg_md *msg)
{
	return bpf_msg_redirect_map(msg, &target, 0, BPF_F_INGRESS);
}

SEC("sk_msg")
int egress(struct sk_msg_md *msg)
{
	return bpf_msg_redirect_map(msg, &target, 0, 0);
}

/* Up to `size` - 1 bytes in a record of a size that is known to the verifier:
 * the length, and the bytes. bpf_ringbuf_output() would take no packet. */
static __always_inline int put_in(void *data, __u32 n, const __u32 size)
{
	__u32 *r = bpf_ringbuf_reserve(&ring, sizeof(*r) + size, 0);
	int err;

	if (!r)
		return -1;
	*r = n & (size - 1);
	err = bpf_probe_read_kernel(r + 1, n & (size - 1), data);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return err;
}

static __always_inline int put(void *data, __u32 n)
{
	if (n < 256)
		return put_in(data, n, 256);
	if (n < 2048)
		return put_in(data, n, 2048);
	return put_in(data, n, 2 * CHUNK);
}

/*
 * Everything into the ring, in chunks; the message is cut down to a byte, which
 * is the doorbell. Not to nothing and not dropped: SK_DROP is an error for the
 * writer, and the kernel has no other way to let a message vanish.
 */
SEC("sk_msg")
int into_ring(struct sk_msg_md *msg)
{
	__u32 size = msg->size, at = 0, n;

	for (int i = 0; i < 65536 / CHUNK + 1 && at < size; i++, at += n) {
		n = size - at < CHUNK ? size - at : CHUNK;
		if (bpf_msg_pull_data(msg, at, at + n, 0))
			return SK_DROP;
		if (put(msg->data, n))
			return SK_DROP;
	}
	if (at != size || (size > 1 && bpf_msg_pop_data(msg, 0, size - 1, 0)))
		return SK_DROP;
	return bpf_msg_redirect_map(msg, &target, 0, BPF_F_INGRESS);
}
