// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot - the first process of a guest: loads what is in /modules, in the order
 * of the names, and makes the file system "base" the root. It is on one of the
 * NVDIMMs, whose order is QEMU's own. There /job is the initramfs, and
 * /job/init goes on. Linked statically: the initramfs has nothing else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* s_volume_name in the kernel's fs/ext4/ext4.h */
#define LABEL_AT     (1024 + 0x78)
#define LABEL_LENGTH 16

/* The kernel panics when this process ends, and so does the guest. */
static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "boot: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void load_modules(void)
{
	struct dirent **list;
	int n = scandir("/modules", &list, no_dots, alphasort);

	must(n, "/modules");
	must(chdir("/modules"), "/modules");
	for (int i = 0; i < n; i++) {
		int fd = open(list[i]->d_name, O_RDONLY | O_CLOEXEC);

		must(fd, list[i]->d_name);
		must(syscall(SYS_finit_module, fd, "", 0), list[i]->d_name);
		close(fd);
	}
}

static bool has_label(const char *device, const char *label)
{
	char found[LABEL_LENGTH + 1] = "";
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	bool same;

	same = fd >= 0 && pread(fd, found, LABEL_LENGTH, LABEL_AT) > 0 &&
	       !strcmp(found, label);
	close(fd);
	return same;
}

/* Devices are found by a thread of the kernel's, within milliseconds. */
static const char *base_device(void)
{
	static char device[] = "/dev/pmem0";
	char *digit = device + strlen(device) - 1;

	for (int i = 0; i < 1000; i++) {
		for (*digit = '0'; *digit <= '9'; ++*digit)
			if (has_label(device, "base"))
				return device;
		usleep(10 * 1000);
	}
	errno = ENODEV;
	must(-1, "base");
	return NULL;
}

static void make_folder(const char *name)
{
	if (mkdir(name, 0755) && errno != EEXIST)
		must(-1, name);
}

int main(void)
{
	make_folder("/dev");
	must(mount("dev", "/dev", "devtmpfs", 0, NULL), "devtmpfs");
	load_modules();
	make_folder("/root");
	must(mount(base_device(), "/root", "ext4", MS_NOATIME, NULL), "base");
	must(mount("/", "/root/job", NULL, MS_BIND, NULL), "/job");
	must(chdir("/root"), "/root");
	must(mount(".", "/", NULL, MS_MOVE, NULL), "the root");
	must(chroot("."), "the root");
	execl("/job/init", "init", NULL);
	must(-1, "/job/init");
}
