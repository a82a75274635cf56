/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shunt-proxy: the user-space part of the message path. A loop on io_uring
 * moves messages from its redirection socket into datagrams, datagrams back
 * into the applications' sockets, and keeps both ends in step over a control
 * channel. docs/message-path.md is the map of it.
 *
 * There is one loop, a struct proxy, for each CPU, and each is a thread. A peer
 * and all that is about it belongs to one of them (shunt_loop_of()), so nothing
 * of it is locked; what loops share is struct worker. Functions return 0 or
 * -errno.
 */
#ifndef PROXY_H
#define PROXY_H

#include <shunt/message.h>

#include <liburing.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define NSEC_PER_MS   1000000ULL

/* How often unfinished streams are looked at, and idle ones. If nothing but an
 * acknowledgement is due, nobody is woken for that before LAZY_NS: a timer
 * takes 15 us of CPU on a virtual machine. */
#define TICK_NS	     (2 * NSEC_PER_MS)
#define TICK_IDLE_NS (250 * NSEC_PER_MS)
#define LAZY_NS	     (8 * NSEC_PER_MS)

struct proxy;
struct worker;
struct send;
struct peer;
struct stream;

/* ---- ring.c: io_uring ---- */

/* Something under way in the ring; the first member of what it belongs to.
 * done() is called for each completion; flags are the CQE's. */
struct op {
	void (*done)(struct proxy *px, struct op *op, int res, unsigned flags);
};

int ring_init(struct proxy *px);
/* A cleared entry that completes to op. Submitted at the end of the round. */
struct io_uring_sqe *ring_sqe(struct proxy *px, struct op *op);
/* One round: submit, wait, dispatch. */
int ring_round(struct proxy *px);
/* Something waits that only a tick brings on. */
void ring_tick_soon(struct proxy *px);
/* The same, and it can wait a little longer if nothing else wakes the loop. */
void ring_tick_lazily(struct proxy *px);

/* ---- slab.c: memory that payload lies in, never copied ---- */

#define SLAB_SIZE (256 << 10) /* what the redirection socket is read into */
/* What datagrams are received into: 64 KB by GRO, and recvmsg's own. */
#define BUFFER_SIZE  ((64 << 10) + 512)
#define BUFFERS	     512 /* of all loops; a power of two */
#define BUFFER_GROUP 1

struct slab {
	struct slab *next; /* free ones */
	unsigned char *data;
	uint32_t refs;
	uint32_t used; /* bytes, from the front */
	int buffer;    /* number in the ring's buffer group, or -1 */
};

/* All there are, in bytes. */
int slabs_init(struct worker *w, uint64_t memory);
/* A loop's own share of the buffers, for its ring. */
int buffers_init(struct proxy *px);
/* A slab with one reference, or NULL: all are in use, by this loop or others.
 */
struct slab *slab_get(struct proxy *px);
struct slab *slab_buffer(struct proxy *px, unsigned number);
void slab_put(struct proxy *px, struct slab *s);

/* Bytes of a stream, in a slab that they hold a reference on. */
struct chunk {
	struct chunk *next;
	uint64_t offset; /* in the stream's direction */
	uint32_t length;
	uint32_t charge;   /* released when it has been read at the far end */
	struct slab *slab; /* NULL: acknowledged */
	uint32_t at;
	bool room; /* in front of it are CHUNK_ROOM bytes that nobody needs */
};

struct chunk *chunk_new(struct proxy *px, struct slab *slab, uint32_t at,
			uint32_t length, uint64_t offset);
void chunk_free(struct proxy *px, struct chunk *c);

#include "stream.h"

/* ---- peer.c ---- */

#define SOCKET_ROOM (8 << 20) /* of a peer's UDP socket, each way */

#define CWND_MIN (16 << 10)
#define CWND_MAX (64 << 20)

struct peer {
	struct peer *next;
	struct shunt_addr local, remote;
	int udp;
	struct op recv; /* multishot, on udp */
	struct msghdr recv_msg;
	uint32_t mtu;
	uint32_t payload; /* bytes of a full frame */
	bool no_gso;
	bool rearm; /* recv has ended */

	/* congestion, RFC 8085 3.1: bytes */
	uint64_t cwnd, ssthresh, inflight;
	uint64_t srtt_ns, cut_ns;
	uint64_t sent_ns;   /* the last batch */
	uint64_t copies_ns; /* the kernel copies what it need not: since then */
	uint64_t acked_ns;  /* when acknowledgements were last sent */
	bool asked;	    /* one of its streams has been */
	struct stream *ready, **ready_tail; /* with something to send */

	struct channel *channel;      /* the one we send on, NULL: none */
	uint64_t instance;	      /* of the proxy there, 0: not known */
	uint64_t lost_ns, connect_ns; /* since when there's none; last try */
	bool active;		      /* we connect */
	unsigned refusals;	      /* of tries to connect, in a row */
	unsigned streams;
	struct stream *due, **due_tail;
};

struct peer *peer_find(struct proxy *px, const struct shunt_addr *local,
		       const struct shunt_addr *remote);
struct peer *peer_get(struct proxy *px, const struct shunt_addr *local,
		      const struct shunt_addr *remote);
void peers_tick(struct proxy *px);
void peer_measure_mtu(struct peer *p);
void peer_rtt(struct peer *p, uint64_t sample_ns);
/* Something is to be sent, and nothing is under way. */
void peer_resumes(struct proxy *px, struct peer *p);
void peer_lost(struct proxy *px, struct peer *p); /* a frame, or more */
bool is_v4(const struct shunt_addr *a);
socklen_t to_sockaddr(const struct shunt_addr *a, uint16_t port,
		      struct sockaddr_storage *to);
void from_sockaddr(const struct sockaddr_storage *from, struct shunt_addr *a);

/* ---- accept.c: control channels from others ---- */

/* The listener, and the ways from it to the other loops. */
int accept_open(struct worker *w);
void accept_init(struct proxy *px);

/* ---- control.c, messages_in.c, messages_out.c: between two proxies ---- */

#define CHANNEL_OUT (512 << 10)
#define CHANNEL_IN  (64 << 10)

struct buffer {
	unsigned char *data;
	uint32_t length;
	uint32_t sent;
};

struct channel {
	struct op recv;
	struct op send;
	struct op connect;
	struct channel *next;
	struct peer *peer; /* NULL: has not said HELLO */
	int fd;
	bool sending, up, dying;
	bool ours;     /* we have connected it */
	bool greeted;  /* the peer has said HELLO */
	unsigned busy; /* operations under way */
	uint64_t since_ns;
	struct sockaddr_storage to;
	struct buffer out[2]; /* [0] is being sent, [1] is filled */
	unsigned char in[CHANNEL_IN];
	uint32_t in_length;
};

/* A channel that the peer has connected; it takes the descriptor: false if
 * there are too many. */
bool control_accept(struct proxy *px, struct peer *p, int fd);
/* Connect to the peer if there is need to. */
void control_want(struct proxy *px, struct peer *p);
void control_tick(struct proxy *px);
/* Room of n bytes for a message, or NULL. */
unsigned char *control_room(struct channel *c, uint32_t n);
void control_flush(struct proxy *px, struct channel *c);
void control_close(struct proxy *px, struct channel *c, const char *why);
uint64_t control_rtt_ns(const struct peer *p);

void messages_hello(struct proxy *px, struct channel *c);
/* What is due for the peer's streams; with `tick` acknowledgements, too, if it
 * has asked for them or has had none for a while. */
void messages_send(struct proxy *px, struct peer *p, bool tick);
/* Bytes that were whole messages, or -EPROTO. */
int messages_read(struct proxy *px, struct channel *c);

/* ---- inject.c: packets into the stack, as if a device had received them ----
 */

/* So that the IP header behind Ethernet's is aligned. */
#define HELD_ALIGN 2
void inject_held(struct proxy *px, struct stream *st);
/* An acknowledgement that says nothing new: TCP then sends what it has. */
void inject_poke(struct proxy *px, struct stream *st);

/* ---- kernel.c: what is pinned ---- */

/* What the supervisor needs of it, all that loops use alike, and a loop's ring
 * of events. */
int kernel_map(struct proxy *px, const char *pins);
int kernel_open(struct proxy *px, const char *pins);
int kernel_open_events(struct proxy *px, const char *pins);
void kernel_watch(struct proxy *px);
const struct shunt_device *kernel_device(const struct proxy *px,
					 uint32_t ifindex);
void kernel_refill(struct proxy *px);
int kernel_events(struct proxy *px);
/* Put the socket of a stream into the sockmap: an enum shunt_enrol; out of it.
 */
int kernel_enrol(struct proxy *px, uint32_t number);
/* Bring rx_copied up to date. */
void kernel_look(struct proxy *px, uint32_t number);
/* How much of the path waits in the sockets of this loop's streams; of one, as
 * of that, if the kernel says so. */
void kernel_look_queued(struct proxy *px);
bool kernel_queued(const struct proxy *px, const struct shunt_stream *s,
		   uint64_t *queued);
void kernel_release(struct proxy *px, uint32_t number);
void kernel_free_number(struct proxy *px, uint32_t number);
/* Is the flow of this key on its transport? */
bool kernel_on_transport(struct proxy *px, const struct shunt_key *key);
const struct shunt_flow *kernel_flow(struct proxy *px,
				     const struct shunt_key *key);
/* Reset a connection of this host, and so its peer's end. */
int kernel_destroy(const struct shunt_key *key);

/* ---- all of a loop ---- */

struct proxy {
	struct worker *worker;
	unsigned index;
	struct io_uring ring;
	uint64_t now_ns;
	bool quit;
	bool settling;		 /* a stream is */
	bool unread;		 /* a stream has bytes that are … */
	uint32_t looks;		 /* … looked for so many times, … */
	uint64_t looked_ns;	 /* … the last one then */
	uint64_t events_lost;	 /* as of the last look at all streams */
	bool tx_work;		 /* a stream or a window has changed */
	bool zero_copy;		 /* the ring has SENDMSG_ZC */
	uint32_t zero_copy_from; /* bytes */

	struct shunt_proxy *shared; /* of all: state and limits … */
	struct shunt_proxy *shm;    /* … and this loop's counters */
	struct shunt_stream *shm_streams;
	struct shunt_flow *shm_flows;
	uint32_t n_streams, n_flows;
	int free_fd, redirection_fd, flow_index_fd, stream_index_fd;
	int inject_fd, inject_xdp_fd, enrol_fd, socks_fd;
	struct shunt_device devices[SHUNT_MAX_DEVICES];
	struct ring_buffer *events;
	struct op events_op, redirect_op, accept_op;
	int accepted;	  /* read from the pipe */
	uint64_t tick_ns; /* when the next one is due, if the loop runs … */
	uint64_t wake_ns; /* … and when it is woken for that */
	/* ring.c */
	struct op timer_op;
	struct __kernel_timespec timer;
	uint64_t timer_ns; /* what it is set to; UINT64_MAX: none is */
	unsigned sends;	   /* to be submitted; each completes at once */

	struct slab *buffers, *spare_buffers;
	unsigned n_buffers, free_buffers;
	unsigned offered; /* of the free ones: in the ring */
	struct io_uring_buf_ring *buffer_ring;
	struct chunk *free_chunks;
	struct send *free_sends;
	uint32_t rx_chunks; /* received, and not delivered */

	struct stream **streams; /* by number */
	struct stream **by_key;
	struct stream *active;
	struct peer *peers;
	struct channel *channels;
	unsigned last_port; /* that a channel was bound to */
	uint64_t instance;

	int redirect[2]; /* we read and write [0]; [1] is its other end */
	bool reading;
	bool starved;	   /* it is not being read: no slab is free */
	bool backlog;	   /* the last read has not taken all there was */
	bool waits;	   /* … or there was nothing, as of the last tick */
	uint32_t room;	   /* bytes in all pieces */
	struct slab *slab; /* being filled from it, … */
	struct iovec pieces[READ_PIECES]; /* … here */
	struct msghdr read_msg;
	uint32_t frame_payload; /* bytes of the frames that went out last */
	struct slab *spare;	/* … with what must not keep a buffer */
	/* the record that is being read */
	struct shunt_record record;
	uint32_t record_have; /* bytes of its header */
	uint32_t record_left; /* bytes of its payload to come */
	bool in_front;	      /* … and was not where its first bytes were */
};

/* Memory that was charged is free again: loops add to one sum. */
static inline void release(struct proxy *px, uint64_t bytes)
{
	__atomic_add_fetch(&px->shared->released, bytes, __ATOMIC_RELAXED);
}

uint64_t clock_ns(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool verbose;
extern volatile sig_atomic_t stop; /* by a signal */

#endif
