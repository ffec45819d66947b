/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_POLLER_H
#define AMPTCP_POLLER_H

/*
 * What the threads that serve sockets need of epoll(7) or kqueue(2), and no more: level-triggered readiness of
 * descriptors, and a way to wake the thread up. linux/poller.c and freebsd/poller.c implement it; functions return >= 0
 * or -errno.
 */

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	AM_POLL_IN = 1,
	AM_POLL_OUT = 2,
	/* Reported whether asked for or not, as long as the descriptor is watched. */
	AM_POLL_ERROR = 4,
	/* Both directions are shut. */
	AM_POLL_HANG_UP = 8,
};

struct am_poller {
	int queue;
	int wake;
};

struct am_poll_event {
	/* As given to am_poller_watch(); NULL: am_poller_wake() was called. */
	void *data;
	unsigned what;
};

int am_poller_open(struct am_poller *poller);
void am_poller_close(struct am_poller *poller);
/* `before`: what it is watched for now, -1 when it is not watched yet. 0 as `wanted`: only errors. */
int am_poller_watch(struct am_poller *poller, int fd, int before, unsigned wanted, void *data);
/* Harmless where the descriptor is not watched. */
void am_poller_forget(struct am_poller *poller, int fd);
/* `timeout_ms` -1: no limit. Returns how many events there are; an interrupted wait has none. */
int am_poller_wait(struct am_poller *poller, struct am_poll_event *events, int room, int timeout_ms);
/* From any thread. */
void am_poller_wake(struct am_poller *poller);

#ifdef __cplusplus
}
#endif

#endif
