/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_tables.h"

int
lisp_tables_init(struct lisp_tables *tables, const struct lisp_limits *limits, uint32_t seed)
{
	memset(tables, 0, sizeof(*tables));
	tables->seed = seed;
	tables->max_eids = limits->max_eids;
	tables->underlay_mtu = 1500;
	tables->source_check = true;
	/* Different seeds: a flow's place in the pin table must not tell which locator it gets. */
	tables->mapcache = lisp_mapcache_new(limits->max_mappings);
	tables->pins = lisp_pins_new(limits->max_static_pins, limits->max_gleaned_pins, seed ^ 0x70696e73u);
	tables->paths = lisp_paths_new(limits->max_paths, seed ^ 0x70617468u);
	tables->eids = lisp_lpm_new();
	tables->routes = lisp_lpm_new();
	if (tables->mapcache == NULL || tables->pins == NULL || tables->paths == NULL || tables->eids == NULL ||
	    tables->routes == NULL) {
		lisp_tables_fini(tables);
		return (ENOMEM);
	}
	return (0);
}

void
lisp_tables_fini(struct lisp_tables *tables)
{
	lisp_mapcache_free(tables->mapcache);
	lisp_pins_free(tables->pins);
	lisp_paths_free(tables->paths);
	lisp_lpm_free(tables->eids);
	lisp_lpm_free(tables->routes);
	memset(tables, 0, sizeof(*tables));
}

int
lisp_tables_set_rlocs(struct lisp_tables *tables, const struct lisp_addr *rlocs, unsigned count)
{
	unsigned i, j;

	if (count > LISP_MAX_LOCAL_RLOCS)
		return (EINVAL);
	for (i = 0; i < count; i++) {
		if (!lisp_addr_is_unicast(&rlocs[i]))
			return (EINVAL);
		for (j = 0; j < i; j++)
			if (lisp_addr_equal(&rlocs[i], &rlocs[j]))
				return (EINVAL);
	}
	memset(tables->rlocs, 0, sizeof(tables->rlocs));
	if (count != 0)
		memcpy(tables->rlocs, rlocs, count * sizeof(rlocs[0]));
	tables->nrlocs = count;
	return (0);
}

static int
add(struct lisp_tables *tables, struct lisp_lpm *lpm, uint32_t *count, uint32_t iid, const struct lisp_prefix *prefix)
{
	struct lisp_prefix masked = *prefix;
	void *old;
	int error;

	if (iid > LISP_IID_MAX || !lisp_prefix_valid(prefix))
		return (EINVAL);
	lisp_prefix_mask(&masked);
	if (!lisp_prefix_equal(&masked, prefix))
		return (EINVAL);
	if (*count >= tables->max_eids)
		return (ENOSPC);
	if ((error = lisp_lpm_set(lpm, iid, prefix, tables, &old)) != 0)
		return (error);
	if (old == NULL)
		(*count)++;
	return (0);
}

static int
del(struct lisp_lpm *lpm, uint32_t *count, uint32_t iid, const struct lisp_prefix *prefix)
{
	if (lisp_lpm_remove(lpm, iid, prefix) == NULL)
		return (ENOENT);
	(*count)--;
	return (0);
}

int
lisp_tables_add_eid(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix)
{
	return (add(tables, tables->eids, &tables->neids, iid, prefix));
}

int
lisp_tables_delete_eid(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix)
{
	return (del(tables->eids, &tables->neids, iid, prefix));
}

int
lisp_tables_add_route(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix)
{
	return (add(tables, tables->routes, &tables->nroutes, iid, prefix));
}

int
lisp_tables_delete_route(struct lisp_tables *tables, uint32_t iid, const struct lisp_prefix *prefix)
{
	return (del(tables->routes, &tables->nroutes, iid, prefix));
}

bool
lisp_tables_is_local_eid(const struct lisp_tables *tables, uint32_t iid, const struct lisp_addr *addr)
{
	return (lisp_lpm_lookup(tables->eids, iid, addr) != NULL);
}

bool
lisp_tables_is_local_rloc(const struct lisp_tables *tables, const struct lisp_addr *addr)
{
	unsigned i;

	for (i = 0; i < tables->nrlocs; i++)
		if (lisp_addr_equal(&tables->rlocs[i], addr))
			return (true);
	return (false);
}

bool
lisp_tables_serves_iid(const struct lisp_tables *tables, uint32_t iid)
{
	return (lisp_lpm_has_instance(tables->eids, iid));
}
