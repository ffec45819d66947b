/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mptcp.ko: Multipath TCP (RFC 8684) as a protocol of its own number over an alternate TCP stack. At this stage a connection has
 * one subflow and is opened from here:
 *
 *   socket(.., 262) -- mptcp_socket.c -- tcp's own socket functions
 *                                             |
 *        mptcp_stack.c:  tcpcb --> derived tcp_output() --> mptcp_output_options() --> MP_CAPABLE, DSS
 *                        segment --> mptcp_do_segment() --> tcp_do_segment()
 *
 * With one subflow the data sequence runs beside the subflow's own. What a peer sends twice is left out; a gap, which another subflow
 * would have to fill, ends the connection. All of a connection's state is under its inpcb's lock.
 */
#ifndef MPTCP_VAR_H
#define MPTCP_VAR_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/counter.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mbuf.h>
#include <sys/rwlock.h>
#include <sys/socket.h>
#include <sys/socketvar.h>
#include <sys/sysctl.h>

#include <net/vnet.h>

#include <netinet/in.h>
#include <netinet/in_pcb.h>
#include <netinet/tcp.h>
#include <netinet/tcp_var.h>

#include "mptcp.h"
#include "mptcp_map.h"
#include "mptcp_option.h"
#include "mptcp_key.h"
#include "mptcp_user.h"

MALLOC_DECLARE(M_MPTCP);

enum mptcp_state {
	MPTCP_CLOSED,		/* before the SYN */
	MPTCP_SYN_SENT,		/* MP_CAPABLE sent */
	MPTCP_KEYED,		/* the SYN/ACK had the peer's key; MP_CAPABLE goes with every segment */
	MPTCP_ESTABLISHED,	/* the peer has sent a DSS */
	MPTCP_FALLBACK		/* plain TCP for the rest of its life */
};

#define	MPTCP_MAPPINGS	64	/* slots of a connection's table at first */
#define	MPTCP_MAPPINGS_MAX	8192
#define	MPTCP_MAPPING_LENGTH	32768	/* most octets of one we make */

/* A connection and its subflow; hangs at the tcpcb. */
struct mptcp_conn {
	enum mptcp_state	state;
	uint32_t		fallback_cause;	/* enum mptcp_count */
	uint64_t		local_key, remote_key;
	uint32_t		local_token, remote_token;
	uint64_t		local_idsn, remote_idsn;
	uint32_t		skipped;	/* octets received whose data had come before */
	uint64_t		sent_near, received_near;	/* late numbers, to expand 32 bits at */
	uint64_t		peer_ack;	/* highest DATA_ACK */
	bool			peer_fin;	/* DATA_FIN is known ... */
	uint64_t		peer_fin_dsn;	/* ... at this number */
	bool			eof;		/* ... and taken: all before it was */
	bool			echo;		/* an ADD_ADDR is to be answered */
	struct mptcp_option	echo_option;
	struct mptcp_map	sent;		/* mappings not acknowledged by the subflow */
	struct mptcp_map	received;	/* mappings of octets to come */
	struct mptcp_mapping	sent_slots[MPTCP_MAPPINGS];
	struct mptcp_mapping	received_slots[MPTCP_MAPPINGS];
};

#define	MPTCP_COUNTERS(X)									\
	X(capable_syn_sent,	"SYNs sent with MP_CAPABLE")					\
	X(capable_synack_received, "SYN/ACKs received with MP_CAPABLE")				\
	X(established,		"Connections whose peer sent a DSS")				\
	X(fallback_no_option,	"Fallbacks: SYN/ACK without MP_CAPABLE")			\
	X(fallback_syn_lost,	"Fallbacks: SYNs with MP_CAPABLE got no answer")		\
	X(fallback_checksum,	"Fallbacks: the peer demands checksums")			\
	X(fallback_no_dss,	"Fallbacks: the peer's first answer had no DSS")		\
	X(fallback_fail,	"Fallbacks: MP_FAIL or an infinite mapping received")		\
	X(fallback_disabled,	"Fallbacks: net.inet.mptcp.enabled is 0")			\
	X(data_fin_sent,	"DATA_FINs sent")						\
	X(data_fin_received,	"DATA_FINs received")						\
	X(fastclose_sent,	"MP_FASTCLOSEs sent")						\
	X(fastclose_received,	"MP_FASTCLOSEs received")					\
	X(add_addr_received,	"ADD_ADDRs received")						\
	X(add_addr_bad_hmac,	"ADD_ADDRs ignored: wrong HMAC")				\
	X(option_ignored,	"Segments with an MPTCP option that was ignored")		\
	X(unmapped_dropped,	"Segments dropped: data without a mapping")			\
	X(early_dropped,	"Segments dropped: out of order, and not what will be next")	\
	X(old_skipped,		"Segments with data that had come before, left out")		\
	X(mapping_refused,	"Connections dropped: a mapping this stage cannot follow")	\
	X(mapping_shortage,	"Segments put off or dropped: no memory for a mapping")		\
	X(sack_left_out,	"Segments in which SACK blocks gave way to MPTCP")		\
	X(ack_not_duplicate,	"DATA_ACKs kept from counting as duplicate ACKs")		\
	X(event_lost,		"Events dropped: nobody read those before them in time")

enum mptcp_count {
	MPTCP_CNT_none,
#define	MPTCP_COUNTER_ENUM(name, text)	MPTCP_CNT_##name,
	MPTCP_COUNTERS(MPTCP_COUNTER_ENUM)
#undef MPTCP_COUNTER_ENUM
	MPTCP_CNT_COUNT
};

VNET_DECLARE(counter_u64_t, mptcp_counters[MPTCP_CNT_COUNT]);
#define	V_mptcp_counters	VNET(mptcp_counters)

static inline void
mptcp_count(enum mptcp_count which)
{
	counter_u64_add(V_mptcp_counters[which], 1);
}

extern struct tcp_function_block mptcp_stack;
extern u_int mptcp_sockets;

int	mptcp_stack_attach(void);
int	mptcp_stack_detach(void);
bool	mptcp_stack_busy(void);
/* With the inpcb's lock. */
void	mptcp_conn_info(struct tcpcb *tp, struct mptcp_info *info);

int	mptcp_socket_attach(void);
void	mptcp_socket_detach(void);

#endif /* MPTCP_VAR_H */
