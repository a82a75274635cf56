// SPDX-License-Identifier: GPL-2.0-only
/* It lacks a program. */
#define decap_xdp decap_elsewhere
#include "bad.h"

static int check_header(const struct udphdr *h, const struct shunt_packet *p)
{
	return h->len == bpf_htons(p->length) ? 0 : -1;
}

SHUNT_TRANSPORT("no_decap", 1, SHUNT_T_GSO);
