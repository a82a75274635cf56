// SPDX-License-Identifier: GPL-2.0-only
/*
 * The baseline for the message path: a proxy as the Hooker paper describes it.
 * SK_MSG redirects each message, behind a small header, to a socket of ours; we
 * recv() it and sendto() it, one datagram for each message or MTU-sized piece
 * of one; the far proxy recvfrom()s it and sends it on its own redirection
 * socket, from where SK_MSG puts it into the application's. A thread for each
 * direction, which blocks; every byte is copied twice on each side; nothing is
 * batched, and what gets lost stays lost, which is counted.
 *
 * IPv4 only. A FIN overtakes what is still on its way, and nothing stops a
 * writer who is faster than this proxy: for request and response, and paced
 * writers who wait for an answer before they close.
 */
#include "copying.h"
#include "util.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUFFER (256 << 10)

static const char usage[] =
	"usage: copying --cgroup DIR --local ADDR --peer ADDR [--port N]\n"
	"Moves the TCP connections of the cgroup with that peer (IPv4) over\n"
	"UDP port N (6081), until SIGTERM or SIGINT; prints \"ready\", and "
	"JSON\n"
	"at the end. The peer needs one, too.\n";

static struct {
	int redirect[2]; /* we use [0]; [1] is its far end */
	int udp;
	struct sockaddr_in peer;
	size_t piece; /* bytes of payload in a datagram at most */
	volatile const struct copying_counts *bpf;
} px;

/* One thread writes each; read when that has ended. */
static struct {
	__u64 messages, bytes, datagrams, errors;
} out;
static struct {
	__u64 datagrams, bytes, lost, late, errors, retried;
} in;

/* ---- from the applications ---- */

static void send_message(struct copying_header *h, char *data)
{
	size_t left = h->length, take;

	out.messages++;
	for (; left; data += take, left -= take) {
		/* The header of a piece goes where the bytes were that have
		 * just been sent. */
		struct copying_header *at = (void *)(data - sizeof(*h));

		take = left < px.piece ? left : px.piece;
		h->length = take;
		h->number = out.datagrams++;
		memcpy(at, h, sizeof(*h));
		if (sendto(px.udp, at, sizeof(*h) + take, 0, (void *)&px.peer,
			   sizeof(px.peer)) < 0)
			out.errors++;
		else
			out.bytes += take;
	}
}

/* The redirection socket is a stream: a recv() may end within a message. */
static void *from_applications(void *unused)
{
	static char buf[BUFFER];
	struct copying_header h;
	size_t have = 0, at;
	ssize_t n;

	(void)unused;
	for (;;) {
		n = recv(px.redirect[0], buf + have, sizeof(buf) - have, 0);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue; /* woken for nothing: tcp_msg_wait_data() */
		if (n <= 0)
			break;
		have += n;
		for (at = 0; have - at >= sizeof(h); at += sizeof(h) + n) {
			memcpy(&h, buf + at, sizeof(h));
			n = h.length;
			if (h.magic != COPYING_MAGIC || sizeof(h) + n > BUFFER)
				die("a message of %zd bytes, without its mark",
				    n);
			if (have - at < sizeof(h) + n)
				break;
			send_message(&h, buf + at + sizeof(h));
		}
		have -= at;
		memmove(buf, buf + at, have);
	}
	return NULL;
}

/* ---- to the applications ---- */

/* The connection may not be in the map yet, and may be gone. */
static void deliver(const char *datagram, size_t n)
{
	__u64 refused;

	for (int tries = 0; tries < 20; tries++) {
		refused = px.bpf->refused;
		if (send(px.redirect[0], datagram, n, MSG_NOSIGNAL) !=
		    (ssize_t)n)
			break;
		if (px.bpf->refused == refused) {
			in.bytes += n - sizeof(struct copying_header);
			return;
		}
		while (recv(px.redirect[1], NULL, BUFFER,
			    MSG_TRUNC | MSG_DONTWAIT) > 0)
			;
		in.retried++;
		usleep(1000);
	}
	in.errors++;
}

static void *from_peer(void *unused)
{
	static char buf[BUFFER];
	const struct copying_header *h = (const void *)buf;
	struct sockaddr_in from;
	uint32_t expected = 0;
	int32_t ahead;
	socklen_t size;
	ssize_t n;

	(void)unused;
	for (;;) {
		size = sizeof(from);
		n = recvfrom(px.udp, buf, sizeof(buf), 0, (void *)&from, &size);
		if (n < 0 && errno != EINTR)
			in.errors++;
		if (n == 0)
			return NULL; /* shutdown() */
		if (n < 0 || from.sin_addr.s_addr != px.peer.sin_addr.s_addr)
			continue;
		if (n < (ssize_t)sizeof(*h) || h->magic != COPYING_MAGIC ||
		    h->length != n - sizeof(*h)) {
			in.errors++;
			continue;
		}
		in.datagrams++;
		ahead = h->number - expected;
		if (ahead >= 0) {
			in.lost += ahead;
			expected = h->number + 1;
		} else { /* overtaken: counted as lost, and is not */
			in.lost -= in.lost > 0;
			in.late++;
		}
		deliver(buf, n);
	}
}

/* ---- set-up ---- */

static int bound(int type, const char *addr, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, addr, &a.sin_addr) != 1 ||
	    bind(fd, (void *)&a, sizeof(a)))
		die("%s port %u", addr, port);
	return fd;
}

static void make_redirection(void)
{
	struct sockaddr_in a;
	socklen_t size = sizeof(a);
	int listener = bound(SOCK_STREAM, "127.0.0.1", 0);

	px.redirect[0] = bound(SOCK_STREAM, "127.0.0.1", 0);
	if (listen(listener, 1) || getsockname(listener, (void *)&a, &size) ||
	    connect(px.redirect[0], (void *)&a, size) ||
	    (px.redirect[1] = accept(listener, NULL, NULL)) < 0)
		die("redirection socket (is lo up?)");
	no_delay(px.redirect[0]);
	close(listener);
}

static void make_udp(const char *local, const char *peer, uint16_t port)
{
	int probe, mtu, room = 8 << 20;
	socklen_t size = sizeof(mtu);

	px.peer.sin_family = AF_INET;
	px.peer.sin_port = htons(port);
	errno = 0;
	if (inet_pton(AF_INET, peer, &px.peer.sin_addr) != 1)
		die("'%s' is no IPv4 address", peer);
	px.udp = bound(SOCK_DGRAM, local, port);
	setsockopt(px.udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(px.udp, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	probe = bound(SOCK_DGRAM, local, 0);
	if (connect(probe, (void *)&px.peer, sizeof(px.peer)) ||
	    getsockopt(probe, IPPROTO_IP, IP_MTU, &mtu, &size))
		die("no way to %s", peer);
	close(probe);
	px.piece = mtu - 28 - sizeof(struct copying_header);
}

static int program_fd(struct bpf_object *o, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(o, name));
}

static struct bpf_object *load(const char *self, const char *local)
{
	struct copying_config config = {.peer = px.peer.sin_addr.s_addr};
	const char *slash = strrchr(self, '/');
	unsigned long long cookie;
	socklen_t len = sizeof(cookie);
	struct bpf_object *o;
	char path[4096];

	if (getsockopt(px.udp, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		die("SO_NETNS_COOKIE");
	config.netns = cookie;
	inet_pton(AF_INET, local, &config.local);
	snprintf(path, sizeof(path), "%.*s/copying.bpf.o",
		 slash ? (int)(slash - self) : 1, slash ? self : ".");
	o = bpf_object__open_file(path, NULL);
	if (!o || bpf_map__set_initial_value(
			  bpf_object__find_map_by_name(o, ".rodata"), &config,
			  sizeof(config)))
		die("%s", path);
	if (bpf_object__load(o))
		die("cannot load the programs");
	return o;
}

/* All of it goes when this process ends: the link of SOCK_OPS, and the maps,
 * which let go of their sockets. */
static void attach(struct bpf_object *o, const char *cgroup)
{
	int connections = bpf_object__find_map_fd_by_name(o, "connections");
	int redirection = bpf_object__find_map_fd_by_name(o, "redirection");
	int dir = open(cgroup, O_RDONLY | O_CLOEXEC);
	uint64_t value = px.redirect[0];
	uint32_t zero = 0;
	size_t size;

	if (dir < 0)
		die("%s", cgroup);
	px.bpf = bpf_map__initial_value(bpf_object__find_map_by_name(o, ".bss"),
					&size);
	if (bpf_prog_attach(program_fd(o, "copying_redirect"), connections,
			    BPF_SK_MSG_VERDICT, 0) ||
	    bpf_prog_attach(program_fd(o, "copying_deliver"), redirection,
			    BPF_SK_MSG_VERDICT, 0) ||
	    bpf_map_update_elem(redirection, &zero, &value, BPF_ANY))
		die("SK_MSG");
	if (bpf_link_create(program_fd(o, "copying_sock_ops"), dir,
			    BPF_CGROUP_SOCK_OPS, NULL) < 0)
		die("SOCK_OPS at %s", cgroup);
	close(dir);
}

static void print(void)
{
	printf("{\"messages_out\":%llu,\"bytes_out\":%llu,\"datagrams_out\":%"
	       "llu,"
	       "\"datagrams_in\":%llu,\"bytes_in\":%llu,\"lost\":%llu,"
	       "\"reordered\":%llu,\"errors\":%llu,\"retried\":%llu,"
	       "\"not_redirected\":%llu}\n",
	       out.messages, out.bytes, out.datagrams, in.datagrams, in.bytes,
	       in.lost, in.late, out.errors + in.errors + px.bpf->enrol_failed,
	       in.retried, px.bpf->not_redirected);
}

static void run(void)
{
	pthread_t tx, rx;
	sigset_t end;
	int sig;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	if (pthread_create(&tx, NULL, from_applications, NULL) ||
	    pthread_create(&rx, NULL, from_peer, NULL))
		die("threads");
	puts("ready");
	fflush(stdout);
	sigwait(&end, &sig);
	/* Of an unconnected socket it fails, and wakes who waits all the same.
	 */
	shutdown(px.udp, SHUT_RD);
	shutdown(px.redirect[0], SHUT_RD);
	pthread_join(tx, NULL);
	pthread_join(rx, NULL);
	print();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"cgroup", required_argument, NULL, 'c'},
		{"local", required_argument, NULL, 'l'},
		{"peer", required_argument, NULL, 'p'},
		{"port", required_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	const char *cgroup = NULL, *local = NULL, *peer = NULL;
	uint16_t port = 6081;
	struct bpf_object *o;
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			cgroup = optarg;
			break;
		case 'l':
			local = optarg;
			break;
		case 'p':
			peer = optarg;
			break;
		case 'n':
			port = number(optarg, 1, 65535);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (!cgroup || !local || !peer || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	make_udp(local, peer, port);
	make_redirection();
	o = load(argv[0], local);
	attach(o, cgroup);
	run();
	bpf_object__close(o);
	return 0;
}
