/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_paths.h"

#define	CHUNK	64u

struct slot {
	struct lisp_path	path;
	uint32_t		next;	/* number + 1 in the chain */
	uint32_t		mtu;
	bool			down;
	uint64_t		lowered_ms;
	uint64_t		packets_sent;
	uint64_t		bytes_sent;
	uint64_t		packets_received;
	uint64_t		bytes_received;
	uint64_t		last_received_ms;
};

struct lisp_paths {
	struct slot	**chunks;
	uint32_t	*chains;
	uint32_t	nchains;	/* a power of two */
	uint32_t	max;
	uint32_t	used;
	uint32_t	ndown;
	uint32_t	nlowered;
	uint32_t	seed;
};

static inline struct slot *
slot_at(const struct lisp_paths *paths, uint32_t number)
{
	return (&paths->chunks[number / CHUNK][number % CHUNK]);
}

struct lisp_paths *
lisp_paths_new(uint32_t max_paths, uint32_t seed)
{
	struct lisp_paths *paths = lisp_alloc(sizeof(*paths));

	if (paths == NULL)
		return (NULL);
	paths->max = max_paths;
	paths->seed = seed;
	for (paths->nchains = 16; paths->nchains < max_paths && paths->nchains < (1u << 16);)
		paths->nchains *= 2;
	paths->chains = lisp_alloc(paths->nchains * sizeof(paths->chains[0]));
	paths->chunks = lisp_alloc(((size_t)max_paths / CHUNK + 1) * sizeof(paths->chunks[0]));
	if (paths->chains == NULL || paths->chunks == NULL) {
		lisp_paths_free(paths);
		return (NULL);
	}
	return (paths);
}

void
lisp_paths_free(struct lisp_paths *paths)
{
	uint32_t i;

	if (paths == NULL)
		return;
	for (i = 0; i < paths->used; i += CHUNK)
		lisp_free(paths->chunks[i / CHUNK]);
	lisp_free(paths->chunks);
	lisp_free(paths->chains);
	lisp_free(paths);
}

uint32_t
lisp_paths_count(const struct lisp_paths *paths)
{
	return (paths->used);
}

static uint32_t
chain_of(const struct lisp_paths *paths, const struct lisp_path *path)
{
	uint32_t hash = lisp_hash_words(path->local.words, 4, paths->seed);

	return (lisp_hash_words(path->remote.words, 4, hash) & (paths->nchains - 1));
}

uint32_t
lisp_paths_find(const struct lisp_paths *paths, const struct lisp_path *path)
{
	uint32_t next = paths->chains[chain_of(paths, path)];

	while (next != 0) {
		const struct slot *slot = slot_at(paths, next - 1);

		if (lisp_path_equal(&slot->path, path))
			return (next - 1);
		next = slot->next;
	}
	return (LISP_PATH_NONE);
}

uint32_t
lisp_paths_add(struct lisp_paths *paths, const struct lisp_path *path)
{
	uint32_t *chain, number = lisp_paths_find(paths, path);
	struct slot *slot;

	if (number != LISP_PATH_NONE || paths->used >= paths->max)
		return (number);
	if (paths->used % CHUNK == 0) {
		struct slot *chunk = lisp_alloc(CHUNK * sizeof(*chunk));

		if (chunk == NULL)
			return (LISP_PATH_NONE);
		paths->chunks[paths->used / CHUNK] = chunk;
	}
	number = paths->used++;
	slot = slot_at(paths, number);
	slot->path = *path;
	chain = &paths->chains[chain_of(paths, path)];
	slot->next = *chain;
	*chain = number + 1;
	return (number);
}

int
lisp_paths_get(const struct lisp_paths *paths, uint32_t number, struct lisp_path_info *out)
{
	const struct slot *slot;

	if (number >= paths->used)
		return (ENOENT);
	slot = slot_at(paths, number);
	memset(out, 0, sizeof(*out));
	out->path = slot->path;
	out->up = !slot->down;
	out->mtu = (uint16_t)slot->mtu;
	out->packets_sent = lisp_load64(&slot->packets_sent);
	out->bytes_sent = lisp_load64(&slot->bytes_sent);
	out->packets_received = lisp_load64(&slot->packets_received);
	out->bytes_received = lisp_load64(&slot->bytes_received);
	out->last_received_ms = lisp_load64(&slot->last_received_ms);
	return (0);
}

int
lisp_paths_set_state(struct lisp_paths *paths, const struct lisp_path *path, bool up)
{
	uint32_t number = up ? lisp_paths_find(paths, path) : lisp_paths_add(paths, path);
	struct slot *slot;

	if (number == LISP_PATH_NONE)
		return (up ? 0 : ENOSPC);
	slot = slot_at(paths, number);
	if (slot->down == up) {
		slot->down = !up;
		if (up)
			paths->ndown--;
		else
			paths->ndown++;
	}
	return (0);
}

bool
lisp_paths_usable(const struct lisp_paths *paths, const struct lisp_path *path)
{
	uint32_t number;

	if (paths->ndown == 0)
		return (true);
	number = lisp_paths_find(paths, path);
	return (number == LISP_PATH_NONE || !slot_at(paths, number)->down);
}

bool
lisp_paths_lower_mtu(struct lisp_paths *paths, const struct lisp_path *path, uint16_t mtu, uint64_t now_ms)
{
	uint16_t least = path->remote.af == LISP_AF_V4 ? LISP_MTU_MIN_V4 : LISP_MTU_MIN_V6;
	uint32_t number = lisp_paths_add(paths, path);
	struct slot *slot;

	if (number == LISP_PATH_NONE)
		return (false);
	if (mtu < least)
		mtu = least;
	slot = slot_at(paths, number);
	if (slot->mtu != 0 && slot->mtu <= mtu)
		return (false);
	if (slot->mtu == 0)
		paths->nlowered++;
	slot->mtu = mtu;
	slot->lowered_ms = now_ms;
	return (true);
}

uint32_t
lisp_paths_age(struct lisp_paths *paths, uint64_t now_ms, uint64_t lifetime_ms)
{
	uint32_t i, aged = 0;

	if (paths->nlowered == 0)
		return (0);
	for (i = 0; i < paths->used; i++) {
		struct slot *slot = slot_at(paths, i);

		if (slot->mtu != 0 && now_ms >= slot->lowered_ms + lifetime_ms) {
			slot->mtu = 0;
			paths->nlowered--;
			aged++;
		}
	}
	return (aged);
}

uint16_t
lisp_paths_mtu(const struct lisp_paths *paths, uint32_t number)
{
	return (number < paths->used ? (uint16_t)slot_at(paths, number)->mtu : 0);
}

void
lisp_paths_sent(const struct lisp_paths *paths, uint32_t number, uint32_t packets, uint64_t bytes)
{
	if (number < paths->used) {
		lisp_add64(&slot_at(paths, number)->packets_sent, packets);
		lisp_add64(&slot_at(paths, number)->bytes_sent, bytes);
	}
}

void
lisp_paths_received(const struct lisp_paths *paths, uint32_t number, uint32_t packets, uint64_t bytes, uint64_t now_ms)
{
	if (number < paths->used) {
		struct slot *slot = slot_at(paths, number);

		lisp_add64(&slot->packets_received, packets);
		lisp_add64(&slot->bytes_received, bytes);
		if (lisp_load64(&slot->last_received_ms) != now_ms)
			lisp_store64(&slot->last_received_ms, now_ms);
	}
}
