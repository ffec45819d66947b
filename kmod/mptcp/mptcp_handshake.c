/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The passive side's handshakes. SYN/ACKs are sent by the SYN cache, which knows no stack but its own, so ours are made on their way out:
 *
 *	SYN with MP_CAPABLE      -> pfil in:  is it for a listener of ours? then a note
 *	SYN/ACK of the SYN cache -> pfil out: MP_CAPABLE appended, if there is a note of its SYN
 *	ACK, child socket        -> mptcp_passive_init(), mptcp_passive_segment(): the keys, or plain TCP
 *
 * Nothing is kept between these steps but the note, and losing that costs no more than MPTCP; so SYN cookies work.
 *
 *	SYN with MP_JOIN         -> pfil in:  is the token known? then a pending join, and led to the hidden listener (mptcp_accept.c)
 *	SYN/ACK of the SYN cache -> pfil out: MP_JOIN appended, with our proof
 *	ACK                      -> pfil in:  led to the hidden listener; child socket -> as above: the peer's proof, or RST
 *
 * The hooks stand between the packet filters and TCP, so that both see the same addresses. What tproxy(4) delivers, whose addresses are not
 * this host's, it hands over itself (handover.h), for it is not said whose hook comes first.
 */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "mptcp_var.h"

#include <sys/jail.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/pfil.h>

#include <netinet/in_systm.h>
#include <netinet/in_var.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/ip_var.h>
#include <netinet/icmp_var.h>
#include <netinet/tcp_fsm.h>
#include <netinet6/in6_pcb.h>
#include <netinet6/in6_var.h>
#include <netinet6/ip6_var.h>
#include <machine/in_cksum.h>

#include "handover.h"
#include "mptcp_accept.h"
#include "mptcp_passive.h"

#define	NOTES		512
#define	PENDING_SECONDS	30	/* a join's SYN/ACK is given up by the SYN cache before that */

struct handshake {
	struct mtx		mtx;		/* leaf: notes and pending joins */
	uint8_t			secret[MPTCP_SECRET_SIZE];
	struct mptcp_notes	notes;
	struct mptcp_note	slots[NOTES];
	struct mptcp_pendings	pendings;
	pfil_hook_t		hook4, hook6;
};

VNET_DEFINE_STATIC(struct handshake *, handshake);
#define	V_handshake	VNET(handshake)

/* What is read of a segment. */
struct segment {
	struct mptcp_tuple	tuple;	/* as this end sees it */
	int			tcp;	/* offset of TCP's header, which is whole, */
	int			header;	/* and its length with options */
	int			data;	/* octets behind it */
	uint16_t		flags;
	uint32_t		seq, ack;
	uint8_t			octets[60];	/* of that header */
};

static void
read_tuple(struct segment *segment, bool out, const void *source, const void *destination, size_t length)
{
	struct mptcp_tuple *tuple = &segment->tuple;

	memset(tuple, 0, sizeof(*tuple));
	memcpy(out ? tuple->local : tuple->remote, source, length);
	memcpy(out ? tuple->remote : tuple->local, destination, length);
	tuple->ipv6 = length == sizeof(struct in6_addr);
}

/* False: nothing we have to do with. IPv6 with extension headers stays TCP. */
static bool
read_segment(struct mbuf *m, bool ipv6, bool out, struct segment *segment)
{
	int total;

	if (ipv6) {
		struct ip6_hdr ip6;

		if (m->m_pkthdr.len < (int)(sizeof(ip6) + sizeof(struct tcphdr)))
			return (false);
		m_copydata(m, 0, sizeof(ip6), (caddr_t)&ip6);
		if (ip6.ip6_nxt != IPPROTO_TCP)
			return (false);
		segment->tcp = sizeof(ip6);
		total = (int)sizeof(ip6) + ntohs(ip6.ip6_plen);
		read_tuple(segment, out, &ip6.ip6_src, &ip6.ip6_dst, sizeof(ip6.ip6_src));
	} else {
		struct ip ip;

		if (m->m_pkthdr.len < (int)(sizeof(ip) + sizeof(struct tcphdr)))
			return (false);
		m_copydata(m, 0, sizeof(ip), (caddr_t)&ip);
		if (ip.ip_p != IPPROTO_TCP || (ip.ip_off & htons(IP_MF | IP_OFFMASK)) != 0)
			return (false);
		segment->tcp = ip.ip_hl << 2;
		total = ntohs(ip.ip_len);
		read_tuple(segment, out, &ip.ip_src, &ip.ip_dst, sizeof(ip.ip_src));
	}
	if (total > m->m_pkthdr.len || total < segment->tcp + (int)sizeof(struct tcphdr))
		return (false);
	m_copydata(m, segment->tcp, sizeof(struct tcphdr), (caddr_t)segment->octets);
	segment->header = (segment->octets[12] >> 4) << 2;
	segment->flags = segment->octets[13];
	segment->seq = lisp_get32(segment->octets + 4);
	segment->ack = lisp_get32(segment->octets + 8);
	segment->data = total - segment->tcp - segment->header;
	segment->tuple.local_port = lisp_get16(segment->octets + (out ? 0 : 2));
	segment->tuple.remote_port = lisp_get16(segment->octets + (out ? 2 : 0));
	return (segment->header >= (int)sizeof(struct tcphdr) && segment->data >= 0);
}

/* ---------------------------------------------------------------- in */

static bool
is_local(const struct mptcp_tuple *tuple)
{
#ifdef INET6
	if (tuple->ipv6) {
		struct in6_addr local;

		memcpy(&local, tuple->local, sizeof(local));
		return (in6_localip(&local));
	}
#endif
#ifdef INET
	if (!tuple->ipv6) {
		struct in_addr local;

		memcpy(&local, tuple->local, sizeof(local));
		return (in_localip(local));
	}
#endif
	return (false);
}

/* Will a SYN find a listener of ours? */
static bool
for_our_listener(const struct mptcp_tuple *tuple, struct ifnet *ifp)
{
	struct inpcb *inp = NULL;
	bool ours;

	/*
	 * An earlier connection of the same addresses (in TIME_WAIT, say) is not what is looked for, so this looks from where no
	 * connection comes: from the listener itself.
	 */
#ifdef INET6
	if (tuple->ipv6) {
		struct in6_addr local;

		memcpy(&local, tuple->local, sizeof(local));
		inp = in6_pcblookup(&V_tcbinfo, &local, htons(tuple->local_port), &local, htons(tuple->local_port),
		    INPLOOKUP_WILDCARD | INPLOOKUP_RLOCKPCB, ifp);
	}
#endif
#ifdef INET
	if (!tuple->ipv6) {
		struct in_addr local;

		memcpy(&local, tuple->local, sizeof(local));
		inp = in_pcblookup(&V_tcbinfo, local, htons(tuple->local_port), local, htons(tuple->local_port),
		    INPLOOKUP_WILDCARD | INPLOOKUP_RLOCKPCB, ifp);
	}
#endif
	if (inp == NULL)
		return (false);
	ours = intotcpcb(inp)->t_state == TCPS_LISTEN && mptcp_listener_tcb(intotcpcb(inp));
	INP_RUNLOCK(inp);
	return (ours);
}

/* Names the hidden listener to tcp_input, which looks for an exact connection first. */
static bool
lead_to_hidden(struct mbuf *m, bool ipv6)
{
	struct sockaddr_storage address;
	struct m_tag *tag;

	if (!mptcp_hidden_address(ipv6, (struct sockaddr *)&address))
		return (false);
	/* It goes where tproxy(4) would have it go no more. */
	if ((tag = m_tag_find(m, PACKET_TAG_IPFORWARD, NULL)) != NULL)
		m_tag_delete(m, tag);
	tag = m_tag_get(PACKET_TAG_IPFORWARD, address.ss_len, M_NOWAIT);
	if (tag == NULL)
		return (false);
	memcpy(tag + 1, &address, address.ss_len);
	m_tag_prepend(m, tag);
	m->m_flags |= M_FASTFWD_OURS | (ipv6 ? M_IP6_NEXTHOP : M_IP_NEXTHOP);
	return (true);
}

/* The checksum of a whole segment, in software: offloading would go by an old length. */
static void
sum_segment(struct mbuf *m, const struct segment *segment)
{
	const int at = segment->tcp + (int)offsetof(struct tcphdr, th_sum);
	uint16_t sum = 0;

	m_copyback(m, at, sizeof(sum), (caddr_t)&sum);
	if (segment->tuple.ipv6) {
		sum = in6_cksum(m, IPPROTO_TCP, (uint32_t)segment->tcp, (uint32_t)(segment->header + segment->data));
		m->m_pkthdr.csum_flags &= ~CSUM_TCP_IPV6;
	} else {
		struct ip *ip = mtod(m, struct ip *);

		sum = in_pseudo(ip->ip_src.s_addr, ip->ip_dst.s_addr, htons((uint16_t)(segment->header + segment->data) + IPPROTO_TCP));
		m_copyback(m, at, sizeof(sum), (caddr_t)&sum);
		sum = in_cksum_skip(m, segment->tcp + segment->header + segment->data, segment->tcp);
		m->m_pkthdr.csum_flags &= ~CSUM_TCP;
	}
	m_copyback(m, at, sizeof(sum), (caddr_t)&sum);
}

/* Answers a SYN with RST and MP_TCPRST. */
static void
refuse_join(struct mbuf *syn, const struct segment *segment, uint8_t flags, enum mptcp_rst_reason reason)
{
	struct mptcp_option option = { .subtype = MPTCP_MP_TCPRST, .rst = { .flags = flags, .reason = (uint8_t)reason } };
	const struct mptcp_tuple *tuple = &segment->tuple;
	struct segment answer = { .tuple = *tuple };
	struct mbuf *m;
	uint8_t *tcp;

	mptcp_count(MPTCP_CNT_join_refused);
	if ((syn->m_flags & (M_BCAST | M_MCAST)) != 0 || badport_bandlim(BANDLIM_RST_CLOSEDPORT) < 0)
		return;
	m = m_gethdr(M_NOWAIT, MT_DATA);
	if (m == NULL)
		return;
	m->m_data += max_linkhdr;
	answer.tcp = tuple->ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct ip);
	answer.header = sizeof(struct tcphdr);
	memset(mtod(m, void *), 0, (size_t)(answer.tcp + answer.header));
	tcp = mtod(m, uint8_t *) + answer.tcp;
	lisp_put16(tcp, tuple->local_port);
	lisp_put16(tcp + 2, tuple->remote_port);
	lisp_put32(tcp + 8, segment->seq + 1 + (uint32_t)segment->data);
	tcp[12] = (uint8_t)(answer.header / 4) << 4;
	tcp[13] = TH_RST | TH_ACK;
	answer.header += (int)mptcp_option_build(&option, MPTCP_SEGMENT_OTHER, tcp + answer.header, MPTCP_OPTION_MAX);
	tcp[12] = (uint8_t)(answer.header / 4) << 4;
	m->m_len = m->m_pkthdr.len = answer.tcp + answer.header;
	m->m_pkthdr.rcvif = NULL;
	M_SETFIB(m, M_GETFIB(syn));
#ifdef INET6
	if (tuple->ipv6) {
		struct ip6_hdr *ip6 = mtod(m, struct ip6_hdr *);

		ip6->ip6_vfc = IPV6_VERSION;
		ip6->ip6_nxt = IPPROTO_TCP;
		ip6->ip6_plen = htons((uint16_t)answer.header);
		ip6->ip6_hlim = (uint8_t)in6_selecthlim(NULL, NULL);
		memcpy(&ip6->ip6_src, tuple->local, sizeof(ip6->ip6_src));
		memcpy(&ip6->ip6_dst, tuple->remote, sizeof(ip6->ip6_dst));
		sum_segment(m, &answer);
		(void)ip6_output(m, NULL, NULL, 0, NULL, NULL, NULL);
	}
#endif
#ifdef INET
	if (!tuple->ipv6) {
		struct ip *ip = mtod(m, struct ip *);

		ip->ip_v = IPVERSION;
		ip->ip_hl = sizeof(*ip) / 4;
		ip->ip_p = IPPROTO_TCP;
		ip->ip_len = htons((uint16_t)m->m_pkthdr.len);
		ip->ip_ttl = (uint8_t)V_ip_defttl;
		memcpy(&ip->ip_src, tuple->local, sizeof(ip->ip_src));
		memcpy(&ip->ip_dst, tuple->remote, sizeof(ip->ip_dst));
		sum_segment(m, &answer);
		(void)ip_output(m, NULL, NULL, 0, NULL, NULL);
	}
#endif
}

/* The Address ID of one of ours in a SYN/ACK: 0 is the first subflow's, and those given out when joining from here are low. */
static uint8_t
local_id(const struct mptcp_conn *mc, const struct mptcp_tuple *tuple)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&mc->mc_local;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)&mc->mc_local;
	uint8_t id = 0;

	if (tuple->ipv6 ? sin6->sin6_family == AF_INET6 && memcmp(&sin6->sin6_addr, tuple->local, sizeof(sin6->sin6_addr)) == 0 :
	    sin->sin_family == AF_INET && memcmp(&sin->sin_addr, tuple->local, sizeof(sin->sin_addr)) == 0)
		return (0);
	for (size_t i = 0; i < sizeof(tuple->local); i++)
		id = (uint8_t)(id * 31 + tuple->local[i]);
	return (id | 0x80);
}

/* False: the SYN is not to go on. `handed`: by tproxy(4). */
static bool
take_join(struct handshake *h, struct mbuf *m, const struct segment *segment, const struct mptcp_join *join, bool handed)
{
	struct mptcp_conn *mc;
	struct mptcp_pending *pending;
	uint64_t local_key, remote_key;
	bool again, usable;

	if (!handed && (m_tag_find(m, PACKET_TAG_IPFORWARD, NULL) != NULL || !is_local(&segment->tuple)))
		return (true);
	mptcp_count(MPTCP_CNT_join_syn_received);
	mc = mptcp_conn_by_token(join->token);
	if (mc == NULL) {
		mptcp_count(MPTCP_CNT_join_no_token);
		refuse_join(m, segment, 0, MPTCP_RST_MPTCP_ERROR);
		return (false);
	}
	MC_LOCK(mc);
	usable = mc->mc_state == MPTCP_KEYED || mc->mc_state == MPTCP_ESTABLISHED;
	local_key = mc->mc_local_key;
	remote_key = mc->mc_remote_key;
	MC_UNLOCK(mc);
	if (!usable) {
		mptcp_conn_rele(mc);
		refuse_join(m, segment, 0, MPTCP_RST_PROHIBITED);
		return (false);
	}
	mtx_lock(&h->mtx);
	pending = mptcp_pendings_add(&h->pendings, &segment->tuple, segment->seq, join->token, join->nonce, (uint64_t)time_uptime,
	    PENDING_SECONDS, &again);
	if (pending != NULL && !again) {
		pending->local_nonce = arc4random();
		pending->remote_id = join->address_id;
		pending->local_id = local_id(mc, &segment->tuple);
		pending->backup = join->backup;
		mptcp_pending_prove(pending, local_key, remote_key);
	}
	mtx_unlock(&h->mtx);
	mptcp_conn_rele(mc);
	if (pending == NULL || !lead_to_hidden(m, segment->tuple.ipv6)) {
		refuse_join(m, segment, MPTCP_RST_TRANSIENT, MPTCP_RST_RESOURCES);
		return (false);
	}
	return (true);
}

static void
read_options(struct mbuf *m, struct segment *segment, struct mptcp_options *options)
{
	int length = segment->header - (int)sizeof(struct tcphdr);

	m_copydata(m, segment->tcp + (int)sizeof(struct tcphdr), length, (caddr_t)segment->octets + sizeof(struct tcphdr));
	mptcp_options_parse(segment->octets + sizeof(struct tcphdr), (size_t)length, MPTCP_SEGMENT_SYN, options);
}

/* Where the tag of a packet leads it. */
static bool
tagged_tuple(struct mbuf *m, struct mptcp_tuple *tuple)
{
	struct m_tag *tag = m_tag_find(m, PACKET_TAG_IPFORWARD, NULL);

	if (tag == NULL)
		return (false);
	memset(tuple->local, 0, sizeof(tuple->local));
	if (tuple->ipv6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)(tag + 1);

		memcpy(tuple->local, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
		tuple->local_port = sin6->sin6_port;
	} else {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)(tag + 1);

		memcpy(tuple->local, &sin->sin_addr, sizeof(sin->sin_addr));
		tuple->local_port = sin->sin_port;
	}
	return (true);
}

/* False: the SYN is not to go on. */
static bool
take_syn(struct handshake *h, struct mbuf *m, struct segment *segment, bool handed)
{
	const struct mptcp_option *option;
	struct mptcp_options options;
	struct mptcp_tuple listener = segment->tuple;

	read_options(m, segment, &options);
	if ((option = mptcp_options_find(&options, MPTCP_MP_JOIN)) != NULL)
		return (take_join(h, m, segment, &option->join, handed));
	option = mptcp_options_find(&options, MPTCP_MP_CAPABLE);
	if (option == NULL || (handed ? !tagged_tuple(m, &listener) : !is_local(&segment->tuple)) ||
	    !for_our_listener(&listener, m->m_pkthdr.rcvif))
		return (true);
	mptcp_count(MPTCP_CNT_capable_syn_received);
	mtx_lock(&h->mtx);
	mptcp_notes_put(&h->notes, &segment->tuple, segment->seq, option->capable.flags);
	mtx_unlock(&h->mtx);
	return (true);
}

/* The third ACK of a join looks for a listener, too, and there may be none at its port. */
static void
take_ack(struct handshake *h, struct mbuf *m, const struct segment *segment, bool handed)
{
	bool found;

	mtx_lock(&h->mtx);
	found = mptcp_pendings_find(&h->pendings, &segment->tuple, (uint64_t)time_uptime) != NULL;
	mtx_unlock(&h->mtx);
	if (found && (handed || m_tag_find(m, PACKET_TAG_IPFORWARD, NULL) == NULL))
		(void)lead_to_hidden(m, segment->tuple.ipv6);
}

/* ---------------------------------------------------------------- from tproxy(4) */

static struct handshake *
handed_segment(const struct handover *ho, struct segment *segment)
{
	struct handshake *h = V_handshake;

	NET_EPOCH_ASSERT();
	return (h != NULL && atomic_load_acq_int(&mptcp_running) != 0 && V_mptcp_enabled &&
	    read_segment(ho->ho_packet, ho->ho_ipv6, false, segment) ? h : NULL);
}

/* Which connection does this SYN join? */
static void
handed_join(void *unused __unused, struct handover *ho)
{
	const struct mptcp_option *option;
	struct mptcp_options options;
	struct mptcp_conn *mc = NULL;
	struct segment segment;

	if (handed_segment(ho, &segment) == NULL)
		return;
	read_options(ho->ho_packet, &segment, &options);
	if ((option = mptcp_options_find(&options, MPTCP_MP_JOIN)) != NULL)
		mc = mptcp_conn_by_token(option->join.token);
	if (mc == NULL)
		return;
	if (mc->mc_asked.remote_port != 0) {
		ho->ho_known = true;
		ho->ho_first_ipv6 = mc->mc_asked.ipv6;
		memcpy(ho->ho_client, mc->mc_asked.remote, sizeof(ho->ho_client));
		memcpy(ho->ho_destination, mc->mc_asked.local, sizeof(ho->ho_destination));
		ho->ho_client_port = htons(mc->mc_asked.remote_port);
		ho->ho_destination_port = htons(mc->mc_asked.local_port);
	}
	mptcp_conn_rele(mc);
}

static void
handed_lead(void *unused __unused, struct handover *ho)
{
	struct segment segment;
	struct handshake *h = handed_segment(ho, &segment);

	if (h == NULL)
		return;
	switch (segment.flags & (TH_SYN | TH_ACK | TH_RST)) {
	case TH_SYN:
		if (segment.header > (int)sizeof(struct tcphdr))
			ho->ho_refused = !take_syn(h, ho->ho_packet, &segment, true);
		break;
	case TH_ACK:
		if (h->pendings.count != 0)
			take_ack(h, ho->ho_packet, &segment, true);
		break;
	}
}

static eventhandler_tag join_tag, lead_tag;

void
mptcp_handshake_attach(void)
{
	join_tag = EVENTHANDLER_REGISTER(tproxy_join, handed_join, NULL, EVENTHANDLER_PRI_ANY);
	lead_tag = EVENTHANDLER_REGISTER(tproxy_lead, handed_lead, NULL, EVENTHANDLER_PRI_ANY);
}

void
mptcp_handshake_detach(void)
{
	EVENTHANDLER_DEREGISTER(tproxy_lead, lead_tag);
	EVENTHANDLER_DEREGISTER(tproxy_join, join_tag);
}

/* ---------------------------------------------------------------- out */

/* An option behind those of a segment without data. */
static bool
append_option(struct mbuf **mp, struct segment *segment, const uint8_t *option, size_t length)
{
	uint8_t added[MPTCP_OPTION_MAX];
	struct mbuf *m = *mp;
	size_t size;

	if (segment->data != 0)
		return (false);
	m_copydata(m, segment->tcp, segment->header, (caddr_t)segment->octets);
	size = mptcp_header_append(segment->octets, sizeof(segment->octets) - (size_t)segment->header, option, length);
	if (size == 0)
		return (false);
	memcpy(added, segment->octets + segment->header, size);
	if (M_WRITABLE(m) == 0 || m->m_len < segment->tcp + (int)sizeof(struct tcphdr)) {
		/* As the SYN cache makes it, it is neither. */
		m = m_unshare(m, M_NOWAIT);
		*mp = m;
		if (m == NULL || m->m_len < segment->tcp + (int)sizeof(struct tcphdr))
			return (false);
	}
	if (!m_append(m, (int)size, added))
		return (false);
	*(mtod(m, uint8_t *) + segment->tcp + 12) = segment->octets[12];
	segment->header += (int)size;
	if (segment->tuple.ipv6) {
		struct ip6_hdr *ip6 = mtod(m, struct ip6_hdr *);

		ip6->ip6_plen = htons(ntohs(ip6->ip6_plen) + (uint16_t)size);
	} else {
		struct ip *ip = mtod(m, struct ip *);

		ip->ip_len = htons(ntohs(ip->ip_len) + (uint16_t)size);
	}
	sum_segment(m, segment);
	return (true);
}

static void
make_synack(struct handshake *h, struct mbuf **mp, struct segment *segment)
{
	struct mptcp_option option = { 0 };
	struct mptcp_pending *pending;
	uint8_t octets[MPTCP_OPTION_MAX], flags = 0;
	struct mptcp_conn *mc;
	uint32_t token;
	uint64_t idsn;
	size_t length;
	bool noted = false;

	mtx_lock(&h->mtx);
	pending = h->pendings.count == 0 ? NULL : mptcp_pendings_find(&h->pendings, &segment->tuple, (uint64_t)time_uptime);
	if (pending != NULL && pending->irs == segment->ack - 1) {
		option.subtype = MPTCP_MP_JOIN;
		option.join.address_id = pending->local_id;
		option.join.nonce = pending->local_nonce;
		memcpy(option.join.hmac, pending->proof, sizeof(pending->proof));
	} else
		noted = mptcp_notes_get(&h->notes, &segment->tuple, segment->ack - 1, &flags);
	mtx_unlock(&h->mtx);
	if (noted) {
		option.subtype = MPTCP_MP_CAPABLE;
		option.capable.flags = MPTCP_CAPABLE_SHA256 | (flags & MPTCP_CAPABLE_CHECKSUM) |
		    (V_mptcp_checksum ? MPTCP_CAPABLE_CHECKSUM : 0);
		option.capable.sender_key = mptcp_passive_key(h->secret, &segment->tuple, segment->seq, segment->ack - 1);
		/* Two connections with one token cannot be: this one will be plain TCP. */
		mptcp_key_derive(option.capable.sender_key, &token, &idsn);
		if ((mc = mptcp_conn_by_token(token)) != NULL) {
			mptcp_conn_rele(mc);
			return;
		}
	} else if (option.subtype != MPTCP_MP_JOIN)
		return;
	length = mptcp_option_build(&option, MPTCP_SEGMENT_SYNACK, octets, sizeof(octets));
	if (!append_option(mp, segment, octets, length))
		mptcp_count(MPTCP_CNT_synack_no_room);
	else
		mptcp_count(noted ? MPTCP_CNT_capable_synack_sent : MPTCP_CNT_join_synack_sent);
}

static pfil_return_t
handshake_hook(struct mbuf **mp, bool ipv6, int flags, struct handshake *h)
{
	struct segment segment;
	bool out = (flags & PFIL_OUT) != 0;

	NET_EPOCH_ASSERT();
	/* Hooks are linked before the module is up, and stay when it goes down. */
	if (atomic_load_acq_int(&mptcp_running) == 0 || !V_mptcp_enabled || (out && (*mp)->m_pkthdr.rcvif != NULL) ||
	    !read_segment(*mp, ipv6, out, &segment))
		return (PFIL_PASS);
	switch (segment.flags & (TH_SYN | TH_ACK | TH_RST)) {
	case TH_SYN:
		if (!out && segment.header > (int)sizeof(struct tcphdr) && !take_syn(h, *mp, &segment, false)) {
			/* Nobody behind us does it. */
			m_freem(*mp);
			*mp = NULL;
			return (PFIL_DROPPED);
		}
		break;
	case TH_SYN | TH_ACK:
		if (out)
			make_synack(h, mp, &segment);
		break;
	case TH_ACK:
		if (!out && h->pendings.count != 0)
			take_ack(h, *mp, &segment, false);
		break;
	}
	return (*mp == NULL ? PFIL_CONSUMED : PFIL_PASS);
}

#ifdef INET
static pfil_return_t
handshake_hook4(struct mbuf **mp, struct ifnet *ifp __unused, int flags, void *context, struct inpcb *inp __unused)
{
	return (handshake_hook(mp, false, flags, context));
}
#endif

#ifdef INET6
static pfil_return_t
handshake_hook6(struct mbuf **mp, struct ifnet *ifp __unused, int flags, void *context, struct inpcb *inp __unused)
{
	return (handshake_hook(mp, true, flags, context));
}
#endif

/* ---------------------------------------------------------------- child sockets */

static void
tuple_of(const struct inpcb *inp, struct mptcp_tuple *tuple)
{
	memset(tuple, 0, sizeof(*tuple));
	tuple->ipv6 = (inp->inp_vflag & INP_IPV6) != 0;
	if (tuple->ipv6) {
		memcpy(tuple->local, &inp->in6p_laddr, sizeof(inp->in6p_laddr));
		memcpy(tuple->remote, &inp->in6p_faddr, sizeof(inp->in6p_faddr));
	} else {
		memcpy(tuple->local, &inp->inp_laddr, sizeof(inp->inp_laddr));
		memcpy(tuple->remote, &inp->inp_faddr, sizeof(inp->inp_faddr));
	}
	tuple->local_port = ntohs(inp->inp_lport);
	tuple->remote_port = ntohs(inp->inp_fport);
}

bool
mptcp_passive_wanted(struct tcpcb *tp)
{
	struct socket *listener = tptosocket(tp)->so_listen;

	return (tp->t_state == TCPS_SYN_RECEIVED && listener != NULL &&
	    (mptcp_is_hidden(listener) || mptcp_listener_tcb(sototcpcb(listener))));
}

void
mptcp_passive_init(struct tcpcb *tp, struct mptcp_subflow *sf)
{
	sf->sf_state = MPTCP_SF_UNDECIDED;
	sf->sf_passive = true;
	sf->sf_join = mptcp_is_hidden(tptosocket(tp)->so_listen);
}

/* A connection for a child that is the first subflow of one. NULL: no memory. */
static struct mptcp_conn *
embryo(struct tcpcb *tp)
{
	struct mptcp_conn *mc = mptcp_conn_alloc(curvnet, M_NOWAIT);

	if (mc != NULL) {
		mc->mc_embryo = true;
		mc->mc_first_window = min(tptosocket(tp)->so_rcv.sb_hiwat, TCP_MAXWIN);
		mc->mc_snd_una = mc->mc_snd_next = 1;
		mc->mc_peer_ack = mc->mc_snd_edge = mc->mc_snd_max = 1;
	}
	return (mc);
}

/* No option: a peer without MPTCP, or somebody on the way takes it out. */
static enum segment_verdict
become_plain(struct tcpcb *tp, struct mptcp_subflow *sf)
{
	struct mptcp_conn *mc = embryo(tp);
	struct mptcp_tuple tuple;
	uint8_t flags;
	bool noted;

	if (mc == NULL)
		return (SEGMENT_DROP);
	tuple_of(tptoinpcb(tp), &tuple);
	mtx_lock(&V_handshake->mtx);
	noted = mptcp_notes_get(&V_handshake->notes, &tuple, tp->irs, &flags);
	mtx_unlock(&V_handshake->mtx);
	sf->sf_mc = mc;
	MC_LOCK(mc);
	sf->sf_state = MPTCP_SF_UP;
	mptcp_fall_back(mc, sf, noted ? MPTCP_CNT_fallback_ack_without : MPTCP_CNT_fallback_no_capable);
	MC_UNLOCK(mc);
	return (SEGMENT_PASS);
}

static enum segment_verdict
become_first(struct tcpcb *tp, struct mptcp_subflow *sf, const struct mptcp_capable *capable)
{
	struct mptcp_tuple tuple;
	struct mptcp_conn *mc;
	uint64_t key;

	tuple_of(tptoinpcb(tp), &tuple);
	key = mptcp_passive_key(V_handshake->secret, &tuple, tp->iss, tp->irs);
	if (capable->keys != 2 || capable->receiver_key != key) {
		mptcp_count(MPTCP_CNT_capable_wrong_key);
		return (become_plain(tp, sf));
	}
	mc = embryo(tp);
	if (mc == NULL)
		return (SEGMENT_DROP);
	mc->mc_asked = tuple;
	if (mptcp_conn_set_keys(mc, key, capable->sender_key) != 0) {
		/* The peer knows it as MPTCP already. */
		mptcp_count(MPTCP_CNT_token_taken);
		mptcp_conn_rele(mc);
		sf->sf_reset_reason = MPTCP_RST_MPTCP_ERROR;
		return (SEGMENT_RESET);
	}
	mptcp_count(MPTCP_CNT_capable_ack_received);
	sf->sf_mc = mc;
	MC_LOCK(mc);
	mc->mc_state = MPTCP_KEYED;
	/* Either end can ask for it. */
	mc->mc_checksum = V_mptcp_checksum || (capable->flags & MPTCP_CAPABLE_CHECKSUM) != 0;
	mc->mc_peer_no_join = (capable->flags & MPTCP_CAPABLE_NO_JOIN) != 0;
	sf->sf_state = MPTCP_SF_UP;
	MC_UNLOCK(mc);
	return (SEGMENT_PASS);
}

static enum segment_verdict
become_join(struct tcpcb *tp, struct mptcp_subflow *sf, const struct mptcp_join *join)
{
	struct mptcp_pending pending = { 0 }, *found;
	struct mptcp_tuple tuple;
	struct mptcp_conn *mc;
	bool good;

	tuple_of(tptoinpcb(tp), &tuple);
	mtx_lock(&V_handshake->mtx);
	found = mptcp_pendings_find(&V_handshake->pendings, &tuple, (uint64_t)time_uptime);
	if (found != NULL) {
		pending = *found;
		mptcp_pendings_remove(&V_handshake->pendings, found);
	}
	mtx_unlock(&V_handshake->mtx);
	sf->sf_reset_reason = MPTCP_RST_MPTCP_ERROR;
	if (found == NULL || pending.irs != tp->irs)
		return (SEGMENT_RESET);
	good = mptcp_hmac_equal(join->hmac, pending.expected, sizeof(pending.expected));
	explicit_bzero(pending.expected, sizeof(pending.expected));
	if (!good) {
		mptcp_count(MPTCP_CNT_join_bad_hmac);
		return (SEGMENT_RESET);
	}
	mc = mptcp_conn_by_token(pending.token);
	if (mc == NULL)
		return (SEGMENT_RESET);
	mptcp_count(MPTCP_CNT_join_ack_received);
	sf->sf_reset_reason = 0;
	sf->sf_mc = mc;
	MC_LOCK(mc);
	sf->sf_local_id = pending.local_id;
	sf->sf_remote_id = pending.remote_id;
	sf->sf_local_nonce = pending.local_nonce;
	sf->sf_remote_nonce = pending.remote_nonce;
	sf->sf_peer_backup = pending.backup;
	sf->sf_state = MPTCP_SF_UP;
	MC_UNLOCK(mc);
	/* The fourth ACK; the peer sends no data before it. */
	tp->t_flags |= TF_ACKNOW;
	return (SEGMENT_PASS);
}

enum segment_verdict
mptcp_passive_segment(struct tcpcb *tp, struct mptcp_subflow *sf, const struct tcphdr *th, int tlen, uint16_t flags,
    const struct mptcp_options *options)
{
	const struct mptcp_option *option;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	if (flags & (TH_RST | TH_SYN))
		return (SEGMENT_PASS);
	if (sf->sf_join) {
		option = mptcp_options_find(options, MPTCP_MP_JOIN);
		/* The third ACK was lost, or comes later: it is sent until there is a fourth. */
		return (option == NULL ? SEGMENT_DROP : become_join(tp, sf, &option->join));
	}
	option = mptcp_options_find(options, MPTCP_MP_CAPABLE);
	if (option != NULL)
		return (become_first(tp, sf, &option->capable));
	/* Not what was sent first; that is going to be sent again, and tells. */
	if (th->th_seq != tp->irs + 1)
		return (SEGMENT_DROP);
	return (become_plain(tp, sf));
}

/* ---------------------------------------------------------------- of each network stack */

static pfil_hook_t
link_hook(struct handshake *h, const char *name, pfil_head_t head, enum pfil_types type, pfil_mbuf_chk_t check)
{
	struct pfil_hook_args hook = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_OUT,
		.pa_type = type,
		.pa_mbuf_chk = check,
		.pa_ruleset = h,
		.pa_modname = "mptcp",
		.pa_rulname = name,
	};
	/* Nearest to TCP: last of those in, first of those out. */
	struct pfil_link_args link = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_OUT | PFIL_HEADPTR | PFIL_HOOKPTR | PFIL_APPEND,
		.pa_head = head,
	};

	link.pa_hook = pfil_add_hook(&hook);
	if (pfil_link(&link) != 0) {
		pfil_remove_hook(link.pa_hook);
		printf("mptcp: no memory for a hook on packets: connections from outside will be plain TCP\n");
		return (NULL);
	}
	return (link.pa_hook);
}

static void
vnet_handshake_init(const void *unused __unused)
{
	struct handshake *h = malloc(sizeof(*h), M_MPTCP, M_WAITOK | M_ZERO);

	mtx_init(&h->mtx, "mptcp handshake", NULL, MTX_DEF);
	arc4rand(h->secret, sizeof(h->secret), 0);
	h->notes.slots = h->slots;
	h->notes.mask = NOTES - 1;
	h->notes.seed = arc4random();
	h->pendings.seed = arc4random();
	V_handshake = h;
#ifdef INET
	h->hook4 = link_hook(h, "handshake", V_inet_pfil_head, PFIL_TYPE_IP4, handshake_hook4);
#endif
#ifdef INET6
	h->hook6 = link_hook(h, "handshake6", V_inet6_pfil_head, PFIL_TYPE_IP6, handshake_hook6);
#endif
}
VNET_SYSINIT(vnet_handshake_init, SI_SUB_PROTO_FIREWALL, SI_ORDER_SECOND, vnet_handshake_init, NULL);

static void
vnet_handshake_uninit(const void *unused __unused)
{
	struct handshake *h = V_handshake;

	if (h->hook6 != NULL)
		pfil_remove_hook(h->hook6);
	if (h->hook4 != NULL)
		pfil_remove_hook(h->hook4);
	V_handshake = NULL;
	NET_EPOCH_WAIT();
	mtx_destroy(&h->mtx);
	zfree(h, M_MPTCP);
}
VNET_SYSUNINIT(vnet_handshake_uninit, SI_SUB_PROTO_FIREWALL, SI_ORDER_SECOND, vnet_handshake_uninit, NULL);
