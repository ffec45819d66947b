/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Packets in. The hook stands behind the packet filters that are loaded, so that what they block is not accepted, and what
 * pf diverts is seen when it comes back.
 *
 *	TCP of a registered flow:	M_FASTFWD_OURS: the stack takes it for local, whatever its destination
 *	... before its connection exists: PACKET_TAG_IPFORWARD too: tcp_input looks for the listener the tag names
 *	ICMP error quoting one:		M_FASTFWD_OURS: path MTU discovery and unreachables work towards the client
 *	SYN with MP_JOIN:		if mptcp(4) knows the connection, and its first flow is registered, so is this one
 *	a SYN a capture rule wants:	held
 *	all else:			untouched
 */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "tproxy_var.h"
#include "handover.h"

#include <netinet/icmp6.h>
#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/ip_var.h>
#include <netinet/tcp.h>
#include <netinet6/in6_var.h>
#include <netinet6/ip6_var.h>

#define	TPROXY_EXTENSIONS	8		/* most IPv6 extension headers looked behind */
#define	TPROXY_OPTION_MPTCP	30		/* of TCP (RFC 8684 section 3) */
#define	TPROXY_MP_JOIN		1		/* its subtype */

EVENTHANDLER_LIST_DEFINE(tproxy_join);
EVENTHANDLER_LIST_DEFINE(tproxy_lead);

enum tproxy_kind { TPROXY_OTHER, TPROXY_TCP, TPROXY_ICMP };

/* What is read of a packet. */
struct tproxy_packet {
	enum tproxy_kind	p_kind;
	struct tproxy_key	p_key;
	int			p_tcp;		/* offset of TCP's header */
	uint8_t			p_flags;	/* of TCP */
};

#ifdef INET
/* Reads an IPv4 header, and the ports behind it, at `offset`; false for what is no TCP with a TCP header of its own. */
static bool
tproxy_read4(struct mbuf *m, int offset, bool quoted, uint8_t *protocol, int *payload, struct tproxy_key *key)
{
	struct ip ip;
	uint16_t ports[2];

	if (m->m_pkthdr.len < offset + (int)sizeof(ip))
		return (false);
	m_copydata(m, offset, sizeof(ip), (caddr_t)&ip);
	*protocol = ip.ip_p;
	*payload = offset + (ip.ip_hl << 2);
	if (ip.ip_v != IPVERSION || ip.ip_hl < 5)
		return (false);
	if (ip.ip_p == IPPROTO_TCP && (ip.ip_off & htons(quoted ? IP_OFFMASK : IP_MF | IP_OFFMASK)) != 0) {
		if (!quoted)
			TPROXY_COUNT(fragments);
		return (false);
	}
	if (ip.ip_p == IPPROTO_ICMP && (ip.ip_off & htons(IP_OFFMASK)) == 0 && !quoted)
		return (true);
	if (ip.ip_p != IPPROTO_TCP || m->m_pkthdr.len < *payload + (int)sizeof(ports))
		return (false);
	m_copydata(m, *payload, sizeof(ports), (caddr_t)ports);
	memset(key, 0, sizeof(*key));
	key->k_family = AF_INET;
	memcpy(key->k_client, &ip.ip_src, sizeof(ip.ip_src));
	memcpy(key->k_destination, &ip.ip_dst, sizeof(ip.ip_dst));
	key->k_client_port = ports[0];
	key->k_destination_port = ports[1];
	return (true);
}

/* ICMP errors as in RFC 792: the IP header and eight octets behind it, where TCP has its ports. */
static bool
tproxy_icmp4(struct mbuf *m, int offset, struct tproxy_key *key)
{
	uint8_t protocol, type;
	int payload;

	if (m->m_pkthdr.len < offset + ICMP_MINLEN)
		return (false);
	m_copydata(m, offset, sizeof(type), (caddr_t)&type);
	if (type != ICMP_UNREACH && type != ICMP_TIMXCEED && type != ICMP_PARAMPROB && type != ICMP_SOURCEQUENCH)
		return (false);
	return (tproxy_read4(m, offset + ICMP_MINLEN, true, &protocol, &payload, key) && protocol == IPPROTO_TCP);
}
#endif

#ifdef INET6
static bool
tproxy_read6(struct mbuf *m, int offset, bool quoted, uint8_t *protocol, int *payload, struct tproxy_key *key)
{
	struct ip6_hdr ip6;
	struct ip6_frag fragment;
	uint16_t ports[2];
	int at, next;

	if (m->m_pkthdr.len < offset + (int)sizeof(ip6))
		return (false);
	m_copydata(m, offset, sizeof(ip6), (caddr_t)&ip6);
	if ((ip6.ip6_vfc & IPV6_VERSION_MASK) != IPV6_VERSION)
		return (false);
	at = offset + (int)sizeof(ip6);
	next = ip6.ip6_nxt;
	if (next != IPPROTO_TCP && next != IPPROTO_ICMPV6) {
		int before = offset, type = IPPROTO_IPV6;

		/* Rare. Steps over what may stand before TCP; -1 at anything that cannot be stepped over. */
		for (int i = 0; i < TPROXY_EXTENSIONS && type != IPPROTO_TCP && type != IPPROTO_ICMPV6; i++) {
			if (type == IPPROTO_FRAGMENT) {
				if (m->m_pkthdr.len < before + (int)sizeof(fragment))
					return (false);
				m_copydata(m, before, sizeof(fragment), (caddr_t)&fragment);
				if ((fragment.ip6f_offlg & (quoted ? IP6F_OFF_MASK : IP6F_OFF_MASK | IP6F_MORE_FRAG)) != 0) {
					if (!quoted && fragment.ip6f_nxt == IPPROTO_TCP)
						TPROXY_COUNT(fragments);
					return (false);
				}
			}
			before = ip6_nexthdr(m, before, type, &type);
			if (before == -1)
				return (false);
		}
		at = before;
		next = type;
	}
	*protocol = (uint8_t)next;
	*payload = at;
	if (next == IPPROTO_ICMPV6)
		return (!quoted);
	if (next != IPPROTO_TCP || m->m_pkthdr.len < at + (int)sizeof(ports))
		return (false);
	m_copydata(m, at, sizeof(ports), (caddr_t)ports);
	memset(key, 0, sizeof(*key));
	key->k_family = AF_INET6;
	memcpy(key->k_client, &ip6.ip6_src, sizeof(ip6.ip6_src));
	memcpy(key->k_destination, &ip6.ip6_dst, sizeof(ip6.ip6_dst));
	key->k_client_port = ports[0];
	key->k_destination_port = ports[1];
	return (true);
}

static bool
tproxy_icmp6(struct mbuf *m, int offset, struct tproxy_key *key)
{
	uint8_t protocol, type;
	int payload;

	if (m->m_pkthdr.len < offset + (int)sizeof(struct icmp6_hdr))
		return (false);
	m_copydata(m, offset, sizeof(type), (caddr_t)&type);
	if (type < ICMP6_DST_UNREACH || type > ICMP6_PARAM_PROB)
		return (false);
	return (tproxy_read6(m, offset + (int)sizeof(struct icmp6_hdr), true, &protocol, &payload, key) &&
	    protocol == IPPROTO_TCP);
}
#endif

/* A quoted packet went from the destination to the client: the other way round than the flow. */
static void
tproxy_turn(struct tproxy_key *key)
{
	struct tproxy_key turned = *key;

	memcpy(turned.k_client, key->k_destination, sizeof(turned.k_client));
	memcpy(turned.k_destination, key->k_client, sizeof(turned.k_destination));
	turned.k_client_port = key->k_destination_port;
	turned.k_destination_port = key->k_client_port;
	*key = turned;
}

static void
tproxy_parse(struct mbuf *m, bool ipv6, struct tproxy_packet *packet)
{
	uint8_t protocol = 0;
	int payload = 0;
	bool icmp = false;

	packet->p_kind = TPROXY_OTHER;
#ifdef INET6
	if (ipv6) {
		if (!tproxy_read6(m, 0, false, &protocol, &payload, &packet->p_key))
			return;
		icmp = protocol == IPPROTO_ICMPV6;
		if (icmp && !tproxy_icmp6(m, payload, &packet->p_key))
			return;
	}
#endif
#ifdef INET
	if (!ipv6) {
		if (!tproxy_read4(m, 0, false, &protocol, &payload, &packet->p_key))
			return;
		icmp = protocol == IPPROTO_ICMP;
		if (icmp && !tproxy_icmp4(m, payload, &packet->p_key))
			return;
	}
#endif
	if (icmp) {
		tproxy_turn(&packet->p_key);
		packet->p_kind = TPROXY_ICMP;
		return;
	}
	/* The flags are read where there is a whole header, which the stack checks again. */
	if (m->m_pkthdr.len < payload + (int)sizeof(struct tcphdr))
		return;
	packet->p_tcp = payload;
	m_copydata(m, payload + 13, 1, (caddr_t)&packet->p_flags);
	packet->p_kind = TPROXY_TCP;
}

/* Names the flow's listener to tcp_input. */
static bool
tproxy_tag(struct mbuf *m, const struct tproxy_flow *flow)
{
	bool ipv6 = flow->f_key.k_family == AF_INET6;
	size_t length = ipv6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct m_tag *tag = m_tag_find(m, PACKET_TAG_IPFORWARD, NULL);

	if (tag != NULL)
		m_tag_delete(m, tag);
	tag = m_tag_get(PACKET_TAG_IPFORWARD, (int)length, M_NOWAIT);
	if (tag == NULL)
		return (false);
	memcpy(tag + 1, &flow->f_listener, length);
	m_tag_prepend(m, tag);
	m->m_flags |= ipv6 ? M_IP6_NEXTHOP : M_IP_NEXTHOP;
	return (true);
}

/* ---------------------------------------------------------------- together with mptcp(4), where it is */

static bool
tproxy_has_join(struct mbuf *m, int tcp)
{
	uint8_t header[60];
	int at, length;

	m_copydata(m, tcp + 12, 1, (caddr_t)header);
	length = (header[0] >> 4) << 2;
	if (length <= (int)sizeof(struct tcphdr) || m->m_pkthdr.len < tcp + length)
		return (false);
	m_copydata(m, tcp, length, (caddr_t)header);
	for (at = (int)sizeof(struct tcphdr); at < length && header[at] != TCPOPT_EOL;) {
		if (header[at] == TCPOPT_NOP) {
			at++;
			continue;
		}
		if (at + 2 > length || header[at + 1] < 2 || at + header[at + 1] > length)
			return (false);
		if (header[at] == TPROXY_OPTION_MPTCP && header[at + 1] > 2)
			return (header[at + 2] >> 4 == TPROXY_MP_JOIN);
		at += header[at + 1];
	}
	return (false);
}

/* A SYN of no flow: its own from now on, if it joins a connection of one. */
static struct tproxy_flow *
tproxy_joining(struct tproxy_softc *sc, struct mbuf *m, const struct tproxy_packet *packet, bool ipv6)
{
	struct handover ho = { .ho_packet = m, .ho_ipv6 = ipv6 };
	struct tproxy_key first;

	EVENTHANDLER_DIRECT_INVOKE(tproxy_join, &ho);
	if (!ho.ho_known)
		return (NULL);
	memset(&first, 0, sizeof(first));
	memcpy(first.k_client, ho.ho_client, sizeof(first.k_client));
	memcpy(first.k_destination, ho.ho_destination, sizeof(first.k_destination));
	first.k_client_port = ho.ho_client_port;
	first.k_destination_port = ho.ho_destination_port;
	first.k_family = ho.ho_first_ipv6 ? AF_INET6 : AF_INET;
	return (tproxy_register_further(sc, &packet->p_key, &first, tproxy_captures(sc, &packet->p_key, m->m_pkthdr.rcvif)));
}

/* False: it is not to go on. */
static bool
tproxy_lead_on(struct mbuf *m, bool ipv6)
{
	struct handover ho = { .ho_packet = m, .ho_ipv6 = ipv6 };

	EVENTHANDLER_DIRECT_INVOKE(tproxy_lead, &ho);
	return (!ho.ho_refused);
}

/* What to do with a segment of a registered flow. */
enum tproxy_verdict { TPROXY_LEAVE, TPROXY_OURS, TPROXY_LISTENER };

static enum tproxy_verdict
tproxy_decide(struct tproxy_flow *flow, uint8_t flags)
{
	bool syn = (flags & (TH_SYN | TH_ACK)) == TH_SYN;

	switch (flow->f_state) {
	case TPROXY_FLOW_WAITING:
		/*
		 * The connection comes into being with the ACK of the handshake, which therefore has to find the listener as the
		 * SYN did. What is left of an earlier connection of the same addresses goes when the SYN arrives.
		 */
		if (!syn && tproxy_connection(&flow->f_key) == TPROXY_OPEN) {
			atomic_cmpset_32(&flow->f_state, TPROXY_FLOW_WAITING, TPROXY_FLOW_CONNECTED);
			return (TPROXY_OURS);
		}
		return (TPROXY_LISTENER);
	case TPROXY_FLOW_CONNECTED:
	case TPROXY_FLOW_GONE:
		/*
		 * A SYN while the connection stands is an old one, or a stranger's: TCP deals with it. Afterwards it begins a new
		 * connection that nobody registered, which is not ours from here on.
		 */
		if (syn && tproxy_connection(&flow->f_key) != TPROXY_OPEN) {
			flow->f_state = TPROXY_FLOW_PASSED;
			return (TPROXY_LEAVE);
		}
		if (flow->f_state == TPROXY_FLOW_GONE)
			TPROXY_COUNT(late);
		return (TPROXY_OURS);
	default:
		return (TPROXY_LEAVE);
	}
}

/* Nobody behind us frees it. */
static pfil_return_t
tproxy_drop(struct mbuf **mp)
{
	m_freem(*mp);
	*mp = NULL;
	return (PFIL_DROPPED);
}

static pfil_return_t
tproxy_hook(struct mbuf **mp, bool ipv6, struct tproxy_softc *sc)
{
	struct tproxy_packet packet;
	struct tproxy_flow *flow;
	struct mbuf *m = *mp;
	bool syn;

	NET_EPOCH_ASSERT();
	if (sc->sc_nflows == 0 && sc->sc_nrules == 0)
		return (PFIL_PASS);
	tproxy_parse(m, ipv6, &packet);
	if (packet.p_kind == TPROXY_OTHER)
		return (PFIL_PASS);
	flow = tproxy_find(sc, &packet.p_key);
	if (packet.p_kind == TPROXY_ICMP) {
		if (flow != NULL && flow->f_state != TPROXY_FLOW_PASSED) {
			m->m_flags |= M_FASTFWD_OURS;
			TPROXY_COUNT(icmp);
		}
		return (PFIL_PASS);
	}
	syn = (packet.p_flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) == TH_SYN;
	if (flow == NULL && syn && sc->sc_nflows != 0 && tproxy_has_join(m, packet.p_tcp))
		flow = tproxy_joining(sc, m, &packet, ipv6);
	switch (flow == NULL ? TPROXY_LEAVE : tproxy_decide(flow, packet.p_flags)) {
	case TPROXY_LISTENER:
		if (!tproxy_tag(m, flow)) {
			TPROXY_COUNT(nomem);
			return (tproxy_drop(mp));
		}
		m->m_flags |= M_FASTFWD_OURS;
		if (!tproxy_lead_on(m, ipv6)) {
			if (flow->f_further_one)
				tproxy_forget_further(sc, flow);
			return (tproxy_drop(mp));
		}
		TPROXY_COUNT(tagged);
		TPROXY_COUNT(packets);
		return (PFIL_PASS);
	case TPROXY_OURS:
		m->m_flags |= M_FASTFWD_OURS;
		TPROXY_COUNT(packets);
		return (PFIL_PASS);
	case TPROXY_LEAVE:
		break;
	}
	if (sc->sc_nrules > 0 && syn && !tproxy_injected(m) && tproxy_capture(sc, &packet.p_key, m)) {
		*mp = NULL;
		return (PFIL_CONSUMED);
	}
	return (PFIL_PASS);
}

#ifdef INET
static pfil_return_t
tproxy_hook4(struct mbuf **mp, if_t ifp __unused, int flags __unused, void *context, struct inpcb *inp __unused)
{
	return (tproxy_hook(mp, false, context));
}
#endif

#ifdef INET6
static pfil_return_t
tproxy_hook6(struct mbuf **mp, if_t ifp __unused, int flags __unused, void *context, struct inpcb *inp __unused)
{
	return (tproxy_hook(mp, true, context));
}
#endif

/* Behind the packet filters. */
int
tproxy_hooks_add(struct tproxy_softc *sc)
{
#ifdef INET
	sc->sc_hook4 = modctl_hook("tproxy", "default", V_inet_pfil_head, PFIL_TYPE_IP4, tproxy_hook4, sc, true);
	if (sc->sc_hook4 == NULL)
		return (ENOMEM);
#endif
#ifdef INET6
	sc->sc_hook6 = modctl_hook("tproxy", "default6", V_inet6_pfil_head, PFIL_TYPE_IP6, tproxy_hook6, sc, true);
	if (sc->sc_hook6 == NULL) {
		tproxy_hooks_remove(sc);
		return (ENOMEM);
	}
#endif
	return (0);
}

void
tproxy_hooks_remove(struct tproxy_softc *sc)
{
	if (sc->sc_hook6 != NULL)
		pfil_remove_hook(sc->sc_hook6);
	if (sc->sc_hook4 != NULL)
		pfil_remove_hook(sc->sc_hook4);
	sc->sc_hook4 = sc->sc_hook6 = NULL;
}
