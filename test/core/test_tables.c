/* SPDX-License-Identifier: BSD-2-Clause */
/* The map-cache, pins and paths, each against a plain list that does the same slowly. */
#include "tap.h"
#include "packets.h"
#include <lisp_lpm.h>
#include <lisp_mapcache.h>
#include <lisp_paths.h>
#include <lisp_pins.h>
#include <lisp_tables.h>

static uint32_t seed = 12345;

static uint32_t
rnd(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return ((uint32_t)(((uint64_t)seed * below) >> 32));
}

static struct lisp_prefix
random_prefix(bool v6)
{
	struct lisp_prefix prefix;
	unsigned i;

	memset(&prefix, 0, sizeof(prefix));
	prefix.addr.af = v6 ? LISP_AF_V6 : LISP_AF_V4;
	/* Few values per octet, so that prefixes nest and meet. */
	for (i = 0; i < lisp_addr_size(prefix.addr.af); i++)
		prefix.addr.bytes[i] = (uint8_t)(rnd(3) * 0x55);
	prefix.len = (uint8_t)rnd(v6 ? 129 : 33);
	lisp_prefix_mask(&prefix);
	return (prefix);
}

#define	MODEL	400

static void
lpm_against_a_list(void)
{
	static struct { struct lisp_prefix prefix; uint32_t iid; bool used; } model[MODEL];
	struct lisp_lpm *lpm = lisp_lpm_new();
	unsigned step, i;

	memset(model, 0, sizeof(model));
	for (step = 0; step < 60000; step++) {
		unsigned at = rnd(MODEL);
		void *old;

		if (!model[at].used) {
			struct lisp_prefix prefix = random_prefix(rnd(2));
			uint32_t iid = rnd(3);

			for (i = 0; i < MODEL; i++)
				if (model[i].used && model[i].iid == iid && lisp_prefix_equal(&model[i].prefix, &prefix))
					break;
			CHECK_EQUAL(lisp_lpm_set(lpm, iid, &prefix, i < MODEL ? (void *)&model[i] : (void *)&model[at], &old), 0);
			CHECK(old == (i < MODEL ? (void *)&model[i] : NULL));
			if (i == MODEL) {
				model[at].prefix = prefix;
				model[at].iid = iid;
				model[at].used = true;
			}
		} else if (rnd(3) != 0) {
			CHECK(lisp_lpm_exact(lpm, model[at].iid, &model[at].prefix) == &model[at]);
			CHECK(lisp_lpm_remove(lpm, model[at].iid, &model[at].prefix) == &model[at]);
			CHECK(lisp_lpm_remove(lpm, model[at].iid, &model[at].prefix) == NULL);
			model[at].used = false;
		}
		if (step % 4 == 0) {
			struct lisp_prefix key = random_prefix(rnd(2));
			uint32_t iid = rnd(3);
			int best = -1;

			key.len = 0;
			for (i = 0; i < MODEL; i++)
				if (model[i].used && model[i].iid == iid && lisp_prefix_contains(&model[i].prefix, &key.addr) &&
				    (best < 0 || model[i].prefix.len > model[best].prefix.len))
					best = (int)i;
			CHECK(lisp_lpm_lookup(lpm, iid, &key.addr) == (best < 0 ? NULL : (void *)&model[best]));
		}
		if (tap_bad != 0)
			break;
	}
	for (i = 0; i < MODEL; i++)
		if (model[i].used)
			CHECK(lisp_lpm_remove(lpm, model[i].iid, &model[i].prefix) == &model[i]);
	for (i = 0; i < 3; i++)
		CHECK(!lisp_lpm_has_instance(lpm, i));
	lisp_lpm_free(lpm);
}

static void
lpm_edges(void)
{
	struct lisp_lpm *lpm = lisp_lpm_new();
	struct lisp_prefix all4 = P("0.0.0.0/0"), all6 = P("::/0"), host4 = P("192.0.2.255/32"), host6 = P("2001:db8::ffff/128");
	struct lisp_prefix bad = P("192.0.2.0/33");
	struct lisp_addr other = A("192.0.2.254"), other6 = A("2001:db8::fffe");
	int a, b, c, d;
	void *old;

	CHECK_EQUAL(lisp_lpm_set(lpm, 0, &bad, &a, &old), EINVAL);
	CHECK_EQUAL(lisp_lpm_set(lpm, 0, &all4, NULL, &old), EINVAL);
	CHECK_EQUAL(lisp_lpm_set(lpm, 0, &all4, &a, &old), 0);
	CHECK_EQUAL(lisp_lpm_set(lpm, 0, &all6, &b, &old), 0);
	CHECK_EQUAL(lisp_lpm_set(lpm, 0, &host4, &c, &old), 0);
	CHECK_EQUAL(lisp_lpm_set(lpm, 0, &host6, &d, &old), 0);
	CHECK(lisp_lpm_lookup(lpm, 0, &host4.addr) == &c);
	CHECK(lisp_lpm_lookup(lpm, 0, &other) == &a);
	CHECK(lisp_lpm_lookup(lpm, 0, &host6.addr) == &d);
	CHECK(lisp_lpm_lookup(lpm, 0, &other6) == &b);
	CHECK(lisp_lpm_lookup(lpm, 1, &other) == NULL);
	CHECK(lisp_lpm_remove(lpm, 0, &all4) == &a);
	CHECK(lisp_lpm_lookup(lpm, 0, &other) == NULL);
	lisp_lpm_free(lpm);
}

static struct lisp_mapping
mapping(const char *eid, uint32_t iid, const char *first, const char *second)
{
	struct lisp_mapping m;

	memset(&m, 0, sizeof(m));
	m.eid = P(eid);
	m.iid = iid;
	if (first != NULL)
		m.locators[m.nlocators++] = (struct lisp_locator){ .rloc = A(first), .priority = 1, .weight = 50, .up = true };
	if (second != NULL)
		m.locators[m.nlocators++] = (struct lisp_locator){ .rloc = A(second), .priority = 1, .weight = 50, .up = true };
	return (m);
}

static void
mapcache_add_replace_delete(void)
{
	struct lisp_mapcache *cache = lisp_mapcache_new(3);
	struct lisp_mapping m = mapping("198.18.0.0/16", 0, "203.0.113.1", "203.0.114.1"), out;
	struct lisp_prefix eid = P("198.18.0.0/16");
	struct lisp_addr addr = A("198.18.7.7");

	CHECK_EQUAL(lisp_mapcache_lookup(cache, 0, &addr, &out), ENOENT);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	CHECK_EQUAL(lisp_mapcache_lookup(cache, 0, &addr, &out), 0);
	CHECK_BYTES(&out, &m, sizeof(m));
	CHECK_EQUAL(lisp_mapcache_lookup(cache, 7, &addr, &out), ENOENT);
	m = mapping("198.18.0.0/16", 0, "2001:db8::1", NULL);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	CHECK_EQUAL(lisp_mapcache_count(cache), 1);
	CHECK_EQUAL(lisp_mapcache_get(cache, 0, &eid, &out), 0);
	CHECK_EQUAL(out.nlocators, 1);
	m = mapping("198.18.7.0/24", 0, NULL, NULL);
	m.action = LISP_ACTION_NATIVE;
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	CHECK_EQUAL(lisp_mapcache_lookup(cache, 0, &addr, &out), 0);
	CHECK_EQUAL(out.action, LISP_ACTION_NATIVE);
	m = mapping("2001:db8:7::/48", 0, NULL, NULL);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	m = mapping("2001:db8:8::/48", 0, NULL, NULL);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), ENOSPC);
	CHECK_EQUAL(lisp_mapcache_delete(cache, 0, &eid), 0);
	CHECK_EQUAL(lisp_mapcache_delete(cache, 0, &eid), ENOENT);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	CHECK_EQUAL(lisp_mapcache_count(cache), 3);
	CHECK_EQUAL(lisp_mapcache_flush(cache, LISP_IID_MAX + 1), 3);
	CHECK_EQUAL(lisp_mapcache_count(cache), 0);
	lisp_mapcache_free(cache);
}

static void
mapcache_refuses(void)
{
	struct lisp_mapcache *cache = lisp_mapcache_new(10);
	struct lisp_mapping m;

	m = mapping("198.18.0.0/16", LISP_IID_MAX + 1, NULL, NULL);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	m = mapping("198.18.0.1/16", 0, NULL, NULL);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	m = mapping("198.18.0.0/16", 0, "203.0.113.1", "203.0.113.1");
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	m = mapping("198.18.0.0/16", 0, "224.0.0.1", NULL);
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	m = mapping("198.18.0.0/16", 0, NULL, NULL);
	m.action = LISP_ACTION_COUNT;
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	m = mapping("198.18.0.0/16", 0, NULL, NULL);
	m.nlocators = LISP_MAX_LOCATORS + 1;
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	m = mapping("198.18.0.0/16", 0, NULL, NULL);
	m.eid.addr.af = 5;
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), EINVAL);
	CHECK_EQUAL(lisp_mapcache_count(cache), 0);
	lisp_mapcache_free(cache);
}

static void
mapcache_walk_and_many(void)
{
	enum { N = 5000 };
	struct lisp_mapcache *cache = lisp_mapcache_new(N);
	struct lisp_mapping m = mapping("10.0.0.0/24", 0, "203.0.113.1", NULL), out;
	struct lisp_addr rloc = A("203.0.113.1");
	static unsigned char seen[N];
	uint32_t i, cursor = 0, count = 0;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < N; i++) {
		m.eid.addr.bytes[1] = (uint8_t)(i >> 8);
		m.eid.addr.bytes[2] = (uint8_t)i;
		m.iid = i % 2;
		CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	}
	while (lisp_mapcache_next(cache, &cursor, &out) == 0) {
		uint32_t which = (uint32_t)out.eid.addr.bytes[1] << 8 | out.eid.addr.bytes[2];

		CHECK(which < N && !seen[which]);
		seen[which] = 1;
		/* What goes and comes during a walk disturbs nothing else. */
		if (count++ % 3 == 0)
			CHECK_EQUAL(lisp_mapcache_delete(cache, out.iid, &out.eid), 0);
	}
	CHECK_EQUAL(count, N);
	CHECK_EQUAL(lisp_mapcache_set_locator_state(cache, &rloc, false), lisp_mapcache_count(cache));
	CHECK_EQUAL(lisp_mapcache_set_locator_state(cache, &rloc, false), 0);
	lisp_mapcache_flush(cache, 0);
	cursor = 0;
	while (lisp_mapcache_next(cache, &cursor, &out) == 0)
		CHECK(out.iid == 1 && !out.locators[0].up);
	CHECK(lisp_mapcache_memory(cache) > 1000);
	lisp_mapcache_free(cache);
}

/* Nested prefixes of some lengths much more often than of others, so that an index is built, fills up and is outgrown. */
static struct lisp_prefix
crowded_prefix(unsigned v6)
{
	struct lisp_prefix prefix;
	unsigned i, usual = rnd(8);

	memset(&prefix, 0, sizeof(prefix));
	prefix.addr.af = v6 ? LISP_AF_V6 : LISP_AF_V4;
	memcpy(prefix.addr.bytes, v6 ? "\x20\x01" : "\x0a\x01", 2);
	for (i = v6 ? 5 : 1; i < (v6 ? 9u : 4u); i++)
		prefix.addr.bytes[i] = (uint8_t)rnd(i == 1 ? 3 : 32);
	if (v6 && usual == 0)
		prefix.addr.bytes[15] = (uint8_t)rnd(4);
	prefix.len = (uint8_t)(usual == 0 ? rnd(v6 ? 129 : 33) : (v6 ? 48 : 22) + rnd(3) * (v6 ? 8 : 1));
	lisp_prefix_mask(&prefix);
	return (prefix);
}

/* `sets`: so many different locator sets, so that an index has its values in its cells, or too many for that. */
static void
index_against_the_tree(uint32_t sets)
{
	enum { N = 4000 };
	struct lisp_mapcache *cache = lisp_mapcache_new(N);
	struct lisp_mapping m, out;
	static struct { struct lisp_prefix eid; uint32_t iid; } known[N];
	uint32_t step, count = 0, from, number = 0, found = 0, i;
	size_t most = 0;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < 3; i++) {
		m.locators[i].rloc = A("203.0.113.1");
		m.locators[i].rloc.bytes[3] += (uint8_t)i;
	}
	for (step = 0; step < 200000; step++) {
		/* Up to the most there can be and down to none, twice. */
		bool growing = step / 50000 % 2 == 0;

		if (rnd(4) == 0) {
			const struct lisp_locator *locators;
			struct lisp_prefix eid = crowded_prefix(rnd(2));
			uint32_t iid = rnd(10) == 0 ? LISP_IID_MAX : 0;
			unsigned locator_count;
			uint8_t action;
			int tree;

			if (count > 0 && rnd(2)) {
				i = rnd(count);
				eid = known[i].eid;
				iid = known[i].iid;
			}
			eid.addr.bytes[eid.addr.af == LISP_AF_V4 ? 3 : 15] ^= (uint8_t)rnd(4);
			tree = lisp_mapcache_lookup(cache, iid, &eid.addr, &out);
			CHECK_EQUAL(lisp_mapcache_peek(cache, iid, &eid.addr, &action, &locators, &locator_count), tree);
			if (tree == 0) {
				found++;
				CHECK(locator_count == out.nlocators &&
				    memcmp(locators, out.locators, locator_count * sizeof(locators[0])) == 0);
			}
		} else if (rnd(10) < (growing ? 9 : 2)) {
			bool again = count > 0 && rnd(10) == 0;

			i = again ? rnd(count) : count;
			m.eid = again ? known[i].eid : crowded_prefix(rnd(2));
			m.iid = again ? known[i].iid : rnd(10) == 0 ? LISP_IID_MAX : 0;
			number = (number + 1) % sets;
			/* As many as a set has room for, and more. */
			m.nlocators = (uint8_t)(1 + number % 3);
			m.locators[0].weight = (uint8_t)number;
			m.locators[0].priority = (uint8_t)(number >> 8);
			from = lisp_mapcache_count(cache);
			if (lisp_mapcache_set(cache, &m) == 0 && lisp_mapcache_count(cache) > from) {
				known[count].eid = m.eid;
				known[count++].iid = m.iid;
			}
		} else if (count > 0) {
			i = rnd(count);
			CHECK_EQUAL(lisp_mapcache_delete(cache, known[i].iid, &known[i].eid), 0);
			known[i] = known[--count];
		}
		if (lisp_mapcache_memory(cache) > most)
			most = lisp_mapcache_memory(cache);
		CHECK_EQUAL(lisp_mapcache_count(cache), count);
	}
	CHECK(found > 10000);
	/* A flush gives back what the index took. */
	lisp_mapcache_flush(cache, LISP_IID_MAX + 1);
	CHECK(lisp_mapcache_memory(cache) < most / 4);
	lisp_mapcache_free(cache);
}

static void
mapcache_index_against_the_tree(void)
{
	/* The weight and priority are a set's number: each mapping has one of its own for some time, or shares it with many. */
	index_against_the_tree(1 << 16);
	index_against_the_tree(8);
	index_against_the_tree(300);
}

/* Of all addresses, and many: what an index leaves out of its cells must still tell them apart. */
static struct lisp_prefix
scattered_prefix(bool v6, unsigned longest)
{
	struct lisp_prefix prefix;
	unsigned i;

	memset(&prefix, 0, sizeof(prefix));
	prefix.addr.af = v6 ? LISP_AF_V6 : LISP_AF_V4;
	for (i = 0; i < (v6 ? 8u : 4u); i++)
		prefix.addr.bytes[i] = (uint8_t)rnd(256);
	prefix.len = (uint8_t)(v6 ? 44 + rnd(21) : 20 + rnd(longest - 19));
	lisp_prefix_mask(&prefix);
	return (prefix);
}

static void
index_of_many(unsigned longest, uint32_t sets)
{
	enum { N = 100000 };
	struct lisp_mapcache *cache = lisp_mapcache_new(N);
	static struct lisp_prefix known[N];
	struct lisp_mapping m, out;
	uint32_t i, number, misses = 0, found = 0;

	memset(&m, 0, sizeof(m));
	m.nlocators = 1;
	m.locators[0].rloc = A("203.0.113.1");
	for (i = 0; i < N; i++) {
		m.eid = known[i] = scattered_prefix(i & 1, longest);
		m.iid = i & 2;
		number = rnd(i < N / 2 ? 200 : sets);
		m.locators[0].weight = (uint8_t)number;
		m.locators[0].priority = (uint8_t)(number >> 8);
		CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	}
	for (i = 0; i < N * 2; i++) {
		uint32_t at = rnd(N), iid = rnd(8) == 0 ? 2 - (at & 2) : at & 2;
		struct lisp_addr addr = known[at].addr;
		const struct lisp_locator *locators;
		unsigned count, flips = rnd(3), bit;
		uint8_t action;
		int expected;

		/* In the prefix, or beside it by a bit or two, or in the other instance. */
		for (; flips > 0; flips--) {
			bit = rnd(addr.af == LISP_AF_V4 ? 32 : 64);
			addr.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		expected = lisp_mapcache_lookup(cache, iid, &addr, &out);
		CHECK_EQUAL(lisp_mapcache_peek(cache, iid, &addr, &action, &locators, &count), expected);
		if (expected == 0) {
			found++;
			CHECK(count == 1 && memcmp(locators, out.locators, sizeof(locators[0])) == 0);
		} else
			misses++;
	}
	CHECK(found > N / 2 && misses > N / 4);
	CHECK(lisp_mapcache_memory(cache) < (size_t)N * 200);
	for (i = 0; i < N; i++)
		(void)lisp_mapcache_delete(cache, i & 2, &known[i]);
	CHECK_EQUAL(lisp_mapcache_count(cache), 0);
	lisp_mapcache_free(cache);
}

static void
mapcache_index_of_many(void)
{
	/* IPv4 hosts or none, so cells of 32 bits or of 24; values in the cells or beside them. */
	index_of_many(32, 5000);
	index_of_many(24, 500);
	index_of_many(24, 5000);
}

/* A prefix that is too long for an index, and one of the same first bits and locators that is not: each is its own there. */
static void
mapcache_index_and_longer(void)
{
	struct lisp_mapcache *cache = lisp_mapcache_new(1000);
	const struct lisp_locator *locators;
	struct lisp_prefix site, within, host;
	struct lisp_mapping m;
	unsigned count;
	uint8_t action;
	uint32_t i;

	memset(&m, 0, sizeof(m));
	m.nlocators = 1;
	m.locators[0].rloc = A("203.0.113.1");
	for (i = 0; i < 600; i++) {
		m.eid = P("2001:db8::/48");
		lisp_put16(m.eid.addr.bytes + 4, (uint16_t)i);
		CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	}
	site = m.eid;
	m.locators[0].weight = 7;
	m.eid.len = 64;
	within = m.eid;
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	m.eid.len = 70;
	host = m.eid;
	CHECK_EQUAL(lisp_mapcache_set(cache, &m), 0);
	CHECK_EQUAL(lisp_mapcache_delete(cache, 0, &host), 0);
	CHECK_EQUAL(lisp_mapcache_peek(cache, 0, &within.addr, &action, &locators, &count), 0);
	CHECK_EQUAL(locators[0].weight, 7);
	CHECK_EQUAL(lisp_mapcache_delete(cache, 0, &within), 0);
	CHECK_EQUAL(lisp_mapcache_peek(cache, 0, &site.addr, &action, &locators, &count), 0);
	CHECK_EQUAL(locators[0].weight, 0);
	lisp_mapcache_free(cache);
}

static struct lisp_flow
flow_of(uint32_t n)
{
	struct lisp_flow flow;

	memset(&flow, 0, sizeof(flow));
	flow.src = A("192.0.2.1");
	flow.dst = A("198.18.1.10");
	flow.proto = 6;
	flow.sport = (uint16_t)n;
	flow.dport = (uint16_t)(n >> 16);
	return (flow);
}

static void
pins_static(void)
{
	struct lisp_pins *pins = lisp_pins_new(1000, 10, 7);
	struct lisp_path one = PATH("203.0.113.2", "203.0.123.2"), two = PATH("203.0.114.2", "203.0.124.2"), got;
	struct lisp_path mixed = PATH("203.0.113.2", "2001:db8::1");
	struct lisp_flow flow;
	uint32_t i;
	bool gleaned = true;

	flow = flow_of(1);
	CHECK_EQUAL(lisp_pins_set(pins, &flow, &mixed), EINVAL);
	for (i = 0; i < 1000; i++) {
		flow = flow_of(i);
		CHECK_EQUAL(lisp_pins_set(pins, &flow, &one), 0);
	}
	flow = flow_of(1000);
	CHECK_EQUAL(lisp_pins_set(pins, &flow, &one), ENOSPC);
	CHECK(!lisp_pins_lookup(pins, &flow, 0, &got, NULL));
	flow = flow_of(500);
	CHECK_EQUAL(lisp_pins_set(pins, &flow, &two), 0);
	CHECK(lisp_pins_lookup(pins, &flow, 0, &got, &gleaned));
	CHECK(!gleaned && lisp_path_equal(&got, &two));
	CHECK_EQUAL(lisp_pins_glean(pins, &flow, &one, 0), EEXIST);
	CHECK_EQUAL(lisp_pins_age(pins, 1u << 30, 1, 100000), 0);
	for (i = 0; i < 1000; i++) {
		flow = flow_of(i);
		CHECK_EQUAL(lisp_pins_delete(pins, &flow), 0);
		CHECK_EQUAL(lisp_pins_delete(pins, &flow), ENOENT);
	}
	CHECK_EQUAL(lisp_pins_count(pins, false), 0);
	lisp_pins_free(pins);
}

static void
pins_gleaned(void)
{
	struct lisp_pins *pins = lisp_pins_new(4, 100, 7);
	struct lisp_path one = PATH("203.0.113.2", "203.0.123.2"), two = PATH("203.0.114.2", "203.0.124.2"), got;
	struct lisp_addr gone = A("203.0.124.2");
	struct lisp_flow flow;
	struct lisp_pin pin;
	uint64_t cursor = 0, now = 0xfffffff0u;	/* the clock's low half wraps in mid-test */
	uint32_t i, count = 0;
	bool gleaned = false;

	flow = flow_of(3);
	CHECK_EQUAL(lisp_pins_glean(pins, &flow, &one, now), 0);
	CHECK_EQUAL(lisp_pins_glean(pins, &flow, &one, now), EALREADY);
	CHECK_EQUAL(lisp_pins_glean(pins, &flow, &two, now), 0);
	CHECK(lisp_pins_lookup(pins, &flow, now, &got, &gleaned));
	CHECK(gleaned && lisp_path_equal(&got, &two));
	CHECK_EQUAL(lisp_pins_set(pins, &flow, &one), 0);	/* the gateway's word wins */
	CHECK_EQUAL(lisp_pins_count(pins, true), 0);
	CHECK_EQUAL(lisp_pins_count(pins, false), 1);
	for (i = 100; i < 100 + 500; i++) {
		flow = flow_of(i);
		CHECK_EQUAL(lisp_pins_glean(pins, &flow, i % 2 ? &one : &two, now + i), 0);
		CHECK(lisp_pins_lookup(pins, &flow, now + i, &got, NULL));
	}
	CHECK_EQUAL(lisp_pins_count(pins, true), 100);
	while (lisp_pins_next(pins, &cursor, now + 600, &pin) == 0)
		count++;
	CHECK_EQUAL(count, 101);
	CHECK_EQUAL(lisp_pins_age(pins, now + 600, 1000, 100000), 0);
	i = lisp_pins_forget_rloc(pins, &gone);
	CHECK(i > 20 && i < 80);
	while ((i = lisp_pins_age(pins, now + 10000, 1000, 7)) != 0 || lisp_pins_count(pins, true) != 0)
		if (++count > 10000)
			break;
	CHECK_EQUAL(lisp_pins_count(pins, true), 0);
	CHECK_EQUAL(lisp_pins_count(pins, false), 1);
	lisp_pins_free(pins);
}

/* The clock is read before the lock is taken: ageing may come with an older time than the last use. */
static void
pins_used_after_now_stay(void)
{
	struct lisp_pins *pins = lisp_pins_new(4, 100, 7);
	struct lisp_path one = PATH("203.0.113.2", "203.0.123.2"), got;
	struct lisp_flow flow = flow_of(3);

	CHECK_EQUAL(lisp_pins_glean(pins, &flow, &one, 1000), 0);
	CHECK(lisp_pins_lookup(pins, &flow, 2000, &got, NULL));
	CHECK_EQUAL(lisp_pins_age(pins, 1999, 500, 100), 0);
	CHECK_EQUAL(lisp_pins_age(pins, 2499, 500, 100), 0);
	CHECK_EQUAL(lisp_pins_age(pins, 2500, 500, 100), 1);
	lisp_pins_free(pins);
}

static void
paths(void)
{
	struct lisp_paths *paths = lisp_paths_new(2, 9);
	struct lisp_path one = PATH("203.0.113.2", "203.0.123.2"), two = PATH("2001:db8::1", "2001:db8::2"),
	    three = PATH("203.0.113.2", "203.0.124.2");
	struct lisp_path_info info;
	uint32_t number;

	CHECK_EQUAL(lisp_paths_find(paths, &one), LISP_PATH_NONE);
	CHECK(lisp_paths_usable(paths, &one));
	number = lisp_paths_add(paths, &one);
	CHECK_EQUAL(lisp_paths_add(paths, &one), number);
	CHECK(lisp_paths_lower_mtu(paths, &one, 1400, 10));
	CHECK(!lisp_paths_lower_mtu(paths, &one, 1450, 10));
	CHECK(lisp_paths_lower_mtu(paths, &one, 10, 20));
	CHECK_EQUAL(lisp_paths_mtu(paths, number), 68);
	CHECK(lisp_paths_lower_mtu(paths, &two, 1000, 20));
	CHECK_EQUAL(lisp_paths_mtu(paths, lisp_paths_find(paths, &two)), 1280);
	CHECK_EQUAL(lisp_paths_age(paths, 100, 100), 0);
	CHECK_EQUAL(lisp_paths_age(paths, 120, 100), 2);
	CHECK_EQUAL(lisp_paths_mtu(paths, number), 0);
	CHECK_EQUAL(lisp_paths_set_state(paths, &one, false), 0);
	CHECK_EQUAL(lisp_paths_set_state(paths, &one, false), 0);
	CHECK(!lisp_paths_usable(paths, &one) && lisp_paths_usable(paths, &two));
	CHECK_EQUAL(lisp_paths_set_state(paths, &one, true), 0);
	CHECK(lisp_paths_usable(paths, &one));
	CHECK_EQUAL(lisp_paths_add(paths, &three), LISP_PATH_NONE);
	CHECK_EQUAL(lisp_paths_set_state(paths, &three, false), ENOSPC);
	CHECK_EQUAL(lisp_paths_set_state(paths, &three, true), 0);
	lisp_paths_sent(paths, number, 2, 3000);
	lisp_paths_received(paths, number, 1, 40, 77);
	lisp_paths_sent(paths, LISP_PATH_NONE, 2, 3000);
	CHECK_EQUAL(lisp_paths_get(paths, number, &info), 0);
	CHECK_EQUAL(info.packets_sent, 2);
	CHECK_EQUAL(info.bytes_sent, 3000);
	CHECK_EQUAL(info.bytes_received, 40);
	CHECK_EQUAL(info.last_received_ms, 77);
	CHECK_EQUAL(lisp_paths_get(paths, 2, &info), ENOENT);
	lisp_paths_free(paths);
}

static void
site(void)
{
	struct lisp_limits limits = LISP_LIMITS_DEFAULT;
	struct lisp_tables tables;
	struct lisp_addr rlocs[3] = { A("203.0.113.2"), A("2001:db8::2"), A("203.0.113.2") };
	struct lisp_addr in = A("192.0.2.7"), out = A("192.0.2.16");
	struct lisp_prefix eid = P("192.0.2.0/28"), stray = P("192.0.2.1/28");

	limits.max_eids = 1;
	CHECK_EQUAL(lisp_tables_init(&tables, &limits, 1), 0);
	CHECK_EQUAL(lisp_tables_set_rlocs(&tables, rlocs, 3), EINVAL);
	CHECK_EQUAL(lisp_tables_set_rlocs(&tables, rlocs, 2), 0);
	CHECK(lisp_tables_is_local_rloc(&tables, &rlocs[1]));
	CHECK(!lisp_tables_is_local_rloc(&tables, &in));
	CHECK_EQUAL(lisp_tables_add_eid(&tables, 5, &stray), EINVAL);
	CHECK_EQUAL(lisp_tables_add_eid(&tables, 5, &eid), 0);
	CHECK_EQUAL(lisp_tables_add_eid(&tables, 6, &eid), ENOSPC);
	CHECK(lisp_tables_is_local_eid(&tables, 5, &in));
	CHECK(!lisp_tables_is_local_eid(&tables, 5, &out));
	CHECK(!lisp_tables_is_local_eid(&tables, 0, &in));
	CHECK(lisp_tables_serves_iid(&tables, 5) && !lisp_tables_serves_iid(&tables, 0));
	CHECK_EQUAL(lisp_tables_delete_eid(&tables, 5, &eid), 0);
	CHECK_EQUAL(lisp_tables_delete_eid(&tables, 5, &eid), ENOENT);
	CHECK(!lisp_tables_serves_iid(&tables, 5));
	lisp_tables_fini(&tables);
}

int
main(void)
{
	TEST(lpm_against_a_list);
	TEST(lpm_edges);
	TEST(mapcache_add_replace_delete);
	TEST(mapcache_refuses);
	TEST(mapcache_walk_and_many);
	TEST(mapcache_index_against_the_tree);
	TEST(mapcache_index_of_many);
	TEST(mapcache_index_and_longer);
	TEST(pins_static);
	TEST(pins_gleaned);
	TEST(pins_used_after_now_stay);
	TEST(paths);
	TEST(site);
	DONE();
}
