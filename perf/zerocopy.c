// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a UDP_SEGMENT send by io_uring costs its sender with and without a copy,
 * by size and by how the bytes lie: as a header and a piece for each frame, or
 * whole, as shunt-proxy has long messages. What is on the way decides, too: a
 * receiver on the same machine makes the kernel copy after all, one that drops
 * before (nftables in another namespace) stands for a device that does not.
 */
#include "util.h"

#include <liburing.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/uio.h>

#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3) /* 6.2 */
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#define HEADER	24
#define PAYLOAD 1448 /* in UDP and IPv4, at an MTU of 1500 */
#define FRAME	(HEADER + PAYLOAD)
#define FRAMES	44
#define ROUNDS	15	   /* the fastest counts: others use the machine */
#define ROUND	(8 << 20)  /* bytes in each, … */
#define BUFFER	(32 << 20) /* … from here in turn, more than a cache has */
#define SNDBUF	(8 << 20)

static const char usage[] = "usage: zerocopy ADDR PORT\n"
			    "Nanoseconds per KB; c: the kernel has copied.\n";

enum how { PIECES, WHOLE, PIECES_ZC, WHOLE_ZC, FIXED_ZC, HOWS };

static const char *const names[] = {"pieces", "whole", "pieces-zc", "whole-zc",
				    "fixed-zc"};

static const unsigned sizes[] = {1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 44};

static unsigned char *buffer;
static unsigned char headers[FRAMES][HEADER];
static struct io_uring ring;
static bool copied;

static void set_segment(struct msghdr *m, struct cmsghdr *c)
{
	uint16_t segment = FRAME;

	m->msg_control = c;
	m->msg_controllen = CMSG_SPACE(sizeof(segment));
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(c), &segment, sizeof(segment));
}

/* Submit, and wait until the bytes may change again: the result of the send. */
static int finish(void)
{
	struct io_uring_cqe *cqe;
	bool more = true;
	int res = 0;

	io_uring_submit(&ring);
	while (more) {
		if (io_uring_wait_cqe(&ring, &cqe))
			die("io_uring");
		if (!(cqe->flags & IORING_CQE_F_NOTIF))
			res = cqe->res;
		else if (cqe->res & IORING_NOTIF_USAGE_ZC_COPIED)
			copied = true;
		more = cqe->flags & IORING_CQE_F_MORE;
		io_uring_cqe_seen(&ring, cqe);
	}
	return res;
}

static int send_one(int fd, enum how how, unsigned frames, size_t at)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = {};
	struct iovec iov[2 * FRAMES] = {{buffer + at, frames * FRAME}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 1};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (how == PIECES || how == PIECES_ZC) {
		for (unsigned i = 0; i < frames; i++) {
			iov[2 * i] = (struct iovec){headers[i], HEADER};
			iov[2 * i + 1] = (struct iovec){
				buffer + at + i * PAYLOAD, PAYLOAD};
		}
		m.msg_iovlen = 2 * frames;
	}
	if (frames > 1)
		set_segment(&m, &control.align);
	if (how == FIXED_ZC) {
		io_uring_prep_send_zc_fixed(sqe, fd, buffer + at,
					    frames * FRAME, 0,
					    IORING_SEND_ZC_REPORT_USAGE, 0);
	} else if (how >= PIECES_ZC) {
		io_uring_prep_sendmsg_zc(sqe, fd, &m, 0);
		sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
	} else {
		io_uring_prep_sendmsg(sqe, fd, &m, 0);
	}
	return finish();
}

/* send() has no control message: then the socket knows the size. */
static void segment_always(int fd, bool on)
{
	int size = on ? FRAME : 0;

	if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)))
		die("UDP_SEGMENT");
}

static void measure(int fd, enum how how, unsigned frames)
{
	unsigned n = ROUND / (frames * FRAME);
	uint64_t best = UINT64_MAX;

	copied = false;
	segment_always(fd, how == FIXED_ZC && frames > 1);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t took = now_ns();
		size_t at = 0;

		for (unsigned i = 0; i < n; i++) {
			int res = send_one(fd, how, frames, at);

			if (res == -EMSGSIZE) { /* too many fragments */
				printf(" %9s ", "-");
				return;
			}
			errno = -res;
			if (res < 0)
				die("send");
			at += frames * FRAME;
			if (at + FRAMES * FRAME > BUFFER)
				at = 0;
		}
		took = now_ns() - took;
		if (took < best)
			best = took;
	}
	printf(" %9.0f%c", best * 1024. / ((double)n * frames * PAYLOAD),
	       copied ? 'c' : ' ');
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct iovec whole;
	struct addrinfo *to;
	int fd, size = SNDBUF;

	if (argc != 3) {
		fputs(usage, stderr);
		return 2;
	}
	to = resolve(argv[1], argv[2]);
	fd = socket(to->ai_family, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen))
		die("%s", argv[1]);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffer == MAP_FAILED)
		die("memory");
	whole = (struct iovec){buffer, BUFFER};
	errno = -io_uring_queue_init(8, &ring, 0);
	if (!errno)
		errno = -io_uring_register_buffers(&ring, &whole, 1);
	if (errno)
		die("io_uring");
	printf("%8s", "bytes");
	for (int how = 0; how < HOWS; how++)
		printf(" %9s ", names[how]);
	putchar('\n');
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		printf("%8u", sizes[i] * PAYLOAD);
		for (int how = 0; how < HOWS; how++)
			measure(fd, how, sizes[i]);
		putchar('\n');
	}
	return 0;
}
