// SPDX-License-Identifier: GPL-2.0-only
/* Probes: how they look, who is answered, and what an echo proves. */
#include "cable.h"
#include "harness.h"

#define TOKEN_A 0xa1a2a3a4 /* A's peer proves itself to A with it */
#define TOKEN_B 0xb1b2b3b4
#define NONCE_A 0x0a0a0a0a
#define NONCE_B 0x0b0b0b0b

FIXTURE(probe)
{
	struct rig r;
	struct pkt in, out, want;
	struct seg s; /* from A (slot 1) to B (slot 2) */
	struct shunt_key a, b;
};

FIXTURE_VARIANT(probe)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(probe, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(probe, ipv6){
	.v6 = true,
};

static void set_tx(struct rig *r, __u32 slot, __u8 tx)
{
	struct shunt_flow f;

	flow_get(r, slot, &f);
	f.tx = tx;
	f.flags = 0;
	f.token_local = slot == 1 ? TOKEN_A : TOKEN_B;
	f.token_remote = slot == 1 ? TOKEN_B : TOKEN_A;
	f.nonce = slot == 1 ? NONCE_A : NONCE_B;
	flow_put(r, slot, &f);
}

static __u8 get_tx(struct rig *r, __u32 slot)
{
	struct shunt_flow f;

	flow_get(r, slot, &f);
	return f.tx;
}

FIXTURE_SETUP(probe)
{
	ASSERT_EQ(0, rig_open(&self->r, 4));
	self->s = seg_out(variant->v6);
	self->a = key_of_sender(&self->s);
	self->b = key_mirror(&self->a);
	ASSERT_EQ(0, flow_pair(&self->r, &self->s));
	set_tx(&self->r, 1, SHUNT_TX_PROBING);
	set_tx(&self->r, 2, SHUNT_TX_PROBING);
}

FIXTURE_TEARDOWN(probe)
{
	rig_close(&self->r);
}

static uint8_t *body(struct pkt *p)
{
	return p->b + p->len - 28;
}

TEST_F(probe, clone_becomes_a_probe)
{
	for (uint32_t payload = 0; payload < 1400; payload += 7) {
		struct seg s = self->s;

		s.payload = payload;
		s.options_len = payload % 3 ? 12 : 0;
		memset(s.options, 1, 12);
		pkt_seg(&self->in, &s);
		ASSERT_EQ(V_TC_PASS,
			  rig_run_clone(&self->r, 1, &self->in, &self->out));
		pkt_probe(&self->want, &s, ASKS, TOKEN_B, NONCE_A, 0);
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("probe", &self->want, &self->out);
		}
	}
	EXPECT_EQ(200, rig_moved(&self->r, SHUNT_CNT_PROBE));
}

/* A asks, B echoes and asks, A echoes: three packets, then both may send. */
TEST_F(probe, dialogue)
{
	struct seg to_a = seg_in(variant->v6);
	struct shunt_peer p;

	pkt_seg(&self->in, &self->s);
	ASSERT_EQ(V_TC_PASS, rig_run_clone(&self->r, 1, &self->in, &self->out));
	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->out, &self->out));
	pkt_probe(&self->want, &to_a, ASKS | ECHOS, TOKEN_A, NONCE_B, NONCE_A);
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("echo that asks", &self->want, &self->out);
	}
	EXPECT_EQ(SHUNT_TX_PROBING, get_tx(&self->r, 2));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_PROBE_RX));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_ECHO_RX));

	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->out, &self->out));
	pkt_probe(&self->want, &self->s, ECHOS, TOKEN_B, NONCE_A, NONCE_B);
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("echo", &self->want, &self->out);
	}
	EXPECT_EQ(SHUNT_TX_ENCAP, get_tx(&self->r, 1));
	peer_read(&self->r, &self->a, SHUNT_UDP, &p);
	EXPECT_NE(0, p.verified_ns);

	ASSERT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_TC, &self->out, &self->out));
	EXPECT_EQ(SHUNT_TX_ENCAP, get_tx(&self->r, 2));
	EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_ECHO_RX));
	EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_REDIRECTED));
}

/* Each direction for itself: B is on the transport and need not ask. */
TEST_F(probe, answer_without_a_question)
{
	struct seg to_a = seg_in(variant->v6);

	set_tx(&self->r, 2, SHUNT_TX_ENCAP);
	pkt_probe(&self->in, &self->s, ASKS, TOKEN_B, NONCE_A, 0);
	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->in, &self->out));
	pkt_probe(&self->want, &to_a, ECHOS, TOKEN_A, NONCE_B, NONCE_A);
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
	/* The hook behind XDP does the same, and XDP leaves it to it. */
	ASSERT_EQ(V_XDP_PASS,
		  rig_run(&self->r, RIG_XDP, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_SLOW, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
}

/* As long as `size`, with zeros behind the probe. */
static void long_probe(struct pkt *p, const struct seg *s, uint8_t flags,
		       uint32_t token, uint32_t nonce, uint32_t echo,
		       uint32_t size)
{
	uint8_t *ip = p->b + ETH_LEN;

	pkt_probe(p, s, flags, token, nonce, echo);
	pkt_cut(p, ETH_LEN, s->v6 ? 48 : 28); /* the outer headers */
	memset(p->b + p->len, 0, size);
	p->len = ETH_LEN + size;
	if (s->v6) {
		put16(ip + 4, size - 40);
	} else {
		put16(ip + 2, size);
		fix_ip(ip);
	}
	pkt_wrap(p, &(struct outer){.sport = FLOW_PORT,
				    .dport = GUE_PORT,
				    .proto = 17});
}

/* What has stalled on the way from A to B was so large. */
TEST_F(probe, as_large_as_what_stalled)
{
	struct shunt_peer p = {.first_ns = 1, .size = 1400};
	struct seg to_a = seg_in(variant->v6);

	peer_put(&self->r, &self->a, SHUNT_UDP, &p);
	for (uint32_t payload = 0; payload < 1400; payload += 699) {
		self->s.payload = payload;
		pkt_seg(&self->in, &self->s);
		memset(self->in.b + self->in.len - payload, 0x55, payload);
		ASSERT_EQ(V_TC_PASS,
			  rig_run_clone(&self->r, 1, &self->in, &self->out));
		long_probe(&self->want, &self->s, ASKS, TOKEN_B, NONCE_A, 0,
			   1400);
		EXPECT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("long probe", &self->want, &self->out);
		}
	}
	/* Its echo is as large. */
	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->out, &self->out));
	long_probe(&self->want, &to_a, ASKS | ECHOS, TOKEN_A, NONCE_B, NONCE_A,
		   1400);
	EXPECT_TRUE(pkt_same(&self->want, &self->out))
	{
		pkt_diff("long echo", &self->want, &self->out);
	}
	rig_run(&self->r, RIG_TC, &self->out, &self->out);
	EXPECT_EQ(SHUNT_TX_ENCAP, get_tx(&self->r, 1));
}

/* An echo, late or of the other's making, that does not show it. */
TEST_F(probe, small_echo_for_a_large_question)
{
	struct shunt_peer p = {.first_ns = 1, .size = 1400};
	struct seg to_a = seg_in(variant->v6);

	peer_put(&self->r, &self->a, SHUNT_UDP, &p);
	pkt_probe(&self->in, &to_a, ECHOS, TOKEN_A, NONCE_B, NONCE_A);
	EXPECT_EQ(V_TC_SHOT, rig_run(&self->r, RIG_TC, &self->in, &self->out));
	EXPECT_EQ(SHUNT_TX_PROBING, get_tx(&self->r, 1));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_ECHO_RX));
	/* A small question of the peer's takes none of ours back with it. */
	pkt_probe(&self->in, &to_a, ASKS, TOKEN_A, NONCE_B, 0);
	ASSERT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_TC, &self->in, &self->out));
	pkt_probe(&self->want, &self->s, ECHOS, TOKEN_B, NONCE_A, NONCE_B);
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
	peer_read(&self->r, &self->a, SHUNT_UDP, &p);
	EXPECT_EQ(0, p.verified_ns);
}

TEST_F(probe, wrong_token_passes_untouched)
{
	for (int bit = 0; bit < 32; bit++) {
		pkt_probe(&self->in, &self->s, ASKS | ECHOS,
			  TOKEN_B ^ 1u << bit, NONCE_A, NONCE_B);
		rig_mark(&self->r);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_TC, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_PROBE_BAD));
		EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_PROBE_BAD));
	}
	EXPECT_EQ(SHUNT_TX_PROBING, get_tx(&self->r, 2));
}

/* What has not shown that it is ours is not ours to drop, marked or not. */
TEST_F(probe, wrong_token_passes_with_a_congestion_mark)
{
	uint8_t *ip = self->in.b + ETH_LEN;

	pkt_probe(&self->in, &self->s, ASKS, TOKEN_B ^ 1, NONCE_A, 0);
	if (variant->v6) {
		ip[1] |= 0x30;
	} else {
		ip[1] |= 0x03;
		fix_ip(ip);
	}
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_PROBE_BAD));
}

/* An echo of something else proves nothing; it is consumed all the same. */
TEST_F(probe, wrong_echo_proves_nothing)
{
	for (int bit = 0; bit < 32; bit++) {
		pkt_probe(&self->in, &self->s, ECHOS, TOKEN_B, NONCE_A,
			  NONCE_B ^ 1u << bit);
		EXPECT_EQ(V_TC_SHOT,
			  rig_run(&self->r, RIG_TC, &self->in, &self->out));
	}
	EXPECT_EQ(SHUNT_TX_PROBING, get_tx(&self->r, 2));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_DECAP));
}

/* A late echo does not bring back a flow that has fallen back. */
TEST_F(probe, echo_to_a_flow_on_tcp)
{
	static const __u8 tx[] = {SHUNT_TX_FALLBACK, SHUNT_TX_PLAIN};

	for (int i = 0; i < 2; i++) {
		set_tx(&self->r, 2, tx[i]);
		pkt_probe(&self->in, &self->s, ECHOS, TOKEN_B, NONCE_A,
			  NONCE_B);
		EXPECT_EQ(V_TC_SHOT,
			  rig_run(&self->r, RIG_TC, &self->in, &self->out));
		EXPECT_EQ(tx[i], get_tx(&self->r, 2));
	}
}

static const struct {
	const char *name;
	int at, value;
	enum shunt_counter counter;
} bent[] = {
	{"magic", 0, 0x54, SHUNT_CNT_DECAP_MALFORMED},
	{"version", 2, 2, SHUNT_CNT_DECAP_MALFORMED},
	{"transport", 24, SHUNT_UDPLITE, SHUNT_CNT_DECAP_MALFORMED},
	{"port", 5, 0x77, SHUNT_CNT_DECAP_UNKNOWN},
};

TEST_F(probe, malformed_or_unknown)
{
	for (size_t i = 0; i < ARRAY_SIZE(bent); i++) {
		pkt_probe(&self->in, &self->s, ASKS, TOKEN_B, NONCE_A, 0);
		body(&self->in)[bent[i].at] = bent[i].value;
		rig_mark(&self->r);
		EXPECT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_TC, &self->in, &self->out));
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
		EXPECT_EQ(1, rig_moved(&self->r, bent[i].counter))
		{
			TH_LOG("%s", bent[i].name);
		}
		EXPECT_EQ(NULL, rig_other_moved(&self->r, bent[i].counter));
	}
}

TEST_F(probe, cut_at_every_length)
{
	pkt_probe(&self->in, &self->s, ASKS, TOKEN_B, NONCE_A, 0);
	for (uint32_t n = ETH_LEN + 40; n < self->in.len; n++) {
		struct pkt p = self->in;

		p.len = n;
		EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &p, &self->out));
		EXPECT_TRUE(pkt_same(&p, &self->out));
	}
}

/* ---- on a device ---- */

/* A segment of a probing flow leaves as TCP, and a probe beside it. */
TEST_F(probe, leaves_beside_the_segment)
{
	struct pkt got[2];
	struct cable c;
	int probes = 0, plain = 0;

	ASSERT_EQ(0, cable_open(&c, &self->r, 1500));
	pkt_seg(&self->in, &self->s);
	ASSERT_EQ(0, cable_send(&c, &self->in));
	pkt_probe(&self->want, &self->s, ASKS, TOKEN_B, NONCE_A, 0);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, cable_recv(&c, &got[i]));
		plain += pkt_same(&self->in, &got[i]);
		probes += pkt_same(&self->want, &got[i]);
	}
	EXPECT_EQ(1, plain);
	EXPECT_EQ(1, probes);
	EXPECT_TRUE(cable_silent(&c, 20));
	/* No second probe so soon, and the segment is not held up for it. */
	ASSERT_EQ(0, cable_send(&c, &self->in));
	ASSERT_EQ(0, cable_recv(&c, &got[0]));
	EXPECT_TRUE(pkt_same(&self->in, &got[0]));
	EXPECT_TRUE(cable_silent(&c, 20));
	cable_close(&c);
}

/* The checksum offload of the segment is still armed in its clone: it must not
 * hit anything that a probe means, and must leave its checksum alone. */
TEST_F(probe, of_a_segment_with_checksum_offload)
{
	struct pkt got;
	struct cable c;
	int probes = 0;

	ASSERT_EQ(0, cable_open(&c, &self->r, 1500));
	ASSERT_EQ(0, system("ethtool -K t0 tx off >/dev/null 2>&1"));
	self->s.payload = 5000;
	pkt_seg(&self->in, &self->s);
	self->in.gso_size = 1200;
	ASSERT_EQ(0, cable_send_offload(&c, &self->in));
	pkt_probe(&self->want, &self->s, ASKS, TOKEN_B, NONCE_A, 0);
	while (!cable_silent(&c, 100)) {
		ASSERT_EQ(0, cable_recv(&c, &got));
		if (got.len != self->want.len)
			continue;
		EXPECT_TRUE(pkt_same(&self->want, &got))
		{
			pkt_diff("probe", &self->want, &got);
		}
		probes++;
	}
	EXPECT_EQ(1, probes);
	cable_close(&c);
}

RIG_HARNESS_MAIN(4)
