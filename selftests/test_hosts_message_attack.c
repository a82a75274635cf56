// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path between hosts, and somebody on the router or a user of a
 * host who is not meant to have a say: forged frames, and control connections
 * from where no proxy is. The connection that is there goes on, and nothing of
 * it is delivered. What a proxy makes of single bits is test_message_fuzz.c's.
 */
#include "harness.h"
#include "lab_message.h"

#include <shunt/message.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PORT	   7640
#define CLIENT_IP  "10.77.1.2"
#define SERVER_IP  "10.77.2.2"
#define KB	   1000L
#define FRAMES	   20000
#define A_RESERVED 700

FIXTURE(attack)
{
	struct lab lab;
	struct lab_pair p;
	struct shunt_proxy was[LAB_HOSTS];
	uint64_t random;
	long refused, delivered;
};

FIXTURE_SETUP(attack)
{
	struct lab *lab = &self->lab;

	self->random = now_us();
	ASSERT_EQ(0, lab_message_up(lab, NULL, "%s", ""));
	ASSERT_EQ(0, lab_pair(lab, &self->p, AF_INET, PORT));
	ASSERT_TRUE(lab_promoted(lab, &self->p));
	lab_proxies(lab, self->was);
	self->refused = lab_proxy_stat(lab, SERVER, "refused");
	self->delivered = lab_proxy_stat(lab, SERVER, "bytes_rx");
}

FIXTURE_TEARDOWN(attack)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The connection goes on where it was, and had nothing put into it. */
static void is_well(struct __test_metadata *_metadata,
		    FIXTURE_DATA(attack) * self)
{
	struct lab *lab = &self->lab;
	long up = lab_proxy_stat(lab, CLIENT, "bytes_tx");

	EXPECT_EQ(self->delivered, lab_proxy_stat(lab, SERVER, "bytes_rx"));
	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 3, 300 * KB));
	ASSERT_EQ(0, stream_through(self->p.s, self->p.c, 4, 300 * KB));
	EXPECT_EQ(up + 300 * KB, lab_proxy_stat(lab, CLIENT, "bytes_tx"));
	EXPECT_TRUE(lab_undisturbed(lab, self->was));
}

static uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 32;
}

/* What is on the wire, but for the IP header. */
struct forged {
	__be16 sport, dport, length, check;
	struct shunt_frame f;
	char payload[100];
} __attribute__((packed));

/* Good but for token and base, and the stream's number is soon guessed: one
 * byte in eight is anything else. */
static void forge(uint64_t *random, struct forged *d)
{
	*d = (struct forged){.sport = htons(SHUNT_PORT),
			     .dport = htons(SHUNT_PORT),
			     .length = htons(sizeof(*d)),
			     .f = {.type = SHUNT_FRAME_DATA,
				   .length = htons(sizeof(d->payload)),
				   .stream = htonl(1 + rnd(random) % 8),
				   .token = rnd(random),
				   .base = rnd(random),
				   .offset = htobe64(rnd(random) % 1000)}};
	if (rnd(random) % 2)
		((char *)&d->f)[rnd(random) % sizeof(d->f)] = rnd(random);
}

/* From the router, with the source address of the peer, or of another host. */
static void send_forged(struct __test_metadata *_metadata,
			FIXTURE_DATA(attack) * self, const char *from)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct {
		uint8_t version, tos;
		uint16_t total, id, fragment;
		uint8_t ttl, protocol;
		uint16_t check;
		struct in_addr from, to;
		struct forged d;
	} __attribute__((packed))
	p = {.version = 0x45, .ttl = 64, .protocol = IPPROTO_UDP};
	int fd;

	ASSERT_EQ(0, setns(self->lab.ns[ROUTER], CLONE_NEWNET));
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	ASSERT_EQ(0, setns(self->lab.home, CLONE_NEWNET));
	ASSERT_LE(0, fd);
	inet_pton(AF_INET, from, &p.from);
	inet_pton(AF_INET, SERVER_IP, &p.to);
	to.sin_addr = p.to;
	for (int i = 0; i < size_here(FRAMES, FRAMES / 10); i++) {
		forge(&self->random, &p.d);
		ASSERT_EQ(sizeof(p),
			  sendto(fd, &p, sizeof(p), 0, (struct sockaddr *)&to,
				 sizeof(to)));
	}
	close(fd);
}

TEST_F_TIMEOUT(attack, frames_in_the_name_of_the_peer, 60)
{
	long sent = size_here(FRAMES, FRAMES / 10);

	lab_spoil(&self->lab); /* it may go on refusing them in the next test */
	send_forged(_metadata, self, CLIENT_IP);
	/* A byte may make a segment of it, for the stack to refuse; and a
	 * socket may be full. */
	EXPECT_TRUE(BECOMES(lab_proxy_stat(&self->lab, SERVER, "refused") >
			    self->refused + sent / 2));
	is_well(_metadata, self);
}

TEST_F(attack, frames_of_another_host)
{
	send_forged(_metadata, self, "10.77.1.77");
	EXPECT_EQ(self->refused, lab_proxy_stat(&self->lab, SERVER, "refused"));
	is_well(_metadata, self);
}

/* ---- control connections ---- */

/* From a host to the server's proxy; port 0: any. */
static int dial(struct lab *lab, enum lab_host host, int port)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_port = htons(port)};
	int fd = lab_socket(lab, host, AF_INET);

	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
	    lab_dial(fd, AF_INET, SHUNT_PORT))
		return -errno;
	return fd;
}

/* Is it closed, and is that counted? What was said of it is not looked at. */
static void is_refused(struct __test_metadata *_metadata,
		       FIXTURE_DATA(attack) * self, int fd)
{
	char greeting[100];
	ssize_t n;

	ASSERT_LE(0, fd);
	do
		n = recv(fd, greeting, sizeof(greeting), 0);
	while (n > 0);
	EXPECT_TRUE(n == 0 || errno == ECONNRESET);
	EXPECT_TRUE(BECOMES(lab_proxy_stat(&self->lab, SERVER, "refused") >
			    self->refused));
	close(fd);
}

/* The router has no connection with the server: as good as no proxy. */
TEST_F(attack, control_from_a_host_without_an_offer)
{
	is_refused(_metadata, self, dial(&self->lab, ROUTER, A_RESERVED));
	is_well(_metadata, self);
}

/* A user of the client could speak for its proxy, but for the port. */
TEST_F(attack, control_from_a_local_user)
{
	int fd = dial(&self->lab, CLIENT, 0);
	/* length, HELLO, magic, version, another instance */
	static const unsigned char hello[28] = {0,   28,  1, 0, 0, 0,	0,
						0,   0,	  0, 0, 0, 's', 'h',
						'p', 't', 0, 1, 0, 0,	1};

	ASSERT_LE(0, fd);
	send(fd, hello, sizeof(hello), MSG_NOSIGNAL);
	is_refused(_metadata, self, fd);
	is_well(_metadata, self);
}

/* From the right place, but nothing that a proxy says. */
TEST_F(attack, rubbish_on_a_control_connection)
{
	unsigned char rubbish[3000];

	for (int i = 0; i < 10; i++) {
		int fd = dial(&self->lab, CLIENT, A_RESERVED + i);

		ASSERT_LE(0, fd);
		for (size_t k = 0; k < sizeof(rubbish); k++)
			rubbish[k] = rnd(&self->random);
		rubbish[0] |= 0x80; /* longer than any message */
		send(fd, rubbish, sizeof(rubbish), MSG_NOSIGNAL);
		is_refused(_metadata, self, fd);
		self->refused = lab_proxy_stat(&self->lab, SERVER, "refused");
	}
	is_well(_metadata, self);
}

LAB_HARNESS_MAIN
