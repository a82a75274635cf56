// SPDX-License-Identifier: GPL-2.0-only
/* What else there is of a transport that goes: see withdraw.h. */
#include "withdraw.h"

#include "ctl.h"
#include "grace.h"
#include "live.h"
#include "out.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* So long nothing has come in: longer than PLAIN_MS of bpf/track.h, after which
 * a peer that hears plain TCP sends it, too. */
#define QUIET_MS    100
#define PATIENCE_NS SHUNT_NSEC

int withdraw_grace(void)
{
	int err = grace_wait();

	return err ? shunt_err(err, "cannot wait for running programs: %s",
			       strerror(-err))
		   : 0;
}

/* ---- flows ---- */

static bool is_of(const struct shunt_flow *f, unsigned number)
{
	return f->life == SHUNT_LIVE &&
	       (number == SHUNT_TCP || f->transport == number);
}

static void leave(struct live *live, unsigned number)
{
	size_t end = live_end(live);

	for (size_t i = 1; i < end; i++)
		if (is_of(&live->flow[i], number))
			live_leave(&live->flow[i], SHUNT_REASON_NO_TRANSPORT);
}

static bool is_quiet(const struct live *live, unsigned number)
{
	__u32 tick = now_ns() >> SHUNT_TICK_SHIFT;
	__u32 quiet = QUIET_MS * 1000000ULL >> SHUNT_TICK_SHIFT;
	size_t end = live_end(live);

	for (size_t i = 1; i < end; i++) {
		const struct shunt_flow *f = &live->flow[i];

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
	struct live live = {};
	int err;

	err = live_open(dir, &live);
	if (err)
		return err;
	leave(&live, number);
	while (!is_quiet(&live, number) &&
	       ns_since(now_ns(), began) < PATIENCE_NS)
		nanosleep(&step, NULL);
	/* A packet that was on its way may have made another flow. */
	leave(&live, number);
	live_close(&live);
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
