// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which packet suffers, and how.
 */
#include "wire.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
	/* splitmix64 */
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/*
 * A function of the packet's number, not the next of a sequence: whatever
 * happened to other packets, the same packet meets the same fate.
 */
uint64_t faults_draw(const struct faults *f, unsigned int dir, uint64_t index,
		     enum draw why)
{
	return mix(mix(mix(f->seed) + 2 * why + dir) + index);
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

/* Offset of the IP header behind any VLAN tags, 0 if it is not IP. */
static uint32_t ip_offset(const uint8_t *frame, uint32_t len)
{
	uint32_t at = 2 * ETH_ALEN;
	uint16_t type;

	while (at + 2 <= len) {
		type = get16(frame + at);
		at += 2;
		if (type == ETH_P_IP)
			return at + sizeof(struct iphdr) <= len ? at : 0;
		if (type == ETH_P_IPV6)
			return at + sizeof(struct ip6_hdr) <= len ? at : 0;
		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			return 0;
		at += 2;
	}
	return 0;
}

/*
 * Frames by which neighbours find each other come when they like. They get
 * the delay, but no other fault and no number: otherwise a lost one would
 * stop a test for a second, and no two runs would be the same.
 */
bool frame_is_spared(const uint8_t *frame, uint32_t len)
{
	uint32_t at = ip_offset(frame, len);
	const uint8_t *icmp = frame + at + sizeof(struct ip6_hdr);

	if (!at || (frame[0] & 1))
		return true;
	if (frame[at] >> 4 != 6 ||
	    frame[at + offsetof(struct ip6_hdr, ip6_nxt)] != IPPROTO_ICMPV6 ||
	    icmp >= frame + len)
		return false;
	return *icmp >= ND_ROUTER_SOLICIT && *icmp <= ND_REDIRECT;
}

/* Flip one bit; false if the packet has none that may be flipped. */
bool frame_damage(const struct faults *f, uint8_t *frame, uint32_t len,
		  uint64_t random)
{
	uint32_t at = ip_offset(frame, len), end, first = at;

	if (!at)
		return false;
	/* Padding of short frames is no part of the packet. */
	if (frame[at] >> 4 == 4) {
		end = at + get16(frame + at + 2);
		first += (frame[at] & 15) * 4;
	} else {
		end = at + sizeof(struct ip6_hdr) + get16(frame + at + 4);
		first += sizeof(struct ip6_hdr);
	}
	if (end > len)
		end = len;
	first = f->damage_any ? at : first + f->damage_at;
	if (first >= end)
		return false;
	random %= (end - first) * 8ULL;
	frame[first + random / 8] ^= 1 << (random % 8);
	return true;
}
