/* SPDX-License-Identifier: BSD-2-Clause */

/* Linux joins no sockets; splice(2) through pipes is what it has. */
#include "join.h"

#include <errno.h>

int am_join(int from, int to)
{
	(void)from;
	(void)to;
	return -EOPNOTSUPP;
}

int64_t am_joined(int from)
{
	(void)from;
	return -EOPNOTSUPP;
}

int64_t am_unjoin(int from)
{
	return am_joined(from);
}
