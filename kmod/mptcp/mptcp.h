/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What programs need of mptcp(4): the protocol's number, socket options, and the commands and events of /dev/mptcp.
 *
 * This header is the ABI. Every type has a fixed size and layout, every structure begins with the ABI's version, which the
 * kernel checks before anything else, and every padding octet has a name and must be zero. Addresses are in network byte
 * order, all other numbers in host byte order.
 *
 * The commands act on the network stack (vnet) of the calling process, which must be the one the device was opened in.
 * Commands that change something need a descriptor opened for writing, and opening for writing needs the privilege to
 * change routes; a privileged process can therefore hand such a descriptor to an unprivileged one.
 */
#ifndef NETINET_MPTCP_H
#define	NETINET_MPTCP_H

#include <sys/types.h>
#include <sys/ioccom.h>

#ifndef IPPROTO_MPTCP
#define	IPPROTO_MPTCP	262	/* of socket(2), and the level of getsockopt(2); not on the wire */
#endif

#define	MPTCP_ABI_VERSION	1
#define	MPTCP_DEVICE		"mptcp"		/* under /dev */
#define	MPTCP_ABI_SUBFLOWS	8		/* most subflows of a connection, ended ones that are still told of included */

#define	MPTCP_ABI_IPV4		4
#define	MPTCP_ABI_IPV6		6

/* Options at level IPPROTO_MPTCP. Those of subflows do for one's own connection what the device does for any. */
#define	MPTCP_INFO		1	/* get: struct mptcp_info */
#define	MPTCP_SUBFLOW_ADD	2	/* set: struct mptcp_ioc_subflow; ms_token is not read */
#define	MPTCP_SUBFLOW_REMOVE	3	/* set: the same, of which ms_id counts */
#define	MPTCP_SUBFLOW_PRIORITY	4	/* set: the same, of which ms_id and ms_flags count */

/* An address with its port; IPv4 ones fill the first four octets, the others are zero. */
struct mptcp_ioc_addr {
	uint8_t		ma_family;		/* MPTCP_ABI_IPV4 or MPTCP_ABI_IPV6; 0: none */
	uint8_t		ma_zero;
	uint16_t	ma_port;
	uint8_t		ma_octets[16];
};

enum mptcp_info_state {
	MPTCP_INFO_INITIAL = 0,		/* not connected yet, or on the way */
	MPTCP_INFO_ESTABLISHED = 1,	/* both ends speak MPTCP */
	MPTCP_INFO_FALLBACK = 2,	/* plain TCP */
	MPTCP_INFO_CLOSED = 3		/* over */
};

enum mptcp_subflow_state {
	MPTCP_SUBFLOW_JOINING = 0,	/* its handshake is under way */
	MPTCP_SUBFLOW_ESTABLISHED = 1,
	MPTCP_SUBFLOW_CLOSED = 2	/* told of for a while, with its last figures */
};

struct mptcp_subflow_info {
	uint32_t	id;		/* within the connection; the first one's is 0, and none is given twice */
	uint8_t		state;		/* enum mptcp_subflow_state */
	uint8_t		tcp_state;	/* as in struct tcp_info */
	uint8_t		flags;		/* MPTCP_FLAG_* */
	uint8_t		error;		/* errno it ended by */
	struct mptcp_ioc_addr local;
	struct mptcp_ioc_addr remote;
	uint8_t		local_address_id;
	uint8_t		remote_address_id;
	uint16_t	fib;
	uint32_t	mss;
	uint32_t	srtt_us;	/* 0: not measured */
	uint32_t	rttvar_us;
	uint32_t	cwnd;		/* octets, as the next */
	uint32_t	ssthresh;
	uint32_t	queued;		/* in its send buffer: in flight or not sent yet */
	uint32_t	retransmits;	/* segments */
	uint64_t	octets_sent;	/* of data given to it, again where it took over from another */
	uint64_t	octets_received;
};
/* Flags of subflows and connections. */
#define	MPTCP_FLAG_BACKUP	0x01	/* subflow to be used only while no other can be: we said so */
#define	MPTCP_FLAG_PEER_BACKUP	0x02	/* the peer said so */
#define	MPTCP_FLAG_PASSIVE	0x04	/* the peer opened it */
#define	MPTCP_FLAG_STALE	0x08	/* subflow presumed dead: nothing new is given to it until it answers */
#define	MPTCP_FLAG_CHECKSUM	0x10	/* the connection's data goes with checksums */
#define	MPTCP_FLAG_RESET	0x20	/* of MPTCPIOC_SUBFLOW_REMOVE: ended by RST, not by FIN */

/* A connection. Of a list, and by MPTCPIOC_INFO with local_token as its name. */
struct mptcp_info {
	uint32_t	version;	/* MPTCP_ABI_VERSION */
	uint32_t	state;		/* enum mptcp_info_state */
	uint32_t	local_token;	/* 0: none, because it is no MPTCP */
	uint32_t	remote_token;
	uint32_t	subflows;	/* of the array below, filled */
	uint32_t	fallback_cause;	/* index of the cause's counter in net.inet.mptcp.stats, by mptcp(4); 0: none */
	uint32_t	flags;		/* MPTCP_FLAG_* */
	uint32_t	uid;		/* of the socket's owner */
	uint64_t	sent_dsn;	/* next data sequence numbers */
	uint64_t	received_dsn;
	uint64_t	acked_dsn;	/* DATA_ACK */
	uint64_t	octets_sent;	/* at the connection level: each octet counts once */
	uint64_t	octets_received;
	uint64_t	octets_reinjected;	/* sent again on another subflow */
	uint64_t	octets_duplicate;	/* received more than once */
	uint32_t	send_queued;	/* in the connection's buffers */
	uint32_t	receive_queued;
	uint32_t	reassembly;	/* octets that wait for others before them */
	uint32_t	reassembly_chunks;
	struct mptcp_subflow_info subflow[MPTCP_ABI_SUBFLOWS];
};

/* One subflow, to be made or named. */
struct mptcp_ioc_subflow {
	uint32_t	ms_version;
	uint32_t	ms_token;		/* of the connection: local_token */
	uint32_t	ms_id;			/* out when one is made; in otherwise */
	uint32_t	ms_flags;		/* MPTCP_FLAG_BACKUP, MPTCP_FLAG_RESET */
	struct mptcp_ioc_addr ms_local;		/* address 0: the kernel chooses; port 0: the kernel chooses */
	struct mptcp_ioc_addr ms_remote;	/* port 0: that of the first subflow */
	uint16_t	ms_fib;			/* MPTCP_FIB_SAME: that of the connection's socket */
	uint16_t	ms_reason;		/* with MPTCP_FLAG_RESET: MP_TCPRST's (RFC 8684 section 3.6) */
	uint32_t	ms_zero;
};
#define	MPTCP_FIB_SAME		0xffff

/* An address to announce by ADD_ADDR, or to take back by REMOVE_ADDR. */
struct mptcp_ioc_announce {
	uint32_t	ma_version;
	uint32_t	ma_token;
	uint32_t	ma_id;			/* Address ID, 1 to 255; 0 of an announcement: the kernel chooses, and says which */
	uint32_t	ma_zero;
	struct mptcp_ioc_addr ma_addr;		/* port 0: that of the connection */
};

/*
 * A list. The caller supplies an array; the kernel fills it from the position in ls_cursor (0: the beginning), says how
 * many it filled and where to go on. ls_cursor is 0 again at the end. A list taken in several calls while it changes
 * can miss entries.
 */
struct mptcp_ioc_list {
	uint32_t	ls_version;
	uint32_t	ls_count;		/* in: room; out: filled */
	uint64_t	ls_buffer;		/* address of the array */
	uint64_t	ls_cursor;
	uint32_t	ls_total;		/* entries there are */
	uint32_t	ls_zero;
};

/* What the module is and holds. */
struct mptcp_ioc_state {
	uint32_t	st_version;
	uint32_t	st_enabled;		/* net.inet.mptcp.enabled */
	uint32_t	st_connections;		/* of this network stack */
	uint32_t	st_sockets;		/* of all: the module stays while there are any */
	uint32_t	st_events;		/* waiting on this descriptor */
	uint32_t	st_zero;
	uint64_t	st_uptime_ms;
};

/*
 * Events, read(2) from the device, one or more whole ones a call. A descriptor that is read from, polled or used with
 * kqueue(2) receives those that happen from then on. The queue is bounded: ev_lost counts the ones dropped before this.
 */
struct mptcp_event {
	uint32_t	ev_version;
	uint32_t	ev_type;		/* MPTCP_EVENT_* */
	uint32_t	ev_token;		/* of the connection: local_token */
	uint32_t	ev_lost;
	uint64_t	ev_uptime_ms;
	uint32_t	ev_id;			/* of the subflow */
	uint32_t	ev_flags;		/* MPTCP_FLAG_* */
	struct mptcp_ioc_addr ev_local;		/* of the subflow, or of the connection's first one */
	struct mptcp_ioc_addr ev_remote;	/* the same, or the address announced */
	uint8_t		ev_address_id;		/* of an address announced or removed */
	uint8_t		ev_reset_reason;	/* MP_TCPRST (RFC 8684 section 3.6) that ended the subflow */
	uint16_t	ev_error;		/* errno the subflow or the connection ended by; 0: as agreed */
	uint32_t	ev_cause;		/* MPTCP_EVENT_FALLBACK: as fallback_cause */
};
#define	MPTCP_EVENT_CREATED		1	/* the handshake of a connection is over; its peer may still fall back */
#define	MPTCP_EVENT_ESTABLISHED		2	/* further subflows may be added from now on */
#define	MPTCP_EVENT_FALLBACK		3	/* plain TCP for the rest of its life */
#define	MPTCP_EVENT_CLOSED		4	/* the token is free again */
#define	MPTCP_EVENT_ANNOUNCED		5	/* ADD_ADDR came, and is authentic */
#define	MPTCP_EVENT_REMOVED		6	/* REMOVE_ADDR came */
#define	MPTCP_EVENT_SUBFLOW_UP		7	/* a further subflow is established */
#define	MPTCP_EVENT_SUBFLOW_DOWN	8	/* a subflow has ended, or never came to be */
#define	MPTCP_EVENT_SUBFLOW_PRIORITY	9	/* MP_PRIO came */

#define	MPTCPIOC_STATE		_IOWR('M', 1, struct mptcp_ioc_state)
#define	MPTCPIOC_INFO		_IOWR('M', 2, struct mptcp_info)
#define	MPTCPIOC_LIST		_IOWR('M', 3, struct mptcp_ioc_list)		/* of mptcp_info */
#define	MPTCPIOC_SUBFLOW_ADD	_IOWR('M', 10, struct mptcp_ioc_subflow)
#define	MPTCPIOC_SUBFLOW_REMOVE	_IOW('M', 11, struct mptcp_ioc_subflow)
#define	MPTCPIOC_SUBFLOW_PRIORITY _IOW('M', 12, struct mptcp_ioc_subflow)
#define	MPTCPIOC_ANNOUNCE	_IOWR('M', 20, struct mptcp_ioc_announce)
#define	MPTCPIOC_WITHDRAW	_IOW('M', 21, struct mptcp_ioc_announce)

#endif /* NETINET_MPTCP_H */
