/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The TCP stack of MPTCP sockets: the default one, with options added on the way out and taken on the way in. A connection that is
 * not ours, because somebody chose this stack by name, is left alone.
 */
#include "mptcp_var.h"

#include <sys/protosw.h>

#include <net/if.h>
#include <net/route.h>

#include <netinet/in_systm.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp_fsm.h>
#include <netinet/tcp_seq.h>
#include <netinet/tcp_timer.h>

#include "mptcp_output.h"

static bool attached;

/*
 * Stream positions: octet n of the subflow, counted from 1 as a DSS does, has data sequence number idsn + n; of what is received, less
 * the octets that were sent twice at the data level and so left out.
 */
static uint32_t
sent_ssn(const struct tcpcb *tp, tcp_seq seq)
{
	return (seq - tp->iss);
}

/* The data sequence number expected next; what the DATA_ACK says. */
static uint64_t
received_next(const struct tcpcb *tp, const struct mptcp_conn *c)
{
	uint32_t taken = tp->rcv_nxt - tp->irs - (TCPS_HAVERCVDFIN(tp->t_state) ? 1 : 0);

	return (mptcp_dsn_expand((uint32_t)c->remote_idsn + taken - c->skipped, c->received_near) + (c->eof ? 1 : 0));
}

static void
fall_back(struct mptcp_conn *c, enum mptcp_count cause)
{
	c->state = MPTCP_FALLBACK;
	c->fallback_cause = cause;
	c->echo = false;
	mptcp_count(cause);
}

/* ---- out ---- */

static void
free_slots(struct mptcp_map *map, struct mptcp_mapping *first)
{
	if (map->slots != first)
		free(map->slots, M_MPTCP);
}

static bool
grow(struct mptcp_map *map, struct mptcp_mapping *first)
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

/* The mapping of the segment at `ssn`: an earlier one if it was sent before, else one of all there is to send. NULL: no memory. */
static const struct mptcp_mapping *
mapping_for(struct mptcp_conn *c, uint32_t ssn, uint32_t available, uint32_t *left)
{
	struct mptcp_mapping mapping = { 0 };
	struct mptcp_mapping *found;
	enum mptcp_map_verdict verdict;
	uint64_t dsn;
	bool infinite;

	found = mptcp_map_find(&c->sent, ssn, &dsn, left, &infinite);
	if (found != NULL)
		return (found);
	mapping.ssn = ssn;
	mapping.dsn = mptcp_dsn_expand((uint32_t)c->local_idsn + ssn, c->sent_near);
	mapping.length = min(min(available, MPTCP_MAPPING_LENGTH), *left);
	verdict = mptcp_map_add(&c->sent, &mapping, ssn + mapping.length);
	if (verdict == MPTCP_MAP_FULL && grow(&c->sent, c->sent_slots))
		verdict = mptcp_map_add(&c->sent, &mapping, ssn + mapping.length);
	if (verdict != MPTCP_MAP_ADDED)
		return (NULL);
	c->sent_near = mapping.dsn;
	return (mptcp_map_find(&c->sent, ssn, &dsn, left, &infinite));
}

/* The option of a SYN. */
static bool
syn_option(struct tcpcb *tp, struct mptcp_conn *c, struct mptcp_option *option)
{
	if (c->state == MPTCP_FALLBACK)
		return (false);
	if (!V_mptcp_enabled) {
		fall_back(c, MPTCP_CNT_fallback_disabled);
		return (false);
	}
	/* Perhaps the option is what keeps SYNs from arriving (RFC 8684 section 3.1). */
	if (tp->t_rxtshift > V_mptcp_syn_retries) {
		fall_back(c, MPTCP_CNT_fallback_syn_lost);
		return (false);
	}
	c->state = MPTCP_SYN_SENT;
	option->subtype = MPTCP_MP_CAPABLE;
	option->capable.flags = MPTCP_CAPABLE_SHA256;
	mptcp_count(MPTCP_CNT_capable_syn_sent);
	return (true);
}

/* What goes with any other segment. False: nothing does. */
static bool
segment_option(struct tcpcb *tp, struct mptcp_conn *c, int32_t *len, uint32_t off, uint16_t *flags, int *sendalot,
    struct mptcp_option *option)
{
	struct socket *so = tptosocket(tp);
	const struct mptcp_mapping *mapping;
	uint32_t left, ssn;

	if (c->state != MPTCP_KEYED && c->state != MPTCP_ESTABLISHED)
		return (false);
	if (*flags & TH_RST) {
		option->subtype = MPTCP_MP_FASTCLOSE;
		option->fastclose.receiver_key = c->remote_key;
		mptcp_count(MPTCP_CNT_fastclose_sent);
		return (true);
	}
	option->subtype = MPTCP_DSS;
	option->dss.has_ack = option->dss.ack_64 = true;
	option->dss.ack = received_next(tp, c);
	if (*len > 0) {
		ssn = sent_ssn(tp, tp->snd_una + off);
		mptcp_map_advance(&c->sent, sent_ssn(tp, tp->snd_una));
		mapping = mapping_for(c, ssn, sbavail(&so->so_snd) - off, &left);
		if (mapping == NULL) {
			/* An acknowledgement or the retransmission timer will bring us here again. */
			mptcp_count(MPTCP_CNT_mapping_shortage);
			*len = 0;
			*flags &= ~TH_FIN;
			return (true);
		}
		if ((uint32_t)*len > left) {
			*len = (int32_t)left;
			*sendalot = 1;
		}
		/* DATA_FIN goes with the FIN, in a segment of its own. */
		if (*flags & TH_FIN) {
			*flags &= ~TH_FIN;
			*sendalot = 1;
		}
		if (c->state == MPTCP_KEYED && mapping->ssn == 1) {
			memset(option, 0, sizeof(*option));
			option->subtype = MPTCP_MP_CAPABLE;
			option->capable.has_data = true;
			option->capable.data_length = (uint16_t)mapping->length;
		} else {
			option->dss.has_map = option->dss.dsn_64 = true;
			option->dss.dsn = mapping->dsn;
			option->dss.ssn = mapping->ssn;
			option->dss.length = (uint16_t)mapping->length;
		}
	} else if (*flags & TH_FIN) {
		ssn = sent_ssn(tp, tp->snd_una + sbused(&so->so_snd));
		option->dss.has_map = option->dss.dsn_64 = option->dss.data_fin = true;
		option->dss.dsn = mptcp_dsn_expand((uint32_t)c->local_idsn + ssn, c->sent_near);
		option->dss.length = 1;
		mptcp_count(MPTCP_CNT_data_fin_sent);
	} else if (c->echo) {
		*option = c->echo_option;
		c->echo = false;
	} else if (c->state == MPTCP_KEYED) {
		memset(option, 0, sizeof(*option));
		option->subtype = MPTCP_MP_CAPABLE;
	}
	if (option->subtype == MPTCP_MP_CAPABLE) {
		option->capable.flags = MPTCP_CAPABLE_SHA256;
		option->capable.sender_key = c->local_key;
		option->capable.receiver_key = c->remote_key;
	}
	return (true);
}

int
mptcp_output_options(struct tcpcb *tp, struct tcpopt *to, u_char *opt, int32_t *len, uint32_t off, uint16_t *flags, int *sendalot)
{
	struct mptcp_conn *c = tp->t_fb_ptr;
	struct mptcp_option option = { 0 };
	enum mptcp_segment segment = *flags & TH_SYN ? MPTCP_SEGMENT_SYN : MPTCP_SEGMENT_OTHER;
	uint8_t octets[MPTCP_OPTION_MAX];
	int others, room, used;
	size_t size;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	if (c == NULL || (*flags & TH_SYN ? !syn_option(tp, c, &option) : !segment_option(tp, c, len, off, flags, sendalot, &option)))
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

/* ---- in ---- */

static void
take_synack(struct tcpcb *tp, struct mptcp_conn *c, const struct mptcp_options *options)
{
	const struct mptcp_option *option = mptcp_options_find(options, MPTCP_MP_CAPABLE);

	if (option == NULL)
		fall_back(c, MPTCP_CNT_fallback_no_option);
	else if (option->capable.flags & MPTCP_CAPABLE_CHECKSUM)
		/* Not having MP_CAPABLE in the third ACK is how a client declines. */
		fall_back(c, MPTCP_CNT_fallback_checksum);
	else {
		c->state = MPTCP_KEYED;
		c->remote_key = option->capable.sender_key;
		mptcp_key_derive(c->remote_key, &c->remote_token, &c->remote_idsn);
		/* Where the 64-bit number of what comes next is looked for. */
		c->received_near = c->remote_idsn + 1;
		mptcp_count(MPTCP_CNT_capable_synack_received);
	}
}

static void
take_add_addr(struct tcpcb *tp, struct mptcp_conn *c, const struct mptcp_option *option)
{
	const struct mptcp_add_addr *add = &option->add_addr;
	uint8_t hmac[MPTCP_HMAC_ADD_ADDR];

	if (add->echo)
		return;
	mptcp_count(MPTCP_CNT_add_addr_received);
	mptcp_add_addr_hmac(c->remote_key, c->local_key, add->address_id, add->address, add->address_length, add->port, hmac);
	if (!mptcp_hmac_equal(hmac, add->hmac, sizeof(hmac))) {
		mptcp_count(MPTCP_CNT_add_addr_bad_hmac);
		return;
	}
	c->echo_option = *option;
	c->echo_option.add_addr.echo = true;
	c->echo = true;
	tp->t_flags |= TF_ACKNOW;
}

/* False: the connection cannot go on. */
static bool
take_mapping(struct tcpcb *tp, struct mptcp_conn *c, const struct mptcp_dss *dss)
{
	struct mptcp_mapping mapping;
	uint64_t next = received_next(tp, c);
	enum mptcp_map_verdict verdict;
	uint32_t edge;

	if (dss->data_fin) {
		uint64_t dsn = dss->dsn_64 ? dss->dsn : mptcp_dsn_expand((uint32_t)dss->dsn, next);

		dsn += dss->length - 1;
		if (c->peer_fin && c->peer_fin_dsn != dsn)
			return (false);
		if (!c->peer_fin)
			mptcp_count(MPTCP_CNT_data_fin_received);
		c->peer_fin = true;
		c->peer_fin_dsn = dsn;
	}
	if (!mptcp_map_from_dss(dss, next, &mapping))
		return (true);
	if (mapping.has_checksum)	/* nobody asked for one */
		return (false);
	edge = tp->rcv_adv - tp->irs + UINT16_MAX;	/* a mapping may reach beyond the window, octets may not */
	verdict = mptcp_map_add(&c->received, &mapping, edge);
	if (verdict == MPTCP_MAP_FULL && grow(&c->received, c->received_slots))
		verdict = mptcp_map_add(&c->received, &mapping, edge);
	if (verdict == MPTCP_MAP_FULL)
		mptcp_count(MPTCP_CNT_mapping_shortage);
	return (verdict != MPTCP_MAP_CONFLICT);
}

enum segment_verdict { SEGMENT_PASS, SEGMENT_DROP, SEGMENT_RESET, SEGMENT_ABORT };

/* Hands TCP only the first `length` octets of the segment; the rest will come again. */
static void
cut_tail(struct mbuf *m, struct tcphdr *th, int *tlen, int length)
{
	m_adj(m, length - *tlen);
	*tlen = length;
	tcp_set_flags(th, tcp_get_flags(th) & ~(TH_FIN | TH_PUSH));
}

/*
 * Which octets of the segment belong behind those received, by their mappings:
 *
 *   next    the usual case: TCP takes them
 *   old     sent before under other subflow numbers, as Linux does to probe a closed window: TCP's position moves past them, and
 *           the application never sees them
 *   beyond  there is no other subflow that what is missing could come over: the connection ends
 *
 * Octets out of order are let into TCP's queue only if they will be next when the subflow gets there; the rest comes again then.
 */
static enum segment_verdict
place_data(struct tcpcb *tp, struct mptcp_conn *c, struct mbuf *m, struct tcphdr *th, int *drop_hdrlen, int *tlen)
{
	uint32_t next = tp->rcv_nxt - tp->irs, begin = th->th_seq - tp->irs, end = begin + (uint32_t)*tlen, at, left, old = 0;
	bool in_order = !mptcp_ssn_before(next, begin), infinite;
	uint64_t want, dsn;

	at = in_order ? next : begin;
	want = received_next(tp, c) + (at - next);
	while (mptcp_ssn_before(at, end)) {
		if (mptcp_map_find(&c->received, at, &dsn, &left, &infinite) == NULL) {
			mptcp_count(MPTCP_CNT_unmapped_dropped);
			if (at - old == (in_order ? next : begin))
				return (SEGMENT_DROP);
			break;
		}
		left = min(left, end - at);
		if (dsn == want) {
			want += left;
			at += left;
			continue;
		}
		if (!in_order) {
			mptcp_count(MPTCP_CNT_early_dropped);
			return (SEGMENT_DROP);
		}
		if (mptcp_dsn_after(dsn, want)) {
			mptcp_count(MPTCP_CNT_mapping_refused);
			return (SEGMENT_ABORT);
		}
		if (at - old != next)
			break;	/* behind good ones: in the next segment */
		left = (uint32_t)ulmin(left, want - dsn);
		old += left;
		at += left;
	}
	if (mptcp_ssn_before(at, end))
		cut_tail(m, th, tlen, (int)(at - begin));
	if (old != 0) {
		if (tp->t_segqlen != 0) {
			/* Taken in the belief that nothing in between is old. */
			mptcp_count(MPTCP_CNT_mapping_refused);
			return (SEGMENT_ABORT);
		}
		old += next - begin;
		*drop_hdrlen += old;
		*tlen -= old;
		th->th_seq += old;
		old -= next - begin;
		tp->rcv_nxt += old;
		if (SEQ_LT(tp->rcv_adv, tp->rcv_nxt))
			tp->rcv_adv = tp->rcv_nxt;
		c->skipped += old;
		tp->t_flags |= TF_ACKNOW;
		mptcp_count(MPTCP_CNT_old_skipped);
	}
	return (SEGMENT_PASS);
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

static enum segment_verdict
take_segment(struct tcpcb *tp, struct mptcp_conn *c, const struct tcphdr *th, int tlen, uint16_t flags,
    const struct mptcp_options *options, const uint8_t *octets, int length)
{
	const struct mptcp_option *option;
	const struct mptcp_dss *dss = NULL;
	uint64_t ack;

	/* Out of window: TCP answers or drops it, and its options mean nothing. */
	if (SEQ_LT(th->th_seq + tlen, tp->rcv_nxt) || SEQ_GT(th->th_seq, tp->rcv_nxt + tp->rcv_wnd))
		return (SEGMENT_PASS);
	c->received_near = received_next(tp, c);
	mptcp_map_advance(&c->received, tp->rcv_nxt - tp->irs - (TCPS_HAVERCVDFIN(tp->t_state) ? 1 : 0));
	if ((option = mptcp_options_find(options, MPTCP_MP_FASTCLOSE)) != NULL &&
	    option->fastclose.receiver_key == c->local_key) {
		mptcp_count(MPTCP_CNT_fastclose_received);
		return (flags & TH_RST ? SEGMENT_PASS : SEGMENT_RESET);
	}
	if (flags & TH_RST)
		return (SEGMENT_PASS);
	if (mptcp_options_find(options, MPTCP_MP_FAIL) != NULL) {
		fall_back(c, MPTCP_CNT_fallback_fail);
		return (SEGMENT_PASS);
	}
	if ((option = mptcp_options_find(options, MPTCP_ADD_ADDR)) != NULL)
		take_add_addr(tp, c, option);
	if ((option = mptcp_options_find(options, MPTCP_DSS)) != NULL)
		dss = &option->dss;
	if (dss != NULL && c->state == MPTCP_KEYED) {
		c->state = MPTCP_ESTABLISHED;
		mptcp_count(MPTCP_CNT_established);
	}
	if (dss != NULL && dss->has_map && dss->length == 0) {
		fall_back(c, MPTCP_CNT_fallback_fail);
		return (SEGMENT_PASS);
	}
	if (dss != NULL && dss->has_map && !take_mapping(tp, c, dss)) {
		mptcp_count(MPTCP_CNT_mapping_refused);
		return (SEGMENT_ABORT);
	}
	if (dss != NULL && dss->has_ack) {
		ack = dss->ack_64 ? dss->ack : mptcp_dsn_expand((uint32_t)dss->ack, c->peer_ack);
		/* One that only moves the data level on is no sign of loss on the subflow. */
		if (mptcp_dsn_after(ack, c->peer_ack)) {
			c->peer_ack = ack;
			if (tlen == 0 && th->th_ack == tp->snd_una && tp->t_dupacks != 0 && !has_sack(octets, length)) {
				tp->t_dupacks = 0;
				mptcp_count(MPTCP_CNT_ack_not_duplicate);
			}
		}
	}
	/* The first answer to data or with data shows whether options get through (section 3.7). */
	if (c->state == MPTCP_KEYED && options->count == 0 && (tlen > 0 || SEQ_GT(th->th_ack, tp->iss + 1))) {
		fall_back(c, MPTCP_CNT_fallback_no_dss);
		return (SEGMENT_PASS);
	}
	return (SEGMENT_PASS);
}

/* Behind TCP's own processing: have all octets before a DATA_FIN come? Is an acknowledgement owed that TCP knows nothing of? */
static void
settle(struct inpcb *inp)
{
	struct mptcp_conn *c;
	struct tcpcb *tp;

	INP_WLOCK(inp);
	if (in_pcbrele_wlocked(inp))
		return;
	if (inp->inp_flags & INP_DROPPED)
		goto out;
	tp = intotcpcb(inp);
	c = tp->t_fb_ptr;
	if (tp->t_fb != &mptcp_stack || c == NULL || tp->t_state == TCPS_TIME_WAIT || tp->t_state < TCPS_ESTABLISHED)
		goto out;
	if (c->peer_fin && !c->eof && received_next(tp, c) == c->peer_fin_dsn) {
		c->eof = true;
		socantrcvmore(tptosocket(tp));
		tp->t_flags |= TF_ACKNOW;
	}
	if (tp->t_flags & TF_ACKNOW)
		(void)tcp_output(tp);
out:
	INP_WUNLOCK(inp);
}

static void
mptcp_do_segment(struct tcpcb *tp, struct mbuf *m, struct tcphdr *th, int drop_hdrlen, int tlen, uint8_t iptos)
{
	struct mptcp_conn *c = tp->t_fb_ptr;
	struct inpcb *inp = tptoinpcb(tp);
	struct mptcp_options options;
	uint16_t flags = tcp_get_flags(th);
	const uint8_t *octets = (const uint8_t *)(th + 1);
	int length = (th->th_off << 2) - (int)sizeof(*th);
	enum segment_verdict verdict;
	bool look = false;

	INP_WLOCK_ASSERT(inp);
	if (c != NULL && c->state != MPTCP_FALLBACK && c->state != MPTCP_CLOSED) {
		mptcp_options_parse(octets, length, (flags & TH_SYN) == 0 ? MPTCP_SEGMENT_OTHER : flags & TH_ACK ? MPTCP_SEGMENT_SYNACK :
		    MPTCP_SEGMENT_SYN, &options);
		if (options.ignored != 0)
			mptcp_count(MPTCP_CNT_option_ignored);
		if (c->state == MPTCP_SYN_SENT) {
			/* As TCP is going to check it. */
			if (tp->t_state == TCPS_SYN_SENT && (flags & (TH_SYN | TH_RST)) == TH_SYN &&
			    ((flags & TH_ACK) == 0 || (SEQ_GT(th->th_ack, tp->iss) && SEQ_LEQ(th->th_ack, tp->snd_max))))
				take_synack(tp, c, &options);
		} else if (TCPS_HAVEESTABLISHED(tp->t_state) && (flags & TH_SYN) == 0) {
			verdict = take_segment(tp, c, th, tlen, flags, &options, octets, length);
			if (verdict == SEGMENT_PASS && c->state != MPTCP_FALLBACK && tlen > 0 &&
			    SEQ_GT(th->th_seq + tlen, tp->rcv_nxt))
				verdict = place_data(tp, c, m, th, &drop_hdrlen, &tlen);
			switch (verdict) {
			case SEGMENT_PASS:
				break;
			case SEGMENT_DROP:
				m_freem(m);
				INP_WUNLOCK(inp);
				return;
			case SEGMENT_RESET:
			case SEGMENT_ABORT:
				m_freem(m);
				tp = tcp_drop(tp, verdict == SEGMENT_RESET ? ECONNRESET : ECONNABORTED);
				if (tp != NULL)
					INP_WUNLOCK(inp);
				return;
			}
			look = c->state != MPTCP_FALLBACK && ((c->peer_fin && !c->eof) || (tp->t_flags & TF_ACKNOW) != 0);
		}
	}
	if (look)
		in_pcbref(inp);
	tcp_do_segment(tp, m, th, drop_hdrlen, tlen, iptos);
	if (look)
		settle(inp);
}

/* ---- the stack ---- */

static int
mptcp_fb_init(struct tcpcb *tp, void **ptr)
{
	struct socket *so = tptosocket(tp);
	struct mptcp_conn *c;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	*ptr = NULL;
	if (so->so_proto->pr_protocol != IPPROTO_MPTCP || tp->t_state != TCPS_CLOSED)
		return (0);
	c = malloc(sizeof(*c), M_MPTCP, M_NOWAIT | M_ZERO);
	if (c == NULL)
		return (ENOMEM);
	arc4rand(&c->local_key, sizeof(c->local_key), 0);
	mptcp_key_derive(c->local_key, &c->local_token, &c->local_idsn);
	mptcp_map_init(&c->sent, c->sent_slots, MPTCP_MAPPINGS, 1);
	mptcp_map_init(&c->received, c->received_slots, MPTCP_MAPPINGS, 1);
	c->sent_near = c->local_idsn + 1;
	c->peer_ack = c->local_idsn + 1;
	*ptr = c;
	return (0);
}

static void
mptcp_fb_fini(struct tcpcb *tp, int purged __unused)
{
	struct mptcp_conn *c = tp->t_fb_ptr;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	if (c != NULL) {
		free_slots(&c->sent, c->sent_slots);
		free_slots(&c->received, c->received_slots);
		zfree(c, M_MPTCP);
		tp->t_fb_ptr = NULL;
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
	return (mptcp_sockets != 0 || mptcp_stack.tfb_refcnt != 0);
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

void
mptcp_conn_info(struct tcpcb *tp, struct mptcp_info *info)
{
	const struct mptcp_conn *c = tp->t_fb_ptr;

	INP_WLOCK_ASSERT(tptoinpcb(tp));
	memset(info, 0, sizeof(*info));
	info->version = 1;
	if (c == NULL) {
		info->state = MPTCP_INFO_FALLBACK;
		return;
	}
	info->state = c->state == MPTCP_FALLBACK ? MPTCP_INFO_FALLBACK :
	    c->state >= MPTCP_KEYED && TCPS_HAVEESTABLISHED(tp->t_state) ? MPTCP_INFO_ESTABLISHED : MPTCP_INFO_INITIAL;
	info->fallback_cause = c->fallback_cause;
	info->subflows = TCPS_HAVEESTABLISHED(tp->t_state);
	if (info->state == MPTCP_INFO_ESTABLISHED) {
		info->local_token = c->local_token;
		info->remote_token = c->remote_token;
		info->sent_dsn = mptcp_dsn_expand((uint32_t)c->local_idsn + sent_ssn(tp, tp->snd_nxt), c->sent_near);
		info->received_dsn = received_next(tp, c);
	}
}
