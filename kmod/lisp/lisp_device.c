/* SPDX-License-Identifier: BSD-2-Clause */

/* /dev/lisp: the commands and events of lisp_ioctl.h. Descriptors are modctl's business. */
#include "lisp_var.h"

#include <sys/kernel.h>
#include <sys/priv.h>

#include <net/route.h>

#define	LISP_EVENT_QUEUE	1024		/* events a descriptor may leave unread */
#define	LISP_LIST_PIECE		32		/* entries taken out of a table at a time under its lock */

/* One open descriptor. */
struct lisp_client {
	struct modctl_client	c_modctl;
	bool			c_listening;	/* asked for events at least once */
	u_int			c_head, c_count;
	uint32_t		c_lost;
	struct lisp_event	*c_queue;	/* LISP_EVENT_QUEUE of them, once it listens */
};

static struct mtx lisp_event_mtx;
MTX_SYSINIT(lisp_event, &lisp_event_mtx, "lisp events", MTX_DEF);
static struct modctl_device lisp_device;

/* ---------------------------------------------------------------- ABI to core and back */

/* A complete address, no prefix. */
static bool
lisp_take_address(const struct lisp_ioc_addr *from, struct lisp_addr *to)
{
	if (from->la_plen != 0 || !modctl_zeroed(from->la_zero, sizeof(from->la_zero)))
		return (false);
	if (from->la_family == LISP_ABI_IPV4 && modctl_zeroed(from->la_octets + 4, 12)) {
		*to = lisp_addr_v4(from->la_octets);
		return (true);
	}
	if (from->la_family == LISP_ABI_IPV6) {
		*to = lisp_addr_v6(from->la_octets);
		return (true);
	}
	return (false);
}

/* No bits beyond the length. */
static bool
lisp_take_prefix(const struct lisp_ioc_addr *from, struct lisp_prefix *to)
{
	struct lisp_ioc_addr plain = *from;
	struct lisp_prefix masked;

	memset(to, 0, sizeof(*to));
	plain.la_plen = 0;
	if (!lisp_take_address(&plain, &to->addr))
		return (false);
	to->len = from->la_plen;
	if (!lisp_prefix_valid(to))
		return (false);
	masked = *to;
	lisp_prefix_mask(&masked);
	return (lisp_prefix_equal(&masked, to));
}

static struct lisp_ioc_addr
lisp_give_address(const struct lisp_addr *from, uint8_t length)
{
	struct lisp_ioc_addr to = { .la_family = from->af, .la_plen = length };

	memcpy(to.la_octets, from->bytes, lisp_addr_size(from->af));
	return (to);
}

static bool
lisp_take_path(const struct lisp_ioc_path *from, struct lisp_path *to)
{
	return (lisp_take_address(&from->lp_local, &to->local) && lisp_take_address(&from->lp_remote, &to->remote) &&
	    to->local.af == to->remote.af && lisp_addr_is_unicast(&to->local) && lisp_addr_is_unicast(&to->remote));
}

static struct lisp_ioc_path
lisp_give_path(const struct lisp_path *from)
{
	struct lisp_ioc_path to;

	to.lp_local = lisp_give_address(&from->local, 0);
	to.lp_remote = lisp_give_address(&from->remote, 0);
	return (to);
}

/* The flow as it travels from here: local is the source. */
static bool
lisp_take_flow(const struct lisp_ioc_flow *from, uint32_t iid, struct lisp_flow *to)
{
	memset(to, 0, sizeof(*to));
	if (!modctl_zeroed(from->lf_zero, sizeof(from->lf_zero)) || iid > LISP_IID_MAX ||
	    !lisp_take_address(&from->lf_local, &to->src) || !lisp_take_address(&from->lf_remote, &to->dst) ||
	    to->src.af != to->dst.af)
		return (false);
	to->iid = iid;
	to->sport = from->lf_local_port;
	to->dport = from->lf_remote_port;
	to->proto = from->lf_protocol;
	return (true);
}

static struct lisp_ioc_flow
lisp_give_flow(const struct lisp_flow *from)
{
	struct lisp_ioc_flow to;

	memset(&to, 0, sizeof(to));
	to.lf_local = lisp_give_address(&from->src, 0);
	to.lf_remote = lisp_give_address(&from->dst, 0);
	to.lf_local_port = from->sport;
	to.lf_remote_port = from->dport;
	to.lf_protocol = from->proto;
	return (to);
}

static bool
lisp_take_mapping(const struct lisp_ioc_mapping *from, struct lisp_mapping *to)
{
	memset(to, 0, sizeof(*to));
	if (from->lm_iid > LISP_IID_MAX || from->lm_nlocators > LISP_ABI_LOCATORS || from->lm_action >= LISP_ACTION_COUNT ||
	    !modctl_zeroed(from->lm_zero, sizeof(from->lm_zero)) || !lisp_take_prefix(&from->lm_eid, &to->eid))
		return (false);
	to->iid = from->lm_iid;
	to->action = from->lm_action;
	to->nlocators = from->lm_nlocators;
	for (unsigned int i = 0; i < LISP_ABI_LOCATORS; i++) {
		const struct lisp_ioc_locator *locator = &from->lm_locators[i];

		if (i >= from->lm_nlocators) {
			if (!modctl_zeroed(locator, sizeof(*locator)))
				return (false);
			continue;
		}
		if (locator->ll_zero != 0 || (locator->ll_flags & ~LISP_LOCATOR_REACHABLE) != 0 ||
		    !lisp_take_address(&locator->ll_rloc, &to->locators[i].rloc))
			return (false);
		to->locators[i].priority = locator->ll_priority;
		to->locators[i].weight = locator->ll_weight;
		to->locators[i].up = (locator->ll_flags & LISP_LOCATOR_REACHABLE) != 0;
	}
	return (lisp_mapping_check(to) == 0);
}

static void
lisp_give_mapping(const struct lisp_mapping *from, struct lisp_ioc_mapping *to)
{
	memset(to, 0, sizeof(*to));
	to->lm_version = LISP_ABI_VERSION;
	to->lm_iid = from->iid;
	to->lm_eid = lisp_give_address(&from->eid.addr, from->eid.len);
	to->lm_action = from->action;
	to->lm_nlocators = from->nlocators;
	for (unsigned int i = 0; i < from->nlocators; i++) {
		struct lisp_ioc_locator *locator = &to->lm_locators[i];

		locator->ll_rloc = lisp_give_address(&from->locators[i].rloc, 0);
		locator->ll_priority = from->locators[i].priority;
		locator->ll_weight = from->locators[i].weight;
		locator->ll_flags = from->locators[i].up ? LISP_LOCATOR_REACHABLE : 0;
	}
}

/* ---------------------------------------------------------------- commands */

static int
lisp_do_info(void *softc, void *control, void *argument)
{
	struct lisp_softc *sc = softc;
	struct lisp_client *client = control;
	struct lisp_ioc_info *info = argument;
	struct rm_priotracker tracker;

	memset(info, 0, sizeof(*info));
	info->in_version = LISP_ABI_VERSION;
	info->in_uptime_ms = modctl_now_ms();
	mtx_lock(&lisp_event_mtx);
	info->in_events = client->c_count;
	mtx_unlock(&lisp_event_mtx);
	if (sc == NULL)
		return (0);
	strlcpy(info->in_ifname, if_name(sc->sc_ifp), sizeof(info->in_ifname));
	info->in_mtu = (uint32_t)if_getmtu(sc->sc_ifp);
	LISP_RLOCK(sc, &tracker);
	info->in_iid = sc->sc_iid;
	info->in_mappings = lisp_mapcache_count(sc->sc_tables.mapcache);
	info->in_pins = lisp_pins_count(sc->sc_tables.pins, false) + lisp_pins_count(sc->sc_tables.pins, true);
	info->in_paths = lisp_paths_count(sc->sc_tables.paths);
	LISP_RUNLOCK(sc, &tracker);
	return (0);
}

static int
lisp_do_iid(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_iid *iid = argument;

	if (iid->ii_iid > LISP_IID_MAX)
		return (EINVAL);
	LISP_WLOCK(sc);
	sc->sc_iid = iid->ii_iid;
	LISP_WUNLOCK(sc);
	return (0);
}

static int
lisp_do_mapping_set(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_mapping *wanted = argument;
	struct lisp_mapping mapping, old;
	bool there;
	int error;

	if ((wanted->lm_flags & ~(LISP_MAPPING_NEW | LISP_MAPPING_REPLACE)) != 0 ||
	    wanted->lm_flags == (LISP_MAPPING_NEW | LISP_MAPPING_REPLACE) || !lisp_take_mapping(wanted, &mapping))
		return (EINVAL);
	LISP_WLOCK(sc);
	error = 0;
	if (wanted->lm_flags != 0) {
		there = lisp_mapcache_get(sc->sc_tables.mapcache, mapping.iid, &mapping.eid, &old) == 0;
		if (there && (wanted->lm_flags & LISP_MAPPING_NEW) != 0)
			error = EEXIST;
		else if (!there && (wanted->lm_flags & LISP_MAPPING_REPLACE) != 0)
			error = ENOENT;
	}
	if (error == 0)
		error = lisp_mapcache_set(sc->sc_tables.mapcache, &mapping);
	if (error == 0)
		sc->sc_generation++;
	LISP_WUNLOCK(sc);
	return (error);
}

static int
lisp_do_mapping_delete(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_mapping *wanted = argument;
	struct lisp_prefix prefix;
	int error;

	if (wanted->lm_iid > LISP_IID_MAX || !lisp_take_prefix(&wanted->lm_eid, &prefix))
		return (EINVAL);
	LISP_WLOCK(sc);
	error = lisp_mapcache_delete(sc->sc_tables.mapcache, wanted->lm_iid, &prefix);
	if (error == 0)
		sc->sc_generation++;
	LISP_WUNLOCK(sc);
	return (error);
}

static int
lisp_do_mapping_lookup(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	struct lisp_ioc_mapping *wanted = argument;
	struct rm_priotracker tracker;
	struct lisp_mapping mapping;
	struct lisp_addr address;
	int error;

	if (wanted->lm_iid > LISP_IID_MAX || !lisp_take_address(&wanted->lm_eid, &address))
		return (EINVAL);
	LISP_RLOCK(sc, &tracker);
	error = lisp_mapcache_lookup(sc->sc_tables.mapcache, wanted->lm_iid, &address, &mapping);
	LISP_RUNLOCK(sc, &tracker);
	if (error == 0)
		lisp_give_mapping(&mapping, wanted);
	return (error);
}

static int
lisp_do_mapping_flush(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_iid *iid = argument;
	struct lisp_mapcache *fresh, *old;

	if (iid->ii_iid > LISP_IID_MAX && iid->ii_iid != LISP_IID_ANY)
		return (EINVAL);
	if (iid->ii_iid != LISP_IID_ANY) {
		LISP_WLOCK(sc);
		(void)lisp_mapcache_flush(sc->sc_tables.mapcache, iid->ii_iid);
		sc->sc_generation++;
		LISP_WUNLOCK(sc);
		return (0);
	}
	/* All of a large table takes long to free: it is taken out whole, so that packets do not wait for it. */
	fresh = lisp_mapcache_new(sc->sc_max_mappings);
	if (fresh == NULL)
		return (ENOMEM);
	LISP_WLOCK(sc);
	old = sc->sc_tables.mapcache;
	sc->sc_tables.mapcache = fresh;
	sc->sc_generation++;
	LISP_WUNLOCK(sc);
	lisp_mapcache_free(old);
	return (0);
}

static int
lisp_do_pin_set(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_pin *pin = argument;
	struct lisp_flow flow;
	struct lisp_path path;
	int error;

	if (pin->lp_flags != 0 || pin->lp_zero != 0 || !lisp_take_flow(&pin->lp_flow, pin->lp_iid, &flow) ||
	    !lisp_take_path(&pin->lp_path, &path))
		return (EINVAL);
	LISP_WLOCK(sc);
	if (!lisp_tables_is_local_rloc(&sc->sc_tables, &path.local))
		error = EADDRNOTAVAIL;
	else
		error = lisp_pins_set(sc->sc_tables.pins, &flow, &path);
	if (error == 0)
		sc->sc_generation++;
	LISP_WUNLOCK(sc);
	return (error);
}

static int
lisp_do_pin_delete(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_pin *pin = argument;
	struct lisp_flow flow;
	int error;

	if (!lisp_take_flow(&pin->lp_flow, pin->lp_iid, &flow))
		return (EINVAL);
	LISP_WLOCK(sc);
	error = lisp_pins_delete(sc->sc_tables.pins, &flow);
	if (error == 0)
		sc->sc_generation++;
	LISP_WUNLOCK(sc);
	return (error);
}

static int
lisp_do_pin_flush(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_iid *iid = argument;
	struct lisp_pin pin;
	uint64_t cursor = 0;
	bool more = true;

	if (iid->ii_iid > LISP_IID_MAX && iid->ii_iid != LISP_IID_ANY)
		return (EINVAL);
	/* In pieces, so that packets do not wait for the whole table. */
	while (more) {
		LISP_WLOCK(sc);
		for (unsigned int n = 0; n < LISP_LIST_PIECE && more; n++) {
			if (lisp_pins_next(sc->sc_tables.pins, &cursor, 0, &pin) != 0)
				more = false;
			else if (iid->ii_iid == LISP_IID_ANY || iid->ii_iid == pin.flow.iid)
				(void)lisp_pins_delete(sc->sc_tables.pins, &pin.flow);
		}
		sc->sc_generation++;
		LISP_WUNLOCK(sc);
	}
	return (0);
}

static int
lisp_do_rlocs_set(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_rlocs *wanted = argument;
	struct lisp_addr old[LISP_MAX_LOCAL_RLOCS], rlocs[LISP_ABI_LOCAL_RLOCS];
	unsigned int nold;
	bool fibs = false;
	int error;

	CTASSERT(LISP_ABI_LOCAL_RLOCS == LISP_MAX_LOCAL_RLOCS);
	CTASSERT(LISP_ABI_LOCATORS == LISP_MAX_LOCATORS);

	if (wanted->lr_count > LISP_ABI_LOCAL_RLOCS)
		return (EINVAL);
	for (unsigned int i = 0; i < wanted->lr_count; i++) {
		if (!lisp_take_address(&wanted->lr_rlocs[i], &rlocs[i]) ||
		    (wanted->lr_fibs[i] != LISP_FIB_DEFAULT && wanted->lr_fibs[i] >= rt_numfibs))
			return (EINVAL);
		fibs = fibs || wanted->lr_fibs[i] != LISP_FIB_DEFAULT;
	}
	LISP_WLOCK(sc);
	nold = sc->sc_tables.nrlocs;
	memcpy(old, sc->sc_tables.rlocs, sizeof(old));
	error = lisp_tables_set_rlocs(&sc->sc_tables, rlocs, wanted->lr_count);
	if (error == 0) {
		memcpy(sc->sc_fibs, wanted->lr_fibs, sizeof(sc->sc_fibs));
		sc->sc_have_fibs = fibs;
		for (unsigned int i = 0; i < nold; i++)
			if (!lisp_tables_is_local_rloc(&sc->sc_tables, &old[i]))
				(void)lisp_pins_forget_rloc(sc->sc_tables.pins, &old[i]);
		sc->sc_generation++;
	}
	LISP_WUNLOCK(sc);
	return (error);
}

static int
lisp_do_rlocs_get(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	struct lisp_ioc_rlocs *out = argument;
	struct rm_priotracker tracker;

	memset(out, 0, sizeof(*out));
	out->lr_version = LISP_ABI_VERSION;
	LISP_RLOCK(sc, &tracker);
	out->lr_count = sc->sc_tables.nrlocs;
	for (unsigned int i = 0; i < sc->sc_tables.nrlocs; i++) {
		out->lr_rlocs[i] = lisp_give_address(&sc->sc_tables.rlocs[i], 0);
		out->lr_fibs[i] = sc->sc_fibs[i];
	}
	LISP_RUNLOCK(sc, &tracker);
	return (0);
}

/* Replaces one instance's EIDs; on an error the old ones are back. */
static int
lisp_do_eids_set(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_eids *wanted = argument;
	struct lisp_tables *tables = &sc->sc_tables;
	struct lisp_eid *fresh;
	unsigned int i, j, kept = 0, total;
	int error = 0;

	if (wanted->le_iid > LISP_IID_MAX || wanted->le_zero != 0 || wanted->le_count > LISP_ABI_LOCAL_EIDS)
		return (EINVAL);
	fresh = mallocarray(LISP_ABI_LOCAL_EIDS, sizeof(*fresh), M_LISP, M_WAITOK | M_ZERO);
	for (i = 0; i < sc->sc_neids; i++)
		if (sc->sc_eids[i].iid != wanted->le_iid)
			fresh[kept++] = sc->sc_eids[i];
	total = kept;
	for (i = 0; i < wanted->le_count && error == 0; i++, total++) {
		if (total == LISP_ABI_LOCAL_EIDS)
			error = ENOSPC;
		else if (!lisp_take_prefix(&wanted->le_eids[i], &fresh[total].prefix))
			error = EINVAL;
		else {
			fresh[total].iid = wanted->le_iid;
			for (j = kept; j < total && error == 0; j++)
				if (lisp_prefix_equal(&fresh[j].prefix, &fresh[total].prefix))
					error = EINVAL;
		}
		if (error != 0)
			break;
	}
	if (error != 0) {
		free(fresh, M_LISP);
		return (error);
	}
	LISP_WLOCK(sc);
	for (i = 0; i < sc->sc_neids; i++)
		if (sc->sc_eids[i].iid == wanted->le_iid)
			(void)lisp_tables_delete_eid(tables, wanted->le_iid, &sc->sc_eids[i].prefix);
	for (i = kept; i < total && error == 0; i++)
		error = lisp_tables_add_eid(tables, wanted->le_iid, &fresh[i].prefix);
	if (error != 0) {
		for (j = kept; j < i; j++)
			(void)lisp_tables_delete_eid(tables, wanted->le_iid, &fresh[j].prefix);
		for (i = 0; i < sc->sc_neids; i++)
			if (sc->sc_eids[i].iid == wanted->le_iid)
				(void)lisp_tables_add_eid(tables, wanted->le_iid, &sc->sc_eids[i].prefix);
	}
	sc->sc_generation++;
	LISP_WUNLOCK(sc);
	if (error == 0) {
		free(sc->sc_eids, M_LISP);
		sc->sc_eids = fresh;
		sc->sc_neids = total;
	} else
		free(fresh, M_LISP);
	return (error);
}

static int
lisp_do_eids_get(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	struct lisp_ioc_eids *out = argument;
	uint32_t iid = out->le_iid;

	memset(out, 0, sizeof(*out));
	out->le_version = LISP_ABI_VERSION;
	out->le_iid = iid;
	for (unsigned int i = 0; i < sc->sc_neids; i++)
		if (sc->sc_eids[i].iid == iid)
			out->le_eids[out->le_count++] = lisp_give_address(&sc->sc_eids[i].prefix.addr,
			    sc->sc_eids[i].prefix.len);
	return (0);
}

static int
lisp_do_path_state(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;
	const struct lisp_ioc_path_state *state = argument;
	size_t overhead;
	struct lisp_path path;
	int error;

	if (state->ps_up > 1 || state->ps_zero != 0 || !lisp_take_path(&state->ps_path, &path))
		return (EINVAL);
	overhead = path.remote.af == LISP_AF_V4 ? LISP_OUTER_V4 : LISP_OUTER_V6;
	if (state->ps_mtu > UINT16_MAX - overhead)
		return (EINVAL);
	LISP_WLOCK(sc);
	error = lisp_paths_set_state(sc->sc_tables.paths, &path, state->ps_up != 0);
	if (error == 0 && state->ps_mtu != 0)
		(void)lisp_paths_lower_mtu(sc->sc_tables.paths, &path, (uint16_t)(state->ps_mtu + overhead), modctl_now_ms());
	sc->sc_generation++;
	LISP_WUNLOCK(sc);
	return (error);
}

/*
 * Lists. An entry is taken out of its table under the lock, into memory of our own, and copied to userland without the lock:
 * the copy may fault and sleep.
 */
typedef bool lisp_next_t(struct lisp_softc *sc, uint64_t *cursor, void *entry);

static bool
lisp_next_mapping(struct lisp_softc *sc, uint64_t *cursor, void *entry)
{
	struct lisp_mapping mapping;
	uint32_t at = (uint32_t)*cursor;

	if (*cursor > UINT32_MAX || lisp_mapcache_next(sc->sc_tables.mapcache, &at, &mapping) != 0)
		return (false);
	*cursor = at;
	lisp_give_mapping(&mapping, entry);
	return (true);
}

static bool
lisp_next_pin(struct lisp_softc *sc, uint64_t *cursor, void *entry)
{
	struct lisp_ioc_pin *out = entry;
	struct lisp_pin pin;

	if (lisp_pins_next(sc->sc_tables.pins, cursor, modctl_now_ms(), &pin) != 0)
		return (false);
	memset(out, 0, sizeof(*out));
	out->lp_version = LISP_ABI_VERSION;
	out->lp_iid = pin.flow.iid;
	out->lp_flow = lisp_give_flow(&pin.flow);
	out->lp_path = lisp_give_path(&pin.path);
	out->lp_flags = pin.gleaned ? LISP_PIN_GLEANED : 0;
	return (true);
}

static bool
lisp_next_path(struct lisp_softc *sc, uint64_t *cursor, void *entry)
{
	struct lisp_ioc_path_info *out = entry;
	struct lisp_path_info info;
	uint32_t mtu, overhead;

	if (*cursor > UINT32_MAX || lisp_paths_get(sc->sc_tables.paths, (uint32_t)*cursor, &info) != 0)
		return (false);
	(*cursor)++;
	memset(out, 0, sizeof(*out));
	overhead = info.path.remote.af == LISP_AF_V4 ? LISP_OUTER_V4 : LISP_OUTER_V6;
	mtu = info.mtu != 0 ? info.mtu : sc->sc_tables.underlay_mtu;
	out->pi_path = lisp_give_path(&info.path);
	out->pi_up = info.up;
	out->pi_mtu = mtu > overhead ? mtu - overhead : 0;
	out->pi_packets_sent = info.packets_sent;
	out->pi_octets_sent = info.bytes_sent;
	out->pi_packets_received = info.packets_received;
	out->pi_octets_received = info.bytes_received;
	out->pi_last_received_ms = info.last_received_ms;
	return (true);
}

static int
lisp_list(struct lisp_softc *sc, struct lisp_ioc_list *list, size_t size, uint32_t total, lisp_next_t *next)
{
	struct rm_priotracker tracker;
	uint64_t cursor = list->ls_cursor;
	uint32_t filled = 0, n, room;
	bool more = true;
	char *piece;
	int error = 0;

	piece = mallocarray(LISP_LIST_PIECE, size, M_LISP, M_WAITOK | M_ZERO);
	while (more && filled < list->ls_count && error == 0) {
		room = MIN(list->ls_count - filled, LISP_LIST_PIECE);
		LISP_RLOCK(sc, &tracker);
		for (n = 0; n < room; n++) {
			more = next(sc, &cursor, piece + n * size);
			if (!more)
				break;
		}
		LISP_RUNLOCK(sc, &tracker);
		if (n > 0)
			error = copyout(piece, (void *)(uintptr_t)(list->ls_buffer + (uint64_t)filled * size), n * size);
		filled += n;
	}
	free(piece, M_LISP);
	if (error != 0)
		return (error);
	list->ls_count = filled;
	list->ls_cursor = more ? cursor : 0;
	list->ls_generation = sc->sc_generation;
	list->ls_total = total;
	return (0);
}

static int
lisp_do_mapping_list(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;

	return (lisp_list(sc, argument, sizeof(struct lisp_ioc_mapping), lisp_mapcache_count(sc->sc_tables.mapcache),
	    lisp_next_mapping));
}

static int
lisp_do_pin_list(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;

	return (lisp_list(sc, argument, sizeof(struct lisp_ioc_pin),
	    lisp_pins_count(sc->sc_tables.pins, false) + lisp_pins_count(sc->sc_tables.pins, true), lisp_next_pin));
}

static int
lisp_do_path_list(void *softc, void *client __unused, void *argument)
{
	struct lisp_softc *sc = softc;

	return (lisp_list(sc, argument, sizeof(struct lisp_ioc_path_info), lisp_paths_count(sc->sc_tables.paths),
	    lisp_next_path));
}

static const struct modctl_command lisp_commands[] = {
#define	LISP_NO_INTERFACE	MODCTL_OWN	/* works without an interface in this network stack */
	MODCTL_COMMAND(LISPIOC_INFO, lisp_ioc_info, lisp_do_info, LISP_NO_INTERFACE),
	MODCTL_COMMAND(LISPIOC_IID, lisp_ioc_iid, lisp_do_iid, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_MAPPING_SET, lisp_ioc_mapping, lisp_do_mapping_set, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_MAPPING_DELETE, lisp_ioc_mapping, lisp_do_mapping_delete, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_MAPPING_LOOKUP, lisp_ioc_mapping, lisp_do_mapping_lookup, 0),
	MODCTL_COMMAND(LISPIOC_MAPPING_LIST, lisp_ioc_list, lisp_do_mapping_list, 0),
	MODCTL_COMMAND(LISPIOC_MAPPING_FLUSH, lisp_ioc_iid, lisp_do_mapping_flush, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_PIN_SET, lisp_ioc_pin, lisp_do_pin_set, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_PIN_DELETE, lisp_ioc_pin, lisp_do_pin_delete, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_PIN_LIST, lisp_ioc_list, lisp_do_pin_list, 0),
	MODCTL_COMMAND(LISPIOC_PIN_FLUSH, lisp_ioc_iid, lisp_do_pin_flush, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_RLOCS_SET, lisp_ioc_rlocs, lisp_do_rlocs_set, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_RLOCS_GET, lisp_ioc_rlocs, lisp_do_rlocs_get, 0),
	MODCTL_COMMAND(LISPIOC_EIDS_SET, lisp_ioc_eids, lisp_do_eids_set, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_EIDS_GET, lisp_ioc_eids, lisp_do_eids_get, 0),
	MODCTL_COMMAND(LISPIOC_PATH_STATE, lisp_ioc_path_state, lisp_do_path_state, MODCTL_WRITE),
	MODCTL_COMMAND(LISPIOC_PATH_LIST, lisp_ioc_list, lisp_do_path_list, 0),
};

/* ---------------------------------------------------------------- events */

static void
lisp_event_post(struct lisp_softc *sc, struct lisp_event *event)
{
	struct modctl_client *control;
	struct lisp_client *client;

	event->ev_version = LISP_ABI_VERSION;
	event->ev_uptime_ms = modctl_now_ms();
	mtx_lock(&lisp_event_mtx);
	LIST_FOREACH(control, &lisp_device.md_clients, mc_next) {
		client = (struct lisp_client *)control;
		if (control->mc_vnet != sc->sc_vnet || !client->c_listening)
			continue;
		if (client->c_count == LISP_EVENT_QUEUE) {
			client->c_lost++;
			LISP_COUNT(sc, EVENTS_LOST);
			continue;
		}
		event->ev_lost = client->c_lost;
		client->c_lost = 0;
		client->c_queue[(client->c_head + client->c_count) % LISP_EVENT_QUEUE] = *event;
		client->c_count++;
		LISP_COUNT(sc, EVENTS);
		modctl_wake(control);
	}
	mtx_unlock(&lisp_event_mtx);
}

static bool
lisp_event_allowed(struct lisp_softc *sc)
{
	/* Without a listener nothing is made; a look without the lock is good enough for that. */
	if (LIST_EMPTY(&lisp_device.md_clients))
		return (false);
	if (ppsratecheck(&sc->sc_event_time, &sc->sc_event_pps, V_lisp_event_rate))
		return (true);
	LISP_COUNT(sc, EVENTS_LIMITED);
	return (false);
}

void
lisp_event_miss(struct lisp_softc *sc, uint32_t iid, const struct lisp_addr *eid, uint32_t reason)
{
	struct lisp_event event = { .ev_type = LISP_EVENT_MISS, .ev_iid = iid };
	struct lisp_miss_slot *slot;
	uint64_t now = modctl_now_ms();
	bool quiet;

	if (LIST_EMPTY(&lisp_device.md_clients))
		return;
	slot = &sc->sc_misses[lisp_hash_words(eid->words, 4, sc->sc_tables.seed ^ iid) % LISP_MISS_SLOTS];
	mtx_lock(&sc->sc_miss_mtx);
	quiet = slot->when_ms != 0 && now - slot->when_ms < LISP_MISS_QUIET_MS && slot->iid == iid &&
	    lisp_addr_equal(&slot->eid, eid);
	if (!quiet) {
		slot->eid = *eid;
		slot->iid = iid;
		slot->when_ms = now;
	}
	mtx_unlock(&sc->sc_miss_mtx);
	if (quiet || !lisp_event_allowed(sc))
		return;
	event.ev.miss.eid = lisp_give_address(eid, 0);
	event.ev.miss.reason = reason;
	lisp_event_post(sc, &event);
}

void
lisp_event_gleaned(struct lisp_softc *sc, const struct lisp_flow *flow, const struct lisp_path *path)
{
	struct lisp_event event = { .ev_type = LISP_EVENT_GLEANED, .ev_iid = flow->iid };

	if (!lisp_event_allowed(sc))
		return;
	event.ev.gleaned.flow = lisp_give_flow(flow);
	event.ev.gleaned.path = lisp_give_path(path);
	lisp_event_post(sc, &event);
}

void
lisp_event_mtu(struct lisp_softc *sc, const struct lisp_path *path, uint32_t mtu)
{
	struct lisp_event event = { .ev_type = LISP_EVENT_PATH_MTU };

	if (!lisp_event_allowed(sc))
		return;
	event.ev.mtu.path = lisp_give_path(path);
	event.ev.mtu.mtu = mtu;
	lisp_event_post(sc, &event);
}

/* ---------------------------------------------------------------- the device */

/* From the first time somebody asks for events, they are kept for it. */
static int
lisp_listen(struct modctl_client *control)
{
	struct lisp_client *client = (struct lisp_client *)control;
	struct lisp_event *queue;
	bool listening;

	mtx_lock(&lisp_event_mtx);
	listening = client->c_listening;
	mtx_unlock(&lisp_event_mtx);
	if (listening)
		return (0);
	queue = mallocarray(LISP_EVENT_QUEUE, sizeof(*queue), M_LISP, M_WAITOK | M_ZERO);
	mtx_lock(&lisp_event_mtx);
	if (!client->c_listening) {
		client->c_queue = queue;
		client->c_listening = true;
		queue = NULL;
	}
	mtx_unlock(&lisp_event_mtx);
	free(queue, M_LISP);
	return (0);
}

static u_int
lisp_waiting(struct modctl_client *control)
{
	return (((struct lisp_client *)control)->c_count);
}

static void
lisp_take(struct modctl_client *control, void *event)
{
	struct lisp_client *client = (struct lisp_client *)control;

	memcpy(event, &client->c_queue[client->c_head], sizeof(*client->c_queue));
	client->c_head = (client->c_head + 1) % LISP_EVENT_QUEUE;
	client->c_count--;
}

static void
lisp_close(struct modctl_client *control)
{
	struct lisp_client *client = (struct lisp_client *)control;
	struct lisp_event *queue;

	mtx_lock(&lisp_event_mtx);
	queue = client->c_queue;
	client->c_queue = NULL;
	client->c_listening = false;
	client->c_count = 0;
	mtx_unlock(&lisp_event_mtx);
	free(queue, M_LISP);
}

static int
lisp_enter(struct modctl_client *control __unused, const struct modctl_command *row, void **softc)
{
	*softc = V_lisp_softc;
	return (V_lisp_softc == NULL && (row->cmd_flags & LISP_NO_INTERFACE) == 0 ? ENXIO : 0);
}

static struct modctl_device lisp_device = {
	.md_name = LISP_DEVICE,
	.md_version = LISP_ABI_VERSION,
	.md_privilege = PRIV_NET_ROUTE,
	.md_commands = lisp_commands,
	.md_ncommands = nitems(lisp_commands),
	.md_client_size = sizeof(struct lisp_client),
	.md_event_size = sizeof(struct lisp_event),
	.md_type = M_LISP,
	.md_sx = &lisp_config_sx,
	.md_mtx = &lisp_event_mtx,
	.md_close = lisp_close,
	.md_enter = lisp_enter,
	.md_listen = lisp_listen,
	.md_waiting = lisp_waiting,
	.md_take = lisp_take,
};

int
lisp_device_attach(void)
{
	return (modctl_attach(&lisp_device));
}

void
lisp_device_detach(void)
{
	modctl_detach(&lisp_device);
}

bool
lisp_device_busy(void)
{
	bool busy;

	mtx_lock(&lisp_event_mtx);
	busy = !LIST_EMPTY(&lisp_device.md_clients);
	mtx_unlock(&lisp_event_mtx);
	return (busy);
}
