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

	live->hand = pin_get(dir, "maps", "hand");
	if (live->hand < 0)
		return shunt_err(live->hand, "map hand: %s",
				 strerror(-live->hand));
	fd = pin_get(dir, "maps", "flows");
	if (fd < 0) {
		close(live->hand);
		return shunt_err(fd, "map flows: %s", strerror(-fd));
	}
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (!err) {
		live->n = info.max_entries;
		live->flow = mmap(NULL, live->n * sizeof(*live->flow),
				  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (live->flow == MAP_FAILED)
			err = -errno;
	}
	close(fd);
	if (err) {
		close(live->hand);
		shunt_err(err, "map flows: %s", strerror(-err));
	}
	return err;
}

size_t live_end(const struct live *live)
{
	__u32 zero = 0, hand;

	/* Slots are given away in turn (flow_claim), so the last one has had a
	 * flow when the hand's number overflows, and is small again. */
	if (live->flow[live->n - 1].created_ns ||
	    bpf_map_lookup_elem(live->hand, &zero, &hand) || hand >= live->n)
		return live->n;
	return hand + 1;
}

void live_close(struct live *live)
{
	munmap(live->flow, live->n * sizeof(*live->flow));
	close(live->hand);
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
