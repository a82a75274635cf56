// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which transport a connection gets, at the host that makes it: what an offer
 * names, and which answers are taken.
 */
#include "bpf_run.h"
#include "harness.h"
#include "syn.h"

FIXTURE(offer)
{
	struct rig r;
	struct pkt in, out;
	struct seg s;
	struct shunt_key k;
	struct wish w;
};

FIXTURE_VARIANT(offer)
{
	bool v6;
};

FIXTURE_VARIANT_ADD(offer, ipv4){
	.v6 = false,
};

FIXTURE_VARIANT_ADD(offer, ipv6){
	.v6 = true,
};

FIXTURE_SETUP(offer)
{
	ASSERT_EQ(0, rig_open(&self->r, 8));
	self->s = seg_out(variant->v6);
	make_syn(&self->s);
	self->k = key_of_sender(&self->s);
}

FIXTURE_TEARDOWN(offer)
{
	rig_close(&self->r);
}

static void block(struct rig *r, const struct shunt_key *k, __u32 transport,
		  __u64 until)
{
	struct shunt_peer p = {.first_ns = 1, .blocked_until_ns = until};

	peer_put(r, k, transport, &p);
}

/* ---- the SYN that leaves ---- */

/* connect() with this policy: the SYN, and the handshake it leaves. */
static void send_syn(struct rig *r, struct seg *s, const struct shunt_wish *w,
		     struct pkt *in, struct pkt *out)
{
	struct shunt_handshake hs = {.stage = SHUNT_HS_INTENT,
				     .role = SHUNT_ROLE_ACTIVE,
				     .wish = *w,
				     .transport = w->transports[0],
				     .created_ns = now_mono()};
	struct shunt_key k = key_of_sender(s);

	hs_put(r, &k, &hs);
	s->seq += 1000;
	pkt_seg(in, s);
	rig_run(r, RIG_EGRESS, in, out);
}

#define EXPECT_OFFER(wish_, id1, id2, id3)                                \
	do {                                                              \
		struct shunt_wish w_ = wish_;                             \
		send_syn(&self->r, &self->s, &w_, &self->in, &self->out); \
		ASSERT_TRUE(find_wish(&self->out, &self->w));             \
		EXPECT_EQ(OFFER, self->w.type);                           \
		EXPECT_EQ(id1, self->w.ids[0]);                           \
		EXPECT_EQ(id2, self->w.ids[1]);                           \
		EXPECT_EQ(id3, self->w.ids[2]);                           \
		EXPECT_TRUE(tcp_good(self->out.b + ETH_LEN));             \
	} while (0)

TEST_F(offer, names_transports_in_order_of_the_policy)
{
	EXPECT_OFFER(a_policy(SHUNT_UDP, 0, 0, SHUNT_COVERAGE_FULL), ID_UDP, 0,
		     0);
	EXPECT_OFFER(a_policy(SHUNT_UDPLITE, 0, 0, SHUNT_COVERAGE_FULL),
		     ID_UDPLITE, 0, 0);
	EXPECT_OFFER(a_policy(SHUNT_UDP, SHUNT_UDPLITE, 0, SHUNT_COVERAGE_FULL),
		     ID_UDP, ID_UDPLITE, 0);
	EXPECT_OFFER(a_policy(SHUNT_UDPLITE, SHUNT_UDP, 0, SHUNT_COVERAGE_FULL),
		     ID_UDPLITE, ID_UDP, 0);
	other_put(&self->r, 8);
	EXPECT_OFFER(a_policy(SHUNT_UDPLITE, RIG_OTHER, SHUNT_UDP,
			      SHUNT_COVERAGE_FULL),
		     ID_UDPLITE, ID_RIG_OTHER, ID_UDP);
	EXPECT_EQ(5, rig_moved(&self->r, SHUNT_CNT_OFFER));
	EXPECT_EQ(NULL, rig_other_moved(&self->r, SHUNT_CNT_OFFER));
}

TEST_F(offer, says_the_coverage)
{
	EXPECT_OFFER(a_policy(SHUNT_UDPLITE, 0, 0, SHUNT_COVERAGE_FULL),
		     ID_UDPLITE, 0, 0);
	EXPECT_EQ(0, self->w.coverage);
	EXPECT_OFFER(a_policy(SHUNT_UDPLITE, 0, 0, SHUNT_COVERAGE_HEADERS),
		     ID_UDPLITE, 0, 0);
	EXPECT_EQ(1, self->w.coverage);
	EXPECT_EQ(0, self->w.path);
}

TEST_F(offer, blocked_transports_come_last)
{
	struct shunt_wish w = a_policy(SHUNT_UDPLITE, RIG_OTHER, SHUNT_UDP,
				       SHUNT_COVERAGE_FULL);
	__u64 later = now_mono() + 10 * SHUNT_NSEC;

	other_put(&self->r, 8);
	block(&self->r, &self->k, SHUNT_UDPLITE, later);
	EXPECT_OFFER(w, ID_RIG_OTHER, ID_UDP, ID_UDPLITE);
	block(&self->r, &self->k, RIG_OTHER, later);
	EXPECT_OFFER(w, ID_UDP, ID_UDPLITE, ID_RIG_OTHER);
	/* All of them: the peer may know better. */
	block(&self->r, &self->k, SHUNT_UDP, later);
	EXPECT_OFFER(w, ID_UDPLITE, ID_RIG_OTHER, ID_UDP);
	/* It was, and the time is over. */
	block(&self->r, &self->k, SHUNT_UDPLITE, now_mono() - 1);
	EXPECT_OFFER(w, ID_UDPLITE, ID_RIG_OTHER, ID_UDP);
}

TEST_F(offer, another_peers_block_does_not_count)
{
	struct shunt_key k = self->k;

	k.remote.w[3] ^= 0x01000000;
	block(&self->r, &k, SHUNT_UDPLITE, now_mono() + SHUNT_NSEC);
	EXPECT_OFFER(a_policy(SHUNT_UDPLITE, SHUNT_UDP, 0, SHUNT_COVERAGE_FULL),
		     ID_UDPLITE, ID_UDP, 0);
}

TEST_F(offer, leaves_out_what_is_not_deployed)
{
	struct shunt_wish w = a_policy(SHUNT_UDPLITE, RIG_OTHER, SHUNT_UDP,
				       SHUNT_COVERAGE_FULL);
	struct shunt_handshake hs;

	EXPECT_OFFER(w, ID_UDPLITE, ID_UDP,
		     0); /* RIG_OTHER is not known at all */
	set_deployed(&self->r, SHUNT_UDPLITE, SHUNT_ABSENT);
	EXPECT_OFFER(w, ID_UDP, 0, 0);
	set_deployed(&self->r, SHUNT_UDPLITE, SHUNT_WITHDRAWING);
	EXPECT_OFFER(w, ID_UDP, 0, 0);
	set_deployed(&self->r, SHUNT_UDP, SHUNT_ABSENT);
	rig_mark(&self->r);
	send_syn(&self->r, &self->s, &w, &self->in, &self->out);
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	hs_get(&self->r, &self->k, &hs);
	EXPECT_EQ(SHUNT_HS_BARE, hs.stage);
	EXPECT_EQ(SHUNT_REASON_NO_TRANSPORT, hs.reason);
	EXPECT_EQ(0, rig_moved(&self->r, SHUNT_CNT_OFFER));
}

/* ---- the answer that comes in ---- */

/* The client's flow after this answer to its SYN; transport 0: there is none */
static struct shunt_flow answered(struct rig *r, struct seg *syn,
				  const struct shunt_wish *mine,
				  const struct wish *w, uint8_t *reason)
{
	struct shunt_key k = key_of_sender(syn);
	struct seg s = seg_in(syn->v6);
	static struct pkt in, out;
	struct shunt_handshake hs;
	struct shunt_flow f = {};

	flow_unlink(r, &k);
	send_syn(r, syn, mine, &in, &out);
	make_synack(&s);
	add_wish(&s, w);
	s.ack = syn->seq + 1;
	pkt_seg(&in, &s);
	rig_run(r, RIG_TC, &in, &out);
	hs_get(r, &k, &hs);
	*reason = hs.reason;
	if (flow_slot(r, &k))
		flow_get(r, flow_slot(r, &k), &f);
	return f;
}

static const struct {
	const char *name;
	uint8_t mine[3];
	uint16_t answer;
	uint8_t transport;
} answers[] = {
	{"the first", {SHUNT_UDPLITE, SHUNT_UDP}, ID_UDPLITE, SHUNT_UDPLITE},
	{"the second", {SHUNT_UDPLITE, SHUNT_UDP}, ID_UDP, SHUNT_UDP},
	{"not wished for", {SHUNT_UDP}, ID_UDPLITE, 0},
	{"not wished for", {SHUNT_UDPLITE}, ID_UDP, 0},
	{"another version", {SHUNT_UDPLITE}, ID_UDPLITE + 1, 0},
	{"unknown", {SHUNT_UDPLITE, SHUNT_UDP}, 0x1234, 0},
	{"none", {SHUNT_UDPLITE, SHUNT_UDP}, 0, 0},
	{"not deployed", {SHUNT_UDPLITE, RIG_OTHER}, ID_RIG_OTHER, 0},
};

TEST_F(offer, answer_must_be_one_of_our_wishes)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		const uint8_t *m = answers[i].mine;
		struct shunt_wish mine =
			a_policy(m[0], m[1], m[2], SHUNT_COVERAGE_FULL);
		struct wish w = a_wish(ANSWER);
		struct shunt_flow f;
		uint8_t reason;

		w.ids[0] = answers[i].answer;
		f = answered(&self->r, &self->s, &mine, &w, &reason);
		EXPECT_EQ(answers[i].transport, f.transport)
		{
			TH_LOG("%s", answers[i].name);
		}
		EXPECT_EQ(f.transport ? 0 : SHUNT_REASON_REFUSED, reason);
		/* Of the two, one can be segmented by the kernel. */
		EXPECT_EQ(f.transport == SHUNT_UDPLITE,
			  !!(f.flags & SHUNT_F_NO_GSO));
	}
}

/* Withdrawn between our SYN and the answer. */
TEST_F(offer, answer_to_what_is_gone_by_now)
{
	struct shunt_wish mine =
		a_policy(SHUNT_UDPLITE, 0, 0, SHUNT_COVERAGE_FULL);
	struct shunt_key k = key_of_sender(&self->s);
	struct wish w = a_wish(ANSWER);
	struct seg s = seg_in(variant->v6);

	send_syn(&self->r, &self->s, &mine, &self->in, &self->out);
	set_deployed(&self->r, SHUNT_UDPLITE, SHUNT_ABSENT);
	w.ids[0] = ID_UDPLITE;
	make_synack(&s);
	add_wish(&s, &w);
	s.ack = self->s.seq + 1;
	pkt_seg(&self->in, &s);
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_EQ(0, flow_slot(&self->r, &k));
}

TEST_F(offer, coverage_that_a_client_agrees_to)
{
	for (int i = 0; i < 4; i++) {
		bool mine = i & 1, theirs = i & 2;
		struct shunt_wish m = a_policy(SHUNT_UDPLITE, 0, 0, mine);
		struct wish w = a_wish(ANSWER);
		struct shunt_flow f;
		uint8_t reason;

		w.ids[0] = ID_UDPLITE;
		w.coverage = theirs;
		f = answered(&self->r, &self->s, &m, &w, &reason);
		EXPECT_EQ(SHUNT_UDPLITE, f.transport);
		EXPECT_EQ(mine && theirs, !!(f.flags & SHUNT_F_HEADERS));
	}
}

/* ---- the path ---- */

/* The path that is offered and the one that is had for it. A client offers the
 * message path if its proxy is up, and takes no other than it has offered. */
TEST_F(offer, path_that_a_client_agrees_to)
{
	for (int i = 0; i < 16; i++) {
		bool wish = i & 1, up = i & 2, offered = wish && up;
		struct shunt_wish m =
			a_policy(SHUNT_UDP, 0, 0, SHUNT_COVERAGE_FULL);
		struct wish w = a_wish(ANSWER);
		struct shunt_flow f;
		uint8_t reason;

		m.path = wish ? SHUNT_PATH_MESSAGE : SHUNT_PATH_SEGMENT;
		proxy_put(&self->r, up);
		w.path = i >> 2; /* 2 and 3 don't exist */
		f = answered(&self->r, &self->s, &m, &w, &reason);
		find_wish(&self->out, &self->w);
		if (w.path == 0 || (w.path == 1 && offered)) {
			EXPECT_EQ(SHUNT_UDP, f.transport);
			EXPECT_EQ(w.path, f.path);
		} else {
			EXPECT_EQ(0, f.transport);
			EXPECT_EQ(SHUNT_REASON_REFUSED, reason);
		}
		send_syn(&self->r, &self->s, &m, &self->in, &self->out);
		ASSERT_TRUE(find_wish(&self->out, &self->w));
		EXPECT_EQ(offered, self->w.path);
	}
}

/* A server agrees to the message path if its proxy is up, whatever its policy
 * says. */
TEST_F(offer, path_that_a_server_agrees_to)
{
	for (int i = 0; i < 8; i++) {
		bool up = i & 1;
		struct seg syn = seg_in(variant->v6), sa = self->s;
		struct shunt_handshake hs;
		struct wish w = a_wish(OFFER);

		proxy_put(&self->r, up);
		w.path = i >> 1;
		make_syn(&syn);
		syn.seq += 100 * (i + 1);
		add_wish(&syn, &w);
		pkt_seg(&self->in, &syn);
		rig_run(&self->r, RIG_TC, &self->in, NULL);
		ASSERT_EQ(0, hs_get(&self->r, &self->k, &hs));
		EXPECT_EQ(up && w.path == 1, hs.path);
		sa.options_len = 0;
		make_synack(&sa);
		sa.seq += 100 * (i + 1);
		sa.ack = syn.seq + 1;
		pkt_seg(&self->in, &sa);
		rig_run(&self->r, RIG_EGRESS, &self->in, &self->out);
		ASSERT_TRUE(find_wish(&self->out, &self->w));
		EXPECT_EQ(ANSWER, self->w.type);
		EXPECT_EQ(up && w.path == 1, self->w.path);
	}
}

/* The proxies' own connections are left alone. */
TEST_F(offer, control_connections_get_none)
{
	struct seg syn = seg_in(variant->v6);
	struct wish w = a_wish(OFFER);
	struct shunt_handshake hs;
	struct shunt_key k;

	syn.dport = GUE_PORT;
	make_syn(&syn);
	add_wish(&syn, &w);
	k = key_of_receiver(&syn);
	pkt_seg(&self->in, &syn);
	EXPECT_EQ(V_TC_PASS, rig_run(&self->r, RIG_TC, &self->in, &self->out));
	EXPECT_TRUE(pkt_same(&self->in, &self->out));
	EXPECT_NE(0, hs_get(&self->r, &k, &hs));
}

RIG_HARNESS_MAIN(8)
