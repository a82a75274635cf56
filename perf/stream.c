// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files, paced streams and open connections, over TCP as applications use it:
 * blocking sockets, no option that shunt could notice. An end of a connection
 * is never the end of the data: an unreliable path (perf/copying) loses bytes,
 * and how many is part of what is measured.
 */
#include "util.h"

#include <getopt.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ECHOES	  8    /* more than it takes to be on the message path */
#define QUIET_S	  5    /* nothing for so long: the rest is lost; */
#define PACED_S	  1    /* … of what comes at a pace */
#define LATE	  0.05 /* sustained: all is there so much later at most, */
#define LATE_NS	  20e6 /* or so many ns */
#define MAX_WRITE 131072
#define MAX_FILE  (64 << 20)
#define MAX_CONNS 4000
#define STACK	  65536

static const char usage[] =
	"usage: stream server PORT\n"
	"       stream file ADDR PORT BYTES [-k]\n"
	"       stream paced ADDR PORT BITS_PER_SECOND [-t SECONDS] [-n "
	"BYTES]\n"
	"       stream hold ADDR PORT CONNECTIONS\n"
	"  file   fetch so many bytes: time from connect() to the last one\n"
	"         -k  on a connection that is in use already: from the "
	"request\n"
	"  paced  write at that rate (0: as fast as it goes), in writes of "
	"BYTES\n"
	"         (16384) for SECONDS (1)\n"
	"  hold   open so many, each used 8 times: memory that one takes, at "
	"both\n"
	"         ends\n"
	"Clients print JSON.\n";

enum {
	OP_ECHO, /* this very request comes back */
	OP_FILE, /* so many bytes come back */
	OP_TAKE, /* so many bytes follow; then struct taken comes back */
};

struct request {
	uint64_t op, bytes;
};

struct taken {
	uint64_t bytes, last_ns;
};

static char buf[MAX_WRITE];

/* Of a guest with an emulated processor */
static int slowness(void)
{
	const char *factor = getenv("SHUNT_TIME_FACTOR");

	return factor && atoi(factor) > 1 ? atoi(factor) : 1;
}

/* 0, or -1 */
static int write_all(int fd, const void *data, size_t n)
{
	ssize_t k;

	for (size_t done = 0; done < n; done += k) {
		k = send(fd, (const char *)data + done, n - done, MSG_NOSIGNAL);
		if (k < 0)
			return -1;
	}
	return 0;
}

/* Not MSG_WAITALL, which the message path does not have. Less than n at the
 * end, or when nothing more came in time. */
static size_t read_some(int fd, void *data, size_t n)
{
	size_t done = 0;
	ssize_t k;

	while (done < n && (k = read(fd, (char *)data + done, n - done)) > 0)
		done += k;
	return done;
}

/* No two parts alike (xorshift), and the same at both ends. */
static void fill(char *data, size_t n)
{
	uint64_t x = 88172645463325252ULL;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = x;
	}
}

/* ---- server ---- */

static char *file_data; /* a shorter file is the beginning of it */

static int send_file(int fd, uint64_t bytes)
{
	for (size_t at = 0, n; at < bytes; at += n) {
		n = bytes - at < MAX_WRITE ? bytes - at : MAX_WRITE;
		if (write_all(fd, file_data + at, n))
			return -1;
	}
	return 0;
}

static int take(int fd, uint64_t bytes)
{
	struct timeval quiet = {.tv_sec = PACED_S * slowness()}, forever = {};
	struct taken taken = {};
	char *chunk = malloc(MAX_WRITE);
	ssize_t k;

	if (!chunk)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
	while (taken.bytes < bytes && (k = read(fd, chunk, MAX_WRITE)) > 0) {
		taken.bytes += k;
		taken.last_ns = now_ns();
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	free(chunk);
	/* What comes later is no request. */
	return write_all(fd, &taken, sizeof(taken)) || taken.bytes < bytes;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg, err = 0;
	struct request r;

	no_delay(fd);
	while (!err && read_some(fd, &r, sizeof(r)) == sizeof(r)) {
		if (r.op == OP_ECHO)
			err = write_all(fd, &r, sizeof(r));
		else if (r.op == OP_FILE && r.bytes <= MAX_FILE)
			err = send_file(fd, r.bytes);
		else if (r.op == OP_TAKE)
			err = take(fd, r.bytes);
		else
			err = -1;
	}
	close(fd);
	return NULL;
}

static int server(const char *port)
{
	int listener = listen_on(port, 0);
	pthread_attr_t attr;
	pthread_t thread;
	intptr_t fd;

	file_data = malloc(MAX_FILE);
	if (!file_data || pthread_attr_init(&attr) ||
	    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) ||
	    pthread_attr_setstacksize(&attr, STACK))
		die("memory");
	fill(file_data, MAX_FILE);
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0 && errno != ECONNABORTED)
			die("accept");
		if (fd >= 0 &&
		    pthread_create(&thread, &attr, serve, (void *)fd))
			close(fd);
	}
}

/* ---- client ---- */

static int open_connection(const char *host, const char *port)
{
	struct addrinfo *to = resolve(host, port);
	struct timeval quiet = {.tv_sec = QUIET_S * slowness()};
	int fd = socket(to->ai_family, SOCK_STREAM, 0);

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet)))
		die("socket");
	no_delay(fd);
	if (connect(fd, to->ai_addr, to->ai_addrlen))
		die("cannot connect to %s port %s", host, port);
	freeaddrinfo(to);
	return fd;
}

static void ask(int fd, const struct request *r)
{
	if (write_all(fd, r, sizeof(*r)))
		die("send");
}

/* Requests and answers, so that whatever a path does first has been done. */
static void use(int fd, int times)
{
	struct request r = {.op = OP_ECHO}, answer;

	for (int i = 0; i < times; i++) {
		ask(fd, &r);
		if (read_some(fd, &answer, sizeof(answer)) != sizeof(answer))
			die("no answer");
	}
}

/* ---- files ---- */

/* By the program of that name: 64 digits. */
static void sha256(const char *data, size_t n, char digits[65])
{
	int in[2], out[2];
	pid_t pid;

	if (pipe(in) || pipe(out))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		close(in[1]);
		close(out[0]);
		execlp("sha256sum", "sha256sum", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	for (size_t done = 0; done < n;) {
		ssize_t k = write(in[1], data + done, n - done);

		if (k < 0)
			die("sha256sum");
		done += k;
	}
	close(in[1]);
	if (read_some(out[0], digits, 64) != 64)
		die("sha256sum");
	digits[64] = 0;
	close(out[0]);
}

/* What TCP lets the other end send at once, now */
static unsigned int window(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		die("TCP_INFO");
	return info.tcpi_rcv_ssthresh;
}

static int file(const char *host, const char *port, size_t bytes, bool kept)
{
	struct request r = {.op = OP_FILE, .bytes = bytes};
	char *got = malloc(bytes), *wanted = malloc(bytes), digits[65];
	uint64_t start, last;
	unsigned int rwnd;
	size_t n = 0;
	ssize_t k;
	int fd;

	if (!got || !wanted)
		die("memory");
	memset(got, 0, bytes); /* no page faults later */
	fill(wanted, bytes);
	start = now_ns();
	fd = open_connection(host, port);
	if (kept) {
		use(fd, ECHOES);
		start = now_ns();
	}
	last = start;
	ask(fd, &r);
	while (n < bytes && (k = recv(fd, got + n, bytes - n, 0)) > 0) {
		n += k;
		last = now_ns();
	}
	rwnd = window(fd);
	close(fd);
	sha256(got, n, digits);
	printf("{\"bytes\":%zu,\"delivered\":%zu,\"payload\":%zu,\"ns\":%llu,"
	       "\"window\":%u,\"sha256\":\"%s\",\"right\":%s}\n",
	       bytes, n, n, (unsigned long long)(last - start), rwnd, digits,
	       n == bytes && !memcmp(got, wanted, n) ? "true" : "false");
	free(got);
	free(wanted);
	return 0;
}

/* ---- paced ---- */

static void wait_until(uint64_t ns)
{
	struct timespec t = {.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) ==
	       EINTR)
		;
}

/* Client and server are on one machine, so they have one clock. */
static int paced(const char *host, const char *port, double rate,
		 double seconds, size_t size)
{
	size_t writes = rate * seconds / 8 / size + 1;
	struct request r = {.op = OP_TAKE, .bytes = writes * size};
	struct taken taken = {};
	int fd = open_connection(host, port);
	uint64_t start, end, sent = 0;
	double took, wanted, late;

	prctl(PR_SET_TIMERSLACK, 1);
	use(fd, ECHOES);
	if (!rate) /* until time is up; the end is said by closing */
		r.bytes = UINT64_MAX;
	ask(fd, &r);
	start = now_ns();
	end = start + seconds * SECOND;
	for (size_t i = 0; rate ? i < writes : now_ns() < end; i++) {
		if (rate)
			wait_until(start + i * (size * 8 / rate * SECOND));
		if (write_all(fd, buf, size))
			die("send");
		sent += size;
	}
	if (!rate && shutdown(fd, SHUT_WR))
		die("shutdown");
	if (read_some(fd, &taken, sizeof(taken)) != sizeof(taken))
		die("no answer about what has arrived");
	took = taken.last_ns > start ? taken.last_ns - start : 1;
	wanted = rate ? sent * 8 / rate * SECOND : took;
	late = took > wanted ? took - wanted : 0;
	printf("{\"offered\":%.0f,\"bits_per_second\":%.0f,\"sent\":%llu,"
	       "\"delivered\":%llu,\"payload\":%llu,\"write\":%zu,"
	       "\"late_ns\":%.0f,\"sustained\":%s}\n",
	       rate, taken.bytes * 8 / took * SECOND, (unsigned long long)sent,
	       (unsigned long long)taken.bytes, (unsigned long long)taken.bytes,
	       size, late,
	       taken.bytes == sent && (late <= LATE * wanted || late <= LATE_NS)
		       ? "true"
		       : "false");
	close(fd);
	return 0;
}

/* ---- memory ---- */

/* Bytes of all objects that the kernel has allocated: of those there are, and
 * not of the pages they lie in, which stay when connections go, and are there
 * already when the next ones come. (MemAvailable varied by more than what 1,000
 * connections take.) */
static long long objects(void)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	unsigned long active, all, size;
	long long sum = 0;
	char line[512];

	if (!f)
		die("/proc/slabinfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %lu %lu %lu", &active, &all, &size) == 3)
			sum += (long long)active * size;
	fclose(f);
	return sum;
}

static int hold(const char *host, const char *port, int n)
{
	long long before, after;
	int fds[MAX_CONNS];

	use(open_connection(host, port), 1);
	before = objects();
	for (int i = 0; i < n; i++) {
		fds[i] = open_connection(host, port);
		use(fds[i], 1);
	}
	for (int i = 0; i < n * (ECHOES - 1); i++)
		use(fds[i % n], 1);
	after = objects();
	for (int i = 0; i < n; i++)
		close(fds[i]);
	printf("{\"connections\":%d,\"before\":%lld,\"after\":%lld,"
	       "\"payload\":%zu,\"bytes_per_connection\":%.0f}\n",
	       n, before, after, 2 * ECHOES * n * sizeof(struct request),
	       (double)(after - before) / n);
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = 1;
	size_t size = 16384;
	bool kept = false;
	int opt;

	while ((opt = getopt(argc, argv, "kt:n:h")) != -1) {
		switch (opt) {
		case 'k':
			kept = true;
			break;
		case 't':
			seconds = number(optarg, 0.01, 3600);
			break;
		case 'n':
			size = number(optarg, 1, MAX_WRITE);
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
	if (argc == 4 && !strcmp(argv[0], "file"))
		return file(argv[1], argv[2], number(argv[3], 1, MAX_FILE),
			    kept);
	if (argc == 4 && !strcmp(argv[0], "paced"))
		return paced(argv[1], argv[2], number(argv[3], 0, 1e12),
			     seconds, size);
	if (argc == 4 && !strcmp(argv[0], "hold"))
		return hold(argv[1], argv[2], number(argv[3], 1, MAX_CONNS));
	fputs(usage, stderr);
	return 2;
}
