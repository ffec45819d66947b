/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A small gateway and its tools, on the C libraries the product uses.
 *
 *	tproxy gateway [-h ms] [-w ms] <divert port, or 0> <listen port> [capture prefix]...
 *		takes SYNs from divert(4) and from tproxy(4); decides by destination port:
 *			5001-5009	proxy: connects to the server, then accepts and relays
 *			5010		proxy, but never decides
 *			others		bypass
 *		-w: waits that long before it decides
 *	tproxy fill <count> [seconds]	registers that many flows, lists them, keeps them for so long
 *	tproxy connect [-s source] [-p port] [-k] <address> <port>	says what becomes of a connection; -k: keeps a tick
 *	tproxy segment <client> <port> <destination> <port> <flags>	sends one TCP segment from a raw socket: S, A, F, R
 *	tproxy list | stats
 *	tproxy fuzz <seed> <count> root|reader|other
 */
#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "divert.h"
#include "tproxyctl.h"

#define	PENDING	1024

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static void
open_control(struct tproxyctl *ctl, bool writable)
{
	int error = tproxyctl_open(ctl, writable);

	if (error != 0)
		errx(3, "/dev/tproxy: %s", strerror(error));
}

/* ---------------------------------------------------------------- gateway */

struct pending {
	bool			used;
	bool			accepted;	/* registered and injected, to be accepted */
	struct tproxy_ioc_flow	flow;
	struct divert_packet	packet;		/* of IPv4 */
	bool			captured;	/* by tproxy(4), with this: */
	uint64_t		id;
	int			server;		/* being connected, or connected */
	double			decide_at;
	double			forget_at;
};

static struct pending pending[PENDING];
static struct tproxyctl ctl;
static int divert_fd = -1;
static struct tproxy_ioc_addr listeners[2];

static const char *
text(const struct tproxy_ioc_flow *flow)
{
	static char both[160];
	char client[64], destination[64];

	snprintf(both, sizeof(both), "%s %s", tproxyctl_format(&flow->tf_client, client, sizeof(client)),
	    tproxyctl_format(&flow->tf_destination, destination, sizeof(destination)));
	return (both);
}

static struct pending *
find(const struct tproxy_ioc_flow *flow)
{
	for (int i = 0; i < PENDING; i++)
		if (pending[i].used && memcmp(&pending[i].flow, flow, sizeof(*flow)) == 0)
			return (&pending[i]);
	return (NULL);
}

static void
forget(struct pending *p)
{
	if (p->server != -1)
		close(p->server);
	memset(p, 0, sizeof(*p));
	p->server = -1;
}

static int
inject(struct pending *p)
{
	return (p->captured ? tproxyctl_release(&ctl, p->id, TPROXY_RELEASE_INJECT) : divert_inject(divert_fd, &p->packet));
}

static void
give_up(struct pending *p, int error)
{
	int result;

	if (error == ECONNREFUSED) {
		result = p->captured ? tproxyctl_release(&ctl, p->id, TPROXY_RELEASE_REFUSE) :
		    divert_refuse(divert_fd, &p->packet);
		printf("refused %s %d\n", text(&p->flow), result);
	} else {
		result = p->captured ? tproxyctl_release(&ctl, p->id, TPROXY_RELEASE_UNREACHABLE) :
		    divert_unreachable(divert_fd, &p->packet, 1);
		printf("unreachable %s %d\n", text(&p->flow), result);
	}
	forget(p);
}

static void
connected(struct pending *p)
{
	const struct tproxy_ioc_addr *listener = &listeners[p->flow.tf_client.ta_family == TPROXY_ABI_IPV6];
	socklen_t size = sizeof(int);
	int error = 0;

	getsockopt(p->server, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error != 0) {
		give_up(p, error);
		return;
	}
	error = tproxyctl_register(&ctl, &p->flow, listener);
	if (error == 0) {
		error = inject(p);
		/* It was held too long and went its way: so must the rest. */
		if (error == ENOENT)
			tproxyctl_unregister(&ctl, &p->flow);
	}
	printf("registered %s %d\n", text(&p->flow), error);
	if (error != 0) {
		forget(p);
		return;
	}
	p->accepted = true;
	p->forget_at = now() + 30;
}

static void
decide(struct pending *p)
{
	struct sockaddr_storage address;
	socklen_t length;
	int port = p->flow.tf_destination.ta_port;

	p->decide_at = 0;
	if (port == 5010) {
		printf("held %s\n", text(&p->flow));
		p->forget_at = now() + 10;
		return;
	}
	if (port < 5001 || port > 5009) {
		printf("bypassed %s %d\n", text(&p->flow), inject(p));
		forget(p);
		return;
	}
	length = tproxyctl_to_sockaddr(&p->flow.tf_destination, &address);
	p->server = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->server == -1)
		err(1, "socket");
	if (connect(p->server, (struct sockaddr *)&address, length) == 0)
		connected(p);
	else if (errno != EINPROGRESS)
		give_up(p, errno);
}

static struct pending *
begin(const struct tproxy_ioc_flow *flow, int wait_ms)
{
	struct pending *p = find(flow);

	/* A repeated SYN of a flow that is decided about already is matched to the one held. */
	if (p != NULL && !p->accepted) {
		printf("repeated %s\n", text(flow));
		return (NULL);
	}
	if (p != NULL) {
		printf("again %s\n", text(flow));
		return (p);
	}
	for (p = pending; p < pending + PENDING && p->used; p++)
		;
	if (p == pending + PENDING)
		return (NULL);
	p->used = true;
	p->server = -1;
	p->flow = *flow;
	p->decide_at = now() + wait_ms / 1000.0;
	printf("syn %s\n", text(flow));
	return (p);
}

static void
pump(int a, int b)
{
	struct pollfd pfd[2] = { { .fd = a }, { .fd = b } };
	static char data[2][65536];
	size_t have[2] = { 0, 0 }, at[2] = { 0, 0 };
	bool eof[2] = { false, false }, shut[2] = { false, false };
	ssize_t n;

	fcntl(a, F_SETFL, O_NONBLOCK);
	fcntl(b, F_SETFL, O_NONBLOCK);
	while (!shut[0] || !shut[1]) {
		for (int i = 0; i < 2; i++)
			pfd[i].events = (short)((!eof[i] && have[i] == 0 ? POLLIN : 0) | (have[1 - i] > 0 ? POLLOUT : 0));
		for (int i = 0; i < 2; i++)
			pfd[i].fd = pfd[i].events == 0 ? -1 : i == 0 ? a : b;
		if (poll(pfd, 2, 60000) <= 0)
			_exit(1);
		for (int i = 0; i < 2; i++) {
			int in = i == 0 ? a : b, out = i == 0 ? b : a;

			if (!eof[i] && have[i] == 0 && (pfd[i].revents & (POLLIN | POLLHUP | POLLERR))) {
				n = read(in, data[i], sizeof(data[i]));
				if (n == -1 && errno != EAGAIN)
					_exit(1);
				if (n == 0)
					eof[i] = true;
				if (n > 0) {
					have[i] = (size_t)n;
					at[i] = 0;
				}
			}
			while (have[i] > 0) {
				n = write(out, data[i] + at[i], have[i]);
				if (n == -1 && errno == EAGAIN)
					break;
				if (n == -1)
					_exit(1);
				at[i] += (size_t)n;
				have[i] -= (size_t)n;
			}
			if (eof[i] && have[i] == 0 && !shut[i]) {
				shutdown(out, SHUT_WR);
				shut[i] = true;
			}
		}
	}
	_exit(0);
}

static void
accept_one(int listener)
{
	struct sockaddr_storage local, peer;
	struct tproxy_ioc_flow flow;
	struct pending *p;
	socklen_t size = sizeof(peer);
	int fd = accept(listener, (struct sockaddr *)&peer, &size);

	if (fd == -1)
		return;
	size = sizeof(local);
	getsockname(fd, (struct sockaddr *)&local, &size);
	memset(&flow, 0, sizeof(flow));
	tproxyctl_from_sockaddr((struct sockaddr *)&peer, &flow.tf_client);
	tproxyctl_from_sockaddr((struct sockaddr *)&local, &flow.tf_destination);
	p = find(&flow);
	if (p == NULL) {
		printf("stranger %s\n", text(&flow));
		close(fd);
		return;
	}
	printf("accepted %s\n", text(&flow));
	fflush(stdout);
	if (fork() == 0)
		pump(fd, p->server);
	close(fd);
	forget(p);
}

static int
listen_on(const char *address, uint16_t port, struct tproxy_ioc_addr *abi)
{
	struct sockaddr_storage ss;
	socklen_t length;
	int one = 1, s;

	if (tproxyctl_parse(address, port, abi) != 0)
		errx(2, "%s", address);
	length = tproxyctl_to_sockaddr(abi, &ss);
	s = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s == -1 || bind(s, (struct sockaddr *)&ss, length) == -1 || listen(s, 512) == -1)
		err(2, "%s port %u", address, port);
	return (s);
}

static int
gateway(int wait_ms, int hold_ms, uint16_t divert_port, uint16_t port, char **prefixes, int count)
{
	static struct pollfd pfd[PENDING + 4];
	struct tproxy_ioc_rule rules[8];
	struct tproxy_event events[16];
	struct divert_packet packet;
	struct divert_syn syn;
	struct tproxy_ioc_flow flow;
	struct pending *p, *of[PENDING];
	size_t number;
	int error, l4, l6;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGCHLD, SIG_IGN);
	open_control(&ctl, true);
	fcntl(ctl.fd, F_SETFL, O_NONBLOCK);
	l4 = listen_on("127.0.0.1", port, &listeners[0]);
	l6 = listen_on("::1", port, &listeners[1]);
	if (divert_port != 0 && (error = divert_open(divert_port, 1 << 20, &divert_fd)) != 0)
		errx(2, "divert: %s", strerror(error));
	memset(rules, 0, sizeof(rules));
	for (int i = 0; i < count && i < 8; i++) {
		if (tproxyctl_parse(prefixes[i], 0, &rules[i].ru_destination) != 0)
			errx(2, "%s", prefixes[i]);
		rules[i].ru_port_low = 1;
		rules[i].ru_port_high = 65535;
		rules[i].ru_action = TPROXY_RULE_CAPTURE;
	}
	if (count > 0 && (error = tproxyctl_capture(&ctl, rules, (size_t)count, (uint32_t)hold_ms)) != 0)
		errx(2, "capture: %s", strerror(error));
	for (p = pending; p < pending + PENDING; p++)
		p->server = -1;
	printf("ready\n");
	for (;;) {
		int fds = 0, wait = 1000;
		double time = now();

		pfd[fds++] = (struct pollfd){ .fd = divert_fd, .events = POLLIN };
		pfd[fds++] = (struct pollfd){ .fd = ctl.fd, .events = POLLIN };
		pfd[fds++] = (struct pollfd){ .fd = l4, .events = POLLIN };
		pfd[fds++] = (struct pollfd){ .fd = l6, .events = POLLIN };
		for (p = pending; p < pending + PENDING; p++) {
			if (!p->used)
				continue;
			if (p->decide_at != 0)
				wait = MIN(wait, MAX(0, (int)((p->decide_at - time) * 1000) + 1));
			if (p->server != -1 && !p->accepted) {
				of[fds - 4] = p;
				pfd[fds++] = (struct pollfd){ .fd = p->server, .events = POLLOUT };
			}
		}
		if (poll(pfd, (nfds_t)fds, wait) == -1 && errno != EINTR)
			err(1, "poll");
		for (int i = 4; i < fds; i++)
			if (pfd[i].revents != 0)
				connected(of[i - 4]);
		if (pfd[2].revents != 0)
			accept_one(l4);
		if (pfd[3].revents != 0)
			accept_one(l6);
		if (pfd[0].revents != 0) {
			while (divert_receive(divert_fd, &packet) == 0) {
				if (!divert_parse(&packet, &syn)) {
					printf("odd packet of %zu octets\n", packet.length);
					continue;
				}
				memset(&flow, 0, sizeof(flow));
				tproxyctl_from_sockaddr((struct sockaddr *)&syn.client, &flow.tf_client);
				tproxyctl_from_sockaddr((struct sockaddr *)&syn.destination, &flow.tf_destination);
				p = begin(&flow, wait_ms);
				if (p == NULL)
					continue;
				p->packet = packet;
				if (p->accepted)
					inject(p);
			}
		}
		if (pfd[1].revents != 0) {
			error = tproxyctl_events(&ctl, events, nitems(events), &number);
			if (error != 0)
				errx(1, "events: %s", strerror(error));
			for (size_t i = 0; i < number; i++) {
				p = begin(&events[i].ev_flow, wait_ms);
				if (p == NULL)
					continue;
				p->captured = true;
				p->id = events[i].ev_id;
				if (p->accepted)
					inject(p);
			}
		}
		time = now();
		for (p = pending; p < pending + PENDING; p++) {
			if (p->used && p->decide_at != 0 && time >= p->decide_at)
				decide(p);
			else if (p->used && p->forget_at != 0 && time >= p->forget_at)
				forget(p);
		}
	}
}

/* ---------------------------------------------------------------- tools */

static int
list(bool count_only)
{
	static const char *const states[] = { "?", "waiting", "connected", "gone", "passed" };
	struct tproxy_ioc_entry *entries;
	char client[64], destination[64], listener[64];
	size_t count;
	int error;

	open_control(&ctl, false);
	error = tproxyctl_list(&ctl, &entries, &count);
	if (error != 0)
		errx(1, "list: %s", strerror(error));
	for (size_t i = 0; i < count && !count_only; i++)
		printf("%s %s %s %s\n", tproxyctl_format(&entries[i].te_flow.tf_client, client, sizeof(client)),
		    tproxyctl_format(&entries[i].te_flow.tf_destination, destination, sizeof(destination)),
		    tproxyctl_format(&entries[i].te_listener, listener, sizeof(listener)),
		    states[entries[i].te_state < nitems(states) ? entries[i].te_state : 0]);
	if (count_only)
		printf("%zu\n", count);
	free(entries);
	return (0);
}

static int
stats(void)
{
	struct tproxy_ioc_stats s;
	int error;

	open_control(&ctl, false);
	error = tproxyctl_stats(&ctl, &s);
	if (error != 0)
		errx(1, "stats: %s", strerror(error));
	printf("flows %u held %u", s.st_flows, s.st_held);
#define	SHOW(name, text)	printf(" " #name " %ju", (uintmax_t)s.st_##name);
	TPROXY_COUNTERS(SHOW)
#undef SHOW
	printf("\n");
	return (0);
}

static int
fill(int count, int seconds)
{
	struct tproxy_ioc_flow flow;
	struct tproxy_ioc_addr to4, to6;
	struct tproxy_ioc_entry *entries;
	double started;
	size_t number;
	int error, i;

	open_control(&ctl, true);
	memset(&flow, 0, sizeof(flow));
	tproxyctl_parse("127.0.0.1", 7001, &to4);
	tproxyctl_parse("::1", 7001, &to6);
	started = now();
	for (i = 0; i < count; i++) {
		bool six = i % 2 == 1;

		tproxyctl_parse(six ? "2001:db8:9::1" : "10.9.0.1", (uint16_t)(1 + i % 60000), &flow.tf_client);
		tproxyctl_parse(six ? "2001:db8:2::10" : "198.18.2.10", 5001, &flow.tf_destination);
		flow.tf_client.ta_octets[six ? 15 : 3] = (uint8_t)(1 + i / 60000);
		error = tproxyctl_register(&ctl, &flow, six ? &to6 : &to4);
		if (error != 0)
			errx(1, "flow %d: %s", i, strerror(error));
	}
	printf("registered %d in %.2f s\n", count, now() - started);
	error = tproxyctl_list(&ctl, &entries, &number);
	if (error != 0 || (int)number != count)
		errx(1, "listed %zu of %d: %s", number, count, strerror(error));
	printf("listed %zu\n", number);
	fflush(stdout);
	sleep((unsigned)seconds);
	return (0);
}

static struct addrinfo *
resolve(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	struct addrinfo *result;

	if (getaddrinfo(address, port, &hints, &result) != 0)
		errx(2, "%s %s: not an address", address, port);
	return (result);
}

static int
try_connect(const char *source, const char *port, bool keep, const char *address, const char *service)
{
	struct addrinfo *ai = resolve(address, service), *from;
	double started = now();
	int one = 1, s = socket(ai->ai_family, SOCK_STREAM, 0);
	const char *what;
	char octet;

	if (s == -1)
		err(2, "socket");
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (source != NULL) {
		from = resolve(source, port);
		if (bind(s, from->ai_addr, from->ai_addrlen) == -1)
			err(2, "bind");
	}
	if (connect(s, ai->ai_addr, ai->ai_addrlen) == 0)
		what = "connected";
	else if (errno == ECONNREFUSED)
		what = "refused";
	else if (errno == EHOSTUNREACH || errno == ENETUNREACH)
		what = "unreachable";
	else
		what = strerror(errno);
	printf("%s %.1f\n", what, now() - started);
	fflush(stdout);
	if (keep)
		(void)read(s, &octet, 1);
	return (strcmp(what, "connected") == 0 ? 0 : 1);
}

static uint16_t
checksum(const void *octets, size_t length, uint32_t sum)
{
	const unsigned char *p = octets;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (htons((uint16_t)~sum));
}

static int
segment(const char *client, const char *client_port, const char *destination, const char *port, const char *flags)
{
	struct addrinfo *from = resolve(client, client_port), *to = resolve(destination, port);
	struct {
		struct ip ip;
		struct tcphdr th;
	} packet;
	int offset = 16, one = 1, s;
	uint32_t sum;

	memset(&packet, 0, sizeof(packet));
	packet.th.th_sport = htons((uint16_t)atoi(client_port));
	packet.th.th_dport = htons((uint16_t)atoi(port));
	packet.th.th_seq = htonl(1000);
	packet.th.th_ack = htonl(strchr(flags, 'A') != NULL ? 2000 : 0);
	packet.th.th_off = 5;
	packet.th.th_win = htons(1024);
	packet.th.th_flags = (uint8_t)((strchr(flags, 'S') ? TH_SYN : 0) | (strchr(flags, 'A') ? TH_ACK : 0) |
	    (strchr(flags, 'F') ? TH_FIN : 0) | (strchr(flags, 'R') ? TH_RST : 0));
	if (to->ai_family == AF_INET6) {
		struct sockaddr_in6 where = *(struct sockaddr_in6 *)(void *)to->ai_addr;
		struct sockaddr_in6 own = *(struct sockaddr_in6 *)(void *)from->ai_addr;

		where.sin6_port = own.sin6_port = 0;
		s = socket(AF_INET6, SOCK_RAW, IPPROTO_TCP);
		if (s == -1 || setsockopt(s, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, sizeof(offset)) == -1 ||
		    bind(s, (struct sockaddr *)&own, sizeof(own)) == -1 ||
		    sendto(s, &packet.th, sizeof(packet.th), 0, (struct sockaddr *)&where, sizeof(where)) == -1)
			err(1, "segment");
		return (0);
	}
	packet.ip.ip_v = 4;
	packet.ip.ip_hl = 5;
	packet.ip.ip_len = htons(sizeof(packet));
	packet.ip.ip_ttl = 64;
	packet.ip.ip_p = IPPROTO_TCP;
	packet.ip.ip_src = ((struct sockaddr_in *)(void *)from->ai_addr)->sin_addr;
	packet.ip.ip_dst = ((struct sockaddr_in *)(void *)to->ai_addr)->sin_addr;
	sum = IPPROTO_TCP + sizeof(packet.th);
	for (int i = 0; i < 4; i++)
		sum += ntohs(((uint16_t *)(void *)&packet.ip.ip_src)[i]);
	packet.th.th_sum = checksum(&packet.th, sizeof(packet.th), sum);
	s = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (s == -1 || setsockopt(s, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)) == -1 ||
	    sendto(s, &packet, sizeof(packet), 0, to->ai_addr, to->ai_addrlen) == -1)
		err(1, "segment");
	return (0);
}

/* ---------------------------------------------------------------- ioctls nobody should send */

static uint64_t fuzz_state;
static struct tproxy_ioc_entry fuzz_room[64];

static uint32_t
draw(void)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return ((uint32_t)(fuzz_state >> 16));
}

/* An argument that is right in most places, so that each check is reached. */
static void
make_argument(unsigned char *argument, size_t size, unsigned long request)
{
	uint32_t version = TPROXY_ABI_VERSION;

	memset(argument, 0, size);
	if (request == TPROXYIOC_REGISTER || request == TPROXYIOC_UNREGISTER) {
		struct tproxy_ioc_register *r = (struct tproxy_ioc_register *)(void *)argument;

		tproxyctl_parse("10.9.0.1", (uint16_t)(1 + draw() % 8), &r->tr_flow.tf_client);
		tproxyctl_parse("198.18.2.10", 5001, &r->tr_flow.tf_destination);
		tproxyctl_parse("127.0.0.1", 7001, &r->tr_listener);
	} else if (request == TPROXYIOC_CAPTURE) {
		struct tproxy_ioc_capture *c = (struct tproxy_ioc_capture *)(void *)argument;

		c->ca_count = draw() % 3;
		c->ca_hold_ms = draw() % 2 * (draw() % 100);
		for (uint32_t i = 0; i < c->ca_count; i++) {
			tproxyctl_parse("2001:db8:77::/48", 0, &c->ca_rules[i].ru_destination);
			c->ca_rules[i].ru_port_high = 100;
			c->ca_rules[i].ru_action = draw() % 2;
		}
	} else if (request == TPROXYIOC_LIST) {
		struct tproxy_ioc_list *l = (struct tproxy_ioc_list *)(void *)argument;

		l->ls_count = draw() % 64;
		l->ls_cursor = draw() % 4 == 0 ? (uint64_t)draw() << 32 | draw() : 0;
	} else if (request == TPROXYIOC_RELEASE) {
		struct tproxy_ioc_release *r = (struct tproxy_ioc_release *)(void *)argument;

		r->re_id = draw() % 4;
		r->re_action = draw() % 6;
	}
	memcpy(argument, &version, sizeof(version));
	if (draw() % 2 == 0)
		for (uint32_t i = draw() % 4 + 1; i > 0; i--)
			argument[draw() % size] = (unsigned char)draw();
}

static int
fuzz(uint64_t seed, int count, const char *who)
{
	static const unsigned long requests[] = { TPROXYIOC_STATS, TPROXYIOC_REGISTER, TPROXYIOC_UNREGISTER, TPROXYIOC_LIST,
	    TPROXYIOC_CAPTURE, TPROXYIOC_RELEASE };
	static unsigned char argument[8192];
	bool reader = strcmp(who, "reader") == 0;
	int changed = 0, fd, good = 0, i;
	struct pollfd pfd;

	fuzz_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	if (strcmp(who, "other") == 0) {
		if (setgid(65534) == -1 || setuid(65534) == -1)
			err(2, "setuid");
		/* Neither the file's mode nor the module lets anybody else write. */
		fd = open("/dev/tproxy", O_RDWR);
		if (fd != -1)
			errx(1, "opened for writing");
		printf("open: %s\n", strerror(errno));
		return (errno == EACCES || errno == EPERM ? 0 : 1);
	}
	fd = open("/dev/tproxy", (reader ? O_RDONLY : O_RDWR) | O_NONBLOCK);
	if (fd == -1)
		err(2, "/dev/tproxy");
	if (reader && (setgid(65534) == -1 || setuid(65534) == -1))
		err(2, "setuid");
	for (i = 0; i < count; i++) {
		unsigned long request = requests[draw() % nitems(requests)];
		bool valid = draw() % 8 != 0;

		/* A wrong size, number or direction. */
		if (!valid)
			request = draw() % 2 == 0 ? request ^ (unsigned long)(draw() % 256) << 16 : (unsigned long)draw();
		if (IOCPARM_LEN(request) > sizeof(argument))
			continue;
		make_argument(argument, IOCPARM_LEN(request) > 8 && valid ? IOCPARM_LEN(request) : 64, request);
		/* The kernel writes where it is told to: into the room there is, or nowhere. */
		if (request == TPROXYIOC_LIST) {
			struct tproxy_ioc_list *l = (struct tproxy_ioc_list *)(void *)argument;

			l->ls_buffer = l->ls_count <= nitems(fuzz_room) ? (uint64_t)(uintptr_t)fuzz_room : 0xdead;
		}
		if (ioctl(fd, request, argument) == 0) {
			good++;
			if (request != TPROXYIOC_STATS && request != TPROXYIOC_LIST && IOCGROUP(request) == 'T')
				changed++;
		}
		if (draw() % 64 == 0)
			(void)read(fd, argument, draw() % sizeof(argument));
		pfd = (struct pollfd){ .fd = fd, .events = (short)draw() };
		if (draw() % 64 == 0)
			(void)poll(&pfd, 1, 0);
	}
	printf("%d of %d accepted, %d of them changes\n", good, count, changed);
	if (reader)
		return (changed == 0 ? 0 : 1);
	return (good > 0 && changed > 0 ? 0 : 1);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "", *port = NULL, *source = NULL;
	bool keep = false;
	int ch, hold_ms = 0, wait_ms = 0;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		errx(2, "what?");
	argc--;
	argv++;
	while ((ch = getopt(argc, argv, "h:kp:s:w:")) != -1) {
		switch (ch) {
		case 'h':
			hold_ms = atoi(optarg);
			break;
		case 'k':
			keep = true;
			break;
		case 'p':
			port = optarg;
			break;
		case 's':
			source = optarg;
			break;
		case 'w':
			wait_ms = atoi(optarg);
			break;
		default:
			return (2);
		}
	}
	argc -= optind;
	argv += optind;
	if (strcmp(mode, "gateway") == 0 && argc >= 2)
		return (gateway(wait_ms, hold_ms, (uint16_t)atoi(argv[0]), (uint16_t)atoi(argv[1]), argv + 2, argc - 2));
	if (strcmp(mode, "fill") == 0 && argc >= 1)
		return (fill(atoi(argv[0]), argc > 1 ? atoi(argv[1]) : 0));
	if (strcmp(mode, "connect") == 0 && argc == 2)
		return (try_connect(source, port, keep, argv[0], argv[1]));
	if (strcmp(mode, "segment") == 0 && argc == 5)
		return (segment(argv[0], argv[1], argv[2], argv[3], argv[4]));
	if (strcmp(mode, "list") == 0)
		return (list(false));
	if (strcmp(mode, "count") == 0)
		return (list(true));
	if (strcmp(mode, "stats") == 0)
		return (stats());
	if (strcmp(mode, "fuzz") == 0 && argc == 3)
		return (fuzz(strtoull(argv[0], NULL, 10), atoi(argv[1]), argv[2]));
	errx(2, "usage");
}
