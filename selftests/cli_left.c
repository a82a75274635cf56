// SPDX-License-Identifier: GPL-2.0-only
/* What the `shunt` command has left in the kernel. See cli_run.h. */
#include "cli_run.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PINS "/sys/fs/bpf/shunt"

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* All that is below a folder, in order; nothing if there is none. */
static void list(FILE *to, const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, by_name);

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		char below[PATH_MAX];

		if (strcmp(name, ".") && strcmp(name, "..")) {
			snprintf(below, sizeof(below), "%s/%s", path, name);
			fprintf(to, "%s\n", below);
			if (entries[i]->d_type == DT_DIR)
				list(to, below);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

void cli_state(char *buf, size_t size)
{
	static const char *const kinds[] = {"", "building_"};
	struct cli_output *o = malloc(sizeof(*o));
	FILE *to = fmemopen(buf, size, "w");

	if (!o || !to)
		abort();
	for (int i = 0; i < 2; i++) {
		char path[128];

		snprintf(path, sizeof(path), PINS "/%s%llu", kinds[i],
			 (unsigned long long)cli_cookie());
		if (!access(path, F_OK))
			fprintf(to, "%s\n", path);
		list(to, path);
	}
	/* Interface statistics and the like do not belong into it. A guest
	 * takes 10 ms to start a program, so there are few. */
	cli_sh(o, "tc -force -batch - <<END 2>&1\n"
		  "qdisc show\n"
		  "filter show dev v0 ingress\nfilter show dev v0 egress\n"
		  "filter show dev v1 ingress\nfilter show dev v1 egress\n"
		  "filter show dev lo ingress\nfilter show dev lo egress\n"
		  "END\n"
		  "ip link show | grep -o 'xdp.*\\|prog.*';"
		  "bpftool net show; exit 0");
	fprintf(to, "%s%s", o->out, o->err);
	fclose(to);
	free(o);
}

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

	snprintf(path, sizeof(path), PINS "/%llu/%s",
		 (unsigned long long)cli_cookie(), kind);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!err && n < CLI_IDS && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PINS "/%llu/%s/%s",
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

static bool gone(int (*get)(uint32_t id), const uint32_t *ids, int n)
{
	for (int i = 0; i < n; i++) {
		int fd = get(ids[i]);

		if (fd >= 0) {
			close(fd);
			return false;
		}
	}
	return true;
}

bool cli_ids_gone(const struct cli_ids *ids)
{
	return CLI_BECOMES(gone(bpf_prog_get_fd_by_id, ids->prog, ids->progs) &&
			   gone(bpf_map_get_fd_by_id, ids->map, ids->maps) &&
			   gone(bpf_link_get_fd_by_id, ids->link, ids->links));
}

int cli_map(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PINS "/%llu/maps/%s",
		 (unsigned long long)cli_cookie(), name);
	return bpf_obj_get(path);
}
