/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * From the underlay: LISP data packets (ETR, RFC 9300 section 4) and the ICMP that routers send about ours.
 *
 *	ip_input -> udp_input -> lisp_udp_input -> decide -+-> headers off -> netisr, as received on lisp0
 *							   +-> no mapping for the source: event
 *	ip_input -> pfil -> lisp_icmp_hook -> path MTU
 */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "lisp_var.h"

#include <sys/proc.h>
#include <sys/protosw.h>
#include <sys/socketvar.h>

#include <net/bpf.h>
#include <net/netisr.h>

#include <netinet/in.h>
#include <netinet/in_pcb.h>
#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/ip_var.h>
#include <netinet/ip6.h>
#include <netinet/icmp6.h>
#include <netinet/udp.h>
#include <netinet/udp_var.h>
#include <netinet6/ip6_var.h>

/* How much of an ICMP message is looked at: the quoted outer headers and the ICMP and IP headers before them. */
#define	LISP_ICMP_LOOK	256
/*
 * ICMP can be forged. No path in use takes less than every host must be able to receive (RFC 1122 section 3.3.2); what is
 * said to take less would, with DF set, take no TCP any more.
 */
#define	LISP_PATH_MTU_LEAST	576

/* ---------------------------------------------------------------- decapsulation */

static bool
lisp_outer(struct mbuf *m, int offset, struct lisp_outer *outer)
{
	const uint8_t *header = mtod(m, const uint8_t *);

	memset(outer, 0, sizeof(*outer));
	outer->sport = ntohs(((const struct udphdr *)(header + offset))->uh_sport);
	switch (header[0] >> 4) {
	case 4: {
		const struct ip *ip = (const struct ip *)header;

		outer->src = lisp_addr_v4((const uint8_t *)&ip->ip_src);
		outer->dst = lisp_addr_v4((const uint8_t *)&ip->ip_dst);
		outer->tos = ip->ip_tos;
		outer->ttl = ip->ip_ttl;
		return (true);
	}
	case 6: {
		const struct ip6_hdr *ip6 = (const struct ip6_hdr *)header;

		outer->src = lisp_addr_v6((const uint8_t *)&ip6->ip6_src);
		outer->dst = lisp_addr_v6((const uint8_t *)&ip6->ip6_dst);
		outer->tos = (uint8_t)(ntohl(ip6->ip6_flow) >> 20);
		outer->ttl = ip6->ip6_hlim;
		return (true);
	}
	default:
		return (false);
	}
}

/* What needs the exclusive lock: a path seen for the first time, a flow to be gleaned. Both are rare. */
static void
lisp_learn(struct lisp_softc *sc, const struct lisp_decap_plan *plan)
{
	struct lisp_flow back = lisp_flow_reverse(&plan->inner.flow);
	uint64_t now = modctl_now_ms();
	uint32_t number;
	int error = EALREADY;

	LISP_WLOCK(sc);
	if (plan->path_number == LISP_PATH_NONE) {
		number = lisp_paths_add(sc->sc_tables.paths, &plan->path);
		if (number == LISP_PATH_NONE)
			sc->sc_paths_full = true;
		else
			lisp_paths_received(sc->sc_tables.paths, number, 1, plan->inner.length, now);
	}
	if (plan->glean) {
		error = lisp_pins_glean(sc->sc_tables.pins, &back, &plan->path, now);
		if (error == 0)
			sc->sc_generation++;
	}
	LISP_WUNLOCK(sc);
	if (error == 0) {
		LISP_COUNT(sc, GLEANED);
		lisp_event_gleaned(sc, &back, &plan->path);
	} else if (error != EALREADY && error != EEXIST)
		LISP_COUNT(sc, GLEAN_FAILED);
}

/* Hands the inner packet, headers off, to the stack. */
static void
lisp_deliver(struct lisp_softc *sc, struct mbuf *m, const struct lisp_decap_plan *plan)
{
	const struct lisp_inner *inner = &plan->inner;
	size_t header = inner->af == LISP_AF_V4 ? sizeof(struct ip) : sizeof(struct ip6_hdr);
	uint32_t af = inner->af == LISP_AF_V4 ? AF_INET : AF_INET6;
	u_int queue = inner->af == LISP_AF_V4 ? NETISR_IP : NETISR_IPV6;

	m_adj(m, LISP_HEADER_SIZE);
	/* A TTL must not be written where somebody else may read. */
	if ((size_t)m->m_len < header || !M_WRITABLE(m)) {
		m = m_copyup(m, (int)header, 0);
		if (m == NULL) {
			LISP_DROPPED(sc, LISP_DROP_NO_MEMORY);
			if_inc_counter(sc->sc_ifp, IFCOUNTER_IERRORS, 1);
			return;
		}
	}
	lisp_decap_apply(plan, mtod(m, uint8_t *));
	if (m->m_pkthdr.len > (int)inner->length)
		m_adj(m, (int)inner->length - m->m_pkthdr.len);

	m->m_pkthdr.rcvif = sc->sc_ifp;
	m->m_pkthdr.csum_flags = 0;
	m->m_flags &= ~(M_BCAST | M_MCAST);
	m_tag_delete_nonpersistent(m);
	m_clrprotoflags(m);
	M_SETFIB(m, if_getfib(sc->sc_ifp));
	BPF_MTAP2(sc->sc_ifp, &af, sizeof(af), m);
	LISP_COUNT(sc, DECAPSULATED);
	LISP_COUNT_ADD(sc, DECAPSULATED_OCTETS, inner->length);
	if_inc_counter(sc->sc_ifp, IFCOUNTER_IPACKETS, 1);
	if_inc_counter(sc->sc_ifp, IFCOUNTER_IBYTES, inner->length);
	/*
	 * LISP within LISP would come back here on the same stack, once for every 36 octets of the packet: it waits in a
	 * queue instead.
	 */
	if (inner->flow.proto == IPPROTO_UDP && inner->flow.dport == LISP_DATA_PORT)
		netisr_queue(queue, m);
	else
		netisr_dispatch(queue, m);
}

static bool
lisp_udp_input(struct mbuf *m, int offset, struct inpcb *inp __unused, const struct sockaddr *source __unused,
    void *context)
{
	struct lisp_softc *sc = context;
	struct rm_priotracker tracker;
	struct lisp_decap_plan plan;
	struct lisp_outer outer;
	uint8_t room[LISP_HEADER_SIZE + LISP_INNER_LOOK_MAX];
	const uint8_t *data;
	size_t length, look;
	bool learn;

	NET_EPOCH_ASSERT();
	M_ASSERTPKTHDR(m);

	if (!lisp_outer(m, offset, &outer)) {
		LISP_DROPPED(sc, LISP_DROP_OUTER_ADDRESS);
		m_freem(m);
		return (true);
	}
	if ((if_getdrvflags(sc->sc_ifp) & IFF_DRV_RUNNING) == 0) {
		LISP_DROPPED(sc, LISP_DROP_DOWN);
		m_freem(m);
		return (true);
	}
	m_adj(m, offset + (int)sizeof(struct udphdr));
	length = (size_t)m->m_pkthdr.len;
	data = lisp_look(m, sizeof(room), room, &look);

	LISP_RLOCK(sc, &tracker);
	lisp_decap_decide(&sc->sc_tables, &outer, data, length, look, modctl_now_ms(), &plan);
	if (plan.verdict == LISP_FORWARD)
		lisp_paths_received(sc->sc_tables.paths, plan.path_number, 1, plan.inner.length, modctl_now_ms());
	LISP_RUNLOCK(sc, &tracker);

	if (plan.verdict == LISP_FORWARD) {
		learn = plan.glean || (plan.path_number == LISP_PATH_NONE && !sc->sc_paths_full);
		if (learn)
			lisp_learn(sc, &plan);
		lisp_deliver(sc, m, &plan);
		return (true);
	}
	if (plan.verdict == LISP_MISS) {
		LISP_COUNT(sc, MISSES);
		lisp_event_miss(sc, plan.header.iid, &plan.inner.flow.src, LISP_MISS_SOURCE_CHECK);
	}
	LISP_DROPPED(sc, plan.cause);
	if_inc_counter(sc->sc_ifp, IFCOUNTER_IERRORS, 1);
	m_freem(m);
	return (true);
}

/* ---------------------------------------------------------------- ICMP about our packets */

static void
lisp_path_mtu(struct lisp_softc *sc, const struct lisp_icmp_report *report)
{
	size_t overhead = report->path.remote.af == LISP_AF_V4 ? LISP_OUTER_V4 : LISP_OUTER_V6;
	uint32_t mtu = report->mtu, number;
	bool lowered = false;

	LISP_WLOCK(sc);
	/* Only paths that are in use: anybody can send ICMP, and the table is bounded. */
	number = lisp_paths_find(sc->sc_tables.paths, &report->path);
	if (number != LISP_PATH_NONE && lisp_tables_is_local_rloc(&sc->sc_tables, &report->path.local)) {
		if (mtu == 0) {
			/* A router that does not say: go down step by step (RFC 1191 section 7.1). */
			mtu = lisp_paths_mtu(sc->sc_tables.paths, number);
			mtu = lisp_icmp_plateau(mtu != 0 ? (uint16_t)mtu : sc->sc_tables.underlay_mtu);
		}
		mtu = MAX(mtu, LISP_PATH_MTU_LEAST);
		lowered = lisp_paths_lower_mtu(sc->sc_tables.paths, &report->path, (uint16_t)mtu, modctl_now_ms());
		if (lowered)
			mtu = lisp_paths_mtu(sc->sc_tables.paths, number);
	}
	LISP_WUNLOCK(sc);
	if (lowered) {
		LISP_COUNT(sc, PATH_MTU);
		lisp_event_mtu(sc, &report->path, mtu > overhead ? mtu - (uint32_t)overhead : 0);
	}
}

/*
 * The tunnel's own ICMP callback never fires with source ports that vary by flow: the stack looks the quoted source port up
 * as a local one. So every packet in is looked at, and those that are ICMP errors about LISP packets are read; all pass on.
 */
static pfil_return_t
lisp_icmp_hook(struct mbuf **mp, if_t ifp __unused, int flags __unused, void *context, struct inpcb *inp __unused)
{
	struct lisp_softc *sc = context;
	struct lisp_icmp_report report;
	uint8_t room[LISP_ICMP_LOOK];
	const uint8_t *data;
	size_t look;
	struct mbuf *m = *mp;

	if (m->m_len < (int)sizeof(struct ip))
		return (PFIL_PASS);
	data = mtod(m, const uint8_t *);
	if (data[0] >> 4 == 4) {
		if (data[9] != IPPROTO_ICMP)
			return (PFIL_PASS);
	} else if (data[6] != IPPROTO_ICMPV6)
		return (PFIL_PASS);
	data = lisp_look(m, sizeof(room), room, &look);
	lisp_icmp_parse(data, look, &report);
	if (report.kind == LISP_ICMP_TOO_BIG)
		lisp_path_mtu(sc, &report);
	return (PFIL_PASS);
}

/* ---------------------------------------------------------------- sockets */

static int
lisp_open_socket(struct lisp_softc *sc, int domain, struct sockaddr *address, struct socket **result)
{
	struct socket *so;
	int error;

	error = socreate(domain, &so, SOCK_DGRAM, IPPROTO_UDP, curthread->td_ucred, curthread);
	if (error != 0)
		return (error);
	error = udp_set_kernel_tunneling(so, lisp_udp_input, NULL, sc);
#ifdef INET6
	if (error == 0 && domain == PF_INET6) {
		int one = 1;
		struct sockopt option = {
			.sopt_dir = SOPT_SET,
			.sopt_level = IPPROTO_IPV6,
			.sopt_name = IPV6_V6ONLY,
			.sopt_val = &one,
			.sopt_valsize = sizeof(one),
		};

		error = sosetopt(so, &option);
	}
#endif
	if (error == 0)
		error = sobind(so, address, curthread);
	if (error != 0) {
		(void)udp_set_kernel_tunneling(so, NULL, NULL, NULL);
		soclose(so);
		return (error);
	}
	*result = so;
	return (0);
}

static void
lisp_close_socket(struct socket **so)
{
	if (*so == NULL)
		return;
	(void)udp_set_kernel_tunneling(*so, NULL, NULL, NULL);
	soclose(*so);
	*so = NULL;
}

/* Sockets and hooks of the current network stack. On an error none is left. */
int
lisp_input_attach(struct lisp_softc *sc)
{
	int error = 0;

	sx_assert(&lisp_config_sx, SA_XLOCKED);
#ifdef INET
	struct sockaddr_in sin = {
		.sin_len = sizeof(sin),
		.sin_family = AF_INET,
		.sin_port = htons(LISP_DATA_PORT),
	};

	error = lisp_open_socket(sc, PF_INET, (struct sockaddr *)&sin, &sc->sc_so4);
	if (error == 0) {
		sc->sc_hook4 = modctl_hook("lisp", "default", V_inet_pfil_head, PFIL_TYPE_IP4, lisp_icmp_hook, sc, false);
		if (sc->sc_hook4 == NULL)
			error = ENOMEM;
	}
#endif
#ifdef INET6
	struct sockaddr_in6 sin6 = {
		.sin6_len = sizeof(sin6),
		.sin6_family = AF_INET6,
		.sin6_port = htons(LISP_DATA_PORT),
	};

	if (error == 0)
		error = lisp_open_socket(sc, PF_INET6, (struct sockaddr *)&sin6, &sc->sc_so6);
	if (error == 0) {
		sc->sc_hook6 = modctl_hook("lisp", "default6", V_inet6_pfil_head, PFIL_TYPE_IP6, lisp_icmp_hook, sc,
		    false);
		if (sc->sc_hook6 == NULL)
			error = ENOMEM;
	}
	if (error == 0 && V_zero_checksum_port == 0) {
		/* UDP over IPv6 without a checksum, as RFC 9300 section 5.3 and RFC 6935 have it. */
		V_zero_checksum_port = LISP_DATA_PORT;
		sc->sc_zero_checksum = true;
	}
#endif
	if (error != 0)
		lisp_input_detach(sc);
	return (error);
}

void
lisp_input_detach(struct lisp_softc *sc)
{
	sx_assert(&lisp_config_sx, SA_XLOCKED);
#ifdef INET6
	if (sc->sc_zero_checksum && V_zero_checksum_port == LISP_DATA_PORT)
		V_zero_checksum_port = 0;
	sc->sc_zero_checksum = false;
#endif
	if (sc->sc_hook6 != NULL)
		pfil_remove_hook(sc->sc_hook6);
	if (sc->sc_hook4 != NULL)
		pfil_remove_hook(sc->sc_hook4);
	sc->sc_hook4 = sc->sc_hook6 = NULL;
	lisp_close_socket(&sc->sc_so6);
	lisp_close_socket(&sc->sc_so4);
}
