// SPDX-License-Identifier: GPL-2.0-only
/* The `shunt` command: help, wrong usage, and what each sub-command prints. */
#include "harness.h"

#include <shunt/shared.h>
#include <stdio.h>
#include <unistd.h>

#include "cli_run.h"
#include "rules.h"

static const char *const commands[] = {
	"up",	 "down",  "status", "run",    "policy",
	"flows", "stats", "peers",  "doctor", "version",
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static struct cli_output o;

/* ---- without an instance ---- */

FIXTURE(plain){};

FIXTURE_SETUP(plain)
{
}

FIXTURE_TEARDOWN(plain)
{
}

TEST_F(plain, help)
{
	ASSERT_EQ(0, shunt(&o, "--help"));
	EXPECT_STREQ("", o.err);
	EXPECT_FALSE(cli_too_wide(o.out));
	for (size_t i = 0; i < N_COMMANDS; i++)
		EXPECT_NE(NULL, strstr(o.out, commands[i]));
	EXPECT_NE(NULL, strstr(o.out, "example:"));
}

TEST_F(plain, help_of_each_command)
{
	char usage[64];

	for (size_t i = 0; i < N_COMMANDS; i++) {
		snprintf(usage, sizeof(usage), "usage: shunt %s", commands[i]);
		EXPECT_EQ(0, shunt(&o, commands[i], "--help"));
		EXPECT_EQ(0, strncmp(o.out, usage, strlen(usage)))
		TH_LOG("%s: %.60s", commands[i], o.out);
		EXPECT_NE(NULL, strstr(o.out, "example: "))
		TH_LOG("%s: no example", commands[i]);
		EXPECT_FALSE(cli_too_wide(o.out));
		EXPECT_STREQ("", o.err);
		EXPECT_EQ(0, shunt(&o, commands[i], "-h"));
	}
}

TEST_F(plain, wrong_usage)
{
	static const struct {
		const char *args;
		const char *says;
	} cases[] = {
		{"", "usage:"},
		{"bogus", "unknown command 'bogus'"},
		{"--bogus", "unknown option '--bogus'"},
		{"up", "which device"},
		{"up eth0", "unexpected argument 'eth0'"},
		{"up --dev", "--dev needs a value"},
		{"up --bogus", "unknown option '--bogus'"},
		{"up --dev v0 --ingress generic", "--ingress is auto, xdp or"},
		{"up --dev v0 --attach legacy", "--attach is auto, tcx or"},
		{"up --dev v0 --flows 0", "--flows is 1 to"},
		{"up --dev v0 --flows 1e6", "--flows is 1 to"},
		{"up --dev a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "at most 16"},
		{"down now", "unexpected argument 'now'"},
		{"status --all", "unknown option '--all'"},
		{"flows all", "list or fallback, not 'all'"},
		{"flows fallback", "FLOW..., --peer ADDR or --all"},
		{"flows fallback --all x", "FLOW..., --peer ADDR or --all"},
		{"flows fallback --peer 10.0.0.0/8", "one address"},
		{"stats -x", "unknown option '-x'"},
		{"peers x", "list or flush, not 'x'"},
		{"peers flush x", "'x' is no address"},
		{"version x", "unexpected argument 'x'"},
		{"doctor eth0", "unexpected argument 'eth0'"},
		{"run", "which command"},
		{"run --", "which command"},
		{"run --path other true", "--path is segment or message"},
		{"policy", "add, del or list"},
		{"policy change", "add, del or list, not 'change'"},
		{"policy -j", "add, del or list"},
		{"policy del", "takes one number"},
		{"policy del 1 2", "takes one number"},
		{"policy del 0", "'0' is no rule's number"},
		{"policy del one", "'one' is no rule's number"},
		{"policy list all", "unexpected argument 'all'"},
		{"policy add --at 0", "--at is 1 to 128"},
		{"policy add --path messages", "not 'messages'"},
		{"policy add --port 0", "bad port '0'"},
		{"policy add --port 70000", "bad port '70000'"},
		{"policy add --port 90-80", "ends before it begins"},
		{"policy add --port http", "bad port 'http'"},
		{"policy add --port -1", "bad port '-1'"},
		{"policy add --to 10.0.0.0/33", "the length is 0 to 32"},
		{"policy add --to 2001:db8::/129", "the length is 0 to 128"},
		{"policy add --to 10.0.0.1/8", "bits set behind the prefix"},
		{"policy add --to 10.0.0", "bad prefix '10.0.0'"},
		{"policy add --to example.org", "bad prefix 'example.org'"},
		{"policy add --to 10.0.0.0/", "bad prefix '10.0.0.0/'"},
		{"policy add 10.0.0.0/8", "unexpected argument '10.0.0.0/8'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		EXPECT_EQ(2, cli_sh(&o, "$S %s", cases[i].args))
		TH_LOG("`shunt %s`: %d", cases[i].args, o.status);
		EXPECT_NE(NULL, strstr(o.err, cases[i].says))
		TH_LOG("`shunt %s`: %s", cases[i].args, o.err);
		EXPECT_NE(NULL, strstr(o.err, "usage: "));
		EXPECT_STREQ("", o.out);
	}
}

TEST_F(plain, version)
{
	json_t *json;
	int abi;

	ASSERT_EQ(0, shunt(&o, "version"));
	EXPECT_NE(NULL, strstr(o.out, "shunt " SHUNT_VERSION));
	EXPECT_FALSE(cli_too_wide(o.out));
	ASSERT_EQ(0, shunt(&o, "version", "-j"));
	json = cli_json(&o);
	ASSERT_NE(NULL, json);
	EXPECT_STREQ(SHUNT_VERSION,
		     json_string_value(json_object_get(json, "version")));
	EXPECT_EQ(0, json_unpack(json, "{s:i}", "abi", &abi));
	EXPECT_EQ(SHUNT_ABI, abi);
	EXPECT_NE(0, json_array_size(json_object_get(json, "features")));
	EXPECT_NE(0, json_array_size(json_object_get(json, "transports")));
	json_decref(json);
	EXPECT_EQ(0, shunt(&o, "-j", "version"));
	json = cli_json(&o);
	EXPECT_NE(NULL, json);
	json_decref(json);
}

TEST_F(plain, prefixes_and_ports)
{
	static const struct {
		const char *in;
		const char *out;
	} prefixes[] = {
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"192.0.2.1", "192.0.2.1/32"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"::/0", "any"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8"},
	};
	struct shunt_rule rule;
	char buf[PREFIX_LEN], ports[PORTS_LEN];
	const char *why;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		memset(&rule, 0, sizeof(rule));
		EXPECT_EQ(0, rule_parse_prefix(prefixes[i].in, &rule, &why));
		EXPECT_STREQ(prefixes[i].out, rule_format_prefix(buf, &rule));
	}
	EXPECT_EQ(0, rule_parse_ports("443", &rule, &why));
	EXPECT_STREQ("443", rule_format_ports(ports, &rule));
	EXPECT_EQ(0, rule_parse_ports("8000-8999", &rule, &why));
	EXPECT_EQ(8000, rule.port_lo);
	EXPECT_EQ(8999, rule.port_hi);
	EXPECT_STREQ("8000-8999", rule_format_ports(ports, &rule));
	EXPECT_EQ(0, rule_parse_ports("1-65535", &rule, &why));
	EXPECT_STREQ("any", rule_format_ports(ports, &rule));
}

/* Any text, and what is cut off: no crash, and refused or understood. */
TEST_F(plain, parsers_survive_any_text)
{
	static const char alphabet[] = "0123456789abcdef.:/-%xX \n";
	unsigned seed = 1;

	for (int i = 0; i < size_here(200000, 20000); i++) {
		struct shunt_rule rule = {};
		char text[80], buf[PREFIX_LEN];
		int len = rand_r(&seed) % (sizeof(text) - 1);
		const char *why = NULL;

		for (int j = 0; j < len; j++)
			text[j] = alphabet[rand_r(&seed) %
					   (sizeof(alphabet) - 1)];
		text[len] = '\0';
		if (rule_parse_prefix(text, &rule, &why)) {
			ASSERT_NE(NULL, why);
		} else {
			struct shunt_rule again = {};

			rule_format_prefix(buf, &rule);
			if (!strcmp(buf, "any"))
				continue;
			ASSERT_EQ(0, rule_parse_prefix(buf, &again, &why));
			ASSERT_EQ(0, memcmp(&rule, &again, sizeof(rule)));
		}
		if (!rule_parse_ports(text, &rule, &why)) {
			ASSERT_LE(1, rule.port_lo);
			ASSERT_LE(rule.port_lo, rule.port_hi);
		}
	}
}

/* ---- doctor ---- */

FIXTURE(doctor){};

FIXTURE_SETUP(doctor)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
}

FIXTURE_TEARDOWN(doctor)
{
}

TEST_F(doctor, everything_in_json)
{
	json_t *json, *kernel, *devices, *entry;
	char before[8192], after[8192];
	size_t i;

	cli_state(before, sizeof(before));
	ASSERT_EQ(0, shunt(&o, "doctor", "-j")) TH_LOG("%s%s", o.out, o.err);
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	json = cli_json(&o);
	ASSERT_NE(NULL, json);
	EXPECT_TRUE(json_is_true(json_object_get(json, "ok")));
	kernel = json_object_get(json, "kernel");
	EXPECT_LE(8, json_array_size(kernel));
	json_array_foreach (kernel, i, entry) {
		EXPECT_TRUE(json_is_string(json_object_get(entry, "name")));
		EXPECT_TRUE(json_is_string(json_object_get(entry, "state")));
		EXPECT_TRUE(json_is_string(json_object_get(entry, "detail")));
		EXPECT_TRUE(json_is_string(json_object_get(entry, "advice")));
	}
	devices = json_object_get(json, "devices");
	EXPECT_EQ(2, json_array_size(devices));
	EXPECT_STREQ("veth", cli_field(devices, "name", "v0", "driver"));
	EXPECT_STREQ("xdp", cli_field(devices, "name", "v0", "auto"));
	json_decref(json);
}

TEST_F(doctor, text)
{
	ASSERT_EQ(0, shunt(&o, "doctor", "--dev", "v1"));
	EXPECT_EQ(NULL, strstr(o.out, "v0:"));
	EXPECT_NE(NULL, strstr(o.out, "v1: driver veth"));
	EXPECT_NE(NULL, strstr(o.out, "shunt can work here"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

TEST_F(doctor, unknown_device)
{
	EXPECT_EQ(1, shunt(&o, "doctor", "--dev", "eth9"));
	EXPECT_NE(NULL, strstr(o.err, "eth9: no such device"));
}

TEST_F(doctor, without_root)
{
	EXPECT_EQ(1, cli_exec_nobody(&o, (const char *const[]){
						 cli_shunt(), "doctor", NULL}));
	EXPECT_NE(NULL, strstr(o.out, "missing  root"));
	EXPECT_NE(NULL, strstr(o.out, "v0: driver veth"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

TEST_HARNESS_MAIN
