// SPDX-License-Identifier: GPL-2.0-only
/* A transport that refuses every packet that carries more than 1,000 bytes. */
#include <linux/udp.h>

#define SHUNT_T_HEADER	 struct udphdr
#define SHUNT_T_IP_PROTO 17
#define SHUNT_T_PORT	 6091
#include <shunt/transport.bpf.h>

static int write_header(struct udphdr *h, const struct shunt_packet *p)
{
	if (p->length > 1000)
		return -1;
	h->source = p->sport;
	h->dest = bpf_htons(SHUNT_T_PORT);
	h->len = bpf_htons(p->length);
	return 0;
}

static int check_header(const struct udphdr *h, const struct shunt_packet *p)
{
	return h->len == bpf_htons(p->length) ? 0 : -1;
}

SHUNT_TRANSPORT("picky", 1, 0);
