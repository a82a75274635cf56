// SPDX-License-Identifier: GPL-2.0-only
/* The message path's programs and maps: see message.h. */
#include "message.h"

#include "ctl.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVENTS_BYTES (1U << 20) /* for all rings together */

static const char *const programs[] = {
	"shunt_msg_enrol",  "shunt_msg_redirector", "shunt_msg_deliver",
	"shunt_late_out",   "shunt_hold",	    "shunt_inject",
	"shunt_setsockopt", "shunt_frame_out",	    "shunt_frame_in",
	"shunt_frame_icmp", "shunt_msg_sock_ops",
};

/* Of these the first that the kernel allows. */
static const struct reader {
	const char *program, *target;
	enum bpf_attach_type type;
	const char *btf_name;
	__u32 btf_kind;
} readers[] = {
	{"shunt_msg_reader", "tcp_bpf_recvmsg", BPF_TRACE_FEXIT,
	 "tcp_bpf_recvmsg", BTF_KIND_FUNC},
	{"shunt_msg_reader_tp", "sock_recv_length", BPF_TRACE_RAW_TP,
	 "btf_trace_sock_recv_length", BTF_KIND_TYPEDEF},
};

/* What is larger with the message path than without. */
static const struct {
	const char *map;
	__u32 entries;
} sizes[] = {
	{"streams", SHUNT_MSG_STREAMS + 1},
	{"stream_index", SHUNT_MSG_STREAMS},
	{"message_free", SHUNT_MSG_STREAMS},
	{"message_socks", SHUNT_MSG_STREAMS + 1},
};

static const struct {
	const char *program, *map;
} verdicts[] = {
	{"shunt_msg_redirector", "message_socks"},
	{"shunt_msg_deliver", "redirection"},
};

static int resize(struct bpf_object *object)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct bpf_map *map;
		int err = -ENOENT;

		map = bpf_object__find_map_by_name(object, sizes[i].map);
		if (map)
			err = bpf_map__set_max_entries(map, sizes[i].entries);
		if (err)
			return shunt_err(err, "cannot size map %s: %s",
					 sizes[i].map, strerror(-err));
	}
	return 0;
}

/* Tried with a program that does nothing, which costs less than ours. */
static bool allowed(const struct reader *reader, const struct btf *kernel)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .expected_attach_type = reader->type);
	int id, fd;

	id = btf__find_by_name_kind(kernel, reader->btf_name, reader->btf_kind);
	if (id <= 0)
		return false;
	opts.attach_btf_id = id;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "shunt_probe", "GPL", insns,
			   ARRAY_SIZE(insns), &opts);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* The kernel's BTF is 5 MB, and read a page at a time: once is enough. */
static const struct reader *find_reader(void)
{
	static const struct reader *found;
	struct btf *kernel = found ? NULL : btf__load_vmlinux_btf();

	if (!kernel)
		return found;
	for (size_t i = 0; !found && i < ARRAY_SIZE(readers); i++)
		if (allowed(&readers[i], kernel))
			found = &readers[i];
	btf__free(kernel);
	return found;
}

const char *message_reader(void)
{
	const struct reader *reader = find_reader();

	return reader ? reader->target : NULL;
}

static int set_autoload(struct bpf_object *object, const char *name, bool on)
{
	struct bpf_program *prog;

	prog = bpf_object__find_program_by_name(object, name);
	if (!prog)
		return shunt_err(-ENOENT, "program %s is missing", name);
	bpf_program__set_autoload(prog, on);
	return 0;
}

int message_configure(struct bpf_object *object, bool on)
{
	const struct reader *reader = on ? find_reader() : NULL;
	int err = 0;

	if (on && !reader)
		return -ENOTSUP; /* probes_message has said so */
	for (size_t i = 0; !err && i < ARRAY_SIZE(programs); i++)
		err = set_autoload(object, programs[i], on);
	if (!err)
		err = set_autoload(object, "shunt_sock_ops", !on);
	for (size_t i = 0; !err && i < ARRAY_SIZE(readers); i++)
		err = set_autoload(object, readers[i].program,
				   reader == &readers[i]);
	return !err && on ? resize(object) : err;
}

unsigned message_loops(void)
{
	cpu_set_t cpus;
	int n = SHUNT_MSG_LOOPS; /* more than fit into a cpu_set_t */

	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		n = CPU_COUNT(&cpus);
	return n < SHUNT_MSG_LOOPS ? n : SHUNT_MSG_LOOPS;
}

static int make_ring(int rings, __u32 loop, __u32 size)
{
	int fd, err;

	fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "message_ring", 0, 0, size,
			    NULL);
	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(rings, &loop, &fd, BPF_ANY);
	close(fd);
	return err;
}

static int make_rings(const char *dir, __u32 loops)
{
	__u32 size = EVENTS_BYTES;
	int rings, err = 0;

	while (size * loops > EVENTS_BYTES)
		size /= 2;
	rings = pin_get(dir, "maps", "message_events");
	if (rings < 0)
		err = rings;
	for (__u32 i = 0; !err && i < loops; i++)
		err = make_ring(rings, i, size);
	if (rings >= 0)
		close(rings);
	if (err)
		shunt_err(err, "map message_events: %s", strerror(-err));
	return err;
}

int message_prepare(const char *dir, const struct message_options *options)
{
	struct shunt_proxy proxy = {
		.total_limit = options->memory,
		.stream_limit = SHUNT_MSG_STREAM_LIMIT,
		.loops = options->loops ?: message_loops(),
	};
	__u32 zero = 0;
	int fd, err;

	if (proxy.stream_limit > proxy.total_limit)
		proxy.stream_limit = proxy.total_limit;
	fd = pin_get(dir, "maps", "message_proxy");
	if (fd < 0)
		return shunt_err(fd, "map message_proxy: %s", strerror(-fd));
	err = bpf_map_update_elem(fd, &zero, &proxy, BPF_ANY);
	close(fd);
	if (err)
		shunt_err(err, "map message_proxy: %s", strerror(-err));
	return err ?: make_rings(dir, proxy.loops);
}

/* Not by link: those for sockmaps came with 699c23f02c65 (6.10). */
static int attach_verdict(const char *dir, const char *program, const char *map)
{
	int prog = pin_get(dir, "progs", program);
	int fd = pin_get(dir, "maps", map), err;

	if (prog < 0)
		err = prog;
	else if (fd < 0)
		err = fd;
	else
		err = bpf_prog_attach(prog, fd, BPF_SK_MSG_VERDICT, 0);
	if (prog >= 0)
		close(prog);
	if (fd >= 0)
		close(fd);
	if (err)
		shunt_err(err, "cannot attach %s to map %s: %s", program, map,
			  strerror(-err));
	return err;
}

/* Whichever has been loaded. */
static int attach_reader(const char *dir)
{
	int prog = -ENOENT, link, err;

	for (size_t i = 0; prog < 0 && i < ARRAY_SIZE(readers); i++)
		prog = pin_get(dir, "progs", readers[i].program);
	if (prog < 0)
		return shunt_err(prog, "program shunt_msg_reader: %s",
				 strerror(-prog));
	/* For fexit, too. */
	link = bpf_raw_tracepoint_open(NULL, prog);
	close(prog);
	if (link < 0)
		return shunt_err(link, "cannot attach the reader: %s",
				 strerror(-link));
	err = pin_put(dir, "links", "msg_reader", link);
	close(link);
	return err;
}

/* Read by the proxy: over the sockets that have a stream. */
static int attach_enrol(const char *dir)
{
	int prog = pin_get(dir, "progs", "shunt_msg_enrol");
	int map = pin_get(dir, "maps", "stream_of"), link, err;
	union bpf_iter_link_info info = {.map.map_fd = map};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info,
		    .iter_info_len = sizeof(info));

	link = prog < 0	 ? prog
	       : map < 0 ? map
			 : bpf_link_create(prog, 0, BPF_TRACE_ITER, &opts);
	if (prog >= 0)
		close(prog);
	if (map >= 0)
		close(map);
	if (link < 0)
		return shunt_err(link, "cannot attach shunt_msg_enrol: %s",
				 strerror(-link));
	err = pin_put(dir, "links", "msg_enrol", link);
	close(link);
	return err;
}

static int attach_setsockopt(const char *dir, const struct cgroup *cg)
{
	int prog, link, err;

	prog = pin_get(dir, "progs", "shunt_setsockopt");
	if (prog < 0)
		return shunt_err(prog, "program shunt_setsockopt: %s",
				 strerror(-prog));
	link = bpf_link_create(prog, cg->fd, BPF_CGROUP_SETSOCKOPT, NULL);
	close(prog);
	if (link < 0)
		return shunt_err(link, "%s: cannot attach to setsockopt: %s",
				 cg->path, strerror(-link));
	err = pin_put(dir, "links", "setsockopt", link);
	close(link);
	return err;
}

static void detach_setsockopt(const char *dir)
{
	int fd = pin_get(dir, "links", "setsockopt");

	if (fd < 0)
		return;
	bpf_link_detach(fd);
	close(fd);
	pin_remove(dir, "links", "setsockopt");
}

int message_attach(const char *dir, const struct cgroup *cg)
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(verdicts); i++)
		err = attach_verdict(dir, verdicts[i].program, verdicts[i].map);
	if (!err)
		err = attach_reader(dir);
	if (!err)
		err = attach_enrol(dir);
	if (!err)
		err = attach_setsockopt(dir, cg);
	return err;
}

void message_detach(const char *dir)
{
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		int prog = pin_get(dir, "progs", verdicts[i].program);
		int fd = pin_get(dir, "maps", verdicts[i].map);

		if (prog >= 0 && fd >= 0)
			bpf_prog_detach2(prog, fd, BPF_SK_MSG_VERDICT);
		if (prog >= 0)
			close(prog);
		if (fd >= 0)
			close(fd);
	}
	pin_remove(dir, "links", "msg_reader");
	pin_remove(dir, "links", "msg_enrol");
	detach_setsockopt(dir);
}
