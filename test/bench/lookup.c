/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Map-cache lookups per second at 10, 1,000 and 100,000 prefixes, uniformly random destinations that all hit: the worst case for
 * the processor's caches. One JSON object on standard output; nanoseconds a lookup of the tree alone and of the whole decision
 * (locator by priority, weight and hash; MTU; recursion guard).
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <lisp_encap.h>

#define	KEYS	(1u << 16)
#define	ROUNDS	15

static uint64_t state = 88172645463325252u;

static uint32_t
rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return ((uint32_t)(state >> 32));
}

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

static void
measure(uint32_t prefixes, int v6, int last)
{
	struct lisp_limits limits = { 200000, 1000, 1000, 64, 64 };
	struct lisp_tables tables;
	struct lisp_addr local, *keys = malloc(KEYS * sizeof(*keys)), *eids = malloc(prefixes * sizeof(*eids));
	struct lisp_inner *inner = calloc(1, sizeof(*inner));
	double tree[ROUNDS], whole[ROUNDS], from;
	uint64_t sink = 0;
	uint32_t i, j, made = 0;

	if (keys == NULL || eids == NULL || inner == NULL || lisp_tables_init(&tables, &limits, 1) != 0)
		abort();
	local = lisp_addr_v4((const uint8_t *)"\xc6\x33\x64\2");
	lisp_tables_set_rlocs(&tables, &local, 1);
	while (made < prefixes) {
		struct lisp_mapping m;

		memset(&m, 0, sizeof(m));
		m.eid.addr.af = v6 ? LISP_AF_V6 : LISP_AF_V4;
		for (j = 0; j < 4; j++)
			m.eid.addr.words[j] = v6 || j == 0 ? rnd() : 0;
		if (v6)
			memcpy(m.eid.addr.bytes, "\x20\x01\x0d", 3);
		m.eid.len = (uint8_t)(v6 ? 48 + rnd() % 3 * 8 : 22 + rnd() % 3);
		lisp_prefix_mask(&m.eid);
		m.nlocators = 2;
		for (j = 0; j < 2; j++) {
			m.locators[j].rloc = lisp_addr_v4((const uint8_t *)"\xcb\2\0\0");
			/* A thousand sites, so a thousand locator sets. */
			m.locators[j].rloc.bytes[2] = (uint8_t)(made % 1000 % 250);
			m.locators[j].rloc.bytes[3] = (uint8_t)(2 + made % 1000 / 250 * 2 + j);
			m.locators[j].priority = 1;
			m.locators[j].weight = 50;
			m.locators[j].up = true;
		}
		if (!lisp_addr_is_unicast(&m.eid.addr) || lisp_mapcache_lookup(tables.mapcache, 0, &m.eid.addr, &m) == 0)
			continue;
		if (lisp_mapcache_set(tables.mapcache, &m) != 0)
			abort();
		eids[made++] = m.eid.addr;
	}
	for (i = 0; i < KEYS; i++) {
		keys[i] = eids[rnd() % prefixes];
		keys[i].bytes[v6 ? 15 : 3] |= (uint8_t)(rnd() & 0xff);
	}
	inner->af = v6 ? LISP_AF_V6 : LISP_AF_V4;
	inner->length = 1000;
	inner->ttl = 64;
	inner->flow.proto = 6;
	for (i = 0; i < ROUNDS; i++) {
		uint8_t action;
		const struct lisp_locator *locators;
		unsigned count;

		from = now();
		for (j = 0; j < KEYS; j++)
			if (lisp_mapcache_peek(tables.mapcache, 0, &keys[j], &action, &locators, &count) == 0)
				sink += locators[0].weight;
		tree[i] = (now() - from) / KEYS;
		from = now();
		for (j = 0; j < KEYS; j++) {
			struct lisp_encap_plan plan;

			inner->flow.dst = keys[j];
			inner->flow.sport = (uint16_t)j;
			lisp_encap_decide(&tables, 0, inner, inner->length, 0, &plan);
			sink += plan.verdict == LISP_FORWARD;
		}
		whole[i] = (now() - from) / KEYS;
	}
	/* The best of them: what other processes put out of the caches meanwhile must not count either. */
	qsort(tree, ROUNDS, sizeof(tree[0]), compare);
	qsort(whole, ROUNDS, sizeof(whole[0]), compare);
	/* Every lookup must have hit, or the figure means nothing. */
	if (sink != (uint64_t)ROUNDS * KEYS * 51)
		abort();
	printf("\"%s/%u\":{\"lookupsPerSecond\":%.0f,\"lookupNs\":%.1f,\"decideNs\":%.1f,\"memoryKiB\":%.0f}%s", v6 ? "v6" : "v4",
	    prefixes, 1e9 / tree[0], tree[0], whole[0],
	    (double)lisp_mapcache_memory(tables.mapcache) / 1024, last ? "" : ",");
	lisp_tables_fini(&tables);
	free(keys);
	free(eids);
	free(inner);
}

int
main(void)
{
	static const uint32_t sizes[] = { 10, 1000, 100000 };
	unsigned i;

	printf("{");
	for (i = 0; i < 6; i++)
		measure(sizes[i % 3], i >= 3, i == 5);
	printf("}\n");
	return (0);
}
