// SPDX-License-Identifier: GPL-2.0-only
/*
 * slice MS COMMAND... - run a command that keeps a processor for so long once
 * it has it: what is woken waits for the end of the slice (SCHED_BATCH), which
 * is that long (Linux 6.12; before, all slices have one length). An emulator
 * that loses its processor 2000 times a second to another spends a fifth of its
 * time on filling the caches again.
 */
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sched_attr attr = {.size = sizeof(attr),
				  .sched_policy = SCHED_BATCH};

	if (argc < 3) {
		fprintf(stderr, "usage: slice MS COMMAND...\n");
		return 2;
	}
	attr.sched_runtime = strtoul(argv[1], NULL, 10) * 1000000;
	/* Only slower without */
	syscall(SYS_sched_setattr, 0, &attr, 0);
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
