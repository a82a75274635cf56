/* SPDX-License-Identifier: GPL-2.0-only */
/* The rig's maps, for bpf_run.c and rig_maps.c alone. */
#ifndef RIG_MAPS_H
#define RIG_MAPS_H

#include "bpf_run.h"
#include "shunt.skel.h"
#include "udp.skel.h"
#include "udplite.skel.h"

#define MAP_FD(r, name) bpf_map__fd((r)->hooks->maps.name)

/* All maps as the kernel makes them, but for the constants. */
int rig_clear_maps(struct rig *r);
int map_put(int map, __u32 index, const void *value);

#endif
