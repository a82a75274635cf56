/* SPDX-License-Identifier: GPL-2.0-only */
/* Puts the pinned programs of an instance onto devices and a cgroup. */
#ifndef SHUNT_ATTACH_H
#define SHUNT_ATTACH_H

#include "cgroup.h"
#include "device.h"

#include <shunt/shared.h>

/* enum bpf_attach_type of e420bed02507, newer than Debian 12's headers. */
#define SHUNT_TCX_INGRESS 46
#define SHUNT_TCX_EGRESS  47

enum ingress_choice { INGRESS_AUTO, INGRESS_XDP, INGRESS_TC };
enum attach_choice { ATTACH_AUTO, ATTACH_TCX, ATTACH_CLSACT };

/* What was decided for a device, before anything is loaded. */
struct plan {
	enum shunt_ingress ingress;
	bool insist; /* on XDP: `--ingress xdp` */
	char why[256];
};

/* Chooses XDP or TC by what the device and its driver say. */
int plan_ingress(const struct device *dev, enum ingress_choice choice,
		 struct plan *plan);

/*
 * The driver refused XDP with err. -EAGAIN: then the plan says TC now; else XDP
 * was insisted on, and the refusal has been explained.
 */
int plan_refuse_xdp(const struct device *dev, struct plan *plan, int err);

/*
 * `dir` is the instance's directory in bpffs, `i` the device's index in the
 * map `devices`. The entry says what to undo, so it is written before anything
 * is attached: whoever finds it after a crash can clean up.
 *
 * -EAGAIN: the driver refused XDP, the plan says TC now; other programs have to
 * be loaded for that.
 */
int attach_ingress(const char *dir, unsigned i, const struct device *dev,
		   struct plan *plan, enum attach_choice attach,
		   struct shunt_device *entry);
int attach_egress(const char *dir, unsigned i,
		  const struct shunt_device *entry);
/* The far end of the device's segmentation hop. */
int attach_hop(const char *dir, unsigned i, const struct shunt_device *device,
	       const char *far, __u32 ifindex);
int attach_sock_ops(const char *dir, const struct cgroup *cg);

/* Undo, each as far as it got; silent where there is nothing to undo. */
void detach_sock_ops(const char *dir);
void detach_egress(const char *dir, unsigned i,
		   const struct shunt_device *entry);
void detach_ingress(const char *dir, unsigned i,
		    const struct shunt_device *entry);

/* Is there a cgroup left that sock_ops is attached to? */
bool sock_ops_attached(const char *dir);

const char *attach_name(unsigned attach);
const char *ingress_name(unsigned ingress);

#endif
