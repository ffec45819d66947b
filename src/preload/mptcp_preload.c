/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Gives programs that ask for TCP a socket of mptcp(4), without their knowledge:
 *
 *	env LD_PRELOAD=libmptcp_preload.so nc example.org 80
 *
 * Where there is no such protocol, because the module is not loaded, they get what they asked for.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#ifndef IPPROTO_MPTCP
#define	IPPROTO_MPTCP	262
#endif

int socket(int, int, int);

int
socket(int domain, int type, int protocol)
{
	static int (*next)(int, int, int);
	int error = errno, fd;

	if (next == NULL)
		next = (int (*)(int, int, int))(void (*)(void))dlfunc(RTLD_NEXT, "socket");
	if (next == NULL) {
		errno = ENOSYS;
		return (-1);
	}
	if ((domain == AF_INET || domain == AF_INET6) && (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM &&
	    (protocol == 0 || protocol == IPPROTO_TCP)) {
		fd = next(domain, type, IPPROTO_MPTCP);
		/* Anything else, such as no descriptor being left, would meet TCP as well. */
		if (fd != -1 || (errno != EPROTONOSUPPORT && errno != EPROTOTYPE))
			return (fd);
		errno = error;
	}
	return (next(domain, type, protocol));
}
