/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The BPF objects, loaded with small tables and attached to nothing, and
 * packets run through them with BPF_PROG_TEST_RUN.
 */
#ifndef BPF_RUN_H
#define BPF_RUN_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <shunt/message.h>
#include <shunt/shared.h>

#include "packet.h"

/* Verdicts, as the kernel numbers them. */
#define V_TC_PASS     (-1) /* TC_ACT_UNSPEC */
#define V_TC_SHOT     2
#define V_TC_REDIRECT 7
#define V_XDP_DROP    1
#define V_XDP_PASS    2

/* Not run: the kernel refuses to make such an skb (errno in rig.err). */
#define V_NONE (-1000)

enum rig_prog { RIG_EGRESS, RIG_TC, RIG_SLOW, RIG_XDP, RIG_HOP, RIG_PROGS };

/* Flows are idle sooner than in earnest: a machine may be up for less. */
#define RIG_IDLE_NS (2 * SHUNT_NSEC)

/* Streams of the message path: numbers 1 to 8. */
#define RIG_STREAMS 8

struct rig {
	struct shunt_bpf *hooks;
	struct udp_bpf *udp;
	struct udplite_bpf *udplite;
	int prog[RIG_PROGS];
	int ring; /* of events, for the one loop there is */
	struct ring_buffer *events;
	uint32_t max_flows;
	uint32_t ifindex; /* device of the skbs; 0: loopback */
	uint32_t ingress; /* the one they came in by; 0: none */
	int err;
	__u64 counters[SHUNT_CNT_MAX];
	struct __sk_buff ctx; /* after the last TC run */
};

/*
 * Load the objects before the tests are forked, so that rig_open() with this
 * many flows has just to empty the maps: the verifier takes longer than most
 * tests.
 */
void rig_share(uint32_t max_flows);
#define RIG_HARNESS_MAIN(max_flows) HARNESS_MAIN_AFTER(rig_share(max_flows))

/* With maps as if just loaded: 0 or -errno, with the reason on stderr. */
int rig_open(struct rig *r, uint32_t max_flows);
void rig_close(struct rig *r);

/* A network namespace of our own with the veth pair t0 - t1, so that nothing
 * a test sends can reach the machine's. Sets ifindex to t0's. */
int rig_netns(struct rig *r, unsigned int mtu);

/* Run one frame; out may be NULL or in. The verdict, or V_NONE. */
int rig_run(struct rig *r, enum rig_prog prog, const struct pkt *in,
	    struct pkt *out);
/* Any program, with BPF_F_TEST_… flags. */
int rig_run_fd(struct rig *r, int fd, bool xdp, const struct pkt *in,
	       struct pkt *out, uint32_t flags);
static inline bool rig_is_xdp(enum rig_prog prog)
{
	return prog == RIG_XDP;
}
static inline int rig_pass(enum rig_prog prog)
{
	return prog == RIG_XDP ? V_XDP_PASS : V_TC_PASS;
}
static inline int rig_drop(enum rig_prog prog)
{
	return prog == RIG_XDP ? V_XDP_DROP : V_TC_SHOT;
}

/* Remember the counters; by how much one has moved since. */
void rig_mark(struct rig *r);
__u64 rig_moved(struct rig *r, enum shunt_counter c);
/* All counters that moved but `but` (SHUNT_CNT_MAX: none), as a name or NULL */
const char *rig_other_moved(struct rig *r, enum shunt_counter but);

/* The key of a segment's flow, at the host that sends or receives it. */
struct shunt_key key_of_sender(const struct seg *s);
struct shunt_key key_of_receiver(const struct seg *s);
struct shunt_key key_mirror(const struct shunt_key *k);

/* A live flow on UDP that has sent 1000 and received 5000 bytes, so to speak:
 * seg_out() is the next to go out and seg_in() the next to come in. */
struct shunt_flow flow_live(const struct shunt_key *k);
int flow_put(struct rig *r, __u32 slot, const struct shunt_flow *f);
int flow_get(struct rig *r, __u32 slot, struct shunt_flow *f);
/* The flow of this segment at both of its ends: slot 1 the sender's, slot 2 the
 * receiver's. */
int flow_pair(struct rig *r, const struct seg *s);
/* The same on UDP-Lite, with coverage `headers` or full. */
int flow_pair_lite(struct rig *r, const struct seg *s, bool headers);
/* Gone from the index, as when our SYN or SYN-ACK leaves; nothing else. */
void flow_unlink(struct rig *r, const struct shunt_key *k);
/* The slot of the key's flow, 0: none. */
__u32 flow_slot(struct rig *r, const struct shunt_key *k);

/* A stream of the flow, and its number known under the flow's key. */
int stream_put(struct rig *r, __u32 number, const struct shunt_stream *s);
int stream_get(struct rig *r, __u32 number, struct shunt_stream *s);
/* Is there a proxy? */
void proxy_put(struct rig *r, bool up);
/* The next event for the proxy, 0: none. A frame goes to held. */
__u32 event_get(struct rig *r, struct shunt_event *e, struct pkt *held);

int hs_put(struct rig *r, const struct shunt_key *k,
	   const struct shunt_handshake *hs);
int hs_get(struct rig *r, const struct shunt_key *k,
	   struct shunt_handshake *hs);
int peer_put(struct rig *r, const struct shunt_key *k, __u32 transport,
	     const struct shunt_peer *p);
/* 0 and zeros when nothing is known of the peer. */
int peer_read(struct rig *r, const struct shunt_key *k, __u32 transport,
	      struct shunt_peer *p);

static inline struct shunt_wish a_policy(__u8 first, __u8 second, __u8 third,
					 __u8 coverage)
{
	return (struct shunt_wish){.transports = {first, second, third},
				   .coverage = coverage};
}

void hs_delete(struct rig *r, const struct shunt_key *k);

/* One more transport than there are built in, without programs. */
#define RIG_OTHER    5
#define ID_RIG_OTHER 0x7777
int other_put(struct rig *r, __u8 header_len);

int transport_put(struct rig *r, __u32 number, const struct shunt_transport *t);
int transport_get(struct rig *r, __u32 number, struct shunt_transport *t);
void set_deployed(struct rig *r, __u32 transport, enum shunt_deployed deployed);
struct shunt_settings get_settings(struct rig *r);
void set_settings(struct rig *r, const struct shunt_settings *s);
void set_rule(struct rig *r, __u32 index, const struct shunt_rule *rule);

/* Send `in` as the clone that shunt_egress makes of a segment of this flow: it
 * comes out as a probe. (A clone's way through a device is test_probe.c's.) */
int rig_run_clone(struct rig *r, __u32 slot, const struct pkt *in,
		  struct pkt *out);

/* Replace the transport's encap by a program that puts the VLAN metadata of
 * the skb into mark (0x10000 | tci when there is one) and priority (TPID). */
int rig_watch_tags(struct rig *r);
/* Take a transport's encap program away. */
void rig_withdraw(struct rig *r, __u32 transport);
/* An end of a segmentation hop, or a device, and where packets go from it. */
int hop_put(struct rig *r, __u32 from, __u32 to);

__u64 now_mono(void);
__u32 now_tick(void);

#endif
