/* SPDX-License-Identifier: GPL-2.0-only */
/* Cgroups: v2 only, by path and by the id that BPF programs see. */
#ifndef SHUNT_CGROUP_H
#define SHUNT_CGROUP_H

#include "host.h"

#include <sys/types.h>

struct cgroup {
	int fd;
	__u64 id;
	unsigned level; /* depth below the root of the hierarchy */
	char path[PATH_MAX];
};

/* Of the cgroups of `shunt run`; the process id follows. */
#define CGROUP_RUN "shunt-run-"

/* path: absolute, or relative to the mount of cgroup v2; NULL for its root. */
int cgroup_open(const struct host *host, const char *path, struct cgroup *cg);
void cgroup_close(struct cgroup *cg);

/*
 * BPF finds ancestors by their depth in the kernel's hierarchy; a cgroup
 * namespace hides the upper part of it.
 */
int cgroup_need_level(const struct host *host);

/* -ENOENT if there is no cgroup with this id any more. */
int cgroup_path_by_id(const struct host *host, __u64 id,
		      char path[static PATH_MAX]);

/* A new cgroup below the one with this id. */
int cgroup_create(const struct host *host, __u64 parent, const char *name,
		  struct cgroup *cg);
int cgroup_add_process(const struct cgroup *cg, pid_t pid);
bool cgroup_is_run(const char *path);
/*
 * Removes the cgroups of `shunt run` below this one that have nobody in them.
 * Under lock no run is between making its cgroup and moving into it, so they
 * were left by one that was killed, or have just ended.
 */
void cgroup_tidy_runs(const struct host *host, __u64 parent);
/* Moves the processes into the parent and removes the cgroup. */
int cgroup_dissolve(const char *path);

#endif
