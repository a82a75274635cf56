// SPDX-License-Identifier: GPL-2.0-only
/*
 * Good frames, damaged at random, through decap at XDP and at TC: what becomes
 * of each must be what the oracle says, to the byte. SHUNT_TEST_SEED repeats a
 * run, SHUNT_TEST_MUTANTS sets its length.
 */
#include <stdio.h>

#include "bad_frames.h"
#include "bpf_run.h"
#include "harness.h"
#include "oracle.h"

#define MUTANTS 200000
#define BASES	16 /* of each transport */
#define FLOWS	6  /* IPv4 and IPv6 on UDP, UDP-Lite, and that in part */
#define TOKEN	0x5ec2e7

FIXTURE(mutation)
{
	struct rig r;
	struct known known[FLOWS];
	struct pkt base[BASES * FLOWS / 2];
	struct pkt in, out, want;
	uint64_t state;
};

/* The i-th frame of a flow. */
static void make_base(struct pkt *p, const struct known *k, int i)
{
	struct seg s = k->s;
	struct outer o = {.sport = 50000, .dport = GUE_PORT, .proto = k->proto};

	s.payload = i * 37 % 300;
	s.tos = i % 5 == 4 ? 0 : s.tos;
	if (i / 2 % 3 == 1)
		s.tags = 1 + (i / 2 > 3);
	if (i / 2 % 2)
		seg_options(&s, "\1\1\10\12aaaabbbb", 12);
	if (!s.v6 && i / 2 > 4)
		s.ip_options = 8;
	if (i / 2 == 7) {
		(k->proto == UDPLITE ? pkt_probe_lite : pkt_probe)(
			p, &k->s, ASKS | ECHOS, TOKEN, 1, 2);
		return;
	}
	if (k->headers && s.payload && i / 2 != 4)
		o.coverage = 8 + (s.v6 ? 40 : 20 + s.ip_options) + 20 +
			     s.options_len;
	pkt_seg(p, &s);
	pkt_wrap(p, &o);
	if (i / 2 == 2)
		p->len += 6; /* padding */
}

FIXTURE_SETUP(mutation)
{
	ASSERT_EQ(0, rig_open(&self->r, FLOWS));
	for (int i = 0; i < FLOWS; i++) {
		struct known *k = &self->known[i];
		struct shunt_key key;
		struct shunt_flow f;

		k->s = seg_in(i & 1);
		k->s.dport += i / 2;
		k->token = TOKEN;
		k->proto = i < 2 ? 17 : UDPLITE;
		k->headers = i >= 4;
		key = key_of_receiver(&k->s);
		f = flow_live(&key);
		f.token_local = TOKEN;
		if (k->proto == UDPLITE)
			f.transport = SHUNT_UDPLITE;
		if (k->headers)
			f.flags |= SHUNT_F_HEADERS;
		ASSERT_EQ(0, flow_put(&self->r, 1 + i, &f));
	}
	for (int i = 0; i < BASES * FLOWS / 2; i++)
		make_base(&self->base[i], &self->known[i / BASES * 2 + (i & 1)],
			  i % BASES);
	self->state = env_number("SHUNT_TEST_SEED", now_mono());
}

FIXTURE_TEARDOWN(mutation)
{
	rig_close(&self->r);
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint32_t below(uint64_t *state, uint32_t n)
{
	return rnd(state) % n;
}

/* Where to hit: mostly headers, or nothing would be found out. */
static uint32_t place(uint64_t *st, const struct pkt *p)
{
	uint32_t headers = p->len < 150 ? p->len : 150;

	if (below(st, 8) && headers > 12)
		return 12 + below(st, headers - 12);
	return below(st, p->len);
}

static void mutate_once(uint64_t *st, struct pkt *p)
{
	static const uint16_t words[] = {
		0,	1,	20,   28,     40,     0x0800, 0x86dd, 0x8100,
		0x2000, 0x4000, 6080, 0x8000, 0xffff, 0x7fff, 0x5348};
	uint32_t at = place(st, p), to = place(st, p), n;
	uint8_t b;

	switch (below(st, 10)) {
	case 0:
	case 1:
	case 2:
		p->b[at] ^= 1 << below(st, 8);
		break;
	case 3:
		p->b[at] = rnd(st);
		break;
	case 4:
		if (at + 2 <= p->len)
			put16(p->b + at, words[below(st, ARRAY_SIZE(words))]);
		break;
	case 5: /* a length or checksum a little off */
		if (at + 2 <= p->len)
			put16(p->b + at, get16(p->b + at) + below(st, 9) - 4);
		break;
	case 6:
		b = p->b[at];
		p->b[at] = p->b[to];
		p->b[to] = b;
		break;
	case 7: /* truncated, anywhere or by a few bytes */
		n = below(st, below(st, 2) ? 8 : p->len - ETH_LEN + 1);
		if (p->len - n >= ETH_LEN)
			p->len -= n;
		break;
	case 8:
		n = below(st, 64);
		for (; n; n--)
			p->b[p->len++] = rnd(st);
		break;
	case 9: /* bytes taken out of the middle, or put in */
		n = 4 * (1 + below(st, 6));
		if (below(st, 2))
			pkt_insert(p, at, n);
		else if (at + n <= p->len && p->len - n >= ETH_LEN)
			pkt_cut(p, at, n);
		break;
	}
}

/* As far as what it sums is in the frame. */
static void mend_udplite(struct pkt *p, uint32_t l3, uint32_t in)
{
	uint8_t *ip = p->b + l3;
	bool v6 = ip[0] >> 4 == 6;
	uint32_t total = v6 ? 40 + get16(ip + 4) : get16(ip + 2);

	if ((v6 || ip[0] == 0x45) && total >= in - l3 && total <= p->len - l3)
		fix_udplite(ip);
}

/* Mend checksums, and now and then lengths, so that the damage gets deeper
 * than the first check. */
static void mend(uint64_t *st, struct pkt *p)
{
	uint32_t l3 = pkt_l3(p), in;
	bool v6;

	if (l3 + 88 > p->len || l3 > 22)
		return;
	v6 = p->b[l3] >> 4 == 6;
	in = l3 + (v6 ? 48 : 28);
	if (!below(st, 3)) {
		put16(p->b + l3 + (v6 ? 4 : 2), p->len - l3 - (v6 ? 40 : 0));
		if (!below(st, 4) || p->b[l3 + (v6 ? 6 : 9)] == 17)
			put16(p->b + in - 4, p->len - in + 8);
		if (below(st, 2))
			put16(p->b + in + (v6 ? 4 : 2),
			      p->len - in - (v6 ? 40 : 0));
	}
	if (!v6) {
		fix_ip(p->b + l3);
		if (below(st, 4) && in + ip_hlen(p->b + in) <= p->len)
			fix_ip(p->b + in);
	}
	if (p->b[l3 + (v6 ? 6 : 9)] == UDPLITE && below(st, 2))
		mend_udplite(p, l3, in);
}

static void make_mutant(uint64_t *st, const struct pkt *base, struct pkt *p)
{
	const struct pkt *from = &base[below(st, BASES * FLOWS / 2)];

	p->len = from->len;
	memcpy(p->b, from->b, from->len);
	for (int n = 1 + below(st, 4); n; n--)
		mutate_once(st, p);
	if (below(st, 3))
		mend(st, p);
}

/* Is the verdict what the frame's fate calls for, and the bytes right? */
static bool right(enum rig_prog prog, enum fate fate, int verdict,
		  const struct pkt *in, const struct pkt *out, struct pkt *want)
{
	bool passed = verdict == rig_pass(prog);

	switch (fate) {
	case FATE_PASS:
		return passed && pkt_same(in, out);
	case FATE_TAKE:
		oracle_take(in, want);
		return passed && pkt_same(want, out);
	case FATE_DROP:
		return verdict == rig_drop(prog);
	case FATE_PROBE:
		return verdict == V_TC_REDIRECT || verdict == V_TC_SHOT;
	case FATE_TAKE_OR_PASS:
		oracle_take(in, want);
		return passed && (pkt_same(in, out) || pkt_same(want, out));
	case FATE_DROP_OR_PASS:
		return verdict == rig_drop(prog) ||
		       (passed && pkt_same(in, out));
	}
	return false;
}

static void show(const struct pkt *p)
{
	for (uint32_t i = 0; i < p->len && i < 160; i++)
		fprintf(stderr, "%s%02x", i % 24 ? " " : "\n#   ", p->b[i]);
	fprintf(stderr, "\n");
}

static const char *const prog_names[] = {
	[RIG_XDP] = "XDP", [RIG_TC] = "TC", [RIG_SLOW] = "TC behind XDP"};

TEST_F_TIMEOUT(mutation, nothing_wrong_is_accepted, 300)
{
	static const enum rig_prog progs[] = {RIG_XDP, RIG_TC};
	uint64_t n = env_number("SHUNT_TEST_MUTANTS", MUTANTS);
	uint64_t seen[2][6] = {}, ran = 0, i, start;
	int bad = 0;

	fprintf(stderr, "# NOTE SHUNT_TEST_SEED=%#llx repeats this\n",
		(unsigned long long)self->state);
	for (i = 0; ran < n && bad < 5; i++) {
		start = self->state;
		make_mutant(&self->state, self->base, &self->in);
		for (int k = 0; k < 2; k++) {
			enum rig_prog prog = progs[k];
			enum fate fate = oracle(&self->in, prog == RIG_XDP,
						self->known, FLOWS);
			int verdict =
				rig_run(&self->r, prog, &self->in, &self->out);

			if (verdict == V_NONE) {
				/* No skb of so little: XDP has seen it. */
				ASSERT_LT(self->in.len, ETH_LEN + 40);
				continue;
			}
			ran += k;
			seen[k][fate]++;
			if (right(prog, fate, verdict, &self->in, &self->out,
				  &self->want))
				continue;
			bad++;
			EXPECT_TRUE(false)
			{
				TH_LOG("mutant %llu (state %#llx) at %s: "
				       "should %s, verdict %d, %s",
				       (unsigned long long)i,
				       (unsigned long long)start,
				       prog_names[prog], fate_name(fate),
				       verdict,
				       pkt_same(&self->in, &self->out)
					       ? "unchanged"
					       : "changed");
				show(&self->in);
			}
		}
	}
	for (int k = 0; k < 2; k++)
		fprintf(stderr,
			"# NOTE %s: %llu passed, %llu taken, %llu dropped, "
			"%llu probes\n",
			prog_names[progs[k]],
			(unsigned long long)seen[k][FATE_PASS],
			(unsigned long long)seen[k][FATE_TAKE],
			(unsigned long long)seen[k][FATE_DROP],
			(unsigned long long)seen[k][FATE_PROBE]);
	/* A generator that only makes rubbish would prove nothing. */
	EXPECT_LT(n / 50, seen[0][FATE_TAKE]);
	EXPECT_LT(n / 50, seen[1][FATE_TAKE]);
	EXPECT_LT(n / 4, seen[0][FATE_PASS]);
	EXPECT_LT(n / 500, seen[0][FATE_DROP]);
	EXPECT_LT(n / 1000, seen[1][FATE_PROBE]);
	EXPECT_EQ(0, bad);
}

/* The oracle and the named cases, written apart, must agree. */
TEST_F(mutation, oracle_agrees_with_the_named_frames)
{
	static const struct bad *const lists[] = {bad_others, bad_malformed,
						  bad_lengths, bad_flows};

	for (int i = 0; i < BASES * FLOWS / 2; i++) {
		bool headers = self->known[i / BASES * 2].headers;
		enum fate at_xdp =
			oracle(&self->base[i], true, self->known, FLOWS);

		EXPECT_EQ(headers || i % BASES / 2 == 7 ? FATE_PASS : FATE_TAKE,
			  at_xdp);
		if (self->base[i].b[12] == 0x81) /* a tag: not at TC */
			continue;
		EXPECT_EQ(i % BASES / 2 == 7 ? FATE_PROBE : FATE_TAKE,
			  oracle(&self->base[i], false, self->known, FLOWS));
	}
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		for (int i = 0; lists[l][i / 2].name; i++) {
			const struct bad *b = &lists[l][i / 2];
			struct seg s = seg_in(i & 1);

			if (b->only && b->only != (s.v6 ? 6 : 4))
				continue;
			pkt_seg(&self->in, &s);
			pkt_wrap(&self->in, NULL);
			b->bend(&self->in, &s);
			EXPECT_EQ(FATE_PASS,
				  oracle(&self->in, true, self->known, FLOWS))
			{
				TH_LOG("%s", b->name);
			}
		}
	}
}

RIG_HARNESS_MAIN(FLOWS)
