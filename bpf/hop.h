/* SPDX-License-Identifier: GPL-2.0-only */
/* Into the segmentation hop of a packet's device, see hop.bpf.c. */
#ifndef HOP_H
#define HOP_H

#include "maps.h"

/* finished: it has to come out with all of its checksums filled in. */
static __always_inline int to_hop(struct __sk_buff *skb,
				  struct shunt_scratch *s, bool finished)
{
	__u32 ifindex = skb->ifindex;
	__u32 *near = bpf_map_lookup_elem(&hops, &ifindex), *upper = NULL;

	/* The upper device would put a VLAN tag into the frame. */
	if (near && !finished && !skb->vlan_present)
		upper = bpf_map_lookup_elem(&hops, near);
	if (near)
		return bpf_redirect(upper ? *upper : *near, 0);
	shunt_count(s, SHUNT_CNT_NO_HOP);
	return TC_ACT_UNSPEC;
}

#endif
