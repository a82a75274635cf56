// SPDX-License-Identifier: GPL-2.0-only
/* What neither libbpf nor an ioctl does, by netlink. */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* Debian 12's <linux/…> headers are older than the netdev family. */
#define NETDEV_CMD_DEV_GET	  1
#define NETDEV_A_DEV_IFINDEX	  1
#define NETDEV_A_DEV_XDP_FEATURES 3

struct request {
	union {
		struct nlmsghdr nlh;
		char bytes[512];
	};
};

/* Puts the header, and `size` zeroed bytes of the family's own behind it. */
static void *begin(struct request *req, int type, int flags, size_t size)
{
	mnl_nlmsg_put_header(req->bytes);
	req->nlh.nlmsg_type = type;
	req->nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(&req->nlh, size);
}

/* Sends it and hands each message of the answer to fn. */
static int ask(int protocol, const struct request *req, mnl_cb_t fn, void *arg)
{
	char buf[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct mnl_socket *nl;
	int more = MNL_CB_OK, err = 0;

	nl = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	if (mnl_socket_sendto(nl, req, req->nlh.nlmsg_len) < 0)
		err = -errno;
	while (!err && more > MNL_CB_STOP) {
		ssize_t len = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (len < 0 || (more = mnl_cb_run(buf, len, 0, 0, fn, arg)) < 0)
			err = -errno;
		else if (!(req->nlh.nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK)))
			break; /* one message was all */
	}
	mnl_socket_close(nl);
	return err;
}

/* ---- questions ---- */

static int count_filter(const struct nlmsghdr *nlh, void *arg)
{
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);

	/* Handle 0 is the head of a priority's list, not a filter. */
	if (nlh->nlmsg_type == RTM_NEWTFILTER && tcm->tcm_handle)
		++*(int *)arg;
	return MNL_CB_OK;
}

int netlink_count_filters(int ifindex)
{
	static const __u32 parents[] = {
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	};
	int n = 0;

	for (int i = 0; i < 2; i++) {
		struct request req;
		struct tcmsg *tcm;
		int err;

		tcm = begin(&req, RTM_GETTFILTER, NLM_F_DUMP, sizeof(*tcm));
		tcm->tcm_family = AF_UNSPEC;
		tcm->tcm_ifindex = ifindex;
		tcm->tcm_parent = parents[i];
		err = ask(NETLINK_ROUTE, &req, count_filter, &n);
		if (err)
			return err;
	}
	return n;
}

static int take_family(const struct nlmsghdr *nlh, void *arg)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, GENL_HDRLEN) if (mnl_attr_get_type(attr) ==
						      CTRL_ATTR_FAMILY_ID) *
		(__u16 *)arg = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int take_features(const struct nlmsghdr *nlh, void *arg)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, nlh,
			  GENL_HDRLEN) if (mnl_attr_get_type(attr) ==
					   NETDEV_A_DEV_XDP_FEATURES) *
		(__u64 *)arg = mnl_attr_get_u64(attr);
	return MNL_CB_OK;
}

int netlink_xdp_features(int ifindex, __u64 *features)
{
	struct genlmsghdr *genl;
	struct request req;
	__u16 id = 0;
	int err;

	genl = begin(&req, GENL_ID_CTRL, 0, sizeof(*genl));
	genl->cmd = CTRL_CMD_GETFAMILY;
	genl->version = 1;
	mnl_attr_put_strz(&req.nlh, CTRL_ATTR_FAMILY_NAME, "netdev");
	err = ask(NETLINK_GENERIC, &req, take_family, &id);
	if (err == -ENOENT || (!err && !id))
		return -EOPNOTSUPP;
	if (err)
		return err;
	genl = begin(&req, id, 0, sizeof(*genl));
	genl->cmd = NETDEV_CMD_DEV_GET;
	genl->version = 1;
	mnl_attr_put_u32(&req.nlh, NETDEV_A_DEV_IFINDEX, ifindex);
	*features = 0;
	return ask(NETLINK_GENERIC, &req, take_features, features);
}

/* ---- links ---- */

static void put_link(struct nlmsghdr *nlh, const char *name, __u32 mtu)
{
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
}

int netlink_make_veth(const char *name, const char *peer, __u32 mtu)
{
	struct nlattr *info, *data, *other;
	struct request req;

	begin(&req, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
	      sizeof(struct ifinfomsg));
	put_link(&req.nlh, name, mtu);
	info = mnl_attr_nest_start(&req.nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(&req.nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(&req.nlh, IFLA_INFO_DATA);
	other = mnl_attr_nest_start(&req.nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(&req.nlh, sizeof(struct ifinfomsg));
	put_link(&req.nlh, peer, mtu);
	mnl_attr_nest_end(&req.nlh, other);
	mnl_attr_nest_end(&req.nlh, data);
	mnl_attr_nest_end(&req.nlh, info);
	return ask(NETLINK_ROUTE, &req, NULL, NULL);
}

/* A macvlan has all software offloads, always; that is why it is told that
 * packets of more than one segment are too much for it. */
int netlink_make_segmenter(const char *name, int lower, __u32 mtu)
{
	struct nlattr *info, *data;
	struct request req;

	begin(&req, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
	      sizeof(struct ifinfomsg));
	put_link(&req.nlh, name, mtu);
	mnl_attr_put_u32(&req.nlh, IFLA_LINK, lower);
	mnl_attr_put_u32(&req.nlh, IFLA_GSO_MAX_SEGS, 1);
	info = mnl_attr_nest_start(&req.nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(&req.nlh, IFLA_INFO_KIND, "macvlan");
	data = mnl_attr_nest_start(&req.nlh, IFLA_INFO_DATA);
	mnl_attr_put_u32(&req.nlh, IFLA_MACVLAN_MODE, MACVLAN_MODE_PRIVATE);
	mnl_attr_nest_end(&req.nlh, data);
	mnl_attr_nest_end(&req.nlh, info);
	return ask(NETLINK_ROUTE, &req, NULL, NULL);
}

int netlink_no_ipv6_address(int ifindex)
{
	struct nlattr *families, *inet6;
	struct ifinfomsg *link;
	struct request req;

	link = begin(&req, RTM_SETLINK, NLM_F_ACK, sizeof(*link));
	link->ifi_index = ifindex;
	families = mnl_attr_nest_start(&req.nlh, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(&req.nlh, AF_INET6);
	mnl_attr_put_u8(&req.nlh, IFLA_INET6_ADDR_GEN_MODE,
			IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(&req.nlh, inet6);
	mnl_attr_nest_end(&req.nlh, families);
	return ask(NETLINK_ROUTE, &req, NULL, NULL);
}

int netlink_set_up(int ifindex)
{
	struct ifinfomsg *link;
	struct request req;

	link = begin(&req, RTM_SETLINK, NLM_F_ACK, sizeof(*link));
	link->ifi_index = ifindex;
	link->ifi_flags = link->ifi_change = IFF_UP | IFF_NOARP;
	return ask(NETLINK_ROUTE, &req, NULL, NULL);
}

int netlink_delete(int ifindex)
{
	struct ifinfomsg *link;
	struct request req;

	link = begin(&req, RTM_DELLINK, NLM_F_ACK, sizeof(*link));
	link->ifi_index = ifindex;
	return ask(NETLINK_ROUTE, &req, NULL, NULL);
}
