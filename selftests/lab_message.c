// SPDX-License-Identifier: GPL-2.0-only
/* The message path between a lab's hosts. See lab_message.h. */
#include "lab_message.h"
#include "lab_own.h"

#include "message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int lab_ask_for_path(struct lab *lab, const char *transport)
{
	json_t *rules = lab_json(lab, CLIENT, "policy list");
	bool there = json_array_size(rules) > 1; /* the last is the default */
	char *command;
	int err;

	json_decref(rules);
	if (there)
		return 0;
	/* Not lab_shunt(): the next test wants the same. */
	TEXT(command, "%s/shunt policy add --path message --transport %s",
	     lab_build(), transport);
	err = lab_run(lab, CLIENT, "%s", command);
	free(command);
	return err;
}

int lab_message_up(struct lab *lab, const char *options, const char *fmt, ...)
{
	char *args;
	int err;

	FORMAT(args, fmt);
	err = lab_up_both(lab, options, "--message-path %s", args);
	free(args);
	return err ?: lab_ask_for_path(lab, "udp");
}

struct shunt_proxy lab_proxy(struct lab *lab, enum lab_host host)
{
	int fd = lab_map(lab, host, "message_proxy");
	struct shunt_proxy p = {};

	if (fd < 0 || proxy_read_map(fd, &p, NULL))
		fprintf(stderr, "# %s: message_proxy: %m\n", lab_hosts[host]);
	close(fd);
	return p;
}

void lab_proxies(struct lab *lab, struct shunt_proxy now[LAB_HOSTS])
{
	now[CLIENT] = lab_proxy(lab, CLIENT);
	now[SERVER] = lab_proxy(lab, SERVER);
}

long lab_proxy_stat(struct lab *lab, enum lab_host host, const char *name)
{
	json_t *stats = lab_json(lab, host, "stats");
	json_t *value = json_object_get(json_object_get(stats, "proxy"), name);
	long n = value ? json_integer_value(value) : -1;

	if (!value)
		fprintf(stderr, "# no counter %s\n", name);
	json_decref(stats);
	return n;
}

long lab_mem_available_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static void tell_changes(const struct shunt_proxy *was,
			 const struct shunt_proxy *is)
{
	const char *name, *text;
	__u64 before, now;

	for (unsigned i = 0; (name = proxy_counter(was, i, &text, &before));
	     i++) {
		proxy_counter(is, i, &text, &now);
		if (now != before)
			fprintf(stderr, " %s+%llu", name, now - before);
	}
	fputc('\n', stderr);
}

bool lab_undisturbed(struct lab *lab, const struct shunt_proxy was[LAB_HOSTS])
{
	bool ok = true;

	for (int i = CLIENT; i <= SERVER; i += SERVER) {
		struct shunt_proxy now = lab_proxy(lab, i);

		if (now.demoted == was[i].demoted &&
		    now.aborted == was[i].aborted &&
		    now.worker == was[i].worker)
			continue;
		fprintf(stderr, "# %s: proxy %u/%u", lab_hosts[i],
			was[i].worker, now.worker);
		tell_changes(&was[i], &now);
		ok = false;
	}
	return ok;
}

bool lab_promoted(struct lab *lab, const struct lab_pair *pair)
{
	struct talk t = {.c = {pair->c, talk_send, talk_recv},
			 .s = {pair->s, talk_send, talk_recv}};

	return talk_promoted(lab, &t);
}

/* ---- talk ---- */

int talk_send(struct talker *t, const void *buf, size_t len)
{
	ssize_t n = send(t->fd, buf, len, MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

int talk_recv(struct talker *t, void *buf, size_t len)
{
	ssize_t n = recv(t->fd, buf, len, 0);

	return n < 0 ? -errno : n ?: -EPIPE;
}

struct writer {
	struct talker *t;
	uint8_t *buf;
	size_t len;
	int err;
};

static void *write_all(void *arg)
{
	struct writer *w = arg;

	for (size_t done = 0; done < w->len && w->err >= 0;
	     done += w->err > 0 ? w->err : 0)
		w->err = w->t->write(w->t, w->buf + done, w->len - done);
	return NULL;
}

int talk_one_way(struct talk *t, int direction, size_t len)
{
	struct talker *out = direction == TO_SERVER ? &t->c : &t->s;
	struct talker *in = direction == TO_SERVER ? &t->s : &t->c;
	uint8_t *buf = malloc(3 * len), *got = buf + len, *want = got + len;
	struct writer w = {.t = out, .buf = buf, .len = len};
	size_t done = 0;
	pthread_t thread;
	int n = 0;

	pattern(buf, 1 + direction, t->at[direction], len);
	memcpy(want, buf, len);
	if (pthread_create(&thread, NULL, write_all, &w))
		abort();
	while (done < len && n >= 0) {
		n = in->read(in, got + done, len - done);
		done += n > 0 ? n : 0;
	}
	if (n < 0)
		shutdown(out->fd, SHUT_RDWR); /* or the writer would wait */
	pthread_join(thread, NULL);
	n = n < 0		     ? n
	    : w.err < 0		     ? w.err
	    : memcmp(got, want, len) ? -EBADMSG
				     : 0;
	if (n)
		fprintf(stderr, "# to %s: %zu of %zu bytes at %llu: %s (%d)\n",
			direction == TO_SERVER ? "server" : "client", done, len,
			(unsigned long long)t->at[direction], strerror(-n),
			w.err);
	t->at[direction] += len;
	free(buf);
	return n;
}

bool talk_promoted(struct lab *lab, struct talk *t)
{
	uint64_t end = now_us() + LAB_TIMEOUT * 500000ULL;
	struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];

	lab_proxies(lab, was);
	while (now_us() < end) {
		if (talk_one_way(t, TO_SERVER, 100) ||
		    talk_one_way(t, TO_CLIENT, 100))
			return false;
		lab_proxies(lab, is);
		if (is[CLIENT].promoted > was[CLIENT].promoted &&
		    is[SERVER].promoted > was[SERVER].promoted)
			return true;
		usleep(5000);
	}
	fprintf(stderr, "# not promoted\n");
	return false;
}
