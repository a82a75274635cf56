// SPDX-License-Identifier: GPL-2.0-only
/*
 * When a connection comes to the message path: writers whose reads and writes
 * block, and whose first large messages meet the enrolment.
 */
#include "harness.h"
#include "lab_message.h"
#include "lab_own.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#define PORT  7800
#define PIECE 65536
#define CONNS size_here(5, 2)
#define THEN  size_here(160, 20) /* pieces, once on the path */
#define TRIES 20

FIXTURE(enrol)
{
	struct lab lab;
	struct shunt_proxy was[LAB_HOSTS];
	int listener, streams;
};

FIXTURE_SETUP(enrol)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, NULL, "--ingress auto"));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, self->listener);
	self->streams = lab_map(&self->lab, CLIENT, "streams");
	ASSERT_LE(0, self->streams);
	lab_proxies(&self->lab, self->was);
}

FIXTURE_TEARDOWN(enrol)
{
	close(self->streams);
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static struct talk talk_over(const struct lab_pair *p)
{
	return (struct talk){.c = {p->c, talk_send, talk_recv},
			     .s = {p->s, talk_send, talk_recv}};
}

/* The only stream that is open, or one of zeros. */
static struct shunt_stream stream_now(int map)
{
	struct shunt_stream s;

	for (__u32 i = 1; !bpf_map_lookup_elem(map, &i, &s); i++)
		if (s.life == SHUNT_STREAM_OPEN)
			return s;
	return (struct shunt_stream){};
}

/* One piece after the other, each when the one before has been read, until
 * something is so. */
#define WRITES_UNTIL(talk, condition)                                  \
	({                                                             \
		uint64_t end_ = now_us() + LAB_TIMEOUT * 500000ULL;    \
		int err_ = 0;                                          \
		while (!err_ && !(condition) && now_us() < end_)       \
			err_ = talk_one_way((talk), TO_SERVER, PIECE); \
		!err_ && (condition);                                  \
	})

static int write_pieces(struct talk *t, unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++)
		err = talk_one_way(t, TO_SERVER, PIECE);
	return err;
}

/* A piece may be more than a new connection's send buffer takes, so its socket
 * leaves the sockmap with it; it comes back, and all goes by the path. */
TEST_F_TIMEOUT(enrol, writer_that_begins_at_once_comes_to_the_path, 90)
{
	for (unsigned i = 0; i < CONNS; i++) {
		struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];
		struct lab_pair p;
		struct talk t;

		ASSERT_EQ(0,
			  lab_pair_on(&self->lab, &p, AF_INET, self->listener));
		t = talk_over(&p);
		ASSERT_TRUE(WRITES_UNTIL(&t, stream_now(self->streams).tx ==
						     SHUNT_STX_ON));
		lab_proxies(&self->lab, was);
		ASSERT_EQ(0, write_pieces(&t, THEN));
		lab_proxies(&self->lab, is);
		EXPECT_TOOK_PATH(was[CLIENT].bytes_tx, is[CLIENT].bytes_tx,
				 THEN * PIECE);
		EXPECT_EQ(0, talk_one_way(&t, TO_CLIENT, 100));
		lab_pair_close(&p);
		ASSERT_TRUE(BECOMES(!stream_now(self->streams).life));
	}
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
}

/* Its socket is in the sockmap, or has been when a send had to wait. */
static bool has_tried(int map)
{
	struct shunt_stream s = stream_now(map);

	return s.enrolled || s.tx_held;
}

/* A connection whose server's socket has said in time that it can't; it may be
 * enrolled as soon as it has been accepted. */
static bool pair_unsuitable(struct lab *lab, struct lab_pair *p, int listener)
{
	int map = lab_map(lab, SERVER, "streams"), two = 2;
	bool late = true;

	for (int i = 0; i < TRIES && late; i++) {
		if (lab_pair_on(lab, p, AF_INET, listener) ||
		    setsockopt(p->s, SOL_SOCKET, SO_RCVLOWAT, &two,
			       sizeof(two)))
			break;
		late = stream_now(map).enrolled;
		if (late) {
			lab_pair_close(p);
			if (!BECOMES(!stream_now(map).life))
				break;
		}
	}
	close(map);
	return !late;
}

/* Of two ends one can't be on the path, so neither is, however often the other
 * tries. */
TEST_F_TIMEOUT(enrol, writer_to_an_unsuitable_reader_stays_on_tcp, 60)
{
	struct shunt_proxy is[LAB_HOSTS];
	struct lab_pair p;
	struct talk t;

	ASSERT_TRUE(pair_unsuitable(&self->lab, &p, self->listener));
	t = talk_over(&p);
	ASSERT_TRUE(WRITES_UNTIL(&t, has_tried(self->streams)));
	ASSERT_EQ(0, write_pieces(&t, THEN));
	EXPECT_EQ(0, talk_one_way(&t, TO_CLIENT, 100));
	EXPECT_EQ(0, stream_now(self->streams).tx_based);
	lab_proxies(&self->lab, is);
	EXPECT_EQ(self->was[CLIENT].bytes_tx, is[CLIENT].bytes_tx);
	EXPECT_TRUE(lab_undisturbed(&self->lab, self->was));
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
