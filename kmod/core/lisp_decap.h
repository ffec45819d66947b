/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decapsulation (ETR, RFC 9300 sections 4 and 5):
 *
 *   UDP 4341 -> outer addresses -> LISP header -> instance-id -> inner packet -> local EID? -> source's mapping has this
 *   RLOC? -> ECN, DSCP, TTL -> glean -> deliver
 */
#ifndef LISP_DECAP_H
#define LISP_DECAP_H

#include "lisp_header.h"
#include "lisp_inner.h"
#include "lisp_tables.h"

/* What the outer headers said; glue takes it from a socket or from the packet. */
struct lisp_outer {
	struct lisp_addr	src;
	struct lisp_addr	dst;
	uint16_t		sport;
	uint8_t			tos;
	uint8_t			ttl;	/* as received, not decremented */
};

struct lisp_decap_plan {
	enum lisp_verdict	verdict;	/* LISP_FORWARD: apply and deliver. LISP_MISS: hold, ask for inner.flow.src */
	enum lisp_drop		cause;
	struct lisp_path	path;		/* local: outer destination; remote: outer source */
	uint32_t		path_number;	/* as in lisp_encap_plan */
	struct lisp_header	header;
	struct lisp_inner	inner;		/* flow as it travels; flow.iid is set */
	uint8_t			tos;		/* of the inner header from now on */
	uint8_t			ttl;
	bool			glean;		/* lisp_pins_glean(lisp_flow_reverse(inner.flow), path) with the exclusive lock */
};

/*
 * `data` is the UDP payload: LISP header and inner packet, `length` octets of which `look` are readable (see
 * lisp_inner_parse; LISP_HEADER_SIZE more). A packet that was held is decided again from the start.
 */
void	lisp_decap_decide(const struct lisp_tables *tables, const struct lisp_outer *outer, const uint8_t *data,
	    size_t length, size_t look, uint64_t now_ms, struct lisp_decap_plan *plan);
/*
 * The next packet of a train that came from the same outer flow: true when it is of the same inner flow and instance as `previous`, which
 * was decided LISP_FORWARD under the same lock; `plan` is then decided without looking anything up. False: decide it in full.
 */
bool	lisp_decap_again(const struct lisp_decap_plan *previous, const struct lisp_outer *outer, const uint8_t *data,
	    size_t length, size_t look, struct lisp_decap_plan *plan);
/* Writes TOS and TTL of the plan into the inner packet at `inner` (data + LISP_HEADER_SIZE). */
void	lisp_decap_apply(const struct lisp_decap_plan *plan, uint8_t *inner);

/* RFC 6040 section 4.2, figure 4. False: drop, congestion was marked on a packet that cannot carry the mark. */
bool	lisp_decap_tos(uint8_t inner_tos, uint8_t outer_tos, uint8_t *tos);

/*
 * For glue that has a whole outer packet (raw socket, simulated network): IP and UDP headers off. The returned offset is
 * where the LISP header is; 0 and a cause when the octets are no UDP packet to port 4341. `payload` is the UDP payload's length.
 */
size_t	lisp_outer_parse(const uint8_t *data, size_t length, struct lisp_outer *outer, size_t *payload,
	    enum lisp_drop *cause);

#endif /* LISP_DECAP_H */
