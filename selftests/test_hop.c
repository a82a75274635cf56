// SPDX-License-Identifier: GPL-2.0-only
/*
 * The segmentation hop: which packets of a flow on UDP-Lite are sent into it,
 * and what becomes of those that come out.
 */
#include "bpf_run.h"
#include "harness.h"

#define DEVICE 1 /* of the skbs: loopback */
#define NEAR   77
#define FAR    78

FIXTURE(hop)
{
	struct rig r;
	struct seg s;
	struct pkt in, out;
};

FIXTURE_VARIANT(hop)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(hop, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(hop, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(hop)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	self->s = seg_out(variant->v6);
	ASSERT_EQ(0, flow_pair_lite(&self->r, &self->s, false));
}

FIXTURE_TEARDOWN(hop)
{
	rig_close(&self->r);
}

enum way { AS_TCP, INTO_HOP, DIRECT };

/* Where egress sends the next payload of the flow; gso: in segments of so
 * much. */
static enum way send_next(struct __test_metadata *_metadata, struct rig *r,
			  struct seg *s, uint32_t payload, uint32_t gso)
{
	static struct pkt in, out;
	int verdict;

	s->payload = payload;
	pkt_seg(&in, s);
	in.gso_size = gso;
	in.gso_segs = gso ? (payload + gso - 1) / gso : 0;
	s->seq += payload;
	verdict = rig_run(r, RIG_EGRESS, &in, &out);
	if (verdict == V_TC_PASS && !pkt_same(&in, &out)) {
		EXPECT_EQ(in.len + (s->v6 ? 48 : 28), out.len);
		EXPECT_TRUE(udplite_good(out.b + ETH_LEN));
		return DIRECT;
	}
	EXPECT_TRUE(pkt_same(&in, &out));
	if (verdict == V_TC_PASS)
		return AS_TCP;
	EXPECT_EQ(V_TC_REDIRECT, verdict);
	return INTO_HOP;
}

/* The peer acknowledges all up to seq. */
static void acknowledge(struct rig *r, const struct seg *sent, uint32_t seq)
{
	static struct pkt in;
	struct seg s = seg_in(sent->v6);

	s.payload = 0;
	s.flags = ACK;
	s.ack = seq;
	pkt_seg(&in, &s);
	rig_run(r, RIG_XDP, &in, NULL);
}

#define SEND(payload, gso) \
	send_next(_metadata, &self->r, &self->s, payload, gso)

TEST_F(hop, without_one_gso_goes_as_tcp)
{
	struct shunt_flow f;

	EXPECT_EQ(AS_TCP, SEND(3000, 1000));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_NO_HOP));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_NO_HOP));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(0, f.tx_bytes);
	EXPECT_EQ(4001, f.tx_next);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx); /* the next may fit */
}

/* What goes directly must not overtake what is in the hop, so as long as any
 * of that may still be there, which an acknowledgement of all rules out. */
TEST_F(hop, later_packets_follow_until_all_is_acknowledged)
{
	uint32_t first;

	ASSERT_EQ(0, hop_put(&self->r, DEVICE, NEAR));
	EXPECT_EQ(DIRECT, SEND(100, 0));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
	EXPECT_EQ(INTO_HOP, SEND(3000, 1000));
	first = self->s.seq;
	EXPECT_EQ(INTO_HOP, SEND(100, 0));
	EXPECT_EQ(INTO_HOP, SEND(0, 0));
	acknowledge(&self->r, &self->s, first);
	EXPECT_EQ(INTO_HOP, SEND(100, 0));
	EXPECT_EQ(INTO_HOP, SEND(0, 0)); /* an acknowledgement of ours */
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
	acknowledge(&self->r, &self->s, self->s.seq);
	EXPECT_EQ(DIRECT, SEND(100, 0));
	EXPECT_EQ(DIRECT, SEND(100, 0));
	EXPECT_EQ(INTO_HOP, SEND(3000, 1000)); /* and once more */
	EXPECT_EQ(INTO_HOP, SEND(100, 0));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_NO_HOP));
}

/* It covers the TCP checksum, so that has to be finished before. */
TEST_F(hop, every_packet_with_coverage_headers)
{
	ASSERT_EQ(0, flow_pair_lite(&self->r, &self->s, true));
	ASSERT_EQ(0, hop_put(&self->r, DEVICE, NEAR));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(INTO_HOP, SEND(100, 0));
		EXPECT_EQ(INTO_HOP, SEND(0, 0));
		acknowledge(&self->r, &self->s, self->s.seq);
	}
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_ENCAP));
}

TEST_F(hop, transports_with_gso_need_none)
{
	ASSERT_EQ(0, flow_pair(&self->r, &self->s));
	ASSERT_EQ(0, hop_put(&self->r, DEVICE, NEAR));
	self->s.payload = 3000;
	pkt_seg(&self->in, &self->s);
	self->in.gso_size = 1000;
	self->in.gso_segs = 3;
	/* All that can be seen here is that it is not sent elsewhere: the skb
	 * of a test run is not one that adjust_room takes for TCP's. */
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
}

/* With the outer headers a segment would not fit, hop or not. */
TEST_F(hop, too_big)
{
	uint32_t fits = 1500 - (variant->v6 ? 60 + 48 : 40 + 28);

	ASSERT_EQ(0, rig_netns(&self->r, 1500));
	ASSERT_EQ(0, hop_put(&self->r, self->r.ifindex, NEAR));
	EXPECT_EQ(AS_TCP, SEND(3000, fits + 1));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP_TOO_BIG));
	EXPECT_EQ(INTO_HOP, SEND(3000, fits));
}

/* ---- at the far end ---- */

TEST_F(hop, comes_out_encapsulated_and_counted)
{
	struct shunt_flow f;

	ASSERT_EQ(0, hop_put(&self->r, DEVICE, DEVICE));
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_HOP, &self->in, &self->out));
	pkt_wrap(&self->in, &(struct outer){.sport = FLOW_PORT,
					    .dport = GUE_PORT,
					    .proto = UDPLITE});
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(self->s.payload, f.tx_bytes);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_ENCAP));
}

static void comes_out_as_tcp(struct __test_metadata *_metadata, struct rig *r,
			     const struct seg *s, const char *what)
{
	static struct pkt in, out;

	pkt_seg(&in, s);
	EXPECT_EQ(V_TC_REDIRECT, rig_run(r, RIG_HOP, &in, &out));
	EXPECT_TRUE(pkt_same(&in, &out))
	{
		pkt_diff(what, &in, &out);
	}
}

/* A packet was in there while its flow changed. None is lost. */
TEST_F(hop, flow_has_changed_meanwhile)
{
	static const __u8 tx[] = {SHUNT_TX_PLAIN, SHUNT_TX_PROBING,
				  SHUNT_TX_FALLBACK};
	struct shunt_key k = key_of_sender(&self->s);
	struct shunt_flow f;

	ASSERT_EQ(0, hop_put(&self->r, DEVICE, DEVICE));
	for (size_t i = 0; i < ARRAY_SIZE(tx); i++) {
		flow_get(&self->r, 1, &f);
		f.tx = tx[i];
		flow_put(&self->r, 1, &f);
		comes_out_as_tcp(_metadata, &self->r, &self->s, "on TCP");
	}
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(0, f.tx_bytes);
	flow_unlink(&self->r, &k);
	comes_out_as_tcp(_metadata, &self->r, &self->s, "no flow");
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

TEST_F(hop, transport_withdrawn_meanwhile)
{
	struct shunt_flow f;

	ASSERT_EQ(0, hop_put(&self->r, DEVICE, DEVICE));
	rig_withdraw(&self->r, SHUNT_UDPLITE);
	comes_out_as_tcp(_metadata, &self->r, &self->s, "withdrawn");
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP_FAILED));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_FALLBACK));
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_FALLBACK, f.tx);
	EXPECT_EQ(SHUNT_REASON_NO_TRANSPORT, f.reason);
	EXPECT_EQ(0, f.tx_bytes);
}

/* What comes out as TCP all the same goes on, and not into the hop again. */
TEST_F(hop, no_way_back_into_it)
{
	struct shunt_flow before, after;

	ASSERT_EQ(0, hop_put(&self->r, DEVICE, NEAR));
	ASSERT_EQ(0, hop_put(&self->r, FAR, DEVICE));
	EXPECT_EQ(INTO_HOP, SEND(3000, 1000));
	flow_get(&self->r, 1, &before);
	self->r.ingress = FAR;
	EXPECT_EQ(AS_TCP, SEND(100, 0));
	/* It has been looked at once, before. */
	flow_get(&self->r, 1, &after);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
	/* Any other device does not matter: we may be a router. */
	self->r.ingress = DEVICE + 1;
	EXPECT_EQ(INTO_HOP, SEND(100, 0));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

/* Nothing of ours, or not for this hop: the pair is no way around anything. */
TEST_F(hop, strangers_are_dropped)
{
	static const int types[] = {0x0806, 0x88cc};

	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_HOP, &self->in, NULL));
	ASSERT_EQ(0, hop_put(&self->r, DEVICE, DEVICE));
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		pkt_seg(&self->in, &self->s);
		put16(self->in.b + 12, types[i]);
		EXPECT_EQ(V_TC_SHOT,
			  rig_run(&self->r, RIG_HOP, &self->in, NULL));
	}
	pkt_seg(&self->in, &self->s);
	pkt_wrap(&self->in, NULL);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_HOP, &self->in, NULL));
}

RIG_HARNESS_MAIN(8)
