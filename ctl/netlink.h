/* SPDX-License-Identifier: GPL-2.0-only */
/* What neither libbpf nor an ioctl does, by netlink. */
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

/* A veth pair of that MTU, down. */
int netlink_make_veth(const char *name, const char *peer, __u32 mtu);
/* A device on top of another, down, that segments what is sent through it but
 * leaves TCP's checksum to others. */
int netlink_make_segmenter(const char *name, int lower, __u32 mtu);
/* So that it sends nothing that nobody asked for, when it is set up. */
int netlink_no_ipv6_address(int ifindex);
int netlink_set_up(int ifindex);
/* A veth goes with its peer. */
int netlink_delete(int ifindex);

#endif
