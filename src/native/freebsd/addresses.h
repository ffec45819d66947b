/* SPDX-License-Identifier: BSD-2-Clause */

/* Which of this host's addresses can be used now. */
#ifndef AM_ADDRESSES_H
#define	AM_ADDRESSES_H

#include <sys/types.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*am_address_fn)(void *context, const struct sockaddr_storage *);

/*
 * Each address of an interface that is up and runs, and whose link is not known to be down: unlike elsewhere an interface without
 * carrier goes on running. 0, or -errno.
 */
int	am_live_addresses(am_address_fn, void *context);

#ifdef __cplusplus
}
#endif

#endif
