/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * tproxyctl: tproxy(4)'s ioctls as functions. Plain C, usable without Node; every function that can fail returns 0 or an
 * errno value and touches nothing but its arguments and the handle's descriptor.
 */
#ifndef TPROXYCTL_H
#define	TPROXYCTL_H

#include <sys/types.h>
#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tproxy_ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tproxyctl {
	int	fd;
};

/* Opens the device, for changes too if `writable`, and checks that the module speaks this ABI (EPROTONOSUPPORT). */
int	tproxyctl_open(struct tproxyctl *, bool writable);
/* As above with a descriptor somebody else opened; the handle owns it from then on. */
int	tproxyctl_adopt(struct tproxyctl *, int fd);
/* Every flow registered by this handle is forgotten, every SYN it holds goes on. */
void	tproxyctl_close(struct tproxyctl *);

int	tproxyctl_stats(const struct tproxyctl *, struct tproxy_ioc_stats *);
/*
 * The flow's next connection is accepted by the listener, which must listen by then. Registering again begins anew: it is
 * what a new connection of the same addresses needs.
 */
int	tproxyctl_register(const struct tproxyctl *, const struct tproxy_ioc_flow *, const struct tproxy_ioc_addr *listener);
int	tproxyctl_unregister(const struct tproxyctl *, const struct tproxy_ioc_flow *);
/* The whole list, allocated; free(3) it. */
int	tproxyctl_list(const struct tproxyctl *, struct tproxy_ioc_entry **list, size_t *count);

/* Which SYNs are held for this handle, none of them: `count` 0; and for how long, 0: net.inet.tproxy.hold_ms. */
int	tproxyctl_capture(const struct tproxyctl *, const struct tproxy_ioc_rule *rules, size_t count, uint32_t hold_ms);
/* TPROXY_RELEASE_*. ENOENT: the SYN is not held any more. */
int	tproxyctl_release(const struct tproxyctl *, uint64_t id, uint32_t action);
/* 0 with `*count` of them (none when nothing waits and the descriptor is non-blocking). */
int	tproxyctl_events(const struct tproxyctl *, struct tproxy_event *events, size_t room, size_t *count);

/* Socket address to the ABI's address and back. */
int	tproxyctl_from_sockaddr(const struct sockaddr *, struct tproxy_ioc_addr *);
socklen_t tproxyctl_to_sockaddr(const struct tproxy_ioc_addr *, struct sockaddr_storage *);
/* "192.0.2.1" or "2001:db8::1" with a port; "192.0.2.0/24" as a prefix without one. */
int	tproxyctl_parse(const char *text, uint16_t port, struct tproxy_ioc_addr *);
/* "192.0.2.1:80", "[2001:db8::1]:80". `room` of 64 octets is enough. */
const char *tproxyctl_format(const struct tproxy_ioc_addr *, char *text, size_t room);

#ifdef __cplusplus
}
#endif

#endif
