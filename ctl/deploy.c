// SPDX-License-Identifier: GPL-2.0-only
/* Transports come and go: see deploy.h. */
#include "deploy.h"

#include "ctl.h"
#include "description.h"
#include "object.h"
#include "out.h"
#include "pins.h"
#include "transport.h"
#include "withdraw.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- program arrays ---- */

static int put_program(const char *dir, enum object_role role, __u32 number,
		       int prog)
{
	int fd, err;

	fd = pin_get(dir, "maps", object_array(role));
	err = fd < 0 ? fd : bpf_map_update_elem(fd, &number, &prog, BPF_ANY);
	if (fd >= 0)
		close(fd);
	if (err)
		shunt_err(err, "map %s: %s", object_array(role),
			  strerror(-err));
	return err;
}

static void drop_program(const char *dir, enum object_role role, __u32 number)
{
	int fd = pin_get(dir, "maps", object_array(role));

	if (fd < 0)
		return;
	bpf_map_delete_elem(fd, &number);
	close(fd);
}

/* Each is swapped at once, and the old ones go on working with the new ones:
 * they are the same on the wire. */
static int put_programs(const char *dir, unsigned number,
			const struct object *object)
{
	int err = 0;

	for (int i = 0; !err && i < ROLES; i++)
		err = put_program(dir, i, number, object->progs[i]);
	return err;
}

static void drop_programs(const char *dir, unsigned number)
{
	for (int i = ROLES; i-- > 0;)
		drop_program(dir, i, number);
}

/* ---- the way in for those that the hooks don't know by number ---- */

static int demux(const char *dir, unsigned number,
		 const struct shunt_transport *t, bool there)
{
	__u32 key = SHUNT_DEMUX(t->ip_proto, ntohs(t->port));
	int fd, err;

	if (builtin_find(t->name))
		return 0;
	fd = pin_get(dir, "maps", "demux");
	if (fd < 0)
		return shunt_err(fd, "map demux: %s", strerror(-fd));
	if (there)
		err = bpf_map_update_elem(fd, &key, &number, BPF_ANY);
	else
		err = bpf_map_delete_elem(fd, &key);
	close(fd);
	if (err)
		shunt_err(err, "map demux: %s", strerror(-err));
	return err;
}

/* ---- may it come in, and where ---- */

static bool same_way_in(const struct shunt_description *desc,
			const struct shunt_transport *t)
{
	return desc->ip_proto == t->ip_proto && desc->port == t->port;
}

/* `self` is the number that it is to have, or 0. */
static int check_unique(const char *path, const struct shunt_description *desc,
			const struct shunt_transport *all, unsigned self)
{
	bool ours = desc->port == htons(SHUNT_PORT) &&
		    (desc->ip_proto == IPPROTO_UDP ||
		     desc->ip_proto == IPPROTO_UDPLITE);
	const struct builtin *builtin = builtin_find(desc->name);

	if (ours != !!builtin ||
	    (builtin &&
	     (desc->ip_proto == IPPROTO_UDP) != !strcmp(desc->name, "udp")))
		return shunt_err(-EINVAL,
				 "%s: port %d of UDP and UDP-Lite, and the "
				 "names udp and udplite, belong together",
				 path, SHUNT_PORT);
	for (unsigned i = 1; i < SHUNT_MAX_TRANSPORTS; i++) {
		if (i == self || !all[i].deployed)
			continue;
		if (same_way_in(desc, &all[i]))
			return shunt_err(-EEXIST,
					 "%s: IP protocol %u, port %u is %s's; "
					 "`shunt transport remove %s` frees it",
					 path, desc->ip_proto,
					 ntohs(desc->port), all[i].name,
					 all[i].name);
		if (description_id(desc) == all[i].id)
			return shunt_err(-EEXIST,
					 "%s: name and version hash to the "
					 "number that peers know %s by; --name "
					 "gives it another",
					 path, all[i].name);
	}
	return 0;
}

static int choose_number(const char *dir, const char *name,
			 const struct shunt_transport *all)
{
	unsigned number = transport_number(all, name);

	if (number)
		return number;
	for (unsigned i = SHUNT_UDPLITE + 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (!all[i].name[0])
			return i;
	/* Names of the past that no rule remembers */
	for (unsigned i = SHUNT_UDPLITE + 1; i < SHUNT_MAX_TRANSPORTS; i++)
		if (!all[i].deployed && !withdraw_is_wished(dir, i))
			return i;
	return shunt_err(-ENOSPC,
			 "%s: %d transports are deployed or named by "
			 "the policy, and no more fit",
			 name, SHUNT_MAX_TRANSPORTS - 1);
}

/* ---- in ---- */

static void fill_entry(struct shunt_transport *t,
		       const struct shunt_description *desc)
{
	memset(t, 0, sizeof(*t));
	memcpy(t->name, desc->name, sizeof(t->name));
	t->ip_proto = desc->ip_proto;
	t->header_len = desc->header_len;
	t->flags = desc->flags;
	t->version = desc->version;
	t->port = desc->port;
	t->id = description_id(desc);
	t->deployed = SHUNT_DEPLOYED;
	t->added_ns = now_ns();
}

/* A loaded object into an empty place. */
static int enter(const char *dir, unsigned number, const struct object *object,
		 __u64 began)
{
	struct shunt_transport entry;
	int err;

	fill_entry(&entry, &object->desc);
	err = put_programs(dir, number, object);
	if (!err)
		err = demux(dir, number, &entry, true);
	/* Last: from here on the hooks negotiate it. */
	if (!err) {
		entry.load_us = (now_ns() - began) / 1000;
		err = transport_write(dir, number, &entry);
		if (err)
			demux(dir, number, &entry, false);
	}
	if (err)
		drop_programs(dir, number);
	return err;
}

int deploy_add(const char *dir, const struct object_file *file)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	__u64 began = now_ns();
	struct object object;
	unsigned number;
	int err;

	err = transport_read_all(dir, all);
	if (!err)
		err = object_load(dir, file, &object);
	if (err)
		return err;
	number = transport_number(all, object.desc.name);
	if (number && all[number].deployed)
		err = shunt_err(-EEXIST,
				"%s: a transport %s is deployed already; "
				"`shunt transport replace %s %s` puts this one "
				"in its place, --name gives it another name",
				file->path, all[number].name, all[number].name,
				file->path);
	if (!err)
		err = check_unique(file->path, &object.desc, all, number);
	if (!err)
		err = choose_number(dir, object.desc.name, all);
	if (err > 0) {
		number = err;
		err = enter(dir, number, &object, began) ?: (int)number;
	}
	object_close(&object);
	return err;
}

int deploy_replace(const char *dir, unsigned number,
		   const struct object_file *file)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS], *old;
	__u64 began = now_ns(), took;
	struct object object;
	bool same;
	int err;

	err = transport_read_all(dir, all);
	if (!err)
		err = object_load(dir, file, &object);
	if (err)
		return err;
	old = &all[number];
	err = check_unique(file->path, &object.desc, all, number);
	if (err)
		goto out;
	took = now_ns() - began;
	same = description_same_wire(&object.desc, old);
	if (same) {
		err = put_programs(dir, number, &object);
		old->added_ns = now_ns();
		old->load_us = (old->added_ns - began) / 1000;
		if (!err)
			err = transport_write(dir, number, old);
	} else {
		err = deploy_withdraw(dir, number);
		if (!err)
			err = enter(dir, number, &object, now_ns() - took);
	}
	err = err ?: same;
out:
	object_close(&object);
	return err;
}

int deploy_builtins(const char *dir)
{
	int err = 0;

	for (const struct builtin *b = builtins; err >= 0 && b->name; b++) {
		struct object_file file = {.path = b->name};

		file.elf = b->elf(&file.size);
		err = deploy_add(dir, &file);
	}
	return err < 0 ? err : 0;
}

/* ---- out ---- */

void deploy_withdraw_all(const char *dir)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];

	if (transport_read_all(dir, all))
		return;
	for (unsigned i = 0; i < SHUNT_MAX_TRANSPORTS; i++) {
		if (all[i].deployed != SHUNT_DEPLOYED)
			continue;
		all[i].deployed = SHUNT_WITHDRAWING;
		if (transport_write(dir, i, &all[i]))
			return;
	}
	withdraw_grace();
	withdraw_flows(dir, SHUNT_TCP);
}

int deploy_withdraw(const char *dir, unsigned number)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS], *t = &all[number];
	int err;

	err = transport_read_all(dir, all);
	if (err)
		return err;
	/* It is in no handshake any more … */
	t->deployed = SHUNT_WITHDRAWING;
	err = transport_write(dir, number, t);
	if (err)
		return err;
	err = withdraw_grace();
	/* … no flow sends over it, only the answer to a peer's probe that says
	 * so …
	 */
	if (!err)
		err = withdraw_flows(dir, number);
	/* … and nothing comes any more. */
	t->deployed = SHUNT_ABSENT;
	if (!err)
		err = transport_write(dir, number, t);
	demux(dir, number, t, false);
	if (!err)
		err = withdraw_grace();
	drop_programs(dir, number);
	withdraw_peers(dir, number);
	return err;
}
