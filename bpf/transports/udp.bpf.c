// SPDX-License-Identifier: GPL-2.0-only
/* UDP: GUE variant 1 (draft-ietf-intarea-gue), an IP packet straight behind the
 * UDP header. The checksum is 0: TCP's own protects the data (RFC 6935). */
#include <linux/udp.h>

#define SHUNT_T_HEADER	 struct udphdr
#define SHUNT_T_IP_PROTO IPPROTO_UDP
#define SHUNT_T_PORT	 6080
#include <shunt/transport.bpf.h>

static __always_inline int write_header(struct udphdr *h,
					const struct shunt_packet *p)
{
	h->source = p->sport;
	h->dest = bpf_htons(SHUNT_PORT);
	h->len = bpf_htons(p->length);
	h->check = 0;
	return 0;
}

static __always_inline int check_header(const struct udphdr *h,
					const struct shunt_packet *p)
{
	return h->len == bpf_htons(p->length) && !h->check ? 0 : -1;
}

SHUNT_TRANSPORT("udp", 1, SHUNT_T_GSO);
