// SPDX-License-Identifier: GPL-2.0-only
/* What a transport reports of itself: see report.h. */
#include "report.h"

#include "ctl.h"
#include "object.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_MAPS 64

/* ---- finding the map ---- */

/* User space reads a program array as the ids of the programs. */
static int open_program(const char *dir, unsigned number)
{
	__u32 id;
	int fd, err;

	fd = pin_get(dir, "maps", object_array(ROLE_ENCAP));
	if (fd < 0)
		return fd;
	err = bpf_map_lookup_elem(fd, &number, &id);
	close(fd);
	return err ? err : bpf_prog_get_fd_by_id(id);
}

static int open_map(const char *dir, unsigned number, struct bpf_map_info *info)
{
	__u32 ids[MAX_MAPS], len, n;
	struct bpf_prog_info prog = {};
	int fd, err;

	fd = open_program(dir, number);
	if (fd < 0)
		return fd;
	prog.map_ids = (__u64)(unsigned long)ids;
	prog.nr_map_ids = MAX_MAPS;
	len = sizeof(prog);
	err = bpf_obj_get_info_by_fd(fd, &prog, &len);
	close(fd);
	n = prog.nr_map_ids < MAX_MAPS ? prog.nr_map_ids : MAX_MAPS;
	for (__u32 i = 0; !err && i < n; i++) {
		fd = bpf_map_get_fd_by_id(ids[i]);
		if (fd < 0)
			continue;
		memset(info, 0, sizeof(*info));
		len = sizeof(*info);
		if (!bpf_obj_get_info_by_fd(fd, info, &len) &&
		    !strcmp(info->name, "report") &&
		    info->type == BPF_MAP_TYPE_PERCPU_ARRAY)
			return fd;
		close(fd);
	}
	return err ? err : -ENOENT;
}

/* ---- reading it ---- */

struct values {
	const char *bytes;
	size_t stride; /* from one CPU's to the next */
	int cpus;
};

static __u64 value_at(const struct values *v, int cpu, size_t offset)
{
	__u64 value;

	memcpy(&value, v->bytes + cpu * v->stride + offset, sizeof(value));
	return value;
}

static __u64 sum_at(const struct values *v, size_t offset)
{
	__u64 sum = 0;

	for (int cpu = 0; cpu < v->cpus; cpu++)
		sum += value_at(v, cpu, offset);
	return sum;
}

/* By the type's name: those of shunt/transport.bpf.h, or a plain number. */
static json_t *member_value(const char *type, const struct values *v,
			    size_t offset)
{
	__u64 max = 0, count;

	if (!strcmp(type, "shunt_mean")) {
		count = sum_at(v, offset + sizeof(__u64));
		return count ? json_real((double)sum_at(v, offset) / count)
			     : json_null();
	}
	if (!strcmp(type, "shunt_max")) {
		for (int cpu = 0; cpu < v->cpus; cpu++)
			if (value_at(v, cpu, offset) > max)
				max = value_at(v, cpu, offset);
		return json_integer(max);
	}
	return json_integer(sum_at(v, offset));
}

static json_t *read_members(const struct btf *btf, __u32 id, __u32 size,
			    const struct values *v)
{
	const struct btf_type *type = btf__type_by_id(btf, id);
	json_t *object = json_object();

	if (!type || !btf_is_struct(type))
		return object;
	for (int i = 0; i < btf_vlen(type); i++) {
		const struct btf_member *m = &btf_members(type)[i];
		int resolved = btf__resolve_type(btf, m->type);
		const struct btf_type *of = btf__type_by_id(btf, resolved);
		size_t offset = btf_member_bit_offset(type, i) / 8;
		const char *name = btf__name_by_offset(btf, m->name_off);
		long long bytes = btf__resolve_size(btf, m->type);

		if (!of || (bytes != 8 && bytes != 16) || offset + bytes > size)
			continue;
		json_object_set_new(
			object, name,
			member_value(btf__name_by_offset(btf, of->name_off), v,
				     offset));
	}
	return object;
}

json_t *report_read(const char *dir, unsigned number)
{
	int cpus = libbpf_num_possible_cpus();
	struct bpf_map_info info;
	struct values v = {.cpus = cpus};
	json_t *object = NULL;
	struct btf *btf = NULL;
	char *bytes = NULL;
	__u32 zero = 0;
	int fd, err = 0;

	if (cpus < 0) {
		shunt_err(cpus, "number of CPUs: %s", strerror(-cpus));
		return NULL;
	}
	fd = open_map(dir, number, &info);
	if (fd == -ENOENT)
		return json_object();
	if (fd < 0) {
		shunt_err(fd, "the transport's report: %s", strerror(-fd));
		return NULL;
	}
	v.stride = (info.value_size + 7) & ~7u;
	v.bytes = bytes = calloc(cpus, v.stride);
	btf = btf__load_from_kernel_by_id(info.btf_id);
	if (!bytes || !btf)
		err = -errno;
	else
		err = bpf_map_lookup_elem(fd, &zero, bytes);
	if (err)
		shunt_err(err, "the transport's report: %s", strerror(-err));
	else
		object = read_members(btf, info.btf_value_type_id,
				      info.value_size, &v);
	btf__free(btf);
	free(bytes);
	close(fd);
	return object;
}
