// SPDX-License-Identifier: GPL-2.0-only
/* A veth pair with shunt_egress attached: see cable.h. */
#include "cable.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int packet_socket(const char *dev, int protocol)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(protocol),
				 .sll_ifindex = if_nametoindex(dev)};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, htons(protocol));

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&ll, sizeof(ll))) {
		close(fd);
		return -errno;
	}
	return fd;
}

int cable_open(struct cable *c, struct rig *r, unsigned int mtu)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1,
		    .prog_fd = r->prog[RIG_EGRESS]);
	int err;

	memset(c, 0, sizeof(*c));
	c->tx = c->rx = -1;
	err = rig_netns(r, mtu);
	if (err)
		return err;
	c->hook.sz = sizeof(c->hook);
	c->hook.ifindex = r->ifindex;
	c->hook.attach_point = BPF_TC_EGRESS;
	err = bpf_tc_hook_create(&c->hook) ?: bpf_tc_attach(&c->hook, &opts);
	if (err)
		return err;
	c->tx = packet_socket("t0", 0);
	c->rx = packet_socket("t1", ETH_P_ALL);
	return c->tx < 0 ? c->tx : c->rx < 0 ? c->rx : 0;
}

void cable_close(struct cable *c)
{
	/* The namespace goes with the test's process, and the devices with it.
	 */
	close(c->tx);
	close(c->rx);
}

static int send_frame(struct cable *c, const struct virtio_net_hdr *h,
		      const struct pkt *p)
{
	struct iovec v[2] = {{(void *)h, sizeof(*h)}, {(void *)p->b, p->len}};

	return writev(c->tx, v, 2) < 0 ? -errno : 0;
}

int cable_send(struct cable *c, const struct pkt *p)
{
	struct virtio_net_hdr h = {};

	return send_frame(c, &h, p);
}

int cable_send_offload(struct cable *c, struct pkt *p)
{
	bool v6 = pkt_v6(p);
	uint8_t *ip = p->b + pkt_l3(p), *t = p->b + pkt_l4(p);
	uint32_t len = p->len - (t - p->b);
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = !p->gso_size ? VIRTIO_NET_HDR_GSO_NONE
			    : v6	 ? VIRTIO_NET_HDR_GSO_TCPV6
					 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = t - p->b + (t[12] >> 4) * 4,
		.gso_size = p->gso_size,
		.csum_start = t - p->b,
		.csum_offset = 16,
	};

	/* The pseudo header's sum is in place, the device adds the rest. */
	put16(t + 16,
	      v6 ? sum16(ip + 8, 32, len + 6) : sum16(ip + 12, 8, len + 6));
	return send_frame(c, &h, p);
}

int cable_recv(struct cable *c, struct pkt *p)
{
	struct virtio_net_hdr h = {};
	struct iovec v[2] = {{&h, sizeof(h)}, {p->b, sizeof(p->b)}};
	ssize_t n;

	if (cable_silent(c, 2000))
		return -ETIMEDOUT;
	n = readv(c->rx, v, 2);
	if (n < (ssize_t)sizeof(h))
		return n < 0 ? -errno : -EIO;
	p->len = n - sizeof(h);
	p->gso_size = h.gso_type ? h.gso_size : 0;
	p->gso_segs = 0;
	return 0;
}

int cable_silent(struct cable *c, int ms)
{
	struct pollfd p = {.fd = c->rx, .events = POLLIN};

	return poll(&p, 1, ms) == 0;
}
