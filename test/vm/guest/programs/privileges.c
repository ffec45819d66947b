/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the daemon's user may and may not do, on the libraries the product uses:
 *
 *	root opens pf, lisp, tproxy, divert --\
 *	  \- child as the user: opens none of them; is handed root's (SCM_RIGHTS), and does the daemon's work with them
 *
 *	privileges <user>		prints TAP without numbers
 *	privileges -w <anchor>		waits until the anchor of pf has no rules; quicker than pfctl(8), which costs a process each time
 *	privileges -t			milliseconds of a clock that only goes forward
 */
#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <net/if.h>
#include <netinet/in.h>
#include <net/pfvar.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "anchor.h"
#include "descriptors.h"
#include "divert.h"
#include "lispctl.h"
#include "tproxyctl.h"

#define	DIVERT_PORT	4399	/* of nobody else's */
#define	ANCHOR		"amptcp_test"

static const char *const devices[] = { "/dev/pf", "/dev/lisp", "/dev/tproxy" };

static void __printflike(2, 3)
tell(bool good, const char *format, ...)
{
	va_list list;

	printf("%sok - ", good ? "" : "not ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	fflush(stdout);
}

static void
done(int error, const char *what)
{
	if (error == 0)
		tell(true, "%s", what);
	else
		tell(false, "%s: %s", what, strerror(error));
}

static void
open_nothing(void)
{
	static const struct {
		int flags;
		const char *name;
	} ways[] = { { O_RDWR, "for changes" }, { O_WRONLY, "for writing" } };
	int error, fd;

	for (size_t i = 0; i < nitems(devices); i++)
		for (size_t w = 0; w < nitems(ways); w++) {
			fd = open(devices[i], ways[w].flags);
			error = errno;
			tell(fd == -1 && (error == EACCES || error == EPERM), "the user cannot open %s %s: %s", devices[i], ways[w].name,
			    fd == -1 ? strerror(error) : "opened");
			if (fd != -1)
				close(fd);
		}
	error = divert_open(DIVERT_PORT + 1, 0, &fd);
	tell(error == EPERM || error == EACCES, "the user cannot open a divert socket: %s", error == 0 ? "opened" : strerror(error));
	error = socket(AF_INET, SOCK_RAW, IPPROTO_TCP) == -1 ? errno : 0;
	tell(error == EPERM || error == EACCES, "nor a raw socket: %s", error == 0 ? "opened" : strerror(error));
}

/* In the order in which root sends them. */
static void
use(const int fd[4])
{
	struct tproxy_ioc_addr listener;
	struct tproxy_ioc_flow flow;
	struct lisp_ioc_mapping mapping;
	struct divert_packet packet;
	struct tproxyctl tproxy;
	struct lispctl lisp;
	int error;

	done(anchor_flush(fd[0], ANCHOR), "what was handed over suffices: an anchor of pf is emptied");

	error = lispctl_adopt(&lisp, fd[1]);
	memset(&mapping, 0, sizeof(mapping));
	if (error == 0)
		error = lispctl_parse("198.51.100.0/24", &mapping.lm_eid);
	mapping.lm_nlocators = 1;
	mapping.lm_locators[0].ll_priority = 1;
	mapping.lm_locators[0].ll_flags = LISP_LOCATOR_REACHABLE;
	if (error == 0)
		error = lispctl_parse("203.0.113.99", &mapping.lm_locators[0].ll_rloc);
	if (error == 0)
		error = lispctl_mapping_set(&lisp, &mapping);
	if (error == 0)
		error = lispctl_mapping_delete(&lisp, 0, &mapping.lm_eid);
	done(error, "... a mapping is set in lisp(4) and deleted");

	error = tproxyctl_adopt(&tproxy, fd[2]);
	memset(&flow, 0, sizeof(flow));
	if (error == 0 && (tproxyctl_parse("198.51.100.1", 1234, &flow.tf_client) != 0 ||
	    tproxyctl_parse("198.51.100.2", 80, &flow.tf_destination) != 0 || tproxyctl_parse("127.0.0.1", 9, &listener) != 0))
		error = EINVAL;
	if (error == 0)
		error = tproxyctl_register(&tproxy, &flow, &listener);
	if (error == 0)
		error = tproxyctl_unregister(&tproxy, &flow);
	done(error, "... a flow is registered in tproxy(4) and taken back");

	error = divert_receive(fd[3], &packet);
	done(error == EAGAIN ? 0 : error == 0 ? EPROTO : error, "... the divert socket is read");
}

static int
child(int channel, const struct passwd *user)
{
	int fds[AM_MESSAGE_FDS];
	size_t count;
	char octet;

	if (setgroups(1, &user->pw_gid) == -1 || setgid(user->pw_gid) == -1 || setuid(user->pw_uid) == -1)
		err(1, "becoming %s", user->pw_name);
	tell(getuid() == user->pw_uid && geteuid() == user->pw_uid && setuid(0) == -1, "as %s, for good", user->pw_name);
	open_nothing();
	if (am_message_receive(channel, &octet, 1, fds, &count) != 1 || count != 4) {
		tell(false, "four descriptors come");
		return (1);
	}
	use(fds);
	return (0);
}

static int
wait_for_empty(const char *anchor)
{
	struct pfioc_rule rules;
	int pf = open("/dev/pf", O_RDONLY);

	if (pf == -1)
		err(1, "/dev/pf");
	for (int n = 0; n < 12000; n++) {
		memset(&rules, 0, sizeof(rules));
		strlcpy(rules.anchor, anchor, sizeof(rules.anchor));
		rules.rule.action = PF_PASS;
		/* An anchor that nothing is left of is no more. */
		if (ioctl(pf, DIOCGETRULES, &rules) == -1 || rules.nr == 0)
			return (0);
		usleep(5000);
	}
	return (1);
}

int
main(int argc, char **argv)
{
	const struct passwd *user;
	int channel[2], error, fds[4], status;
	pid_t pid;

	if (argc == 3 && strcmp(argv[1], "-w") == 0)
		return (wait_for_empty(argv[2]));
	if (argc == 2 && strcmp(argv[1], "-t") == 0) {
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		printf("%jd\n", (intmax_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
		return (0);
	}
	if (argc != 2 || (user = getpwnam(argv[1])) == NULL)
		errx(2, "usage: privileges USER");
	if (am_socket_pair(channel) != 0)
		err(1, "socketpair");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(channel[0]);
		_exit(child(channel[1], user));
	}
	close(channel[1]);
	for (size_t i = 0; i < nitems(devices); i++) {
		fds[i] = open(devices[i], O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fds[i] == -1)
			err(1, "%s", devices[i]);
	}
	error = divert_open(DIVERT_PORT, 0, &fds[3]);
	if (error != 0)
		errc(1, error, "divert socket");
	if (am_message_send(channel[0], "d", 1, fds, nitems(fds)) != 1)
		errx(1, "sending descriptors");
	for (size_t i = 0; i < nitems(fds); i++)
		close(fds[i]);
	return (waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
