// SPDX-License-Identifier: GPL-2.0-only
/*
 * SYNs and SYN-ACKs that come in, at TC ingress: offers heard, MSS lowered,
 * answers that make flows, and forgeries that must not.
 */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

FIXTURE(syn_in)
{
	struct rig r;
	struct pkt in, out, want;
	struct seg s;
	struct shunt_key k;
	struct shunt_handshake hs;
	uint16_t overhead;
};

FIXTURE_VARIANT(syn_in)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(syn_in, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(syn_in, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(syn_in)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
	self->s = seg_in(variant->v6);
	make_syn(&self->s);
	self->k = key_of_receiver(&self->s);
	self->overhead = variant->v6 ? 48 : 28;
}

FIXTURE_TEARDOWN(syn_in)
{
	rig_close(&self->r);
}

static void expect_untouched(struct __test_metadata *_metadata, struct rig *r,
			     const struct pkt *in, const char *what)
{
	static struct pkt out;

	EXPECT_EQ(V_TC_PASS, rig_run(r, RIG_TC, in, &out));
	EXPECT_TRUE(pkt_same(in, &out))
	{
		pkt_diff(what, in, &out);
	}
}

/* The same frame with a lower MSS and the checksum to match. */
static void expect_mss(struct __test_metadata *_metadata, struct rig *r,
		       const struct pkt *in, uint16_t mss)
{
	static struct pkt out, want;
	uint8_t *o;

	ASSERT_EQ(V_TC_PASS, rig_run(r, RIG_TC, in, &out));
	want = *in;
	o = (uint8_t *)find_option(&want, 2, 0);
	ASSERT_NE(NULL, o);
	put16(o + 2, mss);
	fix_tcp(want.b + ETH_LEN);
	EXPECT_TRUE(pkt_same(&want, &out))
	{
		pkt_diff("MSS", &want, &out);
	}
}

/* What our own SYN with an offer leaves behind: isn_local is 1000. */
static void offered(struct rig *r, const struct shunt_key *k)
{
	struct shunt_handshake hs = {.stage = SHUNT_HS_OFFERED,
				     .role = SHUNT_ROLE_ACTIVE,
				     .wish = {.transports = {SHUNT_UDP}},
				     .transport = SHUNT_UDP,
				     .isn_local = 1000,
				     .token_local = 0x70ce,
				     .wscale = 9,
				     .created_ns = now_mono()};

	hs_put(r, k, &hs);
}

TEST_F(syn_in, offer_is_heard_and_mss_lowered)
{
	struct wish w = a_wish(OFFER);

	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	expect_mss(_metadata, &self->r, &self->in, 1460 - self->overhead);
	ASSERT_EQ(0, hs_get(&self->r, &self->k, &self->hs));
	EXPECT_EQ(SHUNT_HS_HEARD, self->hs.stage);
	EXPECT_EQ(SHUNT_ROLE_PASSIVE, self->hs.role);
	EXPECT_EQ(SHUNT_UDP, self->hs.transport);
	EXPECT_EQ(5001, self->hs.isn_remote);
	EXPECT_EQ(0xcafe0001, self->hs.token_remote);
	EXPECT_EQ(7, self->hs.wscale);
	EXPECT_EQ(0, flow_slot(&self->r, &self->k));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_OFFER_RX));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_OFFER_RX));
}

/* The hook behind XDP hears SYNs too; XDP lets them pass. */
TEST_F(syn_in, offer_at_the_other_hooks)
{
	struct wish w = a_wish(OFFER);

	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_XDP_PASS,
		  rig_run(&self->r, RIG_XDP, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_NE(0, hs_get(&self->r, &self->k, &self->hs));
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_SLOW, &self->in, &self->out));
	EXPECT_EQ(0, hs_get(&self->r, &self->k, &self->hs));
	EXPECT_EQ(1460 - self->overhead, mss_of(&self->out));
}

TEST_F(syn_in, mss_of_many_values)
{
	struct wish w = a_wish(OFFER);
	uint32_t most = 65536 - (variant->v6 ? 60 : 40);
	uint8_t mss[4] = {2, 4};

	for (uint32_t v = 256 + self->overhead; v < 0x10000; v += 97) {
		self->s.options_len = 0;
		put16(mss + 2, v);
		add_option(&self->s, mss, 4);
		add_wish(&self->s, &w);
		self->s.seq += 0x1234567;
		pkt_seg(&self->in, &self->s);
		/* The device of a test is loopback: MTU 65536. */
		expect_mss(_metadata, &self->r, &self->in,
			   (v < most ? v : most) - self->overhead);
	}
}

/* Jumbo frames there, not here: the smaller device counts. */
TEST_F(syn_in, mss_follows_our_device)
{
	struct wish w = a_wish(OFFER);

	ASSERT_EQ(0, rig_netns(&self->r, 1500));
	self->s.options_len = 0;
	add_option(&self->s, "\2\4\43\14", 4); /* 8972 */
	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	expect_mss(_metadata, &self->r, &self->in,
		   1500 - (variant->v6 ? 60 : 40) - self->overhead);
}

/* An MSS too low, absent, or at an odd place: the connection stays TCP, or
 * needs no change. In no case does the packet break. */
TEST_F(syn_in, strange_mss)
{
	struct wish w = a_wish(OFFER);

	self->s.options_len = 0;
	add_option(&self->s, "\2\4\1\0", 4); /* 256 */
	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	expect_untouched(_metadata, &self->r, &self->in, "MSS 256");
	EXPECT_NE(0, hs_get(&self->r, &self->k, &self->hs));

	self->s.options_len = 0;
	add_option(&self->s, "\1\2\4\5\264\1\1\1", 8);
	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	ASSERT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &self->in, &self->out));
	EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN));

	self->s.options_len = 0;
	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	expect_untouched(_metadata, &self->r, &self->in, "no MSS");
	EXPECT_EQ(0, hs_get(&self->r, &self->k, &self->hs));
}

static const struct {
	const char *name;
	struct wish w;
} not_offers[] = {
	{"an answer", {.version = 1, .type = ANSWER, .ids = {ID_UDP}}},
	{"version 2", {.version = 2, .type = OFFER, .ids = {ID_UDP}}},
	{"version 0", {.version = 0, .type = OFFER, .ids = {ID_UDP}}},
	{"type 3", {.version = 1, .type = 3, .ids = {ID_UDP}}},
	{"UDP-Lite", {.version = 1, .type = OFFER, .ids = {ID_UDPLITE}}},
	{"no transport", {.version = 1, .type = OFFER}},
	{"unknown ones",
	 {.version = 1, .type = OFFER, .ids = {0xffff, 1, ID_UDP + 1}}},
};

TEST_F(syn_in, not_an_offer_we_take)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_offers); i++) {
		make_syn(&self->s);
		add_wish(&self->s, &not_offers[i].w);
		pkt_seg(&self->in, &self->s);
		expect_untouched(_metadata, &self->r, &self->in,
				 not_offers[i].name);
		EXPECT_NE(0, hs_get(&self->r, &self->k, &self->hs))
		{
			TH_LOG("%s", not_offers[i].name);
		}
	}
	make_syn(&self->s);
	pkt_seg(&self->in, &self->s);
	expect_untouched(_metadata, &self->r, &self->in, "no option");
	add_option(&self->s, "\376\20\371\211\21\0\1\0............", 16);
	pkt_seg(&self->in, &self->s);
	expect_untouched(_metadata, &self->r, &self->in, "other ExID");
	EXPECT_NE(0, hs_get(&self->r, &self->k, &self->hs));
}

TEST_F(syn_in, offer_cut_at_every_length)
{
	struct wish w = a_wish(OFFER);
	uint32_t whole;

	add_wish(&self->s, &w);
	pkt_seg(&self->in, &self->s);
	whole = self->in.len;
	for (self->in.len = ETH_LEN + 40; self->in.len < whole; self->in.len++)
		expect_untouched(_metadata, &self->r, &self->in, "cut SYN");
	EXPECT_NE(0, hs_get(&self->r, &self->k, &self->hs));
}

/* A forged SYN on a live connection: TCP answers it with a challenge ACK, we
 * with nothing. */
TEST_F(syn_in, forged_syn_leaves_a_live_flow_alone)
{
	struct shunt_flow before = flow_live(&self->k), after;
	struct wish w = a_wish(OFFER);

	ASSERT_EQ(0, flow_put(&self->r, 1, &before));
	for (int i = 0; i < 2; i++) {
		make_syn(&self->s);
		if (i)
			add_wish(&self->s, &w);
		self->s.seq = 777;
		pkt_seg(&self->in, &self->s);
		rig_run(&self->r, RIG_TC, &self->in, NULL);
		rig_run(&self->r, RIG_XDP, &self->in, NULL);
		EXPECT_EQ(1, flow_slot(&self->r, &self->k));
		ASSERT_EQ(0, flow_get(&self->r, 1, &after));
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
	}
}

/* … nor does a forged SYN-ACK, without our initial sequence number. */
TEST_F(syn_in, forged_synack)
{
	struct wish w = a_wish(ANSWER);
	struct shunt_handshake before;

	offered(&self->r, &self->k);
	hs_get(&self->r, &self->k, &before);
	make_synack(&self->s);
	add_wish(&self->s, &w);
	self->s.ack = 1002;
	pkt_seg(&self->in, &self->s);
	expect_untouched(_metadata, &self->r, &self->in, "forged SYN-ACK");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(0, memcmp(&before, &self->hs, sizeof(before)));
	EXPECT_EQ(0, flow_slot(&self->r, &self->k));
}

TEST_F(syn_in, answer_makes_the_flow)
{
	struct wish w = a_wish(ANSWER);
	struct shunt_flow f;
	struct shunt_peer p;

	offered(&self->r, &self->k);
	make_synack(&self->s);
	add_wish(&self->s, &w);
	self->s.ack = 1001;
	pkt_seg(&self->in, &self->s);
	expect_mss(_metadata, &self->r, &self->in, 1460 - self->overhead);
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_DONE, self->hs.stage);
	ASSERT_NE(0, flow_slot(&self->r, &self->k));
	ASSERT_EQ(0, flow_get(&self->r, flow_slot(&self->r, &self->k), &f));
	EXPECT_EQ(0, memcmp(&f.key, &self->k, sizeof(f.key)));
	EXPECT_EQ(SHUNT_LIVE, f.life);
	EXPECT_EQ(SHUNT_ROLE_ACTIVE, f.role);
	EXPECT_EQ(SHUNT_UDP, f.transport);
	EXPECT_EQ(0x70ce, f.token_local);
	EXPECT_EQ(0xcafe0001, f.token_remote);
	EXPECT_EQ(1001, f.tx_next);
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx); /* nothing proved yet */
	EXPECT_EQ(SHUNT_REASON_UNVERIFIED, f.reason);
	EXPECT_LE(49152, get16((uint8_t *)&f.sport));
	EXPECT_EQ(self->overhead, f.overhead);
	EXPECT_EQ(7, f.wscale); /* of 9 and 7 */
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ANSWER_RX));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_FLOW));
	peer_read(&self->r, &self->k, SHUNT_TCP, &p);
	EXPECT_NE(0, p.answered_ns);
	/* Again: the same flow stays. */
	rig_run(&self->r, RIG_TC, &self->in, &self->out);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_FLOW));
}

/* How a flow starts depends on what is known of the path. */
TEST_F(syn_in, first_way_of_sending)
{
	struct wish w = a_wish(ANSWER);
	struct shunt_peer p = {.first_ns = 1};
	struct shunt_flow f;

	make_synack(&self->s);
	add_wish(&self->s, &w);
	self->s.ack = 1001;
	pkt_seg(&self->in, &self->s);
	for (int i = 0; i < 4; i++) {
		static const __u8 tx[] = {SHUNT_TX_ENCAP, SHUNT_TX_PROBING,
					  SHUNT_TX_PLAIN, SHUNT_TX_PROBING};
		__u64 now = now_mono();

		p.verified_ns = i == 0	 ? now - SHUNT_VERIFIED_NS / 2
				: i == 1 ? now - SHUNT_VERIFIED_NS * 2
					 : 0;
		p.blocked_until_ns = i == 2   ? now + SHUNT_NSEC
				     : i == 3 ? now - SHUNT_NSEC
					      : 0;
		if (now < SHUNT_VERIFIED_NS * 2 && i == 1)
			continue; /* the machine has only just booted */
		peer_put(&self->r, &self->k, SHUNT_UDP, &p);
		flow_unlink(&self->r, &self->k);
		offered(&self->r, &self->k);
		rig_run(&self->r, RIG_TC, &self->in, NULL);
		flow_get(&self->r, flow_slot(&self->r, &self->k), &f);
		EXPECT_EQ(tx[i], f.tx)
		{
			TH_LOG("case %d", i);
		}
	}
}

TEST_F(syn_in, outer_ports_are_stable_and_spread)
{
	struct wish w = a_wish(ANSWER);
	uint16_t ports[64], again;
	struct shunt_flow f;
	int same = 0;

	for (int i = 0; i < 128; i++) {
		struct seg s = self->s;
		struct shunt_key k;

		make_synack(&s);
		add_wish(&s, &w);
		s.ack = 1001;
		s.dport = 33000 + i % 64 * 2;
		s.seq += i;
		k = key_of_receiver(&s);
		offered(&self->r, &k);
		pkt_seg(&self->in, &s);
		rig_run(&self->r, RIG_TC, &self->in, NULL);
		ASSERT_NE(0, flow_slot(&self->r, &k));
		flow_get(&self->r, flow_slot(&self->r, &k), &f);
		again = get16((uint8_t *)&f.sport);
		EXPECT_LE(49152, again);
		if (i >= 64) {
			EXPECT_EQ(ports[i - 64], again);
		} else {
			ports[i] = again;
		}
		for (int j = 0; j < i && i < 64; j++)
			same += ports[j] == again;
		flow_unlink(&self->r, &k); /* room for the next */
	}
	EXPECT_GE(3, same); /* of 2016 pairs in 16384 ports */
}

TEST_F(syn_in, synack_without_answer)
{
	struct shunt_peer p;

	offered(&self->r, &self->k);
	make_synack(&self->s);
	self->s.ack = 1001;
	pkt_seg(&self->in, &self->s);
	expect_untouched(_metadata, &self->r, &self->in, "no answer");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_REFUSED, self->hs.stage);
	EXPECT_EQ(SHUNT_REASON_NO_ANSWER, self->hs.reason);
	EXPECT_EQ(0, flow_slot(&self->r, &self->k));
	peer_read(&self->r, &self->k, SHUNT_TCP, &p);
	EXPECT_EQ(0, p.muted_until_ns);
	/* After a retransmission, the path may be dropping our SYNs. */
	offered(&self->r, &self->k);
	hs_get(&self->r, &self->k, &self->hs);
	self->hs.flags = SHUNT_HS_RETRANSMITTED;
	hs_put(&self->r, &self->k, &self->hs);
	rig_run(&self->r, RIG_TC, &self->in, NULL);
	peer_read(&self->r, &self->k, SHUNT_TCP, &p);
	EXPECT_LT(now_mono(), p.muted_until_ns);
}

TEST_F(syn_in, answers_we_do_not_take)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_offers); i++) {
		struct wish w = not_offers[i].w;

		if (w.type != 3)
			w.type = w.type == ANSWER ? OFFER : ANSWER;
		offered(&self->r, &self->k);
		make_synack(&self->s);
		add_wish(&self->s, &w);
		self->s.ack = 1001;
		pkt_seg(&self->in, &self->s);
		expect_untouched(_metadata, &self->r, &self->in,
				 not_offers[i].name);
		hs_get(&self->r, &self->k, &self->hs);
		EXPECT_EQ(SHUNT_HS_REFUSED, self->hs.stage);
		EXPECT_EQ(SHUNT_REASON_REFUSED, self->hs.reason);
		EXPECT_EQ(0, flow_slot(&self->r, &self->k));
	}
}

RIG_HARNESS_MAIN(4)
