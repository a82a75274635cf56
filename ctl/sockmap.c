// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does this kernel deliver through a sockmap as the message path needs it?
 * Found out by doing it: 929e30f93125 broke it in stable kernels, and others
 * may. In a network namespace of its own, where nobody else's programs are.
 */
#include "sockmap.h"

#include "ctl.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS	  1000	/* for what should come at once */
#define SETTLE_US 10000 /* until the other process waits for it */

/* The peer is not in the map: what it sends is plain TCP. */
enum { TARGET, SENDER, SOCKETS, PEER = SOCKETS, ALL };

/* Every message of every socket in the map is for socket 0. */
static int load_redirect(int map)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = BPF_REG_2,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = map},
		{},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K,
		 .dst_reg = BPF_REG_4,
		 .imm = BPF_F_INGRESS},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_msg_redirect_map},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SK_MSG, "shunt_probe", "GPL", insns,
			     ARRAY_SIZE(insns), NULL);
}

static int lo_up(void)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), err;

	err = fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static int connect_pair(int ends[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || ends[0] < 0 ||
	    bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len) ||
	    connect(ends[0], (struct sockaddr *)&a, len))
		return -errno;
	ends[1] = accept(listener, NULL, NULL);
	if (ends[1] < 0)
		return -errno;
	close(listener);
	return 0;
}

static int set_up(int sockets[ALL])
{
	int sending[2], receiving[2], map, prog, err;

	if (unshare(CLONE_NEWNET))
		return -errno;
	err = lo_up();
	if (!err)
		err = connect_pair(sending);
	if (!err)
		err = connect_pair(receiving);
	if (err)
		return err;
	sockets[TARGET] = receiving[0];
	sockets[SENDER] = sending[0];
	sockets[PEER] = receiving[1];
	map = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "shunt_probe", 4, 4, SOCKETS,
			     NULL);
	if (map < 0)
		return map;
	prog = load_redirect(map);
	if (prog < 0)
		return prog;
	err = bpf_prog_attach(prog, map, BPF_SK_MSG_VERDICT, 0);
	for (__u32 i = 0; !err && i < SOCKETS; i++)
		err = bpf_map_update_elem(map, &i, &sockets[i], BPF_ANY);
	return err;
}

/* ---- who waits ---- */

static const char text[] = "message";

static bool take(int fd)
{
	char buf[sizeof(text)] = "";

	return recv(fd, buf, sizeof(buf), 0) == sizeof(text) &&
	       !strcmp(buf, text);
}

static bool await(int fd, unsigned events)
{
	struct epoll_event e = {.events = events}, got;
	int ep = epoll_create1(0);

	return ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) &&
	       epoll_wait(ep, &got, 1, WAIT_MS) == 1;
}

static bool by_recv(int fd)
{
	return take(fd);
}

static bool by_level(int fd)
{
	return await(fd, EPOLLIN) && take(fd);
}

static bool by_edge(int fd)
{
	return await(fd, EPOLLIN | EPOLLET) && take(fd);
}

static bool by_fionread(int fd)
{
	int n = 0;

	return await(fd, EPOLLIN) && !ioctl(fd, FIONREAD, &n) &&
	       n == sizeof(text) && take(fd);
}

static const struct {
	bool (*wait)(int fd);
	unsigned failure;
} waits[] = {
	{by_recv, SOCKMAP_RECV},
	{by_level, SOCKMAP_LEVEL},
	{by_edge, SOCKMAP_EDGE},
	{by_fionread, SOCKMAP_FIONREAD},
};

/* A process of its own waits, and we send. */
static bool woken(const int sockets[ALL], int from, bool (*wait)(int fd))
{
	int status = 1;
	pid_t pid;

	pid = fork();
	if (!pid) {
		alarm(2);
		_exit(wait(sockets[TARGET]) ? 0 : 1);
	}
	usleep(SETTLE_US);
	if (send(sockets[from], text, sizeof(text), MSG_NOSIGNAL) !=
	    sizeof(text))
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	/* What it has not taken is not for the next one. */
	if (status)
		while (recv(sockets[TARGET], (char[64]){}, 64, MSG_DONTWAIT) >
		       0)
			;
	return !status;
}

/* Exit code: SOCKMAP_…, or what can't be one of them. */
static int try_all(void)
{
	int sockets[ALL];
	unsigned failures = 0;

	if (set_up(sockets))
		return SOCKMAP_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		if (!woken(sockets, SENDER, waits[i].wait))
			failures |= waits[i].failure;
		if (woken(sockets, PEER, waits[i].wait))
			continue;
		failures |= waits[i].failure == SOCKMAP_FIONREAD
				    ? SOCKMAP_FIONREAD_TCP
				    : waits[i].failure;
	}
	return failures;
}

unsigned sockmap_try(void)
{
	static unsigned failures;
	static bool tried;
	int status;
	pid_t pid;

	if (tried)
		return failures;
	pid = fork();
	if (!pid)
		_exit(try_all());
	failures = SOCKMAP_NONE;
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		failures = WEXITSTATUS(status);
	tried = true;
	return failures;
}
