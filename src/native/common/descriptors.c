/* SPDX-License-Identifier: BSD-2-Clause */
/* The same on every system; what is not is in linux/descriptors.c and freebsd/descriptors.c. */
#include "descriptors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

int am_address_parse(const char *text, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
#ifdef __FreeBSD__
		in->sin_len = sizeof(*in);
#endif
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
#ifdef __FreeBSD__
		in6->sin6_len = sizeof(*in6);
#endif
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		return sizeof(*in6);
	}
	return -EINVAL;
}

void am_address_format(const struct sockaddr_storage *address, char *text, uint16_t *port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	text[0] = '\0';
	*port = 0;
	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, text, INET6_ADDRSTRLEN);
		*port = ntohs(in->sin_port);
	} else if (address->ss_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
			inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, INET6_ADDRSTRLEN);
		else
			inet_ntop(AF_INET6, &in6->sin6_addr, text, INET6_ADDRSTRLEN);
		*port = ntohs(in6->sin6_port);
	}
}

void am_reset_close(int fd)
{
	struct linger none = { .l_onoff = 1, .l_linger = 0 };

	/* Makes TCP's close() send RST. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
#ifdef __linux__
	/* MPTCP wants a disconnect for MP_FASTCLOSE; TCP takes no harm from it. */
	struct sockaddr unspecified = { .sa_family = AF_UNSPEC };

	connect(fd, &unspecified, sizeof(unspecified));
#endif
	close(fd);
}

int am_socket_pair(int fds[2])
{
	int size = AM_MESSAGE_MAX;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
#ifdef SO_SNDBUFFORCE
		if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0)
			continue;
#endif
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
#ifdef __FreeBSD__
		/* A message waits where it is read. */
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
#endif
	}
	return 0;
}

int am_message_send(int fd, const void *data, size_t length, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * AM_MESSAGE_FDS)];
	} control;
	struct iovec part = { .iov_base = (void *)data, .iov_len = length };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (nfds > AM_MESSAGE_FDS)
		return -E2BIG;
	if (nfds > 0) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * nfds);
	}
	do {
		sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : (int)sent;
}

int am_message_receive(int fd, void *data, size_t size, int *fds, size_t *nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * AM_MESSAGE_FDS)];
	} control;
	struct iovec part = { .iov_base = data, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t received;

	*nfds = 0;
	do {
		received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	} while (received < 0 && errno == EINTR);
	if (received < 0)
		return -errno;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int passed;
			memcpy(&passed, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
			if (*nfds < AM_MESSAGE_FDS)
				fds[(*nfds)++] = passed;
			else
				close(passed);
		}
	}
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		/* Half a message is none. */
		for (size_t i = 0; i < *nfds; i++)
			close(fds[i]);
		*nfds = 0;
		return -EMSGSIZE;
	}
	return (int)received;
}

int am_raise_file_limit(uint64_t *soft, uint64_t *hard)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	*soft = (uint64_t)limit.rlim_cur;
	*hard = (uint64_t)limit.rlim_max;
	return 0;
}
