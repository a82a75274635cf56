// SPDX-License-Identifier: GPL-2.0-only
/*
 * One lab for many tests: lab_leave() leaves it to the next test that wants one
 * like it, as if it had just been made. What cannot be undone spoils a lab, and
 * so does a test that fails.
 */
#include "lab_own.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <shunt/shared.h>

/* Tests are processes: the one that they come from keeps the lab. */
static struct {
	pid_t pid;
	bool there;
	pid_t user;	/* has it now, or has died with it */
	struct lab lab; /* there, or in use */
} * kept;

static bool is_main(void)
{
	return kept && kept->pid == getpid();
}

static int end_kept(void)
{
	kept->there = false;
	for (int i = 0; i < LAB_HOSTS; i++) {
		kept->lab.ns[i] = lab_open_ns(&kept->lab, i);
		if (kept->lab.ns[i] < 0)
			return -1;
	}
	return lab_down(&kept->lab);
}

static void at_exit(void)
{
	if (!is_main() || !kept->there || !end_kept())
		return;
	fprintf(stderr, "# the last lab did not go away\n");
	fflush(NULL);
	_exit(1);
}

void lab_share(void)
{
	if (getenv("SHUNT_TEST_FRESH"))
		return;
	kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (kept == MAP_FAILED) {
		kept = NULL;
		return;
	}
	kept->pid = getpid();
	atexit(at_exit);
}

void lab_taken(const struct lab *lab)
{
	if (kept && kept->user == getpid() && !kept->lab.name[0])
		kept->lab = *lab;
}

void lab_gone(const struct lab *lab)
{
	if (kept && !strcmp(kept->lab.name, lab->name))
		kept->lab.name[0] = '\0';
}

pid_t lab_owner(void)
{
	return kept && kept->user == getpid() ? kept->pid : getpid();
}

/* ---- as if it had just been made ---- */

static const struct {
	const char *command;
	const char *undo;
} undo[] = {
	{"block", "none"}, {"strip", "none"},	      {"dropopt", "none"},
	{"fault", "none"}, {"fault", "--netem none"},
};

void lab_note_command(struct lab *lab, const char *command, const char *args)
{
	bool netem = strstr(args, "--netem");

	for (size_t i = 0; i < sizeof(undo) / sizeof(*undo); i++)
		if (!strcmp(command, undo[i].command) &&
		    netem == !!strstr(undo[i].undo, "--netem"))
			lab->undo |= 1 << i;
}

static int undo_commands(struct lab *lab)
{
	for (size_t i = 0; i < sizeof(undo) / sizeof(*undo); i++)
		if (lab->undo & 1 << i &&
		    lab_do(lab, undo[i].command, "%s", undo[i].undo))
			return -1;
	lab->undo = 0;
	return 0;
}

/* Sockets of a host but those that wait for their time to pass, and those of
 * its proxy: the control channel, and what is on loopback. */
static int sockets(struct lab *lab, enum lab_host host)
{
	const char *files[] = {"/proc/thread-self/net/tcp",
			       "/proc/thread-self/net/tcp6"};
	char line[256], state[3], local[40];
	unsigned from, to;
	int n = 0;

	if (lab_enter(lab->ns[host]))
		return -errno;
	for (int i = 0; i < 2; i++) {
		FILE *file = fopen(files[i], "re");

		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, " %*d: %39[^:]:%x %*[^:]:%x %2s",
				   local, &from, &to, state) == 4)
				n += strcmp(state, "06") &&
				     strcmp(local, "0100007F") &&
				     from != SHUNT_PORT && to != SHUNT_PORT;
		if (file)
			fclose(file);
	}
	if (lab_enter(lab->home))
		abort();
	return n;
}

static bool is_quiet(struct lab *lab)
{
	uint64_t end = now_us() + 300000ULL * time_factor();

	while (sockets(lab, CLIENT) || sockets(lab, SERVER)) {
		if (now_us() > end)
			return false;
		usleep(5000);
	}
	return true;
}

int lab_map(struct lab *lab, enum lab_host host, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/maps/%s", lab->pins[host], name);
	return bpf_obj_get(path);
}

static int empty_hash(struct lab *lab, enum lab_host host, const char *name)
{
	int fd = lab_map(lab, host, name), err = fd < 0 ? fd : 0;
	char keys[2][64];
	int i = 0;
	bool more = !err && !bpf_map_get_next_key(fd, NULL, keys[0]);

	/* The next one is asked for first: without a key to go on from, the
	 * kernel looks through all that is empty by now. */
	while (more && !err) {
		more = !bpf_map_get_next_key(fd, keys[i], keys[!i]);
		err = bpf_map_delete_elem(fd, keys[i]);
		i = !i;
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static int clear_first(struct lab *lab, enum lab_host host, const char *name,
		       size_t size)
{
	void *zeros = calloc(libbpf_num_possible_cpus(), size);
	int fd = lab_map(lab, host, name);
	__u32 zero = 0;
	int err = fd < 0 ? fd : bpf_map_update_elem(fd, &zero, zeros, BPF_ANY);

	if (fd >= 0)
		close(fd);
	free(zeros);
	return err;
}

static int clear_flows(struct lab *lab, enum lab_host host)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	int fd = lab_map(lab, host, "flows");
	size_t len;
	void *flows;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	len = (size_t)info.max_entries * info.value_size;
	flows = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (flows == MAP_FAILED)
		return -errno;
	memset(flows, 0, len);
	munmap(flows, len);
	return 0;
}

/* No flows, no memory of any peer, counters at zero. */
static int forget(struct lab *lab, enum lab_host host)
{
	return empty_hash(lab, host, "flow_index") ?:
	       clear_flows(lab, host) ?:
	       empty_hash(lab, host, "handshakes") ?:
	       empty_hash(lab, host, "peers") ?:
	       clear_first(lab, host, "hand", sizeof(__u32)) ?:
	       clear_first(lab, host, "scratch", sizeof(struct shunt_scratch));
}

static int refresh(struct lab *lab)
{
	struct lab_count count;

	if (!is_quiet(lab) || lab_make_dir(lab) || lab_count(lab, &count) ||
	    (strstr(lab->options, "--wire") &&
	     lab_do(lab, "wire-stats", "reset")))
		return -1;
	for (int i = 0; i < LAB_HOSTS; i++)
		if (lab->pins[i][0] && !lab->touched[i] && forget(lab, i))
			return -1;
	return 0;
}

bool lab_take(struct lab *lab, const char *options)
{
	bool mine;

	if (!kept || kept->user == getpid())
		return false;
	if (kept->user && kept->lab.name[0]) {
		/* That test has died. */
		lab_do(&kept->lab, "down", "%s", "");
		lab_gone(&kept->lab);
	}
	mine = kept->there && !strcmp(kept->lab.options, options);
	if (kept->there && !mine)
		end_kept();
	kept->there = false;
	kept->user = getpid();
	if (!mine)
		return false;
	*lab = kept->lab;
	lab->home = lab_open_home();
	for (int i = 0; i < LAB_HOSTS; i++)
		lab->ns[i] = lab_open_ns(lab, i);
	if (!refresh(lab))
		return true;
	lab_down(lab);
	return false;
}

int lab_leave(struct lab *lab, bool passed)
{
	if (!kept || kept->user != getpid() || !passed || lab->spoilt)
		return lab_down(lab);
	if (undo_commands(lab) || lab_remove_dir(lab))
		return -1; /* goes with the process that has made it */
	for (int i = 0; i < LAB_HOSTS; i++)
		close(lab->ns[i]);
	for (int i = 0; i < lab->n_started; i++)
		kill(-lab->started[i], SIGKILL);
	lab->n_started = 0;
	close(lab->home);
	kept->lab = *lab;
	kept->there = true;
	kept->user = 0;
	return 0;
}
