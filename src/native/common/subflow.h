/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_SUBFLOW_H
#define AMPTCP_SUBFLOW_H

/* What a system tells of the subflows of a socket. */

#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Subflows looked at; Linux allows 8 and the first. */
#define AM_SUBFLOWS_MAX 16

struct am_subflow {
	/* The kernel's number, 0 where it does not tell (before Linux 6.6). */
	uint32_t id;
	struct sockaddr_storage local, remote;
	uint64_t bytes_sent, bytes_received;
	uint32_t retransmits, rtt_us, congestion_window;
	uint8_t state;
};

/* Subflows of an MPTCP socket, or a TCP socket as its own only subflow; returns their number or -errno. `token`: of the
 * MPTCP connection, read in the same system call where the kernel can, 0 for TCP. */
int am_subflows(int fd, struct am_subflow *subflows, int capacity, uint32_t *token);

#ifdef __cplusplus
}
#endif

#endif
