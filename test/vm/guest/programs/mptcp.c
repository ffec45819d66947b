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
 *	mptcp loop <address> <port> <count>	so many connections, each with a few octets, one after the other; every other one is
 *						aborted (loop-close: none, loop-abort: all)
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <arpa/inet.h>

#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
	s = start(argv[2], argv[3]);
	if (strcmp(argv[1], "info") == 0)
		return (info(s));
	if (strcmp(argv[1], "half") == 0)
		return (half(s));
	if (strcmp(argv[1], "hold") == 0)
		return (hold(s));
	if (strcmp(argv[1], "abort") == 0) {
		exchange(s);
		setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(s);
		return (0);
	}
	errx(2, "usage");
}
