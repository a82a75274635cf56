/* SPDX-License-Identifier: GPL-2.0-only */
/* What a connection may use, as people write it: "udplite,udp,tcp". */
#ifndef SHUNT_WISH_H
#define SHUNT_WISH_H

#include <jansson.h>
#include <shunt/shared.h>
#include <stdbool.h>

/* As the options --transport, --coverage and --path have it; the path has been
 * checked. */
struct wish_text {
	const char *transports;
	const char *coverage;
	const char *path;
	bool strict;
};

#define WISH_TEXT                                                          \
	{                                                                  \
		.transports = "udp", .coverage = "full", .path = "segment" \
	}

/* Resolves names by `all`, an instance's transports. Explains its errors. */
int wish_parse(const struct wish_text *text, const struct shunt_transport *all,
	       struct shunt_wish *wish);

#define WISH_LEN (SHUNT_MAX_WISHES * (SHUNT_NAME_LEN + 1) + 32)
/* "udplite,udp", "tcp", "udplite (headers, strict)" */
const char *wish_format(char buf[static WISH_LEN],
			const struct shunt_wish *wish,
			const struct shunt_transport *all);
/* The same as an array of names. */
json_t *wish_json(const struct shunt_wish *wish,
		  const struct shunt_transport *all);

#endif
