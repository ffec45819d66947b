/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   prefix, `from` bits or longer -> line -> room, or longer than another there?  -> in the line, longest first
 *                                                                           else  -> overflow++, floor: the tree has it
 */
#include "lisp_index.h"

#define	BUILD_FROM	256u		/* prefixes; fewer are as quick in the tree */
#define	LENGTH_MAX	64u		/* of a prefix that can be in a line */
#define	LINE		64u
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

void
lisp_index_init(struct lisp_index *index, uint8_t af)
{
	memset(index, 0, sizeof(*index));
	index->ways = af == LISP_AF_V4 ? LISP_INDEX_WAYS_V4 : LISP_INDEX_WAYS_V6;
	index->due = BUILD_FROM;
}

void
lisp_index_fini(struct lisp_index *index)
{
	lisp_free(index->memory);
	index->memory = NULL;
	index->lines = NULL;
}

size_t
lisp_index_memory(const struct lisp_index *index)
{
	return (index->lines == NULL ? 0 : ((size_t)1 << (64 - index->shift)) * sizeof(struct lisp_index_line) + LINE);
}

/* Where the prefix is in its line, or `count`. */
static unsigned
find(const struct lisp_index *index, const struct lisp_index_line *line, uint64_t key, uint32_t tag)
{
	const uint32_t *cells = line->cells;
	unsigned i, ways = index->ways;

	for (i = 0; i < line->count; i++)
		if (cells[i] == tag && cells[ways + i] == (uint32_t)(key >> 32) &&
		    (ways == LISP_INDEX_WAYS_V4 || cells[2 * ways + i] == (uint32_t)key))
			break;
	return (i);
}

static void
move(const struct lisp_index *index, struct lisp_index_line *line, unsigned from, unsigned to)
{
	unsigned at;

	for (at = 0; at + index->ways <= 15; at += index->ways)
		line->cells[at + to] = line->cells[at + from];
}

static inline uint32_t
tag_of(const struct lisp_prefix *prefix, uint32_t value)
{
	LISP_ASSERT(value <= LISP_INDEX_VALUE_MAX);
	return (value << 8 | prefix->len);
}

static void
spill(struct lisp_index_line *line, unsigned length)
{
	if (line->overflow != SATURATED)
		line->overflow++;
	if (line->floor < length)
		line->floor = (uint8_t)length;
}

void
lisp_index_put(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value)
{
	struct lisp_index_line *line;
	uint64_t key;
	unsigned i, ways = index->ways;

	if (!belongs(index, prefix))
		return;
	key = lisp_index_key(&prefix->addr);
	line = lisp_index_line(index, iid, key);
	/* No shorter than anything that has spilled, or a match here would not be the last word. */
	if (prefix->len > LENGTH_MAX || prefix->len < line->floor) {
		spill(line, prefix->len);
		return;
	}
	if (line->count == ways) {
		unsigned shortest = line->cells[ways - 1] & 0xff;

		if (prefix->len <= shortest) {
			spill(line, prefix->len);
			return;
		}
		spill(line, shortest);
		line->count--;
	}
	for (i = line->count; i > 0 && (line->cells[i - 1] & 0xff) < prefix->len; i--)
		move(index, line, i - 1, i);
	line->cells[i] = tag_of(prefix, value);
	line->cells[ways + i] = (uint32_t)(key >> 32);
	if (ways != LISP_INDEX_WAYS_V4)
		line->cells[2 * ways + i] = (uint32_t)key;
	line->count++;
}

void
lisp_index_add(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value)
{
	index->prefixes++;
	index->lengths[length_class(prefix)]++;
	lisp_index_put(index, iid, prefix, value);
}

void
lisp_index_replace(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t before,
    uint32_t value)
{
	struct lisp_index_line *line;
	uint64_t key;
	unsigned i;

	if (!belongs(index, prefix))
		return;
	key = lisp_index_key(&prefix->addr);
	line = lisp_index_line(index, iid, key);
	if ((i = find(index, line, key, tag_of(prefix, before))) < line->count)
		line->cells[i] = tag_of(prefix, value);
}

void
lisp_index_remove(struct lisp_index *index, uint32_t iid, const struct lisp_prefix *prefix, uint32_t value)
{
	struct lisp_index_line *line;
	uint64_t key;
	unsigned i;

	LISP_ASSERT(index->prefixes != 0 && index->lengths[length_class(prefix)] != 0);
	index->prefixes--;
	index->lengths[length_class(prefix)]--;
	if (!belongs(index, prefix))
		return;
	key = lisp_index_key(&prefix->addr);
	line = lisp_index_line(index, iid, key);
	i = find(index, line, key, tag_of(prefix, value));
	if (i < line->count) {
		for (line->count--; i < line->count; i++)
			move(index, line, i + 1, i);
	} else if (line->overflow != SATURATED && --line->overflow == 0)
		line->floor = 0;
	/* Far too large by now: gone, until there are many again. */
	if (index->prefixes < BUILD_FROM / 2 || index->prefixes < ((uint64_t)1 << (64 - index->shift)) / 4) {
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
	return (from);
}

/* Prefixes for so many lines: sixteen for five, when one in a hundred (IPv6: twenty) finds its line full. */
static inline uint32_t
room(unsigned bits)
{
	return ((16u << bits) / 5);
}

bool
lisp_index_renew(struct lisp_index *index)
{
	unsigned from, bits = 8;
	void *memory;

	if (index->prefixes < index->due)
		return (false);
	/* If this comes to nothing, not again before there are twice as many. */
	index->due = index->prefixes > UINT32_MAX / 2 ? UINT32_MAX : index->prefixes * 2;
	if ((from = choose_from(index)) == 0)
		return (false);
	while (bits < 28 && index->prefixes >= room(bits))
		bits++;
	if ((memory = lisp_alloc(((size_t)1 << bits) * sizeof(struct lisp_index_line) + LINE)) == NULL)
		return (false);
	lisp_free(index->memory);
	index->memory = memory;
	index->lines = (struct lisp_index_line *)(((uintptr_t)memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
	index->shift = (uint8_t)(64 - bits);
	index->from = (uint8_t)from;
	index->due = room(bits);
	return (true);
}
