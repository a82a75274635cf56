// SPDX-License-Identifier: GPL-2.0-only
/* Which rule decides about an offer that we receive. */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

FIXTURE(policy)
{
	struct rig r;
	struct pkt p;
	struct shunt_settings settings;
};

FIXTURE_SETUP(policy)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
	self->settings = get_settings(&self->r);
	self->settings.wish.transports[0] = SHUNT_TCP;
}

FIXTURE_TEARDOWN(policy)
{
	rig_close(&self->r);
}

/* These rules are active: a count of n, in the other half than before. */
static void activate(struct rig *r, struct shunt_settings *s, __u32 n)
{
	s->rules_half ^= 1;
	s->n_rules[s->rules_half] = n;
	s->n_rules[!s->rules_half] = 99; /* must not be looked at */
	set_settings(r, s);
}

static struct shunt_rule rule(bool v6, const char *addr, int len, int lo,
			      int hi, __u8 transport)
{
	struct shunt_rule rule = {.port_lo = lo,
				  .port_hi = hi,
				  .prefix_len = v6 ? len : 96 + len,
				  .wish = {.transports = {transport}}};
	uint8_t *a = (uint8_t *)&rule.remote;

	if (!v6)
		memset(a + 10, 0xff, 2);
	memcpy(a + (v6 ? 0 : 12), addr, v6 ? 16 : 4);
	return rule;
}

static void put_rule(struct rig *r, struct shunt_settings *s, __u32 i,
		     struct shunt_rule rule)
{
	set_rule(r, !s->rules_half * SHUNT_MAX_RULES + i, &rule);
}

/* Is an offer from this peer to this port heard? */
static bool heard(struct rig *r, bool v6, const char *src, uint16_t port)
{
	static uint32_t seq = 99;
	static struct pkt p;
	struct wish w = a_wish(OFFER);
	struct seg s = seg_in(v6);
	struct shunt_handshake hs;
	struct shunt_key k;

	make_syn(&s);
	add_wish(&s, &w);
	if (src)
		memcpy(s.src, src, v6 ? 16 : 4);
	s.dport = port;
	s.seq = ++seq;
	k = key_of_receiver(&s);
	pkt_seg(&p, &s);
	rig_run(r, RIG_TC, &p, NULL);
	return !hs_get(r, &k, &hs) && hs.isn_remote == s.seq;
}

TEST_F(policy, default_decides_without_rules)
{
	activate(&self->r, &self->settings, 0);
	EXPECT_FALSE(heard(&self->r, false, NULL, 80));
	EXPECT_FALSE(heard(&self->r, true, NULL, 80));
	self->settings.wish.transports[0] = SHUNT_UDP;
	activate(&self->r, &self->settings, 0);
	EXPECT_TRUE(heard(&self->r, false, NULL, 80));
	EXPECT_TRUE(heard(&self->r, true, NULL, 80));
	/* The path is agreed on apart from that. */
	self->settings.wish.path = SHUNT_PATH_MESSAGE;
	activate(&self->r, &self->settings, 0);
	EXPECT_TRUE(heard(&self->r, false, NULL, 80));
}

/* The peer of seg_in() is 10.77.2.9. Each prefix holds it; bend the last bit
 * of the prefix, and it does not. */
TEST_F(policy, every_ipv4_prefix_length)
{
	uint8_t a[4] = {10, 77, 2, 9}, b[4];

	for (int len = 0; len <= 32; len++) {
		put_rule(&self->r, &self->settings, 0,
			 rule(false, (char *)a, len, 1, 65535, SHUNT_UDP));
		activate(&self->r, &self->settings, 1);
		EXPECT_TRUE(heard(&self->r, false, NULL, 80))
		{
			TH_LOG("/%d", len);
		}
		/* 0.0.0.0/0 is IPv4's; ::/0 takes both. */
		EXPECT_FALSE(heard(&self->r, true, NULL, 80));
		if (!len)
			continue;
		memcpy(b, a, 4);
		b[(len - 1) / 8] ^= 0x80 >> (len - 1) % 8;
		put_rule(&self->r, &self->settings, 0,
			 rule(false, (char *)b, len, 1, 65535, SHUNT_UDP));
		activate(&self->r, &self->settings, 1);
		EXPECT_FALSE(heard(&self->r, false, NULL, 80))
		{
			TH_LOG("/%d with its last bit bent", len);
		}
	}
}

TEST_F(policy, every_ipv6_prefix_length)
{
	struct seg s = seg_in(true);
	uint8_t b[16];

	for (int len = 0; len <= 128; len++) {
		put_rule(&self->r, &self->settings, 0,
			 rule(true, (char *)s.src, len, 1, 65535, SHUNT_UDP));
		activate(&self->r, &self->settings, 1);
		EXPECT_TRUE(heard(&self->r, true, NULL, 80))
		{
			TH_LOG("/%d", len);
		}
		EXPECT_EQ(len == 0, heard(&self->r, false, NULL, 80));
		if (!len)
			continue;
		memcpy(b, s.src, 16);
		b[(len - 1) / 8] ^= 0x80 >> (len - 1) % 8;
		put_rule(&self->r, &self->settings, 0,
			 rule(true, (char *)b, len, 1, 65535, SHUNT_UDP));
		activate(&self->r, &self->settings, 1);
		EXPECT_FALSE(heard(&self->r, true, NULL, 80))
		{
			TH_LOG("/%d with its last bit bent", len);
		}
	}
}

TEST_F(policy, port_ranges_with_both_ends)
{
	put_rule(&self->r, &self->settings, 0,
		 rule(false, "\0\0\0\0", 0, 8000, 8010, SHUNT_UDP));
	put_rule(&self->r, &self->settings, 1,
		 rule(false, "\0\0\0\0", 0, 443, 443, SHUNT_UDP));
	put_rule(&self->r, &self->settings, 2,
		 rule(false, "\0\0\0\0", 0, 65535, 65535, SHUNT_UDP));
	activate(&self->r, &self->settings, 3);
	EXPECT_FALSE(heard(&self->r, false, NULL, 7999));
	EXPECT_TRUE(heard(&self->r, false, NULL, 8000));
	EXPECT_TRUE(heard(&self->r, false, NULL, 8010));
	EXPECT_FALSE(heard(&self->r, false, NULL, 8011));
	EXPECT_FALSE(heard(&self->r, false, NULL, 442));
	EXPECT_TRUE(heard(&self->r, false, NULL, 443));
	EXPECT_FALSE(heard(&self->r, false, NULL, 444));
	EXPECT_FALSE(heard(&self->r, false, NULL, 65534));
	EXPECT_TRUE(heard(&self->r, false, NULL, 65535));
}

TEST_F(policy, first_match_wins)
{
	put_rule(&self->r, &self->settings, 0,
		 rule(false, "\12\115\2\11", 32, 80, 80, SHUNT_TCP));
	put_rule(&self->r, &self->settings, 1,
		 rule(false, "\12\115\2\0", 24, 80, 90, SHUNT_UDP));
	put_rule(&self->r, &self->settings, 2,
		 rule(false, "\12\115\0\0", 16, 1, 65535, SHUNT_TCP));
	self->settings.wish.transports[0] = SHUNT_UDP;
	activate(&self->r, &self->settings, 3);
	EXPECT_FALSE(heard(&self->r, false, NULL, 80));		 /* rule 1 */
	EXPECT_TRUE(heard(&self->r, false, NULL, 81));		 /* rule 2 */
	EXPECT_TRUE(heard(&self->r, false, "\12\115\2\10", 80)); /* rule 2 */
	EXPECT_FALSE(heard(&self->r, false, NULL, 91));		 /* rule 3 */
	EXPECT_TRUE(heard(&self->r, false, "\12\116\2\11", 80)); /* default */
}

TEST_F(policy, last_rule_of_a_full_table_counts)
{
	for (int i = 0; i < SHUNT_MAX_RULES; i++)
		put_rule(&self->r, &self->settings, i,
			 rule(false, "\1\2\3\4", 32, 1, 65535, SHUNT_TCP));
	put_rule(&self->r, &self->settings, SHUNT_MAX_RULES - 1,
		 rule(false, "\12\115\2\11", 32, 80, 80, SHUNT_UDP));
	activate(&self->r, &self->settings, SHUNT_MAX_RULES);
	EXPECT_TRUE(heard(&self->r, false, NULL, 80));
	activate(&self->r, &self->settings, 0); /* the other half */
	EXPECT_FALSE(heard(&self->r, false, NULL, 80));
}

/* Whose the connection will be, a SYN does not say. */
TEST_F(policy, cgroup_rules_are_for_connections_we_make)
{
	struct shunt_rule c = rule(false, "\0\0\0\0", 0, 1, 65535, SHUNT_UDP);

	c.cgroup = 1;
	put_rule(&self->r, &self->settings, 0, c);
	activate(&self->r, &self->settings, 1);
	EXPECT_FALSE(heard(&self->r, false, NULL, 80));
}

RIG_HARNESS_MAIN(4)
