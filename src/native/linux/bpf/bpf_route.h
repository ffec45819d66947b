/* SPDX-License-Identifier: BSD-2-Clause */
/* What the eBPF plane has to know of the host's routing: which device leads from one RLOC to another. */
#ifndef BPF_ROUTE_H
#define BPF_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bpf_route {
	uint32_t	device;
	uint32_t	mtu;		/* of the route where it has one, else of the device */
	bool		ethernet;	/* has a link-layer header of Ethernet's, which the programs expect */
};

/*
 * The route from `local` (an address of this host; NULL: any) to `remote`, policy rules included. Addresses are 4 or 16
 * octets. 0 or errno.
 */
int	bpf_route_find(int family, const uint8_t *local, const uint8_t *remote, struct bpf_route *route);
/* The device that has the address. ENODEV when none has. */
int	bpf_route_owner(int family, const uint8_t *address, struct bpf_route *route);
/* Says that it is Ethernet or not, and its MTU. */
int	bpf_route_device(uint32_t device, struct bpf_route *route);

#ifdef __cplusplus
}
#endif

#endif
