/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * For tests only: cuts every packet of the network stack it is switched on in (sysctl net.inet.chop=1) into mbufs of random
 * length, some of one octet and some empty, before the protocols see it. What parses packets must not rely on any piece.
 */
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/kernel.h>
#include <sys/mbuf.h>
#include <sys/module.h>
#include <sys/socket.h>
#include <sys/sysctl.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/pfil.h>
#include <net/vnet.h>

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_var.h>
#include <netinet6/ip6_var.h>

VNET_DEFINE_STATIC(int, chop);
#define	V_chop		VNET(chop)
VNET_DEFINE_STATIC(pfil_hook_t, chop_hook4);
#define	V_chop_hook4	VNET(chop_hook4)
VNET_DEFINE_STATIC(pfil_hook_t, chop_hook6);
#define	V_chop_hook6	VNET(chop_hook6)

SYSCTL_DECL(_net_inet);
SYSCTL_INT(_net_inet, OID_AUTO, chop, CTLFLAG_RW | CTLFLAG_VNET, &VNET_NAME(chop), 0, "Cut packets into small mbufs");

static pfil_return_t
chop_packet(struct mbuf **mp, if_t ifp __unused, int flags __unused, void *ruleset __unused, struct inpcb *inp __unused)
{
	struct mbuf *m = *mp, *head, *piece, *tail;
	int at, length, total = m->m_pkthdr.len;
	int first = (*mtod(m, uint8_t *) >> 4) == 4 ? sizeof(struct ip) : sizeof(struct ip6_hdr);

	if (V_chop == 0 || total < first)
		return (PFIL_PASS);
	/* IP itself has looked at its header and relies on it; behind that anything goes. */
	head = m_gethdr(M_NOWAIT, MT_DATA);
	if (head == NULL)
		return (PFIL_PASS);
	if (!m_dup_pkthdr(head, m, M_NOWAIT)) {
		m_freem(head);
		return (PFIL_PASS);
	}
	m_copydata(m, 0, first, mtod(head, caddr_t));
	head->m_len = first;
	tail = head;
	for (at = first; at < total; at += length) {
		piece = m_get(M_NOWAIT, MT_DATA);
		if (piece == NULL) {
			m_freem(head);
			return (PFIL_PASS);
		}
		switch (arc4random_uniform(4)) {
		case 0:
			length = 1;
			break;
		case 1:
			length = at < 100 ? 0 : 100;
			break;
		default:
			length = 1 + (int)arc4random_uniform(60);
			break;
		}
		length = MIN(length, total - at);
		m_copydata(m, at, length, mtod(piece, caddr_t));
		piece->m_len = length;
		tail->m_next = piece;
		tail = piece;
	}
	m_freem(m);
	*mp = head;
	/* Another mbuf, but the packet passes: the fast path takes nothing else for an answer. */
	return (PFIL_PASS);
}

static pfil_hook_t
chop_add(pfil_head_t head, enum pfil_types type, const char *name)
{
	struct pfil_hook_args hook = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_OUT,
		.pa_type = type,
		.pa_mbuf_chk = chop_packet,
		.pa_modname = "chop",
		.pa_rulname = name,
	};
	struct pfil_link_args link = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_OUT | PFIL_HEADPTR | PFIL_HOOKPTR,
		.pa_head = head,
	};

	link.pa_hook = pfil_add_hook(&hook);
	(void)pfil_link(&link);
	return (link.pa_hook);
}

static void
vnet_chop_init(const void *unused __unused)
{
	V_chop_hook4 = chop_add(V_inet_pfil_head, PFIL_TYPE_IP4, "default");
	V_chop_hook6 = chop_add(V_inet6_pfil_head, PFIL_TYPE_IP6, "default6");
}
VNET_SYSINIT(vnet_chop_init, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY, vnet_chop_init, NULL);

static void
vnet_chop_uninit(const void *unused __unused)
{
	pfil_remove_hook(V_chop_hook4);
	pfil_remove_hook(V_chop_hook6);
}
VNET_SYSUNINIT(vnet_chop_uninit, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY, vnet_chop_uninit, NULL);

static int
chop_modevent(module_t module __unused, int what, void *unused __unused)
{
	return (what == MOD_LOAD || what == MOD_UNLOAD || what == MOD_QUIESCE ? 0 : EOPNOTSUPP);
}

static moduledata_t chop_moduledata = { "chop", chop_modevent, NULL };
DECLARE_MODULE(chop, chop_moduledata, SI_SUB_PSEUDO, SI_ORDER_ANY);
MODULE_VERSION(chop, 1);
