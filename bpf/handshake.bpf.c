// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshake: our TCP option in SYN (offer) and SYN-ACK (answer), appended
 * at TC egress and read at TC ingress. On packets and not through SOCK_OPS
 * header options, so that listeners older than us take part.
 *
 * A retransmitted SYN or SYN-ACK carries no option: a path that drops unknown
 * options then costs one retransmission, and the peer is not asked for a while.
 */
#include "option.h"
#include "policy.h"
#include "syn.h"
#include "track.h"

char _license[] SEC("license") = "GPL";

/* No path is so narrow that less than this is left for data. */
#define MSS_MIN 256

#define WSCALE_MAX 14 /* RFC 7323 2.3 */

static __always_inline __u8 cannot_carry(const struct __sk_buff *skb,
					 const struct syn *y)
{
	if (y->closed)
		return SHUNT_REASON_SYN_BUSY;
	if (y->optlen + sizeof(struct tcphdr) + sizeof(struct shunt_option) >
		    TCP_MAX_HEADER ||
	    y->end != skb->len)
		return SHUNT_REASON_NO_ROOM;
	return SHUNT_REASON_NONE;
}

static __always_inline void start_option(struct shunt_option *o, __u8 type,
					 __u8 path, __u8 coverage)
{
	o->kind = SHUNT_TCPOPT_KIND;
	o->len = sizeof(*o);
	o->exid = bpf_htons(SHUNT_TCPOPT_EXID);
	o->version_type = SHUNT_TCPOPT_VERSION << 4 | type;
	o->path_coverage = path << 4 | coverage;
}

static __always_inline int send_option(struct __sk_buff *skb, struct syn *y,
				       struct shunt_handshake *hs,
				       struct shunt_option *o)
{
	struct tcp_place at = {y->l4, y->end, y->total, y->v6};

	hs->isn_local = y->seq;
	hs->token_local = flow_hash(&y->key, y->seq, HASH_TOKEN);
	o->token = bpf_htonl(hs->token_local);
	return append_option(skb, &at, o);
}

static __always_inline __u8 scale_of(const struct syn *y)
{
	return y->wscale < WSCALE_MAX ? y->wscale : WSCALE_MAX;
}

/* Windows are scaled only if both ends say so: one without the option is 0. */
static __always_inline void smaller_scale(struct shunt_handshake *hs,
					  const struct syn *y)
{
	__u8 scale = scale_of(y);

	if (scale < hs->wscale)
		hs->wscale = scale;
}

static __always_inline bool blocked(const struct shunt_key *k, __u32 transport,
				    __u64 now)
{
	struct shunt_peer_key pk = {.addr = k->remote, .transport = transport};
	struct shunt_peer *p = bpf_map_lookup_elem(&peers, &pk);

	return p && p->blocked_until_ns > now;
}

/*
 * Put the ids of what we wish for into an offer: first those whose path to this
 * peer is not known to be blocked. With all of them blocked they are offered
 * all the same: the peer may know better. Are there any? (Global for the
 * verifier's sake, like parse_syn. So is where to append: a count would be one
 * more state in each round.)
 */
static __always_inline void append_id(struct shunt_option *o, __be16 id)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < SHUNT_MAX_WISHES; i++) {
		if (!o->transports[i]) {
			o->transports[i] = id;
			break;
		}
	}
}

__noinline bool offer_transports(struct shunt_option *o,
				 const struct shunt_key *k,
				 struct shunt_handshake *hs, __u64 now)
{
	struct shunt_transport *t;

	if (!o || !k || !hs)
		return false;
#pragma clang loop unroll(disable)
	for (int late = 0; late < 2; late++) {
#pragma clang loop unroll(disable)
		for (int i = 0; i < SHUNT_MAX_WISHES; i++) {
			__u32 number = hs->wish.transports[i];

			t = number ? deployed(number) : NULL;
			if (!t || blocked(k, number, now) != late)
				continue;
			if (!o->transports[0])
				hs->transport = number;
			append_id(o, t->id);
		}
	}
	return o->transports[0];
}

/* The number of the first transport of the peer's list that ours has too, in
 * the same version: id says both. 0: none. (Global like parse_syn.) */
__noinline __u32 first_common(const struct shunt_option *o,
			      const struct shunt_wish *w)
{
	struct shunt_transport *t;

	if (!o || !w)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SHUNT_MAX_WISHES; i++) {
#pragma clang loop unroll(disable)
		for (int j = 0; j < SHUNT_MAX_WISHES; j++) {
			__u32 number = w->transports[j];

			if (!number || !o->transports[i])
				continue;
			t = deployed(number);
			if (t && t->id == o->transports[i])
				return number;
		}
	}
	return 0;
}

/* Partial coverage only if both ends wish for it: what arrives damaged is given
 * to an application that has asked for it, and to no other. */
static __always_inline __u8 common_coverage(const struct shunt_option *o,
					    const struct shunt_wish *w,
					    const struct shunt_transport *t)
{
	return t->flags & SHUNT_T_COVERAGE &&
			       (o->path_coverage & 15) ==
				       SHUNT_COVERAGE_HEADERS &&
			       w->coverage == SHUNT_COVERAGE_HEADERS
		       ? SHUNT_COVERAGE_HEADERS
		       : SHUNT_COVERAGE_FULL;
}

/* Either end's proxy may be away; the segment path is always there. */
static __always_inline __u8 possible_path(__u8 path)
{
	return cfg_message_path && path == SHUNT_PATH_MESSAGE &&
			       message_path_up()
		       ? SHUNT_PATH_MESSAGE
		       : SHUNT_PATH_SEGMENT;
}

/* Options to this peer seem to get lost: ask again after the hold-down, unless
 * one was answered a short time ago (then it was plain loss). */
static __always_inline void mute(const struct shunt_key *k, __u64 now)
{
	struct shunt_peer *p = peer_get(&k->remote, SHUNT_TCP, now);

	if (p && (!p->answered_ns ||
		  older_than(p->answered_ns, now, SHUNT_HOLDDOWN_NS)))
		p->muted_until_ns = now + SHUNT_HOLDDOWN_NS;
}

/* The same SYN again: without option, and what is known of it stays. */
static __always_inline bool syn_again(const struct syn *y,
				      struct shunt_handshake *hs)
{
	if (!hs || hs->role != SHUNT_ROLE_ACTIVE)
		return false;
	if (hs->stage == SHUNT_HS_OFFERED && hs->isn_local == y->seq)
		hs->flags |= SHUNT_HS_RETRANSMITTED;
	return hs->stage != SHUNT_HS_INTENT;
}

static __always_inline bool
synack_again(const struct syn *y, const struct shunt_handshake *hs, __u64 now)
{
	if (!hs)
		return false;
	if (hs->role == SHUNT_ROLE_ACTIVE)
		return true; /* simultaneous open */
	if (hs->role != SHUNT_ROLE_PASSIVE || hs->stage == SHUNT_HS_HEARD ||
	    hs->isn_local != y->seq)
		return false;
	if (hs->stage == SHUNT_HS_ANSWERED)
		mute(&y->key, now);
	return true;
}

/* What of the option is not the same in both, or why there is none. */
static __always_inline __u8 offer(const struct syn *y,
				  struct shunt_handshake *hs,
				  struct shunt_option *o, __u64 now)
{
	start_option(o, SHUNT_OPT_OFFER, hs->path, hs->wish.coverage);
	hs->wscale = scale_of(y);
	return offer_transports(o, &y->key, hs, now)
		       ? SHUNT_REASON_NONE
		       : SHUNT_REASON_NO_TRANSPORT;
}

static __always_inline __u8 answer(const struct syn *y,
				   struct shunt_handshake *hs,
				   struct shunt_option *o, __u64 now)
{
	struct shunt_transport *t = deployed(hs->transport);

	if (!t)
		return SHUNT_REASON_NO_TRANSPORT;
	if (!flow_room(now)) {
		shunt_count(shunt_scratch(), SHUNT_CNT_TABLE_FULL);
		return SHUNT_REASON_TABLE_FULL;
	}
	start_option(o, SHUNT_OPT_ANSWER, hs->path, hs->coverage);
	o->transports[0] = t->id;
	smaller_scale(hs, y);
	return SHUNT_REASON_NONE;
}

static __always_inline void left_alone(const struct syn *y,
				       struct shunt_handshake *hs)
{
	count_reason(hs->reason);
	if (y->ack) {
		hs->isn_local = y->seq;
		hs->stage = SHUNT_HS_REFUSED;
	} else {
		hs->stage = SHUNT_HS_BARE;
		shunt_count(shunt_scratch(), SHUNT_CNT_LEFT_ALONE);
	}
}

SEC("tc")
int shunt_syn_out(struct __sk_buff *skb)
{
	struct syn y = {};
	struct shunt_option o = {};
	struct shunt_handshake *hs;
	__u64 now = now_ns();

	if (parse_syn(skb, &y, true))
		return TC_ACT_UNSPEC;
	hs = bpf_map_lookup_elem(&handshakes, &y.key);
	if (y.ack ? synack_again(&y, hs, now) : syn_again(&y, hs))
		return TC_ACT_UNSPEC;
	flow_forget(&y.key);
	if (!hs)
		return TC_ACT_UNSPEC;
	if (y.ack ? hs->stage != SHUNT_HS_HEARD ||
			    hs->isn_remote + 1 != y.ack_seq
		  : hs->role != SHUNT_ROLE_ACTIVE)
		return TC_ACT_UNSPEC;
	if (!y.ack)
		hs->path = possible_path(hs->wish.path);
	hs->reason = cannot_carry(skb, &y);
	if (!hs->reason)
		hs->reason = y.ack ? answer(&y, hs, &o, now)
				   : offer(&y, hs, &o, now);
	if (hs->reason) {
		left_alone(&y, hs);
		return TC_ACT_UNSPEC;
	}
	hs->stage = y.ack ? SHUNT_HS_ANSWERED : SHUNT_HS_OFFERED;
	if (!send_option(skb, &y, hs, &o))
		shunt_count(shunt_scratch(),
			    y.ack ? SHUNT_CNT_ANSWER : SHUNT_CNT_OFFER);
	return TC_ACT_UNSPEC;
}

/*
 * What this flow will send must fit with the outer headers around it: tell our
 * own TCP that the peer takes smaller segments. The peer's offer is about its
 * own device, so ours counts as well (jumbo frames there, not here).
 */
static __always_inline int lower_mss(struct __sk_buff *skb, struct syn *y,
				     const struct shunt_transport *t)
{
	__u32 ip = y->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 mtu = 0, mss = y->mss;
	__be16 old = bpf_htons(y->mss), new;

	if (!y->mss_at)
		return 0; /* 536, or 1220 for IPv6: fits */
	bpf_check_mtu(skb, skb->ifindex, &mtu, 0, 0);
	if (mtu && mss > mtu - ip - sizeof(struct tcphdr))
		mss = mtu - ip - sizeof(struct tcphdr);
	mss -= overhead(t, !y->v6);
	/* An odd place would need the checksum's bytes swapped: nobody sends
	 * such SYNs. */
	if (mss < MSS_MIN || mss > y->mss || y->mss_at & 1)
		return -1;
	new = bpf_htons(mss);
	if (bpf_l4_csum_replace(skb, y->l4 + offsetof(struct tcphdr, check),
				old, new, 2))
		return -1;
	return bpf_skb_store_bytes(skb, y->mss_at, &new, 2, 0);
}

static long accept_step(__u32 i, struct policy_query *q)
{
	return policy_rule(i, q, NULL);
}

static __always_inline bool option_is(const struct syn *y, __u8 type)
{
	return y->ours &&
	       y->option.version_type == (SHUNT_TCPOPT_VERSION << 4 | type);
}

/* May this offer be answered? The wish is then that of our policy. */
static __always_inline bool takes_offer(const struct syn *y,
					const struct shunt_handshake *hs,
					struct shunt_wish *wish, __u64 now)
{
	struct policy_query q = {.remote = y->key.remote,
				 .port = bpf_ntohs(y->key.lport)};
	struct shunt_peer_key pk = {.addr = y->key.remote};
	struct shunt_peer *p;

	if (!option_is(y, SHUNT_OPT_OFFER) || is_control(&y->key))
		return false;
	shunt_count(shunt_scratch(), SHUNT_CNT_OFFER_RX);
	if (hs && hs->role == SHUNT_ROLE_ACTIVE &&
	    !older_than(hs->created_ns, now, SHUNT_NSEC))
		return false; /* simultaneous open */
	if (hs && hs->role == SHUNT_ROLE_PASSIVE && hs->isn_remote == y->seq &&
	    hs->stage != SHUNT_HS_HEARD)
		return false; /* the same SYN again */
	p = bpf_map_lookup_elem(&peers, &pk);
	if (p && p->muted_until_ns > now)
		return false;
	policy_decide(&q, accept_step);
	*wish = q.wish;
	return true;
}

static __always_inline void refused(struct shunt_handshake *hs, __u8 reason)
{
	hs->stage = SHUNT_HS_REFUSED;
	hs->reason = reason;
	count_reason(reason);
}

/* Is this the answer to our offer? The wish is then that of the offer. */
static __always_inline bool takes_answer(const struct syn *y,
					 struct shunt_handshake *hs,
					 struct shunt_wish *wish, __u64 now)
{
	struct shunt_flow *f;
	__u32 slot;

	if (!hs || hs->role != SHUNT_ROLE_ACTIVE)
		return false;
	/* Again, so the peer has not heard what we answered over the transport,
	 * and TCP's own retransmission would be of data: a client that waits
	 * for the server to speak first has none. */
	if (hs->stage == SHUNT_HS_DONE && hs->isn_remote == y->seq) {
		f = flow_indexed(&y->key, &slot);
		if (f)
			doubt(f, SHUNT_REASON_STALLED, 0, now);
	}
	if (hs->stage != SHUNT_HS_OFFERED || hs->isn_local + 1 != y->ack_seq)
		return false;
	if (!y->ours) {
		refused(hs, SHUNT_REASON_NO_ANSWER);
		if (hs->flags & SHUNT_HS_RETRANSMITTED)
			mute(&y->key, now);
		return false;
	}
	*wish = hs->wish;
	return true;
}

/* Nothing is committed before our own SYN-ACK leaves, so a forged SYN does no
 * more than turn over an entry in an LRU map. */
static __always_inline void heard(const struct syn *y,
				  const struct shunt_wish *wish, __u32 number,
				  __u8 coverage, __u64 now)
{
	struct shunt_handshake hs = {
		.created_ns = now,
		.stage = SHUNT_HS_HEARD,
		.role = SHUNT_ROLE_PASSIVE,
		.isn_remote = y->seq,
		.token_remote = bpf_ntohl(y->option.token),
		.wscale = scale_of(y),
		.wish = *wish,
		.path = possible_path(y->option.path_coverage >> 4),
		.transport = number,
		.coverage = coverage,
	};

	bpf_map_update_elem(&handshakes, &y->key, &hs, BPF_ANY);
}

static __always_inline void answered(struct __sk_buff *skb, const struct syn *y,
				     struct shunt_handshake *hs, __u32 number,
				     __u8 coverage)
{
	struct shunt_scratch *s = shunt_scratch();

	if (!s)
		return;
	shunt_count(s, SHUNT_CNT_ANSWER_RX);
	hs->isn_remote = y->seq;
	hs->token_remote = bpf_ntohl(y->option.token);
	hs->transport = number;
	hs->path = y->option.path_coverage >> 4;
	hs->coverage = coverage;
	smaller_scale(hs, y);
	s->first.key = y->key;
	s->first.kind = SHUNT_FIRST_ANSWER;
	bpf_tail_call_static(skb, &stages, SHUNT_TAIL_ADOPT);
}

/* An answer may leave out the message path, and no more. */
static __always_inline bool fits_offer(const struct syn *y,
				       const struct shunt_handshake *hs)
{
	__u8 path = y->option.path_coverage >> 4;

	return option_is(y, SHUNT_OPT_ANSWER) &&
	       (path == SHUNT_PATH_SEGMENT || path == hs->path);
}

SEC("tc")
int shunt_syn_in(struct __sk_buff *skb)
{
	struct syn y = {};
	struct shunt_handshake *hs;
	struct shunt_wish wish = {};
	struct shunt_transport *t;
	__u64 now = now_ns();
	__u32 number = 0;
	__u8 coverage;

	if (parse_syn(skb, &y, false))
		return TC_ACT_UNSPEC;
	hs = bpf_map_lookup_elem(&handshakes, &y.key);
	if (!(y.ack ? takes_answer(&y, hs, &wish, now)
		    : takes_offer(&y, hs, &wish, now)))
		return TC_ACT_UNSPEC;
	if (!y.ack || (hs && fits_offer(&y, hs)))
		number = first_common(&y.option, &wish);
	t = number ? deployed(number) : NULL;
	if (!t || lower_mss(skb, &y, t)) {
		if (y.ack && hs)
			refused(hs, SHUNT_REASON_REFUSED);
		return TC_ACT_UNSPEC;
	}
	coverage = common_coverage(&y.option, &wish, t);
	if (!y.ack)
		heard(&y, &wish, number, coverage, now);
	else if (hs)
		answered(skb, &y, hs, number, coverage);
	return TC_ACT_UNSPEC;
}
