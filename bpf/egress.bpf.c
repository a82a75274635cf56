// SPDX-License-Identifier: GPL-2.0-only
/*
 * TC egress: finds a segment's flow and hands it to the flow's transport. What
 * belongs to no flow, or to one that is not on its transport now, goes on as it
 * is. SYNs take the slow path (handshake.bpf.c), probes theirs (probe.bpf.c).
 */
#include "frame.h"
#include "hop.h"
#include "late.h"
#include "parse.h"
#include "track.h"

char _license[] SEC("license") = "GPL";

/* Probes of one flow: after 0, 0.2, 0.6 and 1.4 s; given up when the last one
 * has had as long again as all before it. */
#define PROBES_MAX 4
#define PROBE_MS   200

/*
 * A VLAN tag inside the frame (the device has no offload and something other
 * than the vlan driver put it there) becomes skb metadata, as the vlan driver
 * itself does it: then there is an IP packet right behind Ethernet.
 */
static __always_inline int untag(struct __sk_buff *skb)
{
	struct {
		__be16 tci, proto;
	} tag;
	__be16 tpid = skb->protocol;

	if (skb->vlan_present ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &tag, sizeof(tag)) ||
	    (tag.proto != bpf_htons(ETH_P_IP) &&
	     tag.proto != bpf_htons(ETH_P_IPV6)))
		return -1;
	if (bpf_skb_vlan_pop(skb))
		return -1;
	return bpf_skb_vlan_push(skb, tpid, bpf_ntohs(tag.tci));
}

/* Send a probe by a clone of this packet, which comes back to this program (see
 * the top of shunt_egress) before bpf_clone_redirect returns. */
static __always_inline void maybe_probe(struct __sk_buff *skb,
					struct shunt_scratch *s,
					struct shunt_flow *f, __u32 slot,
					__u64 now)
{
	__u32 tick = to_tick(now);
	__u32 wait = MS_TICKS(PROBE_MS) << (f->probes ? f->probes - 1 : 0);
	struct shunt_peer *p;

	if (f->probes && tick - f->probe_tick < wait)
		return;
	if (f->probes >= PROBES_MAX) {
		p = peer_get(&f->key.remote, f->transport, now);
		if (p) {
			p->verified_ns = 0;
			p->blocked_until_ns = now + SHUNT_HOLDDOWN_NS;
		}
		tx_fallback(f,
			    f->flags & SHUNT_F_WAS_ENCAP ? f->reason
							 : SHUNT_REASON_NO_ECHO,
			    now);
		return;
	}
	f->probes++;
	f->probe_tick = tick;
	s->probe_slot = slot;
	bpf_clone_redirect(skb, skb->ifindex, 0);
	s->probe_slot = 0;
}

/*
 * A stateful firewall on the way has to be told where the connection is, now
 * and then while it sees nothing of it, and ahead of what is sent again in
 * plain TCP.
 */
static __always_inline void maybe_sync(struct __sk_buff *skb,
				       struct shunt_scratch *s,
				       struct shunt_flow *f, __u32 slot,
				       bool again)
{
	__u32 mark = f->tx_next + f->tx_ack;

	if (f->tx != SHUNT_TX_ENCAP) {
		if (!again)
			return;
	} else if (f->flags & SHUNT_F_STRICT ||
		   mark - f->sync_mark < sync_bytes(f)) {
		return;
	}
	f->sync_mark = mark;
	s->sync_slot = slot;
	bpf_clone_redirect(skb, skb->ifindex, 0);
	s->sync_slot = 0;
}

/*
 * When the network has made a flow go back to TCP, acknowledge no more than a
 * firewall can have seen, or it drops the data with the acknowledgement. The
 * peer, which may have nothing to send and so no reason to say where it stands,
 * would never hear of it. A number below takes nothing back. Every other time
 * only: a peer that has rebooted resets us by that number, and TCP ignores a
 * reset below its window (RFC 5961 3.2). If it is further below than our window
 * only what is sent again: the peer's TCP drops the segment if no window of
 * ours was as large (RFC 5961 5.2, tcp_ack()), half of all that is sent.
 */
static __always_inline void lower_ack(struct __sk_buff *skb,
				      struct shunt_flow *f,
				      const struct tcphdr *t, __u32 l4,
				      bool again)
{
	__be32 old = t->ack_seq, new = bpf_htonl(f->rx_plain);

	if (f->reason != SHUNT_REASON_STALLED &&
	    f->reason != SHUNT_REASON_PEER_PLAIN &&
	    f->reason != SHUNT_REASON_UNREACHABLE)
		return;
	if (!t->ack || !after(bpf_ntohl(old), f->rx_plain))
		return;
	if (!again && bpf_ntohl(old) - f->rx_plain >
			      (__u32)bpf_ntohs(t->window) << (f->wscale & 15))
		return;
	f->flags ^= SHUNT_F_LOWERED;
	if (!(f->flags & SHUNT_F_LOWERED) ||
	    bpf_l4_csum_replace(skb, l4 + offsetof(struct tcphdr, check), old,
				new, 4))
		return;
	bpf_skb_store_bytes(skb, l4 + offsetof(struct tcphdr, ack_seq), &new, 4,
			    0);
}

/* Would the packet, with `room` more bytes, still go out whole? The device's
 * MTU is asked for once a tick. */
static __always_inline bool fits(struct __sk_buff *skb, struct shunt_scratch *s,
				 __u32 headers, __u32 room, __u32 tick)
{
	__u32 len =
		skb->gso_size ? skb->gso_size + headers : skb->len - ETH_HLEN;

	if (s->mtu_ifindex != skb->ifindex || s->mtu_tick != tick) {
		s->mtu = 0;
		bpf_check_mtu(skb, 0, &s->mtu, 0, 0);
		s->mtu_ifindex = skb->ifindex;
		s->mtu_tick = tick;
	}
	return len + room <= s->mtu;
}

/*
 * A packet of a flow whose transport takes no GSO packets: must it go through
 * the segmentation hop? GSO packets must, and all behind them, or they would
 * overtake, until everything is acknowledged. With coverage `headers` each
 * must, because it comes out with a finished TCP checksum, which is covered.
 */
static __always_inline bool needs_hop(const struct __sk_buff *skb,
				      struct shunt_flow *f, bool drained)
{
	if (!(f->flags & SHUNT_F_NO_GSO))
		return false;
	if (skb->gso_size || f->flags & SHUNT_F_HEADERS)
		f->flags |= SHUNT_F_HOPPING;
	else if (drained && f->flags & SHUNT_F_HOPPING)
		f->flags &= ~SHUNT_F_HOPPING;
	return f->flags & SHUNT_F_HOPPING;
}

/* Has it come out of a hop, as TCP all the same? */
static __always_inline bool from_hop(const struct __sk_buff *skb)
{
	__u32 ifindex = skb->ingress_ifindex;

	return ifindex && bpf_map_lookup_elem(&hops, &ifindex);
}

static __always_inline int egress(struct __sk_buff *skb,
				  struct shunt_scratch *s, bool v6)
{
	void *data;
	struct ip_view ip;
	struct shunt_flow *f;
	struct shunt_key key KEY_ALIGNED;
	struct tcphdr *t;
	__u32 slot, number, headers, payload;
	bool drained, again, bare, late = false;
	__u64 now;

	if (!v6 ? parse_out(skb, false, &ip, &key)
		: parse_out(skb, true, &ip, &key))
		return TC_ACT_UNSPEC;
	data = start_of(skb);
	t = data + ETH_HLEN + ip.hlen;
	if ((void *)(t + 1) > end_of(skb))
		return TC_ACT_UNSPEC;
	if (cfg_message_path && ip.proto == IPPROTO_UDP && !ip.options &&
	    frame_ports((void *)t)) {
		s->out_ifindex = 0;
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_FRAME_OUT);
	}
	if (ip.proto != IPPROTO_TCP)
		return TC_ACT_UNSPEC;
	if (t->syn) {
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_SYN_OUT);
		return TC_ACT_UNSPEC;
	}
	key.lport = t->source;
	key.rport = t->dest;
	f = flow_find(s, &key, &slot);
	if (!f)
		return TC_ACT_UNSPEC;
	headers = ip.hlen + t->doff * 4;
	/* Padding behind the packet would count as payload at the far end. */
	if (ip.total < headers || ip.total != skb->len - ETH_HLEN)
		return TC_ACT_UNSPEC;
	if (f->flags & SHUNT_F_NO_GSO && from_hop(skb))
		return TC_ACT_UNSPEC;
	payload = ip.total - headers;
	if (message_flow(f) && (payload || t->fin) && !t->rst) {
		late = s->late_goes == f->token_local;
		s->late_goes = 0;
		if (!late &&
		    late_out(&key, bpf_ntohl(t->seq) + payload + t->fin)) {
			bpf_tail_call_static(skb, &stages, SHUNT_TAIL_LATE_OUT);
			return TC_ACT_SHOT;
		}
	}
	now = now_ns();
	drained = f->rx_ack == f->tx_next;
	again = after(f->tx_next, bpf_ntohl(t->seq));
	bare = t->fin || t->rst || ip.options;
	track_tx(f, t, payload,
		 skb->gso_size ? skb->gso_size + headers : ip.total, late, now);
	if (f->tx == SHUNT_TX_PROBING && !ip.options)
		maybe_probe(skb, s, f, slot, now);
	if (f->tx == SHUNT_TX_LEAVING)
		tx_fallback(f, f->reason, now);
	if (f->flags & SHUNT_F_WAS_ENCAP && !bare)
		maybe_sync(skb, s, f, slot, again);
	if (f->tx != SHUNT_TX_ENCAP) {
		if (f->flags & SHUNT_F_WAS_ENCAP && !ip.options) {
			/* The clones have moved it. */
			data = start_of(skb);
			t = data + ETH_HLEN + ip.hlen;
			if ((void *)(t + 1) <= end_of(skb))
				lower_ack(skb, f, t, ETH_HLEN + ip.hlen, again);
		}
		return TC_ACT_UNSPEC;
	}

	number = f->transport;
	if (!fits(skb, s, headers, f->overhead, to_tick(now))) {
		shunt_count(s, SHUNT_CNT_ENCAP_TOO_BIG);
		return TC_ACT_UNSPEC;
	}
	if (needs_hop(skb, f, drained))
		return to_hop(skb, s, f->flags & SHUNT_F_HEADERS);
	f->tx_bytes += payload;
	s->out_ifindex = 0;
	describe_segment(s, f, slot, headers, v6);
	shunt_tail_call(skb, &encap_progs, number);
	/* Still here: the transport has been withdrawn. */
	f->tx_bytes -= payload;
	shunt_count(s, SHUNT_CNT_ENCAP_FAILED);
	tx_fallback(f, SHUNT_REASON_NO_TRANSPORT, now);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int shunt_egress(struct __sk_buff *skb)
{
	struct shunt_scratch *s = shunt_scratch();

	if (!s)
		return TC_ACT_UNSPEC;
	/* Out of the upper device, still in the call that sent it there */
	if (s->hopped) {
		s->hopped = 0;
		return TC_ACT_UNSPEC;
	}
	if (s->sync_slot) {
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_SYNC_OUT);
		return TC_ACT_SHOT;
	}
	if (s->probe_slot) {
		bpf_tail_call_static(skb, &stages, SHUNT_TAIL_PROBE_OUT);
		return TC_ACT_SHOT;
	}
	if (skb->protocol == bpf_htons(ETH_P_8021Q) ||
	    skb->protocol == bpf_htons(ETH_P_8021AD)) {
		if (untag(skb))
			return TC_ACT_UNSPEC;
	}
	if (skb->protocol == bpf_htons(ETH_P_IP) ||
	    skb->protocol == bpf_htons(ETH_P_IPV6))
		return egress(skb, s, skb->protocol == bpf_htons(ETH_P_IPV6));
	return TC_ACT_UNSPEC;
}
