// SPDX-License-Identifier: GPL-2.0-only
/* The two questions that neither libbpf nor an ioctl answers. */
#include "netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Debian 12's <linux/…> headers are older than the netdev family. */
#define NETDEV_CMD_DEV_GET	  1
#define NETDEV_A_DEV_IFINDEX	  1
#define NETDEV_A_DEV_XDP_FEATURES 3

struct request {
	struct nlmsghdr nlh;
	union {
		struct tcmsg tcm;
		struct genlmsghdr genl;
	};
	char attrs[64];
};

/* Called for each message of the answer. */
typedef void (*message_fn)(const struct nlmsghdr *nlh, void *arg);

static void add_attr(struct request *req, int type, const void *data, int len)
{
	char *end = (char *)req + NLMSG_ALIGN(req->nlh.nlmsg_len);
	struct nlattr *attr = (struct nlattr *)end;

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memcpy(end + NLA_HDRLEN, data, len);
	req->nlh.nlmsg_len =
		NLMSG_ALIGN(req->nlh.nlmsg_len) + NLA_ALIGN(attr->nla_len);
}

/* Returns 1 when the answer is complete. */
static int read_answer(const void *buf, int len, message_fn fn, void *arg)
{
	const struct nlmsghdr *nlh;

	for (nlh = buf; NLMSG_OK(nlh, (unsigned)len);
	     nlh = NLMSG_NEXT(nlh, len)) {
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *nlerr = NLMSG_DATA(nlh);

			return nlerr->error ? nlerr->error : 1;
		}
		if (nlh->nlmsg_type == NLMSG_DONE)
			return 1;
		fn(nlh, arg);
		if (!(nlh->nlmsg_flags & NLM_F_MULTI))
			return 1;
	}
	return 0;
}

static int ask(int protocol, struct request *req, message_fn fn, void *arg)
{
	char buf[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	int fd, err = 0;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return -errno;
	if (send(fd, req, req->nlh.nlmsg_len, 0) < 0)
		err = -errno;
	while (!err) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);

		err = len < 0 ? -errno : read_answer(buf, len, fn, arg);
	}
	close(fd);
	return err < 0 ? err : 0;
}

static void count_filter(const struct nlmsghdr *nlh, void *arg)
{
	const struct tcmsg *tcm = NLMSG_DATA(nlh);

	/* Handle 0 is the head of a priority's list, not a filter. */
	if (nlh->nlmsg_type == RTM_NEWTFILTER && tcm->tcm_handle)
		++*(int *)arg;
}

int netlink_count_filters(int ifindex)
{
	static const __u32 parents[] = {
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	};
	int n = 0, err;

	for (int i = 0; i < 2; i++) {
		struct request req = {
			.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(req.tcm)),
			.nlh.nlmsg_type = RTM_GETTFILTER,
			.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			.tcm.tcm_family = AF_UNSPEC,
			.tcm.tcm_ifindex = ifindex,
			.tcm.tcm_parent = parents[i],
		};

		err = ask(NETLINK_ROUTE, &req, count_filter, &n);
		if (err)
			return err;
	}
	return n;
}

static const struct nlattr *find_attr(const struct nlmsghdr *nlh, int type)
{
	int left = nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
	const struct nlattr *attr =
		(const void *)((const char *)NLMSG_DATA(nlh) + GENL_HDRLEN);

	while (left >= (int)NLA_HDRLEN && attr->nla_len >= NLA_HDRLEN &&
	       attr->nla_len <= left) {
		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		left -= NLA_ALIGN(attr->nla_len);
		attr = (const void *)((const char *)attr +
				      NLA_ALIGN(attr->nla_len));
	}
	return NULL;
}

static void take_family(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr = find_attr(nlh, CTRL_ATTR_FAMILY_ID);

	if (attr)
		memcpy(arg, (const char *)attr + NLA_HDRLEN, sizeof(__u16));
}

static void take_features(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *attr = find_attr(nlh, NETDEV_A_DEV_XDP_FEATURES);

	if (attr)
		memcpy(arg, (const char *)attr + NLA_HDRLEN, sizeof(__u64));
}

int netlink_xdp_features(int ifindex, __u64 *features)
{
	struct request family = {
		.nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
		.nlh.nlmsg_type = GENL_ID_CTRL,
		.nlh.nlmsg_flags = NLM_F_REQUEST,
		.genl.cmd = CTRL_CMD_GETFAMILY,
		.genl.version = 1,
	};
	struct request dev = {
		.nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
		.nlh.nlmsg_flags = NLM_F_REQUEST,
		.genl.cmd = NETDEV_CMD_DEV_GET,
		.genl.version = 1,
	};
	__u16 id = 0;
	int err;

	add_attr(&family, CTRL_ATTR_FAMILY_NAME, "netdev", sizeof("netdev"));
	err = ask(NETLINK_GENERIC, &family, take_family, &id);
	if (err == -ENOENT || (!err && !id))
		return -EOPNOTSUPP;
	if (err)
		return err;
	dev.nlh.nlmsg_type = id;
	add_attr(&dev, NETDEV_A_DEV_IFINDEX, &ifindex, sizeof(ifindex));
	*features = 0;
	return ask(NETLINK_GENERIC, &dev, take_features, features);
}
