// SPDX-License-Identifier: GPL-2.0-only
/*
 * Our packets, taken out of UDP by code that is not ours: the kernel's own GUE
 * decapsulation (fou). The flow is made by shunt on both hosts; then the server
 * loses its ingress programs, and what the client sends goes up to the
 * kernel's UDP, fou and tunnel device, to the very same TCP socket.
 */
#include "harness.h"
#include "lab.h"

#include <stdio.h>
#include <sys/socket.h>

#define PORT 7900
#define SIZE 510000L

FIXTURE(interop)
{
	struct lab lab;
};

FIXTURE_VARIANT(interop)
{
	const char *lab; /* options of `lab up` */
	const char *ingress;
	int domain;
	const char *fou, *no_fou;
	const char *tunnel;
};

/* Unlike most modules, these do not load when they are wanted. */
#define FOU4	"modprobe -q fou; ip fou add port 6080 gue"
#define FOU6	"modprobe -q fou6; ip fou add port 6080 gue -6"
#define NOFOU4	"ip fou del port 6080"
#define NOFOU6	"ip fou del port 6080 -6"
#define TUNNEL4 "ip link add dec type ipip local 10.77.2.2 remote 10.77.1.2"
#define TUNNEL6                                                           \
	"ip link add dec type ip6tnl mode ip6ip6 local fd77:2::2 remote " \
	"fd77:1::2"

/* GSO packets as a veth hands them on, and frames as on a cable. */
FIXTURE_VARIANT_ADD(interop, ipv4_gso){.lab = "",
				       .ingress = "tc",
				       .domain = AF_INET,
				       .fou = FOU4,
				       .no_fou = NOFOU4,
				       .tunnel = TUNNEL4};

FIXTURE_VARIANT_ADD(interop, ipv6_gso){.lab = "",
				       .ingress = "tc",
				       .domain = AF_INET6,
				       .fou = FOU6,
				       .no_fou = NOFOU6,
				       .tunnel = TUNNEL6};

FIXTURE_VARIANT_ADD(interop, ipv4_frames){.lab = "--wire ''",
					  .ingress = "xdp",
					  .domain = AF_INET,
					  .fou = FOU4,
					  .no_fou = NOFOU4,
					  .tunnel = TUNNEL4};

FIXTURE_VARIANT_ADD(interop, ipv6_frames){.lab = "--wire ''",
					  .ingress = "xdp",
					  .domain = AF_INET6,
					  .fou = FOU6,
					  .no_fou = NOFOU6,
					  .tunnel = TUNNEL6};

/* Strict: syncs are for shunt, which is not there to take them. */
FIXTURE_SETUP(interop)
{
	ASSERT_EQ(0, lab_up_both(&self->lab, variant->lab,
				 "--strict --ingress %s", variant->ingress));
}

FIXTURE_TEARDOWN(interop)
{
	EXPECT_EQ(0, LAB_LEAVE(&self->lab));
}

/* Packets that the tunnel device has handed on. */
static long decapsulated(struct lab *lab)
{
	char *text = lab_output(
		lab, SERVER, "awk '$1 == \"dec:\" { print $3 }' /proc/net/dev");
	long n = text ? atol(text) : -1;

	free(text);
	return n;
}

/* Without the module the kernel has no such family of messages. Whatever else
 * goes wrong with fou is a failure. */
static bool has_fou(struct lab *lab)
{
	char *text = lab_output(lab, SERVER,
				"modprobe -q fou; ip fou show 2>&1 || :");
	bool has = !text || !strstr(text, "No such file or directory");

	free(text);
	return has;
}

TEST_F(interop, fou_decapsulates)
{
	struct lab *lab = &self->lab;
	struct lab_count count;
	struct lab_pair p;
	long ours;

	if (!has_fou(lab))
		SKIP(return, "this kernel has no fou (CONFIG_NET_FOU)");
	ASSERT_EQ(0, lab_run(lab, SERVER, "%s", variant->fou));
	ASSERT_EQ(0, lab_run(lab, SERVER, "%s && ip link set dec up",
			     variant->tunnel));
	ASSERT_EQ(0, lab_pair(lab, &p, variant->domain, PORT));
	ASSERT_EQ(0, stream_through(p.c, p.s, 1, 1000));
	ASSERT_TRUE(lab_flow(lab, CLIENT, p.c, "redirected", NULL));
	ASSERT_TRUE(lab_flow(lab, SERVER, p.s, "redirected", NULL));
	EXPECT_EQ(0, decapsulated(lab));

	ASSERT_LE(1, lab_detach_ingress(lab, SERVER));
	ours = lab_stat(lab, SERVER, "decap_packets");
	ASSERT_EQ(0, lab_count(lab, &count));
	EXPECT_EQ(0, stream_through(p.c, p.s, 2, SIZE));
	ASSERT_EQ(0, lab_count(lab, &count));
	/* Over UDP; into the server by the kernel alone. */
	EXPECT_LE(SIZE, count.udp[TO_SERVER].bytes);
	EXPECT_EQ(0, count.tcp[TO_SERVER].packets);
	EXPECT_EQ(0, count.tcp[TO_CLIENT].packets);
	EXPECT_LE(SIZE / 65536, decapsulated(lab));
	/* The other way the server's shunt hears of no acknowledgement: what it
	 * has to send again may bring it back to TCP. */
	EXPECT_EQ(0, stream_through(p.s, p.c, 3, SIZE));
	shutdown(p.c, SHUT_WR);
	EXPECT_TRUE(stream_at_end(p.s));
	EXPECT_EQ(ours, lab_stat(lab, SERVER, "decap_packets"));
	lab_pair_close(&p);
	ASSERT_EQ(0, lab_run(lab, SERVER, "ip link del dec && %s",
			     variant->no_fou));
}

LAB_HARNESS_MAIN
