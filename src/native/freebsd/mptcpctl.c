/* SPDX-License-Identifier: BSD-2-Clause */

#include <sys/param.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "mptcpctl.h"

static int
command(const struct mptcpctl *ctl, unsigned long request, void *argument)
{
	return (control_command(ctl->fd, request, argument));
}

int
mptcpctl_adopt(struct mptcpctl *ctl, int fd)
{
	struct mptcp_ioc_state state;
	int error;

	ctl->fd = fd;
	error = mptcpctl_state(ctl, &state);
	if (error != 0)
		ctl->fd = -1;
	return (error);
}

int
mptcpctl_open(struct mptcpctl *ctl, bool writable)
{
	int error, fd;

	ctl->fd = -1;
	error = control_open(MPTCP_DEVICE, writable, &fd);
	if (error == 0)
		error = mptcpctl_adopt(ctl, fd);
	if (error != 0)
		control_close(&fd);
	return (error);
}

void
mptcpctl_close(struct mptcpctl *ctl)
{
	control_close(&ctl->fd);
}

int
mptcpctl_state(const struct mptcpctl *ctl, struct mptcp_ioc_state *state)
{
	memset(state, 0, sizeof(*state));
	state->st_version = MPTCP_ABI_VERSION;
	return (command(ctl, MPTCPIOC_STATE, state));
}

int
mptcpctl_info(const struct mptcpctl *ctl, uint32_t token, struct mptcp_info *info)
{
	memset(info, 0, sizeof(*info));
	info->version = MPTCP_ABI_VERSION;
	info->local_token = token;
	return (command(ctl, MPTCPIOC_INFO, info));
}

_Static_assert(sizeof(struct mptcp_ioc_list) == sizeof(struct control_list), "lists have one layout");
_Static_assert(offsetof(struct mptcp_ioc_list, ls_cursor) == offsetof(struct control_list, cursor), "lists have one layout");

int
mptcpctl_list(const struct mptcpctl *ctl, struct mptcp_info **list, size_t *count)
{
	return (control_take_list(ctl->fd, MPTCPIOC_LIST, MPTCP_ABI_VERSION, sizeof(**list), (void **)list, count));
}

int
mptcpctl_subflow_add(const struct mptcpctl *ctl, struct mptcp_ioc_subflow *subflow)
{
	subflow->ms_version = MPTCP_ABI_VERSION;
	return (command(ctl, MPTCPIOC_SUBFLOW_ADD, subflow));
}

int
mptcpctl_subflow_remove(const struct mptcpctl *ctl, uint32_t token, uint32_t id, bool reset)
{
	struct mptcp_ioc_subflow subflow = { .ms_version = MPTCP_ABI_VERSION, .ms_token = token, .ms_id = id,
	    .ms_flags = reset ? MPTCP_FLAG_RESET : 0 };

	return (command(ctl, MPTCPIOC_SUBFLOW_REMOVE, &subflow));
}

int
mptcpctl_subflow_priority(const struct mptcpctl *ctl, uint32_t token, uint32_t id, bool backup)
{
	struct mptcp_ioc_subflow subflow = { .ms_version = MPTCP_ABI_VERSION, .ms_token = token, .ms_id = id,
	    .ms_flags = backup ? MPTCP_FLAG_BACKUP : 0 };

	return (command(ctl, MPTCPIOC_SUBFLOW_PRIORITY, &subflow));
}

int
mptcpctl_announce(const struct mptcpctl *ctl, uint32_t token, const struct mptcp_ioc_addr *address, uint8_t *address_id)
{
	struct mptcp_ioc_announce announce = { .ma_version = MPTCP_ABI_VERSION, .ma_token = token, .ma_id = *address_id,
	    .ma_addr = *address };
	int error = command(ctl, MPTCPIOC_ANNOUNCE, &announce);

	if (error == 0)
		*address_id = (uint8_t)announce.ma_id;
	return (error);
}

int
mptcpctl_withdraw(const struct mptcpctl *ctl, uint32_t token, uint8_t address_id)
{
	struct mptcp_ioc_announce announce = { .ma_version = MPTCP_ABI_VERSION, .ma_token = token, .ma_id = address_id };

	return (command(ctl, MPTCPIOC_WITHDRAW, &announce));
}

int
mptcpctl_events(const struct mptcpctl *ctl, struct mptcp_event *events, size_t room, size_t *count)
{
	return (control_events(ctl->fd, events, sizeof(*events), room, count));
}

int
mptcpctl_socket(int socket, struct mptcp_info *info)
{
	socklen_t length = sizeof(*info);

	memset(info, 0, sizeof(*info));
	if (getsockopt(socket, IPPROTO_MPTCP, MPTCP_INFO, info, &length) == -1)
		return (errno == EINVAL ? ENOPROTOOPT : errno);
	return (length == sizeof(*info) && info->version == MPTCP_ABI_VERSION ? 0 : EPROTONOSUPPORT);
}

int
mptcpctl_from_sockaddr(const struct sockaddr *from, struct mptcp_ioc_addr *to)
{
	memset(to, 0, sizeof(*to));
	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)(const void *)from;

		to->ma_family = MPTCP_ABI_IPV4;
		to->ma_port = ntohs(sin->sin_port);
		memcpy(to->ma_octets, &sin->sin_addr, sizeof(sin->sin_addr));
		return (0);
	}
	if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)(const void *)from;

		to->ma_family = MPTCP_ABI_IPV6;
		to->ma_port = ntohs(sin6->sin6_port);
		memcpy(to->ma_octets, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
		return (0);
	}
	return (EAFNOSUPPORT);
}

socklen_t
mptcpctl_to_sockaddr(const struct mptcp_ioc_addr *from, struct sockaddr_storage *to)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)(void *)to;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)(void *)to;

	memset(to, 0, sizeof(*to));
	switch (from->ma_family) {
	case MPTCP_ABI_IPV4:
		sin->sin_len = sizeof(*sin);
		sin->sin_family = AF_INET;
		sin->sin_port = htons(from->ma_port);
		memcpy(&sin->sin_addr, from->ma_octets, sizeof(sin->sin_addr));
		return (sizeof(*sin));
	case MPTCP_ABI_IPV6:
		sin6->sin6_len = sizeof(*sin6);
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(from->ma_port);
		memcpy(&sin6->sin6_addr, from->ma_octets, sizeof(sin6->sin6_addr));
		return (sizeof(*sin6));
	default:
		return (0);
	}
}

int
mptcpctl_parse(const char *text, uint16_t port, struct mptcp_ioc_addr *address)
{
	uint8_t length;
	int error;

	memset(address, 0, sizeof(*address));
	error = control_parse(text, &address->ma_family, &length, address->ma_octets);
	if (error == 0 && length != 0)
		error = EINVAL;
	address->ma_port = port;
	return (error);
}

const char *
mptcpctl_format(const struct mptcp_ioc_addr *address, char *text, size_t room)
{
	char plain[INET6_ADDRSTRLEN];

	control_format(address->ma_family, address->ma_octets, plain, sizeof(plain));
	snprintf(text, room, address->ma_family == MPTCP_ABI_IPV6 ? "[%s]:%u" : "%s:%u", plain, address->ma_port);
	return (text);
}
