/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   prefix, `from` bits or longer -> line -> room, or longer than another there?  -> in the line, longest first
 *                                                                           else  -> overflow++, floor: the tree has it
 */
#include "lisp_index.h"

#define	BUILD_FROM	256u		/* prefixes; fewer are as quick in the tree */
#define	LENGTH_MAX	64u		/* of a prefix that can be in a line */
#define	NARROW_TO	28u		/* no longer ones in cells of 24 bits */
#define	NARROW_TAG	14u		/* bits at most there */
#define	FROM_MIN	8u		/* bits; with fewer there is nothing to gain */
#define	LINE		64u
#define	LINES_MIN	(BUILD_FROM / 8)
#define	LINES_MAX	(1u << 28)
#define	SATURATED	0xffffu

static inline unsigned
length_class(const struct lisp_prefix *prefix)
{
	return (prefix->len > LENGTH_MAX ? LENGTH_MAX + 1 : prefix->len);
}

static inline bool
belongs(const struct lisp_index *index, const struct lisp_prefix *prefix)
{
	return (index->lines != NULL && prefix->len >= index->from);
}

/* Prefixes for ten lines when it is built, and when it is built anew: then one in a hundred has not found room, of IPv6 two. */
static inline uint32_t
load(unsigned width)
{
	return (width == 24 ? 120 : width == 32 ? 80 : 32);
}

static inline uint32_t
load_max(unsigned width)
{
	return (width == 24 ? 150 : width == 32 ? 100 : 40);
}

void
lisp_index_init(struct lisp_index *index, uint8_t af)
{
	memset(index, 0, sizeof(*index));
	index->v6 = af == LISP_AF_V6;
	index->due = BUILD_FROM;
}

void
lisp_index_fini(struct lisp_index *index)
{
	lisp_free(index->memory);
	lisp_free(index->values);
	index->memory = NULL;
	index->lines = NULL;
	index->values = NULL;
}

size_t
lisp_index_memory(const struct lisp_index *index)
{
	if (index->lines == NULL)
		return (0);
	return (index->nlines * sizeof(union lisp_index_line) + LINE +
	    (index->values == NULL ? 0 : (size_t)index->nlines * index->ways * sizeof(index->values[0])));
}

/* Of cells, counted from 1. */
static inline uint64_t
cell_at(const struct lisp_index *index, const union lisp_index_line *line, unsigned i)
{
	if (index->width == 24)
		return (line->narrow.low[1 + i] | (uint32_t)line->narrow.high[i - 1] << 16);
	return (index->width == 32 ? line->v4[i] : line->v6[i]);
}

static inline unsigned
cell_length(const struct lisp_index *index, uint64_t cell)
{
	return (index->to - (unsigned)__builtin_ctzll(cell));
}

static inline uint32_t *
value_at(const struct lisp_index *index, const union lisp_index_line *line, unsigned i)
{
	return (&index->values[(size_t)(line - index->lines) * index->ways + i - 1]);
}

static inline uint32_t
cell_value(const struct lisp_index *index, const union lisp_index_line *line, unsigned i)
{
	return (index->values != NULL ? *value_at(index, line, i) : (uint32_t)(cell_at(index, line, i) >> index->tag_bits));
}

static inline bool
fits(const struct lisp_index *index, uint32_t value)
{
	return (index->values != NULL || value < (uint64_t)1 << (index->width - index->tag_bits));
}

static void
cell_put(struct lisp_index *index, union lisp_index_line *line, unsigned i, uint64_t tag, uint32_t value)
{
	uint64_t cell = index->values != NULL ? tag : tag | (uint64_t)value << index->tag_bits;

	if (index->width == 24) {
		line->narrow.low[1 + i] = (uint16_t)cell;
		line->narrow.high[i - 1] = (uint8_t)(cell >> 16);
	} else if (index->width == 32)
		line->v4[i] = (uint32_t)cell;
	else
		line->v6[i] = cell;
	if (index->values != NULL)
		*value_at(index, line, i) = value;
}

static void
cell_copy(struct lisp_index *index, union lisp_index_line *line, unsigned to, unsigned from)
{
	cell_put(index, line, to, cell_at(index, line, from) & index->tag, cell_value(index, line, from));
}

/* The line where the prefix belongs, and what tells it from the others there. */
static union lisp_index_line *
line_of(const struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint64_t *tag)
{
	uint64_t bits;
	uint32_t number;

	if (index->v6)
		bits = lisp_index_exchange_v6(index, iid, lisp_get64(prefix->addr.bytes), &number);
	else {
		bits = lisp_index_exchange_v4(index, iid, lisp_get32(prefix->addr.bytes), &number);
		bits >>= 32 - index->to;
	}
	/* The prefix has no bits beyond its length, and the exchange has left it so. No cell has this tag when it is too long for one. */
	*tag = prefix->len > index->to ? 0 : (bits << 1 | (uint64_t)1 << (index->to - prefix->len)) & index->tag;
	return (&index->lines[number]);
}

/* Where the prefix is in its line, or count + 1. */
static unsigned
find(const struct lisp_index *index, const union lisp_index_line *line, uint64_t tag, uint32_t value)
{
	unsigned i;

	for (i = 1; i <= line->count; i++)
		if ((cell_at(index, line, i) & index->tag) == tag && cell_value(index, line, i) == value)
			break;
	return (i);
}

static void
take_out(struct lisp_index *index, union lisp_index_line *line, unsigned i)
{
	for (; i < line->count; i++)
		cell_copy(index, line, i, i + 1);
	cell_put(index, line, i, 0, 0);
	line->count--;
}

static void
spill(union lisp_index_line *line, unsigned length)
{
	if (line->overflow != SATURATED)
		line->overflow++;
	if (line->floor < length)
		line->floor = (uint8_t)length;
}

void
lisp_index_put(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value)
{
	union lisp_index_line *line;
	uint64_t tag;
	unsigned i;

	if (!belongs(index, prefix))
		return;
	line = line_of(index, iid, prefix, &tag);
	/* Time for larger values. */
	if (!fits(index, value))
		index->due = 0;
	/* No shorter than anything that has spilled, or a match here would not be the last word. */
	if (!fits(index, value) || prefix->len > index->to || prefix->len < line->floor) {
		spill(line, prefix->len);
		return;
	}
	if (line->count == index->ways) {
		unsigned shortest = cell_length(index, cell_at(index, line, index->ways));

		if (prefix->len <= shortest) {
			spill(line, prefix->len);
			return;
		}
		spill(line, shortest);
		take_out(index, line, index->ways);
	}
	for (i = ++line->count; i > 1 && cell_length(index, cell_at(index, line, i - 1)) < prefix->len; i--)
		cell_copy(index, line, i, i - 1);
	cell_put(index, line, i, tag, value);
}

void
lisp_index_add(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value)
{
	index->prefixes++;
	index->lengths[length_class(prefix)]++;
	if (index->largest < value)
		index->largest = value;
	lisp_index_put(index, iid, prefix, value);
}

void
lisp_index_replace(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t before,
    uint32_t value)
{
	union lisp_index_line *line;
	uint64_t tag;
	unsigned i;

	if (index->largest < value)
		index->largest = value;
	if (!belongs(index, prefix))
		return;
	line = line_of(index, iid, prefix, &tag);
	if ((i = find(index, line, tag, before)) > line->count)
		return;
	if (fits(index, value)) {
		cell_put(index, line, i, tag, value);
		return;
	}
	take_out(index, line, i);
	spill(line, prefix->len);
	index->due = 0;
}

void
lisp_index_remove(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value)
{
	union lisp_index_line *line;
	uint64_t tag;
	unsigned i;

	LISP_ASSERT(index->prefixes != 0 && index->lengths[length_class(prefix)] != 0);
	index->lengths[length_class(prefix)]--;
	if (--index->prefixes == 0)
		index->largest = 0;
	if (!belongs(index, prefix))
		return;
	line = line_of(index, iid, prefix, &tag);
	if ((i = find(index, line, tag, value)) <= line->count)
		take_out(index, line, i);
	else if (line->overflow != SATURATED && --line->overflow == 0)
		line->floor = 0;
	/* Far too large by now: gone, until there are many again. */
	if (index->prefixes < BUILD_FROM / 2 || index->prefixes < (uint64_t)index->nlines * load(index->width) / 100) {
		lisp_index_fini(index);
		index->due = index->prefixes > BUILD_FROM / 2 ? index->prefixes * 2 : BUILD_FROM;
	}
}

/* As many bits as three quarters of all prefixes have, 0 when most are of a length that no line can hold. */
static unsigned
choose_from(const struct lisp_index *index)
{
	uint32_t longer = index->lengths[LENGTH_MAX + 1];
	unsigned from;

	if (longer > index->prefixes / 2)
		return (0);
	for (from = LENGTH_MAX; from > 0; from--)
		if ((longer += index->lengths[from]) >= index->prefixes / 4 * 3)
			break;
	return (from < FROM_MIN ? 0 : from);
}

/* The length that at most one in a thousand prefixes is longer than: each of those leaves its whole line to the tree. */
static unsigned
choose_to(const struct lisp_index *index)
{
	uint32_t longer = 0;
	unsigned to;

	for (to = 32; to > 0; to--)
		if ((longer += index->lengths[to]) > index->prefixes / 1024)
			break;
	return (to);
}

/* How many of an exchanged address' bits, up to `to`, tell all of a line's prefixes from each other, and the one that ends a prefix. */
static unsigned
choose_tag_bits(uint32_t nlines, unsigned from, unsigned to)
{
	/* A line's addresses are neighbours among the upper 32 bits: so many, and what lies under the last one's first bits. */
	uint64_t range = ((uint64_t)1 << 32) / nlines + 1 + ((uint64_t)1 << (from < 32 ? 32 - from : 0));
	unsigned bits = 0;

	while (((uint64_t)1 << bits) < range)
		bits++;
	return (bits + 1 + to - 32);
}

static uint32_t
choose_lines(const struct lisp_index *index, unsigned width)
{
	uint64_t nlines = (uint64_t)index->prefixes * 10 / load(width) + 1;

	return ((uint32_t)(nlines < LINES_MIN ? LINES_MIN : nlines > LINES_MAX ? LINES_MAX : nlines));
}

bool
lisp_index_renew(struct lisp_index *index)
{
	uint64_t due;
	uint32_t nlines, *values = NULL;
	unsigned from, to, ways, width, tag_bits;
	void *memory;

	if (index->prefixes < index->due)
		return (false);
	/* If this comes to nothing, not again before there are twice as many. */
	index->due = index->prefixes > UINT32_MAX / 2 ? UINT32_MAX : index->prefixes * 2;
	if ((from = choose_from(index)) == 0)
		return (false);
	if (index->v6) {
		width = 64;
		to = 64;
		ways = LISP_INDEX_WAYS_V6;
	} else {
		width = 24;
		ways = LISP_INDEX_WAYS_NARROW;
		to = choose_to(index);
		if (to > NARROW_TO || choose_tag_bits(choose_lines(index, width), from, to) > NARROW_TAG) {
			width = 32;
			to = 32;
			ways = LISP_INDEX_WAYS_V4;
		}
	}
	nlines = choose_lines(index, width);
	tag_bits = choose_tag_bits(nlines, from, to);
	if ((memory = lisp_alloc((size_t)nlines * LINE + LINE)) == NULL)
		return (false);
	if (index->largest >= (uint64_t)1 << (width - tag_bits) &&
	    (values = lisp_alloc((size_t)nlines * ways * sizeof(values[0]))) == NULL) {
		lisp_free(memory);
		return (false);
	}
	lisp_index_fini(index);
	index->memory = memory;
	index->values = values;
	index->lines = (union lisp_index_line *)(((uintptr_t)memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
	index->nlines = nlines;
	index->from = (uint8_t)from;
	index->to = (uint8_t)to;
	index->ways = (uint8_t)ways;
	index->width = (uint8_t)width;
	index->first = ~(uint64_t)0 << (64 - from);
	index->tag_bits = (uint8_t)tag_bits;
	index->tag = ((uint64_t)1 << tag_bits) - 1;
	due = (uint64_t)nlines * load_max(width) / 10;
	index->due = due > UINT32_MAX ? UINT32_MAX : (uint32_t)due;
	return (true);
}
