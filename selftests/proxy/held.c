// SPDX-License-Identifier: GPL-2.0-only
/* craft_held(): apart, because packet.h and messages.h both have an ACK. */
#include "craft.h"

#include "../packet.h"

#include <string.h>

uint32_t craft_held(uint64_t *random, unsigned char *to)
{
	struct seg s = seg_in(craft_below(random, 2));
	static struct pkt p;

	s.flags = FIN | ACK;
	s.payload = 0;
	s.tags = craft_below(random, 3);
	if (!s.v6 && craft_below(random, 2))
		s.ip_options = 8;
	pkt_seg(&p, &s);
	if (craft_below(random, 2))
		pkt_wrap(&p, NULL);
	memcpy(to, p.b, p.len);
	return p.len;
}
