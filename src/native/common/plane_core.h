/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every user-space plane has around the portable core of kmod/core: the lock, counters of drops, the queue of packets
 * that wait for a mapping, and events. The Linux plane (TUN) and the in-process one (simulated network) are built on it.
 *
 *   thread: am_core_encap / am_core_decap -> FORWARD: send, deliver
 *                                         -> MISS: am_core_hold, event -> control plane -> am_core_set_mapping -> released
 */
#ifndef AMPTCP_PLANE_CORE_H
#define AMPTCP_PLANE_CORE_H

#ifdef __cplusplus
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
extern "C" {
#endif

#include <pthread.h>
#include "lisp_decap.h"
#include "lisp_encap.h"
#include "lisp_icmp.h"
#include "lisp_tables.h"

enum am_direction { AM_ENCAP = 0, AM_DECAP = 1 };

enum am_event_type { AM_EVENT_MISS = 0, AM_EVENT_GLEANED, AM_EVENT_PATH_MTU, AM_EVENT_STRAY, AM_EVENT_TYPES };

struct am_event {
	enum am_event_type	type;
	enum am_direction	direction;	/* of a miss: AM_DECAP is a source check */
	struct lisp_addr	eid;		/* of a miss */
	struct lisp_flow	flow;		/* of a gleaned pin or a stray packet, with its iid; also the iid of a miss */
	struct lisp_path	path;
	uint16_t		mtu;		/* of the inner packet */
};

/* A packet that waits for the mapping of `eid`. */
struct am_held {
	struct am_held		*next;
	enum am_direction	direction;
	uint32_t		iid;
	struct lisp_addr	eid;
	uint64_t		deadline_ms;
	struct lisp_outer	outer;		/* AM_DECAP */
	uint8_t			meta[16];	/* AM_ENCAP: the virtio-net header */
	size_t			length;
	uint8_t			data[];
};

struct am_core;

/* Called without locks, from any thread, when there is an event and there was none before. */
typedef void am_notify(void *context);

struct am_core *am_core_new(uint32_t iid, am_notify *notify, void *context);
void	am_core_free(struct am_core *core);
uint64_t am_now_ms(void);

/* --- what the control plane and the gateway say; errno values, 0 is fine */

struct am_site {
	uint32_t			iid;
	const struct lisp_addr		*rlocs;
	unsigned			nrlocs;
	const struct lisp_prefix	*eids;
	unsigned			neids;
	const struct lisp_prefix	*routes;
	unsigned			nroutes;
	bool				source_check;
	bool				glean;
	uint16_t			underlay_mtu;
};

/* Replaces the site's addresses and switches as a whole; mappings and pins stay. */
int	am_core_set_site(struct am_core *core, const struct am_site *site);
int	am_core_set_mapping(struct am_core *core, const struct lisp_mapping *mapping);
int	am_core_delete_mapping(struct am_core *core, uint32_t iid, const struct lisp_prefix *eid);
int	am_core_next_mapping(struct am_core *core, uint32_t *cursor, struct lisp_mapping *out);
int	am_core_pin(struct am_core *core, const struct lisp_flow *flow, const struct lisp_path *path);
int	am_core_unpin(struct am_core *core, const struct lisp_flow *flow);
int	am_core_next_pin(struct am_core *core, uint64_t *cursor, struct lisp_pin *out);
int	am_core_set_path_state(struct am_core *core, const struct lisp_path *path, bool up);
int	am_core_get_path(struct am_core *core, uint32_t number, struct lisp_path_info *out);
uint32_t am_core_iid(struct am_core *core);

struct am_stats {
	uint64_t	encapsulated;
	uint64_t	decapsulated;
	uint64_t	icmp_sent;
	uint64_t	events_dropped;
	uint64_t	drops[LISP_DROP_COUNT];
	uint32_t	mappings;
	uint32_t	pins;
	uint32_t	queued;
};

void	am_core_stats(struct am_core *core, struct am_stats *out);

/* --- events */

/* Takes up to `room` events. */
unsigned am_core_events(struct am_core *core, struct am_event *out, unsigned room);

/* --- the packet path */

void	am_core_drop(struct am_core *core, enum lisp_drop cause, unsigned packets);
/*
 * As lisp_encap_decide, with the lock taken, the path made known and counted when the verdict is LISP_FORWARD: `packets` of `octets` in
 * all, as they will be on the wire.
 */
void	am_core_encap(struct am_core *core, const struct lisp_inner *inner, uint32_t wire_length, uint32_t packets, uint64_t octets,
	    uint64_t now_ms, struct lisp_encap_plan *plan);
/*
 * Decides a train of packets that came in one datagram, each `size` octets and the last one what is left, and applies the plans.
 * Gleans, counts paths; drops are for the caller to see in the plans and to count. Returns how many plans were made.
 */
unsigned am_core_decap(struct am_core *core, const struct lisp_outer *outer, uint8_t *data, size_t length, size_t size,
	    uint64_t now_ms, struct lisp_decap_plan *plans, unsigned room);
/* Tells the control plane of a miss and keeps the packet; counts it as dropped when there is no room. */
void	am_core_hold(struct am_core *core, enum am_direction direction, uint32_t iid, const struct lisp_addr *eid,
	    const struct lisp_outer *outer, const void *meta, size_t meta_length, const uint8_t *data, size_t length,
	    uint64_t now_ms);
/* Those whose mapping has come, oldest first; the caller handles and free()s each. */
struct am_held *am_core_released(struct am_core *core, enum am_direction direction);
/* True when am_core_released would give something; cheap. */
bool	am_core_has_released(struct am_core *core, enum am_direction direction);
/* The underlay's word on a path's MTU (outer headers included). */
void	am_core_lower_mtu(struct am_core *core, const struct lisp_path *path, uint16_t mtu, uint64_t now_ms);
/* May an ICMP message be sent now? (RFC 1812 section 4.3.2.8: rate limited) Counts it when so. */
bool	am_core_icmp_allowed(struct am_core *core, uint64_t now_ms);
/* Ageing of pins, MTUs and held packets; a few times a second. */
void	am_core_housekeeping(struct am_core *core, uint64_t now_ms);

#ifdef __cplusplus
}
#endif

#endif
