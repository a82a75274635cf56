// SPDX-License-Identifier: GPL-2.0-only
/* bpffs, cgroup v2, the network namespace, and where they are visible. */
#include "host.h"

#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static bool have_bpffs(void)
{
	struct statfs fs;

	return !statfs(SHUNT_BPFFS, &fs) && fs.f_type == BPF_FS_MAGIC;
}

static void find_cgroup2(char path[static PATH_MAX])
{
	struct mntent *mount;
	FILE *mounts;

	path[0] = '\0';
	mounts = setmntent("/proc/self/mounts", "re");
	if (!mounts)
		return;
	while ((mount = getmntent(mounts))) {
		struct statfs fs;
		struct stat st;

		if (strcmp(mount->mnt_type, "cgroup2") ||
		    strlen(mount->mnt_dir) >= PATH_MAX)
			continue;
		/* Another file system may have been mounted over it. */
		if (statfs(mount->mnt_dir, &fs) ||
		    fs.f_type != CGROUP2_SUPER_MAGIC ||
		    stat(mount->mnt_dir, &st))
			continue;
		/* Rather the whole hierarchy than a container's part of it. */
		if (!path[0] || st.st_ino == CGROUP2_ROOT_INO)
			strcpy(path, mount->mnt_dir);
		if (st.st_ino == CGROUP2_ROOT_INO)
			break;
	}
	endmntent(mounts);
}

static void look_around(struct host *host)
{
	host->bpffs = have_bpffs();
	find_cgroup2(host->cgroup2);
}

static pid_t parent_of(pid_t pid)
{
	char path[32], line[512];
	pid_t parent = 0;
	const char *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* "1 (name) S 0 …": the name may contain brackets too. */
	if (fgets(line, sizeof(line), file) && (end = strrchr(line, ')')))
		sscanf(end, ") %*c %d", &parent);
	fclose(file);
	return parent;
}

/*
 * The mount namespace of the outermost of our ancestors. That is process 1,
 * unless it does not let us look (it may have more capabilities than we have).
 */
static int open_outer_mounts(void)
{
	pid_t pid = getpid();
	int outer = -1;

	while (pid > 0) {
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			if (outer >= 0)
				close(outer);
			outer = fd;
		}
		pid = parent_of(pid);
	}
	return outer;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_ino == sb.st_ino &&
	       sa.st_dev == sb.st_dev;
}

static void forget_mounts(struct host *host)
{
	if (host->own_mnt >= 0)
		close(host->own_mnt);
	if (host->own_cwd >= 0)
		close(host->own_cwd);
	host->own_mnt = -1;
	host->own_cwd = -1;
}

static int enter_outer_mounts(struct host *host)
{
	int outer, err = 0;

	outer = open_outer_mounts();
	host->own_mnt = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	host->own_cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (outer < 0 || host->own_mnt < 0 || host->own_cwd < 0)
		err = shunt_err(-errno,
				"/proc/self/ns/mnt: %s; is /proc "
				"mounted?",
				strerror(errno));
	else if (same_file(outer, host->own_mnt))
		forget_mounts(host);
	else if (setns(outer, CLONE_NEWNS))
		err = shunt_err(-errno,
				"cannot see " SHUNT_BPFFS
				" and cgroup v2 here, nor enter the mount "
				"namespace where they are: %s",
				strerror(errno));
	if (err)
		forget_mounts(host);
	if (outer >= 0)
		close(outer);
	return err;
}

int host_enter(struct host *host)
{
	int err;

	err = netns_cookie(&host->netns_cookie);
	if (err)
		return shunt_err(err,
				 "this kernel has no SO_NETNS_COOKIE; shunt "
				 "needs Linux 6.1 or newer");
	look_around(host);
	if (host->bpffs && host->cgroup2[0])
		return 0;
	err = enter_outer_mounts(host);
	if (err)
		return err;
	look_around(host);
	return 0;
}

int host_return(const struct host *host)
{
	if (host->own_mnt < 0)
		return 0;
	if (setns(host->own_mnt, CLONE_NEWNS) || fchdir(host->own_cwd))
		return shunt_err(-errno,
				 "cannot go back to where we came from: %s",
				 strerror(errno));
	return 0;
}

int host_mount_bpffs(struct host *host)
{
	if (host->bpffs)
		return 0;
	if (mount("bpf", SHUNT_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0700"))
		return shunt_err(-errno,
				 "cannot mount bpffs at " SHUNT_BPFFS
				 ": %s; the kernel needs CONFIG_BPF_SYSCALL",
				 strerror(errno));
	host->bpffs = true;
	return 0;
}

int host_lock(struct host *host)
{
	/* bpffs itself: a lock file would be one more thing to leave behind. */
	host->lock = open(SHUNT_BPFFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (host->lock < 0 || flock(host->lock, LOCK_EX))
		return shunt_err(-errno, "cannot lock " SHUNT_BPFFS ": %s",
				 strerror(errno));
	return 0;
}

void host_unlock(struct host *host)
{
	if (host->lock >= 0) {
		/* A child may have a copy: closing ours would not release. */
		flock(host->lock, LOCK_UN);
		close(host->lock);
	}
	host->lock = -1;
}

void host_leave(struct host *host)
{
	host_unlock(host);
	forget_mounts(host);
}

int netns_cookie(__u64 *cookie)
{
	socklen_t len = sizeof(*cookie);
	int fd, err = 0;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len))
		err = -errno;
	close(fd);
	return err;
}
