// SPDX-License-Identifier: GPL-2.0-only
/* It wants udp's port. */
#define SHUNT_T_PORT 6080
#include "bad.h"

static int check_header(const struct udphdr *h, const struct shunt_packet *p)
{
	return h->len == bpf_htons(p->length) ? 0 : -1;
}

SHUNT_TRANSPORT("taken_port", 1, SHUNT_T_GSO);
