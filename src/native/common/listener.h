/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_LISTENER_H
#define AMPTCP_LISTENER_H

/* Accepts on any number of listening sockets in one thread. Functions return >= 0 or -errno. */

#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct am_listeners;

struct am_accepted {
	int fd;
	struct sockaddr_storage client;
	/* Where the client wanted to go: TPROXY gives the socket the original destination as its own address. */
	struct sockaddr_storage destination;
};

struct am_listener_counters {
	uint64_t accepted;
	/* Times accepting rested because the host had no more descriptors or memory to give. */
	uint64_t paused;
	/* Connections lost between handshake and accept. */
	uint64_t failed;
};

/* Called in the thread, or in that of am_listeners_remove(). Takes ownership of the descriptor. */
typedef void (*am_accepted_fn)(void *context, const struct am_accepted *accepted);

int am_listeners_start(struct am_listeners **out, am_accepted_fn on_accepted, void *context);
/* Takes ownership of the descriptor, unless it fails. */
int am_listeners_add(struct am_listeners *set, int fd);
/* Accepts those that have completed their handshake, then closes the listener. */
int am_listeners_remove(struct am_listeners *set, int fd);
void am_listeners_counters(struct am_listeners *set, struct am_listener_counters *out);
/* Closes every listener and ends the thread; `on_accepted` is not called any more when it returns. */
void am_listeners_stop(struct am_listeners *set);

#ifdef __cplusplus
}
#endif

#endif
