// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control channel: a TCP connection to the proxy of a peer, on our port.
 * The side that connects its streams connects it. Its output is bounded: what
 * is due is kept as bits in the streams, not as messages.
 */
#include "worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One that has not said who it is goes after so long; a new try likewise. */
#define HELLO_NS (2000 * NSEC_PER_MS)
#define RETRY_NS (500 * NSEC_PER_MS)
/* A channel that nothing comes through for so long is given up for a new one;
 * then the other side tries, too. */
#define UNANSWERED_MS 3000
#define OTHER_NS      (3000 * NSEC_PER_MS)

/*
 * Without a channel streams wait, as TCP does while nothing comes back: 924 s
 * by its default (net.ipv4.tcp_retries2). But a host that refuses so many tries
 * in a row is there, and has no proxy any more, or one that knows nothing of
 * them: a worker takes less time to be followed by another.
 */
#define SILENT_NS    (924 * SHUNT_NSEC)
#define REFUSALS_MAX 6

static void read_more(struct proxy *px, struct channel *c);

/* ---- its life ---- */

static void release_channel(struct proxy *px, struct channel *c)
{
	limit_give(&px->worker->n_channels);
	if (!c)
		return;
	free(c->out[0].data);
	free(c->out[1].data);
	free(c);
}

static struct channel *channel_new(struct proxy *px, int fd)
{
	struct channel *c;
	int one = 1;
	unsigned timeout_ms = UNANSWERED_MS;

	if (!limit_take(&px->worker->n_channels, CHANNELS_MAX))
		return NULL;
	c = calloc(1, sizeof(*c));
	for (int i = 0; c && i < 2; i++)
		c->out[i].data = malloc(CHANNEL_OUT);
	if (!c || !c->out[0].data || !c->out[1].data) {
		release_channel(px, c);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
		   sizeof(timeout_ms));
	c->fd = fd;
	c->since_ns = px->now_ns;
	c->next = px->channels;
	px->channels = c;
	return c;
}

static void channel_free(struct proxy *px, struct channel *c)
{
	struct channel **at = &px->channels;

	if (c->busy)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	close(c->fd);
	release_channel(px, c);
}

void control_close(struct proxy *px, struct channel *c, const char *why)
{
	struct peer *p = c->peer;

	if (c->dying)
		return;
	c->dying = true;
	if (verbose)
		say("control channel closed: %s", why);
	shutdown(c->fd, SHUT_RDWR); /* ends what is under way */
	if (p && p->channel == c) {
		p->channel = NULL;
		p->lost_ns = px->now_ns;
		for (struct channel *o = px->channels; o; o = o->next)
			if (o->peer == p && o->up && !o->dying)
				p->channel = o;
		if (p->channel)
			streams_resync(px, p);
	}
}

/* By an error, or by its end (0). One of ours that was refused is told from one
 * that has got no answer. */
static void failed(struct proxy *px, struct channel *c, int res)
{
	struct peer *p = c->peer;

	if (p && c->ours && !c->greeted && !c->dying) {
		if (!res || res == -ECONNREFUSED || res == -ECONNRESET ||
		    res == -EPIPE)
			p->refusals++;
		else
			p->refusals = 0;
	}
	control_close(px, c, res ? strerror(-res) : "by the peer");
}

/* ---- output ---- */

unsigned char *control_room(struct channel *c, uint32_t n)
{
	struct buffer *b = &c->out[1];
	unsigned char *at = b->data + b->length;

	if (b->length + n > CHANNEL_OUT)
		return NULL;
	b->length += n;
	return at;
}

static void written(struct proxy *px, struct op *op, int res, unsigned flags)
{
	struct channel *c =
		(struct channel *)((char *)op - offsetof(struct channel, send));

	(void)flags;
	c->busy--;
	c->sending = false;
	if (c->dying) {
		channel_free(px, c);
		return;
	}
	if (res <= 0) {
		failed(px, c, res);
		return;
	}
	c->out[0].sent += res;
	control_flush(px, c);
}

void control_flush(struct proxy *px, struct channel *c)
{
	struct buffer *b = &c->out[0], full;
	struct io_uring_sqe *sqe;

	if (c->sending || c->dying || !c->up)
		return;
	if (b->sent == b->length) {
		full = c->out[1];
		c->out[1] = c->out[0];
		c->out[1].length = 0;
		c->out[0] = full;
		b->sent = 0;
		if (!b->length)
			return;
	}
	c->sending = true;
	c->busy++;
	c->send.done = written;
	sqe = ring_sqe(px, &c->send);
	io_uring_prep_send(sqe, c->fd, b->data + b->sent, b->length - b->sent,
			   MSG_NOSIGNAL);
}

/* ---- input ---- */

static void received(struct proxy *px, struct op *op, int res, unsigned flags)
{
	struct channel *c =
		(struct channel *)((char *)op - offsetof(struct channel, recv));
	int used;

	(void)flags;
	c->busy--;
	if (c->dying) {
		channel_free(px, c);
		return;
	}
	if (res <= 0) {
		failed(px, c, res);
		channel_free(px, c);
		return;
	}
	c->in_length += res;
	used = messages_read(px, c);
	if (used < 0) {
		px->shm->refused++;
		control_close(px, c, "not what a proxy says");
		channel_free(px, c);
		return;
	}
	c->in_length -= used;
	memmove(c->in, c->in + used, c->in_length);
	read_more(px, c);
}

static void read_more(struct proxy *px, struct channel *c)
{
	struct io_uring_sqe *sqe = ring_sqe(px, &c->recv);

	c->recv.done = received;
	c->busy++;
	io_uring_prep_recv(sqe, c->fd, c->in + c->in_length,
			   CHANNEL_IN - c->in_length, 0);
}

static void begin(struct proxy *px, struct channel *c)
{
	c->up = true;
	messages_hello(px, c);
	read_more(px, c);
	control_flush(px, c);
}

bool control_accept(struct proxy *px, struct peer *p, int fd)
{
	struct channel *c = channel_new(px, fd);

	if (!c)
		return false;
	c->peer = p;
	begin(px, c);
	return true;
}

/* ---- connecting ---- */

static void connected(struct proxy *px, struct op *op, int res, unsigned flags)
{
	struct channel *c =
		(struct channel *)((char *)op -
				   offsetof(struct channel, connect));

	(void)flags;
	c->busy--;
	if (res < 0 || c->dying) {
		failed(px, c, res);
		channel_free(px, c);
		return;
	}
	begin(px, c);
}

/*
 * From a port that only root may use: who is let in speaks for all streams
 * between the hosts, so no other user of a host may be.
 */
static int bind_reserved(struct proxy *px, int fd,
			 const struct shunt_addr *local)
{
	const int first = IPPORT_RESERVED / 2, ports = IPPORT_RESERVED - first;
	struct sockaddr_storage from;
	int one = 1, err = -EADDRINUSE;
	socklen_t n;

	/* One that waits for its time to pass is none too few. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	for (int i = 0; err == -EADDRINUSE && i < ports; i++) {
		n = to_sockaddr(local, first + ++px->last_port % ports, &from);
		err = bind(fd, (void *)&from, n) ? -errno : 0;
	}
	return err;
}

void control_want(struct proxy *px, struct peer *p)
{
	struct io_uring_sqe *sqe;
	struct channel *c;
	socklen_t n;
	int fd;

	bool turn = p->active ||
		    (p->instance && px->now_ns - p->lost_ns > OTHER_NS);

	if (p->channel || !turn || !p->streams ||
	    (p->connect_ns && px->now_ns - p->connect_ns < RETRY_NS))
		return;
	p->connect_ns = px->now_ns;
	fd = socket(is_v4(&p->local) ? AF_INET : AF_INET6,
		    SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	c = bind_reserved(px, fd, &p->local) ? NULL : channel_new(px, fd);
	if (!c) {
		close(fd);
		return;
	}
	c->peer = p;
	c->ours = true;
	n = to_sockaddr(&p->remote, SHUNT_PORT, &c->to);
	c->connect.done = connected;
	c->busy++;
	sqe = ring_sqe(px, &c->connect);
	io_uring_prep_connect(sqe, fd, (void *)&c->to, n);
}

/* ---- time ---- */

static void lost(struct proxy *px, struct peer *p, enum shunt_reset why,
		 const char *what)
{
	streams_abort_peer(px, p, why, what);
	p->instance = 0;
	p->refusals = 0;
}

void control_tick(struct proxy *px)
{
	struct channel *c, *next;

	for (c = px->channels; c; c = next) {
		next = c->next;
		if (c->dying)
			channel_free(px, c);
		else if ((!c->peer || c->peer->channel != c) &&
			 px->now_ns - c->since_ns > HELLO_NS && !c->greeted)
			failed(px, c, -ETIMEDOUT);
	}
	for (struct peer *p = px->peers; p; p = p->next) {
		control_want(px, p);
		if (p->channel || !p->streams || !p->instance)
			continue;
		if (p->refusals > REFUSALS_MAX)
			lost(px, p, SHUNT_RESET_PROXY,
			     "the peer's proxy has ended");
		else if (px->now_ns - p->lost_ns > SILENT_NS)
			lost(px, p, SHUNT_RESET_SILENT,
			     "nothing is heard of the peer");
	}
}

uint64_t control_rtt_ns(const struct peer *p)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	if (!p->channel ||
	    getsockopt(p->channel->fd, IPPROTO_TCP, TCP_INFO, &info, &n))
		return 0;
	return info.tcpi_rtt * 1000ULL;
}
