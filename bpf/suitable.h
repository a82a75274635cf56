/* SPDX-License-Identifier: GPL-2.0-only */
/* What a socket is asked before it may enter the sockmap. */
#ifndef SUITABLE_H
#define SUITABLE_H

#include "message.h"

#define SEND_SHUTDOWN 2

enum sock_flags {
	SOCK_ZEROCOPY = 1, /* relocated */
};

struct proto {
	void *memory_allocated; /* atomic_long_t, pages */
	long *sysctl_mem;	/* of three */
} __attribute__((preserve_access_index));

struct sock_common {
	unsigned long skc_flags;
	unsigned char skc_state;
	struct proto *skc_prot;
} __attribute__((preserve_access_index));

struct file {
	unsigned int f_flags;
} __attribute__((preserve_access_index));

struct socket {
	unsigned long flags;
	struct file *file;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	struct {
		int owned;
	} sk_lock;
	struct socket *sk_socket;
	void *sk_user_data;
	int sk_wmem_queued;
	int sk_sndbuf;
	int sk_write_pending; /* sends that wait */
	int sk_rcvlowat;
	__u8 sk_shutdown;
} __attribute__((preserve_access_index));

/* Has it asked for what psock delivery can't do? A child has the options of its
 * listener. Those that are set later: sockopt.bpf.c. */
static __always_inline bool unsuitable(void *full)
{
	struct sock *sk = full;
	__u64 bit = bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);

	return BPF_CORE_READ(sk, sk_rcvlowat) > 1 ||
	       BPF_CORE_READ(sk, __sk_common.skc_flags) >> bit & 1;
}

#endif
