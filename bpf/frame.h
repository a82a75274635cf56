/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames of the message path on UDP-Lite. A datagram that is covered whole is
 * the same in UDP and in UDP-Lite, to the byte: the coverage field stands where
 * the length was, and "all of it" is the length. What differs is the protocol
 * in the IP header, and so in the pseudo header of the checksum, which the
 * kernel's UDP then verifies as if nothing had been.
 */
#ifndef FRAME_H
#define FRAME_H

#include "flow.h"

/* The proxies use our port at both ends; segments come from others. */
static __always_inline bool frame_ports(const struct udphdr *u)
{
	return u->source == bpf_htons(SHUNT_PORT) &&
	       u->dest == bpf_htons(SHUNT_PORT);
}

/*
 * Is the datagram at u a frame in UDP-Lite, covered whole, of a stream here
 * that has agreed on that? Others go on as they are: we may be a router on
 * their way. The checksum is UDP's to verify, for which 0 would be none. ip is
 * the header in front, length what is behind that.
 */
static __always_inline bool frame_for_us(const void *ip, const bool v6,
					 const struct udphdr *u, void *end,
					 __u32 length)
{
	const struct shunt_frame *f = (const void *)(u + 1);
	struct shunt_key k KEY_ALIGNED = {};
	struct shunt_stream *s;
	__u32 number;

	if ((void *)(f + 1) > end || !frame_ports(u) ||
	    f->type != SHUNT_FRAME_DATA || bpf_ntohs(u->len) != length ||
	    !u->check)
		return false;
	number = bpf_ntohl(f->stream);
	s = bpf_map_lookup_elem(&streams, &number);
	if (!s || s->life == SHUNT_STREAM_FREE ||
	    s->transport != SHUNT_UDPLITE ||
	    bpf_ntohl(f->token) != s->token_local)
		return false;
	key_in(&k, (void *)ip, v6, s->key.rport, s->key.lport);
	return same_key(&k, &s->key);
}

#endif
