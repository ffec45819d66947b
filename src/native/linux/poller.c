/* SPDX-License-Identifier: BSD-2-Clause */
#include "poller.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AT_ONCE 256

int am_poller_open(struct am_poller *poller)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	int error;

	poller->queue = epoll_create1(EPOLL_CLOEXEC);
	poller->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (poller->queue >= 0 && poller->wake >= 0 && epoll_ctl(poller->queue, EPOLL_CTL_ADD, poller->wake, &event) == 0)
		return 0;
	error = errno;
	am_poller_close(poller);
	return -error;
}

void am_poller_close(struct am_poller *poller)
{
	if (poller->queue >= 0)
		close(poller->queue);
	if (poller->wake >= 0)
		close(poller->wake);
	poller->queue = poller->wake = -1;
}

int am_poller_watch(struct am_poller *poller, int fd, int before, unsigned wanted, void *data)
{
	struct epoll_event event = { .data.ptr = data };

	if (wanted & AM_POLL_IN)
		event.events |= EPOLLIN;
	if (wanted & AM_POLL_OUT)
		event.events |= EPOLLOUT;
	return epoll_ctl(poller->queue, before < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

void am_poller_forget(struct am_poller *poller, int fd)
{
	epoll_ctl(poller->queue, EPOLL_CTL_DEL, fd, NULL);
}

int am_poller_wait(struct am_poller *poller, struct am_poll_event *events, int room, int timeout_ms)
{
	struct epoll_event got[AT_ONCE];
	int count = epoll_wait(poller->queue, got, room < AT_ONCE ? room : AT_ONCE, timeout_ms);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++) {
		uint32_t said = got[i].events;
		uint64_t value;

		events[i].data = got[i].data.ptr;
		events[i].what = (said & EPOLLIN ? AM_POLL_IN : 0) | (said & EPOLLOUT ? AM_POLL_OUT : 0) |
		    (said & EPOLLERR ? AM_POLL_ERROR : 0) | (said & EPOLLHUP ? AM_POLL_HANG_UP : 0);
		if (events[i].data == NULL && read(poller->wake, &value, sizeof(value)) < 0)
			events[i].what = 0;
	}
	return count;
}

void am_poller_wake(struct am_poller *poller)
{
	uint64_t one = 1;

	while (write(poller->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}
