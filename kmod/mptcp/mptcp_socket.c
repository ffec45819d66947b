/* SPDX-License-Identifier: BSD-2-Clause */

/* Protocol 262 of both families: TCP's socket functions, on our stack. */
#include "mptcp_var.h"

#include <sys/domain.h>
#include <sys/protosw.h>

#include "opt_inet.h"
#include "opt_inet6.h"

u_int mptcp_sockets;	/* of this protocol, in all network stacks */

extern struct protosw tcp_protosw, tcp6_protosw;
extern struct domain inetdomain, inet6domain;

static struct protosw mptcp_protosw, mptcp6_protosw;
static bool registered, registered6;

static const struct protosw *
tcp_of(struct socket *so)
{
#ifdef INET6
	if (so->so_proto == &mptcp6_protosw)
		return (&tcp6_protosw);
#endif
	return (&tcp_protosw);
}

static int
mptcp_attach(struct socket *so, int proto, struct thread *td)
{
	struct tcp_function_set set = { .function_set_name = "mptcp" };
	struct sockopt sopt = { .sopt_dir = SOPT_SET, .sopt_level = IPPROTO_TCP, .sopt_name = TCP_FUNCTION_BLK,
	    .sopt_val = &set, .sopt_valsize = sizeof(set) };
	int error;

	atomic_add_int(&mptcp_sockets, 1);
	error = tcp_of(so)->pr_attach(so, proto, td);
	if (error == 0) {
		error = tcp_of(so)->pr_ctloutput(so, &sopt);
		if (error != 0)
			tcp_of(so)->pr_detach(so);
	}
	if (error != 0)
		atomic_subtract_int(&mptcp_sockets, 1);
	return (error);
}

static void
mptcp_detach(struct socket *so)
{
	tcp_of(so)->pr_detach(so);
	atomic_subtract_int(&mptcp_sockets, 1);
}

static int
mptcp_listen(struct socket *so __unused, int backlog __unused, struct thread *td __unused)
{
	return (EOPNOTSUPP);
}

static int
get_info(struct socket *so, struct sockopt *sopt)
{
	struct inpcb *inp = sotoinpcb(so);
	struct mptcp_info info;

	INP_WLOCK(inp);
	if (inp->inp_flags & INP_DROPPED) {
		INP_WUNLOCK(inp);
		return (ECONNRESET);
	}
	mptcp_conn_info(intotcpcb(inp), &info);
	INP_WUNLOCK(inp);
	return (sooptcopyout(sopt, &info, sizeof(info)));
}

static int
mptcp_ctloutput(struct socket *so, struct sockopt *sopt)
{
	if (sopt->sopt_level == IPPROTO_MPTCP) {
		if (sopt->sopt_dir == SOPT_GET && sopt->sopt_name == MPTCP_INFO)
			return (get_info(so, sopt));
		return (ENOPROTOOPT);
	}
	if (sopt->sopt_level == IPPROTO_TCP && sopt->sopt_dir == SOPT_SET) {
		switch (sopt->sopt_name) {
		case TCP_FUNCTION_BLK:	/* would take MPTCP off the connection */
		case TCP_NOOPT:
		case TCP_FASTOPEN:	/* data before keys */
		case TCP_MD5SIG:	/* leaves no room */
		case TCP_TXTLS_ENABLE:
			return (EOPNOTSUPP);
		}
	}
	return (tcp_of(so)->pr_ctloutput(so, sopt));
}

static int
attach_family(struct domain *domain, const struct protosw *tcp, struct protosw *own)
{
	*own = *tcp;
	own->pr_protocol = IPPROTO_MPTCP;
	own->pr_attach = mptcp_attach;
	own->pr_detach = mptcp_detach;
	own->pr_listen = mptcp_listen;
	own->pr_ctloutput = mptcp_ctloutput;
	return (protosw_register(domain, own));
}

int
mptcp_socket_attach(void)
{
	int error = 0;

#ifdef INET
	error = attach_family(&inetdomain, &tcp_protosw, &mptcp_protosw);
	registered = error == 0;
#endif
#ifdef INET6
	if (error == 0) {
		error = attach_family(&inet6domain, &tcp6_protosw, &mptcp6_protosw);
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
