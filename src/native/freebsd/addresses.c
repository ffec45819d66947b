/* SPDX-License-Identifier: BSD-2-Clause */
#include "addresses.h"

#include <net/if.h>

#include <errno.h>
#include <ifaddrs.h>
#include <stdbool.h>
#include <string.h>

#define	ALIVE	(IFF_UP | IFF_RUNNING)

/* Of the interface's own entry in the list, which has what the driver says of the link. */
static bool
link_is_down(const struct ifaddrs *all, const char *name)
{
	const struct ifaddrs *each;

	for (each = all; each != NULL; each = each->ifa_next)
		if (each->ifa_addr != NULL && each->ifa_addr->sa_family == AF_LINK && each->ifa_data != NULL &&
		    strcmp(each->ifa_name, name) == 0)
			return (((const struct if_data *)each->ifa_data)->ifi_link_state == LINK_STATE_DOWN);
	return (false);
}

int
am_live_addresses(am_address_fn tell, void *context)
{
	struct sockaddr_storage address;
	struct ifaddrs *all, *each;

	if (getifaddrs(&all) == -1)
		return (-errno);
	for (each = all; each != NULL; each = each->ifa_next) {
		if (each->ifa_addr == NULL || (each->ifa_flags & ALIVE) != ALIVE ||
		    (each->ifa_addr->sa_family != AF_INET && each->ifa_addr->sa_family != AF_INET6) ||
		    link_is_down(all, each->ifa_name))
			continue;
		memset(&address, 0, sizeof(address));
		memcpy(&address, each->ifa_addr, each->ifa_addr->sa_len);
		tell(context, &address);
	}
	freeifaddrs(all);
	return (0);
}
