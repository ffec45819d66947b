/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP as far as a tunnel needs it: telling senders of inner packets what fits, and learning from the underlay.
 */
#ifndef LISP_ICMP_H
#define LISP_ICMP_H

#include "lisp_inner.h"

/* Room for the largest answer: IPv4 548 octets of quote at most (RFC 1812 section 4.3.2.3), IPv6 up to 1280 in all. */
#define	LISP_ICMP_MAX	1280

/*
 * 'Fragmentation needed' (RFC 1191) or 'packet too big' (RFC 4443 section 3.2) to the sender of the inner packet, from
 * `source` (same family). Returns the octets written, 0 when no answer is due (to an ICMP error, a fragment other than the first,
 * multicast, or no room). `available` is how much of the packet may be quoted.
 */
size_t	lisp_icmp_too_big(const uint8_t *data, const struct lisp_inner *inner, size_t available,
	    const struct lisp_addr *source, uint16_t mtu, uint8_t *out, size_t room);

enum lisp_icmp_kind {
	LISP_ICMP_OTHER = 0,	/* none of the tunnel's business */
	LISP_ICMP_TOO_BIG,
	LISP_ICMP_UNREACHABLE
};

struct lisp_icmp_report {
	enum lisp_icmp_kind	kind;
	struct lisp_path	path;		/* of the quoted outer packet: local is its source */
	uint16_t		source_port;
	uint16_t		mtu;		/* LISP_ICMP_TOO_BIG: of the underlay, 0 when the router did not say (RFC 1191 section 5) */
	struct lisp_addr	reporter;
};

/* `data`: an IP packet that carries ICMP. Only errors that quote a UDP packet to port 4341 count. */
void	lisp_icmp_parse(const uint8_t *data, size_t length, struct lisp_icmp_report *report);
/* The same without the outer IP header, for glue that has ICMP message and reporter apart. */
void	lisp_icmp_parse_message(unsigned af, const uint8_t *data, size_t length, struct lisp_icmp_report *report);
/* The next lower plateau, RFC 1191 section 7.1, for routers that do not tell the MTU. */
uint16_t lisp_icmp_plateau(uint16_t length);

#endif /* LISP_ICMP_H */
