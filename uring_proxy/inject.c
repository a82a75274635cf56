// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets put into the stack as if a device had received them, by
 * BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES (5.18): a FIN that had to
 * wait for the path, as it came in; and an acknowledgement that makes TCP send
 * what the egress program has kept home.
 */
#include "proxy.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- checksums, RFC 1071 ---- */

static uint32_t add(uint32_t sum, const void *data, uint32_t n)
{
	const unsigned char *b = data;

	for (; n > 1; n -= 2, b += 2)
		sum += b[0] << 8 | b[1];
	return n ? sum + (b[0] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of TCP's pseudo header */
static uint32_t pseudo(const void *ip, bool v4, uint32_t tcp_length)
{
	const struct iphdr *h4 = ip;
	const struct ipv6hdr *h6 = ip;
	uint32_t sum = IPPROTO_TCP + tcp_length;

	return v4 ? add(sum, &h4->saddr, 8) : add(sum, &h6->saddr, 32);
}

/* ---- a held frame ---- */

struct parts {
	unsigned char *ip; /* the inner one */
	struct tcphdr *tcp;
	uint32_t tcp_length;
	bool v4;
};

/* The segment in a frame that ingress has looked at already. */
static int find_tcp(struct proxy *px, struct stream *st, struct parts *p)
{
	const struct shunt_flow *f = kernel_flow(px, &st->shm->key);
	unsigned char *end = st->held + HELD_ALIGN + st->held_length;
	unsigned char *ip = st->held + HELD_ALIGN + ETH_HLEN;
	uint32_t hlen, total;
	uint16_t type;

	memcpy(&type, ip - 2, 2);
	for (int i = 0; i < 2 && (type == htons(ETH_P_8021Q) ||
				  type == htons(ETH_P_8021AD));
	     i++) {
		ip += 4;
		memcpy(&type, ip - 2, 2);
	}
	for (int inner = 0; inner < 2; inner++) {
		if (end - ip < (int)sizeof(struct ipv6hdr))
			return -EINVAL;
		p->v4 = ip[0] >> 4 == 4;
		hlen = p->v4 ? (ip[0] & 15) * 4 : sizeof(struct ipv6hdr);
		total = p->v4 ? (uint32_t)(ip[2] << 8 | ip[3])
			      : hlen + (ip[4] << 8 | ip[5]);
		if ((p->v4 ? ip[9] : ip[6]) == IPPROTO_TCP)
			break;
		if (!f || inner)
			return -EINVAL;
		ip += f->overhead;
	}
	p->ip = ip;
	p->tcp = (struct tcphdr *)(ip + hlen);
	p->tcp_length = total - hlen;
	if (total < hlen + sizeof(struct tcphdr) || total > end - ip ||
	    p->tcp->doff * 4 > p->tcp_length)
		return -EINVAL;
	return 0;
}

static void run(struct proxy *px, int prog, uint32_t ifindex, void *frame,
		uint32_t length)
{
	struct xdp_md ctx = {.data_end = length, .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = length, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1, .batch_size = 1,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	int err = bpf_prog_test_run_opts(prog, &opts);

	(void)px;
	if (err)
		say("cannot inject a packet: %s", strerror(-err));
}

void inject_held(struct proxy *px, struct stream *st)
{
	const struct shunt_device *d = kernel_device(px, st->held_ifindex);
	struct parts p;

	if (!st->held_length)
		return;
	/* At TC, a packet from this machine may have left its checksum to the
	 * device: all that is there is the sum of the pseudo header. */
	if (!find_tcp(px, st, &p)) {
		uint32_t sum = pseudo(p.ip, p.v4, p.tcp_length);

		if (p.tcp->check == htons(fold(sum))) {
			p.tcp->check = 0;
			sum = add(sum, p.tcp, p.tcp_length);
			p.tcp->check = htons((uint16_t)~fold(sum));
		}
	}
	run(px,
	    d && d->ingress == SHUNT_INGRESS_XDP ? px->inject_xdp_fd
						 : px->inject_fd,
	    st->held_ifindex, st->held + HELD_ALIGN, st->held_length);
	st->held_length = 0;
}

/* ---- an acknowledgement that says nothing new ---- */

static int mac_of(uint32_t ifindex, unsigned char mac[ETH_ALEN])
{
	struct ifreq r = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

	if (!if_indextoname(ifindex, r.ifr_name) ||
	    ioctl(fd, SIOCGIFHWADDR, &r))
		err = -errno;
	else
		memcpy(mac, r.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
	return err;
}

void inject_poke(struct proxy *px, struct stream *st)
{
	const struct shunt_key *k = &st->shm->key;
	const struct shunt_flow *f = kernel_flow(px, k);
	uint32_t ifindex = px->devices[0].ifindex;
	bool v4 = is_v4(&k->remote);
	struct {
		unsigned char align[HELD_ALIGN];
		struct ethhdr eth;
		unsigned char
			rest[sizeof(struct ipv6hdr) + sizeof(struct tcphdr)];
	} __attribute__((packed, aligned(8))) frame = {};
	struct iphdr *h4 = (void *)frame.rest;
	struct ipv6hdr *h6 = (void *)frame.rest;
	struct tcphdr *t =
		(void *)(frame.rest + (v4 ? sizeof(*h4) : sizeof(*h6)));
	uint32_t sum;

	if (!f || mac_of(ifindex, frame.eth.h_dest))
		return;
	frame.eth.h_proto = htons(v4 ? ETH_P_IP : ETH_P_IPV6);
	if (v4) {
		h4->version = 4;
		h4->ihl = 5;
		h4->tot_len = htons(sizeof(*h4) + sizeof(*t));
		h4->frag_off = htons(0x4000) /* DF */;
		h4->ttl = 64;
		h4->protocol = IPPROTO_TCP;
		h4->saddr = k->remote.w[3];
		h4->daddr = k->local.w[3];
		h4->check = htons((uint16_t)~fold(add(0, h4, sizeof(*h4))));
	} else {
		h6->version = 6;
		h6->payload_len = htons(sizeof(*t));
		h6->nexthdr = IPPROTO_TCP;
		h6->hop_limit = 64;
		memcpy(&h6->saddr, k->remote.w, 16);
		memcpy(&h6->daddr, k->local.w, 16);
	}
	t->source = k->rport;
	t->dest = k->lport;
	t->seq = htonl(f->tx_ack);
	t->ack_seq = htonl(f->rx_ack);
	t->doff = 5;
	t->ack = 1;
	t->psh = 1; /* a sync, for our ingress: nothing that the peer says */
	t->window = htons(1); /* smaller than what is known: ignored */
	sum = add(pseudo(frame.rest, v4, sizeof(*t)), t, sizeof(*t));
	t->check = htons((uint16_t)~fold(sum));
	run(px, px->inject_fd, ifindex, &frame.eth,
	    sizeof(frame.eth) + (v4 ? sizeof(*h4) : sizeof(*h6)) + sizeof(*t));
}
