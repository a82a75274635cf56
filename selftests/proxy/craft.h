/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames, messages and held packets: right ones, and what becomes of them when
 * they are damaged or put together from what does not belong together. */
#ifndef PROXY_CRAFT_H
#define PROXY_CRAFT_H

#include "rig.h"

#define CRAFT_MAX (20 << 10) /* bytes that anything takes */

/* splitmix64 (Steele, Lea, Flood 2014) */
static inline uint64_t craft_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline uint32_t craft_below(uint64_t *state, uint32_t n)
{
	return craft_random(state) % n;
}

/* The bytes of a stream. */
void craft_bytes(unsigned char *to, uint64_t seed, uint64_t offset, uint32_t n);

/* A frame that this stream, open or not, could get next, give or take, with n
 * bytes: its size. */
uint32_t craft_frame(const struct rig *r, uint64_t *random, uint32_t number,
		     unsigned char *to, uint32_t n);
/* A message that its peer could send. */
uint32_t craft_message(struct rig *r, uint64_t *random, uint32_t number,
		       unsigned char *to);
/* A FIN, as ingress holds it. */
uint32_t craft_held(uint64_t *random, unsigned char *to);
/* With its checksum left to a device, if it is plain and untagged. */
void craft_partial(unsigned char *frame, uint32_t n);

/* Bend one to four things, mostly of the first `headers` bytes: the new size,
 * which is the old one unless `resize`. */
uint32_t craft_damage(uint64_t *random, unsigned char *bytes, uint32_t n,
		      uint32_t headers, bool resize);
/* A frame with the marks of another stream, or of none. */
void craft_forge(const struct rig *r, uint64_t *random, unsigned char *frame);

#endif
