// SPDX-License-Identifier: GPL-2.0-only
/* The object file of a transport: see object.h. */
#include "object.h"

#include "ctl.h"
#include "description.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* libbpf takes program type, attach point and flags from the section's name. */
static const struct {
	const char *program;
	const char *section;
	const char *array;
} roles[ROLES] = {
	[ROLE_DECAP_TC] = {"decap_tc", "tc", "decap_tc_progs"},
	[ROLE_DECAP_XDP] = {"decap_xdp", "xdp.frags", "decap_xdp_progs"},
	[ROLE_ENCAP] = {"encap", "tc", "encap_progs"},
};

const char *object_program(enum object_role role)
{
	return roles[role].program;
}

const char *object_array(enum object_role role)
{
	return roles[role].array;
}

/* All programs of an array have to be of one kind, or the kernel refuses them
 * there without saying why. */
static int check_program(const struct object_file *file,
			 const struct bpf_program *prog, size_t role)
{
	if (!prog)
		return shunt_err(-EINVAL, "%s: no program %s", file->path,
				 roles[role].program);
	if (strcmp(bpf_program__section_name(prog), roles[role].section))
		return shunt_err(-EINVAL,
				 "%s: program %s is in section %s; it belongs "
				 "into SEC(\"%s\")",
				 file->path, roles[role].program,
				 bpf_program__section_name(prog),
				 roles[role].section);
	return 0;
}

static int check_programs(const struct object_file *file,
			  struct bpf_object *bpf)
{
	struct bpf_program *prog;
	int err = 0;

	bpf_object__for_each_program (prog, bpf) {
		bpf_program__set_autoload(prog, false);
	}
	for (size_t i = 0; !err && i < ROLES; i++) {
		prog = bpf_object__find_program_by_name(bpf, roles[i].program);
		err = check_program(file, prog, i);
		if (!err)
			bpf_program__set_autoload(prog, true);
	}
	return err;
}

/* Maps of the object that the instance has by the same name become its own. */
static int share_maps(const char *dir, const struct object_file *file,
		      struct bpf_object *bpf)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, bpf) {
		int fd, err;

		if (bpf_map__is_internal(map))
			continue;
		fd = pin_get(dir, "maps", bpf_map__name(map));
		if (fd == -ENOENT)
			continue; /* its own */
		err = fd < 0 ? fd : bpf_map__reuse_fd(map, fd);
		if (fd >= 0)
			close(fd);
		if (err)
			return shunt_err(err,
					 "%s: map %s cannot be shared with the "
					 "instance: %s",
					 file->path, bpf_map__name(map),
					 strerror(-err));
	}
	return 0;
}

int object_load(const char *dir, const struct object_file *file,
		struct object *object)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	int err;

	memset(object, 0, sizeof(*object));
	err = description_read(file->path, file->elf, file->size,
			       &object->desc);
	if (err)
		return err;
	if (file->name) {
		err = description_check_name(file->name);
		if (err)
			return err;
		memset(object->desc.name, 0, SHUNT_NAME_LEN);
		strcpy(object->desc.name, file->name);
	}
	opts.object_name = object->desc.name;
	object->bpf = bpf_object__open_mem(file->elf, file->size, &opts);
	if (!object->bpf) {
		err = shunt_err(-errno, "%s: cannot be opened: %s", file->path,
				strerror(errno));
		libbpf_log_tail();
		return err;
	}
	err = check_programs(file, object->bpf);
	if (!err)
		err = share_maps(dir, file, object->bpf);
	if (!err) {
		err = bpf_object__load(object->bpf);
		if (err) {
			shunt_err(err,
				  "%s: the kernel refused it: %s; nothing has "
				  "changed. Its reasons:",
				  file->path, strerror(-err));
			libbpf_log_tail();
		}
	}
	for (size_t i = 0; !err && i < ROLES; i++)
		object->progs[i] =
			bpf_program__fd(bpf_object__find_program_by_name(
				object->bpf, roles[i].program));
	if (err)
		object_close(object);
	return err;
}

void object_close(struct object *object)
{
	bpf_object__close(object->bpf);
	object->bpf = NULL;
}
