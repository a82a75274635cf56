/* SPDX-License-Identifier: GPL-2.0-only */
/* Maps and configuration of the hooks; shared.h has their layouts. */
#ifndef MAPS_H
#define MAPS_H

#include <shunt/bpf.h>

/*
 * The flow table: a hash from the four-tuple to a slot, and the slots. Two maps
 * instead of one so that a slot can be given to a new flow by walking a hand
 * over the array: no timer, no daemon, and LRU's habit of evicting live entries
 * is avoided. 245 bytes per flow: hash element 48 + 40 + 8, bucket 21, slot
 * 128.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SHUNT_MAX_FLOWS);
	__type(key, struct shunt_key);
	__type(value, __u32);
} flow_index SEC(".maps") __weak;

/* Mapped by user space to withdraw a transport: it may write single bytes of a
 * live flow, which the bpf() call can't. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHUNT_MAX_FLOWS + 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct shunt_flow);
} flows SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} hand SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SHUNT_MAX_HANDSHAKES);
	__type(key, struct shunt_key);
	__type(value, struct shunt_handshake);
} handshakes SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SHUNT_MAX_PEERS);
	__type(key, struct shunt_peer_key);
	__type(value, struct shunt_peer);
} peers SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * SHUNT_MAX_RULES);
	__type(key, __u32);
	__type(value, struct shunt_rule);
} rules SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct shunt_settings);
} settings SEC(".maps") __weak;

/* Written and read by user space alone: what `shunt down` has to undo. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHUNT_MAX_DEVICES);
	__type(key, __u32);
	__type(value, struct shunt_device);
} devices SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHUNT_MAX_TRANSPORTS);
	__type(key, __u32);
	__type(value, struct shunt_transport);
} transports SEC(".maps") __weak;

/* SHUNT_DEMUX(protocol, destination port) to the number of a transport: those
 * that are not built in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SHUNT_MAX_TRANSPORTS);
	__type(key, __u32);
	__type(value, __u32);
} demux SEC(".maps") __weak;

/* The segmentation hops (hop.bpf.c): from a device to the near end of its veth
 * pair, from that to the upper device, and from the far end back to the device.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 3 * SHUNT_MAX_DEVICES);
	__type(key, __u32);
	__type(value, __u32);
} hops SEC(".maps") __weak;

#define PROG_ARRAY(name)                                   \
	struct {                                           \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);     \
		__uint(max_entries, SHUNT_MAX_TRANSPORTS); \
		__uint(key_size, 4);                       \
		__uint(value_size, 4);                     \
	} name SEC(".maps") __weak

PROG_ARRAY(encap_progs);
PROG_ARRAY(decap_tc_progs);
PROG_ARRAY(decap_xdp_progs);

/* Set by `shunt up` between open and load; defined in sock_ops.bpf.c. */
extern const volatile __u64 cfg_netns_cookie;
extern const volatile __u32 cfg_max_flows;
extern const volatile __u64 cfg_idle_ns;
extern const volatile __u64 cfg_secret[2];
extern const volatile bool cfg_message_path;

#endif
