// SPDX-License-Identifier: GPL-2.0-only
/* What else there is of a transport that goes: see withdraw.h. */
#include "withdraw.h"

#include "ctl.h"
#include "out.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* So long nothing has come in: longer than PLAIN_MS of bpf/track.h, after which
 * a peer that hears plain TCP sends it, too. */
#define QUIET_MS    100
#define PATIENCE_NS SHUNT_NSEC

void withdraw_grace(void)
{
	/* Waits for an RCU grace period; not available with nohz_full. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* ---- flows ---- */

struct flows {
	struct shunt_flow *flow;
	size_t n;
};

/* The table itself, not a copy: single bytes can be written while BPF programs
 * count packets beside them. */
static int flows_open(const char *dir, struct flows *flows)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int fd, err;

	fd = pin_get(dir, "maps", "flows");
	if (fd < 0)
		return shunt_err(fd, "map flows: %s", strerror(-fd));
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (!err) {
		flows->n = info.max_entries;
		flows->flow = mmap(NULL, flows->n * sizeof(*flows->flow),
				   PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (flows->flow == MAP_FAILED)
			err = -errno;
	}
	close(fd);
	if (err)
		shunt_err(err, "map flows: %s", strerror(-err));
	return err;
}

static void flows_close(struct flows *flows)
{
	munmap(flows->flow, flows->n * sizeof(*flows->flow));
}

static bool is_of(const struct shunt_flow *f, unsigned number)
{
	return f->life == SHUNT_LIVE && f->transport == number;
}

static void fall_back(struct flows *flows, unsigned number)
{
	for (size_t i = 1; i < flows->n; i++) {
		struct shunt_flow *f = &flows->flow[i];

		if (!is_of(f, number) ||
		    (f->tx != SHUNT_TX_ENCAP && f->tx != SHUNT_TX_PROBING))
			continue;
		f->reason = SHUNT_REASON_NO_TRANSPORT;
		f->tx = SHUNT_TX_LEAVING;
	}
}

static bool is_quiet(const struct flows *flows, unsigned number)
{
	__u32 tick = now_ns() >> SHUNT_TICK_SHIFT;
	__u32 quiet = QUIET_MS * 1000000ULL >> SHUNT_TICK_SHIFT;

	for (size_t i = 1; i < flows->n; i++) {
		const struct shunt_flow *f = &flows->flow[i];

		if (is_of(f, number) && f->rx_tick &&
		    (__s32)(tick - f->rx_tick) < (__s32)quiet)
			return false;
	}
	return true;
}

int withdraw_flows(const char *dir, unsigned number)
{
	const struct timespec step = {.tv_nsec = 10 * 1000000};
	__u64 began = now_ns();
	struct flows flows = {};
	int err;

	err = flows_open(dir, &flows);
	if (err)
		return err;
	fall_back(&flows, number);
	while (!is_quiet(&flows, number) &&
	       ns_since(now_ns(), began) < PATIENCE_NS)
		nanosleep(&step, NULL);
	/* A packet that was on its way may have made another flow. */
	fall_back(&flows, number);
	flows_close(&flows);
	return 0;
}

/* ---- peers ---- */

void withdraw_peers(const char *dir, unsigned number)
{
	struct shunt_peer_key key, next;
	int fd, end;

	fd = pin_get(dir, "maps", "peers");
	if (fd < 0)
		return;
	end = bpf_map_get_next_key(fd, NULL, &next);
	while (!end) {
		key = next;
		end = bpf_map_get_next_key(fd, &key, &next);
		if (key.transport == number)
			bpf_map_delete_elem(fd, &key);
	}
	close(fd);
}

/* ---- rules ---- */

static bool names(const struct shunt_wish *wish, unsigned number)
{
	for (int i = 0; i < SHUNT_MAX_WISHES; i++)
		if (wish->transports[i] == number)
			return true;
	return false;
}

bool withdraw_is_wished(const char *dir, unsigned number)
{
	struct shunt_settings settings;
	struct shunt_rule rule;
	__u32 zero = 0;
	bool found = false;
	int fd;

	fd = pin_get(dir, "maps", "settings");
	if (fd >= 0) {
		found = !bpf_map_lookup_elem(fd, &zero, &settings) &&
			names(&settings.wish, number);
		close(fd);
	}
	fd = pin_get(dir, "maps", "rules");
	for (__u32 i = 0; fd >= 0 && !found && i < 2 * SHUNT_MAX_RULES; i++)
		found = !bpf_map_lookup_elem(fd, &i, &rule) &&
			names(&rule.wish, number);
	if (fd >= 0)
		close(fd);
	return found;
}
