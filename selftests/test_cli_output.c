// SPDX-License-Identifier: GPL-2.0-only
/* What `shunt flows`, `stats` and `peers` make of the maps. */
#include "harness.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <unistd.h>

#include "cli_run.h"

static struct cli_output o;

/* An instance, and entries that we put into its maps. */

FIXTURE(output)
{
	int flows;
	int index;
};

FIXTURE_SETUP(output)
{
	ASSERT_EQ(0, geteuid()) TH_LOG("needs root");
	ASSERT_EQ(0, cli_netns());
	ASSERT_EQ(0, shunt(&o, "up", "--dev", "v0", "--ingress", "tc",
			   "--flows", "1000"))
	TH_LOG("%s", o.err);
	self->flows = cli_map("flows");
	self->index = cli_map("flow_index");
	ASSERT_LE(0, self->flows);
	ASSERT_LE(0, self->index);
}

FIXTURE_TEARDOWN(output)
{
	close(self->flows);
	close(self->index);
	EXPECT_EQ(0, shunt(&o, "down")) TH_LOG("%s", o.err);
}

static struct shunt_key key_of(int domain, const char *local, int lport,
			       const char *remote, int rport)
{
	struct shunt_key key = {
		.lport = htons(lport),
		.rport = htons(rport),
	};

	if (domain == AF_INET) {
		key.local.w[2] = key.remote.w[2] = htonl(0xffff);
		inet_pton(AF_INET, local, &key.local.w[3]);
		inet_pton(AF_INET, remote, &key.remote.w[3]);
	} else {
		inet_pton(AF_INET6, local, key.local.w);
		inet_pton(AF_INET6, remote, key.remote.w);
	}
	return key;
}

static int put_flow(int index, int flows, __u32 slot,
		    const struct shunt_flow *flow)
{
	if (bpf_map_update_elem(flows, &slot, flow, BPF_ANY))
		return -1;
	return bpf_map_update_elem(index, &flow->key, &slot, BPF_ANY);
}

/* An ended flow is shown for so long, and later no more. */
#define FORGOTTEN_NS (SHUNT_LINGER_NS + SHUNT_NSEC)

/* A guest may be up for less than it takes a flow to be forgotten. */
static __u64 old_enough(void)
{
	while (cli_now_ns() <= FORGOTTEN_NS + SHUNT_NSEC)
		usleep(100000);
	return cli_now_ns();
}

TEST_F(output, flows_of_every_state)
{
	const __u64 now = old_enough();
	struct shunt_flow flow = {
		.key = key_of(AF_INET, "192.0.2.1", 40000, "198.51.100.7", 80),
		.life = SHUNT_LIVE,
		.role = SHUNT_ROLE_ACTIVE,
		.transport = SHUNT_UDP,
		.tx = SHUNT_TX_ENCAP,
		.tx_bytes = 26000000000ULL,
		.rx_bytes = 510,
		.created_ns = now - 5 * SHUNT_NSEC,
		.seen_tick = (now - SHUNT_NSEC) >> SHUNT_TICK_SHIFT,
	};
	double age, idle;
	json_int_t tx, rx;
	json_t *json;
	int id;

	ASSERT_EQ(0, put_flow(self->index, self->flows, 1, &flow));
	flow.key.rport = htons(81);
	flow.tx = SHUNT_TX_PROBING;
	flow.reason = SHUNT_REASON_UNVERIFIED;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 2, &flow));
	flow.key.rport = htons(82);
	flow.tx = SHUNT_TX_FALLBACK;
	flow.reason = SHUNT_REASON_STALLED;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 3, &flow));
	flow.key.rport = htons(83);
	flow.tx = SHUNT_TX_PLAIN;
	flow.reason = SHUNT_REASON_NO_ECHO;
	flow.role = SHUNT_ROLE_PASSIVE;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 4, &flow));
	flow.key.rport = htons(84);
	flow.life = SHUNT_ENDED;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 5, &flow));
	flow.key.rport = htons(85); /* ended too long ago to be shown */
	flow.seen_tick = (now - FORGOTTEN_NS) >> SHUNT_TICK_SHIFT;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 6, &flow));
	flow.key.rport = htons(86);
	flow.life = SHUNT_CLAIMED;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 7, &flow));
	flow.key = key_of(AF_INET6, "2001:db8::1", 40000, "2001:db8::2", 443);
	flow.life = SHUNT_LIVE;
	flow.tx = SHUNT_TX_ENCAP;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 1000, &flow));

	ASSERT_EQ(0, shunt(&o, "flows", "-j")) TH_LOG("%s", o.err);
	json = cli_json(&o);
	ASSERT_NE(NULL, json);
	EXPECT_EQ(6, json_array_size(json)) TH_LOG("%s", o.out);
#define STATE(remote)  cli_field(json, "remote", remote, "state")
#define REASON(remote) cli_field(json, "remote", remote, "reason")
	EXPECT_STREQ("redirected", STATE("198.51.100.7:80"));
	EXPECT_STREQ("none", REASON("198.51.100.7:80"));
	EXPECT_STREQ("probing", STATE("198.51.100.7:81"));
	EXPECT_STREQ("unverified", REASON("198.51.100.7:81"));
	EXPECT_STREQ("fallback", STATE("198.51.100.7:82"));
	EXPECT_STREQ("stalled", REASON("198.51.100.7:82"));
	EXPECT_STREQ("tcp", STATE("198.51.100.7:83"));
	EXPECT_STREQ("no-echo", REASON("198.51.100.7:83"));
	EXPECT_STREQ("closed", STATE("198.51.100.7:84"));
	EXPECT_STREQ("redirected", STATE("[2001:db8::2]:443"));
	EXPECT_STREQ("[2001:db8::1]:40000",
		     cli_field(json, "remote", "[2001:db8::2]:443", "local"));
	EXPECT_STREQ("active",
		     cli_field(json, "remote", "198.51.100.7:80", "role"));
	EXPECT_STREQ("passive",
		     cli_field(json, "remote", "198.51.100.7:83", "role"));
	EXPECT_STREQ("udp",
		     cli_field(json, "remote", "198.51.100.7:80", "transport"));
	EXPECT_STREQ("segment",
		     cli_field(json, "remote", "198.51.100.7:80", "path"));
	ASSERT_EQ(0, json_unpack(json_array_get(json, 0),
				 "{s:i, s:I, s:I, s:f, s:f}", "id", &id,
				 "tx_bytes", &tx, "rx_bytes", &rx, "age", &age,
				 "idle", &idle));
	EXPECT_EQ(1, id);
	EXPECT_EQ(26000000000LL, tx);
	EXPECT_EQ(510, rx);
	EXPECT_LE(5, age);
	EXPECT_LE(1, idle);
	json_decref(json);

	ASSERT_EQ(0, shunt(&o, "flows"));
	EXPECT_NE(NULL, strstr(o.out, "[2001:db8::1]:40000"));
	EXPECT_NE(NULL, strstr(o.out, "stalled"));
	EXPECT_NE(NULL, strstr(o.out, "26G"));
	EXPECT_EQ(0, shunt(&o, "status", "-j"));
	json = cli_json(&o);
	ASSERT_EQ(0, json_unpack(json, "{s:{s:i}}", "flows", "live", &id));
	EXPECT_EQ(5, id);
	json_decref(json);
}

/* How far the hand of the flow table has come, and how many flows then fall
 * back of those in the first, the tenth and the last slot. */
static int fall_back_at(const FIXTURE_DATA(output) * self, __u32 hand)
{
	const __u32 slots[] = {1, 10, 1000}, zero = 0;
	struct shunt_flow flow = {
		.key = key_of(AF_INET, "192.0.2.1", 40000, "198.51.100.7", 80),
		.life = SHUNT_LIVE,
		.transport = SHUNT_UDP,
		.created_ns = cli_now_ns(),
	};
	int map = cli_map("hand"), n = -1;
	json_t *json;

	for (int i = 0; i < 3; i++) {
		flow.key.rport = htons(slots[i]);
		flow.tx = SHUNT_TX_ENCAP;
		if (slots[i] <= hand || !hand)
			put_flow(self->index, self->flows, slots[i], &flow);
	}
	bpf_map_update_elem(map, &zero, &hand, BPF_ANY);
	close(map);
	shunt(&o, "flows", "fallback", "--all", "-j");
	json = cli_json(&o);
	json_unpack(json, "{s:i}", "flows", &n);
	json_decref(json);
	return n;
}

/* No flow is overlooked: after one round, and when the hand's number, of 32
 * bits, has begun anew. */
TEST_F(output, fallback_wherever_the_hand_is)
{
	EXPECT_EQ(1, fall_back_at(self, 1));
	EXPECT_EQ(2, fall_back_at(self, 10));
	EXPECT_EQ(3, fall_back_at(self, 1000));
	EXPECT_EQ(3, fall_back_at(self, 1001));
	EXPECT_EQ(3, fall_back_at(self, 0));
}

TEST_F(output, flows_fit_80_columns)
{
	struct shunt_flow flow = {
		.key = key_of(AF_INET, "255.255.255.255", 65535,
			      "255.255.255.255", 65535),
		.life = SHUNT_LIVE,
		.transport = SHUNT_UDP,
		.tx = SHUNT_TX_ENCAP,
		.tx_bytes = 999499999999ULL,
		.rx_bytes = 9949999999ULL,
		.created_ns = cli_now_ns(),
	};

	ASSERT_EQ(0, put_flow(self->index, self->flows, 1, &flow));
	flow.key.lport = 0;
	flow.tx = SHUNT_TX_FALLBACK;
	flow.reason = SHUNT_REASON_NO_TRANSPORT; /* the longest name */
	ASSERT_EQ(0, put_flow(self->index, self->flows, 2, &flow));
	ASSERT_EQ(0, shunt(&o, "flows"));
	EXPECT_NE(NULL, strstr(o.out, "no-transport"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

TEST_F(output, connections_without_a_flow)
{
	struct shunt_handshake hs = {
		.created_ns = cli_now_ns() - 10 * SHUNT_NSEC,
		.transport = SHUNT_UDP,
	};
	struct shunt_key key =
		key_of(AF_INET, "192.0.2.1", 40000, "198.51.100.7", 1);
	struct shunt_flow live = {.life = SHUNT_LIVE, .tx = SHUNT_TX_ENCAP};
	static const struct {
		int stage;
		int reason;
		const char *state;
		const char *says;
	} cases[] = {
		{SHUNT_HS_INTENT, 0, "tcp", "none"},
		{SHUNT_HS_OFFERED, 0, "tcp", "no-answer"},
		{SHUNT_HS_BARE, SHUNT_REASON_MUTED, "tcp", "muted"},
		{SHUNT_HS_ANSWERED, 0, "probing", "waiting"},
		{SHUNT_HS_REFUSED, SHUNT_REASON_REFUSED, "tcp", "refused"},
	};
	char remote[32];
	int fd = cli_map("handshakes");
	json_t *json;

	ASSERT_LE(0, fd);
	for (size_t i = 0; i < 5; i++) {
		key.rport = htons(1 + i);
		hs.stage = cases[i].stage;
		hs.reason = cases[i].reason;
		ASSERT_EQ(0, bpf_map_update_elem(fd, &key, &hs, BPF_ANY));
	}
	/* Not shown: it became a flow; and one that is older than its flow. */
	key.rport = htons(100);
	hs.stage = SHUNT_HS_DONE;
	ASSERT_EQ(0, bpf_map_update_elem(fd, &key, &hs, BPF_ANY));
	key.rport = htons(101);
	hs.stage = SHUNT_HS_OFFERED;
	ASSERT_EQ(0, bpf_map_update_elem(fd, &key, &hs, BPF_ANY));
	live.key = key;
	ASSERT_EQ(0, put_flow(self->index, self->flows, 9, &live));
	close(fd);
	ASSERT_EQ(0, shunt(&o, "flows", "-j"));
	json = cli_json(&o);
	ASSERT_NE(NULL, json);
	EXPECT_EQ(6, json_array_size(json)) TH_LOG("%s", o.out);
	for (size_t i = 0; i < 5; i++) {
		snprintf(remote, sizeof(remote), "198.51.100.7:%zu", 1 + i);
		EXPECT_STREQ(cases[i].state, STATE(remote));
		EXPECT_STREQ(cases[i].says, REASON(remote));
	}
	EXPECT_STREQ("redirected", STATE("198.51.100.7:101"));
	json_decref(json);
}

TEST_F(output, no_flows)
{
	json_t *json;

	ASSERT_EQ(0, shunt(&o, "flows", "-j"));
	json = cli_json(&o);
	EXPECT_TRUE(json_is_array(json));
	EXPECT_EQ(0, json_array_size(json));
	json_decref(json);
	EXPECT_EQ(0, shunt(&o, "flows"));
	EXPECT_EQ(0, shunt(&o, "peers"));
	EXPECT_EQ(0, shunt(&o, "peers", "-j"));
	EXPECT_EQ(0, strncmp(o.out, "[]", 2));
	EXPECT_EQ(0, shunt(&o, "stats"));
}

TEST_F(output, stats)
{
	int cpus = libbpf_num_possible_cpus(), fd = cli_map("scratch");
	struct shunt_scratch values[cpus];
	__u32 zero = 0;
	json_t *json;

	ASSERT_LE(0, fd);
	memset(values, 0, sizeof(values));
	for (int i = 0; i < cpus; i++)
		values[i].counters[SHUNT_CNT_FALLBACK] = 1000 + i,
		values[i].reasons[SHUNT_REASON_STALLED] = 1;
	ASSERT_EQ(0, bpf_map_update_elem(fd, &zero, values, BPF_ANY));
	close(fd);
	ASSERT_EQ(0, shunt(&o, "stats", "-j"));
	json = cli_json(&o);
	ASSERT_NE(NULL, json);
	EXPECT_EQ(SHUNT_CNT_MAX + 1, json_object_size(json));
	EXPECT_EQ(cpus,
		  json_integer_value(json_object_get(
			  json_object_get(json, "stayed_tcp"), "stalled")));
	EXPECT_EQ(1000 * cpus + cpus * (cpus - 1) / 2,
		  json_integer_value(json_object_get(json, "flows_fallback")));
	EXPECT_TRUE(json_is_integer(json_object_get(json, "encap_packets")));
	json_decref(json);
	ASSERT_EQ(0, shunt(&o, "stats"));
	EXPECT_NE(NULL, strstr(o.out, "flows_fallback"));
	EXPECT_NE(NULL, strstr(o.out, "retransmissions without progress"));
	EXPECT_EQ(NULL, strstr(o.out, "offers_sent"));
	ASSERT_EQ(0, shunt(&o, "stats", "--all"));
	EXPECT_NE(NULL, strstr(o.out, "offers_sent"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

TEST_F(output, peers)
{
	const __u64 now = cli_now_ns();
	struct shunt_peer_key key = {.transport = SHUNT_UDP};
	struct shunt_peer peer = {
		.verified_ns = now - 3 * SHUNT_NSEC,
		.blocked_until_ns = now + 30 * SHUNT_NSEC,
		.flows = 7,
		.fallbacks = 2,
	};
	double verified, blocked;
	int flows, fallbacks;
	int fd = cli_map("peers");
	json_t *json, *entry;

	ASSERT_LE(0, fd);
	key.addr.w[2] = htonl(0xffff);
	inet_pton(AF_INET, "198.51.100.7", &key.addr.w[3]);
	ASSERT_EQ(0, bpf_map_update_elem(fd, &key, &peer, BPF_ANY));
	close(fd);
	ASSERT_EQ(0, shunt(&o, "peers", "-j"));
	json = cli_json(&o);
	entry = json_array_get(json, 0);
	ASSERT_NE(NULL, entry);
	EXPECT_STREQ("198.51.100.7",
		     json_string_value(json_object_get(entry, "addr")));
	EXPECT_STREQ("udp",
		     json_string_value(json_object_get(entry, "transport")));
	EXPECT_TRUE(json_is_null(json_object_get(entry, "muted_for")));
	ASSERT_EQ(0, json_unpack(entry, "{s:f, s:f, s:i, s:i}", "verified_ago",
				 &verified, "blocked_for", &blocked, "flows",
				 &flows, "fallbacks", &fallbacks));
	EXPECT_LE(3, verified);
	EXPECT_GE(30, blocked);
	EXPECT_LT(0, blocked);
	EXPECT_EQ(7, flows);
	EXPECT_EQ(2, fallbacks);
	json_decref(json);
	ASSERT_EQ(0, shunt(&o, "peers"));
	EXPECT_NE(NULL, strstr(o.out, "198.51.100.7"));
	EXPECT_FALSE(cli_too_wide(o.out));
}

TEST_F(output, a_full_disk_is_an_error)
{
	EXPECT_EQ(1, cli_sh(&o, "$S status > /dev/full"));
	EXPECT_NE(NULL, strstr(o.err, "cannot write"));
	EXPECT_EQ(1, cli_sh(&o, "$S flows -j > /dev/full"));
}

TEST_HARNESS_MAIN
