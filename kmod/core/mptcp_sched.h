/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which subflow sends next, and how fast its congestion window may grow: the linked increases algorithm (LIA), RFC 6356 section 3.
 * Integers only: a kernel has no floating point.
 */
#ifndef MPTCP_SCHED_H
#define MPTCP_SCHED_H

#include "compat.h"

/* What is known of a subflow; octets and microseconds. */
struct mptcp_sched_path {
	bool		usable;		/* established, not closing, not presumed dead */
	bool		backup;		/* to be used only while no other is usable (MP_PRIO, section 3.3.8) */
	uint32_t	srtt_us;	/* 0: not measured yet */
	uint32_t	cwnd;
	uint32_t	mss;
	uint32_t	queued;		/* in its send buffer: in flight or not sent yet */
	uint32_t	space;		/* of its send buffer */
};

/* What may be given to a subflow: a little more than its window, so that it never waits for us; all of it waits for the subflow. */
uint32_t mptcp_sched_quota(const struct mptcp_sched_path *path);
/*
 * The index of the path to use, or -1 while none has room. A backup is chosen only while no other path is usable: one that is
 * usable and full is waited for.
 */
int	mptcp_sched_min_rtt(const struct mptcp_sched_path *paths, unsigned count);
/* The next one behind `last` (-1 at first). */
int	mptcp_sched_round_robin(const struct mptcp_sched_path *paths, unsigned count, int last);

#define	MPTCP_LIA_ONE	65536u	/* alpha is a fixed-point number; this is 1 */
#define	MPTCP_LIA_MAX	(4096u * MPTCP_LIA_ONE)

#define	MPTCP_LIA_PATHS	8		/* most subflows of a connection */

struct mptcp_lia_path {
	uint32_t	cwnd;
	uint32_t	srtt_us;	/* 0: not measured, left out */
};

/* Alpha of a connection with these subflows, and the sum of their windows; MPTCP_LIA_ONE when nothing is measured. */
uint32_t mptcp_lia_alpha(const struct mptcp_lia_path *paths, unsigned count, uint64_t *total);
/*
 * How many octets a window grows by in congestion avoidance for `acked` octets: min(alpha * acked * mss / total, acked * mss / cwnd).
 * `fraction` keeps what is less than an octet for the next time.
 */
uint32_t mptcp_lia_increase(uint32_t alpha, uint64_t total, uint32_t cwnd, uint32_t mss, uint32_t acked, uint32_t *fraction);

#endif /* MPTCP_SCHED_H */
