/* SPDX-License-Identifier: BSD-2-Clause */
#include "anchor.h"

#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <net/if.h>
#include <netinet/in.h>
#include <net/pfvar.h>

#include <errno.h>
#include <string.h>

int
anchor_flush(int fd, const char *anchor)
{
	struct pfioc_trans_e element;
	struct pfioc_trans transaction;

	memset(&element, 0, sizeof(element));
	memset(&transaction, 0, sizeof(transaction));
	element.rs_num = PF_RULESET_FILTER;
	if (strlcpy(element.anchor, anchor, sizeof(element.anchor)) >= sizeof(element.anchor))
		return (ENAMETOOLONG);
	transaction.size = 1;
	transaction.esize = sizeof(element);
	transaction.array = &element;
	/* A new ruleset, into which nothing is put. */
	if (ioctl(fd, DIOCXBEGIN, &transaction) == -1 || ioctl(fd, DIOCXCOMMIT, &transaction) == -1)
		return (errno);
	return (0);
}
