/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Congestion control of coupled subflows: linked increases (LIA), RFC 6356, as an algorithm of mod_cc(9) named "lia". Slow start, loss and
 * recovery are New Reno's; only the increase in congestion avoidance looks at the siblings:
 *
 *	ACK --> own {cwnd, srtt} into the connection's slot --> once a round trip: alpha over all slots --> increase
 *
 * A connection that is no subflow gets New Reno.
 */
#include "mptcp_var.h"
#include "mptcp_user.h"

#include <netinet/cc/cc.h>
#include <netinet/tcp_seq.h>

struct lia {
	uint32_t	alpha;
	uint32_t	fraction;	/* of an octet, from one increase to the next */
	uint64_t	total;		/* of all windows */
	tcp_seq		round;		/* alpha is good until this is acknowledged */
	bool		measured;
};

static size_t
lia_data_size(void)
{
	return (sizeof(struct lia));
}

static int
lia_init(struct cc_var *ccv, void *memory)
{
	INP_WLOCK_ASSERT(tptoinpcb(ccv->ccvc.tcp));
	if (memory == NULL)
		memory = malloc(sizeof(struct lia), M_CC_MEM, M_NOWAIT);
	if (memory == NULL)
		return (ENOMEM);
	memset(memory, 0, sizeof(struct lia));
	ccv->cc_data = memory;
	return (0);
}

static void
lia_destroy(struct cc_var *ccv)
{
	struct mptcp_lia_shared *shared;
	u_int slot;

	shared = mptcp_lia_of(ccv->ccvc.tcp, &slot);
	if (shared != NULL)
		mptcp_lia_leave(shared, slot);
	free(ccv->cc_data, M_CC_MEM);
	ccv->cc_data = NULL;
}

/* As TCP keeps it: ticks, shifted. 0 is 'not measured'. */
static uint32_t
lia_srtt(const struct tcpcb *tp)
{
	uint64_t us;

	if (tp->t_srtt <= 0)
		return (0);
	us = ((uint64_t)tp->t_srtt * (uint64_t)tick) >> TCP_RTT_SHIFT;
	return (us == 0 ? 1 : (uint32_t)MIN(us, UINT32_MAX));
}

static void
lia_measure(struct lia *lia, const struct mptcp_lia_shared *shared)
{
	struct mptcp_lia_path paths[MPTCP_LIA_PATHS];
	u_int count = 0;

	for (u_int i = 0; i < MPTCP_LIA_PATHS; i++) {
		paths[count].cwnd = lisp_load32(&shared->slot[i].cwnd);
		paths[count].srtt_us = lisp_load32(&shared->slot[i].srtt_us);
		if (paths[count].cwnd != 0)
			count++;
	}
	lia->alpha = mptcp_lia_alpha(paths, count, &lia->total);
}

static void
lia_ack_received(struct cc_var *ccv, uint16_t type)
{
	struct tcpcb *tp = ccv->ccvc.tcp;
	struct mptcp_lia_shared *shared;
	struct lia *lia = ccv->cc_data;
	uint32_t cwnd = tp->snd_cwnd;
	u_int slot;

	shared = mptcp_lia_of(tp, &slot);
	if (shared != NULL) {
		KASSERT(slot < MPTCP_LIA_PATHS, ("%s: slot %u", __func__, slot));
		lisp_store32(&shared->slot[slot].srtt_us, lia_srtt(tp));
		lisp_store32(&shared->slot[slot].cwnd, cwnd);
	}
	if (shared == NULL || cwnd <= tp->snd_ssthresh) {
		newreno_cc_ack_received(ccv, type);
		return;
	}
	/* Where TCP says that a window's worth was acknowledged is of no use to us: each ACK has its share. */
	ccv->flags &= ~CCF_ABC_SENTAWND;
	if (type != CC_ACK || IN_RECOVERY(tp->t_flags) || (ccv->flags & CCF_CWND_LIMITED) == 0)
		return;
	if (!lia->measured || SEQ_GEQ(ccv->curack, lia->round)) {
		lia_measure(lia, shared);
		lia->measured = true;
		lia->round = tp->snd_max;
	}
	tp->snd_cwnd = MIN(cwnd + mptcp_lia_increase(lia->alpha, lia->total, cwnd, tp->t_maxseg, (uint32_t)MAX(ccv->bytes_this_ack, 0),
	    &lia->fraction), (uint32_t)TCP_MAXWIN << tp->snd_scale);
}

static struct cc_algo lia_algorithm = {
	.name = MPTCP_LIA_NAME,
	.cc_data_sz = lia_data_size,
	.cb_init = lia_init,
	.cb_destroy = lia_destroy,
	.ack_received = lia_ack_received,
	.cong_signal = newreno_cc_cong_signal,
	.post_recovery = newreno_cc_post_recovery,
	.after_idle = newreno_cc_after_idle,
};

int
mptcp_lia_attach(void)
{
	lia_algorithm.flags = 0;
	return (cc_register_algo(&lia_algorithm));
}

bool
mptcp_lia_busy(void)
{
	return (atomic_load_int(&lia_algorithm.cc_refcount) != 0);
}

int
mptcp_lia_detach(void)
{
	int error;

	/* Nobody takes it up any more; and as it is checked under the same lock, nobody who just did is overlooked. */
	CC_LIST_WLOCK();
	lia_algorithm.flags |= CC_MODULE_BEING_REMOVED;
	CC_LIST_WUNLOCK();
	error = cc_deregister_algo(&lia_algorithm);
	if (error != 0) {
		CC_LIST_WLOCK();
		lia_algorithm.flags &= ~CC_MODULE_BEING_REMOVED;
		CC_LIST_WUNLOCK();
	}
	return (error);
}
