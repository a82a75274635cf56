/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests between hosts: a lab of testbed/, shunt in its namespaces, sockets on
 * its hosts, streams of bytes that are checked one by one.
 *
 * Functions return 0, a count or a descriptor, or a negative number when
 * something is wrong; then they have said on stderr what.
 */
#ifndef LAB_H
#define LAB_H

#include "factor.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

enum lab_host { CLIENT, ROUTER, SERVER, LAB_HOSTS };

#define LAB_IDS	    128
#define LAB_STARTED 8

struct lab {
	char name[32];
	char dir[64]; /* for files; goes away with the lab */
	int ns[LAB_HOSTS];
	int home;
	/* What the instances have in the kernel: nothing may stay. */
	char pins[LAB_HOSTS][64]; /* "": shunt is not up there */
	uint32_t progs[LAB_HOSTS][LAB_IDS];
	uint32_t maps[LAB_HOSTS][LAB_IDS];
	/* What the next test with this lab has to know. */
	char options[64];	 /* of `lab up` */
	char up[LAB_HOSTS][128]; /* of `shunt up` */
	bool touched[LAB_HOSTS]; /* shunt there is not as after `up` */
	bool spoilt;
	unsigned undo; /* commands of lab_do() */
	int started[LAB_STARTED], n_started;
};

/* The folder of the build: we are selftests/test_... in it. */
const char *lab_build(void);
/* The repository: the build is somewhere in it. */
const char *lab_root(void);

/* options: of `lab up`, may be NULL. */
int lab_up(struct lab *lab, const char *options);
/* The same, but shunt stays up where the test before has left it so: for those
 * that bring up each host by itself. */
int lab_open(struct lab *lab, const char *options);
/* lab_up() with `shunt up` on client and server, its options by fmt. */
int lab_up_both(struct lab *lab, const char *options, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Also takes shunt down, and fails if that left something in the kernel. */
int lab_down(struct lab *lab);

/*
 * Making a lab and two instances takes longer than most tests. With
 * LAB_HARNESS_MAIN, lab_leave() leaves them to the next test of the file, which
 * gets them as if they were new: faults and filters gone, counters at zero, no
 * flows, no peers. Only if this test has passed and all connections are closed;
 * and not if it has changed hosts in other ways and said so with lab_spoil().
 * SHUNT_TEST_FRESH=1: each test gets its own.
 */
int lab_leave(struct lab *lab, bool passed);
#define LAB_LEAVE(lab) lab_leave(lab, _metadata->passed)
static inline void lab_spoil(struct lab *lab)
{
	lab->spoilt = true;
}
/* … or, after a change to shunt alone, that the next one needs it anew there.
 */
static inline void lab_touch(struct lab *lab, enum lab_host host)
{
	lab->touched[host] = true;
}

void lab_share(void);
#define LAB_HARNESS_MAIN HARNESS_MAIN_AFTER(lab_share())

/* ---- commands: shell syntax, formatted like printf ---- */

#define LAB_PRINTF(at) __attribute__((format(printf, at, at + 1)))

/* Run it on a host: its exit status. */
int lab_run(struct lab *lab, enum lab_host host, const char *fmt, ...)
	LAB_PRINTF(3);
/* The same; its standard output, to be freed, or NULL if it failed. */
char *lab_output(struct lab *lab, enum lab_host host, const char *fmt, ...)
	LAB_PRINTF(3);
/* Run it in the background: it is ended with the lab. */
int lab_start(struct lab *lab, enum lab_host host, const char *fmt, ...)
	LAB_PRINTF(3);
/* `lab COMMAND NAME ARGS` */
int lab_do(struct lab *lab, const char *command, const char *fmt, ...)
	LAB_PRINTF(3);

/* ---- shunt on a host ---- */

/* With a small flow table, unless the options say otherwise. */
int lab_shunt_up(struct lab *lab, enum lab_host host, const char *fmt, ...)
	LAB_PRINTF(3);
int lab_shunt_down(struct lab *lab, enum lab_host host);
/* Take its programs off the ingress of a host's device: how many. */
int lab_detach_ingress(struct lab *lab, enum lab_host host);
/* On client and server. */
int lab_shunt_both(struct lab *lab, const char *fmt, ...) LAB_PRINTF(2);

/* `shunt COMMAND`, silent when it works: its exit status. */
int lab_shunt(struct lab *lab, enum lab_host host, const char *fmt, ...)
	LAB_PRINTF(3);

/* `shunt COMMAND -j` there, or NULL. */
json_t *lab_json(struct lab *lab, enum lab_host host, const char *command);
/* A counter of `shunt stats`. */
long lab_stat(struct lab *lab, enum lab_host host, const char *counter);

/*
 * The flow of a connected socket as `shunt flows` on that host shows it: is it
 * in this state, for this reason (NULL: any)? Waits for that. state NULL: is it
 * not listed at all?
 */
bool lab_flow(struct lab *lab, enum lab_host host, int fd, const char *state,
	      const char *reason);

/* Its transport as `shunt flows` shows it: a static text. */
const char *lab_transport(struct lab *lab, enum lab_host host, int fd);

/* Has it come onto this transport, with this coverage (NULL: any)? Waits. */
bool lab_flow_on(struct lab *lab, enum lab_host host, int fd,
		 const char *transport, const char *coverage);

/* As if the time of leaving blocked paths alone were over: how many there are.
 */
int lab_end_holddown(struct lab *lab, enum lab_host host);

/* How many flows `shunt flows` shows in this state (NULL: at all). */
int lab_flows(struct lab *lab, enum lab_host host, const char *state);

/* ---- what the router has forwarded ---- */

struct lab_traffic {
	long packets; /* the kernel's: one may be 64 KB */
	long bytes;
};

struct lab_count {
	struct lab_traffic tcp[2]; /* to server, to client */
	struct lab_traffic udp[2];
	struct lab_traffic udplite[2];
};

#define TO_SERVER 0
#define TO_CLIENT 1

/* Since the last call. */
int lab_count(struct lab *lab, struct lab_count *count);

/* What the wire has done since `wire-stats reset`, by direction, or NULL. */
json_t *lab_wire_stats(struct lab *lab);
/* What the wire has done (a word of `lab wire-stats`), both ways together. */
long lab_wire_did(struct lab *lab, const char *what);

/* ---- sockets: they give up after LAB_TIMEOUT seconds ---- */

#define LAB_TIMEOUT (20 * time_factor())

int lab_socket(struct lab *lab, enum lab_host host, int domain);
int lab_datagram(struct lab *lab, enum lab_host host, int domain, int protocol);
/* domain AF_INET6 takes IPv4 too. */
int lab_listen(struct lab *lab, enum lab_host host, int domain, int port);
/* From client to server. A listener on AF_INET6 may be dialled by AF_INET. */
int lab_connect(struct lab *lab, int domain, int port);
/* The same with a socket of lab_socket(). */
int lab_dial(int fd, int domain, int port);

/* A connection from client to server, both its ends. */
struct lab_pair {
	int c;
	int s;
};

int lab_pair(struct lab *lab, struct lab_pair *pair, int domain, int port);
/* The same over a listener that there is. */
int lab_pair_on(struct lab *lab, struct lab_pair *pair, int domain,
		int listener);
void lab_pair_close(struct lab_pair *pair);
/* A new one that is on its transport, both ways? */
bool lab_redirected(struct lab *lab, int domain, int listener,
		    struct lab_pair *pair);

/* ---- streams: any byte's value follows from seed and offset ---- */

void pattern(void *buf, uint64_t seed, uint64_t from, size_t len);

struct stream {
	int fd;
	bool send;
	uint64_t seed;
	uint64_t from;
	uint64_t to;
	bool count_wrong; /* bits, rather than fail */
	uint64_t wrong;
	int err;
	pthread_t thread;
};

/* Send, or receive and compare, bytes from..to: 0 or -errno (EBADMSG: wrong
 * bytes, EPIPE: the end came early). */
int stream_run(struct stream *s);
int stream_start(struct stream *s);
int stream_join(struct stream *s);
/* Run rx, then join tx, which feeds it and has been started. */
int stream_finish(struct stream *tx, struct stream *rx);
/* Send len bytes into one socket and take them out of the other. */
int stream_through(int out, int in, uint64_t seed, size_t len);
/* Is there nothing but the end to read? */
bool stream_at_end(int fd);

/* Segments that a connection has sent again, its SYN or SYN-ACK included, and
 * those of them that had arrived already (RFC 2883): a machine that stands
 * still for as long as TCP's timer sends a window twice. */
struct sent_again {
	long all, needless;
};
/* Adds to n. 0 or -errno. */
int stream_sent_again(int fd, struct sent_again *n);

/* A file of that pattern. */
int make_file(const char *path, uint64_t seed, size_t len);

/* ---- waiting ---- */

uint64_t now_us(void);

/* Until the next look at what has been waited for since then: looking often
 * takes the time of what is waited for. */
static inline void wait_since(uint64_t then)
{
	uint64_t us = (now_us() - then) / 8;

	usleep(us < 5000 ? 5000 : us > 200000 ? 200000 : us);
}

/* Has cond become true within a few seconds? */
#define BECOMES(cond)                                            \
	({                                                       \
		uint64_t then_ = now_us(),                       \
			 end_ = then_ + LAB_TIMEOUT * 500000ULL; \
		bool is_;                                        \
		while (!(is_ = (cond)) && now_us() < end_)       \
			wait_since(then_);                       \
		is_;                                             \
	})

#endif
