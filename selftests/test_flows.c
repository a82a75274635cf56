// SPDX-License-Identifier: GPL-2.0-only
/*
 * The flow table under pressure, and flows that stall: which slots are given
 * away, and how a flow that makes no progress finds its way back to TCP.
 */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

#define SLOTS 40 /* more than a claim tries: CLAIM_TRIES is 32 */

FIXTURE(flows)
{
	struct rig r;
	struct pkt p, out;
	struct seg s;
};

FIXTURE_SETUP(flows)
{
	ASSERT_EQ(0, rig_open(&self->r, SLOTS));
	/* A clone of a probing flow's segment has to go somewhere. */
	ASSERT_EQ(0, rig_netns(&self->r, 1500));
	self->s = seg_in(false);
}

FIXTURE_TEARDOWN(flows)
{
	rig_close(&self->r);
}

/* A connection of ours to that port is answered: the slot it gets, or 0. */
static __u32 connect_to(struct rig *r, uint16_t port,
			struct shunt_handshake *hs)
{
	static struct pkt p;
	struct wish w = a_wish(ANSWER);
	struct seg s = seg_in(false);
	struct shunt_key k;

	*hs = (struct shunt_handshake){.stage = SHUNT_HS_OFFERED,
				       .role = SHUNT_ROLE_ACTIVE,
				       .wish = {.transports = {SHUNT_UDP}},
				       .transport = SHUNT_UDP,
				       .isn_local = 1000,
				       .created_ns = now_mono()};
	s.sport = port;
	make_synack(&s);
	add_wish(&s, &w);
	s.ack = 1001;
	k = key_of_receiver(&s);
	hs_put(r, &k, hs);
	pkt_seg(&p, &s);
	rig_run(r, RIG_TC, &p, NULL);
	hs_get(r, &k, hs);
	return flow_slot(r, &k);
}

static struct shunt_key key_to(uint16_t port)
{
	struct seg s = seg_in(false);

	s.sport = port;
	return key_of_receiver(&s);
}

/* Fill the table through the front door. */
static void fill(struct __test_metadata *_metadata, struct rig *r)
{
	struct shunt_handshake hs;
	bool taken[SLOTS + 1] = {};
	__u32 slot;

	for (int i = 0; i < SLOTS; i++) {
		slot = connect_to(r, 2000 + i, &hs);
		ASSERT_NE(0, slot);
		ASSERT_LE(slot, SLOTS);
		ASSERT_FALSE(taken[slot]);
		taken[slot] = true;
	}
}

TEST_F(flows, every_slot_is_used_once)
{
	fill(_metadata, &self->r);
	EXPECT_EQ(SLOTS, rig_moved(&self->r, SHUNT_CNT_FLOW));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_RECYCLED));
	for (int i = 0; i < SLOTS; i++) {
		struct shunt_key k = key_to(2000 + i);

		EXPECT_NE(0, flow_slot(&self->r, &k));
	}
}

TEST_F(flows, full_of_live_flows_refuses_and_counts)
{
	struct shunt_flow before, after;
	struct shunt_handshake hs;

	fill(_metadata, &self->r);
	for (int i = 1; i <= 3; i++) {
		for (__u32 slot = 1; slot <= SLOTS; slot++) {
			flow_get(&self->r, slot, &before);
			ASSERT_EQ(SHUNT_LIVE, before.life);
		}
		EXPECT_EQ(0, connect_to(&self->r, 3000, &hs));
		EXPECT_EQ(SHUNT_HS_REFUSED, hs.stage);
		EXPECT_EQ(SHUNT_REASON_TABLE_FULL, hs.reason);
		EXPECT_EQ(i, rig_moved(&self->r, SHUNT_CNT_TABLE_FULL));
		flow_get(&self->r, SLOTS, &after);
		EXPECT_EQ(0, memcmp(&before, &after, sizeof(after)));
	}
	for (int i = 0; i < SLOTS; i++) {
		struct shunt_key k = key_to(2000 + i);

		EXPECT_NE(0, flow_slot(&self->r, &k));
	}
}

TEST_F(flows, ended_flow_gives_its_slot)
{
	struct shunt_key old = key_to(2007);
	struct shunt_handshake hs;
	struct shunt_flow f;
	__u32 slot = 0;

	fill(_metadata, &self->r);
	slot = flow_slot(&self->r, &old);
	flow_get(&self->r, slot, &f);
	f.life = SHUNT_ENDED;
	flow_put(&self->r, slot, &f);
	/* A claim looks at 32 slots of 40: the second one finds it. */
	if (!connect_to(&self->r, 3000, &hs))
		connect_to(&self->r, 3000, &hs);
	old = key_to(3000);
	EXPECT_EQ(slot, flow_slot(&self->r, &old));
	old = key_to(2007);
	EXPECT_EQ(0, flow_slot(&self->r, &old));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_RECYCLED));
	flow_get(&self->r, slot, &f);
	EXPECT_EQ(SHUNT_LIVE, f.life);
	EXPECT_EQ(0, f.tx_bytes + f.rx_bytes);
	EXPECT_EQ(0, f.flags);
	/* What still comes for the old one is not taken for the new one's. */
	self->s.sport = 2007;
	pkt_seg(&self->p, &self->s);
	pkt_wrap(&self->p, NULL);
	for (int prog = RIG_TC; prog <= RIG_XDP; prog++) {
		EXPECT_EQ(rig_pass(prog),
			  rig_run(&self->r, prog, &self->p, &self->out));
		EXPECT_TRUE(pkt_same(&self->p, &self->out));
	}
}

TEST_F(flows, idle_flow_gives_its_slot)
{
	struct shunt_key old = key_to(2011), k = key_to(3000);
	struct shunt_handshake hs;
	struct shunt_flow f;
	__u32 slot;

	fill(_metadata, &self->r);
	slot = flow_slot(&self->r, &old);
	flow_get(&self->r, slot, &f);
	f.seen_tick =
		(now_mono() - RIG_IDLE_NS + 5 * SHUNT_NSEC) >> SHUNT_TICK_SHIFT;
	flow_put(&self->r, slot, &f);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, connect_to(&self->r, 3000, &hs));
	f.seen_tick =
		(now_mono() - RIG_IDLE_NS - SHUNT_NSEC) >> SHUNT_TICK_SHIFT;
	flow_put(&self->r, slot, &f);
	if (!connect_to(&self->r, 3000, &hs))
		connect_to(&self->r, 3000, &hs);
	EXPECT_EQ(slot, flow_slot(&self->r, &k));
	EXPECT_EQ(0, flow_slot(&self->r, &old));
}

/* Ten times as many connections as slots, one after the other. */
TEST_F(flows, successive_connections_all_get_a_slot)
{
	struct shunt_handshake hs;
	struct shunt_flow f;
	__u32 slot;

	for (int i = 0; i < 10 * SLOTS; i++) {
		slot = connect_to(&self->r, 2000 + i, &hs);
		ASSERT_NE(0, slot);
		flow_get(&self->r, slot, &f);
		f.life = SHUNT_ENDED;
		flow_put(&self->r, slot, &f);
	}
	EXPECT_EQ(10 * SLOTS, rig_moved(&self->r, SHUNT_CNT_FLOW));
	EXPECT_EQ(9 * SLOTS, rig_moved(&self->r, SHUNT_CNT_RECYCLED));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_TABLE_FULL));
}

/* ---- stalls ---- */

static void rewind_ticks(struct rig *r, struct shunt_flow *f, __u32 by)
{
	flow_get(r, 1, f);
	f->stall_tick -= by;
	f->heard_tick -= by;
	f->probe_tick -= by;
	if (f->rx_tick)
		f->rx_tick -= by;
	flow_put(r, 1, f);
}

static __u8 send(struct rig *r, const struct seg *s, struct shunt_flow *f)
{
	static struct pkt p, out;

	pkt_seg(&p, s);
	rig_run(r, RIG_EGRESS, &p, &out);
	flow_get(r, 1, f);
	return out.len == p.len ? 0 : 1; /* encapsulated? */
}

TEST_F(flows, stall_probes_then_falls_back)
{
	struct shunt_flow f, before, one;
	struct seg s = seg_out(false);
	__u64 suspects, start;
	struct shunt_peer peer;
	__u8 first, second;
	__u32 probes;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	EXPECT_EQ(1, send(&self->r, &s, &f)); /* first time */
	rewind_ticks(&self->r, &f, 100);
	before = f;
	/* Once more if the CPU was taken away: then they were no burst. */
	do {
		flow_put(&self->r, 1, &before);
		suspects = rig_moved(&self->r, SHUNT_CNT_SUSPECT);
		start = now_mono();
		first = send(&self->r, &s, &one); /* tail loss probe */
		second = send(&self->r, &s, &f);  /* same burst */
	} while (now_mono() - start > 4000000);	  /* STALL_GAP_MS is 5 */
	EXPECT_EQ(1, first);
	EXPECT_EQ(1, one.stalls);
	EXPECT_EQ(1, second);
	EXPECT_EQ(1, f.stalls);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
	rewind_ticks(&self->r, &f, 100);
	EXPECT_EQ(0, send(&self->r, &s, &f)); /* timeout: in plain TCP */
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	EXPECT_EQ(SHUNT_REASON_STALLED, f.reason);
	EXPECT_EQ(suspects + 1, rig_moved(&self->r, SHUNT_CNT_SUSPECT));
	EXPECT_EQ(1, f.probes);
	for (probes = 1; f.tx == SHUNT_TX_PROBING && probes < 20; probes++) {
		/* Not before its time, which doubles: 190 ticks and more. */
		rewind_ticks(&self->r, &f, 100u << (probes - 1));
		EXPECT_EQ(0, send(&self->r, &s, &f));
		EXPECT_EQ(probes, f.probes);
		rewind_ticks(&self->r, &f, 100u << (probes - 1));
		EXPECT_EQ(0, send(&self->r, &s, &f));
	}
	EXPECT_EQ(5, probes); /* four were sent */
	EXPECT_EQ(SHUNT_TX_FALLBACK, f.tx);
	EXPECT_EQ(SHUNT_REASON_STALLED, f.reason);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_FALLBACK));
	peer_read(&self->r, &f.key, SHUNT_UDP, &peer);
	EXPECT_EQ(0, peer.verified_ns);
	EXPECT_LT(now_mono(), peer.blocked_until_ns);
	EXPECT_EQ(1, peer.fallbacks);
	EXPECT_EQ(40 + s.payload + s.options_len, peer.size);
	rewind_ticks(&self->r, &f, 10000);
	EXPECT_EQ(0, send(&self->r, &s, &f)); /* for good */
	EXPECT_EQ(SHUNT_TX_FALLBACK, f.tx);
}

/* A flow that never got through was never redirected: no fallback. */
TEST_F(flows, unanswered_probes_leave_a_new_flow_on_tcp)
{
	struct seg s = seg_out(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	flow_get(&self->r, 1, &f);
	f.tx = SHUNT_TX_PROBING;
	f.flags = 0;
	flow_put(&self->r, 1, &f);
	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(0, send(&self->r, &s, &f));
		rewind_ticks(&self->r, &f, 4000);
	}
	EXPECT_EQ(SHUNT_TX_PLAIN, f.tx);
	EXPECT_EQ(SHUNT_REASON_NO_ECHO, f.reason);
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_FALLBACK));
}

TEST_F(flows, progress_between_losses_is_no_stall)
{
	struct seg s = seg_out(false), a = seg_in(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	send(&self->r, &s, &f);
	a.payload = 0;
	a.flags = ACK;
	for (int i = 0; i < 10; i++) {
		rewind_ticks(&self->r, &f, 100);
		EXPECT_EQ(1, send(&self->r, &s, &f));
		/* … and a duplicate acknowledgement comes in, later. */
		rewind_ticks(&self->r, &f, 100);
		pkt_seg(&self->p, &a);
		rig_run(&self->r, RIG_XDP, &self->p, NULL);
	}
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_SUSPECT));
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
}

/* New data, acknowledgements and window probes are not retransmissions. */
TEST_F(flows, new_segments_are_no_stall)
{
	struct seg s = seg_out(false);
	struct shunt_flow f;

	s.seq = 0xffffff00; /* over the wrap */
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	flow_get(&self->r, 1, &f);
	f.tx_next = s.seq;
	flow_put(&self->r, 1, &f);
	for (int i = 0; i < 20; i++) {
		rewind_ticks(&self->r, &f, 100);
		s.payload = i % 2 ? 100 : 0;
		EXPECT_EQ(1, send(&self->r, &s, &f));
		s.seq += s.payload;
	}
	EXPECT_EQ(0, f.stalls);
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_ENCAP));
}

/* The peer says again what we have acknowledged: that was lost. */
TEST_F(flows, peer_that_repeats_itself_is_a_stall)
{
	struct seg s = seg_out(false), a = seg_in(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	flow_get(&self->r, 1, &f);
	f.tx_ack = a.seq + a.payload;
	f.rx_ack = a.ack - 1;
	flow_put(&self->r, 1, &f);
	pkt_seg(&self->p, &a);
	pkt_wrap(&self->p, NULL);
	/* The first acknowledges something: a good sign. */
	for (int i = 0; i < 3; i++) {
		flow_get(&self->r, 1, &f);
		EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
		EXPECT_EQ(V_XDP_PASS,
			  rig_run(&self->r, RIG_XDP, &self->p, NULL));
		rewind_ticks(&self->r, &f, 100);
	}
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	EXPECT_EQ(SHUNT_REASON_STALLED, f.reason);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_SUSPECT));
}

/* A segment that overtook others on the plain path is no sign; one that comes
 * long after the last on the transport is. */
TEST_F(flows, peer_that_goes_back_to_tcp)
{
	struct seg s = seg_out(false), a = seg_in(false);
	struct shunt_flow f;

	ASSERT_EQ(0, flow_pair(&self->r, &s));
	pkt_seg(&self->p, &a);
	rig_run(&self->r, RIG_TC, &self->p, NULL); /* nothing heard yet */
	a.seq += a.payload;
	pkt_seg(&self->p, &a);
	pkt_wrap(&self->p, NULL);
	rig_run(&self->r, RIG_TC, &self->p, NULL);
	/* Time goes on by itself, too, in a guest that has to wait for a CPU.
	 */
	rewind_ticks(&self->r, &f, 5);
	a.seq += a.payload;
	pkt_seg(&self->p, &a);
	rig_run(&self->r, RIG_TC, &self->p, NULL);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
	rewind_ticks(&self->r, &f, 60);
	a.seq += a.payload;
	pkt_seg(&self->p, &a);
	rig_run(&self->r, RIG_TC, &self->p, NULL);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_TX_PROBING, f.tx);
	EXPECT_EQ(SHUNT_REASON_PEER_PLAIN, f.reason);
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_SUSPECT));
}

RIG_HARNESS_MAIN(SLOTS)
