// SPDX-License-Identifier: GPL-2.0-only
/* What a network device can do, and what `--ingress auto` makes of it. */
#include "device.h"

#include "attach.h"
#include "ctl.h"
#include "netlink.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void ask_driver(int fd, struct device *dev)
{
	struct ethtool_value rxcsum = {.cmd = ETHTOOL_GRXCSUM};
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq ifr = {};

	memcpy(ifr.ifr_name, dev->name, sizeof(dev->name));
	ifr.ifr_data = (void *)&info;
	if (!ioctl(fd, SIOCETHTOOL, &ifr))
		snprintf(dev->driver, sizeof(dev->driver), "%.31s",
			 info.driver);
	ifr.ifr_data = (void *)&rxcsum;
	/* A device that does not say is not trusted. */
	dev->rx_checksum = ioctl(fd, SIOCETHTOOL, &ifr) || rxcsum.data;
}

int device_query(const char *name, struct device *dev)
{
	struct ifreq ifr = {};
	int fd, type, err = 0;

	memset(dev, 0, sizeof(*dev));
	if (!name[0] || strlen(name) >= sizeof(dev->name))
		return -ENODEV;
	strcpy(dev->name, name);
	dev->ifindex = if_nametoindex(name);
	if (!dev->ifindex)
		return -ENODEV;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr)) {
		err = -errno;
		goto out;
	}
	type = ifr.ifr_hwaddr.sa_family;
	if (type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK) {
		err = -EOPNOTSUPP;
		goto out;
	}
	if (!ioctl(fd, SIOCGIFMTU, &ifr))
		dev->mtu = ifr.ifr_mtu;
	ask_driver(fd, dev);
out:
	close(fd);
	return err;
}

int device_open(const char *name, struct device *dev)
{
	int err = device_query(name, dev);

	switch (err) {
	case 0:
		return 0;
	case -ENODEV:
		return shunt_err(
			err, "%s: no such device; `ip link` lists them", name);
	case -EOPNOTSUPP:
		return shunt_err(err,
				 "%s: carries no Ethernet frames; name the "
				 "device below it",
				 name);
	default:
		return shunt_err(err, "%s: %s", name, strerror(-err));
	}
}

bool device_xdp_is_safe(const struct device *dev, const char **why)
{
	if (!strcmp(dev->driver, "veth")) {
		*why = "veth hands on checksums as they are";
		return true;
	}
	if (!dev->rx_checksum) {
		*why = "receive checksumming is off";
		return true;
	}
	*why = "receive checksums are on";
	return false;
}

int device_native_xdp(const struct device *dev)
{
	__u64 features;
	int err;

	err = netlink_xdp_features(dev->ifindex, &features);
	if (err)
		return err;
	return features & XDP_FEATURE_BASIC ? 1 : 0;
}

unsigned device_xdp_holder(int ifindex, char *name, size_t size)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	unsigned id;
	int fd;

	if (bpf_xdp_query(ifindex, 0, &opts))
		return 0;
	id = opts.prog_id ? opts.prog_id : opts.drv_prog_id;
	id = id ? id : opts.skb_prog_id;
	if (!id)
		return 0;
	snprintf(name, size, "?");
	fd = bpf_prog_get_fd_by_id(id);
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(name, size, "%s", info.name);
	if (fd >= 0)
		close(fd);
	return id;
}

int device_tc_programs(int ifindex)
{
	static const int hooks[] = {SHUNT_TCX_INGRESS, SHUNT_TCX_EGRESS};
	int n = netlink_count_filters(ifindex);

	n = n < 0 ? 0 : n;
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		__u32 count = 0;

		/* A kernel without tcx has none there. */
		if (!bpf_prog_query(ifindex, hooks[i], 0, NULL, NULL, &count))
			n += count;
	}
	return n;
}
