/* SPDX-License-Identifier: GPL-2.0-only */
/* What the workloads share. They measure, and leave judging to `report`. */
#ifndef PERF_UTIL_H
#define PERF_UTIL_H

#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SECOND 1000000000ULL

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

/* Says what is wrong and ends. With errno, unless that is 0. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void
die(const char *fmt, ...)
{
	int err = errno;
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, err ? ": %s\n" : "\n", strerror(err));
	exit(1);
}

/* A number within limits, or the end of the program. */
static inline double number(const char *text, double min, double max)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || !(n >= min && n <= max)) {
		errno = 0;
		die("'%s' is not a number from %g to %g", text, min, max);
	}
	return n;
}

static inline struct addrinfo *resolve(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found;
	int err = getaddrinfo(host, port, &hints, &found);

	if (err) {
		errno = 0;
		die("%s port %s: %s", host, port, gai_strerror(err));
	}
	return found;
}

static inline int listen_on(const char *port, int flags)
{
	struct addrinfo *at = resolve("::", port);
	int one = 1, fd = socket(at->ai_family, SOCK_STREAM | flags, 0);

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, 4096))
		die("cannot listen on port %s", port);
	freeaddrinfo(at);
	return fd;
}

static inline void no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
}

#endif
