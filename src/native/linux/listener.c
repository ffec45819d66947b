/* SPDX-License-Identifier: BSD-2-Clause */
#include "listener.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* A busy listener must not starve the others. */
#define ACCEPTS_PER_TURN 128
/* Without descriptors accept() fails at once and the listener stays readable: rest instead of spinning. */
#define PAUSE_MS 100

struct listener {
	struct listener *next;
	int fd;
};

struct am_listeners {
	pthread_t thread;
	pthread_mutex_t mutex; /* held by the thread but while it waits */
	struct listener *list;
	int epoll;
	int wake;
	int stopping;
	int resting;
	am_accepted_fn on_accepted;
	void *context;
	_Atomic uint64_t accepted, paused, failed;
};

static struct listener *find(struct am_listeners *set, int fd)
{
	for (struct listener *l = set->list; l != NULL; l = l->next)
		if (l->fd == fd)
			return l;
	return NULL;
}

static int watch(struct am_listeners *set, int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(set->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

/* 0: nothing left; -errno: accepting has to rest. */
static int accept_some(struct am_listeners *set, int fd)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct am_accepted accepted;
		socklen_t length = sizeof(accepted.client);

		memset(&accepted, 0, sizeof(accepted));
		accepted.fd = accept4(fd, (struct sockaddr *)&accepted.client, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (accepted.fd < 0) {
			switch (errno) {
			case EAGAIN:
				return 0;
			case EMFILE:
			case ENFILE:
			case ENOBUFS:
			case ENOMEM:
				return -errno;
			default:
				/* ECONNABORTED and what else accept(2) says to take as one lost connection. */
				atomic_fetch_add(&set->failed, 1);
				continue;
			}
		}
		length = sizeof(accepted.destination);
		if (getsockname(accepted.fd, (struct sockaddr *)&accepted.destination, &length) < 0) {
			atomic_fetch_add(&set->failed, 1);
			close(accepted.fd);
			continue;
		}
		atomic_fetch_add(&set->accepted, 1);
		set->on_accepted(set->context, &accepted);
	}
	return 0;
}

static void rest(struct am_listeners *set, int resting)
{
	set->resting = resting;
	if (resting)
		atomic_fetch_add(&set->paused, 1);
	for (struct listener *l = set->list; l != NULL; l = l->next)
		watch(set, EPOLL_CTL_MOD, l->fd, resting ? 0 : EPOLLIN);
}

static void *run(void *argument)
{
	struct am_listeners *set = argument;
	struct epoll_event events[64];

	pthread_mutex_lock(&set->mutex);
	while (!set->stopping) {
		int timeout = set->resting ? PAUSE_MS : -1;

		pthread_mutex_unlock(&set->mutex);
		int count = epoll_wait(set->epoll, events, 64, timeout);
		pthread_mutex_lock(&set->mutex);
		if (set->resting)
			rest(set, 0);
		for (int i = 0; i < count && !set->stopping; i++) {
			if (events[i].data.fd == set->wake) {
				uint64_t value;
				if (read(set->wake, &value, sizeof(value)) < 0)
					continue;
			} else if (find(set, events[i].data.fd) != NULL && accept_some(set, events[i].data.fd) < 0) {
				rest(set, 1);
				break;
			}
		}
	}
	pthread_mutex_unlock(&set->mutex);
	return NULL;
}

static void wake(struct am_listeners *set)
{
	uint64_t one = 1;

	while (write(set->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int am_listeners_start(struct am_listeners **out, am_accepted_fn on_accepted, void *context)
{
	int error;
	struct am_listeners *set = calloc(1, sizeof(*set));

	if (set == NULL)
		return -ENOMEM;
	set->on_accepted = on_accepted;
	set->context = context;
	pthread_mutex_init(&set->mutex, NULL);
	set->epoll = epoll_create1(EPOLL_CLOEXEC);
	set->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (set->epoll < 0 || set->wake < 0) {
		error = errno;
		goto fail;
	}
	error = -watch(set, EPOLL_CTL_ADD, set->wake, EPOLLIN);
	if (error != 0)
		goto fail;
	error = pthread_create(&set->thread, NULL, run, set);
	if (error != 0)
		goto fail;
	*out = set;
	return 0;
fail:
	if (set->wake >= 0)
		close(set->wake);
	if (set->epoll >= 0)
		close(set->epoll);
	pthread_mutex_destroy(&set->mutex);
	free(set);
	return -error;
}

int am_listeners_add(struct am_listeners *set, int fd)
{
	struct listener *l = malloc(sizeof(*l));
	int error;

	if (l == NULL)
		return -ENOMEM;
	l->fd = fd;
	pthread_mutex_lock(&set->mutex);
	error = watch(set, EPOLL_CTL_ADD, fd, set->resting ? 0 : EPOLLIN);
	if (error == 0) {
		l->next = set->list;
		set->list = l;
	} else {
		free(l);
	}
	pthread_mutex_unlock(&set->mutex);
	return error;
}

int am_listeners_remove(struct am_listeners *set, int fd)
{
	int error = -ENOENT;

	pthread_mutex_lock(&set->mutex);
	for (struct listener **at = &set->list; *at != NULL; at = &(*at)->next) {
		struct listener *l = *at;

		if (l->fd != fd)
			continue;
		*at = l->next;
		watch(set, EPOLL_CTL_DEL, fd, 0);
		accept_some(set, fd);
		close(fd);
		free(l);
		error = 0;
		break;
	}
	pthread_mutex_unlock(&set->mutex);
	return error;
}

void am_listeners_counters(struct am_listeners *set, struct am_listener_counters *out)
{
	out->accepted = atomic_load(&set->accepted);
	out->paused = atomic_load(&set->paused);
	out->failed = atomic_load(&set->failed);
}

void am_listeners_stop(struct am_listeners *set)
{
	pthread_mutex_lock(&set->mutex);
	set->stopping = 1;
	pthread_mutex_unlock(&set->mutex);
	wake(set);
	pthread_join(set->thread, NULL);
	for (struct listener *l = set->list, *next; l != NULL; l = next) {
		next = l->next;
		close(l->fd);
		free(l);
	}
	close(set->wake);
	close(set->epoll);
	pthread_mutex_destroy(&set->mutex);
	free(set);
}
