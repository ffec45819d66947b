/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp_reassembly.h"

void
mptcp_reassembly_init(struct mptcp_reassembly *queue, uint64_t next, uint64_t edge, uint32_t chunks_max, uint32_t seed)
{
	memset(queue, 0, sizeof(*queue));
	queue->next = next;
	queue->edge = mptcp_dsn_before(edge, next) ? next : edge;
	queue->chunks_max = chunks_max;
	queue->random = seed | 1;	/* xorshift stays at 0 for ever */
}

void
mptcp_reassembly_set_edge(struct mptcp_reassembly *queue, uint64_t edge)
{
	if (mptcp_dsn_after(edge, queue->edge))
		queue->edge = edge;
}

static uint64_t
end_of(const struct mptcp_chunk *chunk)
{
	return (chunk->dsn + chunk->length);
}

/* The last chunk that begins at or before `dsn`. */
static struct mptcp_chunk *
at_or_before(const struct mptcp_reassembly *queue, uint64_t dsn)
{
	struct mptcp_chunk *chunk = queue->root, *found = NULL;

	while (chunk != NULL) {
		if (mptcp_dsn_after(chunk->dsn, dsn))
			chunk = chunk->left;
		else {
			found = chunk;
			chunk = chunk->right;
		}
	}
	return (found);
}

bool
mptcp_reassembly_next_piece(struct mptcp_reassembly *queue, struct mptcp_arrival *arrival, struct mptcp_piece *piece)
{
	const struct mptcp_chunk *before, *after;
	uint64_t begin, end, stop;

	while (arrival->offset < arrival->length) {
		begin = arrival->dsn + arrival->offset;
		end = arrival->dsn + arrival->length;
		if (!mptcp_dsn_before(begin, queue->edge)) {
			arrival->beyond += (uint32_t)(end - begin);
			break;
		}
		stop = end;
		before = NULL;
		if (mptcp_dsn_before(begin, queue->next)) {
			if (mptcp_dsn_before(queue->next, stop))
				stop = queue->next;
		} else {
			before = at_or_before(queue, begin);
			after = before != NULL ? before->next : queue->first;
			if (before != NULL && !mptcp_dsn_before(begin, end_of(before)))
				before = NULL;
			if (before != NULL) {
				if (mptcp_dsn_before(end_of(before), stop))
					stop = end_of(before);
			} else {
				if (after != NULL && mptcp_dsn_before(after->dsn, stop))
					stop = after->dsn;
				if (mptcp_dsn_before(queue->edge, stop))
					stop = queue->edge;
				piece->offset = arrival->offset;
				piece->length = (uint32_t)(stop - begin);
				piece->dsn = begin;
				piece->in_order = begin == queue->next;
				arrival->offset += piece->length;
				return (true);
			}
		}
		arrival->duplicate += (uint32_t)(stop - begin);
		arrival->offset += (uint32_t)(stop - begin);
	}
	arrival->offset = arrival->length;
	return (false);
}

void
mptcp_reassembly_delivered(struct mptcp_reassembly *queue, uint32_t length)
{
	queue->next += length;
	LISP_ASSERT(queue->first == NULL || !mptcp_dsn_after(queue->next, queue->first->dsn));
}

struct mptcp_chunk *
mptcp_reassembly_before(const struct mptcp_reassembly *queue, uint64_t dsn)
{
	struct mptcp_chunk *chunk = at_or_before(queue, dsn);

	return (chunk != NULL && end_of(chunk) == dsn ? chunk : NULL);
}

void
mptcp_reassembly_extend(struct mptcp_reassembly *queue, struct mptcp_chunk *chunk, uint32_t length)
{
	LISP_ASSERT(chunk->length <= UINT32_MAX - length);
	chunk->length += length;
	queue->octets += length;
	LISP_ASSERT(chunk->next == NULL || !mptcp_dsn_after(end_of(chunk), chunk->next->dsn));
}

static uint32_t
next_random(struct mptcp_reassembly *queue)
{
	uint32_t x = queue->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return (queue->random = x);
}

bool
mptcp_reassembly_hold(struct mptcp_reassembly *queue, struct mptcp_chunk *chunk)
{
	struct mptcp_chunk **link = &queue->root, **left, **right, *below;

	if (queue->chunks >= queue->chunks_max)
		return (false);
	chunk->priority = next_random(queue);
	chunk->previous = NULL;
	chunk->next = queue->first;
	/* Down to where the chunk belongs by priority ... */
	while ((below = *link) != NULL && below->priority >= chunk->priority) {
		if (mptcp_dsn_after(below->dsn, chunk->dsn))
			link = &below->left;
		else {
			chunk->previous = below;
			link = &below->right;
		}
	}
	/* ... and what was there is split into those before and those after. */
	*link = chunk;
	left = &chunk->left;
	right = &chunk->right;
	while (below != NULL) {
		if (mptcp_dsn_after(below->dsn, chunk->dsn)) {
			*right = below;
			right = &below->left;
			below = below->left;
		} else {
			chunk->previous = below;
			*left = below;
			left = &below->right;
			below = below->right;
		}
	}
	*left = *right = NULL;
	if (chunk->previous != NULL) {
		chunk->next = chunk->previous->next;
		chunk->previous->next = chunk;
	} else
		queue->first = chunk;
	if (chunk->next != NULL)
		chunk->next->previous = chunk;
	else
		queue->last = chunk;
	LISP_ASSERT(chunk->previous == NULL || !mptcp_dsn_after(end_of(chunk->previous), chunk->dsn));
	LISP_ASSERT(chunk->next == NULL || !mptcp_dsn_after(end_of(chunk), chunk->next->dsn));
	queue->chunks++;
	queue->octets += chunk->length;
	return (true);
}

/* The first one is the leftmost in the treap, so only its right side has to be hung up one higher. */
static struct mptcp_chunk *
take_first(struct mptcp_reassembly *queue)
{
	struct mptcp_chunk *chunk = queue->first, **link = &queue->root;

	if (chunk == NULL)
		return (NULL);
	while (*link != chunk)
		link = &(*link)->left;
	*link = chunk->right;
	queue->first = chunk->next;
	if (queue->first != NULL)
		queue->first->previous = NULL;
	else
		queue->last = NULL;
	queue->chunks--;
	queue->octets -= chunk->length;
	chunk->left = chunk->right = chunk->previous = chunk->next = NULL;
	return (chunk);
}

struct mptcp_chunk *
mptcp_reassembly_pull(struct mptcp_reassembly *queue)
{
	struct mptcp_chunk *chunk;

	if (queue->first == NULL || queue->first->dsn != queue->next)
		return (NULL);
	chunk = take_first(queue);
	queue->next = end_of(chunk);
	return (chunk);
}

struct mptcp_chunk *
mptcp_reassembly_take_any(struct mptcp_reassembly *queue)
{
	return (take_first(queue));
}
