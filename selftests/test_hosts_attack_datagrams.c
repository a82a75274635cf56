// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forged datagrams and segments of a live connection: see attack.h.
 */
#include "attack_fixture.h"
#include "bad_frames.h"
#include "lab_proc.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

/* ---- datagrams ---- */

static long sum_of(struct lab *lab, enum lab_host host)
{
	json_t *stats = lab_json(lab, host, "stats");
	long sum = attack_stat(stats, "decap_malformed") +
		   attack_stat(stats, "decap_unknown") +
		   attack_stat(stats, "decap_mismatch");

	json_decref(stats);
	return sum;
}

/* Not negotiated, other addresses inside, not TCP, nested, fragments, wrong
 * lengths, cut off: every frame of bad_frames.c, to a host with a real flow. */
TEST_F(attack, wrong_datagrams)
{
	static const struct bad *const lists[] = {bad_malformed, bad_lengths,
						  bad_flows, bad_others};
	const int family = variant->domain == AF_INET ? 4 : 6;
	struct lab *lab = &self->a.lab;
	long before, counted = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (const struct bad *b = lists[i]; b->name; b++) {
			struct seg s = self->a.s[SERVER];
			struct pkt p;

			if (b->only && b->only != family)
				continue;
			s.seq = attack_random(&self->a.random);
			pkt_seg(&p, &s);
			pkt_wrap(&p, NULL);
			b->bend(&p, &s);
			before = sum_of(lab, SERVER);
			ASSERT_EQ(0, attack_put_on(&self->a.to[SERVER], &p));
			if (b->counter == SHUNT_CNT_MAX)
				continue;
			EXPECT_TRUE(BECOMES(sum_of(lab, SERVER) == before + 1))
			TH_LOG("%s", b->name);
			counted++;
		}
	}
	EXPECT_LT(25, counted);
	is_well(_metadata, &self->a, true);
}

/* All is right but the transport, which is deployed, and another flow's. */
TEST_F(attack, another_transport)
{
	const struct outer lite = {
		.sport = FLOW_PORT, .dport = GUE_PORT, .proto = UDPLITE};
	struct lab *lab = &self->a.lab;

	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		long before = lab_stat(lab, host, "decap_mismatch");
		long opened = lab_stat(lab, host, "decap_packets");

		for (int i = 0; i < 10; i++) {
			struct seg s = self->a.s[host];
			struct pkt p;

			s.seq = attack_random(&self->a.random);
			pkt_seg(&p, &s);
			pkt_wrap(&p, &lite);
			ASSERT_EQ(0, attack_put_on(&self->a.to[host], &p));
		}
		EXPECT_TRUE(BECOMES(lab_stat(lab, host, "decap_mismatch") ==
				    before + 10));
		EXPECT_EQ(opened, lab_stat(lab, host, "decap_packets"));
	}
	is_well(_metadata, &self->a, true);
}

/* Cut off at every length that has an outer header. */
TEST_F(attack, truncated_datagrams)
{
	struct lab *lab = &self->a.lab;
	struct seg s = self->a.s[SERVER];
	struct pkt whole, p;

	s.seq = attack_random(&self->a.random);
	pkt_seg(&whole, &s);
	pkt_wrap(&whole, NULL);
	for (uint32_t n = pkt_l4(&whole) + 8; n < whole.len; n++) {
		p = whole;
		p.len = n;
		fit_outer(&p);
		ASSERT_EQ(0, attack_put_on(&self->a.to[SERVER], &p));
	}
	EXPECT_TRUE(BECOMES(lab_stat(lab, SERVER, "decap_malformed") >=
			    (long)(whole.len - pkt_l4(&whole) - 8)));
	is_well(_metadata, &self->a, true);
}

/*
 * All is right but the numbers: data, acknowledgements, resets, ends. They are
 * what TCP has been defending itself against since RFC 5961, and reach its
 * checks as they would without shunt; none reaches the application.
 */
static void numbers_guessed(struct __test_metadata *_metadata, struct attack *a,
			    bool plain)
{
	static const uint8_t flags[] = {ACK | PSH, ACK, RST, RST | ACK,
					FIN | ACK};
	struct lab *lab = &a->lab;
	struct pkt p;

	for (int i = 0; i < 600; i++) {
		enum lab_host host = i % 2 ? CLIENT : SERVER;
		struct seg s = a->s[host];

		s.flags = flags[i / 2 % ARRAY_SIZE(flags)];
		s.payload = s.flags & PSH ? 100 : 0;
		s.seq = attack_random(&a->random);
		s.ack = attack_random(&a->random);
		pkt_seg(&p, &s);
		if (!plain)
			pkt_wrap(&p, NULL);
		ASSERT_EQ(0, attack_put_on(&a->to[host], &p));
	}
	if (!plain)
		EXPECT_TRUE(
			BECOMES(lab_stat(lab, CLIENT, "decap_packets") > 300));
	is_well(_metadata, a, false);
	EXPECT_LT(0,
		  lab_counter(lab, SERVER, "TcpExtTCPChallengeACK") +
			  lab_counter(lab, SERVER, "TcpExtTCPACKSkippedSeq") +
			  lab_counter(lab, SERVER, "TcpExtTCPACKSkippedPAWS"));
}

TEST_F(attack, numbers_guessed_in_datagrams)
{
	numbers_guessed(_metadata, &self->a, false);
}

TEST_F(attack, numbers_guessed_in_segments)
{
	numbers_guessed(_metadata, &self->a, true);
}

/* Who may open a UDP socket on the client, and no more than that, can put a
 * packet into a datagram for the server: with the client's address, and again
 * without the numbers. */
TEST_F(attack, local_user)
{
	struct lab *lab = &self->a.lab;
	struct sockaddr_in6 to = {.sin6_family = AF_INET6,
				  .sin6_port = htons(GUE_PORT)};
	struct sockaddr_in *to4 = (void *)&to;
	bool v6 = variant->domain == AF_INET6;
	int fd = lab_datagram(lab, CLIENT, variant->domain, 0), one = 1;
	long before = lab_stat(lab, SERVER, "decap_packets");
	struct pkt p;

	ASSERT_LE(0, fd);
	if (v6)
		inet_pton(AF_INET6, "fd77:2::2", &to.sin6_addr);
	else
		*to4 = (struct sockaddr_in){.sin_family = AF_INET,
					    .sin_port = htons(GUE_PORT),
					    .sin_addr.s_addr =
						    htonl(0x0a4d0202)};
	ASSERT_EQ(0, setsockopt(fd, v6 ? IPPROTO_UDP : SOL_SOCKET,
				v6 ? 101 /* UDP_NO_CHECK6_TX */ : SO_NO_CHECK,
				&one, sizeof(one)));
	ASSERT_EQ(0, connect(fd, (struct sockaddr *)&to,
			     v6 ? sizeof(to) : sizeof(*to4)));
	for (int i = 0; i < 100; i++) {
		struct seg s = self->a.s[SERVER];

		s.seq = attack_random(&self->a.random);
		s.ack = attack_random(&self->a.random);
		s.flags = i % 2 ? ACK | PSH : RST;
		pkt_seg(&p, &s);
		/* A refusal of one of them comes back as an error. */
		send(fd, p.b + ETH_LEN, p.len - ETH_LEN, 0);
	}
	EXPECT_TRUE(
		BECOMES(lab_stat(lab, SERVER, "decap_packets") > before + 90));
	close(fd);
	is_well(_metadata, &self->a, false);
}

LAB_HARNESS_MAIN
