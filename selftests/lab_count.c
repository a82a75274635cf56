// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the router has forwarded: the counters of testbed/lib/filter.sh, read
 * and set to zero as `nft reset counters` does (NFT_MSG_GETOBJ_RESET). Each
 * test asks for them, and nft takes a guest 30 ms to start.
 */
#include "lab_own.h"

#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE	 "lab"
#define COUNTERS 6 /* of struct lab_count */

struct reading {
	struct lab_count *count;
	int counters;
};

static struct lab_traffic *counter(struct lab_count *count, const char *name)
{
	static const char *const dirs[] = {
		[TO_SERVER] = "to_server_", [TO_CLIENT] = "to_client_"};

	for (int dir = 0; dir < 2; dir++) {
		size_t n = strlen(dirs[dir]);

		if (strncmp(name, dirs[dir], n))
			continue;
		if (!strcmp(name + n, "tcp"))
			return &count->tcp[dir];
		if (!strcmp(name + n, "udp"))
			return &count->udp[dir];
		if (!strcmp(name + n, "udplite"))
			return &count->udplite[dir];
	}
	return NULL;
}

static int take_number(const struct nlattr *a, void *arg)
{
	struct lab_traffic *t = arg;

	if (mnl_attr_get_type(a) == NFTA_COUNTER_PACKETS)
		t->packets = be64toh(mnl_attr_get_u64(a));
	if (mnl_attr_get_type(a) == NFTA_COUNTER_BYTES)
		t->bytes = be64toh(mnl_attr_get_u64(a));
	return MNL_CB_OK;
}

static int take_attribute(const struct nlattr *a, void *arg)
{
	const struct nlattr **of = arg;

	if (mnl_attr_get_type(a) <= NFTA_OBJ_MAX)
		of[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static int take_object(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *of[NFTA_OBJ_MAX + 1] = {};
	struct reading *r = arg;
	struct lab_traffic *t;

	mnl_attr_parse(h, sizeof(struct nfgenmsg), take_attribute, of);
	if (!of[NFTA_OBJ_TABLE] || !of[NFTA_OBJ_NAME] || !of[NFTA_OBJ_DATA] ||
	    strcmp(mnl_attr_get_str(of[NFTA_OBJ_TABLE]), TABLE))
		return MNL_CB_OK;
	t = counter(r->count, mnl_attr_get_str(of[NFTA_OBJ_NAME]));
	if (!t)
		return MNL_CB_OK;
	r->counters++;
	return mnl_attr_parse_nested(of[NFTA_OBJ_DATA], take_number, t);
}

static int ask(struct mnl_socket *nl, struct reading *r)
{
	char buf[16384];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nf;
	ssize_t n;
	int more = MNL_CB_OK;

	h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ_RESET;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nf = mnl_nlmsg_put_extra_header(h, sizeof(*nf));
	nf->nfgen_family = NFPROTO_INET;
	mnl_attr_put_strz(h, NFTA_OBJ_TABLE, TABLE);
	mnl_attr_put_u32(h, NFTA_OBJ_TYPE, htobe32(NFT_OBJECT_COUNTER));
	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	while (more == MNL_CB_OK) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		more = n < 0 ? -1
			     : mnl_cb_run(buf, n, 0, mnl_socket_get_portid(nl),
					  take_object, r);
	}
	return more < 0 ? -errno : 0;
}

int lab_count(struct lab *lab, struct lab_count *count)
{
	struct reading r = {.count = count};
	struct mnl_socket *nl;
	int err = lab_enter(lab->ns[ROUTER]);

	if (err)
		return err;
	nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (lab_enter(lab->home))
		abort();
	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID))
		err = -errno;
	if (!err)
		err = ask(nl, &r);
	if (nl)
		mnl_socket_close(nl);
	if (err)
		fprintf(stderr, "# the router's counters: %s\n",
			strerror(-err));
	return err ?: r.counters == COUNTERS ? 0 : -1;
}
