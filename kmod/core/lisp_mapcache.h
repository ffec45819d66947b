/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map-cache: EID prefix and instance-id -> locator set, or an action when the set is empty (RFC 9301 section 5.4).
 */
#ifndef LISP_MAPCACHE_H
#define LISP_MAPCACHE_H

#include "lisp_types.h"

#define	LISP_PRIORITY_UNUSED	255	/* 'must not be used', RFC 9300 section 9 */

/* Numbers of RFC 9301 section 5.4. */
enum lisp_action {
	LISP_ACTION_NONE = 0,			/* drop */
	LISP_ACTION_NATIVE = 1,
	LISP_ACTION_SEND_MAP_REQUEST = 2,	/* as if there were no mapping */
	LISP_ACTION_DROP = 3,
	LISP_ACTION_DROP_POLICY = 4,
	LISP_ACTION_DROP_AUTH = 5,
	LISP_ACTION_COUNT
};

struct lisp_locator {
	struct lisp_addr	rloc;
	uint8_t			priority;
	uint8_t			weight;
	bool			up;	/* the R bit, or what probing says of the locator as such; single paths: lisp_paths.h */
	uint8_t			zero;
};

struct lisp_mapping {
	struct lisp_prefix	eid;
	uint32_t		iid;
	uint8_t			action;		/* enum lisp_action; counts when nlocators is 0 */
	uint8_t			nlocators;
	uint8_t			zero[2];
	struct lisp_locator	locators[LISP_MAX_LOCATORS];
};

struct lisp_mapcache;

struct lisp_mapcache *lisp_mapcache_new(uint32_t max_entries);
void	lisp_mapcache_free(struct lisp_mapcache *cache);
uint32_t lisp_mapcache_count(const struct lisp_mapcache *cache);
size_t	lisp_mapcache_memory(const struct lisp_mapcache *cache);
/* 0 or EINVAL: prefix with stray bits, iid, action, number of locators, locator that is not unicast. */
int	lisp_mapping_check(const struct lisp_mapping *mapping);
/* Adds, or replaces the mapping of exactly this prefix. 0, EINVAL, ENOSPC, ENOMEM: on an error nothing has changed. */
int	lisp_mapcache_set(struct lisp_mapcache *cache, const struct lisp_mapping *mapping);
/* ENOENT when there is none of exactly this prefix. */
int	lisp_mapcache_delete(struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid);
int	lisp_mapcache_get(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_prefix *eid,
	    struct lisp_mapping *out);
/* Longest match. ENOENT on a miss. */
int	lisp_mapcache_lookup(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr,
	    struct lisp_mapping *out);
/*
 * Longest match without the copy, for the packet path: valid only while the caller holds the lock.
 * `*locators` points at the mapping's `*count` locators.
 */
int	lisp_mapcache_peek(const struct lisp_mapcache *cache, uint32_t iid, const struct lisp_addr *addr,
	    uint8_t *action, const struct lisp_locator **locators, unsigned *count);
/*
 * Walks all mappings, also across calls between which the lock was dropped: start with *cursor 0, stop at ENOENT. What is
 * there during the whole walk is seen exactly once.
 */
int	lisp_mapcache_next(const struct lisp_mapcache *cache, uint32_t *cursor, struct lisp_mapping *out);
/* Removes all (iid above LISP_IID_MAX) or those of one instance; returns how many. */
uint32_t lisp_mapcache_flush(struct lisp_mapcache *cache, uint32_t iid);
/* The locator in every mapping that has it; returns how many changed. */
uint32_t lisp_mapcache_set_locator_state(struct lisp_mapcache *cache, const struct lisp_addr *rloc, bool up);

#endif /* LISP_MAPCACHE_H */
