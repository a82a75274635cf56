// SPDX-License-Identifier: GPL-2.0-only
/* `shunt up --message-path`: the proxy comes and goes with the instance. */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_run.h"
#include "message.h"
#include "probe.h"

static struct cli_output o;
static char before[16384], after[16384];

FIXTURE(message_path)
{
	struct cli_ids ids;
};

FIXTURE_SETUP(message_path)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	if (probes_check(probes_message, n_probes_message))
		SKIP(return, "this kernel can't do it");
	ASSERT_EQ(0, cli_netns());
	ASSERT_EQ(0, cli_sh(&o, "ip link set lo up"));
	cli_state(before, sizeof(before));
}

FIXTURE_TEARDOWN(message_path)
{
	shunt(&o, "down");
}

/* What `shunt status` says of the proxy. */
static json_t *status_of_proxy(void)
{
	json_t *json, *proxy;

	if (shunt(&o, "status", "-j"))
		return NULL;
	json = cli_json(&o);
	proxy = json_incref(json_object_get(json, "message_path"));
	json_decref(json);
	return proxy;
}

static int pid_of(json_t *proxy, const char *which)
{
	return json_integer_value(json_object_get(proxy, which));
}

/* A zombie that nobody reaps has ended, too. */
static bool gone(int pid)
{
	return kill(pid, 0) && errno == ESRCH;
}

/* The kernel's own, of io_uring, have other names. */
static int threads(int pid)
{
	struct cli_output names;

	cli_sh(&names, "grep -l '^shunt-proxy$' /proc/%d/task/*/comm | wc -l",
	       pid);
	return atoi(names.out);
}

TEST_F(message_path, up_status_down)
{
	json_t *proxy;
	int pid, worker;

	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--message-path",
			   "--message-memory", "64M", "--message-loops", "3"))
	TH_LOG("%s", o.err);
	ASSERT_EQ(0, cli_ids(&self->ids));
	proxy = status_of_proxy();
	ASSERT_NE(NULL, proxy);
	EXPECT_STREQ("up", json_string_value(json_object_get(proxy, "proxy")));
	EXPECT_EQ(64 << 20,
		  json_integer_value(json_object_get(proxy, "memory_limit")));
	EXPECT_EQ(3, json_integer_value(json_object_get(proxy, "loops")));
	pid = pid_of(proxy, "pid");
	worker = pid_of(proxy, "worker");
	json_decref(proxy);
	ASSERT_LT(0, pid);
	EXPECT_FALSE(gone(pid));
	EXPECT_EQ(3, threads(worker));
	ASSERT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, "messages   proxy up, pid "));
	EXPECT_NE(NULL, strstr(o.out, ", 3 loops; "));
	EXPECT_FALSE(cli_too_wide(o.out));
	ASSERT_EQ(0, shunt(&o, "stats", "--all"));
	EXPECT_NE(NULL, strstr(o.out, "The proxy of the message path:"));
	EXPECT_NE(NULL, strstr(o.out, "by event loop:"));
	EXPECT_FALSE(cli_too_wide(o.out));
	ASSERT_EQ(0, shunt(&o, "policy", "add", "--path", "message"));
	ASSERT_EQ(0, shunt(&o, "run", "--path", "message", "--", "true"));

	ASSERT_EQ(0, shunt(&o, "down")) TH_LOG("%s", o.err);
	EXPECT_STREQ("", o.err);
	EXPECT_TRUE(CLI_BECOMES(gone(pid) && gone(worker)));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	EXPECT_TRUE(cli_ids_gone(&self->ids));
}

TEST_F(message_path, without_it_there_is_no_proxy)
{
	json_t *proxy;

	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0"));
	proxy = status_of_proxy();
	EXPECT_TRUE(json_is_null(proxy));
	json_decref(proxy);
	ASSERT_EQ(0, shunt(&o, "stats", "--all"));
	EXPECT_EQ(NULL, strstr(o.out, "The proxy"));
}

/* Whatever the proxy dies of, it is said, and nothing stays. */
TEST_F(message_path, proxy_that_does_not_start)
{
	static const char up[] = "$S up --dev v0 --message-path";

	EXPECT_EQ(1, cli_sh(&o, "SHUNT_PROXY=/nonexistent %s", up));
	EXPECT_NE(NULL, strstr(o.err, "/nonexistent: No such file"));
	EXPECT_NE(NULL, strstr(o.err, "the proxy of the message path has "
				      "ended"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	EXPECT_EQ(1, cli_sh(&o, "SHUNT_PROXY=/bin/false %s", up));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
}

/* Nor of one that does nothing. */
TEST_F_TIMEOUT(message_path, proxy_that_hangs, 60)
{
	char path[] = "/tmp/shunt-proxy-XXXXXX", pids[64] = "";
	int fd = mkstemp(path);
	FILE *file;

	ASSERT_LE(0, fd);
	dprintf(fd, "#!/bin/sh\necho $$ >%s.pid\nexec sleep 1000\n", path);
	fchmod(fd, 0755);
	close(fd);
	EXPECT_EQ(1, cli_sh(&o, "SHUNT_PROXY=%s $S up --dev v0 --message-path",
			    path));
	EXPECT_NE(NULL, strstr(o.err, "does not come up"));
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	unlink(path);
	strcat(strcpy(pids, path), ".pid");
	file = fopen(pids, "re");
	ASSERT_NE(NULL, file);
	ASSERT_EQ(1, fscanf(file, "%d", &fd));
	fclose(file);
	unlink(pids);
	EXPECT_TRUE(CLI_BECOMES(gone(fd)));
}

TEST_F(message_path, wrong_usage)
{
	static const char *const sizes[] = {"0",   "1023K", "65G", "1.5M",
					    "12X", "-1",    "64MB"};
	static const char *const loops[] = {"0", "17", "-1", "2x"};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		EXPECT_EQ(2, shunt(&o, "up", "--dev", "v0", "--message-path",
				   "--message-memory", sizes[i]))
		TH_LOG("%s", sizes[i]);
		EXPECT_NE(NULL, strstr(o.err, "--message-memory is 1M to 64G"));
	}
	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		EXPECT_EQ(2, shunt(&o, "up", "--dev", "v0", "--message-path",
				   "--message-loops", loops[i]))
		TH_LOG("%s", loops[i]);
		EXPECT_NE(NULL, strstr(o.err, "--message-loops is 1 to 16"));
	}
}

TEST_HARNESS_MAIN
