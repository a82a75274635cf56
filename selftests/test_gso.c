// SPDX-License-Identifier: GPL-2.0-only
/*
 * GSO packets through TC egress of a real device: they stay whole where the
 * device can segment, and come apart into right segments where it can't.
 */
#include "cable.h"
#include "harness.h"

#define PAYLOAD 8000
#define SIZE	1000

FIXTURE(gso)
{
	struct rig r;
	struct cable c;
	struct seg s;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(gso)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(gso, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(gso, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(gso)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
	ASSERT_EQ(0, cable_open(&self->c, &self->r, 1500));
	self->s = seg_out(variant->v6);
	self->s.payload = PAYLOAD;
	self->s.options_len = 12;
	memset(self->s.options, 1, 12);
	pkt_seg(&self->in, &self->s);
	self->in.gso_size = SIZE;
	ASSERT_EQ(0, flow_pair(&self->r, &self->s));
}

FIXTURE_TEARDOWN(gso)
{
	cable_close(&self->c);
	rig_close(&self->r);
}

TEST_F(gso, whole_with_the_size_kept)
{
	uint32_t overhead = variant->v6 ? 48 : 28;

	ASSERT_EQ(0, cable_send_gso(&self->c, &self->in));
	ASSERT_EQ(0, cable_recv(&self->c, &self->out));
	EXPECT_EQ(SIZE, self->out.gso_size);
	ASSERT_EQ(self->in.len + overhead, self->out.len);
	self->want = self->in;
	pkt_wrap(&self->want, &(struct outer){.sport = FLOW_PORT,
					      .dport = GUE_PORT,
					      .proto = 17});
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("GSO", &self->want, &self->out);
	}
	EXPECT_TRUE(cable_silent(&self->c, 20));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
}

TEST_F(gso, segments_are_right_and_come_out_again)
{
	if (system("ethtool -K t0 tso off gso off tx off "
		   "tx-udp_tnl-segmentation off "
		   "tx-udp_tnl-csum-segmentation off >/dev/null 2>&1"))
		SKIP(return, "needs ethtool, and a veth that can do without "
			     "segmentation");
	ASSERT_EQ(0, cable_send_gso(&self->c, &self->in));
	for (int i = 0; i < PAYLOAD / SIZE; i++) {
		struct seg s = self->s;
		uint8_t *ip = self->want.b + ETH_LEN;

		ASSERT_EQ(0, cable_recv(&self->c, &self->out));
		EXPECT_EQ(0, self->out.gso_size);
		EXPECT_TRUE(ip_good(self->out.b + ETH_LEN));
		EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN +
				     (variant->v6 ? 48 : 28)));
		/* The i-th piece, as TCP itself would have sent it. */
		s.payload = SIZE;
		s.id += i;
		pkt_seg(&self->want, &s);
		memcpy(self->want.b + self->want.len - SIZE,
		       self->in.b + self->in.len - PAYLOAD + i * SIZE, SIZE);
		put32(self->want.b + pkt_l4(&self->want) + 4, s.seq + i * SIZE);
		if (i < PAYLOAD / SIZE - 1)
			self->want.b[pkt_l4(&self->want) + 13] = ACK;
		fix_tcp(ip);
		ASSERT_EQ(V_XDP_PASS,
			  rig_run(&self->r, RIG_XDP, &self->out, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("segment", &self->want, &self->out);
		}
	}
	EXPECT_TRUE(cable_silent(&self->c, 20));
	EXPECT_EQ(PAYLOAD / SIZE, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(gso, too_big_segments_go_as_tcp)
{
	self->in.gso_size = 1448;
	ASSERT_EQ(0, cable_send_gso(&self->c, &self->in));
	ASSERT_EQ(0, cable_recv(&self->c, &self->out));
	EXPECT_EQ(1448, self->out.gso_size);
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP_TOO_BIG));
}

TEST_HARNESS_MAIN
