// SPDX-License-Identifier: GPL-2.0-only
/* shunt on the hosts of a lab. See lab.h. */
#include "lab_own.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PINS "/sys/fs/bpf/shunt"

static uint64_t netns_cookie(struct lab *lab, enum lab_host host)
{
	int fd = lab_socket(lab, host, AF_INET);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0)
		return 0;
	getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);
	close(fd);
	return cookie;
}

static int shunt_up(struct lab *lab, enum lab_host host, const char *options)
{
	char *command;
	int err;

	if (lab->pins[host][0]) {
		if (!lab->touched[host] && !strcmp(lab->up[host], options))
			return 0;
		err = lab_shunt_down(lab, host);
		if (err)
			return err;
	}
	TEXT(command, "%s/shunt up --dev eth0 %s %s >/dev/null", lab_build(),
	     strstr(options, "--flows") ? "" : "--flows 2000", options);
	err = run_in(lab->ns[host], NULL, command);
	free(command);
	if (err)
		return -1;
	snprintf(lab->pins[host], sizeof(lab->pins[host]), PINS "/%llu",
		 (unsigned long long)netns_cookie(lab, host));
	lab->touched[host] =
		snprintf(lab->up[host], sizeof(lab->up[host]), "%s", options) >=
		(int)sizeof(lab->up[host]);
	return lab_note_pins(lab, host);
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
	lab->pins[host][0] = '\0';
	return lab_all_gone(lab, host) ?: err;
}

int lab_shunt(struct lab *lab, enum lab_host host, const char *fmt, ...)
{
	char *args, *command;
	int status;

	FORMAT(args, fmt);
	TEXT(command, "%s/shunt %s >/dev/null", lab_build(), args);
	lab->touched[host] = true;
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

	lab->touched[host] = true;
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

	TEXT(command, "shunt %s -j", what);
	if (!run_shunt_in(lab->ns[host], &output, command)) {
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
	uint64_t then = now_us(), end = then + LAB_TIMEOUT * 500000;
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
		wait_since(then);
	}
	if (!ok) {
		char *is = json_dumps(flow, JSON_ENCODE_ANY);

		fprintf(stderr,
			"# %s %s - %s is not %s (%s) on %s, %s but %s\n",
			lab_hosts[host], local, remote, state, reason,
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

bool lab_redirected(struct lab *lab, int domain, int listener,
		    struct lab_pair *p)
{
	return !lab_pair_on(lab, p, domain, listener) &&
	       !stream_through(p->c, p->s, 1, 1000) &&
	       !stream_through(p->s, p->c, 2, 1000) &&
	       lab_flow(lab, CLIENT, p->c, "redirected", NULL) &&
	       lab_flow(lab, SERVER, p->s, "redirected", NULL);
}
