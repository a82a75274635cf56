// SPDX-License-Identifier: GPL-2.0-only
/* Puts the pinned programs of an instance onto devices and a cgroup. */
#include "attach.h"

#include "ctl.h"
#include "netlink.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BPF_F_BEFORE (1U << 3)

/*
 * As layers of an onion: decap before all others that look at the packet, encap
 * after them, so that everybody else sees the TCP segment. The numbers leave
 * room in front for those who ask for it, and come before (after) the ones that
 * the kernel gives out by itself, which start at 49152.
 */
#define PRIORITY_INGRESS 0x5348
#define PRIORITY_EGRESS	 0xfff0
#define FILTER_HANDLE	 1

struct hook {
	enum bpf_tc_attach_point point;
	int tcx;
	unsigned tcx_flags;
	unsigned priority;
	const char *name;
};

static const struct hook hook_ingress = {
	BPF_TC_INGRESS,	  SHUNT_TCX_INGRESS, BPF_F_BEFORE,
	PRIORITY_INGRESS, "ingress",
};

static const struct hook hook_egress = {
	BPF_TC_EGRESS, SHUNT_TCX_EGRESS, 0, PRIORITY_EGRESS, "egress",
};

static const struct hook hook_hop = {
	BPF_TC_INGRESS, SHUNT_TCX_INGRESS, 0, PRIORITY_INGRESS, "hop",
};

static const struct hook hook_hop_egress = {
	BPF_TC_EGRESS, SHUNT_TCX_EGRESS, 0, PRIORITY_EGRESS, "hop-egress",
};

const char *attach_name(unsigned attach)
{
	return attach == SHUNT_ATTACH_TCX ? "tcx" : "clsact";
}

const char *ingress_name(unsigned ingress)
{
	return ingress == SHUNT_INGRESS_XDP ? "xdp" : "tc";
}

static void link_name(char buf[static PIN_NAME], unsigned i, const char *hook)
{
	snprintf(buf, PIN_NAME, "%u_%s", i, hook);
}

static int write_entry(const char *dir, unsigned i,
		       const struct shunt_device *entry)
{
	int fd, err = 0;

	fd = pin_get(dir, "maps", "devices");
	if (fd < 0)
		return shunt_err(fd, "map devices: %s", strerror(-fd));
	if (bpf_map_update_elem(fd, &i, entry, BPF_ANY))
		err = shunt_err(-errno, "map devices: %s", strerror(errno));
	close(fd);
	return err;
}

/* ---- TC ---- */

static int attach_tcx(const char *dir, unsigned i,
		      const struct shunt_device *entry, const struct hook *hook,
		      int prog)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = hook->tcx_flags);
	char name[PIN_NAME];
	int link, err;

	link = bpf_link_create(prog, entry->ifindex,
			       (enum bpf_attach_type)hook->tcx, &opts);
	if (link < 0)
		return link;
	link_name(name, i, hook->name);
	err = pin_put(dir, "links", name, link);
	close(link);
	return err;
}

static int attach_filter(const char *dir, unsigned i,
			 struct shunt_device *entry, const struct hook *hook,
			 int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = entry->ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE,
		    .priority = hook->priority, .prog_fd = prog);
	int err;

	err = bpf_tc_hook_create(&tc);
	if (!err) {
		entry->made_clsact = 1;
		err = write_entry(dir, i, entry);
		if (err)
			return err;
	} else if (err != -EEXIST) {
		return err;
	}
	tc.attach_point = hook->point;
	return bpf_tc_attach(&tc, &opts);
}

static const char *tc_advice(int err)
{
	switch (err) {
	case -EEXIST:
		return "a filter of that priority is there already; `tc filter "
		       "show` lists them";
	case -EINVAL:
	case -EOPNOTSUPP:
	case -ENOENT:
		return "the kernel needs tcx (6.6) or CONFIG_NET_SCH_INGRESS "
		       "and CONFIG_NET_CLS_BPF";
	default:
		return "`shunt doctor` says what this device can do";
	}
}

static int attach_tc(const char *dir, unsigned i, struct shunt_device *entry,
		     enum attach_choice choice, const struct hook *hook,
		     const char *prog_name)
{
	int prog, err;

	prog = pin_get(dir, "progs", prog_name);
	if (prog < 0)
		return shunt_err(prog, "program %s: %s", prog_name,
				 strerror(-prog));
	err = -EINVAL;
	if (entry->attach == SHUNT_ATTACH_TCX)
		err = attach_tcx(dir, i, entry, hook, prog);
	/* A kernel before e420bed02507 (6.6) does not know the attach type. */
	if (err == -EINVAL && choice == ATTACH_AUTO)
		entry->attach = SHUNT_ATTACH_CLSACT;
	if (entry->attach == SHUNT_ATTACH_CLSACT)
		err = attach_filter(dir, i, entry, hook, prog);
	close(prog);
	if (err)
		shunt_err(err, "%s: cannot attach to TC %s by %s: %s; %s",
			  entry->name, hook->name, attach_name(entry->attach),
			  strerror(-err), tc_advice(err));
	return err;
}

static unsigned prog_id(const char *dir, const char *name)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd, err;

	fd = pin_get(dir, "progs", name);
	if (fd < 0)
		return 0;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	return err ? 0 : info.id;
}

static void detach_filter(const char *dir, const struct shunt_device *entry,
			  const struct hook *hook, const char *prog_name)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = entry->ifindex,
		    .attach_point = hook->point);
	LIBBPF_OPTS(bpf_tc_opts, found, .handle = FILTER_HANDLE,
		    .priority = hook->priority);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE,
		    .priority = hook->priority);

	/*
	 * Whatever the entry says: a crash may have come before it was known.
	 * And somebody may have put another filter in the place of ours.
	 */
	if (bpf_tc_query(&tc, &found) ||
	    found.prog_id != prog_id(dir, prog_name))
		return;
	bpf_tc_detach(&tc, &opts);
}

static void detach_link(const char *dir, unsigned i, const char *hook)
{
	char name[PIN_NAME];
	int fd;

	link_name(name, i, hook);
	fd = pin_get(dir, "links", name);
	if (fd < 0)
		return;
	/* The pin's removal would detach it too, but some time later. */
	bpf_link_detach(fd);
	close(fd);
	pin_remove(dir, "links", name);
}

/* ---- XDP ---- */

/* Returns 0, or the driver's -errno; has not complained then. */
static int attach_xdp(const char *dir, unsigned i, const struct device *dev)
{
	/* Never generic XDP: it copies every packet. */
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	char name[PIN_NAME];
	int prog, link, err;

	prog = pin_get(dir, "progs", "shunt_ingress_xdp");
	if (prog < 0)
		return prog;
	link = bpf_link_create(prog, dev->ifindex, BPF_XDP, &opts);
	close(prog);
	if (link < 0)
		return link;
	link_name(name, i, "xdp");
	err = pin_put(dir, "links", name, link);
	close(link);
	return err;
}

/* ---- a device ---- */

int attach_ingress(const char *dir, unsigned i, const struct device *dev,
		   struct plan *plan, enum attach_choice attach,
		   struct shunt_device *entry)
{
	int err;

	memset(entry, 0, sizeof(*entry));
	entry->ifindex = dev->ifindex;
	strcpy(entry->name, dev->name);
	entry->ingress = plan->ingress;
	entry->attach = attach == ATTACH_CLSACT ? SHUNT_ATTACH_CLSACT
						: SHUNT_ATTACH_TCX;
	err = write_entry(dir, i, entry);
	if (err)
		return err;
	if (plan->ingress == SHUNT_INGRESS_XDP) {
		err = attach_xdp(dir, i, dev);
		if (err)
			return plan_refuse_xdp(dev, plan, err);
	}
	/* In XDP mode TC still has the handshakes and the probes. */
	err = attach_tc(dir, i, entry, attach, &hook_ingress,
			entry->ingress == SHUNT_INGRESS_XDP
				? "shunt_ingress_slow"
				: "shunt_ingress_tc");
	/* Now it is known whether it became clsact. */
	if (!err)
		err = write_entry(dir, i, entry);
	return err;
}

int attach_egress(const char *dir, unsigned i, const struct shunt_device *entry)
{
	struct shunt_device copy = *entry;

	return attach_tc(dir, i, &copy,
			 entry->attach == SHUNT_ATTACH_TCX ? ATTACH_TCX
							   : ATTACH_CLSACT,
			 &hook_egress, "shunt_egress");
}

int attach_hop(const char *dir, unsigned i, const struct shunt_device *device,
	       const char *far, __u32 ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct shunt_device end = {.ifindex = ifindex,
				   .attach = device->attach};
	enum attach_choice attach;
	int err = 0;

	snprintf(end.name, sizeof(end.name), "%s", far);
	/* Goes away with the veth: nobody has to know that it is ours. */
	if (end.attach == SHUNT_ATTACH_CLSACT)
		err = bpf_tc_hook_create(&tc);
	if (err && err != -EEXIST)
		return shunt_err(err, "%s: no clsact: %s", far, strerror(-err));
	attach = end.attach == SHUNT_ATTACH_TCX ? ATTACH_TCX : ATTACH_CLSACT;
	err = attach_tc(dir, i, &end, attach, &hook_hop, "shunt_hop");
	if (!err)
		err = attach_tc(dir, i, &end, attach, &hook_hop_egress,
				"shunt_hop");
	return err;
}

void detach_egress(const char *dir, unsigned i,
		   const struct shunt_device *entry)
{
	detach_link(dir, i, hook_egress.name);
	detach_filter(dir, entry, &hook_egress, "shunt_egress");
}

void detach_ingress(const char *dir, unsigned i,
		    const struct shunt_device *entry)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = entry->ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	detach_link(dir, i, "xdp");
	detach_link(dir, i, hook_ingress.name);
	detach_filter(dir, entry, &hook_ingress, "shunt_ingress_tc");
	detach_filter(dir, entry, &hook_ingress, "shunt_ingress_slow");
	/* Others may have come to use it since. */
	if (entry->made_clsact && netlink_count_filters(entry->ifindex) == 0)
		bpf_tc_hook_destroy(&tc);
}

/* ---- the cgroup ---- */

int attach_sock_ops(const char *dir, const struct cgroup *cg)
{
	int prog, link, err;

	/* The one or the other, see message_configure(). */
	prog = pin_get(dir, "progs", "shunt_sock_ops");
	if (prog == -ENOENT)
		prog = pin_get(dir, "progs", "shunt_msg_sock_ops");
	if (prog < 0)
		return shunt_err(prog, "program shunt_sock_ops: %s",
				 strerror(-prog));
	link = bpf_link_create(prog, cg->fd, BPF_CGROUP_SOCK_OPS, NULL);
	close(prog);
	if (link == -EPERM)
		return shunt_err(link,
				 "%s: somebody holds sock_ops there and does "
				 "not share it; `bpftool cgroup show %s` says "
				 "who",
				 cg->path, cg->path);
	if (link < 0)
		return shunt_err(link, "%s: cannot attach sock_ops: %s",
				 cg->path, strerror(-link));
	err = pin_put(dir, "links", "sock_ops", link);
	close(link);
	return err;
}

void detach_sock_ops(const char *dir)
{
	int fd;

	fd = pin_get(dir, "links", "sock_ops");
	if (fd < 0)
		return;
	bpf_link_detach(fd);
	close(fd);
	pin_remove(dir, "links", "sock_ops");
}

bool sock_ops_attached(const char *dir)
{
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	int fd, err;

	fd = pin_get(dir, "links", "sock_ops");
	if (fd < 0)
		return false;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	return !err && info.cgroup.cgroup_id;
}
