// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes in and must pass untouched: every byte as it was, the verdict the
 * one that leaves it to others, and the right counter moved, by one per hook.
 */
#include "bad_frames.h"
#include "bpf_run.h"
#include "harness.h"

FIXTURE(untouched)
{
	struct rig r;
	struct pkt in, out;
};

FIXTURE_VARIANT(untouched)
{
	enum rig_prog prog;
};

FIXTURE_VARIANT_ADD(untouched, xdp){
	.prog = RIG_XDP,
};

FIXTURE_VARIANT_ADD(untouched, tc){
	.prog = RIG_TC,
};

FIXTURE_VARIANT_ADD(untouched, behind_xdp){
	.prog = RIG_SLOW,
};

FIXTURE_SETUP(untouched)
{
	struct seg s4 = seg_in(false), s6 = seg_in(true);
	struct shunt_key k4 = key_of_receiver(&s4), k6 = key_of_receiver(&s6);
	struct shunt_flow f4 = flow_live(&k4), f6 = flow_live(&k6);

	ASSERT_EQ(0, rig_open(&self->r, 8));
	ASSERT_EQ(0, flow_put(&self->r, 1, &f4));
	ASSERT_EQ(0, flow_put(&self->r, 2, &f6));
}

FIXTURE_TEARDOWN(untouched)
{
	rig_close(&self->r);
}

static void good_frame(struct pkt *p, const struct seg *s)
{
	pkt_seg(p, s);
	pkt_wrap(p, NULL);
}

/* Neither bytes nor flows of ours may show that the frame was there. */
static void passes(struct __test_metadata *_metadata, struct rig *r,
		   enum rig_prog prog, const struct pkt *in, const char *what)
{
	static struct pkt out;
	struct shunt_flow f;
	int verdict = rig_run(r, prog, in, &out);

	EXPECT_EQ(rig_pass(prog), verdict)
	{
		TH_LOG("%s", what);
	}
	if (!pkt_same(in, &out))
		pkt_diff(what, in, &out);
	EXPECT_TRUE(pkt_same(in, &out));
	for (__u32 slot = 1; slot <= 2; slot++) {
		flow_get(r, slot, &f);
		EXPECT_EQ(0, f.rx_bytes)
		{
			TH_LOG("%s: counted as received", what);
		}
	}
}

static void all_pass(struct __test_metadata *_metadata, struct rig *r,
		     enum rig_prog prog, const struct bad *cases)
{
	static struct pkt in;
	enum shunt_counter c;
	const char *moved;

	for (int i = 0; cases[i / 2].name; i++) {
		const struct bad *b = &cases[i / 2];
		struct seg s = seg_in(i & 1);

		if (b->only && b->only != (s.v6 ? 6 : 4))
			continue;
		good_frame(&in, &s);
		b->bend(&in, &s);
		rig_mark(r);
		passes(_metadata, r, prog, &in, b->name);
		/* What XDP passes, TC ingress sees again, and counts. */
		c = prog == RIG_XDP ? SHUNT_CNT_MAX : b->counter;
		if (c != SHUNT_CNT_MAX)
			EXPECT_EQ(1, rig_moved(r, c))
			{
				TH_LOG("%s, IPv%c", b->name, s.v6 ? '6' : '4');
			}
		moved = rig_other_moved(r, c);
		EXPECT_EQ(NULL, moved)
		{
			TH_LOG("%s counted as %s", b->name, moved);
		}
	}
}

/* The frame that the others are bent from is one that would be taken. */
TEST_F(untouched, the_good_frame_is_good)
{
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_in(i);

		good_frame(&self->in, &s);
		ASSERT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		pkt_seg(&self->in, &s);
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
	}
	EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(untouched, not_ours)
{
	set_deployed(&self->r, SHUNT_UDPLITE, false);
	all_pass(_metadata, &self->r, variant->prog, bad_others);
}

TEST_F(untouched, malformed)
{
	all_pass(_metadata, &self->r, variant->prog, bad_malformed);
}

TEST_F(untouched, impossible_lengths)
{
	static struct pkt in;

	for (const struct bad *b = bad_lengths; b->name; b++) {
		struct seg s = seg_in(false);

		good_frame(&in, &s);
		b->bend(&in, &s);
		passes(_metadata, &self->r, variant->prog, &in, b->name);
	}
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(untouched, unknown_flow)
{
	all_pass(_metadata, &self->r, variant->prog, bad_flows);
}

TEST_F(untouched, plain_tcp)
{
	for (int i = 0; i < 4; i++) {
		struct seg s = seg_in(i & 1);

		s.sport += i & 2;
		pkt_seg(&self->in, &s);
		passes(_metadata, &self->r, variant->prog, &self->in, "TCP");
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

TEST_F(untouched, transport_not_the_flows)
{
	struct shunt_flow f;

	for (__u32 slot = 1; slot <= 2; slot++) {
		flow_get(&self->r, slot, &f);
		f.transport = SHUNT_UDPLITE;
		flow_put(&self->r, slot, &f);
	}
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_in(i);

		good_frame(&self->in, &s);
		rig_mark(&self->r);
		passes(_metadata, &self->r, variant->prog, &self->in,
		       "wrong transport");
		EXPECT_EQ(variant->prog != RIG_XDP,
			  rig_moved(&self->r, SHUNT_CNT_DECAP_MISMATCH));
		EXPECT_EQ(NULL,
			  rig_other_moved(&self->r, SHUNT_CNT_DECAP_MISMATCH));
	}
}

TEST_F(untouched, transport_not_deployed)
{
	set_deployed(&self->r, SHUNT_UDP, SHUNT_ABSENT);
	for (int i = 0; i < 2; i++) {
		struct seg s = seg_in(i);

		good_frame(&self->in, &s);
		passes(_metadata, &self->r, variant->prog, &self->in,
		       "not deployed");
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
}

/* Cut the frame anywhere: nothing is taken, read beyond or changed. The kernel
 * makes no skb of less than an Ethernet and, lately, an IP header. */
TEST_F(untouched, truncated_at_every_length)
{
	int ran = 0, whole;

	for (int i = 0; i < 2; i++) {
		struct seg s = seg_in(i);

		s.options_len = 12;
		memset(s.options, 1, 12);
		good_frame(&self->in, &s);
		whole = self->in.len;
		for (int n = ETH_LEN; n < whole; n++) {
			good_frame(&self->in, &s);
			self->in.len = n;
			if (rig_run(&self->r, variant->prog, &self->in,
				    &self->out) == V_NONE) {
				EXPECT_LT(n, ETH_LEN + 40);
				continue;
			}
			ran++;
			passes(_metadata, &self->r, variant->prog, &self->in,
			       "truncated");
		}
	}
	EXPECT_LT(200, ran);
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

/* … and with lengths that agree with what is left. */
TEST_F(untouched, truncated_with_outer_lengths_to_match)
{
	int whole;

	for (int i = 0; i < 2; i++) {
		struct seg s = seg_in(i);

		good_frame(&self->in, &s);
		whole = self->in.len;
		for (int n = pkt_l4(&self->in) + 8; n < whole; n++) {
			good_frame(&self->in, &s);
			self->in.len = n;
			fit_outer(&self->in);
			passes(_metadata, &self->r, variant->prog, &self->in,
			       "truncated to match");
		}
	}
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

RIG_HARNESS_MAIN(8)
