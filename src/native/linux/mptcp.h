/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_MPTCP_H
#define AMPTCP_MPTCP_H

/*
 * Sockets towards servers (MPTCP or TCP): made and bound in one step, connected in another, so that the flow can be
 * pinned to its path before its SYN leaves. Completion, time-outs and the kernel path manager's events (generic
 * netlink family mptcp_pm) come from one thread. Functions return >= 0 or -errno.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "subflow.h"

#ifdef __cplusplus
extern "C" {
#endif

struct am_connector;

struct am_socket_options {
	int family;
	int mptcp;
	/* Local addresses that are not this host's own. */
	int transparent;
	/* 0: none. */
	uint32_t mark;
	/* "" : the system's default. Unknown or forbidden ones are ignored. */
	char congestion_control[16];
	/* 0: the system's default. */
	uint32_t notsent_lowat;
	/* Length 0: the kernel chooses. */
	struct sockaddr_storage local;
	socklen_t local_length;
};

struct am_mptcp_info {
	uint32_t token;
	int fallback;
	int remote_key_received;
	unsigned subflows;
};

struct am_connector_events {
	/* error 0: connected. */
	void (*connected)(void *context, int fd, int error);
	/* One netlink datagram; NULL: events were lost (the socket's buffer overran). */
	void (*event)(void *context, const void *data, size_t length);
	void *context;
};

int am_connector_start(struct am_connector **out, const struct am_connector_events *events);
void am_connector_stop(struct am_connector *connector);

/* Socket with options and local address; `local` receives what it was bound to. */
int am_connect_prepare(const struct am_socket_options *options, struct sockaddr_storage *local);
/* 1: a socket could be bound there now (without SO_REUSEADDR, as the kernel binds a join). */
int am_port_free(const struct sockaddr_storage *local, socklen_t length);
/*
 * Sends the SYN: at once when no other connect is under way, else from the thread, because the kernel may take a packet all the way
 * through a host before connect() returns. 1: connected already, as to a host that is near. 0: the outcome comes as `connected`, perhaps
 * before this returns. What is returned is not reported again.
 */
int am_connect_begin(struct am_connector *connector, int fd, const struct sockaddr *remote, socklen_t length, uint32_t timeout_ms);

/* A request and its answers, which `answer` sees datagram by datagram. */
int am_netlink_request(struct am_connector *connector, const void *request, size_t length,
    void (*answer)(void *context, const void *data, size_t length), void *context);
int am_netlink_subscribe(struct am_connector *connector, uint32_t group);

int am_mptcp_info(int fd, struct am_mptcp_info *info);
#ifdef __cplusplus
}
#endif

#endif
