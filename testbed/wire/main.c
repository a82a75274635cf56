// SPDX-License-Identifier: GPL-2.0-only
/*
 * testbed-wire: see wire.h. Started, and talked to, by testbed/lab.
 */
#include "wire.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int usage(FILE *to)
{
	fputs("usage: testbed-wire run SOCKET DEVICE DEVICE\n"
	      "	carry frames between two devices, the second towards the "
	      "server,\n"
	      "	and take commands at SOCKET\n"
	      "       testbed-wire ask SOCKET set SPEC | stats | reset\n"
	      "	give a command to a running wire, print its answer\n",
	      to);
	return to == stderr ? 2 : 0;
}

/* ---- the running wire ---- */

static const char *const dir_name[] = {"to_server", "to_client"};

static void answer_set(struct line *lines, const char *spec, FILE *out)
{
	struct faults faults;
	struct request r = {.set = &faults};
	char message[256];
	unsigned int dirs, i;

	if (faults_parse(spec, &faults, &dirs, message, sizeof(message))) {
		fprintf(out, "error %s\n", message);
		return;
	}
	for (i = 0; i < 2; i++) {
		if ((dirs & 1U << i) && line_ask(&lines[i], &r)) {
			fputs("error a line does not answer\n", out);
			return;
		}
	}
	fputs("ok\n", out);
}

static void print_stats(const struct stats *s, FILE *out)
{
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"received", s->received},
		{"forwarded", s->forwarded},
		{"bytes", s->bytes},
		{"lost", s->lost},
		{"duplicated", s->duplicated},
		{"held", s->held},
		{"reordered", s->reordered},
		{"damaged", s->damaged},
		{"queue_drops", s->queue_drops},
		{"spared", s->spared},
		{"missed", s->missed},
		{"unfinished", s->unfinished},
		{"send_failed", s->send_failed},
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		fprintf(out, "%s\"%s\":%llu", i ? "," : "{", all[i].name,
			(unsigned long long)all[i].value);
	fputc('}', out);
}

static void answer_stats(struct line *lines, bool reset, FILE *out)
{
	struct stats stats[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct request r = {.stats = &stats[i], .reset = reset};

		if (line_ask(&lines[i], &r)) {
			fputs("error a line does not answer\n", out);
			return;
		}
	}
	fputs("ok\n", out);
	for (i = 0; i < 2; i++) {
		fprintf(out, "%s\"%s\":", i ? "," : "{", dir_name[i]);
		print_stats(&stats[i], out);
	}
	fputs("}\n", out);
}

static void serve(struct line *lines, int fd)
{
	char command[1024];
	ssize_t len;
	FILE *out;

	/* Short, and written at once: one read gets it all. */
	len = read(fd, command, sizeof(command) - 1);
	out = len < 0 ? NULL : fdopen(fd, "w");
	if (!out) {
		close(fd);
		return;
	}
	command[len] = '\0';
	if (!strncmp(command, "set ", 4))
		answer_set(lines, command + 4, out);
	else if (!strcmp(command, "stats"))
		answer_stats(lines, false, out);
	else if (!strcmp(command, "reset"))
		answer_stats(lines, true, out);
	else
		fprintf(out, "error no command '%s'\n", command);
	fclose(out);
}

static int socket_address(struct sockaddr_un *addr, const char *path)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	strcpy(addr->sun_path, path);
	return 0;
}

static int open_control(const char *path)
{
	struct sockaddr_un addr;
	int fd, err;

	err = socket_address(&addr, path);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (void *)&addr, sizeof(addr)) || listen(fd, 16)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int run(const char *path, const char *dev0, const char *dev1)
{
	static struct line lines[2];
	pthread_t thread;
	int control, fd, err, i;

	signal(SIGPIPE, SIG_IGN);
	err = line_open(&lines[0], 0, dev0, dev1);
	if (!err)
		err = line_open(&lines[1], 1, dev1, dev0);
	if (err) {
		fprintf(stderr, "testbed-wire: %s, %s: %s\n", dev0, dev1,
			strerror(-err));
		return 1;
	}
	for (i = 0; i < 2; i++) {
		err = pthread_create(&thread, NULL, line_run, &lines[i]);
		if (err) {
			fprintf(stderr, "testbed-wire: thread: %s\n",
				strerror(err));
			return 1;
		}
	}
	/* Last, because whoever can connect may rely on the lines. */
	control = open_control(path);
	if (control < 0) {
		fprintf(stderr, "testbed-wire: %s: %s\n", path,
			strerror(-control));
		return 1;
	}
	for (;;) {
		fd = accept4(control, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve(lines, fd);
	}
}

/* ---- asking it ---- */

static int ask(const char *path, const char *command)
{
	struct sockaddr_un addr;
	char line[1024];
	int fd, err;
	FILE *in;

	err = socket_address(&addr, path);
	if (err) {
		fprintf(stderr, "testbed-wire: %s: %s\n", path, strerror(-err));
		return 1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	in = fd < 0 ? NULL : fdopen(fd, "r");
	if (!in || connect(fd, (void *)&addr, sizeof(addr)) ||
	    write(fd, command, strlen(command)) < 0) {
		fprintf(stderr, "testbed-wire: %s: %s\n", path,
			strerror(errno));
		return 1;
	}
	if (!fgets(line, sizeof(line), in)) {
		fprintf(stderr, "testbed-wire: %s: no answer\n", path);
		return 1;
	}
	if (strcmp(line, "ok\n")) {
		fprintf(stderr, "testbed-wire: %s",
			strncmp(line, "error ", 6) ? line : line + 6);
		return 1;
	}
	while (fgets(line, sizeof(line), in))
		fputs(line, stdout);
	fclose(in);
	return 0;
}

int main(int argc, char **argv)
{
	char command[600];

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(stdout);
	if (argc == 5 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3], argv[4]);
	if (argc < 4 || argc > 5 || strcmp(argv[1], "ask"))
		return usage(stderr);
	snprintf(command, sizeof(command), "%s%s%s", argv[3],
		 argc == 5 ? " " : "", argc == 5 ? argv[4] : "");
	return ask(argv[2], command);
}
