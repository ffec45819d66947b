/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The worker's sending half:
 *
 *   meta so_snd:  |--- given to subflows, not acknowledged ---|--- not given yet ---|
 *                 mc_snd_una                                   mc_snd_next
 *
 * Octets are copied (by reference) to the subflow the scheduler chooses, with a mapping, no more than that subflow's congestion window
 * has room for, and stay in the meta socket's buffer until the DATA_ACK: whatever happens to a subflow, they can be given to another.
 */
#include "mptcp_var.h"

#include <sys/protosw.h>

#include <netinet/tcp_fsm.h>
#include <netinet/tcp_timer.h>

#define	QUEUED_MAX	(4u << 20)	/* most octets in a subflow's buffer; its congestion window limits it before */
#define	RTO_LEAST	SBT_1S
#define	RTO_MOST	(60 * SBT_1S)

struct path {
	struct mptcp_subflow	*sf;
	uint32_t		rto;	/* ticks */
};

static void
forget(struct mptcp_conn *mc)
{
	struct mptcp_range *range;

	while ((range = STAILQ_FIRST(&mc->mc_resend)) != NULL) {
		STAILQ_REMOVE_HEAD(&mc->mc_resend, link);
		free(range, M_MPTCP);
	}
}

void
mptcp_send_free(struct mptcp_conn *mc)
{
	forget(mc);
}

/* In fallback the subflow's acknowledgements are the connection's. */
static uint64_t
acked_by_tcp(struct mptcp_conn *mc)
{
	struct mptcp_subflow *sf = TAILQ_FIRST(&mc->mc_subflows);
	const struct mptcp_mapping *found;
	uint32_t left;
	uint64_t dsn;
	bool infinite;

	if (sf == NULL)
		return (mc->mc_snd_una);
	mptcp_map_advance(&sf->sf_sent, sf->sf_sent_end - sbused(&sf->sf_so->so_snd));
	/* What came before an infinite mapping has its own mappings, of which the same holds. */
	found = mptcp_map_find(&sf->sf_sent, sf->sf_sent.base, &dsn, &left, &infinite);
	if (infinite || found != NULL)
		return (dsn);
	/* All that was given has been acknowledged, and no mapping is left that would tell. */
	return (sf->sf_sent.base == sf->sf_sent_end ? mc->mc_snd_next : mc->mc_snd_una);
}

void
mptcp_send_acked(struct mptcp_conn *mc)
{
	struct socket *so = mc->mc_so;
	uint64_t ack, n;

	MC_LOCK(mc);
	ack = mc->mc_state == MPTCP_FALLBACK ? acked_by_tcp(mc) : mc->mc_peer_ack;
	MC_UNLOCK(mc);
	if (mptcp_dsn_after(ack, mc->mc_snd_next))
		ack = mc->mc_snd_next;
	if (!mptcp_dsn_after(ack, mc->mc_snd_una))
		return;
	n = ack - mc->mc_snd_una;
	mc->mc_snd_una = ack;
	mc->mc_rto_at = 0;
	mc->mc_rto_shift = 0;
	mc->mc_progress_at = sbinuptime();
	if (so == NULL)
		return;
	SOCKBUF_LOCK(&so->so_snd);
	/* Less is there if the socket was disconnected meanwhile. */
	n = ulmin(n, sbused(&so->so_snd));
	sbdrop_locked(&so->so_snd, (int)n);
	sowwakeup_locked(so);
}

/* Remembers that [dsn, dsn + length) is to be sent again. Without memory the connection's timer does it. */
static void
again(struct mptcp_conn *mc, uint64_t dsn, uint32_t length, uint32_t from)
{
	struct mptcp_range *last = STAILQ_LAST(&mc->mc_resend, mptcp_range, link), *range;

	if (!mptcp_dsn_after(dsn + length, mc->mc_snd_una))
		return;
	if (mptcp_dsn_before(dsn, mc->mc_snd_una)) {
		length -= (uint32_t)(mc->mc_snd_una - dsn);
		dsn = mc->mc_snd_una;
	}
	/* A subflow that ended when it was given more has that in its last mapping, too; it is still to be sent for the first time. */
	if (!mptcp_dsn_before(dsn, mc->mc_snd_next))
		return;
	if (mptcp_dsn_after(dsn + length, mc->mc_snd_next))
		length = (uint32_t)(mc->mc_snd_next - dsn);
	if (last != NULL && last->from == from && last->dsn + last->length == dsn && last->length < UINT32_MAX / 2) {
		last->length += length;
		return;
	}
	range = malloc(sizeof(*range), M_MPTCP, M_NOWAIT);
	if (range == NULL)
		return;
	range->dsn = dsn;
	range->length = length;
	range->from = from;
	STAILQ_INSERT_TAIL(&mc->mc_resend, range, link);
}

void
mptcp_send_dead(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool forever)
{
	struct mptcp_mapping mapping;
	const struct mptcp_mapping *found;
	uint32_t left, ssn;
	uint64_t dsn;
	bool infinite, any = false;

	if (mc->mc_so == NULL || sf->sf_taken_back)
		return;
	sf->sf_taken_back = forever;
	MC_LOCK(mc);
	ssn = sf->sf_sent.base;
	MC_UNLOCK(mc);
	while (mptcp_ssn_before(ssn, sf->sf_sent_end)) {
		MC_LOCK(mc);
		found = mptcp_map_find(&sf->sf_sent, ssn, &dsn, &left, &infinite);
		if (found != NULL)
			mapping = *found;
		MC_UNLOCK(mc);
		if (infinite)
			break;
		if (found != NULL) {
			again(mc, mapping.dsn, mapping.length, sf->sf_id);
			any = true;
		}
		if (left > sf->sf_sent_end - ssn)
			break;
		ssn += left;
	}
	if (any)
		mptcp_count(MPTCP_CNT_reinjections);
}

/* The connection's own retransmission timer: nothing was acknowledged at the data level for longer than subflows take to see to it. */
void
mptcp_send_timer(struct mptcp_conn *mc, sbintime_t now)
{
	struct mptcp_subflow *sf;
	enum mptcp_state state;
	bool busy = false;

	if (mc->mc_rto_at == 0 || now < mc->mc_rto_at)
		return;
	mc->mc_rto_at = 0;
	if (mc->mc_rto_shift < 6)
		mc->mc_rto_shift++;
	MC_LOCK(mc);
	state = mc->mc_state;
	mc->mc_fin_due = mc->mc_fin;
	MC_UNLOCK(mc);
	/* Until the peer has shown that it takes mappings, data is TCP's business; a DATA_FIN is not. */
	if (state != MPTCP_ESTABLISHED)
		return;
	mptcp_count(MPTCP_CNT_data_rto);
	/* The only subflow retransmits by itself what it still has. */
	sf = TAILQ_FIRST(&mc->mc_subflows);
	if (sf != NULL && TAILQ_NEXT(sf, sf_link) == NULL)
		busy = sbused(&sf->sf_so->so_snd) != 0;
	/* ... and if TCP's acknowledgements are all that came, the peer has fallen back, or somebody on the way takes options out. */
	if (sf != NULL && sf->sf_bare && !busy && mc->mc_count == 1 && mptcp_contiguous(mc)) {
		MC_LOCK(mc);
		if (mc->mc_state == MPTCP_ESTABLISHED) {
			mptcp_infinite(mc, sf, MPTCP_CNT_fallback_no_ack);
			mptcp_end_mappings(mc, sf);
		}
		MC_UNLOCK(mc);
		mptcp_subflow_push(sf);
		mptcp_send_acked(mc);
		return;
	}
	if (!busy && STAILQ_EMPTY(&mc->mc_resend) && mc->mc_snd_next != mc->mc_snd_una) {
		again(mc, mc->mc_snd_una, (uint32_t)(mc->mc_snd_next - mc->mc_snd_una), UINT32_MAX);
		mptcp_count(MPTCP_CNT_reinjections);
	}
}

/* Fills in what the scheduler wants to know; marks those whose retransmission timer has fired, and takes their data back. */
static u_int
look(struct mptcp_conn *mc, bool fallback, struct path *paths, struct mptcp_sched_path *sched)
{
	struct mptcp_subflow *sf;
	struct inpcb *inp;
	struct tcpcb *tp;
	u_int n = 0, regular = 0;
	bool stale;

	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link) {
		if (n == MPTCP_SUBFLOWS_MAX)
			break;
		memset(&sched[n], 0, sizeof(sched[n]));
		paths[n].sf = sf;
		paths[n].rto = 0;
		inp = sotoinpcb(sf->sf_so);
		INP_WLOCK(inp);	/* wanted by tcp_timer_active() */
		stale = false;
		if ((inp->inp_flags & INP_DROPPED) == 0 && sf->sf_state == MPTCP_SF_UP && !sf->sf_shut) {
			tp = intotcpcb(inp);
			sched[n].usable = tp->t_state == TCPS_ESTABLISHED || (fallback && tp->t_state == TCPS_CLOSE_WAIT);
			sched[n].backup = sf->sf_backup || sf->sf_peer_backup;
			sched[n].srtt_us = (uint32_t)(((int64_t)tp->t_srtt * tick) >> TCP_RTT_SHIFT);
			sched[n].cwnd = tp->snd_cwnd;
			sched[n].mss = tp->t_maxseg;
			sched[n].queued = sbused(&sf->sf_so->so_snd);
			sched[n].space = sched[n].queued < QUEUED_MAX ? QUEUED_MAX - sched[n].queued : 0;
			paths[n].rto = tp->t_rxtcur;
			sf->sf_srtt = sched[n].srtt_us * SBT_1US;
			stale = tp->t_rxtshift > 0 && !tcp_timer_active(tp, TT_PERSIST) && !fallback;
		}
		INP_WUNLOCK(inp);
		if (stale && !sf->sf_stale && mc->mc_count > 1)
			mptcp_send_dead(mc, sf, false);
		sf->sf_stale = stale;
		if (sched[n].usable && !stale && !sf->sf_reserve)
			regular++;
		n++;
	}
	/* One that is not heard of, or only just joined, is better than none. */
	for (u_int i = 0; i < n && regular > 0; i++)
		if (paths[i].sf->sf_stale || paths[i].sf->sf_reserve)
			sched[i].usable = false;
	return (n);
}

/* A copy of so_snd's octets by reference; `offset` from its first one. */
static struct mbuf *
copy(struct socket *so, uint32_t offset, uint32_t length, bool fresh)
{
	struct mbuf *from, *m;
	u_int moff = offset;

	SOCKBUF_LOCK(&so->so_snd);
	if (offset + length > sbavail(&so->so_snd)) {
		SOCKBUF_UNLOCK(&so->so_snd);
		return (NULL);
	}
	from = so->so_snd.sb_mb;
	if (fresh)
		from = sbsndptr_noadv(&so->so_snd, offset, &moff);
	m = m_copym(from, (int)moff, (int)length, M_NOWAIT);
	if (m != NULL && fresh)
		sbsndptr_adv(&so->so_snd, from, moff + length);
	SOCKBUF_UNLOCK(&so->so_snd);
	return (m);
}

static uint16_t
checksum_of(const struct mbuf *m, const struct mptcp_mapping *mapping)
{
	uint32_t sum = 0, offset = 0;

	for (; m != NULL; offset += m->m_len, m = m->m_next) {
		/* sendfile(2) has its data in pages of no address. */
		if (m->m_flags & M_EXTPG) {
			uint8_t octets[256];
			uint32_t n, at = 0;

			while (at < (uint32_t)m->m_len) {
				n = min(sizeof(octets), m->m_len - at);
				m_copydata(m, (int)at, (int)n, octets);
				sum = mptcp_checksum_add(sum, offset + at, octets, n);
				at += n;
			}
		} else
			sum = mptcp_checksum_add(sum, offset, mtod(m, const uint8_t *), (size_t)m->m_len);
	}
	return (mptcp_checksum_finish(sum, mapping->dsn, mapping->ssn, (uint16_t)mapping->length));
}

/* Gives a subflow octets with their mapping. An error is the subflow's; the octets are in the meta socket's buffer still. */
static int
give(struct mptcp_conn *mc, struct mptcp_subflow *sf, uint64_t dsn, struct mbuf *m, uint32_t length, bool more)
{
	struct mptcp_mapping mapping = { .dsn = dsn, .ssn = sf->sf_sent_end, .length = length };
	enum mptcp_map_verdict verdict;
	int error;

	if (mc->mc_checksum) {
		mapping.has_checksum = true;
		mapping.checksum = checksum_of(m, &mapping);
	}
	MC_LOCK(mc);
	if (sf->sf_fail_due && !sf->sf_failed)
		mptcp_end_mappings(mc, sf);
	/* Small writes become one mapping as long as they wait. */
	if (mptcp_map_extend(&sf->sf_sent, sf->sf_sent_told, &mapping, MPTCP_MAPPING_LENGTH))
		verdict = MPTCP_MAP_ADDED;
	else
		verdict = mptcp_map_add(&sf->sf_sent, &mapping, mapping.ssn + length);
	if (verdict == MPTCP_MAP_FULL && mptcp_map_grow(&sf->sf_sent, sf->sf_sent_slots))
		verdict = mptcp_map_add(&sf->sf_sent, &mapping, mapping.ssn + length);
	/* Where the segment's octets may be asked for, this must be known: see mptcp_do_segment(). */
	if (verdict == MPTCP_MAP_ADDED || verdict == MPTCP_MAP_DUPLICATE) {
		if (mptcp_dsn_after(dsn + length, mc->mc_snd_max))
			mc->mc_snd_max = dsn + length;
		sf->sf_sent_end += length;
	}
	MC_UNLOCK(mc);
	if (verdict != MPTCP_MAP_ADDED && verdict != MPTCP_MAP_DUPLICATE) {
		mptcp_count(MPTCP_CNT_mapping_shortage);
		m_freem(m);
		return (ENOBUFS);
	}
	sf->sf_octets_sent += length;
	error = sf->sf_so->so_proto->pr_send(sf->sf_so, more ? PRUS_MORETOCOME : 0, m, NULL, NULL, curthread);
	if (error != 0 && (sotoinpcb(sf->sf_so)->inp_flags & INP_DROPPED) == 0)
		error = 0;	/* of this segment; TCP will send it again */
	return (error);
}

static void
tune(struct mptcp_conn *mc, const struct mptcp_sched_path *sched, u_int n)
{
	struct socket *so = mc->mc_so;
	uint64_t cwnd = 0;

	for (u_int i = 0; i < n; i++)
		cwnd += sched[i].cwnd;
	/* One path takes half as much again as its window; while one of several mends a loss the others want to go on. */
	cwnd = n > 1 ? cwnd * 4 : cwnd + cwnd / 2;
	SOCKBUF_LOCK(&so->so_snd);
	if ((so->so_snd.sb_flags & SB_AUTOSIZE) != 0 && V_tcp_do_autosndbuf && sbused(&so->so_snd) >= so->so_snd.sb_hiwat / 8 * 7 &&
	    sbused(&so->so_snd) < (u_int)V_tcp_autosndbuf_max && cwnd >= so->so_snd.sb_hiwat)
		(void)sbreserve_locked(so, SO_SND, ulmin(so->so_snd.sb_hiwat + ulmax(V_tcp_autosndbuf_inc, so->so_snd.sb_hiwat / 2),
		    V_tcp_autosndbuf_max), NULL);
	SOCKBUF_UNLOCK(&so->so_snd);
}

static bool
idle(const struct mptcp_sched_path *sched, u_int n)
{
	for (u_int i = 0; i < n; i++)
		if (sched[i].queued != 0)
			return (false);
	return (true);
}

/* The program has sent all: DATA_FIN, or FIN in fallback. */
static void
finish(struct mptcp_conn *mc, const struct path *paths, const struct mptcp_sched_path *sched, u_int n, bool fallback)
{
	int best = -1;

	if (fallback) {
		if (n > 0 && !paths[0].sf->sf_shut) {
			/* To a peer that may speak MPTCP still, this is the end. */
			MC_LOCK(mc);
			if (mc->mc_infinite && !mc->mc_peer_plain && !mc->mc_fin) {
				mc->mc_fin = true;
				mc->mc_fin_dsn = mc->mc_snd_next;
				mc->mc_snd_max = mc->mc_snd_next + 1;
			}
			MC_UNLOCK(mc);
			paths[0].sf->sf_shut = true;
			(void)paths[0].sf->sf_so->so_proto->pr_shutdown(paths[0].sf->sf_so);
		}
		return;
	}
	MC_LOCK(mc);
	if (!mc->mc_fin) {
		mc->mc_fin = true;
		/* Until a segment has taken it: one with data does not, and then the next turn tries again. */
		mc->mc_fin_due = true;
		mc->mc_fin_dsn = mc->mc_snd_next;
		mc->mc_snd_max = mc->mc_snd_next + 1;
		mptcp_count(MPTCP_CNT_data_fin_sent);
	}
	MC_UNLOCK(mc);
	if (!mc->mc_fin_due)
		return;
	for (u_int i = 0; i < n; i++)
		if (sched[i].usable && (best < 0 || sched[i].srtt_us < sched[best].srtt_us))
			best = (int)i;
	if (best >= 0)
		mptcp_subflow_push(paths[best].sf);
}

void
mptcp_send_data(struct mptcp_conn *mc, bool more)
{
	struct path paths[MPTCP_SUBFLOWS_MAX];
	struct mptcp_sched_path sched[MPTCP_SUBFLOWS_MAX];
	struct socket *so = mc->mc_so;
	struct mptcp_range *range;
	enum mptcp_state state;
	uint64_t dsn, edge, window;
	uint32_t available, length, want, rto = 0;
	struct mbuf *m;
	u_int n;
	int at, error, from;
	bool fallback, usable, done, all = false;

	if (so == NULL || !mc->mc_told_connected)
		return;
	/* Before anything is looked at: what moves from here on starts a turn, unless all can be given. */
	atomic_store_int(&mc->mc_quiet, 0);
	MC_LOCK(mc);
	state = mc->mc_state;
	edge = mc->mc_snd_edge;
	MC_UNLOCK(mc);
	fallback = state == MPTCP_FALLBACK;
	if (fallback)
		forget(mc);
	n = look(mc, fallback, paths, sched);
	tune(mc, sched, n);
	for (;;) {
		SOCKBUF_LOCK(&so->so_snd);
		available = sbavail(&so->so_snd);
		done = sbused(&so->so_snd) == (uint32_t)(mc->mc_snd_next - mc->mc_snd_una);
		SOCKBUF_UNLOCK(&so->so_snd);
		range = STAILQ_FIRST(&mc->mc_resend);
		if (range != NULL && !mptcp_dsn_after(range->dsn + range->length, mc->mc_snd_una)) {
			STAILQ_REMOVE_HEAD(&mc->mc_resend, link);
			free(range, M_MPTCP);
			continue;
		}
		from = -1;
		if (range != NULL) {
			if (mptcp_dsn_before(range->dsn, mc->mc_snd_una)) {
				range->length -= (uint32_t)(mc->mc_snd_una - range->dsn);
				range->dsn = mc->mc_snd_una;
			}
			dsn = range->dsn;
			want = range->length;
			/* Not by the one that had it, if there is another. */
			for (u_int i = 0; i < n; i++)
				if (paths[i].sf->sf_id == range->from && sched[i].usable)
					from = (int)i;
			usable = false;
			for (u_int i = 0; i < n; i++)
				usable |= sched[i].usable && (int)i != from;
			if (!usable)
				from = -1;
		} else {
			dsn = mc->mc_snd_next;
			want = available > (uint32_t)(dsn - mc->mc_snd_una) ? available - (uint32_t)(dsn - mc->mc_snd_una) : 0;
			window = mptcp_dsn_after(edge, dsn) ? edge - dsn : 0;
			if (!fallback && window < want) {
				/* One octet beyond a closed window, so that TCP's persist timer asks when it opens. */
				if (window == 0 && idle(sched, n) && mc->mc_snd_next == mc->mc_snd_una)
					window = 1;
				want = (uint32_t)window;
			}
		}
		if (want == 0) {
			all = range == NULL && done;
			break;
		}
		if (from >= 0)
			sched[from].usable = false;
		at = V_mptcp_scheduler == MPTCP_SCHEDULER_ROUNDROBIN && range == NULL ?
		    mptcp_sched_round_robin(sched, n, mc->mc_last) : mptcp_sched_min_rtt(sched, n);
		length = at < 0 ? 0 : min(min(want, mptcp_sched_quota(&sched[at])), MPTCP_MAPPING_LENGTH);
		if (from >= 0)
			sched[from].usable = true;
		if (length == 0)
			break;
		m = copy(so, (uint32_t)(dsn - mc->mc_snd_una), length, range == NULL);
		if (m == NULL) {
			mc->mc_shortage = true;
			break;
		}
		error = give(mc, paths[at].sf, dsn, m, length, more || length < want);
		if (error != 0) {
			mc->mc_shortage |= error == ENOBUFS;
			sched[at].usable = false;
			continue;
		}
		sched[at].queued += length;
		sched[at].space -= length;
		if (range != NULL) {
			mc->mc_octets_reinjected += length;
			range->dsn += length;
			range->length -= length;
		} else {
			mc->mc_snd_next += length;
			mc->mc_octets_sent += length;
			mc->mc_last = at;
		}
	}
	if (mc->mc_shut && done && (fallback || state == MPTCP_ESTABLISHED || state == MPTCP_KEYED))
		finish(mc, paths, sched, n, fallback);
	/* In fallback, and until the peer has shown that it takes mappings, TCP's retransmission is all there is. */
	if (!(state == MPTCP_ESTABLISHED && mc->mc_snd_next != mc->mc_snd_una) &&
	    !((state == MPTCP_ESTABLISHED || state == MPTCP_KEYED) && mc->mc_fin && mc->mc_peer_ack == mc->mc_fin_dsn))
		mc->mc_rto_at = 0;
	else if (mc->mc_rto_at == 0) {
		for (u_int i = 0; i < n; i++)
			if (sched[i].usable)
				rto = max(rto, paths[i].rto);
		mc->mc_rto_at = sbinuptime() + MIN(MAX(2 * rto * tick_sbt, RTO_LEAST) << mc->mc_rto_shift, RTO_MOST);
	}
	if (all && state == MPTCP_ESTABLISHED && !mc->mc_shut && !mc->mc_shortage) {
		MC_LOCK(mc);
		mc->mc_freed_at = mc->mc_snd_una + so->so_snd.sb_hiwat / 4;
		atomic_store_int(&mc->mc_quiet, 1);
		MC_UNLOCK(mc);
	}
}
