// SPDX-License-Identifier: GPL-2.0-only
/* Labs, shunt in them, sockets on their hosts. See lab.h. */
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PINS "/sys/fs/bpf/shunt"

static const char *const host_names[] = {"client", "router", "server"};

const char *lab_build(void)
{
	static char path[PATH_MAX];
	ssize_t n;

	if (path[0])
		return path;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = '\0';
	return dirname(dirname(path));
}

const char *lab_root(void)
{
	static char path[PATH_MAX];
	char file[PATH_MAX + 16];

	if (path[0])
		return path;
	strcpy(path, lab_build());
	do {
		dirname(path);
		snprintf(file, sizeof(file), "%s/testbed/lab", path);
	} while (access(file, X_OK) && path[1]);
	return path;
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

/* ---- commands ---- */

/* Run a command in a namespace (-1: ours); output NULL: leave it alone. */
static int run_in(int ns, char **output, const char *command)
{
	size_t len = 0, room = 8192;
	int pipes[2], status;
	pid_t pid;

	if (output && pipe2(pipes, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		if (output)
			dup2(pipes[1], STDOUT_FILENO);
		else
			dup2(STDERR_FILENO, STDOUT_FILENO); /* not into TAP */
		if (ns >= 0 && setns(ns, CLONE_NEWNET))
			_exit(126);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	if (output) {
		ssize_t n = 1;

		close(pipes[1]);
		*output = NULL;
		while (n > 0) {
			if (!*output || room - len < 4096) {
				room = 2 * room + 8192;
				*output = realloc(*output, room);
			}
			n = read(pipes[0], *output + len, room - len - 1);
			len += n > 0 ? n : 0;
		}
		(*output)[len] = '\0';
		close(pipes[0]);
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	if (status)
		fprintf(stderr, "# exit %d: %s\n", status, command);
	return status;
}

/* Whether or not there is memory for a command is not what we test. */
#define FORMAT(text, fmt)                             \
	do {                                          \
		va_list ap_;                          \
		va_start(ap_, fmt);                   \
		if (vasprintf(&(text), fmt, ap_) < 0) \
			abort();                      \
		va_end(ap_);                          \
	} while (0)

#define TEXT(text, ...)                                 \
	do {                                            \
		if (asprintf(&(text), __VA_ARGS__) < 0) \
			abort();                        \
	} while (0)

int lab_run(struct lab *lab, enum lab_host host, const char *fmt, ...)
{
	char *command;
	int status;

	FORMAT(command, fmt);
	status = run_in(lab->ns[host], NULL, command);
	free(command);
	return status;
}

char *lab_output(struct lab *lab, enum lab_host host, const char *fmt, ...)
{
	char *command, *output = NULL;

	FORMAT(command, fmt);
	if (run_in(lab->ns[host], &output, command)) {
		free(output);
		output = NULL;
	}
	free(command);
	return output;
}

int lab_start(struct lab *lab, enum lab_host host, const char *fmt, ...)
{
	char *args, *command;
	int status;

	FORMAT(args, fmt);
	TEXT(command, "%s/testbed/lab start %s %s %s >/dev/null", lab_root(),
	     lab->name, host_names[host], args);
	status = run_in(-1, NULL, command);
	free(command);
	free(args);
	return status;
}

int lab_do(struct lab *lab, const char *what, const char *fmt, ...)
{
	char *args, *command;
	int status;

	FORMAT(args, fmt);
	TEXT(command, "%s/testbed/lab %s %s %s", lab_root(), what, lab->name,
	     args);
	status = run_in(-1, NULL, command);
	free(command);
	free(args);
	return status;
}

/* ---- the lab ---- */

/* A veth with native XDP drops what its ring of 256 packets does not hold. With
 * less than that on the way, nothing is lost that a test does not lose. */
#define SMALL_WINDOWS "4096 65536 180000"

static int enter(int ns)
{
	return setns(ns, CLONE_NEWNET) ? -errno : 0;
}

static int small_windows(struct lab *lab, enum lab_host host)
{
	int fd, n = -1;

	if (enter(lab->ns[host]))
		return -errno;
	fd = open("/proc/sys/net/ipv4/tcp_rmem", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = write(fd, SMALL_WINDOWS, strlen(SMALL_WINDOWS));
		close(fd);
	}
	if (n < 0)
		fprintf(stderr, "# tcp_rmem: %m\n");
	if (enter(lab->home))
		abort();
	return n < 0 ? -1 : 0;
}

int lab_up(struct lab *lab, const char *options)
{
	char *command, *output = NULL, path[64];
	int status;

	memset(lab, 0, sizeof(*lab));
	TEXT(command, "%s/testbed/lab up --owner %d %s", lab_root(), getpid(),
	     options ? options : "");
	status = run_in(-1, &output, command);
	free(command);
	if (!status && sscanf(output, "%31s", lab->name) != 1)
		status = -1;
	free(output);
	if (status)
		return -1;
	lab->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < LAB_HOSTS; i++) {
		snprintf(path, sizeof(path), "/run/netns/%s-%s", lab->name,
			 host_names[i]);
		lab->ns[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (lab->ns[i] < 0)
			return -errno;
	}
	if (small_windows(lab, CLIENT) || small_windows(lab, SERVER))
		return -1;
	strcpy(lab->dir, "/tmp/hosts-XXXXXX");
	if (!mkdtemp(lab->dir) || chmod(lab->dir, 0755))
		return -errno;
	return 0;
}

int lab_down(struct lab *lab)
{
	char *command;
	int err = 0;

	for (int i = 0; i < LAB_HOSTS; i++) {
		if (lab->pins[i][0] && lab_shunt_down(lab, i))
			err = -1;
		close(lab->ns[i]);
	}
	if (lab_do(lab, "down", "%s", ""))
		err = -1;
	TEXT(command, "rm -r %s", lab->dir);
	if (run_in(-1, NULL, command))
		err = -1;
	free(command);
	return err;
}

/* ---- shunt ---- */

static void add_id(uint32_t *ids, uint32_t id)
{
	for (int i = 0; i < LAB_IDS; i++) {
		if (ids[i] == id)
			return;
		if (!ids[i]) {
			ids[i] = id;
			return;
		}
	}
	abort();
}

static int note_program(struct lab *lab, enum lab_host host, int fd)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info), maps[LAB_IDS] = {};

	info.map_ids = (uintptr_t)maps;
	info.nr_map_ids = LAB_IDS;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	add_id(lab->progs[host], info.id);
	for (uint32_t i = 0; i < info.nr_map_ids && i < LAB_IDS; i++)
		add_id(lab->maps[host], maps[i]);
	return 0;
}

static int note_map(struct lab *lab, enum lab_host host, int fd)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	add_id(lab->maps[host], info.id);
	return 0;
}

static int note_pins(struct lab *lab, enum lab_host host, const char *sub,
		     int (*note)(struct lab *, enum lab_host, int))
{
	char path[PATH_MAX];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", lab->pins[host], sub);
	d = opendir(path);
	if (!d) {
		fprintf(stderr, "# %s: %m\n", path);
		return -errno;
	}
	while ((e = readdir(d))) {
		int fd;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s", lab->pins[host], sub,
			 e->d_name);
		fd = bpf_obj_get(path);
		if (fd < 0 || note(lab, host, fd))
			n = -1000;
		if (fd >= 0)
			close(fd);
		n++;
	}
	closedir(d);
	return n > 0 ? 0 : -1;
}

static int shunt_up(struct lab *lab, enum lab_host host, const char *options)
{
	char *command;
	json_t *status;

	TEXT(command, "%s/shunt up --dev eth0 %s %s >/dev/null", lab_build(),
	     strstr(options, "--flows") ? "" : "--flows 2000", options);
	if (run_in(lab->ns[host], NULL, command)) {
		free(command);
		return -1;
	}
	free(command);
	status = lab_json(lab, host, "status");
	if (!status)
		return -1;
	snprintf(lab->pins[host], sizeof(lab->pins[host]), PINS "/%lld",
		 json_integer_value(json_object_get(status, "netns_cookie")));
	json_decref(status);
	if (note_pins(lab, host, "progs", note_program) ||
	    note_pins(lab, host, "maps", note_map))
		return -1;
	return 0;
}

int lab_shunt_up(struct lab *lab, enum lab_host host, const char *fmt, ...)
{
	char *options;
	int err;

	FORMAT(options, fmt);
	err = shunt_up(lab, host, options);
	free(options);
	return err;
}

int lab_shunt_both(struct lab *lab, const char *fmt, ...)
{
	char *options;
	int err;

	FORMAT(options, fmt);
	err = shunt_up(lab, CLIENT, options);
	if (!err)
		err = shunt_up(lab, SERVER, options);
	free(options);
	return err;
}

/* The kernel frees them some time after the last reference is gone. */
static bool all_gone(uint32_t *ids, int (*get)(uint32_t))
{
	for (int i = 0; i < LAB_IDS && ids[i]; i++) {
		int fd = get(ids[i]);

		if (fd < 0)
			continue;
		close(fd);
		return false;
	}
	return true;
}

int lab_shunt_down(struct lab *lab, enum lab_host host)
{
	char *command;
	int err = 0;

	TEXT(command, "%s/shunt down", lab_build());
	if (run_in(lab->ns[host], NULL, command))
		err = -1;
	free(command);
	if (!access(lab->pins[host], F_OK)) {
		fprintf(stderr, "# shunt down left %s\n", lab->pins[host]);
		err = -1;
	}
	if (!BECOMES(all_gone(lab->progs[host], bpf_prog_get_fd_by_id) &&
		     all_gone(lab->maps[host], bpf_map_get_fd_by_id))) {
		fprintf(stderr, "# shunt down left programs or maps\n");
		err = -1;
	}
	lab->pins[host][0] = '\0';
	memset(lab->progs[host], 0, sizeof(lab->progs[host]));
	memset(lab->maps[host], 0, sizeof(lab->maps[host]));
	return err;
}

int lab_shunt(struct lab *lab, enum lab_host host, const char *fmt, ...)
{
	char *args, *command;
	int status;

	FORMAT(args, fmt);
	TEXT(command, "%s/shunt %s >/dev/null", lab_build(), args);
	status = run_in(lab->ns[host], NULL, command);
	free(command);
	free(args);
	return status;
}

int lab_detach_ingress(struct lab *lab, enum lab_host host)
{
	char path[PATH_MAX];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/links", lab->pins[host]);
	d = opendir(path);
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		int fd;

		if (!strstr(e->d_name, "ingress") && !strstr(e->d_name, "xdp"))
			continue;
		snprintf(path, sizeof(path), "%s/links/%s", lab->pins[host],
			 e->d_name);
		fd = bpf_obj_get(path);
		if (fd < 0 || bpf_link_detach(fd))
			n = -1000;
		else
			n++;
		close(fd);
	}
	closedir(d);
	/* Where the kernel has no tcx, it is a filter. */
	if (!lab_run(lab, host,
		     "tc filter show dev eth0 ingress | grep -q bpf") &&
	    !lab_run(lab, host, "tc filter del dev eth0 ingress"))
		n++;
	return n;
}

json_t *lab_json(struct lab *lab, enum lab_host host, const char *what)
{
	char *command, *output = NULL;
	json_t *json = NULL;
	json_error_t error;

	TEXT(command, "%s/shunt %s -j", lab_build(), what);
	if (!run_in(lab->ns[host], &output, command)) {
		json = json_loads(output, 0, &error);
		if (!json)
			fprintf(stderr, "# %s: %s\n", command, error.text);
	}
	free(output);
	free(command);
	return json;
}

long lab_stat(struct lab *lab, enum lab_host host, const char *counter)
{
	json_t *stats = lab_json(lab, host, "stats");
	json_t *value = json_object_get(stats, counter);
	long n = value ? json_integer_value(value) : -1;

	if (!value)
		fprintf(stderr, "# no counter %s\n", counter);
	json_decref(stats);
	return n;
}

/* "addr:port" or "[addr]:port", as shunt writes it */
static void endpoint(char text[static 64],
		     int (*get)(int, struct sockaddr *, socklen_t *), int fd)
{
	struct sockaddr_in6 a = {};
	struct sockaddr_in *a4 = (struct sockaddr_in *)&a;
	socklen_t len = sizeof(a);
	char addr[INET6_ADDRSTRLEN];
	const void *v4 = &a4->sin_addr;
	bool is_v4 = true;

	get(fd, (struct sockaddr *)&a, &len);
	if (a.sin6_family == AF_INET6) {
		v4 = &a.sin6_addr.s6_addr[12];
		is_v4 = IN6_IS_ADDR_V4MAPPED(&a.sin6_addr);
	}
	inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? v4 : &a.sin6_addr, addr,
		  sizeof(addr));
	snprintf(text, 64, is_v4 ? "%s:%d" : "[%s]:%d", addr,
		 ntohs(a.sin6_port));
}

/* The youngest of a list that has this socket's addresses, or NULL. */
static json_t *find_flow(json_t *flows, const char *local, const char *remote)
{
	json_t *flow, *found = NULL;
	size_t i;

	json_array_foreach (flows, i, flow) {
		if (strcmp(json_string_value(json_object_get(flow, "local")),
			   local) ||
		    strcmp(json_string_value(json_object_get(flow, "remote")),
			   remote))
			continue;
		if (!found ||
		    json_real_value(json_object_get(flow, "age")) <
			    json_real_value(json_object_get(found, "age")))
			found = flow;
	}
	return found;
}

static bool is_string(json_t *flow, const char *key, const char *want)
{
	const char *is = json_string_value(json_object_get(flow, key));

	return !want || (is && !strcmp(is, want));
}

const char *lab_transport(struct lab *lab, enum lab_host host, int fd)
{
	char local[64], remote[64];
	static char name[32];
	json_t *flows, *flow;

	endpoint(local, getsockname, fd);
	endpoint(remote, getpeername, fd);
	flows = lab_json(lab, host, "flows");
	flow = find_flow(flows, local, remote);
	snprintf(name, sizeof(name), "%s",
		 flow ? json_string_value(json_object_get(flow, "transport"))
		      : "(no flow)");
	json_decref(flows);
	return name;
}

/* Is it so within some time? Any of the last four may be NULL. */
static bool flow_becomes(struct lab *lab, enum lab_host host, int fd,
			 const char *state, const char *reason,
			 const char *transport, const char *coverage)
{
	uint64_t end = now_us() + LAB_TIMEOUT * 500000;
	char local[64], remote[64];
	json_t *flows, *flow;
	bool ok;

	endpoint(local, getsockname, fd);
	endpoint(remote, getpeername, fd);
	for (;;) {
		flows = lab_json(lab, host, "flows");
		flow = find_flow(flows, local, remote);
		ok = state ? flow && is_string(flow, "state", state) &&
				     is_string(flow, "reason", reason) &&
				     is_string(flow, "transport", transport) &&
				     is_string(flow, "coverage", coverage)
			   : flows && !flow;
		if (ok || !flows || now_us() > end)
			break;
		json_decref(flows);
		usleep(5000);
	}
	if (!ok) {
		char *is = json_dumps(flow, JSON_ENCODE_ANY);

		fprintf(stderr,
			"# %s %s - %s is not %s (%s) on %s, %s but %s\n",
			host_names[host], local, remote, state, reason,
			transport ?: "any", coverage ?: "any", is);
		free(is);
	}
	json_decref(flows);
	return ok;
}

bool lab_flow(struct lab *lab, enum lab_host host, int fd, const char *state,
	      const char *reason)
{
	return flow_becomes(lab, host, fd, state, reason, NULL, NULL);
}

bool lab_flow_on(struct lab *lab, enum lab_host host, int fd,
		 const char *transport, const char *coverage)
{
	return flow_becomes(lab, host, fd, "redirected", "none", transport,
			    coverage);
}

int lab_flows(struct lab *lab, enum lab_host host, const char *state)
{
	json_t *flows = lab_json(lab, host, "flows"), *flow;
	int n = flows ? 0 : -1;
	size_t i;

	json_array_foreach (flows, i, flow)
		n += is_string(flow, "state", state);
	json_decref(flows);
	return n;
}

/* ---- the router's counters ---- */

static void get_count(json_t *json, const char *dir, const char *proto,
		      struct lab_traffic *t)
{
	json = json_object_get(json_object_get(json, dir), proto);
	t->packets = json_integer_value(json_object_get(json, "packets"));
	t->bytes = json_integer_value(json_object_get(json, "bytes"));
}

int lab_count(struct lab *lab, struct lab_count *count)
{
	char *command, *output = NULL;
	json_t *json = NULL;

	TEXT(command, "%s/testbed/lab count %s reset", lab_root(), lab->name);
	if (!run_in(-1, &output, command))
		json = json_loads(output, 0, NULL);
	free(command);
	free(output);
	if (!json)
		return -1;
	get_count(json, "to_server", "tcp", &count->tcp[TO_SERVER]);
	get_count(json, "to_server", "udp", &count->udp[TO_SERVER]);
	get_count(json, "to_client", "tcp", &count->tcp[TO_CLIENT]);
	get_count(json, "to_client", "udp", &count->udp[TO_CLIENT]);
	get_count(json, "to_server", "udplite", &count->udplite[TO_SERVER]);
	get_count(json, "to_client", "udplite", &count->udplite[TO_CLIENT]);
	json_decref(json);
	return 0;
}

long lab_wire_did(struct lab *lab, const char *what)
{
	char *command, *output = NULL;
	json_t *stats = NULL, *direction;
	const char *name;
	long n = 0;

	TEXT(command, "%s/testbed/lab wire-stats %s", lab_root(), lab->name);
	if (!run_in(-1, &output, command))
		stats = json_loads(output, 0, NULL);
	json_object_foreach (stats, name, direction) {
		n += json_integer_value(json_object_get(direction, what));
	}
	json_decref(stats);
	free(output);
	free(command);
	return stats ? n : -1;
}

/* ---- sockets ---- */

static int make_socket(struct lab *lab, enum lab_host host, int domain,
		       int type, int protocol)
{
	struct timeval t = {.tv_sec = LAB_TIMEOUT};
	int fd, err, one = 1, zero = 0;

	err = enter(lab->ns[host]);
	if (err)
		return err;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	err = fd < 0 ? -errno : 0;
	if (enter(lab->home))
		abort();
	if (err)
		return err;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (domain == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	return fd;
}

int lab_socket(struct lab *lab, enum lab_host host, int domain)
{
	return make_socket(lab, host, domain, SOCK_STREAM, 0);
}

int lab_datagram(struct lab *lab, enum lab_host host, int domain, int protocol)
{
	return make_socket(lab, host, domain, SOCK_DGRAM, protocol);
}

static socklen_t address(struct sockaddr_in6 *a, int domain, int port,
			 const char *addr)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)a;

	memset(a, 0, sizeof(*a));
	a->sin6_family = domain;
	a->sin6_port = htons(port); /* the same place in both */
	if (addr)
		inet_pton(domain, addr,
			  domain == AF_INET ? (void *)&a4->sin_addr
					    : (void *)&a->sin6_addr);
	return domain == AF_INET ? sizeof(*a4) : sizeof(*a);
}

int lab_listen(struct lab *lab, enum lab_host host, int domain, int port)
{
	int fd = lab_socket(lab, host, domain);
	struct sockaddr_in6 a;
	socklen_t len = address(&a, domain, port, NULL);

	if (fd >= 0 &&
	    (bind(fd, (struct sockaddr *)&a, len) || listen(fd, 1024))) {
		fprintf(stderr, "# listen on port %d: %m\n", port);
		close(fd);
		return -errno;
	}
	return fd;
}

int lab_dial(int fd, int domain, int port)
{
	struct sockaddr_in6 a;
	socklen_t len = address(&a, domain, port,
				domain == AF_INET ? "10.77.2.2" : "fd77:2::2");

	return connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
}

int lab_connect(struct lab *lab, int domain, int port)
{
	int fd = lab_socket(lab, CLIENT, domain), err;

	if (fd < 0)
		return fd;
	err = lab_dial(fd, domain, port);
	if (!err)
		return fd;
	fprintf(stderr, "# connect to port %d: %s\n", port, strerror(-err));
	close(fd);
	return err;
}

int lab_pair_on(struct lab *lab, struct lab_pair *pair, int domain,
		int listener)
{
	struct timeval t = {.tv_sec = LAB_TIMEOUT};
	struct sockaddr_in6 a = {};
	socklen_t len = sizeof(a);

	getsockname(listener, (struct sockaddr *)&a, &len);
	pair->c = lab_connect(lab, domain, ntohs(a.sin6_port));
	if (pair->c < 0)
		return pair->c;
	pair->s = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (pair->s < 0) {
		fprintf(stderr, "# accept: %m\n");
		return -errno;
	}
	setsockopt(pair->s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(pair->s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	return 0;
}

int lab_pair(struct lab *lab, struct lab_pair *pair, int domain, int port)
{
	int err, listener = lab_listen(lab, SERVER, domain, port);

	if (listener < 0)
		return listener;
	err = lab_pair_on(lab, pair, domain, listener);
	close(listener);
	return err;
}

void lab_pair_close(struct lab_pair *pair)
{
	close(pair->c);
	close(pair->s);
}

/* ---- streams ---- */

/* splitmix64: any word of the stream without those before it */
static uint64_t word(uint64_t seed, uint64_t index)
{
	uint64_t z = seed * 0x2545f4914f6cdd1dULL +
		     (index + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void pattern(void *buf, uint64_t seed, uint64_t from, size_t len)
{
	uint8_t *p = buf;
	uint64_t w = word(seed, from / 8) >> from % 8 * 8;

	for (size_t i = 0; i < len; i++, w >>= 8) {
		if (i && (from + i) % 8 == 0)
			w = word(seed, (from + i) / 8);
		p[i] = w;
	}
}

static uint64_t bits_differ(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += __builtin_popcount(a[i] ^ b[i]);
	return n;
}

#define CHUNK 65536

int stream_run(struct stream *s)
{
	uint8_t *buf = malloc(2 * CHUNK), *want = buf + CHUNK;
	int err = 0;

	while (!err && s->from < s->to) {
		size_t left = s->to - s->from;
		size_t len = left < CHUNK ? left : CHUNK;
		ssize_t n;

		if (s->send) {
			pattern(buf, s->seed, s->from, len);
			n = send(s->fd, buf, len, MSG_NOSIGNAL);
		} else {
			n = recv(s->fd, buf, len, 0);
		}
		if (n <= 0) {
			err = n ? -errno : -EPIPE;
			break;
		}
		if (!s->send) {
			pattern(want, s->seed, s->from, n);
			if (s->count_wrong)
				s->wrong += bits_differ(buf, want, n);
			else if (memcmp(buf, want, n))
				err = -EBADMSG;
		}
		if (!err)
			s->from += n;
	}
	free(buf);
	if (err)
		fprintf(stderr, "# %s: at byte %llu of %llu: %s\n",
			s->send ? "send" : "receive",
			(unsigned long long)s->from, (unsigned long long)s->to,
			strerror(-err));
	s->err = err;
	return err;
}

static void *stream_thread(void *arg)
{
	stream_run(arg);
	return NULL;
}

int stream_start(struct stream *s)
{
	return -pthread_create(&s->thread, NULL, stream_thread, s);
}

int stream_join(struct stream *s)
{
	pthread_join(s->thread, NULL);
	return s->err;
}

int stream_finish(struct stream *tx, struct stream *rx)
{
	int err = stream_run(rx);

	if (err)
		shutdown(tx->fd, SHUT_RDWR); /* or the sender would wait */
	stream_join(tx);
	return err ? err : tx->err;
}

int stream_through(int out, int in, uint64_t seed, size_t len)
{
	struct stream tx = {.fd = out, .send = true, .seed = seed, .to = len};
	struct stream rx = {.fd = in, .seed = seed, .to = len};
	int err = stream_start(&tx);

	return err ? err : stream_finish(&tx, &rx);
}

bool stream_at_end(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

int make_file(const char *path, uint64_t seed, size_t len)
{
	uint8_t *buf = malloc(len);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int err = 0;

	if (fd < 0 || !buf)
		err = -errno;
	if (!err) {
		pattern(buf, seed, 0, len);
		if (write(fd, buf, len) != (ssize_t)len)
			err = -EIO;
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return err;
}
