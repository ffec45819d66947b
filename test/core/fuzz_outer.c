/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lisp_outer outer;
	enum lisp_drop cause;
	size_t at, payload;

	at = lisp_outer_parse(data, size, &outer, &payload, &cause);
	if (at != 0)
		expect(at + payload <= size && payload >= LISP_HEADER_SIZE);
	else
		expect(cause != LISP_DROP_NONE && cause < LISP_DROP_COUNT);
	return (0);
}
