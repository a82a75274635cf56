/* SPDX-License-Identifier: GPL-2.0-only */
/* The behaviour of this kernel's sockmap, tried out. */
#ifndef SHUNT_SOCKMAP_H
#define SHUNT_SOCKMAP_H

/* What a redirected message did not do, or plain TCP on such a socket. */
#define SOCKMAP_RECV	     0x01 /* wake who blocks in recv() */
#define SOCKMAP_LEVEL	     0x02 /* … in epoll_wait(), level-triggered */
#define SOCKMAP_EDGE	     0x04 /* … edge-triggered */
#define SOCKMAP_FIONREAD     0x08 /* show in FIONREAD */
#define SOCKMAP_FIONREAD_TCP 0x10 /* … plain TCP */
#define SOCKMAP_NONE	     0x80 /* it could not be tried */

/* Any of them, or 0. Takes a tenth of a second, once. */
unsigned sockmap_try(void);

#endif
