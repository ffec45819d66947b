/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * divert(4) sockets, as pf's divert-to feeds them with the first SYN of a connection:
 *
 *	open -> receive a SYN -> hold it -> inject it verbatim		it goes on: to tproxy's listener, or its way
 *					 \-> refuse (RST), unreachable (ICMP)	the client learns what became of the server
 *
 * IPv4 only: pf of FreeBSD 14 diverts nothing else. Every function that can fail returns 0 or an errno value.
 */
#ifndef AMPTCP_DIVERT_H
#define	AMPTCP_DIVERT_H

#include <sys/types.h>

#include <netinet/in.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define	DIVERT_PACKET_MAX	576	/* a SYN's headers are 120 octets at most; what it carries besides is kept up to here */

/* One diverted packet, with where it came from: what inject gives back unchanged. */
struct divert_packet {
	struct sockaddr_in	from;		/* direction, interface: opaque */
	size_t			length;
	unsigned char		octets[DIVERT_PACKET_MAX];
};

/* What a SYN says. */
struct divert_syn {
	struct sockaddr_in	client;
	struct sockaddr_in	destination;
	uint32_t		sequence;
	bool			joins;		/* MP_JOIN: a further subflow of a connection there is */
};

/* A non-blocking socket for the port of pf's divert-to rule. Needs privilege. `buffer`: room in octets, 0 for the default. */
int	divert_open(uint16_t port, int buffer, int *fd);
/* EAGAIN: none waits. EMSGSIZE: it was larger than anything that is held, and is lost; the sender repeats it. */
int	divert_receive(int fd, struct divert_packet *);
/* Reads the packet; false if it is no plain IPv4 TCP SYN: inject it. */
bool	divert_parse(const struct divert_packet *, struct divert_syn *);
/* Whether the TCP header of an IPv4 or IPv6 packet has MP_JOIN. False for what cannot be read. */
bool	divert_joins(const unsigned char *packet, size_t length);
/* Back where it came from, octet by octet. */
int	divert_inject(int fd, const struct divert_packet *);
/* Answers the SYN by RST, from its destination. */
int	divert_refuse(int fd, const struct divert_packet *);
/* Answers the SYN by ICMP destination unreachable, from the receiving interface's address. `code` as in RFC 792: 0 net, 1 host. */
int	divert_unreachable(int fd, const struct divert_packet *, uint8_t code);

#ifdef __cplusplus
}
#endif

#endif
