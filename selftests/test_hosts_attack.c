// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody who is not the peer sends what a peer would, while a connection is
 * on the transport: it stays there, what it carries is what was sent, no flow
 * comes of it, and `shunt stats` says what it was. See docs/security.md.
 *
 * Forged frames are put onto the wire behind the router, which has their
 * senders' addresses, and no part in the connection's numbers.
 */
#include "bad_frames.h"
#include "harness.h"
#include "lab_proc.h"
#include "syn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 7980
#define MB   1000000L
#define KB   1000L

/* A way onto the wire towards a host. */
struct wire {
	int fd;
	uint8_t macs[12];
};

FIXTURE(attack)
{
	struct lab lab;
	int listener;
	struct lab_pair p;
	struct wire to[LAB_HOSTS];
	struct seg s[LAB_HOSTS]; /* of p, as that host receives it */
	uint64_t random;
};

FIXTURE_VARIANT(attack)
{
	const char *ingress;
	int domain;
};

FIXTURE_VARIANT_ADD(attack, xdp_ipv4){.ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(attack, tc_ipv6){.ingress = "tc", .domain = AF_INET6};

/* A packet socket on the router's device to that host. */
static int open_wire(struct lab *lab, enum lab_host host, struct wire *w)
{
	const char *dev = host == CLIENT ? "rc" : "rs";
	struct sockaddr_ll ll = {.sll_family = AF_PACKET};
	struct ifreq router = {}, peer = {};
	int fd;

	strcpy(router.ifr_name, dev);
	strcpy(peer.ifr_name, "eth0");
	if (setns(lab->ns[host], CLONE_NEWNET))
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &peer))
		return -errno;
	close(fd);
	if (setns(lab->ns[ROUTER], CLONE_NEWNET))
		return -errno;
	w->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	ll.sll_ifindex = if_nametoindex(dev);
	if (w->fd < 0 || ioctl(w->fd, SIOCGIFHWADDR, &router) ||
	    bind(w->fd, (struct sockaddr *)&ll, sizeof(ll)))
		return -errno;
	if (setns(lab->home, CLONE_NEWNET))
		abort();
	memcpy(w->macs, peer.ifr_hwaddr.sa_data, 6);
	memcpy(w->macs + 6, router.ifr_hwaddr.sa_data, 6);
	return 0;
}

static int put_on(const struct wire *w, struct pkt *p)
{
	memcpy(p->b, w->macs, 12);
	return send(w->fd, p->b, p->len, 0) == (ssize_t)p->len ? 0 : -errno;
}

static void port_and_addr(struct sockaddr_in6 *a, bool v6, uint8_t addr[16],
			  uint16_t *port)
{
	struct sockaddr_in *a4 = (void *)a;

	*port = ntohs(a->sin6_port);
	memset(addr, 0, 16);
	if (v6)
		memcpy(addr, &a->sin6_addr, 16);
	else if (a->sin6_family == AF_INET6)
		memcpy(addr, a->sin6_addr.s6_addr + 12, 4);
	else
		memcpy(addr, &a4->sin_addr, 4);
}

/* A segment to the owner of that socket, but for its numbers. */
static struct seg segment_to(int fd, bool v6)
{
	struct sockaddr_in6 local = {}, remote = {};
	socklen_t n = sizeof(local), m = sizeof(remote);
	struct seg s = seg_in(v6);

	getsockname(fd, (struct sockaddr *)&local, &n);
	getpeername(fd, (struct sockaddr *)&remote, &m);
	port_and_addr(&remote, v6, s.src, &s.sport);
	port_and_addr(&local, v6, s.dst, &s.dport);
	return s;
}

static uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 32;
}

FIXTURE_SETUP(attack)
{
	struct lab *lab = &self->lab;

	self->random = now_us();
	ASSERT_EQ(0, lab_up_both(lab, NULL, "--ingress %s", variant->ingress));
	self->listener = lab_listen(lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
	ASSERT_EQ(0,
		  lab_pair_on(lab, &self->p, variant->domain, self->listener));
	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 1, 20 * KB));
	ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 2, 20 * KB));
	ASSERT_TRUE(lab_flow(lab, CLIENT, self->p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, self->p.s, "redirected", NULL));
	ASSERT_EQ(0, open_wire(lab, CLIENT, &self->to[CLIENT]));
	ASSERT_EQ(0, open_wire(lab, SERVER, &self->to[SERVER]));
	self->s[CLIENT] = segment_to(self->p.c, variant->domain == AF_INET6);
	self->s[SERVER] = segment_to(self->p.s, variant->domain == AF_INET6);
}

FIXTURE_TEARDOWN(attack)
{
	lab_pair_close(&self->p);
	close(self->to[CLIENT].fd);
	close(self->to[SERVER].fd);
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* One of the counters that `shunt stats -j` has shown; -1: there is none. */
static long in(json_t *stats, const char *counter)
{
	json_t *value = json_object_get(stats, counter);

	return value ? json_integer_value(value) : -1;
}

/* The connection works, on the transport, and no other flow has come. */
static void is_well(struct __test_metadata *_metadata,
		    FIXTURE_DATA(attack) * self, bool never_in_doubt)
{
	struct lab *lab = &self->lab;
	struct lab_count count;

	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(self->p.c, self->p.s, 3, MB));
	EXPECT_EQ(0, stream_through(self->p.s, self->p.c, 4, MB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, self->p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, self->p.s, "redirected", NULL));
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		json_t *stats = lab_json(lab, host, "stats");

		EXPECT_EQ(1, in(stats, "flows_created"));
		EXPECT_EQ(0, in(stats, "flows_fallback"));
		if (never_in_doubt)
			EXPECT_EQ(0, in(stats, "flows_suspect"));
		json_decref(stats);
	}
	ASSERT_EQ(0, lab_count(lab, &count));
	if (never_in_doubt) {
		EXPECT_LE(MB, count.udp[TO_SERVER].bytes);
		EXPECT_LE(MB, count.udp[TO_CLIENT].bytes);
	}
}

/* ---- SYNs ---- */

/* With the four-tuple of the connection, to either end. */
TEST_F(attack, spoofed_syn)
{
	struct wish w = a_wish(OFFER);
	struct pkt p;

	for (int i = 0; i < 200; i++) {
		enum lab_host host = i % 2 ? CLIENT : SERVER;
		struct seg s = self->s[host];

		w.type = i % 4 < 2 ? OFFER : ANSWER;
		s.seq = rnd(&self->random);
		s.ack = rnd(&self->random);
		if (w.type == OFFER)
			make_syn(&s);
		else
			make_synack(&s);
		s.seq = rnd(&self->random);
		add_wish(&s, &w);
		pkt_seg(&p, &s);
		ASSERT_EQ(0, put_on(&self->to[host], &p));
	}
	EXPECT_TRUE(
		BECOMES(lab_stat(&self->lab, SERVER, "offers_received") >= 51));
	is_well(_metadata, self, true);
}

struct flood {
	struct wire *w;
	struct seg s;
	uint64_t random;
	long count;
	long took_us;
	pthread_t thread;
};

#define BATCH 50

/* From 10.128.0.0/9, or the like of fd77:1:xxxx:xxxx::2 */
static void spoofed_offer(struct flood *f, struct pkt *p)
{
	struct wish w = a_wish(OFFER);
	struct seg s = f->s;

	make_syn(&s);
	s.seq = rnd(&f->random);
	s.sport = rnd(&f->random);
	put32(s.src + (s.v6 ? 4 : 0),
	      s.v6 ? rnd(&f->random) : 0x0a800000 | rnd(&f->random) >> 9);
	w.token = rnd(&f->random);
	add_wish(&s, &w);
	pkt_seg(p, &s);
	memcpy(p->b, f->w->macs, 12);
}

/* One each 20 us, each from somebody else. */
static void *send_flood(void *arg)
{
	struct flood *f = arg;
	static struct pkt p[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH] = {};
	uint64_t start = now_us();

	for (long sent = 0; sent < f->count;) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			spoofed_offer(f, &p[i]);
			iov[i] = (struct iovec){p[i].b, p[i].len};
			msgs[i].msg_hdr.msg_iov = &iov[i];
			msgs[i].msg_hdr.msg_iovlen = 1;
		}
		n = sendmmsg(f->w->fd, msgs, BATCH, 0);
		if (n < 0 && errno != ENOBUFS)
			return (void *)1;
		sent += n > 0 ? n : 0;
		while (now_us() - start < (uint64_t)sent * 20)
			usleep(100);
	}
	f->took_us = now_us() - start;
	return NULL;
}

/* 50,000 in a second, three times what the table of handshakes holds. */
TEST_F_TIMEOUT(attack, flood_of_offers, 60)
{
	struct lab *lab = &self->lab;
	struct flood f = {.w = &self->to[SERVER],
			  .s = self->s[SERVER],
			  .random = self->random,
			  .count = size_here(50000, 2000)};
	struct lab_pair q;
	int rounds = 0;
	void *failed;

	ASSERT_EQ(0, pthread_create(&f.thread, NULL, send_flood, &f));
	while (pthread_tryjoin_np(f.thread, &failed)) {
		ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 5, 100 * KB));
		ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 6, 100 * KB));
		rounds++;
	}
	ASSERT_EQ(NULL, failed);
	fprintf(stderr, "# %ld offers per second, %d transfers meanwhile\n",
		f.count * 1000000 / f.took_us, rounds);
	EXPECT_LT(0, rounds);
	EXPECT_LT(f.count * 8 / 10, lab_stat(lab, SERVER, "offers_received"));
	/* A guest's one processor is so busy that TCP's timers run out. */
	is_well(_metadata, self, size_here(true, false));
	/* The handshakes that are noted are so many at most, and the flow. */
	EXPECT_GE(SHUNT_MAX_HANDSHAKES + 1, lab_flows(lab, SERVER, NULL));
	/* And who is honest is still served. */
	ASSERT_EQ(0, lab_pair_on(lab, &q, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(q.c, q.s, 7, 100 * KB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, q.s, "redirected", NULL));
	lab_pair_close(&q);
}

/* ---- ICMP ---- */

/* Unreachable, or too big, about a segment of the connection in its datagram,
 * whose number can only be guessed. quote: how many bytes of it. */
static void make_error(struct pkt *p, struct seg s, bool too_big,
		       uint32_t quote)
{
	uint32_t hlen = s.v6 ? 40 : 20, sum;
	struct seg about = s;
	struct pkt d;
	uint8_t *ip = p->b + ETH_LEN, *m = ip + hlen;

	/* what the receiver of s would have sent */
	memcpy(about.src, s.dst, 16);
	memcpy(about.dst, s.src, 16);
	about.sport = s.dport;
	about.dport = s.sport;
	pkt_seg(&d, &about);
	pkt_wrap(&d, NULL);
	s.options_len = 0;
	s.payload = quote - 12; /* a TCP header of 20 makes 8 + quote */
	pkt_seg(p, &s);
	ip[s.v6 ? 6 : 9] = s.v6 ? 58 : 1;
	memset(m, 0, 8);
	m[0] = s.v6 ? (too_big ? 2 : 1) : 3;
	m[1] = s.v6 ? 0 : too_big ? 4 : 3;
	if (too_big)
		put16(m + 6, s.v6 ? 1280 : 576);
	memcpy(m + 8, d.b + ETH_LEN, quote);
	if (s.v6) {
		sum = sum16(ip + 8, 32, quote + 8 + 58);
	} else {
		fix_ip(ip);
		sum = 0;
	}
	put16(m + 2, ~sum16(m, quote + 8, sum));
}

TEST_F(attack, spoofed_icmp)
{
	const bool v6 = variant->domain == AF_INET6;
	/* Up to the TCP header, and cut off in the inner IP header or behind */
	const uint32_t quotes[] = {v6 ? 128 : 80, v6 ? 56 : 36, v6 ? 92 : 52};
	struct lab *lab = &self->lab;
	struct pkt p;
	long refused = 0;

	for (int i = 0; i < 240; i++) {
		enum lab_host host = i % 2 ? CLIENT : SERVER;
		struct seg s = self->s[host];

		s.payload = 100;
		s.seq = rnd(&self->random);
		make_error(&p, s, i % 4 < 2, quotes[i % 3]);
		ASSERT_EQ(0, put_on(&self->to[host], &p));
	}
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT) {
		json_t *stats = lab_json(lab, host, "stats");

		refused += in(stats, "icmp_refused") + in(stats, "icmp_short");
		EXPECT_EQ(0, in(stats, "icmp_unreachable"));
		EXPECT_EQ(0, in(stats, "icmp_too_big"));
		json_decref(stats);
	}
	EXPECT_EQ(240, refused);
	is_well(_metadata, self, true);
}

/* ---- datagrams ---- */

static long sum_of(struct lab *lab, enum lab_host host)
{
	json_t *stats = lab_json(lab, host, "stats");
	long sum = in(stats, "decap_malformed") + in(stats, "decap_unknown") +
		   in(stats, "decap_mismatch");

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
	struct lab *lab = &self->lab;
	long before, counted = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (const struct bad *b = lists[i]; b->name; b++) {
			struct seg s = self->s[SERVER];
			struct pkt p;

			if (b->only && b->only != family)
				continue;
			s.seq = rnd(&self->random);
			pkt_seg(&p, &s);
			pkt_wrap(&p, NULL);
			b->bend(&p, &s);
			before = sum_of(lab, SERVER);
			ASSERT_EQ(0, put_on(&self->to[SERVER], &p));
			if (b->counter == SHUNT_CNT_MAX)
				continue;
			EXPECT_TRUE(BECOMES(sum_of(lab, SERVER) == before + 1))
			TH_LOG("%s", b->name);
			counted++;
		}
	}
	EXPECT_LT(25, counted);
	is_well(_metadata, self, true);
}

/* Cut off at every length that has an outer header. */
TEST_F(attack, truncated_datagrams)
{
	struct lab *lab = &self->lab;
	struct seg s = self->s[SERVER];
	struct pkt whole, p;

	s.seq = rnd(&self->random);
	pkt_seg(&whole, &s);
	pkt_wrap(&whole, NULL);
	for (uint32_t n = pkt_l4(&whole) + 8; n < whole.len; n++) {
		p = whole;
		p.len = n;
		fit_outer(&p);
		ASSERT_EQ(0, put_on(&self->to[SERVER], &p));
	}
	EXPECT_TRUE(BECOMES(lab_stat(lab, SERVER, "decap_malformed") >=
			    (long)(whole.len - pkt_l4(&whole) - 8)));
	is_well(_metadata, self, true);
}

/*
 * All is right but the numbers: data, acknowledgements, resets, ends. They are
 * what TCP has been defending itself against since RFC 5961, and reach its
 * checks as they would without shunt; none reaches the application.
 */
static void numbers_guessed(struct __test_metadata *_metadata,
			    FIXTURE_DATA(attack) * self, bool plain)
{
	static const uint8_t flags[] = {ACK | PSH, ACK, RST, RST | ACK,
					FIN | ACK};
	struct lab *lab = &self->lab;
	struct pkt p;

	for (int i = 0; i < 600; i++) {
		enum lab_host host = i % 2 ? CLIENT : SERVER;
		struct seg s = self->s[host];

		s.flags = flags[i / 2 % ARRAY_SIZE(flags)];
		s.payload = s.flags & PSH ? 100 : 0;
		s.seq = rnd(&self->random);
		s.ack = rnd(&self->random);
		pkt_seg(&p, &s);
		if (!plain)
			pkt_wrap(&p, NULL);
		ASSERT_EQ(0, put_on(&self->to[host], &p));
	}
	if (!plain)
		EXPECT_TRUE(
			BECOMES(lab_stat(lab, CLIENT, "decap_packets") > 300));
	is_well(_metadata, self, false);
	EXPECT_LT(0,
		  lab_counter(lab, SERVER, "TcpExtTCPChallengeACK") +
			  lab_counter(lab, SERVER, "TcpExtTCPACKSkippedSeq") +
			  lab_counter(lab, SERVER, "TcpExtTCPACKSkippedPAWS"));
}

TEST_F(attack, numbers_guessed_in_datagrams)
{
	numbers_guessed(_metadata, self, false);
}

TEST_F(attack, numbers_guessed_in_segments)
{
	numbers_guessed(_metadata, self, true);
}

/* Who may open a UDP socket on the client, and no more than that, can put a
 * packet into a datagram for the server: with the client's address, and again
 * without the numbers. */
TEST_F(attack, local_user)
{
	struct lab *lab = &self->lab;
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
		struct seg s = self->s[SERVER];

		s.seq = rnd(&self->random);
		s.ack = rnd(&self->random);
		s.flags = i % 2 ? ACK | PSH : RST;
		pkt_seg(&p, &s);
		/* A refusal of one of them comes back as an error. */
		send(fd, p.b + ETH_LEN, p.len - ETH_LEN, 0);
	}
	EXPECT_TRUE(
		BECOMES(lab_stat(lab, SERVER, "decap_packets") > before + 90));
	close(fd);
	is_well(_metadata, self, false);
}

LAB_HARNESS_MAIN
