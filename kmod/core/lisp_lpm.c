/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One node covers 6 bits of the address. Prefixes that end inside it are bits of `internal` (0 to 5 bits long) and `exact` (6
 * bits long), children are bits of `external`; the arrays hold only what is there, in the order of the bits.
 *
 *   internal, bit (1 << l) - 1 + v:   prefix of l bits with value v:  *  0* 1*  00* 01* 10* 11*  ...
 *   exact, external, bit v:           v is all 6 bits
 *
 * A child that would hold a single prefix is no node but the prefix itself, in the parent's array: with many sparse prefixes a
 * lookup then touches the few nodes of the upper levels and one slot. That is what keeps 100,000 prefixes in a processor's cache.
 */
#include "lisp_lpm.h"

#define	STRIDE		6
#define	DEPTH_MAX	(128 / STRIDE + 1)

struct lpm_node {
	uint64_t	internal;
	uint64_t	exact;
	uint64_t	external;
	void		*slots;		/* struct slot4 or struct slot6 */
	void		**values;	/* those of `internal`, then those of `exact` */
};

/* A child: a node, or a prefix that is alone there. */
struct slot4 {
	void		*pointer;	/* struct lpm_node or the value */
	uint32_t	high;
	uint8_t		len;
	bool		leaf;
};

struct slot6 {
	void		*pointer;
	uint64_t	high;
	uint64_t	low;
	uint8_t		len;
	bool		leaf;
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
	size_t			slots;		/* octets */
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

/* What a slot says, for either family. */
struct child {
	void		*pointer;
	struct lpm_key	key;
	uint8_t		len;
	bool		leaf;
};

static inline size_t
slot_size(bool v6)
{
	return (v6 ? sizeof(struct slot6) : sizeof(struct slot4));
}

static inline struct child
slot_get(const struct lpm_node *node, unsigned index, bool v6)
{
	struct child child;

	if (v6) {
		const struct slot6 *slot = (const struct slot6 *)node->slots + index;

		child.pointer = slot->pointer;
		child.key.high = slot->high;
		child.key.low = slot->low;
		child.len = slot->len;
		child.leaf = slot->leaf;
	} else {
		const struct slot4 *slot = (const struct slot4 *)node->slots + index;

		child.pointer = slot->pointer;
		child.key.high = (uint64_t)slot->high << 32;
		child.key.low = 0;
		child.len = slot->len;
		child.leaf = slot->leaf;
	}
	return (child);
}

static inline void
slot_put(struct lpm_node *node, unsigned index, bool v6, const struct child *child)
{
	if (v6) {
		struct slot6 *slot = (struct slot6 *)node->slots + index;

		slot->pointer = child->pointer;
		slot->high = child->key.high;
		slot->low = child->key.low;
		slot->len = child->len;
		slot->leaf = child->leaf;
	} else {
		struct slot4 *slot = (struct slot4 *)node->slots + index;

		slot->pointer = child->pointer;
		slot->high = (uint32_t)(child->key.high >> 32);
		slot->len = child->len;
		slot->leaf = child->leaf;
	}
}

static inline bool
same_bits(const struct lpm_key *a, const struct lpm_key *b, unsigned bits)
{
	if (bits == 0)
		return (true);
	if (bits <= 64)
		return (((a->high ^ b->high) >> (64 - bits)) == 0);
	return (a->high == b->high && ((a->low ^ b->low) >> (128 - bits)) == 0);
}

/* Depth is bounded by the address' length: at most DEPTH_MAX frames of a few words. */
static void
free_below(struct lpm_node *node, bool v6)
{
	unsigned i, count = ones(node->external);

	for (i = 0; i < count; i++) {
		struct child child = slot_get(node, i, v6);

		if (!child.leaf) {
			free_below(child.pointer, v6);
			lisp_free(child.pointer);
		}
	}
	lisp_free(node->slots);
	lisp_free(node->values);
}

void
lisp_lpm_free(struct lisp_lpm *lpm)
{
	uint32_t i;

	if (lpm == NULL)
		return;
	for (i = 0; i < lpm->count; i++) {
		free_below(&lpm->instances[i].v4, false);
		free_below(&lpm->instances[i].v6, true);
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
	free_below(&instance->v4, false);
	free_below(&instance->v6, true);
	memmove(&lpm->instances[i], &lpm->instances[i + 1], (lpm->count - i - 1) * sizeof(lpm->instances[0]));
	lpm->count--;
}

/* An array of `count` elements gets a gap at `at`. Room is a multiple of four, so it is full when count is one. */
static void *
open_gap(void *array, size_t size, unsigned count, unsigned at)
{
	char *bytes = array;

	if (count % 4 == 0) {
		char *grown = lisp_alloc((count + 4) * size);

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

/* Gives memory back where it can be had in smaller pieces; without, the array stays larger than it need be. */
static void *
close_gap(void *array, size_t size, unsigned count, unsigned at)
{
	char *bytes = array, *smaller;

	memmove(bytes + at * size, bytes + (at + 1) * size, (count - at - 1) * size);
	if (--count == 0) {
		lisp_free(array);
		return (NULL);
	}
	if (count % 4 == 0 && (smaller = lisp_alloc(count * size)) != NULL) {
		memcpy(smaller, bytes, count * size);
		lisp_free(array);
		return (smaller);
	}
	return (array);
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

static int
add_value(struct lisp_lpm *lpm, struct lpm_node *node, const struct lpm_place *place, void *value)
{
	void **values = open_gap(node->values, sizeof(*values), ones(node->internal) + ones(node->exact), place->index);

	if (values == NULL)
		return (ENOMEM);
	node->values = values;
	values[place->index] = value;
	if (place->exact)
		node->exact |= (uint64_t)1 << place->bit;
	else
		node->internal |= (uint64_t)1 << place->bit;
	lpm->values++;
	return (0);
}

static int
add_child(struct lisp_lpm *lpm, struct lpm_node *node, unsigned c, bool v6, const struct child *child)
{
	unsigned at = below(node->external, c);
	void *slots = open_gap(node->slots, slot_size(v6), ones(node->external), at);

	if (slots == NULL)
		return (ENOMEM);
	node->slots = slots;
	slot_put(node, at, v6, child);
	node->external |= (uint64_t)1 << c;
	lpm->slots += slot_size(v6);
	return (0);
}

static void
drop_child(struct lisp_lpm *lpm, struct lpm_node *node, unsigned c, bool v6)
{
	node->slots = close_gap(node->slots, slot_size(v6), ones(node->external), below(node->external, c));
	node->external &= ~((uint64_t)1 << c);
	lpm->slots -= slot_size(v6);
}

/* Removes nodes that hold nothing, from the deepest up. stack[0] is the root, which stays. */
static void
prune(struct lisp_lpm *lpm, struct lpm_node **stack, unsigned depth, const struct lpm_key *key, bool v6)
{
	for (; depth > 0; depth--) {
		struct lpm_node *node = stack[depth];

		if (node->internal | node->exact | node->external)
			return;
		drop_child(lpm, stack[depth - 1], chunk(key, (depth - 1) * STRIDE), v6);
		lisp_free(node);
		lpm->nodes--;
	}
}

/* The prefix that was alone in a slot moves into a node of its own there, `depth` bits down: room for another. */
static struct lpm_node *
push_down(struct lisp_lpm *lpm, struct lpm_node *parent, unsigned at, unsigned depth, bool v6, struct child *leaf)
{
	struct lpm_node *node = lisp_alloc(sizeof(*node));
	struct child child;
	int error;

	if (node == NULL)
		return (NULL);
	if (leaf->len - depth <= STRIDE) {
		struct lpm_place place = place_of(node, chunk(&leaf->key, depth), leaf->len - depth);

		error = add_value(lpm, node, &place, leaf->pointer);
	} else
		error = add_child(lpm, node, chunk(&leaf->key, depth), v6, leaf);
	if (error != 0) {
		lisp_free(node);
		return (NULL);
	}
	memset(&child, 0, sizeof(child));
	child.pointer = node;
	slot_put(parent, at, v6, &child);
	lpm->nodes++;
	return (node);
}

int
lisp_lpm_set(struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix, void *value, void **old)
{
	struct lpm_node *node;
	struct lpm_instance *instance;
	struct lpm_place place;
	struct lpm_key key;
	struct child child;
	unsigned depth;
	bool v6 = prefix->addr.af == LISP_AF_V6;
	int error = 0;

	*old = NULL;
	if (!lisp_prefix_valid(prefix) || value == NULL)
		return (EINVAL);
	if ((instance = instance_add(lpm, iid)) == NULL)
		return (ENOMEM);
	key = key_of(&prefix->addr);
	node = v6 ? &instance->v6 : &instance->v4;
	/* What is pushed down before an allocation fails stays where it is: another shape of the same table. */
	for (depth = 0; prefix->len - depth > STRIDE; depth += STRIDE) {
		unsigned c = chunk(&key, depth), at = below(node->external, c);

		if (!((node->external >> c) & 1)) {
			child.pointer = value;
			child.key = key;
			child.len = prefix->len;
			child.leaf = true;
			error = add_child(lpm, node, c, v6, &child);
			goto out;
		}
		child = slot_get(node, at, v6);
		if (!child.leaf) {
			node = child.pointer;
			continue;
		}
		if (child.len == prefix->len && same_bits(&child.key, &key, prefix->len)) {
			*old = child.pointer;
			child.pointer = value;
			slot_put(node, at, v6, &child);
			return (0);
		}
		if ((node = push_down(lpm, node, at, depth + STRIDE, v6, &child)) == NULL) {
			error = ENOMEM;
			goto out;
		}
	}
	place = place_of(node, chunk(&key, depth), prefix->len - depth);
	if (occupied(node, &place)) {
		*old = node->values[place.index];
		node->values[place.index] = value;
		return (0);
	}
	error = add_value(lpm, node, &place, value);
out:
	if (error != 0)
		instance_drop_empty(lpm, instance);
	return (error);
}

/* Where a prefix is: in a node, or alone in a slot of it. NULL when it is not there; `stack` has the nodes on the way. */
static struct lpm_node *
descend(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_prefix *prefix, const struct lpm_key *key,
    struct lpm_node **stack, unsigned *depth, bool *leaf, struct lpm_place *place)
{
	struct lpm_instance *instance = instance_find(lpm, iid);
	struct lpm_node *node;
	unsigned bits;
	bool v6 = prefix->addr.af == LISP_AF_V6;

	*depth = 0;
	*leaf = false;
	if (instance == NULL || !lisp_prefix_valid(prefix))
		return (NULL);
	node = stack[0] = v6 ? &instance->v6 : &instance->v4;
	for (bits = prefix->len; bits > STRIDE; bits -= STRIDE) {
		unsigned c = chunk(key, *depth * STRIDE);
		struct child child;

		if (!((node->external >> c) & 1))
			return (NULL);
		place->index = below(node->external, c);
		child = slot_get(node, place->index, v6);
		if (child.leaf) {
			*leaf = child.len == prefix->len && same_bits(&child.key, key, prefix->len);
			return (*leaf ? node : NULL);
		}
		node = child.pointer;
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
	bool leaf, v6 = prefix->addr.af == LISP_AF_V6;
	void *value;

	if ((node = descend(lpm, iid, prefix, &key, stack, &depth, &leaf, &place)) == NULL)
		return (NULL);
	if (leaf) {
		value = slot_get(node, place.index, v6).pointer;
		drop_child(lpm, node, chunk(&key, depth * STRIDE), v6);
	} else {
		value = node->values[place.index];
		node->values = close_gap(node->values, sizeof(void *), ones(node->internal) + ones(node->exact), place.index);
		if (place.exact)
			node->exact &= ~((uint64_t)1 << place.bit);
		else
			node->internal &= ~((uint64_t)1 << place.bit);
		lpm->values--;
	}
	prune(lpm, stack, depth, &key, v6);
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
	bool leaf;

	node = descend(lpm, iid, prefix, &key, stack, &depth, &leaf, &place);
	if (node == NULL)
		return (NULL);
	return (leaf ? slot_get(node, place.index, prefix->addr.af == LISP_AF_V6).pointer : node->values[place.index]);
}

/* Written once, compiled for each family. */
static inline void *
lookup(const struct lpm_node *node, const struct lpm_key *key, bool v6)
{
	const struct lpm_node *best = NULL;
	unsigned depth, c, best_c = 0;

	for (depth = 0;; depth += STRIDE) {
		struct child child;

		c = chunk(key, depth);
		/* Only remember where; the value's index is worked out once, at the end. */
		if (((node->exact >> c) & 1) || (node->internal & matching(c))) {
			best = node;
			best_c = c;
		}
		if (!((node->external >> c) & 1))
			break;
		child = slot_get(node, below(node->external, c), v6);
		if (child.leaf) {
			/* Alone down there, so longer than all that was met so far. */
			if (same_bits(&child.key, key, child.len))
				return (child.pointer);
			break;
		}
		node = child.pointer;
	}
	if (best == NULL)
		return (NULL);
	if ((best->exact >> best_c) & 1)
		return (best->values[ones(best->internal) + below(best->exact, best_c)]);
	return (best->values[below(best->internal, highest(best->internal & matching(best_c)))]);
}

void *
lisp_lpm_lookup(const struct lisp_lpm *lpm, uint32_t iid, const struct lisp_addr *addr)
{
	const struct lpm_instance *instance = instance_find(lpm, iid);
	struct lpm_key key;

	if (instance == NULL)
		return (NULL);
	key = key_of(addr);
	return (addr->af == LISP_AF_V4 ? lookup(&instance->v4, &key, false) : lookup(&instance->v6, &key, true));
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
	    lpm->values * sizeof(void *) + lpm->slots);
}
