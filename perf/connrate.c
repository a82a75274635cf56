// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connections per second: connect, 64 bytes there, 64 bytes back, close; a few
 * at a time. The server closes first, so TIME_WAIT is its and the client can
 * use its ports again.
 */
#include "util.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BYTES	  64
#define MAX_CONNS 1024
#define EVENTS	  64

static const char usage[] =
	"usage: connrate server PORT\n"
	"       connrate client ADDR PORT [-c CONNECTIONS] [-t SECONDS] [-j]\n"
	"  -c  at a time (16)   -t  how long (1)   -j  JSON\n";

static char buf[4096];

static int watch(int epoll, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	return epoll_ctl(epoll, op, fd, &e);
}

/* ---- server ---- */

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		if (watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, fd))
			die("epoll");
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept");
}

static int server(const char *port)
{
	int listener = listen_on(port, SOCK_NONBLOCK);
	int epoll = epoll_create1(0);
	struct epoll_event events[EVENTS];
	int n, fd;

	if (epoll < 0 ||
	    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, listener))
		die("epoll");
	for (;;) {
		n = epoll_wait(epoll, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll");
		for (int i = 0; i < n; i++) {
			fd = events[i].data.fd;
			if (fd == listener) {
				accept_all(epoll, listener);
				continue;
			}
			/* A request comes in one piece; the answer always
			 * fits. Who does else loses the connection. */
			if (recv(fd, buf, sizeof(buf), 0) == BYTES)
				send(fd, buf, BYTES, MSG_NOSIGNAL);
			close(fd);
		}
	}
}

/* ---- client ---- */

struct conn {
	int fd;
	bool asked;
	int got;
};

struct run {
	int epoll;
	struct addrinfo *to;
	struct conn conns[MAX_CONNS];
	uint64_t done;
	uint64_t errors;
};

static void start(struct run *r, int i)
{
	struct conn *c = &r->conns[i];

	c->asked = false;
	c->got = 0;
	c->fd = socket(r->to->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		die("socket");
	if (connect(c->fd, r->to->ai_addr, r->to->ai_addrlen) &&
	    errno != EINPROGRESS)
		die("connect");
	if (watch(r->epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, i))
		die("epoll");
}

/* One step of a connection: 0 to go on, 1 when it is complete, or -1. */
static int step(struct run *r, int i)
{
	struct conn *c = &r->conns[i];
	ssize_t n;

	if (!c->asked) {
		if (send(c->fd, buf, BYTES, MSG_NOSIGNAL) != BYTES)
			return -1;
		c->asked = true;
		return watch(r->epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, i);
	}
	while ((n = recv(c->fd, buf, sizeof(buf), 0)) > 0)
		c->got += n;
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return c->got == BYTES ? 1 : -1;
}

static int client(const char *host, const char *port, int conns, double seconds,
		  bool json)
{
	struct run *r = calloc(1, sizeof(*r));
	struct epoll_event events[EVENTS];
	uint64_t begin, elapsed;
	int n, state, i;

	if (!r)
		die("memory");
	r->to = resolve(host, port);
	r->epoll = epoll_create1(0);
	if (r->epoll < 0)
		die("epoll");
	begin = now_ns();
	for (i = 0; i < conns; i++)
		start(r, i);
	do {
		n = epoll_wait(r->epoll, events, EVENTS, 1000);
		if (n < 0 && errno != EINTR)
			die("epoll");
		for (int e = 0; e < n; e++) {
			i = events[e].data.u64;
			state = step(r, i);
			if (!state)
				continue;
			if (state > 0)
				r->done++;
			else
				r->errors++;
			close(r->conns[i].fd);
			start(r, i);
		}
		elapsed = now_ns() - begin;
	} while (elapsed < seconds * SECOND);
	printf(json ? "{\"connections\":%llu,\"errors\":%llu,"
		      "\"per_second\":%.1f,\"payload\":%llu}\n"
		    : "%llu connections, %llu errors, %.1f per second\n",
	       (unsigned long long)r->done, (unsigned long long)r->errors,
	       (double)r->done * SECOND / elapsed,
	       (unsigned long long)r->done * 2 * BYTES);
	freeaddrinfo(r->to);
	free(r);
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = 1;
	bool json = false;
	int opt, conns = 16;

	while ((opt = getopt(argc, argv, "c:t:jh")) != -1) {
		switch (opt) {
		case 'c':
			conns = number(optarg, 1, MAX_CONNS);
			break;
		case 't':
			seconds = number(optarg, 0.01, 3600);
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	argv += optind;
	argc -= optind;
	if (argc == 2 && !strcmp(argv[0], "server"))
		return server(argv[1]);
	if (argc == 3 && !strcmp(argv[0], "client"))
		return client(argv[1], argv[2], conns, seconds, json);
	fputs(usage, stderr);
	return 2;
}
