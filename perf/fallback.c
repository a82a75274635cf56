// SPDX-License-Identifier: GPL-2.0-only
/*
 * The workload of perf/fallback: how long a client waits for the first byte of
 * an answer, and how long a stream stands still at most.
 *
 *   fallback serve PORT
 *   fallback first HOST PORT COUNT        medians, in microseconds
 *   fallback stream HOST PORT up|down SECONDS
 *                                         the longest pause, in milliseconds
 */
#include "util.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define CHUNK 65536

static uint64_t seconds(const char *text)
{
	return number(text, 0.1, 100) * SECOND;
}

/* Send for so long: 0, or -1 if it broke. */
static int send_for(int fd, uint64_t ns)
{
	static const char chunk[CHUNK];
	uint64_t end = now_ns() + ns;

	while (now_ns() < end)
		if (send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL) <= 0)
			return -1;
	return shutdown(fd, SHUT_WR);
}

/* Receive to the end: the longest time without anything, in ns. */
static uint64_t longest_pause(int fd)
{
	static __thread char chunk[CHUNK];
	uint64_t last = 0, now, longest = 0;

	while (recv(fd, chunk, sizeof(chunk), 0) > 0) {
		now = now_ns();
		if (last && now - last > longest)
			longest = now - last;
		last = now;
	}
	return longest;
}

/* A request is a word and, for `down`, so many nanoseconds. */
struct request {
	char word[8];
	uint64_t ns;
};

static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct request r = {};
	uint64_t longest;

	if (recv(fd, &r, sizeof(r), MSG_WAITALL) == sizeof(r)) {
		if (!strcmp(r.word, "first")) {
			send(fd, "x", 1, MSG_NOSIGNAL);
		} else if (!strcmp(r.word, "down")) {
			send_for(fd, r.ns);
		} else if (!strcmp(r.word, "up")) {
			longest = longest_pause(fd);
			send(fd, &longest, sizeof(longest), MSG_NOSIGNAL);
		}
	}
	close(fd);
	return NULL;
}

static void serve(const char *port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6,
				 .sin6_port = htons(number(port, 1, 65535))};
	int one = 1, fd = socket(AF_INET6, SOCK_STREAM, 0);
	pthread_t thread;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(fd, 64))
		die("port %s", port);
	for (;;) {
		intptr_t c = accept(fd, NULL, NULL);

		if (c >= 0 &&
		    !pthread_create(&thread, NULL, serve_one, (void *)c))
			pthread_detach(thread);
	}
}

static int ask(const struct addrinfo *to, const char *word, uint64_t ns)
{
	struct request r = {.ns = ns};
	int fd = socket(to->ai_family, SOCK_STREAM, 0);

	snprintf(r.word, sizeof(r.word), "%s", word);
	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen))
		die("connect");
	if (send(fd, &r, sizeof(r), MSG_NOSIGNAL) != sizeof(r))
		die("send");
	return fd;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void first(const struct addrinfo *to, const char *count)
{
	int n = number(count, 1, 10000);
	uint64_t *times = calloc(n, sizeof(*times)), start;
	char byte;

	if (!times)
		die("no memory");
	for (int i = 0; i < n; i++) {
		int fd;

		start = now_ns();
		fd = ask(to, "first", 0);
		if (recv(fd, &byte, 1, 0) != 1)
			die("recv");
		times[i] = now_ns() - start;
		close(fd);
	}
	qsort(times, n, sizeof(*times), compare);
	printf("%.1f\n", times[n / 2] / 1e3);
	free(times);
}

static void stream(const struct addrinfo *to, const char *direction,
		   const char *duration)
{
	uint64_t longest = 0, ns = seconds(duration);
	int fd = ask(to, direction, ns);

	if (!strcmp(direction, "down"))
		longest = longest_pause(fd);
	else if (send_for(fd, ns) || recv(fd, &longest, sizeof(longest),
					  MSG_WAITALL) != sizeof(longest))
		die("up");
	printf("%.1f\n", longest / 1e6);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(argv[2]);
	else if (argc == 5 && !strcmp(argv[1], "first"))
		first(resolve(argv[2], argv[3]), argv[4]);
	else if (argc == 6 && !strcmp(argv[1], "stream"))
		stream(resolve(argv[2], argv[3]), argv[4], argv[5]);
	else
		die("usage: see the top of perf/fallback.c");
	return 0;
}
