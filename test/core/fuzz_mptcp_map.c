/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets as a program of mappings, held against an array with the number of every octet. */
#include "fuzz.h"
#include <mptcp_map.h>

#define	SPACE	1024
#define	SLOTS	16

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t model[SPACE];
	struct mptcp_mapping slots[SLOTS], m, *found;
	struct mptcp_map map;
	uint64_t dsn;
	uint32_t start, base = 0, left, i, at, endless = SPACE;	/* where the infinite mapping begins */
	uint64_t difference = 0;				/* of it */
	bool infinite;

	if (size < 4)
		return (0);
	start = lisp_get32(data);
	memset(model, 0, sizeof(model));
	mptcp_map_init(&map, slots, SLOTS, start);
	for (data += 4, size -= 4; size >= 6; data += 6, size -= 6) {
		enum mptcp_map_verdict verdict;
		bool fresh = false, contradicts = false;

		at = lisp_get16(data + 1);
		switch (data[0] % 4) {
		case 0:
			at %= SPACE;
			base = at > base ? at : base;
			mptcp_map_advance(&map, start + at);
			expect(map.base == start + base);
			break;
		case 1:
			/* Not often, or nothing else happens. */
			if (data[5] > 20)
				continue;
			at = at % SPACE > base ? at % SPACE : base;
			m.dsn = 1 + at + (data[0] & 0x40 ? 7u : 0u) * UINT64_C(0x1000000000);
			if (!mptcp_map_set_infinite(&map, start + at, m.dsn)) {
				expect(endless != SPACE && difference != m.dsn - at);
				break;
			}
			expect(endless == SPACE || difference == m.dsn - at);
			difference = m.dsn - at;
			endless = at < endless ? at : endless;
			for (i = endless; i < SPACE; i++)
				model[i] = difference + i;
			break;
		default:
			memset(&m, 0, sizeof(m));
			m.ssn = start + at;
			m.dsn = 1 + at + (data[0] & 0x40 ? 7u : 0u) * UINT64_C(0x1000000000);
			m.length = 1 + lisp_get16(data + 3) % 200;
			m.has_checksum = (data[0] & 0x30) == 0x30;
			m.checksum = data[5];
			verdict = mptcp_map_add(&map, &m, start + SPACE);
			for (i = at; i < at + m.length && i < SPACE; i++) {
				if (i < base)
					continue;
				fresh |= model[i] == 0;
				contradicts |= model[i] != 0 && model[i] != m.dsn + (i - at);
			}
			if (at + m.length <= base)
				expect(verdict == MPTCP_MAP_OLD);
			else if (at + m.length > SPACE)
				expect(verdict == MPTCP_MAP_OUTSIDE);
			else if (at + m.length > endless)
				expect(verdict == (m.dsn - at == difference ? MPTCP_MAP_DUPLICATE : MPTCP_MAP_CONFLICT));
			else if (contradicts)
				expect(verdict == MPTCP_MAP_CONFLICT);
			else if (!fresh)
				expect(verdict == MPTCP_MAP_DUPLICATE || verdict == MPTCP_MAP_CONFLICT);
			else
				expect(verdict == MPTCP_MAP_ADDED || verdict == MPTCP_MAP_CONFLICT || verdict == MPTCP_MAP_FULL);
			if (verdict == MPTCP_MAP_ADDED)
				for (i = at > base ? at : base; i < at + m.length; i++)
					model[i] = m.dsn + (i - at);
		}
		for (i = base; i < SPACE; i++) {
			found = mptcp_map_find(&map, start + i, &dsn, &left, &infinite);
			expect(infinite == (i >= endless));
			expect((found != NULL || infinite) == (model[i] != 0));
			expect(!infinite || (dsn == model[i] && left == UINT32_MAX));
			expect(found == NULL || (dsn == model[i] && left >= 1 && left <= found->length));
			expect(left == UINT32_MAX || i + left == SPACE || i + left == endless || model[i + left] != model[i] + left || found != NULL);
		}
	}
	return (0);
}
