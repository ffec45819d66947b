/* SPDX-License-Identifier: BSD-2-Clause */
/* Every allocation fails once: nothing leaks, nothing half-done stays. Built with LISP_ALLOC_HOOK. */
#include "site.h"

static int countdown = -1, live;

void *
lisp_alloc(size_t size)
{
	if (countdown >= 0 && countdown-- == 0)
		return (NULL);
	live++;
	return (calloc(1, size));
}

static void
set_up_fails_whole(void)
{
	struct lisp_limits limits = { 1000, 1000, 100, 64, 64 };
	struct lisp_tables tables;
	int i, error = ENOMEM;

	for (i = 0; error != 0 && i < 100; i++) {
		countdown = i;
		error = lisp_tables_init(&tables, &limits, 1);
		CHECK(error == 0 || error == ENOMEM);
	}
	countdown = -1;
	CHECK(i > 5 && error == 0);
	lisp_tables_fini(&tables);
}

static void
changes_fail_whole(void)
{
	struct lisp_tables tables;
	struct lisp_mapping m, out;
	struct lisp_flow flow;
	struct lisp_path path = PATH("203.0.113.2", "203.0.123.2");
	struct lisp_prefix eid;
	uint32_t n, before;

	site_up(&tables);
	memset(&m, 0, sizeof(m));
	memset(&flow, 0, sizeof(flow));
	m.eid = P("2001:db8:77::1234/128");
	flow.src = A("192.0.2.1");
	flow.dst = A("198.18.1.1");
	for (n = 0; n < 300; n++) {
		int i, error = ENOMEM;

		m.eid.addr.bytes[7] = (uint8_t)n;
		m.iid = n % 7;
		before = lisp_mapcache_count(tables.mapcache);
		for (i = 0; error != 0 && i < 100; i++) {
			countdown = i;
			error = lisp_mapcache_set(tables.mapcache, &m);
			CHECK(error == 0 || error == ENOMEM);
			if (error != 0) {
				CHECK_EQUAL(lisp_mapcache_count(tables.mapcache), before);
				CHECK_EQUAL(lisp_mapcache_get(tables.mapcache, m.iid, &m.eid, &out), ENOENT);
			}
		}
		error = ENOMEM;
		flow.sport = (uint16_t)n;
		for (i = 0; error != 0 && i < 100; i++) {
			countdown = i;
			error = lisp_pins_set(tables.pins, &flow, &path);
			CHECK(error == 0 || error == ENOMEM);
		}
		countdown = 0;
		eid = m.eid;
		(void)lisp_tables_add_eid(&tables, n % 3, &eid);
		countdown = -1;
	}
	CHECK_EQUAL(lisp_pins_count(tables.pins, false), 300);
	lisp_mapcache_flush(tables.mapcache, LISP_IID_MAX + 1);
	lisp_tables_fini(&tables);
}

int
main(void)
{
	TEST(set_up_fails_whole);
	TEST(changes_fail_whole);
	DONE();
}
