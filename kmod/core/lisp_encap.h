/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encapsulation (ITR, RFC 9300 sections 4 and 5):
 *
 *   inner packet -> parse -> recursion? -> pin? -> map-cache -> priority, weight, up -> MTU -> plan -> outer header
 */
#ifndef LISP_ENCAP_H
#define LISP_ENCAP_H

#include "lisp_header.h"
#include "lisp_inner.h"
#include "lisp_tables.h"

#define	LISP_OUTER_V4	(20 + 8 + LISP_HEADER_SIZE)
#define	LISP_OUTER_V6	(40 + 8 + LISP_HEADER_SIZE)
#define	LISP_OUTER_MAX	LISP_OUTER_V6

struct lisp_encap_plan {
	enum lisp_verdict	verdict;
	enum lisp_drop		cause;		/* of LISP_DROP, and to count when a LISP_MISS, LISP_TOO_BIG, LISP_NATIVE is given up */
	struct lisp_path	path;		/* LISP_FORWARD, LISP_TOO_BIG */
	uint32_t		path_number;	/* LISP_PATH_NONE: lisp_paths_add() it with the exclusive lock, or go uncounted */
	uint32_t		iid;
	uint32_t		hash;
	uint16_t		source_port;	/* 49152 + hash: entropy for equal-cost paths on the way, RFC 9300 section 5.3 */
	uint16_t		mtu;		/* largest inner packet the path takes */
	uint8_t			tos;		/* of the outer header: DSCP and ECN of the inner one (RFC 6040 section 4.1) */
	uint8_t			ttl;
	bool			pinned;
};

/*
 * `inner` from lisp_inner_parse. `wire_length` is the length of the largest packet that will be on the wire: inner->length,
 * or of one segment of a super-packet.
 */
void	lisp_encap_decide(const struct lisp_tables *tables, uint32_t iid, const struct lisp_inner *inner,
	    uint32_t wire_length, uint64_t now_ms, struct lisp_encap_plan *plan);
/* Both in one, from the octets. `inner` is filled as far as parsing went. */
void	lisp_encap_packet(const struct lisp_tables *tables, uint32_t iid, const uint8_t *data, size_t length, size_t look,
	    uint64_t now_ms, struct lisp_inner *inner, struct lisp_encap_plan *plan);

/* LISP_OUTER_V4 or LISP_OUTER_V6. */
size_t	lisp_encap_overhead(const struct lisp_encap_plan *plan);
/* The LISP header alone, for glue that sends through UDP sockets. The instance-id is sent unless it is 0. */
void	lisp_encap_write_lisp(const struct lisp_encap_plan *plan, uint8_t *out);
/*
 * Outer IP, UDP and LISP header for an inner packet of `inner_length` octets: lisp_encap_overhead() octets to `out`.
 * DF is set, the IPv4 identification is 0 (RFC 6864), the IPv4 checksum is filled in, the UDP checksum is zero (RFC 9300
 * section 5.3, RFC 6935): glue that wants one computes it.
 */
void	lisp_encap_write(const struct lisp_encap_plan *plan, size_t inner_length, uint8_t *out);

/* DSCP is copied, ECN as in the normal mode of RFC 6040: outer equals inner. */
uint8_t	lisp_encap_tos(uint8_t inner_tos);

#endif /* LISP_ENCAP_H */
