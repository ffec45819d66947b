/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * mptcpctl: mptcp(4)'s ioctls as functions. Plain C, usable without Node; every function that can fail returns 0 or an
 * errno value and touches nothing but its arguments and the handle's descriptor.
 */
#ifndef MPTCPCTL_H
#define	MPTCPCTL_H

#include <sys/types.h>
#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mptcp.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mptcpctl {
	int	fd;
};

/* Opens the device, for changes too if `writable`, and checks that the module speaks this ABI (EPROTONOSUPPORT). */
int	mptcpctl_open(struct mptcpctl *, bool writable);
/* As above with a descriptor somebody else opened; the handle owns it from then on. */
int	mptcpctl_adopt(struct mptcpctl *, int fd);
void	mptcpctl_close(struct mptcpctl *);

int	mptcpctl_state(const struct mptcpctl *, struct mptcp_ioc_state *);
/* ENOENT: there is no such connection (any more). */
int	mptcpctl_info(const struct mptcpctl *, uint32_t token, struct mptcp_info *);
/* Every connection, allocated; free(3) it. */
int	mptcpctl_list(const struct mptcpctl *, struct mptcp_info **list, size_t *count);

/*
 * The subflow is bound when it returns, and its number in ms_id; whether it comes to be is an event. A version of 0 and a FIB of 0 are
 * not what they look like: the first is filled in, the second is a FIB, so say MPTCP_FIB_SAME.
 */
int	mptcpctl_subflow_add(const struct mptcpctl *, struct mptcp_ioc_subflow *);
int	mptcpctl_subflow_remove(const struct mptcpctl *, uint32_t token, uint32_t id, bool reset);
int	mptcpctl_subflow_priority(const struct mptcpctl *, uint32_t token, uint32_t id, bool backup);
int	mptcpctl_announce(const struct mptcpctl *, uint32_t token, const struct mptcp_ioc_addr *, uint8_t *address_id);
int	mptcpctl_withdraw(const struct mptcpctl *, uint32_t token, uint8_t address_id);

/* 0 with `*count` of them (none when nothing waits and the descriptor is non-blocking). */
int	mptcpctl_events(const struct mptcpctl *, struct mptcp_event *events, size_t room, size_t *count);

/* Of one's own socket. ENOPROTOOPT: it is none of MPTCP. */
int	mptcpctl_socket(int socket, struct mptcp_info *);

/* Socket address to the ABI's address and back. */
int	mptcpctl_from_sockaddr(const struct sockaddr *, struct mptcp_ioc_addr *);
socklen_t mptcpctl_to_sockaddr(const struct mptcp_ioc_addr *, struct sockaddr_storage *);
/* "192.0.2.1" or "2001:db8::1" with a port. */
int	mptcpctl_parse(const char *text, uint16_t port, struct mptcp_ioc_addr *);
/* "192.0.2.1:80", "[2001:db8::1]:80". `room` of 64 octets is enough. */
const char *mptcpctl_format(const struct mptcp_ioc_addr *, char *text, size_t room);

#ifdef __cplusplus
}
#endif

#endif
