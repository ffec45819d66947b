/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A chained hash table of numbers. Pins live in chunks that never move, so a walk is by number and survives changes; the
 * array of chains doubles when there are more pins than chains.
 */
#include "lisp_pins.h"

#define	CHUNK		256u
#define	CHAINS_MIN	64u
#define	EVICT_LOOK	8u	/* gleaned pins compared when room is needed */

struct slot {
	struct lisp_flow	flow;
	struct lisp_path	path;
	uint32_t		next;		/* number + 1 in the chain or the free list; 0: last */
	uint32_t		hash;
	uint32_t		used_ms;	/* low half of the clock when a gleaned pin was last used */
	uint8_t			kind;
};

enum { SLOT_FREE = 0, SLOT_STATIC, SLOT_GLEANED };

struct lisp_pins {
	struct slot	**chunks;
	uint32_t	*chains;	/* number + 1 of the first */
	uint32_t	nchains;	/* a power of two */
	uint32_t	used;		/* slots ever used */
	uint32_t	free;		/* number + 1 */
	uint32_t	counts[3];
	uint32_t	limits[3];
	uint32_t	seed;
	uint32_t	hand;		/* where ageing and eviction go on */
};

/* Threads read the clock before they take the lock, so a pin may have been used later than `now`. The low half of the clock wraps. */
static inline uint32_t
idle(const struct slot *slot, uint32_t now)
{
	uint32_t ms = now - lisp_load32(&slot->used_ms);

	return (ms < 0x80000000u ? ms : 0);
}

static inline struct slot *
slot_at(const struct lisp_pins *pins, uint32_t number)
{
	return (&pins->chunks[number / CHUNK][number % CHUNK]);
}

struct lisp_pins *
lisp_pins_new(uint32_t max_static, uint32_t max_gleaned, uint32_t seed)
{
	struct lisp_pins *pins = lisp_alloc(sizeof(*pins));

	if (pins == NULL)
		return (NULL);
	pins->limits[SLOT_STATIC] = max_static;
	pins->limits[SLOT_GLEANED] = max_gleaned;
	pins->seed = seed;
	pins->nchains = CHAINS_MIN;
	pins->chains = lisp_alloc(CHAINS_MIN * sizeof(pins->chains[0]));
	pins->chunks = lisp_alloc((((size_t)max_static + max_gleaned) / CHUNK + 1) * sizeof(pins->chunks[0]));
	if (pins->chains == NULL || pins->chunks == NULL) {
		lisp_pins_free(pins);
		return (NULL);
	}
	return (pins);
}

void
lisp_pins_free(struct lisp_pins *pins)
{
	uint32_t i;

	if (pins == NULL)
		return;
	for (i = 0; i < pins->used; i += CHUNK)
		lisp_free(pins->chunks[i / CHUNK]);
	lisp_free(pins->chunks);
	lisp_free(pins->chains);
	lisp_free(pins);
}

uint32_t
lisp_pins_count(const struct lisp_pins *pins, bool gleaned)
{
	return (pins->counts[gleaned ? SLOT_GLEANED : SLOT_STATIC]);
}

static struct slot *
find(const struct lisp_pins *pins, const struct lisp_flow *flow, uint32_t hash)
{
	uint32_t next = pins->chains[hash & (pins->nchains - 1)];

	while (next != 0) {
		struct slot *slot = slot_at(pins, next - 1);

		if (slot->hash == hash && lisp_flow_equal(&slot->flow, flow))
			return (slot);
		next = slot->next;
	}
	return (NULL);
}

/* Not growing is no error: chains get longer. */
static void
grow(struct lisp_pins *pins)
{
	uint32_t i, nchains = pins->nchains * 2;
	uint32_t *chains = lisp_alloc(nchains * sizeof(chains[0]));

	if (chains == NULL)
		return;
	for (i = 0; i < pins->used; i++) {
		struct slot *slot = slot_at(pins, i);

		if (slot->kind != SLOT_FREE) {
			uint32_t *chain = &chains[slot->hash & (nchains - 1)];

			slot->next = *chain;
			*chain = i + 1;
		}
	}
	lisp_free(pins->chains);
	pins->chains = chains;
	pins->nchains = nchains;
}

static int
add(struct lisp_pins *pins, const struct lisp_flow *flow, const struct lisp_path *path, uint32_t hash, uint8_t kind,
    uint32_t now)
{
	struct slot *slot;
	uint32_t *chain, number;

	if (pins->free != 0) {
		number = pins->free - 1;
		pins->free = slot_at(pins, number)->next;
	} else {
		if (pins->used % CHUNK == 0) {
			struct slot *chunk = lisp_alloc(CHUNK * sizeof(*chunk));

			if (chunk == NULL)
				return (ENOMEM);
			pins->chunks[pins->used / CHUNK] = chunk;
		}
		number = pins->used++;
	}
	if (pins->counts[SLOT_STATIC] + pins->counts[SLOT_GLEANED] >= pins->nchains)
		grow(pins);
	slot = slot_at(pins, number);
	slot->flow = *flow;
	slot->path = *path;
	slot->hash = hash;
	slot->kind = kind;
	slot->used_ms = now;
	chain = &pins->chains[hash & (pins->nchains - 1)];
	slot->next = *chain;
	*chain = number + 1;
	pins->counts[kind]++;
	return (0);
}

static void
drop(struct lisp_pins *pins, uint32_t number)
{
	struct slot *slot = slot_at(pins, number);
	uint32_t *link = &pins->chains[slot->hash & (pins->nchains - 1)];

	while (*link != number + 1) {
		LISP_ASSERT(*link != 0);
		link = &slot_at(pins, *link - 1)->next;
	}
	*link = slot->next;
	pins->counts[slot->kind]--;
	slot->kind = SLOT_FREE;
	slot->next = pins->free;
	pins->free = number + 1;
}

static bool
sane(const struct lisp_flow *flow, const struct lisp_path *path)
{
	return (flow->iid <= LISP_IID_MAX && lisp_addr_size(flow->src.af) != 0 && flow->src.af == flow->dst.af &&
	    lisp_addr_size(path->local.af) != 0 && path->local.af == path->remote.af &&
	    lisp_addr_is_unicast(&path->remote) && lisp_addr_is_unicast(&path->local));
}

int
lisp_pins_set(struct lisp_pins *pins, const struct lisp_flow *flow, const struct lisp_path *path)
{
	uint32_t hash = lisp_flow_hash(flow, pins->seed);
	struct slot *slot;

	if (!sane(flow, path))
		return (EINVAL);
	slot = find(pins, flow, hash);
	if ((slot == NULL || slot->kind != SLOT_STATIC) && pins->counts[SLOT_STATIC] >= pins->limits[SLOT_STATIC])
		return (ENOSPC);
	if (slot == NULL)
		return (add(pins, flow, path, hash, SLOT_STATIC, 0));
	pins->counts[slot->kind]--;
	slot->kind = SLOT_STATIC;
	pins->counts[SLOT_STATIC]++;
	slot->path = *path;
	return (0);
}

/* Gives up the gleaned pin that was idle longest among the next few. */
static void
evict(struct lisp_pins *pins, uint32_t now)
{
	uint32_t steps, seen = 0, victim = 0, longest = 0;

	for (steps = 0; steps < pins->used && seen < EVICT_LOOK; steps++) {
		const struct slot *slot;

		if (++pins->hand >= pins->used)
			pins->hand = 0;
		slot = slot_at(pins, pins->hand);
		if (slot->kind != SLOT_GLEANED)
			continue;
		if (seen++ == 0 || idle(slot, now) > longest) {
			victim = pins->hand;
			longest = idle(slot, now);
		}
	}
	if (seen != 0)
		drop(pins, victim);
}

int
lisp_pins_glean(struct lisp_pins *pins, const struct lisp_flow *flow, const struct lisp_path *path, uint64_t now_ms)
{
	uint32_t hash = lisp_flow_hash(flow, pins->seed), now = (uint32_t)now_ms;
	struct slot *slot;

	if (!sane(flow, path))
		return (EINVAL);
	slot = find(pins, flow, hash);
	if (slot != NULL) {
		if (slot->kind == SLOT_STATIC)
			return (EEXIST);
		lisp_store32(&slot->used_ms, now);
		if (lisp_path_equal(&slot->path, path))
			return (EALREADY);
		slot->path = *path;
		return (0);
	}
	if (pins->limits[SLOT_GLEANED] == 0)
		return (ENOSPC);
	if (pins->counts[SLOT_GLEANED] >= pins->limits[SLOT_GLEANED])
		evict(pins, now);
	return (add(pins, flow, path, hash, SLOT_GLEANED, now));
}

int
lisp_pins_delete(struct lisp_pins *pins, const struct lisp_flow *flow)
{
	uint32_t hash = lisp_flow_hash(flow, pins->seed);
	uint32_t next = pins->chains[hash & (pins->nchains - 1)];

	while (next != 0) {
		struct slot *slot = slot_at(pins, next - 1);

		if (slot->hash == hash && lisp_flow_equal(&slot->flow, flow)) {
			drop(pins, next - 1);
			return (0);
		}
		next = slot->next;
	}
	return (ENOENT);
}

bool
lisp_pins_lookup(const struct lisp_pins *pins, const struct lisp_flow *flow, uint64_t now_ms, struct lisp_path *path,
    bool *gleaned)
{
	struct slot *slot;

	if (pins->counts[SLOT_STATIC] + pins->counts[SLOT_GLEANED] == 0)
		return (false);
	slot = find(pins, flow, lisp_flow_hash(flow, pins->seed));
	if (slot == NULL)
		return (false);
	/* Written only when it changes, or every packet would take the cache line from the other threads. */
	if (lisp_load32(&slot->used_ms) != (uint32_t)now_ms)
		lisp_store32(&slot->used_ms, (uint32_t)now_ms);
	*path = slot->path;
	if (gleaned != NULL)
		*gleaned = slot->kind == SLOT_GLEANED;
	return (true);
}

uint32_t
lisp_pins_age(struct lisp_pins *pins, uint64_t now_ms, uint32_t max_idle_ms, uint32_t budget)
{
	uint32_t aged = 0, steps;

	for (steps = 0; steps < pins->used && steps < budget; steps++) {
		const struct slot *slot;

		if (++pins->hand >= pins->used)
			pins->hand = 0;
		slot = slot_at(pins, pins->hand);
		if (slot->kind == SLOT_GLEANED && idle(slot, (uint32_t)now_ms) >= max_idle_ms) {
			drop(pins, pins->hand);
			aged++;
		}
	}
	return (aged);
}

uint32_t
lisp_pins_forget_rloc(struct lisp_pins *pins, const struct lisp_addr *rloc)
{
	uint32_t i, forgotten = 0;

	for (i = 0; i < pins->used; i++) {
		const struct slot *slot = slot_at(pins, i);

		if (slot->kind == SLOT_GLEANED &&
		    (lisp_addr_equal(&slot->path.local, rloc) || lisp_addr_equal(&slot->path.remote, rloc))) {
			drop(pins, i);
			forgotten++;
		}
	}
	return (forgotten);
}

int
lisp_pins_next(const struct lisp_pins *pins, uint64_t *cursor, uint64_t now_ms, struct lisp_pin *out)
{
	while (*cursor < pins->used) {
		const struct slot *slot = slot_at(pins, (uint32_t)(*cursor)++);

		if (slot->kind == SLOT_FREE)
			continue;
		memset(out, 0, sizeof(*out));
		out->flow = slot->flow;
		out->path = slot->path;
		out->gleaned = slot->kind == SLOT_GLEANED;
		if (out->gleaned)
			out->idle_ms = idle(slot, (uint32_t)now_ms);
		return (0);
	}
	return (ENOENT);
}
