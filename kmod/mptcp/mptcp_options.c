/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What goes out with the segments of a subflow: called by the derived tcp_output(), with the INP and the send buffer's mutex. Decides
 * nothing that the worker has to know before; records of what is mapped are there already.
 */
#include "mptcp_var.h"

#include <net/if.h>
#include <net/route.h>

#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp_fsm.h>
#include <netinet/tcp_seq.h>

#include "mptcp_output.h"

/*
 * The receive window, which with MPTCP is that of the connection: what the DATA_ACK of the same segment leaves of it. TCP never moves
 * its own right edge back; here it has to, because other subflows use the window up.
 */
long
mptcp_output_window(struct tcpcb *tp)
{
	struct mptcp_subflow *sf = tp->t_fb_ptr;
	struct socket *so = tptosocket(tp);
	struct mptcp_conn *mc;
	uint64_t ack, dsn;
	uint32_t left, pending, sure;
	int32_t room;
	long space = lmax(sbspace(&so->so_rcv), 0);
	bool infinite;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	if (sf == NULL || (mc = sf->sf_mc) == NULL || !TCPS_HAVEESTABLISHED(tp->t_state))
		return (space);
	MC_LOCK(mc);
	if (mc->mc_state == MPTCP_FALLBACK || (mc->mc_state == MPTCP_OVER && mc->mc_was_fallback)) {
		(void)mptcp_map_find(&sf->sf_received, tp->rcv_nxt - tp->irs, &dsn, &left, &infinite);
		if (infinite && mc->mc_state == MPTCP_FALLBACK) {
			room = (int32_t)(mc->mc_rcv_edge - dsn);
			space = room > 0 ? room : 0;
		}
		MC_UNLOCK(mc);
		return (space);
	}
	ack = mc->mc_rcv_next;
	pending = tp->rcv_nxt - tp->irs - sf->sf_received.base;
	/*
	 * What TCP acknowledges here the worker may not have placed yet. Where it continues the data in order, nothing can come between,
	 * and the acknowledgement holds for both; then the worker need not send one of its own.
	 */
	if (mc->mc_state == MPTCP_ESTABLISHED && sf->sf_state == MPTCP_SF_UP && !sf->sf_doomed && !mc->mc_checksum &&
	    (int32_t)pending > 0) {
		sure = mptcp_map_run(&sf->sf_received, sf->sf_received.base, pending, &dsn);
		if (sure != 0 && !mptcp_dsn_after(dsn, ack) && mptcp_dsn_after(dsn + sure, ack) &&
		    !mptcp_dsn_after(dsn + sure, mc->mc_rcv_edge)) {
			ack = dsn + sure;
			pending -= sure;
		}
	}
	/* It does not go back. */
	if (mptcp_dsn_after(mc->mc_told_ack, ack))
		ack = mc->mc_told_ack;
	sf->sf_snapshot_ack = ack;
	sf->sf_snapshot_edge = mc->mc_rcv_edge;
	/*
	 * Less the rest of it. Otherwise its DATA_ACK a moment later, with the same TCP acknowledgement, would have to carry a smaller
	 * window, which Linux does not believe: it would take the old one, from the new DATA_ACK on.
	 */
	space = (long)(mc->mc_rcv_edge - ack) - (int32_t)pending;
	/* Rounded down, or TCP would round it up beyond what is accepted. */
	space = rounddown2(lmax(space, 0), 1L << tp->rcv_scale);
	sf->sf_told_window = (uint32_t)space;
	MC_UNLOCK(mc);
	if (SEQ_GT(tp->rcv_adv, tp->rcv_nxt + (uint32_t)space))
		tp->rcv_adv = tp->rcv_nxt + (uint32_t)space;
	return (space);
}

/* The option of a SYN. */
static bool
syn_option(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, struct mptcp_option *option)
{
	if (sf->sf_join) {
		option->subtype = MPTCP_MP_JOIN;
		option->join.backup = sf->sf_backup;
		option->join.address_id = sf->sf_local_id;
		option->join.token = mc->mc_remote_token;
		option->join.nonce = sf->sf_local_nonce;
		mptcp_count(MPTCP_CNT_join_syn_sent);
		return (true);
	}
	if (mc->mc_state != MPTCP_CLOSED && mc->mc_state != MPTCP_SYN_SENT)
		return (false);
	if (!V_mptcp_enabled) {
		mptcp_fall_back(mc, sf, MPTCP_CNT_fallback_disabled);
		return (false);
	}
	/* Perhaps the option is what keeps SYNs from arriving (RFC 8684 section 3.1). */
	if (tp->t_rxtshift > V_mptcp_syn_retries) {
		mptcp_fall_back(mc, sf, MPTCP_CNT_fallback_syn_lost);
		return (false);
	}
	mc->mc_state = MPTCP_SYN_SENT;
	option->subtype = MPTCP_MP_CAPABLE;
	option->capable.flags = MPTCP_CAPABLE_SHA256 | (V_mptcp_checksum ? MPTCP_CAPABLE_CHECKSUM : 0);
	mptcp_count(MPTCP_CNT_capable_syn_sent);
	return (true);
}

/* DATA_FIN alone: a mapping of nothing but its number, which the checksum covers as well. */
static void
data_fin(struct mptcp_conn *mc, struct mptcp_dss *dss)
{
	mc->mc_fin_due = false;
	dss->has_map = dss->dsn_64 = dss->data_fin = true;
	dss->dsn = mc->mc_fin_dsn;
	dss->length = 1;
	dss->has_checksum = mc->mc_checksum;
	if (mc->mc_checksum)
		dss->checksum = mptcp_checksum_finish(0, dss->dsn, 0, 1);
}

/* What a segment without data carries in place of a plain DSS, the most urgent first. */
static void
pending_option(struct mptcp_conn *mc, struct mptcp_subflow *sf, struct mptcp_option *option)
{
	uint8_t bit = sf->sf_pending & -sf->sf_pending;
	struct mptcp_dss dss = option->dss;

	sf->sf_pending &= ~bit;
	switch (bit) {
	case MPTCP_OPT_ECHO:
		*option = sf->sf_echo;
		mptcp_count(MPTCP_CNT_echo_add_sent);
		return;
	case MPTCP_OPT_ANNOUNCE:
		*option = sf->sf_announce;
		mptcp_count(MPTCP_CNT_add_addr_sent);
		return;
	}
	memset(option, 0, sizeof(*option));
	switch (bit) {
	case MPTCP_OPT_PRIO:
		option->subtype = MPTCP_MP_PRIO;
		option->prio.backup = sf->sf_backup;
		mptcp_count(MPTCP_CNT_prio_sent);
		return;
	case MPTCP_OPT_REMOVE:
		option->subtype = MPTCP_REMOVE_ADDR;
		option->remove_addr.count = 1;
		option->remove_addr.address_id[0] = sf->sf_remove_id;
		mptcp_count(MPTCP_CNT_remove_addr_sent);
		return;
	case MPTCP_OPT_FAIL:
		option->subtype = MPTCP_MP_FAIL;
		option->fail.dsn = sf->sf_fail_dsn;
		return;
	default:
		option->subtype = MPTCP_DSS;
		option->dss = dss;
	}
}

static bool
reset_option(struct mptcp_conn *mc, struct mptcp_subflow *sf, struct mptcp_option *option)
{
	if (mc->mc_fastclose && mc->mc_remote_key != 0) {
		option->subtype = MPTCP_MP_FASTCLOSE;
		option->fastclose.receiver_key = mc->mc_remote_key;
		mptcp_count(MPTCP_CNT_fastclose_sent);
	} else if (sf->sf_pending & MPTCP_OPT_FAIL) {
		option->subtype = MPTCP_MP_FAIL;
		option->fail.dsn = sf->sf_fail_dsn;
	} else {
		option->subtype = MPTCP_MP_TCPRST;
		option->rst.reason = sf->sf_reset_reason;
		option->rst.flags = sf->sf_reset_flags;
		mptcp_count(MPTCP_CNT_rst_sent);
	}
	return (true);
}

/* A DSS with the mapping of data, as it was made. */
static void
data_mapping(const struct mptcp_mapping *mapping, bool dsn_64, struct mptcp_dss *dss)
{
	dss->has_map = true;
	dss->dsn_64 = dsn_64;
	dss->dsn = mapping->dsn;
	dss->ssn = mapping->ssn;
	dss->length = (uint16_t)mapping->length;
	dss->has_checksum = mapping->has_checksum;
	dss->checksum = mapping->checksum;
}

/*
 * In fallback, after the keys were known: mappings go on until there is an infinite one. Until the peer has ended its own it may wait for
 * DATA_ACKs, and would send again, where it is not the next octet any more, what has none.
 */
static bool
fallback_option(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, bool sack, int32_t *len, uint32_t off,
    uint16_t *flags, int *sendalot, struct mptcp_option *option)
{
	const struct mptcp_mapping *mapping;
	uint32_t left, ssn;
	uint64_t dsn;
	bool infinite;

	if (*flags & TH_RST)
		return (!mc->mc_peer_plain && reset_option(mc, sf, option));
	if (*len == 0) {
		if (sf->sf_pending & MPTCP_OPT_FAIL) {
			sf->sf_pending = 0;
			option->subtype = MPTCP_MP_FAIL;
			option->fail.dsn = sf->sf_fail_dsn;
			return (true);
		}
		if (mc->mc_peer_plain)
			return (false);
		option->subtype = MPTCP_DSS;
		option->dss.has_ack = option->dss.ack_64 = true;
		option->dss.ack = mc->mc_rcv_next;
		if (mc->mc_fin)
			data_fin(mc, &option->dss);
		return (true);
	}
	ssn = tp->snd_una + off - tp->iss;
	option->subtype = MPTCP_DSS;
	if (sf->sf_sent.infinite && !mptcp_ssn_before(ssn, sf->sf_infinite_ssn)) {
		/* The infinite mapping is told with the first octet under it, as often as that is sent. */
		(void)mptcp_map_find(&sf->sf_sent, ssn, &dsn, &left, &infinite);
		if (ssn != sf->sf_infinite_ssn || !infinite)
			return (false);
		option->dss.has_map = option->dss.dsn_64 = true;
		option->dss.dsn = dsn;
		option->dss.ssn = ssn;
		option->dss.has_checksum = mc->mc_checksum;	/* of nothing: 0 */
		return (true);
	}
	mapping = mptcp_map_find(&sf->sf_sent, ssn, &dsn, &left, &infinite);
	if ((uint32_t)*len > left) {
		*len = (int32_t)left;
		*flags &= ~TH_FIN;
		*sendalot = 1;
	}
	if (mapping == NULL)
		return (false);
	if (mptcp_ssn_before(sf->sf_sent_told, ssn + left))
		sf->sf_sent_told = ssn + left;
	data_mapping(mapping, !sack, &option->dss);
	return (true);
}

/* What goes with any other segment. False: nothing does. */
static bool
segment_option(struct tcpcb *tp, struct mptcp_conn *mc, struct mptcp_subflow *sf, bool sack, int32_t *len, uint32_t off,
    uint16_t *flags, int *sendalot, struct mptcp_option *option)
{
	const struct mptcp_mapping *mapping;
	uint32_t left, ssn;
	uint64_t dsn;
	bool infinite;

	if (mc->mc_state == MPTCP_FALLBACK && mc->mc_infinite)
		return (fallback_option(tp, mc, sf, sack, len, off, flags, sendalot, option));
	if (mc->mc_state < MPTCP_KEYED || mc->mc_state == MPTCP_FALLBACK || (mc->mc_state == MPTCP_OVER && mc->mc_was_fallback))
		return (false);
	if (*flags & TH_RST)
		return (reset_option(mc, sf, option));
	if (sf->sf_state == MPTCP_SF_JOIN_ACK) {
		/* Nothing else until the peer has it. */
		option->subtype = MPTCP_MP_JOIN;
		memcpy(option->join.hmac, sf->sf_hmac, sizeof(option->join.hmac));
		*len = 0;
		*flags &= ~TH_FIN;
		return (true);
	}
	option->subtype = MPTCP_DSS;
	option->dss.has_ack = option->dss.ack_64 = true;
	option->dss.ack = sf->sf_snapshot_ack;
	if (*len > 0) {
		ssn = tp->snd_una + off - tp->iss;
		mptcp_map_advance(&sf->sf_sent, tp->snd_una - tp->iss);
		mapping = mptcp_map_find(&sf->sf_sent, ssn, &dsn, &left, &infinite);
		if (mapping == NULL) {
			/* The worker records before it appends. */
			KASSERT(false, ("%s: octet %u has no mapping", __func__, ssn));
			*len = 0;
			*flags &= ~TH_FIN;
			return (true);
		}
		if ((uint32_t)*len > left) {
			*len = (int32_t)left;
			*sendalot = 1;
		}
		if (mptcp_ssn_before(sf->sf_sent_told, ssn + left))
			sf->sf_sent_told = ssn + left;
		/* A FIN goes in a segment of its own: if it were lost with a cut segment, so would be the tail. */
		if (*flags & TH_FIN) {
			*flags &= ~TH_FIN;
			*sendalot = 1;
		}
		if (mc->mc_state == MPTCP_KEYED && mapping->ssn == 1 && !sf->sf_passive) {
			memset(option, 0, sizeof(*option));
			option->subtype = MPTCP_MP_CAPABLE;
			option->capable.has_data = true;
			option->capable.data_length = (uint16_t)mapping->length;
			option->capable.has_checksum = mapping->has_checksum;
			option->capable.checksum = mapping->checksum;
		} else {
			/*
			 * While something is missing that the peer should know of, the mapping is short and the DATA_ACK left to
			 * segments without data: with timestamps there is room for one SACK block then, else for none.
			 */
			if (sack)
				option->dss.has_ack = option->dss.ack_64 = false;
			data_mapping(mapping, !sack, &option->dss);
		}
	} else if (sf->sf_pending != 0 && mc->mc_state == MPTCP_ESTABLISHED)
		pending_option(mc, sf, option);
	else if (mc->mc_fin && mc->mc_peer_ack != mc->mc_fin_dsn + 1)
		data_fin(mc, &option->dss);
	else if (mc->mc_state == MPTCP_KEYED && !sf->sf_passive) {
		memset(option, 0, sizeof(*option));
		option->subtype = MPTCP_MP_CAPABLE;
	}
	if (option->subtype == MPTCP_MP_CAPABLE) {
		option->capable.flags = MPTCP_CAPABLE_SHA256 | (mc->mc_checksum ? MPTCP_CAPABLE_CHECKSUM : 0);
		option->capable.sender_key = mc->mc_local_key;
		option->capable.receiver_key = mc->mc_remote_key;
	}
	return (true);
}

int
mptcp_output_options(struct tcpcb *tp, struct tcpopt *to, u_char *opt, int32_t *len, uint32_t off, uint16_t *flags, int *sendalot)
{
	struct mptcp_subflow *sf = tp->t_fb_ptr;
	struct mptcp_conn *mc;
	struct mptcp_option option = { 0 };
	enum mptcp_segment segment = *flags & TH_SYN ? MPTCP_SEGMENT_SYN : MPTCP_SEGMENT_OTHER;
	uint8_t octets[MPTCP_OPTION_MAX];
	int others, room, used;
	size_t size;
	bool any;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	if (sf == NULL)
		return (tcp_addoptions(to, opt));
	if ((mc = sf->sf_mc) == NULL) {
		/* A join that was refused. */
		any = (*flags & TH_RST) != 0 && sf->sf_reset_reason != 0;
		option.subtype = MPTCP_MP_TCPRST;
		option.rst.reason = sf->sf_reset_reason;
	} else {
		MC_LOCK(mc);
		any = *flags & TH_SYN ? syn_option(tp, mc, sf, &option) :
		    segment_option(tp, mc, sf, (to->to_flags & TOF_SACK) != 0, len, off, flags, sendalot, &option);
		if (any && option.subtype == MPTCP_DSS && option.dss.has_ack) {
			if (mptcp_dsn_after(option.dss.ack, mc->mc_told_ack))
				mc->mc_told_ack = option.dss.ack;
			if (mc->mc_count == 1 && mptcp_dsn_after(sf->sf_snapshot_edge, mc->mc_told_edge))
				mc->mc_told_edge = sf->sf_snapshot_edge;
		}
		MC_UNLOCK(mc);
	}
	if (!any)
		return (tcp_addoptions(to, opt));
	size = mptcp_option_build(&option, segment, octets, sizeof(octets));
	KASSERT(size != 0, ("%s: option %d cannot be built", __func__, option.subtype));
	/* SACK takes what is left: without it TCP still works, without a mapping data would be lost. */
	if (to->to_flags & TOF_SACK) {
		others = to->to_flags & TOF_TS ? TCPOLEN_TSTAMP_APPA : 0;
		room = TCP_MAXOLEN - others - (int)roundup2(size, 4) - 2 - TCPOLEN_SACKHDR;
		if (room / TCPOLEN_SACK < to->to_nsacks)
			mptcp_count(MPTCP_CNT_sack_left_out);
		if (room < TCPOLEN_SACK)
			to->to_flags &= ~TOF_SACK;
		else
			to->to_nsacks = min(to->to_nsacks, room / TCPOLEN_SACK);
	}
	/* ADD_ADDR of an IPv6 address and port leaves no room for timestamps (RFC 8684 section 3.4.1). */
	if ((to->to_flags & TOF_TS) && size + TCPOLEN_TSTAMP_APPA > TCP_MAXOLEN)
		to->to_flags &= ~TOF_TS;
	used = tcp_addoptions(to, opt);
	if (used + roundup2(size, 4) > TCP_MAXOLEN) {
		/* Signatures are refused, so there is always room; should a kernel add something, the segment waits rather than lies. */
		KASSERT(false, ("%s: %d octets of options and %zu of ours", __func__, used, size));
		*len = 0;
		return (used);
	}
	memcpy(opt + used, octets, size);
	for (used += size; used % 4 != 0; used++)
		opt[used] = TCPOPT_NOP;
	return (used);
}
