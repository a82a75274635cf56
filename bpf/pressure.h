/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP's memory, of all sockets of the machine: net.ipv4.tcp_mem. Behind its
 * second value the kernel may put a part of a message into the proxy's socket
 * and show us the rest as another message, which nobody could tell from one (a
 * record would take the place of payload); or it puts nothing there, and
 * send(2) fails with ENOMEM, where TCP would wait (bpf_tcp_ingress(), all
 * kernels to 7.3). In front of its first value, by default 4.7% of the
 * machine's memory, it never does (__sk_mem_raise_allocated()). So before it
 * comes to that, messages are TCP's.
 */
#ifndef PRESSURE_H
#define PRESSURE_H

#include "suitable.h"

/* The kernel's counter and limit are in lines that others write to, so they are
 * looked at once in a jiffy and in so many bytes of ours. From what was seen to
 * be room to the second value there are 11/24 of the first, 11 MB on a machine
 * of 512 MB. */
#define PRESSURE_LOOK (256 << 10)

static __always_inline bool tcp_memory_is_short(struct bpf_sock *sk,
						struct shunt_proxy *p)
{
	__u64 now = bpf_jiffies64(), charged = p->charged;
	unsigned long limit = 0;
	struct proto *tcp;
	struct sock *full;
	long pages = 0;

	if (now == p->memory_seen &&
	    charged - p->memory_charged < PRESSURE_LOOK)
		return false;
	full = (void *)bpf_skc_to_tcp_sock(sk);
	if (!full)
		return true;
	tcp = full->__sk_common.skc_prot;
	bpf_probe_read_kernel(&pages, sizeof(pages), tcp->memory_allocated);
	bpf_probe_read_kernel(&limit, sizeof(limit), tcp->sysctl_mem);
	/* Others take some meanwhile, each CPU 256 pages at a time. */
	if (pages >= (long)(limit - limit / 8))
		return true;
	p->memory_charged = charged;
	p->memory_seen = now;
	return false;
}

#endif
