// SPDX-License-Identifier: GPL-2.0-only
/*
 * What testbed/lab does by a shell is done without one where tests ask for it
 * all the time: in a guest the shell takes longer than what it is for. That the
 * script does the same is for testbed/check to see.
 */
#include "lab_own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NOT_HERE -1

/* ---- the wire ---- */

static FILE *open_wire(struct lab *lab)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path),
		 "/run/shunt-lab/%s/wire.sock", lab->name);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fdopen(fd, "r+");
	fprintf(stderr, "# the wire of %s: %m\n", lab->name);
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* "ok", or why not; then what was asked for, or NULL. */
static int ask_wire(struct lab *lab, const char *command, char **answer)
{
	FILE *wire = open_wire(lab);
	char line[2048] = "";
	int err = -EIO;

	if (!wire)
		return err;
	if (send(fileno(wire), command, strlen(command), MSG_NOSIGNAL) > 0 &&
	    fgets(line, sizeof(line), wire))
		err = strcmp(line, "ok\n") ? -EINVAL : 0;
	if (err)
		fprintf(stderr, "# wire: %s: %s\n", command, line);
	if (!err && answer)
		*answer = fgets(line, sizeof(line), wire) ? strdup(line) : NULL;
	fclose(wire);
	return err;
}

static int fault(struct lab *lab, const char *args)
{
	char *command;
	int err;

	args += strspn(args, " ");
	if (*args == '-') /* netem's */
		return NOT_HERE;
	TEXT(command, "set %s", args);
	err = ask_wire(lab, command, NULL);
	free(command);
	return err ? 2 : 0;
}

json_t *lab_wire_stats(struct lab *lab)
{
	char *answer = NULL;
	json_t *stats = NULL;

	if (!ask_wire(lab, "stats", &answer) && answer)
		stats = json_loads(answer, 0, NULL);
	free(answer);
	return stats;
}

long lab_wire_did(struct lab *lab, const char *what)
{
	json_t *stats = lab_wire_stats(lab), *direction;
	const char *name;
	long n = 0;

	json_object_foreach (stats, name, direction) {
		n += json_integer_value(json_object_get(direction, what));
	}
	json_decref(stats);
	return stats ? n : -1;
}

/* ---- the router ---- */

static int block(struct lab *lab, const char *args)
{
	char protocol[16] = "", way[16] = "both", *command;
	const char *match;
	int status;

	sscanf(args, "%15s %15s", protocol, way);
	match = !strcmp(way, "both")	    ? ""
		: !strcmp(way, "to-server") ? "iifname rc"
		: !strcmp(way, "to-client") ? "iifname rs"
					    : NULL;
	if (!match)
		return NOT_HERE; /* it says what is wrong */
	if (!strcmp(protocol, "none"))
		TEXT(command, "exec nft flush chain inet lab block");
	else
		TEXT(command,
		     "exec nft add rule inet lab block %s meta l4proto %s drop",
		     match, protocol);
	status = run_in(lab->ns[ROUTER], NULL, command);
	free(command);
	return status;
}

int lab_do_directly(struct lab *lab, const char *what, const char *args)
{
	if (!strcmp(what, "fault"))
		return fault(lab, args);
	if (!strcmp(what, "block"))
		return block(lab, args);
	if (!strcmp(what, "wire-stats") && !strncmp(args, "reset", 5))
		return ask_wire(lab, "reset", NULL) ? 1 : 0;
	return NOT_HERE;
}
