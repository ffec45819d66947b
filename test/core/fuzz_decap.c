/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

/* Six octets of outer header, then the UDP payload. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lisp_tables tables;
	struct lisp_decap_plan plan;
	struct lisp_outer outer;
	uint8_t *packet;

	if (size < 6)
		return (0);
	if (tables.mapcache == NULL) {
		site_up(&tables);
		tables.glean = true;
	}
	tables.source_check = data[0] & 1;
	memset(&outer, 0, sizeof(outer));
	outer.dst = data[0] & 2 ? A("2001:db8:f1::2") : A("203.0.113.2");
	outer.src = data[0] & 4 ? A("203.0.123.2") : A("203.0.99.9");
	outer.tos = data[1];
	outer.ttl = data[2];
	packet = malloc(size - 6 + 1);
	memcpy(packet, data + 6, size - 6);
	lisp_decap_decide(&tables, &outer, packet, size - 6, size - 6, data[3], &plan);
	if (plan.verdict == LISP_FORWARD) {
		expect(plan.inner.length + LISP_HEADER_SIZE <= size - 6);
		lisp_decap_apply(&plan, packet + LISP_HEADER_SIZE);
		if (plan.glean) {
			struct lisp_flow reverse = lisp_flow_reverse(&plan.inner.flow);

			(void)lisp_pins_glean(tables.pins, &reverse, &plan.path, data[3]);
		}
	} else
		expect(plan.cause != LISP_DROP_NONE && plan.cause < LISP_DROP_COUNT);
	free(packet);
	return (0);
}
