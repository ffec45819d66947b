/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Between tproxy(4) and mptcp(4), neither of which needs the other: tproxy(4) asks, in NET_EPOCH and the packet's network stack, with no
 * lock held; mptcp(4), while it is loaded, answers. So it does not matter whose packet hook comes first.
 *
 *	tproxy_join	a SYN with MP_JOIN: to which connection?
 *	tproxy_lead	a segment of a flow that waits for its connection, delivered locally, and tagged with the flow's listener:
 *			a SYN with MP_CAPABLE is remembered for its SYN/ACK, what belongs to an MP_JOIN is led elsewhere
 */
#ifndef HANDOVER_H
#define	HANDOVER_H

#include <sys/param.h>
#include <sys/eventhandler.h>
#include <sys/mbuf.h>

struct handover {
	struct mbuf	*ho_packet;
	bool		ho_ipv6;
	/* Answer of tproxy_join: the first subflow of the connection, if its peer opened it; addresses and ports in network order. */
	bool		ho_known;
	bool		ho_first_ipv6;
	uint8_t		ho_client[16], ho_destination[16];
	uint16_t	ho_client_port, ho_destination_port;
	/* Answer of tproxy_lead: the packet is not to go on, its sender has been told. */
	bool		ho_refused;
};

typedef void (*handover_fn)(void *, struct handover *);
EVENTHANDLER_DECLARE(tproxy_join, handover_fn);
EVENTHANDLER_DECLARE(tproxy_lead, handover_fn);

#endif
