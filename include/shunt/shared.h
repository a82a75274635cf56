/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What BPF programs and user space share: map layouts, the wire format, names.
 *
 * Everything here is part of the pinned state of a running instance: a change
 * of layout or meaning needs a new SHUNT_ABI. Integers are in host order
 * unless they are __be16/__be32. Times called _ns are CLOCK_MONOTONIC; times
 * called _tick are the low 32 bits of CLOCK_MONOTONIC >> SHUNT_TICK_SHIFT.
 */
#ifndef SHUNT_SHARED_H
#define SHUNT_SHARED_H

#include <linux/types.h>

#define SHUNT_ABI 7

/* ---- limits ---- */

#define SHUNT_MAX_FLOWS	     200000 /* default; `shunt up --flows N` */
#define SHUNT_MAX_HANDSHAKES 16384  /* LRU: a SYN flood evicts only itself */
#define SHUNT_MAX_PEERS	     4096   /* LRU */
#define SHUNT_MAX_RULES	     128
#define SHUNT_MAX_DEVICES    16
#define SHUNT_MAX_TRANSPORTS 16
#define SHUNT_NAME_LEN	     16
#define SHUNT_MAX_WISHES     3 /* transports that an offer can name */

/* 2^20 ns = 1.05 ms: a shift instead of a 64-bit division per packet. */
#define SHUNT_TICK_SHIFT 20
#define SHUNT_NSEC	 1000000000ULL

/* How long a proof that a path works is good for new flows. */
#define SHUNT_VERIFIED_NS (120 * SHUNT_NSEC)
/* How long a path that failed is left alone. */
#define SHUNT_HOLDDOWN_NS (60 * SHUNT_NSEC)
/* A flow without packets for so long may lose its slot when slots are short. */
#define SHUNT_IDLE_NS (3600 * SHUNT_NSEC)
/* How long user space goes on showing a flow that has ended. */
#define SHUNT_LINGER_NS (60 * SHUNT_NSEC)

/* ---- names: one list each, expanded to an enum here, to text in ctl/ ----
 * (clang-format takes the dashes in names for subtractions) */

/* clang-format off */

/* Transport numbers travel in the handshake option: never renumber. */
#define SHUNT_TCP     0 /* leave the connection alone */
#define SHUNT_UDP     1
#define SHUNT_UDPLITE 2

#define SHUNT_PATHS(X)                                                         \
	X(SEGMENT, segment, "TCP segments inside the transport, in the kernel")\
	X(MESSAGE, message, "application messages through the proxy")

/* How much of a datagram its checksum covers, for transports that can choose
 * (UDP-Lite, RFC 3828). */
#define SHUNT_COVERAGES(X)                                                     \
	X(FULL, full, "all of it")                                             \
	X(HEADERS, headers, "our headers, the inner IP's and TCP's")

#define SHUNT_ROLES(X)                                                         \
	X(ACTIVE, active, "this host connected")                               \
	X(PASSIVE, passive, "this host accepted")

/* What `shunt flows` calls the state of a flow. Derived, never stored. */
#define SHUNT_STATES(X)                                                        \
	X(TCP, tcp, "plain TCP")                                               \
	X(PROBING, probing, "plain TCP, waiting for the echo of a probe")      \
	X(REDIRECTED, redirected, "on the transport")                          \
	X(FALLBACK, fallback, "was on the transport, is on TCP again")         \
	X(CLOSED, closed, "the connection has ended")

/* Why a flow is not on the transport. */
#define SHUNT_REASONS(X)                                                       \
	X(NONE, none, "")                                                      \
	X(POLICY, policy, "the policy leaves it on TCP")                       \
	X(SYN_BUSY, syn-options, "its SYN carries data, MD5, AO, MPTCP or TFO")\
	X(NO_ROOM, no-room, "no room for our option in its SYN")               \
	X(NO_ANSWER, no-answer, "the peer did not answer our option")          \
	X(MUTED, muted, "options to this peer were lost; not offered now")     \
	X(REFUSED, refused, "the peer's policy or version refused")            \
	X(WAITING, waiting, "negotiated; nothing heard over the transport yet")\
	X(UNVERIFIED, unverified, "no echo yet")                               \
	X(NO_ECHO, no-echo, "probes were not echoed: the path is blocked")     \
	X(BLOCKED, blocked, "the path was found blocked a short time ago")     \
	X(STALLED, stalled, "retransmissions without progress")                \
	X(UNREACHABLE, unreachable, "ICMP says that our datagrams don't arrive")\
	X(MTU, mtu, "the path has no room for the outer headers")              \
	X(ASKED, asked, "`shunt flows fallback`")                              \
	X(PEER_PLAIN, peer-plain, "the peer went back to TCP")                 \
	X(TABLE_FULL, table-full, "the flow table is full of live flows")      \
	X(NO_TRANSPORT, no-transport, "the transport is not deployed")         \
	X(WITHDRAWN, withdrawn, "the peer has withdrawn the transport")

/* Counters of `shunt stats`, per instance, summed over CPUs. */
#define SHUNT_COUNTERS(X)                                                      \
	X(CONNECT, connections, "connections that the policy wants redirected")\
	X(OFFER, offers_sent, "SYNs sent with our option")                     \
	X(OFFER_RX, offers_received, "SYNs received with our option")          \
	X(ANSWER, answers_sent, "SYN-ACKs sent with our option")               \
	X(ANSWER_RX, answers_received, "SYN-ACKs received with our option")    \
	X(LEFT_ALONE, syns_left_alone, "SYNs with data, MD5, AO, MPTCP, TFO")  \
	X(FLOW, flows_created, "flows negotiated")                             \
	X(REDIRECTED, flows_redirected, "flows that switched to the transport")\
	X(TABLE_FULL, flows_table_full, "flows kept on TCP: table full")       \
	X(RECYCLED, flows_recycled, "slots of ended or idle flows reused")     \
	X(FALLBACK, flows_fallback, "flows sent back to TCP")                  \
	X(SUSPECT, flows_suspect, "times a flow in doubt went back to probing") \
	X(PROBE, probes_sent, "probes sent")                                   \
	X(PROBE_RX, probes_received, "probes received and echoed")             \
	X(ECHO_RX, echoes_received, "echoes that proved a path")               \
	X(PROBE_BAD, probes_refused, "probes with a wrong token or flow")      \
	X(ICMP, icmp_unreachable, "ICMP unreachable about a flow's datagrams") \
	X(ICMP_MTU, icmp_too_big, "ICMP too big, translated for the flow")     \
	X(ICMP_SHORT, icmp_short, "ICMP whose quote is too short to check")    \
	X(ICMP_BAD, icmp_refused, "ICMP that fits no flow, left untouched")    \
	X(ENCAP, encap_packets, "packets put into a transport (GSO counts 1)") \
	X(ENCAP_TOO_BIG, encap_too_big, "packets sent as TCP: above the MTU")  \
	X(ENCAP_FAILED, encap_failed, "packets sent as TCP: encap failed")     \
	X(DECAP, decap_packets, "packets taken out of a transport")            \
	X(DECAP_MALFORMED, decap_malformed, "passed untouched: malformed")     \
	X(DECAP_UNKNOWN, decap_unknown, "passed untouched: no such flow")      \
	X(NO_HOP, encap_no_hop, "packets sent as TCP: no segmentation hop")    \
	X(DECAP_MISMATCH, decap_mismatch, "passed untouched: wrong transport") \
	X(DECAP_FAILED, decap_failed, "dropped: could not be taken out")       \
	X(DECAP_ECN, decap_ecn_dropped, "dropped: CE on a not-ECT segment")    \
	X(MSG_STREAM, message_streams, "connections on the message path")      \
	X(MSG_NO_STREAM, message_no_stream, "… kept off it: no free stream")   \
	X(MSG_EXCLUDED, message_excluded, "… kept off it: a socket option")    \
	X(MSG_FAILED, message_failed, "… kept off it: could not be enrolled")  \
	X(MSG_LATE_TX, message_late_kept, "late segments not let go yet")      \
	X(MSG_LATE_RX, message_late_dropped, "late segments dropped")          \
	X(MSG_HELD, message_fins_held, "late FINs held for the proxy")         \
	X(MSG_LITE_TX, message_udplite_sent, "datagrams sent as UDP-Lite")     \
	X(MSG_LITE_RX, message_udplite_received, "… received as UDP-Lite")

enum shunt_path {
#define X(id, name, text) SHUNT_PATH_##id,
	SHUNT_PATHS(X)
#undef X
	SHUNT_PATH_MAX
};
enum shunt_coverage {
#define X(id, name, text) SHUNT_COVERAGE_##id,
	SHUNT_COVERAGES(X)
#undef X
	SHUNT_COVERAGE_MAX
};
enum shunt_role {
#define X(id, name, text) SHUNT_ROLE_##id,
	SHUNT_ROLES(X)
#undef X
	SHUNT_ROLE_MAX
};
enum shunt_state {
#define X(id, name, text) SHUNT_STATE_##id,
	SHUNT_STATES(X)
#undef X
	SHUNT_STATE_MAX
};
enum shunt_reason {
#define X(id, name, text) SHUNT_REASON_##id,
	SHUNT_REASONS(X)
#undef X
	SHUNT_REASON_MAX
};
enum shunt_counter {
#define X(id, name, text) SHUNT_CNT_##id,
	SHUNT_COUNTERS(X)
#undef X
	SHUNT_CNT_MAX
};

/* clang-format on */

/* ---- flows ---- */

/* IPv4 as v4-mapped (::ffff:a.b.c.d), network order. */
struct shunt_addr {
	__be32 w[4];
};

struct shunt_key {
	struct shunt_addr local;
	struct shunt_addr remote;
	__be16 lport;
	__be16 rport;
};

/*
 * Life of a slot of the flow table. Only FREE, ENDED and long idle LIVE slots
 * are given to a new flow, always by compare-and-swap to CLAIMED.
 */
enum shunt_life {
	SHUNT_FREE,
	SHUNT_CLAIMED,
	SHUNT_LIVE,
	SHUNT_ENDED,
};

/* How this host sends a flow. Receiving needs no state: a negotiated flow is
 * decapsulated for as long as its slot lives. */
enum shunt_tx {
	SHUNT_TX_PLAIN,	   /* TCP, see reason */
	SHUNT_TX_PROBING,  /* TCP, until a probe is echoed or given up */
	SHUNT_TX_ENCAP,	   /* transport */
	SHUNT_TX_FALLBACK, /* TCP for the rest of its life, see reason */
	SHUNT_TX_LEAVING, /* user space wants it in fallback, for that reason */
};

#define SHUNT_F_FIN_TX	  0x01
#define SHUNT_F_FIN_RX	  0x02
#define SHUNT_F_WAS_ENCAP 0x04 /* was on the transport at least once */
#define SHUNT_F_NO_GSO	  0x08 /* its transport takes no GSO packets */
#define SHUNT_F_HOPPING	  0x10 /* packets may be in the segmentation hop */
#define SHUNT_F_HEADERS	  0x20 /* coverage `headers`, agreed by both ends */
#define SHUNT_F_STRICT	  0x40 /* no syncs, see sync.bpf.c */
#define SHUNT_F_LOWERED	  0x80 /* lower_ack() has changed the last one */

/* The slot number is the flow's id on this host; slot 0 is never used.
 */
struct shunt_flow {
	struct shunt_key key;
	__u32 life;	    /* enum shunt_life */
	__u8 role;	    /* enum shunt_role */
	__u8 transport;	    /* SHUNT_UDP … */
	__u8 path;	    /* enum shunt_path */
	__u8 reason;	    /* enum shunt_reason */
	__u8 tx;	    /* enum shunt_tx */
	__u8 flags;	    /* SHUNT_F_… */
	__u8 stalls;	    /* retransmissions, either way, without progress */
	__u8 probes;	    /* probes sent since probing began */
	__u32 token_local;  /* the peer proves itself with this one */
	__u32 token_remote; /* we prove ourselves with this one */
	__u32 nonce;	    /* of our outstanding probe */
	__be16 sport;	    /* outer source port: the flow's hash */
	__u8 overhead;	    /* bytes that encap adds to a packet */
	__u8 wscale;	    /* window scale, the smaller of both ends' */
	__u64 tx_bytes;	    /* TCP payload sent over the transport */
	__u64 rx_bytes;	    /* TCP payload received over the transport */
	__u64 created_ns;
	__u32 seen_tick;  /* last packet in either direction */
	__u32 rx_plain;	  /* after the highest byte that came in plain TCP */
	__u32 tx_next;	  /* sequence number after the highest sent */
	__u32 rx_ack;	  /* highest acknowledgement received */
	__u32 heard_tick; /* last sign that our packets arrive */
	__u32 stall_tick; /* last sign that they don't, see stalls */
	__u32 probe_tick; /* last probe sent, or the peer's proof renewed */
	__u32 sync_mark;  /* tx_next + tx_ack when a sync was sent last */
	__u32 tx_ack;	  /* highest acknowledgement sent */
	__u32 rx_tick;	  /* last segment from the transport, 0: never */
};

/* ---- per CPU ---- */

#define SHUNT_REASONS_ROOM 32 /* a power of two, not below SHUNT_REASON_MAX */

/* Slots that a CPU found last, see flow_find(). */
#define SHUNT_HINTS 64

/* What shows that the peer has taken part in a handshake, and so makes a flow
 * of it: what ingress has seen of the packet, for shunt_adopt. */
enum shunt_first_kind {
	SHUNT_FIRST_ANSWER,  /* the SYN-ACK, which has been checked */
	SHUNT_FIRST_SEGMENT, /* on the transport: the first to come in … */
	SHUNT_FIRST_PROBE,   /* … or a probe */
};

struct shunt_first {
	struct shunt_key key;
	__u32 proof; /* a probe's token, or what a segment acknowledges */
	__u8 kind;   /* enum shunt_first_kind */
	__u8 proves; /* there is a proof */
	__u8 transport;
	__u8 reserved;
};

/*
 * One for each CPU, in one place so that a packet looks it up once. The fields
 * in front go from a hook to the program that it tail-calls, for one packet. TC
 * and XDP programs run with BH disabled and are not nested, but for the clone
 * that maybe_probe() sends through egress, which runs to its end inside.
 */
struct shunt_scratch {
	__u32 slot;	   /* of the flow */
	__u32 token_local; /* of the flow */
	__u32 probe_slot;  /* egress: this skb is a clone to make a probe of */
	__u32 out_ifindex; /* encap: redirect the result there, 0: go on */
	__u16 outer;	   /* decap: offset of the outer IP header */
	__u16 length;	   /* decap: bytes behind the outer IP header */
	__u16 headers;	   /* bytes of the inner IP and TCP header */
	__be16 sport;	   /* encap: outer source port */
	__u8 v6;
	__u8 set_ecn;  /* decap: the inner ECN field becomes this; 0: stays */
	__u8 probe;    /* the inner packet is a probe */
	__u8 coverage; /* enum shunt_coverage */
	__u32 mtu;     /* of device mtu_ifindex, at mtu_tick */
	__u32 mtu_ifindex;
	__u32 mtu_tick;
	__u32 option_at; /* handshake: how far its walk is … */
	union {
		__u8 options[64]; /* … over a SYN's options, padded with EOL */
		struct shunt_first first;
	};
	__u32 option_len;
	__u32 option_mss_at; /* what it found, as in struct syn */
	__u16 option_mss;
	__u8 option_closed;
	__u8 option_ours;
	__u32 option[4];    /* a struct shunt_option */
	__u32 hopped;	    /* egress: this skb has just come out of a hop */
	__u32 late_goes;    /* egress: shunt_late_out has let this skb go */
	__u32 sync_slot;    /* egress: this skb is a clone to make a sync of */
	__u8 option_wscale; /* handshake: as option_closed */
	__u8 reserved[3];
	/* Why flows and connections stay TCP */
	__u64 reasons[SHUNT_REASONS_ROOM];
	__u64 counters[SHUNT_CNT_MAX];
	__u32 hint[SHUNT_HINTS];
};

/* ---- what a connection may use ---- */

struct shunt_wish {
	/* In order of preference. TCP ends the list and is always possible. */
	__u8 transports[SHUNT_MAX_WISHES];
	__u8 coverage; /* enum shunt_coverage: the least that is good enough */
	__u8 path;     /* enum shunt_path */
	__u8 strict;   /* nothing in plain TCP for firewalls on the way */
	__u8 reserved[2];
};

/* ---- handshakes: intents, offers, answers; connections without a flow ---- */

enum shunt_stage {
	SHUNT_HS_INTENT,   /* active: SOCK_OPS wants it, no SYN seen yet */
	SHUNT_HS_OFFERED,  /* active: SYN with option sent */
	SHUNT_HS_BARE,	   /* active: SYN sent without option, see reason */
	SHUNT_HS_HEARD,	   /* passive: SYN with option received */
	SHUNT_HS_ANSWERED, /* passive: SYN-ACK with option sent */
	SHUNT_HS_DONE,	   /* the flow exists */
	SHUNT_HS_REFUSED,  /* stays TCP, see reason */
};

#define SHUNT_HS_RETRANSMITTED 0x01 /* the SYN was sent again, bare */

struct shunt_handshake {
	__u64 created_ns;
	__u32 token_local;
	__u32 token_remote;
	__u32 isn_local;
	__u32 isn_remote;
	struct shunt_wish wish; /* ours */
	__u8 stage;		/* enum shunt_stage */
	__u8 role;
	__u8 transport; /* agreed on, or the first of the wish */
	__u8 coverage;	/* agreed on */
	__u8 reason;
	__u8 flags;  /* SHUNT_HS_… */
	__u8 path;   /* enum shunt_path: offered, then agreed on */
	__u8 wscale; /* the smaller of those seen in SYN and SYN-ACK */
};

/* ---- peers: what is known of a path, per remote address and transport ---- */

struct shunt_peer_key {
	struct shunt_addr addr;
	__u32 transport; /* SHUNT_TCP: what concerns the handshake option */
};

struct shunt_peer {
	__u64 first_ns;
	__u64 answered_ns;	/* last time an option was answered */
	__u64 verified_ns;	/* last proof that our packets arrive */
	__u64 blocked_until_ns; /* no probes before */
	__u64 muted_until_ns;	/* no options before */
	__u32 flows;
	__u32 fallbacks;
	__u32 size; /* bytes of the largest segment that stalled, 0: none */
	__u32 reserved;
};

/* ---- policy ---- */

/*
 * First match wins. remote/prefix_len in v4-mapped space (IPv4 /n is 96 + n);
 * ports are the service's: the remote one of connections we make, the local
 * one of those we accept. Rules with a cgroup match only connections we make.
 */
struct shunt_rule {
	struct shunt_addr remote;
	__u64 cgroup; /* id of a cgroup v2, 0 for any */
	__u16 port_lo;
	__u16 port_hi;
	__u8 prefix_len;
	__u8 cgroup_level; /* depth of the cgroup below the root */
	__u8 reserved[2];
	struct shunt_wish wish;
};

/* Rules are kept twice: one half is active, the other is written, then
 * settings.rules_half is flipped, so that BPF never sees half an edit. */
struct shunt_settings {
	__u32 abi;
	__u32 rules_half; /* 0 or 1: rules[half * SHUNT_MAX_RULES …] */
	__u32 n_rules[2];
	struct shunt_wish wish; /* of connections that no rule matches */
	__u32 max_flows;
	__u32 message_path; /* 1: `shunt up --message-path` */
	__u64 netns_cookie;
	__u64 started_ns;
	__u64 cgroup; /* id of the cgroup SOCK_OPS is attached to */
};

/* ---- devices and transports ---- */

enum shunt_ingress { SHUNT_INGRESS_XDP, SHUNT_INGRESS_TC };
enum shunt_attach { SHUNT_ATTACH_TCX, SHUNT_ATTACH_CLSACT };

struct shunt_device {
	__u32 ifindex;	  /* 0: entry not used */
	__u8 ingress;	  /* enum shunt_ingress */
	__u8 attach;	  /* enum shunt_attach, for both TC programs */
	__u8 made_clsact; /* the qdisc is ours to remove */
	__u8 reserved;
	char name[SHUNT_NAME_LEN];
};

#define SHUNT_T_GSO	 0x01 /* the kernel can segment below this header */
#define SHUNT_T_COVERAGE 0x02 /* knows coverage `headers` */

/*
 * A transport as its object describes itself, in the section shunt.transport.
 * The first field stays where it is, so that an object built for another
 * version of these headers is told from one that is none.
 */
struct shunt_description {
	__u32 abi; /* SHUNT_ABI of the headers it was built with */
	char name[SHUNT_NAME_LEN];
	__u8 ip_proto;	 /* of the outer IP header */
	__u8 header_len; /* bytes between the outer and the inner IP header */
	__u8 flags;	 /* SHUNT_T_… */
	__u8 version;	 /* of what is on the wire: peers have to agree */
	__be16 port;	 /* destination port, 0: the protocol has none */
	__u16 reserved;
};

enum shunt_deployed {
	SHUNT_ABSENT,	/* the name keeps its number, for the policy's sake */
	SHUNT_DEPLOYED, /* its programs are in the arrays */
	SHUNT_WITHDRAWING, /* takes packets in, sends and negotiates no more */
};

/* An entry of the map `transports`; its index is the transport's number. */
struct shunt_transport {
	char name[SHUNT_NAME_LEN];
	__u8 ip_proto;
	__u8 header_len;
	__u8 flags;
	__u8 version;
	__be16 port;
	__be16 id;	/* on the wire, see docs/wire-format.md; never 0 */
	__u32 deployed; /* enum shunt_deployed */
	__u32 load_us;	/* what adding it took */
	__u64 added_ns;
};

/* Key of the map `demux`: which transport is an outer packet of? */
#define SHUNT_DEMUX(proto, port) ((__u32)(proto) << 16 | (port))

/* Slow paths, reached from the hooks by tail call through `stages`. */
enum shunt_tail {
	SHUNT_TAIL_SYN_OUT,   /* TC egress: SYN and SYN-ACK */
	SHUNT_TAIL_SYN_IN,    /* TC ingress: SYN and SYN-ACK */
	SHUNT_TAIL_PROBE_OUT, /* TC egress: turn a clone into a probe */
	SHUNT_TAIL_SYNC_OUT,  /* TC egress: turn a clone into a sync */
	SHUNT_TAIL_PROBE_IN,  /* TC ingress: a probe, after decap */
	SHUNT_TAIL_ICMP,      /* TC ingress: ICMP errors */
	SHUNT_TAIL_ADOPT,     /* TC ingress: first packet of an accepted flow */
	SHUNT_TAIL_INGRESS,   /* TC ingress: again, now that the flow exists */
	SHUNT_TAIL_LATE_OUT,  /* TC egress: behind a stream of messages */
	SHUNT_TAIL_EGRESS,    /* TC egress: again, may go */
	SHUNT_TAIL_HOLD, /* TC ingress: a FIN behind a stream of messages */
	SHUNT_TAIL_FRAME_OUT,  /* TC egress: the proxy's, into UDP-Lite? */
	SHUNT_TAIL_FRAME_IN,   /* TC ingress: … and out of it */
	SHUNT_TAIL_FRAME_ICMP, /* TC ingress: such a one was too big */
	SHUNT_TAIL_MAX,
};

/* ---- wire ---- */

#define SHUNT_PORT 6080 /* GUE, draft-ietf-intarea-gue */

/* RFC 6994: experimental TCP option, 16-bit ExID. */
#define SHUNT_TCPOPT_KIND    254
#define SHUNT_TCPOPT_EXID    0x5348
#define SHUNT_TCPOPT_VERSION 1

#define SHUNT_OPT_OFFER	 1
#define SHUNT_OPT_ANSWER 2

struct shunt_option {
	__u8 kind;
	__u8 len;
	__be16 exid;
	__u8 version_type;  /* version << 4 | SHUNT_OPT_… */
	__u8 path_coverage; /* enum shunt_path << 4 | enum shunt_coverage */
	__be16 transports[SHUNT_MAX_WISHES]; /* ids, in order; 0: no more */
	__be32 token; /* what the receiver proves itself with from now on */
} __attribute__((packed));

/*
 * A probe is an inner IP packet of protocol 253 (RFC 3692: experiments), so it
 * takes the same encap and decap as the flow's segments, for any transport.
 * `scratch` is where the checksum offload of the segment that the probe was
 * cloned from writes (csum_start = L4, csum_offset = 16): never read, but it
 * has the value that the offload would write, see stable_scratch(). Zeros
 * follow if a larger datagram is to be proved.
 */
#define SHUNT_PROBE_PROTO   253
#define SHUNT_PROBE_VERSION 1
#define SHUNT_PROBE_MAGIC   0x5348

#define SHUNT_PROBE_ASKS  0x01 /* echo my nonce */
#define SHUNT_PROBE_ECHOS 0x02 /* this is your nonce */
#define SHUNT_PROBE_GONE  0x04 /* your nonce; I am withdrawing the transport */

struct shunt_probe {
	__be16 magic;
	__u8 version;
	__u8 flags;
	__be16 sport; /* TCP ports of the flow, as in its segments */
	__be16 dport;
	__be32 token; /* the receiver's token */
	__be32 nonce; /* the sender's, if ASKS */
	__be16 scratch;
	__be16 reserved;
	__be32 echo;	  /* the receiver's nonce, if ECHOS or GONE */
	__be16 transport; /* its id */
	__u8 pad[2];
};

/* ---- layout ---- */

#define SHUNT_ASSERT(cond) _Static_assert(cond, #cond)

SHUNT_ASSERT(sizeof(struct shunt_key) == 36);
SHUNT_ASSERT(sizeof(struct shunt_flow) == 128);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_flow, tx) == 44);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_flow, tx_bytes) == 64);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_scratch, reasons) == 152);
SHUNT_ASSERT(SHUNT_REASON_MAX <= SHUNT_REASONS_ROOM);
SHUNT_ASSERT(sizeof(struct shunt_wish) == 8);
SHUNT_ASSERT(sizeof(struct shunt_handshake) == 40);
SHUNT_ASSERT(sizeof(struct shunt_peer_key) == 20);
SHUNT_ASSERT(sizeof(struct shunt_peer) == 56);
SHUNT_ASSERT(sizeof(struct shunt_rule) == 40);
SHUNT_ASSERT(sizeof(struct shunt_settings) == 56);
SHUNT_ASSERT(sizeof(struct shunt_device) == 24);
SHUNT_ASSERT(sizeof(struct shunt_description) == 28);
SHUNT_ASSERT(sizeof(struct shunt_transport) == 40);
SHUNT_ASSERT(sizeof(struct shunt_option) == 16);
SHUNT_ASSERT(sizeof(struct shunt_probe) == 28);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_probe, scratch) == 16);
SHUNT_ASSERT(__builtin_offsetof(struct shunt_option, token) == 12);

#endif
