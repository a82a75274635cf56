// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accepting control channels: from root on a host with a stream. Whose peer it
 * is shows behind accept(2) only, so loop 0 accepts for all, and hands the
 * descriptor to the loop of the peer, through a pipe.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 64

static bool is_reserved(const struct sockaddr_storage *a)
{
	const struct sockaddr_in *v4 = (const void *)a;
	const struct sockaddr_in6 *v6 = (const void *)a;

	return ntohs(a->ss_family == AF_INET ? v4->sin_port : v6->sin6_port) <
	       IPPORT_RESERVED;
}

/* Both addresses of a connection; is it from root? */
static bool ends_of(int fd, struct shunt_addr *local, struct shunt_addr *remote)
{
	struct sockaddr_storage from, to;
	socklen_t n = sizeof(from), m = sizeof(to);

	if (getpeername(fd, (void *)&from, &n) ||
	    getsockname(fd, (void *)&to, &m))
		return false;
	from_sockaddr(&from, remote);
	from_sockaddr(&to, local);
	return is_reserved(&from);
}

static void refuse(struct proxy *px, int fd)
{
	px->shm->refused++;
	close(fd);
}

/* By the loop that has the peer, if there is one. */
static void admit(struct proxy *px, int fd, const struct shunt_addr *local,
		  const struct shunt_addr *remote)
{
	struct peer *p;

	/* Streams may have come that we have not heard of. */
	kernel_events(px);
	p = peer_find(px, local, remote);
	if (!p || !p->streams || !control_accept(px, p, fd))
		refuse(px, fd);
}

/* To that loop. A pipe that is full has thousands who wait. */
static void hand_on(struct proxy *px, int fd)
{
	struct worker *w = px->worker;
	struct shunt_addr local, remote;
	unsigned loop;

	if (!ends_of(fd, &local, &remote)) {
		refuse(px, fd);
		return;
	}
	loop = shunt_loop_of(&local, &remote, w->n_loops);
	if (loop == px->index)
		admit(px, fd, &local, &remote);
	else if (write(w->accepted[loop][1], &fd, sizeof(fd)) != sizeof(fd))
		refuse(px, fd);
}

static void accept_more(struct proxy *px)
{
	io_uring_prep_multishot_accept(ring_sqe(px, &px->accept_op),
				       px->worker->listener, NULL, NULL,
				       SOCK_CLOEXEC);
}

static void accepted(struct proxy *px, struct op *op, int fd, unsigned flags)
{
	(void)op;
	if (fd >= 0)
		hand_on(px, fd);
	if (!(flags & IORING_CQE_F_MORE))
		accept_more(px);
}

static void take_more(struct proxy *px)
{
	io_uring_prep_read(ring_sqe(px, &px->accept_op),
			   px->worker->accepted[px->index][0], &px->accepted,
			   sizeof(px->accepted), 0);
}

static void handed(struct proxy *px, struct op *op, int res, unsigned flags)
{
	struct shunt_addr local, remote;

	(void)op, (void)flags;
	if (res == sizeof(px->accepted)) {
		if (ends_of(px->accepted, &local, &remote))
			admit(px, px->accepted, &local, &remote);
		else /* it has ended */
			refuse(px, px->accepted);
	}
	take_more(px);
}

void accept_init(struct proxy *px)
{
	px->accept_op.done = px->index ? handed : accepted;
	if (px->index)
		take_more(px);
	else
		accept_more(px);
}

static int open_pipes(struct worker *w)
{
	for (unsigned i = 1; i < w->n_loops; i++)
		if (pipe2(w->accepted[i], O_CLOEXEC) ||
		    fcntl(w->accepted[i][1], F_SETFL, O_NONBLOCK))
			return -errno;
	return 0;
}

int accept_open(struct worker *w)
{
	struct sockaddr_in6 a = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(SHUNT_PORT),
	};
	struct sockaddr_in a4 = {
		.sin_family = AF_INET,
		.sin_port = htons(SHUNT_PORT),
	};
	int one = 1, off = 0, fd, err = 0;

	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		err = bind(fd, (void *)&a, sizeof(a)) ? -errno : 0;
	} else { /* no IPv6 in this kernel */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		err = bind(fd, (void *)&a4, sizeof(a4)) ? -errno : 0;
	}
	if (!err && listen(fd, BACKLOG))
		err = -errno;
	if (err) {
		say("cannot listen on TCP port %d: %s", SHUNT_PORT,
		    strerror(-err));
		return err;
	}
	w->listener = fd;
	return open_pipes(w);
}
