// SPDX-License-Identifier: GPL-2.0-only
/* XDP: lets a packet that the proxy puts in go to the stack (TC ingress then
 * sees it), where the device has no XDP program of ours that would. */
#include <shunt/bpf.h>

char _license[] SEC("license") = "GPL";

SEC("xdp")
int shunt_inject(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
