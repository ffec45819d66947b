/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Octets as a program of changes and lookups on the map-cache, held against a plain list. The first octet says whether there are some
 * prefixes already, so many that lookups go by an index, and whether each has a locator set of its own.
 */
#include "fuzz.h"

#define	MODEL	400
#define	MANY	300

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lisp_prefix model[MODEL];
	static uint32_t set_of[MODEL];
	struct lisp_mapcache *cache = lisp_mapcache_new(MODEL);
	struct lisp_mapping m, out;
	unsigned count = 0, number = 0, mode = size == 0 ? 0 : *data++, i;

	memset(&m, 0, sizeof(m));
	m.nlocators = 1;
	m.locators[0].rloc = lisp_addr_v4((const uint8_t *)"\xcb\0\x71\1");
	for (i = 0; (mode & 1) && i < MANY; i++) {
		bool v6 = mode & 2;

		memset(&m.eid, 0, sizeof(m.eid));
		m.eid.addr.af = v6 ? LISP_AF_V6 : LISP_AF_V4;
		lisp_put32(m.eid.addr.bytes, 0x0a000000u + (i * 0x9e3779b1u >> 20 << 8));
		m.eid.len = (uint8_t)(v6 ? 28 + i % 3 * 18 : 22 + i % 3);
		lisp_prefix_mask(&m.eid);
		lisp_put16(m.locators[0].rloc.bytes + 2, (uint16_t)(mode & 4 ? count : 7));
		set_of[count] = mode & 4 ? count : 7;
		expect(lisp_mapcache_set(cache, &m) == 0);
		if (lisp_mapcache_count(cache) > count)
			model[count++] = m.eid;
	}
	for (size -= size != 0; size >= 6; data += 6, size -= 6) {
		const struct lisp_locator *locators;
		unsigned nlocators;
		uint8_t action;

		memset(&m.eid, 0, sizeof(m.eid));
		m.eid.addr.af = data[0] & 0x80 ? LISP_AF_V6 : LISP_AF_V4;
		memcpy(m.eid.addr.bytes, data + 2, 4);
		if (m.eid.addr.af == LISP_AF_V6)
			memcpy(m.eid.addr.bytes + 12, data + 2, 4);
		m.eid.len = data[1] % (m.eid.addr.af == LISP_AF_V6 ? 129 : 33);
		lisp_prefix_mask(&m.eid);
		for (i = 0; i < count && !lisp_prefix_equal(&model[i], &m.eid); i++)
			;
		switch (data[0] & 3) {
		case 0:
		case 1:
			number = number % 1000 + 1;
			lisp_put16(m.locators[0].rloc.bytes + 2, (uint16_t)(1000 + (mode & 4 ? number : number % 3)));
			expect(lisp_mapcache_set(cache, &m) == (i == MODEL ? ENOSPC : 0));
			if (i == count && count < MODEL)
				model[count++] = m.eid;
			if (i < MODEL)
				set_of[i] = 1000 + (mode & 4 ? number : number % 3);
			break;
		case 2:
			expect(lisp_mapcache_delete(cache, 0, &m.eid) == (i == count ? ENOENT : 0));
			if (i < count) {
				model[i] = model[--count];
				set_of[i] = set_of[count];
			}
			break;
		case 3: {
			int best = -1;

			for (i = 0; i < count; i++)
				if (lisp_prefix_contains(&model[i], &m.eid.addr) && (best < 0 || model[i].len > model[best].len))
					best = (int)i;
			expect(lisp_mapcache_lookup(cache, 0, &m.eid.addr, &out) == (best < 0 ? ENOENT : 0));
			if (best >= 0)
				expect(lisp_prefix_equal(&out.eid, &model[best]));
			expect(lisp_mapcache_peek(cache, 0, &m.eid.addr, &action, &locators, &nlocators) == (best < 0 ? ENOENT : 0));
			if (best >= 0)
				expect(nlocators == 1 && lisp_get16(locators[0].rloc.bytes + 2) == set_of[best]);
		}
		}
		expect(lisp_mapcache_count(cache) == count);
	}
	lisp_mapcache_free(cache);
	return (0);
}
