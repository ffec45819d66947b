/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for a kernel that joins sockets (src/native/common/join.h): a thread for each join, which takes from one socket no more than
 * the other one takes. Unlike the kernel's, a socket joined this way is still reported as readable, so the relay ends joins often
 * and begins new ones: what it must not do is lose an octet, move one twice or out of order, or count wrongly.
 */
#include "fake_join.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/join.h"

struct fake {
	struct fake *next;
	pthread_t thread;
	int from, to;
	atomic_bool stop;
	_Atomic int64_t moved;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fake *fakes;
static _Atomic unsigned joins;
static _Atomic uint64_t octets;
static atomic_int open_joins;

static void *move(void *argument)
{
	struct fake *f = argument;
	static _Thread_local char buffer[16384];

	while (!atomic_load(&f->stop)) {
		struct pollfd in = { f->from, POLLIN, 0 }, out = { f->to, POLLOUT, 0 };
		ssize_t got, put;

		if (poll(&in, 1, 1) <= 0 || poll(&out, 1, 1) <= 0)
			continue;
		got = recv(f->from, buffer, sizeof(buffer), MSG_PEEK | MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		/* The end, or an error: for whoever reads next. */
		if (got <= 0)
			break;
		put = send(f->to, buffer, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (put < 0)
			break;
		if (recv(f->from, buffer, (size_t)put, 0) != put)
			abort();
		atomic_fetch_add(&f->moved, put);
	}
	return NULL;
}

int am_join(int from, int to)
{
	struct fake *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -ENOMEM;
	f->from = from;
	f->to = to;
	if (pthread_create(&f->thread, NULL, move, f) != 0) {
		free(f);
		return -EAGAIN;
	}
	atomic_fetch_add(&joins, 1);
	atomic_fetch_add(&open_joins, 1);
	pthread_mutex_lock(&mutex);
	f->next = fakes;
	fakes = f;
	pthread_mutex_unlock(&mutex);
	return 0;
}

static struct fake *find(int from, bool take)
{
	struct fake **at, *found;

	pthread_mutex_lock(&mutex);
	for (at = &fakes; *at != NULL && (*at)->from != from; at = &(*at)->next)
		;
	found = *at;
	if (found != NULL && take)
		*at = found->next;
	pthread_mutex_unlock(&mutex);
	return found;
}

int64_t am_joined(int from)
{
	struct fake *f = find(from, false);

	return f == NULL ? -ENOTCONN : atomic_load(&f->moved);
}

int64_t am_unjoin(int from)
{
	struct fake *f = find(from, true);
	int64_t moved;

	if (f == NULL)
		return -ENOTCONN;
	atomic_store(&f->stop, true);
	pthread_join(f->thread, NULL);
	moved = atomic_load(&f->moved);
	free(f);
	atomic_fetch_add(&octets, (uint64_t)moved);
	atomic_fetch_sub(&open_joins, 1);
	return moved;
}

unsigned fake_join_count(void)
{
	return atomic_load(&joins);
}

uint64_t fake_join_octets(void)
{
	return atomic_load(&octets);
}

int fake_join_open(void)
{
	return atomic_load(&open_joins);
}
