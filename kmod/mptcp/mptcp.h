/* SPDX-License-Identifier: BSD-2-Clause */
/* What programs need of mptcp(4). */
#ifndef NETINET_MPTCP_H
#define NETINET_MPTCP_H

#include <sys/types.h>

#ifndef IPPROTO_MPTCP
#define	IPPROTO_MPTCP	262	/* of socket(2), and the level of getsockopt(2); not on the wire */
#endif

/* getsockopt(2) */
#define	MPTCP_INFO	1	/* struct mptcp_info */

enum mptcp_info_state {
	MPTCP_INFO_INITIAL = 0,		/* not connected yet, or on the way */
	MPTCP_INFO_ESTABLISHED = 1,	/* both ends speak MPTCP */
	MPTCP_INFO_FALLBACK = 2		/* plain TCP */
};

struct mptcp_info {
	uint32_t	version;	/* of this structure: 1 */
	uint32_t	state;		/* enum mptcp_info_state */
	uint32_t	local_token;
	uint32_t	remote_token;
	uint32_t	subflows;
	uint32_t	fallback_cause;	/* index of the cause's counter in net.inet.mptcp.stats, by mptcp(4); 0: none */
	uint64_t	sent_dsn;	/* next data sequence numbers */
	uint64_t	received_dsn;
};

#endif /* NETINET_MPTCP_H */
