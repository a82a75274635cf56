// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames of the message path in UDP-Lite, packet by packet: which datagrams
 * become it and come out of it, that nothing but the protocol changes, and that
 * all others are left alone. (ICMP about them: test_icmp.c.)
 */
#include "bpf_run.h"
#include "harness.h"

#include <arpa/inet.h>
#include <string.h>

#define STREAM 3
#define TOKEN  0x70c3e001
#define LITE   0x01 /* the flag that asks for it */
#define DEVICE 1    /* of the skbs: loopback */
#define NEAR   77

/* As docs/message-path.md has it. */
struct frame {
	uint16_t sport, dport;
	uint8_t proto;
	uint8_t type, flags;
	uint32_t stream, token;
	uint32_t data; /* bytes */
	uint8_t fill;
};

static struct frame frame_of(uint8_t proto, uint32_t data)
{
	return (struct frame){.sport = GUE_PORT,
			      .dport = GUE_PORT,
			      .proto = proto,
			      .type = 0x11,
			      .flags = LITE,
			      .stream = STREAM,
			      .token = TOKEN,
			      .data = data};
}

/* Between the hosts of s; its sums are right. */
static void make(struct pkt *p, const struct seg *s, const struct frame *f)
{
	struct seg t = *s;
	uint8_t *ip = p->b + ETH_LEN, *u;

	t.options_len = 0;
	t.payload = 8 + 24 + f->data - 20; /* in the TCP header's place */
	pkt_seg(p, &t);
	u = p->b + pkt_l4(p);
	memset(u, 0, 32);
	put16(u, f->sport);
	put16(u + 2, f->dport);
	put16(u + 4, 32 + f->data);
	u[8] = f->type;
	u[9] = f->flags;
	put16(u + 10, f->data);
	put32(u + 12, f->stream);
	put32(u + 16, f->token);
	for (uint32_t i = 0; i < f->data; i++)
		u[32 + i] = f->fill + i;
	if (t.v6) {
		ip[6] = f->proto;
	} else {
		ip[9] = f->proto;
		fix_ip(ip);
	}
	if (f->proto == UDPLITE)
		fix_udplite(ip);
	else
		fix_udp(ip);
}

/* ---- out ---- */

FIXTURE(frame_out)
{
	struct rig r;
	struct seg s;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(frame_out)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(frame_out, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(frame_out, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(frame_out)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	self->s = seg_out(variant->v6);
}

FIXTURE_TEARDOWN(frame_out)
{
	rig_close(&self->r);
}

/* Any contents: now and then the sum would become 0, which is none. */
TEST_F(frame_out, becomes_udplite)
{
	for (int i = 0; i < 600; i++) {
		struct frame f = frame_of(17, 1 + i);

		f.fill = i * 37;
		f.token = TOKEN + i * 1201;
		make(&self->in, &self->s, &f);
		f.proto = UDPLITE;
		make(&self->want, &self->s, &f);
		rig_mark(&self->r);
		ASSERT_EQ(V_TC_PASS,
			  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
		ASSERT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("out", &self->want, &self->out);
		}
		ASSERT_TRUE(udplite_good(self->out.b + ETH_LEN));
		ASSERT_EQ(1, rig_moved(&self->r, SHUNT_CNT_MSG_LITE_TX));
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MSG_LITE_TX));
}

#define UNTOUCHED_OUT(f)                                                      \
	do {                                                                  \
		make(&self->in, &self->s, f);                                 \
		EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_EGRESS, &self->in, \
					     &self->out));                    \
		EXPECT_TRUE(pkt_same(&self->in, &self->out));                 \
		EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));    \
	} while (0)

TEST_F(frame_out, others_are_left_alone)
{
	const struct frame good = frame_of(17, 100);
	struct frame f = good;

	f.flags = 0; /* a stream on UDP */
	UNTOUCHED_OUT(&f);
	f = good;
	f.sport++; /* a segment */
	UNTOUCHED_OUT(&f);
	f = good;
	f.dport++;
	UNTOUCHED_OUT(&f);
	f = good;
	f.type = 0x12;
	UNTOUCHED_OUT(&f);
	f.type = 0x45;
	UNTOUCHED_OUT(&f);
	set_deployed(&self->r, SHUNT_UDPLITE, SHUNT_WITHDRAWING);
	UNTOUCHED_OUT(&good);
}

/* Only UDP can be segmented, so that comes first. */
TEST_F(frame_out, batches_take_the_hop)
{
	struct frame f = frame_of(17, 3000);

	make(&self->in, &self->s, &f);
	self->in.gso_size = 1000;
	self->in.gso_segs = 3;
	rig_mark(&self->r);
	EXPECT_EQ(V_TC_PASS,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_NO_HOP));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	ASSERT_EQ(0, hop_put(&self->r, DEVICE, NEAR));
	EXPECT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_EGRESS, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_NO_HOP));

	f.data = 900;
	make(&self->in, &self->s, &f);
	f.proto = UDPLITE;
	make(&self->want, &self->s, &f);
	EXPECT_EQ(V_TC_REDIRECT,
		  rig_run(&self->r, RIG_HOP, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->want, &self->out));
	EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_MSG_LITE_TX));
}

/* ---- in ---- */

FIXTURE(frame_in)
{
	struct rig r;
	struct seg s;
	struct shunt_stream st;
	struct pkt in, out, want;
};

FIXTURE_VARIANT(frame_in)
{
	bool v6;
	enum rig_prog prog;
};

#define VARIANT(name, v6_, prog_)           \
	FIXTURE_VARIANT_ADD(frame_in, name) \
	{                                   \
		.v6 = v6_, .prog = prog_    \
	}

VARIANT(ipv4_xdp, false, RIG_XDP);
VARIANT(ipv6_xdp, true, RIG_XDP);
VARIANT(ipv4_tc, false, RIG_TC);
VARIANT(ipv6_tc, true, RIG_TC);
VARIANT(ipv4_behind_xdp, false, RIG_SLOW);
VARIANT(ipv6_behind_xdp, true, RIG_SLOW);

FIXTURE_SETUP(frame_in)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	self->s = seg_in(variant->v6);
	self->st.key = key_of_receiver(&self->s);
	self->st.life = SHUNT_STREAM_OPEN;
	self->st.token_local = TOKEN;
	self->st.transport = SHUNT_UDPLITE;
	ASSERT_EQ(0, stream_put(&self->r, STREAM, &self->st));
}

FIXTURE_TEARDOWN(frame_in)
{
	rig_close(&self->r);
}

TEST_F(frame_in, becomes_udp)
{
	for (int i = 0; i < 600; i++) {
		struct frame f = frame_of(UDPLITE, 1 + i);

		f.fill = i * 41;
		make(&self->in, &self->s, &f);
		f.proto = 17;
		make(&self->want, &self->s, &f);
		rig_mark(&self->r);
		ASSERT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		ASSERT_TRUE(pkt_same(&self->want, &self->out))
		{
			pkt_diff("in", &self->want, &self->out);
		}
		ASSERT_EQ(1, rig_moved(&self->r, SHUNT_CNT_MSG_LITE_RX));
	}
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MSG_LITE_RX));
}

/* UDP's checksum has to be as wrong as UDP-Lite's was. */
TEST_F(frame_in, damage_stays)
{
	struct frame f = frame_of(UDPLITE, 40);
	uint8_t *ip = self->out.b + ETH_LEN, check[2];
	uint32_t u;

	make(&self->in, &self->s, &f);
	u = pkt_l4(&self->in);
	for (uint32_t at = u + 6; at < self->in.len; at++) {
		if (at >= u + 8 && at < u + 20)
			continue; /* then it is nobody's */
		self->in.b[at] ^= 0x10;
		ASSERT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		memcpy(check, self->out.b + u + 6, 2);
		fix_udp(ip);
		EXPECT_NE(0, memcmp(check, self->out.b + u + 6, 2))
		TH_LOG("byte %u", at - u);
		self->in.b[at] ^= 0x10;
	}
}

#define UNTOUCHED_IN()                                                    \
	do {                                                              \
		EXPECT_EQ(rig_pass(variant->prog),                        \
			  rig_run(&self->r, variant->prog, &self->in,     \
				  &self->out));                           \
		EXPECT_TRUE(pkt_same(&self->in, &self->out));             \
		EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_MSG_LITE_RX)); \
	} while (0)

TEST_F(frame_in, strangers_are_left_alone)
{
	const struct frame good = frame_of(UDPLITE, 100);
	struct shunt_stream st = self->st;
	struct frame f = good;

	f.stream = 0;
	make(&self->in, &self->s, &f);
	UNTOUCHED_IN();
	f.stream = STREAM + 1;
	make(&self->in, &self->s, &f);
	UNTOUCHED_IN();
	f.stream = 0xffffffff;
	make(&self->in, &self->s, &f);
	UNTOUCHED_IN();
	f = good;
	f.token ^= 1;
	make(&self->in, &self->s, &f);
	UNTOUCHED_IN();
	f = good;
	f.type = 0x12;
	make(&self->in, &self->s, &f);
	UNTOUCHED_IN();
	f = good;
	f.sport--;
	make(&self->in, &self->s, &f);
	UNTOUCHED_IN();
	/* What came from another host, or is for one: we may be a router. */
	for (int end = 0; end < 2; end++) {
		struct seg s = self->s;

		(end ? s.dst : s.src)[variant->v6 ? 15 : 3]++;
		make(&self->in, &s, &good);
		UNTOUCHED_IN();
	}
	make(&self->in, &self->s, &good);
	st.transport = SHUNT_UDP;
	stream_put(&self->r, STREAM, &st);
	UNTOUCHED_IN();
	st = self->st;
	st.life = SHUNT_STREAM_FREE;
	stream_put(&self->r, STREAM, &st);
	UNTOUCHED_IN();
}

/* Nothing else covers the bytes. With the checksum that each calls for. */
TEST_F(frame_in, covered_whole_or_not_taken)
{
	struct frame f = frame_of(UDPLITE, 60);
	uint8_t *u;

	make(&self->in, &self->s, &f);
	u = self->in.b + pkt_l4(&self->in);
	for (uint32_t coverage = 0; coverage < 200; coverage++) {
		if (coverage == 32 + f.data)
			continue;
		put16(u + 4, coverage);
		fix_udplite(self->in.b + ETH_LEN);
		UNTOUCHED_IN();
	}
	make(&self->in, &self->s, &f);
	put16(u + 6, 0); /* to UDP: no checksum */
	UNTOUCHED_IN();
}

RIG_HARNESS_MAIN(8)
