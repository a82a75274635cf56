// SPDX-License-Identifier: GPL-2.0-only
/*
 * SYNs and SYN-ACKs on their way out: which get our option, that it is well put
 * in, and which are left alone and why.
 */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

FIXTURE(syn_out)
{
	struct rig r;
	struct pkt in, out;
	struct seg s;
	struct shunt_key k;
	struct shunt_handshake hs;
};

FIXTURE_VARIANT(syn_out)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(syn_out, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(syn_out, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(syn_out)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
	self->s = seg_out(variant->v6);
	make_syn(&self->s);
	self->k = key_of_sender(&self->s);
	self->hs.transport = SHUNT_UDP;
	self->hs.wish.transports[0] = SHUNT_UDP;
	self->hs.created_ns = now_mono();
}

FIXTURE_TEARDOWN(syn_out)
{
	rig_close(&self->r);
}

/* What SOCK_OPS leaves at connect(). */
static void intend(struct rig *r, const struct shunt_key *k,
		   struct shunt_handshake *hs)
{
	hs->stage = SHUNT_HS_INTENT;
	hs->role = SHUNT_ROLE_ACTIVE;
	hs_put(r, k, hs);
}

/* What a received offer leaves. */
static void hear(struct rig *r, const struct shunt_key *k,
		 struct shunt_handshake *hs)
{
	hs->stage = SHUNT_HS_HEARD;
	hs->role = SHUNT_ROLE_PASSIVE;
	hs->isn_remote = 5000;
	hs->token_remote = 0xbeef;
	hs_put(r, k, hs);
}

/* in, with one more option at its end and everything that follows from it. */
static void expect_wish(struct __test_metadata *_metadata, struct pkt *in,
			struct pkt *out, uint8_t type, uint32_t token)
{
	uint8_t *ip = out->b + ETH_LEN, *t = out->b + pkt_l4(out);
	static struct pkt want;
	struct wish w;

	ASSERT_EQ(in->len + 16, out->len);
	EXPECT_TRUE(options_parse(out));
	ASSERT_TRUE(find_wish(out, &w));
	EXPECT_EQ(1, w.version);
	EXPECT_EQ(type, w.type);
	EXPECT_EQ(SHUNT_PATH_SEGMENT, w.path);
	EXPECT_EQ(SHUNT_COVERAGE_FULL, w.coverage);
	EXPECT_EQ(ID_UDP, w.ids[0]);
	EXPECT_EQ(0, w.ids[1]);
	EXPECT_EQ(0, w.ids[2]);
	EXPECT_EQ(token, w.token);
	EXPECT_NE(0, w.token);
	EXPECT_TRUE(ip_good(ip));
	EXPECT_TRUE(tcp_good(ip));
	EXPECT_EQ(1460, mss_of(out)); /* ours to receive: not lowered here */
	/* The rest, by taking the option out again. */
	want = *out;
	want.len -= 16;
	t = want.b + (t - out->b);
	t[12] -= 4 << 4;
	ip = want.b + ETH_LEN;
	if (ip[0] >> 4 == 6)
		put16(ip + 4, get16(ip + 4) - 16);
	else
		put16(ip + 2, get16(ip + 2) - 16);
	if (ip[0] >> 4 == 4)
		fix_ip(ip);
	fix_tcp(ip);
	EXPECT_TRUE(pkt_same(in, &want))
	{
		pkt_diff("SYN without the option", in, &want);
	}
}

static void expect_bare(struct __test_metadata *_metadata, struct rig *r,
			const struct pkt *in, const char *what)
{
	static struct pkt out;

	EXPECT_EQ(V_TC_PASS, rig_run(r, RIG_EGRESS, in, &out));
	EXPECT_TRUE(pkt_same(in, &out))
	{
		pkt_diff(what, in, &out);
	}
}

TEST_F(syn_out, offer)
{
	intend(&self->r, &self->k, &self->hs);
	pkt_seg(&self->in, &self->s);
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	ASSERT_EQ(0, hs_get(&self->r, &self->k, &self->hs));
	EXPECT_EQ(SHUNT_HS_OFFERED, self->hs.stage);
	EXPECT_EQ(1001, self->hs.isn_local);
	EXPECT_EQ(7, self->hs.wscale);
	expect_wish(_metadata, &self->in, &self->out, OFFER,
		    self->hs.token_local);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_OFFER));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_OFFER));
	EXPECT_EQ(0, flow_slot(&self->r, &self->k));
}

TEST_F(syn_out, offer_at_every_length_of_options)
{
	for (uint32_t n = 0; n <= 24; n += 4) {
		intend(&self->r, &self->k, &self->hs);
		self->s.options_len = 0;
		self->s.seq = 0x7ffffff0 + n * 0x01010101;
		add_option(&self->s, usual_options, n < 20 ? n : 20);
		if (n < 20) /* whole options alone */
			memset(self->s.options, 1, n);
		if (n >= 4)
			memcpy(self->s.options, usual_options, 4);
		if (n > 20)
			add_option(&self->s, "\1\1\1\1", 4);
		pkt_seg(&self->in, &self->s);
		ASSERT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		ASSERT_EQ(self->in.len + 16, self->out.len)
		{
			TH_LOG("%u bytes of options", n);
		}
		EXPECT_TRUE(options_parse(&self->out));
		EXPECT_TRUE(ip_good(self->out.b + ETH_LEN));
		EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN));
	}
}

/* Sums that carry and fold, over initial sequence numbers and tokens. */
TEST_F(syn_out, checksums_whatever_the_token)
{
	for (uint32_t i = 0; i < 3000; i++) {
		intend(&self->r, &self->k, &self->hs);
		self->s.seq = i * 0x9e3779b1;
		self->s.id = i * 23;
		pkt_seg(&self->in, &self->s);
		ASSERT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		ASSERT_EQ(self->in.len + 16, self->out.len);
		ASSERT_TRUE(ip_good(self->out.b + ETH_LEN));
		ASSERT_TRUE(tcp_good(self->out.b + ETH_LEN));
	}
}

/* Nobody can tell a token from another connection's. */
TEST_F(syn_out, token_depends_on_all_of_the_connection)
{
	uint32_t seen[12];
	struct wish w;

	for (int i = 0; i < 12; i++) {
		struct seg s = self->s;
		struct shunt_key k;

		if (i < 8)
			s.seq ^= 1u << (i * 4);
		s.sport += i == 8;
		s.dport += i == 9;
		s.src[3] ^= i == 10;
		s.dst[variant->v6 ? 15 : 3] ^= (i == 11) * 0x80;
		k = key_of_sender(&s);
		intend(&self->r, &k, &self->hs);
		pkt_seg(&self->in, &s);
		rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
		ASSERT_TRUE(find_wish(&self->out, &w));
		seen[i] = w.token;
		for (int j = 0; j < i; j++)
			EXPECT_NE(seen[j], seen[i]);
	}
}

TEST_F(syn_out, retransmitted_syn_is_bare)
{
	intend(&self->r, &self->k, &self->hs);
	pkt_seg(&self->in, &self->s);
	rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
	expect_bare(_metadata, &self->r, &self->in, "SYN again");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_OFFERED, self->hs.stage);
	EXPECT_TRUE(self->hs.flags & SHUNT_HS_RETRANSMITTED);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_OFFER));
}

TEST_F(syn_out, no_intent_no_option)
{
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "no intent");
	EXPECT_NE(0, hs_get(&self->r, &self->k, &self->hs));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

static const struct {
	const char *name, *option;
	uint8_t len;
	enum shunt_reason why;
} left_alone[] = {
	{"MD5", "\23\22................\1\1", 20, SHUNT_REASON_SYN_BUSY},
	{"AO", "\35\20\1\1............", 16, SHUNT_REASON_SYN_BUSY},
	{"MPTCP", "\36\14\1\1........", 12, SHUNT_REASON_SYN_BUSY},
	{"TFO cookie", "\42\12........\1\1", 12, SHUNT_REASON_SYN_BUSY},
	{"TFO request", "\42\2\1\1", 4, SHUNT_REASON_SYN_BUSY},
	{"TFO, experimental", "\376\4\371\211", 4, SHUNT_REASON_SYN_BUSY},
	{"no room by 4 bytes", "\1\1\1\1\1\1\1\1", 8, SHUNT_REASON_NO_ROOM},
	{"no room at all", "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 20,
	 SHUNT_REASON_NO_ROOM},
	{"option of length 0", "\75\0\0\0", 4, SHUNT_REASON_SYN_BUSY},
	{"option of length 1", "\75\1\0\0", 4, SHUNT_REASON_SYN_BUSY},
	{"option too long", "\75\5\0\0", 4, SHUNT_REASON_SYN_BUSY},
	{"kind without length", "\1\1\1\75", 4, SHUNT_REASON_SYN_BUSY},
	{"MSS of length 3", "\2\3\5\1", 4, SHUNT_REASON_SYN_BUSY},
};

TEST_F(syn_out, left_alone_with_a_reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(left_alone); i++) {
		struct seg s = self->s;

		add_option(&s, left_alone[i].option, left_alone[i].len);
		intend(&self->r, &self->k, &self->hs);
		pkt_seg(&self->in, &s);
		rig_mark(&self->r);
		expect_bare(_metadata, &self->r, &self->in, left_alone[i].name);
		hs_get(&self->r, &self->k, &self->hs);
		EXPECT_EQ(SHUNT_HS_BARE, self->hs.stage);
		EXPECT_EQ(left_alone[i].why, self->hs.reason)
		{
			TH_LOG("%s", left_alone[i].name);
		}
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_LEFT_ALONE));
	}
}

TEST_F(syn_out, syn_with_data_is_left_alone)
{
	intend(&self->r, &self->k, &self->hs);
	self->s.payload = 100;
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "data");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_BARE, self->hs.stage);
	EXPECT_EQ(SHUNT_REASON_SYN_BUSY, self->hs.reason);
}

/* An option behind the end of the list is one that nobody reads. */
TEST_F(syn_out, options_with_an_end)
{
	struct wish w;

	intend(&self->r, &self->k, &self->hs);
	self->s.options_len = 0;
	add_option(&self->s, "\2\4\5\264\0\0\0\0", 8);
	pkt_seg(&self->in, &self->s);
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN));
	if (!pkt_same(&self->in, &self->out))
		EXPECT_TRUE(find_wish(&self->out, &w));
}

TEST_F(syn_out, transport_not_deployed)
{
	set_deployed(&self->r, SHUNT_UDP, SHUNT_ABSENT);
	intend(&self->r, &self->k, &self->hs);
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "not deployed");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_BARE, self->hs.stage);
	EXPECT_EQ(SHUNT_REASON_NO_TRANSPORT, self->hs.reason);
}

/* The four-tuple is used again: what was known of it is over. */
TEST_F(syn_out, new_connection_ends_the_old_flow)
{
	struct shunt_flow f = flow_live(&self->k);

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, flow_put(&self->r, 1, &f));
		if (i)
			intend(&self->r, &self->k, &self->hs);
		pkt_seg(&self->in, &self->s);
		rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
		EXPECT_EQ(0, flow_slot(&self->r, &self->k));
	}
}

TEST_F(syn_out, answer_and_bare_retransmission)
{
	make_synack(&self->s);
	self->s.ack = 5001;
	hear(&self->r, &self->k, &self->hs);
	pkt_seg(&self->in, &self->s);
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_ANSWERED, self->hs.stage);
	EXPECT_EQ(1001, self->hs.isn_local);
	expect_wish(_metadata, &self->in, &self->out, ANSWER,
		    self->hs.token_local);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ANSWER));
	/* No flow before the peer has shown that it took the answer. */
	EXPECT_EQ(0, flow_slot(&self->r, &self->k));
	expect_bare(_metadata, &self->r, &self->in, "SYN-ACK again");
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ANSWER));
}

TEST_F(syn_out, synack_without_offer_is_bare)
{
	make_synack(&self->s);
	self->s.ack = 5001;
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "no offer");
	/* The offer was another SYN's. */
	hear(&self->r, &self->k, &self->hs);
	self->s.ack = 5002;
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "other SYN");
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

TEST_F(syn_out, answer_needs_room_in_packet_and_table)
{
	struct shunt_flow f;
	struct shunt_key k;

	make_synack(&self->s);
	self->s.ack = 5001;
	add_option(&self->s, "\1\1\1\1\1\1\1\1", 8);
	hear(&self->r, &self->k, &self->hs);
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "no room");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_REFUSED, self->hs.stage);
	EXPECT_EQ(SHUNT_REASON_NO_ROOM, self->hs.reason);

	for (__u32 slot = 1; slot <= self->r.max_flows; slot++) {
		k = self->k;
		k.rport = slot;
		f = flow_live(&k);
		ASSERT_EQ(0, flow_put(&self->r, slot, &f));
	}
	self->s.options_len -= 8;
	hear(&self->r, &self->k, &self->hs);
	pkt_seg(&self->in, &self->s);
	expect_bare(_metadata, &self->r, &self->in, "table full");
	hs_get(&self->r, &self->k, &self->hs);
	EXPECT_EQ(SHUNT_HS_REFUSED, self->hs.stage);
	EXPECT_EQ(SHUNT_REASON_TABLE_FULL, self->hs.reason);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_TABLE_FULL));
	expect_bare(_metadata, &self->r, &self->in, "table full, again");
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_TABLE_FULL));
}

RIG_HARNESS_MAIN(4)
