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
 * all the same: the peer may know better. Returns how many there are. (Global
 * for the verifier's sake, like parse_syn.)
 */
__noinline int offer_transports(struct shunt_option *o,
				const struct shunt_key *k,
				struct shunt_handshake *hs, __u64 now)
{
	struct shunt_transport *t;
	int n = 0;

	if (!o || !k || !hs)
		return 0;
#pragma unroll
	for (int late = 0; late < 2; late++) {
#pragma unroll
		for (int i = 0; i < SHUNT_MAX_WISHES; i++) {
			__u32 number = hs->wish.transports[i];

			t = number ? deployed(number) : NULL;
			if (!t || blocked(k, number, now) != late)
				continue;
			if (n == 0)
				o->transports[0] = t->id;
			else if (n == 1)
				o->transports[1] = t->id;
			else
				o->transports[2] = t->id;
			if (!n++)
				hs->transport = number;
		}
	}
	return n;
}

/* The number of the first transport of the peer's list that ours has too, in
 * the same version: id says both. 0: none. (Global like parse_syn.) */
__noinline __u32 first_common(const struct shunt_option *o,
			      const struct shunt_wish *w)
{
	struct shunt_transport *t;

	if (!o || !w)
		return 0;
#pragma unroll
	for (int i = 0; i < SHUNT_MAX_WISHES; i++) {
#pragma unroll
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
	return path == SHUNT_PATH_MESSAGE && message_path_up()
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

static __always_inline void syn_out(struct __sk_buff *skb, struct syn *y,
				    struct shunt_handshake *hs, __u64 now)
{
	struct shunt_option o = {};
	__u8 why;

	if (!hs || hs->role != SHUNT_ROLE_ACTIVE) {
		flow_forget(&y->key);
		return;
	}
	if (hs->stage == SHUNT_HS_OFFERED && hs->isn_local == y->seq) {
		hs->flags |= SHUNT_HS_RETRANSMITTED;
		return;
	}
	if (hs->stage != SHUNT_HS_INTENT)
		return;
	flow_forget(&y->key);
	why = cannot_carry(skb, y);
	hs->path = possible_path(hs->wish.path);
	start_option(&o, SHUNT_OPT_OFFER, hs->path, hs->wish.coverage);
	if (!why && !offer_transports(&o, &y->key, hs, now))
		why = SHUNT_REASON_NO_TRANSPORT;
	if (why) {
		hs->stage = SHUNT_HS_BARE;
		hs->reason = why;
		count_reason(why);
		shunt_count(shunt_scratch(), SHUNT_CNT_LEFT_ALONE);
		return;
	}
	hs->stage = SHUNT_HS_OFFERED;
	hs->wscale = scale_of(y);
	if (!send_option(skb, y, hs, &o))
		shunt_count(shunt_scratch(), SHUNT_CNT_OFFER);
}

static __always_inline void synack_out(struct __sk_buff *skb, struct syn *y,
				       struct shunt_handshake *hs, __u64 now)
{
	struct shunt_option o = {};
	struct shunt_transport *t;

	if (hs && hs->role == SHUNT_ROLE_PASSIVE &&
	    hs->stage != SHUNT_HS_HEARD && hs->isn_local == y->seq) {
		if (hs->stage == SHUNT_HS_ANSWERED)
			mute(&y->key, now);
		return; /* again: without option */
	}
	if (hs && hs->role == SHUNT_ROLE_ACTIVE)
		return; /* simultaneous open */
	flow_forget(&y->key);
	if (!hs || hs->stage != SHUNT_HS_HEARD ||
	    hs->isn_remote + 1 != y->ack_seq)
		return;
	hs->reason = cannot_carry(skb, y);
	t = deployed(hs->transport);
	if (!hs->reason && !t)
		hs->reason = SHUNT_REASON_NO_TRANSPORT;
	if (!hs->reason && !flow_room(now)) {
		hs->reason = SHUNT_REASON_TABLE_FULL;
		shunt_count(shunt_scratch(), SHUNT_CNT_TABLE_FULL);
	}
	if (hs->reason || !t) {
		hs->isn_local = y->seq;
		hs->stage = SHUNT_HS_REFUSED;
		count_reason(hs->reason);
		return;
	}
	hs->stage = SHUNT_HS_ANSWERED;
	smaller_scale(hs, y);
	start_option(&o, SHUNT_OPT_ANSWER, hs->path, hs->coverage);
	o.transports[0] = t->id;
	if (!send_option(skb, y, hs, &o))
		shunt_count(shunt_scratch(), SHUNT_CNT_ANSWER);
}

SEC("tc")
int shunt_syn_out(struct __sk_buff *skb)
{
	struct syn y = {};
	struct shunt_handshake *hs;

	if (parse_syn(skb, &y, true))
		return TC_ACT_UNSPEC;
	hs = bpf_map_lookup_elem(&handshakes, &y.key);
	if (y.ack)
		synack_out(skb, &y, hs, now_ns());
	else
		syn_out(skb, &y, hs, now_ns());
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

/* An offer. Nothing is committed before our own SYN-ACK leaves, so a forged SYN
 * does no more than turn over an entry in an LRU map. */
static __always_inline void syn_in(struct __sk_buff *skb, struct syn *y,
				   struct shunt_handshake *hs, __u64 now)
{
	struct policy_query q = {.remote = y->key.remote,
				 .port = bpf_ntohs(y->key.lport)};
	struct shunt_handshake heard = {
		.created_ns = now,
		.stage = SHUNT_HS_HEARD,
		.role = SHUNT_ROLE_PASSIVE,
		.isn_remote = y->seq,
		.token_remote = bpf_ntohl(y->option.token),
		.wscale = scale_of(y),
	};
	struct shunt_peer_key pk = {.addr = y->key.remote};
	struct shunt_transport *t;
	struct shunt_peer *p;
	__u32 number;

	if (!option_is(y, SHUNT_OPT_OFFER) || is_control(&y->key))
		return;
	shunt_count(shunt_scratch(), SHUNT_CNT_OFFER_RX);
	if (hs && hs->role == SHUNT_ROLE_ACTIVE &&
	    !older_than(hs->created_ns, now, SHUNT_NSEC))
		return; /* simultaneous open */
	if (hs && hs->role == SHUNT_ROLE_PASSIVE && hs->isn_remote == y->seq &&
	    hs->stage != SHUNT_HS_HEARD)
		return; /* the same SYN again */
	policy_decide(&q, accept_step);
	number = first_common(&y->option, &q.wish);
	t = number ? deployed(number) : NULL;
	if (!t)
		return;
	heard.wish = q.wish;
	heard.path = possible_path(y->option.path_coverage >> 4);
	heard.transport = number;
	heard.coverage = common_coverage(&y->option, &q.wish, t);
	p = bpf_map_lookup_elem(&peers, &pk);
	if (p && p->muted_until_ns > now)
		return;
	if (lower_mss(skb, y, t))
		return;
	bpf_map_update_elem(&handshakes, &y->key, &heard, BPF_ANY);
}

static __always_inline void synack_in(struct __sk_buff *skb, struct syn *y,
				      struct shunt_handshake *hs, __u64 now)
{
	struct shunt_transport *t;
	__u8 path = y->option.path_coverage >> 4;
	struct shunt_flow *f;
	__u32 number = 0, slot;

	/* Again, so the peer has not heard what we answered over the transport,
	 * and TCP's own retransmission would be of data: a client that waits
	 * for the server to speak first has none. */
	if (hs && hs->role == SHUNT_ROLE_ACTIVE && hs->stage == SHUNT_HS_DONE &&
	    hs->isn_remote == y->seq) {
		f = flow_indexed(&y->key, &slot);
		if (f)
			doubt(f, SHUNT_REASON_STALLED, 0, now);
	}
	if (!hs || hs->role != SHUNT_ROLE_ACTIVE ||
	    hs->stage != SHUNT_HS_OFFERED || hs->isn_local + 1 != y->ack_seq)
		return;
	if (!y->ours) {
		hs->stage = SHUNT_HS_REFUSED;
		hs->reason = SHUNT_REASON_NO_ANSWER;
		count_reason(hs->reason);
		if (hs->flags & SHUNT_HS_RETRANSMITTED)
			mute(&y->key, now);
		return;
	}
	if (option_is(y, SHUNT_OPT_ANSWER) &&
	    (path == SHUNT_PATH_SEGMENT || path == hs->path))
		number = first_common(&y->option, &hs->wish);
	t = number ? deployed(number) : NULL;
	if (!t || lower_mss(skb, y, t)) {
		hs->stage = SHUNT_HS_REFUSED;
		hs->reason = SHUNT_REASON_REFUSED;
		count_reason(hs->reason);
		return;
	}
	shunt_count(shunt_scratch(), SHUNT_CNT_ANSWER_RX);
	hs->isn_remote = y->seq;
	hs->token_remote = bpf_ntohl(y->option.token);
	hs->transport = number;
	hs->path = path;
	hs->coverage = common_coverage(&y->option, &hs->wish, t);
	smaller_scale(hs, y);
	flow_create(&y->key, hs, now, true);
}

SEC("tc")
int shunt_syn_in(struct __sk_buff *skb)
{
	struct syn y = {};
	struct shunt_handshake *hs;

	if (parse_syn(skb, &y, false))
		return TC_ACT_UNSPEC;
	hs = bpf_map_lookup_elem(&handshakes, &y.key);
	if (y.ack)
		synack_in(skb, &y, hs, now_ns());
	else
		syn_in(skb, &y, hs, now_ns());
	return TC_ACT_UNSPEC;
}
