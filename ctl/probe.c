// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel can do, found out by trying; never by its version. */
#include "probe.h"

#include "attach.h"
#include "ctl.h"
#include "host.h"
#include "message.h"
#include "sockmap.h"
#include "uring.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

/* "return 1": every program type allows it. */
static int load_trivial(enum bpf_prog_type type, __u32 flags)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = flags);

	return bpf_prog_load(type, "shunt_probe", "GPL", insns,
			     ARRAY_SIZE(insns), &opts);
}

static int probe_type(enum bpf_prog_type type, __u32 flags)
{
	int fd = load_trivial(type, flags);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int probe_netns_cookie(char *detail, size_t size)
{
	__u64 cookie;
	int err;

	err = netns_cookie(&cookie);
	if (!err)
		snprintf(detail, size, "this one's is %llu", cookie);
	return err;
}

static int probe_sock_ops(char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return probe_type(BPF_PROG_TYPE_SOCK_OPS, 0);
}

static int probe_tc(char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return probe_type(BPF_PROG_TYPE_SCHED_CLS, 0);
}

static int probe_xdp_frags(char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return probe_type(BPF_PROG_TYPE_XDP, BPF_F_XDP_HAS_FRAGS);
}

/* A devmap lets go of a device that disappears: see build.c. */
static int probe_devmap(char *detail, size_t size)
{
	int fd;

	(void)detail;
	(void)size;
	fd = bpf_map_create(BPF_MAP_TYPE_DEVMAP, "shunt_probe", 4, 4, 1, NULL);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int probe_btf(char *detail, size_t size)
{
	snprintf(detail, size, "/sys/kernel/btf/vmlinux");
	return access("/sys/kernel/btf/vmlinux", R_OK) ? -errno : 0;
}

const struct probe probes_required[] = {
	{"network namespace cookies", probe_netns_cookie,
	 "needs Linux 5.14 or newer"},
	{"sock_ops programs", probe_sock_ops,
	 "needs CONFIG_CGROUP_BPF; CAP_BPF and CAP_NET_ADMIN"},
	{"TC programs", probe_tc, "needs CONFIG_NET_CLS_ACT"},
	{"XDP programs for packets in fragments", probe_xdp_frags,
	 "needs Linux 5.18 or newer"},
	{"BTF of the kernel", probe_btf, "needs CONFIG_DEBUG_INFO_BTF"},
	{"device maps", probe_devmap, "needs CONFIG_BPF_SYSCALL"},
};

const size_t n_probes_required = ARRAY_SIZE(probes_required);

static int probe_jit(char *detail, size_t size)
{
	FILE *file = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
	int value = 0;

	/* Hidden outside of the first network namespace: then do not worry. */
	if (!file)
		return 0;
	if (fscanf(file, "%d", &value) != 1)
		value = 0;
	fclose(file);
	snprintf(detail, size, "net.core.bpf_jit_enable = %d", value);
	return value ? 0 : -ENOENT;
}

static int probe_tcx(char *detail, size_t size)
{
	int fd, link;

	(void)detail;
	(void)size;
	fd = load_trivial(BPF_PROG_TYPE_SCHED_CLS, 0);
	if (fd < 0)
		return fd;
	/*
	 * No device has index 2^31 - 1: a kernel with tcx misses the device,
	 * one without does not know the attach type.
	 */
	link = bpf_link_create(fd, 0x7fffffff,
			       (enum bpf_attach_type)SHUNT_TCX_INGRESS, NULL);
	close(fd);
	return link == -ENODEV ? 0 : link;
}

const struct probe probes_optional[] = {
	{"BPF JIT compiler", probe_jit,
	 "slow without: `sysctl net.core.bpf_jit_enable=1`"},
	{"TC programs by link (tcx)", probe_tcx,
	 "clsact is used instead; tcx needs Linux 6.6"},
};

const size_t n_probes_optional = ARRAY_SIZE(probes_optional);

static int probe_reader(char *detail, size_t size)
{
	const char *by = message_reader();

	if (!by)
		return -ENOTSUP;
	snprintf(detail, size, "by %s", by);
	return 0;
}

/* By a map of our own, and a socket. */
static int probe_storage(char *detail, size_t size)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct btf *btf = btf__new_empty();
	int map = -ENOMEM, fd = socket(AF_INET, SOCK_STREAM, 0), err;
	__u32 value = 0;

	(void)detail;
	(void)size;
	if (btf && btf__add_int(btf, "int", 4, BTF_INT_SIGNED) == 1 &&
	    !btf__load_into_kernel(btf)) {
		opts.btf_fd = btf__fd(btf);
		opts.btf_key_type_id = opts.btf_value_type_id = 1;
		map = bpf_map_create(BPF_MAP_TYPE_SK_STORAGE, "shunt_probe", 4,
				     4, 0, &opts);
	}
	err = map < 0  ? map
	      : fd < 0 ? -errno
		       : bpf_map_update_elem(map, &fd, &value, BPF_ANY);
	if (map >= 0)
		close(map);
	if (fd >= 0)
		close(fd);
	btf__free(btf);
	return err;
}

static int probe_wakeups(char *detail, size_t size)
{
	unsigned failures = sockmap_try();

	if (failures & SOCKMAP_NONE)
		return geteuid() ? -EPERM : -ENOTSUP;
	snprintf(detail, size, "recv() %s, epoll %s, EPOLLET %s",
		 failures & SOCKMAP_RECV ? "not" : "yes",
		 failures & SOCKMAP_LEVEL ? "not" : "yes",
		 failures & SOCKMAP_EDGE ? "not" : "yes");
	return failures & (SOCKMAP_RECV | SOCKMAP_LEVEL | SOCKMAP_EDGE)
		       ? -ENOTSUP
		       : 0;
}

static int probe_fionread(char *detail, size_t size)
{
	const unsigned both = SOCKMAP_FIONREAD | SOCKMAP_FIONREAD_TCP;
	unsigned failures = sockmap_try();

	if (failures & SOCKMAP_NONE)
		return geteuid() ? -EPERM : -ENOTSUP;
	snprintf(detail, size, "messages %s, TCP's own bytes %s",
		 failures & SOCKMAP_FIONREAD ? "not" : "yes",
		 failures & SOCKMAP_FIONREAD_TCP ? "not" : "yes");
	return failures & both ? -ENOTSUP : 0;
}

static int probe_zero_copy(char *detail, size_t size)
{
	int err = uring_has(IORING_OP_SENDMSG_ZC);

	if (!err)
		snprintf(detail, size, "from %u KB on",
			 SHUNT_MSG_ZERO_COPY >> 10);
	return err;
}

static int probe_loops(char *detail, size_t size)
{
	snprintf(detail, size, "%u, one for each CPU it may use, up to %d",
		 message_loops(), SHUNT_MSG_LOOPS);
	return 0;
}

const struct probe probes_message[] = {
	{"message path: what applications have read", probe_reader,
	 "needs fexit programs, or the tracepoint sock_recv_length (6.3)"},
	{"message path: storage for sockets", probe_storage,
	 "newer kernels need a processor with cmpxchg16b for it"},
	{"message path: wake-ups by sockmap", probe_wakeups,
	 "a bug of this kernel's, like 929e30f93125; use the segment path"},
};

const size_t n_probes_message = ARRAY_SIZE(probes_message);

const struct probe probes_message_optional[] = {
	{"message path: FIONREAD", probe_fionread,
	 "shows too little; who needs it belongs on the segment path"},
	{"message path: sends without a copy", probe_zero_copy,
	 "the proxy copies; needs SENDMSG_ZC of io_uring (6.1)"},
	{"message path: event loops", probe_loops, ""},
};

const size_t n_probes_message_optional = ARRAY_SIZE(probes_message_optional);

int probes_check(const struct probe *probes, size_t n)
{
	char detail[64];

	for (size_t i = 0; i < n; i++) {
		int err = probes[i].run(detail, sizeof(detail));

		if (err)
			return shunt_err(err,
					 "this kernel is missing: %s (%s); %s",
					 probes[i].name, strerror(-err),
					 probes[i].advice);
	}
	return 0;
}
