// SPDX-License-Identifier: GPL-2.0-only
/*
 * shunt-proxy: started by `shunt up --message-path`. The first process
 * supervises: when the worker ends by itself, the connections that had bytes in
 * its hands are reset, and a new one begins.
 */
#include "worker.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Not again at once if it ends at once. */
#define RESTART_MS 200

bool verbose;
volatile sig_atomic_t stop;

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SHUNT_NSEC + t.tv_nsec;
}

void say(const char *format, ...)
{
	va_list args;

	flockfile(stderr);
	fputs("shunt-proxy: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	funlockfile(stderr);
}

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

/* ---- the supervisor ---- */

/* Without the worker the path's bytes are lost: TCP can't make up for them. All
 * that was charged is given back, so nobody must do that again. */
static void reset_streams(struct proxy *px)
{
	for (uint32_t i = 1; i < px->n_streams; i++) {
		struct shunt_stream *s = &px->shm_streams[i];
		bool sent = s->tx_based && !s->tx_open;
		bool receiving = s->rx == SHUNT_SRX_BASED ||
				 s->rx == SHUNT_SRX_ARMED ||
				 s->rx_bytes > s->rx_read;

		s->tx_released = s->tx_charged;
		if (s->tx_held)
			s->tx_open = 1; /* nobody else will say so */
		if (s->life == SHUNT_STREAM_OPEN) {
			s->excluded = SHUNT_DEMOTED_PROXY;
			if (sent || receiving || s->tx == SHUNT_STX_ON) {
				kernel_destroy(&s->key);
				px->shared->aborted++;
				px->shared->resets[SHUNT_RESET_PROXY]++;
			}
		}
	}
	__atomic_store_n(
		&px->shared->released,
		__atomic_load_n(&px->shared->charged, __ATOMIC_RELAXED),
		__ATOMIC_RELAXED);
}

static int supervise(struct proxy *px, const char *pins)
{
	int status, err = 0;
	bool started;

	px->shared->supervisor = getpid();
	while (!stop) {
		pid_t pid = fork();

		if (pid < 0)
			return -errno;
		if (!pid)
			_exit(work(pins) ? 1 : 0);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			if (stop)
				kill(pid, SIGTERM);
		started = px->shared->up;
		px->shared->up = 0;
		px->shared->worker = 0;
		reset_streams(px);
		if (stop)
			break;
		if (!started) { /* nor will another */
			err = -EIO;
			break;
		}
		px->shared->restarts++;
		say("the worker has ended (%s %d); starting another",
		    WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status)
					: WEXITSTATUS(status));
		usleep(RESTART_MS * 1000);
	}
	px->shared->supervisor = 0;
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
