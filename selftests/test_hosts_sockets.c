// SPDX-License-Identifier: GPL-2.0-only
/*
 * What applications do with their sockets: on a redirected flow all of it works
 * as it does on TCP, and the flow stays redirected.
 */
#include "harness.h"
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define PORT 7000
#define MB   1000000L

FIXTURE(sockets)
{
	struct lab lab;
	struct lab_pair p; /* redirected, both ways */
};

FIXTURE_VARIANT(sockets)
{
	const char *ingress;
	int domain;
};

FIXTURE_VARIANT_ADD(sockets, xdp_ipv4){.ingress = "xdp", .domain = AF_INET};

FIXTURE_VARIANT_ADD(sockets, tc_ipv4){.ingress = "tc", .domain = AF_INET};

FIXTURE_VARIANT_ADD(sockets, tc_ipv6){.ingress = "tc", .domain = AF_INET6};

FIXTURE_SETUP(sockets)
{
	struct lab *lab = &self->lab;
	struct lab_pair *p = &self->p;
	struct lab_count count;

	/* What is in plain TCP is counted: no syncs. */
	ASSERT_EQ(0, lab_up_both(lab, NULL, "--ingress %s --strict",
				 variant->ingress));
	ASSERT_EQ(0, lab_pair(lab, p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(p->c, p->s, 1, 10));
	ASSERT_EQ(0, stream_through(p->s, p->c, 1, 10));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p->c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p->s, "redirected", NULL));
	ASSERT_EQ(0, lab_count(lab, &count));
}

FIXTURE_TEARDOWN(sockets)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Did so many bytes go by UDP since the last look, and (almost) none by TCP? */
static bool all_udp(struct lab *lab, long to_server, long to_client)
{
	struct lab_count c;

	if (!lab_count(lab, &c) && c.udp[TO_SERVER].bytes >= to_server &&
	    c.udp[TO_CLIENT].bytes >= to_client &&
	    c.tcp[TO_SERVER].bytes <= to_server / 100 + 100 &&
	    c.tcp[TO_CLIENT].bytes <= to_client / 100 + 100)
		return true;
	fprintf(stderr, "# to server udp %ld tcp %ld, to client %ld %ld\n",
		c.udp[TO_SERVER].bytes, c.tcp[TO_SERVER].bytes,
		c.udp[TO_CLIENT].bytes, c.tcp[TO_CLIENT].bytes);
	return false;
}

TEST_F(sockets, client_half_closes)
{
	int c = self->p.c, s = self->p.s;

	EXPECT_EQ(0, stream_through(c, s, 1, MB));
	ASSERT_EQ(0, shutdown(c, SHUT_WR));
	EXPECT_TRUE(stream_at_end(s));
	EXPECT_EQ(0, stream_through(s, c, 2, 2 * MB));
	ASSERT_EQ(0, shutdown(s, SHUT_WR));
	EXPECT_TRUE(stream_at_end(c));
	EXPECT_TRUE(all_udp(&self->lab, MB, 2 * MB));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, CLIENT, "closed") == 1));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, SERVER, "closed") == 1));
}

TEST_F(sockets, server_half_closes)
{
	int c = self->p.c, s = self->p.s;

	EXPECT_EQ(0, stream_through(s, c, 1, MB));
	ASSERT_EQ(0, shutdown(s, SHUT_WR));
	EXPECT_TRUE(stream_at_end(c));
	EXPECT_EQ(0, stream_through(c, s, 2, 2 * MB));
	ASSERT_EQ(0, shutdown(c, SHUT_WR));
	EXPECT_TRUE(stream_at_end(s));
	EXPECT_TRUE(all_udp(&self->lab, 2 * MB, MB));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, CLIENT, "closed") == 1));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, SERVER, "closed") == 1));
}

static int reset_by(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

TEST_F(sockets, client_resets)
{
	char byte;

	ASSERT_EQ(0, reset_by(self->p.c));
	close(self->p.c);
	EXPECT_EQ(-1, recv(self->p.s, &byte, 1, 0));
	EXPECT_EQ(ECONNRESET, errno);
	EXPECT_TRUE(all_udp(&self->lab, 40, 0));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, CLIENT, "closed") == 1));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, SERVER, "closed") == 1));
}

TEST_F(sockets, server_resets)
{
	char byte;

	ASSERT_EQ(0, reset_by(self->p.s));
	close(self->p.s);
	EXPECT_EQ(-1, recv(self->p.c, &byte, 1, 0));
	EXPECT_EQ(ECONNRESET, errno);
	EXPECT_TRUE(all_udp(&self->lab, 0, 40));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, CLIENT, "closed") == 1));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, SERVER, "closed") == 1));
}

TEST_F(sockets, server_speaks_first)
{
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair(&self->lab, &p, variant->domain, PORT + 1));
	EXPECT_EQ(0, stream_through(p.s, p.c, 1, MB));
	EXPECT_TRUE(lab_flow(&self->lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(&self->lab, SERVER, p.s, "redirected", NULL));
	EXPECT_TRUE(all_udp(&self->lab, 0, MB));
	EXPECT_EQ(0, stream_through(p.c, p.s, 2, MB));
	EXPECT_TRUE(all_udp(&self->lab, MB, 0));
	lab_pair_close(&p);
}

TEST_F(sockets, sendfile)
{
	struct stream rx = {.fd = self->p.c, .seed = 5, .to = 2 * MB};
	char path[128];
	off_t off = 0;
	int file;

	snprintf(path, sizeof(path), "%s/file", self->lab.dir);
	ASSERT_EQ(0, make_file(path, 5, 2 * MB));
	file = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, stream_start(&rx));
	while (off < 2 * MB)
		ASSERT_LT(0, sendfile(self->p.s, file, &off, 2 * MB - off));
	EXPECT_EQ(0, stream_join(&rx));
	close(file);
	EXPECT_TRUE(all_udp(&self->lab, 0, 2 * MB));
}

/* Take completions from the error queue until so many sends are done. */
static unsigned int completed(int fd, unsigned int want)
{
	struct pollfd poll_fd = {.fd = fd};
	unsigned int n = 0;

	while (n < want) {
		char control[128];
		struct msghdr msg = {.msg_control = control,
				     .msg_controllen = sizeof(control)};
		struct cmsghdr *cm;

		if (poll(&poll_fd, 1, LAB_TIMEOUT * 500) != 1)
			return n;
		if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return n;
		for (cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
			struct sock_extended_err *e = (void *)CMSG_DATA(cm);

			if (e->ee_origin == SO_EE_ORIGIN_ZEROCOPY)
				n += e->ee_data - e->ee_info + 1;
		}
	}
	return n;
}

TEST_F(sockets, zerocopy_completes)
{
	enum { SENDS = 32, SIZE = 32768 };
	struct stream rx = {.fd = self->p.c, .to = SENDS * SIZE};
	static char buf[SENDS * SIZE];
	int one = 1;

	ASSERT_EQ(0, setsockopt(self->p.s, SOL_SOCKET, SO_ZEROCOPY, &one,
				sizeof(one)));
	pattern(buf, 0, 0, sizeof(buf));
	ASSERT_EQ(0, stream_start(&rx));
	for (int i = 0; i < SENDS; i++)
		ASSERT_EQ(SIZE,
			  send(self->p.s, buf + i * SIZE, SIZE, MSG_ZEROCOPY));
	EXPECT_EQ(0, stream_join(&rx));
	EXPECT_EQ(SENDS, completed(self->p.s, SENDS));
	EXPECT_TRUE(all_udp(&self->lab, 0, SENDS * SIZE));
}

/* Edge-triggered: one wake-up that gets lost, and this stands still. */
struct end {
	int fd;
	uint64_t tx;
	uint64_t rx;
	uint64_t seed_tx;
	uint64_t seed_rx;
};

static int drive(struct end *e, uint64_t total)
{
	static char buf[16384], want[16384];
	ssize_t n;

	while (e->tx < total) {
		size_t len = total - e->tx;

		if (len > sizeof(buf))
			len = sizeof(buf);
		pattern(buf, e->seed_tx, e->tx, len);
		n = send(e->fd, buf, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return -1;
		e->tx += n;
	}
	for (;;) {
		n = recv(e->fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		pattern(want, e->seed_rx, e->rx, n);
		if (memcmp(buf, want, n))
			return -1;
		e->rx += n;
	}
}

TEST_F(sockets, epoll_edge_triggered)
{
	const uint64_t total = 8 * MB;
	struct end ends[2] = {
		{.fd = self->p.c, .seed_tx = 1, .seed_rx = 2},
		{.fd = self->p.s, .seed_tx = 2, .seed_rx = 1},
	};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	for (int i = 0; i < 2; i++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT |
						   EPOLLRDHUP | EPOLLET,
					 .data.u32 = i};

		ASSERT_EQ(0, fcntl(ends[i].fd, F_SETFL, O_NONBLOCK));
		ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, ends[i].fd, &ev));
	}
	while (ends[0].rx < total || ends[1].rx < total) {
		struct epoll_event ev[2];
		int n = epoll_wait(ep, ev, 2, LAB_TIMEOUT * 500);

		ASSERT_LT(0, n);
		for (int i = 0; i < n; i++)
			ASSERT_EQ(0, drive(&ends[ev[i].data.u32], total));
	}
	EXPECT_EQ(total, ends[0].rx);
	EXPECT_EQ(total, ends[1].rx);
	close(ep);
	EXPECT_TRUE(all_udp(&self->lab, total, total));
}

/* Variants do not matter below. */

FIXTURE(dual_stack)
{
	struct lab lab;
	int listener;
};

FIXTURE_SETUP(dual_stack)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "%s", ""));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(dual_stack)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

TEST_F(dual_stack, ipv4_client)
{
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair_on(&self->lab, &p, AF_INET, self->listener));
	EXPECT_EQ(0, stream_through(p.c, p.s, 1, MB));
	EXPECT_EQ(0, stream_through(p.s, p.c, 2, MB));
	EXPECT_TRUE(lab_flow(&self->lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(&self->lab, SERVER, p.s, "redirected", NULL));
	lab_pair_close(&p);
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, SERVER, "closed") == 1));
}

/* An AF_INET6 socket that dials an IPv4 address: ::ffff:a.b.c.d */
TEST_F(dual_stack, mapped_client)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6,
				 .sin6_port = htons(PORT)};
	int c = lab_socket(&self->lab, CLIENT, AF_INET6), s;

	a.sin6_addr.s6_addr32[2] = htonl(0xffff);
	a.sin6_addr.s6_addr32[3] = htonl(0x0a4d0202);
	ASSERT_EQ(0, connect(c, (struct sockaddr *)&a, sizeof(a)));
	s = accept(self->listener, NULL, NULL);
	ASSERT_LE(0, s);
	EXPECT_EQ(0, stream_through(c, s, 1, MB));
	EXPECT_EQ(0, stream_through(s, c, 2, MB));
	EXPECT_TRUE(lab_flow(&self->lab, CLIENT, c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(&self->lab, SERVER, s, "redirected", NULL));
	close(c);
	close(s);
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, CLIENT, "closed") == 1));
}

/* The very first connection to a peer, where nothing is proved yet, with the
 * server waiting for nobody. */
TEST_F(dual_stack, server_speaks_first)
{
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair_on(&self->lab, &p, AF_INET, self->listener));
	EXPECT_EQ(0, stream_through(p.s, p.c, 1, 5 * MB));
	EXPECT_TRUE(lab_flow(&self->lab, CLIENT, p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(&self->lab, SERVER, p.s, "redirected", NULL));
	EXPECT_EQ(0, stream_through(p.c, p.s, 2, 5 * MB));
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
