// SPDX-License-Identifier: GPL-2.0-only
/* Transports: objects with encap and decap that join an instance. */
#include "transport.h"

#include "ctl.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "udp.skel.h"

#define DESCRIPTION "shunt.transport"

static const struct {
	const char *name;
	const void *(*elf)(size_t *size);
} builtins[] = {
	{"udp", udp_bpf__elf_bytes},
};

/* Numbers travel on the wire: these names have theirs for ever. */
static const char *const fixed_names[] = {
	[SHUNT_TCP] = "tcp",
	[SHUNT_UDP] = "udp",
	[SHUNT_UDPLITE] = "udplite",
};

/* Which program of the object goes into which array of the instance. */
static const struct {
	const char *program;
	const char *array;
} roles[] = {
	{"encap", "encap_progs"},
	{"decap_tc", "decap_tc_progs"},
	{"decap_xdp", "decap_xdp_progs"},
};

const char *transport_builtin(size_t i)
{
	return i < ARRAY_SIZE(builtins) ? builtins[i].name : NULL;
}

/* ---- the description, a section of the object ---- */

static int find_section(Elf *elf, const char *name, const void **data,
			size_t *size)
{
	Elf_Scn *section = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return -EINVAL;
	while ((section = elf_nextscn(elf, section))) {
		Elf_Data *content = elf_getdata(section, NULL);
		GElf_Shdr header;
		const char *is;

		if (!gelf_getshdr(section, &header) || !content)
			return -EINVAL;
		is = elf_strptr(elf, names, header.sh_name);
		if (!is || strcmp(is, name))
			continue;
		*data = content->d_buf;
		*size = content->d_size;
		return 0;
	}
	return -ENOENT;
}

static int read_description(const void *object, size_t size,
			    struct shunt_transport *desc)
{
	const void *data;
	size_t len;
	Elf *elf;
	int err;

	elf_version(EV_CURRENT);
	elf = elf_memory((char *)object, size);
	if (!elf)
		return shunt_err(-EINVAL, "transport: not an ELF object: %s",
				 elf_errmsg(-1));
	err = find_section(elf, DESCRIPTION, &data, &len);
	if (err || len != sizeof(*desc)) {
		err = shunt_err(-EINVAL, "transport: no section " DESCRIPTION
					 " with a struct shunt_transport; see "
					 "shunt/transport.bpf.h");
		goto out;
	}
	memcpy(desc, data, sizeof(*desc));
	if (!desc->name[0] || desc->name[SHUNT_NAME_LEN - 1] ||
	    strchr(desc->name, '.') || strchr(desc->name, '/'))
		err = shunt_err(-EINVAL, "transport: bad name");
out:
	elf_end(elf);
	return err;
}

/* ---- numbers and names ---- */

int transport_read_all(const char *dir, struct shunt_transport *all)
{
	int fd, err = 0;

	fd = pin_get(dir, "maps", "transports");
	if (fd < 0)
		return shunt_err(fd, "map transports: %s", strerror(-fd));
	for (__u32 i = 0; !err && i < SHUNT_MAX_TRANSPORTS; i++)
		err = bpf_map_lookup_elem(fd, &i, &all[i]);
	close(fd);
	if (err)
		shunt_err(err, "map transports: %s", strerror(-err));
	return err;
}

const char *transport_name(const struct shunt_transport *all, unsigned number)
{
	if (number < ARRAY_SIZE(fixed_names))
		return fixed_names[number];
	if (number < SHUNT_MAX_TRANSPORTS && all[number].name[0])
		return all[number].name;
	return "unknown";
}

int transport_by_name(const struct shunt_transport *all, const char *name)
{
	char known[SHUNT_MAX_TRANSPORTS * (SHUNT_NAME_LEN + 1)] = "";

	if (!strcmp(name, "tcp"))
		return SHUNT_TCP;
	for (int i = 1; i < SHUNT_MAX_TRANSPORTS; i++) {
		if (!all[i].deployed)
			continue;
		if (!strcmp(name, all[i].name))
			return i;
		strcat(known, " ");
		strcat(known, all[i].name);
	}
	return shunt_err(-ENOENT,
			 "%s: no such transport is deployed; there are: tcp%s",
			 name, known);
}

static int choose_number(const char *dir, const char *name)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	int err;

	for (size_t i = 1; i < ARRAY_SIZE(fixed_names); i++)
		if (!strcmp(name, fixed_names[i]))
			return i;
	err = transport_read_all(dir, all);
	if (err)
		return err;
	for (int i = 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (!strcmp(name, all[i].name))
			return i;
	for (int i = ARRAY_SIZE(fixed_names); i < SHUNT_MAX_TRANSPORTS; i++)
		if (!all[i].name[0])
			return i;
	return shunt_err(-ENOSPC, "%s: %d transports are deployed, no more fit",
			 name, SHUNT_MAX_TRANSPORTS - 1);
}

/* ---- loading ---- */

/* Maps of the object that the instance has by the same name become its own. */
static int share_maps(const char *dir, struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, object) {
		int fd, err;

		if (bpf_map__is_internal(map))
			continue;
		fd = pin_get(dir, "maps", bpf_map__name(map));
		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		err = bpf_map__reuse_fd(map, fd);
		close(fd);
		if (err)
			return err;
	}
	return 0;
}

static int deploy_program(const char *dir, struct bpf_object *object,
			  const char *transport, __u32 number, size_t role)
{
	char pin[2 * SHUNT_NAME_LEN];
	struct bpf_program *prog;
	int array, fd, err;

	prog = bpf_object__find_program_by_name(object, roles[role].program);
	if (!prog)
		return shunt_err(-EINVAL, "transport %s: no program %s",
				 transport, roles[role].program);
	fd = bpf_program__fd(prog);
	array = pin_get(dir, "maps", roles[role].array);
	if (array < 0)
		return shunt_err(array, "map %s: %s", roles[role].array,
				 strerror(-array));
	err = bpf_map_update_elem(array, &number, &fd, BPF_ANY);
	close(array);
	if (err)
		return shunt_err(err,
				 "transport %s: %s does not fit into %s: "
				 "%s; is it of another program type?",
				 transport, roles[role].program,
				 roles[role].array, strerror(-err));
	snprintf(pin, sizeof(pin), "%s_%s", transport, roles[role].program);
	return pin_put(dir, "progs", pin, fd);
}

int transport_load(const char *dir, const void *elf, size_t size)
{
	struct shunt_transport desc;
	struct bpf_object *object;
	int number, map, err;

	err = read_description(elf, size, &desc);
	if (err)
		return err;
	number = choose_number(dir, desc.name);
	if (number < 0)
		return number;
	object = bpf_object__open_mem(elf, size, NULL);
	if (!object)
		return shunt_err(-errno, "transport %s: cannot be opened: %s",
				 desc.name, strerror(errno));
	err = share_maps(dir, object);
	if (!err)
		err = bpf_object__load(object);
	if (err) {
		shunt_err(err, "transport %s: the kernel refused it: %s",
			  desc.name, strerror(-err));
		libbpf_log_tail();
		goto out;
	}
	for (size_t i = 0; !err && i < ARRAY_SIZE(roles); i++)
		err = deploy_program(dir, object, desc.name, number, i);
	if (err)
		goto out;
	/* Last: from here on the hooks negotiate it. */
	desc.deployed = 1;
	map = pin_get(dir, "maps", "transports");
	err = map < 0 ? map : bpf_map_update_elem(map, &number, &desc, BPF_ANY);
	if (map >= 0)
		close(map);
	if (err)
		shunt_err(err, "map transports: %s", strerror(-err));
out:
	bpf_object__close(object);
	return err;
}

int transport_load_builtin(const char *dir)
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(builtins); i++) {
		const void *elf;
		size_t size;

		elf = builtins[i].elf(&size);
		err = transport_load(dir, elf, size);
	}
	return err;
}
