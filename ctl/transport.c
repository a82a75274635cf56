// SPDX-License-Identifier: GPL-2.0-only
/* The transports of an instance: see transport.h. */
#include "transport.h"

#include "ctl.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "udp.skel.h"
#include "udplite.skel.h"

const struct builtin builtins[] = {
	{"udp", udp_bpf__elf_bytes},
	{"udplite", udplite_bpf__elf_bytes},
	{},
};

/* The hooks know these by number. */
static const char *const fixed_names[] = {
	[SHUNT_TCP] = "tcp",
	[SHUNT_UDP] = "udp",
	[SHUNT_UDPLITE] = "udplite",
};

const struct builtin *builtin_find(const char *name)
{
	for (const struct builtin *b = builtins; b->name; b++)
		if (!strcmp(name, b->name))
			return b;
	return NULL;
}

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

int transport_write(const char *dir, unsigned number,
		    const struct shunt_transport *t)
{
	int fd, err;

	fd = pin_get(dir, "maps", "transports");
	if (fd < 0)
		return shunt_err(fd, "map transports: %s", strerror(-fd));
	err = bpf_map_update_elem(fd, &number, t, BPF_ANY);
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
		if (all[i].deployed != SHUNT_DEPLOYED)
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

unsigned transport_number(const struct shunt_transport *all, const char *name)
{
	for (unsigned i = 1; i < ARRAY_SIZE(fixed_names); i++)
		if (!strcmp(name, fixed_names[i]))
			return i;
	for (unsigned i = 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (!strcmp(name, all[i].name))
			return i;
	return 0;
}
