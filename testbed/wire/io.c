// SPDX-License-Identifier: GPL-2.0-only
/*
 * A line's sockets: how frames come in and go out.
 */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Room for bursts; the queue behind it is ours and limited by the faults. */
#define SOCKET_BUFFER (64 << 20)
/* A full backlog at the receiving device drains within this time. */
#define SEND_TRIES    200
#define SEND_PAUSE_NS 50000

/* ---- opening ---- */

static int open_socket(const char *device, int protocol)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(protocol)};
	int fd, err;

	addr.sll_ifindex = if_nametoindex(device);
	if (!addr.sll_ifindex)
		return -errno;
	/* With a protocol, it would take frames of all devices until bind. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (void *)&addr, sizeof(addr))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno
								    : 0;
}

static int get_mtu(int fd, const char *device)
{
	struct ifreq req = {};

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", device);
	return ioctl(fd, SIOCGIFMTU, &req) ? -errno : req.ifr_mtu;
}

int line_open(struct line *l, unsigned int dir, const char *from,
	      const char *to)
{
	int err, i;

	memset(l, 0, sizeof(*l));
	l->dir = dir;
	faults_clear(&l->faults);
	list_init(&l->queue);
	list_init(&l->held);
	l->tx = open_socket(to, 0);
	if (l->tx < 0)
		return l->tx;
	l->rx = open_socket(from, ETH_P_ALL);
	if (l->rx < 0)
		return l->rx;
	/*
	 * IGNORE_OUTGOING: what the other line sends here is not ours.
	 * The time stamp says when a frame came, even if we wake up late.
	 */
	if ((err = set_option(l->rx, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) ||
	    (err = set_option(l->rx, SOL_PACKET, PACKET_AUXDATA, 1)) ||
	    (err = set_option(l->rx, SOL_SOCKET, SO_TIMESTAMPNS, 1)) ||
	    (err = set_option(l->rx, SOL_SOCKET, SO_RCVBUFFORCE,
			      SOCKET_BUFFER)) ||
	    (err = set_option(l->tx, SOL_SOCKET, SO_SNDBUFFORCE,
			      SOCKET_BUFFER)) ||
	    (err = set_option(l->tx, SOL_PACKET, PACKET_QDISC_BYPASS, 1)))
		return err;
	err = get_mtu(l->rx, from);
	if (err < 0)
		return err;
	l->frame_max = err + ETH_HLEN + TAG_LEN;
	for (i = 0; i < BATCH; i++) {
		l->rx_packet[i] = packet_new(l);
		if (!l->rx_packet[i])
			return -ENOMEM;
	}
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->done = eventfd(0, EFD_CLOEXEC);
	return l->wake < 0 || l->done < 0 ? -errno : 0;
}

/* ---- receiving ---- */

/* Puts a VLAN tag, which the kernel took out, back into its place. */
static void insert_tag(struct packet *p, const struct tpacket_auxdata *aux)
{
	uint16_t tpid = ETH_P_8021Q, tag[2];

	if (aux->tp_status & TP_STATUS_VLAN_TPID_VALID)
		tpid = aux->tp_vlan_tpid;
	tag[0] = htons(tpid);
	tag[1] = htons(aux->tp_vlan_tci);
	p->start -= TAG_LEN;
	memmove(p->data + p->start, p->data + p->start + TAG_LEN, 2 * ETH_ALEN);
	memcpy(p->data + p->start + 2 * ETH_ALEN, tag, TAG_LEN);
	p->len += TAG_LEN;
}

/* False if the frame cannot be sent on as it is. */
static bool read_control(struct packet *p, struct msghdr *msg,
			 struct timespec *stamp)
{
	struct tpacket_auxdata aux = {};
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_SOCKET &&
		    c->cmsg_type == SCM_TIMESTAMPNS)
			memcpy(stamp, CMSG_DATA(c), sizeof(*stamp));
		else if (c->cmsg_level == SOL_PACKET &&
			 c->cmsg_type == PACKET_AUXDATA)
			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
	}
	if (msg->msg_flags & MSG_TRUNC ||
	    aux.tp_status & TP_STATUS_CSUMNOTREADY)
		return false;
	if (aux.tp_status & TP_STATUS_VLAN_VALID)
		insert_tag(p, &aux);
	return true;
}

int line_receive(struct line *l)
{
	char control[BATCH][CMSG_SPACE(sizeof(struct timespec)) +
			    CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct timespec stamp;
	uint64_t now, real, age;
	struct packet *p;
	int i, n;

	for (i = 0; i < BATCH; i++) {
		iov[i].iov_base = l->rx_packet[i]->data + TAG_LEN;
		iov[i].iov_len = l->frame_max;
		msgs[i].msg_hdr = (struct msghdr){
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = sizeof(control[i]),
		};
	}
	n = recvmmsg(l->rx, msgs, BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return 0;

	/* In this order: who loses the processor in between sends late, and not
	 * early. */
	real = clock_ns(CLOCK_REALTIME);
	now = clock_ns(CLOCK_MONOTONIC);
	for (i = 0; i < n; i++) {
		p = l->rx_packet[i];
		p->len = msgs[i].msg_len;
		p->start = TAG_LEN;
		stamp = (struct timespec){};
		if (!read_control(p, &msgs[i].msg_hdr, &stamp)) {
			l->stats.unfinished++;
			continue;
		}
		/* The stamp's clock may be set meanwhile: do not trust it. */
		age = real - (stamp.tv_sec * NSEC_PER_SEC + stamp.tv_nsec);
		if (age > NSEC_PER_SEC)
			age = 0;
		l->rx_packet[i] = packet_new(l);
		if (!l->rx_packet[i]) {
			l->rx_packet[i] = p;
			l->stats.send_failed++;
			continue;
		}
		line_accept(l, p, now - age);
	}
	return n;
}

/* ---- sending ---- */

static void send_all(struct line *l, struct mmsghdr *msgs, int n)
{
	const struct timespec pause = {.tv_nsec = SEND_PAUSE_NS};
	int done = 0, tries = 0, sent;

	while (done < n) {
		sent = sendmmsg(l->tx, msgs + done, n - done, 0);
		if (sent > 0) {
			done += sent;
			tries = 0;
		} else if (errno == ENOBUFS && tries++ < SEND_TRIES) {
			/* The receiver's backlog is full, and it is the
			 * receiver who has to get the processor now.
			 */
			nanosleep(&pause, NULL);
		} else if (errno != EINTR) {
			l->stats.send_failed++;
			done++;
			tries = 0;
		}
	}
}

void line_send(struct line *l, struct packet *first, int n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct packet *p, *next;
	int i = 0;

	for (p = first; p; p = p->next, i++) {
		iov[i].iov_base = p->data + p->start;
		iov[i].iov_len = p->len;
		msgs[i].msg_hdr =
			(struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
		if (p->counts) {
			l->stats.forwarded++;
			l->stats.bytes += p->len;
		}
	}
	send_all(l, msgs, n);
	for (p = first; p; p = next) {
		next = p->next;
		packet_free(l, p);
	}
	l->queued -= n;
}

void line_count_missed(struct line *l)
{
	struct tpacket_stats s;
	socklen_t len = sizeof(s);

	/* Reading sets the kernel's count to zero. */
	if (!getsockopt(l->rx, SOL_PACKET, PACKET_STATISTICS, &s, &len))
		l->stats.missed += s.tp_drops;
}
