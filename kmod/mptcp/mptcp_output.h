/* SPDX-License-Identifier: BSD-2-Clause */
/* What the derived output function (see derive_output.awk) calls in place of tcp_addoptions() and sbspace(). */
#ifndef MPTCP_OUTPUT_H
#define MPTCP_OUTPUT_H

struct tcpcb;
struct tcpopt;

int	mptcp_tcp_output(struct tcpcb *tp);
/* Octets the peer may send now. */
long	mptcp_output_window(struct tcpcb *tp);
/*
 * Fills in TCP's options and MPTCP's and returns their length. `off` is where the segment's data is in the send buffer, whose lock is
 * held. May shorten *len, so that a segment is of one mapping; then FIN is left to a later segment.
 */
int	mptcp_output_options(struct tcpcb *tp, struct tcpopt *to, u_char *opt, int32_t *len, uint32_t off, uint16_t *flags, int *sendalot);

#endif /* MPTCP_OUTPUT_H */
