/* SPDX-License-Identifier: BSD-2-Clause */
#include "connector.h"

#include <sys/event.h>
#include <sys/time.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mptcpctl.h"
#include "subflow.h"

#define	AT_ONCE		64
#define	WAKE_IDENT	0

/* Each connect under way is two filters of its descriptor's number: writable, and its time is over. */
struct am_connector {
	pthread_t	thread;
	pthread_mutex_t	mutex;		/* pending, size, stopping */
	bool		*pending;	/* by descriptor */
	size_t		size;
	bool		stopping;
	int		queue;
	am_connected_fn	connected;
	void		*context;
};

/* True: it was under way and is not any more. Call with the mutex held. */
static bool
settle(struct am_connector *c, uintptr_t fd)
{
	struct kevent change;

	if (fd >= c->size || !c->pending[fd])
		return (false);
	c->pending[fd] = false;
	/* One at a time: one of them has fired and is gone. */
	EV_SET(&change, fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
	kevent(c->queue, &change, 1, NULL, 0, NULL);
	EV_SET(&change, fd, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
	kevent(c->queue, &change, 1, NULL, 0, NULL);
	return (true);
}

static int
outcome(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length;
	int error = 0;

	length = sizeof(error);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
		return (errno);
	length = sizeof(peer);
	/* Closed before it was open, and nobody says why. */
	if (error == 0 && getpeername(fd, (struct sockaddr *)&peer, &length) == -1)
		return (ECONNREFUSED);
	return (error);
}

static void *
run(void *argument)
{
	struct am_connector *c = argument;
	struct kevent events[AT_ONCE];
	bool stopping;
	int count;

	for (;;) {
		count = kevent(c->queue, NULL, 0, events, AT_ONCE, NULL);
		for (int i = 0; i < count; i++) {
			bool due;
			int error;

			if (events[i].filter == EVFILT_USER)
				continue;
			pthread_mutex_lock(&c->mutex);
			due = settle(c, events[i].ident);
			error = !due ? 0 : events[i].filter == EVFILT_TIMER ? ETIMEDOUT : outcome((int)events[i].ident);
			pthread_mutex_unlock(&c->mutex);
			if (due)
				c->connected(c->context, (int)events[i].ident, error);
		}
		pthread_mutex_lock(&c->mutex);
		stopping = c->stopping;
		pthread_mutex_unlock(&c->mutex);
		if (stopping)
			return (NULL);
	}
}

int
am_connector_start(struct am_connector **out, am_connected_fn connected, void *context)
{
	struct am_connector *c;
	struct kevent change;
	int error;

	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return (-ENOMEM);
	c->connected = connected;
	c->context = context;
	c->queue = kqueuex(KQUEUE_CLOEXEC);
	if (c->queue == -1) {
		error = errno;
		free(c);
		return (-error);
	}
	pthread_mutex_init(&c->mutex, NULL);
	EV_SET(&change, WAKE_IDENT, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, NULL);
	error = kevent(c->queue, &change, 1, NULL, 0, NULL) == -1 ? errno : 0;
	if (error == 0)
		error = pthread_create(&c->thread, NULL, run, c);
	if (error != 0) {
		close(c->queue);
		pthread_mutex_destroy(&c->mutex);
		free(c);
		return (-error);
	}
	*out = c;
	return (0);
}

void
am_connector_stop(struct am_connector *c)
{
	struct kevent change;

	pthread_mutex_lock(&c->mutex);
	c->stopping = true;
	pthread_mutex_unlock(&c->mutex);
	EV_SET(&change, WAKE_IDENT, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
	kevent(c->queue, &change, 1, NULL, 0, NULL);
	pthread_join(c->thread, NULL);
	for (size_t fd = 0; fd < c->size; fd++)
		if (settle(c, fd))
			c->connected(c->context, (int)fd, ECANCELED);
	close(c->queue);
	pthread_mutex_destroy(&c->mutex);
	free(c->pending);
	free(c);
}

static int
stream_socket(int family, int protocol)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	return (fd == -1 ? -errno : fd);
}

int
am_connect_socket(int family, int mptcp)
{
	bool six = family == AF_INET6;
	int error, fd, on = 1;

	fd = stream_socket(family, mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	if (fd < 0)
		return (fd);
	if (setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_BINDANY : IP_BINDANY, &on, sizeof(on)) == -1) {
		error = errno;
		close(fd);
		return (-error);
	}
	return (fd);
}

int
am_connect_prepare(const struct am_socket_options *o, struct sockaddr_storage *local)
{
	socklen_t length;
	int error, fd, on = 1;

	fd = o->descriptor != 0 ? o->descriptor : o->transparent ? am_connect_socket(o->family, o->mptcp) :
	    stream_socket(o->family, o->mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	if (fd < 0)
		return (fd);
	/* Many connections share a local port towards different servers, TIME_WAIT included. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
	if (o->fib != 0 && setsockopt(fd, SOL_SOCKET, SO_SETFIB, &o->fib, sizeof(o->fib)) == -1)
		goto fail;
	/* Advice: a kernel that lacks it still connects. */
	if (o->congestion_control[0] != '\0')
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, o->congestion_control, (socklen_t)strlen(o->congestion_control));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (o->local_length != 0 && bind(fd, (const struct sockaddr *)&o->local, o->local_length) == -1)
		goto fail;
	length = sizeof(*local);
	memset(local, 0, sizeof(*local));
	if (getsockname(fd, (struct sockaddr *)local, &length) == -1)
		goto fail;
	return (fd);
fail:
	error = errno;
	close(fd);
	return (-error);
}

int
am_connect_begin(struct am_connector *c, int fd, const struct sockaddr *remote, socklen_t length, uint32_t timeout_ms)
{
	struct kevent change[2];
	bool *grown;
	size_t size;
	int error = 0;

	if (fd < 0)
		return (-EBADF);
	if (connect(fd, remote, length) == -1 && errno != EINPROGRESS)
		return (-errno);
	pthread_mutex_lock(&c->mutex);
	if ((size_t)fd >= c->size) {
		for (size = c->size == 0 ? 256 : c->size; size <= (size_t)fd;)
			size *= 2;
		grown = realloc(c->pending, size * sizeof(*grown));
		if (grown == NULL) {
			pthread_mutex_unlock(&c->mutex);
			return (-ENOMEM);
		}
		memset(grown + c->size, 0, (size - c->size) * sizeof(*grown));
		c->pending = grown;
		c->size = size;
	}
	c->pending[fd] = true;
	EV_SET(&change[0], fd, EVFILT_WRITE, EV_ADD | EV_ONESHOT, 0, 0, NULL);
	EV_SET(&change[1], fd, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_MSECONDS, timeout_ms == 0 ? 1 : timeout_ms, NULL);
	if (kevent(c->queue, change, 2, NULL, 0, NULL) == -1) {
		error = errno;
		settle(c, (uintptr_t)fd);
	}
	pthread_mutex_unlock(&c->mutex);
	return (-error);
}

int
am_connect_cancel(struct am_connector *c, int fd)
{
	bool found;

	pthread_mutex_lock(&c->mutex);
	found = fd >= 0 && settle(c, (uintptr_t)fd);
	pthread_mutex_unlock(&c->mutex);
	return (found ? 1 : 0);
}

static int
mptcp_subflows(const struct mptcp_info *info, struct am_subflow *subflows, int capacity)
{
	int count = 0;

	for (uint32_t i = 0; i < info->subflows && i < MPTCP_ABI_SUBFLOWS && count < capacity; i++) {
		const struct mptcp_subflow_info *from = &info->subflow[i];
		struct am_subflow *to = &subflows[count++];

		memset(to, 0, sizeof(*to));
		to->id = from->id;
		(void)mptcpctl_to_sockaddr(&from->local, &to->local);
		(void)mptcpctl_to_sockaddr(&from->remote, &to->remote);
		to->bytes_sent = from->octets_sent;
		to->bytes_received = from->octets_received;
		to->retransmits = from->retransmits;
		to->rtt_us = from->srtt_us;
		to->congestion_window = from->mss == 0 ? 0 : from->cwnd / from->mss;
		to->state = from->tcp_state;
	}
	return (count);
}

int
am_subflows(int fd, struct am_subflow *subflows, int capacity, uint32_t *token)
{
	struct mptcp_info mptcp;
	struct tcp_info tcp;
	socklen_t length;

	*token = 0;
	if (mptcpctl_socket(fd, &mptcp) == 0 && mptcp.subflows > 0) {
		*token = mptcp.local_token;
		return (mptcp_subflows(&mptcp, subflows, capacity));
	}
	if (capacity < 1)
		return (0);
	memset(&tcp, 0, sizeof(tcp));
	length = sizeof(tcp);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &length) == -1)
		return (-errno);
	memset(&subflows[0], 0, sizeof(subflows[0]));
	length = sizeof(subflows[0].local);
	getsockname(fd, (struct sockaddr *)&subflows[0].local, &length);
	length = sizeof(subflows[0].remote);
	getpeername(fd, (struct sockaddr *)&subflows[0].remote, &length);
	/* The kernel counts no octets; its sequence numbers are the connection's only up to 4 GB, so they are left out. */
	subflows[0].retransmits = tcp.tcpi_snd_rexmitpack;
	subflows[0].rtt_us = tcp.tcpi_rtt;
	subflows[0].congestion_window = tcp.tcpi_snd_mss == 0 ? 0 : tcp.tcpi_snd_cwnd / tcp.tcpi_snd_mss;
	subflows[0].state = tcp.tcpi_state;
	return (1);
}
