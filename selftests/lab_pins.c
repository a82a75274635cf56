// SPDX-License-Identifier: GPL-2.0-only
/* What an instance has in the kernel, and whether it goes away. See lab.h. */
#include "lab_own.h"
#include "left.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add_id(uint32_t *ids, uint32_t id)
{
	for (int i = 0; i < LAB_IDS; i++) {
		if (ids[i] == id)
			return;
		if (!ids[i]) {
			ids[i] = id;
			return;
		}
	}
	abort();
}

static int note_program(struct lab *lab, enum lab_host host, int fd)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info), maps[LAB_IDS] = {};

	info.map_ids = (uintptr_t)maps;
	info.nr_map_ids = LAB_IDS;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	add_id(lab->progs[host], info.id);
	for (uint32_t i = 0; i < info.nr_map_ids && i < LAB_IDS; i++)
		add_id(lab->maps[host], maps[i]);
	return 0;
}

static int note_map(struct lab *lab, enum lab_host host, int fd)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	add_id(lab->maps[host], info.id);
	return 0;
}

static int note_pins(struct lab *lab, enum lab_host host, const char *sub,
		     int (*note)(struct lab *, enum lab_host, int))
{
	char path[PATH_MAX];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", lab->pins[host], sub);
	d = opendir(path);
	if (!d) {
		fprintf(stderr, "# %s: %m\n", path);
		return -errno;
	}
	while ((e = readdir(d))) {
		int fd;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s", lab->pins[host], sub,
			 e->d_name);
		fd = bpf_obj_get(path);
		if (fd < 0 || note(lab, host, fd))
			n = -1000;
		if (fd >= 0)
			close(fd);
		n++;
	}
	closedir(d);
	return n > 0 ? 0 : -1;
}

int lab_note_pins(struct lab *lab, enum lab_host host)
{
	return note_pins(lab, host, "progs", note_program)
		       ?: note_pins(lab, host, "maps", note_map);
}

int lab_all_gone(struct lab *lab, enum lab_host host)
{
	uint32_t *progs = lab->progs[host], *maps = lab->maps[host];
	int err = 0;

	/* The kernel frees them some time after the last reference is gone. */
	if (!BECOMES(left_none(LEFT_PROGS, progs, LAB_IDS) &&
		     left_none(LEFT_MAPS, maps, LAB_IDS))) {
		fprintf(stderr, "# shunt down left programs or maps\n");
		left_tell(LEFT_PROGS, progs, LAB_IDS);
		left_tell(LEFT_MAPS, maps, LAB_IDS);
		err = -1;
	}
	memset(progs, 0, sizeof(lab->progs[host]));
	memset(maps, 0, sizeof(lab->maps[host]));
	return err;
}

int lab_end_holddown(struct lab *lab, enum lab_host host)
{
	struct shunt_peer_key key, *prev = NULL;
	struct shunt_peer peer;
	char path[128];
	int fd, n = 0;

	snprintf(path, sizeof(path), "%s/maps/peers", lab->pins[host]);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	for (; !bpf_map_get_next_key(fd, prev, &key); prev = &key) {
		if (bpf_map_lookup_elem(fd, &key, &peer) ||
		    !peer.blocked_until_ns)
			continue;
		peer.blocked_until_ns = 1;
		n += !bpf_map_update_elem(fd, &key, &peer, BPF_EXIST);
	}
	close(fd);
	return n;
}
