/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SipHash-2-4 (Aumasson, Bernstein 2012) of a flow key and a sequence number:
 * tokens that nobody off the path can guess, without keeping state for them.
 * bpf_get_prandom_u32 would not do: its generator can be solved from outputs.
 */
#ifndef SIPHASH_H
#define SIPHASH_H

#include "maps.h"

struct sip_state {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rol64(__u64 x, int n)
{
	return x << n | x >> (64 - n);
}

static __always_inline void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v1 = rol64(s->v1, 13) ^ s->v0;
	s->v0 = rol64(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rol64(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rol64(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rol64(s->v1, 17) ^ s->v2;
	s->v2 = rol64(s->v2, 32);
}

static __always_inline void sip_word(struct sip_state *s, __u64 m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

/* What the hash is for, so that one value never serves two purposes. */
enum { HASH_TOKEN = 1, HASH_NONCE = 2 };

/* The words of the message, the last of which is its length, and two of zero:
 * the four rounds at the end are two words that change nothing. */
#define SIP_WORDS 8
#define SIP_END	  6

static __always_inline __u64 sip_message(const __u32 *key, int i, __u32 seq,
					 __u32 purpose)
{
	if (i < 4)
		return (__u64)key[2 * i + 1] << 32 | key[2 * i];
	if (i == 4)
		return (__u64)seq << 32 | key[8];
	return i == 5 ? (__u64)44 << 56 | purpose : 0;
}

/*
 * A global function, like flow_create(). A loop, 137 instructions instead of
 * 685: four programs have a copy, and a kernel looks at each instruction many
 * times before it loads it, but runs these once for a connection.
 */
__weak __noinline __u32 flow_hash(const struct shunt_key *k, __u32 seq,
				  __u32 purpose)
{
	struct sip_state s = {
		cfg_secret[0] ^ 0x736f6d6570736575ULL,
		cfg_secret[1] ^ 0x646f72616e646f6dULL,
		cfg_secret[0] ^ 0x6c7967656e657261ULL,
		cfg_secret[1] ^ 0x7465646279746573ULL,
	};

	if (!k)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SIP_WORDS; i++) {
		if (i == SIP_END)
			s.v2 ^= 0xff;
		sip_word(&s, sip_message((const __u32 *)k, i, seq, purpose));
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
