// SPDX-License-Identifier: GPL-2.0-only
/* Encapsulated frames, each bent in one named way: see bad_frames.h. */
#include "bad_frames.h"

#include <string.h>

static uint8_t *outer(struct pkt *p)
{
	return p->b + ETH_LEN;
}

static uint8_t *udp(struct pkt *p)
{
	return outer(p) + ip_hlen(outer(p));
}

static uint8_t *inner(struct pkt *p)
{
	return udp(p) + 8;
}

static uint8_t *inner_tcp(struct pkt *p)
{
	return inner(p) + ip_hlen(inner(p));
}

static bool v6_of(struct pkt *p)
{
	return outer(p)[0] >> 4 == 6;
}

/* The length field of an IP header, as bytes of the whole packet. */
static uint32_t get_total(const uint8_t *ip)
{
	return ip[0] >> 4 == 6 ? get16(ip + 4) + 40 : get16(ip + 2);
}

static void set_total(uint8_t *ip, uint32_t n)
{
	if (ip[0] >> 4 == 6)
		return put16(ip + 4, n - 40);
	put16(ip + 2, n);
	fix_ip(ip);
}

/* Lengths of the outer headers by what the frame is long. */
void fit_outer(struct pkt *p)
{
	set_total(outer(p), p->len - ETH_LEN);
	put16(udp(p) + 4, p->len - (udp(p) - p->b));
}

#define BEND(name)                             \
	static void bend_##name(struct pkt *p, \
				const struct seg *s __attribute__((unused)))

BEND(other_port)
{
	put16(udp(p) + 2, 6081);
}
BEND(port_53)
{
	put16(udp(p) + 2, 53);
}
BEND(our_port_as_source)
{
	put16(udp(p), 6080);
	put16(udp(p) + 2, 40000);
}
BEND(not_udp)
{
	outer(p)[v6_of(p) ? 6 : 9] = 132; /* SCTP */
	if (!v6_of(p))
		fix_ip(outer(p));
}
BEND(udplite)
{
	outer(p)[v6_of(p) ? 6 : 9] = 136;
	if (!v6_of(p))
		fix_ip(outer(p));
}
BEND(ip_in_ip)
{
	pkt_cut(p, udp(p) - p->b, 8);
	outer(p)[v6_of(p) ? 6 : 9] = v6_of(p) ? 41 : 4;
	set_total(outer(p), p->len - ETH_LEN);
}
BEND(arp)
{
	put16(p->b + 12, 0x0806);
}
BEND(unknown_ethertype)
{
	put16(p->b + 12, 0x88cc);
}
BEND(family_of_ethertype)
{
	put16(p->b + 12, v6_of(p) ? 0x0800 : 0x86dd);
}
BEND(outer_fragment_first)
{
	put16(outer(p) + 6, 0x2000);
	fix_ip(outer(p));
}
BEND(outer_fragment_last)
{
	put16(outer(p) + 6, 0x0010);
	fix_ip(outer(p));
}
BEND(outer_v6_fragment)
{
	pkt_insert(p, ETH_LEN + 40, 8);
	p->b[ETH_LEN + 40] = 17;
	p->b[ETH_LEN + 43] = 1; /* more fragments */
	outer(p)[6] = 44;
	set_total(outer(p), p->len - ETH_LEN);
}
BEND(outer_v6_hop_by_hop)
{
	pkt_insert(p, ETH_LEN + 40, 8);
	p->b[ETH_LEN + 40] = 17;
	p->b[ETH_LEN + 42] = 1; /* PadN */
	p->b[ETH_LEN + 43] = 4;
	outer(p)[6] = 0;
	set_total(outer(p), p->len - ETH_LEN);
}
BEND(outer_options)
{
	pkt_insert(p, ETH_LEN + 20, 4);
	memset(p->b + ETH_LEN + 20, 1, 4);
	outer(p)[0] = 0x46;
	fit_outer(p);
}
BEND(outer_ihl_short)
{
	outer(p)[0] = 0x44;
	fix_ip(outer(p));
}
BEND(outer_version)
{
	outer(p)[0] ^= 0x10;
}
BEND(outer_bad_checksum)
{
	outer(p)[11] ^= 0x40;
}
BEND(outer_ttl_damaged)
{
	outer(p)[8]--;
}
BEND(garbage)
{
	for (uint8_t *b = inner(p); b < p->b + p->len; b++)
		*b = (b - p->b) * 251 + 13;
}
BEND(all_zero)
{
	memset(inner(p), 0, p->b + p->len - inner(p));
}
BEND(nothing_inside)
{
	p->len = inner(p) - p->b;
	fit_outer(p);
}
BEND(first_nibble_0)
{
	inner(p)[0] &= 0x0f;
}
BEND(first_nibble_5)
{
	inner(p)[0] = 0x50 | (inner(p)[0] & 0x0f);
}
BEND(gue_variant_0)
{
	inner(p)[0] = 0;
	inner(p)[1] = 6;
}
BEND(inner_other_family)
{
	struct seg o = seg_in(!s->v6);
	static struct pkt q;
	uint32_t n;

	pkt_seg(&q, &o);
	n = q.len - ETH_LEN;
	memcpy(inner(p), q.b + ETH_LEN, n);
	p->len = inner(p) - p->b + n;
	fit_outer(p);
}
/* A change of an address that the TCP and IP checksums agree with. */
static void bend_address(struct pkt *p, uint32_t at)
{
	inner(p)[at] ^= 4;
	if (!v6_of(p))
		fix_ip(inner(p));
	fix_tcp(inner(p));
}
BEND(inner_source)
{
	bend_address(p, v6_of(p) ? 23 : 15);
}
BEND(inner_source_first_word)
{
	bend_address(p, v6_of(p) ? 11 : 12);
}
BEND(inner_destination)
{
	bend_address(p, v6_of(p) ? 39 : 19);
}
BEND(inner_destination_middle)
{
	bend_address(p, v6_of(p) ? 30 : 17);
}
BEND(outer_source)
{
	outer(p)[v6_of(p) ? 22 : 14] ^= 1;
	if (!v6_of(p))
		fix_ip(outer(p));
}
BEND(inner_length_less)
{
	set_total(inner(p), get_total(inner(p)) - 4);
}
BEND(inner_length_more)
{
	set_total(inner(p), get_total(inner(p)) + 4);
}
BEND(outer_length_less)
{
	set_total(outer(p), get_total(outer(p)) - 4);
}
BEND(outer_length_more)
{
	set_total(outer(p), get_total(outer(p)) + 4);
}
BEND(outer_length_0)
{
	put16(outer(p) + (v6_of(p) ? 4 : 2), 0);
	if (!v6_of(p))
		fix_ip(outer(p));
}
/* Lengths that agree with each other modulo 2^16 alone. */
BEND(lengths_wrap)
{
	set_total(outer(p), 10);
	put16(udp(p) + 4, 65526);
	set_total(inner(p), 65518);
}
BEND(outer_length_headers_only)
{
	set_total(outer(p), inner(p) - outer(p));
	put16(udp(p) + 4, 8);
}
BEND(inner_bad_checksum)
{
	inner(p)[10] ^= 0x80;
}
BEND(inner_ttl_damaged)
{
	inner(p)[8]++;
}
BEND(inner_ihl_short)
{
	inner(p)[0] = 0x44;
	put16(inner(p) + 10, 0);
	put16(inner(p) + 10, ~sum16(inner(p), 20, 0));
}
BEND(inner_ihl_beyond)
{
	p->len = inner(p) + 40 - p->b;
	set_total(inner(p), 40);
	fit_outer(p);
	inner(p)[0] = 0x4f;
}
BEND(inner_fragment_first)
{
	put16(inner(p) + 6, 0x2000);
	fix_ip(inner(p));
}
BEND(inner_fragment_last)
{
	put16(inner(p) + 6, 0x0003);
	fix_ip(inner(p));
}
BEND(inner_v6_extension)
{
	inner(p)[6] = 60;
}
BEND(inner_syn)
{
	inner_tcp(p)[13] = SYN;
	fix_tcp(inner(p));
}
BEND(inner_syn_ack)
{
	inner_tcp(p)[13] = SYN | ACK;
	fix_tcp(inner(p));
}
BEND(inner_udp)
{
	inner(p)[v6_of(p) ? 6 : 9] = 17;
	if (!v6_of(p))
		fix_ip(inner(p));
}
BEND(inner_icmp)
{
	inner(p)[v6_of(p) ? 6 : 9] = v6_of(p) ? 58 : 1;
	if (!v6_of(p))
		fix_ip(inner(p));
}
BEND(inner_doff_short)
{
	inner_tcp(p)[12] = 4 << 4;
	fix_tcp(inner(p));
}
BEND(inner_doff_beyond)
{
	uint32_t n = inner_tcp(p) - inner(p) + 40;

	p->len = inner(p) - p->b + n;
	set_total(inner(p), n);
	fit_outer(p);
	inner_tcp(p)[12] = 15 << 4;
	fix_tcp(inner(p));
}
BEND(two_layers)
{
	pkt_wrap(p, NULL);
}
BEND(unknown_port)
{
	put16(inner_tcp(p), 81);
	fix_tcp(inner(p));
}
BEND(unknown_local_port)
{
	put16(inner_tcp(p) + 2, 40124);
	fix_tcp(inner(p));
}
BEND(ports_swapped)
{
	put16(inner_tcp(p), get16(inner_tcp(p) + 2));
	put16(inner_tcp(p) + 2, s->sport);
	fix_tcp(inner(p));
}

#define CASE(name, counter)                                \
	{                                                  \
#name, bend_##name, SHUNT_CNT_##counter, 0 \
	}
#define CASE4(name, counter)                               \
	{                                                  \
#name, bend_##name, SHUNT_CNT_##counter, 4 \
	}
#define CASE6(name, counter)                               \
	{                                                  \
#name, bend_##name, SHUNT_CNT_##counter, 6 \
	}

const struct bad bad_others[] = {
	CASE(other_port, MAX),
	CASE(port_53, MAX),
	CASE(our_port_as_source, MAX),
	CASE(not_udp, MAX),
	CASE(udplite, MAX), /* not deployed here */
	CASE(ip_in_ip, MAX),
	CASE(arp, MAX),
	CASE(unknown_ethertype, MAX),
	CASE(family_of_ethertype, MAX),
	CASE4(outer_fragment_first, MAX),
	CASE4(outer_fragment_last, MAX),
	CASE6(outer_v6_fragment, MAX),
	CASE6(outer_v6_hop_by_hop, MAX),
	CASE4(outer_options, MAX),
	CASE4(outer_ihl_short, MAX),
	CASE(outer_version, MAX),
	CASE(outer_length_more, MAX), /* than the frame has */
	{}};

const struct bad bad_malformed[] = {
	CASE4(outer_bad_checksum, DECAP_MALFORMED),
	CASE4(outer_ttl_damaged, DECAP_MALFORMED),
	CASE(garbage, DECAP_MALFORMED),
	CASE(all_zero, DECAP_MALFORMED),
	CASE(nothing_inside, DECAP_MALFORMED),
	CASE(first_nibble_0, DECAP_MALFORMED),
	CASE(first_nibble_5, DECAP_MALFORMED),
	CASE(gue_variant_0, DECAP_MALFORMED),
	CASE(inner_other_family, DECAP_MALFORMED),
	CASE(inner_source, DECAP_MALFORMED),
	CASE(inner_source_first_word, DECAP_MALFORMED),
	CASE(inner_destination, DECAP_MALFORMED),
	CASE(inner_destination_middle, DECAP_MALFORMED),
	CASE(outer_source, DECAP_MALFORMED),
	CASE(inner_length_less, DECAP_MALFORMED),
	CASE(inner_length_more, DECAP_MALFORMED),
	CASE(outer_length_less, DECAP_MALFORMED),
	CASE(outer_length_headers_only, DECAP_MALFORMED),
	CASE4(inner_bad_checksum, DECAP_MALFORMED),
	CASE4(inner_ttl_damaged, DECAP_MALFORMED),
	CASE4(inner_ihl_short, DECAP_MALFORMED),
	CASE4(inner_ihl_beyond, DECAP_MALFORMED),
	CASE4(inner_fragment_first, DECAP_MALFORMED),
	CASE4(inner_fragment_last, DECAP_MALFORMED),
	CASE6(inner_v6_extension, DECAP_MALFORMED),
	CASE(inner_syn, DECAP_MALFORMED),
	CASE(inner_syn_ack, DECAP_MALFORMED),
	CASE(inner_udp, DECAP_MALFORMED),
	CASE(inner_icmp, DECAP_MALFORMED),
	CASE(inner_doff_short, DECAP_MALFORMED),
	CASE(inner_doff_beyond, DECAP_MALFORMED),
	CASE(two_layers, DECAP_MALFORMED),
	{}};

/* Each counts as one of two: what it is short of is not for us to say. */
const struct bad bad_lengths[] = {
	CASE4(outer_length_0, MAX), CASE4(lengths_wrap, MAX), {}};

const struct bad bad_flows[] = {CASE(unknown_port, DECAP_UNKNOWN),
				CASE(unknown_local_port, DECAP_UNKNOWN),
				CASE(ports_swapped, DECAP_UNKNOWN),
				{}};
