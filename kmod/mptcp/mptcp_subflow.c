/* SPDX-License-Identifier: BSD-2-Clause */

/* Subflows: their sockets, joining, priority, leaving. */
#include "mptcp_var.h"

#include <sys/proc.h>
#include <sys/protosw.h>

#include <netinet/cc/cc.h>
#include <netinet/tcp_fsm.h>
#include <netinet/tcp_timer.h>

/*
 * MP_PRIO is not acknowledged, so it is told three times. Not before 30 ms, and nothing is sent on the subflow until then: Linux up to
 * 6.18 as a receiver puts data in the wrong place when it comes right behind an MP_JOIN.
 */
static const sbintime_t prio_after[] = { 30 * SBT_1MS, 220 * SBT_1MS, 1000 * SBT_1MS };
/*
 * Linux does so while a program of its own holds the connection, which on a busy machine takes longer than that: so while data is under
 * way the DATA_ACK of octets sent since the join is waited for as well, which comes when it has been let go. Not for ever.
 */
#define	PRIO_LATEST	(3 * SBT_1S)
#define	PRIO_AGAIN	(10 * SBT_1MS)
#define	JOIN_ACK_AFTER	(200 * SBT_1MS)
#define	JOIN_ACK_TRIES	6

struct mptcp_subflow *
mptcp_subflow_alloc(int mflags)
{
	struct mptcp_subflow *sf = malloc(sizeof(*sf), M_MPTCP, mflags | M_ZERO);

	if (sf == NULL)
		return (NULL);
	refcount_init(&sf->sf_refs, 1);
	mptcp_map_init(&sf->sf_sent, sf->sf_sent_slots, MPTCP_MAPPINGS, 1);
	mptcp_map_init(&sf->sf_received, sf->sf_received_slots, MPTCP_MAPPINGS, 1);
	sf->sf_sent_end = 1;
	sf->sf_in_ssn = 1;
	return (sf);
}

void
mptcp_subflow_ref(struct mptcp_subflow *sf)
{
	refcount_acquire(&sf->sf_refs);
}

void
mptcp_subflow_rele(struct mptcp_subflow *sf)
{
	struct mptcp_conn *mc = sf->sf_mc;

	if (!refcount_release(&sf->sf_refs))
		return;
	KASSERT(sf->sf_so == NULL && sf->sf_in == NULL, ("%s: in use", __func__));
	mptcp_map_free(&sf->sf_sent, sf->sf_sent_slots);
	mptcp_map_free(&sf->sf_received, sf->sf_received_slots);
	zfree(sf, M_MPTCP);
	if (mc != NULL)
		mptcp_conn_rele(mc);
}

/* ---- addresses and figures ---- */

void
mptcp_address(const struct sockaddr_storage *from, struct mptcp_ioc_addr *to)
{
	memset(to, 0, sizeof(*to));
	switch (from->ss_family) {
	case AF_INET: {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)from;

		to->ma_family = MPTCP_ABI_IPV4;
		to->ma_port = ntohs(sin->sin_port);
		memcpy(to->ma_octets, &sin->sin_addr, sizeof(sin->sin_addr));
		break;
	}
	case AF_INET6: {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)from;

		to->ma_family = MPTCP_ABI_IPV6;
		to->ma_port = ntohs(sin6->sin6_port);
		memcpy(to->ma_octets, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
		break;
	}
	}
}

static bool
to_sockaddr(const struct mptcp_ioc_addr *from, struct sockaddr_storage *to)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)to;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	switch (from->ma_family) {
	case MPTCP_ABI_IPV4:
		sin->sin_family = AF_INET;
		sin->sin_len = sizeof(*sin);
		sin->sin_port = htons(from->ma_port);
		memcpy(&sin->sin_addr, from->ma_octets, sizeof(sin->sin_addr));
		return (true);
	case MPTCP_ABI_IPV6:
		sin6->sin6_family = AF_INET6;
		sin6->sin6_len = sizeof(*sin6);
		sin6->sin6_port = htons(from->ma_port);
		memcpy(&sin6->sin6_addr, from->ma_octets, sizeof(sin6->sin6_addr));
		return (true);
	default:
		return (false);
	}
}

static void
inp_address(const struct inpcb *inp, bool remote, struct sockaddr_storage *to)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)to;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	if (inp->inp_vflag & INP_IPV6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_len = sizeof(*sin6);
		sin6->sin6_port = remote ? inp->inp_fport : inp->inp_lport;
		sin6->sin6_addr = remote ? inp->in6p_faddr : inp->in6p_laddr;
	} else {
		sin->sin_family = AF_INET;
		sin->sin_len = sizeof(*sin);
		sin->sin_port = remote ? inp->inp_fport : inp->inp_lport;
		sin->sin_addr = remote ? inp->inp_faddr : inp->inp_laddr;
	}
}

void
mptcp_subflow_addresses(struct mptcp_subflow *sf)
{
	struct inpcb *inp = sotoinpcb(sf->sf_so);

	INP_RLOCK(inp);
	inp_address(inp, false, &sf->sf_local);
	inp_address(inp, true, &sf->sf_remote);
	INP_RUNLOCK(inp);
}

static uint32_t
ticks_to_us(int t)
{
	return ((uint32_t)((int64_t)t * tick));
}

void
mptcp_subflow_fill(struct mptcp_subflow *sf, struct mptcp_subflow_info *info)
{
	struct inpcb *inp;
	struct tcpcb *tp;

	memset(info, 0, sizeof(*info));
	info->id = sf->sf_id;
	info->octets_sent = sf->sf_octets_sent;
	info->octets_received = sf->sf_octets_received;
	info->local_address_id = sf->sf_local_id;
	info->remote_address_id = sf->sf_remote_id;
	info->error = (uint8_t)sf->sf_error;
	info->flags = (sf->sf_want_backup ? MPTCP_FLAG_BACKUP : 0) | (sf->sf_peer_backup ? MPTCP_FLAG_PEER_BACKUP : 0) |
	    (sf->sf_passive ? MPTCP_FLAG_PASSIVE : 0) | (sf->sf_stale ? MPTCP_FLAG_STALE : 0);
	info->state = sf->sf_state == MPTCP_SF_UP ? MPTCP_SUBFLOW_ESTABLISHED :
	    sf->sf_state == MPTCP_SF_DEAD ? MPTCP_SUBFLOW_CLOSED : MPTCP_SUBFLOW_JOINING;
	if (sf->sf_local.ss_family == 0)
		mptcp_subflow_addresses(sf);
	mptcp_address(&sf->sf_local, &info->local);
	mptcp_address(&sf->sf_remote, &info->remote);
	info->queued = sbused(&sf->sf_so->so_snd);
	inp = sotoinpcb(sf->sf_so);
	INP_RLOCK(inp);
	info->fib = (uint16_t)inp->inp_inc.inc_fibnum;
	if ((inp->inp_flags & INP_DROPPED) == 0) {
		tp = intotcpcb(inp);
		info->tcp_state = (uint8_t)tp->t_state;
		info->mss = tp->t_maxseg;
		info->srtt_us = ticks_to_us(tp->t_srtt) >> TCP_RTT_SHIFT;
		info->rttvar_us = ticks_to_us(tp->t_rttvar) >> TCP_RTTVAR_SHIFT;
		info->cwnd = tp->snd_cwnd;
		info->ssthresh = tp->snd_ssthresh;
		info->retransmits = tp->t_sndrexmitpack;
	}
	INP_RUNLOCK(inp);
}

/* ---- making one ---- */

int
mptcp_subflow_create(struct mptcp_conn *mc, int family, bool joins, struct thread *td, struct mptcp_subflow **sfp)
{
	struct tcp_function_set set = { .function_set_name = "mptcp" };
	struct sockopt sopt = { .sopt_dir = SOPT_SET, .sopt_level = IPPROTO_TCP, .sopt_name = TCP_FUNCTION_BLK,
	    .sopt_val = &set, .sopt_valsize = sizeof(set) };
	char lia[] = MPTCP_LIA_NAME;
	struct mptcp_subflow *sf;
	struct socket *so;
	struct inpcb *inp;
	struct tcpcb *tp;
	int error;

	error = socreate(family, &so, SOCK_STREAM, IPPROTO_TCP, mc->mc_cred, td);
	if (error != 0)
		return (error);
	error = so->so_proto->pr_ctloutput(so, &sopt);
	if (error != 0) {
		soclose(so);
		return (error);
	}
	/* A further one has what the first one has, which may be the program's choice: inherit(). */
	if (V_mptcp_coupled && !joins) {
		sopt.sopt_name = TCP_CONGESTION;
		sopt.sopt_val = lia;
		sopt.sopt_valsize = sizeof(lia);
		(void)so->so_proto->pr_ctloutput(so, &sopt);
	}
	sf = mptcp_subflow_alloc(M_WAITOK);
	mptcp_conn_ref(mc);
	sf->sf_mc = mc;
	sf->sf_join = joins;
	inp = sotoinpcb(so);
	INP_WLOCK(inp);
	tp = intotcpcb(inp);
	KASSERT(tp->t_fb == &mptcp_stack && tp->t_fb_ptr == NULL, ("%s: another stack", __func__));
	mptcp_subflow_ref(sf);
	tp->t_fb_ptr = sf;
	INP_WUNLOCK(inp);
	mptcp_conn_add_subflow(mc, sf, so);
	*sfp = sf;
	return (0);
}

void
mptcp_conn_add_subflow(struct mptcp_conn *mc, struct mptcp_subflow *sf, struct socket *so)
{
	u_int taken = 0;
	struct mptcp_subflow *other;

	MC_XLOCK_ASSERT(mc);
	KASSERT(sf->sf_mc == mc, ("%s: of another connection", __func__));
	TAILQ_FOREACH(other, &mc->mc_subflows, sf_link)
		taken |= 1u << other->lia_slot;
	while (taken & (1u << sf->lia_slot))
		sf->lia_slot++;
	sf->sf_so = so;
	sf->sf_id = mc->mc_next_id++;
	TAILQ_INSERT_TAIL(&mc->mc_subflows, sf, sf_link);
	mc->mc_count++;
	if (!sf->sf_join)
		mc->mc_first = sf;
	/* Sizes are the meta socket's; what is in flight is limited there. */
	SOCK_SENDBUF_LOCK(so);
	so->so_snd.sb_flags &= ~SB_AUTOSIZE;
	soupcall_set(so, SO_SND, mptcp_subflow_upcall_send, sf);
	SOCK_SENDBUF_UNLOCK(so);
	SOCK_RECVBUF_LOCK(so);
	so->so_rcv.sb_flags &= ~SB_AUTOSIZE;
	if (mc->mc_so != NULL && !SOLISTENING(mc->mc_so))
		(void)sbreserve_locked(so, SO_RCV, mc->mc_so->so_rcv.sb_hiwat, NULL);
	soupcall_set(so, SO_RCV, mptcp_subflow_upcall, sf);
	SOCK_RECVBUF_UNLOCK(so);
	mptcp_kick(mc, MPTCP_EV_SUBFLOW);
}

/* What programs set on the connection holds for all its subflows, those after the last one, too. */
static void
remember(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	struct mptcp_model *model = &mc->mc_model;
	const struct inpcb *inp = sotoinpcb(sf->sf_so);
	const struct tcpcb *tp = intotcpcb(inp);

	INP_LOCK_ASSERT(inp);
	model->bindany = inp->inp_flags & INP_BINDANY;
	model->tos = inp->inp_ip_tos;
	model->fib = (uint16_t)inp->inp_inc.inc_fibnum;
	model->options = sf->sf_so->so_options & (SO_KEEPALIVE | SO_DONTROUTE);
	model->flags = tp->t_flags & TF_NODELAY;
	model->keepidle = tp->t_keepidle;
	model->keepintvl = tp->t_keepintvl;
	model->keepcnt = tp->t_keepcnt;
	model->maxunacktime = tp->t_maxunacktime;
	/* Of a control block that is over it may be gone; then what was seen before holds. */
	if (CC_ALGO(tp) != NULL)
		strlcpy(model->cc, CC_ALGO(tp)->name, sizeof(model->cc));
}

void
mptcp_subflow_close(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool reset)
{
	struct socket *so = sf->sf_so;
	struct inpcb *inp = sotoinpcb(so);
	struct mptcp_event event = { .ev_error = (uint16_t)sf->sf_error, .ev_reset_reason = sf->sf_reset_reason };
	struct tcpcb *tp;

	MC_XLOCK_ASSERT(mc);
	mptcp_receive_rest(mc, sf);
	if (mc->mc_told_connected && !mc->mc_over && sf->sf_state != MPTCP_SF_NEW)
		mptcp_tell(mc, sf, MPTCP_EVENT_SUBFLOW_DOWN, &event);
	if (sf->sf_state != MPTCP_SF_NEW && mc->mc_ended_count < nitems(mc->mc_ended)) {
		mptcp_subflow_fill(sf, &mc->mc_ended[mc->mc_ended_count]);
		mc->mc_ended[mc->mc_ended_count++].state = MPTCP_SUBFLOW_CLOSED;
	}
	if (!SOLISTENING(so)) {
		SOCK_SENDBUF_LOCK(so);
		soupcall_clear(so, SO_SND);
		SOCK_SENDBUF_UNLOCK(so);
		SOCK_RECVBUF_LOCK(so);
		soupcall_clear(so, SO_RCV);
		SOCK_RECVBUF_UNLOCK(so);
	}
	INP_WLOCK(inp);
	remember(mc, sf);
	if ((inp->inp_flags & INP_DROPPED) == 0) {
		tp = intotcpcb(inp);
		/* What is on this path only delays the end: all of it has arrived, or is not wanted. */
		if (tp->t_rxtshift > 0 && !mc->mc_was_fallback)
			reset = true;
	}
	MC_LOCK(mc);
	sf->sf_state = MPTCP_SF_DEAD;
	MC_UNLOCK(mc);
	INP_WUNLOCK(inp);
	if (reset) {
		so->so_options |= SO_LINGER;
		so->so_linger = 0;
	} else
		so->so_options &= ~SO_LINGER;
	m_freem(sf->sf_in);
	sf->sf_in = sf->sf_in_tail = NULL;
	mptcp_lia_leave(&mc->mc_lia, sf->lia_slot);
	sf->sf_so = NULL;
	TAILQ_REMOVE(&mc->mc_subflows, sf, sf_link);
	mc->mc_count--;
	if (mc->mc_first == sf)
		mc->mc_first = NULL;
	soclose(so);
	mptcp_subflow_rele(sf);
}

/* ---- joining ---- */

static bool
same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return (false);
	if (a->ss_family == AF_INET)
		return (((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr);
	return (IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr));
}

/*
 * Address IDs: that of a subflow from the same address, else a new one. The first subflow's is 0. An address the kernel is going to
 * choose gets a new one in any case, because the SYN leaves at once.
 */
static uint8_t
address_id(struct mptcp_conn *mc, const struct mptcp_subflow *sf, const struct sockaddr_storage *local)
{
	struct mptcp_subflow *other;

	if (same_address(local, &mc->mc_local))
		return (0);
	TAILQ_FOREACH(other, &mc->mc_subflows, sf_link)
		if (other != sf && other->sf_local_id != 0 && same_address(local, &other->sf_local))
			return (other->sf_local_id);
	mc->mc_next_address_id = mc->mc_next_address_id == UINT8_MAX ? 1 : mc->mc_next_address_id + 1;
	return (mc->mc_next_address_id);
}

static void
inherit(struct mptcp_conn *mc, struct mptcp_subflow *sf, uint16_t fib)
{
	struct sockopt sopt = { .sopt_dir = SOPT_SET, .sopt_level = IPPROTO_TCP, .sopt_name = TCP_CONGESTION };
	struct mptcp_model *model = &mc->mc_model;
	struct mptcp_subflow *first = TAILQ_FIRST(&mc->mc_subflows);
	struct inpcb *inp;
	struct tcpcb *tp;

	if (first != sf) {
		inp = sotoinpcb(first->sf_so);
		INP_RLOCK(inp);
		remember(mc, first);
		INP_RUNLOCK(inp);
	}
	if (model->cc[0] != 0) {
		sopt.sopt_val = model->cc;
		sopt.sopt_valsize = sizeof(model->cc);
		(void)sf->sf_so->so_proto->pr_ctloutput(sf->sf_so, &sopt);
	}
	inp = sotoinpcb(sf->sf_so);
	INP_WLOCK(inp);
	tp = intotcpcb(inp);
	inp->inp_flags |= model->bindany;
	inp->inp_ip_tos = model->tos;
	inp->inp_inc.inc_fibnum = fib == MPTCP_FIB_SAME ? model->fib : fib;
	sf->sf_so->so_fibnum = inp->inp_inc.inc_fibnum;
	sf->sf_so->so_options |= model->options;
	tp->t_flags |= model->flags;
	tp->t_keepidle = model->keepidle;
	tp->t_keepintvl = model->keepintvl;
	tp->t_keepcnt = model->keepcnt;
	tp->t_maxunacktime = model->maxunacktime;
	INP_WUNLOCK(inp);
}

static int
join(struct mptcp_conn *mc, struct thread *td, struct mptcp_ioc_subflow *want)
{
	struct sockaddr_storage local, remote;
	struct mptcp_subflow *sf;
	enum mptcp_state state;
	int error;

	MC_LOCK(mc);
	state = mc->mc_state;
	MC_UNLOCK(mc);
	if (state == MPTCP_FALLBACK || state == MPTCP_OVER)
		return (state == MPTCP_OVER ? ENOENT : EOPNOTSUPP);
	if (state != MPTCP_ESTABLISHED || !mc->mc_told_connected)
		return (EAGAIN);
	if (mc->mc_count >= MPTCP_SUBFLOWS_MAX)
		return (ENOBUFS);
	if (!to_sockaddr(&want->ms_remote, &remote))
		return (EINVAL);
	if (want->ms_remote.ma_port == 0)
		((struct sockaddr_in *)&remote)->sin_port = ((struct sockaddr_in *)&mc->mc_remote)->sin_port;
	if (mc->mc_peer_no_join && same_address(&remote, &mc->mc_remote) &&
	    ((struct sockaddr_in *)&remote)->sin_port == ((struct sockaddr_in *)&mc->mc_remote)->sin_port)
		return (EACCES);
	error = mptcp_subflow_create(mc, remote.ss_family, true, td, &sf);
	if (error != 0)
		return (error);
	inherit(mc, sf, want->ms_fib);
	if (to_sockaddr(&want->ms_local, &local))
		error = sobind(sf->sf_so, (struct sockaddr *)&local, td);
	if (error == 0) {
		arc4random_buf(&sf->sf_local_nonce, sizeof(sf->sf_local_nonce));
		sf->sf_want_backup = (want->ms_flags & MPTCP_FLAG_BACKUP) != 0;
		/* Starts as a backup in any case: see prio_after. */
		sf->sf_backup = true;
		sf->sf_reserve = true;
		sf->sf_local_id = address_id(mc, sf, &local);
		sf->sf_state = MPTCP_SF_SYN_SENT;
		error = soconnect(sf->sf_so, (struct sockaddr *)&remote, td);
	}
	if (error != 0) {
		mc->mc_next_id--;
		sf->sf_state = MPTCP_SF_NEW;	/* nothing to tell of */
		mptcp_subflow_close(mc, sf, true);
		return (error);
	}
	want->ms_id = sf->sf_id;
	return (0);
}

/* By token, with a reference and (x); NULL: there is none. */
static struct mptcp_conn *
acquire(uint32_t token)
{
	struct mptcp_conn *mc = mptcp_conn_by_token(token);

	if (mc != NULL)
		MC_XLOCK(mc);
	return (mc);
}

static void
release(struct mptcp_conn *mc)
{
	MC_XUNLOCK(mc);
	mptcp_conn_rele(mc);
}

/* The same, and a subflow of it. With 0 only it is to be released. */
static int
acquire_subflow(uint32_t token, uint32_t id, struct mptcp_conn **mcp, struct mptcp_subflow **sfp)
{
	struct mptcp_conn *mc = acquire(token);
	struct mptcp_subflow *sf;
	int error;

	if (mc == NULL)
		return (ENOENT);
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link)
		if (sf->sf_id == id)
			break;
	error = sf == NULL ? ENOENT : mc->mc_state == MPTCP_FALLBACK ? EOPNOTSUPP : 0;
	if (error != 0)
		release(mc);
	*mcp = mc;
	*sfp = sf;
	return (error);
}

int
mptcp_conn_subflow_add(struct thread *td, uint32_t token, bool as_owner, struct mptcp_ioc_subflow *want)
{
	struct mptcp_conn *mc = acquire(token);
	struct ucred *saved = td->td_ucred;
	int error;

	if (mc == NULL)
		return (ENOENT);
	/* A manager's is the owner's: his jail's addresses, his limits. */
	if (as_owner)
		td->td_ucred = mc->mc_cred;
	error = join(mc, td, want);
	td->td_ucred = saved;
	release(mc);
	return (error);
}

int
mptcp_conn_subflow_remove(uint32_t token, uint32_t id, uint32_t flags, uint8_t reason)
{
	struct mptcp_conn *mc;
	struct mptcp_subflow *sf;
	int error = acquire_subflow(token, id, &mc, &sf);

	if (error != 0)
		return (error);
	mptcp_subflow_leave(mc, sf, (flags & MPTCP_FLAG_RESET) != 0, reason);
	release(mc);
	return (0);
}

void
mptcp_subflow_leave(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool reset, uint8_t reason)
{
	struct mptcp_subflow *other;

	MC_XLOCK_ASSERT(mc);
	MC_LOCK(mc);
	/* The peer is told over the others: its address is gone, so is whatever the peer has in flight there. */
	TAILQ_FOREACH(other, &mc->mc_subflows, sf_link)
		if (other != sf && other->sf_state == MPTCP_SF_UP && other->sf_local_id != sf->sf_local_id) {
			other->sf_remove_id = sf->sf_local_id;
			other->sf_pending |= MPTCP_OPT_REMOVE;
			break;
		}
	sf->sf_reset_reason = reason;
	MC_UNLOCK(mc);
	if (other != NULL)
		mptcp_subflow_push(other);
	mptcp_send_dead(mc, sf, true);
	if (reset || sf->sf_state != MPTCP_SF_UP || mc->mc_count == 1)
		mptcp_subflow_close(mc, sf, reset);
	else if (!sf->sf_shut) {
		/* What the peer sends meanwhile must not meet a closed socket. */
		sf->sf_shut = true;
		(void)sf->sf_so->so_proto->pr_shutdown(sf->sf_so);
	}
	mptcp_kick(mc, MPTCP_EV_SEND);
}

int
mptcp_conn_subflow_priority(uint32_t token, uint32_t id, bool backup)
{
	struct mptcp_conn *mc;
	struct mptcp_subflow *sf;
	int error = acquire_subflow(token, id, &mc, &sf);

	if (error != 0)
		return (error);
	sf->sf_want_backup = backup;
	if (sf->sf_state == MPTCP_SF_UP && !sf->sf_reserve) {
		sf->sf_prio_step = 0;
		sf->sf_prio_at = sbinuptime();
		mptcp_kick(mc, MPTCP_EV_TIMER);
	}
	release(mc);
	return (0);
}

int
mptcp_conn_announce(uint32_t token, struct mptcp_ioc_announce *announce)
{
	struct mptcp_conn *mc = acquire(token);
	struct mptcp_subflow *sf;
	struct mptcp_add_addr *add;
	int error = EAGAIN;

	if (mc == NULL)
		return (ENOENT);
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link)
		if (sf->sf_state == MPTCP_SF_UP)
			break;
	if (mc->mc_state == MPTCP_FALLBACK)
		error = EOPNOTSUPP;
	else if (mc->mc_state == MPTCP_ESTABLISHED && sf != NULL) {
		if (announce->ma_id == 0) {
			mc->mc_next_address_id = mc->mc_next_address_id == UINT8_MAX ? 1 : mc->mc_next_address_id + 1;
			announce->ma_id = mc->mc_next_address_id;
		}
		MC_LOCK(mc);
		memset(&sf->sf_announce, 0, sizeof(sf->sf_announce));
		sf->sf_announce.subtype = MPTCP_ADD_ADDR;
		add = &sf->sf_announce.add_addr;
		add->address_id = (uint8_t)announce->ma_id;
		add->address_length = announce->ma_addr.ma_family == MPTCP_ABI_IPV4 ? 4 : 16;
		memcpy(add->address, announce->ma_addr.ma_octets, add->address_length);
		add->port = announce->ma_addr.ma_port;
		add->has_port = add->port != 0;
		mptcp_add_addr_hmac(mc->mc_local_key, mc->mc_remote_key, add->address_id, add->address, add->address_length, add->port,
		    add->hmac);
		sf->sf_pending |= MPTCP_OPT_ANNOUNCE;
		sf->sf_announce_at = sbinuptime() + SBT_1S;
		sf->sf_announce_tries = 3;
		MC_UNLOCK(mc);
		mptcp_subflow_push(sf);
		mptcp_kick(mc, MPTCP_EV_TIMER);
		error = 0;
	}
	release(mc);
	return (error);
}

int
mptcp_conn_withdraw(uint32_t token, uint32_t id)
{
	struct mptcp_conn *mc = acquire(token);
	struct mptcp_subflow *sf;
	int error = EAGAIN;

	if (mc == NULL)
		return (ENOENT);
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link)
		if (sf->sf_state == MPTCP_SF_UP && sf->sf_local_id != id)
			break;
	if (mc->mc_state == MPTCP_FALLBACK)
		error = EOPNOTSUPP;
	else if (mc->mc_state == MPTCP_ESTABLISHED && sf != NULL) {
		MC_LOCK(mc);
		sf->sf_remove_id = (uint8_t)id;
		sf->sf_pending |= MPTCP_OPT_REMOVE;
		MC_UNLOCK(mc);
		mptcp_subflow_push(sf);
		error = 0;
	}
	release(mc);
	return (error);
}

/* ---- the worker's turn ---- */

static void
push(struct mptcp_subflow *sf, bool unless_delayed)
{
	struct inpcb *inp = sotoinpcb(sf->sf_so);
	struct epoch_tracker et;
	struct tcpcb *tp;
	uint8_t before;

	NET_EPOCH_ENTER(et);
	INP_WLOCK(inp);
	if ((inp->inp_flags & INP_DROPPED) == 0 && TCPS_HAVEESTABLISHED((tp = intotcpcb(inp))->t_state) &&
	    !(unless_delayed && (tp->t_flags & TF_DELACK) != 0)) {
		/* Each of what is pending goes in a segment without data of its own; in some states none does. */
		do {
			before = sf->sf_pending;
			tp->t_flags |= TF_ACKNOW;
			(void)tcp_output_nodrop(tp);
		} while (sf->sf_pending != 0 && sf->sf_pending != before);
	}
	INP_WUNLOCK(inp);
	NET_EPOCH_EXIT(et);
}

void
mptcp_subflow_push(struct mptcp_subflow *sf)
{
	push(sf, false);
}

void
mptcp_subflow_acknowledge(struct mptcp_subflow *sf)
{
	push(sf, sf->sf_pending == 0);
}

static void
sooner(sbintime_t *at, sbintime_t than)
{
	if (*at == 0 || than < *at)
		*at = than;
}

sbintime_t
mptcp_subflow_timers(struct mptcp_conn *mc, sbintime_t now)
{
	struct mptcp_subflow *sf, *next;
	enum mptcp_sf_state state;
	sbintime_t at = 0;
	uint8_t gone[sizeof(mc->mc_removed)];
	bool removed;

	MC_LOCK(mc);
	memcpy(gone, mc->mc_removed, sizeof(gone));
	memset(mc->mc_removed, 0, sizeof(mc->mc_removed));
	MC_UNLOCK(mc);

	TAILQ_FOREACH_SAFE(sf, &mc->mc_subflows, sf_link, next) {
		MC_LOCK(mc);
		state = sf->sf_state;
		/* The last one is kept: it works, whatever the peer says of its address. */
		removed = mc->mc_count > 1 && state == MPTCP_SF_UP && isset(gone, sf->sf_remote_id);
		MC_UNLOCK(mc);
		if (removed && mc->mc_state == MPTCP_ESTABLISHED) {
			mptcp_send_dead(mc, sf, true);
			mptcp_subflow_close(mc, sf, true);
			continue;
		}
		if (state == MPTCP_SF_JOIN_ACK) {
			if (sf->sf_join_at == 0)
				sf->sf_join_at = now + JOIN_ACK_AFTER;
			else if (now >= sf->sf_join_at) {
				if (sf->sf_join_tries++ == JOIN_ACK_TRIES) {
					sf->sf_error = ETIMEDOUT;
					mptcp_subflow_close(mc, sf, true);
					continue;
				}
				sf->sf_join_at = now + (JOIN_ACK_AFTER << sf->sf_join_tries);
				mptcp_subflow_push(sf);
			}
			sooner(&at, sf->sf_join_at);
		}
		if (state == MPTCP_SF_UP && sf->sf_reserve && sf->sf_prio_at == 0) {
			if (sf->sf_want_backup)
				sf->sf_reserve = false;
			else {
				sf->sf_prio_at = now + prio_after[0];
				sf->sf_prio_latest = now + PRIO_LATEST;
				MC_LOCK(mc);
				sf->sf_joined_dsn = mc->mc_snd_max;
				MC_UNLOCK(mc);
			}
		}
		if (sf->sf_reserve && sf->sf_prio_at != 0 && now >= sf->sf_prio_at && now < sf->sf_prio_latest) {
			MC_LOCK(mc);
			if (mc->mc_peer_ack != mc->mc_snd_max && !mptcp_dsn_after(mc->mc_peer_ack, sf->sf_joined_dsn))
				sf->sf_prio_at = now + PRIO_AGAIN;
			MC_UNLOCK(mc);
		}
		if (sf->sf_prio_at != 0 && now >= sf->sf_prio_at) {
			MC_LOCK(mc);
			sf->sf_backup = sf->sf_want_backup;
			sf->sf_pending |= MPTCP_OPT_PRIO;
			MC_UNLOCK(mc);
			sf->sf_reserve = false;
			mptcp_subflow_push(sf);
			sf->sf_prio_step++;
			sf->sf_prio_at = sf->sf_prio_step < nitems(prio_after) ? now + prio_after[sf->sf_prio_step] : 0;
		}
		if (sf->sf_prio_at != 0)
			sooner(&at, sf->sf_prio_at);
		if (sf->sf_announce_at != 0 && now >= sf->sf_announce_at) {
			MC_LOCK(mc);
			if (sf->sf_announce_tries > 0)
				sf->sf_pending |= MPTCP_OPT_ANNOUNCE;
			MC_UNLOCK(mc);
			if (sf->sf_announce_tries > 0) {
				sf->sf_announce_tries--;
				sf->sf_announce_at = now + SBT_1S;
				mptcp_subflow_push(sf);
			} else
				sf->sf_announce_at = 0;
		}
		if (sf->sf_announce_at != 0)
			sooner(&at, sf->sf_announce_at);
		if (sf->sf_fail_at != 0 && now >= sf->sf_fail_at) {
			sf->sf_fail_at = 0;
			MC_LOCK(mc);
			if (!sf->sf_sent.infinite)
				mptcp_send_fail(mc, sf);
			MC_UNLOCK(mc);
			mptcp_subflow_push(sf);
		}
		if (sf->sf_fail_at != 0)
			sooner(&at, sf->sf_fail_at);
		/* Segments with data leave it to those without. */
		if (sf->sf_pending != 0 && state == MPTCP_SF_UP && mc->mc_state == MPTCP_ESTABLISHED)
			mptcp_subflow_push(sf);
	}
	return (at);
}
