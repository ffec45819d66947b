/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   192.0.2.0/28, 2001:db8:1::/48  [ RLOCs 203.0.113.2, 203.0.114.2, 2001:db8:f1::2 ]
 *        ==== LISP ====>  198.18.0.0/16, 2001:db8:2::/48  [ RLOCs 203.0.123.2, 203.0.124.2 ]
 */
#ifndef SITE_H
#define SITE_H

#include "tap.h"
#include "packets.h"
#include <lisp_decap.h>
#include <lisp_encap.h>
#include <lisp_icmp.h>

static inline void
add_mapping(struct lisp_tables *tables, const char *eid, unsigned action, int count, const char *const *rlocs,
    const int *priorities, const int *weights)
{
	struct lisp_mapping m;
	int i;

	memset(&m, 0, sizeof(m));
	m.eid = P(eid);
	m.action = (uint8_t)action;
	m.nlocators = (uint8_t)count;
	for (i = 0; i < count; i++)
		m.locators[i] = (struct lisp_locator){ .rloc = A(rlocs[i]), .priority = (uint8_t)priorities[i],
		    .weight = (uint8_t)weights[i], .up = true };
	if (lisp_mapcache_set(tables->mapcache, &m) != 0)
		abort();
}

static const char *const dc_rlocs[] = { "203.0.123.2", "203.0.124.2" };
static const int even_priorities[] = { 1, 1 }, even_weights[] = { 50, 50 };

static inline void
site_up(struct lisp_tables *tables)
{
	struct lisp_limits limits = { 1000, 1000, 100, 64, 64 };
	struct lisp_addr rlocs[] = { A("203.0.113.2"), A("203.0.114.2"), A("2001:db8:f1::2") };
	struct lisp_prefix eid = P("192.0.2.0/28"), eid6 = P("2001:db8:1::/48"), route = P("198.18.0.0/15");

	if (lisp_tables_init(tables, &limits, 1) != 0 || lisp_tables_set_rlocs(tables, rlocs, 3) != 0 ||
	    lisp_tables_add_eid(tables, 0, &eid) != 0 || lisp_tables_add_eid(tables, 0, &eid6) != 0 ||
	    lisp_tables_add_route(tables, 0, &route) != 0)
		abort();
	add_mapping(tables, "198.18.0.0/16", 0, 2, dc_rlocs, even_priorities, even_weights);
	add_mapping(tables, "2001:db8:2::/48", 0, 2, dc_rlocs, even_priorities, even_weights);
}

#endif
