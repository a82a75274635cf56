/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The message path: what its BPF programs, the proxy and the peer's proxy
 * share. docs/message-path.md tells the life of a message.
 *
 * A *stream* is one connection on this path, as one host sees it; its number is
 * an index into the map `streams`. Each direction starts on TCP, is promoted
 * once, at a message boundary, and may be demoted once. Offsets count the
 * bytes of a direction that took the path, from 0.
 */
#ifndef SHUNT_MESSAGE_H
#define SHUNT_MESSAGE_H

#include <shunt/shared.h>

#define SHUNT_MSG_STREAMS 4096 /* default; stream 0 is never used */
#define SHUNT_MSG_LOOPS	  16   /* event loops of the proxy, at most */

/*
 * What a message costs until the application at the far end has read it, apart
 * from its bytes: a page for the header that bpf_msg_push_data() puts in front,
 * a struct sk_msg, slack. Measured: 4854 bytes a message of one byte.
 */
#define SHUNT_MSG_OVERHEAD 5248

/* Default limits on undelivered memory: of a stream's direction, and of all. */
#define SHUNT_MSG_STREAM_LIMIT (16U << 20)
#define SHUNT_MSG_TOTAL_LIMIT  (128U << 20)

/* A send of so many bytes is asked for without a copy. Below, the kernel copies
 * faster than it pins pages: perf/zerocopy.c, docs/message-path.md. */
#define SHUNT_MSG_ZERO_COPY (16U << 10)

/* ---- streams ---- */

enum shunt_stream_life {
	SHUNT_STREAM_FREE,
	SHUNT_STREAM_OPEN,   /* its connection is established */
	SHUNT_STREAM_CLOSED, /* … is gone; the proxy may still have bytes */
};

/* A direction, as its sender sees it. */
enum shunt_stream_tx {
	SHUNT_STX_TCP,	 /* not yet promoted */
	SHUNT_STX_READY, /* proxy: the next message may be the first */
	SHUNT_STX_ON,	 /* BPF: messages are redirected */
	SHUNT_STX_OFF,	 /* BPF: demoted, or closed: TCP to the end */
};

/* … and as its receiver sees it, always the proxy's to write. */
enum shunt_stream_rx {
	SHUNT_SRX_TCP,	    /* no promotion allowed yet: all of TCP passes */
	SHUNT_SRX_ARMED,    /* the peer has been told READY */
	SHUNT_SRX_BASED,    /* rx_base is known: TCP behind it is held */
	SHUNT_SRX_COMPLETE, /* all of the path is delivered: TCP passes */
};

/* The first bytes of messages in whose place their records' headers are, see
 * SHUNT_RECORD_SAVED: of a stream, so many that the proxy has not taken. */
#define SHUNT_STARTS 16 /* a power of two */

struct shunt_start {
	__u64 bytes[3];
};

/*
 * An element of `streams`, which the proxy has mapped. Each field has one
 * writer, so none is locked; and what different CPUs write all the time is in
 * different cache lines: a line that another CPU has written to costs SK_MSG
 * some 100 ns.
 */
struct shunt_stream {
	/* BPF, seldom */
	struct shunt_key key;
	__u32 life;	    /* enum shunt_stream_life; BPF: OPEN, CLOSED */
	__u32 token_local;  /* of the flow: what the peer names us by */
	__u32 token_remote; /* … we name the peer by */
	__u32 tx;	/* enum shunt_stream_tx; changed by compare-and-swap */
	__u32 tx_base;	/* TCP sequence number of the promotion, if tx_based */
	__u8 role;	/* enum shunt_role */
	__u8 transport; /* SHUNT_UDP … */
	__u8 excluded;	/* stays on TCP, or goes back: why, SHUNT_DEMOTED_… */
	__u8 tx_based;
	__u8 primed;  /* TCP has brought something since tx is READY */
	__u8 shut;    /* it has shut down, and goes on reading */
	__u8 loop;    /* of the proxy: shunt_loop_of() its ends */
	__u8 tx_held; /* not promoted; TCP behind tx_base waits for tx_open */

	/* BPF, with each message sent */
	__u64 tx_bytes;		/* redirected */
	__u64 tx_messages;	/* … in so many messages */
	__u64 tx_charged;	/* memory, bytes and overhead, ever charged */
	__u64 tx_tcp;		/* bytes that SK_MSG has left to TCP */
	__u64 tx_released_seen; /* tx_released, when it was last looked at */
	__u32 tx_saved;		/* first bytes put into starts, ever */
	__u32 tx_taken_seen;	/* tx_taken, likewise */
	__u32 tx_full;	 /* how long sends have waited for room, in jiffies */
	__u8 tx_why;	 /* enum shunt_demotion, if SK_MSG has demoted it */
	__u8 tx_resumed; /* TCP has begun with slow start since tx_open */
	__u8 pad[10];

	/* BPF, with each message read */
	__u64 rx_read;	 /* bytes of the path read by the application */
	__u32 rx_copied; /* TCP sequence number up to which it has read TCP's */
	__u32 rx_queued; /* bytes of the path in its socket, as of … */
	__u32 rx_look;	 /* … what shunt_msg_enrol was asked then */
	__u32 pad2[11];

	/* proxy */
	__u64 tx_released; /* of tx_charged */
	__u64 rx_bytes;	   /* delivered */
	__u32 rx_base;	   /* the peer's tx_base */
	__u32 tx_taken;	   /* of tx_saved: all before are taken */
	__u8 rx;	   /* enum shunt_stream_rx */
	__u8 tx_known;	   /* the peer knows tx_base */
	__u8 tx_open;	   /* the peer has all of the path: TCP may follow */
	__u8 enrolled;	   /* its socket is in message_socks */
	__u32 pad3[9];

	/* BPF */
	struct shunt_start starts[SHUNT_STARTS];
};

SHUNT_ASSERT(sizeof(struct shunt_stream) == 256 + 24 * SHUNT_STARTS);
SHUNT_ASSERT(sizeof(struct shunt_stream) % 64 == 0);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_stream, tx) == 48);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_stream, tx_bytes) == 64);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_stream, rx_read) == 128);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_stream, tx_released) == 192);

/* What is read from shunt_msg_enrol, a __u32; nothing: NEVER. */
enum shunt_enrol {
	SHUNT_ENROL_DONE,
	SHUNT_ENROL_LATER, /* the socket is busy */
	SHUNT_ENROL_NEVER,
};

/* Why a direction left the path for TCP. */
enum shunt_demotion {
	SHUNT_DEMOTED_OPTION = 1, /* a socket option, or never promoted */
	SHUNT_DEMOTED_PEER,	  /* its other direction has left, see there */
	SHUNT_DEMOTED_LOST,	  /* windows in a row did not arrive */
	SHUNT_DEMOTED_STREAM,	  /* the memory of one stream is taken */
	SHUNT_DEMOTED_ALL,	  /* … that of all */
	SHUNT_DEMOTED_KERNEL,	  /* it is short of memory */
	SHUNT_DEMOTED_PROXY,	  /* it has ended, or just begun */
	SHUNT_DEMOTIONS = 8
};

/* Why a stream was reset. */
enum shunt_reset {
	SHUNT_RESET_PEER,    /* its other end was: why is counted there */
	SHUNT_RESET_CLOSED,  /* it takes no more: the application has closed */
	SHUNT_RESET_MISSING, /* the kernel has lost (a part of) a message */
	SHUNT_RESET_SILENT,  /* nothing was heard of the peer's proxy */
	SHUNT_RESET_PROXY,   /* a proxy, this or the peer's, has ended */
	SHUNT_RESET_MEMORY,
	SHUNT_RESET_WRONG, /* the peer says what can't be */
	SHUNT_RESETS = 8
};

/*
 * The proxy's own state and counters, `message_proxy`, mapped by it. Element 0
 * has the state, of which BPF reads `up`, `loops` and the limits; each event
 * loop counts in an element of its own, so their sum is what the proxy did. In
 * cache lines as a stream is.
 */
struct shunt_proxy {
	__u32 supervisor; /* pid, 0: none */
	__u32 worker;	  /* pid, 0: none */
	__u32 up;	  /* 1: new connections may use the path */
	__u32 restarts;
	__u64 stream_limit; /* bytes, see SHUNT_MSG_STREAM_LIMIT */
	__u64 total_limit;
	/* The stream that shunt_msg_enrol is asked for, and maybe: */
#define SHUNT_ENROL_LOOK (1ULL << 32) /* … just bring rx_copied up to date */
	/* Or a loop and a number, for all its streams: rx_queued. */
#define SHUNT_ENROL_QUEUED	     (1ULL << 33)
#define SHUNT_ENROL_QUEUED_LOOP(ask) ((ask)&0xff)
#define SHUNT_ENROL_QUEUED_NUMBER(n) ((n) << 8)
	__u64 enrol;
	__u32 loops; /* 1 to SHUNT_MSG_LOOPS */
	__u32 cut;   /* BPF: deliveries without a record, see below */
	__u64 pad[2];

	/* BPF, with each message sent */
	__u64 charged;	      /* memory of all streams, ever: added to */
	__u64 released_seen;  /* `released`, when it was last looked at */
	__u64 memory_seen;    /* when bpf/pressure.h last looked, in jiffies */
	__u64 memory_charged; /* … and `charged` then */
	__u64 pad2[4];

	/* the proxy's loops */
	__u64 released; /* of `charged`: added to */
	__u64 pad3[7];

	/* of each loop: counters */
	__u64 datagrams_tx;
	__u64 datagrams_rx;
	__u64 bytes_tx;
	__u64 bytes_rx;
	__u64 sends;	       /* system calls' worth of them: GSO batches */
	__u64 bytes_zc;	       /* sent without a copy, with the headers */
	__u64 bytes_zc_copied; /* … so asked for, and copied all the same */
	__u64 bytes_copied;    /* sent with a copy, with the headers */
	__u64 repaired;	       /* bytes sent again, over the control channel */
	__u64 duplicates;      /* bytes received twice */
	__u64 refused;	       /* datagrams and control messages not believed */
	__u64 promoted;	       /* directions */
	__u64 demoted;
	__u64 aborted; /* streams reset */
	__u64 held;    /* FINs that waited for the path */
	/* BPF: the loop's ring of events was full, look at all its streams */
	__u64 events_lost;
	__u64 resets[SHUNT_RESETS]; /* of `aborted`, by enum shunt_reset */
	__u64 demotions[SHUNT_DEMOTIONS]; /* of `demoted` */
};

SHUNT_ASSERT(sizeof(struct shunt_proxy) == 448);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_proxy, charged) == 64);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_proxy, released) == 128);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_proxy, datagrams_tx) == 192);

/*
 * The event loop that has the peer at `remote`, and so all its streams. The
 * product's highest bits decide, which depend on all of the last word:
 * neighbours are spread over the loops.
 */
static __always_inline __u32 shunt_loop_of(const struct shunt_addr *local,
					   const struct shunt_addr *remote,
					   __u32 loops)
{
	__u32 h = 0;

	for (int i = 0; i < 4; i++)
		h = (h ^ local->w[i] ^ remote->w[i]) * 0x9e3779b1;
	return (__u64)h * loops >> 32;
}

/* ---- BPF to proxy: a ring buffer for each loop in `message_events` ---- */

enum shunt_event_type {
	SHUNT_EV_ENROLLED, /* a socket is OPEN */
	SHUNT_EV_PROMOTED, /* tx is ON */
	SHUNT_EV_DEMOTED,  /* tx is OFF: tx_bytes is final */
	SHUNT_EV_CLOSING,  /* the application writes no more: likewise */
	SHUNT_EV_CLOSED,   /* the socket is gone */
	SHUNT_EV_HELD,	   /* a frame that has to wait, see below */
	SHUNT_EV_REFUSED,  /* a record could not be delivered, see below */
	SHUNT_EV_CROWDED,  /* a send has to wait: leave the sockmap, tx_held */
};

#define SHUNT_HELD_MAX 320 /* Ethernet, VLANs, outer and inner headers */

struct shunt_event {
	__u32 type;
	__u32 stream;
	/* HELD: a FIN without data, as it came in on that device, its outer
	 * headers still around it. */
	__u32 ifindex;
	__u32 length;
	__u8 frame[]; /* of SHUNT_HELD_MAX bytes */
};

/* ---- on the redirection socket ---- */

#define SHUNT_RECORD_MAGIC 0x73687274 /* "shrt" */

/*
 * In front of what SK_MSG hands to the proxy, and of what the proxy hands back
 * to be delivered. Host order: it never leaves the machine.
 */
struct shunt_record {
	__u32 magic;
	__u32 stream;
	__u64 offset; /* of the first byte behind this header */
	__u32 length; /* bytes behind this header */
	__u32 token;  /* the stream's token_local */
};

SHUNT_ASSERT(sizeof(struct shunt_record) == 24);

/*
 * A message that is long enough has the header in the place of its first bytes,
 * which are in the stream's `starts`, at the number in the last bits of the
 * mark: for bytes in front bpf_msg_push_data() takes a page. From SK_MSG to the
 * proxy only. Length and offset are the message's, as ever.
 */
#define SHUNT_RECORD_SAVED 0x73687330 /* "shs0" */

SHUNT_ASSERT(sizeof(struct shunt_start) == sizeof(struct shunt_record));
SHUNT_ASSERT(SHUNT_RECORD_SAVED % SHUNT_STARTS == 0);

/*
 * The proxy's send says nothing of a record that was refused: REFUSED does, and
 * one byte of it comes out at the far end of the connection. Nor of one of
 * which only a part was delivered: the rest is no record, and `cut` counts it.
 */

/* ---- on the wire: UDP or UDP-Lite, port SHUNT_PORT, network order ---- */

#define SHUNT_FRAME_DATA 0x11 /* first nibble: neither 4 nor 6, see GUE */
/* Flags */
#define SHUNT_FRAME_LITE 0x01 /* to be UDP-Lite, see bpf/frame.h */
#define SHUNT_FRAME_ASKS 0x02 /* acknowledge soon: the sender needs it */

/* In front of each datagram's bytes; all but a batch's last are of one size. */
struct shunt_frame {
	__u8 type; /* SHUNT_FRAME_… */
	__u8 flags;
	__be16 length; /* bytes behind this header */
	__be32 stream; /* the receiver's number */
	__be32 token;  /* the receiver's */
	__be32 base;   /* the sender's tx_base */
	__be64 offset;
};

SHUNT_ASSERT(sizeof(struct shunt_frame) == 24);

/*
 * Appended to a FIN that leaves while messages may be on their way: the TCP
 * option of RFC 6994 as in the handshake, the same size. Type SHUNT_OPT_FINAL.
 * Unaligned fields: read them with memcpy.
 */
#define SHUNT_OPT_FINAL 3

struct shunt_final_option {
	__u8 kind;
	__u8 len;
	__be16 exid;
	__u8 version_type;
	__u8 offset[7]; /* big endian: how many bytes took the path */
	__be32 base;	/* the sender's tx_base */
} __attribute__((packed));

SHUNT_ASSERT(sizeof(struct shunt_final_option) == 16);

#endif
