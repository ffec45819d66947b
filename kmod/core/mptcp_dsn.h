/* SPDX-License-Identifier: BSD-2-Clause */
/* Sequence arithmetic: 64-bit data sequence numbers (RFC 8684 section 3.3) and the 32-bit ones of a subflow. Both wrap. */
#ifndef MPTCP_DSN_H
#define MPTCP_DSN_H

#include "compat.h"

static inline bool
mptcp_dsn_before(uint64_t a, uint64_t b)
{
	return ((int64_t)(a - b) < 0);
}

static inline bool
mptcp_dsn_after(uint64_t a, uint64_t b)
{
	return (mptcp_dsn_before(b, a));
}

static inline bool
mptcp_ssn_before(uint32_t a, uint32_t b)
{
	return ((int32_t)(a - b) < 0);
}

/* The 64-bit number that ends in `low` and is nearest to `near`: what is due next, so that neither reordering nor age matters. */
static inline uint64_t
mptcp_dsn_expand(uint32_t low, uint64_t near)
{
	return (near + (uint64_t)(int64_t)(int32_t)(low - (uint32_t)near));
}

#endif /* MPTCP_DSN_H */
