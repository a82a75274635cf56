// SPDX-License-Identifier: GPL-2.0-only
/*
 * One direction of the wire: takes frames from one device, decides about
 * each, keeps it as long as it must and sends it on the other device.
 */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* ns; being this late has to do with load, not with sleep */
#define MAX_LATENESS 300000

uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* ---- packets and lists ---- */

struct packet *packet_new(struct line *l)
{
	struct packet *p = l->spare;

	if (p)
		l->spare = p->next;
	else
		p = malloc(sizeof(*p) + TAG_LEN + l->frame_max);
	return p;
}

void packet_free(struct line *l, struct packet *p)
{
	p->next = l->spare;
	l->spare = p;
}

void list_init(struct packet_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct packet_list *list, struct packet *p)
{
	p->next = NULL;
	*list->end = p;
	list->end = &p->next;
}

/* Remove the packet that *at points to; returns it. */
static struct packet *list_del(struct packet_list *list, struct packet **at)
{
	struct packet *p = *at;

	*at = p->next;
	if (list->end == &p->next)
		list->end = at;
	return p;
}

/* ---- requests ---- */

int line_ask(struct line *l, struct request *r)
{
	uint64_t n = 1;

	atomic_store(&l->request, r);
	if (write(l->wake, &n, sizeof(n)) < 0 ||
	    read(l->done, &n, sizeof(n)) < 0)
		return -errno;
	return 0;
}

/* Packets of a slower past must not keep the new ones waiting. */
static void set_faults(struct line *l, const struct faults *f)
{
	uint64_t latest = clock_ns(CLOCK_MONOTONIC) + f->delay;
	struct packet *p;

	l->faults = *f;
	l->index = 0;
	l->link_free = 0;
	if (l->last_due > latest)
		l->last_due = latest;
	for (p = l->queue.first; p; p = p->next) {
		if (p->due > latest)
			p->due = latest;
	}
}

static void serve_request(struct line *l)
{
	struct request *r = atomic_exchange(&l->request, NULL);
	uint64_t n = 1;

	if (!r)
		return;
	if (r->set)
		set_faults(l, r->set);
	line_count_missed(l);
	if (r->stats)
		*r->stats = l->stats;
	if (r->reset)
		l->stats = (struct stats){};
	if (write(l->done, &n, sizeof(n)) < 0)
		perror("testbed-wire: eventfd");
}

/* ---- deciding ---- */

static bool chance(const struct line *l, uint64_t index, uint64_t threshold,
		   enum draw why)
{
	uint64_t random;

	if (!threshold)
		return false;
	random = faults_draw(&l->faults, l->dir, index, why);
	return random >> 32 < threshold;
}

/* When a packet that arrived then comes out at the far end. */
static uint64_t due_time(struct line *l, const struct packet *p,
			 uint64_t arrival, uint64_t index)
{
	const struct faults *f = &l->faults;
	uint64_t due = arrival, random;

	if (f->rate) {
		if (l->link_free > due)
			due = l->link_free;
		due += p->len * 8 * NSEC_PER_SEC / f->rate;
		l->link_free = due;
	}
	due += f->delay;
	if (f->jitter && p->counts) {
		random = faults_draw(f, l->dir, index, DRAW_JITTER);
		due += random % (2 * f->jitter + 1);
		due = due < arrival + f->jitter ? arrival : due - f->jitter;
	}
	if (due < l->last_due)
		due = l->last_due;
	l->last_due = due;
	return due;
}

static void queue_add(struct line *l, struct packet *p, uint64_t due)
{
	p->due = due;
	list_add(&l->queue, p);
}

/* One more packet has passed those that are held back. */
static void pass_held(struct line *l, uint64_t due)
{
	struct packet **at = &l->held.first, *p;

	while ((p = *at)) {
		p->overtaken = true;
		if (--p->to_pass) {
			at = &p->next;
			continue;
		}
		l->stats.reordered++;
		queue_add(l, list_del(&l->held, at), due);
	}
}

static void duplicate(struct line *l, const struct packet *p, uint64_t due)
{
	struct packet *copy;

	if (l->queued >= l->faults.limit) {
		l->stats.queue_drops++;
		return;
	}
	copy = packet_new(l);
	if (!copy) {
		l->stats.send_failed++;
		return;
	}
	memcpy(copy, p, sizeof(*p));
	memcpy(copy->data + p->start, p->data + p->start, p->len);
	l->queued++;
	l->stats.duplicated++;
	queue_add(l, copy, due);
}

/* Takes the packet over. */
void line_accept(struct line *l, struct packet *p, uint64_t arrival)
{
	const struct faults *f = &l->faults;
	uint8_t *frame = p->data + p->start;
	uint64_t index, due;

	p->counts = !frame_is_spared(frame, p->len);
	index = p->counts ? l->index++ : 0;
	if (!p->counts)
		l->stats.spared++;
	else
		l->stats.received++;

	if (p->counts && chance(l, index, f->loss, DRAW_LOSS)) {
		l->stats.lost++;
		packet_free(l, p);
		return;
	}
	if (l->queued >= f->limit) {
		l->stats.queue_drops++;
		packet_free(l, p);
		return;
	}
	l->queued++;
	due = due_time(l, p, arrival, index);
	if (!p->counts) {
		queue_add(l, p, due);
		return;
	}

	if (chance(l, index, f->dup, DRAW_DUP))
		duplicate(l, p, due);
	if (chance(l, index, f->damage, DRAW_DAMAGE) &&
	    frame_damage(f, frame, p->len,
			 faults_draw(f, l->dir, index, DRAW_BIT)))
		l->stats.damaged++;
	if (chance(l, index, f->reorder, DRAW_REORDER)) {
		l->stats.held++;
		p->overtaken = false;
		p->to_pass =
			1 + faults_draw(f, l->dir, index, DRAW_GAP) % f->gap;
		p->due = due + f->hold;
		list_add(&l->held, p);
		return;
	}
	queue_add(l, p, due);
	pass_held(l, due);
}

/* ---- sending ---- */

/* Sends what is due; returns when the next one is, UINT64_MAX for never. */
static uint64_t send_due(struct line *l)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), next = UINT64_MAX;
	struct packet_list out;
	struct packet **at, *p;
	int n = 0;

	list_init(&out);
	while (n < BATCH && (p = l->queue.first) && p->due <= now) {
		list_add(&out, list_del(&l->queue, &l->queue.first));
		n++;
	}
	/* Nothing came to overtake these. */
	for (at = &l->held.first; (p = *at);) {
		if (p->due > now || n == BATCH) {
			next = p->due < next ? p->due : next;
			at = &p->next;
			continue;
		}
		if (p->overtaken)
			l->stats.reordered++;
		list_add(&out, list_del(&l->held, at));
		n++;
	}
	if (n)
		line_send(l, out.first, n);
	if (l->queue.first && l->queue.first->due < next)
		next = l->queue.first->due;
	return next;
}

/* ---- the loop ---- */

/*
 * An idle processor wakes up late, by 0.14 ms in some virtual machines. So
 * this asks to be woken earlier by as much as it was late of late, and spends
 * awake what is left then.
 */
static void wait_until(struct line *l, uint64_t when)
{
	struct pollfd fds[2] = {{.fd = l->rx, .events = POLLIN},
				{.fd = l->wake, .events = POLLIN}};
	uint64_t now = clock_ns(CLOCK_MONOTONIC), wake_at = when, n;
	struct timespec ts = {};
	int64_t late;

	if (when < now)
		return;
	if (when - now > l->lateness)
		wake_at -= l->lateness;
	ts.tv_sec = (wake_at - now) / NSEC_PER_SEC;
	ts.tv_nsec = (wake_at - now) % NSEC_PER_SEC;
	if (ppoll(fds, 2, when == UINT64_MAX ? NULL : &ts, NULL)) {
		if (fds[1].revents && read(l->wake, &n, sizeof(n)) < 0)
			perror("testbed-wire: eventfd");
		return;
	}

	now = clock_ns(CLOCK_MONOTONIC);
	late = now - wake_at;
	if (late > MAX_LATENESS)
		late = MAX_LATENESS;
	l->lateness += (late - (int64_t)l->lateness) / 8;
	while (now < when)
		now = clock_ns(CLOCK_MONOTONIC);
}

void *line_run(void *line)
{
	struct line *l = line;
	uint64_t next;
	int n;

	/* By default the kernel may be 50 us late, to save wake-ups. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	for (;;) {
		serve_request(l);
		n = line_receive(l);
		next = send_due(l);
		if (!n)
			wait_until(l, next);
	}
	return NULL;
}
