/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection level's receive queue: every order of a few runs, overlaps, the window, and many runs against a plain array. */
#include "tap.h"
#include <mptcp_reassembly.h>

static unsigned char got[1 << 16];
static uint64_t origin;
static struct mptcp_reassembly queue;

static unsigned char
octet(uint64_t dsn)
{
	return ((unsigned char)((dsn - origin) * 7 + ((dsn - origin) >> 8)));
}

static void
deliver(uint64_t dsn, const unsigned char *data, uint32_t length)
{
	CHECK(dsn - origin + length <= sizeof(got));
	memcpy(got + (dsn - origin), data, length);
}

/* What glue does with octets of a subflow. Returns how many were held or delivered. */
static uint32_t
arrive(uint64_t dsn, uint32_t length, struct mptcp_arrival *arrival)
{
	unsigned char *data = malloc(length + 1);
	struct mptcp_chunk *chunk;
	struct mptcp_piece piece;
	uint32_t i, used = 0;

	for (i = 0; i < length; i++)
		data[i] = octet(dsn + i);
	memset(arrival, 0, sizeof(*arrival));
	arrival->dsn = dsn;
	arrival->length = length;
	while (mptcp_reassembly_next_piece(&queue, arrival, &piece)) {
		CHECK(piece.length > 0 && piece.dsn == dsn + piece.offset);
		used += piece.length;
		if (piece.in_order) {
			deliver(piece.dsn, data + piece.offset, piece.length);
			mptcp_reassembly_delivered(&queue, piece.length);
		} else if ((chunk = mptcp_reassembly_before(&queue, piece.dsn)) != NULL) {
			chunk->data = realloc(chunk->data, chunk->length + piece.length);
			memcpy((unsigned char *)chunk->data + chunk->length, data + piece.offset, piece.length);
			mptcp_reassembly_extend(&queue, chunk, piece.length);
		} else {
			chunk = calloc(1, sizeof(*chunk));
			chunk->dsn = piece.dsn;
			chunk->length = piece.length;
			chunk->data = malloc(piece.length);
			memcpy(chunk->data, data + piece.offset, piece.length);
			if (!mptcp_reassembly_hold(&queue, chunk)) {
				used -= piece.length;
				free(chunk->data);
				free(chunk);
			}
		}
		while ((chunk = mptcp_reassembly_pull(&queue)) != NULL) {
			deliver(chunk->dsn, chunk->data, chunk->length);
			free(chunk->data);
			free(chunk);
		}
	}
	free(data);
	CHECK(used + arrival->duplicate + arrival->beyond <= length);
	return (used);
}

static void
start(uint64_t first, uint32_t window, uint32_t chunks)
{
	struct mptcp_chunk *chunk;

	while ((chunk = mptcp_reassembly_take_any(&queue)) != NULL) {
		free(chunk->data);
		free(chunk);
	}
	CHECK_EQUAL(queue.octets, 0);
	CHECK_EQUAL(queue.chunks, 0);
	CHECK(queue.root == NULL && queue.last == NULL);
	memset(got, 0, sizeof(got));
	origin = first;
	mptcp_reassembly_init(&queue, first, first + window, chunks, 42);
}

static void
check_got(uint64_t length)
{
	uint64_t i;

	CHECK_EQUAL(queue.next - origin, length);
	for (i = 0; i < length; i++)
		if (got[i] != octet(origin + i)) {
			CHECK_EQUAL(i, -1);
			return;
		}
}

static void
every_order_of_four(void)
{
	static const uint32_t edges[5] = { 0, 10, 15, 100, 128 };
	struct mptcp_arrival arrival;
	unsigned a, b, c, d;

	for (a = 0; a < 4; a++)
		for (b = 0; b < 4; b++)
			for (c = 0; c < 4; c++)
				for (d = 0; d < 4; d++) {
					unsigned order[4] = { a, b, c, d }, i;

					if (a == b || a == c || a == d || b == c || b == d || c == d)
						continue;
					/* across the end of the numbers */
					start(UINT64_MAX - 50, 200, 100);
					for (i = 0; i < 4; i++)
						CHECK_EQUAL(arrive(origin + edges[order[i]], edges[order[i] + 1] - edges[order[i]], &arrival),
						    edges[order[i] + 1] - edges[order[i]]);
					check_got(128);
					CHECK_EQUAL(queue.chunks, 0);
				}
}

static void
overlaps(void)
{
	struct mptcp_arrival arrival;

	start(1000, 1000, 100);
	CHECK_EQUAL(arrive(1100, 100, &arrival), 100);
	CHECK_EQUAL(arrive(1300, 100, &arrival), 100);
	CHECK_EQUAL(queue.chunks, 2);
	CHECK_EQUAL(queue.octets, 200);
	CHECK_EQUAL(arrive(1100, 100, &arrival), 0);
	CHECK_EQUAL(arrival.duplicate, 100);
	CHECK_EQUAL(arrive(1150, 200, &arrival), 100);	/* the gap between the two */
	CHECK_EQUAL(arrival.duplicate, 100);
	CHECK_EQUAL(queue.chunks, 2);			/* appended to the first */
	CHECK_EQUAL(arrive(1050, 500, &arrival), 200);	/* before and behind */
	CHECK_EQUAL(arrival.duplicate, 300);
	CHECK_EQUAL(queue.octets, 500);
	CHECK_EQUAL(arrive(900, 700, &arrival), 100);	/* what went before, the missing part, what is held, more */
	CHECK_EQUAL(arrival.duplicate, 600);
	check_got(600);
	CHECK_EQUAL(arrive(1000, 600, &arrival), 0);
	CHECK_EQUAL(arrival.duplicate, 600);
}

static void
the_window(void)
{
	struct mptcp_arrival arrival;

	start(1000, 100, 100);
	CHECK_EQUAL(arrive(1090, 20, &arrival), 10);
	CHECK_EQUAL(arrival.beyond, 10);
	CHECK_EQUAL(arrive(1100, 20, &arrival), 0);
	CHECK_EQUAL(arrival.beyond, 20);
	CHECK_EQUAL(arrive(1000 + (UINT64_C(1) << 62), 20, &arrival), 0);
	CHECK_EQUAL(arrival.beyond, 20);
	CHECK_EQUAL(arrive(1000 - (UINT64_C(1) << 62), 20, &arrival), 0);
	CHECK_EQUAL(arrival.duplicate, 20);
	mptcp_reassembly_set_edge(&queue, 1050);	/* what was offered stays offered */
	CHECK_EQUAL(arrive(1000, 200, &arrival), 90);
	check_got(100);
	CHECK_EQUAL(arrive(1100, 1, &arrival), 0);
	mptcp_reassembly_set_edge(&queue, 1101);
	CHECK_EQUAL(arrive(1100, 2, &arrival), 1);
	check_got(101);
	mptcp_reassembly_init(&queue, 50, 40, 1, 0);	/* an edge before the start is no window */
	CHECK_EQUAL(arrive(50, 1, &arrival), 0);
}

static void
a_full_queue(void)
{
	struct mptcp_arrival arrival;
	uint32_t i;

	start(1, 10000, 10);
	for (i = 0; i < 20; i++)
		CHECK_EQUAL(arrive(3 + 2 * i, 1, &arrival), i < 10);
	CHECK_EQUAL(queue.chunks, 10);
	CHECK_EQUAL(arrive(1, 100, &arrival), 90);	/* in order: always welcome */
	check_got(100);
}

/* The depth of the treap, without recursion: by the way to each chunk. */
static unsigned
depth(void)
{
	unsigned deepest = 0, way;
	struct mptcp_chunk *chunk, *at;

	for (chunk = queue.first; chunk != NULL; chunk = chunk->next) {
		for (way = 0, at = queue.root; at != chunk; way++) {
			CHECK(at->priority >= chunk->priority);
			at = mptcp_dsn_after(at->dsn, chunk->dsn) ? at->left : at->right;
		}
		deepest = way > deepest ? way : deepest;
	}
	return (deepest);
}

static void
many_single_octets(void)
{
	struct mptcp_arrival arrival;
	uint32_t i;

	start(1, sizeof(got), sizeof(got));
	for (i = 0; i < 20000; i++)
		CHECK_EQUAL(arrive(3 + 2 * i, 1, &arrival), 1);
	CHECK_EQUAL(queue.chunks, 20000);
	CHECK(depth() < 60);
	start(1, sizeof(got), sizeof(got));
	for (i = 20000; i > 0; i--)
		CHECK_EQUAL(arrive(1 + 2 * i, 1, &arrival), 1);
	CHECK(depth() < 60);
	CHECK_EQUAL(arrive(1, 40000, &arrival), 20001);	/* the first and every gap */
	check_got(40001);
}

static void
random_runs(void)
{
	struct mptcp_arrival arrival;
	uint64_t state = 88172645463325252u;
	unsigned round, runs;

	for (round = 0; round < 30; round++) {
		start(state, sizeof(got), 1000);
		for (runs = 0; queue.next - origin < sizeof(got) && runs < 100000; runs++) {
			uint32_t length, at;

			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			length = 1 + (uint32_t)(state >> 40) % 3000;
			at = (uint32_t)(queue.next - origin) + (uint32_t)(state & 0xffff) % 20000;
			at = at > 1000 ? at - 1000 : 0;
			(void)arrive(origin + at, length, &arrival);
			CHECK(queue.octets <= queue.edge - queue.next);
		}
		check_got(sizeof(got));
	}
}

int
main(void)
{
	TEST(every_order_of_four);
	TEST(overlaps);
	TEST(the_window);
	TEST(a_full_queue);
	TEST(many_single_octets);
	TEST(random_runs);
	start(0, 0, 0);
	DONE();
}
