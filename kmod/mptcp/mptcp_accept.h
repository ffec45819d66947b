/* SPDX-License-Identifier: BSD-2-Clause */
/* mptcp_accept.c and mptcp_handshake.c: what the rest of the module calls of the passive side. */
#ifndef MPTCP_ACCEPT_H
#define MPTCP_ACCEPT_H

#include "mptcp_var.h"

struct mptcp_tuple;

/* ---- mptcp_accept.c */

/* pr_listen of a meta socket. */
int	mptcp_listen(struct socket *so, int backlog, struct thread *td);
/* Before a meta socket that listens goes; any number of times, with no lock held. */
void	mptcp_listener_close(struct socket *so);
/* Is this listening tcpcb, whose lock is held, under a meta socket? */
bool	mptcp_listener_tcb(const struct tcpcb *tp);
/*
 * From here on peers can add subflows to connections of this network stack: there is a hidden listener for each family. What fails here
 * costs no more than that. May sleep.
 */
void	mptcp_hidden_open(struct thread *td);
bool	mptcp_is_hidden(const struct socket *so);
bool	mptcp_hidden_address(bool ipv6, struct sockaddr *address);
/* References to the TCP stack by hidden listeners of all network stacks. */
extern u_int mptcp_hidden;
int	mptcp_accept_attach(void);
/* Closes hidden listeners; mptcp_hidden is 0 then. */
void	mptcp_accept_detach(void);

/* ---- mptcp_handshake.c */

/* From here on tproxy(4) is answered, see handover.h; until. May sleep. */
void	mptcp_handshake_attach(void);
void	mptcp_handshake_detach(void);

/* Child sockets, with their INP. */

bool	mptcp_passive_wanted(struct tcpcb *tp);
void	mptcp_passive_init(struct tcpcb *tp, struct mptcp_subflow *sf);
/* Decides what an undecided subflow is; with SEGMENT_PASS it has its connection, and the segment goes on. */
enum segment_verdict mptcp_passive_segment(struct tcpcb *tp, struct mptcp_subflow *sf, const struct tcphdr *th, int tlen, uint16_t flags,
	    const struct mptcp_options *options);

#endif /* MPTCP_ACCEPT_H */
