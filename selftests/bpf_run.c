// SPDX-License-Identifier: GPL-2.0-only
/* The BPF objects under BPF_PROG_TEST_RUN: see bpf_run.h. */
#include "bpf_run.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rig_maps.h"

static const char *const counter_names[] = {
#define X(id, name, text) #name,
	SHUNT_COUNTERS(X)
#undef X
};

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

/* Only if another one is there: the kernel patches each caller, and waits. */
static int put_prog(int map, __u32 index, const struct bpf_program *p)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info), id;
	int fd = bpf_program__fd(p);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (!bpf_map_lookup_elem(map, &index, &id) && id == info.id)
		return 0;
	return map_put(map, index, &fd);
}

static int share_maps(struct rig *r, struct bpf_object *transport)
{
	struct bpf_map *mine, *theirs;
	int err;

	bpf_object__for_each_map (mine, transport) {
		theirs = bpf_object__find_map_by_name(r->hooks->obj,
						      bpf_map__name(mine));
		if (!theirs)
			continue;
		err = bpf_map__reuse_fd(mine, bpf_map__fd(theirs));
		if (err)
			return err;
	}
	return 0;
}

static int load_transports(struct rig *r)
{
	r->udp = udp_bpf__open();
	r->udplite = udplite_bpf__open();
	if (!r->udp || !r->udplite)
		return -errno;
	return share_maps(r, r->udp->obj) ?: share_maps(r, r->udplite->obj) ?:
	       udp_bpf__load(r->udp) ?: udplite_bpf__load(r->udplite);
}

static int put_transport(struct rig *r, __u32 number,
			 const struct shunt_transport *t,
			 const struct bpf_program *encap,
			 const struct bpf_program *decap_tc,
			 const struct bpf_program *decap_xdp)
{
	return put_prog(MAP_FD(r, encap_progs), number, encap) ?:
	       put_prog(MAP_FD(r, decap_tc_progs), number, decap_tc) ?:
	       put_prog(MAP_FD(r, decap_xdp_progs), number, decap_xdp) ?:
	       map_put(MAP_FD(r, transports), number, t);
}

static int fill_maps(struct rig *r)
{
	struct shunt_bpf *h = r->hooks;
	struct shunt_transport udp = {.name = "udp",
				      .ip_proto = IPPROTO_UDP,
				      .header_len = 8,
				      .flags = SHUNT_T_GSO,
				      .version = 1,
				      .port = htons(6080),
				      .id = htons(0x3f86),
				      .deployed = SHUNT_DEPLOYED};
	struct shunt_transport udplite = {.name = "udplite",
					  .ip_proto = IPPROTO_UDPLITE,
					  .header_len = 8,
					  .flags = SHUNT_T_COVERAGE,
					  .version = 1,
					  .port = htons(6080),
					  .id = htons(0x9d31),
					  .deployed = SHUNT_DEPLOYED};
	struct shunt_settings s = {.abi = SHUNT_ABI,
				   .wish = {.transports = {SHUNT_UDP}},
				   .max_flows = r->max_flows};
	int st = MAP_FD(r, stages);

	r->ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "test_events", 0, 0,
				 1 << 16, NULL);
	return map_put(MAP_FD(r, message_events), 0, &r->ring) ?:
	       put_transport(r, SHUNT_UDP, &udp, r->udp->progs.encap,
			     r->udp->progs.decap_tc, r->udp->progs.decap_xdp) ?:
	       put_transport(r, SHUNT_UDPLITE, &udplite,
			     r->udplite->progs.encap,
			     r->udplite->progs.decap_tc,
			     r->udplite->progs.decap_xdp) ?:
	       map_put(MAP_FD(r, settings), 0, &s) ?:
	       put_prog(st, SHUNT_TAIL_SYN_OUT, h->progs.shunt_syn_out) ?:
	       put_prog(st, SHUNT_TAIL_SYN_IN, h->progs.shunt_syn_in) ?:
	       put_prog(st, SHUNT_TAIL_PROBE_OUT, h->progs.shunt_probe_out) ?:
	       put_prog(st, SHUNT_TAIL_ICMP, h->progs.shunt_icmp) ?:
	       put_prog(st, SHUNT_TAIL_SYNC_OUT, h->progs.shunt_sync_out) ?:
	       put_prog(st, SHUNT_TAIL_PROBE_IN, h->progs.shunt_probe_in) ?:
	       put_prog(st, SHUNT_TAIL_ADOPT, h->progs.shunt_adopt) ?:
	       put_prog(st, SHUNT_TAIL_INGRESS, h->progs.shunt_ingress_slow) ?:
	       put_prog(st, SHUNT_TAIL_LATE_OUT, h->progs.shunt_late_out) ?:
	       put_prog(st, SHUNT_TAIL_EGRESS, h->progs.shunt_egress) ?:
	       put_prog(st, SHUNT_TAIL_HOLD, h->progs.shunt_hold) ?:
	       put_prog(st, SHUNT_TAIL_FRAME_OUT, h->progs.shunt_frame_out) ?:
	       put_prog(st, SHUNT_TAIL_FRAME_IN, h->progs.shunt_frame_in) ?:
	       put_prog(st, SHUNT_TAIL_FRAME_ICMP, h->progs.shunt_frame_icmp);
}

static int load(struct rig *r, uint32_t max_flows)
{
	static const char *const sockets[] = {
		"shunt_sock_ops",   "shunt_msg_sock_ops",  "shunt_setsockopt",
		"shunt_msg_reader", "shunt_msg_reader_tp",
	};
	struct shunt_bpf *h;
	int err;

	memset(r, 0, sizeof(*r));
	r->max_flows = max_flows;
	libbpf_set_print(quiet);
	h = r->hooks = shunt_bpf__open();
	if (!h)
		return -errno;
	h->rodata->cfg_max_flows = max_flows;
	h->rodata->cfg_idle_ns = RIG_IDLE_NS;
	h->rodata->cfg_secret[0] = 0x0123456789abcdefULL;
	h->rodata->cfg_secret[1] = 0xfedcba9876543210ULL;
	bpf_map__set_max_entries(h->maps.flow_index, max_flows);
	bpf_map__set_max_entries(h->maps.flows, max_flows + 1);
	bpf_map__set_max_entries(h->maps.handshakes, 256);
	bpf_map__set_max_entries(h->maps.peers, 256);
	bpf_map__set_max_entries(h->maps.streams, RIG_STREAMS + 1);
	bpf_map__set_max_entries(h->maps.stream_index, RIG_STREAMS);
	bpf_map__set_max_entries(h->maps.message_socks, RIG_STREAMS + 1);
	/* What is told of sockets can't be run here, and not every kernel
	 * allows all of it, see ctl/message.c. */
	for (size_t i = 0; i < sizeof(sockets) / sizeof(*sockets); i++)
		bpf_program__set_autoload(
			bpf_object__find_program_by_name(h->obj, sockets[i]),
			false);
	err = shunt_bpf__load(h);
	err = err ?: load_transports(r);
	if (err) {
		fprintf(stderr, "# cannot load the BPF objects: %s\n",
			strerror(-err));
		return err;
	}
	r->prog[RIG_EGRESS] = bpf_program__fd(h->progs.shunt_egress);
	r->prog[RIG_TC] = bpf_program__fd(h->progs.shunt_ingress_tc);
	r->prog[RIG_SLOW] = bpf_program__fd(h->progs.shunt_ingress_slow);
	r->prog[RIG_XDP] = bpf_program__fd(h->progs.shunt_ingress_xdp);
	r->prog[RIG_HOP] = bpf_program__fd(h->progs.shunt_hop);
	return 0;
}

static struct rig shared;

void rig_share(uint32_t max_flows)
{
	if (load(&shared, max_flows))
		memset(&shared, 0, sizeof(shared)); /* each test tries again */
}

int rig_open(struct rig *r, uint32_t max_flows)
{
	int err;

	if (shared.hooks && shared.max_flows == max_flows) {
		*r = shared;
		err = rig_clear_maps(r);
	} else {
		err = load(r, max_flows);
		if (err)
			return err;
	}
	err = err ?: fill_maps(r);
	if (err)
		fprintf(stderr, "# cannot fill the maps: %s\n", strerror(-err));
	rig_mark(r);
	return err;
}

void rig_close(struct rig *r)
{
	close(r->ring);
	if (r->hooks == shared.hooks)
		return;
	udp_bpf__destroy(r->udp);
	udplite_bpf__destroy(r->udplite);
	shunt_bpf__destroy(r->hooks);
}

/* Devices that come up send router solicitations. */
static void no_ipv6_noise(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);

	if (fd < 0)
		return; /* no IPv6, no noise */
	if (write(fd, "1", 1) != 1)
		perror("# disable_ipv6");
	close(fd);
}

int rig_netns(struct rig *r, unsigned int mtu)
{
	char cmd[256];

	if (unshare(CLONE_NEWNET))
		return -errno;
	no_ipv6_noise();
	snprintf(cmd, sizeof(cmd),
		 "ip link add t0 mtu %u type veth peer name t1 mtu %u && "
		 "ip link set t0 up && ip link set t1 up",
		 mtu, mtu);
	if (system(cmd))
		return -EIO;
	r->ifindex = if_nametoindex("t0");
	return r->ifindex ? 0 : -errno;
}

int rig_run_fd(struct rig *r, int fd, bool xdp, const struct pkt *in,
	       struct pkt *out, uint32_t flags)
{
	static uint8_t buf[PKT_MAX];
	struct __sk_buff ctx = {.gso_size = in->gso_size,
				.gso_segs = in->gso_segs,
				.ifindex = r->ifindex > 1 ? r->ifindex : 0,
				.ingress_ifindex = r->ingress};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->b,
		    .data_size_in = in->len, .data_out = buf,
		    .data_size_out = sizeof(buf), .repeat = 1, .flags = flags);

	if (!xdp) {
		o.ctx_in = &ctx;
		o.ctx_size_in = sizeof(ctx);
		o.ctx_out = &r->ctx;
		o.ctx_size_out = sizeof(r->ctx);
	}
	if (bpf_prog_test_run_opts(fd, &o)) {
		r->err = errno;
		return V_NONE;
	}
	if (out) {
		out->len = o.data_size_out;
		out->gso_size = xdp ? 0 : r->ctx.gso_size;
		out->gso_segs = xdp ? 0 : r->ctx.gso_segs;
		memcpy(out->b, buf, o.data_size_out);
	}
	return (int)o.retval;
}

int rig_run(struct rig *r, enum rig_prog prog, const struct pkt *in,
	    struct pkt *out)
{
	return rig_run_fd(r, r->prog[prog], rig_is_xdp(prog), in, out, 0);
}

static int read_scratch(struct rig *r, struct shunt_scratch *per_cpu)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(MAP_FD(r, scratch), &zero, per_cpu);
}

/* Counters are there, too: nothing else may be changed. */
static int set_probe_slot(struct rig *r, __u32 slot)
{
	int cpus = libbpf_num_possible_cpus();
	struct shunt_scratch v[cpus];

	if (read_scratch(r, v))
		return -errno;
	for (int c = 0; c < cpus; c++)
		v[c].probe_slot = slot;
	return map_put(MAP_FD(r, scratch), 0, v);
}

int rig_run_clone(struct rig *r, __u32 slot, const struct pkt *in,
		  struct pkt *out)
{
	int verdict;

	if (set_probe_slot(r, slot))
		return V_NONE;
	verdict = rig_run(r, RIG_EGRESS, in, out);
	return set_probe_slot(r, 0) ? V_NONE : verdict;
}

/* The uapi headers have no macros for instructions, the kernel's have. */
#define INSN(c, d, s, o, i) \
	((struct bpf_insn){ \
		.code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i})
#define LOAD(d, s, field)                     \
	INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, \
	     offsetof(struct __sk_buff, field), 0)
#define STORE(d, field, s)                    \
	INSN(BPF_STX | BPF_MEM | BPF_W, d, s, \
	     offsetof(struct __sk_buff, field), 0)

int rig_watch_tags(struct rig *r)
{
	const struct bpf_insn insns[] = {
		LOAD(2, 1, vlan_present),
		INSN(BPF_ALU64 | BPF_LSH | BPF_K, 2, 0, 0, 16),
		LOAD(3, 1, vlan_tci),
		INSN(BPF_ALU64 | BPF_OR | BPF_X, 2, 3, 0, 0),
		STORE(1, mark, 2),
		LOAD(2, 1, vlan_proto),
		STORE(1, priority, 2),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, -1),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	int err,
		fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "watch_tags", "GPL",
				   insns, sizeof(insns) / sizeof(*insns), NULL);

	if (fd < 0)
		return fd;
	err = map_put(MAP_FD(r, encap_progs), SHUNT_UDP, &fd);
	close(fd); /* the array holds it */
	return err;
}

void rig_withdraw(struct rig *r, __u32 transport)
{
	bpf_map_delete_elem(MAP_FD(r, encap_progs), &transport);
}

static void read_counters(struct rig *r, __u64 *v)
{
	int cpus = libbpf_num_possible_cpus();
	struct shunt_scratch per_cpu[cpus];

	memset(v, 0, SHUNT_CNT_MAX * sizeof(*v));
	if (read_scratch(r, per_cpu))
		return;
	for (int c = 0; c < cpus; c++)
		for (int i = 0; i < SHUNT_CNT_MAX; i++)
			v[i] += per_cpu[c].counters[i];
}

void rig_mark(struct rig *r)
{
	read_counters(r, r->counters);
}

__u64 rig_moved(struct rig *r, enum shunt_counter c)
{
	__u64 v[SHUNT_CNT_MAX];

	read_counters(r, v);
	return v[c] - r->counters[c];
}

const char *rig_other_moved(struct rig *r, enum shunt_counter but)
{
	__u64 v[SHUNT_CNT_MAX];

	read_counters(r, v);
	for (unsigned int i = 0; i < SHUNT_CNT_MAX; i++)
		if (i != but && v[i] != r->counters[i])
			return counter_names[i];
	return NULL;
}
