// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel has counted on a lab's host. See lab_proc.h. */
#include "lab_proc.h"
#include "lab_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two lines for each protocol, "Tcp: NAME..." and "Tcp: VALUE...". */
static long in_pairs(FILE *f, const char *name)
{
	char names[4096], values[4096];
	long found = -1;

	while (found < 0 && fgets(names, sizeof(names), f) &&
	       fgets(values, sizeof(values), f)) {
		char *at, *from, *n = strtok_r(names, ": \n", &at);
		char *v = strtok_r(values, ": \n", &from);
		size_t prefix = n ? strlen(n) : 0;

		if (!n || !v || strncmp(name, n, prefix))
			continue;
		while ((n = strtok_r(NULL, " \n", &at)) &&
		       (v = strtok_r(NULL, " \n", &from)))
			if (!strcmp(n, name + prefix))
				found = atol(v);
	}
	return found;
}

/* "Udp6InErrors VALUE" */
static long in_lines(FILE *f, const char *name)
{
	char is[64];
	long value;

	while (fscanf(f, "%63s %ld", is, &value) == 2)
		if (!strcmp(is, name))
			return value;
	return -1;
}

long lab_counter(struct lab *lab, enum lab_host host, const char *name)
{
	static const struct {
		const char *path;
		long (*find)(FILE *f, const char *name);
	} files[] = {
		{"/proc/thread-self/net/snmp", in_pairs},
		{"/proc/thread-self/net/netstat", in_pairs},
		{"/proc/thread-self/net/snmp6", in_lines},
	};
	long found = -1;

	if (lab_enter(lab->ns[host]))
		return -1;
	for (int i = 0; found < 0 && i < 3; i++) {
		FILE *f = fopen(files[i].path, "re");

		if (!f)
			continue;
		found = files[i].find(f, name);
		fclose(f);
	}
	if (lab_enter(lab->home))
		abort();
	if (found < 0)
		fprintf(stderr, "# no counter %s\n", name);
	return found;
}

long lab_counters(struct lab *lab, const char *name)
{
	long client = lab_counter(lab, CLIENT, name);
	long server = lab_counter(lab, SERVER, name);

	return client < 0 || server < 0 ? -1000 : client + server;
}
