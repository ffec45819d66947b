/* SPDX-License-Identifier: BSD-2-Clause */
/* What is around the core in user space: holding and releasing packets, events, and all of it from several threads at once. */
#include "site.h"
#include <stdatomic.h>
#include <common/plane_core.h>

static atomic_int notified;

static void
notify(void *context)
{
	(void)context;
	atomic_fetch_add(&notified, 1);
}

static struct am_core *
make(void)
{
	struct am_core *core = am_core_new(0, notify, NULL);
	struct lisp_addr rlocs[] = { A("203.0.113.2"), A("203.0.114.2") };
	struct lisp_prefix eid = P("192.0.2.0/28"), route = P("198.18.0.0/15");
	struct am_site site = { 0, rlocs, 2, &eid, 1, &route, 1, true, true, 1500 };

	if (core == NULL || am_core_set_site(core, &site) != 0)
		abort();
	return (core);
}

static struct lisp_mapping
mapping_of(const char *eid, const char *rloc)
{
	struct lisp_mapping m;

	memset(&m, 0, sizeof(m));
	m.eid = P(eid);
	m.nlocators = 1;
	m.locators[0] = (struct lisp_locator){ .rloc = A(rloc), .priority = 1, .weight = 1, .up = true };
	return (m);
}

static void
held_packets_are_released_by_their_mapping(void)
{
	struct am_core *core = make();
	struct lisp_addr one = A("198.18.1.1"), two = A("198.19.1.1");
	struct lisp_mapping m = mapping_of("198.18.0.0/16", "203.0.123.2");
	struct am_event events[8];
	struct am_stats stats;
	struct am_held *held;
	int i;

	atomic_store(&notified, 0);
	for (i = 0; i < 40; i++)
		am_core_hold(core, AM_ENCAP, 0, &one, NULL, NULL, 0, (const uint8_t *)"x", 1, 1000);
	am_core_hold(core, AM_DECAP, 0, &two, NULL, NULL, 0, (const uint8_t *)"yy", 2, 1000);
	am_core_stats(core, &stats);
	CHECK_EQUAL(stats.queued, 33);	/* one EID may not take the whole queue */
	CHECK_EQUAL(stats.drops[LISP_DROP_QUEUE_FULL], 8);
	CHECK_EQUAL(am_core_events(core, events, 8), 2);	/* one for each EID, not for each packet */
	CHECK_EQUAL(events[0].type, AM_EVENT_MISS);
	CHECK(is_addr(&events[0].eid, "198.18.1.1"));
	CHECK_EQUAL(events[1].direction, AM_DECAP);
	CHECK_EQUAL(atomic_load(&notified), 1);
	CHECK(!am_core_has_released(core, AM_ENCAP));
	CHECK_EQUAL(am_core_set_mapping(core, &m), 0);
	CHECK(am_core_has_released(core, AM_ENCAP) && !am_core_has_released(core, AM_DECAP));
	for (i = 0, held = am_core_released(core, AM_ENCAP); held != NULL; i++) {
		struct am_held *next = held->next;

		CHECK_EQUAL(held->length, 1);
		free(held);
		held = next;
	}
	CHECK_EQUAL(i, 32);
	/* One that comes while the mapping does is not forgotten. */
	am_core_hold(core, AM_ENCAP, 0, &one, NULL, NULL, 0, (const uint8_t *)"z", 1, 1000);
	CHECK(am_core_has_released(core, AM_ENCAP));
	am_core_housekeeping(core, 3999);
	am_core_stats(core, &stats);
	CHECK_EQUAL(stats.queued, 2);
	am_core_housekeeping(core, 4000);
	am_core_stats(core, &stats);
	CHECK_EQUAL(stats.queued, 1);
	CHECK_EQUAL(stats.drops[LISP_DROP_QUEUE_EXPIRED], 1);
	am_core_free(core);
}

static void
events_are_bounded(void)
{
	struct am_core *core = make();
	struct am_event events[64];
	struct am_stats stats;
	unsigned i, taken, all = 0;

	for (i = 0; i < 5000; i++) {
		struct lisp_addr eid = A("198.18.0.0");

		eid.bytes[2] = (uint8_t)(i >> 8);
		eid.bytes[3] = (uint8_t)i;
		am_core_hold(core, AM_ENCAP, 0, &eid, NULL, NULL, 0, (const uint8_t *)"x", 1, 5000);
	}
	while ((taken = am_core_events(core, events, 64)) != 0)
		all += taken;
	am_core_stats(core, &stats);
	CHECK_EQUAL(all, 1000);
	CHECK_EQUAL(stats.events_dropped, 4000);
	CHECK_EQUAL(stats.queued, 512);
	/* The other direction has a queue of its own. */
	am_core_hold(core, AM_DECAP, 0, &(struct lisp_addr){ .af = LISP_AF_V4, .bytes = { 198, 18, 0, 1 } }, NULL, NULL, 0,
	    (const uint8_t *)"x", 1, 5000);
	am_core_stats(core, &stats);
	CHECK_EQUAL(stats.queued, 513);
	am_core_free(core);
}

static void
a_site_is_replaced_whole_or_not_at_all(void)
{
	struct am_core *core = make();
	struct lisp_addr twice[] = { A("203.0.113.9"), A("203.0.113.9") };
	struct am_site bad = { 0, twice, 2, NULL, 0, NULL, 0, true, true, 1500 };
	struct lisp_mapping m = mapping_of("198.18.0.0/16", "203.0.123.2");
	struct lisp_encap_plan plan;
	struct lisp_inner inner;
	enum lisp_drop cause;
	size_t length;
	unsigned char *packet = unhex(TCP4, &length);

	CHECK_EQUAL(am_core_set_mapping(core, &m), 0);
	CHECK_EQUAL(am_core_set_site(core, &bad), EINVAL);
	CHECK(lisp_inner_parse(packet, length, length, true, &inner, &cause));
	am_core_encap(core, &inner, 40, 1, 40, 1, &plan);
	CHECK_EQUAL(plan.verdict, LISP_FORWARD);
	CHECK_EQUAL(plan.path_number, 0);
	bad.nrlocs = 0;
	CHECK_EQUAL(am_core_set_site(core, &bad), 0);
	am_core_encap(core, &inner, 40, 1, 40, 1, &plan);
	CHECK_EQUAL(plan.cause, LISP_DROP_NO_LOCATOR);
	am_core_free(core);
	free(packet);
}

static void
a_path_narrows_once(void)
{
	struct am_core *core = make();
	struct lisp_path path = PATH("203.0.113.2", "203.0.123.2"), other = PATH("203.0.113.2", "203.0.99.9");
	struct am_event event;

	CHECK_EQUAL(am_core_set_path_state(core, &path, false), 0);	/* makes it known */
	am_core_lower_mtu(core, &path, 1400, 1);
	am_core_lower_mtu(core, &path, 1400, 1);
	am_core_lower_mtu(core, &path, 9000, 1);
	am_core_lower_mtu(core, &other, 1300, 1);	/* a path nothing was sent on: somebody makes it up */
	CHECK_EQUAL(am_core_events(core, &event, 1), 1);
	CHECK_EQUAL(event.type, AM_EVENT_PATH_MTU);
	CHECK_EQUAL(event.mtu, 1364);
	CHECK_EQUAL(am_core_events(core, &event, 1), 0);
	am_core_free(core);
}

/* Two threads of packets, one of changes: for ThreadSanitizer. */
static struct am_core *shared;
static atomic_bool over;

static void *
encap_loop(void *context)
{
	size_t length;
	unsigned char *packet = unhex(TCP4, &length);
	unsigned i;

	(void)context;
	for (i = 0; !atomic_load(&over); i++) {
		struct lisp_inner inner;
		struct lisp_encap_plan plan;
		enum lisp_drop cause;

		packet[20] = (unsigned char)i;
		if (!lisp_inner_parse(packet, length, length, false, &inner, &cause))
			abort();
		am_core_encap(shared, &inner, 40, 1, 40, am_now_ms(), &plan);
		if (plan.verdict == LISP_MISS)
			am_core_hold(shared, AM_ENCAP, 0, &inner.flow.dst, NULL, NULL, 0, packet, length, am_now_ms());
		if (am_core_has_released(shared, AM_ENCAP)) {
			struct am_held *held = am_core_released(shared, AM_ENCAP), *next;

			for (; held != NULL; held = next) {
				next = held->next;
				free(held);
			}
		}
	}
	free(packet);
	return (NULL);
}

static void *
decap_loop(void *context)
{
	static const char back[] = "00 000000 00000000 45 02 00 28 12 34 40 00 3c 06 0000 c6 12 01 0a c0 00 02 01 01 bb 80 e8"
	    "00 00 00 09 00 00 00 02 50 12 ff ff 00 00 00 00";
	struct lisp_outer outer;
	unsigned i;

	(void)context;
	memset(&outer, 0, sizeof(outer));
	outer.src = A("203.0.123.2");
	outer.dst = A("203.0.113.2");
	outer.ttl = 60;
	outer.tos = 2;
	for (i = 0; !atomic_load(&over); i++) {
		struct lisp_decap_plan plans[4];
		size_t length;
		unsigned char *packet = unhex(back, &length);

		packet[31] = (unsigned char)i;
		fix_v4(packet + 8);
		am_core_decap(shared, &outer, packet, length, length, am_now_ms(), plans, 4);
		if (plans[0].verdict == LISP_MISS)
			am_core_hold(shared, AM_DECAP, 0, &plans[0].inner.flow.src, &outer, NULL, 0, packet, length, am_now_ms());
		if (i % 64 == 0)
			am_core_housekeeping(shared, am_now_ms());
		free(packet);
	}
	return (NULL);
}

static void
threads(void)
{
	pthread_t encap, decap;
	struct lisp_mapping m = mapping_of("198.18.0.0/16", "203.0.123.2"), out;
	struct lisp_path path = PATH("203.0.114.2", "203.0.123.2");
	struct lisp_flow flow;
	struct lisp_pin pin;
	struct lisp_path_info info;
	struct am_event events[16];
	struct am_stats stats;
	unsigned i;

	shared = make();
	atomic_store(&over, false);
	memset(&flow, 0, sizeof(flow));
	flow.proto = 6;
	flow.src = A("192.0.2.1");
	flow.dst = A("198.18.1.10");
	flow.dport = 443;
	pthread_create(&encap, NULL, encap_loop, NULL);
	pthread_create(&decap, NULL, decap_loop, NULL);
	memset(&stats, 0, sizeof(stats));
	/* Both threads have to have been at it, however slow the machine. */
	for (i = 0; i < 2000 || ((stats.encapsulated == 0 || stats.decapsulated == 0) && i < 2000000); i++) {
		uint32_t cursor = 0;
		uint64_t pins = 0;

		CHECK_EQUAL(am_core_set_mapping(shared, &m), 0);
		flow.sport = (uint16_t)(0xe8 | (i & 0xff) << 8);
		CHECK_EQUAL(am_core_pin(shared, &flow, &path), 0);
		while (am_core_next_mapping(shared, &cursor, &out) == 0)
			;
		if (i % 16 == 0)
			while (am_core_next_pin(shared, &pins, &pin) == 0)
				;
		am_core_set_path_state(shared, &path, i % 2 == 0);
		am_core_lower_mtu(shared, &path, (uint16_t)(1499 - i % 50), am_now_ms());
		am_core_get_path(shared, 0, &info);
		am_core_stats(shared, &stats);
		am_core_events(shared, events, 16);
		(void)am_core_unpin(shared, &flow);
		if (i % 8 == 0)
			CHECK_EQUAL(am_core_delete_mapping(shared, 0, &m.eid), 0);
	}
	atomic_store(&over, true);
	pthread_join(encap, NULL);
	pthread_join(decap, NULL);
	CHECK(stats.encapsulated > 0 && stats.decapsulated > 0);
	am_core_free(shared);
}

int
main(void)
{
	TEST(held_packets_are_released_by_their_mapping);
	TEST(events_are_bounded);
	TEST(a_site_is_replaced_whole_or_not_at_all);
	TEST(a_path_narrows_once);
	TEST(threads);
	DONE();
}
