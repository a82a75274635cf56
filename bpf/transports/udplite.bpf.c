// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP-Lite (RFC 3828), gone from Linux since 7.1: an IP packet straight behind
 * its header, as in udp.bpf.c. The checksum covers all of the datagram, without
 * reading the payload (see shunt_sums), or with coverage `headers` no more than
 * the headers: then a damaged payload reaches the application.
 */
#define SHUNT_T_HEADER	 struct udplite_header
#define SHUNT_T_IP_PROTO IPPROTO_UDPLITE
#define SHUNT_T_PORT	 6080
#define SHUNT_T_SUM

#include <linux/types.h>

struct udplite_header {
	__be16 source;
	__be16 dest;
	__be16 coverage; /* bytes from here on, 0: all of them */
	__u16 check;
};

#include <shunt/transport.bpf.h>

static __always_inline __u16 checksum(const struct udplite_header *h, __u16 sum)
{
	return ~shunt_fold((__u64)sum + h->source + h->dest + h->coverage +
			   h->check);
}

static __always_inline int write_header(struct udplite_header *h,
					const struct shunt_packet *p)
{
	h->source = p->sport;
	h->dest = bpf_htons(SHUNT_T_PORT);
	if (p->covered < p->length)
		h->coverage = bpf_htons(p->covered);
	/* RFC 3828 3.1: 0 is for "no checksum", which there is not. */
	h->check = checksum(h, p->sum_covered) ?: 0xffff;
	return 0;
}

static __always_inline int check_header(const struct udplite_header *h,
					const struct shunt_packet *p)
{
	__u16 coverage = bpf_ntohs(h->coverage) ?: p->length;

	if (!h->check)
		return -1;
	if (coverage == p->length)
		return checksum(h, p->sum) ? -1 : 0;
	/* Less than was agreed on is too little. More is not what we send. */
	if (coverage != p->covered || checksum(h, p->sum_covered))
		return -1;
	return SHUNT_UNCOVERED;
}

SHUNT_TRANSPORT("udplite", 1, SHUNT_T_COVERAGE);
