// SPDX-License-Identifier: GPL-2.0-only
/* The verifier refuses it: a number is no pointer. */
#include "bad.h"

static int check_header(const struct udphdr *h, const struct shunt_packet *p)
{
	return *(volatile int *)(long)(p->flow + h->len);
}

SHUNT_TRANSPORT("refused", 1, SHUNT_T_GSO);
