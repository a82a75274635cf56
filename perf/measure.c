// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU time while a command runs: of given cgroups (what processes do, system
 * calls and the softirqs that they are interrupted by not included), and of the
 * CPUs (all that was done on them, softirqs and other people's work included).
 */
#include "util.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_GROUPS 8

static const char usage[] =
	"usage: measure OUTPUT LABEL=CGROUP... -- CMD [ARG...]\n"
	"Runs CMD, and writes JSON to the file OUTPUT: microseconds of CPU "
	"time of\n"
	"each cgroup (a folder), and of all CPUs. Exit status: CMD's.\n";

struct group {
	const char *label, *path;
	long long user, system;
};

enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, N_STATES };

static struct group groups[MAX_GROUPS];
static int n_groups;
static long long states[N_STATES]; /* jiffies of all CPUs */

/* Adds the present figures, multiplied by sign. */
static void take_group(struct group *g, int sign)
{
	char path[PATH_MAX], key[32];
	long long value;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cpu.stat", g->path);
	f = fopen(path, "r");
	if (!f)
		die("%s", path);
	while (fscanf(f, "%31s %lld", key, &value) == 2) {
		if (!strcmp(key, "user_usec"))
			g->user += sign * value;
		if (!strcmp(key, "system_usec"))
			g->system += sign * value;
	}
	fclose(f);
}

static void take(int sign)
{
	FILE *f = fopen("/proc/stat", "r");
	long long value;

	if (!f || fscanf(f, "cpu"))
		die("/proc/stat");
	for (int i = 0; i < N_STATES; i++) {
		if (fscanf(f, "%lld", &value) != 1)
			die("/proc/stat");
		states[i] += sign * value;
	}
	fclose(f);
	for (int i = 0; i < n_groups; i++)
		take_group(&groups[i], sign);
}

static int run_command(char **argv)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		execvp(argv[0], argv);
		die("%s", argv[0]);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void write_json(const char *file, uint64_t elapsed_ns)
{
	long long tick = 1000000 / sysconf(_SC_CLK_TCK);
	json_t *all = json_object(), *of = json_object();

	for (int i = 0; i < n_groups; i++)
		json_object_set_new(of, groups[i].label,
				    json_pack("{s:I, s:I}", "user_us",
					      groups[i].user, "system_us",
					      groups[i].system));
	/* The kernel measures idle time and samples the others: so busy is
	 * what idle leaves. */
	json_object_set_new(
		all, "cpus",
		json_pack("{s:I, s:I, s:I, s:I, s:I}", "busy_us",
			  (json_int_t)(elapsed_ns / 1000 *
					       sysconf(_SC_NPROCESSORS_ONLN) -
				       (states[IDLE] + states[IOWAIT] +
					states[STEAL]) *
					       tick),
			  "user_us", (states[USER] + states[NICE]) * tick,
			  "system_us", states[SYSTEM] * tick, "softirq_us",
			  (states[IRQ] + states[SOFTIRQ]) * tick, "steal_us",
			  states[STEAL] * tick));
	json_object_set_new(all, "cgroups", of);
	json_object_set_new(all, "elapsed_us", json_integer(elapsed_ns / 1000));
	if (json_dump_file(all, file, JSON_COMPACT))
		die("%s", file);
	json_decref(all);
}

int main(int argc, char **argv)
{
	uint64_t start;
	int i, status;
	char *path;

	for (i = 2; i < argc && strcmp(argv[i], "--"); i++) {
		path = strchr(argv[i], '=');
		if (!path || n_groups == MAX_GROUPS)
			break;
		*path++ = 0;
		groups[n_groups++] = (struct group){argv[i], path, 0, 0};
	}
	if (i + 1 >= argc || strcmp(argv[i], "--")) {
		fputs(usage, stderr);
		return 2;
	}
	take(-1);
	start = now_ns();
	status = run_command(argv + i + 1);
	take(1);
	write_json(argv[1], now_ns() - start);
	return status;
}
