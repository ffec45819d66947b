/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp_map.h"

static struct mptcp_mapping *
slot(const struct mptcp_map *map, uint32_t i)
{
	return (&map->slots[(map->first + i) & (map->capacity - 1)]);
}

static uint32_t
end_of(const struct mptcp_mapping *mapping)
{
	return (mapping->ssn + mapping->length);
}

void
mptcp_map_init(struct mptcp_map *map, struct mptcp_mapping *slots, uint32_t capacity, uint32_t base)
{
	LISP_ASSERT(capacity != 0 && (capacity & (capacity - 1)) == 0);
	memset(map, 0, sizeof(*map));
	map->slots = slots;
	map->capacity = capacity;
	map->base = base;
}

void
mptcp_map_resize(struct mptcp_map *map, struct mptcp_mapping *slots, uint32_t capacity)
{
	uint32_t i;

	LISP_ASSERT((capacity & (capacity - 1)) == 0 && capacity >= map->count && capacity != 0);
	for (i = 0; i < map->count; i++)
		slots[i] = *slot(map, i);
	map->slots = slots;
	map->capacity = capacity;
	map->first = 0;
}

/* The first mapping that ends behind `ssn`; count when there is none. */
static uint32_t
search(const struct mptcp_map *map, uint32_t ssn)
{
	uint32_t low = 0, high = map->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (mptcp_ssn_before(ssn, end_of(slot(map, middle))))
			high = middle;
		else
			low = middle + 1;
	}
	return (low);
}

static void
insert(struct mptcp_map *map, uint32_t at, const struct mptcp_mapping *mapping)
{
	uint32_t i;

	LISP_ASSERT(map->count < map->capacity && at <= map->count);
	for (i = map->count; i > at; i--)
		*slot(map, i) = *slot(map, i - 1);
	*slot(map, at) = *mapping;
	map->count++;
}

/* Adds what of `mapping` no other covers and returns in how many pieces; `dry`: only counts them. */
static uint32_t
fill_gaps(struct mptcp_map *map, const struct mptcp_mapping *mapping, bool dry)
{
	uint32_t begin = mapping->ssn, end = end_of(mapping), at = search(map, begin), stop, pieces = 0;
	const struct mptcp_mapping *next;
	struct mptcp_mapping piece;

	while (begin != end) {
		next = at < map->count ? slot(map, at) : NULL;
		if (next != NULL && !mptcp_ssn_before(begin, next->ssn)) {
			begin = mptcp_ssn_before(end_of(next), end) ? end_of(next) : end;
			at++;
			continue;
		}
		stop = next != NULL && mptcp_ssn_before(next->ssn, end) ? next->ssn : end;
		pieces++;
		if (!dry) {
			piece = *mapping;
			piece.ssn = begin;
			piece.dsn += begin - mapping->ssn;
			piece.length = stop - begin;
			piece.data_fin = mapping->data_fin && stop == end;
			insert(map, at++, &piece);
		}
		begin = stop;
	}
	return (pieces);
}

/* Whether both say the same of every octet. Subflow sequence numbers wrap, so their difference is what counts. */
static bool
agree(uint64_t dsn, uint32_t ssn, uint64_t other_dsn, uint32_t other_ssn)
{
	return (dsn - other_dsn == (uint64_t)(int64_t)(int32_t)(ssn - other_ssn));
}

enum mptcp_map_verdict
mptcp_map_add(struct mptcp_map *map, const struct mptcp_mapping *mapping, uint32_t edge)
{
	struct mptcp_mapping rest = *mapping;
	const struct mptcp_mapping *have;
	uint32_t at, pieces, end = end_of(mapping);

	LISP_ASSERT(mapping->length != 0);
	if (!mptcp_ssn_before(map->base, end))
		return (MPTCP_MAP_OLD);
	if (mptcp_ssn_before(edge, end))
		return (MPTCP_MAP_OUTSIDE);
	if (map->infinite && mptcp_ssn_before(map->infinite_ssn, end))
		return (agree(mapping->dsn, mapping->ssn, map->infinite_dsn, map->infinite_ssn) ? MPTCP_MAP_DUPLICATE : MPTCP_MAP_CONFLICT);
	/* First whether anything contradicts it, then the change: nothing is added by halves. */
	for (at = search(map, mapping->ssn); at < map->count && mptcp_ssn_before(slot(map, at)->ssn, end); at++) {
		have = slot(map, at);
		if (!agree(have->dsn, have->ssn, mapping->dsn, mapping->ssn))
			return (MPTCP_MAP_CONFLICT);
		if (!have->has_checksum && !mapping->has_checksum)
			continue;
		/* A checksum covers a whole mapping and no part of one. */
		return (have->ssn == mapping->ssn && have->length == mapping->length && have->data_fin == mapping->data_fin &&
		    have->has_checksum == mapping->has_checksum && have->checksum == mapping->checksum ? MPTCP_MAP_DUPLICATE :
		    MPTCP_MAP_CONFLICT);
	}
	rest.seen = rest.sum = 0;
	if (mptcp_ssn_before(rest.ssn, map->base)) {
		if (rest.has_checksum)
			return (MPTCP_MAP_CONFLICT);
		rest.dsn += map->base - rest.ssn;
		rest.length -= map->base - rest.ssn;
		rest.ssn = map->base;
	}
	pieces = fill_gaps(map, &rest, true);
	if (pieces == 0)
		return (MPTCP_MAP_DUPLICATE);
	if (pieces > map->capacity - map->count)
		return (MPTCP_MAP_FULL);
	(void)fill_gaps(map, &rest, false);
	return (MPTCP_MAP_ADDED);
}

bool
mptcp_map_set_infinite(struct mptcp_map *map, uint32_t ssn, uint64_t dsn)
{
	if (map->infinite && !agree(dsn, ssn, map->infinite_dsn, map->infinite_ssn))
		return (false);
	if (map->infinite && !mptcp_ssn_before(ssn, map->infinite_ssn))
		return (true);
	while (map->count > 0 && !mptcp_ssn_before(slot(map, map->count - 1)->ssn, ssn))
		map->count--;
	if (map->count > 0 && mptcp_ssn_before(ssn, end_of(slot(map, map->count - 1))))
		slot(map, map->count - 1)->length = ssn - slot(map, map->count - 1)->ssn;
	map->infinite = true;
	map->infinite_ssn = ssn;
	map->infinite_dsn = dsn;
	return (true);
}

struct mptcp_mapping *
mptcp_map_find(const struct mptcp_map *map, uint32_t ssn, uint64_t *dsn, uint32_t *left, bool *infinite)
{
	struct mptcp_mapping *found;
	uint32_t at;

	*infinite = map->infinite && !mptcp_ssn_before(ssn, map->infinite_ssn);
	if (*infinite) {
		*dsn = map->infinite_dsn + (ssn - map->infinite_ssn);
		*left = UINT32_MAX;
		return (NULL);
	}
	*dsn = 0;
	at = search(map, ssn);
	if (at == map->count) {
		*left = map->infinite ? map->infinite_ssn - ssn : UINT32_MAX;
		return (NULL);
	}
	found = slot(map, at);
	if (mptcp_ssn_before(ssn, found->ssn)) {
		*left = found->ssn - ssn;
		return (NULL);
	}
	*dsn = found->dsn + (ssn - found->ssn);
	*left = end_of(found) - ssn;
	return (found);
}

#define	RUN_STEPS	64

uint32_t
mptcp_map_run(const struct mptcp_map *map, uint32_t ssn, uint32_t length, uint64_t *dsn)
{
	const struct mptcp_mapping *have;
	uint32_t at = search(map, ssn), steps, run = 0;

	*dsn = 0;
	for (steps = 0; at < map->count && run < length && steps < RUN_STEPS; at++, steps++) {
		have = slot(map, at);
		if (mptcp_ssn_before(ssn + run, have->ssn))
			break;
		if (run == 0)
			*dsn = have->dsn + (ssn - have->ssn);
		else if (have->dsn != *dsn + run)
			break;
		run = end_of(have) - ssn;
	}
	return (run < length ? run : length);
}

bool
mptcp_map_extend(struct mptcp_map *map, uint32_t told, const struct mptcp_mapping *more, uint32_t most)
{
	struct mptcp_mapping *last;

	if (map->count == 0 || map->infinite)
		return (false);
	last = slot(map, map->count - 1);
	if (mptcp_ssn_before(last->ssn, told) || end_of(last) != more->ssn || last->dsn + last->length != more->dsn ||
	    last->data_fin || last->has_checksum || more->has_checksum || more->length > most || last->length > most - more->length)
		return (false);
	last->length += more->length;
	return (true);
}

void
mptcp_map_advance(struct mptcp_map *map, uint32_t ssn)
{
	if (!mptcp_ssn_before(map->base, ssn))
		return;
	map->base = ssn;
	/* What is compared with it must stay within 2 GiB. */
	if (map->infinite && mptcp_ssn_before(map->infinite_ssn, ssn)) {
		map->infinite_dsn += ssn - map->infinite_ssn;
		map->infinite_ssn = ssn;
	}
	while (map->count > 0 && !mptcp_ssn_before(ssn, end_of(slot(map, 0)))) {
		map->first = (map->first + 1) & (map->capacity - 1);
		map->count--;
	}
}

bool
mptcp_map_from_dss(const struct mptcp_dss *dss, uint64_t near, struct mptcp_mapping *mapping)
{
	memset(mapping, 0, sizeof(*mapping));
	if (!dss->has_map || dss->length <= (dss->data_fin ? 1 : 0))
		return (false);
	mapping->dsn = dss->dsn_64 ? dss->dsn : mptcp_dsn_expand((uint32_t)dss->dsn, near);
	mapping->ssn = dss->ssn;
	mapping->length = (uint32_t)dss->length - (dss->data_fin ? 1 : 0);
	mapping->data_fin = dss->data_fin;
	mapping->has_checksum = dss->has_checksum;
	mapping->checksum = dss->checksum;
	return (true);
}

/* Ones' complement sums may be folded whenever there is room for the carries. */
static uint32_t
fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return ((uint32_t)sum);
}

uint32_t
mptcp_checksum_add(uint32_t sum, uint32_t offset, const uint8_t *data, size_t length)
{
	uint64_t total = sum;
	size_t i = 0;

	if (length > 0 && (offset & 1) != 0)
		total += data[i++];
	for (; i + 1 < length; i += 2)
		total += lisp_get16(data + i);
	if (i < length)
		total += (uint32_t)data[i] << 8;
	return (fold(total));
}

uint16_t
mptcp_checksum_finish(uint32_t sum, uint64_t dsn, uint32_t ssn, uint16_t length)
{
	return ((uint16_t)~fold((uint64_t)sum + fold(dsn >> 32) + fold(dsn & UINT32_MAX) + fold(ssn) + length));
}

bool
mptcp_mapping_take(struct mptcp_mapping *mapping, const uint8_t *data, size_t length, bool *good)
{
	LISP_ASSERT(length <= mapping->length - mapping->seen);
	if (mapping->has_checksum)
		mapping->sum = mptcp_checksum_add(mapping->sum, mapping->seen, data, length);
	mapping->seen += (uint32_t)length;
	*good = true;
	if (mapping->seen < mapping->length)
		return (false);
	if (mapping->has_checksum)
		*good = mptcp_checksum_finish(mapping->sum, mapping->dsn, mapping->ssn,
		    (uint16_t)(mapping->length + (mapping->data_fin ? 1 : 0))) == mapping->checksum;
	return (true);
}
