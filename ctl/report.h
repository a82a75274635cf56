/* SPDX-License-Identifier: GPL-2.0-only */
/* What a transport reports of itself: its map `report`, by the names in BTF. */
#ifndef SHUNT_REPORT_H
#define SHUNT_REPORT_H

#include <jansson.h>

/*
 * An object of numbers, by the members of the map's value: empty when the
 * transport has no such map. NULL on an error, explained.
 */
json_t *report_read(const char *dir, unsigned number);

#endif
