/* SPDX-License-Identifier: GPL-2.0-only */
/* A transport with nothing wrong, for those beside it to spoil. */
#include <linux/udp.h>

#define SHUNT_T_HEADER	 struct udphdr
#define SHUNT_T_IP_PROTO 17
#ifndef SHUNT_T_PORT
#define SHUNT_T_PORT 6092
#endif
#include <shunt/transport.bpf.h>

static int write_header(struct udphdr *h, const struct shunt_packet *p)
{
	h->source = p->sport;
	h->dest = bpf_htons(SHUNT_T_PORT);
	h->len = bpf_htons(p->length);
	return 0;
}
