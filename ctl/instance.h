/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An instance of shunt: what is pinned in bpffs for a network namespace. It is
 * built beside its place and renamed into it, so it is there whole or not at
 * all; what a crash left is swept by the next `up`.
 */
#ifndef SHUNT_INSTANCE_H
#define SHUNT_INSTANCE_H

#include "attach.h"
#include "host.h"
#include "message.h"
#include "pins.h"
#include "probe.h"
#include "wish.h"

#include <shunt/shared.h>

struct instance {
	struct host host;
	char dir[PIN_DIR];
	struct shunt_settings settings;
};

struct up_options {
	char *const *devices;
	unsigned n_devices;
	const char *cgroup; /* NULL: the root */
	enum ingress_choice ingress;
	enum attach_choice attach;
	__u32 max_flows;
	struct wish_text wish; /* of connections that no rule matches */
	struct message_options message;
	/* What the kernel must have: probes_required, or a test's. */
	const struct probe *probes;
	size_t n_probes;
};

/* Explains what is wrong; then nothing has changed. */
int instance_up(const struct up_options *options);
int instance_down(void);
/* Does the verifier accept our programs, all that `shunt up` loads without or
 * with the message path? Leaves nothing. */
int build_try(bool message);

/* The instance of this network namespace, or an error, explained. */
int instance_open(struct instance *in);
/* The same, and nobody else edits until instance_close(). */
int instance_open_locked(struct instance *in);
/* As instance_open_locked(), but silent when shunt is not up. */
int instance_open_quietly(struct instance *in);
void instance_close(struct instance *in);

/* A descriptor of a pinned map, or an error, explained. */
int instance_map(const struct instance *in, const char *name);
int instance_read_settings(struct instance *in);
int instance_write_settings(struct instance *in);
/* Entries of the map `devices` that are in use, at most SHUNT_MAX_DEVICES. */
int instance_devices(const struct instance *in, struct shunt_device *devices);
/* Is the device still there, and in this namespace? */
bool instance_device_present(const struct instance *in, unsigned i);

#endif
