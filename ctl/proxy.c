// SPDX-License-Identifier: GPL-2.0-only
/* Starts and ends the proxy of the message path: see message.h. */
#include "message.h"

#include "ctl.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROXY	      "shunt-proxy"
#define START_MS      5000
#define STOP_MS	      3000
#define LOOK_EVERY_MS 10

static long elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 +
	       (now.tv_nsec - since->tv_nsec) / 1000000;
}

/* ---- counters ---- */

#define COUNTER(field, text)                                      \
	{                                                         \
#field, text, offsetof(struct shunt_proxy, field) \
	}

/* Of all in the counter, those for one reason. */
#define REASON(counter, name, array, why, text)               \
	{                                                     \
		counter "_" #name, text,                      \
			offsetof(struct shunt_proxy, array) + \
				(why) * sizeof(__u64)         \
	}
#define RESET(name, why, text) \
	REASON("aborted", name, resets, SHUNT_RESET_##why, text)
#define DEMOTION(name, why, text) \
	REASON("demoted", name, demotions, SHUNT_DEMOTED_##why, text)

static const struct {
	const char *name, *text;
	size_t at;
} counters[] = {
	COUNTER(datagrams_tx, "datagrams sent"),
	COUNTER(datagrams_rx, "datagrams received"),
	COUNTER(bytes_tx, "bytes sent"),
	COUNTER(bytes_rx, "bytes received"),
	COUNTER(sends, "sends that took them, whole batches"),
	COUNTER(bytes_copied, "bytes of these, headers and all, to be copied"),
	COUNTER(bytes_zc, "… that the kernel did not copy"),
	COUNTER(bytes_zc_copied, "… that it copied, though asked not to"),
	COUNTER(repaired, "bytes sent again, over the control channel"),
	COUNTER(duplicates, "bytes received twice"),
	COUNTER(refused, "datagrams and control messages not believed"),
	COUNTER(promoted, "directions of connections that took the path"),
	COUNTER(demoted, "… and left it for TCP"),
	DEMOTION(option, OPTION, "… for a socket option"),
	DEMOTION(peer, PEER, "… as their other directions had, see there"),
	DEMOTION(lost, LOST, "… nothing arrived that was sent"),
	DEMOTION(stream, STREAM, "… its memory for one stream was taken"),
	DEMOTION(all, ALL, "… the memory for all of them was taken"),
	DEMOTION(kernel, KERNEL, "… the kernel had no memory for a message"),
	DEMOTION(proxy, PROXY, "… the proxy was not there"),
	COUNTER(aborted, "connections reset"),
	RESET(peer, PEER, "… as their other ends were, see there"),
	RESET(closed, CLOSED, "… bytes came, and the application had closed"),
	RESET(missing, MISSING, "… the kernel had no memory for a message"),
	RESET(silent, SILENT, "… nothing was heard of the peer's proxy"),
	RESET(proxy, PROXY, "… this proxy, or the peer's, had ended"),
	RESET(memory, MEMORY, "… the proxy had no memory"),
	RESET(wrong, WRONG, "… the peer's proxy said what can't be"),
	COUNTER(held, "FINs that waited for the path"),
	COUNTER(events_lost, "times that the ring of events was full"),
	COUNTER(charged, "memory ever charged for messages, bytes"),
	COUNTER(released, "… and given back"),
};

const char *proxy_counter(const struct shunt_proxy *proxy, unsigned i,
			  const char **text, __u64 *value)
{
	if (i >= ARRAY_SIZE(counters))
		return NULL;
	*text = counters[i].text;
	memcpy(value, (const char *)proxy + counters[i].at, sizeof(*value));
	return counters[i].name;
}

static void add(struct shunt_proxy *sum, const struct shunt_proxy *loop)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		*(__u64 *)((char *)sum + counters[i].at) +=
			*(const __u64 *)((const char *)loop + counters[i].at);
}

int proxy_read_map(int map, struct shunt_proxy *proxy,
		   struct shunt_proxy loops[SHUNT_MSG_LOOPS])
{
	struct shunt_proxy one;
	__u32 n = 1;
	int err = 0;

	for (__u32 i = 0; !err && i < n; i++) {
		err = bpf_map_lookup_elem(map, &i, &one);
		if (err)
			break;
		if (loops)
			loops[i] = one;
		if (i) {
			add(proxy, &one);
			continue;
		}
		*proxy = one;
		n = one.loops < SHUNT_MSG_LOOPS ? one.loops : SHUNT_MSG_LOOPS;
	}
	return err;
}

int proxy_read(const char *dir, struct shunt_proxy *proxy)
{
	int fd = pin_get(dir, "maps", "message_proxy"), err;

	if (fd < 0)
		return fd;
	err = proxy_read_map(fd, proxy, NULL);
	close(fd);
	return err;
}

/* ---- which process ---- */

/* A descriptor of the process, if it is (still) a proxy. */
static int open_proxy(__u32 pid)
{
	char path[32], exe[PATH_MAX];
	const char *name;
	ssize_t len;
	int fd;

	if (!pid)
		return -ESRCH;
	fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	len = readlink(path, exe, sizeof(exe) - 1);
	if (len < 0)
		goto not_ours;
	exe[len] = '\0';
	name = strrchr(exe, '/');
	/* "… (deleted)" follows after an upgrade. */
	if (name && !strncmp(name + 1, PROXY, strlen(PROXY)))
		return fd;
not_ours:
	close(fd);
	return -ESRCH;
}

bool proxy_alive(const struct shunt_proxy *proxy)
{
	int fd = open_proxy(proxy->supervisor);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* ---- start ---- */

/* Beside this command, or where it would be installed. */
static const char *find_proxy(char path[static PATH_MAX])
{
	const char *given = getenv("SHUNT_PROXY");
	ssize_t len;
	char *slash;

	if (given)
		return given;
	len = readlink("/proc/self/exe", path, PATH_MAX - sizeof(PROXY));
	if (len > 0) {
		path[len] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash + 1, PROXY);
		if (!access(path, X_OK))
			return path;
	}
	return SHUNT_PREFIX "/sbin/" PROXY;
}

static void exec_proxy(const char *dir, int errors)
{
	char found[PATH_MAX];
	const char *path = find_proxy(found);
	int null;

	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(errors, 2) < 0)
		_exit(1);
	if (null > 2)
		close(null);
	execl(path, PROXY, "--pins", dir, NULL);
	shunt_err(-errno, "%s: %s", path, strerror(errno));
	_exit(127);
}

/* Our child ends at once, so that the proxy has init for a parent; its number
 * is that of their process group. */
static int spawn(const char *dir, int *said, pid_t *group)
{
	int pipes[2], err = 0, status;
	pid_t child;

	if (pipe2(pipes, O_CLOEXEC))
		return shunt_err(-errno, "pipe: %s", strerror(errno));
	child = fork();
	if (!child) {
		setsid();
		if (!fork())
			exec_proxy(dir, pipes[1]);
		_exit(0);
	}
	if (child < 0)
		err = shunt_err(-errno, "fork: %s", strerror(errno));
	close(pipes[1]);
	if (err) {
		close(pipes[0]);
		return err;
	}
	waitpid(child, &status, 0);
	*group = child;
	*said = pipes[0];
	return 0;
}

/* Waits for so long, or until it says more; false: it has ended. */
static bool listen_to(int said, char *text, size_t size, int wait)
{
	struct pollfd fd = {.fd = said, .events = POLLIN};
	size_t at = strlen(text);
	char drop[256];
	ssize_t n;

	if (poll(&fd, 1, wait) <= 0)
		return true;
	n = at + 1 < size ? read(said, text + at, size - at - 1)
			  : read(said, drop, sizeof(drop));
	if (n > 0 && at + 1 < size)
		text[at + n] = '\0';
	return n > 0;
}

int proxy_start(const char *dir)
{
	struct shunt_proxy proxy = {};
	char text[2048] = "";
	struct timespec start;
	bool running = true;
	int said = -1, err;
	pid_t group = 0;

	err = spawn(dir, &said, &group);
	if (err)
		return err;
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!err && !proxy.up && running && elapsed_ms(&start) < START_MS) {
		running = listen_to(said, text, sizeof(text), LOOK_EVERY_MS);
		err = proxy_read(dir, &proxy);
	}
	close(said);
	if (!err && proxy.up)
		return 0;
	if (text[0])
		fputs(text, stderr);
	err = shunt_err(-EIO, running ? "the proxy of the message path does "
					"not come up"
				      : "the proxy of the message path has "
					"ended");
	proxy_stop(dir);
	/* It may not even have said who it is. */
	kill(-group, SIGKILL);
	return err;
}

/* ---- stop ---- */

static bool ends(int fd, int signal, int wait)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
	return poll(&p, 1, wait) > 0;
}

void proxy_stop(const char *dir)
{
	struct shunt_proxy proxy = {};
	int supervisor, worker;

	if (proxy_read(dir, &proxy))
		return;
	supervisor = open_proxy(proxy.supervisor);
	worker = open_proxy(proxy.worker);
	if (supervisor >= 0 && !ends(supervisor, SIGTERM, STOP_MS))
		ends(supervisor, SIGKILL, STOP_MS);
	/* It ends with its supervisor, unless it can't. */
	if (worker >= 0)
		ends(worker, SIGKILL, STOP_MS);
	if (supervisor >= 0)
		close(supervisor);
	if (worker >= 0)
		close(worker);
}
