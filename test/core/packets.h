/* SPDX-License-Identifier: BSD-2-Clause */
/* Literal packets that several tests use, and short ways to write addresses. */
#ifndef PACKETS_H
#define PACKETS_H

#include <arpa/inet.h>
#include <lisp_types.h>

/* 192.0.2.1:33000 -> 198.18.1.10:443, TCP SYN, DF, TTL 64, DSCP AF11 (tos 0x28), ECT(0). 40 octets. */
#define	TCP4 "45 2a 00 28 12 34 40 00 40 06 9f 54 c0 00 02 01 c6 12 01 0a" \
	"80 e8 01 bb 00 00 00 01 00 00 00 00 50 02 ff ff 00 00 00 00"
/* 192.0.2.1:5000 -> 198.18.1.10:53, UDP, no DF, TTL 3, 4 octets of data. */
#define	UDP4 "45 00 00 20 00 01 00 00 03 11 2e af c0 00 02 01 c6 12 01 0a 13 88 00 35 00 0c 00 00 de ad be ef"
/* 2001:db8:1::1 port 33000 -> 2001:db8:2::a port 443, TCP ACK, traffic class 0xb9 (EF, ECT(1)), hop limit 9, flow label 12345. 60 octets. */
#define	TCP6 "6b 91 23 45 00 14 06 09 20010db8000100000000000000000001 20010db800020000000000000000000a" \
	"80 e8 01 bb 00 00 00 05 00 00 00 06 50 10 ff ff 00 00 00 00"

static inline struct lisp_addr
A(const char *text)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		return (lisp_addr_v4(bytes));
	if (inet_pton(AF_INET6, text, bytes) == 1)
		return (lisp_addr_v6(bytes));
	abort();
}

static inline struct lisp_prefix
P(const char *text)
{
	struct lisp_prefix prefix;
	char copy[64], *slash;

	memset(&prefix, 0, sizeof(prefix));
	snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	*slash = '\0';
	prefix.addr = A(copy);
	prefix.len = (uint8_t)atoi(slash + 1);
	return (prefix);
}

static inline struct lisp_path
PATH(const char *local, const char *remote)
{
	struct lisp_path path = { A(local), A(remote) };

	return (path);
}

static inline bool
is_addr(const struct lisp_addr *addr, const char *text)
{
	struct lisp_addr want = A(text);

	return (lisp_addr_equal(addr, &want));
}

/* The IPv4 header checksum of a packet that a test has changed. */
static inline void
fix_v4(unsigned char *packet)
{
	unsigned sum = 0, i;

	packet[10] = packet[11] = 0;
	for (i = 0; i < (packet[0] & 15u) * 4; i += 2)
		sum += (unsigned)packet[i] << 8 | packet[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	packet[10] = (unsigned char)(sum >> 8);
	packet[11] = (unsigned char)sum;
}

#endif
