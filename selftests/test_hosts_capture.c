// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP-Lite on the wire, by somebody else's dissector: a capture at the router,
 * where every checksum is filled in, row by row as tshark sees it. (UDP's is
 * test_hosts_wire.)
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 8400
#define SIZE 300000L

FIXTURE(capture)
{
	struct lab lab;
	char file[128];
};

FIXTURE_VARIANT(capture)
{
	int domain;
	const char *ip; /* the dissector, and what it calls the next protocol */
	const char *proto;
	const char *coverage;
	long covered; /* of a segment with payload, 0: all of it */
};

#define VARIANT(name, domain_, ip_, proto_, coverage_, covered_) \
	FIXTURE_VARIANT_ADD(capture, name)                       \
	{                                                        \
		.domain = domain_, .ip = ip_, .proto = proto_,   \
		.coverage = coverage_, .covered = covered_       \
	}

VARIANT(ipv4_full, AF_INET, "ip", "ip.proto", "full", 0);
VARIANT(ipv6_full, AF_INET6, "ipv6", "ipv6.nxt", "full", 0);
/* UDP-Lite, IP, TCP with timestamps */
VARIANT(ipv4_headers, AF_INET, "ip", "ip.proto", "headers", 8 + 20 + 32);
VARIANT(ipv6_headers, AF_INET6, "ipv6", "ipv6.nxt", "headers", 8 + 40 + 32);

FIXTURE_SETUP(capture)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, "--wire ''",
				 "--default udplite --coverage %s",
				 variant->coverage));
	snprintf(self->file, sizeof(self->file), "%s/capture", self->lab.dir);
	ASSERT_EQ(0, lab_do(&self->lab, "capture",
			    "start %s '%s and (tcp or udp or proto 136)'",
			    self->file,
			    variant->domain == AF_INET ? "ip" : "ip6"));
}

FIXTURE_TEARDOWN(capture)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Short and bulk both ways, to the end. */
static void talk(struct __test_metadata *_metadata, struct lab *lab, int domain,
		 int port)
{
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair(lab, &p, domain, port));
	for (int len = 1; len < 30; len++)
		ASSERT_EQ(0, stream_through(p.c, p.s, len, len));
	ASSERT_TRUE(lab_flow_on(lab, CLIENT, p.c, "udplite", NULL));
	ASSERT_TRUE(lab_flow_on(lab, SERVER, p.s, "udplite", NULL));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, SIZE));
	ASSERT_EQ(0, stream_through(p.s, p.c, 1, SIZE));
	shutdown(p.c, SHUT_WR);
	ASSERT_TRUE(stream_at_end(p.s));
	lab_pair_close(&p);
	ASSERT_TRUE(BECOMES(lab_flows(lab, CLIENT, "redirected") == 0 &&
			    lab_flows(lab, SERVER, "redirected") == 0));
}

/* Of the last header of its kind in the frame; numbers are -1 if there is
 * none. */
struct row {
	const char *protocols;
	long len;
	long port;
	long coverage;
	long status; /* of UDP-Lite's checksum: 1 is good */
	long tcp_status;
	long tcp_len;
	long proto;
	bool malformed;
};

static long field(char **line)
{
	const char *text = strsep(line, "|");

	return text && *text ? strtol(text, NULL, 0) : -1;
}

/* Linux writes 0xffff for 0 (CSUM_MANGLED_0 in skb_checksum_help()), once in
 * 65,536 segments: the same sum, which tshark does not like (RFC 1624). */
static bool is_mangled(char **line)
{
	const char *text = strsep(line, "|");

	return text && *text;
}

static struct row row_of(char *line)
{
	struct row r = {.protocols = strsep(&line, "|")};

	r.len = field(&line);
	r.port = field(&line);
	r.coverage = field(&line);
	r.status = field(&line);
	r.tcp_status = field(&line);
	if (is_mangled(&line))
		r.tcp_status = 1;
	r.tcp_len = field(&line);
	r.proto = field(&line);
	r.malformed = line && *line;
	return r;
}

static char *dissect(struct lab *lab, const char *file, const char *ip,
		     const char *proto)
{
	return lab_output(lab, ROUTER,
			  "tshark -n -r %s -d udp.port==6080,%s"
			  " -o tcp.check_checksum:TRUE"
			  " -o udplite.check_checksum:TRUE"
			  " -T fields -E 'separator=|' -E occurrence=l"
			  " -e frame.protocols -e frame.len -e udp.dstport"
			  " -e udp.checksum_coverage -e udp.checksum.status"
			  " -e tcp.checksum.status -e tcp.checksum.ffff"
			  " -e tcp.len -e %s"
			  " -e _ws.malformed 2>%s/errors ||"
			  " { cat %s/errors >&2; false; }",
			  file, ip, proto, lab->dir, lab->dir);
}

struct seen {
	long data, empty, probes, tcp, full_size;
};

/* What kind of frame is it? And is all in it right? */
static void judge(struct __test_metadata *_metadata, const struct row *r,
		  const FIXTURE_VARIANT(capture) * variant, struct seen *seen)
{
	char prefix[64];

	EXPECT_FALSE(r->malformed);
	EXPECT_GE(1514, r->len);
	snprintf(prefix, sizeof(prefix), "eth:ethertype:%s:tcp", variant->ip);
	if (!strncmp(r->protocols, prefix, strlen(prefix))) {
		EXPECT_EQ(1, r->tcp_status);
		seen->tcp++;
		return;
	}
	snprintf(prefix, sizeof(prefix),
		 "eth:ethertype:%s:udplite:%s:", variant->ip, variant->ip);
	EXPECT_EQ(0, strncmp(r->protocols, prefix, strlen(prefix)));
	EXPECT_EQ(6080, r->port);
	EXPECT_EQ(1, r->status);
	if (r->proto == 253) {
		EXPECT_EQ(0, r->coverage);
		seen->probes++;
		return;
	}
	EXPECT_EQ(6, r->proto);
	EXPECT_EQ(1, r->tcp_status);
	EXPECT_EQ(r->tcp_len ? variant->covered : 0, r->coverage);
	seen->data += r->tcp_len > 0;
	seen->empty += !r->tcp_len;
	seen->full_size += r->len > 1500;
}

TEST_F_TIMEOUT(capture, every_frame_is_right, 60)
{
	struct lab *lab = &self->lab;
	char *text, *rest, *line;
	struct seen seen = {};
	struct row row;

	talk(_metadata, lab, variant->domain, PORT);
	talk(_metadata, lab, variant->domain, PORT + 1);
	ASSERT_EQ(0, lab_do(lab, "capture", "stop"));
	text = rest = dissect(lab, self->file, variant->ip, variant->proto);
	ASSERT_NE(NULL, text);
	while ((line = strsep(&rest, "\n")) && *line && _metadata->passed) {
		char *copy = strdup(line);

		row = row_of(line);
		judge(_metadata, &row, variant, &seen);
		if (!_metadata->passed)
			TH_LOG("%s", copy);
		free(copy);
	}
	free(text);
	fprintf(stderr, "# %ld segments with data, %ld without, %ld probes\n",
		seen.data, seen.empty, seen.probes);
	EXPECT_LT(4 * SIZE / 1500, seen.data);
	EXPECT_LT(4, seen.empty);
	EXPECT_LE(2, seen.probes);
	EXPECT_LT(100, seen.full_size);
	/* The handshakes, the little before the first echo, and what a flow in
	 * doubt sends on a machine that is slow. */
	EXPECT_LE(4, seen.tcp);
	EXPECT_GT(seen.data / 4, seen.tcp);
}

LAB_HARNESS_MAIN
