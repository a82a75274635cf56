// SPDX-License-Identifier: GPL-2.0-only
/* Cgroups: v2 only, by path and by the id that BPF programs see. */
#include "cgroup.h"

#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* include/linux/exportfs.h: a kernfs file handle is the node's 64-bit id. */
#define FILEID_KERNFS 0xfe

static int check_type(const struct host *host, const char *path, int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return shunt_err(-errno, "%s: %s", path, strerror(errno));
	if (fs.f_type == CGROUP_SUPER_MAGIC)
		return shunt_err(-EINVAL,
				 "%s: a cgroup v1; shunt needs cgroup v2, "
				 "which is at %s",
				 path, host->cgroup2);
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return shunt_err(-EINVAL,
				 "%s: not a cgroup; cgroup v2 is at %s", path,
				 host->cgroup2);
	return 0;
}

static unsigned count_levels(const struct host *host, const char *path)
{
	size_t len = strlen(host->cgroup2);
	unsigned level = 0;

	if (strncmp(path, host->cgroup2, len))
		return 0;
	for (path += len; *path; path++)
		if (*path == '/' && path[1])
			level++;
	return level;
}

int cgroup_open(const struct host *host, const char *path, struct cgroup *cg)
{
	char full[PATH_MAX];
	struct stat st;
	int err;

	cg->fd = -1;
	if (!host->cgroup2[0])
		return shunt_err(-ENOENT,
				 "cgroup v2 is not mounted; try `mkdir -p "
				 "/sys/fs/cgroup/unified && mount -t cgroup2 "
				 "none /sys/fs/cgroup/unified`");
	if (!path)
		path = host->cgroup2;
	if (path[0] == '/')
		err = snprintf(full, sizeof(full), "%s", path);
	else
		err = snprintf(full, sizeof(full), "%s/%s", host->cgroup2,
			       path);
	if (err >= (int)sizeof(full))
		return shunt_err(-ENAMETOOLONG, "%s: name too long", path);
	if (!realpath(full, cg->path))
		return shunt_err(-errno, "%s: %s; cgroup v2 is at %s", full,
				 strerror(errno), host->cgroup2);
	cg->fd = open(cg->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg->fd < 0)
		return shunt_err(-errno, "%s: %s; a cgroup is a directory",
				 full, strerror(errno));
	err = check_type(host, full, cg->fd);
	if (!err && fstat(cg->fd, &st))
		err = shunt_err(-errno, "%s: %s", full, strerror(errno));
	if (err) {
		cgroup_close(cg);
		return err;
	}
	/* kernfs: the inode number of the directory is the cgroup's id. */
	cg->id = st.st_ino;
	cg->level = count_levels(host, cg->path);
	return 0;
}

void cgroup_close(struct cgroup *cg)
{
	if (cg->fd >= 0)
		close(cg->fd);
	cg->fd = -1;
}

int cgroup_need_level(const struct host *host)
{
	struct stat st;

	if (!stat(host->cgroup2, &st) && st.st_ino == CGROUP2_ROOT_INO)
		return 0;
	return shunt_err(-EINVAL,
			 "%s is not the root of cgroup v2 (a cgroup "
			 "namespace?); run this outside of the container",
			 host->cgroup2);
}

int cgroup_path_by_id(const struct host *host, __u64 id,
		      char path[static PATH_MAX])
{
	struct {
		struct file_handle head;
		__u64 id;
	} handle = {
		.head.handle_bytes = sizeof(handle.id),
		.head.handle_type = FILEID_KERNFS,
	};
	char link[64];
	int mount, fd, err = 0;
	ssize_t len;

	memcpy(handle.head.f_handle, &id, sizeof(id));
	mount = open(host->cgroup2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount < 0)
		return -errno;
	fd = open_by_handle_at(mount, &handle.head, O_PATH | O_CLOEXEC);
	if (fd < 0)
		err = errno == ESTALE ? -ENOENT : -errno;
	close(mount);
	if (err)
		return err;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, PATH_MAX - 1);
	if (len < 0)
		err = -errno;
	else
		path[len] = '\0';
	close(fd);
	if (!err && access(path, F_OK))
		err = -ENOENT;
	return err;
}

static int write_pid(const char *dir, pid_t pid)
{
	char path[PATH_MAX], text[16];
	int fd, len, err = 0;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "%d", pid);
	if (write(fd, text, len) != len)
		err = -errno;
	close(fd);
	return err;
}

int cgroup_create(const struct host *host, __u64 parent, const char *name,
		  struct cgroup *cg)
{
	char path[PATH_MAX], above[PATH_MAX];
	int err;

	cg->fd = -1;
	err = cgroup_path_by_id(host, parent, above);
	if (err)
		return shunt_err(err, "the cgroup that shunt is attached to is "
				      "gone; `shunt down`, then `shunt up`");
	if (snprintf(path, sizeof(path), "%s/%s", above, name) >=
	    (int)sizeof(path))
		return shunt_err(-ENAMETOOLONG, "%s: name too long", above);
	if (mkdir(path, 0755))
		return shunt_err(-errno, "cannot make cgroup %s: %s", path,
				 strerror(errno));
	err = cgroup_open(host, path, cg);
	if (err)
		rmdir(path);
	return err;
}

int cgroup_add_process(const struct cgroup *cg, pid_t pid)
{
	int err = write_pid(cg->path, pid);

	if (err)
		return shunt_err(err, "cannot move process %d into %s: %s", pid,
				 cg->path, strerror(-err));
	return 0;
}

bool cgroup_is_run(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && !strncmp(name + 1, CGROUP_RUN, strlen(CGROUP_RUN));
}

static bool is_empty(const char *path)
{
	char events[PATH_MAX + 16], line[64];
	bool empty = false;
	FILE *file;

	snprintf(events, sizeof(events), "%s/cgroup.events", path);
	file = fopen(events, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (!strcmp(line, "populated 0\n"))
			empty = true;
	fclose(file);
	return empty;
}

/* Returns how many were there. */
static int move_processes_up(const char *path)
{
	char procs[PATH_MAX + 16], parent[PATH_MAX];
	int pid, n = 0;
	FILE *file;

	strcpy(parent, path);
	*strrchr(parent, '/') = '\0';
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	file = fopen(procs, "re");
	if (!file)
		return -errno;
	while (fscanf(file, "%d", &pid) == 1) {
		n++;
		write_pid(parent, pid);
	}
	fclose(file);
	return n;
}

/* The command may have made cgroups of its own. */
static void dissolve_children(const char *path)
{
	struct dirent *entry;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char child[PATH_MAX];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path,
			     entry->d_name) < (int)sizeof(child))
			cgroup_dissolve(child);
	}
	closedir(dir);
}

int cgroup_dissolve(const char *path)
{
	int tries = 100;

	/*
	 * A process that forks meanwhile leaves a child behind, hence more
	 * than one round; a zombie leaves by itself.
	 */
	while (rmdir(path)) {
		if (errno == ENOENT)
			return 0;
		if (errno != EBUSY || !tries--)
			return -errno;
		dissolve_children(path);
		if (move_processes_up(path) == 0)
			usleep(1000);
	}
	return 0;
}

void cgroup_tidy_runs(const struct host *host, __u64 parent)
{
	char above[PATH_MAX], path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (cgroup_path_by_id(host, parent, above))
		return;
	dir = opendir(above);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (snprintf(path, sizeof(path), "%s/%s", above,
			     entry->d_name) >= (int)sizeof(path))
			continue;
		if (cgroup_is_run(path) && is_empty(path))
			cgroup_dissolve(path);
	}
	closedir(dir);
}
