/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Protocol 262 of both families: the meta socket's side of what programs ask for. Its first subflow's TCP socket is there from the
 * beginning, so that bind(2) and options go straight to the code they are meant for, with its errors.
 */
#include "mptcp_accept.h"

#include <sys/domain.h>
#include <sys/proc.h>
#include <sys/protosw.h>

#include "opt_inet.h"
#include "opt_inet6.h"

u_int mptcp_sockets;	/* of this protocol, in all network stacks */

extern struct protosw tcp_protosw, tcp6_protosw;
extern struct domain inetdomain, inet6domain;

VNET_DEFINE_STATIC(struct inpcbinfo, mptcp_pcbinfo);
#define	V_mptcp_pcbinfo	VNET(mptcp_pcbinfo)

INPCBSTORAGE_DEFINE(mptcp_pcbstorage, mptcp_pcb, "mptcpinp", "mptcp_pcb", "mptcp", "mptcphash");

static void
vnet_mptcp_pcb_init(const void *unused __unused)
{
	/* Nothing is ever looked up by address here. */
	in_pcbinfo_init(&V_mptcp_pcbinfo, &mptcp_pcbstorage, 1, 1);
}
VNET_SYSINIT(vnet_mptcp_pcb_init, SI_SUB_PROTO_DOMAIN, SI_ORDER_FOURTH, vnet_mptcp_pcb_init, NULL);

static void
vnet_mptcp_pcb_uninit(const void *unused __unused)
{
	/* Aborted connections (vnet_mptcp_conn_uninit()) give their sockets back by the worker. */
	while (V_mptcp_pcbinfo.ipi_count > 0)
		pause("mptcpvn", hz / 10);
	in_pcbinfo_destroy(&V_mptcp_pcbinfo);
}
VNET_SYSUNINIT(vnet_mptcp_pcb_uninit, SI_SUB_PROTO_DOMAIN, SI_ORDER_FOURTH, vnet_mptcp_pcb_uninit, NULL);

static int
mptcp_attach(struct socket *so, int proto __unused, struct thread *td)
{
	struct mptcp_subflow *sf;
	struct mptcp_conn *mc;
	struct inpcb *inp;
	int error = 0;

	/* Without a thread it is one of a listener's: sizes are set, and its connection comes by mptcp_meta_adopt(). */
	if (td != NULL)
		error = soreserve(so, V_tcp_sendspace, V_tcp_recvspace);
	if (error != 0)
		return (error);
	so->so_rcv.sb_flags |= SB_AUTOSIZE;
	so->so_snd.sb_flags |= SB_AUTOSIZE;
	error = in_pcballoc(so, &V_mptcp_pcbinfo);
	if (error != 0)
		return (error);
	inp = sotoinpcb(so);
	((struct mptcp_pcb *)inp)->mp_mc = NULL;
	INP_WUNLOCK(inp);
	atomic_add_int(&mptcp_sockets, 1);
	if (td == NULL)
		return (0);
	mptcp_hidden_open(td);
	mc = mptcp_conn_alloc(curvnet, M_WAITOK);
	MC_XLOCK(mc);
	mptcp_meta_adopt(so, mc);
	error = mptcp_subflow_create(mc, so->so_proto->pr_domain->dom_family, false, td, &sf);
	MC_XUNLOCK(mc);
	mptcp_conn_rele(mc);
	if (error != 0)
		so->so_proto->pr_detach(so);
	return (error);
}

void
mptcp_meta_adopt(struct socket *meta, struct mptcp_conn *mc)
{
	MC_XLOCK_ASSERT(mc);
	KASSERT(mc->mc_so == NULL, ("%s: has a socket", __func__));
	mptcp_conn_ref(mc);
	((struct mptcp_pcb *)meta->so_pcb)->mp_mc = mc;
	mc->mc_so = meta;
	mc->mc_cred = crhold(meta->so_cred);
	mc->mc_embryo = false;
}

static void
mptcp_detach(struct socket *so)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct inpcb *inp = sotoinpcb(so);

	if (mc != NULL) {
		mptcp_listener_close(so);
		MC_XLOCK(mc);
		mc->mc_so = NULL;
		if (!mc->mc_over)
			mptcp_conn_end(mc, 0, true);
		MC_XUNLOCK(mc);
	}
	INP_WLOCK(inp);
	in_pcbfree(inp);
	if (mc != NULL)
		mptcp_conn_rele(mc);
	atomic_subtract_int(&mptcp_sockets, 1);
}

/* The first subflow's socket while it is there; with (x). */
static struct socket *
first_of(struct mptcp_conn *mc)
{
	struct mptcp_subflow *sf = mc->mc_first != NULL ? mc->mc_first : TAILQ_FIRST(&mc->mc_subflows);

	return (sf != NULL ? sf->sf_so : NULL);
}

static int
mptcp_bind(struct socket *so, struct sockaddr *nam, struct thread *td)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct socket *first;
	int error;

	MC_XLOCK(mc);
	first = first_of(mc);
	error = first == NULL || mc->mc_told_connected ? EINVAL : sobind(first, nam, td);
	MC_XUNLOCK(mc);
	return (error);
}

static int
mptcp_connect(struct socket *so, struct sockaddr *nam, struct thread *td)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct socket *first;
	int error = 0;

	MC_XLOCK(mc);
	first = first_of(mc);
	if (mc->mc_listening)
		error = EOPNOTSUPP;
	else if (first == NULL || mc->mc_over)
		error = ECONNREFUSED;
	else if (mc->mc_told_connected)
		error = EISCONN;
	else if (!mc->mc_in_table)
		error = mptcp_conn_new_key(mc);
	if (error == 0) {
		MC_LOCK(mc);
		mc->mc_first_window = (uint32_t)lmax(sbspace(&so->so_rcv), 0);
		mc->mc_first->sf_state = MPTCP_SF_SYN_SENT;
		MC_UNLOCK(mc);
		soisconnecting(so);
		error = soconnect(first, nam, td);
		if (error != 0 && (first->so_state & SS_ISCONNECTING) == 0) {
			MC_LOCK(mc);
			mc->mc_first->sf_state = MPTCP_SF_NEW;
			MC_UNLOCK(mc);
			SOCK_LOCK(so);
			so->so_state &= ~SS_ISCONNECTING;
			SOCK_UNLOCK(so);
		}
	}
	MC_XUNLOCK(mc);
	return (error);
}

static int
mptcp_sockaddr(struct socket *so, struct sockaddr **nam)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct socket *first;
	int error = 0;

	if (mc == NULL)
		return (EINVAL);
	MC_XLOCK(mc);
	first = first_of(mc);
	if (mc->mc_told_connected)
		*nam = mptcp_sockaddr_dup(so, &mc->mc_local);
	else if (first != NULL)
		error = first->so_proto->pr_sockaddr(first, nam);
	else
		error = EINVAL;
	MC_XUNLOCK(mc);
	return (error);
}

static int
mptcp_peeraddr(struct socket *so, struct sockaddr **nam)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	int error = 0;

	if (mc == NULL)
		return (EINVAL);
	MC_XLOCK(mc);
	if (mc->mc_told_connected)
		*nam = mptcp_sockaddr_dup(so, &mc->mc_remote);
	else
		error = ENOTCONN;
	MC_XUNLOCK(mc);
	return (error);
}

struct sockaddr *
mptcp_sockaddr_dup(struct socket *so, const struct sockaddr_storage *from)
{
#ifdef INET6
	struct sockaddr_in6 mapped;
	struct sockaddr_in plain;

	if (so->so_proto->pr_domain->dom_family == AF_INET6 && from->ss_family == AF_INET) {
		memcpy(&plain, from, sizeof(plain));
		in6_sin_2_v4mapsin6(&plain, &mapped);
		return (sodupsockaddr((struct sockaddr *)&mapped, M_WAITOK));
	}
#endif
	return (sodupsockaddr((const struct sockaddr *)from, M_WAITOK));
}

static int
mptcp_accept(struct socket *so, struct sockaddr **nam)
{
	if (so->so_state & SS_ISDISCONNECTED)
		return (ECONNABORTED);
	return (mptcp_peeraddr(so, nam));
}

static int
mptcp_shutdown(struct socket *so)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);

	MC_XLOCK(mc);
	socantsendmore(so);
	mc->mc_shut = true;
	MC_XUNLOCK(mc);
	mptcp_kick(mc, MPTCP_EV_SEND);
	return (0);
}

static int
mptcp_disconnect(struct socket *so)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);

	MC_XLOCK(mc);
	if (mc->mc_over)
		;
	else if ((so->so_options & SO_LINGER) != 0 && so->so_linger == 0)
		mptcp_conn_abort(mc, 0);
	else {
		soisdisconnecting(so);
		sbflush(&so->so_rcv);
		mc->mc_shut = true;
		mptcp_kick(mc, MPTCP_EV_SEND);
	}
	MC_XUNLOCK(mc);
	return (0);
}

static void
mptcp_close(struct socket *so)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);

	if (mc == NULL)
		return;
	mptcp_listener_close(so);
	MC_XLOCK(mc);
	mc->mc_closed = true;
	if (!mc->mc_over && !mc->mc_told_connected)
		mptcp_conn_end(mc, 0, true);
	else if (!mc->mc_over && !mc->mc_held) {
		/* As TCP: what is to be sent still, is. */
		mc->mc_shut = true;
		mc->mc_held = true;
		mc->mc_progress_at = sbinuptime();
		soref(so);
		mptcp_kick(mc, MPTCP_EV_SEND);
	}
	MC_XUNLOCK(mc);
}

static void
mptcp_abort(struct socket *so)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);

	if (mc == NULL)
		return;
	mptcp_listener_close(so);
	MC_XLOCK(mc);
	mc->mc_closed = true;
	if (!mc->mc_over)
		mptcp_conn_abort(mc, ECONNABORTED);
	MC_XUNLOCK(mc);
}

static int
mptcp_rcvd(struct socket *so, int flags __unused)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	int64_t space = lmax(sbspace(&so->so_rcv), 0), size = so->so_rcv.sb_hiwat, offered, told;

	MC_LOCK(mc);
	/* Negative after more has come than was offered. */
	offered = (int64_t)(mc->mc_rcv_edge - mc->mc_rcv_next);
	told = (int64_t)(mc->mc_told_edge - mc->mc_rcv_next);
	MC_UNLOCK(mc);
	/* Only when the window's edge has moved so far that the worker will tell. */
	if (atomic_load_int(&mc->mc_held_back) != 0 || (space > offered && (space - offered >= size / 4 || told < size / 8)))
		mptcp_kick(mc, MPTCP_EV_RECEIVED);
	return (0);
}

static int
mptcp_send(struct socket *so, int flags, struct mbuf *m, struct sockaddr *nam, struct mbuf *control, struct thread *td __unused)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	int error = 0;

	if (control != NULL) {
		if (control->m_len > 0)
			error = EINVAL;
		m_freem(control);
	}
	if (flags & PRUS_OOB)
		error = EOPNOTSUPP;
	if (nam != NULL)
		error = EISCONN;
	if (error == 0) {
		SOCKBUF_LOCK(&so->so_snd);
		if (so->so_snd.sb_state & SBS_CANTSENDMORE)
			error = EPIPE;
		else {
			sbappendstream_locked(&so->so_snd, m, flags);
			m = NULL;
		}
		SOCKBUF_UNLOCK(&so->so_snd);
	}
	/* sendfile(2) frees what is not ready itself. */
	if (m != NULL && (flags & PRUS_NOTREADY) == 0)
		m_freem(m);
	if (error == 0 && (flags & PRUS_EOF) != 0)
		error = mptcp_shutdown(so);
	if (error == 0 && (flags & PRUS_NOTREADY) == 0)
		mptcp_conn_written(mc, (flags & PRUS_MORETOCOME) != 0);
	return (error);
}

static int
mptcp_ready(struct socket *so, struct mbuf *m, int count)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	int error;

	SOCKBUF_LOCK(&so->so_snd);
	if (so->so_snd.sb_state & SBS_CANTSENDMORE && sbused(&so->so_snd) == 0) {
		SOCKBUF_UNLOCK(&so->so_snd);
		mb_free_notready(m, count);
		return (ECONNRESET);
	}
	error = sbready(&so->so_snd, m, count);
	SOCKBUF_UNLOCK(&so->so_snd);
	if (error == 0)
		mptcp_kick(mc, MPTCP_EV_SEND);
	return (error);
}

static int
mptcp_rcvoob(struct socket *so __unused, struct mbuf *m __unused, int flags __unused)
{
	return (EOPNOTSUPP);
}

/* ---- options ---- */

/* Those of a socket that its subflows' sockets need to know of. */
static bool
replayed(int name)
{
	switch (name) {
	case SO_REUSEADDR:
	case SO_REUSEPORT:
	case SO_REUSEPORT_LB:
	case SO_KEEPALIVE:
	case SO_DONTROUTE:
	case SO_SETFIB:
	case SO_USER_COOKIE:
	case SO_MAX_PACING_RATE:
	case SO_RCVBUF:
		return (true);
	default:
		return (false);
	}
}

static int
own_option(struct socket *so, struct mptcp_conn *mc, struct sockopt *sopt)
{
	struct mptcp_info *info;
	int error;

	if (sopt->sopt_dir == SOPT_SET) {
		switch (sopt->sopt_name) {
		case MPTCP_SUBFLOW_ADD:
		case MPTCP_SUBFLOW_REMOVE:
		case MPTCP_SUBFLOW_PRIORITY:
			return (mptcp_sockopt_subflow(curthread, mc->mc_local_token, sopt));
		}
		return (ENOPROTOOPT);
	}
	if (sopt->sopt_name != MPTCP_INFO)
		return (ENOPROTOOPT);
	info = malloc(sizeof(*info), M_MPTCP, M_WAITOK);
	MC_XLOCK(mc);
	mptcp_conn_info(mc, info);
	MC_XUNLOCK(mc);
	error = sooptcopyout(sopt, info, sizeof(*info));
	free(info, M_MPTCP);
	return (error);
}

static int
mptcp_ctloutput(struct socket *so, struct sockopt *sopt)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct socket *held[MPTCP_SUBFLOWS_MAX];
	struct mptcp_subflow *sf;
	int error = ECONNRESET, one;
	u_int n = 0;

	if (mc == NULL)
		return (EINVAL);
	if (sopt->sopt_level == IPPROTO_MPTCP)
		return (own_option(so, mc, sopt));
	if (sopt->sopt_level == SOL_SOCKET && (sopt->sopt_dir == SOPT_GET || !replayed(sopt->sopt_name)))
		return (0);
	if (sopt->sopt_level == IPPROTO_TCP && sopt->sopt_dir == SOPT_SET) {
		switch (sopt->sopt_name) {
		case TCP_FUNCTION_BLK:	/* would take MPTCP off the connection */
		case TCP_NOOPT:
		case TCP_FASTOPEN:	/* data before keys */
		case TCP_MD5SIG:	/* leaves no room */
		case TCP_TXTLS_ENABLE:
		case TCP_RXTLS_ENABLE:
			return (EOPNOTSUPP);
		}
	}
	/* What the program passes may take long to be read, and is read for each, so this is done without the lock. */
	MC_XLOCK(mc);
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link) {
		if (n == nitems(held) || (n > 0 && sopt->sopt_dir == SOPT_GET))
			break;
		soref(sf->sf_so);
		held[n++] = sf->sf_so;
	}
	MC_XUNLOCK(mc);
	for (u_int i = 0; i < n; i++) {
		if (sopt->sopt_level == SOL_SOCKET)
			one = SOLISTENING(held[i]) ? 0 : sosetopt(held[i], sopt);
		else
			one = held[i]->so_proto->pr_ctloutput(held[i], sopt);
		if (i == 0)
			error = one;
		sorele(held[i]);
	}
	return (error);
}

/* ---- registration ---- */

#define	MPTCP_PROTOSW {										\
	.pr_type = SOCK_STREAM,									\
	.pr_protocol = IPPROTO_MPTCP,								\
	.pr_flags = PR_CONNREQUIRED | PR_WANTRCVD | PR_CAPATTACH,				\
	.pr_soreceive = soreceive_generic,							\
	.pr_rcvd = mptcp_rcvd,									\
	.pr_sosend = sosend_generic,								\
	.pr_send = mptcp_send,									\
	.pr_ready = mptcp_ready,								\
	.pr_attach = mptcp_attach,								\
	.pr_detach = mptcp_detach,								\
	.pr_connect = mptcp_connect,								\
	.pr_disconnect = mptcp_disconnect,							\
	.pr_close = mptcp_close,								\
	.pr_shutdown = mptcp_shutdown,								\
	.pr_abort = mptcp_abort,								\
	.pr_bind = mptcp_bind,									\
	.pr_listen = mptcp_listen,								\
	.pr_accept = mptcp_accept,								\
	.pr_rcvoob = mptcp_rcvoob,								\
	.pr_ctloutput = mptcp_ctloutput,							\
	.pr_peeraddr = mptcp_peeraddr,								\
	.pr_sockaddr = mptcp_sockaddr,								\
	.pr_sosetlabel = in_pcbsosetlabel,							\
}

static struct protosw mptcp_protosw = MPTCP_PROTOSW, mptcp6_protosw = MPTCP_PROTOSW;
static bool registered, registered6;

int
mptcp_socket_attach(void)
{
	int error = 0;

#ifdef INET
	mptcp_protosw.pr_control = tcp_protosw.pr_control;
	error = protosw_register(&inetdomain, &mptcp_protosw);
	registered = error == 0;
#endif
#ifdef INET6
	if (error == 0) {
		mptcp6_protosw.pr_control = tcp6_protosw.pr_control;
		error = protosw_register(&inet6domain, &mptcp6_protosw);
		registered6 = error == 0;
	}
#endif
	if (error != 0)
		mptcp_socket_detach();
	return (error);
}

void
mptcp_socket_detach(void)
{
	if (registered)
		protosw_unregister(&mptcp_protosw);
	if (registered6)
		protosw_unregister(&mptcp6_protosw);
	registered = registered6 = false;
}
