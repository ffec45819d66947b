/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The worker's receiving half:
 *
 *   subflow so_rcv --all of it--> sf_in --by mappings--> in order: meta so_rcv
 *                                                   \--> else: mc_reassembly, until what is missing comes
 *
 * Nothing mapped waits in a subflow for room at the connection: TCP has acknowledged it, and what fills the gap may be behind it. What is
 * beyond the connection's window is dropped; the peer has no DATA_ACK for it.
 */
#include "mptcp_var.h"

#include <sys/protosw.h>

#include <netinet/tcp_fsm.h>

#define	FAIL_AFTER	(100 * SBT_1MS)	/* MP_FAIL, when no data of ours tells the same before */

/* A chunk and the end of its mbuf chain. */
struct piece {
	struct mptcp_chunk	chunk;
	struct mbuf		*tail;
	uint32_t		storage;
};

/* In order, to be appended to the meta socket at once. */
struct delivery {
	struct mbuf	*head, *tail;
	uint32_t	length;
};

void
mptcp_receive_start(struct mptcp_conn *mc)
{
	uint32_t seed;

	arc4random_buf(&seed, sizeof(seed));
	MC_LOCK(mc);
	mptcp_reassembly_init(&mc->mc_reassembly, mc->mc_rcv_next, mc->mc_rcv_edge, MPTCP_CHUNKS_MAX, seed);
	mc->mc_told_edge = mc->mc_rcv_edge;
	MC_UNLOCK(mc);
	mc->mc_storage_max = (uint64_t)V_tcp_recvspace * 8;
	mc->mc_tuned_at = sbinuptime();
	mc->mc_tuned_at_dsn = mc->mc_rcv_next;
}

void
mptcp_receive_free(struct mptcp_conn *mc)
{
	struct mptcp_chunk *chunk;

	mc->mc_storage = 0;
	while ((chunk = mptcp_reassembly_take_any(&mc->mc_reassembly)) != NULL) {
		m_freem(chunk->data);
		free(__containerof(chunk, struct piece, chunk), M_MPTCP);
	}
}

/* Memory a chain takes, which a peer that sends single octets makes much larger than what is in it. */
static uint32_t
storage_of(const struct mbuf *m)
{
	uint32_t n = 0;

	for (; m != NULL; m = m->m_next)
		n += MSIZE + ((m->m_flags & M_EXT) != 0 ? m->m_ext.ext_size : 0);
	return (n);
}

/* Hangs a chain behind another; what is small moves into the room there. Returns the memory this adds to the chain. */
static uint32_t
append(struct mbuf **head, struct mbuf **tail, struct mbuf *m)
{
	if (*head == NULL)
		*head = m;
	else if (m->m_next == NULL && m->m_len <= MCLBYTES / 4 && (m->m_flags & M_EXTPG) == 0 && M_WRITABLE(*tail) &&
	    m->m_len <= M_TRAILINGSPACE(*tail)) {
		memcpy(mtod(*tail, char *) + (*tail)->m_len, mtod(m, char *), (size_t)m->m_len);
		(*tail)->m_len += m->m_len;
		m_free(m);
		return (0);
	} else
		(*tail)->m_next = m;
	*tail = m_last(m);
	return (storage_of(m));
}

/* Everything in the subflow's buffer. True if there was something, or the end. */
static bool
drain(struct mptcp_subflow *sf)
{
	struct socket *so = sf->sf_so;
	struct sockbuf *sb = &so->so_rcv;
	struct mbuf *m, *head;
	uint32_t length = 0;
	bool end;

	SOCKBUF_LOCK(sb);
	head = sb->sb_mb;
	for (m = head; m != NULL; m = m->m_next) {
		length += (uint32_t)m->m_len;
		sbfree(sb, m);
	}
	sb->sb_mb = NULL;
	SB_EMPTY_FIXUP(sb);
	end = (sb->sb_state & SBS_CANTRCVMORE) != 0;
	SOCKBUF_UNLOCK(sb);
	if (head != NULL) {
		(void)append(&sf->sf_in, &sf->sf_in_tail, head);
		sf->sf_in_length += length;
		sf->sf_octets_received += length;
		sf->sf_ack_due = true;
	}
	sf->sf_eof = end;
	return (length != 0 || end);
}

/* Takes the first `length` octets off sf_in. NULL: no memory. */
static struct mbuf *
take(struct mptcp_subflow *sf, uint32_t length)
{
	struct mbuf *m = sf->sf_in, *last = NULL, *rest, *at;
	uint32_t left = length;

	KASSERT(length > 0 && length <= sf->sf_in_length, ("%s: %u of %u", __func__, length, sf->sf_in_length));
	for (at = m; left > 0 && (uint32_t)at->m_len <= left; at = at->m_next) {
		left -= (uint32_t)at->m_len;
		last = at;
	}
	if (left > 0) {
		rest = m_split(at, (int)left, M_NOWAIT);
		if (rest == NULL)
			return (NULL);
		if (at == sf->sf_in_tail)
			sf->sf_in_tail = m_last(rest);
		last = at;
		at = rest;
	}
	last->m_next = NULL;
	sf->sf_in = at;
	if (at == NULL)
		sf->sf_in_tail = NULL;
	sf->sf_in_length -= length;
	sf->sf_in_ssn += length;
	return (m);
}

static struct mbuf *
take_front(struct mbuf **chain, uint32_t length, uint32_t all)
{
	struct mbuf *m = *chain, *rest;

	if (length == all) {
		*chain = NULL;
		return (m);
	}
	rest = m_split(m, (int)length, M_NOWAIT);
	if (rest == NULL)
		return (NULL);
	*chain = rest;
	return (m);
}

static void
deliver(struct mptcp_conn *mc, struct delivery *out, struct mbuf *m, uint32_t length)
{
	(void)append(&out->head, &out->tail, m);
	out->length += length;
	mc->mc_octets_received += length;
}

/*
 * Octets of a subflow with their number: to the socket, to wait, or away. Without memory what is left is returned, and how much that is:
 * they may have been acknowledged, so nobody sends them again.
 */
static struct mbuf *
place(struct mptcp_conn *mc, struct delivery *out, struct mbuf *chain, uint64_t dsn, uint32_t length, uint32_t *left)
{
	struct mptcp_arrival arrival = { .dsn = dsn, .length = length };
	struct mptcp_piece next;
	struct mptcp_chunk *before;
	struct piece *piece;
	struct mbuf *head, *m;
	uint32_t added, at = 0;

	*left = 0;

	while (mptcp_reassembly_next_piece(&mc->mc_reassembly, &arrival, &next)) {
		if (next.offset > at) {
			m_adj(chain, (int)(next.offset - at));
			at = next.offset;
		}
		m = take_front(&chain, next.length, length - at);
		if (m == NULL) {
			*left = length - at;
			return (chain);
		}
		at += next.length;
		if (next.in_order) {
			mptcp_reassembly_delivered(&mc->mc_reassembly, next.length);
			deliver(mc, out, m, next.length);
			while ((before = mptcp_reassembly_pull(&mc->mc_reassembly)) != NULL) {
				piece = __containerof(before, struct piece, chunk);
				mc->mc_storage -= piece->storage;
				deliver(mc, out, before->data, before->length);
				free(piece, M_MPTCP);
			}
			continue;
		}
		if (mc->mc_storage > mc->mc_storage_max) {
			m_freem(m);
			mptcp_count(MPTCP_CNT_reassembly_full);
			continue;
		}
		before = mptcp_reassembly_before(&mc->mc_reassembly, next.dsn);
		if (before != NULL) {
			piece = __containerof(before, struct piece, chunk);
			head = before->data;
			added = append(&head, &piece->tail, m);
			piece->storage += added;
			mc->mc_storage += added;
			mptcp_reassembly_extend(&mc->mc_reassembly, before, next.length);
			continue;
		}
		piece = malloc(sizeof(*piece), M_MPTCP, M_NOWAIT | M_ZERO);
		if (piece != NULL) {
			piece->chunk.dsn = next.dsn;
			piece->chunk.length = next.length;
			piece->chunk.data = m;
			piece->tail = m_last(m);
			piece->storage = storage_of(m);
			mc->mc_storage += piece->storage;
			if (mptcp_reassembly_hold(&mc->mc_reassembly, &piece->chunk))
				continue;
			mc->mc_storage -= piece->storage;
			free(piece, M_MPTCP);
		}
		/* The peer will send it again. */
		m_freem(m);
		mptcp_count(MPTCP_CNT_reassembly_full);
	}
	m_freem(chain);
	if (arrival.duplicate != 0) {
		mc->mc_octets_duplicate += arrival.duplicate;
		mptcp_count(MPTCP_CNT_old_skipped);
	}
	if (arrival.beyond != 0)
		mptcp_count(MPTCP_CNT_beyond_dropped);
	return (NULL);
}

/* Adds octets [from, from + length) of sf_in to a mapping's checksum. True when the mapping is complete; `*good` then tells. */
static bool
check(struct mptcp_subflow *sf, struct mptcp_mapping *mapping, uint32_t length, bool *good)
{
	struct mbuf *m;
	uint32_t n;
	bool done = false;

	for (m = sf->sf_in; length > 0; m = m->m_next) {
		n = min(length, m->m_len);
		if (n > 0)
			done = mptcp_mapping_take(mapping, mtod(m, const uint8_t *), n, good);
		length -= n;
	}
	return (done);
}

/*
 * Whether the subflow's next octet can be the data's next one, as in a plain stream: every octet so far had its place there. A peer that
 * sent something twice is ahead with its subflow's numbers.
 */
static bool
aligned(const struct mptcp_conn *mc, const struct mptcp_subflow *sf)
{
	return (mc->mc_reassembly.first == NULL && (uint32_t)(mc->mc_reassembly.next - mc->mc_remote_idsn) == sf->sf_in_ssn);
}

/*
 * Data that cannot be placed: no mapping, or its checksum is wrong (RFC 8684 section 3.7). With another subflow this one is reset, and
 * the peer sends its data again there. Else, if all that came so far was one stream, it is the next of it, in plain TCP, and the peer is
 * told: by our infinite mapping, and of a wrong checksum by MP_FAIL, too. That has a moment's time where data may come to go before it:
 * Linux 6.18 answers MP_FAIL by an infinite mapping in a segment that, with more than one segment to send, is too large for the link, for
 * ever, but not when it has been told an infinite mapping itself. True: it can be placed now.
 */
static bool
fail(struct mptcp_conn *mc, struct mptcp_subflow *sf, bool checksum)
{
	if (sf->sf_doomed)
		return (false);
	MC_LOCK(mc);
	/* What MP_FAIL tells. */
	mc->mc_rcv_next = mc->mc_reassembly.next;
	if (mc->mc_count == 1 && mptcp_contiguous(mc) && aligned(mc, sf) && (checksum || !sf->sf_doubtful) &&
	    mptcp_map_set_infinite(&sf->sf_received, sf->sf_in_ssn, mc->mc_reassembly.next)) {
		/* It may have fallen back since this turn began. */
		if (mc->mc_state != MPTCP_FALLBACK)
			mptcp_infinite(mc, sf, checksum ? MPTCP_CNT_fallback_checksum : MPTCP_CNT_fallback_unmapped);
		if (checksum && !sf->sf_failed) {
			sf->sf_fail_due = true;
			sf->sf_fail_dsn = mc->mc_reassembly.next;
			sf->sf_fail_at = sbinuptime() + FAIL_AFTER;
		} else
			mptcp_end_mappings(mc, sf);
		/* What plain TCP has acknowledged does not come again. */
		mptcp_reassembly_set_edge(&mc->mc_reassembly, mc->mc_rcv_next + INT32_MAX);
		MC_UNLOCK(mc);
		sf->sf_ack_due = true;
		return (true);
	}
	/* Octets of a subflow that is gone, or sent again, would be in the wrong place of one plain stream. */
	if (mc->mc_count == 1) {
		mc->mc_fastclose = true;
		mptcp_conn_fail(mc, ECONNRESET);
	}
	if (checksum)
		mptcp_send_fail(mc, sf);
	sf->sf_reset_reason = MPTCP_RST_MIDDLEBOX;
	sf->sf_reset_flags = 0;
	MC_UNLOCK(mc);
	sf->sf_doomed = true;
	return (false);
}

/* Places what sf_in holds as far as its mappings go. */
static void
sort_out(struct mptcp_conn *mc, struct mptcp_subflow *sf, struct delivery *out, bool *fallback)
{
	struct mptcp_mapping *found;
	uint32_t left, length;
	uint64_t dsn;
	struct mbuf *m;
	bool infinite, good, whole;

	/* What has a mapping may have been acknowledged already, see mptcp_output_window(): also that of a subflow that is to be reset. */
	while (sf->sf_in_length > 0) {
		good = whole = true;
		MC_LOCK(mc);
		found = mptcp_map_find(&sf->sf_received, sf->sf_in_ssn, &dsn, &left, &infinite);
		length = min(left, sf->sf_in_length);
		if (found != NULL && found->has_checksum) {
			/* Nothing of a mapping is used before all of it is good. */
			whole = length == left;
			if (whole) {
				found->seen = found->sum = 0;
				(void)check(sf, found, length, &good);
			}
		}
		MC_UNLOCK(mc);
		if (*fallback && !infinite && (found == NULL || !good || (!whole && sf->sf_eof))) {
			/*
			 * The peer knows of the fallback and ends its mappings, or they are of no use any more: what follows is the rest
			 * in order. Its infinite mapping may begin further on, but not elsewhere.
			 */
			MC_LOCK(mc);
			infinite = aligned(mc, sf) && mptcp_map_set_infinite(&sf->sf_received, sf->sf_in_ssn, mc->mc_reassembly.next);
			if (!infinite)
				mptcp_conn_fail(mc, ECONNRESET);
			MC_UNLOCK(mc);
			if (!infinite)
				return;
			continue;
		}
		if (found == NULL && !infinite) {
			mptcp_count(MPTCP_CNT_unmapped_dropped);
			if (!fail(mc, sf, false))
				return;
			*fallback = true;
			continue;
		}
		if (!whole)
			return;
		if (!good) {
			mptcp_count(MPTCP_CNT_checksum_bad);
			if (!fail(mc, sf, true))
				return;
			*fallback = true;
			continue;
		}
		m = take(sf, length);
		if (m == NULL) {
			mc->mc_shortage = true;
			return;
		}
		m = place(mc, out, m, dsn, length, &left);
		if (left > 0) {
			m_last(m)->m_next = sf->sf_in;
			if (sf->sf_in == NULL)
				sf->sf_in_tail = m_last(m);
			sf->sf_in = m;
			sf->sf_in_length += left;
			sf->sf_in_ssn -= left;
			mc->mc_shortage = true;
		}
		MC_LOCK(mc);
		mptcp_map_advance(&sf->sf_received, sf->sf_in_ssn);
		MC_UNLOCK(mc);
		if (left > 0)
			return;
	}
}

/* Grows the receive buffer when the program takes in a round trip most of what it can hold. */
static void
tune(struct mptcp_conn *mc)
{
	struct socket *so = mc->mc_so;
	struct mptcp_subflow *sf;
	sbintime_t now, rtt = SBT_1S / 10;
	uint32_t size;

	if ((so->so_rcv.sb_flags & SB_AUTOSIZE) == 0 || !V_tcp_do_autorcvbuf || so->so_rcv.sb_hiwat >= (u_int)V_tcp_autorcvbuf_max)
		return;
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link)
		if (sf->sf_srtt != 0 && sf->sf_srtt > rtt)
			rtt = sf->sf_srtt;
	now = sbinuptime();
	if (mc->mc_rcv_next - mc->mc_tuned_at_dsn >= so->so_rcv.sb_hiwat / 8 * 7) {
		if (now - mc->mc_tuned_at <= rtt) {
			size = min(so->so_rcv.sb_hiwat * 2, V_tcp_autorcvbuf_max);
			SOCKBUF_LOCK(&so->so_rcv);
			(void)sbreserve_locked(so, SO_RCV, size, NULL);
			size = so->so_rcv.sb_hiwat;
			SOCKBUF_UNLOCK(&so->so_rcv);
			TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link) {
				SOCKBUF_LOCK(&sf->sf_so->so_rcv);
				(void)sbreserve_locked(sf->sf_so, SO_RCV, size, NULL);
				SOCKBUF_UNLOCK(&sf->sf_so->so_rcv);
			}
		}
		mc->mc_tuned_at = now;
		mc->mc_tuned_at_dsn = mc->mc_rcv_next;
	} else if (now - mc->mc_tuned_at > rtt) {
		mc->mc_tuned_at = now;
		mc->mc_tuned_at_dsn = mc->mc_rcv_next;
	}
}

/* What came in order to the program. */
static void
hand_over(struct mptcp_conn *mc, struct delivery *out)
{
	struct socket *so = mc->mc_so;

	if (out->head == NULL)
		return;
	if (so != NULL && !mc->mc_closed) {
		SOCKBUF_LOCK(&so->so_rcv);
		if ((so->so_rcv.sb_state & SBS_CANTRCVMORE) == 0) {
			sbappendstream_locked(&so->so_rcv, out->head, 0);
			out->head = NULL;
		}
		sorwakeup_locked(so);
	}
	/* Nobody is there to read it. */
	m_freem(out->head);
}

void
mptcp_receive_rest(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	struct inpcb *inp = sotoinpcb(sf->sf_so);
	struct delivery out = { 0 };
	bool fallback = false, promised, before;

	if (mc->mc_over || !mc->mc_told_connected || (sf->sf_state != MPTCP_SF_UP && sf->sf_state != MPTCP_SF_DEAD))
		return;
	/* A segment that is just being made has chosen its DATA_ACK, which mc_told_ack may not know of yet. */
	INP_WLOCK(inp);
	MC_LOCK(mc);
	sf->sf_state = MPTCP_SF_DEAD;
	promised = mc->mc_state == MPTCP_ESTABLISHED && mptcp_dsn_after(mc->mc_told_ack, mc->mc_rcv_next);
	/* The window may have been opened since the last turn. */
	if (promised)
		mptcp_reassembly_set_edge(&mc->mc_reassembly, mc->mc_rcv_edge + mc->mc_slack);
	MC_UNLOCK(mc);
	INP_WUNLOCK(inp);
	if (!promised)
		return;
	before = mc->mc_shortage;
	mc->mc_shortage = false;
	/* What has no mapping is of no use any more. */
	sf->sf_doomed = true;
	(void)drain(sf);
	sort_out(mc, sf, &out, &fallback);
	hand_over(mc, &out);
	MC_LOCK(mc);
	/* What memory was lacking for goes with the subflow, and the peer may not send it again: an end is better than waiting for it. */
	if (mc->mc_shortage && mptcp_dsn_after(mc->mc_told_ack, mc->mc_reassembly.next))
		mptcp_conn_fail(mc, ENOBUFS);
	mc->mc_shortage |= before;
	if (mptcp_dsn_after(mc->mc_reassembly.next, mc->mc_rcv_next))
		mc->mc_rcv_next = mc->mc_reassembly.next;
	MC_UNLOCK(mc);
}

void
mptcp_receive(struct mptcp_conn *mc)
{
	struct mptcp_subflow *sf, *next;
	struct delivery out = { 0 };
	struct socket *so = mc->mc_so;
	bool eof = false, fallback;

	if (!mc->mc_told_connected)
		return;
	MC_LOCK(mc);
	fallback = mc->mc_state == MPTCP_FALLBACK;
	/*
	 * A little more than was offered: a probe of a closed window, and what Linux sends when it keeps an older, larger window from a
	 * newer DATA_ACK on (see mptcp_output_window(), which tells no window that leads to it on the subflow that data comes by). In
	 * fallback everything: what plain TCP has acknowledged does not come again.
	 */
	mptcp_reassembly_set_edge(&mc->mc_reassembly, fallback ? mc->mc_rcv_next + INT32_MAX : mc->mc_rcv_edge + mc->mc_slack);
	MC_UNLOCK(mc);
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link) {
		if (sf->sf_state != MPTCP_SF_UP && sf->sf_state != MPTCP_SF_DEAD)
			continue;
		/*
		 * Plain TCP's data fills no gaps, so it may wait where TCP counts it; so must what cannot be placed. A peer that does
		 * not care for windows gets no further than its TCP's.
		 */
		if (fallback && so != NULL && !mc->mc_closed && sbspace(&so->so_rcv) <= 0) {
			atomic_store_int(&mc->mc_held_back, 1);
			continue;
		}
		atomic_store_int(&mc->mc_held_back, 0);
		(void)drain(sf);
		sort_out(mc, sf, &out, &fallback);
		if (sf->sf_eof && sf->sf_in_length == 0)
			eof = true;
	}
	hand_over(mc, &out);
	MC_LOCK(mc);
	mc->mc_rcv_next = mc->mc_reassembly.next + (mc->mc_eof && mc->mc_peer_fin ? 1 : 0);
	/* A peer that has nothing more to send need not fall back, too. */
	if (mc->mc_peer_fin && !mc->mc_eof && mc->mc_reassembly.next == mc->mc_peer_fin_dsn) {
		mc->mc_eof = true;
		mc->mc_rcv_next++;
		mc->mc_ack_due = true;
	}
	if (fallback && eof)
		mc->mc_eof = true;
	/* As TCP: data for a program that has closed is answered by a reset, here of the whole connection. */
	if (mc->mc_closed && out.length > 0) {
		mc->mc_fastclose = true;
		mptcp_conn_fail(mc, ECONNRESET);
	}
	MC_UNLOCK(mc);
	TAILQ_FOREACH_SAFE(sf, &mc->mc_subflows, sf_link, next) {
		if (sf->sf_doomed) {
			mptcp_send_dead(mc, sf, true);
			mptcp_subflow_close(mc, sf, true);
		} else if (sf->sf_eof && sf->sf_in_length == 0 && !fallback && !sf->sf_shut && sf->sf_state == MPTCP_SF_UP && !mc->mc_eof) {
			/* The peer ends this subflow and no more. */
			sf->sf_shut = true;
			mptcp_send_dead(mc, sf, true);
			(void)sf->sf_so->so_proto->pr_shutdown(sf->sf_so);
		}
	}
}

void
mptcp_receive_window(struct mptcp_conn *mc)
{
	struct mptcp_subflow *sf;
	struct socket *so = mc->mc_so;
	uint64_t edge;
	uint32_t space, step, window;
	bool all = false, behind, told = false;

	if (!mc->mc_told_connected)
		return;
	if (so != NULL && !mc->mc_closed) {
		tune(mc);
		space = (uint32_t)lmax(sbspace(&so->so_rcv), 0);
		/* The rest of a mapping that is held until its checksum is complete must find room, however small the buffer is. */
		if (space > 0 && mc->mc_checksum)
			TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link)
				space += sf->sf_in_length;
		/* No silly windows. */
		step = min(so->so_rcv.sb_hiwat / 2, 2 * 1460);
		MC_LOCK(mc);
		edge = mc->mc_rcv_next + space;
		mc->mc_slack = so->so_rcv.sb_hiwat / 8 + 1;
		mc->mc_storage_max = (uint64_t)so->so_rcv.sb_hiwat * 8;
		if (mptcp_dsn_after(edge, mc->mc_rcv_edge + step - 1))
			mc->mc_rcv_edge = edge;
		/* The peer learns it by the way unless that would be late: less than a quarter of the buffer was offered. */
		if (mc->mc_rcv_edge - mc->mc_told_edge >= so->so_rcv.sb_hiwat / 4 ||
		    (mc->mc_rcv_edge != mc->mc_told_edge &&
		    (int64_t)(mc->mc_told_edge - mc->mc_rcv_next) < so->so_rcv.sb_hiwat / 8))
			all = true;
		if (all)
			mc->mc_told_edge = mc->mc_rcv_edge;
		MC_UNLOCK(mc);
	}
	all |= mc->mc_ack_due;
	mc->mc_ack_due = false;
	window = mptcp_dsn_after(mc->mc_rcv_edge, mc->mc_rcv_next) ? (uint32_t)(mc->mc_rcv_edge - mc->mc_rcv_next) : 0;
	TAILQ_FOREACH(sf, &mc->mc_subflows, sf_link) {
		/* A smaller window with nothing new to acknowledge would not be believed, so it is not told. */
		if (all && sf->sf_state == MPTCP_SF_UP && (window >= sf->sf_told_window || mc->mc_eof)) {
			mptcp_subflow_push(sf);
			told = true;
		} else if (sf->sf_ack_due) {
			MC_LOCK(mc);
			behind = mc->mc_state != MPTCP_ESTABLISHED || mptcp_dsn_after(mc->mc_rcv_next, mc->mc_told_ack) ||
			    sf->sf_pending != 0;
			MC_UNLOCK(mc);
			if (behind) {
				mptcp_subflow_acknowledge(sf);
				told = true;
			}
		}
		sf->sf_ack_due = false;
	}
	if (told) {
		MC_LOCK(mc);
		mc->mc_told_edge = mc->mc_rcv_edge;
		MC_UNLOCK(mc);
	}
}
