// SPDX-License-Identifier: GPL-2.0-only
/*
 * `shunt up` and `shunt down` under connections that are there already: none
 * of them notices, and nothing is lost.
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 7200
#define MB   1000000L

FIXTURE(lifecycle)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(lifecycle)
{
	const char *ingress;
};

FIXTURE_VARIANT_ADD(lifecycle, xdp){.ingress = "xdp"};

FIXTURE_VARIANT_ADD(lifecycle, tc){.ingress = "tc"};

FIXTURE_SETUP(lifecycle)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(lifecycle)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* A new connection that ends up on UDP, both ways. */
static bool new_one_is_redirected(struct lab *lab, int domain, int listener)
{
	struct lab_pair p;
	bool ok;

	if (lab_pair_on(lab, &p, domain, listener))
		return false;
	ok = !stream_through(p.c, p.s, 1, 2000) &&
	     !stream_through(p.s, p.c, 2, 2000) &&
	     lab_flow(lab, CLIENT, p.c, "redirected", NULL) &&
	     lab_flow(lab, SERVER, p.s, "redirected", NULL);
	lab_pair_close(&p);
	return ok;
}

/* ---- down ---- */

struct ends {
	bool upload;	     /* the client sends */
	bool client, server; /* who goes down */
	bool restart;	     /* … and up again at once */
};

static int up_again(struct lab *lab, const char *ingress,
		    const struct ends *ends)
{
	int err = 0;

	if (ends->client)
		err = lab_shunt_up(lab, CLIENT, "--ingress %s", ingress);
	if (ends->server && !err)
		err = lab_shunt_up(lab, SERVER, "--ingress %s", ingress);
	return err;
}

/* The window is full and segments are on their way when it goes down; more
 * than one window is still to come. */
static void down_in_transfer(struct __test_metadata *_metadata, struct lab *lab,
			     int listener, const char *ingress,
			     struct ends ends)
{
	const long size = size_here(26 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 4, .to = size};
	struct stream rx = {.seed = 4, .to = size / 3};
	struct lab_count count;
	struct lab_pair p;

	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, listener));
	tx.fd = ends.upload ? p.c : p.s;
	rx.fd = ends.upload ? p.s : p.c;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	if (ends.client)
		ASSERT_EQ(0, lab_shunt_down(lab, CLIENT));
	if (ends.server)
		ASSERT_EQ(0, lab_shunt_down(lab, SERVER));
	if (ends.restart)
		ASSERT_EQ(0, up_again(lab, ingress, &ends));
	rx.to = size;
	ASSERT_EQ(0, stream_finish(&tx, &rx));
	ASSERT_EQ(0, stream_through(rx.fd, tx.fd, 5, MB));
	shutdown(tx.fd, SHUT_WR);
	EXPECT_TRUE(stream_at_end(rx.fd));
	lab_pair_close(&p);

	/* One end alone: new connections are TCP, at once. */
	if (!ends.restart && ends.client != ends.server) {
		ASSERT_EQ(0, lab_count(lab, &count));
		ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, listener));
		EXPECT_EQ(0, stream_through(p.c, p.s, 6, MB));
		EXPECT_EQ(0, stream_through(p.s, p.c, 7, MB));
		ASSERT_EQ(0, lab_count(lab, &count));
		EXPECT_LE(MB, count.tcp[TO_SERVER].bytes);
		EXPECT_LE(MB, count.tcp[TO_CLIENT].bytes);
		lab_pair_close(&p);
	}
	if (!ends.restart)
		ASSERT_EQ(0, up_again(lab, ingress, &ends));
	EXPECT_TRUE(new_one_is_redirected(lab, AF_INET, listener));
	EXPECT_TRUE(new_one_is_redirected(lab, AF_INET6, listener));
}

#define DOWN(name, ...)                                                 \
	TEST_F_TIMEOUT(lifecycle, name, 60)                             \
	{                                                               \
		down_in_transfer(_metadata, &self->lab, self->listener, \
				 variant->ingress,                      \
				 (struct ends){__VA_ARGS__});           \
	}

DOWN(sender_client_down, .upload = true, .client = true)
DOWN(sender_server_down, .server = true)
DOWN(receiver_client_down, .client = true)
DOWN(receiver_server_down, .upload = true, .server = true)
DOWN(both_down_in_download, .client = true, .server = true)
DOWN(both_down_in_upload, .upload = true, .client = true, .server = true)
DOWN(sender_restarts, .server = true, .restart = true)
DOWN(receiver_restarts, .client = true, .restart = true)
DOWN(both_restart, .client = true, .server = true, .restart = true)

/* ---- up: the fixture's listener is older ---- */

static int go_down(struct lab *lab)
{
	return lab_shunt_down(lab, CLIENT) ?: lab_shunt_down(lab, SERVER);
}

TEST_F(lifecycle, listener_is_older)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, go_down(lab));
	ASSERT_EQ(0, lab_shunt_both(lab, "--ingress %s", variant->ingress));
	EXPECT_TRUE(new_one_is_redirected(lab, AF_INET, self->listener));
	EXPECT_TRUE(new_one_is_redirected(lab, AF_INET6, self->listener));
}

TEST_F(lifecycle, up_while_connections_are_open)
{
	const long size = size_here(20 * MB, 3 * MB);
	struct stream tx = {.send = true, .seed = 3, .to = size};
	struct stream rx = {.seed = 3, .to = size / 4};
	struct lab *lab = &self->lab;
	struct lab_count count;
	struct lab_pair p;

	ASSERT_EQ(0, go_down(lab));
	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, MB));
	ASSERT_EQ(0, stream_through(p.s, p.c, 2, MB));
	/* A transfer that is under way, its window full, while we go up. */
	tx.fd = p.s;
	rx.fd = p.c;
	ASSERT_EQ(0, stream_start(&tx));
	ASSERT_EQ(0, stream_run(&rx));
	ASSERT_EQ(0, lab_shunt_both(lab, "--ingress %s", variant->ingress));
	rx.to = size;
	EXPECT_EQ(0, stream_finish(&tx, &rx));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, MB));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, count.udp[TO_SERVER].packets);
	EXPECT_EQ(0, count.udp[TO_CLIENT].packets);
	EXPECT_EQ(0, lab_flows(lab, CLIENT, NULL));
	EXPECT_EQ(0, lab_flows(lab, SERVER, NULL));

	EXPECT_TRUE(new_one_is_redirected(lab, AF_INET, self->listener));
	/* It stays as it is, whatever is known of the path by now. */
	ASSERT_EQ(0, lab_count(lab, &count));
	ASSERT_EQ(0, stream_through(p.c, p.s, 5, MB));
	ASSERT_EQ(0, stream_through(p.s, p.c, 6, MB));
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_GE(5000, count.udp[TO_SERVER].bytes);
	EXPECT_GE(5000, count.udp[TO_CLIENT].bytes);
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
