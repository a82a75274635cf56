// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ways for a proxy to receive an application's messages from SK_MSG: what each
 * costs, the send() included. One thread sends a batch and then receives it, in
 * turns, so that its CPU time is the whole of the price, and waiting for each
 * other is none of it.
 */
#include "util.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <shunt/message.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLAB	  (256 << 10) /* as the proxy's */
#define BATCH	  64
#define MAX_BYTES 65536
#define PERIOD	  65521 /* of the pattern: a prime */

static const char usage[] =
	"usage: receive [-n BYTES] [-m MEGABYTES] [-j] [WAY...]\n"
	"  -n  bytes of a message, up to 65536 (64, 1400, 16384, 65536)\n"
	"  -m  how much of each (256)\n"
	"  -j  JSON\n"
	"Ways: tcp (no SK_MSG, for comparison), message (a record in front of\n"
	"each, into slabs), frame (… of each 1,444 bytes), bare (no record),\n"
	"splice (by a TCP pair, splice and tee), ring (a BPF ring buffer)\n";

static struct {
	int app;      /* what the application sends on */
	int proxy;    /* where the proxy receives */
	int pipes[4]; /* two: [0] and [2] are read */
	int null;
	struct ring_buffer *ring;
	unsigned char *slab;
	bool check;
	uint64_t position; /* of the next byte of payload */
	uint32_t left;	   /* of this record's payload */
	size_t got;	   /* bytes of payload in this batch */
} rx;

static unsigned char pattern[PERIOD + MAX_BYTES];

/* More payload. Every byte is looked at in the first pass. */
static void payload(const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	size_t take;

	rx.got += n;
	if (!rx.check)
		return;
	for (; n; n -= take, at += take, rx.position += take) {
		take = n < MAX_BYTES ? n : MAX_BYTES;
		errno = 0;
		if (memcmp(at, pattern + rx.position % PERIOD, take))
			die("wrong bytes behind %lu", rx.position);
	}
}

/* ---- ways to receive ---- */

static ssize_t receive_some(void *to, size_t room)
{
	ssize_t n = recv(rx.proxy, to, room, 0);

	if (n <= 0)
		die("recv");
	return n;
}

static void take_bytes(void)
{
	payload(rx.slab, receive_some(rx.slab, SLAB));
}

/* A record may end within a recv(), never its header: a slab has room for more
 * than a batch. */
static void take_records(void)
{
	size_t n = receive_some(rx.slab, SLAB), at = 0, take;
	struct shunt_record r;

	while (at < n) {
		if (!rx.left) {
			memcpy(&r, rx.slab + at, sizeof(r));
			errno = 0;
			if (n - at < sizeof(r) || r.magic != SHUNT_RECORD_MAGIC)
				die("no record behind %lu", rx.position);
			at += sizeof(r);
			rx.left = r.length;
		}
		take = n - at < rx.left ? n - at : rx.left;
		payload(rx.slab + at, take);
		at += take;
		rx.left -= take;
	}
}

/* Into a pipe, and again into another, which would go to the UDP socket; the
 * first is kept for what gets lost. Neither copies. */
static void take_spliced(void)
{
	ssize_t n = splice(rx.proxy, NULL, rx.pipes[1], NULL, SLAB, 0);

	if (n <= 0 || tee(rx.pipes[0], rx.pipes[3], n, 0) != n ||
	    splice(rx.pipes[2], NULL, rx.null, NULL, n, 0) != n)
		die("splice, tee");
	if (rx.check) {
		if (read(rx.pipes[0], rx.slab, n) != n)
			die("pipe");
	} else if (splice(rx.pipes[0], NULL, rx.null, NULL, n, 0) != n) {
		die("splice");
	}
	payload(rx.slab, n);
}

static int take_chunk(void *unused, void *data, size_t size)
{
	uint32_t length;

	(void)unused, (void)size;
	memcpy(&length, data, sizeof(length));
	payload((char *)data + sizeof(length), length);
	return 0;
}

/* The doorbell's bytes are the messages' number. */
static void take_ring(void)
{
	receive_some(rx.slab, SLAB);
	ring_buffer__consume(rx.ring);
}

static const struct way {
	const char *name;
	const char *program;
	bool redirects_out; /* the proxy is at the far end of the target */
	void (*take)(void);
} ways[] = {
	{"tcp", NULL, false, take_bytes},
	{"message", "record_per_message", false, take_records},
	{"frame", "record_per_frame", false, take_records},
	{"bare", "bare", false, take_bytes},
	{"splice", "egress", true, take_spliced},
	{"ring", "into_ring", false, take_ring},
};

#define N_WAYS (sizeof(ways) / sizeof(*ways))

/* ---- set-up ---- */

/* Sockets of our own namespace: nothing else can be in the way. */
static void own_namespace(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (unshare(CLONE_NEWNET) ||
	    (fd = socket(AF_INET, SOCK_DGRAM, 0)) < 0 ||
	    ioctl(fd, SIOCSIFFLAGS, &lo))
		die("a namespace");
	close(fd);
}

static void make_pair(int pair[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int l = socket(AF_INET, SOCK_STREAM, 0), room = 4 << 20;
	socklen_t size = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(l, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(l, (void *)&a, size) || listen(l, 1) ||
	    getsockname(l, (void *)&a, &size) ||
	    connect(pair[0], (void *)&a, size) ||
	    (pair[1] = accept(l, NULL, NULL)) < 0)
		die("loopback");
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	no_delay(pair[0]);
	close(l);
}

static void put_into(struct bpf_object *o, const char *map, int fd)
{
	int map_fd = bpf_object__find_map_fd_by_name(o, map);
	uint64_t value = fd;
	uint32_t zero = 0;

	if (bpf_map_update_elem(map_fd, &zero, &value, BPF_ANY))
		die("%s", map);
}

static struct bpf_object *load(const char *self)
{
	const char *slash = strrchr(self, '/');
	struct bpf_object *o;
	char path[4096];

	snprintf(path, sizeof(path), "%.*s/receive.bpf.o",
		 slash ? (int)(slash - self) : 1, slash ? self : ".");
	o = bpf_object__open_file(path, NULL);
	if (!o || bpf_object__load(o))
		die("%s", path);
	rx.ring = ring_buffer__new(bpf_object__find_map_fd_by_name(o, "ring"),
				   take_chunk, NULL, NULL);
	if (!rx.ring)
		die("ring");
	return o;
}

/* ---- measuring ---- */

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Messages of `bytes`, `total` in all, or a little more; how many. */
static uint64_t move(const struct way *way, size_t bytes, uint64_t total)
{
	uint64_t sent = 0;
	size_t batch = SLAB / 2 / bytes;

	if (batch > BATCH)
		batch = BATCH;
	while (sent * bytes < total) {
		rx.got = 0;
		for (size_t i = 0; i < batch; i++, sent++)
			if (send(rx.app, pattern + sent * bytes % PERIOD, bytes,
				 MSG_NOSIGNAL) != (ssize_t)bytes)
				die("%s: send", way->name);
		while (rx.got < batch * bytes)
			way->take();
		errno = 0;
		if (rx.got != batch * bytes)
			die("%s: more came than was sent", way->name);
	}
	return sent;
}

/* Mean run time of the program, by the kernel's statistics, which cost time
 * themselves: so not while the rest is measured. */
static double run_ns(const struct way *way, int prog, size_t bytes,
		     uint64_t total)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (stats < 0)
		die("BPF statistics");
	move(way, bytes, total);
	close(stats);
	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		die("%s", way->program);
	return info.run_cnt ? (double)info.run_time_ns / info.run_cnt : 0;
}

static void measure(struct bpf_object *o, const struct way *way, size_t bytes,
		    uint64_t total, bool json)
{
	int writer = bpf_object__find_map_fd_by_name(o, "writer");
	int app[2], target[2];
	double cpu, wall, n, run = 0;
	int prog = -1;

	make_pair(app);
	make_pair(target);
	if (way->program) {
		prog = bpf_program__fd(
			bpf_object__find_program_by_name(o, way->program));

		if (bpf_prog_attach(prog, writer, BPF_SK_MSG_VERDICT, 0))
			die("%s", way->program);
		put_into(o, "target", target[0]);
		put_into(o, "writer", app[0]);
	}
	rx.app = app[0];
	rx.proxy = way->program ? target[way->redirects_out] : app[1];
	rx.left = rx.position = 0;
	rx.check = true;
	move(way, bytes, total / 16);
	rx.check = false;
	cpu = cpu_ns();
	wall = now_ns();
	n = move(way, bytes, total);
	cpu = cpu_ns() - cpu;
	wall = now_ns() - wall;
	if (prog >= 0)
		run = run_ns(way, prog, bytes, total / 8);
	printf(json ? "{\"way\":\"%s\",\"bytes\":%zu,\"messages\":%.0f,"
		      "\"cpu_ns\":%.0f,\"cpu_s_per_gb\":%.3f,"
		      "\"gb_per_s\":%.3f,\"bpf_ns\":%.0f}\n"
		    : "%-8s %6zu bytes %8.0f messages %6.0f ns CPU each "
		      "%7.3f CPU s/GB %5.2f GB/s  BPF %5.0f ns a run\n",
	       way->name, bytes, n, cpu / n, cpu / (n * bytes),
	       n * bytes / wall, run);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		close(app[i]);
		close(target[i]);
	}
}

static bool chosen(const struct way *way, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(way->name, *names))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	size_t sizes[] = {64, 1400, 16384, 65536, 0}, bytes = 0;
	uint64_t total = 256;
	struct bpf_object *o;
	bool json = false;
	int opt;

	while ((opt = getopt(argc, argv, "n:m:jh")) != -1) {
		switch (opt) {
		case 'n':
			bytes = number(optarg, 1, MAX_BYTES);
			break;
		case 'm':
			total = number(optarg, 1, 1 << 20);
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
	if (bytes) {
		sizes[0] = bytes;
		sizes[1] = 0;
	}
	for (uint32_t i = 0, x = 1; i < sizeof(pattern); i++) {
		x = x * 1664525 + 1013904223;
		pattern[i] = i < PERIOD ? x >> 24 : pattern[i - PERIOD];
	}
	own_namespace();
	rx.slab = malloc(SLAB);
	rx.null = open("/dev/null", O_WRONLY);
	if (!rx.slab || rx.null < 0 || pipe(rx.pipes) || pipe(rx.pipes + 2) ||
	    fcntl(rx.pipes[1], F_SETPIPE_SZ, 1 << 20) < 0 ||
	    fcntl(rx.pipes[3], F_SETPIPE_SZ, 1 << 20) < 0)
		die("pipes");
	o = load(argv[0]);
	for (size_t *size = sizes; *size; size++)
		for (size_t i = 0; i < N_WAYS; i++)
			if (chosen(&ways[i], argv + optind))
				/* The same bytes of payload would be too many
				 * small messages. */
				measure(o, &ways[i], *size,
					(total << 20) / (*size < 1024 ? 16 : 1),
					json);
	return 0;
}
