// SPDX-License-Identifier: GPL-2.0-only
/* `shunt up` and `down`: what they make, refuse, and leave behind. */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cli_run.h"
#include "instance.h"

static struct cli_output o;
static char before[16384], after[16384];

/* ---- every way to attach ---- */

FIXTURE(ways)
{
	struct cli_ids ids;
};

FIXTURE_VARIANT(ways)
{
	const char *ingress;
	const char *attach;
	const char *ingress_is;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(ways, defaults) { "auto", "auto", "xdp" };
FIXTURE_VARIANT_ADD(ways, xdp_tcx) { "xdp", "tcx", "xdp" };
FIXTURE_VARIANT_ADD(ways, tc_tcx) { "tc", "tcx", "tc" };
FIXTURE_VARIANT_ADD(ways, xdp_clsact) { "xdp", "clsact", "xdp" };
FIXTURE_VARIANT_ADD(ways, tc_clsact) { "tc", "clsact", "tc" };
/* clang-format on */

static bool have_tcx(void)
{
	unsigned n = 0;

	return !bpf_prog_query(if_nametoindex("lo"), SHUNT_TCX_INGRESS, 0, NULL,
			       NULL, &n);
}

FIXTURE_SETUP(ways)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	cli_state(before, sizeof(before));
}

FIXTURE_TEARDOWN(ways)
{
}

TEST_F(ways, up_status_down)
{
	json_t *json, *devices, *entry;
	const char *kind;
	char text[64];
	size_t i;

	if (!strcmp(variant->attach, "tcx") && !have_tcx())
		SKIP(return, "this kernel has no tcx (needs 6.6)");
	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "v1", "--ingress",
			   variant->ingress, "--attach", variant->attach))
	TH_LOG("%s", o.err);
	EXPECT_FALSE(cli_too_wide(o.out));
	snprintf(text, sizeof(text), "v0: ingress %s (", variant->ingress_is);
	EXPECT_NE(NULL, strstr(o.out, text)) TH_LOG("%s", o.out);
	EXPECT_NE(NULL, strstr(o.out, "v1: ingress "));
	ASSERT_EQ(0, cli_ids(&self->ids));
	EXPECT_LE(9, self->ids.progs);
	EXPECT_LE(12, self->ids.maps);

	ASSERT_EQ(0, shunt(&o, "status", "-j"));
	json = cli_json(&o);
	ASSERT_NE(NULL, json);
	devices = json_object_get(json, "devices");
	EXPECT_EQ(2, json_array_size(devices));
	kind = strcmp(variant->attach, "auto") ? variant->attach
	       : have_tcx()		       ? "tcx"
					       : "clsact";
	json_array_foreach (devices, i, entry) {
		EXPECT_STREQ(
			variant->ingress_is,
			json_string_value(json_object_get(entry, "ingress")));
		EXPECT_STREQ(kind, json_string_value(
					   json_object_get(entry, "attach")));
		EXPECT_TRUE(json_is_true(json_object_get(entry, "present")));
	}
	EXPECT_TRUE(json_is_true(json_object_get(json, "cgroup_attached")));
	EXPECT_EQ(2, json_array_size(json_object_get(json, "transports")));
	EXPECT_EQ(SHUNT_MAX_FLOWS,
		  json_integer_value(json_object_get(
			  json_object_get(json, "flows"), "max")));
	EXPECT_EQ(cli_cookie(),
		  json_integer_value(json_object_get(json, "netns_cookie")));
	EXPECT_TRUE(json_is_string(json_object_get(json, "since")));
	json_decref(json);
	ASSERT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, "device     v0, ingress"));
	EXPECT_FALSE(cli_too_wide(o.out));

	ASSERT_EQ(0, shunt(&o, "down")) TH_LOG("%s", o.err);
	EXPECT_STREQ("", o.err);
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	EXPECT_TRUE(cli_ids_gone(&self->ids));
}

/* ---- one device, one namespace ---- */

FIXTURE(up)
{
	struct cli_ids ids;
};

FIXTURE_SETUP(up)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	cli_state(before, sizeof(before));
}

FIXTURE_TEARDOWN(up)
{
	shunt(&o, "down");
}

/* The command fails and says this. */
#define EXPECT_SAID(says)                                                 \
	do {                                                              \
		EXPECT_EQ(1, o.status);                                   \
		EXPECT_NE(NULL, strstr(o.err, says)) TH_LOG("%s", o.err); \
		EXPECT_EQ(0, strncmp(o.err, "shunt: ", 7));               \
		EXPECT_STREQ("", o.out);                                  \
	} while (0)

/* Nothing is different. To see that takes a guest longer than a command that
 * fails, so it is done once for several: what one leaves, the next ones do not
 * take away. */
#define EXPECT_UNCHANGED()                       \
	do {                                     \
		cli_state(after, sizeof(after)); \
		EXPECT_STREQ(before, after);     \
	} while (0)

#define EXPECT_REFUSED(says)        \
	do {                        \
		EXPECT_SAID(says);  \
		EXPECT_UNCHANGED(); \
	} while (0)

TEST_F(up, unknown_device)
{
	shunt(&o, CLI_UP, "--dev", "eth9");
	EXPECT_SAID("eth9: no such device; `ip link` lists them");
	shunt(&o, CLI_UP, "--dev", "v0", "a-name-that-is-far-too-long");
	EXPECT_REFUSED("a-name-that-is-far-too-long: no such device");
}

TEST_F(up, device_named_twice)
{
	shunt(&o, CLI_UP, "--dev", "v0,v1", "v0");
	EXPECT_REFUSED("v0: named twice");
}

TEST_F(up, device_without_ethernet)
{
	if (cli_sh(&o, "ip tuntap add dev tun0 mode tun"))
		SKIP(return, "cannot make a tun device: %.200s", o.err);
	cli_state(before, sizeof(before));
	shunt(&o, CLI_UP, "--dev", "tun0");
	EXPECT_REFUSED("tun0: carries no Ethernet frames");
}

/* A hierarchy of version 1 of our own: a machine need not have one mounted. */
TEST_F(up, cgroup_v1)
{
	char path[] = "/tmp/shunt-cgroup-XXXXXX";

	ASSERT_NE(NULL, mkdtemp(path));
	ASSERT_EQ(0, mount("none", path, "cgroup", 0, "none,name=shunt-test"));
	shunt(&o, CLI_UP, "--dev", "v0", "--cgroup", path);
	EXPECT_EQ(0, umount2(path, MNT_DETACH));
	EXPECT_EQ(0, rmdir(path));
	EXPECT_REFUSED("a cgroup v1; shunt needs cgroup v2, which is at /");
}

TEST_F(up, no_cgroup)
{
	shunt(&o, CLI_UP, "--dev", "v0", "--cgroup", "/tmp");
	EXPECT_SAID("/tmp: not a cgroup; cgroup v2 is at /");
	shunt(&o, CLI_UP, "--dev", "v0", "--cgroup", "/nonexistent");
	EXPECT_SAID("/nonexistent: No such file or directory; cgroup v2 is");
	shunt(&o, CLI_UP, "--dev", "v0", "--cgroup", "nonexistent/here");
	EXPECT_SAID("nonexistent/here: No such file");
	shunt(&o, CLI_UP, "--dev", "v0", "--cgroup", "cgroup.procs");
	EXPECT_REFUSED("a cgroup is a directory");
}

TEST_F(up, device_without_xdp)
{
	shunt(&o, CLI_UP, "--dev", "lo", "--ingress", "xdp");
	EXPECT_SAID("offers no native XDP; use --ingress tc");
	/* And in company nothing is left on the other one. */
	shunt(&o, CLI_UP, "--dev", "v0", "lo", "--ingress", "xdp");
	EXPECT_REFUSED("lo: ");
}

static int attach_xdp_pass(const char *dev)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 2 /* XDP_PASS */},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int prog, link;

	prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "somebody", "GPL", insns, 2,
			     NULL);
	if (prog < 0)
		return prog;
	link = bpf_link_create(prog, if_nametoindex(dev), BPF_XDP, &opts);
	close(prog);
	return link;
}

TEST_F(up, xdp_taken)
{
	int link = attach_xdp_pass("v0");

	ASSERT_LE(0, link);
	cli_state(before, sizeof(before));
	shunt(&o, CLI_UP, "--dev", "v0", "--ingress", "xdp");
	EXPECT_REFUSED("XDP is taken by program");
	EXPECT_NE(NULL, strstr(o.err, "(somebody)"));
	EXPECT_NE(NULL, strstr(o.err, "--ingress tc"));
	/* Whoever leaves it to us gets TC, and is told why. */
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0"));
	EXPECT_NE(NULL, strstr(o.out, "v0: ingress tc (XDP is taken by"));
	EXPECT_EQ(0, shunt(&o, "down"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	close(link);
}

/* veth has native XDP, but not with more queues at the other end. */
TEST_F(up, queues_that_forbid_xdp)
{
	ASSERT_EQ(0, cli_sh(&o, "ip link add w0 numrxqueues 1 type veth "
				"peer name w1 numtxqueues 2 && "
				"ethtool -L w1 tx 2 && "
				"ip link set w0 up && ip link set w1 up"))
	TH_LOG("%s", o.err);
	cli_state(before, sizeof(before));
	shunt(&o, CLI_UP, "--dev", "v0", "w0", "--ingress", "xdp");
	EXPECT_REFUSED("w0: driver veth ");
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "w0"))
	TH_LOG("%s", o.err);
	EXPECT_NE(NULL, strstr(o.out, "v0: ingress xdp"));
	EXPECT_NE(NULL, strstr(o.out, "w0: ingress tc (driver veth "));
	EXPECT_EQ(0, shunt(&o, "down"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
}

TEST_F(up, twice)
{
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0"));
	cli_state(before, sizeof(before));
	shunt(&o, CLI_UP, "--dev", "v1");
	EXPECT_REFUSED("already up in this network namespace (v0); `shunt");
}

TEST_F(up, not_up)
{
	static const char *const commands[] = {
		"down",	      "status",	      "flows",
		"stats",      "peers",	      "policy list",
		"policy add", "policy del 1", "run true",
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		cli_sh(&o, "$S %s", commands[i]);
		EXPECT_SAID("not up in this network namespace");
	}
	EXPECT_UNCHANGED();
}

TEST_F(up, not_root)
{
	static const char *const commands[][5] = {
		{"up", "--dev", "v0"},
		{"down"},
		{"status"},
		{"flows"},
		{"stats"},
		{"peers"},
		{"policy", "list"},
		{"run", "true"},
		{"policy", "add"},
		{"policy", "del", "1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *argv[6] = {cli_shunt()};

		memcpy(argv + 1, commands[i], sizeof(commands[i]));
		argv[5] = NULL;
		cli_exec_nobody(&o, argv);
		EXPECT_SAID("needs root");
	}
	EXPECT_UNCHANGED();
}

TEST_F(up, unknown_transport)
{
	shunt(&o, CLI_UP, "--dev", "v0", "--default", "sctp");
	EXPECT_REFUSED("sctp: no such transport is deployed; there are: tcp "
		       "udp udplite");
}

static int missing(char *detail, size_t size)
{
	snprintf(detail, size, "not here");
	return -EOPNOTSUPP;
}

static int up_on_an_old_kernel(void *arg)
{
	static const struct probe probes[] = {
		{"flux capacitors", missing, "needs Linux 88.0"},
	};
	static char name[] = "v0";
	char *devices[] = {name};
	struct up_options up = {
		.devices = devices,
		.n_devices = 1,
		.max_flows = 1,
		.wish = WISH_TEXT,
		.probes = probes,
		.n_probes = 1,
	};

	(void)arg;
	return instance_up(&up);
}

/* The same code with a probe that fails, as one of the real ones would. */
TEST_F(up, kernel_too_old)
{
	cli_call(&o, up_on_an_old_kernel, NULL);
	EXPECT_REFUSED("this kernel is missing: flux capacitors");
	EXPECT_NE(NULL, strstr(o.err, "needs Linux 88.0"));
	EXPECT_EQ(0, probes_check(probes_required, n_probes_required));
}

TEST_F(up, flows_and_default)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	json_t *json;
	int fd;

	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--flows", "77",
			   "--default", "tcp"));
	fd = cli_map("flows");
	ASSERT_EQ(0, bpf_obj_get_info_by_fd(fd, &info, &len));
	close(fd);
	EXPECT_EQ(78, info.max_entries);
	ASSERT_EQ(0, shunt(&o, "status", "-j"));
	json = cli_json(&o);
	EXPECT_EQ(77, json_integer_value(json_object_get(
			      json_object_get(json, "flows"), "max")));
	EXPECT_STREQ("tcp",
		     json_string_value(json_array_get(
			     json_object_get(json_object_get(json, "default"),
					     "transports"),
			     0)));
	json_decref(json);
}

TEST_F(up, cgroup_below_the_root)
{
	char name[64];

	snprintf(name, sizeof(name), "shunt-test-%d", getpid());
	ASSERT_EQ(0, cli_sh(&o,
			    "mkdir $(awk '$3 == \"cgroup2\" {print $2;"
			    " exit}' /proc/mounts)/%s",
			    name));
	EXPECT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "--cgroup", name));
	EXPECT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, name));
	EXPECT_EQ(0, shunt(&o, "run", "--", "cat", "/proc/self/cgroup"));
	EXPECT_NE(NULL, strstr(o.out, name)) TH_LOG("%s", o.out);
	EXPECT_EQ(0, cli_sh(&o,
			    "rmdir $(awk '$3 == \"cgroup2\" {print $2;"
			    " exit}' /proc/mounts)/%s",
			    name));
	/* It is gone under us: said, and down still works. */
	EXPECT_TRUE(CLI_BECOMES(
		!shunt(&o, "status") &&
		strstr(o.out, "(removed) -- not attached any more")));
	EXPECT_EQ(1, shunt(&o, "run", "true"));
	EXPECT_NE(NULL, strstr(o.err, "the cgroup that shunt is attached to"));
	EXPECT_EQ(0, shunt(&o, "down"));
}

TEST_HARNESS_MAIN
