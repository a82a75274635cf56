// SPDX-License-Identifier: GPL-2.0-only
/* Segmentation hops: see hop.h. */
#include "hop.h"

#include "ctl.h"
#include "netlink.h"
#include "rules.h"
#include "transport.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Room for whatever the device's own MTU is. */
#define HOP_MTU 65535

struct names {
	char near[IFNAMSIZ], far[IFNAMSIZ], upper[IFNAMSIZ];
};

/* Hexadecimal: any number fits. */
static struct names hop_names(__u32 ifindex)
{
	struct names n = {};

	snprintf(n.near, IFNAMSIZ, "shunt%x", ifindex);
	snprintf(n.far, IFNAMSIZ, "shunt%xf", ifindex);
	snprintf(n.upper, IFNAMSIZ, "shunt%xu", ifindex);
	return n;
}

/* ---- making one ---- */

/* Packets have to leave it one by one, with finished checksums. */
static int offloads_off(const char *name)
{
	static const __u32 commands[] = {ETHTOOL_STSO, ETHTOOL_SGSO,
					 ETHTOOL_STXCSUM};
	struct ifreq ifr = {};
	int fd, err = 0;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	strcpy(ifr.ifr_name, name);
	for (size_t i = 0; !err && i < ARRAY_SIZE(commands); i++) {
		struct ethtool_value off = {.cmd = commands[i]};

		ifr.ifr_data = (void *)&off;
		if (ioctl(fd, SIOCETHTOOL, &ifr))
			err = -errno;
	}
	close(fd);
	return err;
}

static int make_pair(const char *near, const char *far, __u32 ends[2])
{
	int err;

	err = netlink_make_veth(near, far, HOP_MTU);
	if (err)
		return shunt_err(
			err,
			"cannot make the veth pair %s for packets that "
			"the kernel can't segment: %s; transports "
			"without GSO need it",
			near, strerror(-err));
	ends[0] = if_nametoindex(near);
	ends[1] = if_nametoindex(far);
	err = offloads_off(near);
	if (err)
		shunt_err(err, "%s: cannot switch off its offloads: %s", near,
			  strerror(-err));
	for (int i = 0; !err && i < 2; i++) {
		netlink_no_ipv6_address(ends[i]); /* if there is IPv6 */
		err = netlink_set_up(ends[i]);
		if (err)
			shunt_err(err, "%s: cannot be set up: %s", near,
				  strerror(-err));
	}
	return err;
}

/* Returns its number, or 0: then the pair does its work, too. */
static __u32 make_upper(const char *name, __u32 far)
{
	__u32 ifindex;

	if (netlink_make_segmenter(name, far, HOP_MTU))
		return 0; /* a kernel without macvlan */
	ifindex = if_nametoindex(name);
	netlink_no_ipv6_address(ifindex);
	if (!netlink_set_up(ifindex))
		return ifindex;
	netlink_delete(ifindex);
	return 0;
}

static int note(const struct instance *in, __u32 from, __u32 to)
{
	int fd, err;

	fd = instance_map(in, "hops");
	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(fd, &from, &to, BPF_ANY);
	close(fd);
	if (err)
		shunt_err(err, "map hops: %s", strerror(-err));
	return err;
}

static int make_hop(const struct instance *in, unsigned i,
		    const struct shunt_device *device)
{
	__u32 ends[2] = {}, upper;
	struct names names;
	int err;

	names = hop_names(device->ifindex);
	/* Left by an instance that was removed by hand */
	if (if_nametoindex(names.near))
		netlink_delete(if_nametoindex(names.near));
	err = make_pair(names.near, names.far, ends);
	if (!err)
		err = attach_hop(in->dir, i, device, names.far, ends[1]);
	/* The ways into it come last. */
	if (!err)
		err = note(in, ends[1], device->ifindex);
	upper = err ? 0 : make_upper(names.upper, ends[1]);
	if (upper)
		err = note(in, ends[0], upper);
	if (!err)
		err = note(in, device->ifindex, ends[0]);
	if (err && ends[0])
		netlink_delete(ends[0]);
	return err;
}

/* ---- who needs one ---- */

static bool wish_needs(const struct shunt_wish *wish,
		       const struct shunt_transport *all)
{
	for (int i = 0; i < SHUNT_MAX_WISHES && wish->transports[i]; i++) {
		const struct shunt_transport *t = &all[wish->transports[i]];

		if (t->deployed && !(t->flags & SHUNT_T_GSO))
			return true;
	}
	return false;
}

static int policy_needs(const struct instance *in)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	struct rules rules;
	int err;

	err = transport_read_all(in->dir, all);
	if (!err)
		err = rules_read(in, &rules);
	if (err)
		return err;
	if (wish_needs(&in->settings.wish, all))
		return 1;
	for (unsigned i = 0; i < rules.n; i++)
		if (wish_needs(&rules.rule[i].wish, all))
			return 1;
	return 0;
}

int hops_for_policy(const struct instance *in)
{
	struct shunt_device devices[SHUNT_MAX_DEVICES];
	char name[IFNAMSIZ];
	int n, err;

	err = policy_needs(in);
	if (err <= 0)
		return err;
	n = instance_devices(in, devices);
	if (n < 0)
		return n;
	err = 0;
	for (int i = 0; !err && i < n; i++)
		if (instance_device_present(in, i) &&
		    !hop_name(in->dir, devices[i].ifindex, name))
			err = make_hop(in, i, &devices[i]);
	return err;
}

/* ---- what there is ---- */

bool hop_name(const char *dir, __u32 ifindex, char name[static IFNAMSIZ])
{
	struct names names;
	__u32 end;
	int fd, err;

	fd = pin_get(dir, "maps", "hops");
	if (fd < 0)
		return false;
	err = bpf_map_lookup_elem(fd, &ifindex, &end);
	close(fd);
	/* Its number may be another device's by now. */
	names = hop_names(ifindex);
	return !err && if_indextoname(end, name) && !strcmp(name, names.near);
}

void hops_remove(const char *dir)
{
	__u32 key, *last = NULL;
	char name[IFNAMSIZ];
	int fd;

	fd = pin_get(dir, "maps", "hops");
	if (fd < 0)
		return;
	while (!bpf_map_get_next_key(fd, last, &key)) {
		if (hop_name(dir, key, name))
			netlink_delete(if_nametoindex(name));
		last = &key;
	}
	close(fd);
}
