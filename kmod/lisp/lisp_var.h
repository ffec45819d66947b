/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * lisp(4) inside. One interface and one set of tables per network stack (vnet):
 *
 *	ip_output -> lisp_output -> [tables] -> ip_output (underlay)		lisp_interface.c
 *	udp_input -> lisp_udp_input -> [tables] -> netisr			lisp_input.c
 *	underlay's ICMP -> lisp_icmp_hook -> [tables]				lisp_input.c
 *	ioctl, read, kqueue on /dev/lisp -> [tables]				lisp_device.c
 *
 * Locks, in this order:
 *	lisp_config_sx	configuration: ioctls, creating and destroying the interface. Sleepable.
 *	sc_lock		the core's tables. Read by the packet path, which copies its decision out and drops the lock before
 *			it sends anything; written by ioctls, by gleaning and by the ageing callout.
 *	lisp_event_mtx	the descriptors and their queues of events.
 * A softc lives until the network epoch in which it was unlinked is over.
 */
#ifndef LISP_VAR_H
#define	LISP_VAR_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/callout.h>
#include <sys/counter.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mbuf.h>
#include <sys/mutex.h>
#include <sys/rmlock.h>
#include <sys/socket.h>
#include <sys/sx.h>
#include <sys/sysctl.h>
#include <sys/time.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/pfil.h>
#include <net/vnet.h>

#include "modctl.h"

#include "lisp_decap.h"
#include "lisp_encap.h"
#include "lisp_icmp.h"
#include "lisp_ioctl.h"
#include "lisp_tables.h"

/* Counters besides the causes of drops: symbol, sysctl's name, description. */
#define	LISP_COUNTERS(X)								\
	X(ENCAPSULATED, "encapsulated", "Packets encapsulated")				\
	X(ENCAPSULATED_OCTETS, "encapsulated_octets", "Octets of inner packets encapsulated")	\
	X(DECAPSULATED, "decapsulated", "Packets decapsulated")				\
	X(DECAPSULATED_OCTETS, "decapsulated_octets", "Octets of inner packets decapsulated")	\
	X(PINNED, "pinned", "Packets encapsulated on a pinned path")			\
	X(FRAGMENTED, "fragmented", "Inner packets fragmented before encapsulation")	\
	X(GLEANED, "gleaned", "Flows gleaned")						\
	X(GLEAN_FAILED, "glean_failed", "Flows not gleaned: table full or no memory")	\
	X(PINS_AGED, "pins_aged", "Gleaned flows forgotten after idleness")		\
	X(ICMP_SENT, "icmp_sent", "Senders told that a packet was too big")		\
	X(ICMP_LIMITED, "icmp_limited", "Senders not told, by the rate limit or for want of a source address")	\
	X(PATH_MTU, "path_mtu_lowered", "Path MTUs lowered by the underlay")		\
	X(MISSES, "misses", "Packets without a mapping")				\
	X(EVENTS, "events", "Events queued for descriptors")				\
	X(EVENTS_LOST, "events_lost", "Events lost: a descriptor's queue was full")	\
	X(EVENTS_LIMITED, "events_limited", "Events not made, by the rate limit")

enum lisp_counter {
#define	LISP_COUNTER_ENUM(symbol, name, text)	LISP_CNT_##symbol,
	LISP_COUNTERS(LISP_COUNTER_ENUM)
#undef LISP_COUNTER_ENUM
	LISP_CNT_COUNT
};

/* Recently reported misses, so that a flood towards one EID makes one event. */
#define	LISP_MISS_SLOTS		256
#define	LISP_MISS_QUIET_MS	500

struct lisp_miss_slot {
	struct lisp_addr	eid;
	uint32_t		iid;
	uint64_t		when_ms;
};

struct lisp_eid {
	uint32_t		iid;
	struct lisp_prefix	prefix;
};

struct lisp_softc {
	if_t			sc_ifp;
	struct vnet		*sc_vnet;
	struct rmlock		sc_lock;
	struct lisp_tables	sc_tables;
	uint32_t		sc_iid;		/* of what is encapsulated */
	u_int			sc_fib;		/* of the underlay */
	uint16_t		sc_fibs[LISP_MAX_LOCAL_RLOCS];	/* by local RLOC, as sc_tables.rlocs */
	bool			sc_have_fibs;
	bool			sc_running;	/* sockets, hooks and timer are there */
	bool			sc_paths_full;	/* do not try to add for a while */
	uint32_t		sc_max_mappings;
	uint32_t		sc_generation;	/* counts changes of the tables, for lists */
	struct lisp_eid		*sc_eids;	/* under lisp_config_sx */
	uint32_t		sc_neids;
	struct socket		*sc_so4;
	struct socket		*sc_so6;
	bool			sc_zero_checksum;	/* net.inet6.udp6.rfc6935_port is ours to give back */
	pfil_hook_t		sc_hook4;
	pfil_hook_t		sc_hook6;
	struct callout		sc_age;
	struct mtx		sc_miss_mtx;
	struct lisp_miss_slot	sc_misses[LISP_MISS_SLOTS];
	struct timeval		sc_event_time;
	int			sc_event_pps;
	struct timeval		sc_icmp_time;
	int			sc_icmp_pps;
	counter_u64_t		sc_counters[LISP_CNT_COUNT];
	counter_u64_t		sc_drops[LISP_DROP_COUNT];
};

#define	LISP_RLOCK(sc, tracker)		rm_rlock(&(sc)->sc_lock, (tracker))
#define	LISP_RUNLOCK(sc, tracker)	rm_runlock(&(sc)->sc_lock, (tracker))
#define	LISP_WLOCK(sc)			rm_wlock(&(sc)->sc_lock)
#define	LISP_WUNLOCK(sc)		rm_wunlock(&(sc)->sc_lock)

#define	LISP_COUNT(sc, name)		counter_u64_add((sc)->sc_counters[LISP_CNT_##name], 1)
#define	LISP_COUNT_ADD(sc, name, n)	counter_u64_add((sc)->sc_counters[LISP_CNT_##name], (n))
#define	LISP_DROPPED(sc, cause)		counter_u64_add((sc)->sc_drops[(cause)], 1)

VNET_DECLARE(struct lisp_softc *, lisp_softc);
#define	V_lisp_softc	VNET(lisp_softc)
VNET_DECLARE(int, lisp_source_check);
#define	V_lisp_source_check	VNET(lisp_source_check)
VNET_DECLARE(int, lisp_glean);
#define	V_lisp_glean	VNET(lisp_glean)
VNET_DECLARE(int, lisp_underlay_mtu);
#define	V_lisp_underlay_mtu	VNET(lisp_underlay_mtu)
VNET_DECLARE(int, lisp_glean_idle);
#define	V_lisp_glean_idle	VNET(lisp_glean_idle)
VNET_DECLARE(int, lisp_mtu_lifetime);
#define	V_lisp_mtu_lifetime	VNET(lisp_mtu_lifetime)
VNET_DECLARE(int, lisp_event_rate);
#define	V_lisp_event_rate	VNET(lisp_event_rate)
VNET_DECLARE(int, lisp_icmp_rate);
#define	V_lisp_icmp_rate	VNET(lisp_icmp_rate)

extern struct sx lisp_config_sx;
/* Limits of tables made from now on; by loader tunable or sysctl. */
extern u_int lisp_max_mappings, lisp_max_pins, lisp_max_gleaned, lisp_max_paths;

/*
 * The octets from the beginning of a packet that the core wants to look at: in place when they are contiguous, else a copy.
 */
static inline const uint8_t *
lisp_look(struct mbuf *m, size_t want, uint8_t *room, size_t *look)
{
	*look = MIN((size_t)m->m_pkthdr.len, want);
	if ((size_t)m->m_len >= *look) {
		*look = MIN((size_t)m->m_len, (size_t)m->m_pkthdr.len);
		return (mtod(m, const uint8_t *));
	}
	m_copydata(m, 0, (int)*look, (caddr_t)room);
	return (room);
}

/* lisp_interface.c */
int	lisp_interface_attach(void);
void	lisp_interface_detach(void);
void	lisp_stop(struct lisp_softc *sc);
void	lisp_apply_switches(struct lisp_softc *sc);

/* lisp_input.c */
int	lisp_input_attach(struct lisp_softc *sc);
void	lisp_input_detach(struct lisp_softc *sc);

/* lisp_device.c */
int	lisp_device_attach(void);
void	lisp_device_detach(void);
bool	lisp_device_busy(void);
void	lisp_event_miss(struct lisp_softc *sc, uint32_t iid, const struct lisp_addr *eid, uint32_t reason);
void	lisp_event_gleaned(struct lisp_softc *sc, const struct lisp_flow *flow, const struct lisp_path *path);
void	lisp_event_mtu(struct lisp_softc *sc, const struct lisp_path *path, uint32_t mtu);

/* lisp_sysctl.c */
int	lisp_sysctl_attach(void);
void	lisp_sysctl_detach(void);

#endif
