// SPDX-License-Identifier: GPL-2.0-only
/* The policy: rules as people write them and as BPF reads them. */
#include "rules.h"

#include "ctl.h"
#include "out.h"
#include "withdraw.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define V4_MAPPED_BITS 96

/* ---- text ---- */

static bool has_host_bits(const struct shunt_addr *addr, unsigned prefix_len)
{
	for (unsigned bit = prefix_len; bit < 128; bit++)
		if (ntohl(addr->w[bit / 32]) & (1U << (31 - bit % 32)))
			return true;
	return false;
}

int rule_parse_prefix(const char *text, struct shunt_rule *rule,
		      const char **why)
{
	struct shunt_addr addr = {};
	unsigned long len, max;
	char ip[PREFIX_LEN];
	const char *slash;
	unsigned base;

	*why = "an address, or ADDRESS/LENGTH, was expected";
	slash = strchrnul(text, '/');
	if (slash - text >= (long)sizeof(ip))
		return -EINVAL;
	memcpy(ip, text, slash - text);
	ip[slash - text] = '\0';
	if (inet_pton(AF_INET, ip, &addr.w[3]) == 1) {
		addr.w[2] = htonl(0xffff);
		base = V4_MAPPED_BITS;
		max = 32;
	} else if (inet_pton(AF_INET6, ip, addr.w) == 1) {
		base = 0;
		max = 128;
	} else {
		return -EINVAL;
	}
	len = max;
	if (*slash && parse_number(slash + 1, 0, max, &len)) {
		*why = max == 32 ? "the length is 0 to 32"
				 : "the length is 0 to 128";
		return -EINVAL;
	}
	if (has_host_bits(&addr, base + len)) {
		*why = "the address has bits set behind the prefix";
		return -EINVAL;
	}
	rule->remote = addr;
	rule->prefix_len = base + len;
	return 0;
}

int rule_parse_ports(const char *text, struct shunt_rule *rule,
		     const char **why)
{
	char lo_text[PORTS_LEN];
	unsigned long lo, hi;
	const char *dash;

	*why = "ports are 1 to 65535, or a range like 8000-8999";
	dash = strchrnul(text, '-');
	if (dash - text >= (long)sizeof(lo_text))
		return -EINVAL;
	memcpy(lo_text, text, dash - text);
	lo_text[dash - text] = '\0';
	if (parse_number(lo_text, 1, 65535, &lo))
		return -EINVAL;
	hi = lo;
	if (*dash && parse_number(dash + 1, 1, 65535, &hi))
		return -EINVAL;
	if (hi < lo) {
		*why = "the range ends before it begins";
		return -EINVAL;
	}
	rule->port_lo = lo;
	rule->port_hi = hi;
	return 0;
}

const char *rule_format_prefix(char buf[static PREFIX_LEN],
			       const struct shunt_rule *rule)
{
	char ip[ADDR_LEN];
	unsigned len = rule->prefix_len;

	if (!len)
		return "any";
	format_addr(ip, &rule->remote);
	if (!strchr(ip, ':')) {
		if (len >= V4_MAPPED_BITS)
			len -= V4_MAPPED_BITS;
		else /* wider than all of IPv4 */
			inet_ntop(AF_INET6, rule->remote.w, ip, sizeof(ip));
	}
	snprintf(buf, PREFIX_LEN, "%s/%u", ip, len);
	return buf;
}

const char *rule_format_ports(char buf[static PORTS_LEN],
			      const struct shunt_rule *rule)
{
	if (rule->port_lo <= 1 && rule->port_hi == 65535)
		return "any";
	if (rule->port_lo == rule->port_hi)
		snprintf(buf, PORTS_LEN, "%u", rule->port_lo);
	else
		snprintf(buf, PORTS_LEN, "%u-%u", rule->port_lo, rule->port_hi);
	return buf;
}

/* ---- the map ---- */

static unsigned active_half(const struct shunt_settings *settings)
{
	return settings->rules_half & 1;
}

int rules_read(const struct instance *in, struct rules *rules)
{
	unsigned half = active_half(&in->settings);
	int fd, err = 0;

	rules->n = in->settings.n_rules[half];
	if (rules->n > SHUNT_MAX_RULES)
		return shunt_err(-EPROTO, "map settings: %u rules?", rules->n);
	fd = instance_map(in, "rules");
	if (fd < 0)
		return fd;
	for (unsigned i = 0; !err && i < rules->n; i++) {
		__u32 index = half * SHUNT_MAX_RULES + i;

		err = bpf_map_lookup_elem(fd, &index, &rules->rule[i]);
	}
	close(fd);
	if (err)
		shunt_err(err, "map rules: %s", strerror(-err));
	return err;
}

int rules_write(struct instance *in, const struct rules *rules)
{
	unsigned half = !active_half(&in->settings);
	int fd, err = 0;

	fd = instance_map(in, "rules");
	if (fd < 0)
		return fd;
	for (unsigned i = 0; !err && i < rules->n; i++) {
		__u32 index = half * SHUNT_MAX_RULES + i;

		err = bpf_map_update_elem(fd, &index, &rules->rule[i], BPF_ANY);
	}
	close(fd);
	if (err)
		return shunt_err(err, "map rules: %s", strerror(-err));
	in->settings.n_rules[half] = rules->n;
	err = instance_write_settings(in);
	if (err)
		return err;
	in->settings.rules_half = half;
	err = instance_write_settings(in);
	if (err)
		return err;
	/* Programs that began before the flip may still be reading the other
	 * half, which the next edit writes. */
	return withdraw_grace();
}

int rules_insert(struct rules *rules, unsigned at,
		 const struct shunt_rule *rule)
{
	if (rules->n == SHUNT_MAX_RULES)
		return shunt_err(-ENOSPC,
				 "the policy is full: %d rules; `shunt policy "
				 "del N` makes room",
				 SHUNT_MAX_RULES);
	memmove(&rules->rule[at], &rules->rule[at - 1],
		(rules->n - (at - 1)) * sizeof(*rule));
	rules->rule[at - 1] = *rule;
	rules->n++;
	return 0;
}

void rules_delete(struct rules *rules, unsigned at)
{
	memmove(&rules->rule[at - 1], &rules->rule[at],
		(rules->n - at) * sizeof(rules->rule[0]));
	rules->n--;
}
