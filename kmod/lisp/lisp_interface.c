/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The interface lisp0: what is routed into it is encapsulated (ITR, RFC 9300 section 4).
 *
 *	ip_output -> lisp_output -> lisp_encapsulate -> decide -+-> prepend outer headers -> ip_output, ip6_output
 *								+-> too big: fragment, or tell the sender
 *								+-> no mapping: event
 */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "lisp_var.h"

#include <sys/jail.h>
#include <sys/osd.h>
#include <sys/proc.h>
#include <sys/sockio.h>

#include <net/bpf.h>
#include <net/if_clone.h>
#include <net/if_types.h>
#include <net/netisr.h>
#include <net/route.h>
#include <net/route/nhop.h>

#include <netinet/in.h>
#include <netinet/in_fib.h>
#include <netinet/in_var.h>
#include <netinet/ip.h>
#include <netinet/ip_var.h>
#include <netinet/ip6.h>
#include <netinet6/in6_fib.h>
#include <netinet6/in6_var.h>
#include <netinet6/ip6_var.h>
#include <netinet6/nd6.h>
#include <netinet6/scope6_var.h>

#define	LISP_MTU_SMALLEST	576
#define	LISP_MTU_LARGEST	(IP_MAXPACKET - LISP_OUTER_MAX)

static const char lisp_name[] = "lisp";
static int lisp_osd_slot;
#ifdef INET6
static struct ip6_pktopts lisp_whole;	/* IP6PO_DONTFRAG and nothing else */
#endif

VNET_DEFINE(struct lisp_softc *, lisp_softc);
VNET_DEFINE_STATIC(struct if_clone *, lisp_cloner);
#define	V_lisp_cloner	VNET(lisp_cloner)

/* ---------------------------------------------------------------- telling senders what fits */

/* The address an answer to `to` should come from: the one of the way to it (RFC 1812 section 4.3.2.4). */
static bool
lisp_answer_source(u_int fib, const struct lisp_addr *to, struct lisp_addr *source)
{
#ifdef INET
	if (to->af == LISP_AF_V4) {
		struct nhop_object *nh;
		struct in_addr address;

		memcpy(&address, to->bytes, sizeof(address));
		nh = fib4_lookup(fib, address, 0, NHR_NONE, 0);
		if (nh == NULL || nh->nh_ifa == NULL || nh->nh_ifa->ifa_addr->sa_family != AF_INET)
			return (false);
		*source = lisp_addr_v4((const uint8_t *)&IA_SIN(ifatoia(nh->nh_ifa))->sin_addr);
		return (!lisp_addr_is_unspecified(source));
	}
#endif
#ifdef INET6
	if (to->af == LISP_AF_V6) {
		struct in6_addr address, chosen;

		memcpy(&address, to->bytes, sizeof(address));
		if (in6_selectsrc_addr(fib, &address, 0, NULL, &chosen, NULL) != 0)
			return (false);
		*source = lisp_addr_v6((const uint8_t *)&chosen);
		return (true);
	}
#endif
	return (false);
}

/*
 * The stack would fragment an IPv6 packet of ours that is larger than the way takes: `whole` forbids it (IPv4 packets have
 * DF set), so that too large a packet is an error to learn from.
 */
static int
lisp_underlay_output(struct mbuf *m, unsigned int af, bool whole)
{
	switch (af) {
#ifdef INET
	case LISP_AF_V4:
		return (ip_output(m, NULL, NULL, 0, NULL, NULL));
#endif
#ifdef INET6
	case LISP_AF_V6:
		return (ip6_output(m, whole ? &lisp_whole : NULL, NULL, 0, NULL, NULL, NULL));
#endif
	default:
		m_freem(m);
		return (EAFNOSUPPORT);
	}
}

/*
 * Sends ICMP 'fragmentation needed' or 'packet too big' to the sender of the inner packet, as if it had come in by the loopback
 * interface, outside the caller's locks. A socket of this host's is found whatever routing table it sends by, one that has
 * another host's address by tproxy(4)'s hook; to anybody else it is forwarded.
 */
static void
lisp_answer_too_big(struct lisp_softc *sc, struct mbuf *m, const struct lisp_inner *inner, uint16_t mtu)
{
	/* One cluster: the answer in front, what it quotes behind. */
	const int answer_at = 64, quote_at = answer_at + LISP_ICMP_MAX, quote_room = MCLBYTES - quote_at;
	struct lisp_addr source;
	struct mbuf *answer;
	size_t available, length;
	uint8_t *room;

	if (!ppsratecheck(&sc->sc_icmp_time, &sc->sc_icmp_pps, V_lisp_icmp_rate) ||
	    !lisp_answer_source(M_GETFIB(m), &inner->flow.src, &source)) {
		LISP_COUNT(sc, ICMP_LIMITED);
		return;
	}
	answer = m_getcl(M_NOWAIT, MT_DATA, M_PKTHDR);
	if (answer == NULL) {
		LISP_COUNT(sc, ICMP_LIMITED);
		return;
	}
	room = mtod(answer, uint8_t *);
	available = MIN(m->m_pkthdr.len, quote_room);
	m_copydata(m, 0, (int)available, (caddr_t)(room + quote_at));
	length = lisp_icmp_too_big(room + quote_at, inner, available, &source, mtu, room + answer_at, LISP_ICMP_MAX);
	if (length == 0) {
		m_freem(answer);
		return;
	}
	answer->m_data += answer_at;
	answer->m_len = answer->m_pkthdr.len = (int)length;
	M_SETFIB(answer, M_GETFIB(m));
	answer->m_pkthdr.rcvif = V_loif;
	LISP_COUNT(sc, ICMP_SENT);
	(void)netisr_queue(inner->af == LISP_AF_V4 ? NETISR_IP : NETISR_IPV6, answer);
}

/* ---------------------------------------------------------------- encapsulation */

/*
 * The underlay's own interface refused the packet for its size: what fits is the next hop's MTU. The packet is gone; the
 * next one of its size is answered with ICMP.
 */
static void
lisp_lower_to_next_hop(struct lisp_softc *sc, const struct lisp_path *path, u_int fib)
{
	struct nhop_object *nh = NULL;
	bool lowered;
	uint16_t mtu;

#ifdef INET
	if (path->remote.af == LISP_AF_V4) {
		struct in_addr address;

		memcpy(&address, path->remote.bytes, sizeof(address));
		nh = fib4_lookup(fib, address, 0, NHR_NONE, 0);
	}
#endif
#ifdef INET6
	if (path->remote.af == LISP_AF_V6) {
		struct in6_addr address;

		memcpy(&address, path->remote.bytes, sizeof(address));
		nh = fib6_lookup(fib, &address, 0, NHR_NONE, 0);
	}
#endif
	if (nh == NULL)
		return;
	mtu = (uint16_t)MIN(nh->nh_mtu, IP_MAXPACKET);
	LISP_WLOCK(sc);
	lowered = lisp_paths_lower_mtu(sc->sc_tables.paths, path, mtu, modctl_now_ms());
	LISP_WUNLOCK(sc);
	if (lowered) {
		LISP_COUNT(sc, PATH_MTU);
		lisp_event_mtu(sc, path, mtu - (path->remote.af == LISP_AF_V4 ? LISP_OUTER_V4 : LISP_OUTER_V6));
	}
}

/* Consumes the packet. */
static void
lisp_send(struct lisp_softc *sc, struct mbuf *m, const struct lisp_encap_plan *plan, u_int fib, size_t length)
{
	size_t overhead = lisp_encap_overhead(plan);
	int error;

	M_PREPEND(m, (int)overhead, M_NOWAIT);
	if (m == NULL) {
		LISP_DROPPED(sc, LISP_DROP_NO_MEMORY);
		if_inc_counter(sc->sc_ifp, IFCOUNTER_OERRORS, 1);
		return;
	}
	lisp_encap_write(plan, length, mtod(m, uint8_t *));
	m->m_flags &= ~(M_BCAST | M_MCAST);
	m->m_pkthdr.csum_flags = 0;
	m->m_pkthdr.flowid = plan->hash;
	M_HASHTYPE_SET(m, M_HASHTYPE_OPAQUE);
	M_SETFIB(m, fib);
	/* What IPv6 has to be able to pass everywhere must pass, if need be in fragments (RFC 8200 section 5). */
	error = lisp_underlay_output(m, plan->path.remote.af, length > IPV6_MMTU);
	if (error != 0) {
		if (error == EMSGSIZE) {
			LISP_DROPPED(sc, LISP_DROP_TOO_BIG);
			lisp_lower_to_next_hop(sc, &plan->path, fib);
		} else
			LISP_DROPPED(sc, LISP_DROP_SEND);
		if_inc_counter(sc->sc_ifp, IFCOUNTER_OERRORS, 1);
		return;
	}
	LISP_COUNT(sc, ENCAPSULATED);
	LISP_COUNT_ADD(sc, ENCAPSULATED_OCTETS, (int64_t)length);
	if (plan->pinned)
		LISP_COUNT(sc, PINNED);
	if_inc_counter(sc->sc_ifp, IFCOUNTER_OPACKETS, 1);
	if_inc_counter(sc->sc_ifp, IFCOUNTER_OBYTES, (int64_t)length);
}

/* A path's first packet makes it known; the table is bounded and paths beyond go uncounted. */
static void
lisp_learn_path(struct lisp_softc *sc, const struct lisp_encap_plan *plan, size_t length)
{
	uint32_t number;

	LISP_WLOCK(sc);
	number = lisp_paths_add(sc->sc_tables.paths, &plan->path);
	if (number == LISP_PATH_NONE)
		sc->sc_paths_full = true;
	else
		lisp_paths_sent(sc->sc_tables.paths, number, 1, length);
	LISP_WUNLOCK(sc);
}

static void lisp_fragment(struct lisp_softc *, struct mbuf *, uint16_t);

/* Decides about one inner packet and consumes it. */
static void
lisp_encapsulate(struct lisp_softc *sc, struct mbuf *m)
{
	struct rm_priotracker tracker;
	struct lisp_encap_plan plan;
	struct lisp_inner inner;
	uint8_t room[LISP_INNER_LOOK_MAX];
	const uint8_t *data;
	size_t length, look;
	u_int fib;

	NET_EPOCH_ASSERT();
	M_ASSERTPKTHDR(m);

	length = (size_t)m->m_pkthdr.len;
	data = lisp_look(m, sizeof(room), room, &look);
	fib = sc->sc_fib;

	LISP_RLOCK(sc, &tracker);
	lisp_encap_packet(&sc->sc_tables, sc->sc_iid, data, length, look, modctl_now_ms(), &inner, &plan);
	if (plan.verdict == LISP_FORWARD) {
		lisp_paths_sent(sc->sc_tables.paths, plan.path_number, 1, inner.length);
		if (sc->sc_have_fibs)
			for (unsigned int i = 0; i < sc->sc_tables.nrlocs; i++)
				if (sc->sc_fibs[i] != LISP_FIB_DEFAULT &&
				    lisp_addr_equal(&sc->sc_tables.rlocs[i], &plan.path.local))
					fib = sc->sc_fibs[i];
	}
	LISP_RUNLOCK(sc, &tracker);

	switch (plan.verdict) {
	case LISP_FORWARD:
		if (plan.path_number == LISP_PATH_NONE && !sc->sc_paths_full)
			lisp_learn_path(sc, &plan, inner.length);
		if (inner.length < length)
			m_adj(m, (int)inner.length - (int)length);
		lisp_send(sc, m, &plan, fib, inner.length);
		return;
	case LISP_TOO_BIG:
		if (inner.af == LISP_AF_V4 && !inner.df) {
			lisp_fragment(sc, m, plan.mtu);
			return;
		}
		LISP_DROPPED(sc, plan.cause);
		lisp_answer_too_big(sc, m, &inner, plan.mtu);
		break;
	case LISP_MISS:
		LISP_COUNT(sc, MISSES);
		LISP_DROPPED(sc, plan.cause);
		lisp_event_miss(sc, sc->sc_iid, &inner.flow.dst, LISP_MISS_ENCAPSULATE);
		break;
	case LISP_DROP:
	case LISP_NATIVE:
		LISP_DROPPED(sc, plan.cause);
		break;
	}
	if_inc_counter(sc->sc_ifp, IFCOUNTER_OERRORS, 1);
	m_freem(m);
}

/*
 * An IPv4 packet that may be fragmented is, before it is encapsulated: the outer packet must not be, since the far end would
 * have to put it together (RFC 9300 section 7.1).
 */
static void
lisp_fragment(struct lisp_softc *sc, struct mbuf *m, uint16_t mtu)
{
#ifdef INET
	struct mbuf *next;

	m = m_pullup(m, sizeof(struct ip));
	if (m == NULL) {
		LISP_DROPPED(sc, LISP_DROP_NO_MEMORY);
		return;
	}
	m = m_pullup(m, mtod(m, struct ip *)->ip_hl << 2);
	if (m == NULL) {
		LISP_DROPPED(sc, LISP_DROP_NO_MEMORY);
		return;
	}
	/* Padding behind the packet is no part of it. */
	if (m->m_pkthdr.len > ntohs(mtod(m, struct ip *)->ip_len))
		m_adj(m, ntohs(mtod(m, struct ip *)->ip_len) - m->m_pkthdr.len);
	m->m_pkthdr.csum_flags = CSUM_IP;
	if (ip_fragment(mtod(m, struct ip *), &m, mtu, 0) != 0) {
		LISP_DROPPED(sc, LISP_DROP_TOO_BIG);
		for (; m != NULL; m = next) {
			next = m->m_nextpkt;
			m->m_nextpkt = NULL;
			m_freem(m);
		}
		return;
	}
	LISP_COUNT(sc, FRAGMENTED);
	for (; m != NULL; m = next) {
		next = m->m_nextpkt;
		m->m_nextpkt = NULL;
		m->m_pkthdr.csum_flags = 0;
		/* A fragment fits; should the path have shrunk meanwhile it is only fragmented once more. */
		lisp_encapsulate(sc, m);
	}
#else
	m_freem(m);
#endif
}

/*
 * Packets from the stack. Returns no error for what happens on the way: EMSGSIZE in particular would make tcp_output try
 * again at once, for ever.
 */
static int
lisp_output(if_t ifp, struct mbuf *m, const struct sockaddr *dst __unused, struct route *ro __unused)
{
	struct lisp_softc *sc = if_getsoftc(ifp);
	uint32_t af;
	uint8_t version;

	if (sc == NULL || (if_getdrvflags(ifp) & IFF_DRV_RUNNING) == 0 || (if_getflags(ifp) & IFF_UP) == 0) {
		if (sc != NULL)
			LISP_DROPPED(sc, LISP_DROP_DOWN);
		m_freem(m);
		return (ENETDOWN);
	}
	if (m->m_pkthdr.len < (int)sizeof(struct ip)) {
		LISP_DROPPED(sc, LISP_DROP_INNER_TRUNCATED);
		m_freem(m);
		return (0);
	}
	m_copydata(m, 0, 1, (caddr_t)&version);
	af = (version >> 4) == 4 ? AF_INET : AF_INET6;
	/* Checksums left to hardware are due now: behind the outer header nobody will finish them. */
#ifdef INET
	if (af == AF_INET && (m->m_pkthdr.csum_flags & CSUM_DELAY_DATA) != 0) {
		m = m_pullup(m, sizeof(struct ip));
		if (m == NULL) {
			LISP_DROPPED(sc, LISP_DROP_NO_MEMORY);
			return (ENOBUFS);
		}
		in_delayed_cksum(m);
	}
#endif
#ifdef INET6
	if (af == AF_INET6 && (m->m_pkthdr.csum_flags & CSUM_DELAY_DATA_IPV6) != 0 &&
	    m->m_pkthdr.len > (int)sizeof(struct ip6_hdr))
		in6_delayed_cksum(m, (uint32_t)m->m_pkthdr.len - sizeof(struct ip6_hdr), sizeof(struct ip6_hdr));
#endif
	m->m_pkthdr.csum_flags = 0;
	BPF_MTAP2(ifp, &af, sizeof(af), m);
	lisp_encapsulate(sc, m);
	return (0);
}

static int
lisp_transmit(if_t ifp, struct mbuf *m)
{
	return (lisp_output(ifp, m, NULL, NULL));
}

static void
lisp_qflush(if_t ifp __unused)
{
}

/* ---------------------------------------------------------------- ageing */

static void
lisp_age(void *argument)
{
	struct lisp_softc *sc = argument;
	uint64_t now = modctl_now_ms();
	uint32_t aged;

	CURVNET_SET(sc->sc_vnet);
	LISP_WLOCK(sc);
	aged = lisp_pins_age(sc->sc_tables.pins, now, (uint32_t)V_lisp_glean_idle * 1000, 4096);
	(void)lisp_paths_age(sc->sc_tables.paths, now, (uint64_t)V_lisp_mtu_lifetime * 1000);
	if (aged > 0)
		sc->sc_generation++;
	sc->sc_paths_full = false;
	LISP_WUNLOCK(sc);
	CURVNET_RESTORE();
	if (aged > 0)
		LISP_COUNT_ADD(sc, PINS_AGED, aged);
	callout_schedule(&sc->sc_age, hz);
}

/* ---------------------------------------------------------------- the interface's life */

void
lisp_apply_switches(struct lisp_softc *sc)
{
	LISP_WLOCK(sc);
	sc->sc_tables.source_check = V_lisp_source_check != 0;
	sc->sc_tables.glean = V_lisp_glean != 0;
	sc->sc_tables.underlay_mtu = (uint16_t)V_lisp_underlay_mtu;
	LISP_WUNLOCK(sc);
}

static int
lisp_ioctl(if_t ifp, u_long command, caddr_t data)
{
	struct lisp_softc *sc = if_getsoftc(ifp);
	struct ifreq *ifr = (struct ifreq *)data;

	switch (command) {
	case SIOCSIFADDR:
		if_setflagbits(ifp, IFF_UP, 0);
		/* FALLTHROUGH */
	case SIOCSIFFLAGS:
		/* A stopped interface has no sockets any more and stays down. */
		if (sc != NULL && (if_getflags(ifp) & IFF_UP) != 0 && sc->sc_running)
			if_setdrvflagbits(ifp, IFF_DRV_RUNNING, 0);
		else
			if_setdrvflagbits(ifp, 0, IFF_DRV_RUNNING);
		return (0);
	case SIOCADDMULTI:
	case SIOCDELMULTI:
		return (0);
	case SIOCSIFMTU:
		if (ifr->ifr_mtu < LISP_MTU_SMALLEST || ifr->ifr_mtu > LISP_MTU_LARGEST)
			return (EINVAL);
		if_setmtu(ifp, ifr->ifr_mtu);
		return (0);
	default:
		return (EINVAL);
	}
}

/*
 * Takes the interface's sockets, hooks and timer away, as before it is destroyed or when its network stack is about to go:
 * a socket holds its creator's credential and with it the jail. The softc stays until lisp_destroy.
 */
void
lisp_stop(struct lisp_softc *sc)
{
	sx_assert(&lisp_config_sx, SA_XLOCKED);
	if (!sc->sc_running)
		return;
	sc->sc_running = false;
	if_setdrvflagbits(sc->sc_ifp, 0, IFF_DRV_RUNNING);
	CURVNET_SET(sc->sc_vnet);
	if (V_lisp_softc == sc)
		V_lisp_softc = NULL;
	lisp_input_detach(sc);
	CURVNET_RESTORE();
	callout_drain(&sc->sc_age);
	NET_EPOCH_WAIT();
}

static void
lisp_free_softc(struct lisp_softc *sc)
{
	lisp_tables_fini(&sc->sc_tables);
	for (int i = 0; i < LISP_CNT_COUNT; i++)
		counter_u64_free(sc->sc_counters[i]);
	for (int i = 0; i < LISP_DROP_COUNT; i++)
		counter_u64_free(sc->sc_drops[i]);
	mtx_destroy(&sc->sc_miss_mtx);
	rm_destroy(&sc->sc_lock);
	free(sc->sc_eids, M_LISP);
	free(sc, M_LISP);
}

/* An interface moved to another network stack leaves its sockets behind, and is of no use until made anew. */
static void
lisp_reassign(if_t ifp, struct vnet *vnet __unused, char *unused __unused)
{
	struct lisp_softc *sc;

	sx_xlock(&lisp_config_sx);
	sc = if_getsoftc(ifp);
	if (sc != NULL)
		lisp_stop(sc);
	sx_xunlock(&lisp_config_sx);
}

static int
lisp_create(struct if_clone *ifc __unused, char *name __unused, size_t length __unused, struct ifc_data *ifd,
    struct ifnet **ifpp)
{
	struct lisp_limits limits = LISP_LIMITS_DEFAULT;
	struct lisp_softc *sc;
	if_t ifp;
	int error;

	sc = malloc(sizeof(*sc), M_LISP, M_WAITOK | M_ZERO);
	limits.max_mappings = sc->sc_max_mappings = lisp_max_mappings;
	limits.max_static_pins = lisp_max_pins;
	limits.max_gleaned_pins = lisp_max_gleaned;
	limits.max_paths = lisp_max_paths;
	limits.max_eids = LISP_ABI_LOCAL_EIDS;
	error = lisp_tables_init(&sc->sc_tables, &limits, arc4random());
	if (error != 0) {
		free(sc, M_LISP);
		return (error);
	}
	sc->sc_vnet = curvnet;
	sc->sc_fib = (u_int)curthread->td_proc->p_fibnum;
	sc->sc_eids = mallocarray(LISP_ABI_LOCAL_EIDS, sizeof(*sc->sc_eids), M_LISP, M_WAITOK | M_ZERO);
	rm_init(&sc->sc_lock, "lisp tables");
	mtx_init(&sc->sc_miss_mtx, "lisp misses", NULL, MTX_DEF);
	callout_init(&sc->sc_age, 1);
	for (int i = 0; i < LISP_CNT_COUNT; i++)
		sc->sc_counters[i] = counter_u64_alloc(M_WAITOK);
	for (int i = 0; i < LISP_DROP_COUNT; i++)
		sc->sc_drops[i] = counter_u64_alloc(M_WAITOK);
	lisp_apply_switches(sc);

	sc->sc_ifp = ifp = if_alloc(IFT_TUNNEL);
	if_initname(ifp, lisp_name, ifd->unit);
	if_setsoftc(ifp, sc);
	if_setflags(ifp, IFF_NOARP | IFF_MULTICAST);
	/* No offloads: the stack hands over packets that are finished and fit. */
	if_setmtu(ifp, V_lisp_underlay_mtu - LISP_OUTER_MAX);
	if_setoutputfn(ifp, lisp_output);
	if_settransmitfn(ifp, lisp_transmit);
	if_setqflushfn(ifp, lisp_qflush);
	if_setioctlfn(ifp, lisp_ioctl);
#ifdef VIMAGE
	if_setreassignfn(ifp, lisp_reassign);
#endif

	sx_xlock(&lisp_config_sx);
	error = V_lisp_softc != NULL ? EEXIST : lisp_input_attach(sc);
	if (error == 0) {
		sc->sc_running = true;
		V_lisp_softc = sc;
		callout_reset(&sc->sc_age, hz, lisp_age, sc);
	}
	sx_xunlock(&lisp_config_sx);
	if (error != 0) {
		if_free(ifp);
		/* The hooks and sockets may have been seen by a packet. */
		NET_EPOCH_WAIT();
		lisp_free_softc(sc);
		return (error);
	}
	if_attach(ifp);
	bpfattach(ifp, DLT_NULL, sizeof(uint32_t));
#ifdef INET6
	/* There are no neighbours to look for. */
	ND_IFINFO(ifp)->flags &= ~(ND6_IFF_AUTO_LINKLOCAL | ND6_IFF_IFDISABLED);
	ND_IFINFO(ifp)->flags |= ND6_IFF_NO_DAD;
#endif
	*ifpp = ifp;
	return (0);
}

static int
lisp_destroy(struct if_clone *ifc __unused, if_t ifp, uint32_t flags __unused)
{
	struct lisp_softc *sc = if_getsoftc(ifp);

	sx_xlock(&lisp_config_sx);
	lisp_stop(sc);
	sx_xunlock(&lisp_config_sx);
	bpfdetach(ifp);
	if_detach(ifp);
	/* Packets that found the interface before it was detached are still inside. */
	NET_EPOCH_WAIT();
	if_setsoftc(ifp, NULL);
	if_free(ifp);
	lisp_free_softc(sc);
	return (0);
}

static void
vnet_lisp_init(const void *unused __unused)
{
	struct if_clone_addreq request = {
		.create_f = lisp_create,
		.destroy_f = lisp_destroy,
		.flags = IFC_F_AUTOUNIT,
	};

	V_lisp_cloner = ifc_attach_cloner(lisp_name, &request);
}
VNET_SYSINIT(vnet_lisp_init, SI_SUB_PSEUDO, SI_ORDER_ANY, vnet_lisp_init, NULL);

static void
vnet_lisp_uninit(const void *unused __unused)
{
	if (V_lisp_cloner != NULL)
		ifc_detach_cloner(V_lisp_cloner);
	V_lisp_cloner = NULL;
}
VNET_SYSUNINIT(vnet_lisp_uninit, SI_SUB_PSEUDO, SI_ORDER_ANY, vnet_lisp_uninit, NULL);

/* The last process of a jail with its own network stack is gone: let go of the jail. */
static int
lisp_prison_remove(void *object, void *data __unused)
{
#ifdef VIMAGE
	const struct prison *pr = object;

	if (pr->pr_flags & PR_VNET) {
		sx_xlock(&lisp_config_sx);
		CURVNET_SET(pr->pr_vnet);
		if (V_lisp_softc != NULL)
			lisp_stop(V_lisp_softc);
		CURVNET_RESTORE();
		sx_xunlock(&lisp_config_sx);
	}
#endif
	return (0);
}

int
lisp_interface_attach(void)
{
	osd_method_t methods[PR_MAXMETHOD] = { [PR_METHOD_REMOVE] = lisp_prison_remove };

#ifdef INET6
	ip6_initpktopts(&lisp_whole);
	lisp_whole.ip6po_flags |= IP6PO_DONTFRAG;
#endif
	lisp_osd_slot = osd_jail_register(NULL, methods);
	return (0);
}

void
lisp_interface_detach(void)
{
	osd_jail_deregister(lisp_osd_slot);
}
