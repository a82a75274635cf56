// SPDX-License-Identifier: GPL-2.0-only
/*
 * A paced writer over TCP: messages of N bytes, each one send(), at a fixed
 * rate. The reader checks every byte, and says how much has come, when, and how
 * long messages took (both ends have the same clock, as they are on one
 * machine). The writer waits for that before it closes, so that no FIN is in
 * the way of data.
 */
#include "util.h"

#include <getopt.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_BYTES (1 << 20)
#define SHIFTS	  4093 /* messages in a row differ: a prime, < PATTERN's slack */
#define WAIT_MS	  10000

/* Of delays: 32 to each power of two, so within 3%. */
#define BITS	5
#define BUCKETS (60 << BITS)

static const char usage[] =
	"usage: paced server PORT\n"
	"       paced client ADDR PORT [-n BYTES] [-r MBIT] [-t SECONDS] [-j]\n"
	"  -n  bytes of a message (1400)   -t  how long (1)\n"
	"  -r  Mbit/s of payload (100)     -j  JSON\n";

/* In front of each message, and part of its bytes. */
struct stamp {
	uint64_t number; /* LAST: there are no more */
	uint64_t sent_ns;
};
#define LAST UINT64_MAX

/* The reader's answer. */
struct report {
	uint64_t messages;
	uint64_t errors; /* 1: something else came than was sent */
	uint64_t first_ns, last_ns;
	uint64_t p50_ns, p99_ns, max_ns;
};

static unsigned char pattern[MAX_BYTES + SHIFTS];

static void make_pattern(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < sizeof(pattern); i++) {
		x = x * 1664525 + 1013904223; /* Numerical Recipes' LCG */
		pattern[i] = x >> 24;
	}
}

static const unsigned char *payload(uint64_t number)
{
	return pattern + number % SHIFTS;
}

/* ---- delays ---- */

static uint64_t delays[BUCKETS];

static void add_delay(uint64_t ns)
{
	int shift = 0;

	while (ns >> (shift + BITS + 1))
		shift++;
	delays[(shift << BITS) + (ns >> shift)]++;
}

static uint64_t delay(double p, uint64_t n)
{
	uint64_t rank = p * n, i = 0;

	for (; i < BUCKETS - 1 && rank >= delays[i]; i++)
		rank -= delays[i];
	return i < 2 << BITS ? i
			     : ((i & ((1 << BITS) - 1)) + (1 << BITS))
				       << ((i >> BITS) - 1);
}

/* ---- the reader ---- */

/* All of it, or false: the writer has gone. */
static bool read_all(int fd, void *to, size_t n)
{
	ssize_t got;

	for (size_t done = 0; done < n; done += got) {
		got = recv(fd, (char *)to + done, n - done, 0);
		if (got <= 0)
			return false;
	}
	return true;
}

/* Takes whole messages of `bytes` off buf. True when there will be no more. */
static bool check(struct report *r, unsigned char *buf, size_t *have,
		  size_t bytes)
{
	uint64_t now = now_ns();
	struct stamp s;
	size_t at;

	for (at = 0; *have - at >= sizeof(s); at += bytes) {
		memcpy(&s, buf + at, sizeof(s));
		if (s.number == LAST)
			return true;
		if (s.number != r->messages) {
			r->errors++;
			return true;
		}
		if (*have - at < bytes)
			break;
		if (memcmp(buf + at + sizeof(s), payload(s.number),
			   bytes - sizeof(s))) {
			r->errors++;
			return true;
		}
		if (!r->messages++)
			r->first_ns = s.sent_ns;
		r->last_ns = now;
		if (now - s.sent_ns > r->max_ns)
			r->max_ns = now - s.sent_ns;
		add_delay(now - s.sent_ns);
	}
	*have -= at;
	memmove(buf, buf + at, *have);
	return false;
}

static void serve(int fd)
{
	static unsigned char buf[MAX_BYTES + (256 << 10)];
	struct report r = {};
	uint64_t bytes;
	size_t have = 0;
	ssize_t n;

	no_delay(fd);
	memset(delays, 0, sizeof(delays));
	if (!read_all(fd, &bytes, sizeof(bytes)) || bytes > MAX_BYTES ||
	    bytes < sizeof(struct stamp))
		return;
	do {
		n = recv(fd, buf + have, sizeof(buf) - have, 0);
		if (n <= 0)
			return;
		have += n;
	} while (!check(&r, buf, &have, bytes));
	r.p50_ns = delay(0.5, r.messages);
	r.p99_ns = delay(0.99, r.messages);
	send(fd, &r, sizeof(r), MSG_NOSIGNAL);
	/* The writer closes first, when it has the answer. */
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

static int server(const char *port)
{
	int fd, listener = listen_on(port, 0);

	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0 && errno != ECONNABORTED)
			die("accept");
		if (fd >= 0) {
			serve(fd);
			close(fd);
		}
	}
}

/* ---- the writer ---- */

static void wait_until(uint64_t ns)
{
	struct timespec t = {ns / SECOND, ns % SECOND};

	if (now_ns() < ns)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void send_message(int fd, uint64_t number, size_t bytes)
{
	struct stamp s = {number, now_ns()};
	struct iovec iov[] = {
		{&s, sizeof(s)},
		{(void *)payload(number), bytes - sizeof(s)},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	while ((n = sendmsg(fd, &msg, MSG_NOSIGNAL)) < (ssize_t)bytes) {
		if (n < 0)
			die("send");
		bytes -= n;
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)n < iov[i].iov_len
					      ? (size_t)n
					      : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			n -= part;
		}
	}
}

/* Messages that were sent; fewer than were due if the reader had to say
 * something earlier. */
static uint64_t write_paced(int fd, size_t bytes, double mbit, double seconds)
{
	struct pollfd early = {.fd = fd, .events = POLLIN};
	double gap_ns = bytes * 8e3 / mbit;
	uint64_t start = now_ns(), n = 0;

	while (n * gap_ns < seconds * SECOND &&
	       now_ns() - start < (seconds + 1) * SECOND) {
		wait_until(start + n * gap_ns);
		send_message(fd, n++, bytes);
		if (!(n & 1023) && poll(&early, 1, 0) > 0)
			break;
	}
	return n;
}

static void print(const struct report *r, uint64_t sent, size_t bytes,
		  double mbit, bool json)
{
	double seconds = (r->last_ns - r->first_ns) / 1e9;
	uint64_t total = r->messages * bytes;

	printf(json ? "{\"message_bytes\":%zu,\"target_mbit\":%g,\"sent\":%lu,"
		      "\"messages\":%lu,\"bytes\":%lu,\"seconds\":%.6f,"
		      "\"mbit\":%.3f,\"errors\":%lu,\"p50_ns\":%lu,"
		      "\"p99_ns\":%lu,\"max_ns\":%lu}\n"
		    : "messages of %zu bytes at %g Mbit/s\nsent   %9lu\n"
		      "came   %9lu, %lu bytes in %.3f s\nrate   %9.1f Mbit/s\n"
		      "errors %9lu\np50    %9lu ns\np99    %9lu ns\n"
		      "max    %9lu ns\n",
	       bytes, mbit, sent, r->messages, total, seconds,
	       seconds > 0 ? total * 8e-6 / seconds : 0, r->errors, r->p50_ns,
	       r->p99_ns, r->max_ns);
}

static int client(const char *host, const char *port, size_t bytes, double mbit,
		  double seconds, bool json)
{
	struct addrinfo *to = resolve(host, port);
	int fd = socket(to->ai_family, SOCK_STREAM, 0);
	struct stamp last = {LAST, 0};
	struct report r = {};
	uint64_t sent, n = bytes;
	struct pollfd answer = {.fd = fd, .events = POLLIN};

	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen))
		die("cannot connect to %s port %s", host, port);
	freeaddrinfo(to);
	no_delay(fd);
	prctl(PR_SET_TIMERSLACK, 1);
	if (send(fd, &n, sizeof(n), MSG_NOSIGNAL) != sizeof(n))
		die("send");
	sent = write_paced(fd, bytes, mbit, seconds);
	if (send(fd, &last, sizeof(last), MSG_NOSIGNAL) != sizeof(last))
		die("send");
	/* It lacks something if it does not answer. */
	if (poll(&answer, 1, WAIT_MS) <= 0 || !read_all(fd, &r, sizeof(r)))
		r = (struct report){.errors = 1};
	if (!r.errors && r.messages != sent)
		r.errors = 1;
	print(&r, sent, bytes, mbit, json);
	close(fd);
	return r.errors ? 1 : 0;
}

int main(int argc, char **argv)
{
	double mbit = 100, seconds = 1;
	size_t bytes = 1400;
	bool json = false;
	int opt;

	while ((opt = getopt(argc, argv, "n:r:t:jh")) != -1) {
		switch (opt) {
		case 'n':
			bytes = number(optarg, sizeof(struct stamp), MAX_BYTES);
			break;
		case 'r':
			mbit = number(optarg, 0.001, 1e6);
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
	make_pattern();
	argv += optind;
	argc -= optind;
	if (argc == 2 && !strcmp(argv[0], "server"))
		return server(argv[1]);
	if (argc == 3 && !strcmp(argv[0], "client"))
		return client(argv[1], argv[2], bytes, mbit, seconds, json);
	fputs(usage, stderr);
	return 2;
}
