/* SPDX-License-Identifier: BSD-2-Clause */
#include "listener.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "poller.h"

/* A busy listener must not starve the others. */
#define ACCEPTS_PER_TURN 128
/* Without descriptors accept() fails at once and the listener stays readable: rest instead of spinning. */
#define PAUSE_MS 100

struct listener {
	struct listener *next;
	int fd;
	unsigned interest;
};

struct am_listeners {
	pthread_t thread;
	pthread_mutex_t mutex; /* held by the thread but while it waits */
	struct listener *list;
	/* Removed in this turn: their addresses may still be in the batch of events. */
	struct listener *removed;
	struct am_poller poller;
	int stopping;
	int resting;
	am_accepted_fn on_accepted;
	void *context;
	_Atomic uint64_t accepted, paused, failed;
};

static int is_listed(const struct am_listeners *set, const struct listener *wanted)
{
	for (const struct listener *l = set->list; l != NULL; l = l->next)
		if (l == wanted)
			return 1;
	return 0;
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
	for (struct listener *l = set->list; l != NULL; l = l->next) {
		unsigned wanted = resting ? 0 : AM_POLL_IN;

		if (am_poller_watch(&set->poller, l->fd, (int)l->interest, wanted, l) == 0)
			l->interest = wanted;
	}
}

static void bury(struct am_listeners *set)
{
	while (set->removed != NULL) {
		struct listener *l = set->removed;

		set->removed = l->next;
		free(l);
	}
}

static void *run(void *argument)
{
	struct am_listeners *set = argument;
	struct am_poll_event events[64];

	pthread_mutex_lock(&set->mutex);
	while (!set->stopping) {
		int timeout = set->resting ? PAUSE_MS : -1;

		pthread_mutex_unlock(&set->mutex);
		int count = am_poller_wait(&set->poller, events, 64, timeout);
		pthread_mutex_lock(&set->mutex);
		if (set->resting)
			rest(set, 0);
		for (int i = 0; i < count && !set->stopping; i++) {
			struct listener *l = events[i].data;

			if (l != NULL && is_listed(set, l) && accept_some(set, l->fd) < 0) {
				rest(set, 1);
				break;
			}
		}
		bury(set);
	}
	pthread_mutex_unlock(&set->mutex);
	return NULL;
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
	error = -am_poller_open(&set->poller);
	if (error != 0)
		goto fail;
	error = pthread_create(&set->thread, NULL, run, set);
	if (error != 0)
		goto fail;
	*out = set;
	return 0;
fail:
	am_poller_close(&set->poller);
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
	l->interest = set->resting ? 0 : AM_POLL_IN;
	error = am_poller_watch(&set->poller, fd, -1, l->interest, l);
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
		am_poller_forget(&set->poller, fd);
		accept_some(set, fd);
		close(fd);
		l->next = set->removed;
		set->removed = l;
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
	am_poller_wake(&set->poller);
	pthread_join(set->thread, NULL);
	for (struct listener *l = set->list, *next; l != NULL; l = next) {
		next = l->next;
		close(l->fd);
		free(l);
	}
	bury(set);
	am_poller_close(&set->poller);
	pthread_mutex_destroy(&set->mutex);
	free(set);
}
