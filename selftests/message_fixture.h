/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For the tests of the message path's SK_MSG programs: real sockets over
 * loopback, with the test in the proxy's place.
 */
#ifndef MESSAGE_FIXTURE_H
#define MESSAGE_FIXTURE_H

#include "bpf_run.h"
#include "harness.h"
#include "rig_maps.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAM 3
#define TOKEN  0x70c3e001

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

static struct shunt_proxy get_proxy(struct rig *r)
{
	struct shunt_proxy proxy = {};
	__u32 zero = 0;

	bpf_map_lookup_elem(MAP_FD(r, message_proxy), &zero, &proxy);
	return proxy;
}

static void put_stream(struct rig *r, const struct shunt_stream *st)
{
	stream_put(r, STREAM, st);
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

#endif
