/* SPDX-License-Identifier: GPL-2.0-only */
/* What a network device can do, and what `--ingress auto` makes of it. */
#ifndef SHUNT_DEVICE_H
#define SHUNT_DEVICE_H

#include <shunt/shared.h>
#include <stdbool.h>
#include <stddef.h>

struct device {
	char name[SHUNT_NAME_LEN];
	int ifindex;
	int mtu;
	char driver[32]; /* "" if it does not say */
	bool rx_checksum;
};

/* Silent: -ENODEV, or -EOPNOTSUPP if it carries no Ethernet. */
int device_query(const char *name, struct device *dev);
/* Explains and returns -errno if it does not exist or carries no Ethernet. */
int device_open(const char *name, struct device *dev);

/*
 * Would `auto` take XDP, if it can be attached? DESIGN §3: only where no
 * driver can vouch for an inner packet by the outer packet's checksum.
 */
bool device_xdp_is_safe(const struct device *dev, const char **why);

/* Native XDP: 1 yes, 0 no, -EOPNOTSUPP if the kernel does not tell. */
int device_native_xdp(const struct device *dev);

/* The id and name of the XDP program on it, or 0. */
unsigned device_xdp_holder(int ifindex, char *name, size_t size);

/* Programs and filters of TC on it, tcx and clsact; ours among them. */
int device_tc_programs(int ifindex);

#endif
