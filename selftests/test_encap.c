// SPDX-License-Identifier: GPL-2.0-only
/*
 * Encapsulation at TC egress: the outer headers field by field, and the way
 * back to the original frame, to the byte.
 */
#include <arpa/inet.h>

#include "bpf_run.h"
#include "harness.h"

FIXTURE(encap)
{
	struct rig r;
	struct pkt in, mid, out;
};

FIXTURE_SETUP(encap)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
}

FIXTURE_TEARDOWN(encap)
{
	rig_close(&self->r);
}

#define UDP_OF(p, v6) ((p)->b + ETH_LEN + ((v6) ? 40 : 20))

TEST_F(encap, outer_ipv4_fields)
{
	struct seg s = seg_out(false);
	uint8_t *o = self->mid.b + ETH_LEN;

	pkt_seg(&self->in, &s);
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->mid));
	ASSERT_EQ(self->in.len + 28, self->mid.len);
	EXPECT_EQ(0, memcmp(self->in.b, self->mid.b, ETH_LEN));
	EXPECT_EQ(0x45, o[0]);
	EXPECT_EQ(s.tos, o[1]); /* DSCP and ECN: RFC 6040 normal mode */
	EXPECT_EQ(self->in.len - ETH_LEN + 28, get16(o + 2));
	EXPECT_EQ(s.id, get16(o + 4));
	EXPECT_EQ(0x4000, get16(o + 6));
	EXPECT_EQ(s.ttl, o[8]);
	EXPECT_EQ(17, o[9]);
	EXPECT_TRUE(ip_good(o));
	EXPECT_EQ(0, memcmp(o + 12, s.src, 4));
	EXPECT_EQ(0, memcmp(o + 16, s.dst, 4));
	EXPECT_EQ(FLOW_PORT, get16(o + 20)); /* the flow's */
	EXPECT_EQ(6080, get16(o + 22));
	EXPECT_EQ(self->in.len - ETH_LEN + 8, get16(o + 24));
	EXPECT_EQ(0, get16(o + 26)); /* RFC 6935 */
	EXPECT_EQ(0,
		  memcmp(o + 28, self->in.b + ETH_LEN, self->in.len - ETH_LEN));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_ENCAP));
}

TEST_F(encap, outer_ipv6_fields)
{
	struct seg s = seg_out(true);
	uint8_t *o = self->mid.b + ETH_LEN;

	pkt_seg(&self->in, &s);
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->mid));
	ASSERT_EQ(self->in.len + 48, self->mid.len);
	EXPECT_EQ(0, memcmp(self->in.b, self->mid.b, ETH_LEN));
	/* version, traffic class, flow label: as inside */
	EXPECT_EQ(6u << 28 | s.tos << 20 | s.label, get32(o));
	EXPECT_EQ(self->in.len - ETH_LEN + 8, get16(o + 4));
	EXPECT_EQ(17, o[6]);
	EXPECT_EQ(s.ttl, o[7]);
	EXPECT_EQ(0, memcmp(o + 8, s.src, 16));
	EXPECT_EQ(0, memcmp(o + 24, s.dst, 16));
	EXPECT_EQ(FLOW_PORT, get16(o + 40));
	EXPECT_EQ(6080, get16(o + 42));
	EXPECT_EQ(self->in.len - ETH_LEN + 8, get16(o + 44));
	EXPECT_EQ(0, get16(o + 46));
	EXPECT_EQ(0,
		  memcmp(o + 48, self->in.b + ETH_LEN, self->in.len - ETH_LEN));
}

TEST_F(encap, copies_every_traffic_class_df_and_ttl)
{
	static const uint8_t ttls[] = {1, 64, 255};

	for (int i = 0; i < 2 * 256; i++) {
		struct seg s = seg_out(i & 1);

		s.tos = i >> 1;
		s.ttl = ttls[i % 3];
		s.frag = i & 2 ? 0x4000 : 0;
		pkt_seg(&self->in, &s);
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		ASSERT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->mid));
		pkt_wrap(&self->in, &(struct outer){.sport = FLOW_PORT,
						    .dport = GUE_PORT,
						    .proto = 17});
		if (!pkt_same(&self->in, &self->mid))
			pkt_diff("outer header", &self->in, &self->mid);
		ASSERT_TRUE(pkt_same(&self->in, &self->mid));
	}
}

/* There and back, for every size and shape of header and payload. */
static void round_trip(struct __test_metadata *_metadata, struct rig *r,
		       enum rig_prog ingress)
{
	static const uint8_t ip_options[] = {0, 4, 40};
	static const uint8_t tcp_options[] = {0, 12, 40};
	static const uint32_t payloads[] = {
		0, 1, 2, 3, 4, 19, 20, 63, 64, 100, 535, 536, 1431, 1432, 3000};
	static struct pkt in, mid, out;
	struct seg s;

	for (unsigned int i = 0; i < 2 * 3 * 3 * 15; i++) {
		s = seg_out(i % 2);
		s.ip_options = s.v6 ? 0 : ip_options[i / 2 % 3];
		s.options_len = tcp_options[i / 6 % 3];
		memset(s.options, 1, sizeof(s.options));
		s.payload = payloads[i / 18];
		pkt_seg(&in, &s);
		ASSERT_EQ(0, flow_pair(r, &s));
		ASSERT_EQ(V_TC_PASS, rig_run(r, RIG_EGRESS, &in, &mid));
		ASSERT_EQ(in.len + (s.v6 ? 48 : 28), mid.len);
		ASSERT_EQ(rig_pass(ingress), rig_run(r, ingress, &mid, &out));
		if (!pkt_same(&in, &out))
			pkt_diff("round trip", &in, &out);
		ASSERT_TRUE(pkt_same(&in, &out))
		{
			TH_LOG("v6 %d, IP options %d, TCP options %d, "
			       "payload %u",
			       s.v6, s.ip_options, s.options_len, s.payload);
		}
	}
	EXPECT_EQ(2 * 3 * 3 * 15, rig_moved(r, SHUNT_CNT_ENCAP));
	EXPECT_EQ(2 * 3 * 3 * 15, rig_moved(r, SHUNT_CNT_DECAP));
}

TEST_F(encap, round_trip_xdp)
{
	round_trip(_metadata, &self->r, RIG_XDP);
}

TEST_F(encap, round_trip_tc)
{
	round_trip(_metadata, &self->r, RIG_TC);
}

TEST_F(encap, round_trip_behind_xdp)
{
	round_trip(_metadata, &self->r, RIG_SLOW);
}

/* Offset and value of what the device would put back in. */
static void tag(struct pkt *p, const struct seg *s)
{
	for (int i = s->tags - 1; i >= 0; i--) {
		pkt_insert(p, 12, 4);
		put16(p->b + 12, s->tpid[i]);
		put16(p->b + 14, s->tci[i]);
	}
}

TEST_F(encap, inline_vlan_tag_moves_to_metadata)
{
	static const uint16_t tpids[] = {0x8100, 0x88a8};
	struct seg s;

	for (int i = 0; i < 4; i++) {
		s = seg_out(i & 1);
		s.tags = 1;
		s.tpid[0] = tpids[i / 2];
		pkt_seg(&self->in, &s);
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		ASSERT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->mid));
		ASSERT_EQ(self->in.len - 4 + (s.v6 ? 48 : 28), self->mid.len);
		EXPECT_EQ(s.v6 ? 0x86dd : 0x0800, get16(self->mid.b + 12));
		tag(&self->mid, &s);
		ASSERT_EQ(V_XDP_PASS,
			  rig_run(&self->r, RIG_XDP, &self->mid, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
	}
	ASSERT_EQ(0, rig_watch_tags(&self->r));
	for (int i = 0; i < 2; i++) {
		s.tpid[0] = tpids[i];
		s.tci[0] = 0xe123;
		pkt_seg(&self->in, &s);
		/* Anew: what is sent again, and late, stalls. */
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		ASSERT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->mid));
		EXPECT_EQ(0x1e123, self->r.ctx.mark);
		EXPECT_EQ(tpids[i], ntohs(self->r.ctx.priority));
	}
}

TEST_F(encap, vlan_tags_at_xdp)
{
	for (int i = 0; i < 6; i++) {
		struct seg s = seg_out(i & 1);

		s.tags = i / 2;
		s.tpid[0] = s.tags == 2 ? 0x88a8 : 0x8100;
		pkt_seg(&self->in, &s);
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		self->mid = self->in;
		pkt_wrap(&self->mid, NULL);
		ASSERT_EQ(V_XDP_PASS,
			  rig_run(&self->r, RIG_XDP, &self->mid, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out))
		{
			TH_LOG("v6 %d, %d tags", s.v6, s.tags);
		}
	}
	EXPECT_EQ(6, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(encap, three_vlan_tags_are_left_alone)
{
	struct seg s = seg_in(false);

	s.tags = 3;
	pkt_seg(&self->in, &s);
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	pkt_wrap(&self->in, NULL);
	ASSERT_EQ(V_XDP_PASS,
		  rig_run(&self->r, RIG_XDP, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	s.tags = 2;
	pkt_seg(&self->in, &s);
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

/* A frame above one page comes to XDP in pieces. */
TEST_F(encap, jumbo_frame_at_xdp)
{
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_out(i);

		s.payload = 8900;
		pkt_seg(&self->in, &s);
		ASSERT_EQ(0, flow_pair(&self->r, &s));
		self->mid = self->in;
		pkt_wrap(&self->mid, NULL);
		ASSERT_EQ(V_XDP_PASS,
			  rig_run(&self->r, RIG_XDP, &self->mid, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
	}
	EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(encap, counts_payload_per_flow)
{
	struct seg s = seg_out(false);
	struct shunt_flow f;

	s.options_len = 12;
	memset(s.options, 1, 12);
	s.ip_options = 8;
	s.payload = 321;
	pkt_seg(&self->in, &s);
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	rig_run(&self->r, RIG_EGRESS, &self->in, &self->mid);
	ASSERT_EQ(0, flow_get(&self->r, 1, &f));
	EXPECT_EQ(321, f.tx_bytes);
	EXPECT_EQ(1001 + 321, f.tx_next);
	rig_run(&self->r, RIG_XDP, &self->mid, NULL);
	rig_run(&self->r, RIG_TC, &self->mid, NULL);
	ASSERT_EQ(0, flow_get(&self->r, 2, &f));
	EXPECT_EQ(2 * 321, f.rx_bytes);
}

RIG_HARNESS_MAIN(8)
