/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * lispctl by hand, for the tests' shell scripts.
 *
 *	lisp rlocs <address>[@<fib>]...		lisp eids <prefix>...
 *	lisp map <iid> <prefix> <rloc>,<priority>,<weight>...
 *	lisp unmap <iid> <prefix>		lisp lookup <iid> <address>
 *	lisp maps | pins | paths | info
 *	lisp pin|unpin <iid> <protocol> <local> <port> <remote> <port> <local rloc> <remote rloc>
 *	lisp path <local rloc> <remote rloc> up|down
 *	lisp iid <n>				lisp flush
 *	lisp events <seconds>			prints what comes, through kqueue(2)
 *	lisp pollevents <seconds>		the same through poll(2)
 *	lisp load <count>			that many mappings, IPv4 and IPv6 in turn
 *	lisp lookups <count>			looks each of them up
 */
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lispctl.h"

static struct lispctl ctl;

static struct lisp_ioc_addr
address(const char *text)
{
	struct lisp_ioc_addr result;

	if (lispctl_parse(text, &result) != 0)
		errx(2, "%s: not an address", text);
	return (result);
}

static void
check(int error, const char *what)
{
	if (error != 0)
		errc(1, error, "%s", what);
}

static const char *
text(const struct lisp_ioc_addr *a, bool prefix)
{
	static char room[8][64];
	static unsigned int next;

	next = (next + 1) % 8;
	return (lispctl_format(a, prefix, room[next], sizeof(room[next])));
}

static void
show_mapping(const struct lisp_ioc_mapping *m)
{
	printf("%u %s action %u", m->lm_iid, text(&m->lm_eid, true), m->lm_action);
	for (unsigned int i = 0; i < m->lm_nlocators; i++)
		printf(" %s,%u,%u", text(&m->lm_locators[i].ll_rloc, false), m->lm_locators[i].ll_priority,
		    m->lm_locators[i].ll_weight);
	printf("\n");
}

static void
map(int argc, char **argv)
{
	struct lisp_ioc_mapping m = { .lm_iid = (uint32_t)strtoul(argv[0], NULL, 10), .lm_eid = address(argv[1]) };
	char *part, *rest;

	for (int i = 2; i < argc; i++) {
		struct lisp_ioc_locator *l = &m.lm_locators[m.lm_nlocators++];

		rest = argv[i];
		part = strsep(&rest, ",");
		l->ll_rloc = address(part);
		part = strsep(&rest, ",");
		l->ll_priority = part == NULL ? 1 : (uint8_t)atoi(part);
		part = strsep(&rest, ",");
		l->ll_weight = part == NULL ? 1 : (uint8_t)atoi(part);
		l->ll_flags = LISP_LOCATOR_REACHABLE;
	}
	check(lispctl_mapping_set(&ctl, &m), "map");
}

static void
pin(bool set, char **argv)
{
	struct lisp_ioc_pin p = { .lp_iid = (uint32_t)strtoul(argv[0], NULL, 10) };

	p.lp_flow.lf_protocol = (uint8_t)atoi(argv[1]);
	p.lp_flow.lf_local = address(argv[2]);
	p.lp_flow.lf_local_port = (uint16_t)atoi(argv[3]);
	p.lp_flow.lf_remote = address(argv[4]);
	p.lp_flow.lf_remote_port = (uint16_t)atoi(argv[5]);
	if (set) {
		p.lp_path.lp_local = address(argv[6]);
		p.lp_path.lp_remote = address(argv[7]);
		check(lispctl_pin_set(&ctl, &p), "pin");
	} else
		check(lispctl_pin_delete(&ctl, &p), "unpin");
}

static void
show_event(const struct lisp_event *e)
{
	switch (e->ev_type) {
	case LISP_EVENT_MISS:
		printf("miss %u %s %u lost %u\n", e->ev_iid, text(&e->ev.miss.eid, false), e->ev.miss.reason, e->ev_lost);
		break;
	case LISP_EVENT_GLEANED:
		printf("gleaned %u %s %u %s %u path %s %s\n", e->ev_iid, text(&e->ev.gleaned.flow.lf_local, false),
		    e->ev.gleaned.flow.lf_local_port, text(&e->ev.gleaned.flow.lf_remote, false),
		    e->ev.gleaned.flow.lf_remote_port, text(&e->ev.gleaned.path.lp_local, false),
		    text(&e->ev.gleaned.path.lp_remote, false));
		break;
	case LISP_EVENT_PATH_MTU:
		printf("mtu %s %s %u\n", text(&e->ev.mtu.path.lp_local, false), text(&e->ev.mtu.path.lp_remote, false),
		    e->ev.mtu.mtu);
		break;
	default:
		printf("unknown %u\n", e->ev_type);
	}
}

static void
events(int seconds, bool by_poll)
{
	struct lisp_event list[16];
	struct kevent change, event;
	struct pollfd pfd = { .fd = ctl.fd, .events = POLLIN };
	struct timespec wait = { .tv_sec = 0, .tv_nsec = 100000000 };
	time_t until = time(NULL) + seconds;
	size_t count;
	int kq = -1, ready;

	fcntl(ctl.fd, F_SETFL, O_NONBLOCK);
	if (!by_poll) {
		kq = kqueue();
		EV_SET(&change, ctl.fd, EVFILT_READ, EV_ADD, 0, 0, NULL);
		if (kevent(kq, &change, 1, NULL, 0, NULL) == -1)
			err(1, "kevent");
	} else if (poll(&pfd, 1, 0) == -1)
		err(1, "poll");
	printf("listening\n");
	fflush(stdout);
	while (time(NULL) < until) {
		ready = by_poll ? poll(&pfd, 1, 100) : kevent(kq, NULL, 0, &event, 1, &wait);
		if (ready <= 0)
			continue;
		check(lispctl_events(&ctl, list, 16, &count), "read");
		if (count == 0)
			errx(1, "readable without an event");
		for (size_t i = 0; i < count; i++)
			show_event(&list[i]);
		fflush(stdout);
	}
}

/* The n-th of the mappings of a large table: prefixes of several lengths, no two alike. */
static struct lisp_ioc_mapping
nth(uint32_t n)
{
	struct lisp_ioc_mapping m = { .lm_iid = n % 3 == 0 ? 7 : 0, .lm_nlocators = 2 };
	struct lisp_ioc_addr *eid = &m.lm_eid;

	if (n % 2 == 0) {
		eid->la_family = LISP_ABI_IPV4;
		eid->la_plen = n % 4 == 0 ? 24 : 28;
		eid->la_octets[0] = 100;
		eid->la_octets[1] = (uint8_t)(n >> 12);
		eid->la_octets[2] = (uint8_t)(n >> 4);
		eid->la_octets[3] = n % 4 == 0 ? 0 : (uint8_t)((n & 0xf) << 4);
		/* Lengths of 24 would repeat within one block of sixteen: go to another net. */
		if (n % 4 == 0) {
			eid->la_octets[0] = 101 + (uint8_t)(n >> 18);
			eid->la_octets[1] = (uint8_t)(n >> 10);
			eid->la_octets[2] = (uint8_t)(n >> 2);
		}
	} else {
		eid->la_family = LISP_ABI_IPV6;
		eid->la_plen = 64;
		eid->la_octets[0] = 0x20;
		eid->la_octets[1] = 0x01;
		eid->la_octets[2] = 0x0d;
		eid->la_octets[3] = 0xb8;
		eid->la_octets[4] = (uint8_t)(n >> 24);
		eid->la_octets[5] = (uint8_t)(n >> 16);
		eid->la_octets[6] = (uint8_t)(n >> 8);
		eid->la_octets[7] = (uint8_t)n;
	}
	for (unsigned int i = 0; i < 2; i++) {
		struct lisp_ioc_locator *l = &m.lm_locators[i];

		l->ll_rloc = address(i == 0 ? "203.0.113.1" : "203.0.114.1");
		l->ll_rloc.la_octets[3] = (uint8_t)(1 + n % 200);
		l->ll_priority = 1;
		l->ll_weight = 50;
		l->ll_flags = LISP_LOCATOR_REACHABLE;
	}
	return (m);
}

static void
load(uint32_t count)
{
	for (uint32_t n = 0; n < count; n++) {
		struct lisp_ioc_mapping m = nth(n);

		m.lm_flags = LISP_MAPPING_NEW;
		check(lispctl_mapping_set(&ctl, &m), "map");
	}
}

static void
lookups(uint32_t count)
{
	struct lisp_ioc_mapping found;

	for (uint32_t n = 0; n < count; n++) {
		struct lisp_ioc_mapping m = nth(n);
		struct lisp_ioc_addr host = m.lm_eid;

		host.la_plen = 0;
		host.la_octets[host.la_family == LISP_ABI_IPV4 ? 3 : 15] |= 5;
		check(lispctl_mapping_lookup(&ctl, m.lm_iid, &host, &found), "lookup");
		if (memcmp(&found.lm_eid, &m.lm_eid, sizeof(m.lm_eid)) != 0)
			errx(1, "mapping %u: found %s for %s", n, text(&found.lm_eid, true), text(&m.lm_eid, true));
	}
}

int
main(int argc, char **argv)
{
	struct lisp_ioc_addr list[LISP_ABI_LOCAL_EIDS];
	struct lisp_ioc_mapping *mappings, m;
	struct lisp_ioc_path_info *paths;
	uint16_t fibs[LISP_ABI_LOCAL_RLOCS];
	struct lisp_ioc_path path;
	struct lisp_ioc_info info;
	struct lisp_ioc_pin *pins;
	const char *what;
	size_t count, i;

	if (argc < 2)
		errx(2, "what?");
	what = argv[1];
	argc -= 2;
	argv += 2;
	check(lispctl_open(&ctl, true), "/dev/lisp");
	if (strcmp(what, "rlocs") == 0) {
		for (i = 0; i < (size_t)argc && i < LISP_ABI_LOCAL_RLOCS; i++) {
			char *fib = strchr(argv[i], '@');

			fibs[i] = fib == NULL ? LISP_FIB_DEFAULT : (uint16_t)atoi(fib + 1);
			if (fib != NULL)
				*fib = '\0';
			list[i] = address(argv[i]);
		}
		check(lispctl_rlocs_set(&ctl, list, fibs, i), what);
	} else if (strcmp(what, "eids") == 0) {
		for (i = 0; i < (size_t)argc; i++)
			list[i] = address(argv[i]);
		check(lispctl_eids_set(&ctl, 0, list, i), what);
	} else if (strcmp(what, "map") == 0 && argc >= 2)
		map(argc, argv);
	else if (strcmp(what, "unmap") == 0 && argc == 2) {
		list[0] = address(argv[1]);
		check(lispctl_mapping_delete(&ctl, (uint32_t)atoi(argv[0]), &list[0]), what);
	} else if (strcmp(what, "lookup") == 0 && argc == 2) {
		list[0] = address(argv[1]);
		check(lispctl_mapping_lookup(&ctl, (uint32_t)atoi(argv[0]), &list[0], &m), what);
		show_mapping(&m);
	} else if (strcmp(what, "maps") == 0) {
		check(lispctl_mappings(&ctl, &mappings, &count), what);
		for (i = 0; i < count; i++)
			show_mapping(&mappings[i]);
	} else if (strcmp(what, "pin") == 0 && argc == 8)
		pin(true, argv);
	else if (strcmp(what, "unpin") == 0 && argc >= 6)
		pin(false, argv);
	else if (strcmp(what, "pins") == 0) {
		check(lispctl_pins(&ctl, &pins, &count), what);
		for (i = 0; i < count; i++)
			printf("%u %u %s %u %s %u path %s %s%s\n", pins[i].lp_iid, pins[i].lp_flow.lf_protocol,
			    text(&pins[i].lp_flow.lf_local, false), pins[i].lp_flow.lf_local_port,
			    text(&pins[i].lp_flow.lf_remote, false), pins[i].lp_flow.lf_remote_port,
			    text(&pins[i].lp_path.lp_local, false), text(&pins[i].lp_path.lp_remote, false),
			    pins[i].lp_flags & LISP_PIN_GLEANED ? " gleaned" : "");
	} else if (strcmp(what, "paths") == 0) {
		check(lispctl_paths(&ctl, &paths, &count), what);
		for (i = 0; i < count; i++)
			printf("%s %s %s mtu %u sent %ju %ju received %ju %ju\n", text(&paths[i].pi_path.lp_local, false),
			    text(&paths[i].pi_path.lp_remote, false), paths[i].pi_up ? "up" : "down", paths[i].pi_mtu,
			    (uintmax_t)paths[i].pi_packets_sent, (uintmax_t)paths[i].pi_octets_sent,
			    (uintmax_t)paths[i].pi_packets_received, (uintmax_t)paths[i].pi_octets_received);
	} else if (strcmp(what, "path") == 0 && argc == 3) {
		path.lp_local = address(argv[0]);
		path.lp_remote = address(argv[1]);
		check(lispctl_path_state(&ctl, &path, strcmp(argv[2], "up") == 0, 0), what);
	} else if (strcmp(what, "info") == 0) {
		check(lispctl_info(&ctl, &info), what);
		printf("%s iid %u mtu %u mappings %u pins %u paths %u\n", info.in_ifname, info.in_iid, info.in_mtu,
		    info.in_mappings, info.in_pins, info.in_paths);
	} else if (strcmp(what, "iid") == 0 && argc == 1)
		check(lispctl_set_iid(&ctl, (uint32_t)strtoul(argv[0], NULL, 10)), what);
	else if (strcmp(what, "flush") == 0) {
		check(lispctl_mapping_flush(&ctl, LISP_IID_ANY), what);
		check(lispctl_pin_flush(&ctl, LISP_IID_ANY), what);
	} else if (strcmp(what, "events") == 0 && argc == 1)
		events(atoi(argv[0]), false);
	else if (strcmp(what, "pollevents") == 0 && argc == 1)
		events(atoi(argv[0]), true);
	else if (strcmp(what, "load") == 0 && argc == 1)
		load((uint32_t)atoi(argv[0]));
	else if (strcmp(what, "lookups") == 0 && argc == 1)
		lookups((uint32_t)atoi(argv[0]));
	else
		errx(2, "usage");
	lispctl_close(&ctl);
	return (0);
}
