// SPDX-License-Identifier: GPL-2.0-only
/*
 * What TCP leaves to the device, through TC egress of a real one. GSO packets
 * stay whole where the device can segment, and come apart into right segments
 * where it can't; checksums that are not finished yet come out right.
 */
#include "cable.h"
#include "harness.h"
#include "syn.h"

#define PAYLOAD 8000
#define SIZE	1000

FIXTURE(offload)
{
	struct rig r;
	struct cable c;
	struct seg s;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(offload)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(offload, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(offload, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(offload)
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

FIXTURE_TEARDOWN(offload)
{
	cable_close(&self->c);
	rig_close(&self->r);
}

TEST_F(offload, gso_whole_with_the_size_kept)
{
	uint32_t overhead = variant->v6 ? 48 : 28;

	ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
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

TEST_F(offload, gso_segments_are_right_and_come_out_again)
{
	if (system("ethtool -K t0 tso off gso off tx off "
		   "tx-udp_tnl-segmentation off "
		   "tx-udp_tnl-csum-segmentation off >/dev/null 2>&1"))
		SKIP(return, "needs ethtool, and a veth that can do without "
			     "segmentation");
	ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
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

TEST_F(offload, gso_of_too_big_segments_go_as_tcp)
{
	self->in.gso_size = 1448;
	ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
	ASSERT_EQ(0, cable_recv(&self->c, &self->out));
	EXPECT_EQ(1448, self->out.gso_size);
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP_TOO_BIG));
}

/* Only the device adds up a SYN; our option must be in the sum, its length in
 * the pseudo header's. */
TEST_F(offload, option_in_a_syn_without_checksum)
{
	struct shunt_handshake hs = {.stage = SHUNT_HS_INTENT,
				     .role = SHUNT_ROLE_ACTIVE,
				     .wish = {.transports = {SHUNT_UDP}},
				     .transport = SHUNT_UDP,
				     .created_ns = now_mono()};
	struct shunt_key k;
	struct wish w;

	if (system("ethtool -K t0 tx off >/dev/null 2>&1"))
		SKIP(return, "needs ethtool");
	for (int i = 0; i < 50; i++) {
		self->s.sport = 3000 + i;
		self->s.seq = i * 0x9e3779b1u;
		make_syn(&self->s);
		k = key_of_sender(&self->s);
		ASSERT_EQ(0, hs_put(&self->r, &k, &hs));
		pkt_seg(&self->in, &self->s);
		ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
		ASSERT_EQ(0, cable_recv(&self->c, &self->out));
		ASSERT_EQ(self->in.len + 16, self->out.len);
		EXPECT_TRUE(find_wish(&self->out, &w));
		EXPECT_TRUE(ip_good(self->out.b + ETH_LEN));
		EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN));
	}
}

TEST_F(offload, segment_without_checksum)
{
	uint32_t overhead = variant->v6 ? 48 : 28;

	if (system("ethtool -K t0 tx off >/dev/null 2>&1"))
		SKIP(return, "needs ethtool");
	self->s.payload = 999;
	pkt_seg(&self->in, &self->s);
	self->want = self->in;
	ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
	ASSERT_EQ(0, cable_recv(&self->c, &self->out));
	ASSERT_EQ(self->want.len + overhead, self->out.len);
	ASSERT_EQ(V_XDP_PASS,
		  rig_run(&self->r, RIG_XDP, &self->out, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("segment", &self->want, &self->out);
	}
}

RIG_HARNESS_MAIN(4)
