/* SPDX-License-Identifier: GPL-2.0-only */
/* An RCU grace period, as user space can have one. The proxy has it, too. */
#ifndef SHUNT_GRACE_H
#define SHUNT_GRACE_H

/* Waits until no BPF program runs that began before (but for those that may
 * sleep). 0, or -errno: it has not waited. */
int grace_wait(void);

#endif
