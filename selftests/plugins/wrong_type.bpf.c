// SPDX-License-Identifier: GPL-2.0-only
/* Its programs have the right names, and one is of the wrong kind. */
#define encap encap_unused
#include "bad.h"

static int check_header(const struct udphdr *h, const struct shunt_packet *p)
{
	return h->len == bpf_htons(p->length) ? 0 : -1;
}

SHUNT_TRANSPORT("wrong_type", 1, SHUNT_T_GSO);

#undef encap
SEC("xdp.frags")
int encap(struct xdp_md *ctx)
{
	return ctx ? XDP_PASS : XDP_DROP;
}
