/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins: 'this inner 5-tuple travels on this path'. Static pins are set by the gateway and stay until removed; gleaned ones
 * are learnt from decapsulated packets, so that answers take the path the question came on, and age.
 */
#ifndef LISP_PINS_H
#define LISP_PINS_H

#include "lisp_types.h"

struct lisp_pin {
	struct lisp_flow	flow;
	struct lisp_path	path;
	bool			gleaned;
	uint32_t		idle_ms;	/* filled on the way out, for gleaned ones */
};

struct lisp_pins;

/* Two bounds, so that a flood of gleaned flows cannot keep the gateway from pinning. */
struct lisp_pins *lisp_pins_new(uint32_t max_static, uint32_t max_gleaned, uint32_t seed);
void	lisp_pins_free(struct lisp_pins *pins);
uint32_t lisp_pins_count(const struct lisp_pins *pins, bool gleaned);
/* Static pin; replaces whatever the flow had. 0, EINVAL, ENOSPC, ENOMEM. */
int	lisp_pins_set(struct lisp_pins *pins, const struct lisp_flow *flow, const struct lisp_path *path);
/*
 * Gleaned pin. A static one stays (EEXIST). At the bound the table gives up a gleaned pin that was idle for long, found by
 * looking at a few. 0 when the table now has it, EALREADY when it had it with the same path.
 */
int	lisp_pins_glean(struct lisp_pins *pins, const struct lisp_flow *flow, const struct lisp_path *path, uint64_t now_ms);
/* Of either kind. ENOENT. */
int	lisp_pins_delete(struct lisp_pins *pins, const struct lisp_flow *flow);
/* For the packet path; marks the pin as used. `gleaned` may be NULL. False when the flow has none. */
bool	lisp_pins_lookup(const struct lisp_pins *pins, const struct lisp_flow *flow, uint64_t now_ms, struct lisp_path *path,
	    bool *gleaned);
/* Removes gleaned pins idle for max_idle_ms or more, looking at no more than `budget` buckets a call; returns how many. */
uint32_t lisp_pins_age(struct lisp_pins *pins, uint64_t now_ms, uint32_t max_idle_ms, uint32_t budget);
/* Gleaned pins whose path uses an RLOC (either end) that is gone. */
uint32_t lisp_pins_forget_rloc(struct lisp_pins *pins, const struct lisp_addr *rloc);
/* As lisp_mapcache_next. */
int	lisp_pins_next(const struct lisp_pins *pins, uint64_t *cursor, uint64_t now_ms, struct lisp_pin *out);

#endif /* LISP_PINS_H */
