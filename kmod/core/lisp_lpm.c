/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One node covers 6 bits of the address. Prefixes that end inside it are bits of `internal` (0 to 5 bits long) and `exact` (6
 * bits long), children are bits of `external`; the arrays hold only what is there, in the order of the bits.
 *
 *   internal, bit (1 << l) - 1 + v:   prefix of l bits with value v:  *  0* 1*  00* 01* 10* 11*  ...
 *   exact, external, bit v:           v is all 6 bits
 *
 * Arrays have room for the next power of two, so most changes move a few words and allocate nothing.
 */
#include "lisp_lpm.h"

#define	STRIDE		6
#define	DEPTH_MAX	(128 / STRIDE + 1)

struct lpm_node {
	uint64_t	internal;
	uint64_t	exact;
	uint64_t	external;
	struct lpm_node	*children;
	void		**values;	/* those of `internal`, then those of `exact` */
};

struct lpm_instance {
	uint32_t	iid;
	struct lpm_node	v4;
	struct lpm_node	v6;
};

struct lisp_lpm {
	struct lpm_instance	*instances;	/* sorted by iid */
	uint32_t		count;
	uint32_t		room;
	size_t			nodes;
	size_t			values;
};

struct lpm_key {
	uint64_t	high;
	uint64_t	low;
};

/* No popcount instruction may be taken for granted, and in a kernel no library function either. */
static inline unsigned
ones(uint64_t bits)
{
#ifdef __POPCNT__
	return ((unsigned)__builtin_popcountll(bits));
#else
	bits -= (bits >> 1) & 0x5555555555555555u;
	bits = (bits & 0x3333333333333333u) + ((bits >> 2) & 0x3333333333333333u);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return ((unsigned)((bits * 0x0101010101010101u) >> 56));
#endif
}

static inline unsigned
below(uint64_t bits, unsigned bit)
{
	return (ones(bits & (((uint64_t)1 << bit) - 1)));
}

static inline struct lpm_key
key_of(const struct lisp_addr *addr)
{
	struct lpm_key key;

	if (addr->af == LISP_AF_V4) {
		key.high = (uint64_t)lisp_get32(addr->bytes) << 32;
		key.low = 0;
	} else {
		key.high = ((uint64_t)lisp_get32(addr->bytes) << 32) | lisp_get32(addr->bytes + 4);
		key.low = ((uint64_t)lisp_get32(addr->bytes + 8) << 32) | lisp_get32(addr->bytes + 12);
	}
	return (key);
}

/* Six bits from `depth` on; zeros beyond the last. */
static inline unsigned
chunk(const struct lpm_key *key, unsigned depth)
{
	if (depth <= 58)
		return ((key->high >> (58 - depth)) & 63);
	if (depth < 64)
		return (((key->high << (depth - 58)) | (key->low >> (122 - depth))) & 63);
	if (depth <= 122)
		return ((key->low >> (122 - depth)) & 63);
	return ((key->low << (depth - 122)) & 63);
}

/* The bits of `internal` that match a chunk. */
static inline uint64_t
matching(unsigned c)
{
	return ((uint64_t)1 | (uint64_t)2 << (c >> 5) | (uint64_t)8 << (c >> 4) | (uint64_t)0x80 << (c >> 3) |
	    (uint64_t)0x8000 << (c >> 2) | (uint64_t)0x80000000u << (c >> 1));
}

static inline unsigned
highest(uint64_t bits)
{
	return (63u - (unsigned)__builtin_clzll(bits));
}

struct lisp_lpm *
lisp_lpm_new(void)
{
	return (lisp_alloc(sizeof(struct lisp_lpm)));
}

/* Depth is bounded by the address' length: at most DEPTH_MAX frames of a few words. */
static void
free_below(struct lpm_node *node)
{
	unsigned i, count = ones(node->external);

	for (i = 0; i < count; i++)
		free_below(&node->children[i]);
	lisp_free(node->children);
	lisp_free(node->values);
}

void
lisp_lpm_free(struct lisp_lpm *lpm)
{
	uint32_t i;

	if (lpm == NULL)
		return;
	for (i = 0; i < lpm->count; i++) {
		free_below(&lpm->instances[i].v4);
		free_below(&lpm->instances[i].v6);
	}
	lisp_free(lpm->instances);
	lisp_free(lpm);
}

/* Where the instance is, or where it would be. */
static uint32_t
instance_index(const struct lisp_lpm *lpm, uint32_t iid)
{
	uint32_t from = 0, to = lpm->count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (lpm->instances[middle].iid < iid)
			from = middle + 1;
		else
			to = middle;
	}
	return (from);
}

static struct lpm_instance *
instance_find(const struct lisp_lpm *lpm, uint32_t iid)
{
	uint32_t i = instance_index(lpm, iid);

	return (i < lpm->count && lpm->instances[i].iid == iid ? &lpm->instances[i] : NULL);
}

static struct lpm_instance *
instance_add(struct lisp_lpm *lpm, uint32_t iid)
{
	uint32_t i = instance_index(lpm, iid);

	if (i < lpm->count && lpm->instances[i].iid == iid)
		return (&lpm->instances[i]);
	if (lpm->count == lpm->room) {
		uint32_t room = lpm->room == 0 ? 4 : lpm->room * 2;
		struct lpm_instance *grown = lisp_alloc(room * sizeof(*grown));

		if (grown == NULL)
			return (NULL);
		if (lpm->count != 0)
			memcpy(grown, lpm->instances, lpm->count * sizeof(*grown));
		lisp_free(lpm->instances);
		lpm->instances = grown;
		lpm->room = room;
	}
	memmove(&lpm->instances[i + 1], &lpm->instances[i], (lpm->count - i) * sizeof(lpm->instances[0]));
	memset(&lpm->instances[i], 0, sizeof(lpm->instances[0]));
	lpm->instances[i].iid = iid;
	lpm->count++;
	return (&lpm->instances[i]);
}

static void
instance_drop_empty(struct lisp_lpm *lpm, struct lpm_instance *instance)
{
	uint32_t i = (uint32_t)(instance - lpm->instances);

	if (instance->v4.internal | instance->v4.exact | instance->v4.external | instance->v6.internal | instance->v6.exact |
	    instance->v6.external)
		return;
	/* Empty bitmaps may still have arrays, kept for the next addition. */
	free_below(&instance->v4);
	free_below(&instance->v6);
	memmove(&lpm->instances[i], &lpm->instances[i + 1], (lpm->count - i - 1) * sizeof(lpm->instances[0]));
	lpm->count--;
}

/* An array of `count` elements gets a gap at `at`. Room is the next power of two, so it is full when count is one. */
static void *
open_gap(void *array, size_t size, unsigned count, unsigned at)
{
	char *bytes = array;

	if ((count & (count - 1)) == 0) {
		char *grown = lisp_alloc((count == 0 ? 1 : count * 2) * size);

		if (grown == NULL)
			return (NULL);
		if (count != 0) {
			memcpy(grown, bytes, at * size);
			memcpy(grown + (at + 1) * size, bytes + at * size, (count - at) * size);
		}
		lisp_free(array);
		return (grown);
	}
	memmove(bytes + (at + 1) * size, bytes + at * size, (count - at) * size);
	return (array);
}

static void
close_gap(void *array, size_t size, unsigned count, unsigned at)
{
	char *bytes = array;

	memmove(bytes + at * size, bytes + (at + 1) * size, (count - at - 1) * size);
}

/* Where a prefix of `bits` (0 to 6) in this node lives: the bitmap, the bit, and the index of its value. */
struct lpm_place {
	bool		exact;
	unsigned	bit;
	unsigned	index;
};

static struct lpm_place
place_of(const struct lpm_node *node, unsigned c, unsigned bits)
{
	struct lpm_place place;

	place.exact = bits == STRIDE;
	if (place.exact) {
		place.bit = c;
		place.index = ones(node->internal) + below(node->exact, c);
	} else {
		place.bit = (1u << bits) - 1 + (c >> (STRIDE - bits));
		place.index = below(node->internal, place.bit);
	}
	return (place);
}

static bool
occupied(const struct lpm_node *node, const struct lpm_place *place)
{
	return (((place->exact ? node->exact : node->internal) >> place->bit) & 1);
}

/* Removes nodes that hold nothing, from the deepest up. stack[0] is the root, which stays. */
static void
prune(struct lisp_lpm *lpm, struct lpm_node **stack, unsigned depth, const struct lpm_key *key)
{
	for (; depth > 0; depth--) {
		struct lpm_node *node = stack[depth], *parent = stack[depth - 1];
		unsigned c = chunk(key, (depth - 1) * STRIDE);

		if (node->internal | node->exact | node->external)
			return;
		lisp_free(node->children);
		lisp_free(node->values);
		close_gap(parent->children, sizeof(*node), ones(parent->external), below(parent->external, c));
		parent->external &= ~((uint64_t)1 << c);
		if (parent->external == 0) {
			lisp_free(parent->children);
			parent->children = NULL;
		}
		lpm->nodes--;
	}
}

int
lisp_lpm_set(struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix, void *value, void **old)
{
	struct lpm_node *stack[DEPTH_MAX + 1], *node;
	struct lpm_instance *instance;
	struct lpm_place place;
	struct lpm_key key;
	unsigned depth = 0, bits, c;
	void **values;

	*old = NULL;
	if (!lisp_prefix_valid(prefix) || value == NULL)
		return (EINVAL);
	if ((instance = instance_add(lpm, iid)) == NULL)
		return (ENOMEM);
	key = key_of(&prefix->addr);
	node = stack[0] = prefix->addr.af == LISP_AF_V4 ? &instance->v4 : &instance->v6;
	for (bits = prefix->len; bits > STRIDE; bits -= STRIDE) {
		unsigned at;

		c = chunk(&key, depth * STRIDE);
		at = below(node->external, c);
		if (!((node->external >> c) & 1)) {
			struct lpm_node *children = open_gap(node->children, sizeof(*children), ones(node->external), at);

			if (children == NULL)
				goto nomem;
			node->children = children;
			memset(&children[at], 0, sizeof(*children));
			node->external |= (uint64_t)1 << c;
			lpm->nodes++;
		}
		node = &node->children[at];
		stack[++depth] = node;
	}
	place = place_of(node, chunk(&key, depth * STRIDE), bits);
	if (occupied(node, &place)) {
		*old = node->values[place.index];
		node->values[place.index] = value;
		return (0);
	}
	values = open_gap(node->values, sizeof(*values), ones(node->internal) + ones(node->exact), place.index);
	if (values == NULL)
		goto nomem;
	node->values = values;
	values[place.index] = value;
	if (place.exact)
		node->exact |= (uint64_t)1 << place.bit;
	else
		node->internal |= (uint64_t)1 << place.bit;
	lpm->values++;
	return (0);
nomem:
	prune(lpm, stack, depth, &key);
	instance_drop_empty(lpm, instance);
	return (ENOMEM);
}

/* The node a prefix ends in, with the way there; NULL when there is none. */
static struct lpm_node *
descend(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix, const struct lpm_key *key,
    struct lpm_node **stack, unsigned *depth, struct lpm_place *place)
{
	struct lpm_instance *instance = instance_find(lpm, iid);
	struct lpm_node *node;
	unsigned bits, c;

	*depth = 0;
	if (instance == NULL || !lisp_prefix_valid(prefix))
		return (NULL);
	node = stack[0] = prefix->addr.af == LISP_AF_V4 ? &instance->v4 : &instance->v6;
	for (bits = prefix->len; bits > STRIDE; bits -= STRIDE) {
		c = chunk(key, *depth * STRIDE);
		if (!((node->external >> c) & 1))
			return (NULL);
		node = &node->children[below(node->external, c)];
		stack[++*depth] = node;
	}
	*place = place_of(node, chunk(key, *depth * STRIDE), bits);
	return (occupied(node, place) ? node : NULL);
}

void *
lisp_lpm_remove(struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix)
{
	struct lpm_node *stack[DEPTH_MAX + 1], *node;
	struct lpm_key key = key_of(&prefix->addr);
	struct lpm_place place;
	unsigned depth;
	void *value;

	if ((node = descend(lpm, iid, prefix, &key, stack, &depth, &place)) == NULL)
		return (NULL);
	value = node->values[place.index];
	close_gap(node->values, sizeof(void *), ones(node->internal) + ones(node->exact), place.index);
	if (place.exact)
		node->exact &= ~((uint64_t)1 << place.bit);
	else
		node->internal &= ~((uint64_t)1 << place.bit);
	if ((node->internal | node->exact) == 0) {
		lisp_free(node->values);
		node->values = NULL;
	}
	lpm->values--;
	prune(lpm, stack, depth, &key);
	instance_drop_empty(lpm, instance_find(lpm, iid));
	return (value);
}

void *
lisp_lpm_exact(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix)
{
	struct lpm_node *stack[DEPTH_MAX + 1], *node;
	struct lpm_key key = key_of(&prefix->addr);
	struct lpm_place place;
	unsigned depth;

	node = descend(lpm, iid, prefix, &key, stack, &depth, &place);
	return (node == NULL ? NULL : node->values[place.index]);
}

void *
lisp_lpm_lookup(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_addr *addr)
{
	const struct lpm_instance *instance = instance_find(lpm, iid);
	const struct lpm_node *node, *best = NULL;
	struct lpm_key key;
	unsigned depth, c, best_c = 0;

	if (instance == NULL)
		return (NULL);
	key = key_of(addr);
	node = addr->af == LISP_AF_V4 ? &instance->v4 : &instance->v6;
	for (depth = 0;; depth += STRIDE) {
		c = chunk(&key, depth);
		/* Only remember where; the value's index is worked out once, at the end. */
		if (((node->exact >> c) & 1) || (node->internal & matching(c))) {
			best = node;
			best_c = c;
		}
		if (!((node->external >> c) & 1))
			break;
		node = &node->children[below(node->external, c)];
	}
	if (best == NULL)
		return (NULL);
	if ((best->exact >> best_c) & 1)
		return (best->values[ones(best->internal) + below(best->exact, best_c)]);
	return (best->values[below(best->internal, highest(best->internal & matching(best_c)))]);
}

bool
lisp_lpm_has_instance(const struct lisp_lpm *lpm, uint32_t iid)
{
	return (instance_find(lpm, iid) != NULL);
}

size_t
lisp_lpm_memory(const struct lisp_lpm *lpm)
{
	return (sizeof(*lpm) + lpm->room * sizeof(struct lpm_instance) + lpm->nodes * sizeof(struct lpm_node) +
	    lpm->values * sizeof(void *));
}
