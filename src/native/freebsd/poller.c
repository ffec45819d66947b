/* SPDX-License-Identifier: BSD-2-Clause */
#include "poller.h"

#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <unistd.h>

#define	AT_ONCE		256
#define	WAKE_IDENT	0

/*
 * Where epoll has one entry a descriptor, kqueue has one a filter:
 *
 *	IN		EVFILT_READ, level-triggered
 *	OUT		EVFILT_WRITE, level-triggered
 *	no IN		EVFILT_READ with a low-water mark nothing reaches, told once: only the end and errors come, and
 *			the end is of no interest to who does not read
 */

int
am_poller_open(struct am_poller *poller)
{
	struct kevent change;
	int error;

	poller->wake = -1;
	poller->queue = kqueuex(KQUEUE_CLOEXEC);
	if (poller->queue < 0)
		return (-errno);
	EV_SET(&change, WAKE_IDENT, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, NULL);
	if (kevent(poller->queue, &change, 1, NULL, 0, NULL) == 0)
		return (0);
	error = errno;
	am_poller_close(poller);
	return (-error);
}

void
am_poller_close(struct am_poller *poller)
{
	if (poller->queue >= 0)
		close(poller->queue);
	poller->queue = -1;
}

int
am_poller_watch(struct am_poller *poller, int fd, int before, unsigned wanted, void *data)
{
	struct kevent change[3];
	int count = 0;

	/* Whether a filter is level-triggered is settled when it is made: it has to be made anew. */
	if (before >= 0 && ((unsigned)before & AM_POLL_IN) != (wanted & AM_POLL_IN))
		EV_SET(&change[count++], fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
	if (wanted & AM_POLL_IN)
		EV_SET(&change[count++], fd, EVFILT_READ, EV_ADD, 0, 0, data);
	else
		EV_SET(&change[count++], fd, EVFILT_READ, EV_ADD | EV_CLEAR, NOTE_LOWAT, INT_MAX, data);
	if (wanted & AM_POLL_OUT)
		EV_SET(&change[count++], fd, EVFILT_WRITE, EV_ADD, 0, 0, data);
	else if (before >= 0 && ((unsigned)before & AM_POLL_OUT) != 0)
		EV_SET(&change[count++], fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
	return (kevent(poller->queue, change, count, NULL, 0, NULL) == -1 ? -errno : 0);
}

void
am_poller_forget(struct am_poller *poller, int fd)
{
	static const short filters[] = { EVFILT_READ, EVFILT_WRITE };
	struct kevent change;

	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		EV_SET(&change, fd, filters[i], EV_DELETE, 0, 0, NULL);
		kevent(poller->queue, &change, 1, NULL, 0, NULL);
	}
}

int
am_poller_wait(struct am_poller *poller, struct am_poll_event *events, int room, int timeout_ms)
{
	struct timespec limit = { .tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000 };
	struct kevent got[AT_ONCE];
	int count, kept = 0;

	count = kevent(poller->queue, NULL, 0, got, room < AT_ONCE ? room : AT_ONCE, timeout_ms < 0 ? NULL : &limit);
	if (count == -1)
		return (errno == EINTR ? 0 : -errno);
	for (int i = 0; i < count; i++) {
		unsigned what;

		if (got[i].filter == EVFILT_WRITE)
			/* EV_EOF: writing says why. */
			what = AM_POLL_OUT;
		else if ((got[i].flags & EV_CLEAR) == 0)
			what = AM_POLL_IN;
		else if ((got[i].flags & EV_EOF) != 0 && got[i].fflags != 0)
			what = AM_POLL_ERROR;
		else
			continue;
		events[kept++] = (struct am_poll_event){ .data = got[i].udata, .what = what };
	}
	for (int i = 0; i < count; i++)
		if (got[i].filter == EVFILT_USER)
			events[kept++] = (struct am_poll_event){ .data = NULL, .what = AM_POLL_IN };
	return (kept);
}

void
am_poller_wake(struct am_poller *poller)
{
	struct kevent change;

	EV_SET(&change, WAKE_IDENT, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
	kevent(poller->queue, &change, 1, NULL, 0, NULL);
}
