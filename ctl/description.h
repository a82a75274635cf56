/* SPDX-License-Identifier: GPL-2.0-only */
/* What a transport's object file says of itself, before anything is loaded. */
#ifndef SHUNT_DESCRIPTION_H
#define SHUNT_DESCRIPTION_H

#include <shunt/shared.h>
#include <stddef.h>

/*
 * Reads the section shunt.transport of an ELF object in memory and checks what
 * it says; `file` is for messages. Explains its errors.
 */
int description_read(const char *file, const void *elf, size_t size,
		     struct shunt_description *desc);
/* Lower case letters, digits, '-' and '_'; not "tcp". Explains. */
int description_check_name(const char *name);
/* What peers know the transport by. */
__be16 description_id(const struct shunt_description *desc);
/* Is the same on the wire, so that a flow can go from one to the other? */
int description_same_wire(const struct shunt_description *desc,
			  const struct shunt_transport *t);

#endif
