// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which connections are redirected: by cgroup, by command, by rule. The router
 * says what they went over.
 */
#include "harness.h"
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PORT 7700
#define SIZE 500000L

FIXTURE(policy)
{
	struct lab lab;
	int listener;
	char root[PATH_MAX];	    /* of cgroup v2 */
	char cgroup[PATH_MAX + 64]; /* one of ours, empty */
	char child[PATH_MAX + 80];  /* one below it */
};

static int find_cgroup2(char root[static PATH_MAX])
{
	char line[4096], at[PATH_MAX], *type;
	FILE *file = fopen("/proc/self/mountinfo", "re");
	int err = -ENOENT;

	while (err && file && fgets(line, sizeof(line), file)) {
		type = strstr(line, " - ");
		if (type && !strncmp(type, " - cgroup2 ", 11) &&
		    sscanf(line, "%*s %*s %*s / %4095s", at) == 1) {
			strcpy(root, at);
			err = 0;
		}
	}
	if (file)
		fclose(file);
	return err;
}

/* This process, and sockets it makes from now on. */
static int enter_cgroup(const char *path)
{
	char procs[PATH_MAX + 128];
	int fd, err = 0;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

FIXTURE_SETUP(policy)
{
	ASSERT_EQ(0, find_cgroup2(self->root));
	ASSERT_EQ(0, enter_cgroup(self->root));
	snprintf(self->cgroup, sizeof(self->cgroup), "%s/hosts-%d", self->root,
		 getpid());
	snprintf(self->child, sizeof(self->child), "%s/child", self->cgroup);
	ASSERT_EQ(0, mkdir(self->cgroup, 0755));
	ASSERT_EQ(0, mkdir(self->child, 0755));
	ASSERT_EQ(0, lab_open(&self->lab, NULL));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(policy)
{
	EXPECT_EQ(0, enter_cgroup(self->root));
	EXPECT_EQ(0, rmdir(self->child));
	EXPECT_EQ(0, rmdir(self->cgroup));
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

enum way { ON_UDP, ON_TCP };

/* Does a new connection, made in this cgroup, go this way? */
static bool goes(struct lab *lab, const char *cgroup, const char *root,
		 int domain, int listener, enum way way)
{
	struct lab_count count;
	struct lab_pair p;
	bool ok;
	int err;

	if (enter_cgroup(cgroup))
		return false;
	err = lab_count(lab, &count) || lab_pair_on(lab, &p, domain, listener);
	if (enter_cgroup(root) || err)
		return false;
	ok = !stream_through(p.c, p.s, 1, SIZE) &&
	     !stream_through(p.s, p.c, 2, SIZE);
	if (ok && way == ON_UDP)
		ok = lab_flow(lab, CLIENT, p.c, "redirected", NULL) &&
		     lab_flow(lab, SERVER, p.s, "redirected", NULL);
	lab_pair_close(&p);
	if (lab_count(lab, &count))
		return false;
	for (int dir = 0; dir < 2; dir++)
		if (way == ON_UDP ? count.udp[dir].bytes < SIZE / 2
				  : count.udp[dir].packets > 0)
			ok = false;
	return ok;
}

#define GOES(way, cgroup_, domain) \
	goes(&self->lab, cgroup_, self->root, domain, self->listener, way)

/* What it accepts follows the client: no cgroup is asked. */
TEST_F(policy, server_outside_of_the_cgroup)
{
	ASSERT_EQ(0, lab_shunt_up(&self->lab, CLIENT, "%s", ""));
	ASSERT_EQ(0, lab_shunt_up(&self->lab, SERVER, "--cgroup %s",
				  self->cgroup));
	EXPECT_TRUE(GOES(ON_UDP, self->root, AF_INET));
	EXPECT_TRUE(GOES(ON_UDP, self->root, AF_INET6));
	EXPECT_TRUE(BECOMES(lab_flows(&self->lab, SERVER, "closed") == 2));
}

TEST_F(policy, client_in_and_out_of_the_cgroup)
{
	ASSERT_EQ(0, lab_shunt_up(&self->lab, CLIENT, "--cgroup %s",
				  self->cgroup));
	ASSERT_EQ(0, lab_shunt_up(&self->lab, SERVER, "%s", ""));
	EXPECT_TRUE(GOES(ON_TCP, self->root, AF_INET));
	EXPECT_TRUE(GOES(ON_UDP, self->cgroup, AF_INET));
	EXPECT_TRUE(GOES(ON_UDP, self->child, AF_INET6));
	EXPECT_TRUE(GOES(ON_TCP, self->root, AF_INET6));
}

static int policy(struct lab *lab, enum lab_host host, const char *args)
{
	return lab_run(lab, host, "%s/shunt policy %s", lab_build(), args);
}

TEST_F(policy, rule_for_a_cgroup)
{
	char rule[PATH_MAX + 128];

	ASSERT_EQ(0, lab_shunt_both(&self->lab, "%s", ""));
	snprintf(rule, sizeof(rule), "add --cgroup %s --transport tcp",
		 self->cgroup);
	ASSERT_EQ(0, policy(&self->lab, CLIENT, rule));
	EXPECT_TRUE(GOES(ON_UDP, self->root, AF_INET));
	EXPECT_TRUE(GOES(ON_TCP, self->cgroup, AF_INET));
	EXPECT_TRUE(GOES(ON_TCP, self->child, AF_INET6));
	ASSERT_EQ(0, policy(&self->lab, CLIENT, "del 1"));
	EXPECT_TRUE(GOES(ON_UDP, self->child, AF_INET6));
}

TEST_F(policy, rule_for_a_prefix)
{
	struct lab_pair p;

	ASSERT_EQ(0, lab_shunt_both(&self->lab, "%s", ""));
	ASSERT_EQ(0, policy(&self->lab, CLIENT,
			    "add --to 10.77.2.0/24 --transport tcp"));
	EXPECT_TRUE(GOES(ON_TCP, self->root, AF_INET));
	EXPECT_TRUE(GOES(ON_UDP, self->root, AF_INET6));
	/* The first that matches decides. */
	ASSERT_EQ(0, policy(&self->lab, CLIENT,
			    "add --to 10.77.2.2 --transport udp --at 1"));
	EXPECT_TRUE(GOES(ON_UDP, self->root, AF_INET));
	ASSERT_EQ(0, policy(&self->lab, CLIENT, "del 1"));
	ASSERT_EQ(0, lab_pair_on(&self->lab, &p, AF_INET, self->listener));
	EXPECT_TRUE(lab_flow(&self->lab, CLIENT, p.c, "tcp", "policy"));
	lab_pair_close(&p);
	ASSERT_EQ(0, policy(&self->lab, CLIENT, "del 1"));
}

/* The server's own policy, which the client finds out by asking. */
TEST_F(policy, rule_at_the_server)
{
	struct lab_pair p;
	char rule[64];

	ASSERT_EQ(0, lab_shunt_both(&self->lab, "%s", ""));
	snprintf(rule, sizeof(rule), "add --port %d --transport tcp", PORT);
	ASSERT_EQ(0, policy(&self->lab, SERVER, rule));
	EXPECT_TRUE(GOES(ON_TCP, self->root, AF_INET));
	ASSERT_EQ(0, lab_pair_on(&self->lab, &p, AF_INET, self->listener));
	EXPECT_TRUE(lab_flow(&self->lab, CLIENT, p.c, "tcp", "no-answer"));
	lab_pair_close(&p);
	ASSERT_EQ(0, policy(&self->lab, SERVER, "del 1"));
	EXPECT_TRUE(GOES(ON_UDP, self->root, AF_INET));
}

/* ---- shunt run ---- */

/* Answers one HTTP request with SIZE bytes. */
static void *serve_one(void *arg)
{
	struct stream tx = {.send = true, .seed = 8, .to = SIZE};
	char request[4096], head[128];
	size_t len = 0;
	int n;

	tx.fd = accept(*(int *)arg, NULL, NULL);
	if (tx.fd < 0)
		return (void *)1;
	do {
		n = recv(tx.fd, request + len, sizeof(request) - 1 - len, 0);
		len += n > 0 ? n : 0;
		request[len] = '\0';
	} while (n > 0 && !strstr(request, "\r\n\r\n"));
	n = snprintf(head, sizeof(head),
		     "HTTP/1.0 200 OK\r\nContent-Length: %ld\r\n\r\n", SIZE);
	if (send(tx.fd, head, n, MSG_NOSIGNAL) != n || stream_run(&tx))
		n = -1;
	close(tx.fd);
	return (void *)(intptr_t)(n < 0);
}

/* Run curl on the client behind this prefix: does its download go this way? */
static bool curl_goes(struct lab *lab, int listener, const char *prefix,
		      enum way way)
{
	struct lab_count count;
	pthread_t server;
	void *failed;
	bool ok;

	if (lab_count(lab, &count) ||
	    pthread_create(&server, NULL, serve_one, &listener))
		return false;
	ok = !lab_run(lab, CLIENT,
		      "%s curl -sSf -m 10 -o %s/got http://10.77.2.2:%d/ &&"
		      " cmp %s/got %s/want",
		      prefix, lab->dir, PORT, lab->dir, lab->dir);
	pthread_join(server, &failed);
	if (failed || lab_count(lab, &count))
		return false;
	if (way == ON_UDP)
		return ok && count.udp[TO_CLIENT].bytes >= SIZE / 2;
	return ok && !count.udp[TO_CLIENT].packets &&
	       !count.udp[TO_SERVER].packets;
}

static int make_want(struct lab *lab)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/want", lab->dir);
	return make_file(path, 8, SIZE);
}

static char *run_prefix(const char *options)
{
	static char prefix[PATH_MAX];

	snprintf(prefix, sizeof(prefix), "%s/shunt run %s --", lab_build(),
		 options);
	return prefix;
}

/* Besides the default, which is listed as well. */
static int rules(struct lab *lab)
{
	json_t *list = lab_json(lab, CLIENT, "policy list"), *rule;
	int n = list ? 0 : -1;
	size_t i;

	json_array_foreach (list, i, rule)
		n += !json_is_null(json_object_get(rule, "rule"));
	json_decref(list);
	return n;
}

TEST_F(policy, run_one_command_on_udp)
{
	struct lab *lab = &self->lab;
	char path[128];

	ASSERT_EQ(0, make_want(lab));
	ASSERT_EQ(0, lab_shunt_up(lab, CLIENT, "--default tcp"));
	ASSERT_EQ(0, lab_shunt_up(lab, SERVER, "%s", ""));
	EXPECT_TRUE(curl_goes(lab, self->listener, "", ON_TCP));
	EXPECT_TRUE(curl_goes(lab, self->listener, run_prefix(""), ON_UDP));
	EXPECT_TRUE(curl_goes(lab, self->listener, "", ON_TCP));
	EXPECT_EQ(0, rules(lab));

	/* What others do while it runs is not its business. */
	snprintf(path, sizeof(path), "%s/go-on", lab->dir);
	ASSERT_EQ(0, lab_start(lab, CLIENT,
			       "%s sh -c 'until [ -e %s ]; do sleep .1; done'",
			       run_prefix(""), path));
	ASSERT_TRUE(BECOMES(rules(lab) == 1));
	EXPECT_TRUE(curl_goes(lab, self->listener, "", ON_TCP));
	EXPECT_TRUE(curl_goes(lab, self->listener, run_prefix(""), ON_UDP));
	ASSERT_EQ(0, make_file(path, 0, 1));
	EXPECT_TRUE(BECOMES(rules(lab) == 0));
}

TEST_F(policy, run_one_command_on_tcp)
{
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, make_want(lab));
	ASSERT_EQ(0, lab_shunt_both(lab, "%s", ""));
	EXPECT_TRUE(curl_goes(lab, self->listener, "", ON_UDP));
	EXPECT_TRUE(curl_goes(lab, self->listener,
			      run_prefix("--transport tcp"), ON_TCP));
	EXPECT_TRUE(curl_goes(lab, self->listener, "", ON_UDP));
	EXPECT_EQ(0, rules(lab));
}

LAB_HARNESS_MAIN
