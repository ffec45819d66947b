/* SPDX-License-Identifier: BSD-2-Clause */
#include "site.h"

static struct lisp_tables tables;

static struct lisp_encap_plan
encap(const char *hex, struct lisp_inner *inner)
{
	size_t length;
	unsigned char *bytes = unhex(hex, &length);
	struct lisp_encap_plan plan;

	lisp_encap_packet(&tables, 0, bytes, length, length, 0, inner, &plan);
	free(bytes);
	return (plan);
}

static struct lisp_encap_plan
encap_flow(struct lisp_inner *inner, unsigned port)
{
	struct lisp_encap_plan plan;

	inner->flow.sport = (uint16_t)port;
	lisp_encap_decide(&tables, 0, inner, inner->length, 0, &plan);
	return (plan);
}

static void
outer_header_v4(void)
{
	struct lisp_inner inner;
	struct lisp_path path = PATH("203.0.113.2", "203.0.123.2");
	struct lisp_encap_plan plan;
	size_t length;
	unsigned char out[LISP_OUTER_MAX], *want;

	site_up(&tables);
	plan = encap(TCP4, &inner);
	CHECK_EQUAL(lisp_pins_set(tables.pins, &inner.flow, &path), 0);
	plan = encap(TCP4, &inner);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK(plan.pinned);
	CHECK_EQUAL(lisp_encap_overhead(&plan), LISP_OUTER_V4);
	plan.source_port = 0xc123;
	lisp_encap_write(&plan, inner.length, out);
	want = unhex("45 2a 004c 0000 4000 40 11 31d1 cb007102 cb007b02  c123 10f5 0038 0000  00 000000 00000000", &length);
	fix_v4(want);
	CHECK_EQUAL(length, LISP_OUTER_V4);
	CHECK_BYTES(out, want, length);
	free(want);
	/* An instance-id is sent with its flag. */
	plan.iid = 0xabcdef;
	lisp_encap_write(&plan, inner.length, out);
	CHECK_BYTES(out + 28, "\x08\0\0\0\xab\xcd\xef\0", 8);
	lisp_tables_fini(&tables);
}

static void
outer_header_v6(void)
{
	static const char *const rlocs[] = { "2001:db8:f2::2" };
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	size_t length;
	unsigned char out[LISP_OUTER_MAX], *want;

	site_up(&tables);
	add_mapping(&tables, "2001:db8:2::/48", 0, 1, rlocs, even_priorities, even_weights);
	plan = encap(TCP6, &inner);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK_EQUAL(lisp_encap_overhead(&plan), LISP_OUTER_V6);
	CHECK(plan.source_port >= 49152);
	plan.source_port = 0xc123;
	plan.hash = 0x00051234;
	lisp_encap_write(&plan, inner.length, out);
	want = unhex("6b95 1234 004c 11 09 20010db800f100000000000000000002 20010db800f200000000000000000002"
	    "c123 10f5 004c 0000  00 000000 00000000", &length);
	CHECK_EQUAL(length, LISP_OUTER_V6);
	CHECK_BYTES(out, want, length);
	free(want);
	lisp_tables_fini(&tables);
}

static void
mixed_families(void)
{
	static const char *const rlocs[] = { "2001:db8:f2::2" };
	struct lisp_inner inner;
	struct lisp_encap_plan plan;

	site_up(&tables);
	plan = encap(TCP6, &inner);	/* IPv6 EID over IPv4 RLOCs */
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK_EQUAL(plan.path.remote.af, LISP_AF_V4);
	add_mapping(&tables, "198.18.0.0/16", 0, 1, rlocs, even_priorities, even_weights);
	plan = encap(TCP4, &inner);	/* IPv4 EID over an IPv6 RLOC */
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK(is_addr(&plan.path.local, "2001:db8:f1::2"));
	CHECK_EQUAL(plan.mtu, 1500 - 56);
	lisp_tables_fini(&tables);
}

static void
truncated_or_odd_packets_are_dropped(void)
{
	size_t length, whole;
	unsigned char *bytes = unhex(TCP4, &whole);

	site_up(&tables);
	for (length = 0; length < whole; length++) {
		unsigned char *part = cut(bytes, length);
		struct lisp_inner inner;
		struct lisp_encap_plan plan;

		lisp_encap_packet(&tables, 0, part, length, length, 0, &inner, &plan);
		CHECK_EQUAL(plan.verdict, LISP_DROP);
		CHECK_EQUAL(plan.cause, LISP_DROP_INNER_TRUNCATED);
		free(part);
	}
	free(bytes);
	lisp_tables_fini(&tables);
}

static void
miss_and_negative_mappings(void)
{
	static const struct { unsigned action; enum lisp_verdict verdict; enum lisp_drop cause; } actions[] = {
		{ LISP_ACTION_NONE, LISP_DROP, LISP_DROP_MAPPING_DROP },
		{ LISP_ACTION_NATIVE, LISP_NATIVE, LISP_DROP_NATIVE_FORWARD },
		{ LISP_ACTION_SEND_MAP_REQUEST, LISP_MISS, LISP_DROP_NO_MAPPING },
		{ LISP_ACTION_DROP, LISP_DROP, LISP_DROP_MAPPING_DROP },
		{ LISP_ACTION_DROP_POLICY, LISP_DROP, LISP_DROP_MAPPING_POLICY },
		{ LISP_ACTION_DROP_AUTH, LISP_DROP, LISP_DROP_MAPPING_AUTH },
	};
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	struct lisp_prefix eid = P("198.18.0.0/16");
	unsigned i;

	site_up(&tables);
	CHECK_EQUAL(lisp_mapcache_delete(tables.mapcache, 0, &eid), 0);
	plan = encap(TCP4, &inner);
	CHECK_EQUAL(plan.verdict, LISP_MISS);
	CHECK_EQUAL(plan.cause, LISP_DROP_NO_MAPPING);
	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		add_mapping(&tables, "198.18.0.0/16", actions[i].action, 0, NULL, NULL, NULL);
		plan = encap(TCP4, &inner);
		CHECK_EQUAL(plan.verdict, actions[i].verdict);
		CHECK_EQUAL(plan.cause, actions[i].cause);
	}
	lisp_tables_fini(&tables);
}

static void
weights_share_flows(void)
{
	static const int weights[] = { 75, 25 };
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	unsigned port, first = 0, ports[16] = { 0 };

	site_up(&tables);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, even_priorities, weights);
	encap(TCP4, &inner);
	for (port = 1; port <= 10000; port++) {
		plan = encap_flow(&inner, port);
		first += is_addr(&plan.path.remote, "203.0.123.2");
		ports[(plan.source_port - 49152) >> 10]++;
		/* Providers are paired in order: first locator from the first local RLOC. */
		CHECK(is_addr(&plan.path.local, is_addr(&plan.path.remote, "203.0.123.2") ? "203.0.113.2" : "203.0.114.2"));
		if (tap_bad != 0)
			break;
	}
	CHECK(first > 7300 && first < 7700);
	for (port = 0; port < 16; port++)
		CHECK(ports[port] > 450 && ports[port] < 800);
	/* The same flow always goes the same way. */
	plan = encap_flow(&inner, 4711);
	for (port = 0; port < 10; port++) {
		struct lisp_encap_plan again = encap_flow(&inner, 4711);

		CHECK(lisp_path_equal(&plan.path, &again.path) && plan.source_port == again.source_port);
	}
	lisp_tables_fini(&tables);
}

static unsigned
share_of_first(struct lisp_inner *inner)
{
	unsigned port, first = 0;

	for (port = 1; port <= 200; port++) {
		struct lisp_encap_plan plan = encap_flow(inner, port);

		CHECK_EQUAL(plan.verdict, LISP_FORWARD);
		first += is_addr(&plan.path.remote, "203.0.123.2");
	}
	return (first);
}

static void
priorities_and_states(void)
{
	static const int first_preferred[] = { 1, 2 }, first_forbidden[] = { 255, 2 }, both_forbidden[] = { 255, 255 };
	static const int zero[] = { 0, 0 }, one_zero[] = { 0, 10 };
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	struct lisp_path straight = PATH("203.0.113.2", "203.0.123.2"), across = PATH("203.0.114.2", "203.0.123.2");
	struct lisp_addr rloc = A("203.0.123.2");
	unsigned first;

	site_up(&tables);
	encap(TCP4, &inner);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, first_preferred, even_weights);
	CHECK_EQUAL(share_of_first(&inner), 200);
	/* One way to it is down: the other local RLOC takes over. */
	lisp_paths_set_state(tables.paths, &straight, false);
	CHECK_EQUAL(share_of_first(&inner), 200);
	plan = encap_flow(&inner, 1);
	CHECK(lisp_path_equal(&plan.path, &across));
	/* Both are: next priority. */
	lisp_paths_set_state(tables.paths, &across, false);
	CHECK_EQUAL(share_of_first(&inner), 0);
	lisp_paths_set_state(tables.paths, &straight, true);
	CHECK_EQUAL(share_of_first(&inner), 200);
	lisp_paths_set_state(tables.paths, &across, true);
	/* The locator itself is down. */
	lisp_mapcache_set_locator_state(tables.mapcache, &rloc, false);
	CHECK_EQUAL(share_of_first(&inner), 0);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, first_forbidden, even_weights);
	CHECK_EQUAL(share_of_first(&inner), 0);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, both_forbidden, even_weights);
	plan = encap_flow(&inner, 1);
	CHECK_EQUAL(plan.verdict, LISP_DROP);
	CHECK_EQUAL(plan.cause, LISP_DROP_NO_LOCATOR);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, even_priorities, zero);
	first = share_of_first(&inner);
	CHECK(first > 60 && first < 140);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, even_priorities, one_zero);
	CHECK_EQUAL(share_of_first(&inner), 0);
	lisp_tables_fini(&tables);
}

static void
pins_win(void)
{
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	struct lisp_path path = PATH("203.0.114.2", "203.0.123.2"), foreign = PATH("203.0.99.2", "203.0.123.2"),
	    elsewhere = PATH("203.0.113.2", "203.0.99.9");

	site_up(&tables);
	encap(TCP4, &inner);
	lisp_pins_set(tables.pins, &inner.flow, &path);
	lisp_paths_set_state(tables.paths, &path, false);	/* pins to it stay */
	plan = encap(TCP4, &inner);
	CHECK(plan.pinned && lisp_path_equal(&plan.path, &path));
	/* From an RLOC this host no longer has: not possible, so by the map-cache. */
	lisp_pins_set(tables.pins, &inner.flow, &foreign);
	plan = encap(TCP4, &inner);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK(!plan.pinned);
	lisp_pins_delete(tables.pins, &inner.flow);
	/* Gleaned, but not among the mapping's locators; gleaned and the path is down; gleaned and all is well. */
	lisp_pins_glean(tables.pins, &inner.flow, &elsewhere, 0);
	plan = encap(TCP4, &inner);
	CHECK(!plan.pinned && !lisp_path_equal(&plan.path, &elsewhere));
	lisp_pins_glean(tables.pins, &inner.flow, &path, 0);
	plan = encap(TCP4, &inner);
	CHECK(!plan.pinned);
	lisp_paths_set_state(tables.paths, &path, true);
	plan = encap(TCP4, &inner);
	CHECK(plan.pinned && lisp_path_equal(&plan.path, &path));
	lisp_tables_fini(&tables);
}

static void
recursion(void)
{
	static const char *const inside[] = { "198.19.0.1" }, *const own[] = { "192.0.2.5" }, *const me[] = { "203.0.114.2" };
	struct lisp_inner inner;
	struct lisp_encap_plan plan;

	site_up(&tables);
	encap(TCP4, &inner);
	add_mapping(&tables, "198.18.0.0/16", 0, 1, inside, even_priorities, even_weights);
	plan = encap_flow(&inner, 1);
	CHECK_EQUAL(plan.cause, LISP_DROP_RECURSION);
	add_mapping(&tables, "198.18.0.0/16", 0, 1, own, even_priorities, even_weights);
	plan = encap_flow(&inner, 1);
	CHECK_EQUAL(plan.cause, LISP_DROP_RECURSION);
	add_mapping(&tables, "198.18.0.0/16", 0, 1, me, even_priorities, even_weights);
	plan = encap_flow(&inner, 1);
	CHECK_EQUAL(plan.cause, LISP_DROP_RECURSION);
	add_mapping(&tables, "198.18.0.0/16", 0, 2, dc_rlocs, even_priorities, even_weights);
	/* Our own LISP packet, come back into the device. */
	inner.flow.src = A("203.0.113.2");
	inner.flow.proto = 17;
	inner.flow.dport = LISP_DATA_PORT;
	plan = encap_flow(&inner, 50000);
	CHECK_EQUAL(plan.verdict, LISP_DROP);
	CHECK_EQUAL(plan.cause, LISP_DROP_RECURSION);
	/* Somebody else's LISP is a packet like any other. */
	inner.flow.src = A("192.0.2.1");
	plan = encap_flow(&inner, 50000);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	lisp_tables_fini(&tables);
}

static void
mtu(void)
{
	struct lisp_inner inner;
	struct lisp_encap_plan plan;
	struct lisp_path one = PATH("203.0.113.2", "203.0.123.2"), two = PATH("203.0.114.2", "203.0.124.2");

	site_up(&tables);
	encap(TCP4, &inner);
	lisp_encap_decide(&tables, 0, &inner, 1464, 0, &plan);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK_EQUAL(plan.mtu, 1464);
	lisp_encap_decide(&tables, 0, &inner, 1465, 0, &plan);
	CHECK_EQUAL(plan.verdict, LISP_TOO_BIG);
	lisp_paths_lower_mtu(tables.paths, &one, 1400, 0);
	lisp_paths_lower_mtu(tables.paths, &two, 1400, 0);
	lisp_encap_decide(&tables, 0, &inner, 1365, 0, &plan);
	CHECK_EQUAL(plan.verdict, LISP_TOO_BIG);
	CHECK_EQUAL(plan.mtu, 1364);
	encap(TCP6, &inner);
	lisp_paths_lower_mtu(tables.paths, &one, 1000, 0);
	lisp_paths_lower_mtu(tables.paths, &two, 1000, 0);
	lisp_encap_decide(&tables, 0, &inner, 1281, 0, &plan);
	CHECK_EQUAL(plan.verdict, LISP_TOO_BIG);
	CHECK_EQUAL(plan.mtu, 1280);
	lisp_encap_decide(&tables, 0, &inner, 1280, 0, &plan);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	lisp_tables_fini(&tables);
}

static void
fragments_stay_together(void)
{
	struct lisp_inner inner;
	struct lisp_encap_plan first, rest;
	struct lisp_path path = PATH("203.0.114.2", "203.0.123.2");
	size_t length;
	unsigned char *bytes = unhex(UDP4, &length);

	site_up(&tables);
	encap(UDP4, &inner);
	lisp_pins_set(tables.pins, &inner.flow, &path);
	bytes[6] = 0x20;
	fix_v4(bytes);
	lisp_encap_packet(&tables, 0, bytes, length, length, 0, &inner, &first);
	bytes[6] = 0;
	bytes[7] = 4;
	fix_v4(bytes);
	lisp_encap_packet(&tables, 0, bytes, length, length, 0, &inner, &rest);
	CHECK_EQUAL(first.verdict, LISP_FORWARD);
	CHECK(lisp_path_equal(&first.path, &rest.path) && first.source_port == rest.source_port && !first.pinned);
	free(bytes);
	lisp_tables_fini(&tables);
}

int
main(void)
{
	TEST(outer_header_v4);
	TEST(outer_header_v6);
	TEST(mixed_families);
	TEST(truncated_or_odd_packets_are_dropped);
	TEST(miss_and_negative_mappings);
	TEST(weights_share_flows);
	TEST(priorities_and_states);
	TEST(pins_win);
	TEST(recursion);
	TEST(mtu);
	TEST(fragments_stay_together);
	DONE();
}
