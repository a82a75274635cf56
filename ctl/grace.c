// SPDX-License-Identifier: GPL-2.0-only
/* See grace.h. */
#include "grace.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

/*
 * A map in a map: the kernel answers an update of the outer one when nobody
 * uses the old value any more (maybe_wait_bpf_programs(), kernel commit
 * 1ae80cf31938, 4.18). membarrier(MEMBARRIER_CMD_GLOBAL) waits as well, but is
 * refused where there are nohz_full CPUs.
 */
int grace_wait(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	int inner, outer = -1, err;
	__u32 zero = 0;

	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "shunt_grace", sizeof(zero),
			       sizeof(zero), 1, NULL);
	if (inner < 0)
		return -errno;
	opts.inner_map_fd = inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "shunt_grace",
			       sizeof(zero), sizeof(zero), 1, &opts);
	err = outer < 0 || bpf_map_update_elem(outer, &zero, &inner, BPF_ANY)
		      ? -errno
		      : 0;
	if (outer >= 0)
		close(outer);
	close(inner);
	return err;
}
