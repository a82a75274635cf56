// SPDX-License-Identifier: GPL-2.0-only
/* The instance's pinned maps and programs, its events, and SOCK_DESTROY. */
#include "proxy.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- pins ---- */

static int pinned(const char *pins, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", pins, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		say("%s: %s", path, strerror(-fd));
	return fd;
}

/* Map an array whole; n becomes the number of its elements. */
static void *map_array(const char *pins, const char *name, size_t size,
		       uint32_t *n)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int fd = pinned(pins, name);
	void *at;

	if (fd < 0)
		return NULL;
	at = MAP_FAILED;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.value_size == size)
		at = mmap(NULL, size * info.max_entries, PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED) {
		say("%s: cannot be mapped", name);
		return NULL;
	}
	*n = info.max_entries;
	return at;
}

static int event(void *context, void *data, size_t size)
{
	struct proxy *px = context;

	if (size >= sizeof(struct shunt_event))
		stream_event(px, data, size);
	return 0;
}

int kernel_events(struct proxy *px)
{
	return ring_buffer__consume(px->events);
}

static void watch(struct proxy *px)
{
	io_uring_prep_poll_multishot(ring_sqe(px, &px->events_op),
				     ring_buffer__epoll_fd(px->events), POLLIN);
}

static void woken(struct proxy *px, struct op *op, int res, unsigned flags)
{
	(void)op, (void)res;
	kernel_events(px);
	if (!(flags & IORING_CQE_F_MORE))
		watch(px);
}

void kernel_watch(struct proxy *px)
{
	px->events_op.done = woken;
	watch(px);
}

int kernel_open_events(struct proxy *px, const char *pins)
{
	int rings = pinned(pins, "maps/message_events"), fd;
	uint32_t id;

	if (rings < 0)
		return rings;
	fd = bpf_map_lookup_elem(rings, &px->index, &id);
	if (!fd)
		fd = bpf_map_get_fd_by_id(id);
	close(rings);
	if (fd < 0)
		return fd;
	px->events = ring_buffer__new(fd, event, px, NULL);
	return px->events ? 0 : -errno;
}

static int read_devices(struct proxy *px, const char *pins)
{
	int fd = pinned(pins, "maps/devices");

	if (fd < 0)
		return fd;
	for (__u32 i = 0; i < SHUNT_MAX_DEVICES; i++)
		bpf_map_lookup_elem(fd, &i, &px->devices[i]);
	close(fd);
	return 0;
}

int kernel_map(struct proxy *px, const char *pins)
{
	uint32_t n;

	px->shared =
		map_array(pins, "maps/message_proxy", sizeof(*px->shared), &n);
	px->shm = px->shared;
	px->shm_streams = map_array(pins, "maps/streams",
				    sizeof(*px->shm_streams), &px->n_streams);
	return px->shared && px->shm_streams ? 0 : -ENOENT;
}

int kernel_open(struct proxy *px, const char *pins)
{
	if (kernel_map(px, pins))
		return -ENOENT;
	px->shm_flows = map_array(pins, "maps/flows", sizeof(*px->shm_flows),
				  &px->n_flows);
	px->free_fd = pinned(pins, "maps/message_free");
	px->redirection_fd = pinned(pins, "maps/redirection");
	px->flow_index_fd = pinned(pins, "maps/flow_index");
	px->stream_index_fd = pinned(pins, "maps/stream_index");
	px->inject_fd = pinned(pins, "progs/shunt_inject");
	px->enrol_fd = pinned(pins, "links/msg_enrol");
	px->socks_fd = pinned(pins, "maps/message_socks");
	if (!px->shm_flows || px->free_fd < 0 || px->redirection_fd < 0 ||
	    px->flow_index_fd < 0 || px->stream_index_fd < 0 ||
	    px->inject_fd < 0 || px->enrol_fd < 0 || px->socks_fd < 0 ||
	    read_devices(px, pins))
		return -ENOENT;
	px->inject_xdp_fd = -1;
	for (int i = 0; i < SHUNT_MAX_DEVICES && px->devices[i].ifindex; i++)
		if (px->devices[i].ingress == SHUNT_INGRESS_XDP &&
		    px->inject_xdp_fd < 0)
			px->inject_xdp_fd =
				pinned(pins, "progs/shunt_ingress_xdp");
	return 0;
}

const struct shunt_device *kernel_device(const struct proxy *px,
					 uint32_t ifindex)
{
	for (int i = 0; i < SHUNT_MAX_DEVICES; i++)
		if (px->devices[i].ifindex == ifindex)
			return &px->devices[i];
	return NULL;
}

/* ---- sockets ---- */

/* One loop at a time: the iterator looks into one place for what it is to do,
 * and can't see who reads it. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

static int ask_locked(struct proxy *px, uint64_t what)
{
	uint32_t result = SHUNT_ENROL_NEVER;
	int fd;

	px->shared->enrol = what;
	fd = bpf_iter_create(px->enrol_fd);
	if (fd < 0) {
		say("cannot enrol a socket: %s", strerror(-fd));
		return SHUNT_ENROL_NEVER;
	}
	if (read(fd, &result, sizeof(result)) != sizeof(result))
		result = SHUNT_ENROL_NEVER;
	close(fd);
	return result;
}

static int ask(struct proxy *px, uint64_t what)
{
	int result;

	pthread_mutex_lock(&asking);
	result = ask_locked(px, what);
	pthread_mutex_unlock(&asking);
	return result;
}

int kernel_enrol(struct proxy *px, uint32_t number)
{
	return ask(px, number);
}

void kernel_look(struct proxy *px, uint32_t number)
{
	ask(px, number | SHUNT_ENROL_LOOK);
}

void kernel_look_queued(struct proxy *px)
{
	px->looks = (px->looks + 1) & 0xffffff ?: 1;
	ask(px, SHUNT_ENROL_QUEUED | SHUNT_ENROL_QUEUED_NUMBER(px->looks) |
			px->index);
}

bool kernel_queued(const struct proxy *px, const struct shunt_stream *s,
		   uint64_t *queued)
{
	*queued = s->rx_queued;
	return s->rx_look == (SHUNT_ENROL_QUEUED_NUMBER(px->looks) | px->index);
}

void kernel_release(struct proxy *px, uint32_t number)
{
	bpf_map_delete_elem(px->socks_fd, &number);
}

/* ---- numbers, flows ---- */

void kernel_free_number(struct proxy *px, uint32_t number)
{
	bpf_map_update_elem(px->free_fd, NULL, &number, BPF_ANY);
}

/* After a start: whatever is free, once. */
void kernel_refill(struct proxy *px)
{
	uint32_t number;

	while (!bpf_map_lookup_and_delete_elem(px->free_fd, NULL, &number))
		;
	for (number = 1; number < px->n_streams; number++)
		if (px->shm_streams[number].life == SHUNT_STREAM_FREE)
			kernel_free_number(px, number);
}

const struct shunt_flow *kernel_flow(struct proxy *px,
				     const struct shunt_key *key)
{
	const struct shunt_flow *f;
	uint32_t slot;

	if (bpf_map_lookup_elem(px->flow_index_fd, key, &slot) ||
	    slot >= px->n_flows)
		return NULL;
	f = &px->shm_flows[slot];
	return memcmp(&f->key, key, sizeof(*key)) ? NULL : f;
}

bool kernel_on_transport(struct proxy *px, const struct shunt_key *key)
{
	const struct shunt_flow *f = kernel_flow(px, key);

	return f && f->life == SHUNT_LIVE && f->tx == SHUNT_TX_ENCAP;
}

/* ---- sock_diag(7): SOCK_DESTROY (4.5) ---- */

int kernel_destroy(const struct shunt_key *k)
{
	struct {
		struct nlmsghdr n;
		struct inet_diag_req_v2 r;
	} req = {
		.n.nlmsg_len = sizeof(req),
		.n.nlmsg_type = SOCK_DESTROY,
		.n.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.r.sdiag_family = is_v4(&k->remote) ? AF_INET : AF_INET6,
		.r.sdiag_protocol = IPPROTO_TCP,
		.r.idiag_states = -1,
		.r.id.idiag_sport = k->lport,
		.r.id.idiag_dport = k->rport,
		.r.id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
	};
	struct {
		struct nlmsghdr n;
		struct nlmsgerr e;
	} answer;
	ssize_t n;
	int fd, err = 0;

	if (is_v4(&k->remote)) {
		req.r.id.idiag_src[0] = k->local.w[3];
		req.r.id.idiag_dst[0] = k->remote.w[3];
	} else {
		memcpy(req.r.id.idiag_src, k->local.w, 16);
		memcpy(req.r.id.idiag_dst, k->remote.w, 16);
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	if (send(fd, &req, sizeof(req), 0) < 0)
		err = -errno;
	n = err ? 0 : recv(fd, &answer, sizeof(answer), 0);
	if (n >= (ssize_t)sizeof(answer.n) + (ssize_t)sizeof(int) &&
	    answer.n.nlmsg_type == NLMSG_ERROR)
		err = answer.e.error;
	close(fd);
	if (err && err != -ENOENT)
		say("cannot reset a connection: %s", strerror(-err));
	return err;
}
