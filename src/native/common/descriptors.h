/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_DESCRIPTORS_H
#define AMPTCP_DESCRIPTORS_H

/* Opening, passing and closing descriptors. Functions return a value >= 0 or -errno. */

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AM_MESSAGE_FDS 64
#define AM_MESSAGE_MAX (256 * 1024)

/* A textual address and a port; returns the length of the address, or -EINVAL. */
int am_address_parse(const char *text, uint16_t port, struct sockaddr_storage *out);
/* `text` takes INET6_ADDRSTRLEN octets. Addresses mapped into IPv6 come out as IPv4. */
void am_address_format(const struct sockaddr_storage *address, char *text, uint16_t *port);

#ifdef __linux__
/* A TUN queue; `device` (IFNAMSIZ octets) is filled with the name the kernel gave. Non-blocking, not persistent. */
int am_tun_open(char *device, int vnet_header, int multi_queue);
#endif
/* A listening socket for connections to anybody: with IP_TRANSPARENT on Linux; what tproxy(4) hands over needs nothing. */
int am_listener_open(const struct sockaddr *address, socklen_t length, int mptcp, int backlog);
/*
 * A listening UNIX socket. Owner, group and mode are right from the moment its name exists: changing them afterwards
 * would follow whatever somebody with the directory had put in its place. What has the name already is removed.
 */
int am_unix_listener_open(const char *path, unsigned mode, unsigned gid, int backlog);
/* Closes and lets the peer know with RST (TCP) or MP_FASTCLOSE (MPTCP). */
void am_reset_close(int fd);

int am_socket_pair(int fds[2]);
int am_message_send(int fd, const void *data, size_t length, const int *fds, size_t nfds);
/* Length of the message, 0 when the other side is gone. Descriptors come close-on-exec. */
int am_message_receive(int fd, void *data, size_t size, int *fds, size_t *nfds);

int am_raise_file_limit(uint64_t *soft, uint64_t *hard);

#ifdef __cplusplus
}
#endif

#endif
