// SPDX-License-Identifier: GPL-2.0-only
/*
 * shunt-proxy: started by `shunt up --message-path`. The first process
 * supervises: when the worker ends by itself, the connections that had bytes in
 * its hands are reset, and a new one begins.
 */
#include "proxy.h"

#include <cap-ng.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Not again at once if it ends at once. */
#define RESTART_MS 200

bool verbose;
static volatile sig_atomic_t stop;

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SHUNT_NSEC + t.tv_nsec;
}

void say(const char *format, ...)
{
	va_list args;

	fputs("shunt-proxy: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

/* ---- the worker ---- */

/* It maps and updates what is open, injects packets, resets connections, and
 * connects from a reserved port. */
static int drop_privileges(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
		      CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_BPF, CAP_PERFMON,
		      -1);
	if (capng_apply(CAPNG_SELECT_BOTH) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -EPERM;
	return 0;
}

static void tick(struct proxy *px)
{
	px->tick_ns = px->now_ns + TICK_IDLE_NS;
	kernel_events(px);
	redirect_tick(px);
	streams_tick(px);
	peers_tick(px);
	control_tick(px);
}

static int work(const char *pins)
{
	static struct proxy px;
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	px.now_ns = clock_ns();
	if (getrandom(&px.instance, sizeof(px.instance), 0) < 0)
		return -errno;
	px.zero_copy_from = SHUNT_MSG_ZERO_COPY;
	err = ring_init(&px);
	if (!err)
		err = kernel_open(&px, pins);
	if (!err)
		err = slab_init(&px, px.shm->total_limit);
	if (!err)
		err = streams_init(&px);
	if (!err)
		err = redirect_init(&px);
	if (!err)
		err = control_init(&px);
	if (!err)
		err = drop_privileges();
	if (err) {
		say("cannot start: %s", strerror(-err));
		return err;
	}
	kernel_refill(&px);
	px.shm->worker = getpid();
	__atomic_store_n(&px.shm->up, 1, __ATOMIC_SEQ_CST);
	while (!err && !stop && !px.quit) {
		bool due = px.now_ns >= px.tick_ns;

		if (due)
			tick(&px);
		for (struct peer *p = px.peers; p; p = p->next) {
			if (px.tx_work)
				tx_push(&px, p);
			if (due || p->due)
				messages_send(&px, p, due);
		}
		px.tx_work = false;
		redirect_read(&px);
		err = ring_round(&px);
	}
	if (err)
		say("io_uring: %s", strerror(-err));
	return stop ? 0 : -EIO;
}

/* ---- the supervisor ---- */

/* Without the worker the path's bytes are lost: TCP can't make up for them. */
static void reset_streams(struct proxy *px)
{
	for (uint32_t i = 1; i < px->n_streams; i++) {
		struct shunt_stream *s = &px->shm_streams[i];
		bool sent = s->tx_based && !s->tx_open;
		bool receiving = s->rx == SHUNT_SRX_BASED ||
				 s->rx == SHUNT_SRX_ARMED ||
				 s->rx_bytes > s->rx_read;

		if (s->life == SHUNT_STREAM_OPEN) {
			s->excluded = 1;
			if (sent || receiving || s->tx == SHUNT_STX_ON) {
				kernel_destroy(&s->key);
				px->shm->aborted++;
			}
		}
	}
	__atomic_store_n(&px->shm->released,
			 __atomic_load_n(&px->shm->charged, __ATOMIC_RELAXED),
			 __ATOMIC_RELAXED);
}

static int supervise(struct proxy *px, const char *pins)
{
	int status, err = 0;
	bool started;

	px->shm->supervisor = getpid();
	while (!stop) {
		pid_t pid = fork();

		if (pid < 0)
			return -errno;
		if (!pid)
			_exit(work(pins) ? 1 : 0);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			if (stop)
				kill(pid, SIGTERM);
		started = px->shm->up;
		px->shm->up = 0;
		px->shm->worker = 0;
		reset_streams(px);
		if (stop)
			break;
		if (!started) { /* nor will another */
			err = -EIO;
			break;
		}
		px->shm->restarts++;
		say("the worker has ended (%s %d); starting another",
		    WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status)
					: WEXITSTATUS(status));
		usleep(RESTART_MS * 1000);
	}
	px->shm->supervisor = 0;
	return err;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"pins", required_argument, NULL, 'p'},
		{"verbose", no_argument, NULL, 'v'},
		{},
	};
	struct sigaction action = {.sa_handler = on_signal};
	static struct proxy px;
	const char *pins = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "hp:v", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			puts("usage: shunt-proxy --pins DIR [--verbose]\n"
			     "\n"
			     "The proxy of the message path; `shunt up "
			     "--message-path` starts it.\n"
			     "DIR is the instance's, below /sys/fs/bpf/shunt.");
			return 0;
		case 'p':
			pins = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	if (!pins || optind < argc) {
		fputs("usage: shunt-proxy --pins DIR [--verbose]\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (kernel_map(&px, pins))
		return 1;
	return supervise(&px, pins) ? 1 : 0;
}
