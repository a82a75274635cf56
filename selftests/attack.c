// SPDX-License-Identifier: GPL-2.0-only
/* See attack.h. */
#include "attack.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 7980

/* A packet socket on the router's device to that host. */
static int open_wire(struct lab *lab, enum lab_host host, struct wire *w)
{
	const char *dev = host == CLIENT ? "rc" : "rs";
	struct sockaddr_ll ll = {.sll_family = AF_PACKET};
	struct ifreq router = {}, peer = {};
	int fd;

	strcpy(router.ifr_name, dev);
	strcpy(peer.ifr_name, "eth0");
	if (setns(lab->ns[host], CLONE_NEWNET))
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &peer))
		return -errno;
	close(fd);
	if (setns(lab->ns[ROUTER], CLONE_NEWNET))
		return -errno;
	w->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	ll.sll_ifindex = if_nametoindex(dev);
	if (w->fd < 0 || ioctl(w->fd, SIOCGIFHWADDR, &router) ||
	    bind(w->fd, (struct sockaddr *)&ll, sizeof(ll)))
		return -errno;
	if (setns(lab->home, CLONE_NEWNET))
		abort();
	memcpy(w->macs, peer.ifr_hwaddr.sa_data, 6);
	memcpy(w->macs + 6, router.ifr_hwaddr.sa_data, 6);
	return 0;
}

int attack_put_on(const struct wire *w, struct pkt *p)
{
	memcpy(p->b, w->macs, 12);
	return send(w->fd, p->b, p->len, 0) == (ssize_t)p->len ? 0 : -errno;
}

static void port_and_addr(struct sockaddr_in6 *a, bool v6, uint8_t addr[16],
			  uint16_t *port)
{
	struct sockaddr_in *a4 = (void *)a;

	*port = ntohs(a->sin6_port);
	memset(addr, 0, 16);
	if (v6)
		memcpy(addr, &a->sin6_addr, 16);
	else if (a->sin6_family == AF_INET6)
		memcpy(addr, a->sin6_addr.s6_addr + 12, 4);
	else
		memcpy(addr, &a4->sin_addr, 4);
}

/* A segment to the owner of that socket, but for its numbers. */
static struct seg segment_to(int fd, bool v6)
{
	struct sockaddr_in6 local = {}, remote = {};
	socklen_t n = sizeof(local), m = sizeof(remote);
	struct seg s = seg_in(v6);

	getsockname(fd, (struct sockaddr *)&local, &n);
	getpeername(fd, (struct sockaddr *)&remote, &m);
	port_and_addr(&remote, v6, s.src, &s.sport);
	port_and_addr(&local, v6, s.dst, &s.dport);
	return s;
}

uint32_t attack_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 32;
}

int attack_up(struct attack *a, const char *ingress, int domain)
{
	struct lab *lab = &a->lab;
	bool v6 = domain == AF_INET6;
	int err = lab_up_both(lab, NULL, "--ingress %s", ingress);

	if (err)
		return err;
	a->random = now_us();
	a->listener = lab_listen(lab, SERVER, AF_INET6, PORT);
	if (a->listener < 0)
		return a->listener;
	err = lab_pair_on(lab, &a->p, domain, a->listener)
		      ?: stream_through(a->p.c, a->p.s, 1, 20 * KB)
		      ?: stream_through(a->p.s, a->p.c, 2, 20 * KB);
	if (err)
		return err;
	if (!lab_flow(lab, CLIENT, a->p.c, "redirected", NULL) ||
	    !lab_flow(lab, SERVER, a->p.s, "redirected", NULL))
		return -1;
	a->s[CLIENT] = segment_to(a->p.c, v6);
	a->s[SERVER] = segment_to(a->p.s, v6);
	return open_wire(lab, CLIENT, &a->to[CLIENT])
		       ?: open_wire(lab, SERVER, &a->to[SERVER]);
}

void attack_end(struct attack *a)
{
	lab_pair_close(&a->p);
	close(a->to[CLIENT].fd);
	close(a->to[SERVER].fd);
	close(a->listener);
}

long attack_stat(json_t *stats, const char *counter)
{
	json_t *value = json_object_get(stats, counter);

	return value ? json_integer_value(value) : -1;
}
