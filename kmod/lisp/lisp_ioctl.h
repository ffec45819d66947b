/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The control interface of lisp(4): ioctl(2) commands and events read from /dev/lisp.
 *
 * This header is the ABI. Every type has a fixed size and layout, every structure begins with the ABI's version, which
 * the kernel checks before anything else, and every padding octet has a name and must be zero. Addresses and prefixes
 * are in network byte order, all other numbers in host byte order.
 *
 * The commands act on the network stack (vnet) of the calling process, which must be the one the device was opened in.
 * Commands that change something need a descriptor opened for writing, and opening for writing needs the privilege to
 * change routes; a privileged process can therefore hand such a descriptor to an unprivileged one.
 */
#ifndef LISP_IOCTL_H
#define	LISP_IOCTL_H

#include <sys/types.h>
#include <sys/ioccom.h>

#define	LISP_ABI_VERSION	1
#define	LISP_DEVICE		"lisp"		/* under /dev */

#define	LISP_ABI_LOCATORS	16		/* most locators of one mapping */
#define	LISP_ABI_LOCAL_RLOCS	16		/* most RLOCs of this host */
#define	LISP_ABI_LOCAL_EIDS	256		/* most EID prefixes of this site */
#define	LISP_ABI_IID_MAX	0xffffff	/* Instance-ID: 24 bits (RFC 8060 section 4.1) */

#define	LISP_ABI_IPV4		4
#define	LISP_ABI_IPV6		6

/* An address; IPv4 ones fill the first four octets, the others are zero. */
struct lisp_ioc_addr {
	uint8_t		la_family;		/* LISP_ABI_IPV4 or LISP_ABI_IPV6; 0: none */
	uint8_t		la_plen;		/* prefix length where a prefix is meant, else 0 */
	uint8_t		la_zero[2];
	uint8_t		la_octets[16];
};

/* An inner flow. Ports are zero for protocols without ports. */
struct lisp_ioc_flow {
	struct lisp_ioc_addr lf_local;
	struct lisp_ioc_addr lf_remote;
	uint16_t	lf_local_port;
	uint16_t	lf_remote_port;
	uint8_t		lf_protocol;
	uint8_t		lf_zero[3];
};

/* One (local RLOC, remote RLOC) pair. */
struct lisp_ioc_path {
	struct lisp_ioc_addr lp_local;
	struct lisp_ioc_addr lp_remote;
};

struct lisp_ioc_locator {
	struct lisp_ioc_addr ll_rloc;
	uint8_t		ll_priority;		/* 255: not to be used (RFC 9300 section 9) */
	uint8_t		ll_weight;
	uint8_t		ll_flags;
	uint8_t		ll_zero;
};
#define	LISP_LOCATOR_REACHABLE	0x01		/* the R bit (RFC 9301 section 5.4) */

/* A mapping: EID prefix to locators, or, without locators, what to do instead. */
struct lisp_ioc_mapping {
	uint32_t	lm_version;
	uint32_t	lm_iid;
	struct lisp_ioc_addr lm_eid;
	uint32_t	lm_flags;
	uint8_t		lm_action;		/* RFC 9301 section 5.4, for a mapping without locators */
	uint8_t		lm_nlocators;
	uint8_t		lm_zero[6];
	struct lisp_ioc_locator lm_locators[LISP_ABI_LOCATORS];
};
/* lm_flags of LISPIOC_MAPPING_SET. */
#define	LISP_MAPPING_NEW	0x01		/* EEXIST where there is one already */
#define	LISP_MAPPING_REPLACE	0x02		/* ENOENT where there is none */

/*
 * A list. The caller supplies an array; the kernel fills it from the position in ls_cursor (0: the beginning), says how
 * many it filled and where to go on. ls_cursor is 0 again at the end. A list taken in several calls while it changes
 * can miss entries or show them twice; ls_generation tells that it changed.
 */
struct lisp_ioc_list {
	uint32_t	ls_version;
	uint32_t	ls_count;		/* in: room; out: filled */
	uint64_t	ls_buffer;		/* address of the array */
	uint64_t	ls_cursor;
	uint32_t	ls_generation;
	uint32_t	ls_total;		/* entries there are */
};

struct lisp_ioc_pin {
	uint32_t	lp_version;
	uint32_t	lp_iid;
	struct lisp_ioc_flow lp_flow;
	struct lisp_ioc_path lp_path;
	uint32_t	lp_flags;
	uint32_t	lp_zero;
};
#define	LISP_PIN_GLEANED	0x01		/* learnt from decapsulated packets (read only) */

/*
 * RLOCs of this host. Encapsulated packets with one as source are routed in its FIB, so that each provider can have its
 * own default route; LISP_FIB_DEFAULT: the one the interface was created in.
 */
struct lisp_ioc_rlocs {
	uint32_t	lr_version;
	uint32_t	lr_count;
	struct lisp_ioc_addr lr_rlocs[LISP_ABI_LOCAL_RLOCS];
	uint16_t	lr_fibs[LISP_ABI_LOCAL_RLOCS];
};
#define	LISP_FIB_DEFAULT	0xffff

/* EID prefixes of this site: only packets towards these are decapsulated. */
struct lisp_ioc_eids {
	uint32_t	le_version;
	uint32_t	le_count;
	uint32_t	le_iid;
	uint32_t	le_zero;
	struct lisp_ioc_addr le_eids[LISP_ABI_LOCAL_EIDS];
};

struct lisp_ioc_path_state {
	uint32_t	ps_version;
	uint32_t	ps_up;			/* 0: not to be chosen by priority and weight */
	struct lisp_ioc_path ps_path;
	uint32_t	ps_mtu;			/* largest inner packet, as learnt; 0: not known, or leave as it is */
	uint32_t	ps_zero;
};

struct lisp_ioc_path_info {
	struct lisp_ioc_path pi_path;
	uint32_t	pi_up;
	uint32_t	pi_mtu;			/* largest inner packet; 0: not known */
	uint64_t	pi_packets_sent;
	uint64_t	pi_octets_sent;		/* of inner packets */
	uint64_t	pi_packets_received;
	uint64_t	pi_octets_received;
	uint64_t	pi_last_received_ms;	/* milliseconds of uptime; 0: never */
};

/* What the module is and holds. */
struct lisp_ioc_info {
	uint32_t	in_version;
	uint32_t	in_iid;
	char		in_ifname[16];		/* empty: no interface in this vnet */
	uint32_t	in_mtu;
	uint32_t	in_mappings;
	uint32_t	in_pins;
	uint32_t	in_paths;
	uint32_t	in_events;		/* waiting on this descriptor */
	uint32_t	in_zero;
	uint64_t	in_uptime_ms;
};

struct lisp_ioc_iid {
	uint32_t	ii_version;
	uint32_t	ii_iid;			/* of lisp0's packets; for a flush: LISP_IID_ANY means all */
};
#define	LISP_IID_ANY		0xffffffffU

/*
 * Events, read(2) from the device, one or more whole ones a call. A descriptor that is read from, polled or used with
 * kqueue(2) receives those that happen from then on. The queue is bounded: ev_lost counts the ones dropped before this.
 */
struct lisp_event {
	uint32_t	ev_version;
	uint32_t	ev_type;
	uint32_t	ev_iid;
	uint32_t	ev_lost;
	uint64_t	ev_uptime_ms;
	union {
		struct {
			struct lisp_ioc_addr eid;
			uint32_t reason;
		} miss;
		struct {
			struct lisp_ioc_flow flow;
			struct lisp_ioc_path path;
		} gleaned;
		struct {
			struct lisp_ioc_path path;
			uint32_t mtu;		/* of the inner packet */
		} mtu;
		uint8_t	room[104];
	} ev;
};
#define	LISP_EVENT_MISS		1
#define	LISP_EVENT_GLEANED	2
#define	LISP_EVENT_PATH_MTU	3
#define	LISP_MISS_ENCAPSULATE	0		/* no mapping for a packet's destination */
#define	LISP_MISS_SOURCE_CHECK	1		/* none for a decapsulated packet's source */

#define	LISPIOC_INFO		_IOWR('L', 1, struct lisp_ioc_info)
#define	LISPIOC_IID		_IOW('L', 2, struct lisp_ioc_iid)
#define	LISPIOC_MAPPING_SET	_IOW('L', 10, struct lisp_ioc_mapping)
#define	LISPIOC_MAPPING_DELETE	_IOW('L', 11, struct lisp_ioc_mapping)
#define	LISPIOC_MAPPING_LOOKUP	_IOWR('L', 12, struct lisp_ioc_mapping)	/* longest prefix that holds lm_eid */
#define	LISPIOC_MAPPING_LIST	_IOWR('L', 13, struct lisp_ioc_list)	/* of lisp_ioc_mapping */
#define	LISPIOC_MAPPING_FLUSH	_IOW('L', 14, struct lisp_ioc_iid)
#define	LISPIOC_PIN_SET		_IOW('L', 20, struct lisp_ioc_pin)
#define	LISPIOC_PIN_DELETE	_IOW('L', 21, struct lisp_ioc_pin)
#define	LISPIOC_PIN_LIST	_IOWR('L', 22, struct lisp_ioc_list)	/* of lisp_ioc_pin */
#define	LISPIOC_PIN_FLUSH	_IOW('L', 23, struct lisp_ioc_iid)
#define	LISPIOC_RLOCS_SET	_IOW('L', 30, struct lisp_ioc_rlocs)
#define	LISPIOC_RLOCS_GET	_IOWR('L', 31, struct lisp_ioc_rlocs)
#define	LISPIOC_EIDS_SET	_IOW('L', 32, struct lisp_ioc_eids)
#define	LISPIOC_EIDS_GET	_IOWR('L', 33, struct lisp_ioc_eids)
#define	LISPIOC_PATH_STATE	_IOW('L', 40, struct lisp_ioc_path_state)
#define	LISPIOC_PATH_LIST	_IOWR('L', 41, struct lisp_ioc_list)	/* of lisp_ioc_path_info */

#endif
