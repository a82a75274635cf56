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
#define SIZE size_here(300000L, 100000L)

FIXTURE(capture)
{
	struct lab lab;
	char file[128];
};

/* One capture has all: tshark takes a guest longer to start than to read. */
enum { FULL, HEADERS, COVERAGES };
enum { IPV4, IPV6, FAMILIES };

static const struct {
	int domain;
	const char *ip, *inner; /* the dissectors, see dissect() */
	long headers;		/* UDP-Lite, IP, TCP with timestamps */
} families[FAMILIES] = {
	[IPV4] = {AF_INET, "ip", "ip", 8 + 20 + 32},
	[IPV6] = {AF_INET6, "ipv6", "ip:ipv6", 8 + 40 + 32},
};

static const char *const coverages[COVERAGES] = {"full", "headers"};

/* Two connections of each kind, with ports of their own. */
static int port_of(int coverage, int domain)
{
	return PORT + 10 * coverage + (domain == AF_INET6 ? 2 : 0);
}

FIXTURE_SETUP(capture)
{
	ASSERT_EQ(0, lab_open(&self->lab, "--wire ''"));
	snprintf(self->file, sizeof(self->file), "%s/capture", self->lab.dir);
	ASSERT_EQ(0, lab_do(&self->lab, "capture",
			    "start %s 'tcp or udp or proto 136'", self->file));
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
	long tcp_port; /* the server's */
	long proto[FAMILIES];
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
	long other_port;

	r.len = field(&line);
	r.port = field(&line);
	r.coverage = field(&line);
	r.status = field(&line);
	r.tcp_status = field(&line);
	if (is_mangled(&line))
		r.tcp_status = 1;
	r.tcp_len = field(&line);
	r.tcp_port = field(&line);
	other_port = field(&line);
	if (other_port < r.tcp_port)
		r.tcp_port = other_port;
	r.proto[IPV4] = field(&line);
	r.proto[IPV6] = field(&line);
	r.malformed = line && *line;
	return r;
}

/* Told of "ip", it looks which version it is. */
static char *dissect(struct lab *lab, const char *file)
{
	return lab_output(lab, ROUTER,
			  "tshark -n -r %s -d udp.port==6080,ip"
			  " -o tcp.check_checksum:TRUE"
			  " -o udplite.check_checksum:TRUE"
			  " -T fields -E 'separator=|' -E occurrence=l"
			  " -e frame.protocols -e frame.len -e udp.dstport"
			  " -e udp.checksum_coverage -e udp.checksum.status"
			  " -e tcp.checksum.status -e tcp.checksum.ffff"
			  " -e tcp.len -e tcp.srcport -e tcp.dstport"
			  " -e ip.proto -e ipv6.nxt"
			  " -e _ws.malformed 2>%s/errors ||"
			  " { cat %s/errors >&2; false; }",
			  file, lab->dir, lab->dir);
}

struct seen {
	long data, empty, probes, tcp, full_size;
};

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* What kind of frame is it? And is all in it right? */
static void judge(struct __test_metadata *_metadata, const struct row *r,
		  bool headers, struct seen all[FAMILIES])
{
	int family = begins(r->protocols, "eth:ethertype:ipv6:") ? IPV6 : IPV4;
	long covered = headers ? families[family].headers : 0; /* 0: all */
	const char *ip = families[family].ip;
	struct seen *seen = &all[family];
	char prefix[64];

	EXPECT_FALSE(r->malformed);
	EXPECT_GE(1514, r->len);
	snprintf(prefix, sizeof(prefix), "eth:ethertype:%s:tcp", ip);
	if (begins(r->protocols, prefix)) {
		EXPECT_EQ(1, r->tcp_status);
		seen->tcp++;
		return;
	}
	snprintf(prefix, sizeof(prefix), "eth:ethertype:%s:udplite:%s:", ip,
		 families[family].inner);
	EXPECT_TRUE(begins(r->protocols, prefix));
	EXPECT_EQ(6080, r->port);
	EXPECT_EQ(1, r->status);
	if (r->proto[family] == 253) {
		EXPECT_EQ(0, r->coverage);
		seen->probes++;
		return;
	}
	EXPECT_EQ(6, r->proto[family]);
	EXPECT_EQ(1, r->tcp_status);
	EXPECT_EQ(r->tcp_len ? covered : 0, r->coverage);
	seen->data += r->tcp_len > 0;
	seen->empty += !r->tcp_len;
	seen->full_size += r->len > 1500;
}

static void talk_all(struct __test_metadata *_metadata, struct lab *lab)
{
	for (int c = 0; c < COVERAGES; c++) {
		ASSERT_EQ(0,
			  lab_shunt_both(lab, "--default udplite --coverage %s",
					 coverages[c]));
		for (int i = 0; i < 2 * FAMILIES; i++) {
			int domain = families[i / 2].domain;

			talk(_metadata, lab, domain,
			     port_of(c, domain) + i % 2);
		}
	}
}

static void enough(struct __test_metadata *_metadata, const struct seen *seen)
{
	EXPECT_LT(4 * SIZE / 1500, seen->data);
	EXPECT_LT(4, seen->empty);
	EXPECT_LE(2, seen->probes);
	EXPECT_LT(100, seen->full_size);
	/* The handshakes, the little before the first echo, and what a
	 * flow in doubt sends on a machine that is slow. */
	EXPECT_LE(4, seen->tcp);
	EXPECT_GT(seen->data / 4, seen->tcp);
}

TEST_F_TIMEOUT(capture, every_frame_is_right, 60)
{
	struct seen all[COVERAGES][FAMILIES] = {};
	struct lab *lab = &self->lab;
	char *text, *rest, *line;
	struct row row;
	int coverage = FULL;

	talk_all(_metadata, lab);
	ASSERT_EQ(0, lab_do(lab, "capture", "stop"));
	text = rest = dissect(lab, self->file);
	ASSERT_NE(NULL, text);
	while ((line = strsep(&rest, "\n")) && *line && _metadata->passed) {
		char *copy = strdup(line);

		row = row_of(line);
		/* A probe is of the time of the segments before it. */
		if (row.tcp_port >= 0)
			coverage = row.tcp_port < port_of(HEADERS, AF_INET)
					   ? FULL
					   : HEADERS;
		judge(_metadata, &row, coverage == HEADERS, all[coverage]);
		if (!_metadata->passed)
			TH_LOG("%s", copy);
		free(copy);
	}
	free(text);
	for (int i = 0; i < COVERAGES * FAMILIES; i++) {
		const struct seen *seen = &all[i / FAMILIES][i % FAMILIES];

		fprintf(stderr,
			"# %s, %s: %ld segments with data, %ld without, %ld "
			"probes\n",
			coverages[i / FAMILIES], families[i % FAMILIES].ip,
			seen->data, seen->empty, seen->probes);
		enough(_metadata, seen);
	}
}

LAB_HARNESS_MAIN
