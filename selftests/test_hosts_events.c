// SPDX-License-Identifier: GPL-2.0-only
/*
 * Things that happen to hosts and routers in the middle of a transfer. It is
 * complete all the same, soon after, and the next connection is redirected, or
 * TCP where it has to be.
 */
#include "harness.h"
#include "lab.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <shunt/shared.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define PORT 7910
#define KB   1000L
#define MB   1000000L

FIXTURE(events)
{
	struct lab lab;
	int listener;
};

FIXTURE_VARIANT(events)
{
	const char *ingress;
	int domain;
	bool upload;
};

FIXTURE_VARIANT_ADD(events, xdp_ipv4_upload){
	.ingress = "xdp", .domain = AF_INET, .upload = true};

FIXTURE_VARIANT_ADD(events, tc_ipv6_download){
	.ingress = "tc", .domain = AF_INET6, .upload = false};

FIXTURE_SETUP(events)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, NULL, "--ingress %s",
				 variant->ingress));
	self->listener = lab_listen(&self->lab, SERVER, AF_INET6, PORT);
	ASSERT_LE(0, self->listener);
}

FIXTURE_TEARDOWN(events)
{
	close(self->listener);
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* A transfer whose window is full, and more than that is to come. */
struct transfer {
	struct lab_pair p;
	struct stream tx, rx;
	uint64_t start; /* of the event */
};

static void begin(struct __test_metadata *_metadata, struct transfer *t,
		  FIXTURE_DATA(events) * self,
		  const FIXTURE_VARIANT(events) * variant)
{
	const long size = size_here(26 * MB, 3 * MB);

	ASSERT_TRUE(lab_redirected(&self->lab, variant->domain, self->listener,
				   &t->p));
	t->tx = (struct stream){.fd = variant->upload ? t->p.c : t->p.s,
				.send = true,
				.seed = 4,
				.to = size};
	t->rx = (struct stream){.fd = variant->upload ? t->p.s : t->p.c,
				.seed = 4,
				.to = size / 3};
	ASSERT_EQ(0, stream_start(&t->tx));
	ASSERT_EQ(0, stream_run(&t->rx));
	t->rx.to = size;
	t->start = now_us();
}

/* … ends within so many seconds, and the connection goes on both ways. */
static void finish(struct __test_metadata *_metadata, struct transfer *t,
		   int seconds)
{
	EXPECT_EQ(0, stream_finish(&t->tx, &t->rx));
	fprintf(stderr, "# done after %ld ms\n",
		(long)(now_us() - t->start) / 1000);
	EXPECT_GT(seconds * MB * time_factor(), now_us() - t->start);
	EXPECT_EQ(0, stream_through(t->rx.fd, t->tx.fd, 5, MB));
	EXPECT_EQ(0, stream_through(t->tx.fd, t->rx.fd, 6, MB));
}

#define BEGIN(t) begin(_metadata, t, self, variant)

/* ---- the router ---- */

/* What IPv6 forgets when a device goes down. */
#define ROUTER_ADDRESSES                                 \
	"ip -6 addr replace fd77:1::1/64 dev rc nodad; " \
	"ip -6 addr replace fd77:2::1/64 dev rs nodad"

/* Three seconds is what the test is about. TCP's own timer has doubled four
 * times by then, so it takes up to six to find out. */
TEST_F_TIMEOUT(events, router_reboots, 60)
{
	struct lab *lab = &self->lab;
	struct transfer t;

	BEGIN(&t);
	ASSERT_EQ(0, lab_run(lab, ROUTER,
			     "ip link set rc down; ip link set rs down; "
			     "sleep 3; "
			     "ip link set rc up; ip link set rs up; %s",
			     ROUTER_ADDRESSES));
	EXPECT_LT(3 * MB, now_us() - t.start);
	finish(_metadata, &t, 12);
	/* It went back to the transport, or gave up on it: with a reason. */
	EXPECT_TRUE(lab_flow(lab, CLIENT, t.p.c, "redirected", "none") ||
		    lab_flow(lab, CLIENT, t.p.c, "fallback", NULL));
	lab_pair_close(&t.p);
}

/* ---- a host's device and addresses ---- */

static int restore_client(struct lab *lab)
{
	return lab_run(
		lab, CLIENT,
		"ip link set eth0 up && "
		"ip -6 addr replace fd77:1::2/64 dev eth0 nodad && "
		"ip route replace default via 10.77.1.1 congctl cubic && "
		"ip -6 route replace ::/0 via fd77:1::1 congctl cubic");
}

TEST_F_TIMEOUT(events, device_down_and_up, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair q;
	struct transfer t;

	BEGIN(&t);
	ASSERT_EQ(0, lab_run(lab, CLIENT, "ip link set eth0 down"));
	ASSERT_EQ(0, restore_client(lab));
	finish(_metadata, &t, 5);
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &q));
	lab_pair_close(&q);
	lab_pair_close(&t.p);
}

/* Connections from now on come from another address. Those that there are
 * keep theirs as long as the host has it, as always with TCP. */
TEST_F_TIMEOUT(events, address_changes, 60)
{
	const bool v4 = variant->domain == AF_INET;
	struct lab *lab = &self->lab;
	struct transfer t;
	struct lab_pair q;

	BEGIN(&t);
	ASSERT_EQ(0, lab_run(lab, CLIENT, "%s",
			     v4 ? "ip addr add 10.77.1.3/24 dev eth0 && "
				  "ip route replace default via 10.77.1.1 "
				  "src 10.77.1.3 congctl cubic"
				: "ip addr add fd77:1::3/64 dev eth0 nodad && "
				  "ip addr change fd77:1::2/64 dev eth0 "
				  "preferred_lft 0"));
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &q));
	EXPECT_EQ(0, lab_run(lab, SERVER, "%s/shunt flows | grep -q %s",
			     lab_build(), v4 ? "10.77.1.3" : "fd77:1::3"));
	finish(_metadata, &t, 5);
	EXPECT_TRUE(lab_flow(lab, CLIENT, t.p.c, "redirected", NULL));
	lab_pair_close(&t.p);
	/* The old one goes; it is no business of the new one's. */
	ASSERT_EQ(0, lab_run(lab, CLIENT, "ip addr del %s dev eth0",
			     v4 ? "10.77.1.2/24" : "fd77:1::2/64"));
	if (v4) { /* the other was its secondary address */
		ASSERT_EQ(0, lab_run(lab, CLIENT,
				     "ip addr replace 10.77.1.3/24 dev eth0 && "
				     "ip route replace default via 10.77.1.1 "
				     "congctl cubic"));
	}
	EXPECT_EQ(0, stream_through(q.c, q.s, 7, MB));
	EXPECT_EQ(0, stream_through(q.s, q.c, 8, MB));
	EXPECT_TRUE(lab_flow(lab, SERVER, q.s, "redirected", NULL));
	lab_pair_close(&q);
	ASSERT_EQ(0,
		  lab_run(lab, CLIENT, "ip addr flush dev eth0 scope global"));
	ASSERT_EQ(0, lab_run(lab, CLIENT, "ip addr add 10.77.1.2/24 dev eth0"));
	ASSERT_EQ(0, restore_client(lab));
}

/* ---- the peer is another one ---- */

/* Its kernel knows nothing of our connection, and has no shunt: what we send is
 * answered by a reset, as it would have been without. */
TEST_F_TIMEOUT(events, peer_reboots_without_shunt, 60)
{
	static const struct linger at_once = {.l_onoff = 1};
	struct lab *lab = &self->lab;
	struct lab_pair p, q;
	uint64_t start;
	char byte;

	ASSERT_TRUE(lab_redirected(lab, variant->domain, self->listener, &p));
	ASSERT_EQ(0, lab_do(lab, "block", "udp"));
	ASSERT_EQ(0, lab_do(lab, "block", "tcp"));
	ASSERT_EQ(0, setsockopt(p.s, SOL_SOCKET, SO_LINGER, &at_once,
				sizeof(at_once)));
	close(p.s);
	ASSERT_EQ(0, lab_shunt_down(lab, SERVER));
	ASSERT_EQ(0, lab_do(lab, "block", "none"));
	start = now_us();
	ASSERT_EQ(5, send(p.c, "hello", 5, MSG_NOSIGNAL));
	EXPECT_EQ(-1, recv(p.c, &byte, 1, 0));
	EXPECT_EQ(ECONNRESET, errno);
	fprintf(stderr, "# reset after %ld ms\n",
		(long)(now_us() - start) / 1000);
	EXPECT_GT(3 * MB * time_factor(), now_us() - start);
	close(p.c);

	/* The path is known to work, the peer does not answer: TCP at once. */
	start = now_us();
	ASSERT_EQ(0, lab_pair_on(lab, &q, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(q.c, q.s, 3, 100 * KB));
	EXPECT_EQ(0, stream_through(q.s, q.c, 4, 100 * KB));
	EXPECT_GT(900000 * time_factor(), now_us() - start);
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "tcp", "no-answer"));
	lab_pair_close(&q);

	/* With shunt again, it is a peer again. */
	ASSERT_EQ(0,
		  lab_shunt_up(lab, SERVER, "--ingress %s", variant->ingress));
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &q));
	lab_pair_close(&q);
}

/* ---- what is ours goes away ---- */

TEST_F_TIMEOUT(events, every_process_is_killed, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair q;
	struct transfer t;

	ASSERT_EQ(0, lab_start(lab, CLIENT, "%s/shunt run -- sleep 1000",
			       lab_build()));
	ASSERT_EQ(0, lab_start(lab, SERVER, "%s/shunt run -- sleep 1000",
			       lab_build()));
	BEGIN(&t);
	for (int host = CLIENT; host <= SERVER; host += SERVER - CLIENT)
		/* In these namespaces only, and there is one at least. */
		ASSERT_TRUE(BECOMES(!lab_run(
			lab, host,
			"n=0; for p in $(ip netns pids %s-%s); do "
			"case $(cat /proc/$p/comm 2>/dev/null) in "
			"shunt*) "
			"kill -KILL $p && n=$((n + 1)) ;; esac; "
			"done; [ $n -gt 0 ]",
			lab->name, host == CLIENT ? "client" : "server")));
	finish(_metadata, &t, 5);
	EXPECT_TRUE(lab_flow(lab, CLIENT, t.p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, t.p.s, "redirected", NULL));
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &q));
	lab_pair_close(&q);
	lab_pair_close(&t.p);
}

/* The kernel takes programs off a device when nothing holds their links any
 * more, and empties program arrays that nobody can reach. */
static void without_pins(struct __test_metadata *_metadata,
			 FIXTURE_DATA(events) * self,
			 const FIXTURE_VARIANT(events) * variant,
			 enum lab_host host)
{
	struct lab *lab = &self->lab;
	struct lab_pair q;
	struct transfer t;

	BEGIN(&t);
	ASSERT_EQ(0, lab_run(lab, host, "rm -r %s", lab->pins[host]));
	lab->pins[host][0] = '\0'; /* nothing to take down any more */
	finish(_metadata, &t, 5);
	/* A link ends in a worker, some time after its last pin: all of the
	 * above may have gone before. */
	EXPECT_TRUE(BECOMES(!stream_through(t.tx.fd, t.rx.fd, 7, 1000) &&
			    !lab_flows(lab, host == CLIENT ? SERVER : CLIENT,
				       "redirected")));
	lab_pair_close(&t.p);
	/* Links to tcx and XDP ended with their pins; filters, where the kernel
	 * has no tcx, are nobody's now, and `shunt up` does not touch them. */
	ASSERT_EQ(0,
		  lab_run(lab, host,
			  "tc qdisc show dev eth0 | grep -q clsact || exit 0;"
			  " tc qdisc del dev eth0 clsact"));
	ASSERT_EQ(0, lab_shunt_up(lab, host, "--ingress %s", variant->ingress));
	/* Not lab_shunt(): the next test begins without peers as well. */
	for (int i = CLIENT; i <= SERVER; i += SERVER - CLIENT)
		EXPECT_EQ(0, lab_run(lab, i, "%s/shunt peers flush >/dev/null",
				     lab_build()));
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &q));
	lab_pair_close(&q);
}

TEST_F_TIMEOUT(events, pins_removed_at_the_client, 60)
{
	without_pins(_metadata, self, variant, CLIENT);
}

TEST_F_TIMEOUT(events, pins_removed_at_the_server, 60)
{
	without_pins(_metadata, self, variant, SERVER);
}

/* ---- the clock ---- */

/* Of a guest: that of a machine belongs to all who are on it. */
TEST_F_TIMEOUT(events, clock_jumps, 60)
{
	static const long jumps[] = {86400, -2 * 86400, 86400};
	struct lab *lab = &self->lab;
	struct lab_pair q;
	struct transfer t;

	if (!getenv("SHUNT_GUEST"))
		SKIP(return, "sets the clock, which others here use");
	BEGIN(&t);
	for (size_t i = 0; i < ARRAY_SIZE(jumps); i++) {
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		now.tv_sec += jumps[i];
		ASSERT_EQ(0, clock_settime(CLOCK_REALTIME, &now));
		EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener,
					   &q));
		lab_pair_close(&q);
	}
	finish(_metadata, &t, 5);
	EXPECT_TRUE(lab_flow(lab, CLIENT, t.p.c, "redirected", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, t.p.s, "redirected", NULL));
	EXPECT_EQ(0, lab_stat(lab, CLIENT, "flows_suspect"));
	lab_pair_close(&t.p);
}

/* ---- hold-down ---- */

/* Cut in the middle: this flow stays on TCP, and new ones are TCP, too, until
 * a minute has passed. */
TEST_F_TIMEOUT(events, path_is_tried_again_after_a_while, 60)
{
	struct lab *lab = &self->lab;
	struct lab_pair q, r;
	struct transfer t;

	BEGIN(&t);
	ASSERT_EQ(0, lab_do(lab, "block", "udp"));
	finish(_metadata, &t, 5);
	EXPECT_TRUE(BECOMES(!stream_through(t.p.c, t.p.s, 7, 1000) &&
			    !stream_through(t.p.s, t.p.c, 8, 1000) &&
			    lab_flows(lab, CLIENT, "fallback") == 1 &&
			    lab_flows(lab, SERVER, "fallback") == 1));
	ASSERT_EQ(0, lab_do(lab, "block", "none"));
	ASSERT_EQ(0, lab_pair_on(lab, &q, variant->domain, self->listener));
	EXPECT_EQ(0, stream_through(q.c, q.s, 8, 100 * KB));
	EXPECT_EQ(0, stream_through(q.s, q.c, 9, 100 * KB));
	EXPECT_TRUE(lab_flow(lab, CLIENT, q.c, "tcp", "blocked"));
	EXPECT_EQ(1, lab_end_holddown(lab, CLIENT));
	EXPECT_EQ(1, lab_end_holddown(lab, SERVER));
	EXPECT_TRUE(lab_redirected(lab, variant->domain, self->listener, &r));
	EXPECT_TRUE(lab_flow(lab, CLIENT, t.p.c, "fallback", NULL));
	EXPECT_TRUE(lab_flow(lab, SERVER, t.p.s, "fallback", NULL));
	lab_pair_close(&r);
	lab_pair_close(&q);
	lab_pair_close(&t.p);
}

LAB_HARNESS_MAIN
