// SPDX-License-Identifier: GPL-2.0-only
/* Built for a version of the header that is no more. */
#include "bad.h"

#undef SHUNT_ABI
#define SHUNT_ABI 1

static int check_header(const struct udphdr *h, const struct shunt_packet *p)
{
	return h->len == bpf_htons(p->length) ? 0 : -1;
}

SHUNT_TRANSPORT("old_abi", 1, SHUNT_T_GSO);
