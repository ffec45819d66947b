/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The control interface of tproxy(4): ioctl(2) commands and events read from /dev/tproxy.
 *
 * This header is the ABI. Every type has a fixed size and layout, every structure begins with the ABI's version, which
 * the kernel checks before anything else, and every padding octet has a name and must be zero. Addresses are in network
 * byte order, ports and all other numbers in host byte order.
 *
 * The commands act on the network stack (vnet) of the calling process, which must be the one the device was opened in.
 * Commands that change something need a descriptor opened for writing, and opening for writing needs the privilege to
 * divert packets; a privileged process can therefore hand such a descriptor to an unprivileged one.
 */
#ifndef TPROXY_IOCTL_H
#define	TPROXY_IOCTL_H

#include <sys/types.h>
#include <sys/ioccom.h>

#define	TPROXY_ABI_VERSION	1
#define	TPROXY_DEVICE		"tproxy"	/* under /dev */

#define	TPROXY_ABI_IPV4		4
#define	TPROXY_ABI_IPV6		6
#define	TPROXY_ABI_RULES	64		/* most rules of a capture list */
#define	TPROXY_ABI_SNAPSHOT	128		/* octets of a captured SYN shown to userland */
#define	TPROXY_ABI_IFNAME	16
#define	TPROXY_ABI_HOLD_LEAST	10		/* milliseconds a captured SYN is held */
#define	TPROXY_ABI_HOLD_MOST	60000

/* An address; IPv4 ones fill the first four octets, the others are zero. */
struct tproxy_ioc_addr {
	uint8_t		ta_family;		/* TPROXY_ABI_IPV4 or TPROXY_ABI_IPV6 */
	uint8_t		ta_plen;		/* prefix length where a prefix is meant, else 0 */
	uint16_t	ta_port;
	uint8_t		ta_octets[16];
};

/* A flow as the client sees it. */
struct tproxy_ioc_flow {
	struct tproxy_ioc_addr tf_client;
	struct tproxy_ioc_addr tf_destination;
};

/* A registration: the next connection of this flow is accepted by the listener. */
struct tproxy_ioc_register {
	uint32_t	tr_version;
	uint32_t	tr_zero;
	struct tproxy_ioc_flow tr_flow;
	struct tproxy_ioc_addr tr_listener;	/* not read by TPROXYIOC_UNREGISTER */
	uint32_t	tr_zero2;
};

/* What a list shows. */
struct tproxy_ioc_entry {
	struct tproxy_ioc_flow te_flow;
	struct tproxy_ioc_addr te_listener;
	uint32_t	te_state;		/* TPROXY_FLOW_* */
	uint32_t	te_own;			/* 1: made by this descriptor */
	uint64_t	te_age_ms;
	uint32_t	te_left_ms;		/* until it is forgotten, where it waits for that; else 0 */
	uint32_t	te_zero;
};
#define	TPROXY_FLOW_WAITING	1		/* for its connection */
#define	TPROXY_FLOW_CONNECTED	2
#define	TPROXY_FLOW_GONE	3		/* the connection is gone; late packets are still kept from the server */
#define	TPROXY_FLOW_PASSED	4		/* a new connection of the same addresses was let through; about to go */

/*
 * A list. The caller supplies an array; the kernel fills it from the position in ls_cursor (0: the beginning), says how
 * many it filled and where to go on. ls_cursor is 0 again at the end. A list taken in several calls while it changes
 * can miss entries or show them twice.
 */
struct tproxy_ioc_list {
	uint32_t	ls_version;
	uint32_t	ls_count;		/* in: room; out: filled */
	uint64_t	ls_buffer;		/* address of the array */
	uint64_t	ls_cursor;
	uint32_t	ls_total;		/* entries there are */
	uint32_t	ls_zero;
};

/*
 * Which SYNs are held for userland. The first rule that matches decides; without one a SYN passes. One descriptor of a
 * network stack can have rules at a time; they go with it, and so do the SYNs held, which pass.
 */
struct tproxy_ioc_rule {
	struct tproxy_ioc_addr ru_destination;	/* prefix; its port is not used */
	uint16_t	ru_port_low;
	uint16_t	ru_port_high;
	uint32_t	ru_action;		/* TPROXY_RULE_* */
	char		ru_ifname[TPROXY_ABI_IFNAME];	/* of receiving interface; empty: any */
};
#define	TPROXY_RULE_PASS	0
#define	TPROXY_RULE_CAPTURE	1

struct tproxy_ioc_capture {
	uint32_t	ca_version;
	uint32_t	ca_count;		/* 0: nothing is captured any more */
	uint32_t	ca_hold_ms;		/* how long, TPROXY_ABI_HOLD_LEAST to _MOST; 0: net.inet.tproxy.hold_ms */
	uint32_t	ca_zero;
	struct tproxy_ioc_rule ca_rules[TPROXY_ABI_RULES];
};

/* What becomes of a SYN that is held. */
struct tproxy_ioc_release {
	uint32_t	re_version;
	uint32_t	re_action;
	uint64_t	re_id;			/* of the event */
};
#define	TPROXY_RELEASE_INJECT	1		/* goes on as if it had just come: to the listener if registered, else its way */
#define	TPROXY_RELEASE_REFUSE	2		/* answered by RST */
#define	TPROXY_RELEASE_UNREACHABLE 3		/* answered by ICMP host, or ICMPv6 address, unreachable */
#define	TPROXY_RELEASE_DROP	4

/*
 * Events, read(2) from the device, one or more whole ones a call: a SYN was captured and is held until
 * TPROXYIOC_RELEASE names its ev_id or its time is over, when it passes. SYNs that repeat one that is held make no event.
 */
struct tproxy_event {
	uint32_t	ev_version;
	uint32_t	ev_type;
	uint64_t	ev_id;
	struct tproxy_ioc_flow ev_flow;
	char		ev_ifname[TPROXY_ABI_IFNAME];
	uint32_t	ev_length;		/* of the packet */
	uint32_t	ev_snapshot_length;
	uint8_t		ev_snapshot[TPROXY_ABI_SNAPSHOT];	/* its beginning, from the IP header */
};
#define	TPROXY_EVENT_SYN	1

/* Counters: name in struct tproxy_ioc_stats and under net.inet.tproxy.stats, description. */
#define	TPROXY_COUNTERS(X)									\
	X(registered, "Flows registered")							\
	X(unregistered, "Flows unregistered by their owner or with its descriptor")		\
	X(collected, "Flows forgotten after their connection")					\
	X(expired, "Flows forgotten because no connection came")				\
	X(superseded, "Flows forgotten because a new connection was let through")		\
	X(joined, "Flows registered because they join the MPTCP connection of one that is")	\
	X(packets, "Packets of registered flows delivered locally")				\
	X(tagged, "... of them handed to the listener, before the connection existed")		\
	X(late, "... of them late: after the connection had gone")				\
	X(icmp, "ICMP errors about registered flows delivered locally")				\
	X(nomem, "Packets dropped for want of memory")						\
	X(fragments, "IP fragments of TCP that passed unseen while flows were registered")	\
	X(captured, "SYNs captured and held")							\
	X(repeated, "SYNs dropped because the same one is held")				\
	X(overflowed, "SYNs passed because too many are held")					\
	X(injected, "SYNs held that went on")							\
	X(timedout, "... of them because the time was over")					\
	X(orphaned, "... of them because the descriptor was closed")				\
	X(refused, "SYNs held that were answered by RST")					\
	X(unreachable, "SYNs held that were answered by ICMP")					\
	X(dropped, "SYNs held that were dropped")

struct tproxy_ioc_stats {
	uint32_t	st_version;
	uint32_t	st_flows;		/* registered now */
	uint32_t	st_held;		/* SYNs held now */
	uint32_t	st_events;		/* waiting on this descriptor */
#define	TPROXY_COUNTER_FIELD(name, text)	uint64_t st_##name;
	TPROXY_COUNTERS(TPROXY_COUNTER_FIELD)
#undef TPROXY_COUNTER_FIELD
};

#define	TPROXYIOC_STATS		_IOWR('T', 1, struct tproxy_ioc_stats)
#define	TPROXYIOC_REGISTER	_IOW('T', 10, struct tproxy_ioc_register)
#define	TPROXYIOC_UNREGISTER	_IOW('T', 11, struct tproxy_ioc_register)
#define	TPROXYIOC_LIST		_IOWR('T', 12, struct tproxy_ioc_list)	/* of tproxy_ioc_entry */
#define	TPROXYIOC_CAPTURE	_IOW('T', 20, struct tproxy_ioc_capture)
#define	TPROXYIOC_RELEASE	_IOW('T', 21, struct tproxy_ioc_release)

#endif
