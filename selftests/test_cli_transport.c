// SPDX-License-Identifier: GPL-2.0-only
/* shunt transport list | add | replace | remove | show: what it says and does.
 */
#include "cli_run.h"
#include "harness.h"
#include "left.h"

#include <bpf/bpf.h>
#include <libgen.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <unistd.h>

static struct cli_output o;

/* An object that the build made, by its path below build/, or by a whole path.
 */
static const char *built(const char *name)
{
	static char path[2][512];
	static int turn;
	char shunt_path[512];

	snprintf(shunt_path, sizeof(shunt_path), "%s", cli_shunt());
	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%.400s/%.100s",
		 name[0] == '/' ? "" : dirname(shunt_path), name);
	return path[turn];
}

#define OWD    built("docs/owd.bpf.o")
#define PICKY  built("selftests/plugins/picky.bpf.o")
#define BAD(x) built("selftests/plugins/" x ".bpf.o")

FIXTURE(transport){};

FIXTURE_SETUP(transport)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--flows", "100"))
	TH_LOG("%s", o.err);
}

FIXTURE_TEARDOWN(transport)
{
	EXPECT_EQ(0, shunt(&o, "down"));
}

static json_t *list(void)
{
	return shunt(&o, "transport", "list", "-j") ? NULL : cli_json(&o);
}

static int number_of(const char *name)
{
	json_t *json = list(), *one;
	int number = 0;
	size_t i;

	json_array_foreach (json, i, one)
		if (!strcmp(name,
			    json_string_value(json_object_get(one, "name"))))
			number = json_integer_value(
				json_object_get(one, "number"));
	json_decref(json);
	return number;
}

/* Ids of the programs in an array of the instance; 0 where there is none. */
static __u32 program(const char *array, __u32 number)
{
	int fd = cli_map(array);
	__u32 id = 0;

	if (bpf_map_lookup_elem(fd, &number, &id))
		id = 0;
	close(fd);
	return id;
}

TEST_F(transport, built_in_ones)
{
	json_t *json = list();

	ASSERT_EQ(2, json_array_size(json));
	EXPECT_STREQ("udp", cli_field(json, "name", "udp", "name"));
	EXPECT_STREQ("udplite", cli_field(json, "name", "udplite", "name"));
	json_decref(json);
	EXPECT_EQ(1, number_of("udp"));
	EXPECT_EQ(2, number_of("udplite"));
	EXPECT_EQ(0, shunt(&o, "transport", "list"));
	EXPECT_FALSE(cli_too_wide(o.out));
	EXPECT_NE(NULL, strstr(o.out, "udplite"));
	EXPECT_EQ(0, shunt(&o, "transport", "show", "udplite"));
	EXPECT_FALSE(cli_too_wide(o.out));
	EXPECT_NE(NULL, strstr(o.out, "IP protocol 136, port 6080"));
	EXPECT_EQ(0, shunt(&o, "transport", "show", "udplite", "-j"));
	json = cli_json(&o);
	/* docs/wire-format.md has the number. */
	EXPECT_EQ(0x9d31, json_integer_value(json_object_get(json, "id")));
	json_decref(json);
}

/* Every array has the programs of an added one, and none of a removed one. */
TEST_F(transport, add_and_remove)
{
	static const char *const arrays[] = {"encap_progs", "decap_tc_progs",
					     "decap_xdp_progs"};
	json_t *json;
	int n;

	EXPECT_EQ(0, shunt(&o, "transport", "add", OWD));
	EXPECT_STREQ("", o.err);
	EXPECT_EQ(0, strncmp(o.out, "owd: added in ", 14));
	EXPECT_NE(NULL, strstr(o.out, " ms "));
	n = number_of("owd");
	EXPECT_LT(2, n);
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		EXPECT_NE(0, program(arrays[i], n));
	EXPECT_EQ(0, shunt(&o, "transport", "show", "owd", "-j"));
	json = cli_json(&o);
	EXPECT_EQ(16, json_integer_value(json_object_get(json, "header_len")));
	EXPECT_TRUE(json_is_false(json_object_get(json, "gso")));
	EXPECT_EQ(0, json_integer_value(json_object_get(
			     json_object_get(json, "report"), "received")));
	EXPECT_TRUE(json_is_null(
		json_object_get(json_object_get(json, "report"), "delay_us")));
	json_decref(json);
	EXPECT_EQ(0, shunt(&o, "transport", "remove", "owd"));
	EXPECT_STREQ("", o.out);
	EXPECT_EQ(0, number_of("owd"));
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++)
		EXPECT_EQ(0, program(arrays[i], n));
}

TEST_F(transport, under_another_name)
{
	EXPECT_EQ(0,
		  shunt(&o, "transport", "add", OWD, "--name", "mine", "-j"));
	EXPECT_NE(NULL, strstr(o.out, "\"mine\""));
	EXPECT_NE(0, number_of("mine"));
	EXPECT_EQ(0, number_of("owd"));
	EXPECT_EQ(1,
		  shunt(&o, "transport", "add", PICKY, "--name", "Bad Name"));
	EXPECT_NE(NULL, strstr(o.err, "'Bad Name' is no name"));
	EXPECT_EQ(1, shunt(&o, "transport", "add", PICKY, "--name", "tcp"));
	EXPECT_NE(NULL, strstr(o.err, "choose another name"));
}

/* Another header than owd's, so not with --name either: the port is taken. */
TEST_F(transport, taken_name_and_port)
{
	ASSERT_EQ(0, shunt(&o, "transport", "add", OWD));
	EXPECT_EQ(1, shunt(&o, "transport", "add", OWD));
	EXPECT_NE(NULL, strstr(o.err, "owd is deployed already"));
	EXPECT_NE(NULL, strstr(o.err, "transport replace owd"));
	EXPECT_EQ(1, shunt(&o, "transport", "add", OWD, "--name", "other"));
	EXPECT_NE(NULL, strstr(o.err, "port 6090 is owd's"));
	EXPECT_EQ(0, number_of("other"));
}

static const struct {
	const char *file;
	const char *says;
} wrong[] = {
	{"docs/../shunt", "not for BPF"},
	{"/etc/passwd", "not an ELF object file"},
	{"no-such-file", "No such file"},
	{"docs", "not an object file"},
	{"shunt.bpf.o", "no section shunt.transport"},
	{"selftests/plugins/old_abi.bpf.o", "built for version 1"},
	{"selftests/plugins/no_decap.bpf.o", "no program decap_xdp"},
	{"selftests/plugins/wrong_type.bpf.o", "belongs into SEC(\"tc\")"},
	{"selftests/plugins/taken_port.bpf.o", "port 6080"},
	/* the verifier's own words */
	{"selftests/plugins/refused.bpf.o", "scalar"},
};

static int count(json_t *json)
{
	int n = json_array_size(json);

	json_decref(json);
	return n;
}

TEST_F(transport, wrong_files_change_nothing)
{
	static char before[65536], after[65536];
	struct cli_ids ids, now;

	ASSERT_EQ(0, shunt(&o, "transport", "add", OWD));
	cli_state(before, sizeof(before));
	ASSERT_EQ(0, cli_ids(&ids));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		for (int replace = 0; replace < 2; replace++) {
			const char *file = built(wrong[i].file);

			EXPECT_EQ(1,
				  replace ? shunt(&o, "transport", "replace",
						  "owd", file)
					  : shunt(&o, "transport", "add", file))
			{
				TH_LOG("%s", file);
			}
			EXPECT_STREQ("", o.out);
			EXPECT_NE(NULL, strstr(o.err, wrong[i].says))
			{
				TH_LOG("%s: %s", file, o.err);
			}
			EXPECT_EQ(3, count(list()));
		}
	}
	cli_state(after, sizeof(after));
	EXPECT_STREQ(before, after);
	ASSERT_EQ(0, cli_ids(&now));
	EXPECT_EQ(ids.progs, now.progs);
	EXPECT_EQ(ids.maps, now.maps);
}

TEST_F(transport, wrong_usage)
{
	EXPECT_EQ(2, shunt(&o, "transport"));
	EXPECT_NE(NULL, strstr(o.err, "list, add, replace, remove or show?"));
	EXPECT_EQ(2, shunt(&o, "transport", "load", "x"));
	EXPECT_NE(NULL, strstr(o.err, "not 'load'"));
	EXPECT_EQ(2, shunt(&o, "transport", "add"));
	EXPECT_EQ(2, shunt(&o, "transport", "add", "a", "b"));
	EXPECT_EQ(2, shunt(&o, "transport", "replace", "udp"));
	EXPECT_EQ(2, shunt(&o, "transport", "remove"));
	EXPECT_EQ(1, shunt(&o, "transport", "remove", "owd"));
	EXPECT_NE(NULL, strstr(o.err, "there are: tcp udp udplite"));
	EXPECT_EQ(1, shunt(&o, "transport", "remove", "tcp"));
	EXPECT_EQ(1, shunt(&o, "transport", "show", "owd"));
	EXPECT_EQ(0, shunt(&o, "transport", "--help"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

/* With the same header on the wire the number stays and the programs change. */
TEST_F(transport, replace)
{
	__u32 before, after;
	int n;

	ASSERT_EQ(0, shunt(&o, "transport", "add", OWD));
	n = number_of("owd");
	before = program("encap_progs", n);
	EXPECT_EQ(0, shunt(&o, "transport", "replace", "owd", OWD));
	EXPECT_EQ(0, strncmp(o.out, "owd: replaced in ", 17));
	after = program("encap_progs", n);
	EXPECT_NE(before, after);
	EXPECT_NE(0, after);
	EXPECT_EQ(0, shunt(&o, "transport", "replace", "owd", PICKY));
	EXPECT_NE(NULL, strstr(o.out, "another header"));
	EXPECT_EQ(n, number_of("owd"));
	EXPECT_NE(0, program("encap_progs", n));
	EXPECT_EQ(0, shunt(&o, "transport", "show", "owd", "-j"));
	EXPECT_NE(NULL, strstr(o.out, "6091"));
	/* The old way in is free. */
	EXPECT_EQ(0, shunt(&o, "transport", "add", OWD, "--name", "again"));
}

/* A rule goes on meaning what it meant: the name keeps its number. */
TEST_F(transport, policy_outlives_it)
{
	int n;

	ASSERT_EQ(0, shunt(&o, "transport", "add", OWD));
	n = number_of("owd");
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--transport", "owd,udp,tcp"));
	EXPECT_EQ(0, shunt(&o, "transport", "remove", "owd"));
	EXPECT_EQ(0, shunt(&o, "policy", "list"));
	EXPECT_NE(NULL, strstr(o.out, "owd,udp"));
	EXPECT_EQ(0, shunt(&o, "transport", "add", PICKY));
	EXPECT_NE(n, number_of("picky"));
	EXPECT_EQ(0, shunt(&o, "transport", "add", OWD));
	EXPECT_EQ(n, number_of("owd"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport", "udp,udp"));
	EXPECT_NE(NULL, strstr(o.err, "named twice"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport", "tcp,udp"));
	EXPECT_NE(NULL, strstr(o.err, "behind tcp"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport",
			   "udp,udplite,owd,picky"));
	EXPECT_NE(NULL, strstr(o.err, "at most 3"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport", "udp",
			   "--coverage", "headers"));
	EXPECT_NE(NULL, strstr(o.err, "none of udp"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--transport", "udplite",
			   "--coverage", "headers", "--path", "message"));
	EXPECT_NE(NULL, strstr(o.err, "not with --path message"));
	EXPECT_EQ(1, shunt(&o, "policy", "add", "--coverage", "some"));
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--transport", "udplite",
			   "--coverage", "headers"));
	EXPECT_EQ(0, shunt(&o, "policy", "list"));
	EXPECT_NE(NULL, strstr(o.out, "udplite (headers)"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

/* The hop's devices come with the first rule that needs them and go at `down`;
 * a transport with GSO needs none. */
TEST_F(transport, segmentation_hop)
{
	EXPECT_EQ(0, cli_sh(&o, "ip -o link | grep -c ': shunt' || true"));
	EXPECT_STREQ("0\n", o.out);
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--transport", "udp"));
	EXPECT_EQ(0, cli_sh(&o, "ip -o link | grep -c ': shunt' || true"));
	EXPECT_STREQ("0\n", o.out);
	EXPECT_EQ(0, shunt(&o, "policy", "add", "--transport", "udplite,udp"));
	/* A veth pair, and a macvlan where the kernel has it. */
	EXPECT_EQ(0, cli_sh(&o, "ip -o link | grep -c ': shunt'"));
	EXPECT_TRUE(!strcmp("2\n", o.out) || !strcmp("3\n", o.out));
	/* Nothing has an address or says anything by itself. */
	EXPECT_EQ(0, cli_sh(&o, "ip -o addr | grep ': shunt' || true"));
	EXPECT_STREQ("", o.out);
	EXPECT_EQ(0, shunt(&o, "status"));
	EXPECT_NE(NULL, strstr(o.out, "segmentation hop shunt"));
	EXPECT_FALSE(cli_too_wide(o.out));
	EXPECT_EQ(0, shunt(&o, "down"));
	EXPECT_EQ(0, cli_sh(&o, "ip -o link | grep -c ': shunt' || true"));
	EXPECT_STREQ("0\n", o.out);
	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--flows", "100",
			   "--default", "udplite", "--attach", "clsact"));
	/* A veth pair, and a macvlan where the kernel has it. */
	EXPECT_EQ(0, cli_sh(&o, "ip -o link | grep -c ': shunt'"));
	EXPECT_TRUE(!strcmp("2\n", o.out) || !strcmp("3\n", o.out));
}

/* What a transport has in the kernel: programs, and the maps that these use. */
struct loaded {
	__u32 prog[3];
	__u32 map[8];
	__u32 maps;
};

static int loaded(__u32 number, struct loaded *l)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd;

	l->prog[0] = program("encap_progs", number);
	l->prog[1] = program("decap_tc_progs", number);
	l->prog[2] = program("decap_xdp_progs", number);
	fd = bpf_prog_get_fd_by_id(l->prog[0]);
	if (fd < 0)
		return fd;
	info.map_ids = (__u64)(unsigned long)l->map;
	info.nr_map_ids = ARRAY_SIZE(l->map);
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		info.nr_map_ids = 0;
	close(fd);
	l->maps = info.nr_map_ids;
	return l->maps ? 0 : -1;
}

/* Of one that the instance has. */
static __u32 map_id(const char *name)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int fd = cli_map(name);

	bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	return info.id;
}

static bool all_gone(const struct loaded *l)
{
	if (!left_none(LEFT_PROGS, l->prog, ARRAY_SIZE(l->prog)))
		return false;
	for (__u32 i = 0; i < l->maps; i++)
		if (left(LEFT_MAPS, l->map[i]) &&
		    l->map[i] != map_id("scratch") &&
		    l->map[i] != map_id("stages"))
			return false;
	return true;
}

/* Slots of removed ones are used again: a hundred names in a row, and nothing
 * of any stays behind. */
TEST_F_TIMEOUT(transport, hundred_names, 120)
{
	static struct loaded l[100];
	int n = getenv("SHUNT_GUEST") ? 20 : 100;
	char name[16];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		ASSERT_EQ(0, shunt(&o, "transport", "add", OWD, "--name", name))
		TH_LOG("%s", o.err);
		ASSERT_EQ(0, loaded(number_of(name), &l[i]));
		ASSERT_EQ(0, shunt(&o, "transport", "remove", name));
	}
	for (int i = 0; i < n; i++)
		EXPECT_TRUE(CLI_BECOMES(all_gone(&l[i])));
}

TEST_HARNESS_MAIN
