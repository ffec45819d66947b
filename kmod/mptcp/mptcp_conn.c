/* SPDX-License-Identifier: BSD-2-Clause */

/* Connections: their life, their names (tokens), and the worker that stands between the meta socket and the subflows' sockets. */
#include "mptcp_var.h"

#include <sys/hash.h>
#include <sys/proc.h>
#include <sys/protosw.h>
#include <sys/smp.h>

#include <netinet/tcp_fsm.h>
#include <netinet/tcp_timer.h>

u_int mptcp_conns;

#define	TOKEN_BUCKETS	1024
#define	QUEUES_MAX	8

static LIST_HEAD(mptcp_bucket, mptcp_conn) *buckets;
static u_long bucket_mask;
static struct mtx table_mtx;
MTX_SYSINIT(mptcp_table, &table_mtx, "mptcp tokens", MTX_DEF);
static struct taskqueue *queues[QUEUES_MAX];
static u_int queue_count, next_queue;

static void mptcp_work(void *argument, int pending);
static void mptcp_expire(void *argument);

/* ---- life ---- */

struct mptcp_conn *
mptcp_conn_alloc(struct vnet *vnet, int mflags)
{
	struct mptcp_conn *mc = malloc(sizeof(*mc), M_MPTCP, mflags | M_ZERO);

	if (mc == NULL)
		return (NULL);
	refcount_init(&mc->mc_refs, 1);
	/* Two at once: a listener's, then that of what it accepts. */
	sx_init_flags(&mc->mc_sx, "mptcp connection", SX_DUPOK);
	mtx_init(&mc->mc_mtx, "mptcp leaf", NULL, MTX_DEF);
	mc->mc_vnet = vnet;
	mc->mc_queue = queues[atomic_fetchadd_int(&next_queue, 1) % queue_count];
	TASK_INIT(&mc->mc_task, 0, mptcp_work, mc);
	callout_init(&mc->mc_callout, 1);
	TAILQ_INIT(&mc->mc_subflows);
	STAILQ_INIT(&mc->mc_resend);
	mc->mc_last = -1;
	mc->mc_embryo = true;
	atomic_add_int(&mptcp_conns, 1);
	return (mc);
}

void
mptcp_conn_ref(struct mptcp_conn *mc)
{
	refcount_acquire(&mc->mc_refs);
}

void
mptcp_conn_rele(struct mptcp_conn *mc)
{
	if (!refcount_release(&mc->mc_refs))
		return;
	KASSERT(mc->mc_so == NULL && TAILQ_EMPTY(&mc->mc_subflows) && !mc->mc_in_table, ("%s: in use", __func__));
	KASSERT(!callout_pending(&mc->mc_callout), ("%s: the callout is pending", __func__));
	if (mc->mc_cred != NULL)
		crfree(mc->mc_cred);
	sx_destroy(&mc->mc_sx);
	mtx_destroy(&mc->mc_mtx);
	zfree(mc, M_MPTCP);
	atomic_subtract_int(&mptcp_conns, 1);
}

/* ---- tokens ---- */

static struct mptcp_conn *
lookup(uint32_t token)
{
	struct mptcp_conn *mc;

	mtx_assert(&table_mtx, MA_OWNED);
	LIST_FOREACH(mc, &buckets[token & bucket_mask], mc_hash)
		if (mc->mc_local_token == token && mc->mc_vnet == curvnet)
			return (mc);
	return (NULL);
}

struct mptcp_conn *
mptcp_conn_by_token(uint32_t token)
{
	struct mptcp_conn *mc;

	mtx_lock(&table_mtx);
	mc = lookup(token);
	if (mc != NULL)
		mptcp_conn_ref(mc);
	mtx_unlock(&table_mtx);
	return (mc);
}

u_int
mptcp_conn_tokens(uint32_t *tokens, u_int room)
{
	struct mptcp_conn *mc;
	u_int n = 0;

	mtx_lock(&table_mtx);
	for (u_long i = 0; i <= bucket_mask; i++)
		LIST_FOREACH(mc, &buckets[i], mc_hash)
			if (mc->mc_vnet == curvnet) {
				if (n < room)
					tokens[n] = mc->mc_local_token;
				n++;
			}
	mtx_unlock(&table_mtx);
	return (n);
}

/* Enters the connection under the token of `key`. */
static int
enter(struct mptcp_conn *mc, uint64_t key)
{
	uint32_t token;
	uint64_t idsn;
	int error = 0;

	mptcp_key_derive(key, &token, &idsn);
	mtx_lock(&table_mtx);
	/* 0 stands for 'none' in what users see. */
	if (token == 0 || lookup(token) != NULL)
		error = EEXIST;
	else {
		mc->mc_local_key = key;
		mc->mc_local_token = token;
		mc->mc_local_idsn = idsn;
		mc->mc_in_table = true;
		LIST_INSERT_HEAD(&buckets[token & bucket_mask], mc, mc_hash);
	}
	mtx_unlock(&table_mtx);
	if (error == 0) {
		mc->mc_snd_una = mc->mc_snd_next = idsn + 1;
		mc->mc_peer_ack = mc->mc_snd_edge = mc->mc_snd_max = idsn + 1;
	}
	return (error);
}

static void
leave(struct mptcp_conn *mc)
{
	mtx_lock(&table_mtx);
	if (mc->mc_in_table) {
		LIST_REMOVE(mc, mc_hash);
		mc->mc_in_table = false;
	}
	mtx_unlock(&table_mtx);
}

void
mptcp_conn_forget(struct mptcp_conn *mc)
{
	bool embryo;

	MC_LOCK(mc);
	embryo = mc->mc_embryo;
	if (embryo)
		mc->mc_state = MPTCP_OVER;
	MC_UNLOCK(mc);
	if (embryo)
		leave(mc);
}

int
mptcp_conn_new_key(struct mptcp_conn *mc)
{
	uint64_t key;

	for (int tries = 0; tries < 16; tries++) {
		arc4random_buf(&key, sizeof(key));
		if (enter(mc, key) == 0)
			return (0);
	}
	return (ENOBUFS);
}

void
mptcp_conn_set_remote_key(struct mptcp_conn *mc, uint64_t remote_key)
{
	mc->mc_remote_key = remote_key;
	mptcp_key_derive(remote_key, &mc->mc_remote_token, &mc->mc_remote_idsn);
	mc->mc_rcv_next = mc->mc_told_ack = mc->mc_remote_idsn + 1;
	mc->mc_rcv_edge = mc->mc_rcv_next + mc->mc_first_window;
}

int
mptcp_conn_set_keys(struct mptcp_conn *mc, uint64_t local_key, uint64_t remote_key)
{
	int error = enter(mc, local_key);

	if (error == 0) {
		MC_LOCK(mc);
		mptcp_conn_set_remote_key(mc, remote_key);
		MC_UNLOCK(mc);
	}
	return (error);
}

/* ---- states ---- */

void
mptcp_fall_back(struct mptcp_conn *mc, struct mptcp_subflow *sf, enum mptcp_count cause)
{
	MC_LOCK_ASSERT(mc);
	if (mc->mc_state == MPTCP_FALLBACK)
		return;
	/* Octet n of the subflow is octet n of the data. Without the peer's key its data is counted from 1. */
	if (mc->mc_remote_key == 0) {
		mc->mc_rcv_next = 1;
		mc->mc_rcv_edge = mc->mc_rcv_next + mc->mc_first_window;
	}
	(void)mptcp_map_set_infinite(&sf->sf_sent, 1, mc->mc_local_idsn + 1);
	(void)mptcp_map_set_infinite(&sf->sf_received, 1, mc->mc_remote_idsn + 1);
	mc->mc_state = MPTCP_FALLBACK;
	mc->mc_fallback_cause = cause;
	sf->sf_pending = 0;
	mptcp_count(cause);
}

void
mptcp_conn_fail(struct mptcp_conn *mc, int error)
{
	MC_LOCK_ASSERT(mc);
	if (mc->mc_error == 0)
		mc->mc_error = error;
}

/* ---- events ---- */

void
mptcp_tell(struct mptcp_conn *mc, struct mptcp_subflow *sf, uint32_t type, const struct mptcp_event *more)
{
	struct mptcp_event event = { 0 };
	const struct sockaddr_storage *local = &mc->mc_local, *remote = &mc->mc_remote;

	if (!mptcp_event_wanted())
		return;
	if (more != NULL)
		event = *more;
	event.ev_type = type;
	event.ev_token = mc->mc_local_token;
	if (sf != NULL) {
		event.ev_id = sf->sf_id;
		event.ev_flags |= (sf->sf_want_backup ? MPTCP_FLAG_BACKUP : 0) | (sf->sf_peer_backup ? MPTCP_FLAG_PEER_BACKUP : 0) |
		    (sf->sf_passive ? MPTCP_FLAG_PASSIVE : 0);
		local = &sf->sf_local;
		remote = &sf->sf_remote;
	}
	mptcp_address(local, &event.ev_local);
	if (event.ev_remote.ma_family == 0)
		mptcp_address(remote, &event.ev_remote);
	mptcp_event(&event);
}

/* ---- the worker ---- */

void
mptcp_kick(struct mptcp_conn *mc, u_int events)
{
	atomic_set_int(&mc->mc_events, events);
	if (atomic_swap_int(&mc->mc_queued, 1) == 0) {
		mptcp_conn_ref(mc);
		taskqueue_enqueue(mc->mc_queue, &mc->mc_task);
	}
}

int
mptcp_subflow_upcall(struct socket *so __unused, void *argument, int flag __unused)
{
	struct mptcp_subflow *sf = argument;

	mptcp_kick(sf->sf_mc, MPTCP_EV_SUBFLOW);
	return (SU_OK);
}

int
mptcp_subflow_upcall_send(struct socket *so, void *argument, int flag)
{
	struct mptcp_subflow *sf = argument;

	/* Its end, which the other buffer tells of, too, is worth a turn in any case. */
	if (atomic_load_int(&sf->sf_mc->mc_quiet) != 0 && (so->so_snd.sb_state & SBS_CANTSENDMORE) == 0)
		return (SU_OK);
	return (mptcp_subflow_upcall(so, argument, flag));
}

static void
mptcp_expire(void *argument)
{
	mptcp_kick(argument, MPTCP_EV_TIMER);
}

/* The first subflow's handshake is over: from here on the meta socket is connected. */
static void
connected(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	mc->mc_told_connected = true;
	mptcp_subflow_addresses(sf);
	mc->mc_local = sf->sf_local;
	mc->mc_remote = sf->sf_remote;
	mptcp_receive_start(mc);
	mptcp_tell(mc, NULL, MPTCP_EVENT_CREATED, NULL);
	if (mc->mc_so != NULL)
		soisconnected(mc->mc_so);
}

/* Listeners learn whether the peer speaks MPTCP once that is certain. */
static void
tell_state(struct mptcp_conn *mc)
{
	struct mptcp_event event = { 0 };
	enum mptcp_state state;

	if (!mc->mc_told_connected)
		return;
	MC_LOCK(mc);
	state = mc->mc_state;
	event.ev_cause = mc->mc_fallback_cause;
	event.ev_flags = mc->mc_checksum ? MPTCP_FLAG_CHECKSUM : 0;
	MC_UNLOCK(mc);
	if (state == MPTCP_ESTABLISHED && !mc->mc_told_established) {
		mc->mc_told_established = true;
		mptcp_tell(mc, NULL, MPTCP_EVENT_ESTABLISHED, &event);
	}
	if (state == MPTCP_FALLBACK && !mc->mc_told_fallback) {
		mc->mc_told_fallback = true;
		mptcp_tell(mc, NULL, MPTCP_EVENT_FALLBACK, &event);
	}
}

/* What became of the subflows' TCP connections since we last looked. */
static void
look_at_subflows(struct mptcp_conn *mc)
{
	struct mptcp_subflow *sf, *next;
	enum mptcp_sf_state state;
	struct inpcb *inp;
	bool dead, ready;

	TAILQ_FOREACH_SAFE(sf, &mc->mc_subflows, sf_link, next) {
		inp = sotoinpcb(sf->sf_so);
		INP_WLOCK(inp);
		dead = (inp->inp_flags & INP_DROPPED) != 0 || (sf->sf_so->so_state & SS_ISDISCONNECTED) != 0;
		ready = !dead && TCPS_HAVEESTABLISHED(intotcpcb(inp)->t_state);
		if (dead && sf->sf_error == 0)
			sf->sf_error = sf->sf_so->so_error;
		MC_LOCK(mc);
		if (dead)
			sf->sf_state = MPTCP_SF_DEAD;
		else if (ready && !sf->sf_join && sf->sf_state == MPTCP_SF_SYN_SENT && mc->mc_state != MPTCP_SYN_SENT)
			sf->sf_state = MPTCP_SF_UP;
		state = sf->sf_state;
		MC_UNLOCK(mc);
		INP_WUNLOCK(inp);
		if (state == MPTCP_SF_UP && !sf->sf_join && !mc->mc_told_connected)
			connected(mc, sf);
		if (state == MPTCP_SF_UP && sf->sf_join && !sf->sf_told_up) {
			sf->sf_told_up = true;
			mptcp_subflow_addresses(sf);
			mptcp_tell(mc, sf, MPTCP_EVENT_SUBFLOW_UP, NULL);
		}
	}
}

/* The meta socket is told of the end; afterwards the connection is only waited for by what of it is still on the wire. */
void
mptcp_conn_end(struct mptcp_conn *mc, int error, bool reset)
{
	struct mptcp_subflow *sf, *next;
	struct mptcp_event event = { .ev_error = (uint16_t)error };

	MC_LOCK(mc);
	mc->mc_over = true;
	mc->mc_was_fallback = mc->mc_state == MPTCP_FALLBACK;
	mc->mc_state = MPTCP_OVER;
	MC_UNLOCK(mc);
	TAILQ_FOREACH_SAFE(sf, &mc->mc_subflows, sf_link, next)
		mptcp_subflow_close(mc, sf, reset);
	if (mc->mc_in_table)
		mptcp_tell(mc, NULL, MPTCP_EVENT_CLOSED, &event);
	leave(mc);
	mptcp_receive_free(mc);
	mptcp_send_free(mc);
	callout_drain(&mc->mc_callout);
	if (mc->mc_so != NULL) {
		if (error != 0)
			mc->mc_so->so_error = error;
		soisdisconnected(mc->mc_so);
	}
}

void
mptcp_conn_abort(struct mptcp_conn *mc, int error)
{
	MC_LOCK(mc);
	mc->mc_fastclose = true;
	MC_UNLOCK(mc);
	mptcp_conn_end(mc, error, true);
}

/* Those whose TCP connection is over, drained by now. */
static void
bury_subflows(struct mptcp_conn *mc)
{
	struct mptcp_subflow *sf, *next;
	enum mptcp_state state;
	int error;

	TAILQ_FOREACH_SAFE(sf, &mc->mc_subflows, sf_link, next) {
		MC_LOCK(mc);
		state = mc->mc_state;
		if (sf->sf_state != MPTCP_SF_DEAD) {
			MC_UNLOCK(mc);
			continue;
		}
		error = sf->sf_error;
		/* Plain TCP's end is the connection's; so is one before the peer has shown that it speaks MPTCP. */
		if (!sf->sf_join && (state == MPTCP_FALLBACK || state <= MPTCP_KEYED)) {
			if (error == 0 && !(state == MPTCP_FALLBACK && sf->sf_eof))
				error = state <= MPTCP_SYN_SENT ? ECONNREFUSED : ECONNRESET;
			mptcp_conn_fail(mc, error != 0 ? error : -1);
			MC_UNLOCK(mc);
			continue;
		}
		MC_UNLOCK(mc);
		mptcp_count(MPTCP_CNT_subflow_closed);
		mptcp_send_dead(mc, sf, true);
		mptcp_subflow_close(mc, sf, false);
	}
}

/* What is there to end? Returns true when all is over. */
static bool
settle(struct mptcp_conn *mc, sbintime_t now)
{
	struct mptcp_subflow *sf;
	bool eof, fin_acked, fallback, window;
	int error;

	MC_LOCK(mc);
	error = mc->mc_error;
	eof = mc->mc_eof;
	fallback = mc->mc_state == MPTCP_FALLBACK;
	window = mptcp_dsn_after(mc->mc_snd_edge, mc->mc_peer_ack);
	fin_acked = mc->mc_fin && !fallback && mc->mc_peer_ack == mc->mc_fin_dsn + 1;
	MC_UNLOCK(mc);
	if (error != 0) {
		mptcp_conn_end(mc, error > 0 ? error : 0, error > 0);
		return (true);
	}
	if (eof && mc->mc_so != NULL && (mc->mc_so->so_rcv.sb_state & SBS_CANTRCVMORE) == 0)
		socantrcvmore(mc->mc_so);
	if (eof && fin_acked && !fallback) {
		mptcp_conn_end(mc, 0, false);
		return (true);
	}
	/* No subflow is left, or nobody waits for what the peer may still say. */
	if (!mc->mc_told_connected) {
		/* Its only TCP connection came to an end before the program could know of it, or was taken away. */
		if (TAILQ_EMPTY(&mc->mc_subflows)) {
			mptcp_conn_end(mc, ECONNABORTED, true);
			return (true);
		}
		return (false);
	}
	/* Plain TCP does the rest by itself, with its own timers, once nobody waits for what the peer may say. */
	sf = TAILQ_FIRST(&mc->mc_subflows);
	if (fallback && mc->mc_closed && sf != NULL && sf->sf_shut) {
		mptcp_conn_end(mc, 0, false);
		return (true);
	}
	/* A closed connection does not wait for ever for a DATA_ACK; while the peer's window is closed, its probes are answered. */
	if (mc->mc_closed && !fallback && !fin_acked && window && mc->mc_progress_at != 0) {
		if (now >= mc->mc_progress_at + V_mptcp_fin_seconds * SBT_1S) {
			mptcp_conn_abort(mc, ETIMEDOUT);
			return (true);
		}
	}
	if (TAILQ_EMPTY(&mc->mc_subflows) || (mc->mc_closed && fin_acked)) {
		if (mc->mc_orphan_at == 0)
			mc->mc_orphan_at = now + (TAILQ_EMPTY(&mc->mc_subflows) ? V_mptcp_orphan_seconds : V_mptcp_fin_seconds) * SBT_1S;
		if (now >= mc->mc_orphan_at) {
			mptcp_conn_abort(mc, fin_acked ? 0 : ETIMEDOUT);
			return (true);
		}
	} else
		mc->mc_orphan_at = 0;
	return (false);
}

static void
arm(struct mptcp_conn *mc, sbintime_t now, sbintime_t at)
{
	if (mc->mc_rto_at != 0 && (at == 0 || mc->mc_rto_at < at))
		at = mc->mc_rto_at;
	if (mc->mc_orphan_at != 0 && (at == 0 || mc->mc_orphan_at < at))
		at = mc->mc_orphan_at;
	if (mc->mc_shortage && (at == 0 || now + 10 * SBT_1MS < at))
		at = now + 10 * SBT_1MS;
	mc->mc_shortage = false;
	if (mc->mc_closed && (at == 0 || mc->mc_progress_at + V_mptcp_fin_seconds * SBT_1S < at))
		at = MAX(mc->mc_progress_at + V_mptcp_fin_seconds * SBT_1S, now + SBT_1S);
	/*
	 * One that is set too early costs a turn now and then, setting it anew each time something moves costs more. It may fire before
	 * its time, so the time says nothing of whether it has.
	 */
	if (at == 0 || (mc->mc_timer_at <= at && callout_pending(&mc->mc_callout)))
		return;
	mc->mc_timer_at = at;
	callout_reset_sbt(&mc->mc_callout, at > now ? at - now : 0, SBT_1MS, mptcp_expire, mc, 0);
}

void
mptcp_conn_run(struct mptcp_conn *mc)
{
	sbintime_t at, now = sbinuptime();

	MC_XLOCK_ASSERT(mc);
	if (mc->mc_over || mc->mc_listening || mc->mc_embryo)
		return;
	look_at_subflows(mc);
	tell_state(mc);
	mptcp_receive(mc);
	mptcp_send_acked(mc);
	bury_subflows(mc);
	at = mptcp_subflow_timers(mc, now);
	mptcp_send_timer(mc, now);
	mptcp_send_data(mc, false);
	mptcp_receive_window(mc);
	if (!settle(mc, now))
		arm(mc, now, at);
}

void
mptcp_conn_written(struct mptcp_conn *mc, bool more)
{
	/* Whoever has the lock may be past the sending. */
	if (sx_try_xlock(&mc->mc_sx) == 0) {
		mptcp_kick(mc, MPTCP_EV_SEND);
		return;
	}
	if (mc->mc_over || mc->mc_listening || mc->mc_embryo || mc->mc_shut || mc->mc_state != MPTCP_ESTABLISHED)
		mptcp_kick(mc, MPTCP_EV_SEND);
	else {
		mptcp_send_acked(mc);
		mptcp_send_data(mc, more);
		arm(mc, sbinuptime(), 0);
	}
	MC_XUNLOCK(mc);
}

/* Gives back the reference close(2) left with the worker. Returns the socket to be released with no lock held. */
struct socket *
mptcp_conn_unhold(struct mptcp_conn *mc)
{
	MC_XLOCK_ASSERT(mc);
	if (!mc->mc_over || !mc->mc_held)
		return (NULL);
	mc->mc_held = false;
	return (mc->mc_so);
}

static void
mptcp_work(void *argument, int pending __unused)
{
	struct mptcp_conn *mc = argument;
	struct socket *held;

	CURVNET_SET(mc->mc_vnet);
	MC_XLOCK(mc);
	/* From here on whoever kicks queues the task again. */
	atomic_store_int(&mc->mc_queued, 0);
	(void)atomic_readandclear_int(&mc->mc_events);
	mptcp_conn_run(mc);
	held = mptcp_conn_unhold(mc);
	MC_XUNLOCK(mc);
	if (held != NULL)
		sorele(held);
	mptcp_conn_rele(mc);
	CURVNET_RESTORE();
}

/* ---- information ---- */

void
mptcp_conn_info(struct mptcp_conn *mc, struct mptcp_info *info)
{
	struct mptcp_subflow *sf;
	u_int n = 0;

	MC_XLOCK_ASSERT(mc);
	memset(info, 0, sizeof(*info));
	info->version = MPTCP_ABI_VERSION;
	MC_LOCK(mc);
	switch (mc->mc_state) {
	case MPTCP_FALLBACK:
		info->state = MPTCP_INFO_FALLBACK;
		break;
	case MPTCP_OVER:
		info->state = MPTCP_INFO_CLOSED;
		break;
	default:
		info->state = mc->mc_told_connected ? MPTCP_INFO_ESTABLISHED : MPTCP_INFO_INITIAL;
		break;
	}
	info->fallback_cause = mc->mc_fallback_cause;
	if (info->state == MPTCP_INFO_ESTABLISHED) {
		info->local_token = mc->mc_local_token;
		info->remote_token = mc->mc_remote_token;
	}
	info->flags = mc->mc_checksum ? MPTCP_FLAG_CHECKSUM : 0;
	info->received_dsn = mc->mc_rcv_next;
	info->acked_dsn = mc->mc_peer_ack;
	MC_UNLOCK(mc);
	info->sent_dsn = mc->mc_snd_next;
	info->octets_sent = mc->mc_octets_sent;
	info->octets_received = mc->mc_octets_received;
	info->octets_reinjected = mc->mc_octets_reinjected;
	info->octets_duplicate = mc->mc_octets_duplicate;
	info->reassembly = (uint32_t)mc->mc_reassembly.octets;
	info->reassembly_chunks = mc->mc_reassembly.chunks;
	if (mc->mc_cred != NULL)
		info->uid = mc->mc_cred->cr_uid;
	if (mc->mc_so != NULL && !SOLISTENING(mc->mc_so)) {
		info->send_queued = sbused(&mc->mc_so->so_snd);
		info->receive_queued = sbused(&mc->mc_so->so_rcv);
	}
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link)
		if (n < MPTCP_ABI_SUBFLOWS && !mc->mc_listening)
			mptcp_subflow_fill(sf, &info->subflow[n++]);
	for (u_int i = 0; i < mc->mc_ended_count && n < MPTCP_ABI_SUBFLOWS; i++)
		info->subflow[n++] = mc->mc_ended[i];
	info->subflows = n;
}

int
mptcp_conn_info_token(uint32_t token, struct mptcp_info *info)
{
	struct mptcp_conn *mc = mptcp_conn_by_token(token);

	if (mc == NULL)
		return (ENOENT);
	MC_XLOCK(mc);
	mptcp_conn_info(mc, info);
	MC_XUNLOCK(mc);
	mptcp_conn_rele(mc);
	return (0);
}

/* ---- loading ---- */

/* The network stack goes: nothing of what closed connections still have to say can leave it any more. */
static void
vnet_mptcp_conn_uninit(const void *unused __unused)
{
	struct mptcp_conn *mc;
	struct socket *held;
	uint32_t *tokens;
	u_int count, room;

	/* When the module is being unloaded the table is gone already, and so is every connection. */
	if (mptcp_conns == 0)
		return;
	room = mptcp_conn_tokens(NULL, 0);
	if (room == 0)
		return;
	tokens = malloc(room * sizeof(*tokens), M_MPTCP, M_WAITOK);
	count = min(mptcp_conn_tokens(tokens, room), room);
	for (u_int i = 0; i < count; i++) {
		mc = mptcp_conn_by_token(tokens[i]);
		if (mc == NULL)
			continue;
		MC_XLOCK(mc);
		if (!mc->mc_over && !mc->mc_listening && !mc->mc_embryo)
			mptcp_conn_abort(mc, ECONNABORTED);
		held = mptcp_conn_unhold(mc);
		MC_XUNLOCK(mc);
		if (held != NULL)
			sorele(held);
		mptcp_conn_rele(mc);
	}
	free(tokens, M_MPTCP);
}
/* With the firewalls: while the stack's TCP and interfaces are there. */
VNET_SYSUNINIT(vnet_mptcp_conn_uninit, SI_SUB_PROTO_FIREWALL, SI_ORDER_SECOND, vnet_mptcp_conn_uninit, NULL);

int
mptcp_conn_attach(void)
{
	buckets = hashinit(TOKEN_BUCKETS, M_MPTCP, &bucket_mask);
	queue_count = min(mp_ncpus, QUEUES_MAX);
	for (u_int i = 0; i < queue_count; i++) {
		queues[i] = taskqueue_create("mptcp", M_WAITOK, taskqueue_thread_enqueue, &queues[i]);
		taskqueue_start_threads(&queues[i], 1, PI_NET, "mptcp %u", i);
	}
	return (0);
}

void
mptcp_conn_detach(void)
{
	KASSERT(mptcp_conns == 0, ("%s: %u connections", __func__, mptcp_conns));
	for (u_int i = 0; i < queue_count; i++)
		taskqueue_free(queues[i]);
	hashdestroy(buckets, M_MPTCP, bucket_mask);
}
