// SPDX-License-Identifier: GPL-2.0-only
/* Running the `shunt` command and seeing what it left. See cli_run.h. */
#include "cli_run.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PINS   "/sys/fs/bpf/shunt"
#define NOBODY 65534

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

uint64_t cli_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

const char *cli_shunt(void)
{
	static char path[PATH_MAX];
	char self[PATH_MAX];
	ssize_t len;

	if (path[0])
		return path;
	if (getenv("SHUNT")) {
		snprintf(path, sizeof(path), "%s", getenv("SHUNT"));
		return path;
	}
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len < 0 ? 0 : len] = '\0';
	/* build/selftests/test_… */
	if (snprintf(path, sizeof(path), "%s/shunt", dirname(dirname(self))) >=
	    (int)sizeof(path))
		path[0] = '\0';
	return path;
}

/* ---- processes ---- */

struct source {
	int fd;
	char *buf;
	size_t size;
	size_t used;
};

/* Reads both until both have ended; what does not fit is dropped. */
static void drain(struct source *sources)
{
	struct pollfd fds[2];
	int left = 2;

	for (int i = 0; i < 2; i++)
		fds[i] = (struct pollfd){.fd = sources[i].fd, .events = POLLIN};
	while (left && poll(fds, 2, -1) > 0) {
		for (int i = 0; i < 2; i++) {
			struct source *s = &sources[i];
			char chunk[4096];
			ssize_t n;

			if (!fds[i].revents)
				continue;
			n = read(s->fd, chunk, sizeof(chunk));
			if (n <= 0) {
				fds[i].fd = -1;
				left--;
				continue;
			}
			if (s->used + n >= s->size)
				n = s->size - 1 - s->used;
			memcpy(s->buf + s->used, chunk, n);
			s->used += n;
		}
	}
	for (int i = 0; i < 2; i++)
		sources[i].buf[sources[i].used] = '\0';
}

static int run_child(struct cli_output *o, void (*child)(const void *arg),
		     const void *arg)
{
	int out[2], err[2], status;
	pid_t pid;

	memset(o, 0, sizeof(*o));
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return -errno;
	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		dup2(out[1], 1);
		dup2(err[1], 2);
		child(arg);
		_exit(125);
	}
	close(out[1]);
	close(err[1]);
	drain((struct source[]){{out[0], o->out, sizeof(o->out), 0},
				{err[0], o->err, sizeof(o->err), 0}});
	close(out[0]);
	close(err[0]);
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	o->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
					: WEXITSTATUS(status);
	return o->status;
}

static void exec_child(const void *arg)
{
	const char *const *argv = arg;

	execvp(argv[0], (char *const *)argv);
	perror(argv[0]);
}

int cli_exec(struct cli_output *o, const char *const *argv)
{
	return run_child(o, exec_child, argv);
}

static void nobody_child(const void *arg)
{
	const char *const *argv = arg;
	int fd;

	/* Opened now: nobody may not be allowed to reach the folder. */
	fd = open(argv[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		perror("nobody");
	else
		fexecve(fd, (char *const *)argv, environ);
	perror(argv[0]);
}

int cli_exec_nobody(struct cli_output *o, const char *const *argv)
{
	return run_child(o, nobody_child, argv);
}

int cli_sh(struct cli_output *o, const char *fmt, ...)
{
	char command[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	setenv("S", cli_shunt(), 1);
	return cli_exec(o, (const char *const[]){"sh", "-c", command, NULL});
}

struct call {
	int (*fn)(void *arg);
	void *arg;
};

static void call_child(const void *arg)
{
	const struct call *call = arg;
	int err = call->fn(call->arg);

	fflush(stdout);
	_exit(err ? 1 : 0);
}

int cli_call(struct cli_output *o, int (*fn)(void *arg), void *arg)
{
	struct call call = {fn, arg};

	return run_child(o, call_child, &call);
}

pid_t cli_start(const char *const *argv)
{
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (!pid) {
		exec_child(argv);
		_exit(127);
	}
	return pid;
}

json_t *cli_json(const struct cli_output *o)
{
	json_error_t error;
	json_t *json;

	json = json_loads(o->out, 0, &error);
	if (!json)
		fprintf(stderr, "# not JSON (line %d: %s): %.200s\n",
			error.line, error.text, o->out);
	return json;
}

bool cli_too_wide(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (len > 80) {
			fprintf(stderr, "# %zu columns: %.*s\n", len, (int)len,
				text);
			return true;
		}
		text += len + (text[len] == '\n');
	}
	return false;
}

const char *cli_field(json_t *array, const char *by, const char *value,
		      const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach (array, i, entry) {
		const char *is = json_string_value(json_object_get(entry, by));

		if (is && !strcmp(is, value)) {
			is = json_string_value(json_object_get(entry, name));
			return is ? is : "(no text)";
		}
	}
	return "(no entry)";
}

/* ---- the namespace ---- */

int cli_netns(void)
{
	struct cli_output *o = malloc(sizeof(*o));
	int err;

	if (!o || unshare(CLONE_NEWNET))
		return -errno;
	err = cli_sh(o, "ip link set lo up && ip link add v0 type veth peer "
			"name v1 && ip link set v0 up && ip link set v1 up");
	if (err)
		fprintf(stderr, "# namespace: %s\n", o->err);
	free(o);
	return err;
}

uint64_t cli_cookie(void)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		perror("SO_NETNS_COOKIE");
	close(fd);
	return cookie;
}

/* ---- what is left ---- */

/* The object's info begins with type and id, of all three kinds. */
static int object_id(const char *path, uint32_t *id)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_map_info map;
		struct bpf_link_info link;
	} info = {};
	uint32_t len = sizeof(info);
	int fd, err;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	*id = info.prog.id;
	return err;
}

/* How many, or -errno. */
static int ids_of(const char *kind, uint32_t *ids)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int n = 0, err = 0;
	DIR *dir;

	snprintf(path, sizeof(path), PINS "/%llu/%s",
		 (unsigned long long)cli_cookie(), kind);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!err && n < CLI_IDS && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PINS "/%llu/%s/%s",
			 (unsigned long long)cli_cookie(), kind, entry->d_name);
		err = object_id(path, &ids[n++]);
	}
	closedir(dir);
	return err ? err : n;
}

int cli_ids(struct cli_ids *ids)
{
	ids->progs = ids_of("progs", ids->prog);
	ids->maps = ids_of("maps", ids->map);
	ids->links = ids_of("links", ids->link);
	return ids->progs < 0 || ids->maps < 0 || ids->links < 0 ? -1 : 0;
}

static bool gone(int (*get)(uint32_t id), const uint32_t *ids, int n)
{
	for (int i = 0; i < n; i++) {
		int fd = get(ids[i]);

		if (fd >= 0) {
			close(fd);
			return false;
		}
	}
	return true;
}

bool cli_ids_gone(const struct cli_ids *ids)
{
	return CLI_BECOMES(gone(bpf_prog_get_fd_by_id, ids->prog, ids->progs) &&
			   gone(bpf_map_get_fd_by_id, ids->map, ids->maps) &&
			   gone(bpf_link_get_fd_by_id, ids->link, ids->links));
}

int cli_map(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PINS "/%llu/maps/%s",
		 (unsigned long long)cli_cookie(), name);
	return bpf_obj_get(path);
}
