/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Segmentation hops (bpf/hop.bpf.c): a veth pair for each device of an
 * instance, made when the policy first wants a transport that needs it.
 */
#ifndef SHUNT_HOP_H
#define SHUNT_HOP_H

#include "instance.h"

#include <net/if.h>

/* Makes the hops if the policy needs them and they are not there. The instance
 * has to be locked. Explains its errors. */
int hops_for_policy(const struct instance *in);
/* The near end of a device's hop, or false. */
bool hop_name(const char *dir, __u32 ifindex, char name[static IFNAMSIZ]);
/* Removes those of the instance in dir, silently. */
void hops_remove(const char *dir);

#endif
