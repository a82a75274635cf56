/* SPDX-License-Identifier: GPL-2.0-only */
/* The object file of a transport, loaded against the maps of an instance. */
#ifndef SHUNT_OBJECT_H
#define SHUNT_OBJECT_H

#include "deploy.h"

/* The three programs of a transport, and the arrays of the instance that they
 * go into. */
enum object_role {
	ROLE_DECAP_TC,
	ROLE_DECAP_XDP,
	ROLE_ENCAP, /* last: nothing is sent that could not be taken in */
	ROLES,
};

struct object {
	struct bpf_object *bpf;
	struct shunt_description desc;
	int progs[ROLES]; /* descriptors, the object's */
};

/* Reads the description, checks the programs, loads them. Explains. */
int object_load(const char *dir, const struct object_file *file,
		struct object *object);
void object_close(struct object *object);

const char *object_program(enum object_role role);
const char *object_array(enum object_role role);

#endif
