/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mappings of one subflow and one direction, RFC 8684 section 3.3.1: which data sequence number an octet of the subflow has.
 *
 *   subflow    |--- 1..1000 ---|--- 1001..1400 ---|  gap  |--- 2001..2500 ---|
 *   data            dsn 77           dsn 9000                  dsn 1077
 *
 * A sender keeps them until the subflow has acknowledged the octets and asks what mapping a segment belongs to; a receiver until
 * it has taken the octets out of the subflow. The table is sorted by subflow sequence number; memory and lock are the caller's.
 */
#ifndef MPTCP_MAP_H
#define MPTCP_MAP_H

#include "mptcp_dsn.h"
#include "mptcp_option.h"

struct mptcp_mapping {
	uint64_t	dsn;
	uint32_t	ssn;		/* relative, as on the wire */
	uint32_t	length;		/* of data */
	bool		data_fin;	/* one more data sequence number behind the data; counted by the checksum's pseudo-header */
	bool		has_checksum;
	uint16_t	checksum;
	uint32_t	seen;		/* receiver: octets that went into `sum` */
	uint32_t	sum;
};

struct mptcp_map {
	struct mptcp_mapping	*slots;		/* a ring */
	uint32_t		capacity;	/* a power of two */
	uint32_t		first;
	uint32_t		count;
	uint32_t		base;		/* octets below are done with */
	bool			infinite;	/* from infinite_ssn on the difference never changes again */
	uint32_t		infinite_ssn;
	uint64_t		infinite_dsn;
};

enum mptcp_map_verdict {
	MPTCP_MAP_ADDED,
	MPTCP_MAP_DUPLICATE,	/* known, all of it */
	MPTCP_MAP_OLD,		/* all of it is done with */
	MPTCP_MAP_CONFLICT,	/* says otherwise than an earlier one, which stays */
	MPTCP_MAP_OUTSIDE,	/* reaches beyond the window */
	MPTCP_MAP_FULL
};

/* `capacity` slots, a power of two; the first octet expected is `base` (1 for a new subflow). */
void	mptcp_map_init(struct mptcp_map *map, struct mptcp_mapping *slots, uint32_t capacity, uint32_t base);
/* Moves to a larger (or sufficient) table; the old slots are the caller's to free. */
void	mptcp_map_resize(struct mptcp_map *map, struct mptcp_mapping *slots, uint32_t capacity);
/*
 * `edge` is the first octet of the subflow that may not be mapped yet: the right edge of its window. A mapping that repeats part of
 * another and agrees with it adds what is new, unless a checksum makes it one piece.
 */
enum mptcp_map_verdict mptcp_map_add(struct mptcp_map *map, const struct mptcp_mapping *mapping, uint32_t edge);
/*
 * From `ssn` on everything is mapped, for ever. Mappings behind it are forgotten. One that is there already may turn out to begin
 * earlier; false when this one says otherwise than it does.
 */
bool	mptcp_map_set_infinite(struct mptcp_map *map, uint32_t ssn, uint64_t dsn);
/*
 * The mapping of octet `ssn`. `*dsn` is that octet's number and `*left` how many octets from there on it covers; without a mapping NULL,
 * with `*left` the octets until the next one begins (UINT32_MAX: none known). Under an infinite mapping NULL, `*infinite` true.
 */
struct mptcp_mapping *mptcp_map_find(const struct mptcp_map *map, uint32_t ssn, uint64_t *dsn, uint32_t *left, bool *infinite);
/*
 * How many of the `length` octets from `ssn` on (or fewer, if it takes many mappings) follow one another in the data as well; `*dsn` is the
 * first one's number. 0: that one has no mapping of its own.
 */
uint32_t mptcp_map_run(const struct mptcp_map *map, uint32_t ssn, uint32_t length, uint64_t *dsn);
/*
 * Makes the last mapping longer by what follows it on the subflow and in the data, up to `most` octets in all. False, and nothing is
 * changed: they do not follow, a checksum is in the way, or it begins below `told`.
 */
bool	mptcp_map_extend(struct mptcp_map *map, uint32_t told, const struct mptcp_mapping *more, uint32_t most);
/* Octets below `ssn` are done with. */
void	mptcp_map_advance(struct mptcp_map *map, uint32_t ssn);

/* A DSS as a mapping; `near` is a data sequence number close by. False when it holds none: no mapping, DATA_FIN alone, or infinite. */
bool	mptcp_map_from_dss(const struct mptcp_dss *dss, uint64_t near, struct mptcp_mapping *mapping);

/*
 * The checksum of section 3.3.1: the Internet checksum over data and a pseudo-header. `sum` starts as 0 and is carried from piece to
 * piece; `offset` is that of the piece within the mapping, because a piece may begin at an odd one.
 */
uint32_t mptcp_checksum_add(uint32_t sum, uint32_t offset, const uint8_t *data, size_t length);
/* `length` as in the DSS: with DATA_FIN. */
uint16_t mptcp_checksum_finish(uint32_t sum, uint64_t dsn, uint32_t ssn, uint16_t length);
/* Receiver: the next octets of a mapping. True when all of it is seen; then `*good` tells whether the checksum (if any) is right. */
bool	mptcp_mapping_take(struct mptcp_mapping *mapping, const uint8_t *data, size_t length, bool *good);

#endif /* MPTCP_MAP_H */
