// SPDX-License-Identifier: GPL-2.0-only
/*
 * What shunt could have changed in this network namespace, as text: its pins,
 * devices, qdiscs and filters, and programs on devices. tc, ip and bpftool say
 * the same, but eight processes are 0.25 s in a guest, and each test asks
 * twice.
 */
#include "cli_run.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "host.h"

struct state {
	FILE *text;
	int devices[64];
	int n;
};

static void failed(const char *what, int err)
{
	fprintf(stderr, "# %s: %s\n", what, strerror(err));
	abort(); /* two failures would look alike */
}

static void list_pins(FILE *text, const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n < 0)
		return; /* no folder, or none any more: a pin */
	for (int i = 0; i < n; i++) {
		char below[PATH_MAX];

		if (entries[i]->d_name[0] != '.') {
			snprintf(below, sizeof(below), "%s/%s", path,
				 entries[i]->d_name);
			fprintf(text, "%s\n", below);
			list_pins(text, below);
		}
		free(entries[i]);
	}
	free(entries);
}

/* A dump of the kernel's, of `type`; tcm_parent and the device for filters. */
static void dump(int type, int device, __u32 parent, mnl_cb_t take, void *arg)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buf[32768];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *link;
	struct tcmsg *tc;
	ssize_t n;
	int more = MNL_CB_OK;

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (type == RTM_GETLINK) {
		link = mnl_nlmsg_put_extra_header(h, sizeof(*link));
		link->ifi_family = AF_UNSPEC;
	} else {
		tc = mnl_nlmsg_put_extra_header(h, sizeof(*tc));
		tc->tcm_ifindex = device;
		tc->tcm_parent = parent;
	}
	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) ||
	    mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		failed("netlink", errno);
	while (more == MNL_CB_OK) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		more = n < 0 ? -1
			     : mnl_cb_run(buf, n, 0, mnl_socket_get_portid(nl),
					  take, arg);
	}
	if (more < 0)
		failed("dump", errno);
	mnl_socket_close(nl);
}

static int take_link(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;
	struct state *s = arg;

	if (s->n == sizeof(s->devices) / sizeof(*s->devices))
		failed("devices", E2BIG);
	s->devices[s->n++] = link->ifi_index;
	mnl_attr_for_each(a, h, sizeof(*link)) if (mnl_attr_get_type(a) ==
						   IFLA_IFNAME)
		fprintf(s->text, "%d: %s\n", link->ifi_index,
			mnl_attr_get_str(a));
	return MNL_CB_OK;
}

/* Statistics are left out. */
static int take_tc(const struct nlmsghdr *h, void *arg)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(h);
	const struct nlattr *a, *b;
	const char *kind = "";
	struct state *s = arg;

	fprintf(s->text, "%d: handle %x, parent %x", tc->tcm_ifindex,
		tc->tcm_handle, tc->tcm_parent);
	/* Of a qdisc it is the number of references. */
	if (h->nlmsg_type == RTM_NEWTFILTER)
		fprintf(s->text, ", filter %x", tc->tcm_info);
	mnl_attr_for_each(a, h, sizeof(*tc))
	{
		if (mnl_attr_get_type(a) == TCA_KIND)
			fprintf(s->text, ", %s", kind = mnl_attr_get_str(a));
		if (mnl_attr_get_type(a) != TCA_OPTIONS || strcmp(kind, "bpf"))
			continue;
		mnl_attr_for_each_nested(b, a)
		{
			if (mnl_attr_get_type(b) == TCA_BPF_NAME)
				fprintf(s->text, " %s", mnl_attr_get_str(b));
			if (mnl_attr_get_type(b) == TCA_BPF_ID)
				fprintf(s->text, " %u", mnl_attr_get_u32(b));
		}
	}
	fprintf(s->text, "\n");
	return MNL_CB_OK;
}

static void list_programs(FILE *text, int device)
{
	static const int hooks[] = {SHUNT_TCX_INGRESS, SHUNT_TCX_EGRESS};
	LIBBPF_OPTS(bpf_xdp_query_opts, xdp);
	int err = bpf_xdp_query(device, 0, &xdp);

	if (err)
		failed("bpf_xdp_query", -err);
	if (xdp.attach_mode != XDP_ATTACHED_NONE)
		fprintf(text, "%d: XDP %u, mode %u\n", device, xdp.prog_id,
			xdp.attach_mode);
	for (int i = 0; i < 2; i++) {
		__u32 ids[16], n = 16;

		/* Before 6.6 there is none. */
		if (bpf_prog_query(device, hooks[i], 0, NULL, ids, &n))
			continue;
		for (__u32 j = 0; j < n; j++)
			fprintf(text, "%d: tcx %d, %u\n", device, i, ids[j]);
	}
}

void cli_state(char *buf, size_t size)
{
	static const __u32 parents[] = {
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	};
	struct state s = {};
	char path[64], *text;
	size_t len;

	s.text = open_memstream(&text, &len);
	if (!s.text)
		abort();
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), SHUNT_PINS "/%s%llu",
			 i ? "building_" : "",
			 (unsigned long long)cli_cookie());
		list_pins(s.text, path);
	}
	dump(RTM_GETLINK, 0, 0, take_link, &s);
	dump(RTM_GETQDISC, 0, 0, take_tc, &s);
	for (int i = 0; i < s.n; i++) {
		for (int j = 0; j < 2; j++)
			dump(RTM_GETTFILTER, s.devices[i], parents[j], take_tc,
			     &s);
		list_programs(s.text, s.devices[i]);
	}
	fclose(s.text);
	if (snprintf(buf, size, "%s", text) >= (int)size)
		failed("cli_state", E2BIG);
	free(text);
}
