/* SPDX-License-Identifier: BSD-2-Clause */

/* SO_SPLICE for headers that lack it, as getsockopt(2) of FreeBSD 15 describes it: src/native/freebsd/join.c is compiled with both. */
#ifndef SO_SPLICE_H
#define	SO_SPLICE_H

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>

#ifndef SO_SPLICE
#define	SO_SPLICE	0x1023

struct splice {
	int		sp_fd;
	off_t		sp_max;
	struct timeval	sp_idle;
};
#endif

#endif
