/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the MPTCP scenario asks of sockets beyond moving octets (see flow -m).
 *
 *	mptcp info <address> <port>	connects, exchanges a few octets, prints what the socket says of itself
 *	mptcp half <address> <port>	sends, closes its half, reads to the end: the peer's DATA_FIN
 *	mptcp abort <address> <port>	connects, exchanges a few octets, closes with a linger time of 0
 *	mptcp hold <address> <port>	connects, exchanges a few octets, waits for the end: prints errno's text or 'end'
 *	mptcp sockets			what is refused, and how
 *	mptcp join <address> <port> <local>	adds a subflow from this address of its own accord; ends when both are established
 *	mptcp twice <address> <port>	connects, exchanges a few octets, says so, and after SIGUSR1 a few more
 *	mptcp listen <address> <port> <backlog> [accept filter]	accepts at each SIGUSR1 what is there, says how many connections and
 *						how many octets had come with them, and closes them
 *	mptcp sendfile <address> <port>	sends a file by sendfile(2) and compares what comes back
 *	mptcp kqueue <address> <port>	connects without blocking; kqueue(2) and select(2) tell of that, of data and of the end
 *	mptcp loop <address> <port> <count>	so many connections, each with a few octets, one after the other; every other one is
 *						aborted (loop-close: none, loop-abort: all)
 */
#include <sys/types.h>
#include <sys/event.h>
#include <sys/filio.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <arpa/inet.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mptcp.h"

static const char hello[] = "hello, multipath";

static int
start(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *ai;
	struct timeval patience = { .tv_sec = 30 };
	int s;

	if (getaddrinfo(address, port, &hints, &ai) != 0)
		errx(2, "%s %s: not an address", address, port);
	s = socket(ai->ai_family, SOCK_STREAM, IPPROTO_MPTCP);
	if (s == -1)
		err(2, "socket");
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(s, ai->ai_addr, ai->ai_addrlen) == -1)
		err(1, "connect");
	freeaddrinfo(ai);
	return (s);
}

static void
exchange(int s)
{
	char answer[sizeof(hello)];
	size_t have;
	ssize_t n;

	if (write(s, hello, sizeof(hello)) != (ssize_t)sizeof(hello))
		err(1, "write");
	for (have = 0; have < sizeof(hello); have += (size_t)n)
		if ((n = read(s, answer + have, sizeof(hello) - have)) <= 0)
			err(1, "read");
	if (memcmp(hello, answer, sizeof(hello)) != 0)
		errx(1, "the answer is another");
}

static int
info(int s)
{
	static const char *const states[] = { "initial", "established", "fallback" };
	struct mptcp_info i;
	socklen_t length = sizeof(i);

	exchange(s);
	if (getsockopt(s, IPPROTO_MPTCP, MPTCP_INFO, &i, &length) == -1)
		err(1, "getsockopt");
	printf("%s token %08x peer %08x subflows %u\n", i.state < 3 ? states[i.state] : "?", i.local_token, i.remote_token, i.subflows);
	return (0);
}

static int
half(int s)
{
	static char data[100000];
	size_t sent, got = 0;
	ssize_t n;
	int small = 16384;

	/* Fixed, and closed before all has come. */
	if (setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == -1)
		err(1, "SO_RCVBUF");
	for (sent = 0; sent < sizeof(data); sent += (size_t)n)
		if ((n = write(s, data + sent, sizeof(data) - sent)) <= 0)
			err(1, "write");
	if (shutdown(s, SHUT_WR) == -1)
		err(1, "shutdown");
	/* Long enough for the peer to find the window closed and to probe it. */
	usleep(700000);
	while ((n = read(s, data, sizeof(data))) > 0)
		got += (size_t)n;
	if (n == -1)
		err(1, "read after %zu octets", got);
	if (got != sizeof(data))
		errx(1, "the end came after %zu octets", got);
	return (0);
}

static int
hold(int s)
{
	ssize_t n;
	char c;

	exchange(s);
	printf("waiting\n");
	fflush(stdout);
	n = read(s, &c, 1);
	printf("%s\n", n == 0 ? "end" : n == 1 ? "data" : strerror(errno));
	return (0);
}

/* Waits for SIGUSR1, which has to be blocked. */
static void
wait_for_signal(void)
{
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigwait(&set, &got);
}

static void
block_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int
twice(int s)
{
	exchange(s);
	printf("waiting\n");
	fflush(stdout);
	wait_for_signal();
	exchange(s);
	printf("again\n");
	return (0);
}

static int
send_file(int s)
{
	static char data[1000000], got[sizeof(data)];
	struct iovec head = { .iov_base = (void *)(uintptr_t)hello, .iov_len = sizeof(hello) };
	struct sf_hdtr header = { .headers = &head, .hdr_cnt = 1 };
	char name[] = "/tmp/mptcp.XXXXXX";
	int fd = mkstemp(name), status;
	size_t have;
	ssize_t n;
	off_t sent;
	pid_t child;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 >> 3);
	if (fd == -1 || write(fd, data, sizeof(data)) != (ssize_t)sizeof(data))
		err(2, "%s", name);
	unlink(name);
	child = fork();
	if (child == 0) {
		/* Behind a header, and in two pieces. */
		if (sendfile(fd, s, 0, 300000, &header, &sent, 0) == -1 || sent != 300000 + (off_t)sizeof(hello))
			err(1, "sendfile: %jd", (intmax_t)sent);
		if (sendfile(fd, s, 300000, 0, NULL, &sent, 0) == -1 || sent != (off_t)sizeof(data) - 300000)
			err(1, "sendfile: %jd", (intmax_t)sent);
		_exit(shutdown(s, SHUT_WR) == 0 ? 0 : 1);
	}
	for (have = 0; have < sizeof(hello); have += (size_t)n)
		if ((n = read(s, got + have, sizeof(hello) - have)) <= 0)
			err(1, "read");
	if (memcmp(got, hello, sizeof(hello)) != 0)
		errx(1, "the header is another");
	for (have = 0; (n = read(s, got + have, sizeof(got) - have)) > 0; )
		have += (size_t)n;
	if (n == -1 || have != sizeof(data) || memcmp(got, data, sizeof(data)) != 0)
		errx(1, "what came back is another: %zu octets", have);
	if (waitpid(child, &status, 0) != child || status != 0)
		errx(1, "sendfile failed");
	return (0);
}

/* One event of this filter within ten seconds. */
static struct kevent
await_event(int kq, int s, short filter)
{
	struct timespec ten = { .tv_sec = 10 };
	struct kevent change, event;

	EV_SET(&change, s, filter, EV_ADD | EV_ONESHOT, 0, 0, NULL);
	if (kevent(kq, &change, 1, &event, 1, &ten) != 1 || (event.flags & EV_ERROR) != 0 || event.filter != filter)
		errx(1, "no event of filter %d", filter);
	return (event);
}

static int
use_kqueue(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *ai;
	struct timeval ten = { .tv_sec = 10 }, none = { 0 };
	struct kevent event;
	char answer[sizeof(hello)];
	int kq = kqueue(), s, error;
	socklen_t length = sizeof(error);
	fd_set set;

	if (getaddrinfo(address, port, &hints, &ai) != 0)
		errx(2, "%s %s: not an address", address, port);
	s = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP);
	if (s == -1 || kq == -1)
		err(2, "socket");
	/* It may be over before we are told that it goes on. */
	if (connect(s, ai->ai_addr, ai->ai_addrlen) == -1 && errno != EINPROGRESS)
		err(1, "connect");
	event = await_event(kq, s, EVFILT_WRITE);
	if (getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &length) == -1 || error != 0 || event.data <= 0)
		errx(1, "not connected: error %d, room %jd", error, (intmax_t)event.data);
	FD_ZERO(&set);
	FD_SET(s, &set);
	if (select(s + 1, &set, NULL, NULL, &none) != 0)
		errx(1, "select sees data where none is");
	if (read(s, answer, sizeof(answer)) != -1 || errno != EAGAIN)
		err(1, "read does not say that it would block");
	if (write(s, hello, sizeof(hello)) != (ssize_t)sizeof(hello))
		err(1, "write");
	FD_ZERO(&set);
	FD_SET(s, &set);
	if (select(s + 1, &set, NULL, NULL, &ten) != 1)
		errx(1, "select sees no data");
	event = await_event(kq, s, EVFILT_READ);
	if (event.data != (int64_t)sizeof(hello) || (event.flags & EV_EOF) != 0)
		errx(1, "kqueue tells of %jd octets", (intmax_t)event.data);
	if (read(s, answer, sizeof(answer)) != (ssize_t)sizeof(answer) || memcmp(answer, hello, sizeof(hello)) != 0)
		errx(1, "the answer is another");
	if (shutdown(s, SHUT_WR) == -1)
		err(1, "shutdown");
	event = await_event(kq, s, EVFILT_READ);
	if ((event.flags & EV_EOF) == 0 || read(s, answer, 1) != 0)
		errx(1, "the end is not told");
	return (0);
}

static int
listener(const char *address, const char *port, int backlog, const char *filter)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *ai;
	struct accept_filter_arg arg = { 0 };
	int s, fd, octets, one = 1;

	if (getaddrinfo(address, port, &hints, &ai) != 0)
		errx(2, "%s %s: not an address", address, port);
	s = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP);
	if (s == -1)
		err(2, "socket");
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, ai->ai_addr, ai->ai_addrlen) == -1 || listen(s, backlog) == -1)
		err(2, "listen");
	freeaddrinfo(ai);
	if (filter != NULL) {
		strlcpy(arg.af_name, filter, sizeof(arg.af_name));
		if (setsockopt(s, SOL_SOCKET, SO_ACCEPTFILTER, &arg, sizeof(arg)) == -1)
			err(2, "SO_ACCEPTFILTER");
	}
	block_signal();
	printf("listening\n");
	for (;;) {
		int count = 0, total = 0;

		fflush(stdout);
		wait_for_signal();
		while ((fd = accept(s, NULL, NULL)) != -1 || errno == ECONNABORTED) {
			if (fd == -1)
				continue;
			count++;
			if (ioctl(fd, FIONREAD, &octets) == 0)
				total += octets;
			close(fd);
		}
		printf("accepted %d octets %d\n", count, total);
	}
}

static int
join(int s, const char *local)
{
	struct mptcp_ioc_subflow subflow = { .ms_version = MPTCP_ABI_VERSION, .ms_fib = MPTCP_FIB_SAME };
	struct mptcp_info i;
	struct in_addr in;
	socklen_t length;

	exchange(s);
	length = sizeof(i);
	if (getsockopt(s, IPPROTO_MPTCP, MPTCP_INFO, &i, &length) == -1)
		err(1, "MPTCP_INFO");
	if (inet_pton(AF_INET, local, &in) != 1)
		errx(2, "%s: not an address", local);
	subflow.ms_local.ma_family = MPTCP_ABI_IPV4;
	memcpy(subflow.ms_local.ma_octets, &in, sizeof(in));
	subflow.ms_remote = i.subflow[0].remote;
	if (setsockopt(s, IPPROTO_MPTCP, MPTCP_SUBFLOW_ADD, &subflow, sizeof(subflow)) == -1)
		err(1, "MPTCP_SUBFLOW_ADD");
	for (int tries = 0; tries < 100; tries++) {
		exchange(s);
		length = sizeof(i);
		if (getsockopt(s, IPPROTO_MPTCP, MPTCP_INFO, &i, &length) == -1)
			err(1, "MPTCP_INFO");
		for (uint32_t n = 1; n < i.subflows; n++)
			if (i.subflow[n].state == MPTCP_SUBFLOW_ESTABLISHED && memcmp(i.subflow[n].local.ma_octets, &in, sizeof(in)) == 0)
				return (0);
		usleep(50000);
	}
	errx(1, "the subflow is not established");
}

static int
sockets(void)
{
	static const int refused[] = { TCP_NOOPT, TCP_FASTOPEN, TCP_MD5SIG };
	struct sockaddr_in sin = { .sin_len = sizeof(sin), .sin_family = AF_INET };
	struct mptcp_info i;
	socklen_t length = sizeof(i);
	int one = 1, s = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), s6 = socket(AF_INET6, SOCK_STREAM, IPPROTO_MPTCP);
	size_t n;

	if (s == -1 || s6 == -1)
		err(1, "socket");
	if (getsockopt(s, IPPROTO_MPTCP, MPTCP_INFO, &i, &length) == -1 || i.state != MPTCP_INFO_INITIAL || length != sizeof(i))
		errx(1, "information on a fresh socket");
	if (bind(s, (struct sockaddr *)&sin, sizeof(sin)) == -1)
		err(1, "bind");
	if (listen(s6, 1) == -1)
		err(1, "listen");
	for (n = 0; n < sizeof(refused) / sizeof(refused[0]); n++)
		if (setsockopt(s, IPPROTO_TCP, refused[n], &one, sizeof(one)) != -1 || errno != EOPNOTSUPP)
			errx(1, "option %d is not refused", refused[n]);
	if (setsockopt(s, IPPROTO_MPTCP, 77, &one, sizeof(one)) != -1 || errno != ENOPROTOOPT)
		errx(1, "an unknown option is not refused");
	if (setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1 || setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == -1)
		err(1, "TCP_NODELAY or SO_KEEPALIVE");
	if (socket(AF_INET, SOCK_DGRAM, IPPROTO_MPTCP) != -1)
		errx(1, "datagrams are not refused");
	return (0);
}

int
main(int argc, char **argv)
{
	struct linger at_once = { .l_onoff = 1 };
	int s, n;

	if (argc == 2 && strcmp(argv[1], "sockets") == 0)
		return (sockets());
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "listen") == 0)
		return (listener(argv[2], argv[3], atoi(argv[4]), argc == 6 ? argv[5] : NULL));
	if (argc == 5 && strcmp(argv[1], "join") == 0)
		return (join(start(argv[2], argv[3]), argv[4]));
	if (argc == 5 && strncmp(argv[1], "loop", 4) == 0) {
		bool all = strcmp(argv[1], "loop-abort") == 0, some = all || strcmp(argv[1], "loop") == 0;

		for (n = atoi(argv[4]); n > 0; n--) {
			s = start(argv[2], argv[3]);
			exchange(s);
			if (all || (some && n % 2 == 0))
				setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
			close(s);
		}
		return (0);
	}
	if (argc != 4)
		errx(2, "what?");
	if (strcmp(argv[1], "kqueue") == 0)
		return (use_kqueue(argv[2], argv[3]));
	s = start(argv[2], argv[3]);
	if (strcmp(argv[1], "sendfile") == 0)
		return (send_file(s));
	if (strcmp(argv[1], "info") == 0)
		return (info(s));
	if (strcmp(argv[1], "half") == 0)
		return (half(s));
	if (strcmp(argv[1], "hold") == 0)
		return (hold(s));
	if (strcmp(argv[1], "twice") == 0) {
		block_signal();
		return (twice(s));
	}
	if (strcmp(argv[1], "abort") == 0) {
		exchange(s);
		setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(s);
		return (0);
	}
	errx(2, "usage");
}
