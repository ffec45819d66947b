/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_header.h"

bool
lisp_header_parse(const uint8_t *data, size_t length, struct lisp_header *header, enum lisp_drop *cause)
{
	memset(header, 0, sizeof(*header));
	if (length < LISP_HEADER_SIZE) {
		*cause = LISP_DROP_OUTER_TRUNCATED;
		return (false);
	}
	header->flags = data[0];
	if (header->flags & LISP_FLAG_KK) {
		*cause = LISP_DROP_LISP_ENCRYPTED;
		return (false);
	}
	header->flags &= (uint8_t)~LISP_FLAG_R;
	if (header->flags & LISP_FLAG_N)
		header->flags &= (uint8_t)~LISP_FLAG_V;
	else
		header->flags &= (uint8_t)~LISP_FLAG_E;
	if (header->flags & (LISP_FLAG_N | LISP_FLAG_V))
		header->nonce = lisp_get24(data + 1);
	if (header->flags & LISP_FLAG_I) {
		header->iid = lisp_get24(data + 4);
		if (header->flags & LISP_FLAG_L)
			header->status_bits = data[7];
	} else if (header->flags & LISP_FLAG_L)
		header->status_bits = lisp_get32(data + 4);
	return (true);
}

void
lisp_header_write(const struct lisp_header *header, uint8_t *out)
{
	uint8_t flags = header->flags & (uint8_t)~(LISP_FLAG_R | LISP_FLAG_KK);

	LISP_ASSERT((flags & (LISP_FLAG_N | LISP_FLAG_V)) != (LISP_FLAG_N | LISP_FLAG_V));
	LISP_ASSERT(header->iid <= LISP_IID_MAX);
	memset(out, 0, LISP_HEADER_SIZE);
	out[0] = flags;
	if (flags & (LISP_FLAG_N | LISP_FLAG_V))
		lisp_put24(out + 1, header->nonce);
	if (flags & LISP_FLAG_I) {
		lisp_put24(out + 4, header->iid);
		if (flags & LISP_FLAG_L)
			out[7] = (uint8_t)header->status_bits;
	} else if (flags & LISP_FLAG_L)
		lisp_put32(out + 4, header->status_bits);
}
