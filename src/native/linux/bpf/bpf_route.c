/* SPDX-License-Identifier: BSD-2-Clause */
#include "bpf_route.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static unsigned
address_size(int family)
{
	return (family == AF_INET ? 4 : 16);
}

int
bpf_route_device(uint32_t device, struct bpf_route *route)
{
	struct ifreq request;
	int fd, error = 0;

	memset(&request, 0, sizeof(request));
	if (if_indextoname(device, request.ifr_name) == NULL)
		return (ENODEV);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return (errno);
	route->device = device;
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		error = errno;
	else {
		route->ethernet = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
		if (ioctl(fd, SIOCGIFMTU, &request) < 0)
			error = errno;
		else
			route->mtu = (uint32_t)request.ifr_mtu;
	}
	close(fd);
	return (error);
}

int
bpf_route_owner(int family, const uint8_t *address, struct bpf_route *route)
{
	struct ifaddrs *all, *one;
	const void *octets;
	int error = ENODEV;

	memset(route, 0, sizeof(*route));
	if (getifaddrs(&all) < 0)
		return (errno);
	for (one = all; one != NULL; one = one->ifa_next) {
		if (one->ifa_addr == NULL || one->ifa_addr->sa_family != family)
			continue;
		octets = family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr :
		    (const void *)&((const struct sockaddr_in6 *)(const void *)one->ifa_addr)->sin6_addr;
		if (memcmp(octets, address, address_size(family)) == 0) {
			error = bpf_route_device(if_nametoindex(one->ifa_name), route);
			break;
		}
	}
	freeifaddrs(all);
	return (error);
}

static void
add_address(struct nlmsghdr *message, unsigned short type, const uint8_t *address, unsigned size)
{
	struct rtattr *attribute = (struct rtattr *)(void *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), address, size);
	message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

static int
read_route(const struct nlmsghdr *answer, unsigned length, struct bpf_route *route)
{
	const struct rtmsg *message;
	const struct rtattr *attribute, *metric;
	uint32_t device = 0, mtu = 0;
	int left, inner, error;

	if (!NLMSG_OK(answer, length))
		return (EPROTO);
	if (answer->nlmsg_type == NLMSG_ERROR && answer->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
		error = -((const struct nlmsgerr *)NLMSG_DATA(answer))->error;
		return (error > 0 ? error : EPROTO);
	}
	if (answer->nlmsg_type != RTM_NEWROUTE || answer->nlmsg_len < NLMSG_LENGTH(sizeof(*message)))
		return (EPROTO);
	message = NLMSG_DATA(answer);
	if (message->rtm_type != RTN_UNICAST)
		return (EHOSTUNREACH);
	left = (int)RTM_PAYLOAD(answer);
	for (attribute = RTM_RTA(message); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == RTA_OIF && RTA_PAYLOAD(attribute) >= sizeof(device))
			memcpy(&device, RTA_DATA(attribute), sizeof(device));
		if (attribute->rta_type != RTA_METRICS)
			continue;
		inner = (int)RTA_PAYLOAD(attribute);
		for (metric = RTA_DATA(attribute); RTA_OK(metric, inner); metric = RTA_NEXT(metric, inner))
			if (metric->rta_type == RTAX_MTU && RTA_PAYLOAD(metric) >= sizeof(mtu))
				memcpy(&mtu, RTA_DATA(metric), sizeof(mtu));
	}
	if (device == 0)
		return (EHOSTUNREACH);
	error = bpf_route_device(device, route);
	if (error == 0 && mtu != 0 && mtu < route->mtu)
		route->mtu = mtu;
	return (error);
}

int
bpf_route_find(int family, const uint8_t *local, const uint8_t *remote, struct bpf_route *route)
{
	static const struct timeval patience = { .tv_sec = 1 };
	union {
		struct nlmsghdr	header;
		char		octets[256];
	} request;
	union {
		struct nlmsghdr	header;
		char		octets[4096];
	} answer;
	unsigned size = address_size(family);
	struct rtmsg *message;
	ssize_t length;
	int fd, error;

	memset(route, 0, sizeof(*route));
	memset(&request, 0, sizeof(request));
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof(*message));
	request.header.nlmsg_type = RTM_GETROUTE;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	message = NLMSG_DATA(&request.header);
	message->rtm_family = (unsigned char)family;
	message->rtm_dst_len = (unsigned char)(size * 8);
	add_address(&request.header, RTA_DST, remote, size);
	if (local != NULL) {
		message->rtm_src_len = (unsigned char)(size * 8);
		add_address(&request.header, RTA_SRC, local, size);
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return (errno);
	/* The kernel answers at once; this only bounds what cannot happen. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0 || (length = recv(fd, &answer, sizeof(answer), 0)) < 0)
		error = errno;
	else
		error = read_route(&answer.header, (unsigned)length, route);
	close(fd);
	return (error);
}
