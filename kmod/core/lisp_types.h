/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The words of the LISP data plane (RFC 9300) as plain values: addresses, flows, paths, verdicts, causes of drops.
 *
 *   packet -> lisp_inner_parse -> lisp_encap_decide -> lisp_encap_write          (ITR)
 *   packet -> lisp_decap_decide -> lisp_decap_apply -> deliver                   (ETR)
 *
 * The core is bytes and values in and out. It has no locks: the caller holds a lock over one `struct lisp_tables`, shared
 * for what takes `const struct lisp_tables *`, exclusive for the rest. Results are copied out, so nothing returned points
 * into a table.
 */
#ifndef LISP_TYPES_H
#define LISP_TYPES_H

#include "compat.h"

#define	LISP_DATA_PORT		4341
#define	LISP_CONTROL_PORT	4342
#define	LISP_IID_MAX		0xffffffu	/* 24 bits, RFC 9300 section 8 */
#define	LISP_MAX_LOCATORS	16		/* of one mapping */
#define	LISP_MAX_LOCAL_RLOCS	16
#define	LISP_MTU_MIN_V4		68		/* RFC 791 */
#define	LISP_MTU_MIN_V6		1280		/* RFC 8200 section 5 */

/* Address families by IP version, which is also what the first nibble of a packet says. */
#define	LISP_AF_NONE	0
#define	LISP_AF_V4	4
#define	LISP_AF_V6	6

/* Octets in network order. What the family does not use is zero, so that addresses compare and hash as a whole. */
struct lisp_addr {
	uint8_t	af;
	uint8_t	zero[3];
	union {
		uint8_t		bytes[16];
		uint32_t	words[4];
	};
};

struct lisp_prefix {
	struct lisp_addr	addr;	/* no bits beyond len: lisp_prefix_mask() */
	uint8_t			len;
	uint8_t			zero[3];
};

/* An inner 5-tuple in the direction of travel. Ports in host order; 0 where the protocol has none and for fragments. */
struct lisp_flow {
	uint32_t		iid;
	uint16_t		sport;
	uint16_t		dport;
	uint8_t			proto;
	uint8_t			zero[3];
	struct lisp_addr	src;
	struct lisp_addr	dst;
};

struct lisp_path {
	struct lisp_addr	local;
	struct lisp_addr	remote;
};

/* What to do with a packet. */
enum lisp_verdict {
	LISP_DROP = 0,		/* `cause` says why */
	LISP_FORWARD,		/* encapsulate and send, or deliver the inner packet */
	LISP_MISS,		/* ask the mapping system (for inner destination or, decapsulating, source); hold the packet */
	LISP_TOO_BIG,		/* answer with ICMP and `mtu`, or fragment when the packet allows it */
	LISP_NATIVE		/* the mapping says: forward without LISP */
};

/*
 * Every reason to drop a packet: symbol, name (for sysctl, metrics and the API), what it means. Glue may count causes of
 * its own; they belong in this list as well, so that all planes speak the same words.
 */
#define	LISP_DROP_CAUSES(X)								\
	X(NONE, "none", "not dropped")							\
	/* any inner packet */								\
	X(INNER_TRUNCATED, "inner-truncated", "shorter than its headers say")		\
	X(INNER_VERSION, "inner-version", "neither IPv4 nor IPv6")			\
	X(INNER_HEADER, "inner-header", "header length or extension headers wrong")	\
	X(INNER_CHECKSUM, "inner-checksum", "IPv4 header checksum wrong")		\
	X(INNER_ADDRESS, "inner-address", "source or destination is not unicast")	\
	X(INNER_TTL, "inner-ttl", "TTL or hop limit is zero")				\
	/* encapsulation */								\
	X(NO_MAPPING, "no-mapping", "no mapping for the destination")			\
	X(MAPPING_DROP, "mapping-drop", "negative mapping: drop")			\
	X(MAPPING_POLICY, "mapping-policy", "negative mapping: drop by policy")		\
	X(MAPPING_AUTH, "mapping-auth", "negative mapping: authentication failed")	\
	X(NATIVE_FORWARD, "native-forward", "to be forwarded natively, which this plane cannot")	\
	X(NO_LOCATOR, "no-locator", "no usable locator: priority 255, down, or other family")	\
	X(TOO_BIG, "too-big", "larger than the path's MTU; the sender was told")	\
	X(RECURSION, "recursion", "would be encapsulated again")			\
	/* decapsulation */								\
	X(OUTER_TRUNCATED, "outer-truncated", "shorter than the LISP header")		\
	X(OUTER_ADDRESS, "outer-address", "not sent to a local RLOC, or from no unicast address")	\
	X(LISP_ENCRYPTED, "lisp-encrypted", "K bits set (RFC 8061)")			\
	X(IID, "iid", "instance-id is not served here")					\
	X(NOT_LOCAL, "not-local", "inner destination is no EID of this site")		\
	X(SOURCE_LOCAL, "source-local", "inner source is an EID of this site")		\
	X(SOURCE_NO_MAPPING, "source-no-mapping", "no mapping for the inner source")	\
	X(SOURCE_RLOC, "source-rloc", "outer source is no RLOC of the inner source's mapping")	\
	X(ECN, "ecn", "congestion marked on a packet that is not ECN-capable (RFC 6040)")	\
	/* glue */									\
	X(QUEUE_FULL, "queue-full", "waiting for a mapping: too many")			\
	X(QUEUE_EXPIRED, "queue-expired", "waiting for a mapping: too long")		\
	X(SEND, "send", "the underlay refused the packet")				\
	X(DELIVER, "deliver", "the device refused the packet")				\
	X(NO_MEMORY, "no-memory", "out of memory")					\
	X(DOWN, "down", "the interface is down")

enum lisp_drop {
#define	LISP_DROP_ENUM(symbol, name, text)	LISP_DROP_##symbol,
	LISP_DROP_CAUSES(LISP_DROP_ENUM)
#undef LISP_DROP_ENUM
	LISP_DROP_COUNT
};

/* NULL beyond the last. */
const char *lisp_drop_name(unsigned cause);
const char *lisp_drop_text(unsigned cause);

struct lisp_addr lisp_addr_v4(const uint8_t bytes[4]);
struct lisp_addr lisp_addr_v6(const uint8_t bytes[16]);
bool	lisp_addr_equal(const struct lisp_addr *a, const struct lisp_addr *b);
/* Octets of an address of the family: 4 or 16; 0 for no family. */
unsigned lisp_addr_size(unsigned af);
bool	lisp_addr_is_unspecified(const struct lisp_addr *addr);
/* IPv4 multicast, limited broadcast, "this network"; IPv6 multicast and unspecified: no source nor destination here. */
bool	lisp_addr_is_unicast(const struct lisp_addr *addr);
/* Loopback and link-local, which never are EIDs nor RLOCs. */
bool	lisp_addr_is_scoped(const struct lisp_addr *addr);

/* False when the length does not fit the family. */
bool	lisp_prefix_valid(const struct lisp_prefix *prefix);
/* Clears the bits beyond the length. */
void	lisp_prefix_mask(struct lisp_prefix *prefix);
bool	lisp_prefix_equal(const struct lisp_prefix *a, const struct lisp_prefix *b);
bool	lisp_prefix_contains(const struct lisp_prefix *prefix, const struct lisp_addr *addr);

bool	lisp_flow_equal(const struct lisp_flow *a, const struct lisp_flow *b);
struct lisp_flow lisp_flow_reverse(const struct lisp_flow *flow);
/* Same flow and seed: same number. The seed is random per table, so that nobody outside can choose collisions. */
uint32_t lisp_flow_hash(const struct lisp_flow *flow, uint32_t seed);
uint32_t lisp_hash_words(const uint32_t *words, unsigned count, uint32_t seed);
bool	lisp_path_equal(const struct lisp_path *a, const struct lisp_path *b);

#endif /* LISP_TYPES_H */
