/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Both ends of the benchmark's connections. One thread and epoll, so that on a machine all hosts share the load takes as little
 * as it can from what is measured.
 *
 *   load serve PORT [mptcp]                                        'E' as first octet: echo; 'D': send without end
 *   load rate ADDRESS PORT SECONDS PARALLEL SOURCE...              connect, one octet there and back, close; again
 *   load first ADDRESS PORT,PORT... ROUNDS                         time to first octet, the ports in turn, one at a time
 *   load idle ADDRESS PORT COUNT PARALLEL SOURCE...                opens that many, holds them until standard input ends
 *   load receive ADDRESS PORT SECONDS GRAIN_MS                     octets that have come by then, a line a grain
 *
 * Results are JSON on standard output. A server closes when its peer has.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define	IPPROTO_MPTCP 262
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define	IP_BIND_ADDRESS_NO_PORT 24
#endif

#define	EVENTS		256
#define	GIVE_UP_US	10000000

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static socklen_t
address_of(const char *text, int port, struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return (sizeof(*v4));
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) {
		fprintf(stderr, "load: '%s' is no address\n", text);
		exit(2);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	return (sizeof(*v6));
}

static struct sockaddr_storage remote;
static socklen_t remote_length;

/* A connection under way, or -1 with errno. */
static int
begin(const char *source)
{
	struct sockaddr_storage local;
	socklen_t length;
	int on = 1, error, fd = socket(remote.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return (-1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (source != NULL) {
		length = address_of(source, 0, &local);
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&local, length) < 0)
			goto fail;
	}
	if (connect(fd, (struct sockaddr *)&remote, remote_length) < 0 && errno != EINPROGRESS)
		goto fail;
	return (fd);
fail:
	error = errno;
	close(fd);
	errno = error;
	return (-1);
}

static void
watch(int epoll, int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (epoll_ctl(epoll, operation, fd, &event) < 0)
		die("epoll_ctl");
}

/* ------------------------------------------------------------------ server */

_Noreturn static void
serve(int port, int mptcp)
{
	static uint8_t streams[1 << 16];
	static char octets[1 << 18];
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct epoll_event events[EVENTS];
	int i, count, on = 1, off = 0, epoll = epoll_create1(0);
	int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, mptcp ? IPPROTO_MPTCP : 0);

	if (listener < 0 || epoll < 0)
		die("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener, 4096) < 0)
		die("listen");
	watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
	puts("ready");
	fflush(stdout);
	for (;;) {
		count = epoll_wait(epoll, events, EVENTS, -1);
		for (i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			ssize_t got;

			if (fd == listener) {
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
					if (fd >= (int)sizeof(streams)) {
						close(fd);
						continue;
					}
					streams[fd] = 0;
					setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
					watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
				}
				continue;
			}
			got = recv(fd, octets, 4096, 0);
			if (got > 0 && octets[0] == 'D') {
				streams[fd] = 1;
				/* What bbr makes of round trips of microseconds is not what is measured. */
				setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
				watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT);
			} else if (got > 0)
				(void)!send(fd, octets, (size_t)got, MSG_NOSIGNAL);
			else if (got == 0 || errno != EAGAIN) {
				close(fd);
				continue;
			}
			if (streams[fd] && (events[i].events & EPOLLOUT))
				(void)!send(fd, octets, sizeof(octets), MSG_NOSIGNAL);
		}
	}
}

/* ----------------------------------------------------------------- clients */

enum state { FREE, CONNECTING, WAITING, OPEN };

struct attempt {
	uint8_t	state;
	int64_t	since;
};

static struct attempt *attempts;	/* by descriptor */
static int attempts_size;

/* The next step of an attempt: 1 when its octet has come back, 0 when it waits, -1 when it failed. */
static int
step(int epoll, int fd)
{
	char octet = 'E';
	int error = 0;
	socklen_t length = sizeof(error);

	if (attempts[fd].state == CONNECTING) {
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error != 0)
			return (-1);
		if (send(fd, &octet, 1, MSG_NOSIGNAL) != 1)
			return (errno == EAGAIN || errno == ENOTCONN ? 0 : -1);
		attempts[fd].state = WAITING;
		watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
		return (0);
	}
	if (recv(fd, &octet, 1, 0) == 1)
		return (1);
	return (errno == EAGAIN ? 0 : -1);
}

static void
room(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	attempts_size = limit.rlim_max > 1 << 20 ? 1 << 20 : (int)limit.rlim_max;
	if ((attempts = calloc((size_t)attempts_size, sizeof(*attempts))) == NULL)
		die("calloc");
}

/*
 * Opens connections, `parallel` at a time: for so long when `seconds` is given, each closed as soon as its octet is back; else
 * `total` of them, which stay open.
 */
static int
open_many(int64_t seconds, int total, int parallel, char **sources, int nsources)
{
	struct epoll_event events[EVENTS];
	int i, fd, count, under_way = 0, started = 0, done = 0, failed = 0, error = 0, slowest = -1, in_second = 0, epoll = epoll_create1(0);
	int64_t from = now_us(), now = from, until = from + seconds * 1000000, next_second = from + 1000000, next_look = from;
	int64_t worst = 0;

	room();
	for (;;) {
		while (under_way < parallel && (seconds > 0 ? now < until : started < total)) {
			fd = begin(nsources > 0 ? sources[started % nsources] : NULL);
			started++;
			if (fd < 0 || fd >= attempts_size) {
				error = errno;
				failed++;
				break;
			}
			attempts[fd].state = CONNECTING;
			attempts[fd].since = now_us();
			watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
			under_way++;
		}
		if (under_way == 0 && (seconds > 0 ? now >= until : started >= total))
			break;
		count = epoll_wait(epoll, events, EVENTS, 100);
		now = now_us();
		for (i = 0; i < count; i++) {
			int outcome = step(epoll, fd = events[i].data.fd);

			if (outcome == 0)
				continue;
			if (outcome < 0) {
				failed++;
				error = errno;
			} else {
				done++;
				in_second++;
				if (now - attempts[fd].since > worst)
					worst = now - attempts[fd].since;
			}
			under_way--;
			if (seconds > 0 || outcome < 0) {
				attempts[fd].state = FREE;
				close(fd);
			} else {
				attempts[fd].state = OPEN;
				watch(epoll, EPOLL_CTL_MOD, fd, 0);
			}
		}
		/* Ports that ran out show as a second in which little happened. */
		while (now >= next_second && next_second <= until) {
			if (slowest < 0 || in_second < slowest)
				slowest = in_second;
			in_second = 0;
			next_second += 1000000;
		}
		if (now >= next_look) {
			for (fd = 0; fd < attempts_size; fd++)
				if ((attempts[fd].state == CONNECTING || attempts[fd].state == WAITING) &&
				    now - attempts[fd].since > GIVE_UP_US) {
					attempts[fd].state = FREE;
					close(fd);
					under_way--;
					failed++;
					error = ETIMEDOUT;
				}
			next_look = now + 1000000;
		}
	}
	printf("{\"connections\":%d,\"failed\":%d,\"seconds\":%.3f,\"slowestSecond\":%d,\"worstMs\":%.3f,\"error\":\"%s\"}\n", done, failed,
	    (double)(now - from) / 1e6, slowest < 0 ? 0 : slowest, (double)worst / 1e3, failed > 0 ? strerror(error) : "");
	fflush(stdout);
	return (failed == 0 ? 0 : 1);
}

static int64_t
first_octet(const char *address, int port)
{
	char octet = 'E';
	int64_t from;
	int fd;
	struct pollfd wait;

	remote_length = address_of(address, port, &remote);
	from = now_us();
	if ((fd = begin(NULL)) < 0)
		die("connect");
	wait = (struct pollfd){ .fd = fd, .events = POLLOUT };
	if (poll(&wait, 1, 5000) != 1 || send(fd, &octet, 1, MSG_NOSIGNAL) != 1)
		die("send");
	wait.events = POLLIN;
	if (poll(&wait, 1, 5000) != 1 || recv(fd, &octet, 1, 0) != 1)
		die("receive");
	from = now_us() - from;
	close(fd);
	return (from);
}

static int
first(const char *address, char *ports, int rounds)
{
	int port[8], nports = 0, i, j;
	int64_t *times;

	for (char *p = strtok(ports, ","); p != NULL && nports < 8; p = strtok(NULL, ","))
		port[nports++] = atoi(p);
	if ((times = calloc((size_t)(rounds * nports), sizeof(*times))) == NULL)
		die("calloc");
	/* The first round warms caches and neighbours up. */
	for (i = -1; i < rounds; i++)
		for (j = 0; j < nports; j++) {
			int64_t t = first_octet(address, port[j]);

			if (i >= 0)
				times[j * rounds + i] = t;
			/* The last one's closing, and what else the gateway does then, is not part of the next one's beginning. */
			usleep(10000);
		}
	printf("{");
	for (j = 0; j < nports; j++) {
		printf("%s\"%d\":[", j > 0 ? "," : "", port[j]);
		for (i = 0; i < rounds; i++)
			printf("%s%lld", i > 0 ? "," : "", (long long)times[j * rounds + i]);
		printf("]");
	}
	puts("}");
	return (0);
}

static int
receive(int64_t seconds, int64_t grain)
{
	static char octets[1 << 18];
	struct pollfd wait;
	uint64_t total = 0;
	int64_t now, from, next;
	struct timespec t;
	int fd = begin(NULL);

	if (fd < 0)
		die("connect");
	wait = (struct pollfd){ .fd = fd, .events = POLLOUT };
	if (poll(&wait, 1, 5000) != 1 || send(fd, "D", 1, MSG_NOSIGNAL) != 1)
		die("send");
	wait.events = POLLIN;
	from = now_us();
	next = from + grain * 1000;
	while ((now = now_us()) < from + seconds * 1000000) {
		if (now >= next) {
			/* The wall clock, which the one who cuts the provider has as well. */
			clock_gettime(CLOCK_REALTIME, &t);
			printf("%lld %llu\n", (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000, (unsigned long long)total);
			fflush(stdout);
			next += grain * 1000;
			continue;
		}
		if (poll(&wait, 1, (int)((next - now) / 1000) + 1) == 1) {
			ssize_t got = recv(fd, octets, sizeof(octets), 0);

			if (got == 0 || (got < 0 && errno != EAGAIN))
				die("receive");
			if (got > 0)
				total += (uint64_t)got;
		}
	}
	return (0);
}

int
main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "serve") == 0) {
		room();
		serve(atoi(argv[2]), argc > 3);
	}
	if (argc < 5) {
		fputs("usage: load serve|rate|first|idle|receive ...\n", stderr);
		return (2);
	}
	remote_length = address_of(argv[2], atoi(argv[3]), &remote);
	if (strcmp(argv[1], "rate") == 0 && argc >= 6)
		return (open_many(atoi(argv[4]), 0, atoi(argv[5]), argv + 6, argc - 6));
	if (strcmp(argv[1], "first") == 0)
		return (first(argv[2], argv[3], atoi(argv[4])));
	if (strcmp(argv[1], "receive") == 0 && argc >= 6)
		return (receive(atoi(argv[4]), atoi(argv[5])));
	if (strcmp(argv[1], "idle") == 0 && argc >= 6) {
		char octet;
		int failed = open_many(0, atoi(argv[4]), atoi(argv[5]), argv + 6, argc - 6);

		while (read(0, &octet, 1) > 0)
			;
		return (failed);
	}
	fputs("usage: load serve|rate|first|idle|receive ...\n", stderr);
	return (2);
}
