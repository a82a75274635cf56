// SPDX-License-Identifier: GPL-2.0-only
/* What of BPF is still in the kernel. See left.h. */
#include "left.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <unistd.h>

bool left(enum left_kind kind, uint32_t id)
{
	static int (*const next[])(__u32 id, __u32 * next) = {
		[LEFT_PROGS] = bpf_prog_get_next_id,
		[LEFT_MAPS] = bpf_map_get_next_id,
		[LEFT_LINKS] = bpf_link_get_next_id,
	};
	__u32 found;

	return !next[kind](id - 1, &found) && found == id;
}

bool left_none(enum left_kind kind, const uint32_t *ids, int n)
{
	for (int i = 0; i < n && ids[i]; i++)
		if (left(kind, ids[i]))
			return false;
	return true;
}

static const char *name_of(enum left_kind kind, uint32_t id, char name[16])
{
	struct bpf_prog_info prog = {};
	struct bpf_map_info map = {};
	int fd = -1, err = 0;

	name[0] = 0;
	if (kind == LEFT_PROGS) {
		fd = bpf_prog_get_fd_by_id(id);
		err = bpf_obj_get_info_by_fd(fd, &prog, &(__u32){sizeof(prog)});
		snprintf(name, 16, "%s", prog.name);
	} else if (kind == LEFT_MAPS) {
		fd = bpf_map_get_fd_by_id(id);
		err = bpf_obj_get_info_by_fd(fd, &map, &(__u32){sizeof(map)});
		snprintf(name, 16, "%s", map.name);
	}
	if (fd >= 0)
		close(fd);
	return err ? "" : name;
}

void left_tell(enum left_kind kind, const uint32_t *ids, int n)
{
	static const char *const what[] = {"program", "map", "link"};
	char name[16];

	for (int i = 0; i < n && ids[i]; i++)
		if (left(kind, ids[i]))
			fprintf(stderr, "# %s %u is still there: %s\n",
				what[kind], ids[i],
				name_of(kind, ids[i], name));
}
