// SPDX-License-Identifier: GPL-2.0-only
/* shunt flows */
#include "ctl.h"
#include "instance.h"
#include "live.h"
#include "out.h"
#include "rules.h"
#include "streams.h"
#include "table.h"
#include "transport.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt flows [list] [-j]\n"
	"       shunt flows fallback FLOW... | --peer ADDR | --all [-j]\n"
	"\n"
	"Lists the connections that shunt knows. For those on a transport the\n"
	"last column names it, for the others it says why they are not.\n"
	"Connections that have ended are shown for a minute.\n"
	"\n"
	"  >, <        this host connected, this host accepted\n"
	"  tcp         plain TCP\n"
	"  probing     plain TCP, waiting for the echo of a probe\n"
	"  redirected  on the transport\n"
	"  fallback    was on the transport, is on TCP again\n"
	"  closed      the connection has ended\n"
	"  TX, RX      bytes of payload sent and received over the transport\n"
	"  MSG-TX, MSG-RX  … over the message path (only where that is up)\n"
	"\n"
	"  fallback    sends flows back to TCP at once, with nothing lost, "
	"where\n"
	"              they stay: all, those to a host, or those with an end\n"
	"              (FLOW: as it is listed, like 192.0.2.1:40000)\n"
	"\n"
	"  -j          JSON: an array of objects\n"
	"\n"
	"example: shunt flows -j | jq '.[] | select(.state == \"fallback\")'\n";

/* A line of the list, whatever it came from. */
struct row {
	struct shunt_key key;
	__u32 id; /* slot, or 0 when there is no flow */
	enum shunt_state state;
	__u8 role;
	__u8 transport;
	__u8 path;
	__u8 coverage;
	__u8 reason;
	__u32 token;
	__u64 tx_bytes;
	__u64 rx_bytes;
	__u64 created_ns;
	__u64 seen_ns;
	struct shunt_stream stream; /* on the message path; else all zero */
};

struct list {
	struct row *rows;
	size_t n;
	size_t room;
	__u64 now;
	int index; /* map flow_index */
	int flows; /* map flows */
	bool message_path;
	struct streams streams;
	struct shunt_transport transports[SHUNT_MAX_TRANSPORTS];
};

static int add_row(struct list *list, const struct row *row)
{
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		struct row *rows = reallocarray(list->rows, room, sizeof(*row));

		if (!rows)
			return shunt_err(-ENOMEM, "out of memory");
		list->rows = rows;
		list->room = room;
	}
	list->rows[list->n++] = *row;
	return 0;
}

static int add_flow(const void *key, const void *value, void *arg)
{
	const struct shunt_flow *flow = value;
	struct list *list = arg;
	struct row row = {
		.key = flow->key,
		.id = *(const __u32 *)key,
		.role = flow->role,
		.transport = flow->transport,
		.path = flow->path,
		.coverage = flow->flags & SHUNT_F_HEADERS
				    ? SHUNT_COVERAGE_HEADERS
				    : SHUNT_COVERAGE_FULL,
		.reason = flow->reason,
		.token = flow->token_local,
		.tx_bytes = flow->tx_bytes,
		.rx_bytes = flow->rx_bytes,
		.created_ns = flow->created_ns,
		.seen_ns = flow_seen_ns(flow, list->now),
	};

	if (!row.id || flow_state(flow, list->now, &row.state))
		return 0;
	streams_find(&list->streams, &row.key, row.token, &row.stream);
	return add_row(list, &row);
}

static bool has_live_flow(const struct list *list, const struct shunt_key *key)
{
	struct shunt_flow flow;
	__u32 slot;

	return !bpf_map_lookup_elem(list->index, key, &slot) &&
	       !bpf_map_lookup_elem(list->flows, &slot, &flow) &&
	       flow.life == SHUNT_LIVE && !memcmp(&flow.key, key, sizeof(*key));
}

/* A SYN that is retransmitted after a second has not been answered. */
#define ANSWER_NS SHUNT_NSEC

static unsigned handshake_reason(const struct shunt_handshake *hs, __u64 now)
{
	if (hs->reason != SHUNT_REASON_NONE)
		return hs->reason;
	if (hs->stage == SHUNT_HS_ANSWERED)
		return SHUNT_REASON_WAITING;
	if (hs->stage == SHUNT_HS_OFFERED &&
	    ns_since(now, hs->created_ns) > ANSWER_NS)
		return SHUNT_REASON_NO_ANSWER;
	return SHUNT_REASON_NONE;
}

static int add_handshake(const void *key, const void *value, void *arg)
{
	const struct shunt_handshake *hs = value;
	struct list *list = arg;
	struct row row = {
		.state = hs->stage == SHUNT_HS_ANSWERED ? SHUNT_STATE_PROBING
							: SHUNT_STATE_TCP,
		.role = hs->role,
		.transport = hs->transport,
		.path = hs->stage == SHUNT_HS_INTENT ? hs->wish.path : hs->path,
		.coverage = hs->coverage,
		.reason = handshake_reason(hs, list->now),
		.created_ns = hs->created_ns,
		.seen_ns = hs->created_ns,
	};

	memcpy(&row.key, key, sizeof(row.key));
	if (hs->stage == SHUNT_HS_DONE || has_live_flow(list, &row.key))
		return 0;
	return add_row(list, &row);
}

static int collect(const struct instance *in, struct list *list)
{
	int handshakes, err;

	list->now = now_ns();
	err = transport_read_all(in->dir, list->transports);
	list->message_path = in->settings.message_path;
	if (!err && list->message_path)
		err = streams_read(in, &list->streams);
	if (err)
		return err;
	list->index = instance_map(in, "flow_index");
	list->flows = instance_map(in, "flows");
	handshakes = instance_map(in, "handshakes");
	if (list->index < 0 || list->flows < 0 || handshakes < 0) {
		err = -ENOENT;
		goto out;
	}
	err = table_walk(list->flows, add_flow, list);
	if (!err)
		err = table_walk(handshakes, add_handshake, list);
out:
	if (list->index >= 0)
		close(list->index);
	if (list->flows >= 0)
		close(list->flows);
	if (handshakes >= 0)
		close(handshakes);
	return err;
}

static json_t *row_json(const struct list *list, const struct row *row)
{
	char local[ENDPOINT_LEN], remote[ENDPOINT_LEN];

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I,"
		" s:s, s:s, s:i, s:f, s:f}",
		"local",
		format_endpoint(local, &row->key.local, row->key.lport),
		"remote",
		format_endpoint(remote, &row->key.remote, row->key.rport),
		"role", role_name(row->role), "transport",
		transport_name(list->transports, row->transport), "path",
		path_name(row->path), "coverage", coverage_name(row->coverage),
		"state", state_name(row->state), "reason",
		reason_name(row->reason), "tx_bytes", (json_int_t)row->tx_bytes,
		"rx_bytes", (json_int_t)row->rx_bytes, "message_tx_bytes",
		(json_int_t)row->stream.tx_bytes, "message_rx_bytes",
		(json_int_t)row->stream.rx_bytes, "message_tx",
		stream_tx_name(row->stream.tx), "message_rx",
		stream_rx_name(row->stream.rx), "id", row->id, "age",
		seconds(ns_since(list->now, row->created_ns)), "idle",
		seconds(ns_since(list->now, row->seen_ns)));
}

/* One object after the other: 200,000 of them at once would be 300 MB. */
static int print_json_rows(const struct list *list)
{
	int err = 0;

	putchar('[');
	for (size_t i = 0; !err && i < list->n; i++) {
		json_t *json = row_json(list, &list->rows[i]);

		fputs(i ? ",\n " : "\n ", stdout);
		if (!json)
			err = shunt_err(-ENOMEM, "out of memory");
		else if (json_dumpf(json, stdout, JSON_REAL_PRECISION(9)))
			err = shunt_err(-EIO, "cannot write JSON to stdout");
		json_decref(json);
	}
	puts(list->n ? "\n]" : "]");
	return err;
}

static void print_table(const struct list *list)
{
	char local[ENDPOINT_LEN], remote[ENDPOINT_LEN];
	char tx[SIZE_LEN], rx[SIZE_LEN];
	char via[SHUNT_NAME_LEN + 10];
	int local_width = strlen("LOCAL"), remote_width = strlen("REMOTE");

	for (size_t i = 0; i < list->n; i++) {
		const struct shunt_key *key = &list->rows[i].key;
		int len;

		len = strlen(format_endpoint(local, &key->local, key->lport));
		if (len > local_width)
			local_width = len;
		len = strlen(format_endpoint(remote, &key->remote, key->rport));
		if (len > remote_width)
			remote_width = len;
	}
	printf("%-*s   %-*s %-10s %4s %4s %s%s\n", local_width, "LOCAL",
	       remote_width, "REMOTE", "STATE", "TX", "RX",
	       list->message_path ? "MSG-TX MSG-RX " : "", "VIA/WHY");
	for (size_t i = 0; i < list->n; i++) {
		const struct row *row = &list->rows[i];
		const char *note;

		snprintf(via, sizeof(via), "%s%s",
			 transport_name(list->transports, row->transport),
			 row->coverage == SHUNT_COVERAGE_HEADERS ? " (headers)"
								 : "");
		note = row->state == SHUNT_STATE_REDIRECTED ||
				       row->state == SHUNT_STATE_CLOSED
			       ? via
			       : reason_name(row->reason);
		printf("%-*s %c %-*s %-10s %4s %4s ", local_width,
		       format_endpoint(local, &row->key.local, row->key.lport),
		       row->role == SHUNT_ROLE_ACTIVE ? '>' : '<', remote_width,
		       format_endpoint(remote, &row->key.remote,
				       row->key.rport),
		       state_name(row->state), format_size(tx, row->tx_bytes),
		       format_size(rx, row->rx_bytes));
		if (list->message_path)
			printf("%6s %6s ",
			       format_size(tx, row->stream.tx_bytes),
			       format_size(rx, row->stream.rx_bytes));
		puts(note);
	}
}

static int run_list(struct context *ctx, int argc, char **argv)
{
	struct list list = {};
	struct instance in;
	int err;

	err = no_options(ctx, argc, argv);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open(&in);
	if (err)
		return err;
	err = collect(&in, &list);
	instance_close(&in);
	if (!err && ctx->json)
		err = print_json_rows(&list);
	else if (!err)
		print_table(&list);
	free(list.rows);
	streams_free(&list.streams);
	return err;
}

/* ---- fallback ---- */

struct selection {
	bool all;
	struct shunt_addr peer; /* or this one */
	bool has_peer;
	char **flows; /* or with one of these ends */
	int n;
};

static int parse_selection(struct context *ctx, int argc, char **argv,
			   struct selection *sel)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"all", no_argument, NULL, 'a'},
		{"peer", required_argument, NULL, 'p'},
		{},
	};
	struct shunt_rule rule = RULE_ANY;
	const char *why;
	int opt;

	while ((opt = next_option(ctx, argc, argv, ":hjv", options)) != -1) {
		switch (opt) {
		case 'a':
			sel->all = true;
			break;
		case 'p':
			if (rule_parse_prefix(optarg, &rule, &why) ||
			    rule.prefix_len != 128)
				return shunt_usage(ctx,
						   "flows fallback: --peer is "
						   "one address, not '%s'",
						   optarg);
			sel->peer = rule.remote;
			sel->has_peer = true;
			break;
		default:
			return -SHUNT_EUSAGE;
		}
	}
	sel->flows = argv + optind;
	sel->n = argc - optind;
	if (sel->all + sel->has_peer + !!sel->n != 1)
		return shunt_usage(ctx, "flows fallback: FLOW..., --peer ADDR "
					"or --all");
	return 0;
}

static bool has_end(const struct shunt_flow *f, const char *text)
{
	char end[ENDPOINT_LEN];

	return !strcmp(text,
		       format_endpoint(end, &f->key.local, f->key.lport)) ||
	       !strcmp(text,
		       format_endpoint(end, &f->key.remote, f->key.rport));
}

static bool selected(const struct shunt_flow *f, const struct selection *sel)
{
	if (sel->has_peer)
		return !memcmp(&f->key.remote, &sel->peer, sizeof(sel->peer));
	for (int i = 0; i < sel->n; i++)
		if (has_end(f, sel->flows[i]))
			return true;
	return sel->all;
}

/* Returns how many. */
static int fall_back(struct live *live, const struct selection *sel)
{
	size_t end = live_end(live);
	int n = 0;

	for (size_t i = 1; i < end; i++)
		if (live->flow[i].life == SHUNT_LIVE &&
		    selected(&live->flow[i], sel))
			n += live_leave(&live->flow[i], SHUNT_REASON_ASKED);
	return n;
}

static int run_fallback(struct context *ctx, int argc, char **argv)
{
	struct selection sel = {};
	struct instance in;
	struct live live = {};
	int err;

	err = parse_selection(ctx, argc, argv, &sel);
	if (!err)
		err = require_root(ctx);
	if (!err)
		err = instance_open_locked(&in);
	if (err)
		return err;
	err = live_open(in.dir, &live);
	if (!err) {
		err = fall_back(&live, &sel);
		live_close(&live);
	}
	instance_close(&in);
	if (err < 0)
		return err;
	if (!err && sel.n)
		return shunt_err(-ENOENT,
				 "%s: no flow on a transport has this end; "
				 "`shunt flows` lists them",
				 sel.flows[0]);
	if (ctx->json)
		return print_json(json_pack("{s:i}", "flows", err));
	printf("%d flow%s sent back to TCP\n", err, err == 1 ? "" : "s");
	return 0;
}

static int run(struct context *ctx, int argc, char **argv)
{
	static const struct verb verbs[] = {
		{"list", run_list}, {"fallback", run_fallback}, {}};

	if (argc < 2 || argv[1][0] == '-')
		return run_list(ctx, argc, argv);
	return run_verb(ctx, argc, argv, verbs);
}

const struct command command_flows = {
	.name = "flows",
	.summary = "list connections, and why one is not redirected",
	.help = help,
	.run = run,
};
