// SPDX-License-Identifier: GPL-2.0-only
/* The SK_MSG program on an application's socket: what it hands to the proxy,
 * and what it leaves to TCP. */
#include "message_fixture.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/uio.h>

static struct shunt_stream get_stream(struct rig *r)
{
	struct shunt_stream st = {};

	stream_get(r, STREAM, &st);
	return st;
}

/* A message of n bytes as the proxy takes it, from a record that begins with it
 * or lies in the place of its first bytes: where it is in `got`, or NULL. */
static uint8_t *take(FIXTURE_DATA(message) * self, uint8_t *got, size_t size,
		     size_t n, bool saved, struct shunt_record *rec)
{
	struct shunt_stream st;
	__u32 which;

	if (drain(self->proxy_in, got, size) != (ssize_t)(n + !saved * 24))
		return NULL;
	memcpy(rec, got, sizeof(*rec));
	if (rec->stream != STREAM || rec->token != TOKEN || rec->length != n)
		return NULL;
	which = rec->magic ^ (saved ? SHUNT_RECORD_SAVED : SHUNT_RECORD_MAGIC);
	if (!saved)
		return which ? NULL : got + sizeof(*rec);
	st = get_stream(&self->r);
	if (which != (st.tx_saved - 1) % SHUNT_STARTS)
		return NULL;
	memcpy(got, &st.starts[which], sizeof(st.starts[which]));
	return got;
}

TEST_F(message, stays_on_tcp_until_the_proxy_is_ready)
{
	char buf[64];

	ASSERT_EQ(5, send(self->app, "hello", 5, 0));
	EXPECT_EQ(5, drain(self->peer, buf, sizeof(buf)));
	EXPECT_TRUE(quiet(self->proxy_in));
	EXPECT_EQ(5, get_stream(&self->r).tx_tcp);
	EXPECT_NO_EVENT();
	/* Excluded by a socket option, or the proxy has gone: likewise. */
	self->st.tx = SHUNT_STX_READY;
	self->st.excluded = 1;
	put_stream(&self->r, &self->st);
	ASSERT_EQ(5, send(self->app, "hello", 5, 0));
	EXPECT_EQ(5, drain(self->peer, buf, sizeof(buf)));
	EXPECT_EQ(SHUNT_STX_READY, get_stream(&self->r).tx);
}

TEST_F(message, promoted_at_the_next_message)
{
	static uint8_t sent[100000], got[sizeof(sent) + 100];
	struct shunt_record rec;
	struct shunt_stream st;
	uint64_t offset = 0;

	self->st.tx = SHUNT_STX_READY;
	self->st.primed = 1;
	put_stream(&self->r, &self->st);
	fill(sent, sizeof(sent), 1);
	for (size_t n = 1; n <= sizeof(sent); n *= 10) {
		const uint8_t *at;

		ASSERT_EQ(n, send(self->app, sent, n, 0));
		at = take(self, got, sizeof(got), n, n >= 24, &rec);
		ASSERT_NE(NULL, at);
		EXPECT_EQ(offset, rec.offset);
		EXPECT_EQ(0, memcmp(sent, at, n));
		offset += n;
		if (n == 1)
			EXPECT_EVENT(SHUNT_EV_PROMOTED);
		EXPECT_NO_EVENT();
	}
	st = get_stream(&self->r);
	EXPECT_EQ(SHUNT_STX_ON, st.tx);
	EXPECT_EQ(1, st.tx_based);
	EXPECT_EQ(offset, st.tx_bytes);
	EXPECT_EQ(6, st.tx_messages);
	EXPECT_EQ(offset + 6 * SHUNT_MSG_OVERHEAD, st.tx_charged);
	EXPECT_TRUE(quiet(self->peer));
}

/* Header and first bytes change places, as long as there is one for these: 23
 * bytes are too few, and a proxy that does not come round makes no room. */
TEST_F(message, first_bytes_are_saved_while_there_is_room)
{
	static const size_t sizes[] = {24, 23, 25, 1448, 65536};
	static uint8_t sent[65536], got[sizeof(sent) + 100];
	struct shunt_record rec;
	const uint8_t *at;
	uint32_t saved = 0;

	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	for (size_t i = 0; i < 40; i++) {
		size_t n = sizes[i % ARRAY_SIZE(sizes)];
		bool fits = n >= 24 && saved < SHUNT_STARTS;

		fill(sent, n, i);
		ASSERT_EQ(n, send(self->app, sent, n, 0));
		at = take(self, got, sizeof(got), n, fits, &rec);
		ASSERT_NE(NULL, at)
		TH_LOG("message %zu", i);
		EXPECT_EQ(0, memcmp(sent, at, n));
		saved += fits;
		EXPECT_EQ(saved, get_stream(&self->r).tx_saved);
	}
	ASSERT_EQ(SHUNT_STARTS, saved);
	/* The proxy has taken three, and as many find room. */
	self->st = get_stream(&self->r);
	self->st.tx_taken = 3;
	put_stream(&self->r, &self->st);
	for (size_t i = 0; i < 5; i++) {
		fill(sent, 100, i);
		ASSERT_EQ(100, send(self->app, sent, 100, 0));
		at = take(self, got, sizeof(got), 100, i < 3, &rec);
		ASSERT_NE(NULL, at);
		EXPECT_EQ(0, memcmp(sent, at, 100));
	}
}

/* The first bytes wake who reads from TCP; more go there until they have left.
 */
TEST_F(message, the_first_bytes_go_by_tcp)
{
	static uint8_t sent[1000], got[64 * 1000];
	struct shunt_stream st;
	struct shunt_record rec;
	int n = 0;

	self->st.tx = SHUNT_STX_READY;
	put_stream(&self->r, &self->st);
	fill(sent, sizeof(sent), 8);
	do {
		ASSERT_EQ(1000, send(self->app, sent, 1000, 0));
		usleep(50000);
		st = get_stream(&self->r);
	} while (++n < 60 && !st.tx_bytes);
	EXPECT_EQ(1, st.primed);
	EXPECT_EVENT(SHUNT_EV_PROMOTED);
	ASSERT_LT(0, drain(self->peer, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, 512));
	ASSERT_NE(NULL, take(self, got, sizeof(got), 1000, true, &rec));
	EXPECT_EQ(0, rec.offset);
	EXPECT_EQ(1000 * n, st.tx_tcp + st.tx_bytes);
}

/* No room for a large one: a full segment wakes the reader, and the rest is one
 * message, not as many as there are segments in it. */
TEST_F(message, one_that_has_to_wait_is_split)
{
	static uint8_t sent[65536], got[sizeof(sent) + 100];
	int room = 16384, mss = 0;
	socklen_t len = sizeof(mss);
	struct shunt_stream st;
	struct shunt_record rec;
	const uint8_t *at;

	ASSERT_EQ(0, system("ip link set lo mtu 1500"));
	ASSERT_EQ(0, setsockopt(self->app, SOL_SOCKET, SO_SNDBUF, &room,
				sizeof(room)));
	ASSERT_EQ(5, send(self->app, "hello", 5, 0)); /* looks at the MTU */
	ASSERT_EQ(5, drain(self->peer, got, sizeof(got)));
	ASSERT_EQ(0,
		  getsockopt(self->app, IPPROTO_TCP, TCP_MAXSEG, &mss, &len));
	ASSERT_GT(1500, mss);
	self->st.tx = SHUNT_STX_READY;
	put_stream(&self->r, &self->st);
	fill(sent, sizeof(sent), 10);
	ASSERT_EQ(sizeof(sent), send(self->app, sent, sizeof(sent), 0));
	EXPECT_EVENT(SHUNT_EV_PROMOTED);
	EXPECT_EQ(mss, drain(self->peer, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, mss));
	at = take(self, got, sizeof(got), sizeof(sent) - mss, true, &rec);
	ASSERT_NE(NULL, at);
	EXPECT_EQ(0, rec.offset);
	EXPECT_EQ(0, memcmp(sent + mss, at, sizeof(sent) - mss));
	st = get_stream(&self->r);
	EXPECT_EQ(mss, st.tx_tcp);
	EXPECT_EQ(sizeof(sent) - mss, st.tx_bytes);
	EXPECT_EQ(1, st.tx_messages);
}

/* writev() is one message, however many pieces it has. */
TEST_F(message, a_message_of_many_pieces_is_one)
{
	static uint8_t sent[40 * 1000], got[sizeof(sent) + 100];
	struct shunt_record rec;
	struct iovec iov[40];
	const uint8_t *at;

	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	fill(sent, sizeof(sent), 2);
	for (int i = 0; i < 40; i++)
		iov[i] = (struct iovec){sent + 1000 * i, 1000};
	ASSERT_EQ(sizeof(sent), writev(self->app, iov, 40));
	at = take(self, got, sizeof(got), sizeof(sent), true, &rec);
	ASSERT_NE(NULL, at);
	EXPECT_EQ(0, memcmp(sent, at, sizeof(sent)));
}

/* Demoted: this message is TCP's, whole, and all that follow. */
TEST_F(message, over_the_limit_it_is_tcp_again)
{
	static uint8_t sent[3000], got[sizeof(sent)];
	int before = 0;

	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	fill(sent, sizeof(sent), 3);
	do {
		ASSERT_EQ(sizeof(sent), send(self->app, sent, sizeof(sent), 0));
	} while (++before < 1000 && get_stream(&self->r).tx == SHUNT_STX_ON);
	/* 1 MB, at 3000 bytes and their overhead. */
	EXPECT_EQ((1 << 20) / (3000 + SHUNT_MSG_OVERHEAD) + 1, before);
	EXPECT_EQ(sizeof(sent), drain(self->peer, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, sizeof(sent)));
	EXPECT_EVENT(SHUNT_EV_DEMOTED);
	EXPECT_EQ(SHUNT_STX_OFF, get_stream(&self->r).tx);
	EXPECT_EQ(SHUNT_DEMOTED_STREAM, get_stream(&self->r).tx_why);
	EXPECT_EQ(sizeof(sent) * (before - 1), get_stream(&self->r).tx_bytes);
	/* Room again makes no difference. */
	self->st = get_stream(&self->r);
	self->st.tx_released = self->st.tx_charged;
	put_stream(&self->r, &self->st);
	ASSERT_EQ(100, send(self->app, sent, 100, 0));
	EXPECT_EQ(100, drain(self->peer, got, sizeof(got)));
	EXPECT_NO_EVENT();
}

/* Twice either limit takes the path, as the proxy gives back what it took. */
TEST_F(message, what_is_released_makes_room)
{
	static uint8_t sent[30000], got[20 * (sizeof(sent) + 24)];
	int n = 60;

	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	self->proxy.total_limit = 1 << 20;
	put_proxy(&self->r, &self->proxy);
	for (int i = 1; i <= n; i++) {
		ASSERT_EQ(sizeof(sent), send(self->app, sent, sizeof(sent), 0));
		if (i % 20)
			continue;
		ASSERT_LE(20 * sizeof(sent),
			  drain(self->proxy_in, got, sizeof(got)));
		self->st = get_stream(&self->r);
		self->st.tx_released = self->st.tx_charged;
		put_stream(&self->r, &self->st);
		self->proxy = get_proxy(&self->r);
		self->proxy.released = self->proxy.charged;
		put_proxy(&self->r, &self->proxy);
	}
	EXPECT_EQ(SHUNT_STX_ON, get_stream(&self->r).tx);
	EXPECT_EQ(n, get_stream(&self->r).tx_messages);
	EXPECT_LT(2 << 20, get_stream(&self->r).tx_charged);
	EXPECT_NO_EVENT();
}

TEST_F(message, limit_of_all_streams_together)
{
	char got[64];

	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	self->proxy.charged = 1 << 24;
	self->proxy.released = SHUNT_MSG_OVERHEAD + 4;
	put_proxy(&self->r, &self->proxy);
	ASSERT_EQ(5, send(self->app, "hello", 5, 0));
	EXPECT_EQ(5, drain(self->peer, got, sizeof(got)));
	EXPECT_EVENT(SHUNT_EV_DEMOTED);
	EXPECT_EQ(SHUNT_DEMOTED_ALL, get_stream(&self->r).tx_why);
}

/* A socket option, or the proxy's wish. */
TEST_F(message, one_that_is_excluded_says_why)
{
	char got[64];

	self->st.tx = SHUNT_STX_ON;
	self->st.excluded = SHUNT_DEMOTED_LOST;
	put_stream(&self->r, &self->st);
	ASSERT_EQ(5, send(self->app, "hello", 5, 0));
	EXPECT_EQ(5, drain(self->peer, got, sizeof(got)));
	EXPECT_EVENT(SHUNT_EV_DEMOTED);
	EXPECT_EQ(SHUNT_DEMOTED_LOST, get_stream(&self->r).tx_why);
}

/* The proxy has been killed: its socket is gone from the map. Not a byte of
 * the message is lost. */
TEST_F(message, without_a_proxy_it_is_tcp_again)
{
	static uint8_t sent[50000], got[sizeof(sent) + 100];
	__u32 zero = 0;

	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	bpf_map_delete_elem(MAP_FD(&self->r, redirection), &zero);
	fill(sent, sizeof(sent), 4);
	ASSERT_EQ(sizeof(sent), send(self->app, sent, sizeof(sent), 0));
	ASSERT_EQ(sizeof(sent), drain(self->peer, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, sizeof(sent)));
	EXPECT_EVENT(SHUNT_EV_DEMOTED);
	EXPECT_EQ(0, get_stream(&self->r).tx_bytes);
	EXPECT_EQ(SHUNT_DEMOTED_PROXY, get_stream(&self->r).tx_why);
}

/* ---- TCP's memory, at the limit ---- */

/* Sets net.ipv4.tcp_mem, in pages; `was`, if any, gets what it was. 0 or
 * -errno.
 */
static int tcp_mem(int fd, char *was, size_t size, const char *limits)
{
	ssize_t n = strlen(limits), got = 0;

	if (was)
		got = pread(fd, was, size - 1, 0);
	if (got < 0 || pwrite(fd, limits, n, 0) != n)
		return -errno;
	if (was)
		was[got] = 0;
	return 0;
}

/* Bytes that nobody reads, so that TCP's memory is above any low limit. */
static void hold_memory(struct __test_metadata *_metadata, int *a, int *b)
{
	static char buf[65536];
	size_t held = 0;
	ssize_t n;

	connect_pair(_metadata, a, b);
	while ((n = send(*a, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		held += n;
	ASSERT_LT(1 << 20, held); /* more than a CPU keeps to itself */
}

/* Else the kernel would put a part of a message into the proxy's socket, or
 * have send() fail. */
TEST_F(message, with_tcp_short_of_memory_it_is_tcp_again)
{
	static uint8_t sent[200000], got[sizeof(sent)];
	char was[64];
	int a, b;

	if (!getenv("SHUNT_GUEST"))
		SKIP(return, "net.ipv4.tcp_mem is everyone's on this machine");
	self->st.tx = SHUNT_STX_ON;
	put_stream(&self->r, &self->st);
	fill(sent, sizeof(sent), 9);
	/* It is looked at again: there was room a moment ago. */
	ASSERT_EQ(1000, send(self->app, sent, 1000, 0));
	ASSERT_LE(1000, drain(self->proxy_in, got, sizeof(got)));
	hold_memory(_metadata, &a, &b);
	ASSERT_EQ(0, tcp_mem(self->tcp_mem, was, sizeof(was),
			     "100 1000000 1000000"));
	EXPECT_EQ(sizeof(sent), send(self->app, sent, sizeof(sent), 0));
	EXPECT_EQ(0, tcp_mem(self->tcp_mem, NULL, 0, was));
	EXPECT_TRUE(quiet(self->proxy_in));
	EXPECT_EQ(sizeof(sent), drain(self->peer, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, sizeof(sent)));
	EXPECT_EVENT(SHUNT_EV_DEMOTED);
	close(a);
	close(b);
}

RIG_HARNESS_MAIN(8)
