// SPDX-License-Identifier: GPL-2.0-only
/*
 * Transfers between hosts: unmodified curl and nginx, and streams in both
 * directions at once. What arrives is what was sent, and the router says that
 * UDP carried it, and TCP hardly more than the handshake.
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 8080

#define KB 1000L
#define MB 1000000L

static const struct {
	const char *name;
	long size;
} files[] = {{"text", 3 * KB}, {"image", 510 * KB}, {"video", 26 * MB}};

#define FILES (sizeof(files) / sizeof(files[0]))

FIXTURE(transfer)
{
	struct lab lab;
};

FIXTURE_VARIANT(transfer)
{
	const char *ingress;
	int domain;
	const char *url;
};

FIXTURE_VARIANT_ADD(transfer, xdp_ipv4){
	.ingress = "xdp", .domain = AF_INET, .url = "http://10.77.2.2:8080"};

FIXTURE_VARIANT_ADD(transfer, xdp_ipv6){
	.ingress = "xdp", .domain = AF_INET6, .url = "http://[fd77:2::2]:8080"};

FIXTURE_VARIANT_ADD(transfer, tc_ipv4){
	.ingress = "tc", .domain = AF_INET, .url = "http://10.77.2.2:8080"};

FIXTURE_VARIANT_ADD(transfer, tc_ipv6){
	.ingress = "tc", .domain = AF_INET6, .url = "http://[fd77:2::2]:8080"};

FIXTURE_SETUP(transfer)
{
	/* What is in plain TCP is counted: no syncs. */
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s --strict",
				 variant->ingress));
}

FIXTURE_TEARDOWN(transfer)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* nginx as Debian has it: serves files, takes files. */
static int start_nginx(struct lab *lab)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/nginx.conf", lab->dir);
	file = fopen(path, "w");
	if (!file)
		return -1;
	fprintf(file,
		"user root;\n"
		"worker_processes 2;\n"
		"error_log %s/error.log;\n"
		"pid %s/nginx.pid;\n"
		"events { }\n"
		"http {\n"
		"	access_log off;\n"
		"	sendfile on;\n"
		"	client_max_body_size 0;\n"
		"	client_body_temp_path %s/body;\n"
		"	server {\n"
		"		listen %d;\n"
		"		listen [::]:%d;\n"
		"		root %s/www;\n"
		"		location / { dav_methods PUT; }\n"
		"	}\n"
		"}\n",
		lab->dir, lab->dir, lab->dir, PORT, PORT, lab->dir);
	fclose(file);
	if (lab_run(lab, SERVER, "mkdir %s/www", lab->dir) ||
	    lab_start(lab, SERVER,
		      "nginx -c %s -e %s/error.log -g 'daemon off;'", path,
		      lab->dir))
		return -1;
	return lab_do(lab, "wait", "server tcp %d", PORT);
}

/* Most went by UDP. TCP: the handshake; on the first connection to a peer also
 * what was sent before the probe's echo came back, one window at most. */
static bool mostly_udp(const struct lab_count *c, int dir, long size,
		       bool first)
{
	long packets = first ? 40 : 4, bytes = first ? 64 * KB : 400;
	long plain = first ? 64 * KB : 0;

	if (c->udp[dir].bytes >= size - plain && c->tcp[dir].bytes <= bytes &&
	    c->tcp[dir].packets <= packets && c->tcp[dir].packets >= 1 &&
	    c->tcp[!dir].packets <= packets && c->tcp[!dir].packets >= 1)
		return true;
	fprintf(stderr, "# %ld bytes: udp %ld tcp %ld (%ld) back tcp (%ld)\n",
		size, c->udp[dir].bytes, c->tcp[dir].bytes, c->tcp[dir].packets,
		c->tcp[!dir].packets);
	return false;
}

TEST_F_TIMEOUT(transfer, download, 60)
{
	struct lab *lab = &self->lab;
	struct lab_count count;
	char path[128];

	ASSERT_EQ(0, start_nginx(lab));
	ASSERT_EQ(0, lab_count(lab, &count));
	for (size_t i = 0; i < FILES; i++) {
		const char *name = files[i].name;
		const long size = files[i].size;

		snprintf(path, sizeof(path), "%s/www/%s", lab->dir, name);
		ASSERT_EQ(0, make_file(path, i, size));
		ASSERT_EQ(0, lab_run(lab, CLIENT,
				     "curl -sSf -m 30 -o %s/got %s/%s",
				     lab->dir, variant->url, name));
		ASSERT_EQ(0, lab_run(lab, CLIENT, "cmp %s/got %s", lab->dir,
				     path));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_TRUE(mostly_udp(&count, TO_CLIENT, size, !i));
	}
}

TEST_F_TIMEOUT(transfer, upload, 60)
{
	struct lab *lab = &self->lab;
	struct lab_count count;
	char path[128];

	ASSERT_EQ(0, start_nginx(lab));
	ASSERT_EQ(0, lab_count(lab, &count));
	for (size_t i = 0; i < FILES; i++) {
		const char *name = files[i].name;
		const long size = files[i].size;

		snprintf(path, sizeof(path), "%s/%s", lab->dir, name);
		ASSERT_EQ(0, make_file(path, i, size));
		ASSERT_EQ(0, lab_run(lab, CLIENT, "curl -sSf -m 30 -T %s %s/",
				     path, variant->url));
		ASSERT_EQ(0, lab_run(lab, CLIENT, "cmp %s %s/www/%s", path,
				     lab->dir, name));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_TRUE(mostly_udp(&count, TO_SERVER, size, !i));
	}
}

/* Both directions at once, on a connection that has been open for a while. */
TEST_F(transfer, both_ways_at_once)
{
	const long size = size_here(26 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 7, .to = size};
	struct stream rx = {.seed = 7, .to = size};
	struct lab *lab = &self->lab;
	struct lab_count count;
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair(lab, &p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 10));
	ASSERT_EQ(0, stream_through(p.s, p.c, 2, 10));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", "none"));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", "none"));
	ASSERT_EQ(0, lab_count(lab, &count));
	tx.fd = p.c;
	rx.fd = p.s;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_start(&rx));
	EXPECT_EQ(0, stream_through(p.s, p.c, 9, size));
	EXPECT_EQ(0, stream_join(&tx));
	EXPECT_EQ(0, stream_join(&rx));
	ASSERT_EQ(0, lab_count(lab, &count));
	for (int dir = 0; dir < 2; dir++) {
		EXPECT_LE(size, count.udp[dir].bytes);
		EXPECT_GE(size / 100, count.tcp[dir].bytes);
	}
	lab_pair_close(&p);
}

/* What `shunt flows` says about who carried how much. */
TEST_F(transfer, bytes_in_flows)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	json_t *flows, *flow;
	size_t i;

	/* The first connection proves the path. */
	ASSERT_EQ(0, lab_pair(lab, &p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 10));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", "none"));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", "none"));
	lab_pair_close(&p);

	ASSERT_EQ(0, lab_pair(lab, &p, variant->domain, PORT + 1));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 2 * MB));
	ASSERT_EQ(0, stream_through(p.s, p.c, 1, 3 * MB));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", "none"));
	flows = lab_json(lab, CLIENT, "flows");
	json_array_foreach (flows, i, flow) {
		if (strcmp(json_string_value(json_object_get(flow, "state")),
			   "redirected"))
			continue;
		EXPECT_STREQ("active",
			     json_string_value(json_object_get(flow, "role")));
		EXPECT_STREQ("udp", json_string_value(json_object_get(
					    flow, "transport")));
		EXPECT_STREQ("segment",
			     json_string_value(json_object_get(flow, "path")));
		EXPECT_LE(2 * MB, json_integer_value(
					  json_object_get(flow, "tx_bytes")));
		EXPECT_LE(3 * MB, json_integer_value(
					  json_object_get(flow, "rx_bytes")));
		break;
	}
	EXPECT_LT(i, json_array_size(flows));
	json_decref(flows);
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
