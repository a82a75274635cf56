// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for payload. Slabs are filled from the redirection socket, one after
 * the other; buffers of the ring's buffer group are filled by the kernel with
 * datagrams. Both are counted by reference: what is under way, unacknowledged
 * or out of order stays where it was received, and nothing is copied. All of it
 * is taken at the start, so the proxy can't grow.
 *
 * All loops take slabs from one list, or one busy peer could have its loop's
 * share only. It is locked for an instant and once for 256 KB: each slab is one
 * loop's until its last reference is gone. Buffers are each ring's own.
 */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Buffers that are in the ring. Few, so that what they were read into last is
 * still in the CPU's caches: 32, which is what the kernel receives in one go
 * (MULTISHOT_MAX_RETRY in io_uring/net.c), take 5% more. */
#define BUFFERS_OFFERED 8

/* Never fewer slabs: some are pinned by flows that stand still. */
#define SLABS_MIN 64

static void *reserve(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int slabs_init(struct worker *w, uint64_t memory)
{
	size_t n = memory / SLAB_SIZE;
	unsigned char *data;
	struct slab *slabs;

	if (n < SLABS_MIN)
		n = SLABS_MIN;
	data = reserve(n * SLAB_SIZE);
	slabs = calloc(n, sizeof(*slabs));
	if (data == MAP_FAILED || !slabs)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		slabs[i].data = data + i * SLAB_SIZE;
		slabs[i].buffer = -1;
		slabs[i].next = w->free_slabs;
		w->free_slabs = &slabs[i];
	}
	return pthread_mutex_init(&w->lock, NULL) ? -ENOMEM : 0;
}

/*
 * The kernel goes round all that are in its ring. So that is a few, those that
 * were used last: their memory is in the CPU's caches, and that of the rest is
 * not even taken before there is need of it.
 */
static void offer_buffers(struct proxy *px)
{
	int n = 0;

	while (px->offered < BUFFERS_OFFERED && px->spare_buffers) {
		struct slab *s = px->spare_buffers;

		px->spare_buffers = s->next;
		io_uring_buf_ring_add(
			px->buffer_ring, s->data, BUFFER_SIZE, s->buffer,
			io_uring_buf_ring_mask(px->n_buffers), n++);
		px->offered++;
	}
	if (n)
		io_uring_buf_ring_advance(px->buffer_ring, n);
}

static void give_buffer(struct proxy *px, struct slab *s)
{
	s->next = px->spare_buffers;
	px->spare_buffers = s;
	px->free_buffers++;
	offer_buffers(px);
}

/* A loop's part of all */
static unsigned share(unsigned loops)
{
	unsigned n = BUFFERS;

	while (n * loops > BUFFERS)
		n /= 2;
	return n;
}

int buffers_init(struct proxy *px)
{
	unsigned n = share(px->worker->n_loops);
	struct io_uring_buf_reg reg = {
		.ring_entries = n,
		.bgid = BUFFER_GROUP,
	};
	unsigned char *data = reserve((size_t)n * BUFFER_SIZE);
	int err;

	px->buffers = calloc(n, sizeof(*px->buffers));
	px->buffer_ring = reserve(n * sizeof(struct io_uring_buf));
	if (data == MAP_FAILED || px->buffer_ring == MAP_FAILED || !px->buffers)
		return -ENOMEM;
	reg.ring_addr = (uintptr_t)px->buffer_ring;
	err = io_uring_register_buf_ring(&px->ring, &reg, 0);
	if (err)
		return err;
	io_uring_buf_ring_init(px->buffer_ring);
	px->n_buffers = n;
	for (unsigned i = 0; i < n; i++) {
		px->buffers[i].data = data + (size_t)i * BUFFER_SIZE;
		px->buffers[i].buffer = i;
		give_buffer(px, &px->buffers[i]);
	}
	return 0;
}

struct slab *slab_get(struct proxy *px)
{
	struct worker *w = px->worker;
	struct slab *s;

	pthread_mutex_lock(&w->lock);
	s = w->free_slabs;
	if (s)
		w->free_slabs = s->next;
	pthread_mutex_unlock(&w->lock);
	if (!s)
		return NULL;
	s->refs = 1;
	s->used = 0;
	return s;
}

struct slab *slab_buffer(struct proxy *px, unsigned number)
{
	struct slab *s = &px->buffers[number];

	s->refs = 1;
	px->free_buffers--;
	px->offered--;
	offer_buffers(px);
	return s;
}

void slab_put(struct proxy *px, struct slab *s)
{
	struct worker *w = px->worker;

	if (--s->refs)
		return;
	if (s->buffer >= 0) {
		give_buffer(px, s);
		return;
	}
	pthread_mutex_lock(&w->lock);
	s->next = w->free_slabs;
	w->free_slabs = s;
	pthread_mutex_unlock(&w->lock);
}

struct chunk *chunk_new(struct proxy *px, struct slab *slab, uint32_t at,
			uint32_t length, uint64_t offset)
{
	struct chunk *c = px->free_chunks;

	if (c)
		px->free_chunks = c->next;
	else
		c = malloc(sizeof(*c));
	if (!c)
		return NULL;
	slab->refs++;
	*c = (struct chunk){
		.offset = offset,
		.length = length,
		.slab = slab,
		.at = at,
	};
	return c;
}

void chunk_free(struct proxy *px, struct chunk *c)
{
	if (c->slab)
		slab_put(px, c->slab);
	c->next = px->free_chunks;
	px->free_chunks = c;
}
