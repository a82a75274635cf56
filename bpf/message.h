/* SPDX-License-Identifier: GPL-2.0-only */
/* The message path's maps; shunt/message.h has their layouts. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "maps.h"

#include <bpf/bpf_core_read.h>
#include <shunt/message.h>

/* Sizes are those without --message-path, or the same; `shunt up` raises them.
 */
#define MESSAGE_MAP(map_type, map_flags_, entries, key_type, value_type, name) \
	struct {                                                               \
		__uint(type, map_type);                                        \
		__uint(map_flags, map_flags_);                                 \
		__uint(max_entries, entries);                                  \
		__type(key, key_type);                                         \
		__type(value, value_type);                                     \
	} name SEC(".maps") __weak

MESSAGE_MAP(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 1, __u32, struct shunt_stream,
	    streams);
MESSAGE_MAP(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, SHUNT_MSG_LOOPS, __u32,
	    struct shunt_proxy, message_proxy);
MESSAGE_MAP(BPF_MAP_TYPE_HASH, 0, 1, struct shunt_key, __u32, stream_index);
/* The applications' sockets, by stream, and the proxy's, by loop. */
MESSAGE_MAP(BPF_MAP_TYPE_SOCKMAP, 0, 1, __u32, __u64, message_socks);
MESSAGE_MAP(BPF_MAP_TYPE_SOCKMAP, 0, SHUNT_MSG_LOOPS, __u32, __u64,
	    redirection);

/* Numbers of free streams: the proxy puts them in. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} message_free SEC(".maps") __weak;

/* By loop; `shunt up` makes the rings. */
struct message_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SHUNT_MSG_LOOPS);
	__type(key, __u32);
	__array(values, struct message_ring);
} message_events SEC(".maps") __weak;

/* The stream of a socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} stream_of SEC(".maps") __weak;

/* Just enough of the kernel's type; BTF relocates the offsets. */
struct tcp_sock {
	__u32 copied_seq;
	__u32 write_seq;
	__u32 snd_nxt;
	__u32 mss_cache;
	__u32 notsent_lowat;
	__u32 chrono_stat[3]; /* by enum tcp_chrono, less one: jiffies */
} __attribute__((preserve_access_index));

static __always_inline struct shunt_proxy *message_proxy_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&message_proxy, &zero);
}

/* May new connections use the path? */
static __always_inline bool message_path_up(void)
{
	struct shunt_proxy *p = message_proxy_state();

	return p && p->up;
}

static __always_inline struct shunt_stream *
stream_find(const struct shunt_key *key, __u32 *number)
{
	__u32 *n = bpf_map_lookup_elem(&stream_index, key);

	if (!n)
		return NULL;
	*number = *n;
	return bpf_map_lookup_elem(&streams, number);
}

/* The ring of events of the loop that has the stream, or NULL. */
static __always_inline void *message_ring(__u32 stream, __u32 *loop)
{
	struct shunt_stream *s = bpf_map_lookup_elem(&streams, &stream);

	if (!s)
		return NULL;
	*loop = s->loop;
	return bpf_map_lookup_elem(&message_events, loop);
}

/* Tell the loop that has the stream. With a full ring it has to look for
 * itself. */
static __always_inline void message_event(__u32 type, __u32 stream)
{
	struct shunt_event e = {.type = type, .stream = stream};
	struct shunt_proxy *p;
	__u32 loop = SHUNT_MSG_LOOPS; /* no loop */
	void *ring = message_ring(stream, &loop);

	if (ring && !bpf_ringbuf_output(ring, &e, sizeof(e), 0))
		return;
	p = bpf_map_lookup_elem(&message_proxy, &loop);
	if (p)
		__sync_fetch_and_add(&p->events_lost, 1);
}

#endif
