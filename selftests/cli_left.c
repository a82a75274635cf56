// SPDX-License-Identifier: GPL-2.0-only
/* The BPF objects that the `shunt` command has pinned. See cli_run.h. */
#include "cli_run.h"
#include "left.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "host.h"

/* The object's info begins with type and id, of all three kinds. */
static int object_id(const char *path, uint32_t *id)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_map_info map;
		struct bpf_link_info link;
	} info = {};
	uint32_t len = sizeof(info);
	int fd, err;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	*id = info.prog.id;
	return err;
}

/* How many, or -errno. */
static int ids_of(const char *kind, uint32_t *ids)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int n = 0, err = 0;
	DIR *dir;

	snprintf(path, sizeof(path), SHUNT_PINS "/%llu/%s",
		 (unsigned long long)cli_cookie(), kind);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!err && n < CLI_IDS && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), SHUNT_PINS "/%llu/%s/%s",
			 (unsigned long long)cli_cookie(), kind, entry->d_name);
		err = object_id(path, &ids[n++]);
	}
	closedir(dir);
	return err ? err : n;
}

int cli_ids(struct cli_ids *ids)
{
	ids->progs = ids_of("progs", ids->prog);
	ids->maps = ids_of("maps", ids->map);
	ids->links = ids_of("links", ids->link);
	return ids->progs < 0 || ids->maps < 0 || ids->links < 0 ? -1 : 0;
}

bool cli_ids_gone(const struct cli_ids *ids)
{
	if (CLI_BECOMES(left_none(LEFT_PROGS, ids->prog, ids->progs) &&
			left_none(LEFT_MAPS, ids->map, ids->maps) &&
			left_none(LEFT_LINKS, ids->link, ids->links)))
		return true;
	left_tell(LEFT_PROGS, ids->prog, ids->progs);
	left_tell(LEFT_MAPS, ids->map, ids->maps);
	left_tell(LEFT_LINKS, ids->link, ids->links);
	return false;
}

int cli_map(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), SHUNT_PINS "/%llu/maps/%s",
		 (unsigned long long)cli_cookie(), name);
	return bpf_obj_get(path);
}
