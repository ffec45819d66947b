/* SPDX-License-Identifier: BSD-2-Clause */
/* Choice of a subflow, and LIA (RFC 6356) against the same formulas in floating point. */
#include "tap.h"
#include <mptcp_sched.h>

#define	PATH(...)	{ .usable = true, .mss = 1460, .cwnd = 14600, .space = 1 << 20, __VA_ARGS__ }
#define	COUNT(paths)	(sizeof(paths) / sizeof((paths)[0]))

static void
quota(void)
{
	struct mptcp_sched_path path = PATH(.queued = 0);

	CHECK_EQUAL(mptcp_sched_quota(&path), 14600 + 2920);
	path.queued = 17519;
	CHECK_EQUAL(mptcp_sched_quota(&path), 1);
	path.queued = 17520;
	CHECK_EQUAL(mptcp_sched_quota(&path), 0);
	path.queued = UINT32_MAX;
	CHECK_EQUAL(mptcp_sched_quota(&path), 0);
	path.queued = 0;
	path.space = 1000;
	CHECK_EQUAL(mptcp_sched_quota(&path), 1000);
	path.cwnd = UINT32_MAX;
	path.space = UINT32_MAX;
	CHECK_EQUAL(mptcp_sched_quota(&path), UINT32_MAX);
	path.usable = false;
	CHECK_EQUAL(mptcp_sched_quota(&path), 0);
}

static void
min_rtt(void)
{
	struct mptcp_sched_path paths[] = { PATH(.srtt_us = 30000), PATH(.srtt_us = 10000), PATH(.srtt_us = 20000) };
	struct mptcp_sched_path dribble[] = { PATH(.srtt_us = 1, .queued = 17000), PATH(.srtt_us = 2) };

	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 0), -1);
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), 1);
	paths[1].queued = 17520;
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), 2);
	paths[2].usable = false;
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), 0);
	paths[0].space = 0;
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), -1);
	paths[0].space = 1 << 20;
	paths[0].srtt_us = 0;
	paths[1].queued = 0;
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), 0);
	/* Less than a segment: not while something is under way. */
	CHECK_EQUAL(mptcp_sched_min_rtt(dribble, 2), 1);
	dribble[0].queued = 0;
	dribble[0].space = 700;
	CHECK_EQUAL(mptcp_sched_min_rtt(dribble, 2), 0);
}

static void
backups(void)
{
	struct mptcp_sched_path paths[] = { PATH(.srtt_us = 10, .backup = true), PATH(.srtt_us = 500), PATH(.srtt_us = 5, .backup = true) };

	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), 1);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 1), 1);
	/* Full is no reason to use a backup, dead is. */
	paths[1].queued = 1 << 20;
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), -1);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 1), -1);
	paths[1].usable = false;
	CHECK_EQUAL(mptcp_sched_min_rtt(paths, 3), 2);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 2), 0);
}

static void
round_robin(void)
{
	struct mptcp_sched_path paths[] = { PATH(.srtt_us = 30000), PATH(.srtt_us = 10000), PATH(.srtt_us = 20000) };

	CHECK_EQUAL(mptcp_sched_round_robin(paths, 0, -1), -1);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, -1), 0);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 0), 1);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 1), 2);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 2), 0);
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 17), 0);	/* there were more once */
	paths[1].usable = false;
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 0), 2);
	paths[2].usable = false;
	CHECK_EQUAL(mptcp_sched_round_robin(paths, 3, 0), 0);
}

static double
alpha_by_the_formula(const struct mptcp_lia_path *paths, unsigned count)
{
	double total = 0, best = 0, sum = 0;
	unsigned i;

	for (i = 0; i < count; i++) {
		double cwnd = paths[i].cwnd, rtt = paths[i].srtt_us;

		if (paths[i].srtt_us == 0 || paths[i].cwnd == 0)
			continue;
		total += cwnd;
		best = cwnd / (rtt * rtt) > best ? cwnd / (rtt * rtt) : best;
		sum += cwnd / rtt;
	}
	return (total * best / (sum * sum));
}

static uint64_t state = 88172645463325252u;

static uint32_t
rnd(uint32_t low, uint32_t high)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (low + (uint32_t)((state >> 20) % ((uint64_t)high - low + 1)));
}

static void
alpha(void)
{
	struct mptcp_lia_path one[] = { { 100000, 20000 } }, twins[] = { { 50000, 30000 }, { 50000, 30000 } }, none[] = { { 50000, 0 } };
	struct mptcp_lia_path paths[8];
	unsigned i, count, round;
	uint64_t total;

	/* One path is TCP; two equal ones share what one would have. */
	CHECK_EQUAL(mptcp_lia_alpha(one, 1, &total), MPTCP_LIA_ONE);
	CHECK_EQUAL(total, 100000);
	CHECK_EQUAL(mptcp_lia_alpha(twins, 2, &total), MPTCP_LIA_ONE / 2);
	CHECK_EQUAL(total, 100000);
	CHECK_EQUAL(mptcp_lia_alpha(none, 1, &total), MPTCP_LIA_ONE);
	CHECK_EQUAL(mptcp_lia_alpha(none, 0, &total), MPTCP_LIA_ONE);
	for (round = 0; round < 100000; round++) {
		double want, is;

		count = rnd(1, 8);
		for (i = 0; i < count; i++) {
			paths[i].cwnd = rnd(1000, rnd(0, 1) ? 100000 : 1 << 27);
			paths[i].srtt_us = rnd(0, 20) == 0 ? 0 : rnd(500, rnd(0, 1) ? 50000 : 3000000);
		}
		is = (double)mptcp_lia_alpha(paths, count, &total) / MPTCP_LIA_ONE;
		if (total == 0)
			continue;
		want = alpha_by_the_formula(paths, count);
		/* Within 5 %, or where it is so small that it does not matter, or capped. */
		if (is < want * 0.95 - 0.001 || is > want * 1.05 + 0.001) {
			if (want >= 4096 && is >= 4000)
				continue;
			printf("# alpha is %f, not %f\n", is, want);
			for (i = 0; i < count; i++)
				printf("#   %u %u\n", paths[i].cwnd, paths[i].srtt_us);
			CHECK(false);
			return;
		}
	}
	/* Nonsense must not trap. */
	for (round = 0; round < 100000; round++) {
		for (i = 0; i < 8; i++) {
			paths[i].cwnd = rnd(0, UINT32_MAX >> rnd(0, 31));
			paths[i].srtt_us = rnd(0, UINT32_MAX >> rnd(0, 31));
		}
		(void)mptcp_lia_alpha(paths, 8, &total);
	}
}

static void
increase(void)
{
	uint32_t fraction = 0, grown = 0, i;
	unsigned round;

	/* Alone, a window grows by a segment for each window acknowledged. */
	for (i = 0; i < 100; i++)
		grown += mptcp_lia_increase(MPTCP_LIA_ONE, 146000, 146000, 1460, 1460, &fraction);
	CHECK(grown >= 1459 && grown <= 1460);
	/* Of two equal ones each grows a quarter as much for its half of the octets. */
	fraction = grown = 0;
	for (i = 0; i < 1000; i++)
		grown += mptcp_lia_increase(MPTCP_LIA_ONE / 2, 146000, 73000, 1460, 73, &fraction);
	CHECK(grown >= 364 && grown <= 366);
	/* However large alpha is: never faster than TCP. */
	fraction = 0;
	CHECK_EQUAL(mptcp_lia_increase(MPTCP_LIA_MAX, 146000, 14600, 1460, 1460, &fraction), 146);
	CHECK_EQUAL(mptcp_lia_increase(UINT32_MAX, 0, 14600, 1460, 1460, &fraction), 146);
	CHECK_EQUAL(mptcp_lia_increase(MPTCP_LIA_ONE, 0, 0, 1460, 1460, &fraction), 0);
	for (round = 0; round < 100000; round++) {
		uint32_t cwnd = rnd(1000, 1 << 27), mss = rnd(500, 9000), acked = rnd(1, 60000), a = rnd(1, 20 * MPTCP_LIA_ONE);
		uint64_t total = cwnd + rnd(0, 1 << 27);
		double alone = (double)acked * mss / cwnd, want = (double)a / MPTCP_LIA_ONE * acked * mss / (double)total, is;

		fraction = 0;
		is = mptcp_lia_increase(a, total, cwnd, mss, acked, &fraction);
		is += fraction / 65536.0;
		want = want < alone ? want : alone;
		CHECK(is <= want + 0.01 && is >= want * 0.99 - 0.01);
		(void)mptcp_lia_increase((uint32_t)state, state >> rnd(0, 63), rnd(0, UINT32_MAX), rnd(0, UINT32_MAX), rnd(0, UINT32_MAX), &fraction);
		CHECK(fraction < 65536);
	}
}

int
main(void)
{
	TEST(quota);
	TEST(min_rtt);
	TEST(backups);
	TEST(round_robin);
	TEST(alpha);
	TEST(increase);
	DONE();
}
