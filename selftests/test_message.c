// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path's SK_MSG programs, on real sockets over loopback, with the
 * test in the proxy's place: what they hand to it, and what they take from it.
 */
#include "bpf_run.h"
#include "harness.h"
#include "rig_maps.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define STREAM 3
#define TOKEN  0x70c3e001
#define BIG    (1 << 20)

FIXTURE(message)
{
	struct rig r;
	struct shunt_stream st;
	struct shunt_proxy proxy;
	int app, peer;	     /* the application's socket, and its far end */
	int proxy_in, other; /* the redirection socket, and its far end */
	int tcp_mem;	     /* the limits of TCP's memory, in no namespace */
};

static void connect_pair(struct __test_metadata *_metadata, int *a, int *b)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	*a = socket(AF_INET, SOCK_STREAM, 0);
	ASSERT_EQ(0, bind(listener, (struct sockaddr *)&at, len));
	ASSERT_EQ(0, listen(listener, 1));
	ASSERT_EQ(0, getsockname(listener, (struct sockaddr *)&at, &len));
	ASSERT_EQ(0, connect(*a, (struct sockaddr *)&at, len));
	*b = accept(listener, NULL, NULL);
	ASSERT_LE(0, *b);
	close(listener);
}

static void put_proxy(struct rig *r, const struct shunt_proxy *proxy)
{
	map_put(MAP_FD(r, message_proxy), 0, proxy);
}

static void put_stream(struct rig *r, const struct shunt_stream *st)
{
	stream_put(r, STREAM, st);
}

static struct shunt_stream get_stream(struct rig *r)
{
	struct shunt_stream st = {};

	stream_get(r, STREAM, &st);
	return st;
}

static int put_socket(int map, __u32 index, int fd)
{
	__u64 value = fd;

	return map_put(map, index, &value);
}

FIXTURE_SETUP(message)
{
	struct rig *r = &self->r;
	__u32 number = STREAM;
	int err;

	self->tcp_mem = open("/proc/sys/net/ipv4/tcp_mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->tcp_mem);
	ASSERT_EQ(0, rig_open(r, 8));
	ASSERT_EQ(0, rig_netns(r, 1500));
	ASSERT_EQ(0, system("ip link set lo up"));
	connect_pair(_metadata, &self->app, &self->peer);
	connect_pair(_metadata, &self->proxy_in, &self->other);
	ASSERT_EQ(0,
		  bpf_prog_attach(
			  bpf_program__fd(r->hooks->progs.shunt_msg_redirector),
			  MAP_FD(r, message_socks), BPF_SK_MSG_VERDICT, 0));
	ASSERT_EQ(0, bpf_prog_attach(
			     bpf_program__fd(r->hooks->progs.shunt_msg_deliver),
			     MAP_FD(r, redirection), BPF_SK_MSG_VERDICT, 0));
	ASSERT_EQ(0, put_socket(MAP_FD(r, message_socks), STREAM, self->app));
	ASSERT_EQ(0, put_socket(MAP_FD(r, redirection), 0, self->proxy_in));
	err = bpf_map_update_elem(MAP_FD(r, stream_of), &self->app, &number,
				  BPF_ANY);
	if (err == -ENOMEM)
		SKIP(return, "no storage for sockets: see `shunt doctor`");
	ASSERT_EQ(0, err);
	self->st.life = SHUNT_STREAM_OPEN;
	self->st.token_local = TOKEN;
	self->proxy.up = 1;
	self->proxy.stream_limit = 1 << 20;
	self->proxy.total_limit = 1 << 24;
	put_proxy(r, &self->proxy);
	put_stream(r, &self->st);
}

FIXTURE_TEARDOWN(message)
{
	close(self->app);
	close(self->proxy_in);
	close(self->tcp_mem);
	rig_close(&self->r);
}

/* All that is there to read now. */
static ssize_t drain(int fd, void *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t at = 0;
	ssize_t n;

	while (at < size && poll(&p, 1, at ? 50 : 1000) > 0) {
		n = recv(fd, (char *)buf + at, size - at, MSG_DONTWAIT);
		if (n <= 0)
			break;
		at += n;
	}
	return at;
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

static bool quiet(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 50) == 0;
}

static void fill(uint8_t *b, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		b[i] = (seed = seed * 1103515245 + 12345) >> 16;
}

static __u32 next_event(struct rig *r)
{
	struct shunt_event e;

	return event_get(r, &e, NULL) && e.stream == STREAM ? e.type + 1 : 0;
}

#define EXPECT_EVENT(type) EXPECT_EQ((type) + 1, next_event(&self->r))
#define EXPECT_NO_EVENT()  EXPECT_EQ(0, next_event(&self->r))

/* ---- from the application ---- */

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
	while (quiet(self->peer) && before < 1000) {
		ASSERT_EQ(sizeof(sent), send(self->app, sent, sizeof(sent), 0));
		before++;
	}
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

/* ---- to the application ---- */

static struct shunt_record record(uint32_t length)
{
	return (struct shunt_record){.magic = SHUNT_RECORD_MAGIC,
				     .stream = STREAM,
				     .length = length,
				     .token = TOKEN};
}

/* Several records in one send, of sizes around pages and sk_msg's limits. */
TEST_F(message, each_header_governs_its_own_bytes)
{
	static const uint32_t sizes[] = {1,	4095, 4096,  4097,   65536,
					 65537, 1400, 17,    262144, 300000,
					 23,	24,   32768, 32769,  2};
	static uint8_t sent[BIG], got[BIG];
	struct iovec iov[2 * ARRAY_SIZE(sizes)];
	struct shunt_record rec[ARRAY_SIZE(sizes)];
	struct msghdr m = {.msg_iov = iov};
	size_t payload = 0, whole = 0;

	fill(sent, sizeof(sent), 5);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		rec[i] = record(sizes[i]);
		iov[m.msg_iovlen++] = (struct iovec){&rec[i], sizeof(rec[i])};
		iov[m.msg_iovlen++] = (struct iovec){sent + payload, sizes[i]};
		payload += sizes[i];
		whole += sizes[i] + sizeof(rec[i]);
	}
	ASSERT_LE(payload, sizeof(sent));
	EXPECT_EQ(whole, sendmsg(self->proxy_in, &m, 0));
	EXPECT_EQ(payload, drain(self->app, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, payload));
	EXPECT_TRUE(quiet(self->other));
}

/* One header, and the payload in many small pieces, as datagrams leave it. */
TEST_F(message, a_header_and_many_pieces)
{
	static uint8_t sent[400 * 997], got[sizeof(sent)];
	struct shunt_record rec = record(sizeof(sent));
	struct iovec iov[401] = {{&rec, sizeof(rec)}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 401};

	fill(sent, sizeof(sent), 6);
	for (int i = 0; i < 400; i++)
		iov[1 + i] = (struct iovec){sent + 997 * i, 997};
	EXPECT_EQ(sizeof(sent) + sizeof(rec), sendmsg(self->proxy_in, &m, 0));
	EXPECT_EQ(sizeof(sent), drain(self->app, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, sizeof(sent)));
}

static __u32 cuts(struct rig *r)
{
	struct shunt_proxy proxy = {};
	__u32 zero = 0;

	bpf_map_lookup_elem(MAP_FD(r, message_proxy), &zero, &proxy);
	return proxy.cut;
}

/* Nothing reaches the application, the proxy is told, one byte comes out at the
 * far end; and the next good record is delivered. */
TEST_F(message, bad_records_are_refused)
{
	static struct {
		struct shunt_record r;
		char text[40000];
	} __attribute__((packed)) rec;
	static char got[50000];

	fill((uint8_t *)rec.text, sizeof(rec.text), 7);
	for (int i = 0; i < 9; i++) {
		__u32 index = STREAM, cut = cuts(&self->r);
		size_t size = sizeof(rec);

		rec.r = record(sizeof(rec.text));
		switch (i) {
		case 0:
			rec.r.magic ^= 1;
			break;
		case 1:
			rec.r.stream = 0;
			break;
		case 2:
			rec.r.stream = RIG_STREAMS + 1;
			break;
		case 3:
			rec.r.stream = STREAM + 1; /* not open */
			break;
		case 4:
			rec.r.token ^= 0x80000000;
			break;
		case 5:
			rec.r.length = 0;
			break;
		case 6:
			size = sizeof(rec.r) - 1;
			break;
		case 7: /* its connection has ended … */
			self->st.life = SHUNT_STREAM_CLOSED;
			put_stream(&self->r, &self->st);
			break;
		case 8: /* … or its socket has just gone */
			bpf_map_delete_elem(MAP_FD(&self->r, message_socks),
					    &index);
			break;
		}
		EXPECT_EQ(size, send(self->proxy_in, &rec, size, 0));
		EXPECT_EQ(1, drain(self->other, got, sizeof(got)))
		TH_LOG("case %d", i);
		EXPECT_TRUE(quiet(self->app));
		/* With a number that can't be there is no loop to tell; what
		 * is no record is the rest of one that was cut. */
		EXPECT_EQ(i == 0 || i == 6, cuts(&self->r) != cut)
		TH_LOG("case %d", i);
		EXPECT_EQ(i != 0 && i != 2 && i != 6,
			  !!event_get(&self->r, &(struct shunt_event){}, NULL))
		TH_LOG("case %d", i);
		EXPECT_NO_EVENT();

		self->st.life = SHUNT_STREAM_OPEN;
		put_stream(&self->r, &self->st);
		if (i == 8)
			break;
		rec.r = record(sizeof(rec.text));
		EXPECT_EQ(sizeof(rec),
			  send(self->proxy_in, &rec, sizeof(rec), 0));
		EXPECT_EQ(sizeof(rec.text), drain(self->app, got, sizeof(got)));
		EXPECT_EQ(0, memcmp(rec.text, got, sizeof(rec.text)));
		EXPECT_TRUE(quiet(self->other));
	}
}

RIG_HARNESS_MAIN(8)
