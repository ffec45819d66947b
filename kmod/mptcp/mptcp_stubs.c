/* SPDX-License-Identifier: BSD-2-Clause */

/* What mptcp_user.h wants of the connection level, until there is one: no connection can be named. */
#include "mptcp_var.h"

u_int
mptcp_conn_tokens(uint32_t *tokens __unused, u_int room __unused)
{
	return (0);
}

int
mptcp_conn_info_token(uint32_t token __unused, struct mptcp_info *info __unused)
{
	return (ENOENT);
}

int
mptcp_conn_subflow_add(struct thread *td __unused, uint32_t token __unused, struct mptcp_ioc_subflow *subflow __unused)
{
	return (ENOENT);
}

int
mptcp_conn_subflow_remove(uint32_t token __unused, uint32_t id __unused, uint32_t flags __unused, uint8_t reason __unused)
{
	return (ENOENT);
}

int
mptcp_conn_subflow_priority(uint32_t token __unused, uint32_t id __unused, bool backup __unused)
{
	return (ENOENT);
}

int
mptcp_conn_announce(uint32_t token __unused, struct mptcp_ioc_announce *announce __unused)
{
	return (ENOENT);
}

int
mptcp_conn_withdraw(uint32_t token __unused, uint32_t address_id __unused)
{
	return (ENOENT);
}

struct mptcp_lia_shared *
mptcp_lia_of(struct tcpcb *tp __unused, u_int *slot __unused)
{
	return (NULL);
}
