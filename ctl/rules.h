/* SPDX-License-Identifier: GPL-2.0-only */
/* The policy: rules as people write them and as BPF reads them. */
#ifndef SHUNT_RULES_H
#define SHUNT_RULES_H

#include "instance.h"

#include <shunt/shared.h>

struct rules {
	struct shunt_rule rule[SHUNT_MAX_RULES];
	unsigned n;
};

#define RULE_ANY                 \
	{                        \
		.port_hi = 65535 \
	}

/*
 * Parsers touch only their part of the rule; -EINVAL with *why set to what is
 * wrong, for "bad prefix '…': …".
 */
int rule_parse_prefix(const char *text, struct shunt_rule *rule,
		      const char **why);
int rule_parse_ports(const char *text, struct shunt_rule *rule,
		     const char **why);

#define PREFIX_LEN 64
#define PORTS_LEN  16
const char *rule_format_prefix(char buf[static PREFIX_LEN],
			       const struct shunt_rule *rule);
const char *rule_format_ports(char buf[static PORTS_LEN],
			      const struct shunt_rule *rule);

int rules_read(const struct instance *in, struct rules *rules);
/* The instance has to be locked. BPF sees the old rules or the new ones. */
int rules_write(struct instance *in, const struct rules *rules);
/* at counts from 1; at most n + 1. -ENOSPC when full, explained. */
int rules_insert(struct rules *rules, unsigned at,
		 const struct shunt_rule *rule);
void rules_delete(struct rules *rules, unsigned at);

#endif
