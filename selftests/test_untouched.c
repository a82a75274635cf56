// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes in and must pass untouched: every byte as it was, the verdict the
 * one that leaves it to others, and the right counter moved, by one per hook.
 */
#include "bpf_run.h"
#include "harness.h"

/* Bends a good encapsulated frame p of segment s. */
typedef void (*bend_fn)(struct pkt *p, const struct seg *s);

struct bad {
	const char *name;
	bend_fn bend;
	enum shunt_counter counter; /* SHUNT_CNT_MAX: none */
	int only; /* 4, 6 or 0: the families it exists for */
};

static uint8_t *outer(struct pkt *p)
{
	return p->b + ETH_LEN;
}

static uint8_t *udp(struct pkt *p)
{
	return outer(p) + ip_hlen(outer(p));
}

static uint8_t *inner(struct pkt *p)
{
	return udp(p) + 8;
}

static uint8_t *inner_tcp(struct pkt *p)
{
	return inner(p) + ip_hlen(inner(p));
}

static bool v6_of(struct pkt *p)
{
	return outer(p)[0] >> 4 == 6;
}

/* The length field of an IP header, as bytes of the whole packet. */
static uint32_t get_total(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 ? get16(ip + 4) + 40 : get16(ip + 2);
}

static void set_total(uint8_t *ip, uint32_t n)
{
	if (ip[0] >> 4 == 6)
		return put16(ip + 4, n - 40);
	put16(ip + 2, n);
	fix_ip(ip);
}

/* Lengths of the outer headers by what the frame is long. */
static void fit_outer(struct pkt *p)
{
	set_total(outer(p), p->len - ETH_LEN);
	put16(udp(p) + 4, p->len - (udp(p) - p->b));
}

#define BEND(name)                                                             \
	static void bend_##name(struct pkt *p,                                 \
				const struct seg *s __attribute__((unused)))

BEND(other_port)
{
	put16(udp(p) + 2, 6081);
}
BEND(port_53)
{
	put16(udp(p) + 2, 53);
}
BEND(our_port_as_source)
{
	put16(udp(p), 6080);
	put16(udp(p) + 2, 40000);
}
BEND(not_udp)
{
	outer(p)[v6_of(p) ? 6 : 9] = 132; /* SCTP */
	if (!v6_of(p))
		fix_ip(outer(p));
}
BEND(udplite)
{
	outer(p)[v6_of(p) ? 6 : 9] = 136;
	if (!v6_of(p))
		fix_ip(outer(p));
}
BEND(ip_in_ip)
{
	pkt_cut(p, udp(p) - p->b, 8);
	outer(p)[v6_of(p) ? 6 : 9] = v6_of(p) ? 41 : 4;
	set_total(outer(p), p->len - ETH_LEN);
}
BEND(arp)
{
	put16(p->b + 12, 0x0806);
}
BEND(unknown_ethertype)
{
	put16(p->b + 12, 0x88cc);
}
BEND(family_of_ethertype)
{
	put16(p->b + 12, v6_of(p) ? 0x0800 : 0x86dd);
}
BEND(outer_fragment_first)
{
	put16(outer(p) + 6, 0x2000);
	fix_ip(outer(p));
}
BEND(outer_fragment_last)
{
	put16(outer(p) + 6, 0x0010);
	fix_ip(outer(p));
}
BEND(outer_v6_fragment)
{
	pkt_insert(p, ETH_LEN + 40, 8);
	p->b[ETH_LEN + 40] = 17;
	p->b[ETH_LEN + 43] = 1; /* more fragments */
	outer(p)[6] = 44;
	set_total(outer(p), p->len - ETH_LEN);
}
BEND(outer_v6_hop_by_hop)
{
	pkt_insert(p, ETH_LEN + 40, 8);
	p->b[ETH_LEN + 40] = 17;
	p->b[ETH_LEN + 42] = 1; /* PadN */
	p->b[ETH_LEN + 43] = 4;
	outer(p)[6] = 0;
	set_total(outer(p), p->len - ETH_LEN);
}
BEND(outer_options)
{
	pkt_insert(p, ETH_LEN + 20, 4);
	memset(p->b + ETH_LEN + 20, 1, 4);
	outer(p)[0] = 0x46;
	fit_outer(p);
}
BEND(outer_ihl_short)
{
	outer(p)[0] = 0x44;
	fix_ip(outer(p));
}
BEND(outer_version)
{
	outer(p)[0] ^= 0x10;
}
BEND(outer_bad_checksum)
{
	outer(p)[11] ^= 0x40;
}
BEND(outer_ttl_damaged)
{
	outer(p)[8]--;
}
BEND(garbage)
{
	for (uint8_t *b = inner(p); b < p->b + p->len; b++)
		*b = (b - p->b) * 251 + 13;
}
BEND(all_zero)
{
	memset(inner(p), 0, p->b + p->len - inner(p));
}
BEND(nothing_inside)
{
	p->len = inner(p) - p->b;
	fit_outer(p);
}
BEND(first_nibble_0)
{
	inner(p)[0] &= 0x0f;
}
BEND(first_nibble_5)
{
	inner(p)[0] = 0x50 | (inner(p)[0] & 0x0f);
}
BEND(gue_variant_0)
{
	inner(p)[0] = 0;
	inner(p)[1] = 6;
}
BEND(inner_other_family)
{
	struct seg o = seg_in(!s->v6);
	static struct pkt q;
	uint32_t n;

	pkt_seg(&q, &o);
	n = q.len - ETH_LEN;
	memcpy(inner(p), q.b + ETH_LEN, n);
	p->len = inner(p) - p->b + n;
	fit_outer(p);
}
/* A change of an address that the TCP and IP checksums agree with. */
static void bend_address(struct pkt *p, uint32_t at)
{
	inner(p)[at] ^= 4;
	if (!v6_of(p))
		fix_ip(inner(p));
	fix_tcp(inner(p));
}
BEND(inner_source)
{
	bend_address(p, v6_of(p) ? 23 : 15);
}
BEND(inner_source_first_word)
{
	bend_address(p, v6_of(p) ? 11 : 12);
}
BEND(inner_destination)
{
	bend_address(p, v6_of(p) ? 39 : 19);
}
BEND(inner_destination_middle)
{
	bend_address(p, v6_of(p) ? 30 : 17);
}
BEND(outer_source)
{
	outer(p)[v6_of(p) ? 22 : 14] ^= 1;
	if (!v6_of(p))
		fix_ip(outer(p));
}
BEND(inner_length_less)
{
	set_total(inner(p), get_total(inner(p)) - 4);
}
BEND(inner_length_more)
{
	set_total(inner(p), get_total(inner(p)) + 4);
}
BEND(outer_length_less)
{
	set_total(outer(p), get_total(outer(p)) - 4);
}
BEND(outer_length_more)
{
	set_total(outer(p), get_total(outer(p)) + 4);
}
BEND(outer_length_0)
{
	put16(outer(p) + (v6_of(p) ? 4 : 2), 0);
	if (!v6_of(p))
		fix_ip(outer(p));
}
/* Lengths that agree with each other modulo 2^16 alone. */
BEND(lengths_wrap)
{
	set_total(outer(p), 10);
	put16(udp(p) + 4, 65526);
	set_total(inner(p), 65518);
}
BEND(outer_length_headers_only)
{
	set_total(outer(p), inner(p) - outer(p));
	put16(udp(p) + 4, 8);
}
BEND(inner_bad_checksum)
{
	inner(p)[10] ^= 0x80;
}
BEND(inner_ttl_damaged)
{
	inner(p)[8]++;
}
BEND(inner_ihl_short)
{
	inner(p)[0] = 0x44;
	put16(inner(p) + 10, 0);
	put16(inner(p) + 10, ~sum16(inner(p), 20, 0));
}
BEND(inner_ihl_beyond)
{
	p->len = inner(p) + 40 - p->b;
	set_total(inner(p), 40);
	fit_outer(p);
	inner(p)[0] = 0x4f;
}
BEND(inner_fragment_first)
{
	put16(inner(p) + 6, 0x2000);
	fix_ip(inner(p));
}
BEND(inner_fragment_last)
{
	put16(inner(p) + 6, 0x0003);
	fix_ip(inner(p));
}
BEND(inner_v6_extension)
{
	inner(p)[6] = 60;
}
BEND(inner_syn)
{
	inner_tcp(p)[13] = SYN;
	fix_tcp(inner(p));
}
BEND(inner_syn_ack)
{
	inner_tcp(p)[13] = SYN | ACK;
	fix_tcp(inner(p));
}
BEND(inner_udp)
{
	inner(p)[v6_of(p) ? 6 : 9] = 17;
	if (!v6_of(p))
		fix_ip(inner(p));
}
BEND(inner_icmp)
{
	inner(p)[v6_of(p) ? 6 : 9] = v6_of(p) ? 58 : 1;
	if (!v6_of(p))
		fix_ip(inner(p));
}
BEND(inner_doff_short)
{
	inner_tcp(p)[12] = 4 << 4;
	fix_tcp(inner(p));
}
BEND(inner_doff_beyond)
{
	uint32_t n = inner_tcp(p) - inner(p) + 40;

	p->len = inner(p) - p->b + n;
	set_total(inner(p), n);
	fit_outer(p);
	inner_tcp(p)[12] = 15 << 4;
	fix_tcp(inner(p));
}
BEND(two_layers)
{
	pkt_wrap(p, NULL);
}
BEND(unknown_port)
{
	put16(inner_tcp(p), 81);
	fix_tcp(inner(p));
}
BEND(unknown_local_port)
{
	put16(inner_tcp(p) + 2, 40124);
	fix_tcp(inner(p));
}
BEND(ports_swapped)
{
	put16(inner_tcp(p), get16(inner_tcp(p) + 2));
	put16(inner_tcp(p) + 2, s->sport);
	fix_tcp(inner(p));
}

#define CASE(name, counter)	       {#name, bend_##name, SHUNT_CNT_##counter, 0}
#define CASE4(name, counter)	       {#name, bend_##name, SHUNT_CNT_##counter, 4}
#define CASE6(name, counter)	       {#name, bend_##name, SHUNT_CNT_##counter, 6}

static const struct bad others[] = {
	CASE(other_port, MAX),
	CASE(port_53, MAX),
	CASE(our_port_as_source, MAX),
	CASE(not_udp, MAX),
	CASE(udplite, MAX), /* not deployed here */
	CASE(ip_in_ip, MAX),
	CASE(arp, MAX),
	CASE(unknown_ethertype, MAX),
	CASE(family_of_ethertype, MAX),
	CASE4(outer_fragment_first, MAX),
	CASE4(outer_fragment_last, MAX),
	CASE6(outer_v6_fragment, MAX),
	CASE6(outer_v6_hop_by_hop, MAX),
	CASE4(outer_options, MAX),
	CASE4(outer_ihl_short, MAX),
	CASE(outer_version, MAX),
	CASE(outer_length_more, MAX), /* than the frame has */
};

static const struct bad malformed[] = {
	CASE4(outer_bad_checksum, DECAP_MALFORMED),
	CASE4(outer_ttl_damaged, DECAP_MALFORMED),
	CASE(garbage, DECAP_MALFORMED),
	CASE(all_zero, DECAP_MALFORMED),
	CASE(nothing_inside, DECAP_MALFORMED),
	CASE(first_nibble_0, DECAP_MALFORMED),
	CASE(first_nibble_5, DECAP_MALFORMED),
	CASE(gue_variant_0, DECAP_MALFORMED),
	CASE(inner_other_family, DECAP_MALFORMED),
	CASE(inner_source, DECAP_MALFORMED),
	CASE(inner_source_first_word, DECAP_MALFORMED),
	CASE(inner_destination, DECAP_MALFORMED),
	CASE(inner_destination_middle, DECAP_MALFORMED),
	CASE(outer_source, DECAP_MALFORMED),
	CASE(inner_length_less, DECAP_MALFORMED),
	CASE(inner_length_more, DECAP_MALFORMED),
	CASE(outer_length_less, DECAP_MALFORMED),
	CASE(outer_length_headers_only, DECAP_MALFORMED),
	CASE4(inner_bad_checksum, DECAP_MALFORMED),
	CASE4(inner_ttl_damaged, DECAP_MALFORMED),
	CASE4(inner_ihl_short, DECAP_MALFORMED),
	CASE4(inner_ihl_beyond, DECAP_MALFORMED),
	CASE4(inner_fragment_first, DECAP_MALFORMED),
	CASE4(inner_fragment_last, DECAP_MALFORMED),
	CASE6(inner_v6_extension, DECAP_MALFORMED),
	CASE(inner_syn, DECAP_MALFORMED),
	CASE(inner_syn_ack, DECAP_MALFORMED),
	CASE(inner_udp, DECAP_MALFORMED),
	CASE(inner_icmp, DECAP_MALFORMED),
	CASE(inner_doff_short, DECAP_MALFORMED),
	CASE(inner_doff_beyond, DECAP_MALFORMED),
	CASE(two_layers, DECAP_MALFORMED),
};

/* Each counts as one of two: what it is short of is not for us to say. */
static const struct bad impossible[] = {
	CASE4(outer_length_0, MAX),
	CASE4(lengths_wrap, MAX),
};

static const struct bad unknown[] = {
	CASE(unknown_port, DECAP_UNKNOWN),
	CASE(unknown_local_port, DECAP_UNKNOWN),
	CASE(ports_swapped, DECAP_UNKNOWN),
};

FIXTURE(untouched)
{
	struct rig r;
	struct pkt in, out;
};

FIXTURE_VARIANT(untouched)
{
	enum rig_prog prog;
};

FIXTURE_VARIANT_ADD(untouched, xdp)
{
	.prog = RIG_XDP,
};

FIXTURE_VARIANT_ADD(untouched, tc)
{
	.prog = RIG_TC,
};

FIXTURE_VARIANT_ADD(untouched, behind_xdp)
{
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
		     enum rig_prog prog, const struct bad *cases, size_t n)
{
	static struct pkt in;
	enum shunt_counter c;
	const char *moved;

	for (size_t i = 0; i < 2 * n; i++) {
		const struct bad *b = &cases[i / 2];
		struct seg s = seg_in(i & 1);

		if (b->only && b->only != (s.v6 ? 6 : 4))
			continue;
		good_frame(&in, &s);
		b->bend(&in, &s);
		rig_mark(r);
		passes(_metadata, r, prog, &in, b->name);
		/* XDP leaves to TC what may be an accepted flow's first. */
		c = prog == RIG_XDP && b->counter == SHUNT_CNT_DECAP_UNKNOWN ?
			    SHUNT_CNT_MAX :
			    b->counter;
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

#define ALL_PASS(cases)                                                        \
	all_pass(_metadata, &self->r, variant->prog, cases, ARRAY_SIZE(cases))

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
	ALL_PASS(others);
}

TEST_F(untouched, malformed)
{
	ALL_PASS(malformed);
}

TEST_F(untouched, impossible_lengths)
{
	static struct pkt in;

	for (size_t i = 0; i < ARRAY_SIZE(impossible); i++) {
		struct seg s = seg_in(false);

		good_frame(&in, &s);
		impossible[i].bend(&in, &s);
		passes(_metadata, &self->r, variant->prog, &in,
		       impossible[i].name);
	}
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_F(untouched, unknown_flow)
{
	ALL_PASS(unknown);
}

TEST_F(untouched, vlan_behind_two_tags)
{
	struct seg s = seg_in(false);

	if (variant->prog != RIG_XDP)
		SKIP(return, "tags are metadata at TC");
	s.tags = 3;
	good_frame(&self->in, &s);
	passes(_metadata, &self->r, RIG_XDP, &self->in, "three tags");
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_MAX));
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
		EXPECT_EQ(1, rig_moved(&self->r, SHUNT_CNT_DECAP_MISMATCH));
		EXPECT_EQ(NULL, rig_other_moved(&self->r,
						SHUNT_CNT_DECAP_MISMATCH));
	}
}

TEST_F(untouched, transport_not_deployed)
{
	set_deployed(&self->r, SHUNT_UDP, false);
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
		for (int n = inner(&self->in) - self->in.b; n < whole; n++) {
			good_frame(&self->in, &s);
			self->in.len = n;
			fit_outer(&self->in);
			passes(_metadata, &self->r, variant->prog, &self->in,
			       "truncated to match");
		}
	}
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_DECAP));
}

TEST_HARNESS_MAIN
