/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the user's side of mptcp.ko and the connection level:
 *
 *	/dev/mptcp, sockopt --> mptcp_control.c --> mptcp_conn_*()  of the connection level
 *	read(2), kqueue(2)  <-- mptcp_control.c <-- mptcp_event()   from it
 *	net.inet.mptcp      <-- mptcp_sysctl.c  <-- MPTCPSTAT_INC()
 *	congestion window   <-- mptcp_lia.c     --> struct mptcp_lia_shared of the connection
 */
#ifndef MPTCP_USER_H
#define	MPTCP_USER_H

#include <sys/param.h>
#include <sys/systm.h>

#include <net/vnet.h>

#include "mptcp.h"
#include "mptcp_sched.h"

struct sockopt;
struct tcpcb;

/* ---- what the connection level calls ---- */

/* Somebody listens in some network stack; without it an event need not be made. */
bool	mptcp_event_wanted(void);
/*
 * Tells those who listen in curvnet. Version, time and loss are filled in here. Never sleeps, and takes nothing but a leaf mutex and what
 * waking a reader takes.
 */
void	mptcp_event(struct mptcp_event *event);
/* MPTCP_SUBFLOW_* options on one's own connection. */
int	mptcp_sockopt_subflow(struct thread *td, uint32_t token, struct sockopt *sopt);

#define	MPTCPSTAT_INC(name)	counter_u64_add(V_mptcp_counters[MPTCP_CNT_##name], 1)
#define	MPTCPSTAT_ADD(name, n)	counter_u64_add(V_mptcp_counters[MPTCP_CNT_##name], (n))

/* Switches of a network stack, net.inet.mptcp. */
VNET_DECLARE(int, mptcp_enabled);
#define	V_mptcp_enabled		VNET(mptcp_enabled)
VNET_DECLARE(int, mptcp_syn_retries);
#define	V_mptcp_syn_retries	VNET(mptcp_syn_retries)
VNET_DECLARE(int, mptcp_checksum);
#define	V_mptcp_checksum	VNET(mptcp_checksum)
VNET_DECLARE(int, mptcp_scheduler);	/* enum mptcp_scheduler */
#define	V_mptcp_scheduler	VNET(mptcp_scheduler)
VNET_DECLARE(int, mptcp_coupled);	/* subflows get the congestion control MPTCP_LIA_NAME */
#define	V_mptcp_coupled		VNET(mptcp_coupled)

VNET_DECLARE(int, mptcp_orphan_seconds);
#define	V_mptcp_orphan_seconds	VNET(mptcp_orphan_seconds)
VNET_DECLARE(int, mptcp_fin_seconds);
#define	V_mptcp_fin_seconds	VNET(mptcp_fin_seconds)

enum mptcp_scheduler {
	MPTCP_SCHEDULER_MINRTT,
	MPTCP_SCHEDULER_ROUNDROBIN,
	MPTCP_SCHEDULERS
};

/* ---- what the connection level offers ---- */

/*
 * All in curvnet, taking and dropping their own locks; they may sleep. ENOENT: there is no connection, or subflow, of this name. Arguments
 * have been checked as far as that goes without the connection.
 */

/* Local tokens there are; returns how many, which may be more than there was room for. */
u_int	mptcp_conn_tokens(uint32_t *tokens, u_int room);
int	mptcp_conn_info_token(uint32_t token, struct mptcp_info *info);
/*
 * When it returns 0 the subflow is bound as asked, ms_id says which it is, and its SYN is on the way; what becomes of it is an event.
 * `as_owner`: with the rights of the connection's owner, not of `td`. EAGAIN: the peer has not shown yet that it speaks MPTCP. EOPNOTSUPP: it does not. ENOBUFS: no room for another.
 */
int	mptcp_conn_subflow_add(struct thread *td, uint32_t token, bool as_owner, struct mptcp_ioc_subflow *subflow);
/* `flags`: MPTCP_FLAG_RESET with `reason`, or 0. */
int	mptcp_conn_subflow_remove(uint32_t token, uint32_t id, uint32_t flags, uint8_t reason);
int	mptcp_conn_subflow_priority(uint32_t token, uint32_t id, bool backup);
int	mptcp_conn_announce(uint32_t token, struct mptcp_ioc_announce *announce);
int	mptcp_conn_withdraw(uint32_t token, uint32_t address_id);

/* ---- congestion control of coupled subflows ---- */

#define	MPTCP_LIA_NAME	"lia"

/*
 * One a connection. Each subflow writes its own slot under its INP lock and reads the others' without any: what it reads may be an
 * acknowledgement old. A free slot has a cwnd of 0.
 */
struct mptcp_lia_shared {
	struct mptcp_lia_slot {
		uint32_t	cwnd;
		uint32_t	srtt_us;
	} slot[MPTCP_LIA_PATHS];
};

static inline void
mptcp_lia_leave(struct mptcp_lia_shared *shared, u_int slot)
{
	lisp_store32(&shared->slot[slot].cwnd, 0);
}

/* The subflow's connection and its slot there. NULL: no subflow of ours, or of one that is coupled. With the INP lock. */
struct mptcp_lia_shared *mptcp_lia_of(struct tcpcb *tp, u_int *slot);

/* ---- loading and unloading ---- */

/* 1 while all of the module is there. Read by packet hooks, in NET_EPOCH. */
extern u_int mptcp_running;

int	mptcp_control_attach(void);
void	mptcp_control_detach(void);
bool	mptcp_control_busy(void);	/* somebody has the device open */
int	mptcp_lia_attach(void);
int	mptcp_lia_detach(void);		/* EBUSY, and nothing has changed */
bool	mptcp_lia_busy(void);

#endif /* MPTCP_USER_H */
