/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All that a decision reads, under one lock of the caller's: what this site is, the map-cache, pins and paths.
 */
#ifndef LISP_TABLES_H
#define LISP_TABLES_H

#include "lisp_types.h"
#include "lisp_lpm.h"
#include "lisp_mapcache.h"
#include "lisp_paths.h"
#include "lisp_pins.h"

struct lisp_limits {
	uint32_t	max_mappings;
	uint32_t	max_static_pins;
	uint32_t	max_gleaned_pins;
	uint32_t	max_paths;
	uint32_t	max_eids;	/* prefixes of this site */
};

#define	LISP_LIMITS_DEFAULT	{ 1u << 20, 1u << 18, 1u << 16, 4096, 4096 }

struct lisp_tables {
	struct lisp_mapcache	*mapcache;
	struct lisp_pins	*pins;
	struct lisp_paths	*paths;
	struct lisp_lpm		*eids;		/* EIDs of this site; values are not NULL and mean nothing */
	struct lisp_lpm		*routes;	/* what the host's routing sends into the device; may stay empty */
	uint32_t		neids;
	uint32_t		nroutes;
	uint32_t		max_eids;
	uint32_t		seed;		/* of flow hashes */
	unsigned		nrlocs;
	struct lisp_addr	rlocs[LISP_MAX_LOCAL_RLOCS];
	uint16_t		underlay_mtu;	/* of a path nothing else is known of, 1500 */
	bool			source_check;	/* decapsulate only from an RLOC of the inner source's mapping */
	bool			glean;
};

/* 0 or ENOMEM. `seed` should be random. The struct is the caller's, zeroed or not. */
int	lisp_tables_init(struct lisp_tables *tables, const struct lisp_limits *limits, uint32_t seed);
void	lisp_tables_fini(struct lisp_tables *tables);
/* 0, EINVAL (not unicast, twice, too many). Replaces all. */
int	lisp_tables_set_rlocs(struct lisp_tables *tables, const struct lisp_addr *rlocs, unsigned count);
int	lisp_tables_add_eid(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix);
int	lisp_tables_delete_eid(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix);
/* The recursion guard wants to know what goes into the device: a destination RLOC inside it would come back. */
int	lisp_tables_add_route(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix);
int	lisp_tables_delete_route(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix);
bool	lisp_tables_is_local_eid(const struct lisp_tables *tables, uint32_t iid, const struct lisp_addr *addr);
bool	lisp_tables_is_local_rloc(const struct lisp_tables *tables, const struct lisp_addr *addr);
/* Is any EID of this instance here? */
bool	lisp_tables_serves_iid(const struct lisp_tables *tables, uint32_t iid);

#endif /* LISP_TABLES_H */
