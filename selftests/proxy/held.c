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

void craft_partial(unsigned char *frame, uint32_t n)
{
	uint8_t *ip = frame + ETH_LEN;
	bool v6 = n > ETH_LEN && ip[0] >> 4 == 6;
	uint32_t hlen = n > ETH_LEN ? ip_hlen(ip) : 0, length;

	if (n < ETH_LEN + hlen + 20)
		return;
	length = v6 ? get16(ip + 4) : (uint16_t)(get16(ip + 2) - hlen);
	put16(ip + hlen + 16, v6 ? sum16(ip + 8, 32, 6 + length)
				 : sum16(ip + 12, 8, 6 + length));
}
