// SPDX-License-Identifier: GPL-2.0-only
/*
 * TCP ping-pong: N bytes there, N bytes back, one at a time, each round trip
 * timed. Both ends block in recv(), as ordinary programs do.
 */
#include "util.h"

#include <getopt.h>
#include <unistd.h>

#define MAX_BYTES   65536
#define MAX_SAMPLES (1 << 21) /* some 20 s at 10 us each */

static const char usage[] =
	"usage: pingpong server PORT\n"
	"       pingpong client ADDR PORT [-n BYTES] [-t SECONDS]\n"
	"                [-w SECONDS] [-j]\n"
	"  -n  bytes each way (64)     -t  how long (1)\n"
	"  -w  unmeasured before (0.1) -j  JSON\n";

static char buf[MAX_BYTES];

static void send_all(int fd, size_t n)
{
	ssize_t sent;

	for (size_t done = 0; done < n; done += sent) {
		sent = send(fd, buf + done, n - done, MSG_NOSIGNAL);
		if (sent < 0)
			die("send");
	}
}

static void serve(int fd)
{
	ssize_t n;

	no_delay(fd);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		send_all(fd, n);
	close(fd);
}

static int server(const char *port)
{
	int fd, listener = listen_on(port, 0);

	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd >= 0)
			serve(fd);
		else if (errno != ECONNABORTED)
			die("accept");
	}
}

static void round_trip(int fd, size_t bytes)
{
	ssize_t n;

	send_all(fd, bytes);
	for (size_t got = 0; got < bytes; got += n) {
		n = recv(fd, buf, bytes - got, 0);
		if (n <= 0) {
			errno = n ? errno : ECONNRESET;
			die("recv");
		}
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* By the nearest rank. */
static uint32_t percentile(const uint32_t *sorted, size_t n, double p)
{
	size_t rank = p * n;

	return sorted[rank < n ? rank : n - 1];
}

/* How many took how long, as [upper end in ns, number], ...: 8 steps to each
 * power of two. */
static void print_histogram(const uint32_t *sorted, size_t n)
{
	const char *comma = "";
	uint64_t low = 256, end;
	size_t i = 0, from;

	printf(",\"histogram\":[");
	for (unsigned step = 0; i < n; step++) {
		end = low + low * (step % 8 + 1) / 8;
		for (from = i; i < n && sorted[i] < end;)
			i++;
		if (i > from) {
			printf("%s[%llu,%zu]", comma, (unsigned long long)end,
			       i - from);
			comma = ",";
		}
		if (step % 8 == 7)
			low *= 2;
	}
	printf("]");
}

static void print(uint32_t *rtt, size_t n, size_t all, size_t bytes,
		  unsigned tcp_min_us, bool json)
{
	double sum = 0;

	qsort(rtt, n, sizeof(*rtt), compare);
	for (size_t i = 0; i < n; i++)
		sum += rtt[i];
	printf(json ? "{\"bytes\":%zu,\"samples\":%zu,\"min_ns\":%u,"
		      "\"p50_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,"
		      "\"max_ns\":%u,\"mean_ns\":%.0f"
		    : "%zu bytes, %zu round trips\nmin    %9u ns\n"
		      "p50    %9u ns\np99    %9u ns\np99.9  %9u ns\n"
		      "max    %9u ns\nmean   %9.0f ns\n",
	       bytes, n, rtt[0], percentile(rtt, n, 0.5),
	       percentile(rtt, n, 0.99), percentile(rtt, n, 0.999), rtt[n - 1],
	       sum / n);
	if (!json)
		return;
	printf(",\"payload\":%zu,\"tcp_min_us\":%u", 2 * bytes * all,
	       tcp_min_us);
	print_histogram(rtt, n);
	puts("}");
}

/* The kernel's own opinion of the shortest: an outside judge */
static unsigned tcp_min_us(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len)
		       ? 0
		       : info.tcpi_min_rtt;
}

static int client(const char *host, const char *port, size_t bytes,
		  double seconds, double warm_up, bool json)
{
	struct addrinfo *to = resolve(host, port);
	uint32_t *rtt = malloc(MAX_SAMPLES * sizeof(*rtt));
	int fd = socket(to->ai_family, SOCK_STREAM, 0);
	uint64_t start, before, after;
	struct timeval limit = {.tv_sec = 5}; /* a path may lose a message */
	size_t n = 0, warm = 0;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, to->ai_addr, to->ai_addrlen))
		die("cannot connect to %s port %s", host, port);
	if (!rtt)
		die("samples");
	memset(rtt, 1, MAX_SAMPLES * sizeof(*rtt)); /* no page faults later */
	no_delay(fd);
	for (start = now_ns(); now_ns() - start < warm_up * SECOND; warm++)
		round_trip(fd, bytes);
	start = now_ns();
	for (before = start; n < MAX_SAMPLES; before = after) {
		round_trip(fd, bytes);
		after = now_ns();
		rtt[n++] = after - before < UINT32_MAX ? after - before
						       : UINT32_MAX;
		if (after - start >= seconds * SECOND)
			break;
	}
	print(rtt, n, warm + n, bytes, tcp_min_us(fd), json);
	close(fd);
	free(rtt);
	freeaddrinfo(to);
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = 1, warm_up = 0.1;
	size_t bytes = 64;
	bool json = false;
	int opt;

	while ((opt = getopt(argc, argv, "n:t:w:jh")) != -1) {
		switch (opt) {
		case 'n':
			bytes = number(optarg, 1, MAX_BYTES);
			break;
		case 't':
			seconds = number(optarg, 0.01, 3600);
			break;
		case 'w':
			warm_up = number(optarg, 0, 60);
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
		return client(argv[1], argv[2], bytes, seconds, warm_up, json);
	fputs(usage, stderr);
	return 2;
}
