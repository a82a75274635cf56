// SPDX-License-Identifier: GPL-2.0-only
/* Flows, handshakes, peers, settings of the rig: see bpf_run.h. */
#include "rig_maps.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int map_put(int map, __u32 index, const void *value)
{
	return bpf_map_update_elem(map, &index, value, BPF_ANY) ? -errno : 0;
}

static int empty_map(const struct bpf_map *map)
{
	static const char zeros[PKT_MAX];
	uint32_t key_size = bpf_map__key_size(map);
	uint32_t n = bpf_map__max_entries(map);
	int fd = bpf_map__fd(map);
	char key[key_size ?: 1]; /* a queue has none */

	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
		while (!bpf_map_get_next_key(fd, NULL, key))
			if (bpf_map_delete_elem(fd, key))
				return -errno;
		return 0;
	case BPF_MAP_TYPE_QUEUE:
		while (!bpf_map_lookup_and_delete_elem(fd, NULL, key))
			;
		return 0;
	case BPF_MAP_TYPE_PROG_ARRAY:
		return 0; /* tests change only what is filled in anyway */
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_SK_STORAGE:
		return 0; /* gone with the sockets */
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		return 0; /* each rig has a ring of its own */
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		/* of each CPU */
		if (bpf_map__value_size(map) * libbpf_num_possible_cpus() >
		    sizeof(zeros))
			return -E2BIG;
		for (uint32_t i = 0; i < n; i++)
			if (map_put(fd, i, zeros))
				return -errno;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int rig_clear_maps(struct rig *r)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, r->hooks->obj) {
		int err = bpf_map__is_internal(map) ? 0 : empty_map(map);

		if (err) {
			fprintf(stderr, "# cannot empty the map %s: %s\n",
				bpf_map__name(map), strerror(-err));
			return err;
		}
	}
	return 0;
}

static struct shunt_addr addr_of(bool v6, const uint8_t *a)
{
	struct shunt_addr out = {};

	if (v6) {
		memcpy(&out, a, 16);
	} else {
		memset((uint8_t *)&out + 10, 0xff, 2);
		memcpy((uint8_t *)&out + 12, a, 4);
	}
	return out;
}

struct shunt_key key_of_sender(const struct seg *s)
{
	struct shunt_key k = {.local = addr_of(s->v6, s->src),
			      .remote = addr_of(s->v6, s->dst)};

	put16((uint8_t *)&k.lport, s->sport);
	put16((uint8_t *)&k.rport, s->dport);
	return k;
}

struct shunt_key key_mirror(const struct shunt_key *k)
{
	struct shunt_key m = {.local = k->remote,
			      .remote = k->local,
			      .lport = k->rport,
			      .rport = k->lport};

	return m;
}

struct shunt_key key_of_receiver(const struct seg *s)
{
	struct shunt_key k = key_of_sender(s);

	return key_mirror(&k);
}

struct shunt_flow flow_live(const struct shunt_key *k)
{
	bool v6 = k->local.w[0] || k->local.w[1];
	struct shunt_flow f = {
		.key = *k,
		.life = SHUNT_LIVE,
		.role = SHUNT_ROLE_ACTIVE,
		.transport = SHUNT_UDP,
		.tx = SHUNT_TX_ENCAP,
		.flags = SHUNT_F_WAS_ENCAP,
		.token_local = 0x10ca1000 ^ k->lport,
		.token_remote = 0x0e307e00 ^ k->rport,
		.nonce = 0x0111ce00,
		.sport = htons(FLOW_PORT),
		.overhead = v6 ? 48 : 28,
		.wscale = 3,
		.tx_next = 1001,
		.rx_ack = 1001,
		.rx_plain = 5001,
		.sync_mark = 1001,
		.seen_tick = now_tick(),
		.created_ns = now_mono(),
		.heard_tick = now_tick(),
		.stall_tick = now_tick(),
		.probe_tick = now_tick(),
	};

	return f;
}

int flow_put(struct rig *r, __u32 slot, const struct shunt_flow *f)
{
	return map_put(MAP_FD(r, flows), slot, f)
		       ?: bpf_map_update_elem(MAP_FD(r, flow_index), &f->key,
					      &slot, BPF_ANY);
}

int hop_put(struct rig *r, __u32 from, __u32 to)
{
	return map_put(MAP_FD(r, hops), from, &to);
}

int flow_pair_lite(struct rig *r, const struct seg *s, bool headers)
{
	struct shunt_key k = key_of_sender(s), m = key_mirror(&k);
	struct shunt_flow f = flow_live(&k), g = flow_live(&m);

	f.transport = g.transport = SHUNT_UDPLITE;
	f.flags |= SHUNT_F_NO_GSO | (headers ? SHUNT_F_HEADERS : 0);
	g.flags = f.flags;
	return flow_put(r, 1, &f) ?: flow_put(r, 2, &g);
}

int flow_pair(struct rig *r, const struct seg *s)
{
	struct shunt_key k = key_of_sender(s), m = key_mirror(&k);
	struct shunt_flow f = flow_live(&k), g = flow_live(&m);

	return flow_put(r, 1, &f) ?: flow_put(r, 2, &g);
}

int flow_get(struct rig *r, __u32 slot, struct shunt_flow *f)
{
	return bpf_map_lookup_elem(MAP_FD(r, flows), &slot, f);
}

void flow_unlink(struct rig *r, const struct shunt_key *k)
{
	struct shunt_flow f;
	__u32 slot = flow_slot(r, k);

	if (!slot || flow_get(r, slot, &f))
		return;
	f.key.lport = 0; /* or a hint would find it */
	f.life = SHUNT_ENDED;
	map_put(MAP_FD(r, flows), slot, &f);
	bpf_map_delete_elem(MAP_FD(r, flow_index), k);
}

__u32 flow_slot(struct rig *r, const struct shunt_key *k)
{
	__u32 slot;

	return bpf_map_lookup_elem(MAP_FD(r, flow_index), k, &slot) ? 0 : slot;
}

int stream_put(struct rig *r, __u32 number, const struct shunt_stream *s)
{
	return map_put(MAP_FD(r, streams), number, s)
		       ?: bpf_map_update_elem(MAP_FD(r, stream_index), &s->key,
					      &number, BPF_ANY);
}

int stream_get(struct rig *r, __u32 number, struct shunt_stream *s)
{
	return bpf_map_lookup_elem(MAP_FD(r, streams), &number, s);
}

void proxy_put(struct rig *r, bool up)
{
	struct shunt_proxy p = {.up = up};

	map_put(MAP_FD(r, message_proxy), 0, &p);
}

struct event_copy {
	struct shunt_event *e;
	struct pkt *held;
	__u32 any;
};

static int copy_event(void *to, void *data, size_t size)
{
	struct event_copy *c = to;
	const struct shunt_event *e = data;

	if (size < sizeof(*e))
		return -EINVAL;
	memcpy(c->e, e, sizeof(*e));
	if (e->type == SHUNT_EV_HELD && c->held) {
		if (size < sizeof(*e) + e->length)
			return -EINVAL;
		c->held->len = e->length;
		memcpy(c->held->b, e->frame, e->length);
	}
	c->any = 1;
	return 1; /* one at a time */
}

__u32 event_get(struct rig *r, struct shunt_event *e, struct pkt *held)
{
	static struct rig *of;
	static struct event_copy c;

	if (!r->events || of != r) {
		of = r;
		r->events = ring_buffer__new(r->ring, copy_event, &c, NULL);
	}
	c = (struct event_copy){.e = e, .held = held};
	ring_buffer__poll(r->events, 0);
	return c.any;
}

int hs_put(struct rig *r, const struct shunt_key *k,
	   const struct shunt_handshake *hs)
{
	return bpf_map_update_elem(MAP_FD(r, handshakes), k, hs, BPF_ANY);
}

int hs_get(struct rig *r, const struct shunt_key *k, struct shunt_handshake *hs)
{
	memset(hs, 0, sizeof(*hs));
	return bpf_map_lookup_elem(MAP_FD(r, handshakes), k, hs);
}

int peer_put(struct rig *r, const struct shunt_key *k, __u32 transport,
	     const struct shunt_peer *p)
{
	struct shunt_peer_key pk = {.addr = k->remote, .transport = transport};

	return bpf_map_update_elem(MAP_FD(r, peers), &pk, p, BPF_ANY);
}

int peer_read(struct rig *r, const struct shunt_key *k, __u32 transport,
	      struct shunt_peer *p)
{
	struct shunt_peer_key pk = {.addr = k->remote, .transport = transport};

	memset(p, 0, sizeof(*p));
	return bpf_map_lookup_elem(MAP_FD(r, peers), &pk, p) ? -1 : 0;
}

void hs_delete(struct rig *r, const struct shunt_key *k)
{
	bpf_map_delete_elem(MAP_FD(r, handshakes), k);
}

int transport_put(struct rig *r, __u32 number, const struct shunt_transport *t)
{
	return map_put(MAP_FD(r, transports), number, t);
}

int transport_get(struct rig *r, __u32 number, struct shunt_transport *t)
{
	return bpf_map_lookup_elem(MAP_FD(r, transports), &number, t);
}

int other_put(struct rig *r, __u8 header_len)
{
	struct shunt_transport t = {.name = "other",
				    .header_len = header_len,
				    .version = 1,
				    .id = htons(ID_RIG_OTHER),
				    .deployed = SHUNT_DEPLOYED};

	return transport_put(r, RIG_OTHER, &t);
}

void set_deployed(struct rig *r, __u32 transport, enum shunt_deployed deployed)
{
	struct shunt_transport t;

	transport_get(r, transport, &t);
	t.deployed = deployed;
	transport_put(r, transport, &t);
}

struct shunt_settings get_settings(struct rig *r)
{
	struct shunt_settings s = {};
	__u32 zero = 0;

	bpf_map_lookup_elem(MAP_FD(r, settings), &zero, &s);
	return s;
}

void set_settings(struct rig *r, const struct shunt_settings *s)
{
	map_put(MAP_FD(r, settings), 0, s);
}

void set_rule(struct rig *r, __u32 index, const struct shunt_rule *rule)
{
	map_put(MAP_FD(r, rules), index, rule);
}

__u64 now_mono(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SHUNT_NSEC + t.tv_nsec;
}

__u32 now_tick(void)
{
	return now_mono() >> SHUNT_TICK_SHIFT;
}
