// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is on the wire, by somebody else's dissectors: tshark, over a capture at
 * the router, where every frame is whole and every checksum is filled in.
 */
#include "harness.h"
#include "lab.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7800
#define SIZE 300000L
#define DSCP 10 /* AF11 */

FIXTURE(wire)
{
	struct lab lab;
	char file[128];
};

FIXTURE_VARIANT(wire)
{
	int domain;
	const char *ip; /* the dissector of what is in UDP, and its prefix */
	const char *dscp;
	const char *proto;
};

FIXTURE_VARIANT_ADD(wire, ipv4){.domain = AF_INET,
				.ip = "ip",
				.dscp = "ip.dsfield.dscp",
				.proto = "ip.proto"};

FIXTURE_VARIANT_ADD(wire, ipv6){.domain = AF_INET6,
				.ip = "ipv6",
				.dscp = "ipv6.tclass.dscp",
				.proto = "ipv6.nxt"};

FIXTURE_SETUP(wire)
{
	ASSERT_EQ(0, lab_up(&self->lab, "--wire ''"));
	ASSERT_EQ(0, lab_shunt_both(&self->lab, "%s", ""));
	snprintf(self->file, sizeof(self->file), "%s/capture", self->lab.dir);
	ASSERT_EQ(0, lab_do(&self->lab, "capture",
			    "start %s '%s and (tcp or udp)'", self->file,
			    variant->domain == AF_INET ? "ip" : "ip6"));
}

FIXTURE_TEARDOWN(wire)
{
	EXPECT_EQ(0, lab_down(&self->lab));
}

/* How many frames of the capture a display filter shows, or -1. */
static long frames(struct lab *lab, const char *file, const char *ip,
		   const char *filter)
{
	char *text;
	long n;

	text = lab_output(lab, ROUTER,
			  "cd %s &&"
			  " { tshark -n -r %s -d udp.port==6080,%s"
			  " -o tcp.check_checksum:TRUE"
			  " -o ip.check_checksum:TRUE"
			  " -Y '%s' -T fields -e frame.number >frames 2>errors"
			  " || { cat errors >&2; false; }; } &&"
			  " wc -l <frames",
			  lab->dir, file, ip, filter);
	n = text && *text ? atol(text) : -1;
	free(text);
	return n;
}

static int mark(int fd, int domain)
{
	int tos = DSCP << 2;

	if (setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)) ||
	    (domain == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos))))
		return -errno;
	return 0;
}

/* Both ways, short and bulk, to the end. */
static void talk(struct __test_metadata *_metadata, struct lab *lab, int domain,
		 int port)
{
	int listener = lab_listen(lab, SERVER, AF_INET6, port);
	struct lab_pair p;

	ASSERT_LE(0, listener);
	ASSERT_EQ(0, mark(listener, AF_INET6)); /* what it accepts inherits */
	p.c = lab_socket(lab, CLIENT, domain);
	ASSERT_LE(0, p.c);
	ASSERT_EQ(0, mark(p.c, domain));
	ASSERT_EQ(0, lab_dial(p.c, domain, port));
	p.s = accept(listener, NULL, NULL);
	ASSERT_LE(0, p.s);
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 10));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
	ASSERT_EQ(0, stream_through(p.s, p.c, 1, SIZE));
	shutdown(p.c, SHUT_WR);
	ASSERT_TRUE(stream_at_end(p.s));
	lab_pair_close(&p);
	close(listener);
	ASSERT_TRUE(BECOMES(lab_flows(lab, CLIENT, "redirected") == 0 &&
			    lab_flows(lab, SERVER, "redirected") == 0));
}

#define FRAMES(filter) frames(&self->lab, self->file, variant->ip, filter)

TEST_F_TIMEOUT(wire, capture_at_the_router, 60)
{
	char filter[128];
	long all, probes;

	talk(_metadata, &self->lab, variant->domain, PORT);
	talk(_metadata, &self->lab, variant->domain, PORT + 1);
	ASSERT_EQ(0, lab_do(&self->lab, "capture", "stop"));

	/* Whatever is in UDP is GUE variant 1: an IP packet, no header. */
	all = FRAMES("udp.dstport == 6080");
	snprintf(filter, sizeof(filter), "udp.dstport == 6080 && %s == 253",
		 variant->proto);
	probes = FRAMES(filter);
	EXPECT_LT(4 * SIZE / 1500, all);
	EXPECT_LE(2, probes);
	EXPECT_EQ(all, probes + FRAMES("udp.dstport == 6080 && tcp"));
	EXPECT_EQ(0, FRAMES("udp && udp.dstport != 6080"));
	EXPECT_EQ(0, FRAMES("_ws.malformed"));

	/* Our option, in both halves of both handshakes, which stay TCP. */
	EXPECT_EQ(4, FRAMES("tcp.flags.syn == 1"));
	EXPECT_EQ(4, FRAMES("tcp.flags.syn == 1 && !udp && "
			    "tcp.options.experimental.exid == 0x5348"));
	EXPECT_EQ(4, FRAMES("tcp.option_kind == 254"));

	/* Checksums: TCP's and IP's are right, UDP's is not used. */
	EXPECT_EQ(0, FRAMES("tcp && !(tcp.checksum.status == 1)"));
	EXPECT_EQ(0, FRAMES("ip.checksum.status == 0"));
	EXPECT_EQ(0, FRAMES("udp && udp.checksum != 0"));

	/* Frames that fit, none of them in pieces. */
	EXPECT_EQ(0, FRAMES("frame.len > 1514"));
	EXPECT_LT(100, FRAMES("udp && frame.len > 1400"));
	EXPECT_EQ(0, FRAMES("ip.flags.mf == 1 || ip.frag_offset > 0 || "
			    "ipv6.fraghdr"));

	/* Quality of service is the flow's own, inside and outside. */
	snprintf(filter, sizeof(filter), "udp && tcp && all %s == %d",
		 variant->dscp, DSCP);
	EXPECT_EQ(all - probes, FRAMES(filter));

	/* Ports spread flows, one flow has one in each direction. */
	EXPECT_EQ(0, FRAMES("udp && udp.srcport < 49152"));
	/* Plain: handshakes, and the little before the first echo. */
	EXPECT_GE(12, FRAMES("tcp && !udp"));
}

TEST_HARNESS_MAIN
