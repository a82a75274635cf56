// SPDX-License-Identifier: GPL-2.0-only
/* What a connection may use: see wish.h. */
#include "wish.h"

#include "ctl.h"
#include "out.h"
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int parse_coverage(const char *text, struct shunt_wish *wish)
{
	for (int i = 0; i < SHUNT_COVERAGE_MAX; i++) {
		if (strcmp(text, coverage_name(i)))
			continue;
		wish->coverage = i;
		return 0;
	}
	return shunt_err(-EINVAL, "--coverage is full or headers, not '%s'",
			 text);
}

static int add_transport(const char *name, const struct shunt_transport *all,
			 struct shunt_wish *wish, int n)
{
	int number = transport_by_name(all, name);

	if (number < 0)
		return number;
	for (int i = 0; i < n; i++)
		if (wish->transports[i] == number)
			return shunt_err(-EINVAL, "%s: named twice", name);
	if (number != SHUNT_TCP && n == SHUNT_MAX_WISHES)
		return shunt_err(
			-EINVAL,
			"%s: at most %d transports, and tcp; a SYN has "
			"no room for more",
			name, SHUNT_MAX_WISHES);
	if (number != SHUNT_TCP)
		wish->transports[n] = number;
	return number;
}

/* Damage is only let through where one of them can do that. On the message path
 * nobody would know the bytes: no TCP header comes with them. */
static int check_coverage(const struct shunt_wish *wish,
			  const struct shunt_transport *all, const char *names)
{
	if (wish->coverage == SHUNT_COVERAGE_FULL)
		return 0;
	if (wish->path == SHUNT_PATH_MESSAGE)
		return shunt_err(-EINVAL,
				 "--coverage headers: not with --path message, "
				 "whose datagrams have no other checksum");
	for (int i = 0; i < SHUNT_MAX_WISHES && wish->transports[i]; i++)
		if (all[wish->transports[i]].flags & SHUNT_T_COVERAGE)
			return 0;
	return shunt_err(-EINVAL,
			 "--coverage headers: none of %s can leave the payload "
			 "out of its checksum; udplite can",
			 names);
}

int wish_parse(const struct wish_text *text, const struct shunt_transport *all,
	       struct shunt_wish *wish)
{
	char list[256], *rest = list, *name;
	int n = 0, err;

	memset(wish, 0, sizeof(*wish));
	wish->strict = text->strict;
	if (snprintf(list, sizeof(list), "%s", text->transports) >=
	    (int)sizeof(list))
		return shunt_err(-EINVAL, "--transport: the list is too long");
	while ((name = strsep(&rest, ","))) {
		err = add_transport(name, all, wish, n++);
		if (err < 0)
			return err;
		if (err == SHUNT_TCP && rest)
			return shunt_err(-EINVAL,
					 "%s: nothing can come behind tcp, "
					 "which is always possible",
					 text->transports);
	}
	for (int i = 0; i < SHUNT_PATH_MAX; i++)
		if (!strcmp(text->path, path_name(i)))
			wish->path = i;
	err = parse_coverage(text->coverage, wish);
	if (!err)
		err = check_coverage(wish, all, text->transports);
	return err;
}

const char *wish_format(char buf[static WISH_LEN],
			const struct shunt_wish *wish,
			const struct shunt_transport *all)
{
	size_t at = 0;

	for (int i = 0; i < SHUNT_MAX_WISHES && wish->transports[i]; i++)
		at += snprintf(buf + at, WISH_LEN - at, "%s%s", i ? "," : "",
			       transport_name(all, wish->transports[i]));
	if (!at)
		snprintf(buf, WISH_LEN, "tcp");
	else if (wish->coverage != SHUNT_COVERAGE_FULL)
		snprintf(buf + at, WISH_LEN - at, " (%s%s)",
			 coverage_name(wish->coverage),
			 wish->strict ? ", strict" : "");
	else if (wish->strict)
		snprintf(buf + at, WISH_LEN - at, " (strict)");
	return buf;
}

json_t *wish_json(const struct shunt_wish *wish,
		  const struct shunt_transport *all)
{
	json_t *names = json_array();

	for (int i = 0; i < SHUNT_MAX_WISHES && wish->transports[i]; i++)
		json_array_append_new(
			names,
			json_string(transport_name(all, wish->transports[i])));
	if (!json_array_size(names))
		json_array_append_new(names, json_string("tcp"));
	return names;
}
