/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A short cut beside the map-cache's tree, for when there are many prefixes: a hash table whose buckets are one cache line each.
 * A prefix is found by its first bits, as many as nearly all prefixes have, so that all candidates for an address but the
 * shortest are in one line. What one line cannot decide is left to the tree, which has everything; the short cut may lack memory, be
 * full or badly chosen, and only time is lost.
 *
 * What it costs is where it lies: as long as the processor's own cache holds it, a few nanoseconds, else a trip further out. So it is
 * as small as it can be, some five octets for an IPv4 prefix. The hash is one to one: it exchanges each value of the first bits for
 * another one, whose upper bits say which line it is; the line needs to tell only the lower bits, those that the prefix has beyond,
 * and where it ends. What remains of a cell is the value. Where values are too large for that they lie in an array beside the lines.
 * IPv4 has cells of 32 bits, and of 24 as long as there are many lines and nearly no prefix is a host's; IPv6 has 64.
 *
 *   address, as exchanged:  | which line | ...........................0 1 1 0 | 1 1 0 1 . . . . . . |
 *   cell:          | value  |            | the rest of them           0 1 1 0 | 1 1 0 1 1 0 0 0 0 0 0 |
 *                                          first bits, of all prefixes here ^   the 1 behind the prefix ends it
 *
 * There is no instance-id. Two instances' prefixes may be taken for each other, where they fall into one line: who asks has to look
 * whether the value is the instance's own, and ask the tree if not.
 *
 * One of them a family. Not a table of its own: it must hear of every prefix that the tree gets and loses.
 */
#ifndef LISP_INDEX_H
#define LISP_INDEX_H

#include "lisp_types.h"
#if defined(__SSE2__) && !defined(LISP_INDEX_PLAIN)
#define	LISP_INDEX_SSE2
#include <emmintrin.h>
#endif

#define	LISP_INDEX_WAYS_NARROW	20
#define	LISP_INDEX_WAYS_V4	15
#define	LISP_INDEX_WAYS_V6	7
#define	LISP_INDEX_NONE		UINT32_MAX	/* no value */

/* 64 octets. Longest prefix first, so that the first cell that matches is the one; unused cells are zero and match nothing. */
union lisp_index_line {
	struct {
		uint16_t	overflow;	/* prefixes that belong here and are in the tree only; saturates */
		uint8_t		floor;		/* none of those is longer */
		uint8_t		count;
	};
	uint32_t	v4[1 + LISP_INDEX_WAYS_V4];	/* without the first, which is the above */
	uint64_t	v6[1 + LISP_INDEX_WAYS_V6];
	struct {
		uint16_t	low[2 + LISP_INDEX_WAYS_NARROW];	/* without the first two */
		uint8_t		high[LISP_INDEX_WAYS_NARROW];
	} narrow;
};

struct lisp_index {
	union lisp_index_line	*lines;		/* NULL: none, and the tree is quick enough */
	uint32_t		*values;	/* by line and cell; NULL: they are in the cells */
	uint64_t		first;		/* mask of the bits that choose the line, of an address' first 64 */
	uint64_t		tag;		/* mask of a cell's bits that are not its value */
	uint32_t		nlines;
	uint8_t			tag_bits;
	uint8_t			from;		/* how many bits choose the line: shorter prefixes are not here */
	uint8_t			to;		/* nor longer ones */
	uint8_t			ways;
	uint8_t			width;		/* of a cell: 24, 32, 64 */
	bool			v6;
	void			*memory;	/* what the lines are aligned in */
	uint32_t		prefixes;	/* of the family, here or not */
	uint32_t		due;		/* so many, and it has to be built anew */
	uint32_t		largest;	/* value there has been */
	uint32_t		lengths[66];	/* how many of each length; 65: longer than 64 */
};

void	lisp_index_init(struct lisp_index *index, uint8_t af);
void	lisp_index_fini(struct lisp_index *index);
/* A prefix is new in the tree, has another value there, or is gone from it. No two instances have a value in common. */
void	lisp_index_add(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value);
void	lisp_index_replace(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t before,
	    uint32_t value);
void	lisp_index_remove(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value);
/* True: empty now and of another size; put() every prefix of the family. */
bool	lisp_index_renew(struct lisp_index *index);
void	lisp_index_put(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value);
size_t	lisp_index_memory(const struct lisp_index *index);

/*
 * Exchanges an address' first bits, one to one: products with odd numbers, and an exclusive or with what is above. All of it leaves
 * the bits below `first` zero, and they come back as they were. The first line is the address' number of a line.
 */
static inline uint32_t
lisp_index_exchange_v4(const struct lisp_index *index, uint32_t iid, uint32_t address, uint32_t *line)
{
	uint32_t mask = (uint32_t)(index->first >> 32), bits = (address ^ iid * 0x9e3779b1u) & mask;

	bits *= 0x85ebca6bu;
	bits ^= bits >> 15 & mask;
	bits *= 0xc2b2ae35u;
	*line = (uint32_t)((uint64_t)bits * index->nlines >> 32);
	return (bits | (address & ~mask));
}

static inline uint64_t
lisp_index_exchange_v6(const struct lisp_index *index, uint32_t iid, uint64_t address, uint32_t *line)
{
	uint64_t mask = index->first, bits = (address ^ iid * 0xd6e8feb86659fd93u) & mask;

	bits *= 0x9e3779b97f4a7c15u;
	bits ^= bits >> 31 & mask;
	bits *= 0xff51afd7ed558ccdu;
	*line = (uint32_t)((bits >> 32) * index->nlines >> 32);
	return (bits | (address & ~mask));
}

/*
 * Which cells match, bit by bit; bit 0, the line's head, means nothing. A cell's lowest bit that is set is where its prefix ends, so
 * nothing may differ above it. No branches: which cell it is nobody can predict, and a wrong guess costs more than the others do.
 */
static inline unsigned
lisp_index_matches_v4(const union lisp_index_line *line, uint32_t tag, uint32_t bits)
{
#ifdef LISP_INDEX_SSE2
	const __m128i *cells = (const __m128i *)(const void *)line, wanted = _mm_set1_epi32((int)bits), mask = _mm_set1_epi32((int)tag);

	/* Tags have 30 bits at most, so that the sign is never in the way. */
#define	MATCH(cell)	_mm_cmpgt_epi32(_mm_slli_epi32(_mm_and_si128(cell, _mm_sub_epi32(_mm_setzero_si128(), cell)), 1),	\
			    _mm_and_si128(_mm_xor_si128(cell, wanted), mask))
	return ((unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(MATCH(cells[0]), MATCH(cells[1])),
	    _mm_packs_epi32(MATCH(cells[2]), MATCH(cells[3])))));
#undef MATCH
#else
	unsigned i, matches = 0;

	for (i = 1; i <= LISP_INDEX_WAYS_V4; i++)
		matches |= (unsigned)(((line->v4[i] ^ bits) & tag) < 2 * (line->v4[i] & -line->v4[i])) << i;
	return (matches);
#endif
}

/* Of `bits` and the cells only the lower 16; the upper 8 have nothing but values. */
static inline unsigned
lisp_index_matches_narrow(const union lisp_index_line *line, uint32_t tag, uint32_t bits)
{
#ifdef LISP_INDEX_SSE2
	const __m128i *cells = (const __m128i *)(const void *)line, wanted = _mm_set1_epi16((short)bits), mask = _mm_set1_epi16((short)tag);

	/* Tags have 14 bits at most. */
#define	MATCH(cell)	_mm_cmpgt_epi16(_mm_slli_epi16(_mm_and_si128(cell, _mm_sub_epi16(_mm_setzero_si128(), cell)), 1),	\
			    _mm_and_si128(_mm_xor_si128(cell, wanted), mask))
	return (((unsigned)_mm_movemask_epi8(_mm_packs_epi16(MATCH(cells[0]), MATCH(cells[1]))) |
	    (unsigned)_mm_movemask_epi8(_mm_packs_epi16(MATCH(cells[2]), _mm_setzero_si128())) << 16) >> 1 &
	    ((1u << (LISP_INDEX_WAYS_NARROW + 1)) - 1));
#undef MATCH
#else
	unsigned i, matches = 0;

	for (i = 1; i <= LISP_INDEX_WAYS_NARROW; i++) {
		uint32_t cell = line->narrow.low[1 + i];

		matches |= (unsigned)(((cell ^ bits) & tag) < 2 * (cell & -cell)) << i;
	}
	return (matches);
#endif
}

static inline unsigned
lisp_index_matches_v6(const union lisp_index_line *line, uint64_t tag, uint64_t bits)
{
#ifdef LISP_INDEX_SSE2
	const __m128i *cells = (const __m128i *)(const void *)line, wanted = _mm_set1_epi64x((long long)bits),
	    mask = _mm_set1_epi64x((long long)tag);

	/* Tags have 62 bits at most: what is less by subtraction has the sign. */
#define	MATCH(cell)	(unsigned)_mm_movemask_pd(_mm_castsi128_pd(_mm_sub_epi64(_mm_and_si128(_mm_xor_si128(cell, wanted), mask),	\
			    _mm_slli_epi64(_mm_and_si128(cell, _mm_sub_epi64(_mm_setzero_si128(), cell)), 1))))
	return (MATCH(cells[0]) | MATCH(cells[1]) << 2 | MATCH(cells[2]) << 4 | MATCH(cells[3]) << 6);
#undef MATCH
#else
	unsigned i, matches = 0;

	for (i = 1; i <= LISP_INDEX_WAYS_V6; i++)
		matches |= (unsigned)(((line->v6[i] ^ bits) & tag) < 2 * (line->v6[i] & -line->v6[i])) << i;
	return (matches);
#endif
}

/* The value of the longest prefix that matches, perhaps another instance's, or LISP_INDEX_NONE: ask the tree. */
static inline uint32_t
lisp_index_lookup(const struct lisp_index *index, uint32_t iid, const struct lisp_addr *addr)
{
	const union lisp_index_line *line;
	uint32_t number;
	uint64_t cell;
	unsigned i, matches, length;

	if (index->lines == NULL)
		return (LISP_INDEX_NONE);
	if (addr->af == LISP_AF_V4) {
		uint32_t bits = lisp_index_exchange_v4(index, iid, lisp_get32(addr->bytes), &number);

		line = &index->lines[number];
		if (index->width == 24)
			matches = lisp_index_matches_narrow(line, (uint32_t)index->tag, bits >> (31 - index->to));
		else
			matches = lisp_index_matches_v4(line, (uint32_t)index->tag, bits << 1);
		if ((matches &= ~1u) == 0)
			return (LISP_INDEX_NONE);
		i = (unsigned)__builtin_ctz(matches);
		cell = index->width == 24 ? line->narrow.low[1 + i] | (uint32_t)line->narrow.high[i - 1] << 16 : line->v4[i];
	} else {
		uint64_t bits = lisp_index_exchange_v6(index, iid, lisp_get64(addr->bytes), &number);

		line = &index->lines[number];
		if ((matches = lisp_index_matches_v6(line, index->tag, bits << 1) & ~1u) == 0)
			return (LISP_INDEX_NONE);
		i = (unsigned)__builtin_ctz(matches);
		cell = line->v6[i];
	}
	length = index->to - (unsigned)__builtin_ctzll(cell);
	/* Longer than all that is not here, so the longest there is. */
	if (length < line->floor)
		return (LISP_INDEX_NONE);
	if (index->values != NULL)
		return (index->values[(size_t)number * index->ways + i - 1]);
	return ((uint32_t)(cell >> index->tag_bits));
}

#endif /* LISP_INDEX_H */
