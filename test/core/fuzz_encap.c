/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lisp_tables tables;
	struct lisp_encap_plan plan;
	struct lisp_inner inner;
	struct lisp_addr source = A("192.0.2.14");
	uint8_t out[LISP_ICMP_MAX];

	if (tables.mapcache == NULL)
		site_up(&tables);
	lisp_encap_packet(&tables, 0, data, size, size, 0, &inner, &plan);
	switch (plan.verdict) {
	case LISP_FORWARD:
		expect(inner.length <= plan.mtu && inner.length <= size);
		lisp_encap_write(&plan, inner.length, out);
		break;
	case LISP_TOO_BIG:
		expect(inner.length > plan.mtu);
		if (inner.af == LISP_AF_V6)
			source = A("2001:db8:1::e");
		expect(lisp_icmp_too_big(data, &inner, size, &source, plan.mtu, out, sizeof(out)) <= sizeof(out));
		break;
	default:
		expect(plan.cause != LISP_DROP_NONE && plan.cause < LISP_DROP_COUNT);
	}
	return (0);
}
