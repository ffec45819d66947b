/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relay (src/native/common/relay.c) under sanitizers: sessions over loopback TCP that are finished, reset, aborted
 * and asked about from several threads at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "fake_join.h"
#include "common/listener.h"
#include "common/relay.h"

static int count, bad;

__attribute__((format(printf, 2, 3))) static void ok(int good, const char *format, ...)
{
	va_list arguments;

	bad += !good;
	printf("%s %d - ", good ? "ok" : "not ok", ++count);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

struct pair {
	int near, far;
};

static _Atomic unsigned closed_count, closed_by[AM_CLOSE_REASONS];
static _Atomic uint64_t moved_up, moved_down;

static void on_closed(void *context, const struct am_session_report *report)
{
	(void)context;
	atomic_fetch_add(&closed_by[report->reason], 1);
	atomic_fetch_add(&moved_up, report->up);
	atomic_fetch_add(&moved_down, report->down);
	atomic_fetch_add(&closed_count, 1);
}

static void forget(void)
{
	atomic_store(&closed_count, 0);
	atomic_store(&moved_up, 0);
	atomic_store(&moved_down, 0);
	for (int i = 0; i < AM_CLOSE_REASONS; i++)
		atomic_store(&closed_by[i], 0);
}

/* Bounded by the clock, whatever a turn takes on a busy machine: a relay that hangs is a failure, not a hanging test. */
static int wait_closed(unsigned wanted)
{
	struct timespec end, now;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 60;
	do {
		if (atomic_load(&closed_count) >= wanted)
			return 1;
		poll(NULL, 0, 1);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end.tv_sec);
	return 0;
}

static struct pair tcp_pair(int listener)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct pair p;

	getsockname(listener, (struct sockaddr *)&address, &length);
	p.near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p.near < 0 || connect(p.near, (struct sockaddr *)&address, length) < 0)
		abort();
	p.far = accept(listener, NULL, NULL);
	if (p.far < 0)
		abort();
	return p;
}

static int listen_local(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0)
		abort();
	return fd;
}

static unsigned char pattern(uint64_t at)
{
	return (unsigned char)(at * 31 + (at >> 9));
}

struct stream {
	int fd;
	uint64_t length;
	uint64_t seen;
	int wrong;
};

static void *sender(void *argument)
{
	struct stream *s = argument;
	unsigned char block[10007];
	uint64_t at = 0;

	while (at < s->length) {
		size_t want = s->length - at < sizeof(block) ? (size_t)(s->length - at) : sizeof(block);
		for (size_t i = 0; i < want; i++)
			block[i] = pattern(at + i);
		ssize_t put = send(s->fd, block, want, MSG_NOSIGNAL);
		if (put <= 0)
			break;
		at += (uint64_t)put;
	}
	shutdown(s->fd, SHUT_WR);
	return NULL;
}

static void *receiver(void *argument)
{
	struct stream *s = argument;
	unsigned char block[9001];
	ssize_t got;

	while ((got = recv(s->fd, block, sizeof(block), 0)) > 0) {
		for (ssize_t i = 0; i < got; i++)
			s->wrong |= block[i] != pattern(s->seen + (uint64_t)i);
		s->seen += (uint64_t)got;
	}
	return NULL;
}

static void transfers(struct am_relay *relay, int listener, const char *name)
{
	struct am_session_options options = { 60000, 60000, 60, 0 };
	struct pair client = tcp_pair(listener), server = tcp_pair(listener);
	struct stream streams[4] = {
		{ .fd = client.near, .length = 20 * 1000 * 1000 },
		{ .fd = server.near, .length = 12 * 1000 * 1000 },
		{ .fd = client.near },
		{ .fd = server.near },
	};
	pthread_t threads[4];
	uint64_t number;

	forget();
	ok(am_relay_run(relay, client.far, server.far, &options, &number) == 0, "%s: a session begins", name);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i < 2 ? sender : receiver, &streams[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ok(streams[2].seen == streams[1].length && !streams[2].wrong, "%s: the client has all of it, in order", name);
	ok(streams[3].seen == streams[0].length && !streams[3].wrong, "%s: the server has all of it, in order", name);
	ok(wait_closed(1) && atomic_load(&closed_by[AM_CLOSE_FINISHED]) == 1, "%s: it ends by itself", name);
	ok(atomic_load(&moved_up) == streams[0].length && atomic_load(&moved_down) == streams[1].length,
	    "%s: octets are counted", name);
	close(client.near);
	close(server.near);
}

struct tormentor {
	struct am_relay *relay;
	uint64_t *numbers;
	unsigned sessions;
	unsigned seed;
	_Atomic int *over;
};

/* Asks about and aborts sessions that are, were, and never were. */
static void *torment(void *argument)
{
	struct tormentor *t = argument;

	while (!atomic_load(t->over)) {
		uint64_t up, down;
		uint64_t number = __atomic_load_n(&t->numbers[(unsigned)rand_r(&t->seed) % t->sessions], __ATOMIC_RELAXED);

		if (rand_r(&t->seed) % 8 == 0)
			number ^= (uint64_t)rand_r(&t->seed) << (rand_r(&t->seed) % 40);
		am_relay_counters(t->relay, number, &up, &down);
		if (rand_r(&t->seed) % 64 == 0)
			am_relay_abort(t->relay, number, AM_CLOSE_KILLED);
		am_relay_sessions(t->relay);
		/* The relay's threads and the test's own get their turns on the smallest machine, too. */
		sched_yield();
	}
	return NULL;
}

static void storm(struct am_relay *relay, int listener, unsigned rounds)
{
	enum { SESSIONS = 64 };
	static uint64_t numbers[SESSIONS];
	_Atomic int over = 0;
	struct tormentor t[2];
	pthread_t threads[2];
	unsigned seed = 7, begun = 0;

	forget();
	for (int i = 0; i < 2; i++) {
		t[i] = (struct tormentor){ relay, numbers, SESSIONS, (unsigned)i + 1, &over };
		pthread_create(&threads[i], NULL, torment, &t[i]);
	}
	for (unsigned round = 0; round < rounds; round++) {
		struct pair client[SESSIONS], server[SESSIONS];
		static const char noise[70000];

		for (unsigned i = 0; i < SESSIONS; i++) {
			struct am_session_options options = { 1 + (unsigned)rand_r(&seed) % 50, 1 + (unsigned)rand_r(&seed) % 50, 0, 0 };
			uint64_t number;

			client[i] = tcp_pair(listener);
			server[i] = tcp_pair(listener);
			if (am_relay_run(relay, client[i].far, server[i].far, &options, &number) == 0)
				begun++;
			/* The tormentors read it while it is written: any value will do, but whole. */
			__atomic_store_n(&numbers[i], number, __ATOMIC_RELAXED);
		}
		for (unsigned i = 0; i < SESSIONS; i++) {
			int fd = rand_r(&seed) % 2 ? client[i].near : server[i].near;

			switch (rand_r(&seed) % 5) {
			case 0:
				am_reset_close(fd);
				break;
			case 1:
				send(fd, noise, sizeof(noise), MSG_DONTWAIT | MSG_NOSIGNAL);
				shutdown(fd, SHUT_WR);
				continue;
			case 2:
				send(fd, "!", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
				continue;
			case 3:
				while (send(fd, noise, sizeof(noise), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
					;
				continue;
			default:
				close(fd);
				break;
			}
			if (fd == client[i].near)
				client[i].near = -1;
			else
				server[i].near = -1;
		}
		for (unsigned i = 0; i < SESSIONS; i++) {
			if (client[i].near >= 0)
				close(client[i].near);
			if (server[i].near >= 0)
				close(server[i].near);
		}
	}
	ok(begun == rounds * SESSIONS, "storm: every session begins");
	ok(wait_closed(begun), "storm: every session ends (%u of %u)", atomic_load(&closed_count), begun);
	atomic_store(&over, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(am_relay_sessions(relay) == 0, "storm: none is left");
}

static void reasons(struct am_relay *relay, int listener)
{
	struct am_session_options options = { 60, 30, 0, 0 };
	struct pair client, server;
	uint64_t number, up, down;
	char octet;

	forget();
	client = tcp_pair(listener);
	server = tcp_pair(listener);
	am_relay_run(relay, client.far, server.far, &options, &number);
	ok(wait_closed(1) && atomic_load(&closed_by[AM_CLOSE_IDLE_TIMEOUT]) == 1, "idle time-out");
	ok(recv(client.near, &octet, 1, 0) < 0 && errno == ECONNRESET, "the client is reset");
	ok(recv(server.near, &octet, 1, 0) < 0 && errno == ECONNRESET, "the server is reset");
	ok(am_relay_counters(relay, number, &up, &down) == -ENOENT, "its number means nothing any more");
	am_relay_abort(relay, number, AM_CLOSE_KILLED);
	close(client.near);
	close(server.near);

	forget();
	client = tcp_pair(listener);
	server = tcp_pair(listener);
	am_relay_run(relay, client.far, server.far, &options, &number);
	shutdown(client.near, SHUT_WR);
	ok(wait_closed(1) && atomic_load(&closed_by[AM_CLOSE_HALF_OPEN_TIMEOUT]) == 1, "half-open time-out");
	close(client.near);
	close(server.near);

	forget();
	options = (struct am_session_options){ 0, 0, 0, 0 };
	client = tcp_pair(listener);
	server = tcp_pair(listener);
	am_relay_run(relay, client.far, server.far, &options, &number);
	/* What came before the reset arrives; then the reset. */
	send(server.near, "last words", 10, 0);
	am_reset_close(server.near);
	ok(wait_closed(1) && atomic_load(&closed_by[AM_CLOSE_SERVER_RESET]) == 1, "reset by the server");
	close(client.near);

	ok(am_relay_run(relay, -1, 9999, &options, &number) == -EBADF, "no socket, no session");
}

static _Atomic unsigned accepted_count;

static void on_accepted(void *context, const struct am_accepted *accepted)
{
	(void)context;
	close(accepted->fd);
	atomic_fetch_add(&accepted_count, 1);
}

static void listening(void)
{
	struct am_listeners *set;
	struct am_listener_counters counters;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int fd = listen_local();

	ok(am_listeners_start(&set, on_accepted, NULL) == 0, "listeners: start");
	getsockname(fd, (struct sockaddr *)&address, &length);
	/* As am_listener_open makes them. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	ok(am_listeners_add(set, fd) == 0, "listeners: add");
	for (int i = 0; i < 200; i++) {
		int one = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(one, (struct sockaddr *)&address, length) < 0)
			abort();
		close(one);
	}
	for (int i = 0; i < 10000 && atomic_load(&accepted_count) < 200; i++)
		poll(NULL, 0, 1);
	am_listeners_counters(set, &counters);
	ok(atomic_load(&accepted_count) == 200 && counters.accepted == 200, "listeners: all accepted");
	ok(am_listeners_remove(set, fd) == 0 && am_listeners_remove(set, fd) == -ENOENT, "listeners: removed once");
	am_listeners_stop(set);
}

int main(void)
{
	int listener = listen_local();

	static const char *const names[] = { "copy", "splice", "join" };

	for (int method = AM_RELAY_COPY; method <= AM_RELAY_JOIN; method++) {
		struct am_relay *relay;
		struct am_relay_config config = { 2, (enum am_relay_method)method, (enum am_relay_method)method, NULL };
		const char *name = names[method];

		ok(am_relay_start(&relay, &config, on_closed, NULL) == 0, "%s: start", name);
		transfers(relay, listener, name);
		reasons(relay, listener);
		storm(relay, listener, 12);

		/* Stopped with sessions open. */
		struct am_session_options options = { 0, 0, 30, 0 };
		struct pair client = tcp_pair(listener), server = tcp_pair(listener);
		uint64_t number;
		forget();
		am_relay_run(relay, client.far, server.far, &options, &number);
		am_relay_stop(relay);
		ok(atomic_load(&closed_by[AM_CLOSE_KILLED]) == 1, "%s: stopping ends what is open", name);
		close(client.near);
		close(server.near);
	}
	ok(fake_join_count() > 10 && fake_join_octets() > 1000000, "join: %u directions were joined, and moved %llu octets so",
	    fake_join_count(), (unsigned long long)fake_join_octets());
	ok(fake_join_open() == 0, "join: none is left");
	listening();
	close(listener);
	printf("1..%d\n", count);
	return bad != 0;
}
