/* SPDX-License-Identifier: GPL-2.0-only */
/* The flow table and what is known of the path to a peer. */
#ifndef FLOW_H
#define FLOW_H

#include "maps.h"
#include "message.h"
#include "parse.h"
#include "siphash.h"

/* Slots looked at for a new flow before it is left on TCP. */
#define CLAIM_TRIES 32

static __always_inline __u64 now_ns(void)
{
	return bpf_ktime_get_coarse_ns();
}

static __always_inline __u32 to_tick(__u64 ns)
{
	return ns >> SHUNT_TICK_SHIFT;
}

#define MS_TICKS(ms) ((__u32)((ms)*1000000ULL >> SHUNT_TICK_SHIFT))

/* Is a later than b, for ticks and for TCP sequence numbers. */
static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* A key on the stack that same_key() can read in words of eight bytes; in the
 * flow table keys are aligned by the layout. */
#define KEY_ALIGNED __attribute__((aligned(8)))

static __always_inline bool same_key(const struct shunt_key *a,
				     const struct shunt_key *b)
{
	const __u64 *x = __builtin_assume_aligned(a, 8);
	const __u64 *y = __builtin_assume_aligned(b, 8);

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) |
		 (*(const __u32 *)(x + 4) ^ *(const __u32 *)(y + 4)));
}

/* Later is not always larger: another CPU's clock may be a tick ahead. */
static __always_inline bool older_than(__u64 then, __u64 now, __u64 age)
{
	return now > then && now - then > age;
}

static __always_inline struct shunt_flow *
flow_indexed(const struct shunt_key *key, __u32 *slot)
{
	__u32 *index = bpf_map_lookup_elem(&flow_index, key);
	struct shunt_flow *f;

	if (!index)
		return NULL;
	*slot = *index;
	f = bpf_map_lookup_elem(&flows, slot);
	return f && same_key(&f->key, key) ? f : NULL;
}

/*
 * The flow of a key, or NULL. A hint, the slot that this CPU found last under
 * the same few bits of the key, saves most packets the hash look-up (a third of
 * the time of a decap); comparing the whole key with the slot's makes it safe,
 * and flow_forget() and flow_claim() spoil the key of a slot they take away.
 */
static __always_inline struct shunt_flow *
flow_find(struct shunt_scratch *s, const struct shunt_key *key, __u32 *slot)
{
	__u32 *hint =
		&s->hint[(key->lport ^ key->rport ^ key->remote.w[3]) >> 8 &
			 (SHUNT_HINTS - 1)];
	struct shunt_flow *f = bpf_map_lookup_elem(&flows, hint);

	if (f && same_key(&f->key, key)) {
		*slot = *hint;
		return f;
	}
	f = flow_indexed(key, slot);
	if (f)
		*hint = *slot;
	return f;
}

/* The first half is a constant of the instance: without the message path the
 * verifier leaves out all that is about it. */
static __always_inline bool message_flow(const struct shunt_flow *f)
{
	return cfg_message_path && f->path == SHUNT_PATH_MESSAGE;
}

/* A flow with a stream of messages says at both hooks what of TCP has to wait
 * for it, to the end, however long TCP itself is silent. */
static __always_inline bool flow_takable(const struct shunt_flow *f, __u64 now)
{
	if (f->life == SHUNT_FREE)
		return true;
	if (f->life != SHUNT_ENDED &&
	    (f->life != SHUNT_LIVE || (__s32)(to_tick(now) - f->seen_tick) <=
					      (__s32)to_tick(cfg_idle_ns)))
		return false;
	if (!message_flow(f))
		return true;
	return !bpf_map_lookup_elem(&stream_index, &f->key);
}

struct claim {
	__u64 now;
	__u32 slot; /* found, or 0 */
	__u32 from; /* claim_room: where the hand stands */
};

static long claim_room(__u32 i, struct claim *c)
{
	__u32 slot = (c->from + i) % cfg_max_flows + 1;
	struct shunt_flow *f = bpf_map_lookup_elem(&flows, &slot);

	if (!f || !flow_takable(f, c->now))
		return 0;
	c->slot = slot;
	return 1;
}

/* Is there likely to be a slot for one more flow? Asked before a SYN is
 * answered, so that the peer does not switch to a flow we can't keep. */
static __always_inline bool flow_room(__u64 now)
{
	__u32 zero = 0, *h = bpf_map_lookup_elem(&hand, &zero);
	struct claim c = {.now = now};

	if (!h)
		return false;
	c.from = *h;
	bpf_loop(CLAIM_TRIES, claim_room, &c, 0);
	return c.slot;
}

static long claim_slot(__u32 i, struct claim *c)
{
	__u32 zero = 0, slot, life, *owner;
	__u32 *h = bpf_map_lookup_elem(&hand, &zero);
	struct shunt_flow *f;

	(void)i;
	if (!h)
		return 1;
	slot = __sync_fetch_and_add(h, 1) % cfg_max_flows + 1;
	f = bpf_map_lookup_elem(&flows, &slot);
	if (!f || !flow_takable(f, c->now))
		return 0;
	life = f->life;
	if (life == SHUNT_CLAIMED ||
	    __sync_val_compare_and_swap(&f->life, life, SHUNT_CLAIMED) != life)
		return 0;
	if (life != SHUNT_FREE) {
		owner = bpf_map_lookup_elem(&flow_index, &f->key);
		if (owner && *owner == slot)
			bpf_map_delete_elem(&flow_index, &f->key);
		f->key.lport = 0;
		shunt_count(shunt_scratch(), SHUNT_CNT_RECYCLED);
	}
	c->slot = slot;
	return 1;
}

/* Take a slot: 0 when CLAIM_TRIES in a row are all live. */
static __always_inline __u32 flow_claim(__u64 now)
{
	struct claim c = {.now = now};

	bpf_loop(CLAIM_TRIES, claim_slot, &c, 0);
	return c.slot;
}

/* A new connection on the same four-tuple: forget the old one. */
static __always_inline void flow_forget(const struct shunt_key *key)
{
	__u32 slot;
	struct shunt_flow *f = flow_indexed(key, &slot);

	if (!f)
		return;
	f->key.lport = 0; /* no hint finds it any more */
	f->life = SHUNT_ENDED;
	bpf_map_delete_elem(&flow_index, key);
}

static __always_inline struct shunt_peer *peer_get(const struct shunt_addr *a,
						   __u32 transport, __u64 now)
{
	struct shunt_peer_key key = {.addr = *a, .transport = transport};
	struct shunt_peer *p = bpf_map_lookup_elem(&peers, &key);
	struct shunt_peer fresh = {.first_ns = now};

	if (p)
		return p;
	bpf_map_update_elem(&peers, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&peers, &key);
}

/*
 * So much may go unseen by a firewall before it is told (sync.bpf.c): a 16th of
 * the largest window that the connection's scale allows for. What is on its
 * way, what our last sync has not said and what the peer's has not acknowledged
 * have to fit into that window. More often is dear: to cut a clone of a GSO
 * packet, the kernel copies all 64 KB of it (bpf_skb_change_tail).
 */
static __always_inline __u32 sync_bytes(const struct shunt_flow *f)
{
	return 4096 << (f->wscale & 15);
}

/* … and at first: the windows of SYN and SYN-ACK have no scale. */
#define SYNC_FIRST 32768

/* Outer source port: from the flow's hash, in the ephemeral range. */
static __always_inline __be16 outer_sport(const struct shunt_key *k)
{
	__u32 h = k->local.w[3] ^ k->remote.w[3] ^ k->local.w[2] ^
		  k->remote.w[2] ^ k->local.w[1] ^ k->remote.w[1] ^
		  k->local.w[0] ^ k->remote.w[0];

	h ^= (__u32)k->lport << 16 | k->rport;
	h *= 0x9e3779b1; /* Fibonacci hashing: high bits are good */
	return bpf_htons(0xc000 | h >> 18);
}

/* Bytes that a transport adds to each packet, its outer IP header included. */
static __always_inline __u32 overhead(const struct shunt_transport *t, bool v4)
{
	return t->header_len +
	       (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* A transport that may be negotiated, or NULL. */
static __always_inline struct shunt_transport *deployed(__u32 number)
{
	struct shunt_transport *t = bpf_map_lookup_elem(&transports, &number);

	return t && t->deployed == SHUNT_DEPLOYED ? t : NULL;
}

/* For the encap program that comes next, but for out_ifindex. */
static __always_inline void describe_segment(struct shunt_scratch *s,
					     const struct shunt_flow *f,
					     __u32 slot, __u32 headers, bool v6)
{
	s->slot = slot;
	s->token_local = f->token_local;
	s->headers = headers;
	s->sport = f->sport;
	s->v6 = v6;
	s->probe = 0;
	s->coverage = f->flags & SHUNT_F_HEADERS ? SHUNT_COVERAGE_HEADERS
						 : SHUNT_COVERAGE_FULL;
}

/* `reason` may come from a map. */
static __always_inline void count_reason(__u32 reason)
{
	struct shunt_scratch *s = shunt_scratch();

	asm volatile("" : "+r"(reason));
	reason &= SHUNT_REASONS_ROOM - 1;
	if (s)
		s->reasons[reason]++;
}

static __always_inline void tx_redirect(struct shunt_flow *f)
{
	f->tx = SHUNT_TX_ENCAP;
	f->reason = SHUNT_REASON_NONE;
	f->stalls = 0;
	f->probes = 0;
	/* What the peer sent before it heard of this is still on its way, in
	 * plain TCP. Both ends of a long path would doubt each other for it
	 * again and again, for as long as they talk. */
	f->rx_tick = 0;
	if (!(f->flags & SHUNT_F_WAS_ENCAP)) {
		f->flags |= SHUNT_F_WAS_ENCAP;
		shunt_count(shunt_scratch(), SHUNT_CNT_REDIRECTED);
	}
}

static __always_inline void tx_probe(struct shunt_flow *f, __u8 reason)
{
	f->tx = SHUNT_TX_PROBING;
	f->reason = reason;
	f->probes = 0;
}

/* A global function, like flow_create(). */
__weak __noinline int tx_fallback(struct shunt_flow *f, __u8 reason, __u64 now)
{
	struct shunt_peer *p;

	if (!f)
		return 0;
	p = peer_get(&f->key.remote, f->transport, now);
	if (f->flags & SHUNT_F_WAS_ENCAP) {
		f->tx = SHUNT_TX_FALLBACK;
		shunt_count(shunt_scratch(), SHUNT_CNT_FALLBACK);
		if (p)
			p->fallbacks++;
	} else {
		f->tx = SHUNT_TX_PLAIN;
	}
	f->reason = reason;
	count_reason(reason);
	return 0;
}

/*
 * Both ends have agreed: make the flow, and choose how we start to send: on the
 * transport at once only if it is certain that the peer has taken our answer.
 * Its slot, or 0. A global function, which the verifier goes through once, and
 * not once for each way that leads here.
 */
__weak __noinline __u32 flow_create(const struct shunt_key *whose,
				    struct shunt_handshake *hs, __u64 now,
				    __u32 certain)
{
	struct shunt_key key KEY_ALIGNED;
	struct shunt_transport *t;
	struct shunt_flow *f;
	struct shunt_peer *p;
	__u32 slot;

	if (!whose || !hs)
		return 0;
	key = *whose; /* as a key, 6.1's verifier takes no argument of ours */
	t = deployed(hs->transport);
	if (!t) {
		hs->stage = SHUNT_HS_REFUSED;
		hs->reason = SHUNT_REASON_NO_TRANSPORT;
		count_reason(hs->reason);
		return 0;
	}
	slot = flow_claim(now);
	f = bpf_map_lookup_elem(&flows, &slot);
	if (!slot || !f) {
		hs->stage = SHUNT_HS_REFUSED;
		hs->reason = SHUNT_REASON_TABLE_FULL;
		shunt_count(shunt_scratch(), SHUNT_CNT_TABLE_FULL);
		count_reason(hs->reason);
		return 0;
	}
	f->role = hs->role;
	f->transport = hs->transport;
	f->path = hs->path;
	f->flags = t->flags & SHUNT_T_GSO ? 0 : SHUNT_F_NO_GSO;
	if (hs->coverage == SHUNT_COVERAGE_HEADERS)
		f->flags |= SHUNT_F_HEADERS;
	if (hs->wish.strict)
		f->flags |= SHUNT_F_STRICT;
	f->stalls = 0;
	f->token_local = hs->token_local;
	f->token_remote = hs->token_remote;
	f->nonce = flow_hash(&key, hs->isn_local, HASH_NONCE);
	f->sport = outer_sport(&key);
	f->overhead = overhead(t, is_v4(&key.remote));
	f->wscale = hs->wscale;
	f->tx_bytes = 0;
	f->rx_bytes = 0;
	f->seen_tick = to_tick(now);
	f->created_ns = now;
	f->tx_next = hs->isn_local + 1;
	f->rx_ack = hs->isn_local + 1;
	f->heard_tick = to_tick(now);
	f->stall_tick = to_tick(now);
	f->probe_tick = to_tick(now);
	f->tx_ack = hs->isn_remote + 1;
	f->rx_plain = f->tx_ack;
	f->sync_mark = f->tx_next + f->tx_ack;
	if (sync_bytes(f) > SYNC_FIRST)
		f->sync_mark += SYNC_FIRST - sync_bytes(f);
	f->rx_tick = 0;

	/* Our option got there: what made us mute the peer was plain loss. */
	p = peer_get(&key.remote, SHUNT_TCP, now);
	if (p) {
		p->answered_ns = now;
		p->muted_until_ns = 0;
	}
	p = peer_get(&key.remote, hs->transport, now);
	if (p)
		p->flows++;
	if (p && p->blocked_until_ns > now) {
		f->tx = SHUNT_TX_PLAIN;
		f->reason = SHUNT_REASON_BLOCKED;
		count_reason(f->reason);
	} else if (certain && p && p->verified_ns &&
		   !older_than(p->verified_ns, now, SHUNT_VERIFIED_NS)) {
		tx_redirect(f);
	} else {
		tx_probe(f, SHUNT_REASON_UNVERIFIED);
	}
	f->key = key; /* from now on hints find it */
	f->life = SHUNT_LIVE;
	if (bpf_map_update_elem(&flow_index, &key, &slot, BPF_NOEXIST)) {
		__u32 other_slot;
		struct shunt_flow *other = flow_indexed(&key, &other_slot);

		if (other && other->token_local == hs->token_local) {
			/* Another CPU has had a packet of the flow, too. */
			f->key.lport = 0;
			f->life = SHUNT_FREE;
			return other_slot;
		}
		if (other) {
			other->key.lport = 0;
			other->life = SHUNT_ENDED;
		}
		bpf_map_update_elem(&flow_index, &key, &slot, BPF_ANY);
	}
	hs->stage = SHUNT_HS_DONE;
	shunt_count(shunt_scratch(), SHUNT_CNT_FLOW);
	return slot;
}

#endif
