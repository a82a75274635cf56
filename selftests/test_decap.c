// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decapsulation at XDP and at TC ingress, where it is not simply the way back:
 * congestion marks, padding, checksums, what a flow learns from its segments.
 */
#include "bpf_run.h"
#include "harness.h"

/* linux/bpf.h has it since 6.12. */
#define TEST_CHECKSUM_COMPLETE (1U << 2)

FIXTURE(decap)
{
	struct rig r;
	struct pkt in, want, out;
};

FIXTURE_VARIANT(decap)
{
	enum rig_prog prog;
};

FIXTURE_VARIANT_ADD(decap, xdp){
	.prog = RIG_XDP,
};

FIXTURE_VARIANT_ADD(decap, tc){
	.prog = RIG_TC,
};

FIXTURE_SETUP(decap)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
}

FIXTURE_TEARDOWN(decap)
{
	rig_close(&self->r);
}

enum { NOT_ECT, ECT_1, ECT_0, CE, DROP };

/* RFC 6040, figure 4. Rows: inner, columns: outer, by code point. */
static const int rfc6040[4][4] = {
	[NOT_ECT] = {[NOT_ECT] = NOT_ECT,
		     [ECT_0] = NOT_ECT,
		     [ECT_1] = NOT_ECT,
		     [CE] = DROP},
	[ECT_0] = {[NOT_ECT] = ECT_0,
		   [ECT_0] = ECT_0,
		   [ECT_1] = ECT_1,
		   [CE] = CE},
	[ECT_1] = {[NOT_ECT] = ECT_1,
		   [ECT_0] = ECT_1,
		   [ECT_1] = ECT_1,
		   [CE] = CE},
	[CE] = {[NOT_ECT] = CE, [ECT_0] = CE, [ECT_1] = CE, [CE] = CE},
};

static void ecn_matrix(struct __test_metadata *_metadata, struct rig *r,
		       enum rig_prog prog, uint32_t flags)
{
	static struct pkt in, want, out;
	int drops = 0;

	for (int i = 0; i < 2 * 16; i++) {
		int in_ecn = i >> 1 & 3, out_ecn = i >> 3;
		int ecn = rfc6040[in_ecn][out_ecn];
		struct seg s = seg_in(i & 1);
		struct outer o = {.sport = 50000,
				  .dport = GUE_PORT,
				  .proto = 17,
				  .set_tos = true,
				  .tos = 0xb8 | out_ecn};
		int verdict;

		/* DSCP of the outer header is not ours to take over. */
		s.tos = 0x28 | in_ecn;
		ASSERT_EQ(0, flow_pair(r, &s));
		pkt_seg(&in, &s);
		pkt_wrap(&in, &o);
		s.tos = 0x28 | (ecn == DROP ? 0 : ecn);
		pkt_seg(&want, &s);
		verdict = rig_run_fd(r, r->prog[prog], rig_is_xdp(prog), &in,
				     &out, flags);
		if (ecn == DROP) {
			drops++;
			EXPECT_EQ(rig_drop(prog), verdict);
			continue;
		}
		EXPECT_EQ(rig_pass(prog), verdict)
		{
			TH_LOG("IPv%c inner %d, outer %d: errno %d",
			       s.v6 ? '6' : '4', in_ecn, out_ecn, r->err);
		}
		EXPECT_TRUE(pkt_same(&want, &out))
		{
			TH_LOG("IPv%c inner %d, outer %d: wants %d",
			       s.v6 ? '6' : '4', in_ecn, out_ecn, ecn);
			pkt_diff("ECN", &want, &out);
		}
		EXPECT_TRUE(ip_good(out.b + ETH_LEN));
	}
	EXPECT_EQ(drops, rig_moved(r, SHUNT_CNT_DECAP_ECN));
	EXPECT_EQ(2 * 16 - drops, rig_moved(r, SHUNT_CNT_DECAP));
}

TEST_F(decap, rfc6040_ecn_matrix)
{
	ecn_matrix(_metadata, &self->r, variant->prog, 0);
}

/* The inner checksum field has two zeros: RFC 1624 arithmetic must not trip
 * over either when the mark is set. */
TEST_F(decap, ce_mark_keeps_every_ip_checksum_right)
{
	struct outer o = {.sport = 50000,
			  .dport = GUE_PORT,
			  .proto = 17,
			  .set_tos = true,
			  .tos = CE};
	struct seg s = seg_in(false);

	s.tos = ECT_0;
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	for (int id = 0; id < 0x10000; id++) {
		if (id % 16 && id > 0x100 && id < 0xff00)
			continue;
		s.id = id;
		pkt_seg(&self->in, &s);
		pkt_wrap(&self->in, &o);
		ASSERT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		ASSERT_EQ(CE, self->out.b[ETH_LEN + 1] & 3);
		ASSERT_TRUE(ip_good(self->out.b + ETH_LEN))
		{
			TH_LOG("id %#x", id);
		}
	}
}

/* Short frames arrive with what Ethernet fills them up with. */
TEST_F(decap, padding_behind_the_packet_stays_behind)
{
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_in(i);

		s.payload = 0;
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		pkt_seg(&self->in, &s);
		pkt_wrap(&self->in, NULL);
		self->in.len += 6;
		pkt_seg(&self->want, &s);
		self->want.len += 6;
		ASSERT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out));
	}
	EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

/* Not a checksum that we send or verify: never taken as good. */
TEST_F(decap, udp_header_damaged_is_dropped)
{
	struct seg s;
	uint8_t *u;

	for (int i = 0; i < 8; i++) {
		s = seg_in(i & 1);
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		pkt_seg(&self->in, &s);
		pkt_wrap(&self->in, NULL);
		u = self->in.b + pkt_l4(&self->in);
		switch (i / 2) {
		case 0:
			put16(u + 6, 1);
			break;
		case 1:
			put16(u + 6, 0xffff);
			break;
		case 2:
			put16(u + 4, get16(u + 4) - 1);
			break;
		case 3:
			put16(u + 4, get16(u + 4) + 1);
			break;
		}
		EXPECT_EQ(rig_drop(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
	}
	EXPECT_EQ(8, rig_moved(&self->r, SHUNT_CNT_DECAP_FAILED));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_DECAP_FAILED));
}

/* The outer source port and TTL are the path's business. */
TEST_F(decap, any_source_port_ttl_and_dscp)
{
	struct outer o = {.dport = GUE_PORT, .proto = 17, .set_tos = true};

	for (int i = 0; i < 64; i++) {
		struct seg s = seg_in(i & 1);

		o.sport = i * 1021;
		o.ttl = i + 1;
		o.tos = i << 2;
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		pkt_seg(&self->want, &s);
		self->in = self->want;
		pkt_wrap(&self->in, &o);
		ASSERT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out));
	}
}

TEST_F(decap, ended_flow_still_receives)
{
	struct seg s = seg_in(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	flow_get(&self->r, 2, &f);
	f.life = SHUNT_ENDED;
	flow_put(&self->r, 2, &f);
	pkt_seg(&self->want, &s);
	self->in = self->want;
	pkt_wrap(&self->in, NULL);
	ASSERT_EQ(rig_pass(variant->prog),
		  rig_run(&self->r, variant->prog, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
}

/* The receiver has sent so much: what acknowledges more is forged. */
static void sent_up_to(struct rig *r, __u32 seq)
{
	struct shunt_flow f;

	flow_get(r, 2, &f);
	f.tx_next = seq;
	flow_put(r, 2, &f);
}

TEST_F(decap, forged_numbers_far_ahead_change_nothing)
{
	struct seg s = seg_in(false);
	struct shunt_flow before, f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	sent_up_to(&self->r, 2000);
	flow_get(&self->r, 2, &before);
	s.ack = 2001;
	s.seq = before.tx_ack + (1U << 30);
	s.payload = 100;
	pkt_seg(&self->in, &s);
	rig_run(&self->r, variant->prog, &self->in, NULL);
	flow_get(&self->r, 2, &f);
	EXPECT_EQ(before.rx_ack, f.rx_ack);
	EXPECT_EQ(before.heard_tick, f.heard_tick);
	EXPECT_EQ(before.tx, f.tx);
	/* A reset of nowhere ends nothing. */
	s.flags = RST;
	s.payload = 0;
	pkt_seg(&self->in, &s);
	pkt_wrap(&self->in, NULL);
	rig_run(&self->r, variant->prog, &self->in, NULL);
	flow_get(&self->r, 2, &f);
	EXPECT_EQ(SHUNT_LIVE, f.life);
}

TEST_F(decap, flow_hears_segments_outside_the_transport)
{
	struct seg s = seg_in(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	sent_up_to(&self->r, 2000);
	s.ack = 1200;
	pkt_seg(&self->in, &s);
	EXPECT_EQ(rig_pass(variant->prog),
		  rig_run(&self->r, variant->prog, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	flow_get(&self->r, 2, &f);
	EXPECT_EQ(1200, f.rx_ack);
	EXPECT_EQ(0, f.rx_bytes);
	/* The hook behind XDP has nothing to add. */
	s.ack = 1300;
	pkt_seg(&self->in, &s);
	rig_run(&self->r, RIG_SLOW, &self->in, NULL);
	flow_get(&self->r, 2, &f);
	EXPECT_EQ(1200, f.rx_ack);
}

TEST_F(decap, flow_follows_acks_fin_and_rst)
{
	struct seg s = seg_in(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	sent_up_to(&self->r, 2000);
	s.ack = 1600;
	s.flags = ACK | FIN;
	pkt_seg(&self->in, &s);
	pkt_wrap(&self->in, NULL);
	rig_run(&self->r, variant->prog, &self->in, NULL);
	flow_get(&self->r, 2, &f);
	EXPECT_EQ(1600, f.rx_ack);
	EXPECT_TRUE(f.flags & SHUNT_F_FIN_RX);
	EXPECT_EQ(SHUNT_LIVE, f.life); /* half closed */
	s.ack = 1500;		       /* old news */
	s.flags = ACK | RST;
	pkt_seg(&self->in, &s);
	pkt_wrap(&self->in, NULL);
	rig_run(&self->r, variant->prog, &self->in, NULL);
	flow_get(&self->r, 2, &f);
	EXPECT_EQ(1600, f.rx_ack);
	EXPECT_EQ(SHUNT_ENDED, f.life);
}

/* What the device summed up stays the sum of what is left: else the stack says
 * "hw csum failure" and takes the segment for a damaged one. */
TEST_F(decap, checksum_complete_stays_right)
{
	struct seg s = seg_in(false);

	if (variant->prog == RIG_XDP)
		return; /* XDP comes before checksums */
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	pkt_seg(&self->in, &s);
	if (rig_run_fd(&self->r, self->r.prog[RIG_TC], false, &self->in,
		       &self->out, TEST_CHECKSUM_COMPLETE) == V_NONE)
		SKIP(return, "this kernel's BPF_PROG_TEST_RUN can't");
	ecn_matrix(_metadata, &self->r, RIG_TC, TEST_CHECKSUM_COMPLETE);
}

RIG_HARNESS_MAIN(8)
