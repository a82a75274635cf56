// SPDX-License-Identifier: GPL-2.0-only
/*
 * Peers: a pair of addresses with a connected UDP socket, on our port at both
 * ends. Connected, so that what others send never reaches us, and datagrams of
 * the segment path, which come from other ports, are answered with "port
 * unreachable" as without us. One window for all streams to a peer.
 */
#include "worker.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

#define CWND_INIT   (64 << 10)
#define FORGET_NS   (1000 * NSEC_PER_MS) /* nothing has been under way for */
#define PAYLOAD_MIN 256

bool is_v4(const struct shunt_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == htonl(0xffff);
}

socklen_t to_sockaddr(const struct shunt_addr *a, uint16_t port,
		      struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (void *)to;
	struct sockaddr_in6 *v6 = (void *)to;

	memset(to, 0, sizeof(*to));
	if (is_v4(a)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		v4->sin_addr.s_addr = a->w[3];
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, a->w, sizeof(a->w));
	return sizeof(*v6);
}

void from_sockaddr(const struct sockaddr_storage *from, struct shunt_addr *a)
{
	const struct sockaddr_in *v4 = (const void *)from;
	const struct sockaddr_in6 *v6 = (const void *)from;

	if (from->ss_family == AF_INET)
		*a = (struct shunt_addr){
			{0, 0, htonl(0xffff), v4->sin_addr.s_addr}};
	else
		memcpy(a->w, &v6->sin6_addr, sizeof(a->w));
}

/* What fits into one datagram on this path. */
void peer_measure_mtu(struct peer *p)
{
	bool v4 = is_v4(&p->remote);
	int mtu = 0;
	socklen_t n = sizeof(mtu);
	uint32_t headers = (v4 ? 20 : 40) + 8 + sizeof(struct shunt_frame);

	if (getsockopt(p->udp, v4 ? IPPROTO_IP : IPPROTO_IPV6,
		       v4 ? IP_MTU : IPV6_MTU, &mtu, &n) ||
	    mtu < (int)(headers + PAYLOAD_MIN))
		mtu = v4 ? 576 : 1280;
	if (mtu > 65535)
		mtu = 65535; /* lo's 65536 is no IP length */
	p->payload = mtu - headers;
	if (p->payload > 60000)
		p->payload = 60000; /* lo: still a UDP datagram */
}

static int open_udp(struct peer *p)
{
	bool v4 = is_v4(&p->remote);
	int fd, one = 1, size = SOCKET_ROOM, err;
	int discover = IP_PMTUDISC_DO;
	struct sockaddr_storage a;
	socklen_t n;

	fd = socket(v4 ? AF_INET : AF_INET6,
		    SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* One socket for each peer on the same port; REUSEPORT is for sockets
	 * of one user only. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
		   v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &discover,
		   sizeof(discover));
	setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one));
	n = to_sockaddr(&p->local, SHUNT_PORT, &a);
	err = bind(fd, (void *)&a, n) ? -errno : 0;
	n = to_sockaddr(&p->remote, SHUNT_PORT, &a);
	if (!err && connect(fd, (void *)&a, n))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	p->udp = fd;
	peer_measure_mtu(p);
	return 0;
}

static void receive(struct proxy *px, struct peer *p)
{
	struct io_uring_sqe *sqe = ring_sqe(px, &p->recv);

	p->recv_msg = (struct msghdr){
		.msg_controllen = CMSG_SPACE(sizeof(int)),
	};
	io_uring_prep_recvmsg_multishot(sqe, p->udp, &p->recv_msg, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
}

/* Size of the datagrams that GRO has put together, 0: it is one. */
static uint32_t gro_size(struct io_uring_recvmsg_out *o, struct msghdr *m)
{
	struct cmsghdr *c = io_uring_recvmsg_cmsg_firsthdr(o, m);
	int size = 0;

	if (c && c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO &&
	    c->cmsg_len >= CMSG_LEN(sizeof(size)))
		memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size > 0 ? size : 0;
}

static void received(struct proxy *px, struct op *op, int res, unsigned flags)
{
	struct peer *p =
		(struct peer *)((char *)op - offsetof(struct peer, recv));
	struct io_uring_recvmsg_out *o;
	struct slab *s = NULL;

	if (flags & IORING_CQE_F_BUFFER)
		s = slab_buffer(px, flags >> IORING_CQE_BUFFER_SHIFT);
	if (s && res > 0) {
		o = io_uring_recvmsg_validate(s->data, res, &p->recv_msg);
		if (o && !(o->flags & MSG_TRUNC)) {
			unsigned char *data =
				io_uring_recvmsg_payload(o, &p->recv_msg);

			rx_datagrams(px, p, s, data - s->data,
				     io_uring_recvmsg_payload_length(
					     o, res, &p->recv_msg),
				     gro_size(o, &p->recv_msg));
		}
	}
	if (s)
		slab_put(px, s);
	if (flags & IORING_CQE_F_MORE)
		return;
	/* More came at once than there are buffers; they are free again. */
	if (res == -ENOBUFS && px->free_buffers) {
		receive(px, p);
		return;
	}
	/* ECONNREFUSED and the like: ICMP about what we have sent. ENOBUFS:
	 * all buffers are held by frames that wait; those to come are lost. */
	if (res < 0 && verbose && res != -ENOBUFS)
		say("receive: %s", strerror(-res));
	p->rearm = true;
	ring_tick_soon(px);
}

/* Receive again, where that has ended: once a tick, not at once, or the loop
 * would spin while there are no buffers. */
void peers_tick(struct proxy *px)
{
	for (struct peer *p = px->peers; p; p = p->next)
		if (p->rearm) {
			p->rearm = false;
			receive(px, p);
		}
}

struct peer *peer_find(struct proxy *px, const struct shunt_addr *local,
		       const struct shunt_addr *remote)
{
	for (struct peer *p = px->peers; p; p = p->next)
		if (!memcmp(&p->local, local, sizeof(*local)) &&
		    !memcmp(&p->remote, remote, sizeof(*remote)))
			return p;
	return NULL;
}

struct peer *peer_get(struct proxy *px, const struct shunt_addr *local,
		      const struct shunt_addr *remote)
{
	struct peer *p = peer_find(px, local, remote);
	int err;

	if (p || !limit_take(&px->worker->n_peers, PEERS_MAX))
		return p;
	p = calloc(1, sizeof(*p));
	if (!p) {
		limit_give(&px->worker->n_peers);
		return NULL;
	}
	p->local = *local;
	p->remote = *remote;
	p->cwnd = CWND_INIT;
	p->ssthresh = CWND_MAX;
	p->ready_tail = &p->ready;
	p->due_tail = &p->due;
	p->lost_ns = px->now_ns;
	p->recv.done = received;
	err = open_udp(p);
	if (err) {
		if (verbose)
			say("socket to a peer: %s", strerror(-err));
		limit_give(&px->worker->n_peers);
		free(p);
		return NULL;
	}
	receive(px, p);
	p->next = px->peers;
	px->peers = p;
	return p;
}

/* RFC 6298, without the variance: for the waits of repair.c. */
void peer_rtt(struct peer *p, uint64_t sample_ns)
{
	p->srtt_ns = p->srtt_ns ? (7 * p->srtt_ns + sample_ns) / 8 : sample_ns;
}

/*
 * What losses have taught is of use for a while. TCP's connections are new ones
 * and begin with slow start; ours to a peer lasts for ever: 26 MB after some
 * seconds of 1% loss took 7.6 s instead of 0.9 (50 ms).
 */
void peer_resumes(struct proxy *px, struct peer *p)
{
	if (px->now_ns - p->sent_ns < FORGET_NS)
		return;
	p->ssthresh = CWND_MAX;
	if (p->cwnd < CWND_INIT)
		p->cwnd = CWND_INIT;
}

/* Half the window, once a round trip. */
void peer_lost(struct proxy *px, struct peer *p)
{
	if (px->now_ns - p->cut_ns < p->srtt_ns + TICK_NS)
		return;
	p->cut_ns = px->now_ns;
	p->cwnd /= 2;
	if (p->cwnd < CWND_MIN)
		p->cwnd = CWND_MIN;
	p->ssthresh = p->cwnd;
}
