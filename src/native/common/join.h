/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_JOIN_H
#define AMPTCP_JOIN_H

/*
 * One direction of a relayed connection left to the kernel: what a socket receives it sends by another one, and this process
 * hears of it no more until there is an end or an error (FreeBSD's SO_SPLICE). TCP only; each system has its own.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Begins with what has been received already. -EOPNOTSUPP: not with this kernel, or not with these sockets. */
int am_join(int from, int to);
/* Octets the join has moved so far, or -errno. */
int64_t am_joined(int from);
/* Ends it, unless it has ended by itself: what is received from now on is to be read again. Octets it has moved, or -errno. */
int64_t am_unjoin(int from);

#ifdef __cplusplus
}
#endif

#endif
