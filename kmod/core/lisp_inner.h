/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bounds-checked view of an inner packet: an IPv4 or IPv6 packet that starts at `data` and may be followed by padding.
 */
#ifndef LISP_INNER_H
#define LISP_INNER_H

#include "lisp_types.h"

struct lisp_inner {
	struct lisp_flow flow;		/* iid is the caller's, 0 after parsing */
	uint32_t	length;		/* octets of the packet as its header says */
	uint16_t	header_length;	/* IP header with options or extension headers: where the payload begins */
	uint16_t	proto_offset;	/* where the octet that names the payload's protocol is */
	uint8_t		af;
	uint8_t		ttl;
	uint8_t		tos;		/* DSCP and ECN; IPv6: traffic class */
	uint8_t		tcp_flags;	/* of an unfragmented TCP segment, else 0 */
	bool		df;		/* IPv4 Don't Fragment; IPv6: always */
	bool		fragment;	/* any fragment, the first one too: its flow has no ports */
	bool		first_fragment;	/* ... that carries the payload's beginning */
	bool		icmp_error;	/* must not be answered with ICMP */
};

/* How far a packet is looked at before it must be contiguous: IPv6 header, extension headers within reason, ports. */
#define	LISP_INNER_LOOK_MAX	256

/*
 * `length` is what there is; the packet's own length must not be more. `look` octets of it are readable at `data` (all of
 * it in userland; in the kernel what was pulled up, at least min(length, LISP_INNER_LOOK_MAX)). The IPv4 header checksum is
 * verified when `verify` is set. A super-packet (TSO/GRO) is a packet of up to 65535 octets here, an IPv6 one as well.
 */
bool	lisp_inner_parse(const uint8_t *data, size_t length, size_t look, bool verify, struct lisp_inner *inner,
	    enum lisp_drop *cause);

/* Sets TOS/traffic class and TTL/hop limit in place; the IPv4 checksum follows incrementally (RFC 1624). */
void	lisp_inner_rewrite(uint8_t *data, const struct lisp_inner *inner, uint8_t tos, uint8_t ttl);

/* Internet checksum (RFC 1071): add octets to a running sum, then fold. A piece of odd length only as the last one. */
uint64_t lisp_sum(const uint8_t *data, size_t length, uint64_t sum);
uint16_t lisp_sum_fold(uint64_t sum);	/* the complement, ready to be written with lisp_put16 */
/* Sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1). */
uint64_t lisp_sum_pseudo(const struct lisp_addr *src, const struct lisp_addr *dst, uint8_t proto, uint32_t length);

#endif /* LISP_INNER_H */
