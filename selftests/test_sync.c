// SPDX-License-Identifier: GPL-2.0-only
/*
 * Syncs, byte for byte: what a stateful firewall on the way is told, when, and
 * what the other end does with it. That it is enough for conntrack, see
 * test_hosts_stateful.c.
 */
#include "cable.h"
#include "harness.h"

FIXTURE(sync)
{
	struct rig r;
	struct seg s;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(sync)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(sync, ipv4){.v6 = false};

FIXTURE_VARIANT_ADD(sync, ipv6){.v6 = true};

FIXTURE_SETUP(sync)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
	self->s = seg_out(variant->v6);
	ASSERT_EQ(0, flow_pair(&self->r, &self->s));
}

FIXTURE_TEARDOWN(sync)
{
	rig_close(&self->r);
}

/* The flow has sent so much since its last sync, which is 30,000 bytes from a
 * peer ago; 20,000 of these came with a sync of the peer's. */
static void set_flow(struct rig *r, uint32_t sent, __u8 flags, __u8 wscale)
{
	struct shunt_flow f;

	flow_get(r, 1, &f);
	f.wscale = wscale;
	f.flags |= flags;
	f.tx_ack = 35001;
	f.rx_plain = 25001;
	f.sync_mark = f.tx_next + f.tx_ack - 30000 - sent;
	flow_put(r, 1, &f);
}

/* An empty segment behind what s is. */
static void make_sync(struct pkt *p, struct seg s, uint32_t ack)
{
	s.seq += s.payload;
	s.ack = ack;
	s.flags = PSH | ACK;
	s.payload = 0;
	s.options_len = 0;
	pkt_seg(p, &s);
	put16(p->b + pkt_l4(p) + 14, 0xffff);
	fix_tcp(p->b + ETH_LEN);
}

/* What leaves when the flow sends s: is a sync among it? */
static int leaves(struct __test_metadata *_metadata, struct rig *r,
		  struct cable *c, const struct seg *s, const struct pkt *want)
{
	struct pkt in, got;
	int n = 0, syncs = 0;

	(void)r;
	pkt_seg(&in, s);
	ASSERT_EQ(0, cable_send_offload(c, &in));
	while (!cable_silent(c, 50)) {
		ASSERT_EQ(0, cable_recv(c, &got));
		/* The first of all, so that what follows is valid. */
		if (pkt_same(want, &got))
			syncs += !n;
		n++;
	}
	EXPECT_EQ(1 + syncs, n);
	return syncs;
}

TEST_F(sync, when_it_is_due)
{
	struct cable c;

	ASSERT_EQ(0, cable_open(&c, &self->r, 1500));
	ASSERT_EQ(0, system("ethtool -K t0 tx off >/dev/null 2>&1"));
	self->s.ack = 35001;
	self->s.options_len = 12;
	memset(self->s.options, 1, 12);
	make_sync(&self->want, self->s, 25001);
	set_flow(&self->r, 2667, 0, 3); /* and 100 with this one */
	EXPECT_EQ(0, leaves(_metadata, &self->r, &c, &self->s, &self->want));
	self->s.seq += 100;
	make_sync(&self->want, self->s, 25001);
	EXPECT_EQ(1, leaves(_metadata, &self->r, &c, &self->s, &self->want));
	/* Not again so soon. */
	self->s.seq += 100;
	make_sync(&self->want, self->s, 25001);
	EXPECT_EQ(0, leaves(_metadata, &self->r, &c, &self->s, &self->want));
	/* A 16th of the largest window, whatever that is */
	set_flow(&self->r, (4096 << 14) - 30000 - 200, 0, 14);
	for (int i = 0; i < 2; i++) {
		self->s.seq += 100;
		make_sync(&self->want, self->s, 25001);
		EXPECT_EQ(i, leaves(_metadata, &self->r, &c, &self->s,
				    &self->want));
	}
	set_flow(&self->r, 1 << 30, SHUNT_F_STRICT, 3);
	self->s.seq += 100;
	make_sync(&self->want, self->s, 25001);
	EXPECT_EQ(0, leaves(_metadata, &self->r, &c, &self->s, &self->want));
	cable_close(&c);
}

/* Of its own, or of another flow's, or a plain acknowledgement. */
TEST_F(sync, is_consumed)
{
	static const int progs[] = {RIG_XDP, RIG_TC};

	for (int i = 0; i < 2; i++) {
		struct seg s = self->s;
		struct shunt_flow before, after;

		s.seq += 1000 * i;
		flow_get(&self->r, 2, &before);
		before.rx_plain = s.seq;
		before.rx_tick = 1; /* long ago: and no doubt for that */
		flow_put(&self->r, 2, &before);
		make_sync(&self->in, s, 5001);
		EXPECT_EQ(rig_drop(progs[i]),
			  rig_run(&self->r, progs[i], &self->in, NULL));
		flow_get(&self->r, 2, &after);
		EXPECT_EQ(s.seq + s.payload, after.rx_plain);
		EXPECT_EQ(before.tx, after.tx);
		EXPECT_EQ(before.rx_ack, after.rx_ack);
		EXPECT_EQ(before.heard_tick, after.heard_tick);
		s.sport++;
		make_sync(&self->in, s, 5001);
		EXPECT_EQ(rig_pass(progs[i]),
			  rig_run(&self->r, progs[i], &self->in, NULL));
	}
}

/* Back in plain TCP: no more is acknowledged than a firewall has seen. */
TEST_F(sync, acknowledgements_after_a_cut)
{
	static const struct {
		__u8 reason;
		bool lowered;
	} cases[] = {{SHUNT_REASON_STALLED, true},
		     {SHUNT_REASON_PEER_PLAIN, true},
		     {SHUNT_REASON_UNREACHABLE, true},
		     {SHUNT_REASON_ASKED, false},
		     {SHUNT_REASON_WITHDRAWN, false}};
	struct shunt_flow f;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_flow(&self->r, 0, 0, 3);
		flow_get(&self->r, 1, &f);
		f.tx = SHUNT_TX_FALLBACK;
		f.reason = cases[i].reason;
		f.flags &= ~SHUNT_F_LOWERED;
		flow_put(&self->r, 1, &f);
		self->s.seq += 100; /* new data: no sync beside it */
		self->s.ack = 35001;
		pkt_seg(&self->in, &self->s);
		self->s.ack = cases[i].lowered ? 25001 : 35001;
		pkt_seg(&self->want, &self->s);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		{
			TH_LOG("case %zu", i);
			pkt_diff("plain", &self->want, &self->out);
		}
		EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN));
	}
	/* Every other time: a reset is answered by that number. */
	self->s.seq += 100;
	self->s.ack = 35001;
	flow_get(&self->r, 1, &f);
	f.rx_plain = 25001;
	f.reason = SHUNT_REASON_STALLED;
	f.flags |= SHUNT_F_LOWERED;
	flow_put(&self->r, 1, &f);
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	/* A sync of the peer's is as good as plain data. */
	f.rx_plain = 35001;
	f.reason = SHUNT_REASON_STALLED;
	flow_put(&self->r, 1, &f);
	self->s.seq += 100;
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
}

/* Unless that is further below than our window, as the peer's TCP may drop it:
 * then what is sent again, for a firewall, and no more. */
TEST_F(sync, acknowledgements_no_further_below_than_the_window)
{
	const uint32_t window = 29200 << 3; /* of pkt_seg(), scaled */
	struct shunt_flow f;

	for (uint32_t i = 0; i < 3; i++) {
		uint32_t more = i > 0;
		bool again = i == 2;

		set_flow(&self->r, 0, 0, 3);
		flow_get(&self->r, 1, &f);
		f.tx = SHUNT_TX_FALLBACK;
		f.reason = SHUNT_REASON_STALLED;
		f.flags &= ~SHUNT_F_LOWERED;
		f.tx_ack = 1000001;
		f.rx_plain = f.tx_ack - window - more;
		flow_put(&self->r, 1, &f);
		self->s.seq += again ? 0 : 100;
		self->s.ack = f.tx_ack;
		pkt_seg(&self->in, &self->s);
		self->s.ack = more && !again ? f.tx_ack : f.rx_plain;
		pkt_seg(&self->want, &self->s);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		TH_LOG("%u more than the window%s", more,
		       again ? ", again" : "");
	}
}

RIG_HARNESS_MAIN(4)
