/* SPDX-License-Identifier: BSD-2-Clause */
/* Mapping tables and the checksum of RFC 8684 section 3.3.1; the checksums were sent by a Linux 6.18 kernel. */
#include "tap.h"
#include <mptcp_map.h>

#define	SLOTS	8

static struct mptcp_mapping slots[SLOTS];
static struct mptcp_map map;

static enum mptcp_map_verdict
add(uint32_t ssn, uint64_t dsn, uint32_t length, int checksum)
{
	struct mptcp_mapping mapping = { .ssn = ssn, .dsn = dsn, .length = length, .has_checksum = checksum >= 0,
	    .checksum = (uint16_t)checksum };

	return (mptcp_map_add(&map, &mapping, map.base + 100000));
}

/* The number of `ssn`, or 0 when it has none. */
static uint64_t
dsn_of(uint32_t ssn, uint32_t *left)
{
	uint64_t dsn;
	bool infinite;
	struct mptcp_mapping *found = mptcp_map_find(&map, ssn, &dsn, left, &infinite);

	CHECK((found != NULL || infinite) == (dsn != 0));
	return (dsn);
}

static void
in_order(void)
{
	uint32_t left, i;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(add(1, 77, 1000, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(1001, 9000, 400, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(2001, 1077, 500, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(dsn_of(1, &left), 77);
	CHECK_EQUAL(left, 1000);
	CHECK_EQUAL(dsn_of(1000, &left), 1076);
	CHECK_EQUAL(left, 1);
	CHECK_EQUAL(dsn_of(1001, &left), 9000);
	CHECK_EQUAL(dsn_of(1401, &left), 0);
	CHECK_EQUAL(left, 600);
	CHECK_EQUAL(dsn_of(2500, &left), 1576);
	CHECK_EQUAL(dsn_of(2501, &left), 0);
	CHECK_EQUAL(left, UINT32_MAX);
	CHECK_EQUAL(add(1, 77, 1000, -1), MPTCP_MAP_DUPLICATE);
	mptcp_map_advance(&map, 1001);
	CHECK_EQUAL(map.count, 2);
	CHECK_EQUAL(add(1, 77, 1000, -1), MPTCP_MAP_OLD);
	mptcp_map_advance(&map, 500);	/* never back */
	CHECK_EQUAL(map.base, 1001);
	mptcp_map_advance(&map, 1200);
	CHECK_EQUAL(dsn_of(1200, &left), 9199);
	/* The ring goes round many times. */
	mptcp_map_init(&map, slots, SLOTS, 1);
	for (i = 0; i < 1000; i++) {
		CHECK_EQUAL(add(1 + i * 10, 100 + i * 20, 10, -1), MPTCP_MAP_ADDED);
		if (i >= SLOTS - 1)
			mptcp_map_advance(&map, 1 + (i - SLOTS + 2) * 10);
		CHECK_EQUAL(dsn_of(1 + i * 10 + 9, &left), 100 + i * 20 + 9);
	}
}

static void
filling_gaps(void)
{
	uint32_t left;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(add(1001, 2001, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(501, 1501, 100, -1), MPTCP_MAP_ADDED);
	/* Before, between and behind; the same difference everywhere, so it agrees with both. */
	CHECK_EQUAL(add(401, 1401, 900, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(map.count, 5);
	CHECK_EQUAL(dsn_of(401, &left), 1401);
	CHECK_EQUAL(left, 100);
	CHECK_EQUAL(dsn_of(601, &left), 1601);
	CHECK_EQUAL(left, 400);
	CHECK_EQUAL(dsn_of(1300, &left), 2300);
	CHECK_EQUAL(dsn_of(1301, &left), 0);
	CHECK_EQUAL(add(450, 1450, 700, -1), MPTCP_MAP_DUPLICATE);
	/* A part below the base is cut off. */
	mptcp_map_init(&map, slots, SLOTS, 100);
	CHECK_EQUAL(add(50, 1050, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(slots[0].ssn, 100);
	CHECK_EQUAL(slots[0].length, 50);
	CHECK_EQUAL(dsn_of(100, &left), 1100);
	CHECK_EQUAL(add(20, 1020, 80, -1), MPTCP_MAP_OLD);
}

static void
contradictions(void)
{
	uint32_t left;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(add(101, 1001, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(101, 1002, 100, -1), MPTCP_MAP_CONFLICT);
	CHECK_EQUAL(add(200, 1101, 1, -1), MPTCP_MAP_CONFLICT);
	CHECK_EQUAL(add(50, 1001, 500, -1), MPTCP_MAP_CONFLICT);
	CHECK_EQUAL(map.count, 1);
	CHECK_EQUAL(dsn_of(50, &left), 0);
	/* Checksums hold mappings together. */
	CHECK_EQUAL(add(301, 5001, 100, 0x1234), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(301, 5001, 100, 0x1234), MPTCP_MAP_DUPLICATE);
	CHECK_EQUAL(add(301, 5001, 100, 0x1235), MPTCP_MAP_CONFLICT);
	CHECK_EQUAL(add(301, 5001, 100, -1), MPTCP_MAP_CONFLICT);
	CHECK_EQUAL(add(301, 5001, 101, 0x1234), MPTCP_MAP_CONFLICT);
	CHECK_EQUAL(add(251, 4951, 100, 0x1234), MPTCP_MAP_CONFLICT);
	mptcp_map_advance(&map, 350);
	CHECK_EQUAL(add(301, 5001, 100, 0x1234), MPTCP_MAP_DUPLICATE);
	mptcp_map_advance(&map, 450);
	CHECK_EQUAL(add(440, 6001, 100, 0x1234), MPTCP_MAP_CONFLICT);
	/* Beyond the window. */
	CHECK_EQUAL(add(100440, 6001, 11, -1), MPTCP_MAP_OUTSIDE);
	CHECK_EQUAL(add(100440, 6001, 10, -1), MPTCP_MAP_ADDED);
}

static void
a_full_table(void)
{
	struct mptcp_mapping larger[2 * SLOTS];
	uint32_t left, i;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(add(1, 101, 10, -1), MPTCP_MAP_ADDED);
	mptcp_map_advance(&map, 11);
	for (i = 0; i < SLOTS; i++)
		CHECK_EQUAL(add(101 + i * 20, 1101 + i * 20, 10, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(2001, 1, 10, -1), MPTCP_MAP_FULL);
	CHECK_EQUAL(add(101, 1101, SLOTS * 20, -1), MPTCP_MAP_FULL);
	CHECK_EQUAL(add(101, 1101, 10, -1), MPTCP_MAP_DUPLICATE);
	mptcp_map_resize(&map, larger, 2 * SLOTS);
	CHECK_EQUAL(map.count, SLOTS);
	CHECK_EQUAL(add(101, 1101, SLOTS * 20, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(map.count, 2 * SLOTS);
	for (i = 0; i < SLOTS * 20; i++)
		CHECK_EQUAL(dsn_of(101 + i, &left), 1101 + i);
	CHECK_EQUAL(add(2001, 1, 10, -1), MPTCP_MAP_FULL);
}

static void
numbers_wrap(void)
{
	uint32_t left;

	mptcp_map_init(&map, slots, SLOTS, UINT32_MAX - 50);
	CHECK_EQUAL(add(UINT32_MAX - 50, UINT64_MAX - 20, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(49, 79, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(dsn_of(48, &left), 78);
	CHECK_EQUAL(left, 1);
	CHECK_EQUAL(dsn_of(49, &left), 79);
	mptcp_map_advance(&map, 10);
	CHECK_EQUAL(map.count, 2);
	CHECK_EQUAL(add(UINT32_MAX - 50, UINT64_MAX - 20, 50, -1), MPTCP_MAP_OLD);
	mptcp_map_advance(&map, 49);
	CHECK_EQUAL(map.count, 1);
}

static void
infinite(void)
{
	uint32_t left;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(add(1, 1001, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(101, 1101, 100, -1), MPTCP_MAP_ADDED);
	mptcp_map_set_infinite(&map, 51, 1051);
	CHECK_EQUAL(map.count, 1);
	CHECK_EQUAL(dsn_of(50, &left), 1050);
	CHECK_EQUAL(left, 1);
	CHECK_EQUAL(dsn_of(51, &left), 1051);
	CHECK_EQUAL(left, UINT32_MAX);
	CHECK_EQUAL(dsn_of(51 + 3000000000u, &left), 0);	/* more than half the numbers away is before */
	CHECK_EQUAL(dsn_of(51 + 2000000000u, &left), 1051 + 2000000000u);
	CHECK_EQUAL(add(201, 1201, 100, -1), MPTCP_MAP_DUPLICATE);
	CHECK_EQUAL(add(201, 1301, 100, -1), MPTCP_MAP_CONFLICT);
	CHECK(!mptcp_map_set_infinite(&map, 400, 1));	/* the first one stays */
	CHECK_EQUAL(dsn_of(400, &left), 1400);
}

/* Plain TCP of any length: more than numbers compare, more than they count. */
static void
infinite_for_long(void)
{
	static const uint32_t bases[] = { 1, 0x7fffff00, 0xffffff00 };
	uint32_t left;
	uint64_t dsn;
	bool infinite_;
	size_t i;

	for (i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		uint32_t ssn = bases[i];
		uint64_t expected = 5000;
		unsigned step;

		mptcp_map_init(&map, slots, SLOTS, ssn);
		mptcp_map_set_infinite(&map, ssn, expected);
		for (step = 0; step < 100; step++) {
			CHECK(mptcp_map_find(&map, ssn, &dsn, &left, &infinite_) == NULL);
			CHECK(infinite_);
			CHECK_EQUAL(dsn, expected);
			CHECK_EQUAL(add(ssn, expected, 1000, -1), MPTCP_MAP_DUPLICATE);
			CHECK_EQUAL(add(ssn, expected + 1, 1000, -1), MPTCP_MAP_CONFLICT);
			ssn += 0x10000001;
			expected += 0x10000001;
			mptcp_map_advance(&map, ssn);
		}
	}
	/* The same of mappings that overlap where the subflow's numbers begin again. */
	mptcp_map_init(&map, slots, SLOTS, UINT32_MAX - 15);
	CHECK_EQUAL(add(UINT32_MAX - 15, 1000, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(16, 1032, 40, -1), MPTCP_MAP_DUPLICATE);
	CHECK_EQUAL(add(16, 1032, 200, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(16, 1033, 40, -1), MPTCP_MAP_CONFLICT);
}

/* A peer that falls back may leave out mappings before the infinite one, which then began earlier than it says. */
static void
infinite_begins_earlier(void)
{
	uint32_t left;

	mptcp_map_init(&map, slots, SLOTS, 0xffffff00);
	CHECK_EQUAL(add(0xffffff00, 5000, 100, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(0xffffff80, 5128, 100, -1), MPTCP_MAP_ADDED);
	CHECK(mptcp_map_set_infinite(&map, 100, 5356));
	CHECK_EQUAL(dsn_of(0xffffff64, &left), 0);
	CHECK_EQUAL(left, 28);
	CHECK(!mptcp_map_set_infinite(&map, 0xffffff64, 5101));
	CHECK_EQUAL(dsn_of(0xffffff64, &left), 0);
	CHECK(mptcp_map_set_infinite(&map, 200, 5456));
	CHECK_EQUAL(dsn_of(99, &left), 0);
	CHECK(mptcp_map_set_infinite(&map, 0xffffff64, 5100));
	CHECK_EQUAL(map.count, 1);
	CHECK_EQUAL(dsn_of(0xffffff63, &left), 5099);
	CHECK_EQUAL(left, 1);
	CHECK_EQUAL(dsn_of(0xffffff64, &left), 5100);
	CHECK_EQUAL(left, UINT32_MAX);
	CHECK_EQUAL(dsn_of(100, &left), 5356);
}

static void
from_dss(void)
{
	struct mptcp_mapping mapping;
	struct mptcp_dss dss = { .has_map = true, .dsn = 0x10, .ssn = 7, .length = 100 };

	CHECK(mptcp_map_from_dss(&dss, 0x1fffffff0u, &mapping));
	CHECK(mapping.dsn == 0x200000010u);
	CHECK_EQUAL(mapping.ssn, 7);
	CHECK_EQUAL(mapping.length, 100);
	dss.dsn_64 = true;
	dss.data_fin = true;
	dss.has_checksum = true;
	dss.checksum = 0xabcd;
	CHECK(mptcp_map_from_dss(&dss, 0x1fffffff0u, &mapping));
	CHECK(mapping.dsn == 0x10 && mapping.length == 99 && mapping.data_fin && mapping.has_checksum && mapping.checksum == 0xabcd);
	dss.length = 1;
	CHECK(!mptcp_map_from_dss(&dss, 0, &mapping));
	dss.data_fin = false;
	CHECK(mptcp_map_from_dss(&dss, 0, &mapping));
	dss.length = 0;
	CHECK(!mptcp_map_from_dss(&dss, 0, &mapping));
	dss.length = 1;
	dss.has_map = false;
	CHECK(!mptcp_map_from_dss(&dss, 0, &mapping));
}

/* In pieces of any size; one wrong octet, one wrong number. */
static void
checksums(void)
{
	static const struct {
		uint64_t dsn;
		uint32_t ssn;
		uint16_t length, checksum;
		char fill;
		const char *text;
	} sent[] = {
		{ 0x4a9f170856fc4d3bu, 1, 11, 0x644e, 0, "hello mptcp" },
		{ 0x2fc4225588037b52u, 1, 11, 0x14be, 0, "hello mptcp" },
		{ 0x4a9f170856fc4d46u, 0xc, 2001, 0xca51, 'A', NULL },
		{ 0x4a9f170856fc5517u, 0x7dd, 2001, 0xcdc3, 'B', NULL },
		{ 0x2fc42255880392d0u, 0x177f, 2001, 0x8517, 'D', NULL },
		{ 0x18d07a38d79cb348u, 1, 1, 0x6a0f, 0, "x" },	/* of an MP_CAPABLE */
	};
	size_t i, step;

	for (i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		unsigned char *data = malloc(sent[i].length);

		memset(data, sent[i].fill, sent[i].length);
		if (sent[i].text != NULL)
			memcpy(data, sent[i].text, sent[i].length);
		for (step = 1; step < 40; step++) {
			struct mptcp_mapping mapping = { .dsn = sent[i].dsn, .ssn = sent[i].ssn, .length = sent[i].length,
			    .has_checksum = true, .checksum = sent[i].checksum };
			struct mptcp_mapping wrong = mapping, moved = mapping;
			size_t at, part;
			bool good;

			moved.dsn++;
			for (at = 0; at < sent[i].length; at += part) {
				bool whole;

				part = sent[i].length - at < step ? sent[i].length - at : step;
				whole = at + part == sent[i].length;
				CHECK_EQUAL(mptcp_mapping_take(&mapping, data + at, part, &good), whole);
				CHECK(good);
				CHECK_EQUAL(mptcp_mapping_take(&moved, data + at, part, &good), whole);
				CHECK_EQUAL(good, !whole);
				data[at] ^= at == 0 ? 0x10 : 0;
				CHECK_EQUAL(mptcp_mapping_take(&wrong, data + at, part, &good), whole);
				CHECK_EQUAL(good, !whole);
				data[at] ^= at == 0 ? 0x10 : 0;
			}
		}
		free(data);
	}
	/* DATA_FIN alone: nothing but the pseudo-header. */
	CHECK_EQUAL(mptcp_checksum_finish(0, 0x4a9f170856fc745bu, 0, 1), 0xd2ff);
	CHECK_EQUAL(mptcp_checksum_finish(0, 0x2fc422558803a272u, 0, 1), 0x836f);
	{
		/* With data its octet counts in the length. */
		struct mptcp_mapping mapping = { .dsn = 5, .ssn = 9, .length = 2, .data_fin = true, .has_checksum = true };
		bool good;

		mapping.checksum = mptcp_checksum_finish(mptcp_checksum_add(0, 0, (const uint8_t *)"ab", 2), 5, 9, 3);
		CHECK(mptcp_mapping_take(&mapping, (const uint8_t *)"ab", 2, &good));
		CHECK(good);
	}
}

static void
runs(void)
{
	uint64_t dsn;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(mptcp_map_run(&map, 1, 100, &dsn), 0);
	CHECK_EQUAL(add(1, 77, 1000, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(1001, 1077, 500, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(1501, 9000, 500, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(2101, 9600, 500, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(mptcp_map_run(&map, 1, 100, &dsn), 100);
	CHECK_EQUAL(dsn, 77);
	CHECK_EQUAL(mptcp_map_run(&map, 501, 5000, &dsn), 1000);
	CHECK_EQUAL(dsn, 577);
	CHECK_EQUAL(mptcp_map_run(&map, 1500, 5000, &dsn), 1);
	CHECK_EQUAL(dsn, 1576);
	/* Up to a gap, and none in it; the number after it would fit. */
	CHECK_EQUAL(mptcp_map_run(&map, 1501, 5000, &dsn), 500);
	CHECK_EQUAL(mptcp_map_run(&map, 2001, 5000, &dsn), 0);
	CHECK_EQUAL(mptcp_map_run(&map, 2600, 5000, &dsn), 1);
	CHECK_EQUAL(mptcp_map_run(&map, 2601, 5000, &dsn), 0);
	/* Numbers that wrap. */
	mptcp_map_init(&map, slots, SLOTS, UINT32_MAX - 9);
	CHECK_EQUAL(add(UINT32_MAX - 9, UINT64_MAX - 4, 10, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(add(0, 5, 10, -1), MPTCP_MAP_ADDED);
	CHECK_EQUAL(mptcp_map_run(&map, UINT32_MAX - 9, 100, &dsn), 20);
	CHECK_EQUAL(dsn, UINT64_MAX - 4);
}

static bool
extend(uint32_t told, uint32_t ssn, uint64_t dsn, uint32_t length, int checksum)
{
	struct mptcp_mapping more = { .ssn = ssn, .dsn = dsn, .length = length, .has_checksum = checksum >= 0,
	    .checksum = (uint16_t)checksum };

	return (mptcp_map_extend(&map, told, &more, 2000));
}

static void
extending(void)
{
	uint32_t left;

	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK(!extend(1, 1, 77, 100, -1));
	CHECK_EQUAL(add(1, 77, 1000, -1), MPTCP_MAP_ADDED);
	CHECK(extend(1, 1001, 1077, 500, -1));
	CHECK_EQUAL(map.count, 1);
	CHECK_EQUAL(dsn_of(1, &left), 77);
	CHECK_EQUAL(left, 1500);
	/* Not what the peer has been told, not what does not follow, not beyond the most, not with checksums. */
	CHECK(!extend(2, 1501, 1577, 1, -1));
	CHECK(!extend(1, 1502, 1578, 1, -1));
	CHECK(!extend(1, 1501, 1578, 1, -1));
	CHECK(!extend(1, 1501, 1577, 501, -1));
	CHECK(!extend(1, 1501, 1577, 1, 0));
	CHECK(extend(1, 1501, 1577, 500, -1));
	CHECK(!extend(1, 2001, 2077, 1, -1));
	CHECK_EQUAL(add(2001, 2077, 10, 99), MPTCP_MAP_ADDED);
	CHECK(!extend(1, 2011, 2087, 1, -1));
	mptcp_map_init(&map, slots, SLOTS, 1);
	CHECK_EQUAL(add(1, 77, 1000, -1), MPTCP_MAP_ADDED);
	CHECK(mptcp_map_set_infinite(&map, 1001, 1077));
	CHECK(!extend(1, 1001, 1077, 1, -1));
}

int
main(void)
{
	TEST(in_order);
	TEST(filling_gaps);
	TEST(contradictions);
	TEST(a_full_table);
	TEST(numbers_wrap);
	TEST(infinite);
	TEST(infinite_for_long);
	TEST(infinite_begins_earlier);
	TEST(runs);
	TEST(extending);
	TEST(from_dss);
	TEST(checksums);
	DONE();
}
