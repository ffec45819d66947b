/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Sockets towards servers, TCP or MPTCP: made and bound in one step, connected in another, so that the flow can be pinned to its
 * path before its SYN leaves. Completion and time-outs come from one thread. Functions return >= 0 or -errno.
 */
#ifndef AMPTCP_CONNECTOR_H
#define	AMPTCP_CONNECTOR_H

#include <sys/types.h>
#include <sys/socket.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct am_connector;

struct am_socket_options {
	int	family;
	/* The local address is not this host's own; needs privilege, unless there is a descriptor. */
	int	transparent;
	/* MPTCP, by mptcp(4). */
	int	mptcp;
	/* Of am_connect_socket(), made by somebody who has the privilege; prepare() owns it. 0: none. */
	int	descriptor;
	/* Routing table (FIB) its packets are sent by; 0: the ordinary one. */
	int	fib;
	/* "": the system's default. Unknown ones are ignored. */
	char	congestion_control[16];
	/* Length 0: the kernel chooses. */
	struct sockaddr_storage local;
	socklen_t local_length;
};

/* Called in the thread. error 0: connected. */
typedef void (*am_connected_fn)(void *context, int fd, int error);

int	am_connector_start(struct am_connector **, am_connected_fn, void *context);
/* Connects under way end with ECANCELED. */
void	am_connector_stop(struct am_connector *);
/* A socket that can be bound to addresses that are not this host's own (IP_BINDANY), as can its further subflows. */
int	am_connect_socket(int family, int mptcp);
/* Socket with options and local address; `local` receives what it was bound to. */
int	am_connect_prepare(const struct am_socket_options *, struct sockaddr_storage *local);
/* Sends the SYN. The outcome comes to the function; an immediate failure is returned and not reported again. */
int	am_connect_begin(struct am_connector *, int fd, const struct sockaddr *remote, socklen_t length, uint32_t timeout_ms);
/* Forgets a connect; the descriptor stays the caller's. 1: it was under way, and its outcome will not come. */
int	am_connect_cancel(struct am_connector *, int fd);

#ifdef __cplusplus
}
#endif

#endif
