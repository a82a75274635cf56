// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP-Lite on its way in: what is taken, and that nothing with damage in the
 * part that was to be intact is.
 */
#include "bpf_run.h"
#include "harness.h"

FIXTURE(lite_in)
{
	struct rig r;
	struct seg s;
	struct pkt want; /* the segment alone … */
	struct pkt good; /* … and in UDP-Lite, covered whole */
	struct pkt in, out;
	uint32_t l3, u;	  /* offsets of the outer IP and the UDP-Lite header */
	uint32_t covered; /* by coverage `headers` */
};

FIXTURE_VARIANT(lite_in)
{
	bool v6;
	enum rig_prog prog;
};

#define VARIANT(name, v6_, prog_)          \
	FIXTURE_VARIANT_ADD(lite_in, name) \
	{                                  \
		.v6 = v6_, .prog = prog_   \
	}

VARIANT(ipv4_xdp, false, RIG_XDP);
VARIANT(ipv6_xdp, true, RIG_XDP);
VARIANT(ipv4_tc, false, RIG_TC);
VARIANT(ipv6_tc, true, RIG_TC);
VARIANT(ipv4_behind_xdp, false, RIG_SLOW);
VARIANT(ipv6_behind_xdp, true, RIG_SLOW);

static void make(struct pkt *p, const struct seg *s, uint16_t coverage)
{
	pkt_seg(p, s);
	pkt_wrap(p, &(struct outer){.sport = 50000,
				    .dport = GUE_PORT,
				    .proto = UDPLITE,
				    .coverage = coverage});
}

FIXTURE_SETUP(lite_in)
{
	struct seg *s = &self->s;

	ASSERT_EQ(0, rig_open(&self->r, 8));
	*s = seg_in(variant->v6);
	s->payload = 41;
	seg_options(s, "\1\1\10\12aaaabbbb", 12);
	ASSERT_EQ(0, flow_pair_lite(&self->r, s, false));
	pkt_seg(&self->want, s);
	make(&self->good, s, 0);
	self->l3 = ETH_LEN;
	self->u = ETH_LEN + (s->v6 ? 40 : 20);
	self->covered = 8 + (s->v6 ? 40 : 20) + 32;
}

FIXTURE_TEARDOWN(lite_in)
{
	rig_close(&self->r);
}

#define TAKEN(p)                                                             \
	do {                                                                 \
		rig_mark(&self->r);                                          \
		EXPECT_EQ(rig_pass(variant->prog),                           \
			  rig_run(&self->r, variant->prog, p, &self->out));  \
		EXPECT_TRUE(pkt_same(&self->want, &self->out));              \
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP));          \
		EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_DECAP)); \
	} while (0)

#define DROPPED(p, ...)                                                       \
	do {                                                                  \
		rig_mark(&self->r);                                           \
		EXPECT_EQ(rig_drop(variant->prog),                            \
			  rig_run(&self->r, variant->prog, p, NULL))          \
		{                                                             \
			TH_LOG(__VA_ARGS__);                                  \
		}                                                             \
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP_FAILED));    \
		EXPECT_EQ(NULL,                                               \
			  rig_other_moved(&self->r, SHUNT_CNT_DECAP_FAILED)); \
	} while (0)

#define UNTOUCHED(p)                                                        \
	do {                                                                \
		EXPECT_EQ(rig_pass(variant->prog),                          \
			  rig_run(&self->r, variant->prog, p, &self->out)); \
		EXPECT_TRUE(pkt_same(p, &self->out));                       \
	} while (0)

TEST_F(lite_in, covered_whole)
{
	TAKEN(&self->good);
	/* All of it, in other words. */
	make(&self->in, &self->s, self->good.len - self->u);
	TAKEN(&self->in);
}

TEST_F(lite_in, wrong_checksum)
{
	uint8_t *check = self->in.b + self->u + 6;

	for (int bit = 0; bit < 16; bit++) {
		self->in = self->good;
		put16(check, get16(check) ^ 1 << bit);
		DROPPED(&self->in, "checksum, bit %d", bit);
	}
	self->in = self->good;
	put16(check, 0); /* UDP-Lite has no "no checksum" */
	DROPPED(&self->in, "checksum 0");
}

/* RFC 3828, 3.1: at least the header, at most the datagram. And 3.2: at least
 * what the receiver wants, which is all, unless both ends say otherwise. Each
 * with the checksum that its coverage calls for. */
TEST_F(lite_in, less_than_all)
{
	uint32_t all = self->good.len - self->u;

	for (uint32_t coverage = 1; coverage < all; coverage++) {
		make(&self->in, &self->s, coverage);
		DROPPED(&self->in, "coverage %u", coverage);
	}
	for (uint32_t more = 1; more <= 20; more++) {
		make(&self->in, &self->s, all + more);
		DROPPED(&self->in, "coverage %u beyond", more);
	}
	make(&self->in, &self->s, 0xffff);
	DROPPED(&self->in, "coverage 65535");
}

/* The payload is TCP's to verify: what comes out must still be wrong. */
TEST_F(lite_in, damaged_payload_stays_damaged)
{
	for (uint32_t at = self->good.len - self->s.payload;
	     at < self->good.len; at++) {
		self->in = self->good;
		self->in.b[at] ^= 0x10;
		EXPECT_EQ(rig_pass(variant->prog),
			  rig_run(&self->r, variant->prog, &self->in,
				  &self->out));
		EXPECT_FALSE(tcp_good(self->out.b + ETH_LEN));
		pkt_cut(&self->in, self->l3, self->u + 8 - self->l3);
		EXPECT_TRUE(pkt_same(&self->in, &self->out));
	}
}

/* Is there nothing in it that TCP or IP would take? */
static bool harmless(int verdict, enum rig_prog prog, const struct pkt *in,
		     const struct pkt *out)
{
	const uint8_t *ip = out->b + ETH_LEN;

	if (verdict == rig_drop(prog))
		return true;
	if (verdict != rig_pass(prog))
		return false;
	return pkt_same(in, out) || !ip_good(ip) || !tcp_good(ip);
}

/* Behind the outer IP header, which is the path's to change. */
TEST_F(lite_in, every_single_bit)
{
	uint32_t from = self->u * 8, to = self->good.len * 8;
	int verdict;

	for (uint32_t bit = from + 16; bit < to; bit++) {
		self->in = self->good;
		self->in.b[bit / 8] ^= 1 << bit % 8;
		verdict =
			rig_run(&self->r, variant->prog, &self->in, &self->out);
		EXPECT_TRUE(
			harmless(verdict, variant->prog, &self->in, &self->out))
		{
			TH_LOG("byte %u, bit %u behind the IP header",
			       bit / 8 - self->u, bit % 8);
		}
	}
	/* The source port may be another one, but not without the sum. */
	self->in = self->good;
	self->in.b[self->u + 1] ^= 1;
	DROPPED(&self->in, "source port");
}

/* ---- coverage `headers`, agreed by both ends ---- */

#define HEADERS()                                                       \
	do {                                                            \
		ASSERT_EQ(0, flow_pair_lite(&self->r, &self->s, true)); \
		make(&self->good, &self->s, self->covered);             \
	} while (0)

/* At XDP there is no way to say that a checksum need not be looked at. */
#define PASSES_XDP(p)                                                      \
	do {                                                               \
		if (variant->prog != RIG_XDP)                              \
			break;                                             \
		rig_mark(&self->r);                                        \
		UNTOUCHED(p);                                              \
		EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX)); \
		return;                                                    \
	} while (0)

TEST_F(lite_in, headers)
{
	HEADERS();
	PASSES_XDP(&self->good);
	TAKEN(&self->good);
	/* A sender may do better than was agreed on. */
	make(&self->in, &self->s, 0);
	TAKEN(&self->in);
	make(&self->in, &self->s, self->good.len - self->u);
	TAKEN(&self->in);
	/* Without payload there is nothing to leave out. */
	self->s.payload = 0;
	make(&self->in, &self->s, 0);
	pkt_seg(&self->want, &self->s);
	TAKEN(&self->in);
}

TEST_F(lite_in, headers_and_not_less)
{
	uint32_t all = self->good.len - self->u;

	HEADERS();
	PASSES_XDP(&self->good);
	for (uint32_t coverage = 1; coverage < all + 20; coverage++) {
		if (coverage == self->covered || coverage == all)
			continue;
		make(&self->in, &self->s, coverage);
		DROPPED(&self->in, "coverage %u", coverage);
	}
}

TEST_F(lite_in, headers_with_payload_damaged)
{
	HEADERS();
	PASSES_XDP(&self->good);
	for (uint32_t bit = (self->u + self->covered) * 8;
	     bit < self->good.len * 8; bit++) {
		self->in = self->good;
		self->in.b[bit / 8] ^= 1 << bit % 8;
		self->want = self->in;
		pkt_cut(&self->want, self->l3, self->u + 8 - self->l3);
		TAKEN(&self->in);
	}
}

/* Never taken: out of the transport, nobody would look at TCP's checksum. With
 * options in the IPv4 header, that header's own checksum has to do. */
TEST_F(lite_in, headers_damaged_at_every_bit)
{
	uint32_t from = self->u * 8 + 16, to;
	int verdict;

	for (int options = 0; options < (variant->v6 ? 4 : 44); options += 40) {
		self->s.ip_options = options;
		self->covered += options;
		HEADERS();
		PASSES_XDP(&self->good);
		to = (self->u + self->covered) * 8;
		for (uint32_t bit = from; bit < to; bit++) {
			self->in = self->good;
			self->in.b[bit / 8] ^= 1 << bit % 8;
			verdict = rig_run(&self->r, variant->prog, &self->in,
					  &self->out);
			EXPECT_TRUE(verdict == V_TC_SHOT ||
				    pkt_same(&self->in, &self->out) ||
				    !ip_good(self->out.b + ETH_LEN))
			{
				TH_LOG("byte %u, bit %u, %d bytes of options",
				       bit / 8 - self->u, bit % 8, options);
			}
		}
	}
}

/* ---- on the wrong flow ---- */

TEST_F(lite_in, other_transport)
{
	ASSERT_EQ(0, flow_pair(&self->r, &self->s)); /* udp */
	UNTOUCHED(&self->good);
	if (variant->prog != RIG_XDP)
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP_MISMATCH));
	ASSERT_EQ(0, flow_pair_lite(&self->r, &self->s, false));
	self->in = self->want;
	pkt_wrap(&self->in, NULL);
	UNTOUCHED(&self->in);
	if (variant->prog != RIG_XDP)
		EXPECT_EQ(2, rig_moved(&self->r, SHUNT_CNT_DECAP_MISMATCH));
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(lite_in, other_port_or_unknown_flow)
{
	struct shunt_key k = key_of_receiver(&self->s);

	self->in = self->good;
	put16(self->in.b + self->u + 2, 6081);
	fix_udplite(self->in.b + self->l3);
	UNTOUCHED(&self->in);
	flow_unlink(&self->r, &k);
	UNTOUCHED(&self->good);
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

/* ---- probes ---- */

TEST_F(lite_in, probes_are_covered_whole)
{
	struct shunt_flow f;

	if (variant->prog == RIG_XDP)
		return; /* they pass */
	for (int headers = 0; headers < 2; headers++) {
		ASSERT_EQ(0, flow_pair_lite(&self->r, &self->s, headers));
		flow_get(&self->r, 2, &f);
		pkt_probe_lite(&self->good, &self->s, ASKS, f.token_local, 1,
			       2);
		EXPECT_EQ(V_TC_REDIRECT,
			  rig_run(&self->r, variant->prog, &self->good, NULL));
		for (uint32_t bit = self->u * 8 + 16; bit < self->good.len * 8;
		     bit++) {
			self->in = self->good;
			self->in.b[bit / 8] ^= 1 << bit % 8;
			EXPECT_NE(V_TC_REDIRECT,
				  rig_run(&self->r, variant->prog, &self->in,
					  NULL))
			{
				TH_LOG("byte %u, bit %u", bit / 8 - self->u,
				       bit % 8);
			}
		}
		/* Less is not enough. */
		self->in = self->good;
		put16(self->in.b + self->u + 4, 8);
		fix_udplite(self->in.b + self->l3);
		DROPPED(&self->in, "a probe's header alone");
		EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_PROBE_RX));
	}
}

RIG_HARNESS_MAIN(8)
