/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many prefixes belong to few sites, so mappings share their locator sets: the tree's value is the set, and a packet's lookup touches
 * nothing that there is one of for each prefix; where there are many of them, an index comes before the tree. Prefixes have entries of
 * their own for everything else, found by hash, with a slot number each for as long as they are there, which is what makes a walk
 * across dropped locks possible. Slots come in chunks, so that growing moves nothing.
 */
#include "lisp_mapcache.h"
#include "lisp_index.h"
#include "lisp_lpm.h"

#define	CHUNK		1024u
#define	CHAINS_MIN	64u

/* What a mapping says apart from its prefix. */
struct locator_set {
	struct locator_set	*next;		/* in its chain */
	uint32_t		references;
	uint32_t		hash;
	uint32_t		iid;
	uint32_t		number;		/* in `numbers` */
	uint8_t			action;
	uint8_t			nlocators;
	struct lisp_locator	locators[];
};

struct entry {
	struct lisp_prefix	eid;
	uint32_t		iid;
	uint32_t		hash;
	uint32_t		next;		/* slot number + 1 in the chain, or of the next free slot */
	struct locator_set	*set;		/* NULL: the slot is free */
};

struct lisp_mapcache {
	struct lisp_lpm		*lpm;		/* prefix -> locator_set */
	struct lisp_index	v4;		/* prefix -> its set's number, quicker, where there are many */
	struct lisp_index	v6;
	struct entry		**chunks;
	uint32_t		*chains;	/* of entries: slot number + 1 */
	uint32_t		nchains;	/* a power of two */
	struct locator_set	**sets;		/* chains of sets */
	uint32_t		nset_chains;	/* a power of two */
	struct locator_set	**numbers;	/* sets by number */
	uint32_t		*free_numbers;	/* a stack of those not in use */
	uint32_t		nnumbers;
	uint32_t		nsets;
	size_t			set_octets;
	uint32_t		max;
	uint32_t		count;
	uint32_t		used;		/* slots ever used */
	uint32_t		free;		/* first free slot + 1; 0: none */
};

static inline struct entry *
slot_at(const struct lisp_mapcache *cache, uint32_t number)
{
	return (&cache->chunks[number / CHUNK][number % CHUNK]);
}

/* NULL when the slot is free. */
static inline struct entry *
entry_at(const struct lisp_mapcache *cache, uint32_t number)
{
	struct entry *entry = slot_at(cache, number);

	return (entry->set == NULL ? NULL : entry);
}

static inline struct lisp_index *
index_of(struct lisp_mapcache *cache, const struct lisp_prefix *eid)
{
	return (eid->addr.af == LISP_AF_V4 ? &cache->v4 : &cache->v6);
}

/* ------------------------------------------------------------ locator sets */

static inline size_t
set_size(unsigned nlocators)
{
	return (sizeof(struct locator_set) + nlocators * sizeof(struct lisp_locator));
}

/* Whether locators are up is not hashed, so that it can change in place. */
static uint32_t
set_hash(const struct lisp_mapping *mapping)
{
	uint32_t hash = mapping->iid * 0x9e3779b1u + (((uint32_t)mapping->action << 8) | mapping->nlocators);
	unsigned i;

	for (i = 0; i < mapping->nlocators; i++) {
		const struct lisp_locator *locator = &mapping->locators[i];

		hash += ((uint32_t)locator->priority << 8) | locator->weight;
		hash = lisp_hash_words(locator->rloc.words, 4, hash + locator->rloc.af);
	}
	return (hash);
}

static bool
set_is(const struct locator_set *set, const struct lisp_mapping *mapping)
{
	unsigned i;

	if (set->iid != mapping->iid || set->action != mapping->action || set->nlocators != mapping->nlocators)
		return (false);
	for (i = 0; i < set->nlocators; i++) {
		const struct lisp_locator *a = &set->locators[i], *b = &mapping->locators[i];

		if (a->priority != b->priority || a->weight != b->weight || a->up != b->up ||
		    !lisp_addr_equal(&a->rloc, &b->rloc))
			return (false);
	}
	return (true);
}

/* Not growing is no error: chains get longer. */
static void
sets_grow(struct lisp_mapcache *cache)
{
	uint32_t i, nchains = cache->nset_chains * 2;
	struct locator_set **sets = lisp_alloc(nchains * sizeof(sets[0]));

	if (sets == NULL)
		return;
	for (i = 0; i < cache->nset_chains; i++)
		while (cache->sets[i] != NULL) {
			struct locator_set *set = cache->sets[i];

			cache->sets[i] = set->next;
			set->next = sets[set->hash & (nchains - 1)];
			sets[set->hash & (nchains - 1)] = set;
		}
	lisp_free(cache->sets);
	cache->sets = sets;
	cache->nset_chains = nchains;
}

/* Room for twice as many numbers; false: there is none. */
static bool
numbers_grow(struct lisp_mapcache *cache)
{
	uint32_t i, nnumbers = cache->nnumbers == 0 ? CHAINS_MIN : cache->nnumbers * 2;
	struct locator_set **numbers;
	uint32_t *free_numbers;

	if (nnumbers > LISP_INDEX_VALUE_MAX + 1)
		return (false);
	numbers = lisp_alloc(nnumbers * sizeof(numbers[0]));
	free_numbers = lisp_alloc(nnumbers * sizeof(free_numbers[0]));
	if (numbers == NULL || free_numbers == NULL) {
		lisp_free(numbers);
		lisp_free(free_numbers);
		return (false);
	}
	/* It grows when none is free. The lowest is taken first. */
	for (i = 0; i < cache->nnumbers; i++)
		numbers[i] = cache->numbers[i];
	for (i = 0; i < nnumbers - cache->nnumbers; i++)
		free_numbers[i] = nnumbers - 1 - i;
	lisp_free(cache->numbers);
	lisp_free(cache->free_numbers);
	cache->numbers = numbers;
	cache->free_numbers = free_numbers;
	cache->nnumbers = nnumbers;
	return (true);
}

/* A set of these contents with one reference more, or NULL. */
static struct locator_set *
set_take(struct lisp_mapcache *cache, const struct lisp_mapping *mapping)
{
	uint32_t hash = set_hash(mapping);
	struct locator_set *set;

	for (set = cache->sets[hash & (cache->nset_chains - 1)]; set != NULL; set = set->next)
		if (set->hash == hash && set_is(set, mapping)) {
			set->references++;
			return (set);
		}
	if (cache->nsets == cache->nnumbers && !numbers_grow(cache))
		return (NULL);
	if ((set = lisp_alloc(set_size(mapping->nlocators))) == NULL)
		return (NULL);
	set->references = 1;
	set->hash = hash;
	set->iid = mapping->iid;
	set->number = cache->free_numbers[cache->nnumbers - cache->nsets - 1];
	cache->numbers[set->number] = set;
	set->action = mapping->action;
	set->nlocators = mapping->nlocators;
	memcpy(set->locators, mapping->locators, mapping->nlocators * sizeof(set->locators[0]));
	if (cache->nsets >= cache->nset_chains)
		sets_grow(cache);
	set->next = cache->sets[hash & (cache->nset_chains - 1)];
	cache->sets[hash & (cache->nset_chains - 1)] = set;
	cache->nsets++;
	cache->set_octets += set_size(set->nlocators);
	return (set);
}

static void
set_give(struct lisp_mapcache *cache, struct locator_set *set)
{
	struct locator_set **link = &cache->sets[set->hash & (cache->nset_chains - 1)];

	if (--set->references != 0)
		return;
	while (*link != set)
		link = &(*link)->next;
	*link = set->next;
	cache->nsets--;
	cache->numbers[set->number] = NULL;
	cache->free_numbers[cache->nnumbers - cache->nsets - 1] = set->number;
	cache->set_octets -= set_size(set->nlocators);
	lisp_free(set);
	if (cache->nsets != 0)
		return;
	lisp_free(cache->numbers);
	lisp_free(cache->free_numbers);
	cache->numbers = NULL;
	cache->free_numbers = NULL;
	cache->nnumbers = 0;
}

/* ----------------------------------------------------------------- entries */

static uint32_t
entry_hash(uint32_t iid, const struct lisp_prefix *eid)
{
	return (lisp_hash_words(eid->addr.words, 4, iid * 256 + eid->len + ((uint32_t)eid->addr.af << 28)));
}

static struct entry *
entry_find(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid)
{
	uint32_t hash = entry_hash(iid, eid), next = cache->chains[hash & (cache->nchains - 1)];

	while (next != 0) {
		struct entry *entry = slot_at(cache, next - 1);

		if (entry->hash == hash && entry->iid == iid && lisp_prefix_equal(&entry->eid, eid))
			return (entry);
		next = entry->next;
	}
	return (NULL);
}

static void
entries_grow(struct lisp_mapcache *cache)
{
	uint32_t i, nchains = cache->nchains * 2;
	uint32_t *chains = lisp_alloc(nchains * sizeof(chains[0]));

	if (chains == NULL)
		return;
	for (i = 0; i < cache->used; i++) {
		struct entry *entry = entry_at(cache, i);

		if (entry != NULL) {
			entry->next = chains[entry->hash & (nchains - 1)];
			chains[entry->hash & (nchains - 1)] = i + 1;
		}
	}
	lisp_free(cache->chains);
	cache->chains = chains;
	cache->nchains = nchains;
}

struct lisp_mapcache *
lisp_mapcache_new(uint32_t max_entries)
{
	struct lisp_mapcache *cache = lisp_alloc(sizeof(*cache));

	if (cache == NULL)
		return (NULL);
	cache->max = max_entries;
	cache->nchains = cache->nset_chains = CHAINS_MIN;
	lisp_index_init(&cache->v4, LISP_AF_V4);
	lisp_index_init(&cache->v6, LISP_AF_V6);
	cache->lpm = lisp_lpm_new();
	cache->chunks = lisp_alloc(((size_t)max_entries / CHUNK + 1) * sizeof(cache->chunks[0]));
	cache->chains = lisp_alloc(CHAINS_MIN * sizeof(cache->chains[0]));
	cache->sets = lisp_alloc(CHAINS_MIN * sizeof(cache->sets[0]));
	if (cache->lpm == NULL || cache->chunks == NULL || cache->chains == NULL || cache->sets == NULL) {
		lisp_mapcache_free(cache);
		return (NULL);
	}
	return (cache);
}

void
lisp_mapcache_free(struct lisp_mapcache *cache)
{
	struct locator_set *set;
	uint32_t i;

	if (cache == NULL)
		return;
	for (i = 0; i < cache->used; i += CHUNK)
		lisp_free(cache->chunks[i / CHUNK]);
	for (i = 0; cache->sets != NULL && i < cache->nset_chains; i++)
		while ((set = cache->sets[i]) != NULL) {
			cache->sets[i] = set->next;
			lisp_free(set);
		}
	lisp_free(cache->sets);
	lisp_free(cache->numbers);
	lisp_free(cache->free_numbers);
	lisp_free(cache->chains);
	lisp_free(cache->chunks);
	lisp_index_fini(&cache->v4);
	lisp_index_fini(&cache->v6);
	lisp_lpm_free(cache->lpm);
	lisp_free(cache);
}

uint32_t
lisp_mapcache_count(const struct lisp_mapcache *cache)
{
	return (cache->count);
}

size_t
lisp_mapcache_memory(const struct lisp_mapcache *cache)
{
	return (sizeof(*cache) + lisp_lpm_memory(cache->lpm) + lisp_index_memory(&cache->v4) +
	    lisp_index_memory(&cache->v6) + cache->set_octets +
	    (cache->used + CHUNK - 1) / CHUNK * CHUNK * sizeof(struct entry) + cache->nchains * sizeof(cache->chains[0]) +
	    cache->nset_chains * sizeof(cache->sets[0]) +
	    cache->nnumbers * (sizeof(cache->numbers[0]) + sizeof(cache->free_numbers[0])) + (cache->max / CHUNK + 1) * sizeof(cache->chunks[0]));
}

int
lisp_mapping_check(const struct lisp_mapping *mapping)
{
	struct lisp_prefix masked = mapping->eid;
	unsigned i, j;

	if (mapping->iid > LISP_IID_MAX || !lisp_prefix_valid(&mapping->eid) || mapping->action >= LISP_ACTION_COUNT ||
	    mapping->nlocators > LISP_MAX_LOCATORS)
		return (EINVAL);
	lisp_prefix_mask(&masked);
	if (!lisp_prefix_equal(&masked, &mapping->eid))
		return (EINVAL);
	for (i = 0; i < mapping->nlocators; i++) {
		if (!lisp_addr_is_unicast(&mapping->locators[i].rloc))
			return (EINVAL);
		for (j = 0; j < i; j++)
			if (lisp_addr_equal(&mapping->locators[i].rloc, &mapping->locators[j].rloc))
				return (EINVAL);
	}
	return (0);
}

static void
copy_out(const struct entry *entry, struct lisp_mapping *out)
{
	memset(out, 0, sizeof(*out));
	out->eid = entry->eid;
	out->iid = entry->iid;
	out->action = entry->set->action;
	out->nlocators = entry->set->nlocators;
	memcpy(out->locators, entry->set->locators, entry->set->nlocators * sizeof(out->locators[0]));
}

static int
slot_take(struct lisp_mapcache *cache, uint32_t *number)
{
	if (cache->free != 0) {
		*number = cache->free - 1;
		cache->free = slot_at(cache, *number)->next;
		return (0);
	}
	if (cache->used % CHUNK == 0) {
		struct entry *chunk = lisp_alloc(CHUNK * sizeof(*chunk));

		if (chunk == NULL)
			return (ENOMEM);
		cache->chunks[cache->used / CHUNK] = chunk;
	}
	*number = cache->used++;
	return (0);
}

static void
slot_give(struct lisp_mapcache *cache, uint32_t number)
{
	uint32_t i, *chains;

	slot_at(cache, number)->set = NULL;
	slot_at(cache, number)->next = cache->free;
	cache->free = number + 1;
	if (cache->count != 0)
		return;
	/* The last mapping gone: give the memory back, so that a flush leaves things as they were. */
	for (i = 0; i < cache->used; i += CHUNK)
		lisp_free(cache->chunks[i / CHUNK]);
	cache->used = 0;
	cache->free = 0;
	if (cache->nchains > CHAINS_MIN && (chains = lisp_alloc(CHAINS_MIN * sizeof(chains[0]))) != NULL) {
		lisp_free(cache->chains);
		cache->chains = chains;
		cache->nchains = CHAINS_MIN;
	}
}

/* Every prefix of the family goes where it belongs now. As rarely as the chains grow. */
static void
index_rebuild(struct lisp_mapcache *cache, struct lisp_index *index)
{
	uint32_t i;

	for (i = 0; i < cache->used; i++) {
		struct entry *entry = entry_at(cache, i);

		if (entry != NULL && index_of(cache, &entry->eid) == index)
			lisp_index_put(index, entry->iid, &entry->eid, entry->set->number);
	}
}

int
lisp_mapcache_set(struct lisp_mapcache *cache, const struct lisp_mapping *mapping)
{
	struct entry *entry;
	struct locator_set *set, *before;
	uint32_t number, *chain;
	void *old;
	int error;

	if ((error = lisp_mapping_check(mapping)) != 0)
		return (error);
	entry = entry_find(cache, mapping->iid, &mapping->eid);
	if (entry == NULL && cache->count >= cache->max)
		return (ENOSPC);
	if ((set = set_take(cache, mapping)) == NULL)
		return (ENOMEM);
	if (entry != NULL) {
		before = entry->set;
		error = lisp_lpm_set(cache->lpm, mapping->iid, &mapping->eid, set, &old);
		/* A replacement finds its place made. */
		LISP_ASSERT(error == 0 && old == before);
		entry->set = set;
		lisp_index_replace(index_of(cache, &mapping->eid), mapping->iid, &mapping->eid, before->number, set->number);
		set_give(cache, before);
		return (error);
	}
	if ((error = slot_take(cache, &number)) != 0) {
		set_give(cache, set);
		return (error);
	}
	if ((error = lisp_lpm_set(cache->lpm, mapping->iid, &mapping->eid, set, &old)) != 0) {
		slot_give(cache, number);
		set_give(cache, set);
		return (error);
	}
	if (cache->count >= cache->nchains)
		entries_grow(cache);
	entry = slot_at(cache, number);
	entry->eid = mapping->eid;
	entry->iid = mapping->iid;
	entry->hash = entry_hash(mapping->iid, &mapping->eid);
	entry->set = set;
	chain = &cache->chains[entry->hash & (cache->nchains - 1)];
	entry->next = *chain;
	*chain = number + 1;
	cache->count++;
	lisp_index_add(index_of(cache, &entry->eid), entry->iid, &entry->eid, set->number);
	if (lisp_index_renew(index_of(cache, &entry->eid)))
		index_rebuild(cache, index_of(cache, &entry->eid));
	return (0);
}

int
lisp_mapcache_delete(struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid)
{
	struct entry *entry = entry_find(cache, iid, eid);
	struct locator_set *set;
	uint32_t *link, number;

	if (entry == NULL)
		return (ENOENT);
	set = lisp_lpm_remove(cache->lpm, iid, eid);
	LISP_ASSERT(set == entry->set);
	lisp_index_remove(index_of(cache, eid), iid, eid, set->number);
	link = &cache->chains[entry->hash & (cache->nchains - 1)];
	while (slot_at(cache, *link - 1) != entry)
		link = &slot_at(cache, *link - 1)->next;
	number = *link - 1;
	*link = entry->next;
	cache->count--;
	slot_give(cache, number);
	set_give(cache, set);
	return (0);
}

int
lisp_mapcache_get(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid, struct lisp_mapping *out)
{
	const struct entry *entry = entry_find(cache, iid, eid);

	if (entry == NULL)
		return (ENOENT);
	copy_out(entry, out);
	return (0);
}

int
lisp_mapcache_lookup(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr,
    struct lisp_mapping *out)
{
	struct lisp_prefix eid;
	unsigned len;

	/* The tree tells that there is a match, but only the entries know of which prefix; this is not the packet path. */
	if (lisp_lpm_lookup(cache->lpm, iid, addr) == NULL)
		return (ENOENT);
	for (len = lisp_addr_size(addr->af) * 8; ; len--) {
		memset(&eid, 0, sizeof(eid));
		eid.addr = *addr;
		eid.len = (uint8_t)len;
		lisp_prefix_mask(&eid);
		if (lisp_mapcache_get(cache, iid, &eid, out) == 0)
			return (0);
		LISP_ASSERT(len != 0);
	}
}

int
lisp_mapcache_peek(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr, uint8_t *action,
    const struct lisp_locator **locators, unsigned *count)
{
	uint32_t number = lisp_index_lookup(addr->af == LISP_AF_V4 ? &cache->v4 : &cache->v6, iid, addr);
	const struct locator_set *set = number == LISP_INDEX_NONE ? NULL : cache->numbers[number];

	if ((set == NULL || set->iid != iid) && (set = lisp_lpm_lookup(cache->lpm, iid, addr)) == NULL)
		return (ENOENT);
	*action = set->action;
	*locators = set->locators;
	*count = set->nlocators;
	return (0);
}

int
lisp_mapcache_next(const struct lisp_mapcache *cache, uint32_t *cursor, struct lisp_mapping *out)
{
	while (*cursor < cache->used) {
		const struct entry *entry = entry_at(cache, (*cursor)++);

		if (entry != NULL) {
			copy_out(entry, out);
			return (0);
		}
	}
	return (ENOENT);
}

uint32_t
lisp_mapcache_flush(struct lisp_mapcache *cache, uint32_t iid)
{
	uint32_t i, flushed = 0;

	/* Deleting the last one resets `used`, which ends the loop as it should. */
	for (i = 0; i < cache->used; i++) {
		struct entry *entry = entry_at(cache, i);

		if (entry != NULL && (iid > LISP_IID_MAX || entry->iid == iid)) {
			struct lisp_prefix eid = entry->eid;

			(void)lisp_mapcache_delete(cache, entry->iid, &eid);
			flushed++;
		}
	}
	return (flushed);
}

uint32_t
lisp_mapcache_set_locator_state(struct lisp_mapcache *cache, const struct lisp_addr *rloc, bool up)
{
	struct locator_set *set;
	uint32_t i, j, changed = 0;

	for (i = 0; i < cache->nset_chains; i++)
		for (set = cache->sets[i]; set != NULL; set = set->next)
			for (j = 0; j < set->nlocators; j++) {
				struct lisp_locator *locator = &set->locators[j];

				if (locator->up != up && lisp_addr_equal(&locator->rloc, rloc)) {
					locator->up = up;
					changed += set->references;
				}
			}
	return (changed);
}
