/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

/* The first octet says how much of the rest is at hand. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lisp_inner inner;
	enum lisp_drop cause;
	size_t look;
	uint8_t *packet;

	if (size < 1)
		return (0);
	look = data[0] < size - 1 ? data[0] : size - 1;
	packet = malloc(look == 0 ? 1 : look);
	memcpy(packet, data + 1, look);
	if (lisp_inner_parse(packet, size - 1, look, false, &inner, &cause)) {
		expect(inner.length <= size - 1 && inner.header_length <= inner.length);
		expect(inner.header_length <= look && inner.ttl != 0);
		lisp_inner_rewrite(packet, &inner, 0x55, 1);
		expect(lisp_inner_parse(packet, size - 1, look, false, &inner, &cause) && inner.ttl == 1 && inner.tos == 0x55);
	} else
		expect(cause != LISP_DROP_NONE && cause < LISP_DROP_COUNT);
	free(packet);
	return (0);
}
