/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stream: one connection on the message path, both directions, and what the
 * modules do with it on the way from socket to datagram and back. Part of
 * proxy.h.
 */
#ifndef STREAM_H
#define STREAM_H

/* ---- stream.c ---- */

/* Control messages that are due, in the order in which they are sent. */
#define DUE_ABORT    0x001
#define DUE_ENROL    0x002
#define DUE_READY    0x004
#define DUE_PROMOTED 0x008
#define DUE_KNOWN    0x010
#define DUE_ACK	     0x020 /* waits for a tick */
#define DUE_FINAL    0x040
#define DUE_SENT     0x080
#define DUE_GAPS     0x100
#define DUE_COMPLETE 0x200
#define DUE_DEMOTE   0x400
#define DUE_NEVER    0x800
#define DUE_RETREAT  0x1000
#define DUE_LEFT     0x2000
#define DUE_REPAIR   0x4000

#define UNKNOWN UINT64_MAX

struct range {
	uint64_t from, to;
};
#define RANGES 32

struct stream {
	struct shunt_stream *shm; /* what BPF sees */
	uint32_t number;
	uint32_t remote; /* the peer's number of it, 0: not known */
	uint64_t enrol_ns, enrol_wait_ns; /* next try, and the one after it */
	uint64_t enrolled_ns;
	uint64_t crowded_ns; /* since when TCP keeps a send, 0: it does not … */
	unsigned crowds; /* … and how often it has, here or there, so far */
	bool first;	 /* of both ends, this one enrols first */
	bool retreating; /* has asked the peer whether it may leave again */
	struct peer *peer;
	struct stream *next_key; /* same hash */
	struct stream *next_due, *next_ready, *next_active;
	bool is_due, is_ready, is_active;
	bool closing, closed, doomed, settling;
	bool peer_ready; /* our direction may be promoted */
	bool asked;	 /* the peer needs acknowledgements, as of late */
	unsigned due;	 /* DUE_… */

	/* sending: tx_acked <= tx_sent <= tx_end */
	struct chunk *tx, **tx_tail; /* from the first not read by the peer */
	struct chunk *tx_next;	     /* the first not sent in full */
	uint64_t tx_end, tx_sent, tx_acked, tx_read;
	struct chunk *early; /* sorted, no overlap, behind tx_end */
	unsigned taken;	     /* first bytes from tx_taken on: a bit for each */
	uint64_t missing_at;
	unsigned missing_ticks; /* that tx_end has waited there */
	uint64_t tx_final;	/* UNKNOWN while there may be more */
	bool tx_complete;	/* the peer has delivered all of it … */
	uint64_t
		tx_progress_ns; /* last time that an acknowledgement advanced */
	uint64_t rtt_offset, rtt_from_ns;
	unsigned tx_asked; /* times that SENT was said, without progress */
	unsigned tx_blind; /* windows in a row of which no datagram arrived */
	uint64_t poked_ns; /* when TCP was last told to be patient */
	struct range repair[RANGES];
	unsigned n_repair;

	/* receiving */
	struct chunk *rx, *rx_last; /* sorted, no overlap, behind rx_next */
	uint64_t rx_next;	    /* all before is delivered */
	uint64_t rx_have; /* all before is here: what is acknowledged */
	uint64_t rx_final;
	uint64_t rx_sent;  /* the peer says that it has sent so much */
	uint64_t rx_asked; /* holes before it are asked for */
	uint64_t hole_ns;  /* since when there is one that is not, 0: none */
	uint64_t asked_ns;
	uint64_t hole_end; /* … and what had been sent then */
	bool rx_turn;	   /* what TCP brought before has been read */
	uint64_t rx_seen;  /* read by the application, at least */
	bool rx_arrived;   /* datagrams of it, since the last ACK … */
	uint64_t acked_next, acked_read; /* … and what that said */
	unsigned char *held; /* a FIN that waits, behind HELD_ALIGN bytes */
	uint32_t held_length, held_ifindex;
};

void stream_event(struct proxy *px, const struct shunt_event *e, size_t size);
void stream_due(struct proxy *px, struct stream *st, unsigned what);
void stream_active(struct proxy *px, struct stream *st);
/* The same when bytes have moved: no hurry if they do as they should. */
void stream_moves(struct proxy *px, struct stream *st);
/* Is there more to do at a tick than to acknowledge what nobody waits for? */
bool stream_hurries(const struct stream *st);
/* Bytes of the path that the application has read. */
uint64_t stream_read(const struct stream *st);
/* All that a stream still waits for, once a tick. */
void streams_tick(struct proxy *px);
/* Is our direction on the path, or has it been? */
bool stream_promoted(const struct stream *st);
/* May we promote our direction? */
void stream_try_promote(struct stream *st);
/* Is it the path's turn, after what TCP brought before? */
void stream_turn(struct proxy *px, struct stream *st);
void stream_set_base(struct proxy *px, struct stream *st, uint32_t base);
void stream_set_final(struct proxy *px, struct stream *st, uint64_t final);
void stream_complete(struct proxy *px, struct stream *st);
/* The same of ours, as the peer says. */
void stream_completed(struct proxy *px, struct stream *st);
void stream_demote(struct proxy *px, struct stream *st);
void stream_never(struct proxy *px, struct stream *st);
/* Give its number back when nothing is left to do. */
void stream_maybe_free(struct proxy *px, struct stream *st);
/* Everything again that a new channel has to know. */
void streams_resync(struct proxy *px, struct peer *p);

/* ---- abort.c: what can't be kept ---- */

/* Reset the connection. */
void stream_abort(struct proxy *px, struct stream *st, enum shunt_reset why,
		  const char *what);
/* All of a peer that TCP can't make whole. */
void streams_abort_peer(struct proxy *px, struct peer *p, enum shunt_reset why,
			const char *what);

/* ---- table.c: by number, by key ---- */

int streams_init(struct proxy *px);
/* NULL: no such stream, or another loop's. */
struct stream *stream_get(struct proxy *px, uint32_t number);
struct stream *stream_by_key(struct proxy *px, const struct shunt_key *key);
/* One that has ended before we heard of it, or that another worker had. */
void stream_unmet(struct proxy *px, uint32_t number);
/* The last of it; its number may be another's at once. */
void stream_forget(struct proxy *px, struct stream *st);

/* ---- enrol.c: into the sockmap and out of it ---- */

void enrol_tick(struct proxy *px, struct stream *st);
/* Out of it, and TCP may go on, if all that has to be is over. */
void enrol_release(struct proxy *px, struct stream *st);
/* The peer's socket is enrolled … */
void enrol_ready(struct proxy *px, struct stream *st);
/* … and wants to leave again: since ours is not, or, crowded, even so. */
void enrol_retreat(struct proxy *px, struct stream *st, bool crowded);
/* Is it to come in, sooner or later? */
bool enrol_waits(const struct stream *st);
/* A send of ours has to wait, so our socket has to leave. */
void enrol_crowded(struct proxy *px, struct stream *st);
/* Ours is alone, so that it may leave again. */
void enrol_left(struct proxy *px, struct stream *st);

/* ---- redirect.c: the redirection socket ---- */

/* In front of most chunks of what it brings are so many bytes that nobody needs
 * any more: a record's header was there, or nothing. */
#define CHUNK_ROOM sizeof(struct shunt_frame)
/* Pieces of one read, each as much as a frame has: 64 KB at 1500. */
#define READ_PIECES 46

int redirect_init(struct proxy *px);
/* Where the next bytes go: pieces of px->slab, in px->pieces. How many; 0: no
 * slab is free. */
int redirect_room(struct proxy *px);
/* So many bytes have been read into them: 0, or -EPROTO if a record does not
 * begin where it should. */
int redirect_taken(struct proxy *px, uint32_t n);
void redirect_tick(struct proxy *px);
/* Ask for what comes next, if that is not done, and a slab is free: behind what
 * is to be sent. */
void redirect_read(struct proxy *px);
/* Into the application's socket: length bytes in iov[1…]; iov[0] is ours. 0, or
 * an error after which the stream is lost. */
int redirect_deliver(struct proxy *px, struct stream *st, struct iovec *iov,
		     int n, uint32_t length);
/* Of one piece, with CHUNK_ROOM in front of it. */
int redirect_deliver_one(struct proxy *px, struct stream *st,
			 unsigned char *bytes, uint32_t length);

/* ---- order.c: records in the order in which they were written ---- */

/* A part of a record; with the last one, what the record was charged. */
void order_add(struct proxy *px, struct stream *st, struct slab *slab,
	       uint32_t at, uint32_t length, uint64_t offset, uint32_t charge,
	       bool room);
/* Reset it if one of them can't be there any more. */
void order_tick(struct proxy *px, struct stream *st);
void order_drop(struct proxy *px, struct stream *st);

/* ---- tx.c: records to datagrams ---- */

/* The bytes at tx_end. */
void tx_add(struct proxy *px, struct stream *st, struct slab *slab, uint32_t at,
	    uint32_t length, uint32_t charge, bool room);
void tx_push(struct proxy *px, struct peer *p);
void tx_acked(struct proxy *px, struct stream *st, uint64_t received,
	      uint64_t read);
void tx_drop(struct proxy *px, struct stream *st);

/* ---- rx.c: datagrams to the application ---- */

/* Nobody who keeps to a limit is further ahead of the reader. */
#define AHEAD_MAX (256ULL << 20)

/* One datagram or many of one size, in slab. */
void rx_datagrams(struct proxy *px, struct peer *p, struct slab *slab,
		  uint32_t at, uint32_t length, uint32_t segment);
/* Bytes at offset, from memory that will not be kept. */
int rx_copy(struct proxy *px, struct stream *st, const void *bytes,
	    uint32_t length, uint64_t offset);
void rx_deliver(struct proxy *px, struct stream *st);
void rx_drop(struct proxy *px, struct stream *st);

/* ---- repair.c: what the network has lost ---- */

void repair_tick(struct proxy *px, struct stream *st);
/* Ranges [from, to) that are missing, at most n. */
unsigned repair_holes(const struct stream *st, struct range *ranges,
		      unsigned n);
void repair_sent(struct proxy *px, struct stream *st, uint64_t offset);
void repair_ask(struct proxy *px, struct stream *st, uint64_t from,
		uint64_t to);

#endif
