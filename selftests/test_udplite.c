// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP-Lite on its way out: headers as RFC 3828 has them, with a checksum that
 * a sum over all of the bytes confirms, though nobody has read the payload.
 */
#include "cable.h"
#include "harness.h"

#define DEVICE 1 /* of the skbs: loopback */

FIXTURE(udplite)
{
	struct rig r;
	struct pkt in, mid, out, want;
};

FIXTURE_VARIANT(udplite)
{
	bool v6;
	bool headers; /* coverage */
	enum rig_prog prog;
	int verdict;
};

#define VARIANT(name, v6_, headers_, prog_, verdict_)          \
	FIXTURE_VARIANT_ADD(udplite, name)                     \
	{                                                      \
		.v6 = v6_, .headers = headers_, .prog = prog_, \
		.verdict = verdict_                            \
	}

VARIANT(ipv4, false, false, RIG_EGRESS, V_TC_PASS);
VARIANT(ipv6, true, false, RIG_EGRESS, V_TC_PASS);
VARIANT(ipv4_hop, false, false, RIG_HOP, V_TC_REDIRECT);
VARIANT(ipv6_hop, true, false, RIG_HOP, V_TC_REDIRECT);
VARIANT(ipv4_headers, false, true, RIG_HOP, V_TC_REDIRECT);
VARIANT(ipv6_headers, true, true, RIG_HOP, V_TC_REDIRECT);

FIXTURE_SETUP(udplite)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	if (variant->prog == RIG_HOP)
		ASSERT_EQ(0, hop_put(&self->r, DEVICE, DEVICE));
}

FIXTURE_TEARDOWN(udplite)
{
	rig_close(&self->r);
}

/* What the packet must look like on the wire. */
static void wrap(struct pkt *p, const struct seg *s, bool headers,
		 uint16_t sport)
{
	uint32_t covered =
		8 + (s->v6 ? 40 : 20 + s->ip_options) + 20 + s->options_len;

	pkt_wrap(p, &(struct outer){.sport = sport,
				    .dport = GUE_PORT,
				    .proto = UDPLITE,
				    .coverage = headers && s->payload ? covered
								      : 0});
}

static int set_sport(struct rig *r, uint16_t sport)
{
	struct shunt_flow f;
	int err = flow_get(r, 1, &f);

	put16((uint8_t *)&f.sport, sport);
	return err ?: flow_put(r, 1, &f);
}

TEST_F(udplite, fields)
{
	struct seg s = seg_out(variant->v6);
	uint8_t *ip = self->mid.b + ETH_LEN, *u;
	uint32_t room = variant->v6 ? 48 : 28;

	s.payload = 101;
	pkt_seg(&self->in, &s);
	ASSERT_EQ(0, flow_pair_lite(&self->r, &s, variant->headers));
	ASSERT_EQ(variant->verdict,
		  rig_run(&self->r, variant->prog, &self->in, &self->mid));
	ASSERT_EQ(self->in.len + room, self->mid.len);
	EXPECT_EQ(UDPLITE, ip[variant->v6 ? 6 : 9]);
	EXPECT_TRUE(ip_good(ip));
	u = ip + ip_hlen(ip);
	EXPECT_EQ(FLOW_PORT, get16(u));
	EXPECT_EQ(6080, get16(u + 2));
	EXPECT_EQ(variant->headers ? 8 + (variant->v6 ? 40 : 20) + 20 : 0,
		  get16(u + 4));
	EXPECT_TRUE(udplite_good(ip));
	EXPECT_EQ(0,
		  memcmp(u + 8, self->in.b + ETH_LEN, self->in.len - ETH_LEN));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_ENCAP));
}

/* Against the oracle, which sums every byte, and back to the byte. */
static void shape(struct __test_metadata *_metadata, struct rig *r,
		  const FIXTURE_VARIANT(udplite) * variant, struct seg *s)
{
	static struct pkt in, mid, out, want;
	enum rig_prog back = variant->headers ? RIG_TC : RIG_XDP;

	memset(s->options, 1, sizeof(s->options));
	s->seq += 0x1357911;
	pkt_seg(&in, s);
	ASSERT_EQ(variant->verdict, rig_run(r, variant->prog, &in, &mid));
	want = in;
	wrap(&want, s, variant->headers, FLOW_PORT);
	ASSERT_TRUE(pkt_same(&want, &mid))
	{
		TH_LOG("IP options %d, TCP options %d, payload %u",
		       s->ip_options, s->options_len, s->payload);
		pkt_diff("UDP-Lite", &want, &mid);
	}
	ASSERT_TRUE(udplite_good(mid.b + ETH_LEN));
	ASSERT_EQ(rig_pass(back), rig_run(r, back, &mid, &out));
	ASSERT_TRUE(pkt_same(&in, &out));
}

TEST_F(udplite, every_shape_of_headers_and_payload)
{
	static const uint32_t payloads[] = {0,	 1,   2,   3,	 4,    19,  64,
					    101, 255, 999, 1431, 1432, 3001};
	struct seg s = seg_out(variant->v6);
	int n = 0;

	ASSERT_EQ(0, flow_pair_lite(&self->r, &s, variant->headers));
	for (int ip = 0; ip <= (variant->v6 ? 0 : 40); ip += 4)
		for (int tcp = 0; tcp <= 40; tcp += 4)
			for (size_t i = 0; i < ARRAY_SIZE(payloads); i++, n++) {
				s.ip_options = ip;
				s.options_len = tcp;
				s.payload = payloads[i];
				shape(_metadata, &self->r, variant, &s);
			}
	EXPECT_EQ(n, rig_moved(&self->r, SHUNT_CNT_ENCAP));
	EXPECT_EQ(n, rig_moved(&self->r, SHUNT_CNT_DECAP));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP_FAILED));
}

/* RFC 3828, 3.1: one that comes out as zero is sent as all ones. */
TEST_F(udplite, checksum_is_never_zero)
{
	struct seg s = seg_out(variant->v6);
	uint32_t l4 = ETH_LEN + (variant->v6 ? 40 : 20), sport;

	ASSERT_EQ(0, flow_pair_lite(&self->r, &s, variant->headers));
	pkt_seg(&self->in, &s);
	for (sport = 1; sport < 0x10000; sport++) {
		self->want = self->in;
		wrap(&self->want, &s, variant->headers, sport);
		if (get16(self->want.b + l4 + 6) == 0xffff)
			break;
	}
	ASSERT_GT(0x10000, sport); /* there is one */
	ASSERT_EQ(0, set_sport(&self->r, sport));
	ASSERT_EQ(variant->verdict,
		  rig_run(&self->r, variant->prog, &self->in, &self->mid));
	EXPECT_EQ(0xffff, get16(self->mid.b + l4 + 6));
	EXPECT_TRUE(pkt_same(&self->want, &self->mid));
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &self->mid, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	/* … and zero, which is as right in ones' complement, is refused. */
	put16(self->mid.b + l4 + 6, 0);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_TC, &self->mid, &self->out));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP_FAILED));
}

/* Whatever the coverage, a probe is covered whole. */
TEST_F(udplite, probe)
{
	struct seg s = seg_out(variant->v6), back = seg_in(variant->v6);
	struct shunt_flow f, g;

	ASSERT_EQ(0, flow_pair_lite(&self->r, &s, variant->headers));
	flow_get(&self->r, 1, &f);
	flow_get(&self->r, 2, &g);
	for (uint32_t payload = 0; payload < 1400; payload += 41) {
		s.payload = payload;
		pkt_seg(&self->in, &s);
		ASSERT_EQ(V_TC_PASS,
			  rig_run_clone(&self->r, 1, &self->in, &self->mid));
		pkt_probe_lite(&self->want, &s, ASKS, f.token_remote, f.nonce,
			       0);
		EXPECT_TRUE(pkt_same(&self->want, &self->mid))
		{
			pkt_diff("probe", &self->want, &self->mid);
		}
	}
	EXPECT_TRUE(udplite_good(self->mid.b + ETH_LEN));
	/* The other end, whose token is another one, answers. */
	pkt_probe_lite(&self->in, &s, ASKS, g.token_local, f.nonce, 0);
	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->in, &self->out));
	pkt_probe_lite(&self->want, &back, ECHOS, g.token_remote, g.nonce,
		       f.nonce);
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("echo", &self->want, &self->out);
	}
	EXPECT_TRUE(udplite_good(self->out.b + ETH_LEN));
}

/* ---- a checksum that the device has yet to fill in ---- */

FIXTURE(device)
{
	struct rig r;
	struct cable c;
	struct seg s;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(device)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(device, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(device, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(device)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	ASSERT_EQ(0, cable_open(&self->c, &self->r, 1500));
	ASSERT_EQ(0, system("ethtool -K t0 tx off >/dev/null 2>&1"));
	self->s = seg_out(variant->v6);
}

FIXTURE_TEARDOWN(device)
{
	cable_close(&self->c);
	rig_close(&self->r);
}

/* Segment after segment, and nothing beside. */
static void strict(struct rig *r)
{
	struct shunt_flow f;

	flow_get(r, 1, &f);
	f.flags |= SHUNT_F_STRICT;
	flow_put(r, 1, &f);
}

TEST_F(device, segment)
{
	struct seg s = self->s;

	ASSERT_EQ(0, flow_pair_lite(&self->r, &s, false));
	strict(&self->r);
	for (int i = 0; i < 40; i++) {
		s.payload = i * 31;
		s.seq += 0x1e3779b1; /* never back: that is a retransmission */
		s.options_len = i % 11 * 4;
		memset(s.options, 1, sizeof(s.options));
		pkt_seg(&self->in, &s);
		self->want = self->in;
		wrap(&self->want, &s, false, FLOW_PORT);
		ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
		ASSERT_EQ(0, cable_recv(&self->c, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("segment", &self->want, &self->out);
		}
	}
}

static void probing(struct rig *r, uint32_t random)
{
	struct shunt_flow f;

	flow_get(r, 1, &f);
	f.tx = SHUNT_TX_PROBING;
	f.token_remote = random * 0x9e3779b1u;
	f.nonce = random * 0x7f4a7c15u;
	flow_put(r, 1, &f);
}

/* The clone that a probe is made of has that offload armed: the sum over the
 * probe, written into its scratch field, must leave the checksum right. */
TEST_F(device, probe)
{
	struct seg s = self->s;
	struct shunt_flow f;
	int probes = 0;

	for (int i = 0; i < 20; i++) {
		s.payload = i * 67;
		ASSERT_EQ(0, flow_pair_lite(&self->r, &s, i & 1));
		probing(&self->r, i + 1);
		flow_get(&self->r, 1, &f);
		pkt_probe_lite(&self->want, &s, ASKS, f.token_remote, f.nonce,
			       0);
		pkt_seg(&self->in, &s);
		ASSERT_EQ(0, cable_send_offload(&self->c, &self->in));
		for (int k = 0; k < 2; k++) {
			ASSERT_EQ(0, cable_recv(&self->c, &self->out));
			probes += pkt_same(&self->want, &self->out) &&
				  udplite_good(self->out.b + ETH_LEN);
		}
	}
	EXPECT_EQ(20, probes);
}

RIG_HARNESS_MAIN(8)
