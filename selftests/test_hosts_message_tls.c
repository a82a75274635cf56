// SPDX-License-Identifier: GPL-2.0-only
/*
 * The message path and applications that let the kernel encrypt (kTLS): what
 * they write never leaves in plain text. A socket with kTLS is none for a
 * sockmap: some kernels would redirect what is not encrypted yet.
 */
#include "harness.h"
#include "lab_message.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

#define PORT 7740

/* What the applications say, over and over, before it is encrypted, and then.
 */
#define OPEN   "this may be seen;"
#define SECRET "this may not be ;"

FIXTURE(tls)
{
	struct lab lab;
	int listener;
	char file[128];
};

FIXTURE_SETUP(tls)
{
	ASSERT_EQ(0, lab_message_up(&self->lab, "--wire ''", "%s", ""));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET, PORT);
	ASSERT_LE(0, self->listener);
	snprintf(self->file, sizeof(self->file), "%s/capture", self->lab.dir);
}

FIXTURE_TEARDOWN(tls)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

static int start_tls(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) ? -errno : 0;
}

/* Fixed keys: nothing is a secret here but to whoever listens. */
static int set_key(int fd, int which, unsigned char key)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = {.version = TLS_1_2_VERSION,
			 .cipher_type = TLS_CIPHER_AES_GCM_128},
	};

	memset(info.key, key, sizeof(info.key));
	memset(info.salt, key + 1, sizeof(info.salt));
	return setsockopt(fd, SOL_TLS, which, &info, sizeof(info)) ? -errno : 0;
}

static int set_keys(const struct lab_pair *p)
{
	return set_key(p->c, TLS_TX, 1) ?: set_key(p->s, TLS_RX, 1)
	       ?: set_key(p->s, TLS_TX, 7) ?: set_key(p->c, TLS_RX, 7);
}

/* text, until len bytes of it are there. */
static int say(int out, int in, const char *text, size_t len)
{
	char *buf = malloc(2 * len), *got = buf + len;
	size_t done = 0, n = strlen(text);
	ssize_t did;
	int err = 0;

	for (size_t i = 0; i < len; i++)
		buf[i] = text[i % n];
	did = send(out, buf, len, MSG_NOSIGNAL);
	if (did != (ssize_t)len)
		err = did < 0 ? -errno : -EIO;
	while (!err && done < len) {
		did = recv(in, got + done, len - done, 0);
		if (did <= 0)
			err = did ? -errno : -EPIPE;
		else
			done += did;
	}
	if (!err && memcmp(buf, got, len))
		err = -EBADMSG;
	free(buf);
	return err;
}

/* Both ways, in sizes that TCP's small windows take without a second thread. */
static int talk(const struct lab_pair *p, const char *text, int rounds)
{
	int err = 0;

	for (int i = 1; i <= rounds && !err; i++)
		err = say(p->c, p->s, text, 50 + i * 97 % 9000)
			      ?: say(p->s, p->c, text, 50 + i * 89 % 9000);
	return err;
}

/* Is there such a text in the capture? */
static bool seen(const char *file, const char *text)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st = {};
	bool found = false;
	char *buf;

	if (fd < 0 || fstat(fd, &st))
		return false;
	buf = malloc(st.st_size + 1);
	if (read(fd, buf, st.st_size) == st.st_size)
		found = memmem(buf, st.st_size, text, strlen(text));
	free(buf);
	close(fd);
	return found;
}

/* Has this kernel no kTLS, or no cipher for it? Asked of a connection within
 * the lab's router, where shunt is not. */
static bool no_tls(struct lab *lab)
{
	int listener = lab_listen(lab, ROUTER, AF_INET, PORT), c, err;
	struct sockaddr_in a = {};
	socklen_t len = sizeof(a);

	getsockname(listener, (struct sockaddr *)&a, &len);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c = lab_socket(lab, ROUTER, AF_INET);
	err = connect(c, (struct sockaddr *)&a, len) ? -errno : 0;
	err = err ?: start_tls(c) ?: set_key(c, TLS_TX, 1);
	close(c);
	close(listener);
	if (err && err != -ENOENT)
		fprintf(stderr, "# kTLS: %s\n", strerror(-err));
	return err == -ENOENT;
}

/* Some words in the clear, as a TLS handshake has them, then kTLS at both ends:
 * from then on there is nothing to be seen. Where it comes too late for a
 * socket it is refused, and a TLS library encrypts by itself. */
TEST_F_TIMEOUT(tls, encrypted, 60)
{
	struct lab *lab = &self->lab;
	struct shunt_proxy was[LAB_HOSTS], is[LAB_HOSTS];
	int encrypted = 0, tries = 0;

	if (no_tls(lab))
		SKIP(return, "this kernel has no TCP_ULP tls, or no gcm(aes)");
	ASSERT_EQ(0,
		  lab_do(lab, "capture", "start %s 'tcp or udp'", self->file));
	/* A guest may be too slow for any, so it tries again without words. */
	while (tries < 6 || (!encrypted && tries < 50)) {
		int words = tries++ < 6 ? tries - 1 : 0, c, s;
		struct lab_pair p;

		ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
		ASSERT_EQ(0, talk(&p, OPEN, words));
		c = start_tls(p.c);
		s = start_tls(p.s);
		EXPECT_TRUE(c == 0 || c == -EPERM);
		EXPECT_TRUE(s == 0 || s == -EPERM);
		if (!c && !s) {
			ASSERT_EQ(0, set_keys(&p));
			lab_proxies(lab, was);
			ASSERT_EQ(0, talk(&p, SECRET, size_here(200, 50)));
			lab_proxies(lab, is);
			EXPECT_EQ(was[CLIENT].bytes_tx, is[CLIENT].bytes_tx);
			EXPECT_EQ(was[SERVER].bytes_tx, is[SERVER].bytes_tx);
			encrypted++;
		} else if (c && s) {
			EXPECT_EQ(0, talk(&p, OPEN, 20));
		}
		lab_pair_close(&p);
	}
	ASSERT_EQ(0, lab_do(lab, "capture", "%s", "stop"));
	EXPECT_LE(1, encrypted);
	EXPECT_TRUE(seen(self->file, OPEN));
	EXPECT_FALSE(seen(self->file, SECRET));
}

/* On the path it is refused, and the connection stays there. */
TEST_F(tls, too_late)
{
	struct lab *lab = &self->lab;
	struct lab_pair p;
	uint64_t was;

	ASSERT_EQ(0, lab_pair_on(lab, &p, AF_INET, self->listener));
	ASSERT_TRUE(lab_promoted(lab, &p));
	EXPECT_EQ(-EPERM, start_tls(p.c));
	EXPECT_EQ(-EPERM, start_tls(p.s));
	was = lab_proxy(lab, CLIENT).bytes_tx;
	EXPECT_EQ(0, stream_through(p.c, p.s, 3, 50000));
	EXPECT_TOOK_PATH(was, lab_proxy(lab, CLIENT).bytes_tx, 50000);
	lab_pair_close(&p);
}

LAB_HARNESS_MAIN
