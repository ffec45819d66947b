/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tproxyctl.h"

static int
command(const struct tproxyctl *ctl, unsigned long request, void *argument)
{
	return (ioctl(ctl->fd, request, argument) == -1 ? errno : 0);
}

int
tproxyctl_adopt(struct tproxyctl *ctl, int fd)
{
	struct tproxy_ioc_stats stats;
	int error;

	ctl->fd = fd;
	error = tproxyctl_stats(ctl, &stats);
	if (error != 0)
		ctl->fd = -1;
	return (error);
}

int
tproxyctl_open(struct tproxyctl *ctl, bool writable)
{
	int error, fd;

	ctl->fd = -1;
	fd = open("/dev/" TPROXY_DEVICE, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd == -1)
		return (errno);
	error = tproxyctl_adopt(ctl, fd);
	if (error != 0)
		close(fd);
	return (error);
}

void
tproxyctl_close(struct tproxyctl *ctl)
{
	if (ctl->fd != -1)
		close(ctl->fd);
	ctl->fd = -1;
}

int
tproxyctl_stats(const struct tproxyctl *ctl, struct tproxy_ioc_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->st_version = TPROXY_ABI_VERSION;
	return (command(ctl, TPROXYIOC_STATS, stats));
}

int
tproxyctl_register(const struct tproxyctl *ctl, const struct tproxy_ioc_flow *flow, const struct tproxy_ioc_addr *listener)
{
	struct tproxy_ioc_register request = { .tr_version = TPROXY_ABI_VERSION };

	request.tr_flow = *flow;
	request.tr_listener = *listener;
	return (command(ctl, TPROXYIOC_REGISTER, &request));
}

int
tproxyctl_unregister(const struct tproxyctl *ctl, const struct tproxy_ioc_flow *flow)
{
	struct tproxy_ioc_register request = { .tr_version = TPROXY_ABI_VERSION };

	request.tr_flow = *flow;
	return (command(ctl, TPROXYIOC_UNREGISTER, &request));
}

/* Taken in pieces until the kernel says it is whole. What changes meanwhile is taken as it comes. */
int
tproxyctl_list(const struct tproxyctl *ctl, struct tproxy_ioc_entry **list, size_t *count)
{
	struct tproxy_ioc_entry *array = NULL, *grown;
	struct tproxy_ioc_list request;
	const uint32_t piece = 256;
	size_t filled = 0, room = 0;
	uint64_t cursor = 0;
	int error;

	do {
		if (filled + piece > room) {
			room = room == 0 ? piece : room * 2;
			grown = realloc(array, room * sizeof(*array));
			if (grown == NULL) {
				free(array);
				return (ENOMEM);
			}
			array = grown;
		}
		memset(&request, 0, sizeof(request));
		request.ls_version = TPROXY_ABI_VERSION;
		request.ls_count = (uint32_t)(room - filled);
		request.ls_buffer = (uint64_t)(uintptr_t)(array + filled);
		request.ls_cursor = cursor;
		error = command(ctl, TPROXYIOC_LIST, &request);
		if (error != 0) {
			free(array);
			return (error);
		}
		filled += request.ls_count;
		cursor = request.ls_cursor;
	} while (cursor != 0);
	*list = array;
	*count = filled;
	return (0);
}

int
tproxyctl_capture(const struct tproxyctl *ctl, const struct tproxy_ioc_rule *rules, size_t count)
{
	struct tproxy_ioc_capture request = { .ca_version = TPROXY_ABI_VERSION };

	if (count > TPROXY_ABI_RULES)
		return (E2BIG);
	request.ca_count = (uint32_t)count;
	if (count > 0)
		memcpy(request.ca_rules, rules, count * sizeof(*rules));
	return (command(ctl, TPROXYIOC_CAPTURE, &request));
}

int
tproxyctl_release(const struct tproxyctl *ctl, uint64_t id, uint32_t action)
{
	struct tproxy_ioc_release request = { .re_version = TPROXY_ABI_VERSION, .re_action = action, .re_id = id };

	return (command(ctl, TPROXYIOC_RELEASE, &request));
}

int
tproxyctl_events(const struct tproxyctl *ctl, struct tproxy_event *events, size_t room, size_t *count)
{
	ssize_t octets;

	*count = 0;
	octets = read(ctl->fd, events, room * sizeof(*events));
	if (octets == -1)
		return (errno == EAGAIN ? 0 : errno);
	*count = (size_t)octets / sizeof(*events);
	return (0);
}

int
tproxyctl_from_sockaddr(const struct sockaddr *from, struct tproxy_ioc_addr *to)
{
	memset(to, 0, sizeof(*to));
	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)(const void *)from;

		to->ta_family = TPROXY_ABI_IPV4;
		to->ta_port = ntohs(sin->sin_port);
		memcpy(to->ta_octets, &sin->sin_addr, sizeof(sin->sin_addr));
		return (0);
	}
	if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)(const void *)from;

		to->ta_family = TPROXY_ABI_IPV6;
		to->ta_port = ntohs(sin6->sin6_port);
		memcpy(to->ta_octets, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
		return (0);
	}
	return (EAFNOSUPPORT);
}

socklen_t
tproxyctl_to_sockaddr(const struct tproxy_ioc_addr *from, struct sockaddr_storage *to)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)(void *)to;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)(void *)to;

	memset(to, 0, sizeof(*to));
	if (from->ta_family == TPROXY_ABI_IPV4) {
		sin->sin_len = sizeof(*sin);
		sin->sin_family = AF_INET;
		sin->sin_port = htons(from->ta_port);
		memcpy(&sin->sin_addr, from->ta_octets, sizeof(sin->sin_addr));
		return (sizeof(*sin));
	}
	sin6->sin6_len = sizeof(*sin6);
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(from->ta_port);
	memcpy(&sin6->sin6_addr, from->ta_octets, sizeof(sin6->sin6_addr));
	return (sizeof(*sin6));
}

int
tproxyctl_parse(const char *text, uint16_t port, struct tproxy_ioc_addr *address)
{
	char copy[64], *end, *slash;
	unsigned long length;
	int bits;

	if (strlcpy(copy, text, sizeof(copy)) >= sizeof(copy))
		return (EINVAL);
	memset(address, 0, sizeof(*address));
	address->ta_port = port;
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (inet_pton(AF_INET, copy, address->ta_octets) == 1) {
		address->ta_family = TPROXY_ABI_IPV4;
		bits = 32;
	} else if (inet_pton(AF_INET6, copy, address->ta_octets) == 1) {
		address->ta_family = TPROXY_ABI_IPV6;
		bits = 128;
	} else
		return (EINVAL);
	if (slash == NULL)
		return (0);
	errno = 0;
	length = strtoul(slash, &end, 10);
	if (errno != 0 || end == slash || *end != '\0' || length > (unsigned long)bits)
		return (EINVAL);
	address->ta_plen = (uint8_t)length;
	return (0);
}

const char *
tproxyctl_format(const struct tproxy_ioc_addr *address, char *text, size_t room)
{
	char plain[INET6_ADDRSTRLEN] = "-";

	if (address->ta_family == TPROXY_ABI_IPV4) {
		inet_ntop(AF_INET, address->ta_octets, plain, sizeof(plain));
		snprintf(text, room, "%s:%u", plain, address->ta_port);
	} else {
		inet_ntop(AF_INET6, address->ta_octets, plain, sizeof(plain));
		snprintf(text, room, "[%s]:%u", plain, address->ta_port);
	}
	return (text);
}
