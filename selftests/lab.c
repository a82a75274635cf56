// SPDX-License-Identifier: GPL-2.0-only
/* Labs, commands on their hosts, what their routers count. See lab.h. */
#include "ctl.h"
#include "lab_own.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *const lab_hosts[LAB_HOSTS] = {"client", "router", "server"};

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

static _Noreturn void run_shell(const char *command)
{
	execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(127);
}

/* What main() of ctl/ would do, without starting a program, which costs a guest
 * 30 ms each of the thousands of times. The first word is "shunt". */
static _Noreturn void run_shunt(const char *command)
{
	char *argv[16], *text = strdup(command), *word;
	int argc = 0;

	for (word = strtok(text, " "); word && argc < 15;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	optind = 0; /* the harness has parsed its own */
	_exit(shunt_main(argc, argv));
}

static int run_child(int ns, char **output, const char *command,
		     void (*child)(const char *command))
{
	size_t len = 0, room = 8192;
	int pipes[2], status;
	pid_t pid;

	if (output && pipe2(pipes, O_CLOEXEC))
		return -errno;
	fflush(stdout); /* not once more by the child */
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
		child(command);
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

int run_in(int ns, char **output, const char *command)
{
	return run_child(ns, output, command, run_shell);
}

int run_shunt_in(int ns, char **output, const char *command)
{
	return run_child(ns, output, command, run_shunt);
}

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
	char *args, *command, *output = NULL;
	int status;

	FORMAT(args, fmt);
	TEXT(command, "%s/testbed/lab start %s %s %s", lab_root(), lab->name,
	     lab_hosts[host], args);
	status = run_in(-1, &output, command);
	if (!status && lab->n_started < LAB_STARTED)
		lab->started[lab->n_started++] = atoi(output);
	else
		lab->spoilt = true;
	free(output);
	free(command);
	free(args);
	return status;
}

int lab_do(struct lab *lab, const char *what, const char *fmt, ...)
{
	char *args, *command;
	int status;

	FORMAT(args, fmt);
	lab_note_command(lab, what, args);
	status = lab_do_directly(lab, what, args);
	if (status < 0) {
		TEXT(command, "%s/testbed/lab %s %s %s", lab_root(), what,
		     lab->name, args);
		status = run_in(-1, NULL, command);
		free(command);
	}
	free(args);
	return status;
}

/* ---- the hosts ---- */

/* A veth with native XDP drops what its ring of 256 packets does not hold. With
 * less than that on the way, nothing is lost that a test does not lose. */
#define SMALL_WINDOWS "4096 65536 180000"

int lab_enter(int ns)
{
	return setns(ns, CLONE_NEWNET) ? -errno : 0;
}

static int small_windows(struct lab *lab, enum lab_host host)
{
	int fd, n = -1;

	if (lab_enter(lab->ns[host]))
		return -errno;
	fd = open("/proc/sys/net/ipv4/tcp_rmem", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = write(fd, SMALL_WINDOWS, strlen(SMALL_WINDOWS));
		close(fd);
	}
	if (n < 0)
		fprintf(stderr, "# tcp_rmem: %m\n");
	if (lab_enter(lab->home))
		abort();
	return n < 0 ? -1 : 0;
}

int lab_open_home(void)
{
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

int lab_open_ns(const struct lab *lab, enum lab_host host)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/netns/%s-%s", lab->name,
		 lab_hosts[host]);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int lab_make_dir(struct lab *lab)
{
	strcpy(lab->dir, "/tmp/hosts-XXXXXX");
	return !mkdtemp(lab->dir) || chmod(lab->dir, 0755) ? -errno : 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int lab_remove_dir(struct lab *lab)
{
	int err = 0;

	if (lab->dir[0])
		err = nftw(lab->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	if (err)
		fprintf(stderr, "# %s: %m\n", lab->dir);
	lab->dir[0] = '\0';
	return err;
}

static int make_lab(struct lab *lab, const char *options)
{
	char *command, *output = NULL;
	int status;

	memset(lab, 0, sizeof(*lab));
	if (snprintf(lab->options, sizeof(lab->options), "%s", options) >=
	    (int)sizeof(lab->options))
		return -ENAMETOOLONG;
	TEXT(command, "%s/testbed/lab up --owner %d %s", lab_root(),
	     lab_owner(), options);
	status = run_in(-1, &output, command);
	free(command);
	if (!status && sscanf(output, "%31s", lab->name) != 1)
		status = -1;
	free(output);
	if (status)
		return -1;
	lab_taken(lab);
	lab->home = lab_open_home();
	for (int i = 0; i < LAB_HOSTS; i++) {
		lab->ns[i] = lab_open_ns(lab, i);
		if (lab->ns[i] < 0)
			return -errno;
	}
	return small_windows(lab, CLIENT) ?: small_windows(lab, SERVER)
			       ?: lab_make_dir(lab);
}

int lab_open(struct lab *lab, const char *options)
{
	options = options ?: "";
	return lab_take(lab, options) ? 0 : make_lab(lab, options);
}

int lab_up(struct lab *lab, const char *options)
{
	int err = lab_open(lab, options);

	for (int i = 0; !err && i < LAB_HOSTS; i++)
		if (lab->pins[i][0])
			err = lab_shunt_down(lab, i);
	return err;
}

int lab_up_both(struct lab *lab, const char *options, const char *fmt, ...)
{
	int err = lab_open(lab, options);
	char *args;

	if (err)
		return err;
	FORMAT(args, fmt);
	err = lab_shunt_both(lab, "%s", args);
	free(args);
	return err;
}

int lab_down(struct lab *lab)
{
	int err = 0;

	for (int i = 0; i < LAB_HOSTS; i++) {
		if (lab->pins[i][0] && lab_shunt_down(lab, i))
			err = -1;
		close(lab->ns[i]);
	}
	close(lab->home);
	if (lab_do(lab, "down", "%s", ""))
		err = -1;
	lab_gone(lab);
	if (lab_remove_dir(lab))
		err = -1;
	return err;
}
