/* SPDX-License-Identifier: GPL-2.0-only */
/* What else there is of a transport that goes: flows, peers, rules. */
#ifndef SHUNT_WITHDRAW_H
#define SHUNT_WITHDRAW_H

#include <linux/types.h>
#include <stdbool.h>

/* Waits until no BPF program runs that began before. Explains. */
int withdraw_grace(void);
/* Sends the transport's flows (SHUNT_TCP: all) back to TCP, and waits until
 * their peers send nothing over it, for a second at most. Explains. */
int withdraw_flows(const char *dir, unsigned number);
/* Forgets what was known of paths: the number may become another's. */
void withdraw_peers(const char *dir, unsigned number);
/* Does a rule of the policy, or its default, name the transport? */
bool withdraw_is_wished(const char *dir, unsigned number);

#endif
