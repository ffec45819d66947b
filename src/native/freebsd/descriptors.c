/* SPDX-License-Identifier: BSD-2-Clause */
#include "descriptors.h"

#include <sys/param.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mptcp.h"

int
am_listener_open(const struct sockaddr *address, socklen_t length, int mptcp, int backlog)
{
	int error, fd, on = 1;

	/* EPROTONOSUPPORT without mptcp(4). */
	fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	if (fd == -1)
		return (-errno);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    (address->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1) ||
	    bind(fd, address, length) == -1 || listen(fd, backlog) == -1) {
		error = errno;
		close(fd);
		return (-error);
	}
	return (fd);
}

/*
 * A file's group is its directory's, whoever makes it, and a socket cannot be changed through its descriptor. So the
 * socket is made in a directory nobody else can look into, and gets its name when it is as it should be.
 */
int
am_unix_listener_open(const char *path, unsigned mode, unsigned gid, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_len = sizeof(address) };
	char directory[MAXPATHLEN];
	int error, fd;

	if (snprintf(directory, sizeof(directory), "%s.XXXXXX", path) >= (int)sizeof(directory) ||
	    strlen(directory) + sizeof("/s") > sizeof(address.sun_path))
		return (-ENAMETOOLONG);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return (-errno);
	if (mkdtemp(directory) == NULL) {
		error = errno;
		close(fd);
		return (-error);
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    lchown(address.sun_path, (uid_t)-1, (gid_t)gid) == -1 || lchmod(address.sun_path, mode & 0777) == -1 ||
	    listen(fd, backlog) == -1 || rename(address.sun_path, path) == -1) {
		error = errno;
		unlink(address.sun_path);
		rmdir(directory);
		close(fd);
		return (-error);
	}
	rmdir(directory);
	return (fd);
}
