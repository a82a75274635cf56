// SPDX-License-Identifier: GPL-2.0-only
/* Finds and opens the instance of this network namespace. */
#include "instance.h"

#include "ctl.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

int instance_map(const struct instance *in, const char *name)
{
	int fd = pin_get(in->dir, "maps", name);

	if (fd < 0)
		return shunt_err(fd, "%s/maps/%s: %s", in->dir, name,
				 strerror(-fd));
	return fd;
}

int instance_read_settings(struct instance *in)
{
	__u32 zero = 0;
	int fd, err;

	fd = instance_map(in, "settings");
	if (fd < 0)
		return fd;
	err = bpf_map_lookup_elem(fd, &zero, &in->settings);
	close(fd);
	if (err)
		return shunt_err(err, "map settings: %s", strerror(-err));
	if (in->settings.abi != SHUNT_ABI)
		return shunt_err(
			-EPROTO,
			"this instance was started by another version "
			"of shunt (ABI %u, not %u); `shunt down`, then "
			"`shunt up`",
			in->settings.abi, SHUNT_ABI);
	return 0;
}

int instance_write_settings(struct instance *in)
{
	__u32 zero = 0;
	int fd, err;

	fd = instance_map(in, "settings");
	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(fd, &zero, &in->settings, BPF_ANY);
	close(fd);
	if (err)
		return shunt_err(err, "map settings: %s", strerror(-err));
	return 0;
}

static int open_common(struct instance *in, bool lock, bool quiet)
{
	int err;

	memset(in, 0, sizeof(*in));
	in->host = (struct host)HOST_INIT;
	err = host_enter(&in->host);
	if (err)
		return err;
	if (lock && in->host.bpffs)
		err = host_lock(&in->host);
	if (err)
		goto out;
	pin_dir(in->dir, in->host.netns_cookie);
	if (!in->host.bpffs || access(in->dir, F_OK)) {
		err = -ENOENT;
		if (!quiet)
			shunt_err(err, "not up in this network namespace; "
				       "`shunt up --dev IF` starts it");
		goto out;
	}
	err = instance_read_settings(in);
out:
	if (err)
		instance_close(in);
	return err;
}

int instance_open(struct instance *in)
{
	return open_common(in, false, false);
}

int instance_open_locked(struct instance *in)
{
	return open_common(in, true, false);
}

int instance_open_quietly(struct instance *in)
{
	return open_common(in, true, true);
}

void instance_close(struct instance *in)
{
	host_leave(&in->host);
}

int instance_devices(const struct instance *in, struct shunt_device *devices)
{
	int fd, n = 0, err = 0;

	fd = instance_map(in, "devices");
	if (fd < 0)
		return fd;
	for (__u32 i = 0; i < SHUNT_MAX_DEVICES; i++) {
		err = bpf_map_lookup_elem(fd, &i, &devices[n]);
		if (err || !devices[n].ifindex)
			break;
		n++;
	}
	close(fd);
	if (err)
		return shunt_err(err, "map devices: %s", strerror(-err));
	return n;
}

bool instance_device_present(const struct instance *in, unsigned i)
{
	__u32 ifindex;
	int fd, err;

	fd = pin_get(in->dir, "maps", "present");
	if (fd < 0)
		return false;
	err = bpf_map_lookup_elem(fd, &i, &ifindex);
	close(fd);
	return !err;
}
