// SPDX-License-Identifier: GPL-2.0-only
/* Sockets on the hosts of a lab, and streams over them. See lab.h. */
#include "lab_own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int make_socket(struct lab *lab, enum lab_host host, int domain,
		       int type, int protocol)
{
	struct timeval t = {.tv_sec = LAB_TIMEOUT};
	int fd, err, one = 1, zero = 0;

	err = lab_enter(lab->ns[host]);
	if (err)
		return err;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	err = fd < 0 ? -errno : 0;
	if (lab_enter(lab->home))
		abort();
	if (err)
		return err;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (domain == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	return fd;
}

int lab_socket(struct lab *lab, enum lab_host host, int domain)
{
	return make_socket(lab, host, domain, SOCK_STREAM, 0);
}

int lab_datagram(struct lab *lab, enum lab_host host, int domain, int protocol)
{
	return make_socket(lab, host, domain, SOCK_DGRAM, protocol);
}

static socklen_t address(struct sockaddr_in6 *a, int domain, int port,
			 const char *addr)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)a;

	memset(a, 0, sizeof(*a));
	a->sin6_family = domain;
	a->sin6_port = htons(port); /* the same place in both */
	if (addr)
		inet_pton(domain, addr,
			  domain == AF_INET ? (void *)&a4->sin_addr
					    : (void *)&a->sin6_addr);
	return domain == AF_INET ? sizeof(*a4) : sizeof(*a);
}

int lab_listen(struct lab *lab, enum lab_host host, int domain, int port)
{
	int fd = lab_socket(lab, host, domain);
	struct sockaddr_in6 a;
	socklen_t len = address(&a, domain, port, NULL);

	if (fd >= 0 &&
	    (bind(fd, (struct sockaddr *)&a, len) || listen(fd, 1024))) {
		fprintf(stderr, "# listen on port %d: %m\n", port);
		close(fd);
		return -errno;
	}
	return fd;
}

int lab_dial(int fd, int domain, int port)
{
	struct sockaddr_in6 a;
	socklen_t len = address(&a, domain, port,
				domain == AF_INET ? "10.77.2.2" : "fd77:2::2");

	return connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
}

int lab_connect(struct lab *lab, int domain, int port)
{
	int fd = lab_socket(lab, CLIENT, domain), err;

	if (fd < 0)
		return fd;
	err = lab_dial(fd, domain, port);
	if (!err)
		return fd;
	fprintf(stderr, "# connect to port %d: %s\n", port, strerror(-err));
	close(fd);
	return err;
}

int lab_pair_on(struct lab *lab, struct lab_pair *pair, int domain,
		int listener)
{
	struct timeval t = {.tv_sec = LAB_TIMEOUT};
	struct sockaddr_in6 a = {};
	socklen_t len = sizeof(a);

	getsockname(listener, (struct sockaddr *)&a, &len);
	pair->c = lab_connect(lab, domain, ntohs(a.sin6_port));
	if (pair->c < 0)
		return pair->c;
	pair->s = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (pair->s < 0) {
		fprintf(stderr, "# accept: %m\n");
		return -errno;
	}
	setsockopt(pair->s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(pair->s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	return 0;
}

int lab_pair(struct lab *lab, struct lab_pair *pair, int domain, int port)
{
	int err, listener = lab_listen(lab, SERVER, domain, port);

	if (listener < 0)
		return listener;
	err = lab_pair_on(lab, pair, domain, listener);
	close(listener);
	return err;
}

void lab_pair_close(struct lab_pair *pair)
{
	close(pair->c);
	close(pair->s);
}

/* ---- streams ---- */

/* splitmix64: any word of the stream without those before it */
static uint64_t word(uint64_t seed, uint64_t index)
{
	uint64_t z = seed * 0x2545f4914f6cdd1dULL +
		     (index + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void pattern(void *buf, uint64_t seed, uint64_t from, size_t len)
{
	uint8_t *p = buf;

	/* Whole words, which is all of it but for some bytes: half the time. */
	for (; from % 8 == 0 && len >= 8; p += 8, from += 8, len -= 8) {
		uint64_t w = word(seed, from / 8);

		memcpy(p, &w, 8);
	}
	while (len) {
		uint64_t w = word(seed, from / 8);
		size_t at = from % 8, n = 8 - at < len ? 8 - at : len;

		memcpy(p, (uint8_t *)&w + at, n);
		p += n;
		from += n;
		len -= n;
	}
}

static uint64_t bits_differ(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += __builtin_popcount(a[i] ^ b[i]);
	return n;
}

#define CHUNK 65536

int stream_run(struct stream *s)
{
	uint8_t *buf = malloc(2 * CHUNK), *want = buf + CHUNK;
	int err = 0;

	while (!err && s->from < s->to) {
		size_t left = s->to - s->from;
		size_t len = left < CHUNK ? left : CHUNK;
		ssize_t n;

		if (s->send) {
			pattern(buf, s->seed, s->from, len);
			n = send(s->fd, buf, len, MSG_NOSIGNAL);
		} else {
			n = recv(s->fd, buf, len, 0);
		}
		if (n <= 0) {
			err = n ? -errno : -EPIPE;
			break;
		}
		if (!s->send) {
			pattern(want, s->seed, s->from, n);
			if (s->count_wrong)
				s->wrong += bits_differ(buf, want, n);
			else if (memcmp(buf, want, n))
				err = -EBADMSG;
		}
		if (!err)
			s->from += n;
	}
	free(buf);
	if (err)
		fprintf(stderr, "# %s: at byte %llu of %llu: %s\n",
			s->send ? "send" : "receive",
			(unsigned long long)s->from, (unsigned long long)s->to,
			strerror(-err));
	s->err = err;
	return err;
}

static void *stream_thread(void *arg)
{
	stream_run(arg);
	return NULL;
}

int stream_start(struct stream *s)
{
	return -pthread_create(&s->thread, NULL, stream_thread, s);
}

int stream_join(struct stream *s)
{
	pthread_join(s->thread, NULL);
	return s->err;
}

int stream_finish(struct stream *tx, struct stream *rx)
{
	int err = stream_run(rx);

	if (err)
		shutdown(tx->fd, SHUT_RDWR); /* or the sender would wait */
	stream_join(tx);
	return err ? err : tx->err;
}

int stream_through(int out, int in, uint64_t seed, size_t len)
{
	struct stream tx = {.fd = out, .send = true, .seed = seed, .to = len};
	struct stream rx = {.fd = in, .seed = seed, .to = len};
	int err = stream_start(&tx);

	return err ? err : stream_finish(&tx, &rx);
}

bool stream_at_end(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

int stream_sent_again(int fd, struct sent_again *n)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return -errno;
	n->all += info.tcpi_total_retrans;
	n->needless += info.tcpi_dsack_dups;
	return 0;
}

int make_file(const char *path, uint64_t seed, size_t len)
{
	uint8_t *buf = malloc(len);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int err = 0;

	if (fd < 0 || !buf)
		err = -errno;
	if (!err) {
		pattern(buf, seed, 0, len);
		if (write(fd, buf, len) != (ssize_t)len)
			err = -EIO;
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return err;
}
