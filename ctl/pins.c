// SPDX-License-Identifier: GPL-2.0-only
/* An instance's directory in bpffs: maps/, progs/, links/. */
#include "pins.h"

#include "ctl.h"
#include "host.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kinds[] = {"links", "progs", "maps"};

void pin_dir(char buf[static PIN_DIR], __u64 cookie)
{
	snprintf(buf, PIN_DIR, SHUNT_PINS "/%llu", cookie);
}

void pin_dir_building(char buf[static PIN_DIR], __u64 cookie)
{
	/* bpffs refuses names with a dot. */
	snprintf(buf, PIN_DIR, SHUNT_PINS "/building_%llu", cookie);
}

static void pin_path(char buf[static PATH_MAX], const char *dir,
		     const char *kind, const char *name)
{
	snprintf(buf, PATH_MAX, "%s/%s/%s", dir, kind, name);
}

int pin_mkdirs(const char *dir)
{
	char path[PATH_MAX];

	if (mkdir(SHUNT_PINS, 0700) && errno != EEXIST)
		goto err;
	if (mkdir(dir, 0700))
		goto err;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, kinds[i]);
		if (mkdir(path, 0700))
			goto err;
	}
	return 0;
err:
	return shunt_err(-errno,
			 "cannot make directories in " SHUNT_PINS ": %s",
			 strerror(errno));
}

int pin_get(const char *dir, const char *kind, const char *name)
{
	char path[PATH_MAX];

	pin_path(path, dir, kind, name);
	return bpf_obj_get(path);
}

int pin_put(const char *dir, const char *kind, const char *name, int fd)
{
	char path[PATH_MAX];
	int err;

	pin_path(path, dir, kind, name);
	err = bpf_obj_pin(fd, path);
	if (err)
		shunt_err(err, "cannot pin %s: %s", path, strerror(-err));
	return err;
}

void pin_remove(const char *dir, const char *kind, const char *name)
{
	char path[PATH_MAX];

	pin_path(path, dir, kind, name);
	unlink(path);
}

static void remove_kind(const char *dir, const char *kind)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", dir, kind);
	d = opendir(path);
	if (!d)
		return;
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	closedir(d);
	rmdir(path);
}

void pin_remove_all(const char *dir)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		remove_kind(dir, kinds[i]);
	rmdir(dir);
	rmdir(SHUNT_PINS);
}
