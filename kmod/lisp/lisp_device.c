/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * /dev/lisp: control by ioctl(2), events by read(2), poll(2) and kqueue(2). The ABI is lisp_ioctl.h.
 *
 * Arguments are checked in three steps: the size is part of the command and the kernel copies that much; the version and the
 * padding are checked by the table's row; the values by the command's own function before anything changes.
 */
#include "lisp_var.h"

#include <sys/conf.h>
#include <sys/event.h>
#include <sys/fcntl.h>
#include <sys/filio.h>
#include <sys/jail.h>
#include <sys/kernel.h>
#include <sys/poll.h>
#include <sys/priv.h>
#include <sys/proc.h>
#include <sys/selinfo.h>
#include <sys/ucred.h>
#include <sys/uio.h>

#include <net/route.h>

#define	LISP_EVENT_QUEUE	1024		/* events a descriptor may leave unread */
#define	LISP_LIST_PIECE		32		/* entries taken out of a table at a time under its lock */

/* One open descriptor. */
struct lisp_client {
	LIST_ENTRY(lisp_client)	c_next;
	struct vnet		*c_vnet;	/* whose events; set when it was opened */
	int			c_prison;	/* the opener's, so that a vnet's address used again is not mistaken */
	bool			c_writable;
	bool			c_listening;	/* asked for events at least once */
	struct selinfo		c_selinfo;
	u_int			c_head, c_count;
	uint32_t		c_lost;
	struct lisp_event	*c_queue;	/* LISP_EVENT_QUEUE of them, once it listens */
};

static struct mtx lisp_event_mtx;
MTX_SYSINIT(lisp_event, &lisp_event_mtx, "lisp events", MTX_DEF);
static LIST_HEAD(, lisp_client) lisp_clients = LIST_HEAD_INITIALIZER(lisp_clients);
static struct cdev *lisp_cdev;

/* ---------------------------------------------------------------- ABI to core and back */

static bool
lisp_zeroed(const void *octets, size_t length)
{
	const uint8_t *p = octets;
	uint8_t any = 0;

	for (size_t i = 0; i < length; i++)
		any |= p[i];
	return (any == 0);
}

/* A complete address, no prefix. */
static bool
lisp_take_address(const struct lisp_ioc_addr *from, struct lisp_addr *to)
{
	if (from->la_plen != 0 || !lisp_zeroed(from->la_zero, sizeof(from->la_zero)))
		return (false);
	if (from->la_family == LISP_ABI_IPV4 && lisp_zeroed(from->la_octets + 4, 12)) {
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
	if (!lisp_zeroed(from->lf_zero, sizeof(from->lf_zero)) || iid > LISP_IID_MAX ||
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
	    !lisp_zeroed(from->lm_zero, sizeof(from->lm_zero)) || !lisp_take_prefix(&from->lm_eid, &to->eid))
		return (false);
	to->iid = from->lm_iid;
	to->action = from->lm_action;
	to->nlocators = from->lm_nlocators;
	for (unsigned int i = 0; i < LISP_ABI_LOCATORS; i++) {
		const struct lisp_ioc_locator *locator = &from->lm_locators[i];

		if (i >= from->lm_nlocators) {
			if (!lisp_zeroed(locator, sizeof(*locator)))
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
lisp_do_info(struct lisp_softc *sc, struct lisp_client *client, void *argument)
{
	struct lisp_ioc_info *info = argument;
	struct rm_priotracker tracker;

	memset(info, 0, sizeof(*info));
	info->in_version = LISP_ABI_VERSION;
	info->in_uptime_ms = lisp_now_ms();
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
lisp_do_iid(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
	const struct lisp_ioc_iid *iid = argument;

	if (iid->ii_iid > LISP_IID_MAX)
		return (EINVAL);
	LISP_WLOCK(sc);
	sc->sc_iid = iid->ii_iid;
	LISP_WUNLOCK(sc);
	return (0);
}

static int
lisp_do_mapping_set(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_mapping_delete(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_mapping_lookup(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_mapping_flush(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_pin_set(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_pin_delete(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_pin_flush(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_rlocs_set(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_rlocs_get(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_eids_set(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_eids_get(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
lisp_do_path_state(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
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
		(void)lisp_paths_lower_mtu(sc->sc_tables.paths, &path, (uint16_t)(state->ps_mtu + overhead), lisp_now_ms());
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

	if (lisp_pins_next(sc->sc_tables.pins, cursor, lisp_now_ms(), &pin) != 0)
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
lisp_do_mapping_list(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
	return (lisp_list(sc, argument, sizeof(struct lisp_ioc_mapping), lisp_mapcache_count(sc->sc_tables.mapcache),
	    lisp_next_mapping));
}

static int
lisp_do_pin_list(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
	return (lisp_list(sc, argument, sizeof(struct lisp_ioc_pin),
	    lisp_pins_count(sc->sc_tables.pins, false) + lisp_pins_count(sc->sc_tables.pins, true), lisp_next_pin));
}

static int
lisp_do_path_list(struct lisp_softc *sc, struct lisp_client *client __unused, void *argument)
{
	return (lisp_list(sc, argument, sizeof(struct lisp_ioc_path_info), lisp_paths_count(sc->sc_tables.paths),
	    lisp_next_path));
}

/* The size of an argument is part of the command's number, so a wrong size is an unknown command. */
static const struct lisp_command {
	u_long	command;
	int	(*run)(struct lisp_softc *, struct lisp_client *, void *);
	int	flags;
} lisp_commands[] = {
#define	LISP_CMD_WRITE		0x01	/* needs a descriptor opened for writing, which needs the privilege */
#define	LISP_CMD_NO_INTERFACE	0x02	/* works without an interface in this network stack */
	{ LISPIOC_INFO, lisp_do_info, LISP_CMD_NO_INTERFACE },
	{ LISPIOC_IID, lisp_do_iid, LISP_CMD_WRITE },
	{ LISPIOC_MAPPING_SET, lisp_do_mapping_set, LISP_CMD_WRITE },
	{ LISPIOC_MAPPING_DELETE, lisp_do_mapping_delete, LISP_CMD_WRITE },
	{ LISPIOC_MAPPING_LOOKUP, lisp_do_mapping_lookup, 0 },
	{ LISPIOC_MAPPING_LIST, lisp_do_mapping_list, 0 },
	{ LISPIOC_MAPPING_FLUSH, lisp_do_mapping_flush, LISP_CMD_WRITE },
	{ LISPIOC_PIN_SET, lisp_do_pin_set, LISP_CMD_WRITE },
	{ LISPIOC_PIN_DELETE, lisp_do_pin_delete, LISP_CMD_WRITE },
	{ LISPIOC_PIN_LIST, lisp_do_pin_list, 0 },
	{ LISPIOC_PIN_FLUSH, lisp_do_pin_flush, LISP_CMD_WRITE },
	{ LISPIOC_RLOCS_SET, lisp_do_rlocs_set, LISP_CMD_WRITE },
	{ LISPIOC_RLOCS_GET, lisp_do_rlocs_get, 0 },
	{ LISPIOC_EIDS_SET, lisp_do_eids_set, LISP_CMD_WRITE },
	{ LISPIOC_EIDS_GET, lisp_do_eids_get, 0 },
	{ LISPIOC_PATH_STATE, lisp_do_path_state, LISP_CMD_WRITE },
	{ LISPIOC_PATH_LIST, lisp_do_path_list, 0 },
};

/* ---------------------------------------------------------------- events */

static void
lisp_event_post(struct lisp_softc *sc, struct lisp_event *event)
{
	struct lisp_client *client;

	event->ev_version = LISP_ABI_VERSION;
	event->ev_uptime_ms = lisp_now_ms();
	mtx_lock(&lisp_event_mtx);
	LIST_FOREACH(client, &lisp_clients, c_next) {
		if (client->c_vnet != sc->sc_vnet || !client->c_listening)
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
		KNOTE_LOCKED(&client->c_selinfo.si_note, 0);
		selwakeup(&client->c_selinfo);
		wakeup(client);
	}
	mtx_unlock(&lisp_event_mtx);
}

static bool
lisp_event_allowed(struct lisp_softc *sc)
{
	/* Without a listener nothing is made; a look without the lock is good enough for that. */
	if (LIST_EMPTY(&lisp_clients))
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
	uint64_t now = lisp_now_ms();
	bool quiet;

	if (LIST_EMPTY(&lisp_clients))
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

/* From the first time somebody asks for events, they are kept for it. */
static void
lisp_listen(struct lisp_client *client)
{
	struct lisp_event *queue;

	mtx_lock(&lisp_event_mtx);
	if (client->c_listening) {
		mtx_unlock(&lisp_event_mtx);
		return;
	}
	mtx_unlock(&lisp_event_mtx);
	queue = mallocarray(LISP_EVENT_QUEUE, sizeof(*queue), M_LISP, M_WAITOK | M_ZERO);
	mtx_lock(&lisp_event_mtx);
	if (!client->c_listening) {
		client->c_queue = queue;
		client->c_listening = true;
		queue = NULL;
	}
	mtx_unlock(&lisp_event_mtx);
	free(queue, M_LISP);
}

/* ---------------------------------------------------------------- the device's methods */

static void
lisp_client_free(void *argument)
{
	struct lisp_client *client = argument;

	mtx_lock(&lisp_event_mtx);
	LIST_REMOVE(client, c_next);
	knlist_clear(&client->c_selinfo.si_note, 1);
	mtx_unlock(&lisp_event_mtx);
	seldrain(&client->c_selinfo);
	knlist_destroy(&client->c_selinfo.si_note);
	free(client->c_queue, M_LISP);
	free(client, M_LISP);
}

static int
lisp_dev_open(struct cdev *dev __unused, int oflags, int devtype __unused, struct thread *td)
{
	struct lisp_client *client;
	int error;

	if ((oflags & FWRITE) != 0) {
		error = priv_check(td, PRIV_NET_ROUTE);
		if (error != 0)
			return (error);
	}
	client = malloc(sizeof(*client), M_LISP, M_WAITOK | M_ZERO);
	client->c_vnet = TD_TO_VNET(td);
	client->c_prison = td->td_ucred->cr_prison->pr_id;
	client->c_writable = (oflags & FWRITE) != 0;
	knlist_init_mtx(&client->c_selinfo.si_note, &lisp_event_mtx);
	mtx_lock(&lisp_event_mtx);
	LIST_INSERT_HEAD(&lisp_clients, client, c_next);
	mtx_unlock(&lisp_event_mtx);
	error = devfs_set_cdevpriv(client, lisp_client_free);
	if (error != 0)
		lisp_client_free(client);
	return (error);
}

/* The descriptor's client, if the caller lives in the network stack it was opened in. */
static int
lisp_client_get(struct thread *td, struct lisp_client **client)
{
	int error = devfs_get_cdevpriv((void **)client);

	if (error == 0 && ((*client)->c_vnet != TD_TO_VNET(td) || (*client)->c_prison != td->td_ucred->cr_prison->pr_id))
		error = EXDEV;
	return (error);
}

static int
lisp_dev_ioctl(struct cdev *dev __unused, u_long command, caddr_t data, int fflag __unused, struct thread *td)
{
	const struct lisp_command *row = NULL;
	struct lisp_client *client;
	uint32_t version;
	int error;

	switch (command) {
	case FIONBIO:
	case FIOASYNC:
		return (0);
	}
	error = lisp_client_get(td, &client);
	if (error != 0)
		return (error);
	for (u_int i = 0; i < nitems(lisp_commands) && row == NULL; i++)
		if (lisp_commands[i].command == command)
			row = &lisp_commands[i];
	if (row == NULL)
		return (ENOTTY);
	if ((row->flags & LISP_CMD_WRITE) != 0 && !client->c_writable)
		return (EPERM);
	memcpy(&version, data, sizeof(version));
	if (version != LISP_ABI_VERSION)
		return (EPROTONOSUPPORT);
	CURVNET_SET(TD_TO_VNET(td));
	sx_xlock(&lisp_config_sx);
	if (V_lisp_softc == NULL && (row->flags & LISP_CMD_NO_INTERFACE) == 0)
		error = ENXIO;
	else
		error = row->run(V_lisp_softc, client, data);
	sx_xunlock(&lisp_config_sx);
	CURVNET_RESTORE();
	return (error);
}

static int
lisp_dev_read(struct cdev *dev __unused, struct uio *uio, int ioflag)
{
	struct lisp_client *client;
	struct lisp_event event;
	int error;
	bool any = false;

	error = lisp_client_get(curthread, &client);
	if (error != 0)
		return (error);
	if (uio->uio_resid < (ssize_t)sizeof(event))
		return (EINVAL);
	lisp_listen(client);
	mtx_lock(&lisp_event_mtx);
	for (;;) {
		while (client->c_count == 0 && error == 0 && !any) {
			if ((ioflag & O_NONBLOCK) != 0)
				error = EAGAIN;
			else
				error = mtx_sleep(client, &lisp_event_mtx, PCATCH, "lispev", 0);
		}
		if (error != 0 || client->c_count == 0 || uio->uio_resid < (ssize_t)sizeof(event))
			break;
		event = client->c_queue[client->c_head];
		client->c_head = (client->c_head + 1) % LISP_EVENT_QUEUE;
		client->c_count--;
		mtx_unlock(&lisp_event_mtx);
		error = uiomove(&event, sizeof(event), uio);
		any = true;
		mtx_lock(&lisp_event_mtx);
		if (error != 0)
			break;
	}
	mtx_unlock(&lisp_event_mtx);
	return (error);
}

static int
lisp_dev_poll(struct cdev *dev __unused, int events, struct thread *td)
{
	struct lisp_client *client;
	int ready = 0;

	if (lisp_client_get(td, &client) != 0)
		return (POLLNVAL);
	if ((events & (POLLIN | POLLRDNORM)) == 0)
		return (0);
	lisp_listen(client);
	mtx_lock(&lisp_event_mtx);
	if (client->c_count > 0)
		ready = events & (POLLIN | POLLRDNORM);
	else
		selrecord(td, &client->c_selinfo);
	mtx_unlock(&lisp_event_mtx);
	return (ready);
}

static void
lisp_filter_detach(struct knote *kn)
{
	struct lisp_client *client = kn->kn_hook;

	knlist_remove(&client->c_selinfo.si_note, kn, 0);
}

static int
lisp_filter_event(struct knote *kn, long hint __unused)
{
	struct lisp_client *client = kn->kn_hook;

	mtx_assert(&lisp_event_mtx, MA_OWNED);
	kn->kn_data = (int64_t)client->c_count * (int64_t)sizeof(struct lisp_event);
	return (client->c_count > 0);
}

static struct filterops lisp_filterops = {
	.f_isfd = 1,
	.f_detach = lisp_filter_detach,
	.f_event = lisp_filter_event,
};

static int
lisp_dev_kqfilter(struct cdev *dev __unused, struct knote *kn)
{
	struct lisp_client *client;
	int error;

	error = lisp_client_get(curthread, &client);
	if (error != 0)
		return (error);
	if (kn->kn_filter != EVFILT_READ)
		return (EINVAL);
	lisp_listen(client);
	kn->kn_fop = &lisp_filterops;
	kn->kn_hook = client;
	knlist_add(&client->c_selinfo.si_note, kn, 0);
	return (0);
}

static struct cdevsw lisp_cdevsw = {
	.d_version = D_VERSION,
	.d_name = LISP_DEVICE,
	.d_open = lisp_dev_open,
	.d_ioctl = lisp_dev_ioctl,
	.d_read = lisp_dev_read,
	.d_poll = lisp_dev_poll,
	.d_kqfilter = lisp_dev_kqfilter,
};

int
lisp_device_attach(void)
{
	struct make_dev_args args;

	make_dev_args_init(&args);
	args.mda_flags = MAKEDEV_CHECKNAME | MAKEDEV_WAITOK;
	args.mda_devsw = &lisp_cdevsw;
	args.mda_uid = UID_ROOT;
	args.mda_gid = GID_WHEEL;
	args.mda_mode = 0640;
	return (make_dev_s(&args, &lisp_cdev, LISP_DEVICE));
}

void
lisp_device_detach(void)
{
	if (lisp_cdev != NULL)
		destroy_dev(lisp_cdev);
	lisp_cdev = NULL;
}

bool
lisp_device_busy(void)
{
	bool busy;

	mtx_lock(&lisp_event_mtx);
	busy = !LIST_EMPTY(&lisp_clients);
	mtx_unlock(&lisp_event_mtx);
	return (busy);
}
