/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Test traffic with checked contents.
 *
 *	flow serve <address> <port>			serves until it is ended
 *	flow send [-s source] [-p port] [-n octets] [-r octets/s] [-t seconds] <address> <port>
 *	flow echoserve <address> <port>		sends back what it gets
 *	flow echo [-s source] [-n octets] [-r octets/s] [-t seconds] <address> <port>	compares what such a server sends back
 *	flow push [-q] [-s source] [-n octets] [-r octets/s] [-t seconds] <address> <port>	to a server that answers with the SHA-256
 *	flow pull [-s source] [-n octets] [-t seconds] <address> <port>	from an HTTP server, prints the SHA-256
 *	flow udp [-s source] <address> <port> <count>	one datagram from each of `count` ports
 *	flow blast [-s source] [-l octets] [-t seconds] <address> <port>	UDP as fast as it goes
 *	flow trickle [-l octets] <address> <port> <count>	that many UDP datagrams from 16 ports, none lost to a full queue
 *	flow sink <address> <port> <seconds>		counts UDP datagrams
 *
 * With -m a client or a server asks for MPTCP (protocol 262). `echo` and `push -m -j local,remote[,port][,backup]` (again for each; a local
 * address of - is left to the kernel) adds subflows once it can, then starts, and in the end prints what each subflow has carried.
 *
 * `send` writes `octets` pseudo-random octets and reads as many of another sequence, both at once. Each side takes a
 * SHA-256 of what it was to receive and of what it received; the server tells the client its verdict in one octet.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <errno.h>
#include <err.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sha256.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mptcp.h"

#define	CHUNK	16384

static int stream_protocol;
/* A stream repeats its first chunk: making it costs next to nothing. */
static bool cheap;

/* Subflows to add to a client's MPTCP connection. */
static struct {
	char		*text;
	bool		done;
} joins[8];
static int join_count;

struct stream {
	uint64_t	state;
	uint64_t	left;
	SHA256_CTX	hash;
};

static void
stream_init(struct stream *stream, uint64_t seed, uint64_t octets)
{
	stream->state = seed * 0x9e3779b97f4a7c15ULL + 1;
	stream->left = octets;
	SHA256_Init(&stream->hash);
}

/* xorshift: cheap enough for an emulated processor, and no octet repeats where a segment boundary could hide it. */
static void
stream_fill(struct stream *stream, unsigned char *buffer, size_t octets)
{
	uint64_t x = stream->state;
	size_t i;

	for (i = 0; i < octets; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buffer[i] = (unsigned char)(x >> 24);
	}
	stream->state = x;
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static struct addrinfo *
resolve(const char *address, const char *port, int type)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = type };
	struct addrinfo *result;

	if (getaddrinfo(address, port, &hints, &result) != 0)
		errx(2, "%s %s: not an address", address, port == NULL ? "" : port);
	return (result);
}

static struct mptcp_ioc_addr
subflow_address(const char *text, const char *port)
{
	struct mptcp_ioc_addr to = { 0 };
	struct addrinfo *ai;

	if (strcmp(text, "-") == 0)
		return (to);
	ai = resolve(text, port, SOCK_STREAM);
	if (ai->ai_family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)ai->ai_addr;

		to.ma_family = MPTCP_ABI_IPV4;
		to.ma_port = ntohs(sin->sin_port);
		memcpy(to.ma_octets, &sin->sin_addr, sizeof(sin->sin_addr));
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ai->ai_addr;

		to.ma_family = MPTCP_ABI_IPV6;
		to.ma_port = ntohs(sin6->sin6_port);
		memcpy(to.ma_octets, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
	}
	freeaddrinfo(ai);
	return (to);
}

/* Adds the subflows that are not there yet, as soon as the connection takes them: its peer has to be heard first. */
static void
add_subflows(int s)
{
	for (int i = 0; i < join_count; i++) {
		struct mptcp_ioc_subflow subflow = { .ms_version = MPTCP_ABI_VERSION, .ms_fib = MPTCP_FIB_SAME };
		char text[128], *word[4] = { NULL }, *rest = text;

		if (joins[i].done)
			continue;
		strlcpy(text, joins[i].text, sizeof(text));
		for (int n = 0; n < 4 && rest != NULL; n++)
			word[n] = strsep(&rest, ",");
		if (word[1] == NULL)
			errx(2, "%s: not two addresses", joins[i].text);
		subflow.ms_local = subflow_address(word[0], NULL);
		subflow.ms_remote = subflow_address(word[1], word[2] != NULL && *word[2] != 0 ? word[2] : NULL);
		if (word[3] != NULL)
			subflow.ms_flags = MPTCP_FLAG_BACKUP;
		if (setsockopt(s, IPPROTO_MPTCP, MPTCP_SUBFLOW_ADD, &subflow, sizeof(subflow)) == 0)
			joins[i].done = true;
		else if (errno != EAGAIN)
			err(1, "subflow %s", joins[i].text);
	}
}

static uint32_t most_held, most_room;

static void
get_info(int s, struct mptcp_info *info)
{
	socklen_t length = sizeof(*info);
	int room;
	socklen_t room_length = sizeof(room);

	if (getsockopt(s, IPPROTO_MPTCP, MPTCP_INFO, info, &length) == -1)
		err(1, "MPTCP_INFO");
	if (getsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, &room_length) == -1)
		err(1, "SO_RCVBUF");
	if (info->receive_queued + info->reassembly > most_held)
		most_held = info->receive_queued + info->reassembly;
	if ((uint32_t)room > most_room)
		most_room = (uint32_t)room;
}

static void
print_subflows(int s)
{
	struct mptcp_info info;

	get_info(s, &info);
	for (uint32_t i = 0; i < info.subflows; i++)
		printf("subflow %u state %u flags %02x sent %ju received %ju retransmitted %u\n", info.subflow[i].id,
		    info.subflow[i].state, info.subflow[i].flags, (uintmax_t)info.subflow[i].octets_sent,
		    (uintmax_t)info.subflow[i].octets_received, info.subflow[i].retransmits);
	printf("connection state %u sent %ju received %ju reinjected %ju duplicate %ju\n", info.state, (uintmax_t)info.octets_sent,
	    (uintmax_t)info.octets_received, (uintmax_t)info.octets_reinjected, (uintmax_t)info.octets_duplicate);
	printf("held %u of %u\n", most_held, most_room);
}

struct transfer {
	int		fd;
	struct stream	out, in, expected;
	unsigned char	buffer[CHUNK];
	size_t		filled, sent;
	uint64_t	rate;
};

/* Moves both streams until both are through; false when the connection broke or stood still for `patience` seconds. */
static bool
move(struct transfer *t, int patience)
{
	unsigned char in[CHUNK], expected[CHUNK];
	double started = now();
	uint64_t total = 0;
	struct pollfd pfd = { .fd = t->fd };
	struct mptcp_info info;
	unsigned turn = 0;
	ssize_t octets;
	int ready;

	while (t->out.left > 0 || t->filled > t->sent || t->in.left > 0) {
		bool may_send = t->out.left > 0 || t->filled > t->sent;
		int wait = patience * 1000;

		if (may_send && t->rate > 0 && (double)total > (now() - started) * (double)t->rate) {
			may_send = false;
			wait = 5;
		}
		add_subflows(t->fd);
		if (join_count > 0 && turn++ % 16 == 0)
			get_info(t->fd, &info);
		pfd.events = (short)((may_send ? POLLOUT : 0) | (t->in.left > 0 ? POLLIN : 0));
		ready = poll(&pfd, 1, wait);
		if (ready == -1 && errno != EINTR)
			return (false);
		if (ready == 0 && wait == patience * 1000)
			return (false);
		if (ready <= 0)
			continue;
		if (pfd.revents & (POLLIN | POLLHUP | POLLERR)) {
			octets = read(t->fd, in, t->in.left < CHUNK ? (size_t)t->in.left : CHUNK);
			if (octets == 0 || (octets == -1 && errno != EAGAIN && errno != EINTR))
				return (false);
			if (octets > 0) {
				SHA256_Update(&t->in.hash, in, (size_t)octets);
				stream_fill(&t->expected, expected, (size_t)octets);
				SHA256_Update(&t->expected.hash, expected, (size_t)octets);
				t->in.left -= (uint64_t)octets;
			}
		}
		if (may_send && (pfd.revents & POLLOUT)) {
			if (t->filled == t->sent) {
				if (!cheap || t->filled == 0)
					stream_fill(&t->out, t->buffer, CHUNK);
				t->filled = t->out.left < CHUNK ? (size_t)t->out.left : CHUNK;
				t->sent = 0;
				t->out.left -= t->filled;
			}
			octets = write(t->fd, t->buffer + t->sent, t->filled - t->sent);
			if (octets == -1 && errno != EAGAIN && errno != EINTR)
				return (false);
			if (octets > 0) {
				t->sent += (size_t)octets;
				total += (uint64_t)octets;
			}
		}
	}
	return (true);
}

static bool
verdict(struct transfer *t, char text[65])
{
	char expected[65];

	SHA256_End(&t->in.hash, text);
	SHA256_End(&t->expected.hash, expected);
	return (strcmp(text, expected) == 0);
}

static void
nonblocking(int fd)
{
	if (fcntl(fd, F_SETFL, O_NONBLOCK) == -1)
		err(2, "fcntl");
}

static int
serve_one(int fd)
{
	struct transfer t = { .fd = fd };
	unsigned char head[8], answer;
	uint64_t octets = 0;
	char text[65];
	size_t have = 0, i;
	ssize_t n;

	while (have < sizeof(head)) {
		n = read(fd, head + have, sizeof(head) - have);
		if (n <= 0)
			return (1);
		have += (size_t)n;
	}
	for (i = 0; i < sizeof(head); i++)
		octets = octets << 8 | head[i];
	nonblocking(fd);
	stream_init(&t.out, 2, octets);
	stream_init(&t.in, 1, octets);
	stream_init(&t.expected, 1, octets);
	if (!move(&t, 60))
		return (1);
	answer = verdict(&t, text) ? 'y' : 'n';
	fcntl(fd, F_SETFL, 0);
	return (write(fd, &answer, 1) == 1 ? 0 : 1);
}

static int
echo_one(int fd)
{
	unsigned char buffer[CHUNK];
	ssize_t n, sent;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < n; at += sent) {
			sent = write(fd, buffer + at, (size_t)(n - at));
			if (sent <= 0)
				return (1);
		}
	return (n == 0 ? 0 : 1);
}

static int
serve(const char *address, const char *port, int (*one_client)(int))
{
	struct addrinfo *ai = resolve(address, port, SOCK_STREAM);
	int fd, one = 1, s;
	pid_t pid;

	signal(SIGCHLD, SIG_IGN);
	s = socket(ai->ai_family, SOCK_STREAM, stream_protocol);
	if (s == -1)
		err(2, "socket");
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, ai->ai_addr, ai->ai_addrlen) == -1 || listen(s, 128) == -1)
		err(2, "%s %s", address, port);
	for (;;) {
		fd = accept(s, NULL, NULL);
		if (fd == -1)
			continue;
		pid = fork();
		if (pid == 0) {
			close(s);
			_exit(one_client(fd));
		}
		close(fd);
	}
}

static void
bind_source(int s, const char *source, const char *port)
{
	struct addrinfo *ai;
	int one = 1;

	if (source == NULL)
		return;
	ai = resolve(source, port, 0);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, ai->ai_addr, ai->ai_addrlen) == -1)
		err(2, "bind to %s %s", source, port == NULL ? "" : port);
}

static int
send_one(const char *source, const char *local_port, uint64_t octets, uint64_t rate, int patience, const char *address,
    const char *port)
{
	struct addrinfo *ai = resolve(address, port, SOCK_STREAM);
	struct transfer t = { .rate = rate };
	struct timeval tv = { .tv_sec = patience };
	unsigned char answer, head[8];
	double started;
	char text[65];
	bool good;
	int i;

	t.fd = socket(ai->ai_family, SOCK_STREAM, stream_protocol);
	if (t.fd == -1)
		err(2, "socket");
	bind_source(t.fd, source, local_port);
	started = now();
	if (connect(t.fd, ai->ai_addr, ai->ai_addrlen) == -1)
		err(1, "connect to %s %s", address, port);
	for (i = 0; i < 8; i++)
		head[i] = (unsigned char)(octets >> (56 - 8 * i));
	if (write(t.fd, head, sizeof(head)) != (ssize_t)sizeof(head))
		err(1, "write");
	nonblocking(t.fd);
	stream_init(&t.out, 1, octets);
	stream_init(&t.in, 2, octets);
	stream_init(&t.expected, 2, octets);
	if (!move(&t, patience))
		errx(1, "broken off with %ju octets to send and %ju to receive", (uintmax_t)t.out.left,
		    (uintmax_t)t.in.left);
	fcntl(t.fd, F_SETFL, 0);
	setsockopt(t.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (read(t.fd, &answer, 1) != 1)
		errx(1, "no verdict from the server");
	good = verdict(&t, text);
	printf("%s seconds %.2f up %s down %s\n", text, now() - started, answer == 'y' ? "same" : "DIFFERENT",
	    good ? "same" : "DIFFERENT");
	return (good && answer == 'y' ? 0 : 1);
}

static int
echo(const char *source, uint64_t octets, uint64_t rate, int patience, const char *address, const char *port)
{
	struct addrinfo *ai = resolve(address, port, SOCK_STREAM);
	struct transfer t = { .rate = rate };
	double started = now();
	char text[65];
	bool good;

	t.fd = socket(ai->ai_family, SOCK_STREAM, stream_protocol);
	if (t.fd == -1)
		err(2, "socket");
	bind_source(t.fd, source, NULL);
	if (connect(t.fd, ai->ai_addr, ai->ai_addrlen) == -1)
		err(1, "connect to %s %s", address, port);
	nonblocking(t.fd);
	stream_init(&t.out, 3, octets);
	stream_init(&t.in, 3, octets);
	stream_init(&t.expected, 3, octets);
	if (!move(&t, patience))
		errx(1, "broken off with %ju octets to send and %ju to receive", (uintmax_t)t.out.left,
		    (uintmax_t)t.in.left);
	good = verdict(&t, text);
	printf("%s seconds %.2f %s\n", text, now() - started, good ? "same" : "DIFFERENT");
	if (join_count > 0)
		print_subflows(t.fd);
	return (good ? 0 : 1);
}

static int
push(const char *source, uint64_t octets, uint64_t rate, int patience, const char *address, const char *port)
{
	struct addrinfo *ai = resolve(address, port, SOCK_STREAM);
	struct transfer t = { .rate = rate };
	struct timeval tv = { .tv_sec = patience };
	char text[65], answer[65] = "";
	unsigned char buffer[CHUNK];
	uint64_t left = octets;
	size_t have = 0, now_octets;
	double started, seconds;
	ssize_t n = 0;
	bool good;

	t.fd = socket(ai->ai_family, SOCK_STREAM, stream_protocol);
	if (t.fd == -1)
		err(2, "socket");
	bind_source(t.fd, source, NULL);
	if (connect(t.fd, ai->ai_addr, ai->ai_addrlen) == -1)
		err(1, "connect to %s %s", address, port);
	started = now();
	nonblocking(t.fd);
	stream_init(&t.out, 3, octets);
	stream_init(&t.expected, 3, octets);
	if (!move(&t, patience))
		errx(1, "broken off with %ju octets to send", (uintmax_t)t.out.left);
	fcntl(t.fd, F_SETFL, 0);
	setsockopt(t.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (shutdown(t.fd, SHUT_WR) == -1)
		err(1, "shutdown");
	while (have < 64 && (n = read(t.fd, answer + have, 64 - have)) > 0)
		have += (size_t)n;
	seconds = now() - started;
	if (have < 64)
		err(1, "no verdict from the server");
	for (; left > 0; left -= now_octets) {
		now_octets = left < CHUNK ? (size_t)left : CHUNK;
		if (!cheap || left == octets)
			stream_fill(&t.expected, buffer, CHUNK);
		SHA256_Update(&t.expected.hash, buffer, now_octets);
	}
	SHA256_End(&t.expected.hash, text);
	good = strcmp(text, answer) == 0;
	printf("%s seconds %.2f %s\n", text, seconds, good ? "same" : "DIFFERENT");
	if (join_count > 0)
		print_subflows(t.fd);
	return (good ? 0 : 1);
}

/*
 * So many octets from an HTTP server that has them under /<number>, the same 64 over and over: those that come are compared with the first
 * ones, which costs little beside the transfer, and hashed afterwards.
 */
static int
pull(const char *source, uint64_t octets, int patience, const char *address, const char *port)
{
	struct addrinfo *ai = resolve(address, port, SOCK_STREAM);
	struct timeval tv = { .tv_sec = patience };
	static char buffer[4 * CHUNK + 1], same[sizeof(buffer) + 64];
	char request[64], text[65], *body = NULL;
	uint64_t have = 0;
	SHA256_CTX hash;
	double started, seconds;
	bool good = true;
	size_t header = 0;
	ssize_t n;
	int s;

	s = socket(ai->ai_family, SOCK_STREAM, stream_protocol);
	if (s == -1)
		err(2, "socket");
	bind_source(s, source, NULL);
	if (connect(s, ai->ai_addr, ai->ai_addrlen) == -1)
		err(1, "connect to %s %s", address, port);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	started = now();
	n = snprintf(request, sizeof(request), "GET /%ju HTTP/1.0\r\n\r\n", (uintmax_t)octets);
	if (write(s, request, (size_t)n) != n)
		err(1, "write");
	/* The header and the first 64 octets. */
	while (header < sizeof(buffer) - 1 && (n = read(s, buffer + header, sizeof(buffer) - 1 - header)) > 0) {
		header += (size_t)n;
		buffer[header] = 0;
		body = memmem(buffer, header, "\r\n\r\n", 4);
		if (body != NULL && buffer + header - body >= 4 + 64)
			break;
	}
	if (body == NULL || buffer + header - body < 4 + 64)
		errx(1, "no answer");
	body += 4;
	for (size_t i = 0; i < sizeof(same); i++)
		same[i] = body[i % 64];
	for (n = buffer + header - body; n > 0; n = read(s, body = buffer, sizeof(buffer) - 1)) {
		good = good && memcmp(body, same + have % 64, (size_t)n) == 0;
		have += (uint64_t)n;
	}
	seconds = now() - started;
	if (have != octets)
		errx(1, "%ju octets of %ju", (uintmax_t)have, (uintmax_t)octets);
	SHA256_Init(&hash);
	for (; have > 0; have -= (uint64_t)n) {
		n = (ssize_t)(have < 4 * CHUNK ? have : 4 * CHUNK);
		SHA256_Update(&hash, same, (size_t)n);
	}
	SHA256_End(&hash, text);
	printf("%s seconds %.3f %s\n", text, seconds, good ? "same" : "DIFFERENT");
	return (good ? 0 : 1);
}

static int
udp(const char *source, const char *address, const char *port, int count)
{
	struct addrinfo *ai = resolve(address, port, SOCK_DGRAM);
	char local_port[8];
	int i, s, sent = 0;

	for (i = 0; i < count; i++) {
		s = socket(ai->ai_family, SOCK_DGRAM, 0);
		if (s == -1)
			err(2, "socket");
		snprintf(local_port, sizeof(local_port), "%d", 20000 + i);
		bind_source(s, source, local_port);
		/* A full queue on the way is waited for, not counted. */
		for (int tries = 0; tries < 100; tries++) {
			if (sendto(s, "x", 1, 0, ai->ai_addr, ai->ai_addrlen) == 1) {
				sent++;
				break;
			}
			if (errno != ENOBUFS)
				break;
			usleep(1000);
		}
		close(s);
		if (i % 16 == 15)
			usleep(1000);
	}
	printf("sent %d\n", sent);
	return (sent == count ? 0 : 1);
}

static int
blast(const char *source, int length, int seconds, const char *address, const char *port)
{
	struct addrinfo *ai = resolve(address, port, SOCK_DGRAM);
	static char data[65536];
	double until = now() + seconds;
	uint64_t sent = 0;
	int i, s;

	s = socket(ai->ai_family, SOCK_DGRAM, 0);
	if (s == -1)
		err(2, "socket");
	bind_source(s, source, NULL);
	if (connect(s, ai->ai_addr, ai->ai_addrlen) == -1)
		err(2, "connect");
	while (now() < until)
		for (i = 0; i < 64; i++)
			if (send(s, data, (size_t)length, 0) == length)
				sent++;
	printf("sent %ju\n", (uintmax_t)sent);
	return (0);
}

static int
trickle(int length, const char *address, const char *port, int count)
{
	struct addrinfo *ai = resolve(address, port, SOCK_DGRAM);
	static char data[65536];
	int i, s[16];

	for (i = 0; i < 16; i++) {
		s[i] = socket(ai->ai_family, SOCK_DGRAM, 0);
		if (s[i] == -1 || connect(s[i], ai->ai_addr, ai->ai_addrlen) == -1)
			err(2, "connect");
	}
	for (i = 0; i < count; i++) {
		if (send(s[i % 16], data, (size_t)length, 0) != length)
			usleep(500);
		/* Lets the receiving thread have the processor. */
		if (i % 32 == 31)
			usleep(2000);
	}
	printf("sent %d\n", count);
	return (0);
}

static int
sink(const char *address, const char *port, int seconds)
{
	struct addrinfo *ai = resolve(address, port, SOCK_DGRAM);
	static char data[65536];
	struct timeval tv = { .tv_usec = 100000 };
	double until = now() + seconds;
	uint64_t received = 0;
	int s;

	s = socket(ai->ai_family, SOCK_DGRAM, 0);
	if (s == -1 || bind(s, ai->ai_addr, ai->ai_addrlen) == -1)
		err(2, "%s %s", address, port);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	while (now() < until)
		if (recv(s, data, sizeof(data), 0) >= 0)
			received++;
	printf("received %ju\n", (uintmax_t)received);
	return (0);
}

int
main(int argc, char **argv)
{
	const char *mode, *local_port = NULL, *source = NULL;
	uint64_t octets = 1000000, rate = 0;
	int ch, length = 64, seconds = 60;

	if (argc < 2)
		errx(2, "what?");
	signal(SIGPIPE, SIG_IGN);
	mode = argv[1];
	argc--;
	argv++;
	while ((ch = getopt(argc, argv, "j:l:mn:p:qr:s:t:")) != -1) {
		switch (ch) {
		case 'j':
			if (join_count == (int)(sizeof(joins) / sizeof(joins[0])))
				errx(2, "too many subflows");
			joins[join_count++].text = optarg;
			break;
		case 'l':
			length = atoi(optarg);
			break;
		case 'm':
			stream_protocol = 262;
			break;
		case 'n':
			octets = strtoull(optarg, NULL, 10);
			break;
		case 'p':
			local_port = optarg;
			break;
		case 'q':
			cheap = true;
			break;
		case 'r':
			rate = strtoull(optarg, NULL, 10);
			break;
		case 's':
			source = optarg;
			break;
		case 't':
			seconds = atoi(optarg);
			break;
		default:
			return (2);
		}
	}
	argc -= optind;
	argv += optind;
	if (strcmp(mode, "serve") == 0 && argc == 2)
		return (serve(argv[0], argv[1], serve_one));
	if (strcmp(mode, "echoserve") == 0 && argc == 2)
		return (serve(argv[0], argv[1], echo_one));
	if (strcmp(mode, "echo") == 0 && argc == 2)
		return (echo(source, octets, rate, seconds, argv[0], argv[1]));
	if (strcmp(mode, "push") == 0 && argc == 2)
		return (push(source, octets, rate, seconds, argv[0], argv[1]));
	if (strcmp(mode, "pull") == 0 && argc == 2)
		return (pull(source, octets, seconds, argv[0], argv[1]));
	if (strcmp(mode, "send") == 0 && argc == 2)
		return (send_one(source, local_port, octets, rate, seconds, argv[0], argv[1]));
	if (strcmp(mode, "udp") == 0 && argc == 3)
		return (udp(source, argv[0], argv[1], atoi(argv[2])));
	if (strcmp(mode, "blast") == 0 && argc == 2)
		return (blast(source, length, seconds, argv[0], argv[1]));
	if (strcmp(mode, "trickle") == 0 && argc == 3)
		return (trickle(length, argv[0], argv[1], atoi(argv[2])));
	if (strcmp(mode, "sink") == 0 && argc == 3)
		return (sink(argv[0], argv[1], atoi(argv[2])));
	errx(2, "usage");
}
