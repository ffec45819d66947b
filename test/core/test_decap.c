/* SPDX-License-Identifier: BSD-2-Clause */
#include "site.h"

/* 198.18.1.10:443 -> 192.0.2.1:33000, TCP SYN-ACK, DF, TTL 60, tos 2 (ECT(0)). */
#define	BACK4 "45 02 00 28 12 34 40 00 3c 06 a3 7c c6 12 01 0a c0 00 02 01 01 bb 80 e8 00 00 00 09 00 00 00 02 50 12 ff ff 00 00 00 00"
#define	BACK6 "60 20 00 00 00 14 06 3c 20010db800020000000000000000000a 20010db8000100000000000000000001" \
	"01 bb 80 e8 00 00 00 09 00 00 00 02 50 12 ff ff 00 00 00 00"
#define	LISP0 "00 000000 00000000"

static struct lisp_tables tables;
static struct lisp_outer outer;
static unsigned char last[2048];

static void
up(void)
{
	site_up(&tables);
	memset(&outer, 0, sizeof(outer));
	outer.src = A("203.0.123.2");
	outer.dst = A("203.0.113.2");
	outer.sport = 50000;
	outer.tos = 2;
	outer.ttl = 60;
}

static struct lisp_decap_plan
decap(const char *hex)
{
	size_t length;
	unsigned char *bytes = unhex(hex, &length);
	struct lisp_decap_plan plan;

	if (bytes[8] >> 4 == 4 && length >= 28)
		fix_v4(bytes + 8);
	lisp_decap_decide(&tables, &outer, bytes, length, length, 5, &plan);
	if (plan.verdict == LISP_FORWARD)
		lisp_decap_apply(&plan, bytes + LISP_HEADER_SIZE);
	memcpy(last, bytes + 8, length - 8);
	free(bytes);
	return (plan);
}

static enum lisp_drop
dropped(const char *hex)
{
	struct lisp_decap_plan plan = decap(hex);

	return (plan.verdict == LISP_DROP ? plan.cause : LISP_DROP_NONE);
}

static void
delivers(void)
{
	struct lisp_decap_plan plan;

	up();
	plan = decap(LISP0 BACK4);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK_EQUAL(plan.inner.length, 40);
	CHECK(is_addr(&plan.path.local, "203.0.113.2") && is_addr(&plan.path.remote, "203.0.123.2"));
	CHECK_EQUAL(plan.tos, 2);
	CHECK_EQUAL(plan.ttl, 60);
	plan = decap(LISP0 BACK6);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	lisp_tables_fini(&tables);
}

static void
every_truncation(void)
{
	size_t length, whole;
	unsigned char *bytes = unhex(LISP0 BACK6, &whole);

	up();
	for (length = 0; length < whole; length++) {
		unsigned char *part = cut(bytes, length);
		struct lisp_decap_plan plan;

		lisp_decap_decide(&tables, &outer, part, length, length, 0, &plan);
		CHECK_EQUAL(plan.verdict, LISP_DROP);
		CHECK_EQUAL(plan.cause, length < 8 ? LISP_DROP_OUTER_TRUNCATED : LISP_DROP_INNER_TRUNCATED);
		free(part);
	}
	free(bytes);
	lisp_tables_fini(&tables);
}

static void
refuses(void)
{
	struct lisp_decap_plan plan;
	struct lisp_prefix mapping = P("198.18.0.0/16");

	up();
	CHECK_EQUAL(dropped("08 000000 00000500" BACK4), LISP_DROP_IID);
	CHECK_EQUAL(dropped("01 000000 00000000" BACK4), LISP_DROP_LISP_ENCRYPTED);
	CHECK_EQUAL(dropped(LISP0 TCP4), LISP_DROP_NOT_LOCAL);
	/* Spoofed: comes from outside with an inner source of this site. */
	CHECK_EQUAL(dropped(LISP0 "45 02 00 28 12 34 40 00 3c 06 0000 c0 00 02 02 c0 00 02 01"
	    "01bb 80e8 00000009 00000002 5012 ffff 0000 0000"), LISP_DROP_SOURCE_LOCAL);
	outer.src = A("203.0.99.9");
	CHECK_EQUAL(dropped(LISP0 BACK4), LISP_DROP_SOURCE_RLOC);
	tables.source_check = false;
	plan = decap(LISP0 BACK4);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK(!plan.glean);
	tables.source_check = true;
	CHECK_EQUAL(lisp_mapcache_delete(tables.mapcache, 0, &mapping), 0);
	plan = decap(LISP0 BACK4);
	CHECK_EQUAL(plan.verdict, LISP_MISS);
	CHECK(is_addr(&plan.inner.flow.src, "198.18.1.10"));
	add_mapping(&tables, "198.18.0.0/16", LISP_ACTION_NATIVE, 0, NULL, NULL, NULL);
	CHECK_EQUAL(dropped(LISP0 BACK4), LISP_DROP_SOURCE_RLOC);
	outer.dst = A("203.0.99.1");
	CHECK_EQUAL(dropped(LISP0 BACK4), LISP_DROP_OUTER_ADDRESS);
	outer.dst = A("203.0.113.2");
	outer.src = A("0.0.0.0");
	CHECK_EQUAL(dropped(LISP0 BACK4), LISP_DROP_OUTER_ADDRESS);
	lisp_tables_fini(&tables);
}

static void
lisp_in_lisp_to_this_host(void)
{
	struct lisp_prefix eid = P("203.0.113.0/24");

	up();
	/* Even where the configuration calls the RLOC an EID. */
	lisp_tables_add_eid(&tables, 0, &eid);
	CHECK_EQUAL(dropped(LISP0 "45 02 00 24 12 34 40 00 3c 11 0000 c612010a cb007102 c123 10f5 0010 0000" LISP0),
	    LISP_DROP_RECURSION);
	lisp_tables_fini(&tables);
}

/* RFC 6040, figure 4: rows inner, columns outer; 4: drop. Order of code points: Not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3. */
static void
ecn_table(void)
{
	static const unsigned table[4][4] = {
		{ 0, 0, 0, 4 },
		{ 1, 1, 1, 3 },
		{ 2, 1, 2, 3 },
		{ 3, 3, 3, 3 },
	};
	unsigned in, out;

	for (in = 0; in < 4; in++)
		for (out = 0; out < 4; out++) {
			uint8_t tos = 0xff;
			bool keep = lisp_decap_tos((uint8_t)(0xa0 | in), (uint8_t)(0x48 | out), &tos);

			CHECK_EQUAL(keep, table[in][out] != 4);
			if (keep)
				CHECK_EQUAL(tos, 0x48 | table[in][out]);
		}
}

static void
ttl_and_tos_reach_the_packet(void)
{
	struct lisp_decap_plan plan;

	up();
	outer.ttl = 5;
	outer.tos = 0x2b;
	plan = decap(LISP0 BACK4);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK_EQUAL(last[8], 5);
	CHECK_EQUAL(last[1], 0x2b);
	outer.ttl = 200;	/* never raised, or loops would live for ever */
	decap(LISP0 BACK4);
	CHECK_EQUAL(last[8], 60);
	outer.tos = 3;
	CHECK_EQUAL(dropped(LISP0 "45 00 00 28 12 34 40 00 3c 06 0000 c612010a c0000201 01bb80e8 00000009 00000002 5012ffff 00000000"),
	    LISP_DROP_ECN);
	outer.ttl = 0;
	outer.tos = 0;
	CHECK_EQUAL(dropped(LISP0 BACK4), LISP_DROP_INNER_TTL);
	lisp_tables_fini(&tables);
}

static void
gleaning(void)
{
	struct lisp_decap_plan plan;
	struct lisp_encap_plan back;
	struct lisp_inner inner;
	struct lisp_flow reverse;
	size_t length;
	unsigned char *bytes;

	up();
	plan = decap(LISP0 BACK4);
	CHECK(!plan.glean);
	tables.glean = true;
	outer.src = A("203.0.124.2");
	plan = decap(LISP0 BACK4);
	CHECK(plan.glean);
	reverse = lisp_flow_reverse(&plan.inner.flow);
	CHECK_EQUAL(lisp_pins_glean(tables.pins, &reverse, &plan.path, 5), 0);
	plan = decap(LISP0 BACK4);
	CHECK(!plan.glean);
	/* The answer takes the path the question came on, crossing over providers. */
	bytes = unhex(TCP4, &length);
	lisp_encap_packet(&tables, 0, bytes, length, length, 6, &inner, &back);
	CHECK(back.pinned && is_addr(&back.path.local, "203.0.113.2") && is_addr(&back.path.remote, "203.0.124.2"));
	free(bytes);
	/* The peer moves the flow: so do we. */
	outer.src = A("203.0.123.2");
	plan = decap(LISP0 BACK4);
	CHECK(plan.glean);
	/* A pin of the gateway's is not touched. */
	CHECK_EQUAL(lisp_pins_set(tables.pins, &reverse, &back.path), 0);
	plan = decap(LISP0 BACK4);
	CHECK(!plan.glean);
	lisp_tables_fini(&tables);
}

static void
there_and_back(void)
{
	struct lisp_limits limits = { 10, 10, 10, 10, 10 };
	struct lisp_tables far;
	struct lisp_addr rlocs[] = { A("203.0.123.2"), A("203.0.124.2") };
	struct lisp_prefix eid = P("198.18.0.0/16"), eid6 = P("2001:db8:2::/48");
	static const char *const gateway[] = { "203.0.113.2", "203.0.114.2" };
	static const char *const packets[] = { TCP4, UDP4, TCP6 };
	unsigned i;

	up();
	lisp_tables_init(&far, &limits, 2);
	lisp_tables_set_rlocs(&far, rlocs, 2);
	lisp_tables_add_eid(&far, 0, &eid);
	lisp_tables_add_eid(&far, 0, &eid6);
	add_mapping(&far, "192.0.2.0/28", 0, 2, gateway, even_priorities, even_weights);
	add_mapping(&far, "2001:db8:1::/48", 0, 2, gateway, even_priorities, even_weights);
	for (i = 0; i < 3; i++) {
		size_t length, at, payload;
		unsigned char *bytes = unhex(packets[i], &length), wire[256];
		struct lisp_encap_plan plan;
		struct lisp_decap_plan arrived;
		struct lisp_inner inner;
		struct lisp_outer seen;
		enum lisp_drop cause;
		size_t cutoff;

		lisp_encap_packet(&tables, 0, bytes, length, length, 0, &inner, &plan);
		CHECK_EQUAL(plan.verdict, LISP_FORWARD);
		lisp_encap_write(&plan, length, wire);
		memcpy(wire + lisp_encap_overhead(&plan), bytes, length);
		at = lisp_outer_parse(wire, lisp_encap_overhead(&plan) + length, &seen, &payload, &cause);
		CHECK_EQUAL(at, lisp_encap_overhead(&plan) - 8);
		CHECK_EQUAL(payload, length + 8);
		lisp_decap_decide(&far, &seen, wire + at, payload, payload, 0, &arrived);
		CHECK_EQUAL(arrived.verdict, LISP_FORWARD);
		lisp_decap_apply(&arrived, wire + at + 8);
		CHECK_BYTES(wire + at + 8, bytes, length);
		for (cutoff = 0; cutoff < lisp_encap_overhead(&plan) + length; cutoff++) {
			unsigned char *part = cut(wire, cutoff);

			CHECK_EQUAL(lisp_outer_parse(part, cutoff, &seen, &payload, &cause), 0);
			CHECK_EQUAL(cause, LISP_DROP_OUTER_TRUNCATED);
			free(part);
		}
		free(bytes);
	}
	lisp_tables_fini(&far);
	lisp_tables_fini(&tables);
}

/*
 * What is decided of the next packet of a train by looking at the one before is what would be decided of it alone: for every single octet
 * that may be another, once with the header's checksum as it was and once made right.
 */
static void
train(const char *lisp, const char *packet, unsigned *same)
{
	size_t length, at;
	unsigned char *first, *next;
	char hex[512];
	unsigned value;
	int right;

	snprintf(hex, sizeof(hex), "%s%s", lisp, packet);
	first = unhex(hex, &length);
	if (first[8] >> 4 == 4)
		fix_v4(first + 8);
	for (at = 0; at < length; at++) {
		for (value = 0; value < 512; value++) {
			struct lisp_decap_plan previous, again, alone;
			size_t there = length - (value & 1 ? 0 : value % 3);

			right = value & 1;
			next = cut(first, there);
			if (at < there)
				next[at] = (unsigned char)(value >> 1);
			if (right && next[8] >> 4 == 4 && there >= 8u + (next[8] & 15) * 4u && (next[8] & 15) >= 5)
				fix_v4(next + 8);
			lisp_decap_decide(&tables, &outer, first, length, length, 5, &previous);
			CHECK_EQUAL(previous.verdict, LISP_FORWARD);
			/* As if it had been gleaned before. */
			previous.glean = false;
			memset(&again, 0, sizeof(again));
			lisp_decap_decide(&tables, &outer, next, there, there, 5, &alone);
			if (lisp_decap_again(&previous, &outer, next, there, there, &again)) {
				CHECK_EQUAL(alone.verdict, LISP_FORWARD);
				CHECK(memcmp(&again.header, &alone.header, sizeof(again.header)) == 0);
				CHECK(lisp_flow_equal(&again.inner.flow, &alone.inner.flow));
				CHECK_EQUAL(again.inner.length, alone.inner.length);
				CHECK_EQUAL(again.inner.header_length, alone.inner.header_length);
				CHECK_EQUAL(again.inner.proto_offset, alone.inner.proto_offset);
				CHECK(again.inner.af == alone.inner.af && again.inner.ttl == alone.inner.ttl &&
				    again.inner.tos == alone.inner.tos && again.inner.tcp_flags == alone.inner.tcp_flags);
				CHECK(again.inner.df == alone.inner.df && again.inner.fragment == alone.inner.fragment &&
				    again.inner.first_fragment == alone.inner.first_fragment &&
				    again.inner.icmp_error == alone.inner.icmp_error);
				CHECK(again.tos == alone.tos && again.ttl == alone.ttl && again.path_number == alone.path_number);
				CHECK(lisp_path_equal(&again.path, &alone.path));
				++*same;
			}
			free(next);
		}
	}
	free(first);
}

static void
trains(void)
{
	unsigned same = 0;

	up();
	train(LISP0, BACK4, &same);
	CHECK(same > 1000);
	same = 0;
	train(LISP0, BACK6, &same);
	CHECK(same > 1000);
	/* A version of the mapping, and an instance. */
	train("10 001002 00000000", BACK4, &same);
	lisp_tables_fini(&tables);
}

int
main(void)
{
	TEST(delivers);
	TEST(trains);
	TEST(every_truncation);
	TEST(refuses);
	TEST(lisp_in_lisp_to_this_host);
	TEST(ecn_table);
	TEST(ttl_and_tos_reach_the_packet);
	TEST(gleaning);
	TEST(there_and_back);
	DONE();
}
