// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that do nothing: the baseline of XDP ingress (native XDP on veth
 * costs the peer its TSO, whatever the program does), and the floor of the
 * kernel's run-time statistics.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

SEC("xdp.frags")
int pass_xdp(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("tc")
int pass_tc(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}
