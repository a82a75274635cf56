// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for payload. Slabs are filled from the redirection socket, one after
 * the other; buffers of the ring's buffer group are filled by the kernel with
 * datagrams. Both are counted by reference: what is under way, unacknowledged
 * or out of order stays where it was received, and nothing is copied. All of it
 * is taken at the start, so the proxy can't grow.
 */
#include "proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Never fewer slabs: some are pinned by flows that stand still. */
#define SLABS_MIN 64

int slab_init(struct proxy *px, uint64_t memory)
{
	size_t n = memory / SLAB_SIZE, bytes;
	int err;

	if (n < SLABS_MIN)
		n = SLABS_MIN;
	bytes = n * SLAB_SIZE + (size_t)BUFFERS * BUFFER_SIZE;
	px->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	px->slabs = calloc(n, sizeof(*px->slabs));
	px->buffers = calloc(BUFFERS, sizeof(*px->buffers));
	if (px->memory == MAP_FAILED || !px->slabs || !px->buffers)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct slab *s = &px->slabs[i];

		s->data = px->memory + i * SLAB_SIZE;
		s->buffer = -1;
		s->next = px->free_slabs;
		px->free_slabs = s;
	}
	{
		struct io_uring_buf_reg reg = {
			.ring_entries = BUFFERS,
			.bgid = BUFFER_GROUP,
		};
		size_t size = BUFFERS * sizeof(struct io_uring_buf);

		px->buffer_ring = mmap(NULL, size, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (px->buffer_ring == MAP_FAILED)
			return -ENOMEM;
		reg.ring_addr = (uintptr_t)px->buffer_ring;
		err = io_uring_register_buf_ring(&px->ring, &reg, 0);
		if (err)
			return err;
	}
	io_uring_buf_ring_init(px->buffer_ring);
	for (int i = 0; i < BUFFERS; i++) {
		struct slab *s = &px->buffers[i];

		s->data = px->memory + n * SLAB_SIZE + (size_t)i * BUFFER_SIZE;
		s->buffer = i;
		io_uring_buf_ring_add(px->buffer_ring, s->data, BUFFER_SIZE, i,
				      io_uring_buf_ring_mask(BUFFERS), i);
	}
	io_uring_buf_ring_advance(px->buffer_ring, BUFFERS);
	return 0;
}

struct slab *slab_get(struct proxy *px)
{
	struct slab *s = px->free_slabs;

	if (!s)
		return NULL;
	px->free_slabs = s->next;
	s->refs = 1;
	s->used = 0;
	return s;
}

struct slab *slab_buffer(struct proxy *px, unsigned number)
{
	struct slab *s = &px->buffers[number];

	s->refs = 1;
	return s;
}

void slab_put(struct proxy *px, struct slab *s)
{
	if (--s->refs)
		return;
	if (s->buffer >= 0) {
		io_uring_buf_ring_add(px->buffer_ring, s->data, BUFFER_SIZE,
				      s->buffer,
				      io_uring_buf_ring_mask(BUFFERS), 0);
		io_uring_buf_ring_advance(px->buffer_ring, 1);
		return;
	}
	s->next = px->free_slabs;
	px->free_slabs = s;
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
