// SPDX-License-Identifier: GPL-2.0-only
/* Run by the proxy on a frame that was held at TC ingress: into the stack. (One
 * that XDP has passed there takes shunt_ingress_xdp again.) */
#include <shunt/bpf.h>

char _license[] SEC("license") = "GPL";

SEC("xdp")
int shunt_inject(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
