/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A short cut beside the map-cache's tree, for when there are many prefixes: a hash table whose buckets are one cache line each.
 * A prefix is found by its first bits, as many as nearly all prefixes have, so that all candidates for an address but the
 * shortest are in one line. What one line cannot decide is left to the tree, which has everything; the short cut may lack memory, be
 * full or badly chosen, and only time is lost.
 *
 * What it costs is where it lies: as long as the processor's caches hold it, some ten nanoseconds, else a trip to memory each time.
 * So a line holds as much as it can: numbers instead of pointers, and no instance-id. Two instances' prefixes may be taken for each
 * other, where they fall into one line: who asks has to look whether the value is the instance's own, and ask the tree if not.
 *
 * One of them a family. Not a table of its own: it must hear of every prefix that the tree gets and loses.
 */
#ifndef LISP_INDEX_H
#define LISP_INDEX_H

#include "lisp_types.h"

#define	LISP_INDEX_WAYS_V4	7
#define	LISP_INDEX_WAYS_V6	5
#define	LISP_INDEX_VALUE_MAX	0xffffffu
#define	LISP_INDEX_NONE		UINT32_MAX

/* 64 octets. Longest prefix first. */
struct lisp_index_line {
	uint16_t	overflow;	/* prefixes that belong here and are in the tree only; saturates */
	uint8_t		floor;		/* none of those is longer */
	uint8_t		count;
	/* For each way value << 8 | length; then for each the address's first 32 bits; then, of IPv6, the next 32. */
	uint32_t	cells[15];
};

struct lisp_index {
	struct lisp_index_line	*lines;		/* NULL: none, and the tree is quick enough */
	void			*memory;	/* what they are aligned in */
	uint8_t			ways;
	uint8_t			shift;		/* 64 - log2 of how many there are */
	uint8_t			from;		/* bits that choose the line: shorter prefixes are not here */
	uint32_t		prefixes;	/* of the family, here or not */
	uint32_t		due;		/* so many, and it has to be built anew */
	uint32_t		lengths[66];	/* how many of each length; 65: longer than 64 */
};

void	lisp_index_init(struct lisp_index *index, uint8_t af);
void	lisp_index_fini(struct lisp_index *index);
/*
 * A prefix is new in the tree, has another value there, or is gone from it. Values are up to LISP_INDEX_VALUE_MAX, and no two
 * instances have one in common.
 */
void	lisp_index_add(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value);
void	lisp_index_replace(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t before,
	    uint32_t value);
void	lisp_index_remove(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value);
/* True: empty now and of another size; put() every prefix of the family. */
bool	lisp_index_renew(struct lisp_index *index);
void	lisp_index_put(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value);
size_t	lisp_index_memory(const struct lisp_index *index);

static inline uint64_t
lisp_index_key(const struct lisp_addr *addr)
{
	uint64_t high = (uint64_t)lisp_get32(addr->bytes) << 32;

	return (addr->af == LISP_AF_V4 ? high : high | lisp_get32(addr->bytes + 4));
}

static inline struct lisp_index_line *
lisp_index_line(const struct lisp_index *index, uint32_t iid, uint64_t key)
{
	uint64_t hash = ((key >> (64 - index->from)) + (uint64_t)iid * 0xd6e8feb86659fd93u) * 0x9e3779b97f4a7c15u;

	return (&index->lines[hash >> index->shift]);
}

/* The value of the longest prefix that matches, perhaps another instance's, or LISP_INDEX_NONE: ask the tree. */
static inline uint32_t
lisp_index_lookup(const struct lisp_index *index, uint32_t iid, const struct lisp_addr *addr)
{
	const struct lisp_index_line *line;
	const uint32_t *cells;
	uint64_t key;
	uint32_t high, low;
	unsigned i, matches = 0;

	if (index->lines == NULL)
		return (LISP_INDEX_NONE);
	key = lisp_index_key(addr);
	line = lisp_index_line(index, iid, key);
	cells = line->cells;
	high = (uint32_t)(key >> 32);
	low = (uint32_t)key;
	/* All ways without a branch: which of them it is nobody can predict, and a wrong guess costs more than the others do. */
	if (addr->af == LISP_AF_V4)
		for (i = 0; i < LISP_INDEX_WAYS_V4; i++)
			matches |= (unsigned)(((cells[LISP_INDEX_WAYS_V4 + i] ^ high) >> ((32 - cells[i]) & 31)) == 0) << i;
	else
		for (i = 0; i < LISP_INDEX_WAYS_V6; i++)
			matches |= (unsigned)((((uint64_t)(cells[LISP_INDEX_WAYS_V6 + i] ^ high) << 32 |
			    (cells[2 * LISP_INDEX_WAYS_V6 + i] ^ low)) >> ((64 - cells[i]) & 63)) == 0) << i;
	matches &= (1u << line->count) - 1;
	if (matches == 0)
		return (LISP_INDEX_NONE);
	i = (unsigned)__builtin_ctz(matches);
	/* Longer than all that is not here, so the longest there is. */
	return ((cells[i] & 0xff) >= line->floor ? cells[i] >> 8 : LISP_INDEX_NONE);
}

#endif /* LISP_INDEX_H */
