// SPDX-License-Identifier: GPL-2.0-only
/*
 * `shunt up` and `down` beside others: their filters, crashes, namespaces that
 * end, devices that go, commands at the same time.
 */
#include "harness.h"

#include <shunt/shared.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_run.h"

#define PINS "/sys/fs/bpf/shunt"

static struct cli_output o;
static char before[16384], after[16384];

FIXTURE(beside)
{
	struct cli_ids ids;
};

FIXTURE_SETUP(beside)
{
	ASSERT_EQ(0, geteuid())
	TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	cli_state(before, sizeof(before));
}

FIXTURE_TEARDOWN(beside)
{
	shunt(&o, "down");
}

/* ---- what others have on the device stays ---- */

TEST_F(beside, clsact_of_others_stays)
{
	ASSERT_EQ(0, cli_sh(&o, "tc qdisc add dev v0 clsact && tc filter add "
				"dev v0 egress prio 7 protocol ip u32 match "
				"u32 0 0 flowid :1"))
	TH_LOG("%s", o.err);
	cli_state(before, sizeof(before));
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "--attach", "clsact"));
	EXPECT_EQ(0, shunt(&o, "down"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
}

TEST_F(beside, clsact_that_others_came_to_use_stays)
{
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "--attach", "clsact"));
	ASSERT_EQ(0, cli_sh(&o, "tc filter add dev v0 egress prio 7 protocol "
				"ip u32 match u32 0 0 flowid :1"))
	TH_LOG("%s", o.err);
	EXPECT_EQ(0, shunt(&o, "down"));
	EXPECT_EQ(0, cli_sh(&o, "tc filter show dev v0 egress"));
	EXPECT_NE(NULL, strstr(o.out, "pref 7 u32"));
	EXPECT_EQ(NULL, strstr(o.out, "bpf"));
}

TEST_F(beside, filter_in_our_place_stays)
{
	ASSERT_EQ(0, cli_sh(&o, "tc qdisc add dev v0 clsact && tc filter add "
				"dev v0 egress pref 65520 protocol all u32 "
				"match u32 0 0 flowid :1"))
	TH_LOG("%s", o.err);
	cli_state(before, sizeof(before));
	shunt(&o, CLI_UP, "--dev", "v0", "--attach", "clsact");
	EXPECT_EQ(1, o.status);
	EXPECT_NE(NULL, strstr(o.err, "v0: cannot attach to TC egress by "));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
}

/* ---- instances of a crash, of a namespace that ended, of another one ---- */

static void rename_pins(const char *from, const char *to)
{
	char a[128], b[128];

	snprintf(a, sizeof(a), PINS "/%s%llu", from,
		 (unsigned long long)cli_cookie());
	snprintf(b, sizeof(b), PINS "/%s%llu", to,
		 (unsigned long long)cli_cookie());
	if (rename(a, b))
		perror(a);
}

TEST_F(beside, after_a_crash)
{
	static const char *const kinds[] = {"auto", "clsact"};

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "--attach",
				   kinds[i]));
		ASSERT_EQ(0, cli_ids(&self->ids));
		/* As if it had been killed before the last step. */
		rename_pins("", "building_");
		EXPECT_EQ(1, shunt(&o, "status"));
		EXPECT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "--attach",
				   kinds[i]))
		TH_LOG("%s", o.err);
		EXPECT_TRUE(cli_ids_gone(&self->ids));
		EXPECT_EQ(0, shunt(&o, "down"));
		cli_state(after, sizeof(after));
		EXPECT_STREQ(before, after);
	}
}

TEST_F_TIMEOUT(beside, killed_at_any_moment, 120)
{
	uint64_t took = cli_now_ns();

	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0"));
	took = (cli_now_ns() - took) / 1000;
	EXPECT_EQ(0, shunt(&o, "down"));
	/* At moments from the beginning to the end, or so. */
	for (int i = 0; i < 16; i += size_here(1, 3)) {
		pid_t pid = cli_start((const char *const[]){
			"sh", "-c",
			"exec \"$0\" up --flows 2000 --dev v0 >/dev/null",
			cli_shunt(), NULL});

		ASSERT_LT(0, pid);
		usleep(took * i / 14);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		/* What it left is swept by the next one. */
		if (shunt(&o, "status")) {
			EXPECT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0"))
			TH_LOG("after %d/14: %s", i, o.err);
		}
		EXPECT_EQ(0, shunt(&o, "down"));
		cli_state(after, sizeof(after));
		ASSERT_STREQ(before, after) TH_LOG("after %d/14", i);
	}
}

/* Up in a namespace that then ends with its process. */
static int up_and_end(void *attach)
{
	struct cli_output *out = malloc(sizeof(*out));

	if (!out || cli_netns())
		return -1;
	if (shunt(out, CLI_UP, "--dev", "v0", "--attach", attach))
		return -1;
	printf("%llu", (unsigned long long)cli_cookie());
	return 0;
}

TEST_F(beside, sweeps_namespaces_that_ended)
{
	static const char *const kinds[] = {"auto", "clsact"};
	char path[128];

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cli_call(&o, up_and_end, (void *)kinds[i]))
		TH_LOG("%s", o.err);
		snprintf(path, sizeof(path), PINS "/%.64s", o.out);
		ASSERT_EQ(0, access(path, F_OK)) TH_LOG("%s", path);
		/* The kernel takes namespaces apart in its own time. */
		EXPECT_TRUE(CLI_BECOMES(!shunt(&o, CLI_UP, "--dev", "v0") &&
					!shunt(&o, "down") &&
					access(path, F_OK)));
	}
}

static int other_namespace(void *arg)
{
	struct cli_output *out = malloc(sizeof(*out));
	int err;

	(void)arg;
	if (!out || cli_netns())
		return -1;
	err = shunt(out, "status") == 1 ? 0 : -1;
	if (!err)
		err = shunt(out, CLI_UP, "--dev", "v1");
	if (!err)
		err = shunt(out, "status");
	if (!err)
		err = shunt(out, "down");
	fputs(out->err, stderr);
	return err;
}

TEST_F(beside, one_instance_per_namespace)
{
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0"));
	cli_state(before, sizeof(before));
	EXPECT_EQ(0, cli_call(&o, other_namespace, NULL)) TH_LOG("%s", o.err);
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	EXPECT_EQ(0, shunt(&o, "status"));
}

TEST_F(beside, device_taken_away)
{
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "lo"));
	ASSERT_EQ(0, cli_sh(&o, "ip link del v0"));
	EXPECT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, "device     v0"));
	EXPECT_NE(NULL, strstr(o.out, "-- is gone"));
	EXPECT_EQ(0, shunt(&o, "down"));
}

TEST_F(beside, device_renamed)
{
	ASSERT_EQ(0, shunt(&o, CLI_UP, "--dev", "v0", "--attach", "clsact"));
	ASSERT_EQ(0, cli_sh(&o, "ip link set v0 down && ip link set v0 name "
				"uplink && ip link set uplink up"));
	EXPECT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, "device     uplink, ingress xdp"));
	EXPECT_EQ(0, shunt(&o, "down"));
	EXPECT_EQ(0, cli_sh(&o, "ip link set uplink down && ip link set uplink "
				"name v0 && ip link set v0 up"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
}

/* Of many at once exactly one wins, and the others say why not. */
TEST_F(beside, at_the_same_time)
{
	ASSERT_EQ(0, cli_sh(&o, "for i in 1 2 3 4 5; do $S up --dev v0 "
				">/dev/null && echo won & done; wait"));
	EXPECT_STREQ("won\n", o.out);
	EXPECT_NE(NULL, strstr(o.err, "already up"));
	EXPECT_EQ(0, shunt(&o, "down"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
}

/* ---- `ip netns exec` hides bpffs and cgroup v2 ---- */

FIXTURE(named)
{
	char ns[32];
};

FIXTURE_SETUP(named)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	snprintf(self->ns, sizeof(self->ns), "shunt-cli-%08x",
		 (unsigned)cli_now_ns() ^ getpid());
	ASSERT_EQ(0, cli_sh(&o,
			    "ip netns add %s && ip -n %s link add v0 type "
			    "veth peer name v1",
			    self->ns, self->ns))
	TH_LOG("%s", o.err);
}

FIXTURE_TEARDOWN(named)
{
	cli_sh(&o, "ip netns exec %s $S down 2>/dev/null; ip netns del %s",
	       self->ns, self->ns);
}

TEST_F(named, works_in_ip_netns_exec)
{
	char *ns = self->ns;

	EXPECT_EQ(0, cli_sh(&o, "ip netns exec %s $S up --dev v0", ns))
	TH_LOG("%s", o.err);
	/* From any mount namespace it is the same instance. */
	EXPECT_EQ(0, cli_sh(&o, "ip netns exec %s $S status", ns));
	EXPECT_NE(NULL, strstr(o.out, "device     v0"));
	EXPECT_EQ(0, cli_sh(&o, "nsenter --net=/run/netns/%s $S status", ns));
	EXPECT_NE(NULL, strstr(o.out, "device     v0"));
	EXPECT_EQ(0, cli_sh(&o, "ip netns exec %s $S policy add --port 80", ns))
	TH_LOG("%s", o.err);
	/* The command runs where `ip netns exec` has put it. */
	EXPECT_EQ(0, cli_sh(&o,
			    "cd /usr/lib && ip netns exec %s $S run -- sh "
			    "-c 'pwd; ls /sys/class/net; cat "
			    "/proc/self/cgroup'",
			    ns))
	TH_LOG("%s", o.err);
	EXPECT_EQ(0, strncmp(o.out, "/usr/lib\nlo\nv0\nv1\n", 18))
	TH_LOG("%s", o.out);
	EXPECT_NE(NULL, strstr(o.out, "/shunt-run-"));
	EXPECT_EQ(0, cli_sh(&o, "ip netns exec %s $S down", ns))
	TH_LOG("%s", o.err);
	EXPECT_EQ(1, cli_sh(&o, "nsenter --net=/run/netns/%s $S status", ns));
}

TEST_HARNESS_MAIN
