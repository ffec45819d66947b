/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The user-space LISP plane on Linux: super-packets from end to end.
 *
 *   host's routing -> lisp0 (TUN, virtio-net headers) -> [encap thread] -> UDP_SEGMENT -> sockets of the local RLOC -> underlay
 *   underlay -> UDP 4341, UDP_GRO, recvmmsg -> [decap thread] -> coalesce -> lisp0 -> host's routing
 *
 * Each local RLOC has one socket on port 4341 for what arrives and several on other ports for what leaves, so that flows
 * differ in their source port (RFC 9300 section 5.3). The decap thread also reads the error queues (ICMP from the underlay).
 */
#ifndef AMPTCP_PLANE_H
#define AMPTCP_PLANE_H

#include "plane_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct am_plane;

/*
 * Takes ownership of `tun` (a TUN descriptor opened with IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), also on failure.
 * 0 or an errno; then `what` says what was being done.
 */
int	am_plane_start(struct am_core *core, int tun, struct am_plane **out, const char **what);
/* Opens sockets for new RLOCs and closes those of RLOCs that are gone. On an error nothing has changed. */
int	am_plane_set_rlocs(struct am_plane *plane, const struct lisp_addr *rlocs, unsigned count, const char **what);
/* Packets have been released (a mapping came). */
void	am_plane_wake(struct am_plane *plane);
void	am_plane_stop(struct am_plane *plane);
/* MTU of the interface that has the address; 0 when there is none. */
int	am_plane_interface_mtu(const struct lisp_addr *addr);

#ifdef __cplusplus
}
#endif

#endif
