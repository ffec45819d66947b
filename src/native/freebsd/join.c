/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * SO_SPLICE, which FreeBSD 14.3 and 15 have. Written after getsockopt(2) and the option's tests; compiled against a definition of
 * it, and run with a stand-in (test/core/fake_join.c), but not on a kernel that has it.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "join.h"

#ifdef SO_SPLICE

/* The headers know the option; whether the kernel does is seen when it is first used. */
static atomic_bool unknown;

static bool
is_tcp(int fd)
{
	int protocol = 0;
	socklen_t length = sizeof(protocol);

	/* A socket of mptcp(4) looks like one of TCP to much of the kernel, and must not to this. */
	return (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 && protocol == IPPROTO_TCP);
}

int
am_join(int from, int to)
{
	struct splice splice;

	if (atomic_load_explicit(&unknown, memory_order_relaxed) || !is_tcp(from) || !is_tcp(to))
		return (-EOPNOTSUPP);
	memset(&splice, 0, sizeof(splice));
	splice.sp_fd = to;
	if (setsockopt(from, SOL_SOCKET, SO_SPLICE, &splice, sizeof(splice)) == 0)
		return (0);
	if (errno == ENOPROTOOPT || errno == EINVAL) {
		atomic_store_explicit(&unknown, true, memory_order_relaxed);
		return (-EOPNOTSUPP);
	}
	return (-errno);
}

int64_t
am_joined(int from)
{
	off_t moved = 0;
	socklen_t length = sizeof(moved);

	if (getsockopt(from, SOL_SOCKET, SO_SPLICE, &moved, &length) == -1)
		return (-errno);
	return (moved);
}

int64_t
am_unjoin(int from)
{
	struct splice splice;

	memset(&splice, 0, sizeof(splice));
	splice.sp_fd = -1;
	/* ENOTCONN: it has ended by itself. The count stays until the socket is joined again. */
	if (setsockopt(from, SOL_SOCKET, SO_SPLICE, &splice, sizeof(splice)) == -1 && errno != ENOTCONN)
		return (-errno);
	return (am_joined(from));
}

#else

int
am_join(int from, int to)
{
	(void)from;
	(void)to;
	return (-EOPNOTSUPP);
}

int64_t
am_joined(int from)
{
	(void)from;
	return (-EOPNOTSUPP);
}

int64_t
am_unjoin(int from)
{
	return (am_joined(from));
}

#endif
