/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A veth pair with shunt_egress attached: for what BPF_PROG_TEST_RUN can't do,
 * clones that leave by a device, and GSO. What is sent at t0 goes through TC
 * egress like any packet of the host; what comes out is read at t1.
 */
#ifndef CABLE_H
#define CABLE_H

#include <linux/virtio_net.h>

#include "bpf_run.h"

struct cable {
	int tx;
	int rx;
	struct bpf_tc_hook hook;
};

/* In a network namespace of its own: rig_netns() is done here. */
int cable_open(struct cable *c, struct rig *r, unsigned int mtu);
void cable_close(struct cable *c);

int cable_send(struct cable *c, const struct pkt *p);
/* As TCP hands it over: the checksum, and with gso_size the segmentation, left
 * to the device. */
int cable_send_offload(struct cable *c, struct pkt *p);
/* The next frame within 2 s, with gso_size: 0, or -ETIMEDOUT. */
int cable_recv(struct cable *c, struct pkt *p);
/* Is there nothing (more) within ms? */
int cable_silent(struct cable *c, int ms);

#endif
