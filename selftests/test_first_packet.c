// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first packet over the transport, which makes a connection that was
 * accepted and answered a flow, if it proves that the peer took our answer.
 */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

#define NONCE 0x0a0a0a0a

FIXTURE(first_packet)
{
	struct rig r;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(first_packet)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(first_packet, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(first_packet, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(first_packet)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
}

FIXTURE_TEARDOWN(first_packet)
{
	rig_close(&self->r);
}

static void answered(struct rig *r, const struct shunt_key *k, __u8 stage)
{
	struct shunt_handshake hs = {.stage = stage,
				     .role = SHUNT_ROLE_PASSIVE,
				     .wish = {.transports = {SHUNT_UDP}},
				     .transport = SHUNT_UDP,
				     .isn_local = 8000,
				     .token_local = 0x700c,
				     .token_remote = 0x7e307e,
				     .created_ns = now_mono()};

	hs_put(r, k, &hs);
}

/* A segment of it: acknowledges our SYN-ACK and nothing more. */
static struct seg newcomer(bool v6)
{
	struct seg s = seg_out(v6);

	s.ack = 8001;
	return s;
}

TEST_F(first_packet, first_segment_makes_the_flow)
{
	struct seg s = newcomer(variant->v6);
	struct shunt_key k = key_of_receiver(&s);
	struct shunt_handshake hs;
	struct shunt_flow f;

	pkt_seg(&self->want, &s);
	self->in = self->want;
	pkt_wrap(&self->in, NULL);
	for (int prog = RIG_TC; prog <= RIG_SLOW; prog++) {
		answered(&self->r, &k, SHUNT_HS_ANSWERED);
		rig_mark(&self->r);
		/* XDP leaves it alone. */
		EXPECT_EQ(V_XDP_PASS,
			  rig_run(&self->r, RIG_XDP, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
		EXPECT_EQ(0, flow_slot(&self->r, &k));
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, prog, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out));
		ASSERT_NE(0, flow_slot(&self->r, &k));
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_FLOW));
		hs_get(&self->r, &k, &hs);
		EXPECT_EQ(SHUNT_HS_DONE, hs.stage);
		flow_get(&self->r, flow_slot(&self->r, &k), &f);
		EXPECT_EQ(SHUNT_ROLE_PASSIVE, f.role);
		EXPECT_EQ(0x700c, f.token_local);
		EXPECT_EQ(0x7e307e, f.token_remote);
		EXPECT_EQ(s.payload, f.rx_bytes);
		/* The next one: as another connection. */
		s.sport++;
		k = key_of_receiver(&s);
		pkt_seg(&self->want, &s);
		self->in = self->want;
		pkt_wrap(&self->in, NULL);
	}
}

TEST_F(first_packet, first_segment_must_know_our_number)
{
	struct seg s = newcomer(variant->v6);
	struct shunt_key k = key_of_receiver(&s);

	for (int i = 0; i < 8; i++) {
		static const uint32_t acks[] = {8000, 8002, 0,	  0x80001f41,
						8001, 8001, 8001, 8001};

		answered(&self->r, &k,
			 i == 5	  ? SHUNT_HS_HEARD
			 : i == 6 ? SHUNT_HS_REFUSED
			 : i == 7 ? SHUNT_HS_OFFERED
				  : SHUNT_HS_ANSWERED);
		s.ack = acks[i];
		s.flags = i == 4 ? PSH : ACK; /* 8001, but it is no ack */
		pkt_seg(&self->in, &s);
		pkt_wrap(&self->in, NULL);
		rig_mark(&self->r);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_TC, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
		EXPECT_EQ(0, flow_slot(&self->r, &k))
		{
			TH_LOG("case %d", i);
		}
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP_UNKNOWN));
	}
}

TEST_F(first_packet, first_probe_makes_the_flow_if_it_knows_the_token)
{
	struct seg s = newcomer(variant->v6), to_a;
	struct shunt_key k = key_of_receiver(&s);
	struct shunt_flow f;

	answered(&self->r, &k, SHUNT_HS_ANSWERED);
	pkt_probe(&self->in, &s, ASKS, 0x700d, NONCE, 0);
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(0, flow_slot(&self->r, &k));

	pkt_probe(&self->in, &s, ASKS, 0x700c, NONCE, 0);
	EXPECT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->in, &self->out));
	ASSERT_NE(0, flow_slot(&self->r, &k));
	flow_get(&self->r, flow_slot(&self->r, &k), &f);
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	to_a = seg_in(variant->v6);
	to_a.dport = s.sport;
	pkt_probe(&self->want, &to_a, ASKS | ECHOS, 0x7e307e, f.nonce, NONCE);
	memcpy(self->want.b + pkt_l4(&self->want), &f.sport, 2);
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("first echo", &self->want, &self->out);
	}
}

/* A SYN-ACK goes out twice because its acknowledgement got lost. Where an
 * answer has arrived a short time ago, that is no sign that options are. */
TEST_F(first_packet, a_lost_ack_does_not_mute_a_peer_that_takes_answers)
{
	struct seg s = newcomer(variant->v6), sa = seg_in(variant->v6);
	struct shunt_key k = key_of_receiver(&s);
	struct shunt_handshake hs;
	struct shunt_peer p;

	answered(&self->r, &k, SHUNT_HS_ANSWERED);
	pkt_seg(&self->in, &s);
	pkt_wrap(&self->in, NULL);
	rig_run(&self->r, RIG_TC, &self->in, &self->out);
	ASSERT_NE(0, flow_slot(&self->r, &k));

	sa.dport++; /* the next connection */
	make_synack(&sa);
	sa.seq = 8000;
	k = key_of_sender(&sa);
	answered(&self->r, &k, SHUNT_HS_ANSWERED);
	pkt_seg(&self->in, &sa);
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	ASSERT_EQ(0, hs_get(&self->r, &k, &hs));
	peer_read(&self->r, &k, SHUNT_TCP, &p);
	EXPECT_EQ(0, p.muted_until_ns);
}

/* Where none ever has, the path may be dropping our options. */
TEST_F(first_packet, two_lost_synacks_mute_an_unknown_peer)
{
	struct seg sa = seg_in(variant->v6);
	struct shunt_key k = key_of_sender(&sa);
	struct shunt_peer p;

	make_synack(&sa);
	sa.seq = 8000;
	answered(&self->r, &k, SHUNT_HS_ANSWERED);
	pkt_seg(&self->in, &sa);
	rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
	peer_read(&self->r, &k, SHUNT_TCP, &p);
	EXPECT_LT(now_mono(), p.muted_until_ns);
}

RIG_HARNESS_MAIN(4)
