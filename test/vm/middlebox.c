/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A middlebox between the emulated machine and the Linux end, which does to MPTCP what boxes on the way do, and worse:
 *
 *	QEMU (FreeBSD) <-- datagrams, one frame each --> this program <-- tap --> Linux
 *
 *	middlebox <tap> <own socket> <QEMU's socket>
 *
 * Commands on standard input, one a line, each answered with one line. FROM is freebsd or linux, the sender of the segments meant.
 *
 *	strip FROM syn|synack|ack|data|all [SKIP]	takes MPTCP's options out, after SKIP such segments
 *	keep FROM FAMILY				strips only of 4 or 6 (a subflow among others)
 *	alter FROM SKIP				changes an octet of payload, once, in the first data segment behind SKIP others
 *	drop FROM PERMILLE			loses that many of a thousand frames
 *	noise FROM PERMILLE SEED		fills that many of a thousand segments' MPTCP options with random octets
 *	forge FROM PERMILLE SEED		sends a random segment of the same connection behind that many of a thousand
 *	clear				all rules go
 *	counts				stripped N altered N dropped N noised N forged N
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "packet.h"

enum { FREEBSD, LINUX, SIDES };
enum kind { SYN, SYNACK, ACK, DATA, OTHER, KINDS };
static const char *const kinds[] = { "syn", "synack", "ack", "data" };

static struct rules {
	bool		strip[KINDS];
	unsigned	skip[KINDS], seen[KINDS];
	int		family;		/* strip: 0 both */
	bool		alter;
	unsigned	alter_skip;
	unsigned	drop, noise, forge;
	unsigned	begun;		/* segments since the last SYN */
} rules[SIDES];
static struct {
	unsigned	stripped, altered, dropped, noised, forged;
} counts;
/* A TCP segment within a frame. */
struct segment {
	uint8_t		*ip, *tcp;
	size_t		length;		/* of TCP's header and data */
	size_t		header;
	bool		ipv6;
};

static bool
find(uint8_t *frame, size_t length, struct segment *s)
{
	if (length < 14 + 20)
		return (false);
	s->ip = frame + 14;
	s->ipv6 = get16(frame + 12) == 0x86dd;
	if (s->ipv6) {
		if (length < 14 + 40 || s->ip[6] != 6 || length < 54u + get16(s->ip + 4))
			return (false);
		s->tcp = s->ip + 40;
		s->length = get16(s->ip + 4);
	} else {
		size_t header = (size_t)(s->ip[0] & 15) * 4;

		if (get16(frame + 12) != 0x0800 || s->ip[9] != 6 || (get16(s->ip + 6) & 0x3fff) != 0 || get16(s->ip + 2) < header ||
		    length < 14u + get16(s->ip + 2))
			return (false);
		s->tcp = s->ip + header;
		s->length = get16(s->ip + 2) - header;
	}
	if (s->length < 20)
		return (false);
	s->header = (size_t)(s->tcp[12] >> 4) * 4;
	return (s->header >= 20 && s->header <= s->length);
}

static void
sum(struct segment *s)
{
	uint32_t total = 6 + (uint32_t)s->length;

	total = s->ipv6 ? add(total, s->ip + 8, 32) : add(total, s->ip + 12, 8);
	put16(s->tcp + 16, 0);
	put16(s->tcp + 16, finish(add(total, s->tcp, s->length)));
}

static enum kind
kind_of(const struct segment *s)
{
	uint8_t flags = s->tcp[13];

	if (flags & 4)
		return (OTHER);
	if (flags & 2)
		return (flags & 16 ? SYNACK : SYN);
	return (s->length > s->header ? DATA : ACK);
}

/* Calls for each MPTCP option; returns how many there were. */
static unsigned
options(struct segment *s, void (*change)(uint8_t *option, size_t length))
{
	uint8_t *p = s->tcp + 20, *end = s->tcp + s->header;
	unsigned n = 0;

	while (p < end && *p != 0) {
		size_t length = *p == 1 ? 1 : p + 1 < end ? p[1] : 0;

		if (length == 0 || (length < 2 && *p != 1) || length > (size_t)(end - p))
			break;
		if (*p == 30) {
			change(p, length);
			n++;
		}
		p += length;
	}
	return (n);
}

static void
blank(uint8_t *option, size_t length)
{
	memset(option, 1, length);
}

static void
scramble(uint8_t *option, size_t length)
{
	size_t i;

	/* Half of them keep their form, so that more than the parser is reached. */
	if (any() % 2 == 0 && length > 3)
		option[3 + any() % (length - 3)] ^= (uint8_t)(1 + any() % 255);
	else
		for (i = 2; i < length; i++)
			option[i] = (uint8_t)any();
}

/* A segment of the same connection that its sender never sent. */
static size_t
forge(const uint8_t *frame, size_t length, const struct segment *model, uint8_t *out)
{
	static const uint8_t flags[] = { 0x10, 0x18, 0x11, 0x10, 0x10, 0x14, 0x02, 0x12, 0x30, 0x00, 0xff };
	size_t head = (size_t)(model->tcp - frame), header = 20 + 4 * (any() % 11), data = any() % 3 == 0 ? any() % 1000 : 0, i;
	struct segment s;

	(void)length;
	memcpy(out, frame, head + 20);
	s = (struct segment){ .ip = out + 14, .tcp = out + head, .length = header + data, .header = header, .ipv6 = model->ipv6 };
	s.tcp[12] = (uint8_t)(header / 4) << 4;
	s.tcp[13] = flags[any() % (any() % 50 == 0 ? sizeof(flags) : 5)];
	/* Mostly where it is taken to be real. */
	put32(s.tcp + 4, get32(s.tcp + 4) + (any() % 2 ? 0 : any() % 100000 - 50000));
	put32(s.tcp + 8, get32(s.tcp + 8) - (any() % 4 ? 0 : any() % 50000));
	for (i = 20; i < header + data; i++)
		s.tcp[i] = (uint8_t)any();
	if (header >= 24) {
		uint8_t *p = s.tcp + 20;
		size_t left = header - 20, size = any() % 3 == 0 ? left : 4 + any() % (left - 3);

		if (size > left)
			size = left;
		p[0] = 30;
		p[1] = (uint8_t)size;
		p[2] = (uint8_t)(any() % 9 << 4 | any() % 16);
		if (any() % 4 == 0 && left >= 20) {	/* a DSS that looks like one */
			p[1] = 20;
			p[2] = 0x20;
			p[3] = (uint8_t)(any() % 32);
		}
		memset(p + p[1], 1, left > p[1] ? left - p[1] : 0);
	}
	if (s.ipv6)
		put16(s.ip + 4, (unsigned)s.length);
	else {
		put16(s.ip + 2, (unsigned)(s.length + (size_t)(s.tcp - s.ip)));
		put16(s.ip + 10, 0);
		put16(s.ip + 10, finish(add(0, s.ip, (size_t)(s.tcp - s.ip))));
	}
	sum(&s);
	return (head + s.length);
}

/* False: lost. *forged: octets of a frame to be sent behind it. */
static bool
pass(int from, uint8_t *frame, size_t length, uint8_t *more, size_t *forged)
{
	struct rules *r = &rules[from];
	struct segment s;
	enum kind kind;
	bool changed = false;

	*forged = 0;
	if (r->drop != 0 && any() % 1000 < r->drop) {
		counts.dropped++;
		return (false);
	}
	if (!find(frame, length, &s))
		return (true);
	kind = kind_of(&s);
	if (r->strip[kind] && (r->family == 0 || (r->family == 6) == s.ipv6) && r->seen[kind]++ >= r->skip[kind] && options(&s, blank) != 0) {
		counts.stripped++;
		changed = true;
	}
	if (kind == DATA && r->alter && (r->family == 0 || (r->family == 6) == s.ipv6) && r->alter_skip-- == 0) {
		s.tcp[s.header + (s.length - s.header) / 2] ^= 0x55;
		r->alter = false;
		counts.altered++;
		changed = true;
	}
	/* Handshakes are left alone, or little would come behind them. */
	if (kind == SYN || kind == SYNACK)
		r->begun = 0;
	else if (r->begun++ < 8)
		kind = OTHER;
	if (kind == OTHER) {
		if (changed)
			sum(&s);
		return (true);
	}
	if (r->noise != 0 && any() % 1000 < r->noise && options(&s, scramble) != 0) {
		counts.noised++;
		changed = true;
	}
	if (r->forge != 0 && any() % 1000 < r->forge) {
		*forged = forge(frame, length, &s, more);
		counts.forged++;
	}
	if (changed)
		sum(&s);
	return (true);
}

static void
command(char *line)
{
	char *words[5] = { "", "", "", "", "" }, *save = NULL, *word;
	struct rules *r;
	int n = 0, i;

	for (word = strtok_r(line, " \n", &save); word != NULL && n < 5; word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	r = &rules[strcmp(words[1], "linux") == 0 ? LINUX : FREEBSD];
	if (strcmp(words[0], "strip") == 0) {
		for (i = 0; i < OTHER; i++)
			if (strcmp(words[2], kinds[i]) == 0 || strcmp(words[2], "all") == 0) {
				r->strip[i] = true;
				r->skip[i] = (unsigned)atoi(words[3]);
				r->seen[i] = 0;
			}
	} else if (strcmp(words[0], "keep") == 0)
		r->family = atoi(words[2]);
	else if (strcmp(words[0], "alter") == 0) {
		r->alter = true;
		r->alter_skip = (unsigned)atoi(words[2]);
	} else if (strcmp(words[0], "drop") == 0)
		r->drop = (unsigned)atoi(words[2]);
	else if (strcmp(words[0], "noise") == 0 || strcmp(words[0], "forge") == 0) {
		*(words[0][0] == 'n' ? &r->noise : &r->forge) = (unsigned)atoi(words[2]);
		state = strtoull(words[3], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	} else if (strcmp(words[0], "clear") == 0) {
		memset(rules, 0, sizeof(rules));
		memset(&counts, 0, sizeof(counts));
	} else if (strcmp(words[0], "counts") == 0) {
		printf("stripped %u altered %u dropped %u noised %u forged %u\n", counts.stripped, counts.altered, counts.dropped,
		    counts.noised, counts.forged);
		fflush(stdout);
		return;
	} else {
		printf("failed unknown rule %s\n", words[0]);
		fflush(stdout);
		return;
	}
	printf("done\n");
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct sockaddr_un own = { .sun_family = AF_UNIX }, peer = { .sun_family = AF_UNIX };
	static uint8_t frame[65536], more[65536];
	static char line[256];
	struct ifreq request = { 0 };
	struct pollfd fds[3];
	size_t have = 0, forged;
	ssize_t n;
	int tap, s, side;

	if (argc != 4)
		return (2);
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	request.ifr_flags = IFF_TAP | IFF_NO_PI;
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	if (tap == -1 || ioctl(tap, TUNSETIFF, &request) == -1) {
		perror(argv[1]);
		return (1);
	}
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strncpy(own.sun_path, argv[2], sizeof(own.sun_path) - 1);
	strncpy(peer.sun_path, argv[3], sizeof(peer.sun_path) - 1);
	if (bind(s, (struct sockaddr *)&own, sizeof(own)) == -1) {
		perror(argv[2]);
		return (1);
	}
	printf("ready\n");
	fflush(stdout);
	fds[0] = (struct pollfd){ .fd = 0, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = s, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = tap, .events = POLLIN };
	for (;;) {
		if (poll(fds, 3, -1) == -1)
			return (1);
		if (fds[0].revents != 0) {
			char *end;

			n = read(0, line + have, sizeof(line) - 1 - have);
			if (n <= 0)
				return (0);
			have += (size_t)n;
			line[have] = '\0';
			while ((end = strchr(line, '\n')) != NULL) {
				*end = '\0';
				have -= (size_t)(end + 1 - line);
				command(line);
				memmove(line, end + 1, have + 1);
			}
		}
		for (side = FREEBSD; side <= LINUX; side++) {
			if ((fds[1 + side].revents & POLLIN) == 0)
				continue;
			n = read(fds[1 + side].fd, frame, sizeof(frame));
			if (n <= 0 || !pass(side, frame, (size_t)n, more, &forged))
				continue;
			for (;;) {
				/* QEMU not there yet, or its queue full: as on any wire, the frame is lost. */
				if (side == LINUX)
					(void)!sendto(s, frame, (size_t)n, 0, (struct sockaddr *)&peer, sizeof(peer));
				else
					(void)!write(tap, frame, (size_t)n);
				if (forged == 0)
					break;
				memcpy(frame, more, forged);
				n = (ssize_t)forged;
				forged = 0;
			}
		}
	}
}
