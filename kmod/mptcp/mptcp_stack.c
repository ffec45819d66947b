/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The TCP stack of subflows: the default one, with options added on the way out (mptcp_options.c) and taken here on the way in. A
 * connection that is not ours, because somebody chose this stack by name, is left alone.
 */
#include "mptcp_var.h"

#include <sys/protosw.h>

#include <net/if.h>
#include <net/route.h>

#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/icmp_var.h>
#include <netinet/tcp_fsm.h>
#include <netinet/tcp_seq.h>
#include <netinet/tcp_timer.h>

#include "mptcp_accept.h"
#include "mptcp_output.h"

/* Peers send again, without a sign of loss at TCP's level, no sooner than this and a round trip after the last DATA_ACK. */
#define	UNMAPPED_FOR	(200 * SBT_1MS)

static bool attached;

void
mptcp_map_free(struct mptcp_map *map, struct mptcp_mapping *first)
{
	if (map->slots != first)
		free(map->slots, M_MPTCP);
}

bool
mptcp_map_grow(struct mptcp_map *map, struct mptcp_mapping *first)
{
	struct mptcp_mapping *slots, *old = map->slots;
	uint32_t capacity = map->capacity * 2;

	if (capacity > MPTCP_MAPPINGS_MAX)
		return (false);
	slots = malloc(capacity * sizeof(*slots), M_MPTCP, M_NOWAIT);
	if (slots == NULL)
		return (false);
	mptcp_map_resize(map, slots, capacity);
	if (old != first)
		free(old, M_MPTCP);
	return (true);
}

/* ---- in ---- */

static void
new_edge(struct mptcp_conn *mc, const struct tcpcb *tp, const struct tcphdr *th, uint16_t flags, uint64_t ack)
{
	uint64_t edge = ack + ((uint32_t)th->th_win << (flags & TH_SYN ? 0 : tp->snd_scale));

	if (mptcp_dsn_after(edge, mc->mc_snd_edge)) {
		mc->mc_snd_edge = edge;
		if (atomic_load_int(&mc->mc_quiet) == 0)
			mptcp_kick(mc, MPTCP_EV_ACK);
	}
}

/* SYN/ACK of the first subflow. */
static void
take_synack(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct tcphdr *th, const struct mptcp_options *options)
{
	const struct mptcp_option *option = mptcp_options_find(options, MPTCP_MP_CAPABLE);

	MC_LOCK_ASSERT(mc);
	if (option == NULL) {
		mptcp_fall_back(mc, sf, MPTCP_CNT_fallback_no_option);
		return;
	}
	mc->mc_state = MPTCP_KEYED;
	mptcp_conn_set_remote_key(mc, option->capable.sender_key);
	mc->mc_checksum = V_mptcp_checksum || (option->capable.flags & MPTCP_CAPABLE_CHECKSUM) != 0;
	mc->mc_peer_no_join = (option->capable.flags & MPTCP_CAPABLE_NO_JOIN) != 0;
	new_edge(mc, tp, th, TH_SYN, mc->mc_local_idsn + 1);
	mptcp_count(MPTCP_CNT_capable_synack_received);
}

/* SYN/ACK of a joining one: is it our peer? */
static enum segment_verdict
take_join_synack(struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct mptcp_options *options)
{
	const struct mptcp_option *option = mptcp_options_find(options, MPTCP_MP_JOIN);
	uint8_t hmac[MPTCP_HMAC_SIZE];

	MC_LOCK_ASSERT(mc);
	if (option != NULL) {
		mptcp_join_hmac(mc->mc_remote_key, mc->mc_local_key, option->join.nonce, sf->sf_local_nonce, hmac);
		if (mptcp_hmac_equal(hmac, option->join.hmac, MPTCP_HMAC_SYNACK)) {
			sf->sf_remote_nonce = option->join.nonce;
			sf->sf_remote_id = option->join.address_id;
			sf->sf_peer_backup = option->join.backup;
			mptcp_join_hmac(mc->mc_local_key, mc->mc_remote_key, sf->sf_local_nonce, sf->sf_remote_nonce, hmac);
			memcpy(sf->sf_hmac, hmac, sizeof(sf->sf_hmac));
			sf->sf_state = MPTCP_SF_JOIN_ACK;
			mptcp_count(MPTCP_CNT_join_synack_received);
			mptcp_kick(mc, MPTCP_EV_STATE);
			return (SEGMENT_PASS);
		}
	}
	mptcp_count(MPTCP_CNT_join_synack_refused);
	return (SEGMENT_RESET);
}

static void
take_add_addr(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct mptcp_option *option,
    struct mptcp_event *announced)
{
	const struct mptcp_add_addr *add = &option->add_addr;
	uint8_t hmac[MPTCP_HMAC_ADD_ADDR];

	if (add->echo) {
		if (sf->sf_announce.add_addr.address_id == add->address_id) {
			sf->sf_announce_tries = 0;
			sf->sf_pending &= ~MPTCP_OPT_ANNOUNCE;
		}
		return;
	}
	mptcp_count(MPTCP_CNT_add_addr_received);
	mptcp_add_addr_hmac(mc->mc_remote_key, mc->mc_local_key, add->address_id, add->address, add->address_length, add->port, hmac);
	if (!mptcp_hmac_equal(hmac, add->hmac, sizeof(hmac))) {
		mptcp_count(MPTCP_CNT_add_addr_bad_hmac);
		return;
	}
	sf->sf_echo = *option;
	sf->sf_echo.add_addr.echo = true;
	sf->sf_pending |= MPTCP_OPT_ECHO;
	tp->t_flags |= TF_ACKNOW;
	mptcp_kick(mc, MPTCP_EV_STATE);
	announced->ev_type = MPTCP_EVENT_ANNOUNCED;
	announced->ev_address_id = add->address_id;
	announced->ev_remote.ma_family = add->address_length == 4 ? MPTCP_ABI_IPV4 : MPTCP_ABI_IPV6;
	announced->ev_remote.ma_port = add->port;
	memcpy(announced->ev_remote.ma_octets, add->address, add->address_length);
}

void
mptcp_end_mappings(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	if (mc->mc_state != MPTCP_FALLBACK || sf->sf_sent.infinite)
		return;
	sf->sf_infinite_ssn = sf->sf_sent_told = sf->sf_sent_end;
	(void)mptcp_map_set_infinite(&sf->sf_sent, sf->sf_sent_end, mc->mc_snd_max - (mc->mc_fin ? 1 : 0));
}

/* The whole connection, of which this is the only subflow: what arrives on it cannot be told to be what was sent. */
static void
give_up(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	sf->sf_reset_reason = MPTCP_RST_MIDDLEBOX;
	mc->mc_fastclose = true;
	mptcp_conn_fail(mc, ECONNRESET);
	mptcp_kick(mc, MPTCP_EV_STATE);
}

/* A mapping that says that octets taken for the rest in order are others: they were sent twice, say, and the data is not what was sent. */
static void
contradicted(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	mptcp_count(MPTCP_CNT_mapping_refused);
	if (mc->mc_state == MPTCP_FALLBACK)
		give_up(mc, sf);
}

/* Everything from here on is the rest of the data in order. */
static void
take_infinite(struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct mptcp_dss *dss)
{
	uint64_t dsn = dss->dsn_64 ? dss->dsn : mptcp_dsn_expand((uint32_t)dss->dsn, mc->mc_rcv_next);

	mptcp_count(MPTCP_CNT_infinite_received);
	mptcp_infinite(mc, sf, MPTCP_CNT_fallback_fail);
	if (mc->mc_state != MPTCP_FALLBACK)
		return;
	mc->mc_peer_told = mc->mc_peer_plain = true;
	mptcp_end_mappings(mc, sf);
	/* One stream: each octet has the same number in both. */
	if ((uint32_t)(dsn - mc->mc_remote_idsn) != dss->ssn || !mptcp_map_set_infinite(&sf->sf_received, dss->ssn, dsn))
		contradicted(mc, sf);
}

/* False: there is no memory for it, and the segment's octets would have none. */
static bool
take_mapping(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct mptcp_dss *dss)
{
	struct mptcp_mapping mapping;
	enum mptcp_map_verdict verdict;
	uint32_t edge;
	uint64_t dsn;

	if (dss->length == 0) {
		take_infinite(mc, sf, dss);
		return (true);
	}
	if (dss->data_fin) {
		dsn = dss->dsn_64 ? dss->dsn : mptcp_dsn_expand((uint32_t)dss->dsn, mc->mc_rcv_next);
		dsn += dss->length - 1;
		/* The first one counts; and not beyond what the window can hold. */
		if (!mc->mc_peer_fin && !mptcp_dsn_before(dsn, mc->mc_rcv_next) && !mptcp_dsn_after(dsn, mc->mc_rcv_edge + 1)) {
			mptcp_count(MPTCP_CNT_data_fin_received);
			mc->mc_peer_fin = true;
			mc->mc_peer_fin_dsn = dsn;
		}
		/* Also when it is an old one: then our DATA_ACK was lost. */
		tp->t_flags |= TF_ACKNOW;
		mptcp_kick(mc, MPTCP_EV_STATE);
	}
	if (!mptcp_map_from_dss(dss, mc->mc_rcv_next, &mapping))
		return (true);
	if (mapping.has_checksum != mc->mc_checksum) {
		mptcp_count(MPTCP_CNT_mapping_checksum);
		return (true);
	}
	/* A mapping may reach beyond the window, octets may not. */
	edge = tp->rcv_nxt - tp->irs + (uint32_t)imax(tp->rcv_wnd, tptosocket(tp)->so_rcv.sb_hiwat) + 2 * UINT16_MAX;
	verdict = mptcp_map_add(&sf->sf_received, &mapping, edge);
	if (verdict == MPTCP_MAP_FULL && mptcp_map_grow(&sf->sf_received, sf->sf_received_slots))
		verdict = mptcp_map_add(&sf->sf_received, &mapping, edge);
	if (verdict == MPTCP_MAP_FULL)
		mptcp_count(MPTCP_CNT_mapping_shortage);
	else if (verdict == MPTCP_MAP_CONFLICT)
		contradicted(mc, sf);
	else if (verdict == MPTCP_MAP_OUTSIDE)
		mptcp_count(MPTCP_CNT_mapping_outside);
	return (verdict != MPTCP_MAP_FULL);
}

void
mptcp_infinite(struct mptcp_conn *mc, struct mptcp_subflow *sf, enum mptcp_count cause)
{
	MC_LOCK_ASSERT(mc);
	if (mc->mc_state == MPTCP_FALLBACK)
		return;
	/* One plain stream can only go on where one subflow has carried everything, once. */
	if (!mptcp_contiguous(mc)) {
		sf->sf_reset_reason = MPTCP_RST_MIDDLEBOX;
		sf->sf_doomed = true;
		mptcp_kick(mc, MPTCP_EV_STATE);
		if (mc->mc_count == 1)
			give_up(mc, sf);
		return;
	}
	sf->sf_pending &= MPTCP_OPT_FAIL;
	mc->mc_infinite = true;
	mc->mc_peer_told = sf->sf_bare;
	mc->mc_state = MPTCP_FALLBACK;
	mc->mc_fallback_cause = cause;
	mptcp_count(cause);
	mptcp_kick(mc, MPTCP_EV_STATE);
}

void
mptcp_send_fail(struct mptcp_conn *mc, struct mptcp_subflow *sf)
{
	MC_LOCK_ASSERT(mc);
	if (sf->sf_failed)
		return;
	sf->sf_failed = true;
	if (!sf->sf_fail_due)
		sf->sf_fail_dsn = mc->mc_rcv_next;
	sf->sf_pending |= MPTCP_OPT_FAIL;
	mptcp_count(MPTCP_CNT_fail_sent);
}

/*
 * Octets without a mapping. For a while after those that had one they can be taken for the next ones. Later they may be old ones: a peer
 * that hears no DATA_ACK sends them again, and if its options do not arrive, nothing tells. Unless it is known to have fallen back, too,
 * or to send no options any more, by having acknowledged what we sent without a DSS; that is what peers fall back on.
 */
static bool
doubtful(const struct tcpcb *tp, const struct mptcp_conn *mc, const struct mptcp_subflow *sf)
{
	return (!mc->mc_peer_told && !sf->sf_bare &&
	    getsbinuptime() - sf->sf_mapped_at > UNMAPPED_FOR + (tp->t_srtt >> TCP_RTT_SHIFT) * tick_sbt);
}

/* What a segment tells of whether options arrive; false: its data must not be taken. */
static bool
look_for_options(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct tcphdr *th, int tlen,
    const struct mptcp_options *options, const struct mptcp_dss *dss)
{
	uint32_t left, ssn = th->th_seq + tlen - 1 - tp->irs, ack = th->th_ack - tp->iss;
	uint64_t dsn;
	bool infinite;

	if (dss != NULL)
		sf->sf_bare = false;
	else if (options->count == 0 && SEQ_GT(th->th_ack, tp->snd_una) && SEQ_LEQ(th->th_ack, tp->snd_max))
		sf->sf_bare = true;
	/* Our infinite mapping has arrived, or what came in its place. */
	if (mc->mc_infinite && sf->sf_sent.infinite && mptcp_ssn_before(sf->sf_infinite_ssn, sf->sf_sent_end) && mptcp_ssn_before(sf->sf_infinite_ssn, ack) &&
	    SEQ_LEQ(th->th_ack, tp->snd_max)) {
		mc->mc_peer_told = mc->mc_peer_plain = true;
		if (sf->sf_fail_due && !sf->sf_failed) {
			mptcp_send_fail(mc, sf);
			tp->t_flags |= TF_ACKNOW;
		}
	}
	if (tlen == 0 || SEQ_LEQ(th->th_seq + tlen, tp->rcv_nxt))
		return (true);
	if (dss != NULL && dss->has_map) {
		sf->sf_mapped_at = getsbinuptime();
		return (true);
	}
	if (mc->mc_state == MPTCP_FALLBACK)
		return (!doubtful(tp, mc, sf));
	if (mc->mc_state == MPTCP_ESTABLISHED && mptcp_map_find(&sf->sf_received, ssn, &dsn, &left, &infinite) == NULL && !infinite &&
	    doubtful(tp, mc, sf))
		sf->sf_doubtful = true;
	return (true);
}

static void
take_ack(struct tcpcb *tp, struct mptcp_conn *mc, const struct mptcp_dss *dss, const struct tcphdr *th, int tlen, uint16_t flags, bool sack)
{
	uint64_t ack = dss->ack_64 ? dss->ack : mptcp_dsn_expand((uint32_t)dss->ack, mc->mc_peer_ack);

	/* Of what was never sent: nonsense. */
	if (mptcp_dsn_after(ack, mc->mc_snd_max))
		return;
	if (mptcp_dsn_after(ack, mc->mc_peer_ack)) {
		mc->mc_peer_ack = ack;
		/* While nothing waits to be sent, only for room that a program may be waiting for, and in the end. */
		if (atomic_load_int(&mc->mc_quiet) == 0 || ack == mc->mc_snd_max || !mptcp_dsn_before(ack, mc->mc_freed_at))
			mptcp_kick(mc, MPTCP_EV_ACK);
		/* One that only moves the data level on is no sign of loss on the subflow. */
		if (tlen == 0 && th->th_ack == tp->snd_una && tp->t_dupacks != 0 && !sack) {
			tp->t_dupacks = 0;
			mptcp_count(MPTCP_CNT_ack_not_duplicate);
		}
	}
	new_edge(mc, tp, th, flags, ack);
}

/* Header option of another kind; MPTCP's parser passes them over. */
static bool
has_sack(const uint8_t *options, int length)
{
	for (; length >= 2 && options[0] != TCPOPT_EOL; ) {
		int size = options[0] == TCPOPT_NOP ? 1 : options[1];

		if (options[0] == TCPOPT_SACK)
			return (true);
		if (size == 0 || size > length)
			break;
		options += size;
		length -= size;
	}
	return (false);
}

/* MP_CAPABLE with data is its mapping (RFC 8684 section 3.1). */
static bool
take_first_data(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct mptcp_capable *capable)
{
	struct mptcp_dss dss = { .has_map = true, .dsn_64 = true, .dsn = mc->mc_remote_idsn + 1, .ssn = 1, .length = capable->data_length,
	    .has_checksum = capable->has_checksum, .checksum = capable->checksum };

	return (capable->sender_key != mc->mc_remote_key || capable->receiver_key != mc->mc_local_key || capable->data_length == 0 ||
	    take_mapping(tp, mc, sf, &dss));
}

static enum segment_verdict
take_segment(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, const struct tcphdr *th, int tlen, uint16_t flags,
    const struct mptcp_options *options, bool sack, struct mptcp_event *event)
{
	const struct mptcp_option *option;
	const struct mptcp_dss *dss = NULL;
	bool mapped = true;

	MC_LOCK_ASSERT(mc);
	/* Out of window: TCP answers or drops it, and its options mean nothing. */
	if (SEQ_LT(th->th_seq + tlen, tp->rcv_nxt) || SEQ_GT(th->th_seq, tp->rcv_nxt + imax(tp->rcv_wnd, tptosocket(tp)->so_rcv.sb_hiwat)))
		return (SEGMENT_PASS);
	if ((option = mptcp_options_find(options, MPTCP_MP_FASTCLOSE)) != NULL && option->fastclose.receiver_key == mc->mc_local_key) {
		mptcp_count(MPTCP_CNT_fastclose_received);
		mptcp_conn_fail(mc, ECONNRESET);
		mptcp_kick(mc, MPTCP_EV_STATE);
		return (flags & TH_RST ? SEGMENT_PASS : SEGMENT_RESET);
	}
	if ((option = mptcp_options_find(options, MPTCP_MP_FAIL)) != NULL) {
		mptcp_count(MPTCP_CNT_fail_received);
		/* With a reset it is about this subflow only. */
		if ((flags & TH_RST) == 0)
			mptcp_infinite(mc, sf, MPTCP_CNT_fallback_fail);
		if ((flags & TH_RST) == 0 && mc->mc_state == MPTCP_FALLBACK) {
			mc->mc_peer_told = true;
			/*
			 * The peer waits for ours, and for our mappings' end. If this answers one of ours, that is the peer's to tell.
			 */
			if (!sf->sf_failed) {
				mptcp_send_fail(mc, sf);
				tp->t_flags |= TF_ACKNOW;
				mptcp_end_mappings(mc, sf);
			}
		}
	}
	if (flags & TH_RST) {
		if ((option = mptcp_options_find(options, MPTCP_MP_TCPRST)) != NULL) {
			mptcp_count(MPTCP_CNT_rst_received);
			sf->sf_reset_reason = option->rst.reason;
		}
		return (SEGMENT_PASS);
	}
	if ((option = mptcp_options_find(options, MPTCP_DSS)) != NULL)
		dss = &option->dss;
	if (!look_for_options(tp, mc, sf, th, tlen, options, dss)) {
		give_up(mc, sf);
		return (SEGMENT_RESET);
	}
	if (mc->mc_state == MPTCP_FALLBACK) {
		mapped = dss == NULL || !dss->has_map || take_mapping(tp, mc, sf, dss);
		return (mapped || tlen == 0 ? SEGMENT_PASS : SEGMENT_DROP);
	}
	/* The fourth ACK: our HMAC has arrived and was accepted. */
	if (sf->sf_state == MPTCP_SF_JOIN_ACK && (flags & TH_ACK) != 0) {
		sf->sf_state = MPTCP_SF_UP;
		mptcp_count(MPTCP_CNT_join_established);
		mptcp_kick(mc, MPTCP_EV_STATE);
	}
	if ((option = mptcp_options_find(options, MPTCP_ADD_ADDR)) != NULL)
		take_add_addr(tp, mc, sf, option, event);
	if ((option = mptcp_options_find(options, MPTCP_REMOVE_ADDR)) != NULL) {
		mptcp_count(MPTCP_CNT_remove_addr_received);
		for (u_int i = 0; i < option->remove_addr.count; i++)
			setbit(mc->mc_removed, option->remove_addr.address_id[i]);
		event->ev_type = MPTCP_EVENT_REMOVED;
		event->ev_address_id = option->remove_addr.address_id[0];
		mptcp_kick(mc, MPTCP_EV_STATE);
	}
	if ((option = mptcp_options_find(options, MPTCP_MP_PRIO)) != NULL) {
		mptcp_count(MPTCP_CNT_prio_received);
		if (sf->sf_peer_backup != option->prio.backup)
			event->ev_type = MPTCP_EVENT_SUBFLOW_PRIORITY;
		sf->sf_peer_backup = option->prio.backup;
		mptcp_kick(mc, MPTCP_EV_STATE);
	}
	if (dss != NULL && mc->mc_state == MPTCP_KEYED) {
		mc->mc_state = MPTCP_ESTABLISHED;
		sf->sf_mapped_at = getsbinuptime();
		mptcp_count(MPTCP_CNT_established);
		mptcp_kick(mc, MPTCP_EV_STATE);
	}
	/* The first answer to data or with data shows whether options get through (section 3.7). */
	if (mc->mc_state == MPTCP_KEYED) {
		if (options->count == 0 && (tlen > 0 || SEQ_GT(th->th_ack, tp->iss + 1))) {
			(void)mptcp_map_set_infinite(&sf->sf_received, 1, mc->mc_remote_idsn + 1);
			mptcp_infinite(mc, sf, MPTCP_CNT_fallback_no_dss);
			mc->mc_peer_told = true;
			/* If it is not the peer who sends none, this tells it. */
			mptcp_end_mappings(mc, sf);
			return (SEGMENT_PASS);
		}
		new_edge(mc, tp, th, flags, mc->mc_peer_ack);
	}
	/* The client's first data. */
	option = mptcp_options_find(options, MPTCP_MP_CAPABLE);
	if (option != NULL && option->capable.has_data && sf->sf_passive && !sf->sf_join)
		mapped = take_first_data(tp, mc, sf, &option->capable);
	if (dss != NULL && dss->has_ack)
		take_ack(tp, mc, dss, th, tlen, flags, sack);
	if (dss != NULL && dss->has_map)
		mapped = take_mapping(tp, mc, sf, dss);
	/* The peer sends it again, with its mapping. */
	return (mapped || tlen == 0 ? SEGMENT_PASS : SEGMENT_DROP);
}

static void
mptcp_do_segment(struct tcpcb *tp, struct mbuf *m, struct tcphdr *th, int drop_hdrlen, int tlen, uint8_t iptos)
{
	struct mptcp_subflow *sf = tp->t_fb_ptr;
	struct mptcp_conn *mc = sf != NULL ? sf->sf_mc : NULL;
	struct inpcb *inp = tptoinpcb(tp);
	struct mptcp_options options;
	struct mptcp_event event = { 0 };
	uint16_t flags = tcp_get_flags(th);
	const uint8_t *octets = (const uint8_t *)(th + 1);
	int length = (th->th_off << 2) - (int)sizeof(*th);
	enum segment_verdict verdict = SEGMENT_PASS;
	bool answer = false, decided = false, synack;

	INP_WLOCK_ASSERT(inp);
	if ((mc == NULL && (sf == NULL || sf->sf_state != MPTCP_SF_UNDECIDED)) || tp->t_state < TCPS_SYN_SENT) {
		tcp_do_segment(tp, m, th, drop_hdrlen, tlen, iptos);
		return;
	}
	mptcp_options_parse(octets, length, (flags & TH_SYN) == 0 ? MPTCP_SEGMENT_OTHER : flags & TH_ACK ? MPTCP_SEGMENT_SYNACK :
	    MPTCP_SEGMENT_SYN, &options);
	if (options.ignored != 0)
		mptcp_count(MPTCP_CNT_option_ignored);
	if (mc == NULL) {
		verdict = mptcp_passive_segment(tp, sf, th, tlen, flags, &options);
		mc = sf->sf_mc;
		decided = mc != NULL;
	}
	if (mc == NULL)
		goto out;
	MC_LOCK(mc);
	/* After MP_FAIL mappings go on until the peer ends them, too. */
	if ((mc->mc_state == MPTCP_FALLBACK && !mc->mc_infinite) ||
	    (mc->mc_state == MPTCP_OVER && mc->mc_was_fallback))
		;
	else if (tp->t_state == TCPS_SYN_SENT) {
		/* As TCP is going to check it. */
		synack = (flags & (TH_SYN | TH_RST)) == TH_SYN &&
		    ((flags & TH_ACK) == 0 || (SEQ_GT(th->th_ack, tp->iss) && SEQ_LEQ(th->th_ack, tp->snd_max)));
		if (synack && sf->sf_join)
			verdict = take_join_synack(mc, sf, &options);
		else if (synack && mc->mc_state == MPTCP_SYN_SENT)
			take_synack(tp, mc, sf, th, &options);
		else if ((flags & TH_RST) != 0 && mptcp_options_find(&options, MPTCP_MP_TCPRST) != NULL)
			sf->sf_reset_reason = mptcp_options_find(&options, MPTCP_MP_TCPRST)->rst.reason;
	} else if ((TCPS_HAVEESTABLISHED(tp->t_state) || decided) && (flags & TH_SYN) == 0 && mc->mc_state >= MPTCP_KEYED) {
		verdict = take_segment(tp, mc, sf, th, tlen, flags, &options, has_sack(octets, length), &event);
		answer = (tp->t_flags & TF_ACKNOW) != 0;
	}
	MC_UNLOCK(mc);
	if (event.ev_type != 0 && mc->mc_state != MPTCP_OVER)
		mptcp_tell(mc, sf, event.ev_type, &event);
out:
	if (verdict == SEGMENT_DROP) {
		m_freem(m);
		INP_WUNLOCK(inp);
		return;
	}
	if (verdict == SEGMENT_RESET) {
		/* Before the handshake is over dropping says nothing to the peer. */
		if (tp->t_state == TCPS_SYN_SENT)
			tcp_dropwithreset(m, th, NULL, tlen, BANDLIM_UNLIMITED);
		else
			m_freem(m);
		tp = tcp_drop(tp, sf->sf_join ? ECONNREFUSED : ECONNRESET);
		if (tp != NULL)
			INP_WUNLOCK(inp);
		return;
	}
	if (answer)
		in_pcbref(inp);
	tcp_do_segment(tp, m, th, drop_hdrlen, tlen, iptos);
	if (answer) {
		/* TCP answers what it has taken; a DATA_FIN or ADD_ADDR alone is nothing to it. */
		INP_WLOCK(inp);
		if (in_pcbrele_wlocked(inp))
			return;
		if ((inp->inp_flags & INP_DROPPED) == 0 && TCPS_HAVEESTABLISHED(intotcpcb(inp)->t_state) &&
		    (intotcpcb(inp)->t_flags & TF_ACKNOW) != 0)
			(void)tcp_output(intotcpcb(inp));
		INP_WUNLOCK(inp);
	}
}

/* ---- the stack ---- */

static int
mptcp_fb_init(struct tcpcb *tp, void **ptr)
{
	struct mptcp_subflow *sf;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	/* Who opens a subflow puts it there: mptcp_subflow_create(). Those that come in get theirs here. */
	*ptr = NULL;
	if (mptcp_passive_wanted(tp) && (sf = mptcp_subflow_alloc(M_NOWAIT)) != NULL) {
		mptcp_passive_init(tp, sf);
		*ptr = sf;
	}
	return (0);
}

static void
mptcp_fb_fini(struct tcpcb *tp, int purged __unused)
{
	struct mptcp_subflow *sf = tp->t_fb_ptr;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	tp->t_fb_ptr = NULL;
	if (sf != NULL) {
		if (sf->sf_mc != NULL && !sf->sf_join)
			mptcp_conn_forget(sf->sf_mc);
		mptcp_subflow_rele(sf);
	}
	tp->t_acktime = 0;
}

static int
mptcp_handoff_ok(struct tcpcb *tp __unused)
{
	/* Only before a connection begins. */
	return (EINVAL);
}

struct tcp_function_block mptcp_stack = {
	.tfb_tcp_block_name = "mptcp",
	.tfb_tcp_output = mptcp_tcp_output,
	.tfb_tcp_do_segment = mptcp_do_segment,
	.tfb_tcp_ctloutput = tcp_default_ctloutput,
	.tfb_tcp_handoff_ok = mptcp_handoff_ok,
	.tfb_tcp_fb_init = mptcp_fb_init,
	.tfb_tcp_fb_fini = mptcp_fb_fini,
};

struct mptcp_lia_shared *
mptcp_lia_of(struct tcpcb *tp, u_int *slot)
{
	struct mptcp_subflow *sf = tp->t_fb == &mptcp_stack ? tp->t_fb_ptr : NULL;

	if (sf == NULL || sf->sf_mc == NULL)
		return (NULL);
	*slot = sf->lia_slot;
	return (&sf->sf_mc->mc_lia);
}

int
mptcp_stack_attach(void)
{
	int error = register_tcp_functions(&mptcp_stack, M_WAITOK);

	attached = error == 0;
	return (error);
}

bool
mptcp_stack_busy(void)
{
	return (mptcp_sockets != 0 || mptcp_stack.tfb_refcnt != mptcp_hidden || mptcp_conns != 0);
}

int
mptcp_stack_detach(void)
{
	int error = 0;

	if (attached)
		error = deregister_tcp_functions(&mptcp_stack, false, false);
	attached = attached && error != 0;
	return (error);
}
