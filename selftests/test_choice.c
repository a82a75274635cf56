// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which transport a connection gets, at the host that accepts it: what is
 * chosen from an offer, and what its answer and its TCP are told.
 */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

FIXTURE(choice)
{
	struct rig r;
	struct seg s; /* the SYN that comes in */
};

FIXTURE_VARIANT(choice)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(choice, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(choice, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(choice)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	self->s = seg_in(variant->v6);
	make_syn(&self->s);
}

FIXTURE_TEARDOWN(choice)
{
	rig_close(&self->r);
}

/* Another version of a transport is another id (docs/wire-format.md). */
static void set_id(struct rig *r, __u32 number, uint16_t id)
{
	struct shunt_transport t;

	transport_get(r, number, &t);
	put16((uint8_t *)&t.id, id);
	transport_put(r, number, &t);
}

struct heard {
	uint8_t transport; /* 0: the offer is left unanswered */
	uint8_t coverage;
	uint16_t mss;
	struct wish answer;
};

/* A server of this policy gets that offer, and its SYN-ACK leaves. */
static struct heard serve(struct rig *r, struct seg s,
			  const struct shunt_wish *mine, const struct wish *w)
{
	struct shunt_settings settings = get_settings(r);
	struct shunt_key k = key_of_receiver(&s);
	struct seg back = seg_out(s.v6);
	static struct pkt in, out;
	struct shunt_handshake hs;
	struct heard h = {};

	settings.wish = *mine;
	set_settings(r, &settings);
	hs_delete(r, &k);
	add_wish(&s, w);
	pkt_seg(&in, &s);
	rig_run(r, RIG_TC, &in, &out);
	h.mss = mss_of(&out);
	if (!tcp_good(out.b + ETH_LEN) || hs_get(r, &k, &hs))
		return h;
	h.transport = hs.transport;
	h.coverage = hs.coverage;
	make_synack(&back);
	back.ack = s.seq + 1;
	pkt_seg(&in, &back);
	rig_run(r, RIG_EGRESS, &in, &out);
	if (!find_wish(&out, &h.answer))
		memset(&h, 0, sizeof(h));
	return h;
}

static const struct {
	const char *name;
	uint8_t mine[3];
	uint16_t theirs[3];
	uint8_t chosen;
} choices[] = {
	{"the client's order",
	 {SHUNT_UDP, SHUNT_UDPLITE},
	 {ID_UDPLITE, ID_UDP},
	 SHUNT_UDPLITE},
	{"the client's order",
	 {SHUNT_UDPLITE, SHUNT_UDP},
	 {ID_UDP, ID_UDPLITE},
	 SHUNT_UDP},
	{"what the server has not",
	 {SHUNT_UDP},
	 {ID_UDPLITE, ID_UDP},
	 SHUNT_UDP},
	{"what the client has not",
	 {SHUNT_UDPLITE, SHUNT_UDP},
	 {ID_UDP},
	 SHUNT_UDP},
	{"strange ids before",
	 {SHUNT_UDPLITE, SHUNT_UDP},
	 {0x1111, 0x2222, ID_UDP},
	 SHUNT_UDP},
	{"another version",
	 {SHUNT_UDPLITE, SHUNT_UDP},
	 {ID_UDPLITE + 1, ID_UDP},
	 SHUNT_UDP},
	{"last of both",
	 {RIG_OTHER, SHUNT_UDPLITE, SHUNT_UDP},
	 {0x1111, 0x2222, ID_UDP},
	 SHUNT_UDP},
	{"a hole in the list", {SHUNT_UDP}, {0, ID_UDP}, SHUNT_UDP},
	{"nothing in common", {SHUNT_UDP}, {ID_UDPLITE}, 0},
	{"nothing of ours", {0}, {ID_UDPLITE, ID_UDP}, 0},
	{"nothing of theirs", {SHUNT_UDP, SHUNT_UDPLITE}, {0}, 0},
	{"not deployed here", {RIG_OTHER}, {ID_RIG_OTHER}, 0},
};

TEST_F(choice, first_of_the_client_that_the_server_has)
{
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		const uint8_t *m = choices[i].mine;
		struct shunt_wish mine =
			a_policy(m[0], m[1], m[2], SHUNT_COVERAGE_FULL);
		struct wish w = a_wish(OFFER);
		struct heard h;

		memcpy(w.ids, choices[i].theirs, sizeof(w.ids));
		self->s.seq += 77;
		h = serve(&self->r, self->s, &mine, &w);
		EXPECT_EQ(choices[i].chosen, h.transport)
		{
			TH_LOG("%s", choices[i].name);
		}
		/* The answer names the one, and a TCP that goes on alone is
		 * told nothing. */
		EXPECT_EQ(!h.transport		     ? 0
			  : h.transport == SHUNT_UDP ? ID_UDP
						     : ID_UDPLITE,
			  h.answer.ids[0]);
		EXPECT_EQ(0, h.answer.ids[1]);
		EXPECT_EQ(0, h.answer.ids[2]);
		EXPECT_EQ(h.transport ? ANSWER : 0, h.answer.type);
		EXPECT_EQ(h.transport ? 1460 - (variant->v6 ? 48 : 28) : 1460,
			  h.mss);
	}
}

TEST_F(choice, versions_of_the_server_differ)
{
	struct shunt_wish mine =
		a_policy(SHUNT_UDPLITE, SHUNT_UDP, 0, SHUNT_COVERAGE_FULL);
	struct wish w = a_wish(OFFER);
	struct heard h;

	w.ids[0] = ID_UDPLITE;
	w.ids[1] = ID_UDP;
	set_id(&self->r, SHUNT_UDPLITE, ID_UDPLITE + 1);
	h = serve(&self->r, self->s, &mine, &w);
	EXPECT_EQ(SHUNT_UDP, h.transport);
	EXPECT_EQ(ID_UDP, h.answer.ids[0]);
}

TEST_F(choice, mss_leaves_room_for_the_header_of_the_chosen)
{
	static const uint8_t lens[] = {4, 8, 24, 32};
	struct shunt_wish mine =
		a_policy(RIG_OTHER, SHUNT_UDP, 0, SHUNT_COVERAGE_FULL);
	struct wish w = a_wish(OFFER);
	struct heard h;

	w.ids[0] = ID_RIG_OTHER;
	w.ids[1] = ID_UDP;
	for (size_t i = 0; i < sizeof(lens); i++) {
		other_put(&self->r, lens[i]);
		self->s.seq += 77;
		h = serve(&self->r, self->s, &mine, &w);
		EXPECT_EQ(RIG_OTHER, h.transport);
		EXPECT_EQ(1460 - lens[i] - (variant->v6 ? 40 : 20), h.mss);
	}
}

/* By both policies, and by a transport that can. */
TEST_F(choice, coverage_that_a_server_agrees_to)
{
	for (int i = 0; i < 8; i++) {
		bool mine = i & 1, theirs = i & 2, can = i & 4;
		struct shunt_wish m =
			a_policy(can ? SHUNT_UDPLITE : SHUNT_UDP, 0, 0, mine);
		struct wish w = a_wish(OFFER);
		struct heard h;

		w.ids[0] = can ? ID_UDPLITE : ID_UDP;
		w.coverage = theirs;
		self->s.seq += 77;
		h = serve(&self->r, self->s, &m, &w);
		EXPECT_NE(0, h.transport);
		EXPECT_EQ(mine && theirs && can, h.coverage);
		EXPECT_EQ(mine && theirs && can, h.answer.coverage);
	}
}

/* Only 0 and 1 mean something: any other is no consent. */
TEST_F(choice, coverage_of_a_stranger_is_full)
{
	struct shunt_wish m =
		a_policy(SHUNT_UDPLITE, 0, 0, SHUNT_COVERAGE_HEADERS);
	struct wish w = a_wish(OFFER);
	struct heard h;

	w.ids[0] = ID_UDPLITE;
	for (w.coverage = 2; w.coverage < 16; w.coverage++) {
		self->s.seq += 77;
		h = serve(&self->r, self->s, &m, &w);
		EXPECT_EQ(SHUNT_UDPLITE, h.transport);
		EXPECT_EQ(SHUNT_COVERAGE_FULL, h.coverage);
		EXPECT_EQ(SHUNT_COVERAGE_FULL, h.answer.coverage);
	}
}

RIG_HARNESS_MAIN(8)
