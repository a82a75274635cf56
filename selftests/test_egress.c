// SPDX-License-Identifier: GPL-2.0-only
/*
 * TC egress, where nothing is to be encapsulated: other traffic, other flows,
 * flows that are on TCP, packets that would not fit.
 */
#include "bpf_run.h"
#include "harness.h"

FIXTURE(egress)
{
	struct rig r;
	struct pkt in, out;
};

FIXTURE_SETUP(egress)
{
	struct seg s4 = seg_out(false), s6 = seg_out(true);
	struct shunt_key k4 = key_of_sender(&s4), k6 = key_of_sender(&s6);
	struct shunt_flow f4 = flow_live(&k4), f6 = flow_live(&k6);

	ASSERT_EQ(0, rig_open(&self->r, 8));
	ASSERT_EQ(0, rig_netns(&self->r, 1500));
	ASSERT_EQ(0, flow_put(&self->r, 1, &f4));
	ASSERT_EQ(0, flow_put(&self->r, 2, &f6));
}

FIXTURE_TEARDOWN(egress)
{
	rig_close(&self->r);
}

static void passes(struct __test_metadata *_metadata, struct rig *r,
		   const struct pkt *in, const char *what)
{
	static struct pkt out;

	EXPECT_EQ(V_TC_PASS, rig_run(r, RIG_EGRESS, in, &out));
	EXPECT_TRUE(pkt_same(in, &out))
	{
		pkt_diff(what, in, &out);
	}
	EXPECT_EQ(0, rig_moved(r, SHUNT_CNT_ENCAP))
	{
		TH_LOG("%s", what);
	}
}

/* Each changes one byte of a segment that would be encapsulated. */
static const struct {
	const char *name;
	int at, value, only;
} others[] = {
	{"ARP", 13, 0x06, 4},
	{"LLDP", 12, 0x88, 0},
	{"UDP", ETH_LEN + 9, 17, 4},
	{"UDP over IPv6", ETH_LEN + 6, 17, 6},
	{"ICMP", ETH_LEN + 9, 1, 4},
	{"ICMPv6", ETH_LEN + 6, 58, 6},
	{"SCTP", ETH_LEN + 9, 132, 4},
	{"hop-by-hop", ETH_LEN + 6, 0, 6},
	{"routing header", ETH_LEN + 6, 43, 6},
	{"fragment header", ETH_LEN + 6, 44, 6},
	{"destination options", ETH_LEN + 6, 60, 6},
	{"AH", ETH_LEN + 6, 51, 6},
	{"first fragment", ETH_LEN + 6, 0x20, 4},
	{"last fragment", ETH_LEN + 7, 0x10, 4},
	{"version 5", ETH_LEN, 0x55, 4},
	{"version 4 in IPv6", ETH_LEN, 0x45, 6},
	{"header of 4 words", ETH_LEN, 0x44, 4},
	{"other local address", ETH_LEN + 15, 0xaa, 4},
	{"other remote address", ETH_LEN + 16, 0xaa, 4},
	{"other local address", ETH_LEN + 23, 0xaa, 6},
	{"other remote address", ETH_LEN + 24, 0xaa, 6},
	{"other local port", ETH_LEN + 21, 0xaa, 4},
	{"other remote port", ETH_LEN + 22, 0xaa, 4},
	{"other local port", ETH_LEN + 41, 0xaa, 6},
	{"other remote port", ETH_LEN + 42, 0xaa, 6},
	{"data offset beyond the end", ETH_LEN + 32, 0xf0, 4},
};

TEST_F(egress, other_traffic)
{
	for (size_t i = 0; i < 2 * ARRAY_SIZE(others); i++) {
		struct seg s = seg_out(i & 1);

		if (others[i / 2].only && others[i / 2].only != (s.v6 ? 6 : 4))
			continue;
		s.payload = 30;
		pkt_seg(&self->in, &s);
		self->in.b[others[i / 2].at] = others[i / 2].value;
		passes(_metadata, &self->r, &self->in, others[i / 2].name);
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

TEST_F(egress, flows_on_tcp)
{
	static const __u8 tx[] = {SHUNT_TX_PLAIN, SHUNT_TX_FALLBACK};
	struct shunt_flow f;

	for (int i = 0; i < 4; i++) {
		struct seg s = seg_out(i & 1);

		flow_get(&self->r, 1 + s.v6, &f);
		f.tx = tx[i / 2];
		flow_put(&self->r, 1 + s.v6, &f);
		pkt_seg(&self->in, &s);
		passes(_metadata, &self->r, &self->in, "on TCP");
		flow_get(&self->r, 1 + s.v6, &f);
		EXPECT_EQ(0, f.tx_bytes);
		EXPECT_EQ(1101, f.tx_next);
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

/* TIME_WAIT still answers over the transport, until the slot is given away. */
TEST_F(egress, ended_flow_keeps_its_transport)
{
	struct seg s = seg_out(false);
	struct shunt_flow f;

	flow_get(&self->r, 1, &f);
	f.life = SHUNT_ENDED;
	flow_put(&self->r, 1, &f);
	s.payload = 0;
	s.flags = ACK;
	pkt_seg(&self->in, &s);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_EQ(self->in.len + 28, self->out.len);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_ENDED, f.life);
	s.payload = 10; /* new data: the end was somebody's forgery */
	pkt_seg(&self->in, &s);
	rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_LIVE, f.life);
}

/* The index points to a slot that is another flow's by now. */
TEST_F(egress, slot_given_away)
{
	struct seg s = seg_out(false), o = s;
	struct shunt_key k = key_of_sender(&s), other;
	struct shunt_flow f;

	o.sport = 7777;
	other = key_of_sender(&o);
	f = flow_live(&other);
	ASSERT_EQ(0, flow_put(&self->r, 1, &f));
	ASSERT_EQ(1, flow_slot(&self->r, &k));
	pkt_seg(&self->in, &s);
	passes(_metadata, &self->r, &self->in, "another flow's slot");
}

TEST_F(egress, fits_the_mtu_to_the_byte)
{
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_out(i);
		uint32_t room = s.v6 ? 48 : 28;

		s.payload = 1500 - room - (s.v6 ? 60 : 40);
		pkt_seg(&self->in, &s);
		rig_mark(&self->r);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		EXPECT_EQ(ETH_LEN + 1500, self->out.len);
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP));
		for (int more = 1; more <= (int)room; more++) {
			s.payload++;
			s.seq += s.payload;
			pkt_seg(&self->in, &s);
			rig_mark(&self->r);
			passes(_metadata, &self->r, &self->in, "too big");
			EXPECT_EQ(1,
				  rig_moved(&self->r, SHUNT_CNT_ENCAP_TOO_BIG));
		}
	}
}

/* With GSO it is the segments that have to fit. */
TEST_F(egress, gso_segments_must_fit)
{
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_out(i);

		s.payload = 3000;
		s.options_len = 12;
		memset(s.options, 1, 12);
		pkt_seg(&self->in, &s);
		self->in.gso_size = 1500 - (s.v6 ? 60 + 48 : 40 + 28) - 12 + 1;
		self->in.gso_segs = 3;
		rig_mark(&self->r);
		passes(_metadata, &self->r, &self->in, "GSO");
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP_TOO_BIG));
	}
}

/* Bytes behind the IP packet would make the outer length disagree with the
 * inner, and no peer of ours would take it. */
TEST_F(egress, padded_segment)
{
	struct seg s = seg_out(false);
	struct pkt back;

	s.payload = 0;
	pkt_seg(&self->in, &s);
	self->in.len += 6;
	ASSERT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	if (pkt_same(&self->in, &self->out))
		return;
	ASSERT_EQ(0, flow_pair(&self->r, &s));
	ASSERT_EQ(V_XDP_PASS, rig_run(&self->r, RIG_XDP, &self->out, &back));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(egress, truncated_at_every_length)
{
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_out(i);
		int whole;

		s.payload = 0;
		s.options_len = 12;
		memset(s.options, 1, 12);
		pkt_seg(&self->in, &s);
		whole = self->in.len;
		for (int n = ETH_LEN; n < whole; n++) {
			self->in.len = n;
			if (rig_run(&self->r, RIG_EGRESS, &self->in, NULL) ==
			    V_NONE) {
				EXPECT_LT(n, ETH_LEN + 40);
				continue;
			}
			passes(_metadata, &self->r, &self->in, "truncated");
		}
	}
}

TEST_F(egress, transport_withdrawn)
{
	struct shunt_flow f;

	rig_withdraw(&self->r, SHUNT_UDP);
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_out(i);

		pkt_seg(&self->in, &s);
		rig_mark(&self->r);
		passes(_metadata, &self->r, &self->in, "withdrawn");
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_ENCAP_FAILED));
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_FALLBACK));
		flow_get(&self->r, 1 + s.v6, &f);
		EXPECT_EQ(SHUNT_TX_FALLBACK, f.tx);
		EXPECT_EQ(SHUNT_REASON_NO_TRANSPORT, f.reason);
		EXPECT_EQ(0, f.tx_bytes);
	}
}

TEST_F(egress, flow_follows_fin_and_rst)
{
	struct seg s = seg_out(false);
	struct shunt_flow f;

	s.flags = ACK | FIN;
	pkt_seg(&self->in, &s);
	rig_run(&self->r, RIG_EGRESS, &self->in, NULL);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_LIVE, f.life);
	EXPECT_EQ(1102, f.tx_next); /* FIN takes a number */
	EXPECT_TRUE(f.flags & SHUNT_F_FIN_TX);
	f.flags |= SHUNT_F_FIN_RX;
	flow_put(&self->r, 1, &f);
	s.flags = RST;
	s.payload = 0;
	pkt_seg(&self->in, &s);
	rig_run(&self->r, RIG_EGRESS, &self->in, NULL);
	flow_get(&self->r, 1, &f);
	EXPECT_EQ(SHUNT_ENDED, f.life);
}

RIG_HARNESS_MAIN(8)
