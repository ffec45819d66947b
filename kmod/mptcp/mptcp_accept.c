/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Listening. A meta socket that listens has a TCP listener under it, its first subflow's socket. What that accepts is turned into
 * connections here, each with a meta socket in the first one's queue:
 *
 *	SYN cache -> child socket -> queue of the TCP listener -- upcall --> task: meta socket, connection -> queue of the meta listener
 *
 * Further subflows of peers come in by a hidden listener, one for each family in each network stack, bound to a loopback address, where
 * mptcp_handshake.c leads them whatever address they were sent to; the same task hands them to their connections.
 *
 * Locks: a listener's connection before a child's, so that 'does it listen still?' and entering its queue are one step.
 */
#include "opt_inet.h"
#include "opt_inet6.h"

#include "mptcp_accept.h"
#include "mptcp_passive.h"

#include <sys/jail.h>
#include <sys/osd.h>
#include <sys/proc.h>
#include <sys/protosw.h>

#include <netinet/tcp_fsm.h>

#define	RETRY_TICKS	(hz / 10 > 0 ? hz / 10 : 1)	/* while a queue is full or a child undecided */
#define	TURN		64	/* children; then it is another listener's turn */
#define	UNDECIDED_MAX	64	/* of a listener; the oldest gives way */
#define	HIDDEN_BACKLOG	128	/* they are taken at once */

/* A child that is not decided yet: its third ACK was out of order, or had no MP_JOIN. */
struct waiting {
	STAILQ_ENTRY(waiting)	w_next;
	struct socket		*w_so;
};
STAILQ_HEAD(waitings, waiting);

struct mptcp_acceptor {
	struct mptcp_conn	*a_mc;		/* the listener's, with a reference; NULL: hidden */
	struct socket		*a_so;		/* the TCP listener */
	struct vnet		*a_vnet;
	struct timeout_task	a_task;
	struct waitings		a_undecided;	/* the task's */
	u_int			a_undecided_count;
	struct socket		*a_held;	/* the task's: finds no room; those behind it wait in the TCP listener's queue */
	bool			a_closed;	/* (x) of a_mc */
};

/* A network stack's hidden listeners; under hidden_sx, but for what packets read. */
struct hidden {
	struct mptcp_acceptor	*h_acceptor;
	struct prison		*h_prison;	/* whose going closes it; without a reference */
	uint16_t		h_port;		/* 0: none; read without a lock */
};

VNET_DEFINE_STATIC(struct hidden, hidden4);
VNET_DEFINE_STATIC(struct hidden, hidden6);
#define	V_hidden4	VNET(hidden4)
#define	V_hidden6	VNET(hidden6)

u_int mptcp_hidden;
static struct sx hidden_sx;
SX_SYSINIT(mptcp_hidden, &hidden_sx, "mptcp hidden listeners");
static struct taskqueue *accept_queue;
static u_int jail_slot;

/* ---------------------------------------------------------------- children */

static void
reset_child(struct socket *so)
{
	so->so_options |= SO_LINGER;
	so->so_linger = 0;
	(void)soclose(so);
}

enum placed { PLACED, UNDECIDED, FULL, NEVER };

/* A jail has the addresses it is given, whatever its peers ask for. */
static bool
permitted(struct mptcp_conn *mc, struct socket *so)
{
	struct inpcb *inp = sotoinpcb(so);
	int error = 0;

	INP_RLOCK(inp);
#ifdef INET6
	if (inp->inp_vflag & INP_IPV6)
		error = prison_check_ip6(mc->mc_cred, &inp->in6p_laddr);
#endif
#ifdef INET
	if ((inp->inp_vflag & INP_IPV6) == 0)
		error = prison_check_ip4(mc->mc_cred, &inp->inp_laddr);
#endif
	INP_RUNLOCK(inp);
	return (error == 0);
}

/* A further subflow, proven to be one. */
static enum placed
place_join(struct socket *so, struct mptcp_subflow *sf, struct mptcp_conn *mc)
{
	enum placed placed = NEVER;

	MC_XLOCK(mc);
	if (mc->mc_embryo && mc->mc_state != MPTCP_OVER)
		placed = UNDECIDED;
	else if (!mc->mc_embryo && !mc->mc_over && mc->mc_state != MPTCP_FALLBACK &&
	    mc->mc_count < MPTCP_SUBFLOWS_MAX && permitted(mc, so)) {
		mptcp_conn_add_subflow(mc, sf, so);
		mptcp_count(MPTCP_CNT_join_accepted);
		placed = PLACED;
	}
	MC_XUNLOCK(mc);
	return (placed);
}

/* A new connection. */
static enum placed
place_first(struct mptcp_acceptor *a, struct socket *so, struct mptcp_subflow *sf, struct mptcp_conn *mc)
{
	struct socket *listener, *meta;
	int filter;
	bool full, gone;

	MC_XLOCK(a->a_mc);
	listener = a->a_mc->mc_so;
	if (a->a_closed || listener == NULL) {
		MC_XUNLOCK(a->a_mc);
		return (NEVER);
	}
	SOLISTEN_LOCK(listener);
	full = listener->sol_qlen > listener->sol_qlimit;
	filter = listener->so_options & SO_ACCEPTFILTER;
	SOLISTEN_UNLOCK(listener);
	meta = full ? NULL : solisten_clone(listener);
	if (meta != NULL && meta->so_proto->pr_attach(meta, IPPROTO_MPTCP, NULL) != 0) {
		sodealloc(meta);
		meta = NULL;
	}
	if (meta == NULL) {
		MC_XUNLOCK(a->a_mc);
		return (FULL);
	}
	/* Some kernels forget it, and then their filters filter nothing. */
	meta->so_options |= filter;
	MC_XLOCK(mc);
	MC_LOCK(mc);
	gone = mc->mc_state == MPTCP_OVER;
	if (!gone)
		mc->mc_embryo = false;
	MC_UNLOCK(mc);
	if (gone) {
		MC_XUNLOCK(mc);
		MC_XUNLOCK(a->a_mc);
		meta->so_proto->pr_detach(meta);
		sodealloc(meta);
		return (NEVER);
	}
	mptcp_meta_adopt(meta, mc);
	mptcp_conn_add_subflow(mc, sf, so);
	/* accept(2) takes it as soon as it is in the queue, and then it has to be connected, with addresses. */
	mptcp_conn_run(mc);
	/* An accept filter wants to see what comes first. */
	if (!solisten_enqueue(meta, SS_ISCONNECTED))
		soisconnected(meta);
	MC_XUNLOCK(mc);
	MC_XUNLOCK(a->a_mc);
	return (PLACED);
}

/*
 * A child of another TCP stack, because the administrator wants children not to inherit: data can be moved over it, without MPTCP. Its
 * peer, if it has been told otherwise, sees no DSS and falls back.
 */
static struct mptcp_subflow *
foreign(struct socket *so)
{
	struct mptcp_subflow *sf = mptcp_subflow_alloc(M_WAITOK);

	sf->sf_mc = mptcp_conn_alloc(so->so_vnet, M_WAITOK);
	sf->sf_mc->mc_embryo = true;
	sf->sf_mc->mc_snd_una = sf->sf_mc->mc_snd_next = 1;
	sf->sf_mc->mc_peer_ack = sf->sf_mc->mc_snd_edge = sf->sf_mc->mc_snd_max = 1;
	sf->sf_mc->mc_first_window = so->so_rcv.sb_hiwat;
	sf->sf_passive = true;
	sf->sf_foreign = true;
	MC_LOCK(sf->sf_mc);
	sf->sf_state = MPTCP_SF_UP;
	mptcp_fall_back(sf->sf_mc, sf, MPTCP_CNT_fallback_foreign);
	MC_UNLOCK(sf->sf_mc);
	return (sf);
}

/* Takes over the caller's reference to the child, unless it says UNDECIDED or FULL. */
static enum placed
place(struct mptcp_acceptor *a, struct socket *so)
{
	struct inpcb *inp = sotoinpcb(so);
	struct mptcp_subflow *sf = NULL;
	struct mptcp_conn *mc = NULL;
	enum placed placed = NEVER;
	bool alive, decided = false;

	/* The third ACK is being dealt with under this lock: afterwards all is decided that can be. */
	INP_WLOCK(inp);
	alive = (inp->inp_flags & INP_DROPPED) == 0;
	if (alive && intotcpcb(inp)->t_fb == &mptcp_stack)
		sf = intotcpcb(inp)->t_fb_ptr;
	if (sf != NULL)
		mptcp_subflow_ref(sf);
	INP_WUNLOCK(inp);
	if (sf == NULL && alive && a->a_mc != NULL)
		sf = foreign(so);
	if (sf != NULL) {
		mc = atomic_load_ptr(&sf->sf_mc);
		decided = mc != NULL;
	}
	if (sf != NULL && !decided)
		placed = UNDECIDED;
	else if (decided && sf->sf_join == (a->a_mc == NULL))
		placed = a->a_mc == NULL ? place_join(so, sf, mc) : place_first(a, so, sf, mc);
	/* Else it is dead already. */
	if (sf != NULL && placed != PLACED)
		mptcp_subflow_rele(sf);
	if (placed == NEVER)
		reset_child(so);
	return (placed);
}

static struct socket *
next_child(struct mptcp_acceptor *a)
{
	struct socket *so;

	SOLISTEN_LOCK(a->a_so);
	/* Unlocks. */
	return (solisten_dequeue(a->a_so, &so, 0) == 0 ? so : NULL);
}

static void
undecided(struct mptcp_acceptor *a, struct socket *so)
{
	struct waiting *w;

	if (a->a_undecided_count >= UNDECIDED_MAX) {
		w = STAILQ_FIRST(&a->a_undecided);
		STAILQ_REMOVE_HEAD(&a->a_undecided, w_next);
		reset_child(w->w_so);
	} else {
		w = malloc(sizeof(*w), M_MPTCP, M_WAITOK);
		a->a_undecided_count++;
	}
	w->w_so = so;
	STAILQ_INSERT_TAIL(&a->a_undecided, w, w_next);
}

/* False: there is no room. */
static bool
take(struct mptcp_acceptor *a, struct socket *so)
{
	switch (place(a, so)) {
	case FULL:
		a->a_held = so;
		return (false);
	case UNDECIDED:
		undecided(a, so);
		/* FALLTHROUGH */
	default:
		return (true);
	}
}

static void
accept_work(void *argument, int pending __unused)
{
	struct mptcp_acceptor *a = argument;
	struct waiting *w;
	struct socket *so;
	u_int turn;
	bool room = true;

	CURVNET_SET(a->a_vnet);
	if ((so = a->a_held) != NULL) {
		a->a_held = NULL;
		room = take(a, so);
	}
	for (turn = a->a_undecided_count; turn > 0 && room; turn--) {
		w = STAILQ_FIRST(&a->a_undecided);
		STAILQ_REMOVE_HEAD(&a->a_undecided, w_next);
		a->a_undecided_count--;
		so = w->w_so;
		free(w, M_MPTCP);
		room = take(a, so);
	}
	for (turn = 0; turn < TURN && room && (so = next_child(a)) != NULL; turn++)
		room = take(a, so);
	if (turn == TURN)
		taskqueue_enqueue_timeout(accept_queue, &a->a_task, 0);
	else if (!room || a->a_undecided_count != 0)
		taskqueue_enqueue_timeout(accept_queue, &a->a_task, RETRY_TICKS);
	CURVNET_RESTORE();
}

/* With the TCP listener's lock, and often a child's INP. */
static int
accept_upcall(struct socket *so __unused, void *argument, int flag __unused)
{
	struct mptcp_acceptor *a = argument;

	taskqueue_enqueue_timeout(accept_queue, &a->a_task, 0);
	return (SU_OK);
}

/* ---------------------------------------------------------------- acceptors */

static struct mptcp_acceptor *
acceptor_make(struct mptcp_conn *mc, struct socket *so)
{
	struct mptcp_acceptor *a = malloc(sizeof(*a), M_MPTCP, M_WAITOK | M_ZERO);

	a->a_so = so;
	a->a_vnet = so->so_vnet;
	STAILQ_INIT(&a->a_undecided);
	TIMEOUT_TASK_INIT(accept_queue, &a->a_task, 0, accept_work, a);
	if (mc != NULL)
		mptcp_conn_ref(mc);
	a->a_mc = mc;
	return (a);
}

/* a_so listens. */
static void
acceptor_start(struct mptcp_acceptor *a)
{
	SOLISTEN_LOCK(a->a_so);
	a->a_so->so_state |= SS_NBIO;
	solisten_upcall_set(a->a_so, accept_upcall, a);
	SOLISTEN_UNLOCK(a->a_so);
	taskqueue_enqueue_timeout(accept_queue, &a->a_task, 0);
}

/* With no lock held. */
static void
acceptor_free(struct mptcp_acceptor *a)
{
	struct waiting *w;

	SOCK_LOCK(a->a_so);
	if (SOLISTENING(a->a_so))
		solisten_upcall_set(a->a_so, NULL, NULL);
	SOCK_UNLOCK(a->a_so);
	while (taskqueue_cancel_timeout(accept_queue, &a->a_task, NULL) != 0)
		taskqueue_drain_timeout(accept_queue, &a->a_task);
	if (a->a_held != NULL)
		reset_child(a->a_held);
	while ((w = STAILQ_FIRST(&a->a_undecided)) != NULL) {
		STAILQ_REMOVE_HEAD(&a->a_undecided, w_next);
		reset_child(w->w_so);
		free(w, M_MPTCP);
	}
	if (a->a_mc != NULL)
		mptcp_conn_rele(a->a_mc);
	free(a, M_MPTCP);
}

/* ---------------------------------------------------------------- meta listeners */

int
mptcp_listen(struct socket *so, int backlog, struct thread *td)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct socket *tcp;
	bool first;
	int error;

	mptcp_hidden_open(td);
	MC_XLOCK(mc);
	if (mc->mc_first == NULL || mc->mc_told_connected || mc->mc_over) {
		MC_XUNLOCK(mc);
		return (EINVAL);
	}
	tcp = mc->mc_first->sf_so;
	first = !mc->mc_listening;
	/* Children may come before we are back: they are known by this. */
	mc->mc_listening = true;
	error = tcp->so_proto->pr_listen(tcp, backlog, td);
	if (error == 0) {
		SOCK_LOCK(so);
		error = solisten_proto_check(so);
		if (error == 0)
			solisten_proto(so, backlog);
		SOCK_UNLOCK(so);
	}
	if (error != 0 && first)
		mc->mc_listening = SOLISTENING(tcp);
	if (error == 0 && mc->mc_acceptor == NULL) {
		mc->mc_acceptor = acceptor_make(mc, tcp);
		acceptor_start(mc->mc_acceptor);
	}
	MC_XUNLOCK(mc);
	return (error);
}

void
mptcp_listener_close(struct socket *so)
{
	struct mptcp_conn *mc = mptcp_conn_of(so);
	struct mptcp_acceptor *a;

	MC_XLOCK(mc);
	a = mc->mc_acceptor;
	mc->mc_acceptor = NULL;
	if (a != NULL)
		a->a_closed = true;
	MC_XUNLOCK(mc);
	if (a != NULL)
		acceptor_free(a);
}

bool
mptcp_listener_tcb(const struct tcpcb *tp)
{
	const struct mptcp_subflow *sf = tp->t_fb == &mptcp_stack ? tp->t_fb_ptr : NULL;

	return (sf != NULL && sf->sf_mc != NULL && sf->sf_mc->mc_listening);
}

/* ---------------------------------------------------------------- hidden listeners */

bool
mptcp_is_hidden(const struct socket *so)
{
	return ((V_hidden4.h_port != 0 && V_hidden4.h_acceptor->a_so == so) || (V_hidden6.h_port != 0 && V_hidden6.h_acceptor->a_so == so));
}

bool
mptcp_hidden_address(bool ipv6, struct sockaddr *address)
{
	uint16_t port = ipv6 ? V_hidden6.h_port : V_hidden4.h_port;

	if (port == 0)
		return (false);
	/* The port in host order: so tcp_input wants it. */
	if (ipv6) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)address;

		*sin6 = (struct sockaddr_in6){ .sin6_len = sizeof(*sin6), .sin6_family = AF_INET6, .sin6_port = port,
		    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	} else {
		struct sockaddr_in *sin = (struct sockaddr_in *)address;

		*sin = (struct sockaddr_in){ .sin_len = sizeof(*sin), .sin_family = AF_INET, .sin_port = port,
		    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	}
	return (true);
}

static int
set_option(struct socket *so, int level, int name, void *value, size_t size)
{
	return (so_setsockopt(so, level, name, value, size));
}

static int
hidden_make(struct hidden *hidden, int family, struct ucred *cred, struct thread *td)
{
	struct tcp_function_set set = { .function_set_name = "mptcp" };
	struct sockaddr_in6 address = { 0 };
	struct inpcb *inp;
	struct socket *so;
	int error, one = 1;

	error = socreate(family, &so, SOCK_STREAM, IPPROTO_TCP, cred, td);
	if (error != 0)
		return (error);
	error = set_option(so, IPPROTO_TCP, TCP_FUNCTION_BLK, &set, sizeof(set));
	if (error != 0) {
		(void)soclose(so);
		return (error);
	}
	/* The address need not be there: nobody sends to it but we. */
	if (family == AF_INET6) {
		struct sockaddr_in6 *sin6 = &address;

		*sin6 = (struct sockaddr_in6){ .sin6_len = sizeof(*sin6), .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
		(void)set_option(so, IPPROTO_IPV6, IPV6_BINDANY, &one, sizeof(one));
		(void)set_option(so, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	} else {
		struct sockaddr_in *sin = (struct sockaddr_in *)&address;

		*sin = (struct sockaddr_in){ .sin_len = sizeof(*sin), .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
		(void)set_option(so, IPPROTO_IP, IP_BINDANY, &one, sizeof(one));
	}
	error = sobind(so, (struct sockaddr *)&address, td);
	if (error == 0)
		error = solisten(so, HIDDEN_BACKLOG, td);
	if (error != 0) {
		(void)soclose(so);
		return (error);
	}
	inp = sotoinpcb(so);
	hidden->h_acceptor = acceptor_make(NULL, so);
	hidden->h_prison = cred->cr_prison;
	atomic_add_int(&mptcp_hidden, 1);
	acceptor_start(hidden->h_acceptor);
	atomic_store_rel_16(&hidden->h_port, ntohs(inp->inp_lport));
	return (0);
}

static void
hidden_close(struct hidden *hidden)
{
	struct mptcp_acceptor *a = hidden->h_acceptor;
	struct socket *so;

	sx_assert(&hidden_sx, SA_XLOCKED);
	if (a == NULL)
		return;
	hidden->h_port = 0;
	NET_EPOCH_WAIT();
	hidden->h_acceptor = NULL;
	so = a->a_so;
	acceptor_free(a);
	(void)soclose(so);
	atomic_subtract_int(&mptcp_hidden, 1);
}

void
mptcp_hidden_open(struct thread *td)
{
	struct prison *prison = td->td_ucred->cr_prison;
	struct ucred *cred, *saved;
	bool alive;

	if (V_hidden4.h_port != 0 || V_hidden6.h_port != 0)
		return;
	/* The network stack's owner, not whoever happened to come first: one jail's addresses must not bind another's. */
	while (prison != &prison0 && (prison->pr_flags & PR_VNET) == 0)
		prison = prison->pr_parent;
	if (!prison_isalive(prison))
		return;
	cred = crget();
	crcopy(cred, thread0.td_ucred);
	prison_free(cred->cr_prison);
	cred->cr_prison = prison;
	prison_hold(prison);
	saved = td->td_ucred;
	sx_xlock(&hidden_sx);
	td->td_ucred = cred;
	/* It may have gone meanwhile, and nobody would close them then. */
	alive = prison_isalive(prison);
#ifdef INET
	if (alive && V_hidden4.h_port == 0)
		(void)hidden_make(&V_hidden4, AF_INET, cred, td);
#endif
#ifdef INET6
	if (alive && V_hidden6.h_port == 0)
		(void)hidden_make(&V_hidden6, AF_INET6, cred, td);
#endif
	td->td_ucred = saved;
	sx_xunlock(&hidden_sx);
	crfree(cred);
}

/* A jail goes; the listeners' credentials would hold it, and its network stack, for ever. */
static int
prison_removed(void *object, void *data __unused)
{
	struct prison *prison = object;

	if ((prison->pr_flags & PR_VNET) == 0)
		return (0);
	CURVNET_SET(prison->pr_vnet);
	sx_xlock(&hidden_sx);
	if (V_hidden4.h_prison == prison)
		hidden_close(&V_hidden4);
	if (V_hidden6.h_prison == prison)
		hidden_close(&V_hidden6);
	sx_xunlock(&hidden_sx);
	CURVNET_RESTORE();
	return (0);
}

int
mptcp_accept_attach(void)
{
	static osd_method_t methods[PR_MAXMETHOD] = { [PR_METHOD_REMOVE] = prison_removed };

	accept_queue = taskqueue_create("mptcp accept", M_WAITOK, taskqueue_thread_enqueue, &accept_queue);
	taskqueue_start_threads(&accept_queue, 1, PI_NET, "mptcp accept");
	jail_slot = (u_int)osd_jail_register(NULL, methods);
	return (0);
}

void
mptcp_accept_detach(void)
{
	VNET_ITERATOR_DECL(vnet);

	if (accept_queue == NULL)
		return;
	osd_jail_deregister((int)jail_slot);
	VNET_LIST_RLOCK();
	VNET_FOREACH(vnet) {
		CURVNET_SET(vnet);
		sx_xlock(&hidden_sx);
		hidden_close(&V_hidden4);
		hidden_close(&V_hidden6);
		sx_xunlock(&hidden_sx);
		CURVNET_RESTORE();
	}
	VNET_LIST_RUNLOCK();
	taskqueue_free(accept_queue);
	accept_queue = NULL;
}
