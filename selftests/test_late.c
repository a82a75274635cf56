// SPDX-License-Identifier: GPL-2.0-only
/*
 * TCP behind a stream of messages (the message path): what egress keeps at
 * home, how it marks a FIN, and what ingress holds for the proxy.
 */
#include "bpf_run.h"
#include "harness.h"

#include <arpa/inet.h>
#include <string.h>

#define STREAM 3
#define OFFSET 0x0102030405ULL /* bytes that took the path */

FIXTURE(late)
{
	struct rig r;
	struct pkt in, want, out, held;
	struct shunt_stream st;
	struct shunt_event e;
	struct seg s;
};

FIXTURE_VARIANT(late)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(late, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(late, ipv6){
	.v6 = true,
};

static void put_flow(struct rig *r, const struct shunt_key *k, __u8 tx)
{
	struct shunt_flow f = flow_live(k);

	f.path = SHUNT_PATH_MESSAGE;
	f.tx = tx;
	f.tx_ack = 5001;
	flow_put(r, 1, &f);
}

FIXTURE_SETUP(late)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	self->s = seg_out(variant->v6);
	self->st.key = key_of_sender(&self->s);
	self->st.life = SHUNT_STREAM_OPEN;
	put_flow(&self->r, &self->st.key, SHUNT_TX_ENCAP);
}

FIXTURE_TEARDOWN(late)
{
	rig_close(&self->r);
}

static void wrap(struct pkt *p)
{
	pkt_wrap(p, &(struct outer){.sport = FLOW_PORT,
				    .dport = GUE_PORT,
				    .proto = 17});
}

/* ---- out ---- */

/* Promoted when TCP had sent up to `base`, and ended. */
static void promoted(struct rig *r, struct shunt_stream *st, uint32_t base)
{
	st->tx = SHUNT_STX_OFF;
	st->tx_based = 1;
	st->tx_base = base;
	st->tx_bytes = OFFSET;
	stream_put(r, STREAM, st);
}

static void make_fin(struct seg *s)
{
	s->flags |= FIN;
	s->payload = 0;
}

/* Byte by byte: RFC 6994, and docs/message-path.md. */
static void add_final(struct seg *s, uint64_t offset, uint32_t base)
{
	uint8_t *o = s->options + s->options_len;

	memcpy(o, "\376\20\123\110\23",
	       5); /* 254, 16, "SH", version 1 type 3 */
	for (int i = 0; i < 7; i++)
		o[5 + i] = offset >> 8 * (6 - i);
	put32(o + 12, base);
	s->options_len += 16;
}

TEST_F(late, data_waits_until_the_peer_has_the_stream)
{
	struct shunt_flow f;

	promoted(&self->r, &self->st, 1001);
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_MSG_LATE_TX));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MSG_LATE_TX));
	/* Again and again is no sign of a bad path. */
	for (int i = 0; i < 5; i++)
		rig_run(&self->r, RIG_EGRESS, &self->in, NULL);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(1001, f.tx_next);
	EXPECT_EQ(0, f.stalls);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);

	self->st.tx_open = 1;
	stream_put(&self->r, STREAM, &self->st);
	self->want = self->in;
	wrap(&self->want);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
}

/* A send that has to wait, on a socket that is to leave the sockmap first: what
 * TCP has not sent yet stays, and the FIN, which can't say what took the path.
 */
TEST_F(late, data_waits_until_the_socket_has_left)
{
	promoted(&self->r, &self->st, 1001);
	self->st.tx_based = 0;
	self->st.tx_held = 1;
	self->st.tx = SHUNT_STX_OFF;
	stream_put(&self->r, STREAM, &self->st);
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
	make_fin(&self->s);
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
	EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_MSG_LATE_TX));

	self->st.tx_open = 1;
	stream_put(&self->r, STREAM, &self->st);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
}

TEST_F(late, data_before_the_promotion_goes)
{
	promoted(&self->r, &self->st, 1001 + self->s.payload);
	pkt_seg(&self->in, &self->s);
	self->want = self->in;
	wrap(&self->want);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
	/* One byte behind it stays. */
	promoted(&self->r, &self->st, 1001 + self->s.payload - 1);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
}

/* A reset, and an acknowledgement without data, are never late. */
TEST_F(late, reset_and_acknowledgement_go)
{
	promoted(&self->r, &self->st, 900);
	self->s.payload = 0;
	self->s.flags = ACK;
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
	self->s.flags = RST | ACK;
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_EGRESS, &self->in, NULL));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_MSG_LATE_TX));
}

TEST_F(late, fin_says_how_much_took_the_path)
{
	static const uint8_t room[] = {0, 12, 24};
	struct shunt_flow f;

	promoted(&self->r, &self->st, 1001);
	make_fin(&self->s);
	for (int i = 0; i < 3; i++) {
		struct seg marked;

		memset(self->s.options, 1, sizeof(self->s.options));
		self->s.options_len = room[i];
		pkt_seg(&self->in, &self->s);
		marked = self->s;
		add_final(&marked, OFFSET, 1001);
		pkt_seg(&self->want, &marked);
		wrap(&self->want);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("FIN", &self->want, &self->out);
		}
	}
	/* It was sent three times while the peer holds it. */
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(1002, f.tx_next);
	EXPECT_EQ(0, f.stalls);
	EXPECT_EQ(SHUNT_TX_ENCAP, f.tx);
	EXPECT_TRUE(f.flags & SHUNT_F_FIN_TX);
}

/* Without room, or in plain TCP, where a middlebox may drop what it does not
 * know, the control channel has to have told the peer before. */
TEST_F(late, fin_that_can_not_say_it)
{
	promoted(&self->r, &self->st, 1001);
	make_fin(&self->s);
	for (int i = 0; i < 4; i++) {
		bool plain = i & 1, known = i & 2;

		put_flow(&self->r, &self->st.key,
			 plain ? SHUNT_TX_FALLBACK : SHUNT_TX_ENCAP);
		self->st.tx_known = known;
		stream_put(&self->r, STREAM, &self->st);
		memset(self->s.options, 1, sizeof(self->s.options));
		self->s.options_len = plain ? 12 : 28;
		pkt_seg(&self->in, &self->s);
		self->want = self->in;
		if (!plain)
			wrap(&self->want);
		EXPECT_EQ(known ? V_TC_PASS : V_TC_SHOT,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		EXPECT_TRUE(!known || pkt_same(&self->want, &self->out));
	}
}

/* TCP merges a FIN with data that is in front of the stream: the data may be
 * missing at the far end, the FIN has to wait. */
TEST_F(late, fin_comes_off_data)
{
	promoted(&self->r, &self->st, 1001 + self->s.payload);
	pkt_seg(&self->want, &self->s);
	wrap(&self->want);
	self->s.flags |= FIN;
	pkt_seg(&self->in, &self->s);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("FIN taken off", &self->want, &self->out);
	}
	self->st.tx_open = 1;
	stream_put(&self->r, STREAM, &self->st);
	self->want = self->in;
	wrap(&self->want);
	rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
}

/* ---- in ---- */

/* The way in: TC alone, or XDP and what is behind it. */
static int arrive(struct rig *r, bool xdp, const struct pkt *in,
		  struct pkt *out)
{
	static struct pkt mid;
	int verdict;

	if (!xdp)
		return rig_run(r, RIG_TC, in, out);
	verdict = rig_run(r, RIG_XDP, in, &mid);
	if (verdict != V_XDP_PASS)
		return verdict == V_XDP_DROP ? V_TC_SHOT : V_NONE;
	return rig_run(r, RIG_SLOW, &mid, out);
}

static void receiving(struct rig *r, struct shunt_stream *st, __u8 rx,
		      uint32_t base)
{
	st->rx = rx;
	st->rx_base = base;
	stream_put(r, STREAM, st);
}

/* The four ways that a FIN can come in. */
#define FOR_EACH_WAY(i) for (int i = 0; i < 4; i++)
#define XDP(i)		((i)&1)
#define WRAPPED(i)	((i)&2)

static void fin_in(struct pkt *p, const struct seg *s, bool wrapped)
{
	pkt_seg(p, s);
	if (wrapped)
		pkt_wrap(p, NULL);
}

TEST_F(late, fin_is_held_as_it_came)
{
	struct shunt_flow f;

	self->s = seg_in(variant->v6);
	make_fin(&self->s);
	receiving(&self->r, &self->st, SHUNT_SRX_BASED, 5001);
	FOR_EACH_WAY(i)
	{
		fin_in(&self->in, &self->s, WRAPPED(i));
		EXPECT_EQ(V_TC_SHOT, arrive(&self->r, XDP(i), &self->in, NULL));
		ASSERT_TRUE(event_get(&self->r, &self->e, &self->held));
		EXPECT_EQ(SHUNT_EV_HELD, self->e.type);
		EXPECT_EQ(STREAM, self->e.stream);
		EXPECT_NE(0, self->e.ifindex);
		self->held.gso_size = self->in.gso_size;
		EXPECT_TRUE(pkt_same(&self->in, &self->held))
		{
			pkt_diff("held", &self->in, &self->held);
		}
		EXPECT_FALSE(event_get(&self->r, &self->e, NULL));
	}
	flow_get(&self->r, 1, &f);
	EXPECT_FALSE(f.flags & SHUNT_F_FIN_RX);
	EXPECT_EQ(4, rig_moved(&self->r, SHUNT_CNT_MSG_HELD));
}

TEST_F(late, fin_goes_when_the_stream_is_complete)
{
	struct shunt_flow f;

	self->s = seg_in(variant->v6);
	make_fin(&self->s);
	receiving(&self->r, &self->st, SHUNT_SRX_COMPLETE, 5001);
	FOR_EACH_WAY(i)
	{
		put_flow(&self->r, &self->st.key, SHUNT_TX_ENCAP);
		fin_in(&self->in, &self->s, WRAPPED(i));
		pkt_seg(&self->want, &self->s);
		EXPECT_EQ(V_TC_PASS,
			  arrive(&self->r, XDP(i), &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out));
		EXPECT_FALSE(event_get(&self->r, &self->e, NULL));
		flow_get(&self->r, 1, &f);
		EXPECT_TRUE(f.flags & SHUNT_F_FIN_RX);
	}
}

/* Armed, the base is not known yet: a FIN of a direction that never took the
 * path goes, one that says that it did is held. */
TEST_F(late, fin_while_armed)
{
	struct seg marked;
	struct shunt_flow f;

	self->s = seg_in(variant->v6);
	make_fin(&self->s);
	marked = self->s;
	add_final(&marked, OFFSET, 5001);
	receiving(&self->r, &self->st, SHUNT_SRX_ARMED, 0);
	FOR_EACH_WAY(i)
	{
		put_flow(&self->r, &self->st.key, SHUNT_TX_ENCAP);
		fin_in(&self->in, &self->s, WRAPPED(i));
		pkt_seg(&self->want, &self->s);
		EXPECT_EQ(V_TC_PASS,
			  arrive(&self->r, XDP(i), &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out));
		flow_get(&self->r, 1, &f);
		EXPECT_TRUE(f.flags & SHUNT_F_FIN_RX);
		EXPECT_FALSE(event_get(&self->r, &self->e, NULL));

		fin_in(&self->in, &marked, WRAPPED(i));
		EXPECT_EQ(V_TC_SHOT, arrive(&self->r, XDP(i), &self->in, NULL));
		EXPECT_TRUE(event_get(&self->r, &self->e, &self->held));
	}
}

/* Not held, and not let through either. */
TEST_F(late, forged_fins)
{
	for (int i = 0; i < 6; i++) {
		struct seg s = seg_in(variant->v6);

		make_fin(&s);
		receiving(&self->r, &self->st,
			  i < 3 ? SHUNT_SRX_BASED : SHUNT_SRX_ARMED, 5001);
		switch (i) {
		case 0: /* behind the base: its sender waits */
			s.seq += 100;
			break;
		case 1: /* another base than we know */
			s.seq += 100;
			add_final(&s, OFFSET, s.seq);
			break;
		case 2: /* acknowledges what was never sent */
			s.ack += 100000;
			break;
		case 3: /* says that it is not at the base */
			add_final(&s, OFFSET, s.seq - 10);
			break;
		case 4: /* out of any window */
			s.seq += 1 << 21;
			add_final(&s, OFFSET, s.seq);
			break;
		case 5:
			s.ack -= 1 << 21;
			add_final(&s, OFFSET, s.seq);
			break;
		}
		FOR_EACH_WAY(way)
		{
			fin_in(&self->in, &s, WRAPPED(way));
			EXPECT_EQ(V_TC_SHOT,
				  arrive(&self->r, XDP(way), &self->in, NULL))
			{
				TH_LOG("case %d, way %d", i, way);
			}
			EXPECT_FALSE(event_get(&self->r, &self->e, NULL))
			{
				TH_LOG("case %d, way %d", i, way);
			}
		}
	}
}

TEST_F(late, data_behind_the_stream_is_dropped)
{
	struct shunt_flow f;

	self->s = seg_in(variant->v6);
	FOR_EACH_WAY(i)
	{
		fin_in(&self->in, &self->s, WRAPPED(i));
		receiving(&self->r, &self->st, SHUNT_SRX_BASED,
			  5001 + self->s.payload - 1);
		EXPECT_EQ(V_TC_SHOT, arrive(&self->r, XDP(i), &self->in, NULL));
		flow_get(&self->r, 1, &f);
		EXPECT_EQ(0, f.rx_bytes);
		receiving(&self->r, &self->st, SHUNT_SRX_BASED,
			  5001 + self->s.payload);
		pkt_seg(&self->want, &self->s);
		EXPECT_EQ(V_TC_PASS,
			  arrive(&self->r, XDP(i), &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->want, &self->out));
		put_flow(&self->r, &self->st.key, SHUNT_TX_ENCAP);
	}
	EXPECT_EQ(4, rig_moved(&self->r, SHUNT_CNT_MSG_LATE_RX));
}

/* What the proxies send each other is not an inner packet, and not broken. */
TEST_F(late, datagrams_of_the_proxies_pass)
{
	for (int i = 0; i < 4; i++) {
		self->s = seg_in(variant->v6);
		pkt_seg(&self->in, &self->s);
		pkt_wrap(&self->in, NULL);
		self->in.b[pkt_l4(&self->in) + 8] = 0x10 | i;
		EXPECT_EQ(V_TC_PASS,
			  arrive(&self->r, i & 1, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

RIG_HARNESS_MAIN(8)
