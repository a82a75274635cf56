// SPDX-License-Identifier: GPL-2.0-only
/*
 * What BPF costs: run time of the programs of given network namespaces while a
 * command runs, and the memory of an instance's maps. Several instances are up
 * at once, so programs are found by namespace: those an instance has pinned,
 * and pass_xdp and pass_tc, which `bpfcost attach` puts on eth0.
 */
#include "util.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define PINS	  "/sys/fs/bpf/shunt"
#define DEVICE	  "eth0"
#define MAX_PROGS 128

/* Where pass_tc is attached: clsact, which every kernel has. */
#define PASS_HANDLE   1
#define PASS_PRIORITY 0x7061

static const char usage[] =
	"usage: bpfcost attach NETNS OBJECT xdp|tc\n"
	"       bpfcost run LABEL=NETNS... -- CMD [ARG...]\n"
	"       bpfcost maps NETNS\n"
	"  attach  put a program that only passes on " DEVICE "\n"
	"  run     JSON: runs and nanoseconds of each program during CMD\n"
	"  maps    JSON: the pinned maps of the instance, and their memory\n"
	"NETNS is a file, as in /run/netns. CMD's output goes to stderr.\n";

static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die("%s", netns);
	close(fd);
}

/* The directory of the instance of this namespace. */
static void pin_dir(char *buf, size_t len, const char *kind)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	unsigned long long cookie;
	socklen_t size = sizeof(cookie);

	if (fd < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		die("SO_NETNS_COOKIE");
	close(fd);
	snprintf(buf, len, PINS "/%llu/%s", cookie, kind);
}

static int device(void)
{
	int i = if_nametoindex(DEVICE);

	if (!i)
		die(DEVICE);
	return i;
}

/* ---- attach ---- */

static void attach_xdp(int ifindex, int prog)
{
	int err = bpf_xdp_attach(ifindex, prog, XDP_FLAGS_DRV_MODE, NULL);

	if (err) {
		errno = -err;
		die("native XDP on " DEVICE);
	}
}

static void attach_tc(int ifindex, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int err = bpf_tc_hook_create(&hook);

	for (int i = 0; i < 2 && !err; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = PASS_HANDLE,
			    .priority = PASS_PRIORITY, .prog_fd = prog);

		hook.attach_point = i ? BPF_TC_EGRESS : BPF_TC_INGRESS;
		err = bpf_tc_attach(&hook, &opts);
	}
	if (err) {
		errno = -err;
		die("TC on " DEVICE);
	}
}

static int attach(const char *netns, const char *file, const char *hook)
{
	struct bpf_object *object = bpf_object__open_file(file, NULL);
	struct bpf_program *prog;
	bool xdp = !strcmp(hook, "xdp");
	int err;

	if (!xdp && strcmp(hook, "tc")) {
		errno = 0;
		die("xdp or tc, not '%s'", hook);
	}
	if (!object)
		die("%s", file);
	err = bpf_object__load(object);
	prog = bpf_object__find_program_by_name(object,
						xdp ? "pass_xdp" : "pass_tc");
	if (err || !prog) {
		errno = -err;
		die("%s: cannot load", file);
	}
	enter(netns);
	if (xdp)
		attach_xdp(device(), bpf_program__fd(prog));
	else
		attach_tc(device(), bpf_program__fd(prog));
	bpf_object__close(object);
	return 0;
}

/* ---- run ---- */

struct prog {
	char name[384]; /* LABEL/PROGRAM */
	int fd;
	unsigned long long runs, ns;
};

static struct prog progs[MAX_PROGS];
static int n_progs;

static void add_prog(const char *label, const char *name, int fd)
{
	struct prog *p = &progs[n_progs];

	if (n_progs == MAX_PROGS) {
		errno = 0;
		die("more than %d programs", MAX_PROGS);
	}
	snprintf(p->name, sizeof(p->name), "%.99s/%s", label, name);
	p->fd = fd;
	n_progs++;
}

static void add_pinned(const char *label)
{
	char dir[PATH_MAX / 2], path[PATH_MAX];
	struct dirent *entry;
	DIR *d;
	int fd;

	pin_dir(dir, sizeof(dir), "progs");
	d = opendir(dir);
	if (!d)
		return; /* none up here */
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		fd = bpf_obj_get(path);
		if (fd < 0)
			die("%s", path);
		add_prog(label, entry->d_name, fd);
	}
	closedir(d);
}

static void add_if_pass(const char *label, unsigned id)
{
	struct bpf_prog_info info = {};
	unsigned len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		die("program %u", id);
	if (strncmp(info.name, "pass_", 5)) {
		close(fd); /* it is pinned, so we have it */
		return;
	}
	add_prog(label, info.name, fd);
}

static void add_passing(const char *label)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = device(),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = PASS_HANDLE,
		    .priority = PASS_PRIORITY);
	unsigned id;

	if (!bpf_xdp_query_id(device(), XDP_FLAGS_DRV_MODE, &id) && id)
		add_if_pass(label, id);
	/* libbpf complains when there is no clsact: that is no error here.
	 * One program on both hooks: its statistics are of both. */
	libbpf_set_print(NULL);
	if (!bpf_tc_query(&tc, &opts))
		add_if_pass(label, opts.prog_id);
}

/* Adds the present statistics, multiplied by sign. */
static void take(int sign)
{
	for (int i = 0; i < n_progs; i++) {
		struct bpf_prog_info info = {};
		unsigned len = sizeof(info);

		if (bpf_obj_get_info_by_fd(progs[i].fd, &info, &len))
			die("%s", progs[i].name);
		progs[i].runs += sign * info.run_cnt;
		progs[i].ns += sign * info.run_time_ns;
	}
}

static void run_command(char **argv)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(argv[0], argv);
		die("%s", argv[0]);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("wait");
	if (status) {
		errno = 0;
		die("%s failed", argv[0]);
	}
}

static void print_json(json_t *json)
{
	if (!json || json_dumpf(json, stdout, JSON_COMPACT))
		die("JSON");
	putchar('\n');
	json_decref(json);
}

static int run(int argc, char **argv)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	json_t *all = json_object();
	char *netns;
	int i, stats;

	if (own < 0)
		die("/proc/self/ns/net");
	for (i = 0; i < argc && strcmp(argv[i], "--"); i++) {
		netns = strchr(argv[i], '=');
		if (!netns)
			break;
		*netns++ = 0;
		enter(netns);
		add_pinned(argv[i]);
		add_passing(argv[i]);
	}
	if (!i || i + 1 >= argc || strcmp(argv[i], "--")) {
		fputs(usage, stderr);
		return 2;
	}
	if (setns(own, CLONE_NEWNET))
		die("setns");
	/* Off again when we end, however that is. */
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (stats < 0)
		die("BPF statistics");
	take(-1);
	run_command(argv + i + 1);
	take(1);
	close(stats);
	for (int p = 0; p < n_progs; p++)
		if (progs[p].runs)
			json_object_set_new(
				all, progs[p].name,
				json_pack("{s:I, s:I, s:f}", "runs",
					  (json_int_t)progs[p].runs, "ns",
					  (json_int_t)progs[p].ns, "mean_ns",
					  (double)progs[p].ns / progs[p].runs));
	print_json(all);
	return 0;
}

/* ---- maps ---- */

/* bpf_map_info does not say it: fdinfo does. */
static long long memlock(int fd)
{
	char path[64], line[128];
	long long bytes = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	if (!f)
		die("%s", path);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %lld", &bytes);
	fclose(f);
	return bytes;
}

static int maps(const char *netns)
{
	char dir[PATH_MAX / 2], path[PATH_MAX];
	json_t *all = json_object();
	struct dirent *entry;
	DIR *d;
	int fd;

	enter(netns);
	pin_dir(dir, sizeof(dir), "maps");
	d = opendir(dir);
	if (!d)
		die("%s", dir);
	while ((entry = readdir(d))) {
		struct bpf_map_info info = {};
		unsigned len = sizeof(info);

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		fd = bpf_obj_get(path);
		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
			die("%s", path);
		json_object_set_new(
			all, entry->d_name,
			json_pack("{s:i, s:I, s:b}", "max_entries",
				  info.max_entries, "bytes",
				  (json_int_t)memlock(fd), "preallocated",
				  !(info.map_flags & BPF_F_NO_PREALLOC)));
		close(fd);
	}
	closedir(d);
	print_json(all);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "attach"))
		return attach(argv[2], argv[3], argv[4]);
	if (argc > 2 && !strcmp(argv[1], "run"))
		return run(argc - 2, argv + 2);
	if (argc == 3 && !strcmp(argv[1], "maps"))
		return maps(argv[2]);
	if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")))
		return fputs(usage, stdout) < 0;
	fputs(usage, stderr);
	return 2;
}
