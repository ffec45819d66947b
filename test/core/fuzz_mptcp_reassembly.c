/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets as a program of arrivals, held against a plain bitmap of what was taken. */
#include "fuzz.h"
#include <mptcp_reassembly.h>

#define	SPACE	4096
#define	CHUNKS	64

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool have[SPACE];
	static struct mptcp_chunk pool[CHUNKS];
	struct mptcp_reassembly queue;
	struct mptcp_arrival arrival;
	struct mptcp_piece piece;
	struct mptcp_chunk *chunk;
	uint64_t origin, held;
	uint32_t edge, i, next = 0;

	if (size < 10)
		return (0);
	origin = lisp_get64(data);
	edge = lisp_get16(data + 8) % SPACE;
	memset(have, 0, sizeof(have));
	memset(pool, 0, sizeof(pool));
	mptcp_reassembly_init(&queue, origin, origin + edge, CHUNKS / 2, data[0]);
	for (data += 10, size -= 10; size >= 5; data += 5, size -= 5) {
		uint32_t at = lisp_get16(data + 1), fresh = 0, used = 0;

		if (data[0] & 0x80) {
			at %= SPACE;
			edge = at > edge ? at : edge;
			mptcp_reassembly_set_edge(&queue, origin + at);
			expect(queue.edge == origin + edge);
			continue;
		}
		memset(&arrival, 0, sizeof(arrival));
		arrival.dsn = origin + at - 100;	/* some of them begin too early */
		arrival.length = lisp_get16(data + 3) % 600;
		for (i = 0; i < arrival.length; i++)
			fresh += at + i >= 100 && at + i - 100 < edge && !have[at + i - 100];
		while (mptcp_reassembly_next_piece(&queue, &arrival, &piece)) {
			uint64_t where = piece.dsn - origin;

			expect(piece.length > 0 && where + piece.length <= edge && piece.in_order == (where == next));
			for (i = 0; i < piece.length; i++)
				expect(!have[where + i]);
			used += piece.length;
			if (piece.in_order) {
				mptcp_reassembly_delivered(&queue, piece.length);
				next += piece.length;
			} else if ((data[0] & 1) && (chunk = mptcp_reassembly_before(&queue, piece.dsn)) != NULL)
				mptcp_reassembly_extend(&queue, chunk, piece.length);
			else {
				for (i = 0; pool[i].data != NULL; i++)
					;
				pool[i].data = pool;
				pool[i].dsn = piece.dsn;
				pool[i].length = piece.length;
				if (!mptcp_reassembly_hold(&queue, &pool[i])) {
					expect(queue.chunks == CHUNKS / 2);
					pool[i].data = NULL;
					fresh -= piece.length;
					used -= piece.length;
					continue;
				}
			}
			for (i = 0; i < piece.length; i++)
				have[where + i] = true;
			while ((chunk = mptcp_reassembly_pull(&queue)) != NULL) {
				expect(chunk->dsn == origin + next);
				next += chunk->length;
				chunk->data = NULL;
			}
		}
		expect(used == fresh);
		expect(queue.next == origin + next && (next == SPACE || next >= edge || !have[next]));
		held = 0;
		for (i = next; i < SPACE; i++)
			held += have[i];
		expect(queue.octets == held);
	}
	while ((chunk = mptcp_reassembly_take_any(&queue)) != NULL)
		;
	expect(queue.octets == 0 && queue.chunks == 0 && queue.root == NULL);
	return (0);
}
