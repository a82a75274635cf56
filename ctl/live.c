// SPDX-License-Identifier: GPL-2.0-only
/* The flow table itself: see live.h. */
#include "live.h"

#include "ctl.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int live_open(const char *dir, struct live *live)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int fd, err;

	fd = pin_get(dir, "maps", "flows");
	if (fd < 0)
		return shunt_err(fd, "map flows: %s", strerror(-fd));
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (!err) {
		live->n = info.max_entries;
		live->flow = mmap(NULL, live->n * sizeof(*live->flow),
				  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (live->flow == MAP_FAILED)
			err = -errno;
	}
	close(fd);
	if (err)
		shunt_err(err, "map flows: %s", strerror(-err));
	return err;
}

void live_close(struct live *live)
{
	munmap(live->flow, live->n * sizeof(*live->flow));
}

bool live_leave(struct shunt_flow *f, enum shunt_reason reason)
{
	if (f->life != SHUNT_LIVE ||
	    (f->tx != SHUNT_TX_ENCAP && f->tx != SHUNT_TX_PROBING))
		return false;
	f->reason = reason;
	f->tx = SHUNT_TX_LEAVING;
	return true;
}
