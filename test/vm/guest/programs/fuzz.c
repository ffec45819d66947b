/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Arguments nobody should pass to /dev/lisp.
 *
 *	fuzz <root|reader|other> <seed> <count>
 *
 * `root` opens for writing; `reader` gets a descriptor root opened for reading and is nobody; `other` is nobody and tries to
 * open for writing itself (the device's mode must let it get that far to show the privilege check). Prints how the calls
 * ended. Fails when a call that must not succeed did.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lisp_ioctl.h"

static const struct {
	unsigned long command;
	bool writes;
} commands[] = {
	{ LISPIOC_INFO, false }, { LISPIOC_IID, true }, { LISPIOC_MAPPING_SET, true }, { LISPIOC_MAPPING_DELETE, true },
	{ LISPIOC_MAPPING_LOOKUP, false }, { LISPIOC_MAPPING_LIST, false }, { LISPIOC_MAPPING_FLUSH, true },
	{ LISPIOC_PIN_SET, true }, { LISPIOC_PIN_DELETE, true }, { LISPIOC_PIN_LIST, false }, { LISPIOC_PIN_FLUSH, true },
	{ LISPIOC_RLOCS_SET, true }, { LISPIOC_RLOCS_GET, false }, { LISPIOC_EIDS_SET, true }, { LISPIOC_EIDS_GET, false },
	{ LISPIOC_PATH_STATE, true }, { LISPIOC_PATH_LIST, false },
};
#define	NCOMMANDS	(sizeof(commands) / sizeof(commands[0]))

static uint64_t state;

static uint32_t
any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return ((uint32_t)(state >> 20));
}

static void
fill(unsigned char *p, size_t octets)
{
	for (size_t i = 0; i < octets; i++)
		p[i] = (unsigned char)any();
}

/* Something that gets further than noise: families, lengths and counts that are often right. */
static void
plausible_address(struct lisp_ioc_addr *a, bool prefix)
{
	memset(a, 0, sizeof(*a));
	a->la_family = any() % 8 == 0 ? (uint8_t)any() : any() % 2 ? LISP_ABI_IPV4 : LISP_ABI_IPV6;
	a->la_plen = prefix ? (uint8_t)(any() % 140) : any() % 8 == 0;
	if (a->la_family == LISP_ABI_IPV4) {
		static const unsigned char pool[][4] = { { 203, 0, 111, 1 }, { 203, 0, 121, 1 }, { 198, 18, 2, 0 },
			{ 224, 0, 0, 1 }, { 0, 0, 0, 0 }, { 255, 255, 255, 255 }, { 127, 0, 0, 1 } };
		memcpy(a->la_octets, pool[any() % 7], 4);
	} else
		fill(a->la_octets, any() % 17);
	if (any() % 16 == 0)
		a->la_zero[any() % 2] = (uint8_t)any();
}

static void
plausible(unsigned long command, unsigned char *p)
{
	uint32_t version = any() % 16 == 0 ? any() : LISP_ABI_VERSION;

	memset(p, 0, IOCPARM_LEN(command));
	switch (command) {
	case LISPIOC_MAPPING_SET:
	case LISPIOC_MAPPING_DELETE:
	case LISPIOC_MAPPING_LOOKUP: {
		struct lisp_ioc_mapping m = { .lm_iid = any() % 4 ? 0 : any(), .lm_flags = any() % 4 ? 0 : any() % 8,
			.lm_action = any() % 4 ? 0 : (uint8_t)any(), .lm_nlocators = (uint8_t)(any() % 20) };

		plausible_address(&m.lm_eid, any() % 8 != 0);
		for (unsigned int i = 0; i < LISP_ABI_LOCATORS && i < m.lm_nlocators; i++) {
			plausible_address(&m.lm_locators[i].ll_rloc, false);
			m.lm_locators[i].ll_priority = (uint8_t)any();
			m.lm_locators[i].ll_weight = (uint8_t)any();
			m.lm_locators[i].ll_flags = any() % 8 ? 1 : (uint8_t)any();
		}
		memcpy(p, &m, sizeof(m));
		break;
	}
	case LISPIOC_PIN_SET:
	case LISPIOC_PIN_DELETE: {
		struct lisp_ioc_pin pin = { .lp_iid = any() % 4 ? 0 : any(), .lp_flags = any() % 8 ? 0 : any() };

		plausible_address(&pin.lp_flow.lf_local, false);
		plausible_address(&pin.lp_flow.lf_remote, false);
		pin.lp_flow.lf_local_port = (uint16_t)any();
		pin.lp_flow.lf_protocol = (uint8_t)any();
		plausible_address(&pin.lp_path.lp_local, false);
		plausible_address(&pin.lp_path.lp_remote, false);
		memcpy(p, &pin, sizeof(pin));
		break;
	}
	case LISPIOC_RLOCS_SET: {
		struct lisp_ioc_rlocs r = { .lr_count = any() % 4 ? any() % 18 : any() };

		for (unsigned int i = 0; i < LISP_ABI_LOCAL_RLOCS; i++) {
			plausible_address(&r.lr_rlocs[i], false);
			r.lr_fibs[i] = any() % 4 ? LISP_FIB_DEFAULT : (uint16_t)any();
		}
		memcpy(p, &r, sizeof(r));
		break;
	}
	case LISPIOC_EIDS_SET: {
		struct lisp_ioc_eids e = { .le_count = any() % 4 ? any() % 260 : any(), .le_iid = any() % 4 ? 0 : any() };

		for (unsigned int i = 0; i < LISP_ABI_LOCAL_EIDS; i++)
			plausible_address(&e.le_eids[i], true);
		memcpy(p, &e, sizeof(e));
		break;
	}
	case LISPIOC_PATH_STATE: {
		struct lisp_ioc_path_state s = { .ps_up = any() % 3, .ps_mtu = any() % 4 ? any() % 70000 : any() };

		plausible_address(&s.ps_path.lp_local, false);
		plausible_address(&s.ps_path.lp_remote, false);
		memcpy(p, &s, sizeof(s));
		break;
	}
	case LISPIOC_MAPPING_LIST:
	case LISPIOC_PIN_LIST:
	case LISPIOC_PATH_LIST: {
		static unsigned char room[65536];
		struct lisp_ioc_list l = { .ls_count = any() % 2 ? any() % 64 : any(), .ls_cursor = any() % 2 ? 0 : any() };

		/* Too little memory behind it, none at all, the kernel's, or an odd address. */
		switch (any() % 5) {
		case 0:
			l.ls_buffer = (uint64_t)(uintptr_t)(room + sizeof(room) - 64);
			break;
		case 1:
			l.ls_buffer = 0;
			break;
		case 2:
			l.ls_buffer = 0xffffffff80200000ULL;
			break;
		case 3:
			l.ls_buffer = (uint64_t)(uintptr_t)(room + 1);
			l.ls_count = any() % 32;
			break;
		default:
			l.ls_buffer = ((uint64_t)any() << 32) | any();
			break;
		}
		if (any() % 4 == 0)
			l.ls_cursor = ((uint64_t)any() << 32) | any();
		memcpy(p, &l, sizeof(l));
		break;
	}
	default:
		fill(p + 4, IOCPARM_LEN(command) - 4);
		break;
	}
	memcpy(p, &version, sizeof(version));
}

int
main(int argc, char **argv)
{
	static unsigned char buffer[16384 + 16];
	unsigned long counts[256] = { 0 }, successes = 0, wrong = 0;
	unsigned char *guarded, *p;
	const char *who;
	long page = sysconf(_SC_PAGESIZE), count, n;
	int fd, result;

	if (argc != 4)
		errx(2, "usage");
	who = argv[1];
	state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	count = strtol(argv[3], NULL, 10);
	if (strcmp(who, "other") == 0) {
		if (setgid(65534) == -1 || setuid(65534) == -1)
			err(2, "setuid");
		fd = open("/dev/" LISP_DEVICE, O_RDWR);
		if (fd != -1)
			errx(1, "nobody may open the device for writing");
		printf("open for writing: %s\n", strerror(errno));
		return (errno == EPERM || errno == EACCES ? 0 : 1);
	}
	fd = open("/dev/" LISP_DEVICE, (strcmp(who, "root") == 0 ? O_RDWR : O_RDONLY) | O_NONBLOCK);
	if (fd == -1)
		err(2, "open");
	if (strcmp(who, "reader") == 0 && (setgid(65534) == -1 || setuid(65534) == -1))
		err(2, "setuid");
	/* A page with nothing behind it: an argument too short for its command. */
	guarded = mmap(NULL, (size_t)(2 * page), PROT_READ | PROT_WRITE, MAP_ANON | MAP_PRIVATE, -1, 0);
	if (guarded == MAP_FAILED || munmap(guarded + page, (size_t)page) == -1)
		err(2, "mmap");

	for (n = 0; n < count; n++) {
		unsigned int which = any() % NCOMMANDS;
		unsigned long command = commands[which].command;
		size_t length = IOCPARM_LEN(command);
		bool known = true;

		p = buffer + any() % 8;		/* misaligned seven times of eight */
		switch (any() % 8) {
		case 0:				/* noise, with the right version half the time */
			fill(p, length);
			if (any() % 2)
				memcpy(p, &(uint32_t){ LISP_ABI_VERSION }, 4);
			break;
		case 1:				/* another length: short or long */
			fill(p, sizeof(buffer) - 16);
			command = (command & ~(IOCPARM_MASK << 16)) | (((unsigned long)any() & IOCPARM_MASK) << 16);
			known = IOCPARM_LEN(command) == length;
			break;
		case 2:				/* another number, direction or group */
			fill(p, sizeof(buffer) - 16);
			command = any() % 2 ? _IOC(IOC_INOUT, 'L', any() % 256, any() % 512) : any();
			for (unsigned int i = 0; i < NCOMMANDS; i++)
				known = i == 0 ? commands[i].command == command : known || commands[i].command == command;
			break;
		case 3:				/* memory that ends too early, or is not there */
			plausible(command, p);
			if (any() % 2) {
				size_t have = any() % length;

				memcpy(guarded + page - have, p, have);
				p = guarded + page - have;
			} else
				p = any() % 2 ? NULL : (unsigned char *)0xffffffff80200000UL;
			break;
		default:
			plausible(command, p);
			break;
		}
		result = ioctl(fd, command, p);
		if (result == 0) {
			successes++;
			if (!known || (commands[which].writes && command == commands[which].command &&
			    strcmp(who, "root") != 0)) {
				/* Generic descriptor commands that another number may have hit are not the device's. */
				if (IOCGROUP(command) == 'L') {
					printf("command %#lx must not succeed\n", command);
					wrong++;
				}
			}
		} else
			counts[errno & 255]++;
		if (any() % 64 == 0) {
			unsigned char event[300];
			struct pollfd pfd = { .fd = fd, .events = (short)any() };

			(void)poll(&pfd, 1, 0);
			(void)read(fd, event, any() % sizeof(event));
			(void)write(fd, event, any() % sizeof(event));
			(void)lseek(fd, (off_t)any(), SEEK_SET);
		}
	}
	printf("%ld calls, %lu succeeded", count, successes);
	for (n = 0; n < 256; n++)
		if (counts[n] != 0)
			printf(", %lu %s", counts[n], strerror((int)n));
	printf("\n");
	return (wrong == 0 ? 0 : 1);
}
