/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Packets nobody should send.
 *
 *	inject data <source> <destination> <seed> <count>	to UDP port 4341: LISP packets, mutilated
 *	inject icmp <source> <destination> <seed> <count>	ICMP errors that quote LISP packets, mutilated
 *	inject inner <interface> <seed> <count>			into an interface's output, by bpf(4)
 *
 * Prints how many it sent.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <net/bpf.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t state;

static uint32_t
any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return ((uint32_t)(state >> 20));
}

static uint16_t
checksum(const unsigned char *p, size_t octets)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < octets; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (octets % 2)
		sum += (uint32_t)(p[octets - 1] << 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ((uint16_t)~sum);
}

static void
put16(unsigned char *p, unsigned int value)
{
	p[0] = (unsigned char)(value >> 8);
	p[1] = (unsigned char)value;
}

static const unsigned char eid4[2][4] = { { 198, 18, 1, 10 }, { 198, 18, 2, 10 } };
static const unsigned char eid6[2][16] = {
	{ 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10 },
	{ 0x20, 0x01, 0x0d, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10 },
};

/* A sound inner packet from site 1 to site 2: IPv4 or IPv6, TCP, UDP or ICMP, sometimes with options or extensions. */
static size_t
inner_packet(unsigned char *p)
{
	static const unsigned char protocols[] = { 6, 17, 1, 58, 47, 132 };
	unsigned int payload = any() % 5 == 0 ? any() % 1300 : 8 + any() % 80, header;
	unsigned char protocol = protocols[any() % 6];

	if (any() % 2) {
		header = 20 + (any() % 4 == 0 ? 4 * (any() % 11) : 0);
		memset(p, 0, header);
		p[0] = (unsigned char)(0x40 | header / 4);
		p[1] = (unsigned char)any();
		put16(p + 2, header + payload);
		put16(p + 6, any() % 4 == 0 ? any() & 0x3fff : 0x4000);
		p[8] = (unsigned char)(1 + any() % 255);
		p[9] = protocol;
		memcpy(p + 12, eid4[0], 4);
		memcpy(p + 16, eid4[1], 4);
		memset(p + 20, 1, header - 20);
		put16(p + 10, checksum(p, header));
	} else {
		header = 40;
		memset(p, 0, header);
		p[0] = 0x60;
		p[6] = protocol;
		p[7] = (unsigned char)(1 + any() % 255);
		memcpy(p + 8, eid6[0], 16);
		memcpy(p + 24, eid6[1], 16);
		for (unsigned int extensions = any() % 3 == 0 ? any() % 6 : 0; extensions > 0; extensions--) {
			static const unsigned char types[] = { 0, 43, 44, 60, 51, 135 };
			unsigned int size = 8 * (1 + any() % 3);

			memset(p + header, 0, size);
			p[header] = protocol;
			p[header + 1] = (unsigned char)(size / 8 - 1);
			p[header == 40 ? 6 : header - 8] = types[any() % 6];
			header += size;
		}
		put16(p + 4, header - 40 + payload);
	}
	for (unsigned int i = 0; i < payload; i++)
		p[header + i] = (unsigned char)any();
	return (header + payload);
}

/* Spoils it: cut, lengthened, octets changed, or noise altogether; one of eight is left as it is. */
static size_t
mutilate(unsigned char *p, size_t length, size_t room)
{
	switch (any() % 8) {
	case 0:
		return (length);
	case 1:
	case 2:
		return (any() % (length + 1));
	case 3:
		length = any() % 1800;
		for (size_t i = 0; i < length; i++)
			p[i] = (unsigned char)any();
		return (length);
	case 4: {
		size_t more = any() % (any() % 4 ? 64 : 4000);

		if (length + more > room)
			more = room - length;
		for (size_t i = 0; i < more; i++)
			p[length + i] = (unsigned char)any();
		return (length + more);
	}
	default:
		for (unsigned int changes = 1 + any() % 4; changes > 0 && length > 0; changes--)
			p[any() % (any() % 2 ? length : length < 60 ? length : 60)] = (unsigned char)any();
		return (length);
	}
}

static struct addrinfo *
resolve(const char *address, const char *port, int type)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = type };
	struct addrinfo *result;

	if (getaddrinfo(address, port, &hints, &result) != 0)
		errx(2, "%s: not an address", address);
	return (result);
}

static void
send_it(int s, const unsigned char *p, size_t length, const struct addrinfo *to, unsigned long *sent)
{
	for (int tries = 0; tries < 200; tries++) {
		if (sendto(s, p, length, 0, to->ai_addr, to->ai_addrlen) == (ssize_t)length) {
			(*sent)++;
			return;
		}
		if (errno != ENOBUFS)
			return;
		usleep(1000);
	}
}

static int
data(char **argv)
{
	static unsigned char packet[65536];
	struct addrinfo *source = resolve(argv[0], "0", SOCK_DGRAM), *to = resolve(argv[1], "4341", SOCK_DGRAM);
	unsigned long sent = 0;
	size_t length;
	int s;

	s = socket(to->ai_family, SOCK_DGRAM, 0);
	if (s == -1 || bind(s, source->ai_addr, source->ai_addrlen) == -1)
		err(2, "bind");
	for (long n = strtol(argv[3], NULL, 10); n > 0; n--) {
		memset(packet, 0, 8);
		if (any() % 8 == 0)
			for (int i = 0; i < 8; i++)
				packet[i] = (unsigned char)any();
		length = inner_packet(packet + 8);
		length = any() % 8 == 0 ? mutilate(packet, length + 8, sizeof(packet)) :
		    8 + mutilate(packet + 8, length, sizeof(packet) - 8);
		/* LISP within LISP, deep. */
		if (any() % 64 == 0)
			length = 8 + 36 * 30;
		send_it(s, packet, length, to, &sent);
		if (n % 32 == 0)
			usleep(2000);
	}
	printf("%lu\n", sent);
	return (0);
}

static int
icmp(char **argv)
{
	static unsigned char packet[65536];
	struct addrinfo *source = resolve(argv[0], NULL, SOCK_RAW), *to = resolve(argv[1], NULL, SOCK_RAW);
	bool six = to->ai_family == AF_INET6;
	unsigned long sent = 0;
	size_t at, length;
	int s;

	s = socket(to->ai_family, SOCK_RAW, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (s == -1 || bind(s, source->ai_addr, source->ai_addrlen) == -1)
		err(2, "bind");
	for (long n = strtol(argv[3], NULL, 10); n > 0; n--) {
		memset(packet, 0, 8);
		packet[0] = six ? (any() % 4 ? 2 : 1) : 3;
		packet[1] = six ? 0 : any() % 4 ? 4 : (unsigned char)(any() % 16);
		put16(packet + 6, any() % 4 ? 500 + any() % 1100 : any() & 0xffff);
		at = 8;
		/* The quoted packet: from the destination, as if it had sent it. */
		if (six) {
			memset(packet + at, 0, 40);
			packet[at] = 0x60;
			put16(packet + at + 4, 100);
			packet[at + 6] = 17;
			memcpy(packet + at + 8, &((struct sockaddr_in6 *)to->ai_addr)->sin6_addr, 16);
			memcpy(packet + at + 24, &((struct sockaddr_in6 *)source->ai_addr)->sin6_addr, 16);
			at += 40;
		} else {
			memset(packet + at, 0, 20);
			packet[at] = 0x45;
			put16(packet + at + 2, 120);
			packet[at + 9] = 17;
			memcpy(packet + at + 12, &((struct sockaddr_in *)to->ai_addr)->sin_addr, 4);
			memcpy(packet + at + 16, &((struct sockaddr_in *)source->ai_addr)->sin_addr, 4);
			at += 20;
		}
		put16(packet + at, 49152 + any() % 16384);
		put16(packet + at + 2, 4341);
		put16(packet + at + 4, 100);
		put16(packet + at + 6, 0);
		at += 8;
		length = mutilate(packet + 8, at - 8 + any() % 40, 1400) + 8;
		put16(packet + 2, 0);
		/* The kernel sums up ICMPv6 itself. */
		if (!six && any() % 16 != 0)
			put16(packet + 2, checksum(packet, length));
		send_it(s, packet, length, to, &sent);
		if (n % 32 == 0)
			usleep(2000);
	}
	printf("%lu\n", sent);
	return (0);
}

static int
inner(char **argv)
{
	static unsigned char packet[65536];
	struct ifreq ifr = { 0 };
	unsigned long sent = 0;
	uint32_t family = AF_INET;
	size_t length;
	int fd;

	fd = open("/dev/bpf", O_RDWR);
	if (fd == -1)
		err(2, "/dev/bpf");
	strlcpy(ifr.ifr_name, argv[0], sizeof(ifr.ifr_name));
	if (ioctl(fd, BIOCSETIF, &ifr) == -1)
		err(2, "%s", argv[0]);
	for (long n = strtol(argv[2], NULL, 10); n > 0; n--) {
		memcpy(packet, &family, sizeof(family));
		length = mutilate(packet + 4, inner_packet(packet + 4), 1400);
		if (length == 0 || length > 1444)
			continue;
		if (write(fd, packet, length + 4) == (ssize_t)(length + 4))
			sent++;
		else if (errno == ENOBUFS)
			usleep(1000);
		if (n % 64 == 0)
			usleep(2000);
	}
	printf("%lu\n", sent);
	return (0);
}

int
main(int argc, char **argv)
{
	if (argc == 6 || (argc == 5 && strcmp(argv[1], "inner") == 0))
		state = strtoull(argv[argc - 2], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	if (argc == 6 && strcmp(argv[1], "data") == 0)
		return (data(argv + 2));
	if (argc == 6 && strcmp(argv[1], "icmp") == 0)
		return (icmp(argv + 2));
	if (argc == 5 && strcmp(argv[1], "inner") == 0)
		return (inner(argv + 2));
	errx(2, "usage");
}
