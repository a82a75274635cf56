// SPDX-License-Identifier: GPL-2.0-only
/* See rig.h; rig_kernel.c is the kernel that it plays. */
#include "rig.h"
#include "craft.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

/* ---- setting up ---- */

static struct shunt_addr loopback(unsigned last)
{
	return (struct shunt_addr){
		{0, 0, htonl(0xffff), htonl(INADDR_LOOPBACK + last)}};
}

/* The far end of a peer's socket. */
static int open_wire(unsigned peer)
{
	struct shunt_addr ours = loopback(1 + peer), its = loopback(0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 8 << 20;
	struct sockaddr_storage a, b;
	socklen_t n = to_sockaddr(&ours, SHUNT_PORT, &a);

	to_sockaddr(&its, SHUNT_PORT, &b);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (fd < 0 || bind(fd, (void *)&a, n) || connect(fd, (void *)&b, n))
		return -errno;
	return fd;
}

static int open_app(struct rig *r)
{
	int size = 16 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->px.redirect))
		return -errno;
	r->app = r->px.redirect[1];
	return setsockopt(r->px.redirect[0], SOL_SOCKET, SO_SNDBUFFORCE, &size,
			  sizeof(size))
		       ? -errno
		       : 0;
}

void rig_tell_flags(struct rig *r, enum message_type type, uint8_t flags,
		    uint32_t number, uint64_t a, uint64_t b)
{
	unsigned char m[64];
	uint32_t n = rig_message(r, m, type, number, a, b);

	((struct head *)m)->flags = flags;
	rig_say(r, 0, m, 0, n);
}

void rig_tell(struct rig *r, enum message_type type, uint32_t number,
	      uint64_t a, uint64_t b)
{
	rig_tell_flags(r, type, 0, number, a, b);
}

struct stream *rig_enrolled(struct rig *r, uint32_t number, uint32_t token)
{
	struct stream *st = rig_open(r, number, 0, token);

	rig_tell(r, ENROL, number, 0, 0);
	rig_tick(r);
	rig_tell(r, READY, number, 0, 0);
	return st;
}

/* One that has greeted, as after a reconnection. */
static void new_channel(struct rig *r, unsigned peer)
{
	struct channel *c = &r->channel[peer];
	unsigned char hello[sizeof(struct hello)];
	uint32_t n = rig_message(r, hello, HELLO, 0, 0, 0);

	c->dying = c->greeted = false;
	c->in_length = 0;
	c->out[0].length = c->out[0].sent = c->out[1].length = 0;
	rig_say(r, peer, hello, 0, n);
}

static size_t count_slabs(const struct rig *r)
{
	size_t n = 0;

	for (const struct slab *s = r->worker.free_slabs; s; s = s->next)
		n++;
	return n;
}

int rig_up(struct rig *r)
{
	struct proxy *px = &r->px;
	int err;

	rig = r;
	if (unshare(CLONE_NEWNET) || system("ip link set lo up"))
		return -errno;
	px->now_ns = SHUNT_NSEC;
	r->worker.n_loops = 1;
	px->worker = &r->worker;
	px->shm = px->shared = &r->shm;
	r->shm.total_limit = RIG_MEMORY;
	r->shm.stream_limit = SHUNT_MSG_STREAM_LIMIT;
	px->shm_streams = r->streams;
	px->n_streams = RIG_NUMBERS;
	px->stream_index_fd = px->redirection_fd = px->inject_fd = -1;
	px->devices[0].ifindex = 1;
	px->frame_payload = 1448;
	err = open_app(r) ?: ring_init(px) ?:
	      slabs_init(&r->worker, RIG_MEMORY) ?: buffers_init(px) ?:
	      streams_init(px);
	for (unsigned i = 0; !err && i < RIG_PEERS; i++) {
		struct shunt_addr ours = loopback(0), its = loopback(1 + i);
		struct channel *c = &r->channel[i];

		r->wire[i] = open_wire(i);
		r->peer[i] = peer_get(px, &ours, &its);
		if (r->wire[i] < 0 || !r->peer[i])
			return -EIO;
		c->fd = -1;
		c->peer = r->peer[i];
		c->out[0].data = malloc(CHANNEL_OUT);
		c->out[1].data = malloc(CHANNEL_OUT);
		new_channel(r, i);
	}
	r->slabs = count_slabs(r);
	return err;
}

/* ---- streams ---- */

struct stream *rig_open(struct rig *r, uint32_t number, unsigned peer,
			uint32_t token)
{
	struct shunt_stream *s = &r->streams[number];

	*s = (struct shunt_stream){
		.key = {.local = loopback(0),
			.remote = loopback(1 + peer),
			.lport = htons(1000 + number),
			.rport = htons(2000 + number)},
		.life = SHUNT_STREAM_OPEN,
		.token_local = token,
		.token_remote = ~token,
		.role = SHUNT_ROLE_ACTIVE,
	};
	return stream_get(&r->px, number);
}

/* Acknowledge all that is sent: the peer has one window for all its streams. */
static void acknowledge(struct rig *r)
{
	unsigned char m[sizeof(struct ack)];

	for (uint32_t i = 1; i <= RIG_STREAMS; i++) {
		const struct stream *st = r->px.streams[i];

		if (st && !st->doomed && st->tx_acked < st->tx_sent)
			rig_say(r, st->peer == r->peer[1], m, 0,
				rig_message(r, m, ACK, i, st->tx_sent,
					    st->tx_sent));
	}
}

bool rig_closed(struct rig *r, uint32_t number)
{
	struct shunt_event e = {.type = SHUNT_EV_CLOSED, .stream = number};

	if (!r->px.streams[number])
		return true;
	r->streams[number].life = SHUNT_STREAM_CLOSED;
	stream_event(&r->px, &e, sizeof(e));
	for (int i = 0; i < 500 && r->px.streams[number]; i++) {
		acknowledge(r);
		rig_tick(r);
	}
	return !r->px.streams[number];
}

/* ---- what comes in ---- */

/* What lies behind bytes that came in is nobody's: ASan is to say so. */
static void behind(void *at, size_t n, bool poison)
{
#ifdef __SANITIZE_ADDRESS__
	if (poison)
		ASAN_POISON_MEMORY_REGION(at, n);
	else
		ASAN_UNPOISON_MEMORY_REGION(at, n);
#else
	(void)at, (void)n, (void)poison;
#endif
}

static int hear(struct rig *r, struct channel *c, const void *bytes, uint32_t n)
{
	unsigned char *end;
	int used;

	memcpy(c->in + c->in_length, bytes, n);
	c->in_length += n;
	end = c->in + c->in_length;
	behind(end, c->in + CHANNEL_IN - end, true);
	used = messages_read(&r->px, c);
	behind(end, c->in + CHANNEL_IN - end, false);
	if (used > 0) {
		c->in_length -= used;
		memmove(c->in, c->in + used, c->in_length);
	}
	return used;
}

int rig_say(struct rig *r, unsigned peer, const void *bytes, uint32_t first,
	    uint32_t rest)
{
	struct channel *c = &r->channel[peer];
	int used = 0, more;

	if (first)
		used = hear(r, c, bytes, first);
	if (used >= 0 && rest) {
		more = hear(r, c, (const char *)bytes + first, rest);
		used = more < 0 ? more : used + more;
	}
	if (used < 0)
		r->shm.refused++; /* as control.c does */
	if (used < 0 || c->in_length) {
		control_close(&r->px, c, "");
		new_channel(r, peer);
	}
	return used;
}

uint32_t rig_message(struct rig *r, unsigned char *to, enum message_type type,
		     uint32_t number, uint64_t a, uint64_t b)
{
	union {
		struct head h;
		struct hello hello;
		struct enrol enrol;
		struct base base;
		struct ack ack;
		struct final final;
		struct at at;
	} m = {.h = {.type = type,
		     .to = htonl(number),
		     .from = htonl(rig_remote(number))}};
	const struct shunt_stream *s = &r->streams[number];
	uint32_t n = sizeof(m.h);

	switch (type) {
	case HELLO:
		n = sizeof(m.hello);
		m.hello.magic = htonl(MAGIC);
		m.hello.version = htons(VERSION);
		m.hello.instance = 77;
		break;
	case ENROL:
		n = sizeof(m.enrol);
		m.enrol.sport = s->key.rport;
		m.enrol.dport = s->key.lport;
		m.enrol.token = htonl(s->token_local);
		break;
	case PROMOTED:
		n = sizeof(m.base);
		m.base.base = htonl(a);
		break;
	case FINAL:
		n = sizeof(m.final);
		m.final.base = htonl(a);
		m.final.offset = htobe64(b);
		break;
	case ACK:
	case GAPS: /* one of them: the same layout */
		n = sizeof(m.ack);
		m.ack.received = htobe64(a);
		m.ack.read = htobe64(b);
		break;
	case SENT:
	case REPAIR: /* b bytes follow */
		n = sizeof(m.at);
		m.at.offset = htobe64(a);
		break;
	default:
		break;
	}
	m.h.length = htons(n + (type == REPAIR ? b : 0));
	memcpy(to, &m, n);
	return n;
}

bool rig_datagram(struct rig *r, unsigned peer, const void *bytes, uint32_t n,
		  uint32_t segment)
{
	struct slab *s = slab_get(&r->px);

	if (!s)
		return false;
	memcpy(s->data, bytes, n);
	behind(s->data + n, SLAB_SIZE - n, true);
	rx_datagrams(&r->px, r->peer[peer], s, 0, n, segment);
	behind(s->data + n, SLAB_SIZE - n, false);
	slab_put(&r->px, s);
	return true;
}

/* ---- what goes out ---- */

bool rig_redirected(struct rig *r, const void *bytes, uint32_t n, int *err)
{
	struct proxy *px = &r->px;
	const char *from = bytes;

	for (*err = 0; n && !*err;) {
		int pieces = redirect_room(px);
		uint32_t got = 0;

		if (!pieces)
			return false;
		for (int i = 0; i < pieces && n; i++) {
			struct iovec *v = &px->pieces[i];
			uint32_t take = v->iov_len < n ? v->iov_len : n;

			memcpy(v->iov_base, from, take);
			from += take;
			got += take;
			n -= take;
		}
		*err = redirect_taken(px, got);
	}
	return true;
}

struct shunt_record rig_number(struct rig *r, uint32_t number, uint32_t length)
{
	struct shunt_stream *s = &r->streams[number];
	struct shunt_record record = {
		.magic = SHUNT_RECORD_MAGIC,
		.stream = number,
		.offset = s->tx_bytes,
		.length = length,
		.token = s->token_local,
	};

	s->tx = SHUNT_STX_ON;
	s->tx_based = 1;
	s->tx_base = RIG_BASE;
	s->tx_bytes += length;
	s->tx_charged += length + SHUNT_MSG_OVERHEAD;
	r->shm.charged += length + SHUNT_MSG_OVERHEAD;
	return record;
}

uint32_t rig_queued(struct rig *r, unsigned char *to,
		    const struct shunt_record *record, bool saved)
{
	struct shunt_stream *s = &r->streams[record->stream];
	unsigned char *bytes = to + sizeof(*record);
	struct shunt_record head = *record;
	uint32_t n = s->tx_saved % SHUNT_STARTS;

	saved = saved && record->length >= sizeof(*record) &&
		s->tx_saved - s->tx_taken < SHUNT_STARTS;
	if (saved)
		bytes = to;
	craft_bytes(bytes, record->stream, record->offset, record->length);
	if (saved) {
		memcpy(&s->starts[n], to, sizeof(s->starts[n]));
		s->tx_saved++;
		head.magic = SHUNT_RECORD_SAVED | n;
	}
	memcpy(to, &head, sizeof(head));
	return record->length + (saved ? 0 : sizeof(*record));
}

void rig_tick(struct rig *r)
{
	struct proxy *px = &r->px;

	px->now_ns += TICK_NS;
	px->tick_ns = px->wake_ns = 0; /* don't wait */
	streams_tick(px);
	peers_tick(px);
	for (unsigned i = 0; i < RIG_PEERS; i++) {
		tx_push(px, r->peer[i]);
		r->channel[i].out[1].length = 0;
		messages_send(px, r->peer[i], true);
	}
	ring_round(px);
}

bool rig_is_empty(struct rig *r)
{
	struct proxy *px = &r->px;
	bool empty = false;

	/* Sends come to their end. Of those without a copy the kernel tells 20
	 * a call (IO_LOCAL_TW_DEFAULT_MAX, 6.13), and there may be hundreds. */
	for (int i = 0; i < 10 || (i < 1000 && !empty); i++) {
		rig_tick(r);
		empty = count_slabs(r) + !!px->slab + !!px->spare == r->slabs;
	}
	return empty;
}
