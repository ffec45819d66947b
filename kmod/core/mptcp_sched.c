/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp_sched.h"

uint32_t
mptcp_sched_quota(const struct mptcp_sched_path *path)
{
	uint64_t want = (uint64_t)path->cwnd + 2 * (uint64_t)path->mss;

	if (!path->usable || want <= path->queued)
		return (0);
	want -= path->queued;
	return (want < path->space ? (uint32_t)want : path->space);
}

/* Whether backups count: not while another path is usable. */
static bool
backups_count(const struct mptcp_sched_path *paths, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (paths[i].usable && !paths[i].backup)
			return (false);
	return (true);
}

static bool
has_room(const struct mptcp_sched_path *path)
{
	uint32_t quota = mptcp_sched_quota(path);

	/* Less than a segment only to a subflow that has nothing: dribbling makes mappings out of every few octets. */
	return (quota >= path->mss || (quota > 0 && path->queued == 0));
}

int
mptcp_sched_min_rtt(const struct mptcp_sched_path *paths, unsigned count)
{
	bool backups = backups_count(paths, count);
	int best = -1;
	unsigned i;

	for (i = 0; i < count; i++) {
		if ((paths[i].backup && !backups) || !has_room(&paths[i]))
			continue;
		/* One not measured yet counts as quickest, so that it gets measured. */
		if (best < 0 || paths[i].srtt_us < paths[best].srtt_us)
			best = (int)i;
	}
	return (best);
}

int
mptcp_sched_round_robin(const struct mptcp_sched_path *paths, unsigned count, int last)
{
	bool backups = backups_count(paths, count);
	unsigned i, at;

	for (i = 1; i <= count; i++) {
		at = (unsigned)(last + (int)i) % count;
		if ((!paths[at].backup || backups) && has_room(&paths[at]))
			return ((int)at);
	}
	return (-1);
}

/* Bounds beyond which a window or a time is nonsense; they keep a sum of MPTCP_LIA_PATHS products in 64 bits. */
#define	LIA_BOUND	(UINT32_C(1) << 30)

static uint64_t
bounded(uint32_t value)
{
	return (value < LIA_BOUND ? value : LIA_BOUND);
}

/* Whether cwnd / rtt^2 of a is larger: multiplied out, with both times brought below 2^16 if need be. */
static bool
larger_share(const struct mptcp_lia_path *a, const struct mptcp_lia_path *b)
{
	uint64_t rtt_a = bounded(a->srtt_us), rtt_b = bounded(b->srtt_us);

	while ((rtt_a | rtt_b) > UINT16_MAX) {
		rtt_a >>= 1;
		rtt_b >>= 1;
	}
	return (bounded(a->cwnd) * rtt_b * rtt_b > bounded(b->cwnd) * rtt_a * rtt_a);
}

/*
 * alpha = total * max(cwnd / rtt^2) / sum(cwnd / rtt)^2. Multiplied out by the rtt of the best path, with den = sum(cwnd * rtt_best /
 * rtt), it is (total / den) * (cwnd_best / den): two quotients of moderate size, where the squares would need 128 bits.
 */
uint32_t
mptcp_lia_alpha(const struct mptcp_lia_path *paths, unsigned count, uint64_t *total)
{
	const struct mptcp_lia_path *best = NULL;
	uint64_t den = 0, sum = 0, alpha;
	unsigned i;

	LISP_ASSERT(count <= MPTCP_LIA_PATHS);
	for (i = 0; i < count; i++) {
		if (paths[i].srtt_us == 0 || paths[i].cwnd == 0)
			continue;
		sum += bounded(paths[i].cwnd);
		if (best == NULL || larger_share(&paths[i], best))
			best = &paths[i];
	}
	*total = sum;
	if (best == NULL)
		return (MPTCP_LIA_ONE);
	for (i = 0; i < count; i++)
		if (paths[i].srtt_us != 0)
			den += bounded(paths[i].cwnd) * bounded(best->srtt_us) / bounded(paths[i].srtt_us);
	/* den is at least the best path's window, so the second quotient is at most 1; the first may be large, and is capped. */
	alpha = (sum << 24) / den;
	if (alpha > (uint64_t)MPTCP_LIA_MAX << 8)
		alpha = (uint64_t)MPTCP_LIA_MAX << 8;
	alpha = (alpha * ((bounded(best->cwnd) << 24) / den)) >> 32;
	return (alpha == 0 ? 1 : (uint32_t)alpha);
}

uint32_t
mptcp_lia_increase(uint32_t alpha, uint64_t total, uint32_t cwnd, uint32_t mss, uint32_t acked, uint32_t *fraction)
{
	uint64_t product, coupled, alone, sum;

	if (cwnd == 0)
		return (0);
	if (total < cwnd)
		total = cwnd;
	/* More than a window is never acknowledged at a time; the caps only keep nonsense from overflowing. */
	acked = acked < (1u << 19) ? acked : (1u << 19);
	mss = mss < (1u << 16) ? mss : (1u << 16);
	alpha = alpha < MPTCP_LIA_MAX ? alpha : MPTCP_LIA_MAX;
	product = ((uint64_t)acked * mss) << 16;
	alone = product / cwnd;
	coupled = product / total;
	/* Whole and rest apart: each product stays in 64 bits. */
	coupled = (coupled >> 16) * alpha + (((coupled & 0xffff) * alpha) >> 16);
	sum = (coupled < alone ? coupled : alone) + *fraction;
	*fraction = (uint32_t)(sum & 0xffff);
	sum >>= 16;
	return (sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX);
}
