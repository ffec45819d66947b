/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "tproxyctl.h"

static int
command(const struct tproxyctl *ctl, unsigned long request, void *argument)
{
	return (control_command(ctl->fd, request, argument));
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
	error = control_open(TPROXY_DEVICE, writable, &fd);
	if (error == 0)
		error = tproxyctl_adopt(ctl, fd);
	if (error != 0)
		control_close(&fd);
	return (error);
}

void
tproxyctl_close(struct tproxyctl *ctl)
{
	control_close(&ctl->fd);
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

_Static_assert(sizeof(struct tproxy_ioc_list) == sizeof(struct control_list), "lists have one layout");
_Static_assert(offsetof(struct tproxy_ioc_list, ls_cursor) == offsetof(struct control_list, cursor), "lists have one layout");

int
tproxyctl_list(const struct tproxyctl *ctl, struct tproxy_ioc_entry **list, size_t *count)
{
	return (control_take_list(ctl->fd, TPROXYIOC_LIST, TPROXY_ABI_VERSION, sizeof(**list), (void **)list, count));
}

int
tproxyctl_capture(const struct tproxyctl *ctl, const struct tproxy_ioc_rule *rules, size_t count, uint32_t hold_ms)
{
	struct tproxy_ioc_capture request = { .ca_version = TPROXY_ABI_VERSION, .ca_hold_ms = hold_ms };

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
	return (control_events(ctl->fd, events, sizeof(*events), room, count));
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
	memset(address, 0, sizeof(*address));
	address->ta_port = port;
	return (control_parse(text, &address->ta_family, &address->ta_plen, address->ta_octets));
}

const char *
tproxyctl_format(const struct tproxy_ioc_addr *address, char *text, size_t room)
{
	char plain[INET6_ADDRSTRLEN];

	control_format(address->ta_family, address->ta_octets, plain, sizeof(plain));
	snprintf(text, room, address->ta_family == TPROXY_ABI_IPV6 ? "[%s]:%u" : "%s:%u", plain, address->ta_port);
	return (text);
}
