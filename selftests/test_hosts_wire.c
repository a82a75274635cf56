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
#include <string.h>
#include <sys/socket.h>

#define PORT 7800
#define SIZE size_here(300000L, 100000L)
#define DSCP 10 /* AF11; the filters have it, too */

FIXTURE(wire)
{
	struct lab lab;
	char file[128];
};

/* One capture has both: tshark takes a guest longer to start than to read. */
enum { IPV4, IPV6, FAMILIES };

static const struct {
	int domain;
	const char *is; /* its frames */
	const char *dscp;
	const char *probe;
} families[FAMILIES] = {
	[IPV4] = {AF_INET, "ip", "all ip.dsfield.dscp == 10",
		  "ip.proto == 253"},
	[IPV6] = {AF_INET6, "ipv6", "all ipv6.tclass.dscp == 10",
		  "ipv6.nxt == 253"},
};

FIXTURE_SETUP(wire)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, "--wire ''", "--strict"));
	snprintf(self->file, sizeof(self->file), "%s/capture", self->lab.dir);
	ASSERT_EQ(0, lab_do(&self->lab, "capture", "start %s 'tcp or udp'",
			    self->file));
}

FIXTURE_TEARDOWN(wire)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Display filters. PROBES and MARKED: and what the family has. */
enum {
	ALL,
	PROBES,
	SEGMENTS,
	OTHER_UDP,
	MALFORMED,
	SYNS,
	SYNS_WITH_OURS,
	WITH_254,
	BAD_TCP_SUM,
	BAD_IP_SUM,
	WITH_UDP_SUM,
	TOO_LONG,
	FULL,
	FRAGMENTS,
	MARKED,
	LOW_PORT,
	PLAIN,
	FILTERS
};

static const char *const filters[FILTERS] = {
	[ALL] = "udp.dstport == 6080",
	[PROBES] = "udp.dstport == 6080",
	[SEGMENTS] = "udp.dstport == 6080 && tcp",
	[OTHER_UDP] = "udp && udp.dstport != 6080",
	[MALFORMED] = "_ws.malformed",
	[SYNS] = "tcp.flags.syn == 1",
	[SYNS_WITH_OURS] = "tcp.flags.syn == 1 && !udp && "
			   "tcp.options.experimental.exid == 0x5348",
	[WITH_254] = "tcp.option_kind == 254",
	[BAD_TCP_SUM] = "tcp && !(tcp.checksum.status == 1) && "
			"!tcp.checksum.ffff", /* as test_hosts_capture.c */
	[BAD_IP_SUM] = "ip.checksum.status == 0",
	[WITH_UDP_SUM] = "udp && udp.checksum != 0",
	[TOO_LONG] = "frame.len > 1514",
	[FULL] = "udp && frame.len > 1400",
	[FRAGMENTS] = "ip.flags.mf == 1 || ip.frag_offset > 0 || ipv6.fraghdr",
	[MARKED] = "udp && tcp",
	[LOW_PORT] = "udp && udp.srcport < 49152",
	[PLAIN] = "tcp && !udp",
};

static char *filter_list(void)
{
	char *list = NULL;
	size_t size;
	FILE *to = open_memstream(&list, &size);

	for (int f = 0; f < FAMILIES; f++)
		for (int i = 0; i < FILTERS; i++)
			fprintf(to, ",%s && (%s)%s%s", families[f].is,
				filters[i],
				i == PROBES || i == MARKED ? " && " : "",
				i == PROBES   ? families[f].probe
				: i == MARKED ? families[f].dscp
					      : "");
	fclose(to);
	return list;
}

/* How many frames each shows, in one run of tshark. Told of "ip", it looks
 * which version it is. */
static int count_frames(struct lab *lab, const char *file,
			long n[FAMILIES][FILTERS])
{
	char *list = filter_list(), *text, *at;
	int i;

	/* The line of the one interval: | TIME | FRAMES | BYTES | FRAMES ... */
	text = lab_output(lab, ROUTER,
			  "cd %s &&"
			  " { tshark -n -q -r %s -d udp.port==6080,ip"
			  " -o tcp.check_checksum:TRUE"
			  " -o ip.check_checksum:TRUE"
			  " -z 'io,stat,0%s' >table 2>errors"
			  " || { cat errors >&2; false; }; } &&"
			  " sed -n '/^|[^|]*<>/ { s/^|[^|]*|//; s/|[^|]*|/ /g;"
			  " p }' table",
			  lab->dir, file, list);
	free(list);
	at = text;
	for (i = 0; at && *at && i < FAMILIES * FILTERS; i++)
		n[i / FILTERS][i % FILTERS] = strtol(at, &at, 10);
	fprintf(stderr, "# frames: %s\n", text);
	i = at && at[strspn(at, " ")] == '\n' ? i : 0;
	free(text);
	return i;
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

static void judge(struct __test_metadata *_metadata, const long n[FILTERS])
{
	/* Whatever is in UDP is GUE variant 1: an IP packet, no header. */
	EXPECT_LT(4 * SIZE / 1500, n[ALL]);
	EXPECT_LE(2, n[PROBES]);
	EXPECT_EQ(n[ALL], n[PROBES] + n[SEGMENTS]);
	EXPECT_EQ(0, n[OTHER_UDP]);
	EXPECT_EQ(0, n[MALFORMED]);

	/* Our option, in both halves of both handshakes, which stay TCP. */
	EXPECT_EQ(4, n[SYNS]);
	EXPECT_EQ(4, n[SYNS_WITH_OURS]);
	EXPECT_EQ(4, n[WITH_254]);

	/* Checksums: TCP's and IP's are right, UDP's is not used. */
	EXPECT_EQ(0, n[BAD_TCP_SUM]);
	EXPECT_EQ(0, n[BAD_IP_SUM]);
	EXPECT_EQ(0, n[WITH_UDP_SUM]);

	/* Frames that fit, none of them in pieces. */
	EXPECT_EQ(0, n[TOO_LONG]);
	EXPECT_LT(100, n[FULL]);
	EXPECT_EQ(0, n[FRAGMENTS]);

	/* Quality of service is the flow's own, inside and outside. */
	EXPECT_EQ(n[SEGMENTS], n[MARKED]);

	/* Ports spread flows, one flow has one in each direction. */
	EXPECT_EQ(0, n[LOW_PORT]);
	/* Plain: handshakes, and the little before the first echo. */
	EXPECT_GE(12, n[PLAIN]);
}

TEST_F_TIMEOUT(wire, capture_at_the_router, 60)
{
	long n[FAMILIES][FILTERS];

	for (int f = 0; f < FAMILIES; f++) {
		talk(_metadata, &self->lab, families[f].domain, PORT + 2 * f);
		talk(_metadata, &self->lab, families[f].domain,
		     PORT + 2 * f + 1);
	}
	ASSERT_EQ(0, lab_do(&self->lab, "capture", "stop"));
	ASSERT_EQ(FAMILIES * FILTERS, count_frames(&self->lab, self->file, n));
	for (int f = 0; f < FAMILIES; f++)
		judge(_metadata, n[f]);
}

LAB_HARNESS_MAIN
