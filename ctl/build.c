// SPDX-License-Identifier: GPL-2.0-only
/* Builds an instance: maps, programs, settings, devices, cgroup. */
#include "attach.h"
#include "cgroup.h"
#include "ctl.h"
#include "deploy.h"
#include "hop.h"
#include "instance.h"
#include "message.h"
#include "out.h"
#include "teardown.h"
#include "transport.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "shunt.skel.h"

struct build {
	const struct up_options *options;
	struct host host;
	struct cgroup cgroup;
	struct device devices[SHUNT_MAX_DEVICES];
	struct shunt_device entries[SHUNT_MAX_DEVICES];
	struct plan plans[SHUNT_MAX_DEVICES];
	char dir[PIN_DIR]; /* where we build */
	char final[PIN_DIR];
};

/* The slow paths of the hooks, reached by tail call. */
static const struct {
	enum shunt_tail at;
	const char *program;
} stages[] = {
	{SHUNT_TAIL_SYN_OUT, "shunt_syn_out"},
	{SHUNT_TAIL_SYN_IN, "shunt_syn_in"},
	{SHUNT_TAIL_PROBE_OUT, "shunt_probe_out"},
	{SHUNT_TAIL_SYNC_OUT, "shunt_sync_out"},
	{SHUNT_TAIL_PROBE_IN, "shunt_probe_in"},
	{SHUNT_TAIL_ICMP, "shunt_icmp"},
	{SHUNT_TAIL_ADOPT, "shunt_adopt"},
	{SHUNT_TAIL_INGRESS, "shunt_ingress_slow"},
	{SHUNT_TAIL_LATE_OUT, "shunt_late_out"},
	{SHUNT_TAIL_EGRESS, "shunt_egress"},
	{SHUNT_TAIL_HOLD, "shunt_hold"},
	{SHUNT_TAIL_FRAME_OUT, "shunt_frame_out"},
	{SHUNT_TAIL_FRAME_IN, "shunt_frame_in"},
	{SHUNT_TAIL_FRAME_ICMP, "shunt_frame_icmp"},
};

/* ---- nothing changes here ---- */

static int check_devices(struct build *b)
{
	const struct up_options *options = b->options;

	for (unsigned i = 0; i < options->n_devices; i++) {
		int err = device_open(options->devices[i], &b->devices[i]);

		if (err)
			return err;
		for (unsigned j = 0; j < i; j++)
			if (b->devices[i].ifindex == b->devices[j].ifindex)
				return shunt_err(-EINVAL, "%s: named twice",
						 options->devices[i]);
	}
	return 0;
}

static int plan(struct build *b)
{
	int err = 0;

	for (unsigned i = 0; !err && i < b->options->n_devices; i++)
		err = plan_ingress(&b->devices[i], b->options->ingress,
				   &b->plans[i]);
	return err;
}

static bool planned(const struct build *b, enum shunt_ingress ingress)
{
	for (unsigned i = 0; i < b->options->n_devices; i++)
		if (b->plans[i].ingress == ingress)
			return true;
	return false;
}

static int check_not_up(struct build *b)
{
	struct shunt_device first = {};
	__u32 zero = 0;
	int fd;

	if (access(b->final, F_OK))
		return 0;
	fd = pin_get(b->final, "maps", "devices");
	if (fd >= 0) {
		bpf_map_lookup_elem(fd, &zero, &first);
		close(fd);
	}
	return shunt_err(-EEXIST,
			 "already up in this network namespace (%s); `shunt "
			 "status` shows it, `shunt down` ends it",
			 first.name);
}

/* ---- maps and programs ---- */

static int configure(const struct build *b, struct shunt_bpf *skel)
{
	__u32 flows = b->options->max_flows;
	__u64 secret[2];
	int err;

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return shunt_err(-errno, "getrandom: %s", strerror(errno));
	skel->rodata->cfg_netns_cookie = b->host.netns_cookie;
	skel->rodata->cfg_max_flows = flows;
	skel->rodata->cfg_message_path = b->options->message.on;
	memcpy((void *)skel->rodata->cfg_secret, secret, sizeof(secret));
	/* Time in the verifier, for nothing; the slow one is a stage too. */
	bpf_program__set_autoload(skel->progs.shunt_ingress_tc,
				  planned(b, SHUNT_INGRESS_TC));
	bpf_program__set_autoload(skel->progs.shunt_ingress_xdp,
				  planned(b, SHUNT_INGRESS_XDP));
	err = message_configure(skel->obj, b->options->message.on);
	if (err)
		return err;
	err = bpf_map__set_max_entries(skel->maps.flow_index, flows);
	if (!err)
		/* Slot 0 is never used: 0 means "no flow" on the wire. */
		err = bpf_map__set_max_entries(skel->maps.flows, flows + 1);
	if (err)
		return shunt_err(err, "cannot size the flow table: %s",
				 strerror(-err));
	return 0;
}

static int pin_object(const char *dir, struct bpf_object *object)
{
	struct bpf_program *prog;
	struct bpf_map *map;
	int err;

	bpf_object__for_each_map (map, object) {
		if (bpf_map__is_internal(map))
			continue;
		err = pin_put(dir, "maps", bpf_map__name(map),
			      bpf_map__fd(map));
		if (err)
			return err;
	}
	bpf_object__for_each_program (prog, object) {
		int fd = bpf_program__fd(prog);

		/* Not needed by these devices, not loaded. */
		if (fd < 0)
			continue;
		err = pin_put(dir, "progs", bpf_program__name(prog), fd);
		if (err)
			return err;
	}
	return 0;
}

static int fill_stages(const struct shunt_bpf *skel)
{
	int array = bpf_map__fd(skel->maps.stages), err;

	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		struct bpf_program *prog;
		__u32 at = stages[i].at;
		int fd;

		prog = bpf_object__find_program_by_name(skel->obj,
							stages[i].program);
		if (!prog)
			return shunt_err(-ENOENT, "program %s is missing",
					 stages[i].program);
		fd = bpf_program__fd(prog);
		/* Of the message path, which is off. */
		if (fd < 0)
			continue;
		err = bpf_map_update_elem(array, &at, &fd, BPF_ANY);
		if (err)
			return shunt_err(err, "map stages: %s", strerror(-err));
	}
	return 0;
}

static int write_settings(const struct build *b, const struct shunt_bpf *skel)
{
	struct shunt_settings settings = {
		.abi = SHUNT_ABI,
		.max_flows = b->options->max_flows,
		.netns_cookie = b->host.netns_cookie,
		.started_ns = now_ns(),
		.cgroup = b->cgroup.id,
		.message_path = b->options->message.on,
	};
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	__u32 zero = 0;
	int err;

	err = transport_read_all(b->dir, all);
	if (!err)
		err = wish_parse(&b->options->wish, all, &settings.wish);
	if (err)
		return err;
	err = bpf_map_update_elem(bpf_map__fd(skel->maps.settings), &zero,
				  &settings, BPF_ANY);
	if (err)
		return shunt_err(err, "map settings: %s", strerror(-err));
	return 0;
}

static int load(const struct build *b)
{
	struct shunt_bpf *skel;
	int err;

	skel = shunt_bpf__open();
	if (!skel)
		return shunt_err(-errno, "cannot open our BPF object: %s",
				 strerror(errno));
	err = configure(b, skel);
	if (err)
		goto out;
	err = shunt_bpf__load(skel);
	if (err) {
		shunt_err(err,
			  "the kernel refused our BPF programs: %s; `shunt "
			  "doctor` says what it is missing, -v shows all",
			  strerror(-err));
		libbpf_log_tail();
		goto out;
	}
	err = pin_mkdirs(b->dir);
	if (!err)
		err = pin_object(b->dir, skel->obj);
	if (!err)
		err = fill_stages(skel);
	if (!err)
		err = deploy_builtins(b->dir);
	if (!err)
		err = write_settings(b, skel);
	if (!err && b->options->message.on)
		err = message_prepare(b->dir, &b->options->message);
out:
	shunt_bpf__destroy(skel);
	return err;
}

int build_try(bool message)
{
	struct shunt_bpf *skel;
	int err;

	skel = shunt_bpf__open();
	if (!skel)
		return -errno;
	skel->rodata->cfg_message_path = message;
	err = message_configure(skel->obj, message);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.flow_index, 1);
	if (!err)
		err = bpf_map__set_max_entries(skel->maps.flows, 2);
	if (!err)
		err = shunt_bpf__load(skel);
	shunt_bpf__destroy(skel);
	return err;
}

/* ---- devices ---- */

/*
 * Of a device that is taken away nothing remains but, with clsact, no trace
 * either: programs and maps would stay pinned for a namespace that has ended. A
 * devmap is the one map that the kernel clears when a device disappears or
 * leaves the namespace, so it says whether anybody can still use this instance.
 */
static int note_present(const struct build *b)
{
	int fd, err;

	fd = bpf_map_create(BPF_MAP_TYPE_DEVMAP, "shunt_present", sizeof(__u32),
			    sizeof(__u32), SHUNT_MAX_DEVICES, NULL);
	if (fd < 0)
		return shunt_err(fd, "map present: %s", strerror(-fd));
	err = pin_put(b->dir, "maps", "present", fd);
	for (__u32 i = 0; !err && i < b->options->n_devices; i++) {
		__u32 ifindex = b->devices[i].ifindex;

		err = bpf_map_update_elem(fd, &i, &ifindex, BPF_ANY);
		if (err)
			shunt_err(err, "%s: map present: %s",
				  b->devices[i].name, strerror(-err));
	}
	close(fd);
	return err;
}

/*
 * Decap on every device before encap on any, and sock_ops last: at no moment is
 * something offered to a peer that this host could not take in.
 */
static int attach(struct build *b)
{
	const struct up_options *options = b->options;
	int err;

	err = note_present(b);
	for (unsigned i = 0; !err && i < options->n_devices; i++)
		err = attach_ingress(b->dir, i, &b->devices[i], &b->plans[i],
				     options->attach, &b->entries[i]);
	for (unsigned i = 0; !err && i < options->n_devices; i++)
		err = attach_egress(b->dir, i, &b->entries[i]);
	return err;
}

/* The hops are ours as long as the devices: what attach() found is needed. */
static int make_hops(const struct build *b)
{
	struct instance in = {.host = HOST_INIT};
	int err;

	strcpy(in.dir, b->dir);
	err = instance_read_settings(&in);
	if (!err)
		err = hops_for_policy(&in);
	return err;
}

static int build(struct build *b)
{
	int err = load(b);

	if (!err)
		err = attach(b);
	if (!err)
		err = make_hops(b);
	if (!err && b->options->message.on)
		err = message_attach(b->dir, &b->cgroup);
	if (!err)
		err = attach_sock_ops(b->dir, &b->cgroup);
	return err;
}

/* It opens what is pinned by name, so not before it has its final name. */
static int start_proxy(struct build *b)
{
	int err;

	if (!b->options->message.on)
		return 0;
	err = proxy_start(b->final);
	if (err)
		teardown(&b->host, b->final);
	return err;
}

static void say_what_was_chosen(const struct build *b)
{
	for (unsigned i = 0; i < b->options->n_devices; i++)
		printf("%s: ingress %s (%s), attached by %s\n",
		       b->entries[i].name, ingress_name(b->entries[i].ingress),
		       b->plans[i].why, attach_name(b->entries[i].attach));
}

int instance_up(const struct up_options *options)
{
	struct build whole = {
		.options = options,
		.host = HOST_INIT,
		.cgroup.fd = -1,
	};
	struct build *b = &whole;
	int err;

	err = check_devices(b);
	if (!err)
		err = probes_check(options->probes, options->n_probes);
	if (!err && options->message.on)
		err = probes_check(probes_message, n_probes_message);
	if (!err)
		err = host_enter(&b->host);
	if (!err)
		err = cgroup_open(&b->host, options->cgroup, &b->cgroup);
	if (!err)
		err = host_mount_bpffs(&b->host);
	if (!err)
		err = host_lock(&b->host);
	if (err)
		goto out;
	pin_dir(b->final, b->host.netns_cookie);
	pin_dir_building(b->dir, b->host.netns_cookie);
	teardown_orphans(&b->host);
	err = check_not_up(b);
	if (err)
		goto out;
	err = plan(b);
	if (err)
		goto out;
	/* Each round a device gives up XDP, so they end. */
	while ((err = build(b)) == -EAGAIN)
		teardown(&b->host, b->dir);
	if (!err && rename(b->dir, b->final))
		err = shunt_err(-errno, "cannot rename %s to %s: %s", b->dir,
				b->final, strerror(errno));
	if (err)
		teardown(&b->host, b->dir);
	else
		err = start_proxy(b);
	if (!err)
		say_what_was_chosen(b);
out:
	cgroup_close(&b->cgroup);
	host_leave(&b->host);
	return err;
}
