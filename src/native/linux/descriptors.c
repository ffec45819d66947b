/* SPDX-License-Identifier: BSD-2-Clause */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int am_tun_open(char *device, int vnet_header, int multi_queue)
{
	struct ifreq request;
	int error;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	memset(&request, 0, sizeof(request));
	strncpy(request.ifr_name, device, IFNAMSIZ - 1);
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	if (vnet_header)
		request.ifr_flags |= IFF_VNET_HDR;
	if (multi_queue)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		error = errno;
		close(fd);
		return -error;
	}
	memcpy(device, request.ifr_name, IFNAMSIZ);
	device[IFNAMSIZ - 1] = '\0';
	return fd;
}

int am_listener_open(const struct sockaddr *address, socklen_t length, int mptcp, int backlog)
{
	int on = 1;
	int error;
	int family = address->sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		goto fail;
	if (family == AF_INET6) {
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0 ||
		    setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)) < 0)
			goto fail;
	} else if (setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) < 0) {
		goto fail;
	}
	if (bind(fd, address, length) < 0 || listen(fd, backlog) < 0)
		goto fail;
	return fd;
fail:
	error = errno;
	close(fd);
	return -error;
}

int am_unix_listener_open(const char *path, unsigned mode, unsigned gid, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int error, group;
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (unlink(path) < 0 && errno != ENOENT)
		goto fail;
	if (fchmod(fd, mode & 0777) < 0)
		goto fail;
	mask = umask(0);
	group = setfsgid(gid);
	error = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	setfsgid((gid_t)group);
	umask(mask);
	if (error != 0) {
		close(fd);
		return -error;
	}
	if (listen(fd, backlog) == 0)
		return fd;
fail:
	error = errno;
	close(fd);
	return -error;
}
