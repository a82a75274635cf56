// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path's worker dies, and another takes its place: a connection
 * that had left the path before does not notice.
 */
#include "harness.h"
#include "lab_message.h"
#include "lab_own.h"

#include <bpf/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT 7800
#define KB   1000L
#define MB   1000000L

/* A stream whose messages are missing is reset after three seconds. */
#define GIVES_UP_US (4 * MB)

FIXTURE(restart)
{
	struct lab lab;
	struct lab_pair p;
};

FIXTURE_VARIANT(restart)
{
	enum lab_host host;
};

FIXTURE_VARIANT_ADD(restart, client){.host = CLIENT};
FIXTURE_VARIANT_ADD(restart, server){.host = SERVER};

FIXTURE_SETUP(restart)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	lab_spoil(&self->lab);
	ASSERT_EQ(0, lab_pair(&self->lab, &self->p, AF_INET, PORT));
	ASSERT_TRUE(lab_promoted(&self->lab, &self->p));
}

FIXTURE_TEARDOWN(restart)
{
	lab_pair_close(&self->p);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* The only stream there, if there is one that is not free. */
static bool stream_of(struct lab *lab, enum lab_host host,
		      struct shunt_stream *s)
{
	int map = lab_map(lab, host, "streams");
	bool is = false;

	for (__u32 i = 1; !is && !bpf_map_lookup_elem(map, &i, s); i++)
		is = s->life != SHUNT_STREAM_FREE;
	close(map);
	return is;
}

static bool is_back_on_tcp(struct lab *lab, enum lab_host host)
{
	struct shunt_stream s;

	return stream_of(lab, host, &s) && s.tx_based && s.tx_open &&
	       !s.enrolled;
}

static long aborted(struct lab *lab)
{
	return lab_proxy_stat(lab, CLIENT, "aborted") +
	       lab_proxy_stat(lab, SERVER, "aborted");
}

/* One end shuts down behind that; the other goes on, and is read. */
TEST_F(restart, demoted_goes_on)
{
	struct lab *lab = &self->lab;
	bool at_client = variant->host == CLIENT;
	int shut = at_client ? self->p.c : self->p.s;
	int other = at_client ? self->p.s : self->p.c, two = 2;
	long pid = lab_proxy(lab, variant->host).worker, was = aborted(lab);
	struct shunt_stream s;
	uint64_t end;
	int err = 0;

	/* Keeps it on TCP from now on. */
	ASSERT_EQ(0, setsockopt(self->p.c, SOL_SOCKET, SO_RCVLOWAT, &two,
				sizeof(two)));
	ASSERT_EQ(0, stream_through(self->p.c, self->p.s, 1, 10 * KB));
	ASSERT_TRUE(BECOMES(is_back_on_tcp(lab, CLIENT)));
	ASSERT_TRUE(BECOMES(is_back_on_tcp(lab, SERVER)));
	ASSERT_LT(1, pid);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_TRUE(BECOMES(lab_proxy(lab, variant->host).up &&
			    lab_proxy(lab, variant->host).worker != pid));
	ASSERT_EQ(0, stream_through(shut, other, 2, 10 * KB));
	ASSERT_EQ(0, stream_through(other, shut, 3, 10 * KB));
	ASSERT_EQ(0, shutdown(shut, SHUT_WR));
	for (end = now_us() + GIVES_UP_US; !err && now_us() < end;
	     usleep(20000))
		err = stream_through(other, shut, 4, 100);
	ASSERT_EQ(0, err);
	EXPECT_EQ(was, aborted(lab));
	lab_pair_close(&self->p);
	EXPECT_TRUE(BECOMES(!stream_of(lab, CLIENT, &s)));
	EXPECT_TRUE(BECOMES(!stream_of(lab, SERVER, &s)));
	EXPECT_EQ(was, aborted(lab));
	ASSERT_EQ(0, lab_pair(lab, &self->p, AF_INET, PORT + 1));
	EXPECT_TRUE(lab_promoted(lab, &self->p));
}

LAB_HARNESS_MAIN
