// SPDX-License-Identifier: GPL-2.0-only
/* Takes an instance down, whole or half built, ours or orphaned. */
#include "teardown.h"

#include "attach.h"
#include "cgroup.h"
#include "ctl.h"
#include "deploy.h"
#include "hop.h"
#include "instance.h"
#include "message.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads as far as there is something: the instance may be half built. */
static unsigned read_devices(const char *dir, struct shunt_device *devices)
{
	unsigned n = 0;
	int fd;

	fd = pin_get(dir, "maps", "devices");
	if (fd < 0)
		return 0;
	for (__u32 i = 0; i < SHUNT_MAX_DEVICES; i++) {
		if (bpf_map_lookup_elem(fd, &i, &devices[i]) ||
		    !devices[i].ifindex)
			break;
		n++;
	}
	close(fd);
	return n;
}

/* Cgroups of `shunt run`s: with a rule, or left empty by one that was killed.
 */
static void dissolve_run_cgroups(const struct host *host, const char *dir)
{
	struct shunt_settings settings;
	char path[PATH_MAX];
	__u32 zero = 0;
	int fd;

	fd = pin_get(dir, "maps", "settings");
	if (fd >= 0) {
		if (!bpf_map_lookup_elem(fd, &zero, &settings))
			cgroup_tidy_runs(host, settings.cgroup);
		close(fd);
	}
	fd = pin_get(dir, "maps", "rules");
	if (fd < 0)
		return;
	for (__u32 i = 0; i < 2 * SHUNT_MAX_RULES; i++) {
		struct shunt_rule rule;
		int err;

		if (bpf_map_lookup_elem(fd, &i, &rule) || !rule.cgroup ||
		    cgroup_path_by_id(host, rule.cgroup, path) ||
		    !cgroup_is_run(path))
			continue;
		err = cgroup_dissolve(path);
		if (err)
			shunt_warn("%s: cannot be removed: %s", path,
				   strerror(-err));
	}
	close(fd);
}

void teardown(const struct host *host, const char *dir)
{
	struct shunt_device devices[SHUNT_MAX_DEVICES];
	unsigned n = read_devices(dir, devices);

	/* First no new connections, then no encap, and decap to the last. The
	 * proxy still has to reset what it can't finish. */
	detach_sock_ops(dir);
	proxy_stop(dir);
	message_detach(dir);
	for (unsigned i = 0; i < n; i++)
		detach_egress(dir, i, &devices[i]);
	for (unsigned i = 0; i < n; i++)
		detach_ingress(dir, i, &devices[i]);
	hops_remove(dir);
	dissolve_run_cgroups(host, dir);
	pin_remove_all(dir);
}

static bool any_device_present(const char *dir)
{
	bool any = false;
	int fd;

	fd = pin_get(dir, "maps", "present");
	if (fd < 0)
		return false;
	for (__u32 i = 0; i < SHUNT_MAX_DEVICES; i++) {
		__u32 ifindex;

		if (!bpf_map_lookup_elem(fd, &i, &ifindex))
			any = true;
	}
	close(fd);
	return any;
}

void teardown_orphans(const struct host *host)
{
	char own[PIN_DIR], dir[PIN_DIR + 256];
	struct dirent *entry;
	DIR *d;

	pin_dir_building(own, host->netns_cookie);
	d = opendir(SHUNT_PINS);
	if (!d)
		return;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(dir, sizeof(dir), SHUNT_PINS "/%s", entry->d_name);
		/*
		 * Under the lock nobody builds: what is half built was left by
		 * a crash. That of another namespace can only be taken off its
		 * devices from there, or when they are gone.
		 */
		if (!strcmp(dir, own) || !any_device_present(dir))
			teardown(host, dir);
	}
	closedir(d);
}

int instance_down(void)
{
	struct instance in = {.host = HOST_INIT};
	int err;

	err = host_enter(&in.host);
	if (err)
		return err;
	if (in.host.bpffs)
		err = host_lock(&in.host);
	if (err)
		goto out;
	pin_dir(in.dir, in.host.netns_cookie);
	if (!in.host.bpffs || access(in.dir, F_OK)) {
		err = shunt_err(-ENOENT,
				"not up in this network namespace; nothing to "
				"take down");
		goto out;
	}
	/* Peers hear of it before their packets find nobody: nothing is lost.
	 */
	deploy_withdraw_all(in.dir);
	teardown(&in.host, in.dir);
out:
	host_leave(&in.host);
	return err;
}
