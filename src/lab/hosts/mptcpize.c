/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preloaded into a server of the lab: every TCP socket it makes is an MPTCP socket (RFC 8684). What mptcpd's mptcpize does,
 * without asking for the package.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int socket(int family, int type, int protocol)
{
	static int (*next)(int, int, int);

	if (next == NULL)
		next = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if ((family == AF_INET || family == AF_INET6) && (type & 0xf) == SOCK_STREAM &&
	    (protocol == 0 || protocol == IPPROTO_TCP))
		protocol = IPPROTO_MPTCP;
	return next(family, type, protocol);
}
