/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the state of shunt lives: bpffs, cgroup v2, the network namespace. And
 * the mount namespace in which they can be seen.
 */
#ifndef SHUNT_HOST_H
#define SHUNT_HOST_H

#include <limits.h>
#include <linux/types.h>
#include <stdbool.h>

#define SHUNT_BPFFS "/sys/fs/bpf"
#define SHUNT_PINS  SHUNT_BPFFS "/shunt"

/* The root of the hierarchy is the first node of its kernfs. */
#define CGROUP2_ROOT_INO 1

struct host {
	int own_mnt; /* mount namespace that we left, or -1 */
	int own_cwd; /* and the directory we were in */
	int lock;
	bool bpffs;
	char cgroup2[PATH_MAX]; /* a mount of cgroup v2, "" if there is none */
	__u64 netns_cookie;
};

#define HOST_INIT                                        \
	{                                                \
		.own_mnt = -1, .own_cwd = -1, .lock = -1 \
	}

/*
 * Goes where bpffs and cgroup v2 are visible: `ip netns exec` hides both.
 * Changes nothing that others see.
 */
int host_enter(struct host *host);
/* Back into the caller's mount namespace and directory: for its programs. */
int host_return(const struct host *host);
/* Mounts bpffs if nobody has. */
int host_mount_bpffs(struct host *host);
/* Held until host_leave(): up, down and policy exclude each other. */
int host_lock(struct host *host);
void host_unlock(struct host *host);
void host_leave(struct host *host);

int netns_cookie(__u64 *cookie);

#endif
