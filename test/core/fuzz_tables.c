/* SPDX-License-Identifier: BSD-2-Clause */
/* Octets as a program of changes and lookups on the map-cache, held against a plain list. */
#include "fuzz.h"

#define	MODEL	64

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lisp_prefix model[MODEL];
	struct lisp_mapcache *cache = lisp_mapcache_new(MODEL);
	struct lisp_mapping m, out;
	unsigned count = 0, i;

	for (; size >= 6; data += 6, size -= 6) {
		memset(&m, 0, sizeof(m));
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
			expect(lisp_mapcache_set(cache, &m) == (i == MODEL ? ENOSPC : 0));
			if (i == count && count < MODEL)
				model[count++] = m.eid;
			break;
		case 2:
			expect(lisp_mapcache_delete(cache, 0, &m.eid) == (i == count ? ENOENT : 0));
			if (i < count)
				model[i] = model[--count];
			break;
		case 3: {
			int best = -1;

			for (i = 0; i < count; i++)
				if (lisp_prefix_contains(&model[i], &m.eid.addr) && (best < 0 || model[i].len > model[best].len))
					best = (int)i;
			expect(lisp_mapcache_lookup(cache, 0, &m.eid.addr, &out) == (best < 0 ? ENOENT : 0));
			if (best >= 0)
				expect(lisp_prefix_equal(&out.eid, &model[best]));
		}
		}
		expect(lisp_mapcache_count(cache) == count);
	}
	lisp_mapcache_free(cache);
	return (0);
}
