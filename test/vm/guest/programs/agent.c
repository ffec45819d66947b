/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The addon's native object for a daemon that runs elsewhere: each line that comes over TCP is one call, each line that goes back
 * one answer or event. The functions called are those the addon binds.
 *
 *	daemon (Node.js, elsewhere) <-- TCP --> agent <-- src/native/{common,freebsd} --> kernel
 *
 * A call: number, name, arguments; separated by tabs, with %XX for what would be mistaken. An answer: JSON on a line. When the
 * connection ends so does the agent, and with it every descriptor: as a daemon's death would.
 *
 * The guard's agent starts the daemon's as the user the guard names; what is handed over travels between the two:
 *
 *	guard  <-- TCP --> agent (root) --descriptors, SCM_RIGHTS--> agent (user) <-- TCP --> daemon
 */
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addresses.h"
#include "anchor.h"
#include "connector.h"
#include "descriptors.h"
#include "divert.h"
#include "errno_name.h"
#include "lispctl.h"
#include "listener.h"
#include "mptcpctl.h"
#include "relay.h"
#include "tproxyctl.h"

#define	ARGUMENTS	128
#define	LINE_MAX_OCTETS	(1 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int link_fd = -1;
static int divert_fd = -1;
/* The one that captures, of those that are open. */
static struct tproxyctl tproxy = { -1 };
static struct lispctl lisp = { -1 };
static struct mptcpctl mptcp = { -1 };
static struct am_listeners *listeners;
static struct am_relay *relay;
static struct am_connector *connector;
/* Between the guard's agent and the daemon's. */
static int pair_fd = -1;
/* LISP control messages: one socket for each local address. */
static int udp_fd[16];
static int udp_fds;
static const char *self, *own_address, *first_descriptor = "0";

static char *argument[ARGUMENTS];
static int arguments;

/* ---------------------------------------------------------------- text */

struct text {
	char *octets;
	size_t length, room;
};

static void
put_octets(struct text *t, const char *octets, size_t length)
{
	if (t->length + length + 1 > t->room) {
		t->room = (t->length + length + 1) * 2;
		t->octets = realloc(t->octets, t->room);
		if (t->octets == NULL)
			err(1, "memory");
	}
	memcpy(t->octets + t->length, octets, length);
	t->length += length;
	t->octets[t->length] = '\0';
}

static void __printflike(2, 3)
put(struct text *t, const char *format, ...)
{
	char room[1024];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(room, sizeof(room), format, list);
	va_end(list);
	if (length >= (int)sizeof(room))
		errx(1, "too long");
	put_octets(t, room, (size_t)length);
}

static void
put_string(struct text *t, const char *string)
{
	put(t, "\"");
	for (; *string != '\0'; string++) {
		if (*string == '"' || *string == '\\' || (unsigned char)*string < ' ')
			put(t, "\\u%04x", (unsigned char)*string);
		else
			put_octets(t, string, 1);
	}
	put(t, "\"");
}

static void
send_line(struct text *t)
{
	size_t sent = 0;
	ssize_t n;

	put(t, "\n");
	pthread_mutex_lock(&lock);
	while (sent < t->length) {
		n = send(link_fd, t->octets + sent, t->length - sent, MSG_NOSIGNAL);
		if (n == -1 && errno != EINTR)
			_exit(0);
		if (n > 0)
			sent += (size_t)n;
	}
	pthread_mutex_unlock(&lock);
	free(t->octets);
}

static void
put_endpoint(struct text *t, const char *name, const struct sockaddr_storage *address)
{
	char room[INET6_ADDRSTRLEN];
	uint16_t port;

	am_address_format(address, room, &port);
	put(t, "\"%s\":{\"address\":\"%s\",\"port\":%u}", name, room, port);
}

static void
put_tproxy(struct text *t, const char *name, const struct tproxy_ioc_addr *address)
{
	struct sockaddr_storage storage;

	memset(&storage, 0, sizeof(storage));
	tproxyctl_to_sockaddr(address, &storage);
	put_endpoint(t, name, &storage);
}

static const char *
arg(int n)
{
	return (n < arguments ? argument[n] : "");
}

static long long
number(int n)
{
	return (strtoll(arg(n), NULL, 10));
}

/* ---------------------------------------------------------------- events of threads */

static void
on_accepted(void *context __unused, const struct am_accepted *accepted)
{
	struct text t = { 0 };
	char room[INET6_ADDRSTRLEN];
	uint16_t port;

	am_address_format(&accepted->client, room, &port);
	put(&t, "{\"event\":\"accepted\",\"descriptor\":%d,\"clientAddress\":\"%s\",\"clientPort\":%u", accepted->fd, room, port);
	am_address_format(&accepted->destination, room, &port);
	put(&t, ",\"destinationAddress\":\"%s\",\"destinationPort\":%u}", room, port);
	send_line(&t);
}

static void
on_connected(void *context __unused, int fd, int error)
{
	struct text t = { 0 };

	put(&t, "{\"event\":\"connected\",\"descriptor\":%d", fd);
	if (error != 0)
		put(&t, ",\"error\":\"%s\"", am_errno_name(error));
	put(&t, "}");
	send_line(&t);
}

static const char *const reasons[AM_CLOSE_REASONS] = { "finished", "client-reset", "server-reset", "idle-timeout",
	"half-open-timeout", "killed", "drain", "error" };

static void
on_closed(void *context __unused, const struct am_session_report *report)
{
	struct text t = { 0 };

	put(&t, "{\"event\":\"closed\",\"session\":%ju,\"reason\":\"%s\",\"up\":%ju,\"down\":%ju,\"durationMs\":%ju",
	    (uintmax_t)report->session, reasons[report->reason], (uintmax_t)report->up, (uintmax_t)report->down,
	    (uintmax_t)report->duration_ms);
	if (report->error != 0)
		put(&t, ",\"code\":\"%s\"", am_errno_name(report->error));
	put(&t, "}");
	send_line(&t);
}

/* ---------------------------------------------------------------- events of descriptors */

static void
on_divert(void)
{
	struct divert_packet packet;
	struct sockaddr_storage address;
	struct divert_syn syn;
	int error;

	for (int n = 0; n < 256; n++) {
		struct text t = { 0 };
		const unsigned char *octets = (const unsigned char *)&packet;

		error = divert_receive(divert_fd, &packet);
		if (error == EMSGSIZE)
			continue;
		if (error != 0)
			return;
		if (!divert_parse(&packet, &syn)) {
			divert_inject(divert_fd, &packet);
			continue;
		}
		put(&t, "{\"event\":\"diverted\",\"sequence\":%u,\"joins\":%s,", syn.sequence, syn.joins ? "true" : "false");
		memset(&address, 0, sizeof(address));
		memcpy(&address, &syn.client, sizeof(syn.client));
		put_endpoint(&t, "client", &address);
		memcpy(&address, &syn.destination, sizeof(syn.destination));
		put(&t, ",");
		put_endpoint(&t, "destination", &address);
		put(&t, ",\"packet\":\"");
		for (size_t i = 0; i < offsetof(struct divert_packet, octets) + packet.length; i++)
			put(&t, "%02x", octets[i]);
		put(&t, "\"}");
		send_line(&t);
	}
}

static void
on_tproxy(void)
{
	struct tproxy_event events[32];
	size_t count = 0;

	if (tproxyctl_events(&tproxy, events, nitems(events), &count) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct text t = { 0 };

		put(&t, "{\"event\":\"captured\",\"id\":%ju,\"joins\":%s,", (uintmax_t)events[i].ev_id,
		    divert_joins(events[i].ev_snapshot, events[i].ev_snapshot_length) ? "true" : "false");
		put_tproxy(&t, "client", &events[i].ev_flow.tf_client);
		put(&t, ",");
		put_tproxy(&t, "destination", &events[i].ev_flow.tf_destination);
		put(&t, "}");
		send_line(&t);
	}
}

static void
on_lisp(void)
{
	struct lisp_event events[32];
	size_t count = 0;
	char room[64];

	if (lispctl_events(&lisp, events, nitems(events), &count) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct text t = { 0 };

		/* Gleaned flows and MTUs are not needed by what is tested this way. */
		if (events[i].ev_type != LISP_EVENT_MISS)
			continue;
		put(&t, "{\"event\":\"plane\",\"plane\":{\"type\":\"miss\",\"iid\":%u,\"eid\":\"%s\",\"reason\":\"%s\"}}",
		    events[i].ev_iid, lispctl_format(&events[i].ev.miss.eid, false, room, sizeof(room)),
		    events[i].ev.miss.reason == LISP_MISS_ENCAPSULATE ? "encapsulate" : "source-check");
		send_line(&t);
	}
}

static void
put_mptcp(struct text *t, const char *name, const struct mptcp_ioc_addr *address)
{
	struct sockaddr_storage storage;

	if (mptcpctl_to_sockaddr(address, &storage) != 0)
		put_endpoint(t, name, &storage);
	else
		put(t, "\"%s\":{\"address\":\"\",\"port\":0}", name);
}

static void
on_mptcp(void)
{
	static const char *const types[] = { "unknown", "created", "established", "fallback", "closed", "announced", "removed",
		"subflow-up", "subflow-down", "subflow-priority" };
	struct mptcp_event events[32];
	size_t count = 0;

	if (mptcpctl_events(&mptcp, events, nitems(events), &count) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		const struct mptcp_event *event = &events[i];
		struct text t = { 0 };

		put(&t, "{\"event\":\"mptcp\",\"mptcp\":{\"type\":\"%s\",\"token\":%u,\"id\":%u,\"addressId\":%u,\"backup\":%s,\"lost\":%u,",
		    types[event->ev_type < nitems(types) ? event->ev_type : 0], event->ev_token, event->ev_id, event->ev_address_id,
		    (event->ev_flags & MPTCP_FLAG_PEER_BACKUP) != 0 ? "true" : "false", event->ev_lost);
		put_mptcp(&t, "local", &event->ev_local);
		put(&t, ",");
		put_mptcp(&t, "remote", &event->ev_remote);
		if (event->ev_error != 0)
			put(&t, ",\"error\":\"%s\"", am_errno_name(event->ev_error));
		put(&t, "}}");
		send_line(&t);
	}
}

static void
on_datagram(int fd)
{
	static unsigned char octets[65536];
	struct sockaddr_storage from;
	socklen_t length;
	char room[INET6_ADDRSTRLEN];
	uint16_t port;
	ssize_t n;

	for (;;) {
		struct text t = { 0 };

		length = sizeof(from);
		n = recvfrom(fd, octets, sizeof(octets), MSG_DONTWAIT, (struct sockaddr *)&from, &length);
		if (n == -1)
			return;
		am_address_format(&from, room, &port);
		put(&t, "{\"event\":\"datagram\",\"descriptor\":%d,\"address\":\"%s\",\"port\":%u,\"data\":\"", fd, room, port);
		for (ssize_t i = 0; i < n; i++)
			put(&t, "%02x", octets[i]);
		put(&t, "\"}");
		send_line(&t);
	}
}

/* ---------------------------------------------------------------- calls: 0, or errno, with the result in JSON */

static int
call_run(struct text *out)
{
	char *argv[ARGUMENTS + 1], room[4096];
	struct text said = { 0 };
	int pipes[2], in[2], status;
	pid_t child;
	ssize_t n;

	/* arguments: standard input, program, its arguments */
	if (arguments < 2)
		return (EINVAL);
	for (int i = 1; i < arguments; i++)
		argv[i - 1] = argument[i];
	argv[arguments - 1] = NULL;
	if (pipe2(pipes, O_CLOEXEC) == -1 || pipe2(in, O_CLOEXEC) == -1)
		return (errno);
	child = fork();
	if (child == 0) {
		dup2(in[0], 0);
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(in[0]);
	close(pipes[1]);
	if (child == -1)
		return (errno);
	/* Shorter than a pipe's room. */
	(void)write(in[1], argument[0], strlen(argument[0]));
	close(in[1]);
	while ((n = read(pipes[0], room, sizeof(room))) > 0)
		put_octets(&said, room, (size_t)n);
	close(pipes[0]);
	waitpid(child, &status, 0);
	put(out, "{\"status\":%d,\"output\":", WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	put_string(out, said.octets == NULL ? "" : said.octets);
	put(out, "}");
	free(said.octets);
	return (0);
}

static int
call_open_divert(struct text *out)
{
	int error, fd;

	error = divert_open((uint16_t)number(0), (int)number(1), &fd);
	if (error == 0)
		put(out, "%d", fd);
	return (error);
}

static int
call_open_device(struct text *out)
{
	int fd = open(arg(0), O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd == -1)
		return (errno);
	put(out, "%d", fd);
	return (0);
}

static int
call_divert_watch(struct text *out __unused)
{
	divert_fd = (int)number(0);
	return (0);
}

static int
packet_of(struct divert_packet *packet)
{
	const char *hex = arg(0);
	size_t length = strlen(hex) / 2;
	unsigned char *to = (unsigned char *)packet;
	unsigned octet;

	memset(packet, 0, sizeof(*packet));
	if (length < offsetof(struct divert_packet, octets) || length > sizeof(*packet))
		return (EINVAL);
	for (size_t i = 0; i < length; i++) {
		if (sscanf(hex + 2 * i, "%2x", &octet) != 1)
			return (EINVAL);
		to[i] = (unsigned char)octet;
	}
	return (packet->length == length - offsetof(struct divert_packet, octets) ? 0 : EINVAL);
}

static int
call_divert(struct text *out __unused, const char *what)
{
	struct divert_packet packet;
	int error;

	if (strcmp(what, "close") == 0) {
		close(divert_fd);
		divert_fd = -1;
		return (0);
	}
	error = packet_of(&packet);
	if (error != 0)
		return (error);
	if (strcmp(what, "inject") == 0)
		return (divert_inject(divert_fd, &packet));
	if (strcmp(what, "refuse") == 0)
		return (divert_refuse(divert_fd, &packet));
	return (divert_unreachable(divert_fd, &packet, (uint8_t)number(1)));
}

static int
call_tproxy(struct text *out, const char *what)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = { { "inject", TPROXY_RELEASE_INJECT }, { "refuse", TPROXY_RELEASE_REFUSE },
	    { "unreachable", TPROXY_RELEASE_UNREACHABLE }, { "drop", TPROXY_RELEASE_DROP } };
	struct tproxy_ioc_rule rules[TPROXY_ABI_RULES];
	struct tproxy_ioc_addr listener;
	struct tproxy_ioc_flow flow;
	struct tproxyctl ctl = { (int)number(0) };
	int count = 0, error;

	if (strcmp(what, "watch") == 0) {
		error = tproxyctl_adopt(&ctl, ctl.fd);
		if (error == 0)
			fcntl(ctl.fd, F_SETFL, O_NONBLOCK);
		return (error);
	}
	if (strcmp(what, "close") == 0) {
		if (ctl.fd == tproxy.fd)
			tproxy.fd = -1;
		tproxyctl_close(&ctl);
		return (0);
	}
	/* The descriptor was the first. */
	if (arguments > 0)
		memmove(&argument[0], &argument[1], (size_t)--arguments * sizeof(argument[0]));
	if (strcmp(what, "capture") == 0) {
		memset(rules, 0, sizeof(rules));
		for (int i = 1; i + 4 < arguments && count < TPROXY_ABI_RULES; i += 5, count++) {
			error = tproxyctl_parse(arg(i), 0, &rules[count].ru_destination);
			if (error != 0)
				return (error);
			rules[count].ru_port_low = (uint16_t)number(i + 1);
			rules[count].ru_port_high = (uint16_t)number(i + 2);
			strlcpy(rules[count].ru_ifname, arg(i + 3), sizeof(rules[count].ru_ifname));
			rules[count].ru_action = number(i + 4) != 0 ? TPROXY_RULE_CAPTURE : TPROXY_RULE_PASS;
		}
		error = tproxyctl_capture(&ctl, rules, (size_t)count, (uint32_t)number(0));
		if (error == 0)
			tproxy = ctl;
		return (error);
	}
	if (strcmp(what, "release") == 0) {
		for (size_t i = 0; i < nitems(actions); i++) {
			if (strcmp(actions[i].name, arg(1)) != 0)
				continue;
			error = tproxyctl_release(&ctl, (uint64_t)number(0), actions[i].action);
			put(out, error == 0 ? "true" : "false");
			return (error == ENOENT ? 0 : error);
		}
		return (EINVAL);
	}
	memset(&flow, 0, sizeof(flow));
	if (tproxyctl_parse(arg(0), (uint16_t)number(1), &flow.tf_client) != 0 ||
	    tproxyctl_parse(arg(2), (uint16_t)number(3), &flow.tf_destination) != 0)
		return (EINVAL);
	if (strcmp(what, "unregister") == 0) {
		error = tproxyctl_unregister(&ctl, &flow);
		put(out, error == 0 ? "true" : "false");
		return (error == ENOENT ? 0 : error);
	}
	if (tproxyctl_parse(arg(4), (uint16_t)number(5), &listener) != 0)
		return (EINVAL);
	return (tproxyctl_register(&ctl, &flow, &listener));
}

static int
call_descriptor(struct text *out, const char *what)
{
	struct sockaddr_storage address;
	char room[INET6_ADDRSTRLEN];
	socklen_t length = sizeof(address);
	uint16_t port;
	int fd;

	if (strcmp(what, "close") == 0) {
		close((int)number(0));
		return (0);
	}
	if (strcmp(what, "reset") == 0) {
		am_reset_close((int)number(0));
		return (0);
	}
	if (strcmp(what, "localPort") == 0) {
		if (getsockname((int)number(0), (struct sockaddr *)&address, &length) == -1)
			return (errno);
		am_address_format(&address, room, &port);
		put(out, "%u", port);
		return (0);
	}
	fd = am_address_parse(arg(0), (uint16_t)number(1), &address);
	if (fd < 0)
		return (-fd);
	fd = am_listener_open((struct sockaddr *)&address, (socklen_t)fd, number(3) != 0, (int)number(2));
	if (fd < 0)
		return (-fd);
	put(out, "%d", fd);
	return (0);
}

static int
call_listener(struct text *out __unused, const char *what)
{
	if (strcmp(what, "start") == 0)
		return (-am_listeners_start(&listeners, on_accepted, NULL));
	if (strcmp(what, "stop") == 0) {
		am_listeners_stop(listeners);
		listeners = NULL;
		return (0);
	}
	if (strcmp(what, "add") == 0)
		return (-am_listeners_add(listeners, (int)number(0)));
	return (-am_listeners_remove(listeners, (int)number(0)));
}

static int
call_relay(struct text *out, const char *what)
{
	struct am_relay_config config = { .threads = 1, .up = AM_RELAY_JOIN, .down = AM_RELAY_JOIN };
	struct am_session_options options;
	uint64_t down, session, up;
	int error;

	if (strcmp(what, "start") == 0) {
		config.threads = (unsigned)number(0);
		return (-am_relay_start(&relay, &config, on_closed, NULL));
	}
	if (strcmp(what, "stop") == 0) {
		am_relay_stop(relay);
		relay = NULL;
		return (0);
	}
	if (strcmp(what, "run") == 0) {
		/* Nobody is to be told of starved sessions: that is Linux's matter. */
		options = (struct am_session_options){ .idle_timeout_ms = (uint32_t)number(2), .half_open_timeout_ms = (uint32_t)number(3),
		    .keepalive_s = (uint32_t)number(4) };
		error = -am_relay_run(relay, (int)number(0), (int)number(1), &options, &session);
		if (error == 0)
			put(out, "%ju", (uintmax_t)session);
		return (error);
	}
	if (strcmp(what, "counters") == 0) {
		if (am_relay_counters(relay, (uint64_t)number(0), &up, &down) == 0)
			put(out, "{\"up\":%ju,\"down\":%ju}", (uintmax_t)up, (uintmax_t)down);
		return (0);
	}
	for (int i = AM_CLOSE_IDLE_TIMEOUT; i < AM_CLOSE_REASONS; i++)
		if (strcmp(reasons[i], arg(1)) == 0)
			am_relay_abort(relay, (uint64_t)number(0), (enum am_close_reason)i);
	return (0);
}

static void
put_address(void *context, const struct sockaddr_storage *address)
{
	struct text *out = context;
	char room[INET6_ADDRSTRLEN];
	uint16_t port;

	am_address_format(address, room, &port);
	put(out, "%s\"%s\"", out->octets[out->length - 1] == '[' ? "" : ",", room);
}

static int
call_connector(struct text *out, const char *what)
{
	struct am_socket_options options;
	struct am_subflow subflow;
	struct sockaddr_storage address;
	char room[INET6_ADDRSTRLEN];
	uint32_t token;
	uint16_t port;
	int length;

	if (strcmp(what, "start") == 0)
		return (-am_connector_start(&connector, on_connected, NULL));
	if (strcmp(what, "stop") == 0) {
		am_connector_stop(connector);
		connector = NULL;
		return (0);
	}
	if (strcmp(what, "connect") == 0) {
		length = am_address_parse(arg(1), (uint16_t)number(2), &address);
		if (length < 0)
			return (-length);
		return (-am_connect_begin(connector, (int)number(0), (struct sockaddr *)&address, (socklen_t)length,
		    (uint32_t)number(3)));
	}
	if (strcmp(what, "cancel") == 0) {
		put(out, am_connect_cancel(connector, (int)number(0)) == 1 ? "true" : "false");
		return (0);
	}
	if (strcmp(what, "subflows") == 0) {
		if (am_subflows((int)number(0), &subflow, 1, &token) != 1)
			return (0);
		am_address_format(&subflow.local, room, &port);
		put(out, "[{\"localAddress\":\"%s\",\"localPort\":%u", room, port);
		am_address_format(&subflow.remote, room, &port);
		put(out, ",\"remoteAddress\":\"%s\",\"remotePort\":%u,\"retransmits\":%u,\"rttMs\":%.3f,\"congestionWindow\":%u}]",
		    room, port, subflow.retransmits, subflow.rtt_us / 1000.0, subflow.congestion_window);
		return (0);
	}
	if (strcmp(what, "liveAddresses") == 0) {
		put(out, "[");
		length = am_live_addresses(put_address, out);
		put(out, "]");
		return (-length);
	}
	if (strcmp(what, "openTransparent") == 0) {
		length = am_connect_socket(number(0) == 6 ? AF_INET6 : AF_INET, number(1) != 0);
		if (length < 0)
			return (-length);
		put(out, "%d", length);
		return (0);
	}
	/* prepare: remote address, local address, local port, FIB, congestion control, whether MPTCP, socket */
	memset(&options, 0, sizeof(options));
	if (am_address_parse(arg(0), 1, &address) < 0)
		return (EINVAL);
	options.family = address.ss_family;
	if (arg(1)[0] != '\0') {
		length = am_address_parse(arg(1), (uint16_t)number(2), &options.local);
		if (length < 0)
			return (-length);
		options.local_length = (socklen_t)length;
	}
	options.fib = (int)number(3);
	options.mptcp = number(5) != 0;
	strlcpy(options.congestion_control, arg(4), sizeof(options.congestion_control));
	options.descriptor = (int)number(6);
	length = am_connect_prepare(&options, &address);
	if (length < 0)
		return (-length);
	am_address_format(&address, room, &port);
	put(out, "{\"descriptor\":%d,\"localAddress\":\"%s\",\"localPort\":%u}", length, room, port);
	return (0);
}

/* ---------------------------------------------------------------- mptcp(4) */

static void
put_connection(struct text *out, const struct mptcp_info *info)
{
	static const char *const states[] = { "initial", "established", "fallback", "closed" };
	static const char *const subflow_states[] = { "joining", "established", "closed" };
	char room[INET6_ADDRSTRLEN];
	struct sockaddr_storage storage;
	uint16_t port;

	put(out, "{\"state\":\"%s\",\"token\":%u,\"subflows\":[", states[MIN(info->state, 3)], info->local_token);
	for (uint32_t i = 0; i < MIN(info->subflows, MPTCP_ABI_SUBFLOWS); i++) {
		const struct mptcp_subflow_info *subflow = &info->subflow[i];

		mptcpctl_to_sockaddr(&subflow->local, &storage);
		am_address_format(&storage, room, &port);
		put(out, "%s{\"id\":%u,\"state\":\"%s\",\"localAddress\":\"%s\",\"localPort\":%u", i == 0 ? "" : ",", subflow->id,
		    subflow_states[MIN(subflow->state, 2)], room, port);
		mptcpctl_to_sockaddr(&subflow->remote, &storage);
		am_address_format(&storage, room, &port);
		put(out, ",\"remoteAddress\":\"%s\",\"remotePort\":%u,\"backup\":%s,\"bytesSent\":%ju,\"bytesReceived\":%ju,"
		    "\"retransmits\":%u,\"rttMs\":%.3f,\"congestionWindow\":%u}", room, port,
		    (subflow->flags & MPTCP_FLAG_BACKUP) != 0 ? "true" : "false", (uintmax_t)subflow->octets_sent,
		    (uintmax_t)subflow->octets_received, subflow->retransmits, subflow->srtt_us / 1000.0,
		    subflow->mss == 0 ? 0 : subflow->cwnd / subflow->mss);
	}
	put(out, "]}");
}

static int
call_mptcp(struct text *out, const char *what)
{
	struct mptcp_ioc_subflow subflow;
	struct mptcp_ioc_state state;
	struct mptcp_info info;
	uint32_t token = (uint32_t)number(0);
	int error;

	if (strcmp(what, "watch") == 0) {
		error = mptcpctl_adopt(&mptcp, (int)number(0));
		if (error == 0)
			fcntl(mptcp.fd, F_SETFL, O_NONBLOCK);
		return (error);
	}
	if (strcmp(what, "close") == 0) {
		mptcpctl_close(&mptcp);
		return (0);
	}
	if (strcmp(what, "state") == 0) {
		error = mptcpctl_state(&mptcp, &state);
		if (error == 0)
			put(out, "{\"enabled\":%s,\"connections\":%u,\"sockets\":%u}", state.st_enabled != 0 ? "true" : "false",
			    state.st_connections, state.st_sockets);
		return (error);
	}
	if (strcmp(what, "connection") == 0) {
		error = mptcpctl_info(&mptcp, token, &info);
		if (error == 0)
			put_connection(out, &info);
		return (error == ENOENT ? 0 : error);
	}
	if (strcmp(what, "socket") == 0) {
		if (mptcpctl_socket((int)number(0), &info) == 0)
			put_connection(out, &info);
		return (0);
	}
	if (strcmp(what, "addSubflow") == 0) {
		memset(&subflow, 0, sizeof(subflow));
		subflow.ms_token = token;
		subflow.ms_fib = MPTCP_FIB_SAME;
		subflow.ms_flags = number(5) != 0 ? MPTCP_FLAG_BACKUP : 0;
		error = mptcpctl_parse(arg(1), (uint16_t)number(2), &subflow.ms_local);
		if (error == 0)
			error = mptcpctl_parse(arg(3), (uint16_t)number(4), &subflow.ms_remote);
		if (error == 0)
			error = mptcpctl_subflow_add(&mptcp, &subflow);
		if (error == 0)
			put(out, "%u", subflow.ms_id);
		return (error);
	}
	if (strcmp(what, "removeSubflow") == 0)
		error = mptcpctl_subflow_remove(&mptcp, token, (uint32_t)number(1), false);
	else if (strcmp(what, "setBackup") == 0)
		error = mptcpctl_subflow_priority(&mptcp, token, (uint32_t)number(1), number(2) != 0);
	else
		return (ENOSYS);
	put(out, error == 0 ? "true" : "false");
	return (error == ENOENT ? 0 : error);
}

/* ---------------------------------------------------------------- lisp(4) */

static int
lisp_addresses(int from, struct lisp_ioc_addr *to, size_t room, size_t *count)
{
	int error;

	for (*count = 0; from < arguments; from++) {
		if (*count == room)
			return (E2BIG);
		error = lispctl_parse(arg(from), &to[(*count)++]);
		if (error != 0)
			return (error);
	}
	return (0);
}

/* Arguments from `from` on: iid, local address, port, remote address, port, local RLOC, remote RLOC. */
static int
lisp_pin(int from, struct lisp_ioc_pin *pin, bool path)
{
	memset(pin, 0, sizeof(*pin));
	pin->lp_iid = (uint32_t)number(from);
	pin->lp_flow.lf_protocol = IPPROTO_TCP;
	pin->lp_flow.lf_local_port = (uint16_t)number(from + 2);
	pin->lp_flow.lf_remote_port = (uint16_t)number(from + 4);
	if (lispctl_parse(arg(from + 1), &pin->lp_flow.lf_local) != 0 ||
	    lispctl_parse(arg(from + 3), &pin->lp_flow.lf_remote) != 0)
		return (EINVAL);
	if (path && (lispctl_parse(arg(from + 5), &pin->lp_path.lp_local) != 0 ||
	    lispctl_parse(arg(from + 6), &pin->lp_path.lp_remote) != 0))
		return (EINVAL);
	return (0);
}

static void
put_stat(const char *name, uint64_t value, void *context)
{
	struct text *t = context;

	put(t, "%s\"%s\":%ju", t->octets[t->length - 1] == '{' ? "" : ",", name, (uintmax_t)value);
}

static int
call_lisp(struct text *out, const char *what)
{
	struct lisp_ioc_addr list[64], eid;
	struct lisp_ioc_path_info *paths;
	struct lisp_ioc_mapping mapping;
	struct lisp_ioc_info info;
	struct lisp_ioc_pin pin, *pins;
	struct lisp_ioc_path path;
	char room[64];
	size_t count;
	int error;

	if (strcmp(what, "watch") == 0) {
		error = lispctl_adopt(&lisp, (int)number(0));
		if (error == 0)
			fcntl(lisp.fd, F_SETFL, O_NONBLOCK);
		return (error);
	}
	if (strcmp(what, "close") == 0) {
		lispctl_close(&lisp);
		lisp.fd = -1;
		return (0);
	}
	if (strcmp(what, "info") == 0) {
		error = lispctl_info(&lisp, &info);
		if (error == 0)
			put(out, "{\"device\":\"lisp0\",\"iid\":0,\"mtu\":0,\"mappings\":%ju,\"pins\":%ju,\"paths\":%ju}",
			    (uintmax_t)info.in_mappings, (uintmax_t)info.in_pins, (uintmax_t)info.in_paths);
		return (error);
	}
	if (strcmp(what, "setIid") == 0)
		return (lispctl_set_iid(&lisp, (uint32_t)number(0)));
	if (strcmp(what, "setSwitch") == 0)
		return (lispctl_switch(arg(0), (int)number(1)));
	if (strcmp(what, "flushMappings") == 0)
		return (lispctl_mapping_flush(&lisp, LISP_IID_ANY));
	if (strcmp(what, "flushPins") == 0)
		return (lispctl_pin_flush(&lisp, LISP_IID_ANY));
	if (strcmp(what, "setRlocs") == 0) {
		error = lisp_addresses(0, list, nitems(list), &count);
		return (error != 0 ? error : lispctl_rlocs_set(&lisp, list, NULL, count));
	}
	if (strcmp(what, "setEids") == 0) {
		error = lisp_addresses(1, list, nitems(list), &count);
		return (error != 0 ? error : lispctl_eids_set(&lisp, (uint32_t)number(0), list, count));
	}
	if (strcmp(what, "setMapping") == 0) {
		memset(&mapping, 0, sizeof(mapping));
		mapping.lm_iid = (uint32_t)number(0);
		error = lispctl_parse(arg(1), &mapping.lm_eid);
		mapping.lm_action = (uint8_t)number(2);
		for (int i = 3; error == 0 && i + 3 < arguments && mapping.lm_nlocators < LISP_ABI_LOCATORS; i += 4) {
			struct lisp_ioc_locator *to = &mapping.lm_locators[mapping.lm_nlocators++];

			error = lispctl_parse(arg(i), &to->ll_rloc);
			to->ll_priority = (uint8_t)number(i + 1);
			to->ll_weight = (uint8_t)number(i + 2);
			to->ll_flags = number(i + 3) != 0 ? LISP_LOCATOR_REACHABLE : 0;
		}
		return (error != 0 ? error : lispctl_mapping_set(&lisp, &mapping));
	}
	if (strcmp(what, "deleteMapping") == 0) {
		error = lispctl_parse(arg(1), &eid);
		if (error == 0)
			error = lispctl_mapping_delete(&lisp, (uint32_t)number(0), &eid);
		put(out, error == 0 ? "true" : "false");
		return (error == ENOENT ? 0 : error);
	}
	if (strcmp(what, "pin") == 0) {
		error = lisp_pin(0, &pin, true);
		return (error != 0 ? error : lispctl_pin_set(&lisp, &pin));
	}
	if (strcmp(what, "unpin") == 0) {
		error = lisp_pin(0, &pin, false);
		if (error == 0)
			error = lispctl_pin_delete(&lisp, &pin);
		put(out, error == 0 ? "true" : "false");
		return (error == ENOENT ? 0 : error);
	}
	if (strcmp(what, "listPins") == 0) {
		error = lispctl_pins(&lisp, &pins, &count);
		if (error != 0)
			return (error);
		put(out, "[");
		for (size_t i = 0; i < count; i++) {
			put(out, "%s{\"iid\":%u,\"gleaned\":%s,\"flow\":{\"local\":{\"address\":\"%s\"", i == 0 ? "" : ",", pins[i].lp_iid,
			    (pins[i].lp_flags & LISP_PIN_GLEANED) != 0 ? "true" : "false",
			    lispctl_format(&pins[i].lp_flow.lf_local, false, room, sizeof(room)));
			put(out, ",\"port\":%u},\"remote\":{\"address\":\"%s\",\"port\":%u}}", pins[i].lp_flow.lf_local_port,
			    lispctl_format(&pins[i].lp_flow.lf_remote, false, room, sizeof(room)), pins[i].lp_flow.lf_remote_port);
			put(out, ",\"path\":{\"local\":\"%s\"",
			    lispctl_format(&pins[i].lp_path.lp_local, false, room, sizeof(room)));
			put(out, ",\"remote\":\"%s\"}}", lispctl_format(&pins[i].lp_path.lp_remote, false, room, sizeof(room)));
		}
		put(out, "]");
		free(pins);
		return (0);
	}
	if (strcmp(what, "setPathState") == 0) {
		if (lispctl_parse(arg(0), &path.lp_local) != 0 || lispctl_parse(arg(1), &path.lp_remote) != 0)
			return (EINVAL);
		return (lispctl_path_state(&lisp, &path, number(2) != 0, 0));
	}
	if (strcmp(what, "paths") == 0) {
		error = lispctl_paths(&lisp, &paths, &count);
		if (error != 0)
			return (error);
		put(out, "[");
		for (size_t i = 0; i < count; i++) {
			put(out, "%s{\"local\":\"%s\"", i == 0 ? "" : ",",
			    lispctl_format(&paths[i].pi_path.lp_local, false, room, sizeof(room)));
			put(out, ",\"remote\":\"%s\",\"up\":%s,\"mtu\":%u,\"packetsSent\":%ju,\"bytesSent\":%ju,\"packetsReceived\":%ju,"
			    "\"bytesReceived\":%ju}", lispctl_format(&paths[i].pi_path.lp_remote, false, room, sizeof(room)),
			    paths[i].pi_up != 0 ? "true" : "false", paths[i].pi_mtu, (uintmax_t)paths[i].pi_packets_sent,
			    (uintmax_t)paths[i].pi_octets_sent, (uintmax_t)paths[i].pi_packets_received,
			    (uintmax_t)paths[i].pi_octets_received);
		}
		put(out, "]");
		free(paths);
		return (0);
	}
	if (strcmp(what, "stats") == 0) {
		put(out, "{");
		error = lispctl_stats(arg(0), put_stat, out);
		put(out, "}");
		return (error);
	}
	return (ENOSYS);
}

/* ---------------------------------------------------------------- LISP control messages */

static int
udp_open(struct text *out)
{
	struct sockaddr_storage address;
	int error, fd, length, on = 1;

	length = am_address_parse(arg(0), (uint16_t)number(1), &address);
	if (length < 0)
		return (-length);
	if (udp_fds == nitems(udp_fd))
		return (EMFILE);
	fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return (errno);
	if ((address.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1) ||
	    bind(fd, (struct sockaddr *)&address, (socklen_t)length) == -1) {
		error = errno;
		close(fd);
		return (error);
	}
	udp_fd[udp_fds++] = fd;
	put(out, "%d", fd);
	return (0);
}

/* descriptor, address, port, octets in hexadecimal */
static int
udp_send(void)
{
	static unsigned char octets[65536];
	struct sockaddr_storage address;
	const char *hex = arg(3);
	size_t count = strlen(hex) / 2;
	unsigned octet;
	int length;

	length = am_address_parse(arg(1), (uint16_t)number(2), &address);
	if (length < 0 || count > sizeof(octets))
		return (EINVAL);
	for (size_t i = 0; i < count; i++) {
		if (sscanf(hex + 2 * i, "%2x", &octet) != 1)
			return (EINVAL);
		octets[i] = (unsigned char)octet;
	}
	return (sendto((int)number(0), octets, count, 0, (struct sockaddr *)&address, (socklen_t)length) == -1 ? errno : 0);
}

static int
call_udp(struct text *out, const char *what)
{
	if (strcmp(what, "open") == 0)
		return (udp_open(out));
	if (strcmp(what, "send") == 0)
		return (udp_send());
	for (int i = 0; i < udp_fds; i++)
		if (udp_fd[i] == (int)number(0)) {
			close(udp_fd[i]);
			udp_fd[i] = udp_fd[--udp_fds];
			break;
		}
	return (0);
}

/* What libuv would list: addresses of interfaces that are up and running. */
static int
call_interfaces(struct text *out)
{
	struct ifaddrs *all, *each;
	struct sockaddr_storage address;
	char room[INET6_ADDRSTRLEN];
	uint16_t port;

	if (getifaddrs(&all) == -1)
		return (errno);
	put(out, "[");
	for (each = all; each != NULL; each = each->ifa_next) {
		if (each->ifa_addr == NULL || (each->ifa_flags & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING) ||
		    (each->ifa_addr->sa_family != AF_INET && each->ifa_addr->sa_family != AF_INET6))
			continue;
		memset(&address, 0, sizeof(address));
		memcpy(&address, each->ifa_addr, each->ifa_addr->sa_len);
		am_address_format(&address, room, &port);
		put(out, "%s{\"name\":\"%s\",\"address\":\"%s\"}", out->octets[out->length - 1] == '[' ? "" : ",", each->ifa_name, room);
	}
	put(out, "]");
	freeifaddrs(all);
	return (0);
}

/* ---------------------------------------------------------------- guard and daemon */

static int
listen_on(const char *text, uint16_t port)
{
	struct sockaddr_storage address;
	int length, listener, on = 1;

	length = am_address_parse(text, port, &address);
	if (length < 0)
		errx(2, "%s: not an address", text);
	listener = socket(address.ss_family, SOCK_STREAM, 0);
	if (listener == -1 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    bind(listener, (struct sockaddr *)&address, (socklen_t)length) == -1 || listen(listener, 1) == -1)
		err(1, "listening on %s", text);
	return (listener);
}

/* user, group: the daemon's agent, as the guard starts its daemon. Returns the port it listens on. */
static int
call_spawn(struct text *out)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char listener_text[16], pair_text[16], room[INET6_ADDRSTRLEN];
	gid_t gid = (gid_t)number(1);
	uid_t uid = (uid_t)number(0);
	int ends[2], error, listener;
	uint16_t port;
	pid_t child;

	/* Those that were. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	error = -am_socket_pair(ends);
	if (error != 0)
		return (error);
	listener = listen_on(own_address, 0);
	getsockname(listener, (struct sockaddr *)&address, &length);
	am_address_format(&address, room, &port);
	snprintf(listener_text, sizeof(listener_text), "%d", listener);
	snprintf(pair_text, sizeof(pair_text), "%d", ends[1]);
	child = fork();
	if (child == 0) {
		fcntl(ends[1], F_SETFD, 0);
		/* As libuv does for a child with a user of its own. */
		if (setgroups(1, &gid) == -1 || setgid(gid) == -1 || setuid(uid) == -1)
			_exit(126);
		execl(self, self, "-f", first_descriptor, "-l", listener_text, "-p", pair_text, own_address, "0", NULL);
		_exit(127);
	}
	error = errno;
	close(listener);
	close(ends[1]);
	if (child == -1) {
		close(ends[0]);
		return (error);
	}
	if (pair_fd != -1)
		close(pair_fd);
	pair_fd = ends[0];
	put(out, "%u", port);
	return (0);
}

static int
call_hand_over(void)
{
	int fd = (int)number(0), sent;

	if (pair_fd == -1)
		return (ENOTCONN);
	sent = am_message_send(pair_fd, "d", 1, &fd, 1);
	return (sent < 0 ? -sent : 0);
}

static int
call_take_over(struct text *out)
{
	int fds[AM_MESSAGE_FDS], length;
	size_t count;
	char octet;

	if (pair_fd == -1)
		return (ENOTCONN);
	length = am_message_receive(pair_fd, &octet, 1, fds, &count);
	if (length < 0)
		return (-length);
	if (count != 1)
		return (EPROTO);
	put(out, "%d", fds[0]);
	return (0);
}

/* ---------------------------------------------------------------- the link */

static int
dispatch(struct text *out, const char *name)
{
	static const struct {
		const char *part;
		int (*call)(struct text *, const char *);
	} parts[] = { { "divert.", call_divert }, { "tproxy.", call_tproxy }, { "descriptors.", call_descriptor },
	    { "listener.", call_listener }, { "relay.", call_relay }, { "connector.", call_connector }, { "lisp.", call_lisp },
	    { "mptcp.", call_mptcp }, { "udp.", call_udp } };

	if (strcmp(name, "run") == 0)
		return (call_run(out));
	if (strcmp(name, "openDivert") == 0)
		return (call_open_divert(out));
	if (strcmp(name, "openDevice") == 0)
		return (call_open_device(out));
	if (strcmp(name, "interfaces") == 0)
		return (call_interfaces(out));
	if (strcmp(name, "spawn") == 0)
		return (call_spawn(out));
	if (strcmp(name, "handOver") == 0)
		return (call_hand_over());
	if (strcmp(name, "takeOver") == 0)
		return (call_take_over(out));
	if (strcmp(name, "flushAnchor") == 0)
		return (anchor_flush((int)number(0), arg(1)));
	if (strcmp(name, "divert.watch") == 0)
		return (call_divert_watch(out));
	for (size_t i = 0; i < nitems(parts); i++)
		if (strncmp(name, parts[i].part, strlen(parts[i].part)) == 0)
			return (parts[i].call(out, name + strlen(parts[i].part)));
	return (ENOSYS);
}

static void
unescape(char *word)
{
	char *to = word;
	unsigned octet;

	for (; *word != '\0'; word++, to++) {
		*to = *word;
		if (*word == '%' && sscanf(word + 1, "%2x", &octet) == 1) {
			*to = (char)octet;
			word += 2;
		}
	}
	*to = '\0';
}

static void
obey(char *line)
{
	struct text answer = { 0 }, result = { 0 };
	char *id, *name, *word;
	int error;

	id = strsep(&line, "\t");
	name = strsep(&line, "\t");
	if (name == NULL)
		return;
	arguments = 0;
	while ((word = strsep(&line, "\t")) != NULL && arguments < ARGUMENTS) {
		unescape(word);
		argument[arguments++] = word;
	}
	error = dispatch(&result, name);
	if (error != 0)
		put(&answer, "{\"id\":%s,\"error\":\"%s\",\"message\":\"%s: %s\"}", id, am_errno_name(error), name, strerror(error));
	else {
		put(&answer, "{\"id\":%s,\"result\":", id);
		if (result.length == 0)
			put(&answer, "null");
		else
			put_octets(&answer, result.octets, result.length);
		put(&answer, "}");
	}
	free(result.octets);
	send_line(&answer);
}

/* Nothing below gets a number any more: what is here is told apart from what is where the daemon runs. */
static void
occupy(int first)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int n = fd; n != -1 && n < first - 1;)
		n = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int
main(int argc, char **argv)
{
	static char buffer[LINE_MAX_OCTETS];
	size_t filled = 0;
	int ch, listener = -1, on = 1;

	self = argv[0];
	while ((ch = getopt(argc, argv, "f:l:p:")) != -1) {
		switch (ch) {
		case 'f':
			first_descriptor = optarg;
			break;
		case 'l':
			listener = atoi(optarg);
			break;
		case 'p':
			pair_fd = atoi(optarg);
			fcntl(pair_fd, F_SETFD, FD_CLOEXEC);
			break;
		default:
			argc = 0;
		}
	}
	if (argc - optind != 2)
		errx(2, "usage: agent [-f first descriptor] [-l listener] [-p pair] ADDRESS PORT");
	own_address = argv[optind];
	signal(SIGPIPE, SIG_IGN);
	if (listener == -1)
		listener = listen_on(own_address, (uint16_t)atoi(argv[optind + 1]));
	link_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (link_fd == -1)
		err(1, "accept");
	close(listener);
	occupy(atoi(first_descriptor));
	setsockopt(link_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (;;) {
		struct pollfd wait[5 + nitems(udp_fd)] = { { link_fd, POLLIN, 0 }, { divert_fd, POLLIN, 0 },
		    { tproxy.fd, POLLIN, 0 }, { lisp.fd, POLLIN, 0 }, { mptcp.fd, POLLIN, 0 } };
		int waiting = 5 + udp_fds;
		char *end, *line;
		ssize_t n;

		for (int i = 5; i < waiting; i++)
			wait[i] = (struct pollfd){ udp_fd[i - 5], POLLIN, 0 };
		if (poll(wait, (nfds_t)waiting, -1) == -1)
			continue;
		for (int i = 5; i < waiting; i++)
			if (wait[i].revents != 0)
				on_datagram(wait[i].fd);
		if (wait[1].revents != 0)
			on_divert();
		if (wait[2].revents != 0)
			on_tproxy();
		if (wait[3].revents != 0)
			on_lisp();
		if (wait[4].revents != 0)
			on_mptcp();
		if (wait[0].revents == 0)
			continue;
		n = read(link_fd, buffer + filled, sizeof(buffer) - filled - 1);
		if (n <= 0)
			return (0);
		filled += (size_t)n;
		buffer[filled] = '\0';
		for (line = buffer; (end = strchr(line, '\n')) != NULL; line = end + 1) {
			*end = '\0';
			obey(line);
		}
		filled -= (size_t)(line - buffer);
		memmove(buffer, line, filled);
		if (filled == sizeof(buffer) - 1)
			errx(1, "a line without end");
	}
}
