/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The library over /dev/mptcp by hand.
 *
 *	mptcpctl state
 *	mptcpctl list				token, state and subflows of each connection
 *	mptcpctl info <token>
 *	mptcpctl add [-b] <token> <local> <port> <remote> <port>	prints the subflow's number
 *	mptcpctl remove <token> <subflow>
 *	mptcpctl priority <token> <subflow> backup|regular
 *	mptcpctl announce <token> <address> [port]	prints the Address ID
 *	mptcpctl withdraw <token> <Address ID>
 *	mptcpctl events <count> <seconds>	so many of them, or those of so many seconds; 'ready' when it listens
 *	mptcpctl refused			everything that must be refused
 *	mptcpctl open				opens the device for changes, says so, and waits for a signal
 */
#include <sys/types.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mptcpctl.h"

static struct mptcpctl ctl = { -1 };
static int failures;

static void
must(int error, const char *what)
{
	if (error != 0)
		errc(1, error, "%s", what);
}

static void
show(const struct mptcp_info *info)
{
	static const char *const states[] = { "initial", "established", "fallback", "closed" };
	static const char *const subflow_states[] = { "joining", "established", "closed" };
	char local[64], remote[64];

	printf("token %u %s subflows %u sent %ju received %ju reinjected %ju duplicate %ju reassembly %u\n", info->local_token,
	    states[info->state < 4 ? info->state : 3], info->subflows, (uintmax_t)info->octets_sent, (uintmax_t)info->octets_received,
	    (uintmax_t)info->octets_reinjected, (uintmax_t)info->octets_duplicate, info->reassembly);
	for (uint32_t i = 0; i < info->subflows && i < MPTCP_ABI_SUBFLOWS; i++) {
		const struct mptcp_subflow_info *subflow = &info->subflow[i];

		printf("  subflow %u %s %s-%s sent %ju received %ju srtt %u cwnd %u retransmits %u%s%s\n", subflow->id,
		    subflow_states[subflow->state < 3 ? subflow->state : 2], mptcpctl_format(&subflow->local, local, sizeof(local)),
		    mptcpctl_format(&subflow->remote, remote, sizeof(remote)), (uintmax_t)subflow->octets_sent,
		    (uintmax_t)subflow->octets_received, subflow->srtt_us, subflow->cwnd, subflow->retransmits,
		    (subflow->flags & MPTCP_FLAG_BACKUP) != 0 ? " backup" : "",
		    (subflow->flags & MPTCP_FLAG_PEER_BACKUP) != 0 ? " peer-backup" : "");
	}
}

static int
events(int wanted, int seconds)
{
	static const char *const types[] = { "unknown", "created", "established", "fallback", "closed", "announced", "removed",
		"subflow-up", "subflow-down", "subflow-priority" };
	struct timespec patience = { .tv_sec = seconds };
	struct mptcp_event event[16];
	struct kevent change, happened;
	char local[64], remote[64];
	int queue = kqueue(), seen = 0;
	size_t count;

	must(fcntl(ctl.fd, F_SETFL, O_NONBLOCK) == -1 ? errno : 0, "F_SETFL");
	EV_SET(&change, ctl.fd, EVFILT_READ, EV_ADD, 0, 0, NULL);
	if (queue == -1 || kevent(queue, &change, 1, NULL, 0, NULL) == -1)
		err(1, "kqueue");
	printf("ready\n");
	fflush(stdout);
	while (seen < wanted && kevent(queue, NULL, 0, &happened, 1, &patience) == 1) {
		must(mptcpctl_events(&ctl, event, 16, &count), "events");
		if (count == 0)
			errx(1, "kqueue said that there are events");
		for (size_t i = 0; i < count; i++, seen++)
			printf("%s token %u subflow %u %s-%s error %u lost %u\n", types[event[i].ev_type < 10 ? event[i].ev_type : 0],
			    event[i].ev_token, event[i].ev_id, mptcpctl_format(&event[i].ev_local, local, sizeof(local)),
			    mptcpctl_format(&event[i].ev_remote, remote, sizeof(remote)), event[i].ev_error, event[i].ev_lost);
		fflush(stdout);
	}
	return (seen >= wanted ? 0 : 1);
}

/* ---------------------------------------------------------------- what must be refused */

static void
expect(int error, int wanted, const char *what)
{
	if (error == wanted)
		return;
	failures++;
	printf("%s: error %d, not %d\n", what, error, wanted);
}

static int
command(unsigned long request, void *argument)
{
	return (ioctl(ctl.fd, request, argument) == -1 ? errno : 0);
}

static struct mptcp_ioc_subflow
good(void)
{
	struct mptcp_ioc_subflow subflow = { .ms_version = MPTCP_ABI_VERSION, .ms_token = 1, .ms_fib = MPTCP_FIB_SAME };

	mptcpctl_parse("192.0.2.1", 0, &subflow.ms_local);
	mptcpctl_parse("192.0.2.2", 80, &subflow.ms_remote);
	return (subflow);
}

static int
refused(void)
{
	static const char *const remotes[] = { "0.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "fe80::1", "::ffff:192.0.2.1" };
	struct mptcp_ioc_subflow subflow;
	struct mptcp_ioc_announce announce = { .ma_version = MPTCP_ABI_VERSION, .ma_token = 1, .ma_id = 1 };
	struct mptcp_ioc_list list = { .ls_version = MPTCP_ABI_VERSION };
	struct mptcp_info info;
	struct pollfd wait;
	char octet;

	subflow = good();
	expect(command(MPTCPIOC_SUBFLOW_ADD, &subflow), ENOENT, "no such connection");
	subflow.ms_version++;
	expect(command(MPTCPIOC_SUBFLOW_ADD, &subflow), EPROTONOSUPPORT, "another version");
#define	BAD(what, member, value) do {									\
	subflow = good();										\
	subflow.member = (value);									\
	expect(command(MPTCPIOC_SUBFLOW_ADD, &subflow), EINVAL, what);					\
} while (0)
	BAD("a number given", ms_id, 1);
	BAD("an unknown flag", ms_flags, MPTCP_FLAG_STALE);
	BAD("a flag of another command", ms_flags, MPTCP_FLAG_RESET);
	BAD("a FIB there is not", ms_fib, 4000);
	BAD("a reason", ms_reason, 1);
	BAD("padding", ms_zero, 1);
	BAD("padding of an address", ms_local.ma_zero, 1);
	BAD("octets behind an IPv4 address", ms_local.ma_octets[9], 1);
	BAD("octets of no address", ms_local.ma_family, 0);
	BAD("no remote address", ms_remote.ma_family, 0);
	BAD("a family there is not", ms_remote.ma_family, 5);
	BAD("two families", ms_local.ma_family, MPTCP_ABI_IPV6);
	for (size_t i = 0; i < sizeof(remotes) / sizeof(remotes[0]); i++) {
		subflow = good();
		memset(&subflow.ms_local, 0, sizeof(subflow.ms_local));
		mptcpctl_parse(remotes[i], 80, &subflow.ms_remote);
		expect(command(MPTCPIOC_SUBFLOW_ADD, &subflow), EINVAL, remotes[i]);
	}
	subflow = good();
	expect(command(MPTCPIOC_SUBFLOW_REMOVE, &subflow), EINVAL, "addresses where a number names it");
	expect(mptcpctl_subflow_remove(&ctl, 1, 0, false), ENOENT, "removing of no connection");
	expect(mptcpctl_subflow_priority(&ctl, 1, 0, true), ENOENT, "priority of no connection");
	expect(mptcpctl_info(&ctl, 1, &info), ENOENT, "no such connection's information");
	expect(command(MPTCPIOC_ANNOUNCE, &announce), EINVAL, "no address announced");
	announce.ma_id = 300;
	mptcpctl_parse("192.0.2.1", 0, &announce.ma_addr);
	expect(command(MPTCPIOC_ANNOUNCE, &announce), EINVAL, "an Address ID beyond 255");
	expect(mptcpctl_withdraw(&ctl, 1, 0), EINVAL, "Address ID 0 withdrawn");
	list.ls_zero = 1;
	expect(command(MPTCPIOC_LIST, &list), EINVAL, "padding of a list");
	list.ls_zero = 0;
	list.ls_cursor = UINT64_MAX;
	expect(command(MPTCPIOC_LIST, &list), EINVAL, "a cursor beyond the end");
	expect(command(_IOWR('M', 99, struct mptcp_info), &info), ENOTTY, "an unknown command");
	expect(command(_IOW('M', 10, struct mptcp_info), &info), ENOTTY, "a command of another size");
	fcntl(ctl.fd, F_SETFL, O_NONBLOCK);
	expect(read(ctl.fd, &octet, 1) == -1 ? errno : 0, EINVAL, "less than an event read");
	wait = (struct pollfd){ .fd = ctl.fd, .events = POLLIN };
	expect(poll(&wait, 1, 0), 0, "poll without an event");
	/* Read only: looks, and does not touch. */
	mptcpctl_close(&ctl);
	must(mptcpctl_open(&ctl, false), "read only");
	subflow = good();
	expect(command(MPTCPIOC_SUBFLOW_ADD, &subflow), EPERM, "a change by a descriptor for reading");
	expect(mptcpctl_info(&ctl, 1, &info), ENOENT, "a look by a descriptor for reading");
	return (failures == 0 ? 0 : 1);
}

int
main(int argc, char **argv)
{
	struct mptcp_ioc_subflow subflow = { .ms_fib = MPTCP_FIB_SAME };
	struct mptcp_ioc_state state;
	struct mptcp_info info, *list;
	const char *verb = argc > 1 ? argv[1] : "";
	size_t count;

	must(mptcpctl_open(&ctl, strcmp(verb, "state") != 0 && strcmp(verb, "list") != 0 && strcmp(verb, "info") != 0), "/dev/mptcp");
	if (strcmp(verb, "state") == 0) {
		must(mptcpctl_state(&ctl, &state), verb);
		printf("enabled %u connections %u sockets %u events %u\n", state.st_enabled, state.st_connections, state.st_sockets,
		    state.st_events);
		return (0);
	}
	if (strcmp(verb, "list") == 0) {
		must(mptcpctl_list(&ctl, &list, &count), verb);
		for (size_t i = 0; i < count; i++)
			show(&list[i]);
		free(list);
		return (0);
	}
	if (strcmp(verb, "info") == 0 && argc == 3) {
		must(mptcpctl_info(&ctl, (uint32_t)strtoul(argv[2], NULL, 10), &info), verb);
		show(&info);
		return (0);
	}
	if (strcmp(verb, "add") == 0 && argc > 2) {
		if (strcmp(argv[2], "-b") == 0) {
			subflow.ms_flags = MPTCP_FLAG_BACKUP;
			argv++;
			argc--;
		}
		if (argc != 7)
			errx(2, "add [-b] token local port remote port");
		subflow.ms_token = (uint32_t)strtoul(argv[2], NULL, 10);
		must(mptcpctl_parse(argv[3], (uint16_t)atoi(argv[4]), &subflow.ms_local), argv[3]);
		must(mptcpctl_parse(argv[5], (uint16_t)atoi(argv[6]), &subflow.ms_remote), argv[5]);
		must(mptcpctl_subflow_add(&ctl, &subflow), verb);
		printf("%u\n", subflow.ms_id);
		return (0);
	}
	if (strcmp(verb, "remove") == 0 && argc == 4) {
		must(mptcpctl_subflow_remove(&ctl, (uint32_t)strtoul(argv[2], NULL, 10), (uint32_t)atoi(argv[3]), false), verb);
		return (0);
	}
	if (strcmp(verb, "priority") == 0 && argc == 5) {
		must(mptcpctl_subflow_priority(&ctl, (uint32_t)strtoul(argv[2], NULL, 10), (uint32_t)atoi(argv[3]),
		    strcmp(argv[4], "backup") == 0), verb);
		return (0);
	}
	if (strcmp(verb, "announce") == 0 && (argc == 4 || argc == 5)) {
		struct mptcp_ioc_addr address;
		uint8_t id = 0;

		must(mptcpctl_parse(argv[3], (uint16_t)(argc == 5 ? atoi(argv[4]) : 0), &address), argv[3]);
		must(mptcpctl_announce(&ctl, (uint32_t)strtoul(argv[2], NULL, 10), &address, &id), verb);
		printf("%u\n", id);
		return (0);
	}
	if (strcmp(verb, "withdraw") == 0 && argc == 4) {
		must(mptcpctl_withdraw(&ctl, (uint32_t)strtoul(argv[2], NULL, 10), (uint8_t)atoi(argv[3])), verb);
		return (0);
	}
	if (strcmp(verb, "events") == 0 && argc == 4)
		return (events(atoi(argv[2]), atoi(argv[3])));
	if (strcmp(verb, "refused") == 0)
		return (refused());
	if (strcmp(verb, "open") == 0) {
		printf("open\n");
		fflush(stdout);
		pause();
		return (0);
	}
	errx(2, "usage");
}
