// SPDX-License-Identifier: GPL-2.0-only
/* `shunt policy` and `shunt run`. */
#include "harness.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <mntent.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli_run.h"

static struct cli_output o;

/* Where cgroup v2 is mounted. */
static const char *cgroup2(void)
{
	static char path[256];
	struct mntent *mount;
	FILE *mounts = setmntent("/proc/mounts", "r");

	while (mounts && (mount = getmntent(mounts)))
		if (!strcmp(mount->mnt_type, "cgroup2"))
			snprintf(path, sizeof(path), "%s", mount->mnt_dir);
	if (mounts)
		endmntent(mounts);
	return path;
}

/* Rules without the default. */
static json_t *list(void)
{
	json_t *json;

	if (shunt(&o, "policy", "list", "-j"))
		return NULL;
	json = cli_json(&o);
	if (json && json_is_true(json_object_get(
			    json_array_get(json, json_array_size(json) - 1),
			    "default")))
		json_array_remove(json, json_array_size(json) - 1);
	return json;
}

static size_t count_rules(void)
{
	json_t *json = list();
	size_t n = json_array_size(json);

	json_decref(json);
	return n;
}

/* A text field of rule n (from 1), or several with commas. */
static const char *rule(json_t *json, int n, const char *field)
{
	json_t *value = json_object_get(json_array_get(json, n - 1), field);
	const char *text = json_string_value(value);
	static char list[64];
	size_t i;
	json_t *one;

	if (text)
		return text;
	strcpy(list, json_is_array(value) ? "" : "(none)");
	json_array_foreach (value, i, one)
		snprintf(list + strlen(list), sizeof(list) - strlen(list),
			 "%s%s", i ? "," : "", json_string_value(one));
	return list;
}

FIXTURE(policy){};

FIXTURE_SETUP(policy)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--ingress", "tc",
			   "--flows", "100"))
	TH_LOG("%s", o.err);
}

FIXTURE_TEARDOWN(policy)
{
	EXPECT_EQ(0, shunt(&o, "down"));
}

TEST_F(policy, add_list_del)
{
	json_t *json;
	int lo, hi;

	EXPECT_EQ(0, count_rules());
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--to", "10.0.0.0/8", "--port",
			   "8000-8999"));
	EXPECT_STREQ("", o.out);
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--transport", "tcp", "--to",
			   "2001:db8::/32", "--at", "1"));
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--port", "22", "--path",
			   "segment", "--transport", "udp", "--at", "3"));
	json = list();
	ASSERT_EQ(3, json_array_size(json));
	EXPECT_STREQ("2001:db8::/32", rule(json, 1, "to"));
	EXPECT_STREQ("tcp", rule(json, 1, "transports"));
	EXPECT_STREQ("any", rule(json, 1, "cgroup"));
	EXPECT_STREQ("10.0.0.0/8", rule(json, 2, "to"));
	EXPECT_STREQ("udp", rule(json, 2, "transports"));
	EXPECT_STREQ("segment", rule(json, 2, "path"));
	EXPECT_EQ(0, json_unpack(json_array_get(json, 1), "{s:[i,i]}", "port",
				 &lo, &hi));
	EXPECT_EQ(8000, lo);
	EXPECT_EQ(8999, hi);
	EXPECT_STREQ("any", rule(json, 3, "to"));
	json_decref(json);
	EXPECT_EQ(0, shunt(&o, "policy", "list"));
	EXPECT_NE(NULL, strstr(o.out, "8000-8999"));
	EXPECT_NE(NULL, strstr(o.out, "else  any"));
	EXPECT_FALSE(cli_too_wide(o.out));

	EXPECT_EQ(0, shunt(&o, "policy", "del", "2"));
	json = list();
	ASSERT_EQ(2, json_array_size(json));
	EXPECT_STREQ("2001:db8::/32", rule(json, 1, "to"));
	EXPECT_STREQ("any", rule(json, 2, "to"));
	json_decref(json);
	EXPECT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, "policy     2 rules, then udp"));
}

/* What BPF reads: the rule as added, in the half that is active. */
TEST_F(policy, what_bpf_sees)
{
	struct shunt_settings settings;
	struct shunt_rule r;
	__u32 zero = 0, at;
	int rules = cli_map("rules"), set = cli_map("settings");

	ASSERT_LE(0, rules);
	ASSERT_LE(0, set);
	for (unsigned n = 1; n <= 3; n++) {
		unsigned half;

		ASSERT_EQ(0, shunt(&o, "policy", "add", "--to", "10.1.0.0/16",
				   "--port", "80"));
		ASSERT_EQ(0, bpf_map_lookup_elem(set, &zero, &settings));
		half = settings.rules_half;
		EXPECT_EQ(n & 1, half);
		EXPECT_EQ(n, settings.n_rules[half]);
		at = half * SHUNT_MAX_RULES + n - 1;
		ASSERT_EQ(0, bpf_map_lookup_elem(rules, &at, &r));
		EXPECT_EQ(112, r.prefix_len);
		EXPECT_EQ(80, r.port_lo);
		EXPECT_EQ(80, r.port_hi);
		EXPECT_EQ(SHUNT_UDP, r.wish.transports[0]);
		EXPECT_EQ(SHUNT_TCP, r.wish.transports[1]);
		EXPECT_EQ(0, r.cgroup);
		EXPECT_EQ(0, memcmp(&r.remote.w[2], "\0\0\xff\xff\x0a\x01\0\0",
				    8));
	}
	close(rules);
	close(set);
}

TEST_F(policy, refusals_change_nothing)
{
	ASSERT_EQ(0, shunt(&o, "policy", "add", "--port", "80"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport", "sctp"));
	EXPECT_NE(NULL, strstr(o.err, "sctp: no such transport is deployed"));
	EXPECT_NE(NULL, strstr(o.err, "there are: tcp udp udplite"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport", "dccp"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--at", "3"));
	EXPECT_NE(NULL, strstr(o.err, "there are 1 rules, so at most 2"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--cgroup", "/tmp"));
	EXPECT_NE(NULL, strstr(o.err, "/tmp: not a cgroup"));
	EXPECT_EQ(1, shunt(&o, "policy", "del", "2"));
	EXPECT_NE(NULL, strstr(o.err, "there is no rule 2"));
	EXPECT_EQ(2, shunt(&o, "policy", "add", "--port", "70000"));
	EXPECT_EQ(2, shunt(&o, "policy", "add", "--to", "10.0.0.0/64"));
	EXPECT_EQ(1, count_rules());
}

TEST_F(policy, full_table)
{
	static const char *const add[] = {"shunt",  "policy", "add",
					  "--port", "80",     NULL};

	ASSERT_EQ(0, cli_repeat(&o, SHUNT_MAX_RULES - 1, add))
	TH_LOG("%s", o.err);
	ASSERT_EQ(0, shunt(&o, "policy", "add", "--port", "80"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--port", "81"));
	EXPECT_NE(NULL, strstr(o.err, "the policy is full: 128 rules"));
	EXPECT_NE(NULL, strstr(o.err, "policy del"));
	EXPECT_EQ(1, shunt(&o, "run", "true"));
	EXPECT_NE(NULL, strstr(o.err, "the policy is full"));
	EXPECT_EQ(SHUNT_MAX_RULES, count_rules());
	EXPECT_EQ(0, shunt(&o, "policy", "del", "128"));
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--port", "81"));
}

TEST_F(policy, cgroup)
{
	struct shunt_rule r;
	__u32 at = SHUNT_MAX_RULES;
	int rules = cli_map("rules");
	char name[64];
	json_t *json;

	ASSERT_LE(0, rules);
	snprintf(name, sizeof(name), "shunt-test-%d/below", getpid());
	ASSERT_EQ(0, cli_sh(&o, "mkdir -p %s/%s", cgroup2(), name));
	/* Relative to the mount, and absolute. */
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--cgroup", name));
	EXPECT_EQ(0, bpf_map_lookup_elem(rules, &at, &r));
	EXPECT_EQ(2, r.cgroup_level);
	EXPECT_NE(0, r.cgroup);
	EXPECT_EQ(0,
		  cli_sh(&o, "$S policy add --cgroup %s/%s", cgroup2(), name));
	json = list();
	EXPECT_STREQ(name, rule(json, 1, "cgroup"));
	EXPECT_STREQ(name, rule(json, 2, "cgroup"));
	json_decref(json);
	ASSERT_EQ(0, cli_sh(&o, "cd %s && rmdir -p %s", cgroup2(), name));
	json = list();
	EXPECT_STREQ("(removed)", rule(json, 1, "cgroup"));
	json_decref(json);
	close(rules);
}

/* No edit is lost, whoever makes it at the same time. */
TEST_F(policy, edits_at_the_same_time)
{
	EXPECT_EQ(0, cli_sh(&o, "for i in 1 2 3 4; do (for j in 1 2 3 4 5 6 7 "
				"8; do $S policy add --port $i$j || echo no; "
				"done) & done; wait"));
	EXPECT_STREQ("", o.out);
	EXPECT_EQ(32, count_rules());
}

/* ---- run ---- */

FIXTURE(run){};

FIXTURE_SETUP(run)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--ingress", "tc",
			   "--flows", "100", "--default", "tcp"))
	TH_LOG("%s", o.err);
	ASSERT_EQ(0, shunt(&o, "policy", "add", "--port", "80"));
}

FIXTURE_TEARDOWN(run)
{
	EXPECT_EQ(0, shunt(&o, "down"));
}

/* Does a cgroup of this `shunt run` exist? */
static bool run_cgroup(pid_t pid)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/shunt-run-%d", cgroup2(), pid);
	return !access(path, F_OK);
}

TEST_F(run, exit_codes)
{
	EXPECT_EQ(0, shunt(&o, "run", "true"));
	EXPECT_EQ(1, shunt(&o, "run", "false"));
	EXPECT_EQ(7, shunt(&o, "run", "--", "sh", "-c", "exit 7"));
	EXPECT_EQ(128 + SIGKILL, shunt(&o, "run", "sh", "-c", "kill -9 $$"));
	EXPECT_EQ(127, shunt(&o, "run", "no-such-command"));
	EXPECT_NE(NULL, strstr(o.err, "no-such-command: No such file"));
	EXPECT_EQ(126, shunt(&o, "run", "/etc/passwd"));
	/* The command's options are its own. */
	EXPECT_EQ(0, shunt(&o, "run", "echo", "--help"));
	EXPECT_EQ(1, shunt(&o, "run", "--transport", "sctp", "true"));
	EXPECT_NE(NULL, strstr(o.err, "sctp: no such transport"));
	EXPECT_EQ(1, count_rules());
}

TEST_F(run, rule_and_cgroup_while_it_runs)
{
	char name[64] = "";
	json_t *json;

	ASSERT_EQ(0, cli_sh(&o, "$S run -- sh -c 'grep ^0: /proc/self/cgroup "
				">&2; $S policy list -j'"))
	TH_LOG("%s", o.err);
	ASSERT_EQ(1, sscanf(o.err, "0::/%63s", name)) TH_LOG("%s", o.err);
	EXPECT_EQ(0, strncmp(name, "shunt-run-", 10));
	json = cli_json(&o);
	ASSERT_EQ(3, json_array_size(json));
	EXPECT_STREQ(name, rule(json, 1, "cgroup"));
	EXPECT_STREQ("udp", rule(json, 1, "transports"));
	EXPECT_STREQ("any", rule(json, 2, "cgroup"));
	json_decref(json);
	EXPECT_EQ(0, cli_sh(&o, "$S run --transport tcp -- $S policy list -j"));
	json = cli_json(&o);
	EXPECT_STREQ("tcp", rule(json, 1, "transports"));
	json_decref(json);
	EXPECT_EQ(1, count_rules());
	EXPECT_EQ(1, cli_sh(&o, "ls -d %s/%s", cgroup2(), name) != 0);
}

TEST_F(run, stdin_and_environment)
{
	EXPECT_EQ(0, cli_sh(&o, "cd /usr && echo hello | A=b $S run -- sh -c "
				"'cat; echo $A; pwd'"));
	EXPECT_STREQ("hello\nb\n/usr\n", o.out);
}

TEST_F(run, forwards_signals)
{
	char file[] = "/tmp/shunt-trap-XXXXXX";
	int status;
	pid_t pid;

	close(mkstemp(file));
	ASSERT_EQ(0, setenv("FILE", file, 1));
	pid = cli_start((const char *const[]){
		cli_shunt(), "run", "--", "sh", "-c",
		"trap 'exit 42' TERM; rm $FILE; while :; do sleep 0.01; done",
		NULL});
	ASSERT_LT(0, pid);
	/* Until the shell has set its trap the signal would end it. */
	ASSERT_TRUE(CLI_BECOMES(access(file, F_OK)));
	ASSERT_TRUE(run_cgroup(pid));
	ASSERT_EQ(2, count_rules());
	EXPECT_EQ(0, kill(pid, SIGTERM));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(42, WEXITSTATUS(status));
	EXPECT_FALSE(run_cgroup(pid));
	EXPECT_EQ(1, count_rules());
}

/* What the command leaves running goes on, outside. */
TEST_F(run, daemons_go_on)
{
	pid_t daemon;
	char path[64];

	ASSERT_EQ(0, cli_sh(&o, "$S run -- sh -c 'sleep 60 >/dev/null 2>&1 & "
				"echo $!'"));
	daemon = atoi(o.out);
	ASSERT_LT(1, daemon);
	snprintf(path, sizeof(path), "/proc/%d/cgroup", daemon);
	EXPECT_EQ(0, cli_sh(&o, "cat %s", path)) TH_LOG("it has ended");
	EXPECT_EQ(NULL, strstr(o.out, "shunt-run"));
	EXPECT_EQ(1, count_rules());
	EXPECT_EQ(0, kill(daemon, SIGKILL));
}

TEST_F(run, killed_leaves_for_the_next_to_tidy)
{
	pid_t pid;

	pid = cli_start((const char *const[]){cli_shunt(), "run", "--", "sleep",
					      "60", NULL});
	ASSERT_LT(0, pid);
	ASSERT_TRUE(CLI_BECOMES(run_cgroup(pid) && count_rules() == 2));
	/* Both, so that the cgroup is empty, but there. */
	EXPECT_EQ(0,
		  cli_sh(&o, "kill -9 %d $(cat %s/shunt-run-%d/cgroup.procs)",
			 pid, cgroup2(), pid));
	waitpid(pid, NULL, 0);
	EXPECT_TRUE(run_cgroup(pid));
	EXPECT_EQ(2, count_rules());
	EXPECT_TRUE(CLI_BECOMES(!shunt(&o, "run", "true") && !run_cgroup(pid)));
	EXPECT_EQ(1, count_rules());
}

TEST_F(run, cgroup_without_a_rule)
{
	/* As of one that was killed between the two. */
	ASSERT_EQ(0, cli_sh(&o, "mkdir %s/shunt-run-0", cgroup2()));
	EXPECT_EQ(0, shunt(&o, "run", "true"));
	EXPECT_FALSE(run_cgroup(0));
	ASSERT_EQ(0, cli_sh(&o, "mkdir %s/shunt-run-0", cgroup2()));
	EXPECT_EQ(0, shunt(&o, "down"));
	EXPECT_FALSE(run_cgroup(0));
	EXPECT_EQ(0, shunt(&o, "up", "--dev", "v0"));
}

TEST_F(run, down_meanwhile)
{
	int status;
	pid_t pid;

	pid = cli_start((const char *const[]){cli_shunt(), "run", "--", "sleep",
					      "60", NULL});
	ASSERT_LT(0, pid);
	ASSERT_TRUE(CLI_BECOMES(run_cgroup(pid) && count_rules() == 2));
	EXPECT_EQ(0, shunt(&o, "down")) TH_LOG("%s", o.err);
	EXPECT_STREQ("", o.err);
	EXPECT_FALSE(run_cgroup(pid));
	/* The command itself is not touched. */
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_EQ(0, kill(pid, SIGTERM));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(128 + SIGTERM, WEXITSTATUS(status));
	/* For the teardown. */
	EXPECT_EQ(0, shunt(&o, "up", "--dev", "v0"));
}

TEST_F(run, many_at_once)
{
	EXPECT_EQ(0, cli_sh(&o, "for i in 1 2 3 4 5 6 7 8; do "
				"$S run -- sh -c 'grep -c shunt-run "
				"/proc/self/cgroup' & done; wait"));
	EXPECT_STREQ("1\n1\n1\n1\n1\n1\n1\n1\n", o.out);
	EXPECT_STREQ("", o.err);
	EXPECT_EQ(1, count_rules());
}

TEST_HARNESS_MAIN
