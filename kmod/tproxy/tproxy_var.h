/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * tproxy(4) inside: one registry of flows per network stack (vnet).
 *
 *	ip_input, ip6_input -> pfil IN, after the packet filters -> tproxy_hook		tproxy_hook.c
 *		flow registered -> marked for local delivery, and for the listener until its connection exists
 *		SYN with MP_JOIN to a connection of a registered flow -> registered, too			handover.h
 *		SYN that a rule captures -> held -> event -> release -> netisr		tproxy_capture.c
 *	ioctl, read, kqueue on /dev/tproxy						tproxy_device.c
 *	callout -> is the connection still there?					tproxy_flows.c
 *
 * The hooks exist while somebody holds a descriptor open for writing, so that an idle module costs a packet nothing.
 *
 * Locks, in this order:
 *	tproxy_sx	opening, closing, configuration. Sleepable.
 *	tproxy_mtx	changes of the registry, held SYNs, events.
 * Packets look flows up in the network epoch without a lock; a flow is freed after the epoch in which it was unlinked. No
 * lock of ours is held while a connection (inpcb) is looked up.
 */
#ifndef TPROXY_VAR_H
#define	TPROXY_VAR_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/callout.h>
#include <sys/ck.h>
#include <sys/counter.h>
#include <sys/epoch.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mbuf.h>
#include <sys/mutex.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/sx.h>
#include <sys/sysctl.h>
#include <sys/time.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/pfil.h>
#include <net/vnet.h>

#include <netinet/in.h>

#include "modctl.h"

#include "tproxy_ioctl.h"

MALLOC_DECLARE(M_TPROXY);

enum tproxy_counter {
#define	TPROXY_COUNTER_ENUM(name, text)	TPROXY_CNT_##name,
	TPROXY_COUNTERS(TPROXY_COUNTER_ENUM)
#undef TPROXY_COUNTER_ENUM
	TPROXY_CNT_COUNT
};

/* A flow's addresses and ports, network byte order; IPv4 addresses fill the first four octets. Compared as octets. */
struct tproxy_key {
	uint8_t		k_client[16];
	uint8_t		k_destination[16];
	uint16_t	k_client_port;
	uint16_t	k_destination_port;
	uint8_t		k_family;		/* AF_INET or AF_INET6 */
	uint8_t		k_zero[3];
};

struct tproxy_client;

/*
 *	register -> WAITING -> connection seen -> CONNECTED -> connection gone -> GONE -> linger over -> freed
 *		       \-> no connection in time -> freed		  \-> new SYN, not registered again -> PASSED -> freed
 */
struct tproxy_flow {
	CK_LIST_ENTRY(tproxy_flow) f_next;
	LIST_ENTRY(tproxy_flow)	f_own;		/* of its client */
	struct tproxy_key	f_key;
	union {
		struct sockaddr_in	sin;
		struct sockaddr_in6	sin6;
	} f_listener;				/* port in host byte order, as the tag has it */
	struct tproxy_client	*f_client;
	uint64_t		f_made_ms;
	uint64_t		f_deadline_ms;	/* of WAITING and GONE */
	volatile uint32_t	f_state;	/* changes without a lock: TPROXY_FLOW_* */
	bool			f_linked;
	bool			f_further_one;	/* registered by tproxy_register_further() */
	/* Under tproxy_mtx. */
	struct tproxy_flow	*f_first;	/* this is a further subflow of that one's connection; NULL: it is not, or that one is gone */
	LIST_ENTRY(tproxy_flow)	f_sibling;
	LIST_HEAD(, tproxy_flow) f_further;
	volatile u_int		f_nfurther;
	struct epoch_context	f_epoch;
};
#define	TPROXY_FURTHER_MAX	64		/* further subflows of a connection, those whose end is not long ago included */
CK_LIST_HEAD(tproxy_bucket, tproxy_flow);

/* A SYN that userland is to decide about. */
struct tproxy_held {
	LIST_ENTRY(tproxy_held)	h_hash;
	TAILQ_ENTRY(tproxy_held) h_age;		/* in the order of their deadlines */
	TAILQ_ENTRY(tproxy_held) h_unread;
	struct tproxy_key	h_key;
	uint64_t		h_id;
	uint64_t		h_deadline_ms;
	struct mbuf		*h_packet;
	bool			h_reported;
	char			h_ifname[IFNAMSIZ];
};
#define	TPROXY_HELD_BUCKETS	256

struct tproxy_softc {
	struct vnet		*sc_vnet;
	u_int			sc_writers;	/* descriptors open for writing */
	pfil_hook_t		sc_hook4;
	pfil_hook_t		sc_hook6;
	struct callout		sc_timer;
	uint8_t			sc_key[16];	/* of the hash */
	struct tproxy_bucket	*sc_buckets;
	u_int			sc_mask;
	u_int			sc_sweep;	/* where the collector goes on */
	volatile u_int		sc_nflows;

	struct tproxy_client	*sc_capturer;
	volatile u_int		sc_nrules;	/* a packet looks at this first */
	struct tproxy_ioc_rule	sc_rules[TPROXY_ABI_RULES];	/* under tproxy_mtx */
	uint32_t		sc_hold_ms;	/* likewise; 0: the switch */
	LIST_HEAD(, tproxy_held) sc_held[TPROXY_HELD_BUCKETS];
	TAILQ_HEAD(tproxy_heldq, tproxy_held) sc_ages;
	struct tproxy_heldq	sc_unread;
	u_int			sc_nheld;
	u_int			sc_nunread;
	uint64_t		sc_last_id;
};

/* One open descriptor. */
struct tproxy_client {
	struct modctl_client	c_modctl;
	struct tproxy_softc	*c_softc;	/* of writers; NULL once the vnet goes */
	LIST_HEAD(, tproxy_flow) c_flows;
};

VNET_DECLARE(struct tproxy_softc *, tproxy_softc);
#define	V_tproxy_softc	VNET(tproxy_softc)
VNET_DECLARE(counter_u64_t, tproxy_counters[TPROXY_CNT_COUNT]);
#define	V_tproxy_counters	VNET(tproxy_counters)
VNET_DECLARE(int, tproxy_connect_timeout);
#define	V_tproxy_connect_timeout	VNET(tproxy_connect_timeout)
VNET_DECLARE(int, tproxy_linger);
#define	V_tproxy_linger	VNET(tproxy_linger)
VNET_DECLARE(int, tproxy_hold_ms);
#define	V_tproxy_hold_ms	VNET(tproxy_hold_ms)
VNET_DECLARE(int, tproxy_hold_max);
#define	V_tproxy_hold_max	VNET(tproxy_hold_max)

#define	TPROXY_COUNT(name)		counter_u64_add(V_tproxy_counters[TPROXY_CNT_##name], 1)
#define	TPROXY_COUNT_ADD(name, n)	counter_u64_add(V_tproxy_counters[TPROXY_CNT_##name], (n))

extern struct sx tproxy_sx;
extern struct mtx tproxy_mtx;
extern u_int tproxy_max_flows, tproxy_buckets;

/* tproxy_flows.c */
struct tproxy_softc *tproxy_attach(void);
void	tproxy_detach(struct tproxy_softc *sc);
uint64_t tproxy_hash(const struct tproxy_softc *sc, const struct tproxy_key *key);
struct tproxy_flow *tproxy_find(struct tproxy_softc *sc, const struct tproxy_key *key);
int	tproxy_register(struct tproxy_softc *sc, struct tproxy_client *client, struct tproxy_flow *flow);
int	tproxy_unregister(struct tproxy_softc *sc, struct tproxy_client *client, const struct tproxy_key *key);
void	tproxy_unregister_all(struct tproxy_softc *sc, struct tproxy_client *client);
struct tproxy_flow *tproxy_register_further(struct tproxy_softc *sc, const struct tproxy_key *key, const struct tproxy_key *first,
	    bool wanted);
void	tproxy_forget_further(struct tproxy_softc *sc, struct tproxy_flow *flow);
enum tproxy_connection { TPROXY_NONE, TPROXY_OPEN, TPROXY_CLOSED } tproxy_connection(const struct tproxy_key *key);

/* tproxy_hook.c */
int	tproxy_hooks_add(struct tproxy_softc *sc);
void	tproxy_hooks_remove(struct tproxy_softc *sc);

/* tproxy_capture.c */
bool	tproxy_captures(struct tproxy_softc *sc, const struct tproxy_key *key, if_t ifp);
bool	tproxy_capture(struct tproxy_softc *sc, const struct tproxy_key *key, struct mbuf *m);
void	tproxy_capture_expire(struct tproxy_softc *sc, uint64_t now);
int	tproxy_capture_release(struct tproxy_softc *sc, struct tproxy_client *client, uint64_t id, uint32_t action);
void	tproxy_capture_close(struct tproxy_softc *sc, struct tproxy_client *client);
bool	tproxy_capture_event(struct tproxy_softc *sc, struct tproxy_event *event);
bool	tproxy_injected(struct mbuf *m);

/* tproxy_device.c */
int	tproxy_device_attach(void);
void	tproxy_device_detach(void);
bool	tproxy_device_busy(void);
void	tproxy_give_flow(const struct tproxy_key *from, struct tproxy_ioc_flow *to);
void	tproxy_vnet_gone(struct tproxy_softc *sc);

#endif
