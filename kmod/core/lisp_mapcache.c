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
#define	SET_CHUNK	64u
#define	LINE		64u
#define	FEW		2u	/* locators, as most sites have, that lie in the set itself */

/* What a mapping says apart from its prefix. One cache line, because it is the second and last thing that a packet's lookup reads. */
struct locator_set {
	uint32_t			iid;
	uint8_t				action;
	uint8_t				nlocators;
	union {
		struct lisp_locator	few[FEW];
		struct lisp_locator	*many;
	};
	uint32_t			references;	/* 0: not in use */
	uint32_t			number;
};

/* What only changes need to know of a set. */
struct set_note {
	uint32_t		hash;
	uint32_t		next;		/* set number + 1 in its chain, or of the next that is not in use */
};

struct set_chunk {
	struct locator_set	sets[SET_CHUNK];
	struct set_note		notes[SET_CHUNK];
	void			*memory;	/* what this is aligned in */
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
	struct set_chunk	**set_chunks;	/* sets by number */
	uint32_t		nset_chunks;
	uint32_t		set_chunks_room;
	uint32_t		*set_chains;	/* set number + 1 */
	uint32_t		nset_chains;	/* a power of two */
	uint32_t		nsets;
	uint32_t		free_set;	/* first that is not in use + 1; 0: none */
	size_t			set_octets;	/* of locators elsewhere */
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

static inline struct locator_set *
set_at(const struct lisp_mapcache *cache, uint32_t number)
{
	return (&cache->set_chunks[number / SET_CHUNK]->sets[number % SET_CHUNK]);
}

static inline struct set_note *
note_at(const struct lisp_mapcache *cache, uint32_t number)
{
	return (&cache->set_chunks[number / SET_CHUNK]->notes[number % SET_CHUNK]);
}

static inline struct lisp_locator *
set_locators(struct locator_set *set)
{
	return (set->nlocators <= FEW ? set->few : set->many);
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
set_is(struct locator_set *set, const struct lisp_mapping *mapping)
{
	unsigned i;

	if (set->iid != mapping->iid || set->action != mapping->action || set->nlocators != mapping->nlocators)
		return (false);
	for (i = 0; i < set->nlocators; i++) {
		const struct lisp_locator *a = &set_locators(set)[i], *b = &mapping->locators[i];

		if (a->priority != b->priority || a->weight != b->weight || a->up != b->up ||
		    !lisp_addr_equal(&a->rloc, &b->rloc))
			return (false);
	}
	return (true);
}

/* Not growing is no error: chains get longer. */
static void
set_chains_grow(struct lisp_mapcache *cache)
{
	uint32_t i, nchains = cache->nset_chains * 2;
	uint32_t *chains = lisp_alloc(nchains * sizeof(chains[0]));

	if (chains == NULL)
		return;
	for (i = 0; i < cache->nset_chains; i++) {
		uint32_t number = cache->set_chains[i];

		while (number != 0) {
			struct set_note *note = note_at(cache, number - 1);
			uint32_t next = note->next;

			note->next = chains[note->hash & (nchains - 1)];
			chains[note->hash & (nchains - 1)] = number;
			number = next;
		}
	}
	lisp_free(cache->set_chains);
	cache->set_chains = chains;
	cache->nset_chains = nchains;
}

/* Room for more sets; false: there is none. */
static bool
sets_grow(struct lisp_mapcache *cache)
{
	struct set_chunk *chunk;
	uint32_t i, from = cache->nset_chunks * SET_CHUNK;
	void *memory;

	if (from > LISP_INDEX_NONE - SET_CHUNK)
		return (false);
	if (cache->nset_chunks == cache->set_chunks_room) {
		uint32_t room = cache->set_chunks_room == 0 ? 1 : cache->set_chunks_room * 2;
		struct set_chunk **chunks = lisp_alloc(room * sizeof(chunks[0]));

		if (chunks == NULL)
			return (false);
		if (cache->nset_chunks != 0)
			memcpy(chunks, cache->set_chunks, cache->nset_chunks * sizeof(chunks[0]));
		lisp_free(cache->set_chunks);
		cache->set_chunks = chunks;
		cache->set_chunks_room = room;
	}
	if ((memory = lisp_alloc(sizeof(*chunk) + LINE)) == NULL)
		return (false);
	chunk = (struct set_chunk *)(((uintptr_t)memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
	chunk->memory = memory;
	cache->set_chunks[cache->nset_chunks++] = chunk;
	/* The lowest is taken first. */
	for (i = SET_CHUNK; i-- > 0;) {
		chunk->notes[i].next = cache->free_set;
		cache->free_set = from + i + 1;
	}
	return (true);
}

static void
sets_fini(struct lisp_mapcache *cache)
{
	uint32_t i;

	for (i = 0; i < cache->nset_chunks * SET_CHUNK; i++)
		if (set_at(cache, i)->references != 0 && set_at(cache, i)->nlocators > FEW)
			lisp_free(set_at(cache, i)->many);
	for (i = 0; i < cache->nset_chunks; i++)
		lisp_free(cache->set_chunks[i]->memory);
	lisp_free(cache->set_chunks);
	cache->set_chunks = NULL;
	cache->nset_chunks = cache->set_chunks_room = 0;
	cache->free_set = 0;
}

/* A set of these contents with one reference more, or NULL. */
static struct locator_set *
set_take(struct lisp_mapcache *cache, const struct lisp_mapping *mapping)
{
	uint32_t number, hash = set_hash(mapping);
	size_t size = mapping->nlocators * sizeof(mapping->locators[0]);
	struct lisp_locator *many = NULL;
	struct locator_set *set;
	uint32_t *chain;

	for (number = cache->set_chains[hash & (cache->nset_chains - 1)]; number != 0; number = note_at(cache, number - 1)->next) {
		set = set_at(cache, number - 1);
		if (note_at(cache, number - 1)->hash == hash && set_is(set, mapping)) {
			set->references++;
			return (set);
		}
	}
	if (mapping->nlocators > FEW) {
		if ((many = lisp_alloc(size)) == NULL)
			return (NULL);
		memcpy(many, mapping->locators, size);
	}
	if (cache->free_set == 0 && !sets_grow(cache)) {
		lisp_free(many);
		return (NULL);
	}
	number = cache->free_set;
	cache->free_set = note_at(cache, number - 1)->next;
	set = set_at(cache, number - 1);
	set->references = 1;
	set->number = number - 1;
	set->iid = mapping->iid;
	set->action = mapping->action;
	set->nlocators = mapping->nlocators;
	if (many != NULL) {
		set->many = many;
		cache->set_octets += size;
	} else
		memcpy(set->few, mapping->locators, size);
	if (cache->nsets >= cache->nset_chains)
		set_chains_grow(cache);
	chain = &cache->set_chains[hash & (cache->nset_chains - 1)];
	note_at(cache, number - 1)->hash = hash;
	note_at(cache, number - 1)->next = *chain;
	*chain = number;
	cache->nsets++;
	return (set);
}

static void
set_give(struct lisp_mapcache *cache, struct locator_set *set)
{
	struct set_note *note = note_at(cache, set->number);
	uint32_t *link = &cache->set_chains[note->hash & (cache->nset_chains - 1)];

	if (--set->references != 0)
		return;
	while (*link != set->number + 1)
		link = &note_at(cache, *link - 1)->next;
	*link = note->next;
	note->next = cache->free_set;
	cache->free_set = set->number + 1;
	cache->nsets--;
	if (set->nlocators > FEW) {
		cache->set_octets -= set->nlocators * sizeof(set->many[0]);
		lisp_free(set->many);
	}
	if (cache->nsets == 0)
		sets_fini(cache);
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
	cache->set_chains = lisp_alloc(CHAINS_MIN * sizeof(cache->set_chains[0]));
	if (cache->lpm == NULL || cache->chunks == NULL || cache->chains == NULL || cache->set_chains == NULL) {
		lisp_mapcache_free(cache);
		return (NULL);
	}
	return (cache);
}

void
lisp_mapcache_free(struct lisp_mapcache *cache)
{
	uint32_t i;

	if (cache == NULL)
		return;
	for (i = 0; i < cache->used; i += CHUNK)
		lisp_free(cache->chunks[i / CHUNK]);
	sets_fini(cache);
	lisp_free(cache->set_chains);
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
	    cache->nset_chains * sizeof(cache->set_chains[0]) + cache->nset_chunks * (sizeof(struct set_chunk) + LINE) +
	    cache->set_chunks_room * sizeof(cache->set_chunks[0]) + (cache->max / CHUNK + 1) * sizeof(cache->chunks[0]));
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
	memcpy(out->locators, set_locators(entry->set), entry->set->nlocators * sizeof(out->locators[0]));
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

static inline int
peek_set(struct locator_set *set, uint8_t *action, const struct lisp_locator **locators, unsigned *count)
{
	*action = set->action;
	*locators = set_locators(set);
	*count = set->nlocators;
	return (0);
}

/* Apart, so that the way past it has nothing to save. */
static __attribute__((noinline)) int
peek_tree(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr, uint8_t *action,
    const struct lisp_locator **locators, unsigned *count)
{
	struct locator_set *set = lisp_lpm_lookup(cache->lpm, iid, addr);

	return (set == NULL ? ENOENT : peek_set(set, action, locators, count));
}

int
lisp_mapcache_peek(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr, uint8_t *action,
    const struct lisp_locator **locators, unsigned *count)
{
	uint32_t number = lisp_index_lookup(addr->af == LISP_AF_V4 ? &cache->v4 : &cache->v6, iid, addr);

	if (number != LISP_INDEX_NONE && set_at(cache, number)->iid == iid)
		return (peek_set(set_at(cache, number), action, locators, count));
	return (peek_tree(cache, iid, addr, action, locators, count));
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
	uint32_t i, j, changed = 0;

	for (i = 0; i < cache->nset_chunks * SET_CHUNK; i++) {
		struct locator_set *set = set_at(cache, i);

		for (j = 0; set->references != 0 && j < set->nlocators; j++) {
			struct lisp_locator *locator = &set_locators(set)[j];

			if (locator->up != up && lisp_addr_equal(&locator->rloc, rloc)) {
				locator->up = up;
				changed += set->references;
			}
		}
	}
	return (changed);
}
