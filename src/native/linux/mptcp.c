/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef SOL_MPTCP
#define SOL_MPTCP 284
#endif
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* linux/mptcp.h of the build machine may be older than the kernel we run on, so the layout is our own copy. */
enum {
	OPT_MPTCP_INFO = 1,
	OPT_MPTCP_TCPINFO = 2,
	OPT_MPTCP_SUBFLOW_ADDRS = 3,
	OPT_MPTCP_FULL_INFO = 4,
};
enum { FLAG_FALLBACK = 1, FLAG_REMOTE_KEY_RECEIVED = 2 };

struct k_mptcp_info {
	uint8_t subflows, add_addr_signal, add_addr_accepted, subflows_max, add_addr_signal_max, add_addr_accepted_max;
	uint32_t flags, token;
	uint64_t write_seq, snd_una, rcv_nxt;
	uint8_t local_addr_used, local_addr_max, csum_enabled;
	uint32_t retransmits;
	uint64_t bytes_retrans, bytes_sent, bytes_received, bytes_acked;
	uint8_t subflows_total;
	uint8_t reserved[3];
	uint32_t last_data_sent, last_data_recv, last_ack_recv;
};

struct k_subflow_addrs {
	struct sockaddr_storage local, remote;
};

struct k_subflow_info {
	uint32_t id;
	struct k_subflow_addrs addrs __attribute__((aligned(8)));
};

struct k_subflow_data {
	uint32_t size_subflow_data, num_subflows, size_kernel, size_user;
};

struct k_full_info {
	uint32_t size_tcpinfo_kernel, size_tcpinfo_user, size_sfinfo_kernel, size_sfinfo_user, num_subflows, size_arrays_user;
	uint64_t subflow_info __attribute__((aligned(8)));
	uint64_t tcp_info __attribute__((aligned(8)));
	struct k_mptcp_info mptcp_info;
};

/* SYNs sent before the thread looks at what else there is. */
#define BEGINS_PER_TURN 32
/*
 * The path manager's events are read so long after the first of them: they are told in bursts, and what a connection needs for its
 * first octets has the processor for itself until then. Nobody waits for an event that closely.
 */
#define EVENTS_GRAIN_MS 2

struct pending {
	struct pending *next, **at;
	struct pending *queue_next, **queue_at; /* queue_at NULL: not in the queue */
	int fd;
	int watched;
	int64_t deadline;
	struct sockaddr_storage remote;
	socklen_t remote_length;
};

struct am_connector {
	pthread_t thread;
	pthread_mutex_t mutex; /* pending, queue, by_fd */
	struct pending *pending;
	struct pending *queue, **queue_last; /* connect() is still to be called, by the thread */
	struct pending **by_fd;
	size_t by_fd_size;
	int64_t earliest;
	int64_t events_due; /* of the thread alone; 0: none have come */
	int epoll, wake, requests, events;
	int stopping;
	uint32_t sequence;
	struct am_connector_events on;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------ connecting */

static void unlink_pending(struct am_connector *c, struct pending *p)
{
	*p->at = p->next;
	if (p->next != NULL)
		p->next->at = p->at;
	if (p->queue_at != NULL) {
		*p->queue_at = p->queue_next;
		if (p->queue_next != NULL)
			p->queue_next->queue_at = p->queue_at;
		else
			c->queue_last = p->queue_at;
	}
	c->by_fd[p->fd] = NULL;
	if (p->watched)
		epoll_ctl(c->epoll, EPOLL_CTL_DEL, p->fd, NULL);
	free(p);
}

static void wake(struct am_connector *c)
{
	uint64_t one = 1;

	while (write(c->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static int still_connecting(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &length) < 0 && errno == ENOTCONN;
}

static void completed(struct am_connector *c, int fd, uint32_t events)
{
	struct pending *p;
	int error = 0;
	socklen_t length = sizeof(error);

	pthread_mutex_lock(&c->mutex);
	p = (size_t)fd < c->by_fd_size ? c->by_fd[fd] : NULL;
	if (p == NULL) {
		pthread_mutex_unlock(&c->mutex);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (error == 0 && still_connecting(fd)) {
		if ((events & (EPOLLERR | EPOLLHUP)) == 0) {
			pthread_mutex_unlock(&c->mutex);
			return;
		}
		/* Closed before it was open, and nobody says why. */
		error = ECONNREFUSED;
	}
	unlink_pending(c, p);
	pthread_mutex_unlock(&c->mutex);
	c->on.connected(c->on.context, fd, error);
}

static void expire(struct am_connector *c)
{
	int64_t now = now_ms();

	pthread_mutex_lock(&c->mutex);
	if (c->earliest <= now) {
		c->earliest = INT64_MAX;
		for (struct pending *p = c->pending, *next; p != NULL; p = next) {
			int fd = p->fd;

			next = p->next;
			if (p->deadline > now) {
				if (p->deadline < c->earliest)
					c->earliest = p->deadline;
				continue;
			}
			unlink_pending(c, p);
			c->on.connected(c->on.context, fd, ETIMEDOUT);
		}
	}
	pthread_mutex_unlock(&c->mutex);
}

/* One report, until it is armed again: an error of the socket's would be reported for ever otherwise. */
static int watch_events(struct am_connector *c, int operation)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.fd = c->events };

	return epoll_ctl(c->epoll, operation, c->events, &event) < 0 ? -errno : 0;
}

static void read_events(struct am_connector *c)
{
	char buffer[65536];

	for (int i = 0; i < 256; i++) {
		ssize_t length = recv(c->events, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (length > 0)
			c->on.event(c->on.context, buffer, (size_t)length);
		else if (length < 0 && errno == ENOBUFS)
			c->on.event(c->on.context, NULL, 0);
		else
			break;
	}
	c->events_due = 0;
	/* Whatever is left, or has come since, is reported again. */
	watch_events(c, EPOLL_CTL_MOD);
}

static int watch(struct am_connector *c, int fd, uint32_t mask)
{
	struct epoll_event event = { .events = mask, .data.fd = fd };

	return epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/*
 * Calls connect() without the mutex. 1: connected at once, as to a host that is near, 0: under way, -errno: failed; but 0 as well when
 * its time was over meanwhile, which has been reported then.
 */
static int begin(struct am_connector *c, struct pending *p, int fd)
{
	struct sockaddr_storage remote = p->remote;
	socklen_t length = p->remote_length;
	int result = 0;

	pthread_mutex_unlock(&c->mutex);
	if (connect(fd, (struct sockaddr *)&remote, length) == 0)
		result = 1;
	else if (errno != EINPROGRESS)
		result = -errno;
	else if (!still_connecting(fd))
		result = 1;
	pthread_mutex_lock(&c->mutex);
	if (c->by_fd[fd] != p)
		return 0;
	if (result == 0) {
		result = watch(c, fd, EPOLLOUT);
		p->watched = result == 0;
	}
	if (result != 0)
		unlink_pending(c, p);
	return result;
}

/* Some of those that wait for it, then what has happened meanwhile has its turn. */
static void begin_queued(struct am_connector *c)
{
	pthread_mutex_lock(&c->mutex);
	for (int i = 0; i < BEGINS_PER_TURN && c->queue != NULL; i++) {
		struct pending *p = c->queue;
		int fd = p->fd;
		int result;

		c->queue = p->queue_next;
		if (c->queue != NULL)
			c->queue->queue_at = &c->queue;
		else
			c->queue_last = &c->queue;
		p->queue_at = NULL;
		result = begin(c, p, fd);
		if (result != 0)
			c->on.connected(c->on.context, fd, result == 1 ? 0 : -result);
	}
	pthread_mutex_unlock(&c->mutex);
}

static void *run(void *argument)
{
	struct am_connector *c = argument;
	struct epoll_event events[256];

	for (;;) {
		int64_t wait;
		int queued;

		pthread_mutex_lock(&c->mutex);
		if (c->stopping) {
			pthread_mutex_unlock(&c->mutex);
			return NULL;
		}
		/* A little late, so that deadlines close together are one turn. */
		wait = c->earliest == INT64_MAX ? 60000 : c->earliest - now_ms() + 5;
		queued = c->queue != NULL;
		pthread_mutex_unlock(&c->mutex);
		if (c->events_due != 0 && c->events_due - now_ms() < wait)
			wait = c->events_due - now_ms();
		if (wait < 0 || queued)
			wait = 0;
		else if (wait > 60000)
			wait = 60000;
		int count = epoll_wait(c->epoll, events, 256, (int)wait);
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == c->wake) {
				uint64_t value;
				if (read(c->wake, &value, sizeof(value)) < 0)
					continue;
			} else if (events[i].data.fd == c->events) {
				c->events_due = now_ms() + EVENTS_GRAIN_MS;
			} else {
				completed(c, events[i].data.fd, events[i].events);
			}
		}
		begin_queued(c);
		if (c->events_due != 0 && c->events_due <= now_ms())
			read_events(c);
		expire(c);
	}
}

static int netlink_open(void)
{
	struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	int size = 4 << 20;
	int on = 1;
	int error;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0) {
		error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

int am_connector_start(struct am_connector **out, const struct am_connector_events *on)
{
	int error;
	struct am_connector *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->on = *on;
	c->earliest = INT64_MAX;
	c->queue_last = &c->queue;
	pthread_mutex_init(&c->mutex, NULL);
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->requests = netlink_open();
	c->events = netlink_open();
	if (c->epoll < 0 || c->wake < 0) {
		error = errno;
		goto fail;
	}
	if (c->requests < 0 || c->events < 0) {
		error = c->requests < 0 ? -c->requests : -c->events;
		goto fail;
	}
	error = -watch(c, c->wake, EPOLLIN);
	if (error == 0)
		error = -watch_events(c, EPOLL_CTL_ADD);
	if (error == 0)
		error = pthread_create(&c->thread, NULL, run, c);
	if (error == 0) {
		*out = c;
		return 0;
	}
fail:
	for (int *fd = &c->epoll; fd <= &c->events; fd++)
		if (*fd >= 0)
			close(*fd);
	pthread_mutex_destroy(&c->mutex);
	free(c);
	return -error;
}

void am_connector_stop(struct am_connector *c)
{
	pthread_mutex_lock(&c->mutex);
	c->stopping = 1;
	pthread_mutex_unlock(&c->mutex);
	wake(c);
	pthread_join(c->thread, NULL);
	while (c->pending != NULL) {
		int fd = c->pending->fd;

		unlink_pending(c, c->pending);
		c->on.connected(c->on.context, fd, ECANCELED);
	}
	close(c->epoll);
	close(c->wake);
	close(c->requests);
	close(c->events);
	pthread_mutex_destroy(&c->mutex);
	free(c->by_fd);
	free(c);
}

int am_connect_prepare(const struct am_socket_options *o, struct sockaddr_storage *local)
{
	int on = 1;
	int error;
	socklen_t length;
	int fd = socket(o->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, o->mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);

	if (fd < 0)
		return -errno;
	/* Many connections share a local port towards different servers, TIME_WAIT included. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (o->transparent) {
		int level = o->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
		int option = o->family == AF_INET6 ? IPV6_TRANSPARENT : IP_TRANSPARENT;
		if (setsockopt(fd, level, option, &on, sizeof(on)) < 0)
			goto fail;
	}
	if (o->mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &o->mark, sizeof(o->mark)) < 0)
		goto fail;
	/* These three are advice: a kernel that lacks one still connects. */
	if (o->congestion_control[0] != '\0')
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, o->congestion_control, strlen(o->congestion_control));
	if (o->notsent_lowat != 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &o->notsent_lowat, sizeof(o->notsent_lowat));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (o->local_length != 0 && bind(fd, (const struct sockaddr *)&o->local, o->local_length) < 0)
		goto fail;
	length = sizeof(*local);
	memset(local, 0, sizeof(*local));
	if (getsockname(fd, (struct sockaddr *)local, &length) < 0)
		goto fail;
	return fd;
fail:
	error = errno;
	close(fd);
	return -error;
}

int am_port_free(const struct sockaddr_storage *local, socklen_t length)
{
	int on = 1;
	int free;
	int fd = socket(local->ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -errno;
	/* For addresses that are not this host's; without the privilege bind() says what it thinks of them. */
	if (local->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
	free = bind(fd, (const struct sockaddr *)local, length) == 0;
	close(fd);
	return free;
}

static int reserve(struct am_connector *c, int fd)
{
	if ((size_t)fd < c->by_fd_size)
		return 0;
	size_t size = c->by_fd_size == 0 ? 256 : c->by_fd_size;
	while (size <= (size_t)fd)
		size *= 2;
	struct pending **grown = realloc(c->by_fd, size * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	memset(grown + c->by_fd_size, 0, (size - c->by_fd_size) * sizeof(*grown));
	c->by_fd = grown;
	c->by_fd_size = size;
	return 0;
}

int am_connect_begin(struct am_connector *c, int fd, const struct sockaddr *remote, socklen_t length, uint32_t timeout_ms)
{
	struct pending *p;
	int error, sooner, alone, first;

	if (fd < 0 || length > sizeof(p->remote))
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->fd = fd;
	memcpy(&p->remote, remote, length);
	p->remote_length = length;
	p->deadline = now_ms() + timeout_ms;
	pthread_mutex_lock(&c->mutex);
	error = reserve(c, fd);
	if (error != 0) {
		pthread_mutex_unlock(&c->mutex);
		free(p);
		return error;
	}
	alone = c->pending == NULL;
	first = c->queue == NULL;
	c->by_fd[fd] = p;
	p->next = c->pending;
	p->at = &c->pending;
	if (p->next != NULL)
		p->next->at = &p->next;
	c->pending = p;
	sooner = p->deadline < c->earliest;
	if (sooner)
		c->earliest = p->deadline;
	if (alone) {
		error = begin(c, p, fd);
		pthread_mutex_unlock(&c->mutex);
		if (error == 0 && sooner)
			wake(c);
		return error;
	}
	p->queue_at = c->queue_last;
	*c->queue_last = p;
	c->queue_last = &p->queue_next;
	pthread_mutex_unlock(&c->mutex);
	if (first || sooner)
		wake(c);
	return 0;
}

/* ------------------------------------------------------------ netlink */

/* Whether a datagram ends the answer: an acknowledgement, an error or the end of a dump. */
static int is_last(const char *data, size_t length, uint32_t sequence)
{
	while (length >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr header;

		memcpy(&header, data, sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > length)
			return 1;
		if (header.nlmsg_seq == sequence && (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE))
			return 1;
		size_t step = NLMSG_ALIGN(header.nlmsg_len);
		if (step >= length)
			break;
		data += step;
		length -= step;
	}
	return 0;
}

int am_netlink_request(struct am_connector *c, const void *request, size_t length,
    void (*answer)(void *context, const void *data, size_t length), void *context)
{
	char buffer[65536];
	struct nlmsghdr *header = (struct nlmsghdr *)buffer;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = 2 };
	uint32_t sequence = ++c->sequence;

	if (length < sizeof(*header) || length > sizeof(buffer))
		return -EINVAL;
	memcpy(buffer, request, length);
	header->nlmsg_len = (uint32_t)length;
	header->nlmsg_seq = sequence;
	header->nlmsg_pid = 0;
	header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	setsockopt(c->requests, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (sendto(c->requests, buffer, length, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	/* The kernel answers within the send; the loop is for dumps, and to pass over the answer to an older request. */
	for (int i = 0; i < 10000; i++) {
		ssize_t got = recv(c->requests, buffer, sizeof(buffer), 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if ((size_t)got >= sizeof(*header) && header->nlmsg_seq != sequence)
			continue;
		answer(context, buffer, (size_t)got);
		if (is_last(buffer, (size_t)got, sequence))
			return 0;
	}
	return -EPROTO;
}

/* What each connection would be told of without anybody wanting to know stays in the kernel: it costs as much as the rest. */
static void leave_out(int fd)
{
	enum { CREATED = 1, CLOSED = 3, LISTENER_CREATED = 15, LISTENER_CLOSED = 16 };
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(struct genlmsghdr, cmd)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CREATED, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CLOSED, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LISTENER_CREATED, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LISTENER_CLOSED, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = { .len = sizeof(program) / sizeof(program[0]), .filter = program };

	/* Without it they come and are passed over. */
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

int am_netlink_subscribe(struct am_connector *c, uint32_t group)
{
	leave_out(c->events);
	if (setsockopt(c->events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return 0;
}

/* ------------------------------------------------------------ information */

int am_mptcp_info(int fd, struct am_mptcp_info *info)
{
	struct k_mptcp_info k;
	socklen_t length = sizeof(k);

	memset(info, 0, sizeof(*info));
	memset(&k, 0, sizeof(k));
	if (getsockopt(fd, SOL_MPTCP, OPT_MPTCP_INFO, &k, &length) < 0)
		return -errno;
	info->token = k.token;
	info->fallback = (k.flags & FLAG_FALLBACK) != 0;
	info->remote_key_received = (k.flags & FLAG_REMOTE_KEY_RECEIVED) != 0;
	info->subflows = k.subflows;
	return 0;
}

static void from_tcp_info(struct am_subflow *subflow, const struct tcp_info *t)
{
	subflow->bytes_sent = t->tcpi_bytes_sent;
	subflow->bytes_received = t->tcpi_bytes_received;
	subflow->retransmits = t->tcpi_total_retrans;
	subflow->rtt_us = t->tcpi_rtt;
	subflow->congestion_window = t->tcpi_snd_cwnd;
	subflow->state = t->tcpi_state;
}

static int subflows_full(int fd, struct am_subflow *subflows, int capacity, uint32_t *token)
{
	struct k_subflow_info infos[AM_SUBFLOWS_MAX];
	struct tcp_info tcp[AM_SUBFLOWS_MAX];
	struct k_full_info full;
	socklen_t length = sizeof(full);
	int count;

	memset(&full, 0, sizeof(full));
	memset(infos, 0, sizeof(infos));
	memset(tcp, 0, sizeof(tcp));
	full.size_tcpinfo_user = sizeof(tcp[0]);
	full.size_sfinfo_user = sizeof(infos[0]);
	full.size_arrays_user = AM_SUBFLOWS_MAX;
	full.subflow_info = (uintptr_t)infos;
	full.tcp_info = (uintptr_t)tcp;
	if (getsockopt(fd, SOL_MPTCP, OPT_MPTCP_FULL_INFO, &full, &length) < 0)
		return -errno;
	*token = full.mptcp_info.token;
	count = (int)full.num_subflows < capacity ? (int)full.num_subflows : capacity;
	if (count > AM_SUBFLOWS_MAX)
		count = AM_SUBFLOWS_MAX;
	for (int i = 0; i < count; i++) {
		subflows[i].id = infos[i].id;
		subflows[i].local = infos[i].addrs.local;
		subflows[i].remote = infos[i].addrs.remote;
		from_tcp_info(&subflows[i], &tcp[i]);
	}
	return count;
}

/* Before Linux 6.6: two calls, whose arrays are in the same order. */
static int subflows_two_calls(int fd, struct am_subflow *subflows, int capacity, uint32_t *token)
{
	struct {
		struct k_subflow_data data;
		struct k_subflow_addrs addrs[AM_SUBFLOWS_MAX] __attribute__((aligned(8)));
	} where;
	struct {
		struct k_subflow_data data;
		struct tcp_info tcp[AM_SUBFLOWS_MAX] __attribute__((aligned(8)));
	} what;
	struct am_mptcp_info info;
	socklen_t length = sizeof(where);
	int count;
	int error = am_mptcp_info(fd, &info);

	if (error < 0)
		return error;
	*token = info.token;
	memset(&where, 0, sizeof(where));
	memset(&what, 0, sizeof(what));
	where.data.size_subflow_data = what.data.size_subflow_data = sizeof(struct k_subflow_data);
	where.data.size_user = sizeof(where.addrs[0]);
	what.data.size_user = sizeof(what.tcp[0]);
	if (getsockopt(fd, SOL_MPTCP, OPT_MPTCP_SUBFLOW_ADDRS, &where, &length) < 0)
		return -errno;
	length = sizeof(what);
	if (getsockopt(fd, SOL_MPTCP, OPT_MPTCP_TCPINFO, &what, &length) < 0)
		return -errno;
	count = (int)(where.data.num_subflows < what.data.num_subflows ? where.data.num_subflows : what.data.num_subflows);
	if (count > capacity)
		count = capacity;
	if (count > AM_SUBFLOWS_MAX)
		count = AM_SUBFLOWS_MAX;
	for (int i = 0; i < count; i++) {
		subflows[i].id = 0;
		subflows[i].local = where.addrs[i].local;
		subflows[i].remote = where.addrs[i].remote;
		from_tcp_info(&subflows[i], &what.tcp[i]);
	}
	return count;
}

int am_subflows(int fd, struct am_subflow *subflows, int capacity, uint32_t *token)
{
	struct tcp_info tcp;
	socklen_t length;
	int protocol = 0;

	*token = 0;
	if (capacity < 1)
		return 0;
	length = sizeof(protocol);
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0)
		return -errno;
	if (protocol == IPPROTO_MPTCP) {
		int count = subflows_full(fd, subflows, capacity, token);
		return count < 0 ? subflows_two_calls(fd, subflows, capacity, token) : count;
	}
	memset(&tcp, 0, sizeof(tcp));
	length = sizeof(tcp);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &length) < 0)
		return -errno;
	memset(&subflows[0], 0, sizeof(subflows[0]));
	length = sizeof(subflows[0].local);
	getsockname(fd, (struct sockaddr *)&subflows[0].local, &length);
	length = sizeof(subflows[0].remote);
	getpeername(fd, (struct sockaddr *)&subflows[0].remote, &length);
	from_tcp_info(&subflows[0], &tcp);
	return 1;
}
