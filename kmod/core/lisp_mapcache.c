/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries are of the size their locators need, found through the LPM tree, and each has a slot number for as long as it is
 * there, which is what makes a walk across dropped locks possible. Slots come in chunks, so that growing moves nothing.
 */
#include "lisp_mapcache.h"
#include "lisp_lpm.h"

#define	CHUNK	1024u

struct entry {
	struct lisp_prefix	eid;
	uint32_t		iid;
	uint32_t		slot;
	uint8_t			action;
	uint8_t			nlocators;
	struct lisp_locator	locators[];
};

union slot {
	struct entry	*entry;
	uintptr_t	next_free;	/* odd: (number of the next free slot + 1) * 2 + 1 */
};

struct lisp_mapcache {
	struct lisp_lpm	*lpm;
	union slot	**chunks;
	uint32_t	max;
	uint32_t	count;
	uint32_t	used;		/* slots ever used */
	uint32_t	free;		/* first free slot + 1; 0: none */
};

static inline union slot *
slot_at(const struct lisp_mapcache *cache, uint32_t number)
{
	return (&cache->chunks[number / CHUNK][number % CHUNK]);
}

static inline struct entry *
entry_at(const struct lisp_mapcache *cache, uint32_t number)
{
	union slot slot = *slot_at(cache, number);

	return (slot.next_free & 1 ? NULL : slot.entry);
}

struct lisp_mapcache *
lisp_mapcache_new(uint32_t max_entries)
{
	struct lisp_mapcache *cache = lisp_alloc(sizeof(*cache));

	if (cache == NULL)
		return (NULL);
	cache->max = max_entries;
	cache->lpm = lisp_lpm_new();
	cache->chunks = lisp_alloc(((size_t)max_entries / CHUNK + 1) * sizeof(cache->chunks[0]));
	if (cache->lpm == NULL || cache->chunks == NULL) {
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
	for (i = 0; i < cache->used; i++)
		lisp_free(entry_at(cache, i));
	for (i = 0; i < cache->used; i += CHUNK)
		lisp_free(cache->chunks[i / CHUNK]);
	lisp_free(cache->chunks);
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
	size_t total = sizeof(*cache) + lisp_lpm_memory(cache->lpm);
	uint32_t i;

	for (i = 0; i < cache->used; i++) {
		const struct entry *entry = entry_at(cache, i);

		if (i % CHUNK == 0)
			total += CHUNK * sizeof(union slot);
		if (entry != NULL)
			total += sizeof(*entry) + entry->nlocators * sizeof(entry->locators[0]);
	}
	return (total);
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
	out->action = entry->action;
	out->nlocators = entry->nlocators;
	memcpy(out->locators, entry->locators, entry->nlocators * sizeof(out->locators[0]));
}

static int
slot_take(struct lisp_mapcache *cache, uint32_t *number)
{
	if (cache->free != 0) {
		*number = cache->free - 1;
		cache->free = (uint32_t)(slot_at(cache, *number)->next_free >> 1);
		return (0);
	}
	if (cache->used % CHUNK == 0) {
		union slot *chunk = lisp_alloc(CHUNK * sizeof(*chunk));

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
	uint32_t i;

	slot_at(cache, number)->next_free = ((uintptr_t)cache->free << 1) | 1;
	cache->free = number + 1;
	/* The last mapping gone: give the memory back, so that a flush leaves things as they were. */
	if (cache->count == 0) {
		for (i = 0; i < cache->used; i += CHUNK)
			lisp_free(cache->chunks[i / CHUNK]);
		cache->used = 0;
		cache->free = 0;
	}
}

int
lisp_mapcache_set(struct lisp_mapcache *cache, const struct lisp_mapping *mapping)
{
	struct entry *entry, *same;
	void *old;
	int error;

	if ((error = lisp_mapping_check(mapping)) != 0)
		return (error);
	same = lisp_lpm_exact(cache->lpm, mapping->iid, &mapping->eid);
	if (same == NULL && cache->count >= cache->max)
		return (ENOSPC);
	entry = lisp_alloc(sizeof(*entry) + mapping->nlocators * sizeof(entry->locators[0]));
	if (entry == NULL)
		return (ENOMEM);
	entry->eid = mapping->eid;
	entry->iid = mapping->iid;
	entry->action = mapping->action;
	entry->nlocators = mapping->nlocators;
	memcpy(entry->locators, mapping->locators, mapping->nlocators * sizeof(entry->locators[0]));
	if (same != NULL)
		entry->slot = same->slot;
	else if ((error = slot_take(cache, &entry->slot)) != 0) {
		lisp_free(entry);
		return (error);
	}
	if ((error = lisp_lpm_set(cache->lpm, mapping->iid, &mapping->eid, entry, &old)) != 0) {
		/* Only an addition can fail: a replacement finds its place made. */
		LISP_ASSERT(same == NULL);
		slot_give(cache, entry->slot);
		lisp_free(entry);
		return (error);
	}
	LISP_ASSERT(old == same);
	slot_at(cache, entry->slot)->entry = entry;
	if (same == NULL)
		cache->count++;
	lisp_free(same);
	return (0);
}

int
lisp_mapcache_delete(struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid)
{
	struct entry *entry = lisp_lpm_remove(cache->lpm, iid, eid);

	if (entry == NULL)
		return (ENOENT);
	cache->count--;
	slot_give(cache, entry->slot);
	lisp_free(entry);
	return (0);
}

int
lisp_mapcache_get(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid, struct lisp_mapping *out)
{
	const struct entry *entry = lisp_lpm_exact(cache->lpm, iid, eid);

	if (entry == NULL)
		return (ENOENT);
	copy_out(entry, out);
	return (0);
}

int
lisp_mapcache_lookup(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr,
    struct lisp_mapping *out)
{
	const struct entry *entry = lisp_lpm_lookup(cache->lpm, iid, addr);

	if (entry == NULL)
		return (ENOENT);
	copy_out(entry, out);
	return (0);
}

int
lisp_mapcache_peek(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr, uint8_t *action,
    const struct lisp_locator **locators, unsigned *count)
{
	const struct entry *entry = lisp_lpm_lookup(cache->lpm, iid, addr);

	if (entry == NULL)
		return (ENOENT);
	*action = entry->action;
	*locators = entry->locators;
	*count = entry->nlocators;
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
	uint32_t i, j, changed = 0;

	for (i = 0; i < cache->used; i++) {
		struct entry *entry = entry_at(cache, i);

		if (entry == NULL)
			continue;
		for (j = 0; j < entry->nlocators; j++) {
			struct lisp_locator *locator = &entry->locators[j];

			if (locator->up != up && lisp_addr_equal(&locator->rloc, rloc)) {
				locator->up = up;
				changed++;
			}
		}
	}
	return (changed);
}
