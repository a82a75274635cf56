/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The testbed's own wire: carries Ethernet frames between two devices and
 * harms them on request, where the kernel has no netem.
 */
#ifndef TESTBED_WIRE_H
#define TESTBED_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ULL
#define BATCH	     64
#define TAG_LEN	     4

/* What happens to the packets of one direction. */
struct faults {
	uint64_t delay;	 /* ns, one way */
	uint64_t jitter; /* ns, plus or minus; never reorders */
	uint64_t hold;	 /* ns, longest that a packet is held back */
	uint64_t rate;	 /* bit/s, 0: unlimited */
	uint64_t seed;
	/* Chances are out of 2^32. */
	uint64_t loss;
	uint64_t reorder;
	uint64_t dup;
	uint64_t damage;
	uint32_t gap;	    /* at most so many packets overtake a held one */
	uint32_t limit;	    /* packets in the queue */
	uint32_t damage_at; /* bytes after the IP header that stay whole */
	bool damage_any;    /* damage the IP header too */
};

/* Bit i: direction i. */
#define DIR_TO_SERVER 1U
#define DIR_TO_CLIENT 2U

void faults_clear(struct faults *f);
int faults_parse(const char *spec, struct faults *f, unsigned int *dirs,
		 char *err, size_t err_len);

struct packet {
	struct packet *next;
	uint64_t due; /* when to send it; held: at the latest */
	uint32_t len;
	uint16_t start;	  /* offset of the frame in data */
	bool counts;	  /* not one of the frames that are spared */
	bool overtaken;	  /* while it was held */
	uint32_t to_pass; /* held: until so many others passed it */
	uint8_t data[];
};

struct packet_list {
	struct packet *first;
	struct packet **end;
};

/* Why a packet's draw is made: each has a sequence of its own, so that one
 * fault's chance does not change what another one does.
 */
enum draw {
	DRAW_LOSS,
	DRAW_REORDER,
	DRAW_GAP,
	DRAW_DUP,
	DRAW_DAMAGE,
	DRAW_BIT,
	DRAW_JITTER
};

uint64_t faults_draw(const struct faults *f, unsigned int dir, uint64_t index,
		     enum draw why);
bool frame_is_spared(const uint8_t *frame, uint32_t len);
bool frame_damage(const struct faults *f, uint8_t *frame, uint32_t len,
		  uint64_t random);

struct stats {
	uint64_t received;  /* subject to faults, as are all below ... */
	uint64_t forwarded; /* duplicates too */
	uint64_t bytes;	    /* of the forwarded */
	uint64_t lost;
	uint64_t held;
	uint64_t reordered; /* held and really overtaken */
	uint64_t duplicated;
	uint64_t damaged;
	uint64_t queue_drops; /* limit */
	uint64_t spared;      /* ... but these: ARP, ND, multicast */
	/* Below is what should not happen: the wire's own failures. */
	uint64_t missed;     /* came faster than we took them */
	uint64_t unfinished; /* offload left on: too long, or no checksum */
	uint64_t send_failed;
};

/* The control thread asks a line to do something; the line does it between
 * two batches, so that a line needs no locks.
 */
struct request {
	const struct faults *set; /* NULL: leave as they are */
	struct stats *stats;	  /* NULL: not asked for */
	bool reset;		  /* statistics to zero */
};

/* One direction. */
struct line {
	unsigned int dir; /* 0 to the server, 1 to the client */
	int rx, tx;
	int wake, done; /* eventfds */
	_Atomic(struct request *) request;

	struct faults faults;
	struct stats stats;
	uint64_t index;	    /* of the next packet, since the last change */
	uint64_t link_free; /* when the rate allows the next one */
	uint64_t last_due;
	uint64_t lateness; /* of waking up, ns, a moving average */

	struct packet_list queue; /* due times rise */
	struct packet_list held;  /* by reorder */
	uint32_t queued;	  /* in both */
	struct packet *spare;
	uint32_t frame_max;
	struct packet *rx_packet[BATCH];
};

/* line.c */
uint64_t clock_ns(clockid_t id);
struct packet *packet_new(struct line *l);
void packet_free(struct line *l, struct packet *p);
void list_init(struct packet_list *list);
void line_accept(struct line *l, struct packet *p, uint64_t arrival);
void *line_run(void *line);
int line_ask(struct line *l, struct request *r);

/* io.c */
int line_open(struct line *l, unsigned int dir, const char *from,
	      const char *to);
int line_receive(struct line *l);
void line_send(struct line *l, struct packet *first, int n);
void line_count_missed(struct line *l);

#endif
