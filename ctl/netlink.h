/* SPDX-License-Identifier: GPL-2.0-only */
/* The two questions that neither libbpf nor an ioctl answers. */
#ifndef SHUNT_NETLINK_H
#define SHUNT_NETLINK_H

#include <linux/types.h>

/* TC filters of any kind on the clsact hooks of a device, or -errno. */
int netlink_count_filters(int ifindex);

/*
 * NETDEV_XDP_ACT_… of a device's driver. -EOPNOTSUPP where the kernel does not
 * tell (before d3d854fd6a1d, Linux 6.3).
 */
int netlink_xdp_features(int ifindex, __u64 *features);

#define XDP_FEATURE_BASIC 0x01
#define XDP_FEATURE_RX_SG 0x20

#endif
