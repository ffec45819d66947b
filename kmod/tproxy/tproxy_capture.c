/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * SYNs held for userland's decision: what divert(4) is to pf, for IPv6 as well.
 *
 *	hook -> rule says so -> held -> event -> [userland] -> inject: marked as seen, back through netisr
 *							     \-> refuse: RST; unreachable: ICMP; drop
 *	too many, no owner -> passes		time over, descriptor closed -> inject
 */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "tproxy_var.h"

#include <sys/protosw.h>
#include <sys/socketvar.h>

#include <net/netisr.h>

#include <netinet/icmp6.h>
#include <netinet/in_pcb.h>
#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/ip_var.h>
#include <netinet/tcp.h>
#include <netinet/tcp_var.h>
#include <netinet6/ip6_var.h>

#define	MTAG_TPROXY		0x74707879	/* a cookie of our own: "tpxy" */
#define	MTAG_TPROXY_INJECTED	1

/* The packet has been here before and is on its way now. */
bool
tproxy_injected(struct mbuf *m)
{
	return (m_tag_locate(m, MTAG_TPROXY, MTAG_TPROXY_INJECTED, NULL) != NULL);
}

static bool
tproxy_prefix_holds(const struct tproxy_ioc_addr *prefix, const uint8_t *address)
{
	u_int octets = prefix->ta_plen / 8, bits = prefix->ta_plen % 8;

	if (memcmp(prefix->ta_octets, address, octets) != 0)
		return (false);
	return (bits == 0 || ((prefix->ta_octets[octets] ^ address[octets]) & (0xff00 >> bits) & 0xff) == 0);
}

static bool
tproxy_wanted(struct tproxy_softc *sc, const struct tproxy_key *key, if_t ifp)
{
	uint8_t family = key->k_family == AF_INET6 ? TPROXY_ABI_IPV6 : TPROXY_ABI_IPV4;
	uint16_t port = ntohs(key->k_destination_port);

	mtx_assert(&tproxy_mtx, MA_OWNED);
	for (u_int i = 0; i < sc->sc_nrules; i++) {
		const struct tproxy_ioc_rule *rule = &sc->sc_rules[i];

		if (rule->ru_destination.ta_family == family && port >= rule->ru_port_low && port <= rule->ru_port_high &&
		    tproxy_prefix_holds(&rule->ru_destination, key->k_destination) &&
		    (rule->ru_ifname[0] == '\0' || strncmp(rule->ru_ifname, if_name(ifp), sizeof(rule->ru_ifname)) == 0))
			return (rule->ru_action == TPROXY_RULE_CAPTURE);
	}
	return (false);
}

/* Is it what a rule is for? */
bool
tproxy_captures(struct tproxy_softc *sc, const struct tproxy_key *key, if_t ifp)
{
	bool wanted;

	if (ifp == NULL || sc->sc_nrules == 0)
		return (false);
	mtx_lock(&tproxy_mtx);
	wanted = sc->sc_capturer != NULL && tproxy_wanted(sc, key, ifp);
	mtx_unlock(&tproxy_mtx);
	return (wanted);
}

static u_int
tproxy_held_bucket(struct tproxy_softc *sc, const struct tproxy_key *key)
{
	return ((u_int)(tproxy_hash(sc, key) % TPROXY_HELD_BUCKETS));
}

static void
tproxy_held_unlink(struct tproxy_softc *sc, struct tproxy_held *held)
{
	mtx_assert(&tproxy_mtx, MA_OWNED);
	LIST_REMOVE(held, h_hash);
	TAILQ_REMOVE(&sc->sc_ages, held, h_age);
	if (!held->h_reported) {
		TAILQ_REMOVE(&sc->sc_unread, held, h_unread);
		sc->sc_nunread--;
	}
	sc->sc_nheld--;
}

/* True if the packet is held now, or dropped since the same SYN is: it belongs to the caller no more. */
bool
tproxy_capture(struct tproxy_softc *sc, const struct tproxy_key *key, struct mbuf *m)
{
	if_t ifp = m->m_pkthdr.rcvif;
	u_int bucket = tproxy_held_bucket(sc, key);
	struct tproxy_held *held;

	if (ifp == NULL)
		return (false);
	mtx_lock(&tproxy_mtx);
	if (sc->sc_capturer == NULL || !tproxy_wanted(sc, key, ifp)) {
		mtx_unlock(&tproxy_mtx);
		return (false);
	}
	LIST_FOREACH(held, &sc->sc_held[bucket], h_hash) {
		if (memcmp(&held->h_key, key, sizeof(*key)) == 0) {
			mtx_unlock(&tproxy_mtx);
			TPROXY_COUNT(repeated);
			m_freem(m);
			return (true);
		}
	}
	held = sc->sc_nheld < (u_int)V_tproxy_hold_max ? malloc(sizeof(*held), M_TPROXY, M_NOWAIT | M_ZERO) : NULL;
	if (held == NULL) {
		mtx_unlock(&tproxy_mtx);
		TPROXY_COUNT(overflowed);
		return (false);
	}
	held->h_key = *key;
	held->h_id = ++sc->sc_last_id;
	held->h_deadline_ms = modctl_now_ms() + (sc->sc_hold_ms != 0 ? sc->sc_hold_ms : (uint64_t)V_tproxy_hold_ms);
	strlcpy(held->h_ifname, if_name(ifp), sizeof(held->h_ifname));
	/* The interface may go while the packet waits. */
	m_rcvif_serialize(m);
	held->h_packet = m;
	LIST_INSERT_HEAD(&sc->sc_held[bucket], held, h_hash);
	TAILQ_INSERT_TAIL(&sc->sc_ages, held, h_age);
	TAILQ_INSERT_TAIL(&sc->sc_unread, held, h_unread);
	sc->sc_nheld++;
	sc->sc_nunread++;
	modctl_wake(&sc->sc_capturer->c_modctl);
	mtx_unlock(&tproxy_mtx);
	TPROXY_COUNT(captured);
	return (true);
}

/* The next SYN userland has not heard of. */
bool
tproxy_capture_event(struct tproxy_softc *sc, struct tproxy_event *event)
{
	struct tproxy_held *held = TAILQ_FIRST(&sc->sc_unread);
	struct mbuf *m;

	mtx_assert(&tproxy_mtx, MA_OWNED);
	if (held == NULL)
		return (false);
	TAILQ_REMOVE(&sc->sc_unread, held, h_unread);
	sc->sc_nunread--;
	held->h_reported = true;
	m = held->h_packet;
	memset(event, 0, sizeof(*event));
	event->ev_version = TPROXY_ABI_VERSION;
	event->ev_type = TPROXY_EVENT_SYN;
	event->ev_id = held->h_id;
	tproxy_give_flow(&held->h_key, &event->ev_flow);
	CTASSERT(sizeof(event->ev_ifname) == sizeof(held->h_ifname));
	memcpy(event->ev_ifname, held->h_ifname, sizeof(event->ev_ifname));
	event->ev_length = (uint32_t)m->m_pkthdr.len;
	event->ev_snapshot_length = MIN(event->ev_length, sizeof(event->ev_snapshot));
	m_copydata(m, 0, (int)event->ev_snapshot_length, (caddr_t)event->ev_snapshot);
	return (true);
}

/* Answers the SYN with RST, as a host does where nobody listens (RFC 9293 section 3.10.7.1). */
static void
tproxy_refuse(const struct tproxy_key *key, struct mbuf *m)
{
	size_t header = key->k_family == AF_INET6 ? sizeof(struct ip6_hdr) : sizeof(struct ip);
	struct tcphdr *th;
	uint32_t acknowledge;
	int length;

	m->m_pkthdr.csum_flags = 0;
	m = m_pullup(m, (int)(header + sizeof(*th)));
	if (m == NULL)
		return;
#ifdef INET
	if (key->k_family == AF_INET) {
		struct ip *ip = mtod(m, struct ip *);

		/* Options would have to be taken out first: who sends them in a SYN gets no answer. */
		if (ip->ip_hl << 2 != sizeof(*ip)) {
			m_freem(m);
			return;
		}
		length = ntohs(ip->ip_len) - (int)header;
	} else
#endif
	{
		struct ip6_hdr *ip6 = mtod(m, struct ip6_hdr *);

		if (ip6->ip6_nxt != IPPROTO_TCP) {
			m_freem(m);
			return;
		}
		length = ntohs(ip6->ip6_plen);
	}
	th = (struct tcphdr *)(mtod(m, char *) + header);
	/* The SYN itself and what it may carry (RFC 7413). */
	length -= th->th_off << 2;
	acknowledge = ntohl(th->th_seq) + 1 + (length > 0 ? (uint32_t)length : 0);
	tcp_respond(NULL, mtod(m, void *), th, m, acknowledge, 0, TH_RST | TH_ACK);
}

/* Does with a SYN, which is in no list any more, what was decided. */
static void
tproxy_dispose(struct tproxy_held *held, uint32_t action)
{
	bool ipv6 = held->h_key.k_family == AF_INET6;
	struct mbuf *m = held->h_packet;
	struct m_tag *tag;

	NET_EPOCH_ASSERT();
	if (m_rcvif_restore(m) == NULL)
		action = TPROXY_RELEASE_DROP;
	switch (action) {
	case TPROXY_RELEASE_INJECT:
		tag = m_tag_alloc(MTAG_TPROXY, MTAG_TPROXY_INJECTED, 0, M_NOWAIT);
		if (tag == NULL) {
			TPROXY_COUNT(nomem);
			m_freem(m);
			break;
		}
		m_tag_prepend(m, tag);
		TPROXY_COUNT(injected);
		(void)netisr_queue(ipv6 ? NETISR_IPV6 : NETISR_IP, m);
		break;
	case TPROXY_RELEASE_REFUSE:
		TPROXY_COUNT(refused);
		tproxy_refuse(&held->h_key, m);
		break;
	case TPROXY_RELEASE_UNREACHABLE:
		TPROXY_COUNT(unreachable);
#ifdef INET6
		if (ipv6)
			icmp6_error(m, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADDR, 0);
#endif
#ifdef INET
		if (!ipv6)
			icmp_error(m, ICMP_UNREACH, ICMP_UNREACH_HOST, 0, 0);
#endif
		break;
	default:
		TPROXY_COUNT(dropped);
		m_freem(m);
		break;
	}
	free(held, M_TPROXY);
}

int
tproxy_capture_release(struct tproxy_softc *sc, struct tproxy_client *client, uint64_t id, uint32_t action)
{
	struct epoch_tracker et;
	struct tproxy_held *held;

	if (action < TPROXY_RELEASE_INJECT || action > TPROXY_RELEASE_DROP)
		return (EINVAL);
	mtx_lock(&tproxy_mtx);
	if (sc->sc_capturer != client) {
		mtx_unlock(&tproxy_mtx);
		return (EPERM);
	}
	/* Identifiers rise with age, and userland tends to answer in order. */
	TAILQ_FOREACH(held, &sc->sc_ages, h_age)
		if (held->h_id >= id)
			break;
	if (held != NULL && held->h_id == id)
		tproxy_held_unlink(sc, held);
	else
		held = NULL;
	mtx_unlock(&tproxy_mtx);
	if (held == NULL)
		return (ENOENT);
	NET_EPOCH_ENTER(et);
	tproxy_dispose(held, action);
	NET_EPOCH_EXIT(et);
	return (0);
}

/* Lets those go on that have waited too long. */
void
tproxy_capture_expire(struct tproxy_softc *sc, uint64_t now)
{
	struct tproxy_held *held;

	for (;;) {
		mtx_lock(&tproxy_mtx);
		held = TAILQ_FIRST(&sc->sc_ages);
		if (held == NULL || now < held->h_deadline_ms) {
			mtx_unlock(&tproxy_mtx);
			return;
		}
		tproxy_held_unlink(sc, held);
		mtx_unlock(&tproxy_mtx);
		TPROXY_COUNT(timedout);
		tproxy_dispose(held, TPROXY_RELEASE_INJECT);
	}
}

/* The capturing descriptor goes, or wants no more: nothing is captured from here on, and what is held passes. */
void
tproxy_capture_close(struct tproxy_softc *sc, struct tproxy_client *client)
{
	struct epoch_tracker et;
	struct tproxy_held *held;

	NET_EPOCH_ENTER(et);
	mtx_lock(&tproxy_mtx);
	if (sc->sc_capturer == client) {
		sc->sc_capturer = NULL;
		sc->sc_nrules = 0;
	}
	while (sc->sc_capturer == NULL && (held = TAILQ_FIRST(&sc->sc_ages)) != NULL) {
		tproxy_held_unlink(sc, held);
		mtx_unlock(&tproxy_mtx);
		TPROXY_COUNT(orphaned);
		tproxy_dispose(held, TPROXY_RELEASE_INJECT);
		mtx_lock(&tproxy_mtx);
	}
	mtx_unlock(&tproxy_mtx);
	NET_EPOCH_EXIT(et);
}
