/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Map-cache lookups per second at 10, 1,000 and 100,000 prefixes, uniformly random destinations that all hit: the worst case for
 * the processor's caches. One JSON object on standard output; nanoseconds a lookup of the tree alone and of the whole decision
 * (locator by priority, weight and hash; MTU; recursion guard).
 *
 * What is measured is what a lookup touches, so destinations are computed: read from a table as large as the map-cache they would take
 * the caches from it. The sizes are measured by turns, and each one's best round counts: how much of a shared cache is ours changes
 * from second to second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <lisp_encap.h>

#define	LOOKUPS	(1u << 18)
#define	ROUNDS	20
#define	SIZES	3

static const uint32_t sizes[SIZES] = { 10, 1000, 100000 };

static double
now(void)
{
	struct timespec t;

	/* The thread's own time: other processes must not count. */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return ((double)t.tv_sec * 1e9 + (double)t.tv_nsec);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

static inline uint32_t
big_endian(uint32_t value)
{
	uint8_t octets[4];
	uint32_t result;

	lisp_put32(octets, value);
	memcpy(&result, octets, sizeof(result));
	return (result);
}

/* An address in the n-th prefix, n < 2^20; no prefix is within another one. `host` are its bits beyond the prefix. */
static inline struct lisp_addr
address(bool v6, uint32_t n, uint32_t host)
{
	struct lisp_addr addr;
	uint32_t place = n * 0x9e3779b1u & 0xfffff, more = n * 0x85ebca6bu;

	memset(&addr, 0, sizeof(addr));
	if (v6) {
		addr.af = LISP_AF_V6;
		addr.words[0] = big_endian(0x20010d00u | place >> 12);
		addr.words[1] = big_endian(place << 20 | more >> 12);
		addr.words[3] = host;
	} else {
		addr.af = LISP_AF_V4;
		/* A quarter of the address space, from 32.0.0.0. */
		addr.words[0] = big_endian(0x20000000u + (place << 10) + (host & 0xff));
	}
	return (addr);
}

static inline uint32_t
next(uint64_t *random, uint32_t below)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return ((uint32_t)((*random >> 32) * below >> 32));
}

static void
fill(struct lisp_tables *tables, bool v6, uint32_t prefixes)
{
	struct lisp_limits limits = { 200000, 1000, 1000, 64, 64 };
	struct lisp_addr local = lisp_addr_v4((const uint8_t *)"\xc6\x33\x64\2");
	uint32_t i, j;

	if (lisp_tables_init(tables, &limits, 1) != 0)
		abort();
	lisp_tables_set_rlocs(tables, &local, 1);
	for (i = 0; i < prefixes; i++) {
		struct lisp_mapping m;

		memset(&m, 0, sizeof(m));
		m.eid.addr = address(v6, i, 0);
		m.eid.len = (uint8_t)(v6 ? 48 + i % 3 * 8 : 22 + i % 3);
		lisp_prefix_mask(&m.eid);
		m.nlocators = 2;
		for (j = 0; j < 2; j++) {
			m.locators[j].rloc = lisp_addr_v4((const uint8_t *)"\xcb\2\0\0");
			/* A thousand sites, so a thousand locator sets. */
			m.locators[j].rloc.bytes[2] = (uint8_t)(i % 1000 % 250);
			m.locators[j].rloc.bytes[3] = (uint8_t)(2 + i % 1000 / 250 * 2 + j);
			m.locators[j].priority = 1;
			m.locators[j].weight = 50;
			m.locators[j].up = true;
		}
		if (lisp_mapcache_set(tables->mapcache, &m) != 0)
			abort();
	}
}

/* Nanoseconds of computing a destination, which is no part of looking it up. */
static double
destinations(bool v6, uint32_t prefixes)
{
	uint64_t random = 1, sink = 0;
	double from = now();
	uint32_t j;

	for (j = 0; j < LOOKUPS; j++) {
		struct lisp_addr addr = address(v6, next(&random, prefixes), j);

		sink += addr.words[0] ^ addr.words[1];
		__asm__ volatile("" : "+r"(sink) : "r"(&addr) : "memory");
	}
	return ((now() - from) / LOOKUPS);
}

static double
lookups(const struct lisp_tables *tables, bool v6, uint32_t prefixes, uint64_t *random)
{
	const struct lisp_locator *locators;
	double from = now();
	uint64_t hits = 0;
	uint32_t j;
	unsigned count;
	uint8_t action;

	for (j = 0; j < LOOKUPS; j++) {
		struct lisp_addr addr = address(v6, next(random, prefixes), j);

		if (lisp_mapcache_peek(tables->mapcache, 0, &addr, &action, &locators, &count) == 0)
			hits += locators[0].weight;
	}
	from = now() - from;
	/* Every lookup must have hit, or the figure means nothing. */
	if (hits != (uint64_t)LOOKUPS * 50)
		abort();
	return (from / LOOKUPS);
}

static double
decisions(const struct lisp_tables *tables, bool v6, uint32_t prefixes, uint64_t *random)
{
	struct lisp_inner inner;
	double from = now();
	uint64_t hits = 0;
	uint32_t j;

	memset(&inner, 0, sizeof(inner));
	inner.af = v6 ? LISP_AF_V6 : LISP_AF_V4;
	inner.length = 1000;
	inner.ttl = 64;
	inner.flow.proto = 6;
	for (j = 0; j < LOOKUPS; j++) {
		struct lisp_encap_plan plan;

		inner.flow.dst = address(v6, next(random, prefixes), j);
		inner.flow.sport = (uint16_t)j;
		lisp_encap_decide(tables, 0, &inner, inner.length, 0, &plan);
		hits += plan.verdict == LISP_FORWARD;
	}
	from = now() - from;
	if (hits != LOOKUPS)
		abort();
	return (from / LOOKUPS);
}

/* Nanoseconds of a trip to memory, one after the other: what a lookup that finds nothing in the caches cannot do without. */
static double
trip(void)
{
	enum { PLACES = 1 << 19, STEPS = 1 << 14 };
	static uint64_t *places;
	static uint64_t at;
	double from;
	uint32_t i;

	if (places == NULL) {
		if ((places = malloc((size_t)PLACES * 64)) == NULL)
			abort();
		/* A full-period generator's next value: every line once, and no two neighbours in a row. */
		for (i = 0; i < PLACES; i++)
			places[(size_t)i * 8] = ((uint64_t)i * 1664525u + 1013904223u) % PLACES;
	}
	from = now();
	for (i = 0; i < STEPS; i++)
		at = *(volatile uint64_t *)&places[at * 8];
	return ((now() - from) / STEPS);
}

static void
measure(bool v6, bool last)
{
	static double tree[SIZES][ROUNDS], whole[SIZES][ROUNDS], own[SIZES][ROUNDS], trips[ROUNDS];
	struct lisp_tables tables[SIZES];
	uint64_t random = 88172645463325252u;
	unsigned i, s;

	for (s = 0; s < SIZES; s++)
		fill(&tables[s], v6, sizes[s]);
	for (i = 0; i < ROUNDS; i++) {
		trips[i] = trip();
		for (s = 0; s < SIZES; s++) {
			own[s][i] = destinations(v6, sizes[s]);
			tree[s][i] = lookups(&tables[s], v6, sizes[s], &random);
			whole[s][i] = decisions(&tables[s], v6, sizes[s], &random);
		}
	}
	qsort(trips, ROUNDS, sizeof(trips[0]), compare);
	for (s = 0; s < SIZES; s++) {
		qsort(own[s], ROUNDS, sizeof(own[s][0]), compare);
		qsort(tree[s], ROUNDS, sizeof(tree[s][0]), compare);
		qsort(whole[s], ROUNDS, sizeof(whole[s][0]), compare);
		printf("\"%s/%u\":{\"lookupsPerSecond\":%.0f,\"lookupNs\":%.1f,\"medianNs\":%.1f,\"decideNs\":%.1f,\"tripNs\":%.1f,\"memoryKiB\":%.0f}%s",
		    v6 ? "v6" : "v4", sizes[s], 1e9 / (tree[s][0] - own[s][0]), tree[s][0] - own[s][0],
		    tree[s][ROUNDS / 2] - own[s][0], whole[s][0] - own[s][0], trips[ROUNDS / 2],
		    (double)lisp_mapcache_memory(tables[s].mapcache) / 1024, last && s == SIZES - 1 ? "" : ",");
		lisp_tables_fini(&tables[s]);
	}
}

int
main(void)
{
	printf("{");
	measure(false, false);
	measure(true, true);
	printf("}\n");
	return (0);
}
