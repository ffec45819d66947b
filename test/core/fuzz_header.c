/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lisp_header header, again;
	enum lisp_drop cause;
	uint8_t out[LISP_HEADER_SIZE];

	if (!lisp_header_parse(data, size, &header, &cause))
		return (0);
	lisp_header_write(&header, out);
	expect(lisp_header_parse(out, sizeof(out), &again, &cause));
	expect(memcmp(&header, &again, sizeof(header)) == 0);
	return (0);
}
