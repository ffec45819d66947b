/* SPDX-License-Identifier: BSD-2-Clause */
/* RFC 9300 section 5: octets on one side, the value on the other, both directions; every truncation; contradictions. */
#include "tap.h"
#include "packets.h"
#include <lisp_header.h>

static const struct {
	const char *bytes;
	struct lisp_header header;
} canonical[] = {
	{ "00 000000 00000000", { 0, 0, 0, 0 } },
	{ "80 abcdef 00000000", { LISP_FLAG_N, 0xabcdef, 0, 0 } },
	{ "a0 000001 00000000", { LISP_FLAG_N | LISP_FLAG_E, 1, 0, 0 } },
	{ "40 000000 80000003", { LISP_FLAG_L, 0, 0, 0x80000003u } },
	{ "10 123456 00000000", { LISP_FLAG_V, 0x123456, 0, 0 } },
	{ "08 000000 ffffff00", { LISP_FLAG_I, 0, LISP_IID_MAX, 0 } },
	{ "48 000000 00002a81", { LISP_FLAG_L | LISP_FLAG_I, 0, 42, 0x81 } },
	{ "e8 7fffff 010203ff", { LISP_FLAG_N | LISP_FLAG_L | LISP_FLAG_E | LISP_FLAG_I, 0x7fffff, 0x010203, 0xff } },
};

static void
both_directions(void)
{
	size_t i, length;

	for (i = 0; i < sizeof(canonical) / sizeof(canonical[0]); i++) {
		unsigned char *bytes = unhex(canonical[i].bytes, &length), out[LISP_HEADER_SIZE];
		struct lisp_header header;
		enum lisp_drop cause = LISP_DROP_NONE;

		CHECK(lisp_header_parse(bytes, length, &header, &cause));
		CHECK_EQUAL(header.flags, canonical[i].header.flags);
		CHECK_EQUAL(header.nonce, canonical[i].header.nonce);
		CHECK_EQUAL(header.iid, canonical[i].header.iid);
		CHECK_EQUAL(header.status_bits, canonical[i].header.status_bits);
		lisp_header_write(&canonical[i].header, out);
		CHECK_BYTES(out, bytes, LISP_HEADER_SIZE);
		free(bytes);
	}
}

static void
every_truncation(void)
{
	unsigned char whole[LISP_HEADER_SIZE] = { 0x88, 1, 2, 3, 4, 5, 6, 7 };
	size_t length;

	for (length = 0; length < LISP_HEADER_SIZE; length++) {
		unsigned char *bytes = cut(whole, length);
		struct lisp_header header;
		enum lisp_drop cause = LISP_DROP_NONE;

		CHECK(!lisp_header_parse(bytes, length, &header, &cause));
		CHECK_EQUAL(cause, LISP_DROP_OUTER_TRUNCATED);
		free(bytes);
	}
}

static void
contradictions(void)
{
	struct lisp_header header;
	enum lisp_drop cause = LISP_DROP_NONE;
	unsigned char both[8] = { 0x90, 1, 2, 3, 0, 0, 0, 0 };
	unsigned char echo[8] = { 0x20, 1, 2, 3, 0, 0, 0, 0 };
	unsigned char reserved[8] = { 0x04, 1, 2, 3, 4, 5, 6, 7 };
	unsigned char unflagged[8] = { 0x00, 1, 2, 3, 4, 5, 6, 7 };
	unsigned kk;

	/* N and V: the field is a nonce (RFC 9300 section 5.3). */
	CHECK(lisp_header_parse(both, 8, &header, &cause));
	CHECK_EQUAL(header.flags, LISP_FLAG_N);
	CHECK_EQUAL(header.nonce, 0x010203);
	/* E without N has no meaning. */
	CHECK(lisp_header_parse(echo, 8, &header, &cause));
	CHECK_EQUAL(header.flags, 0);
	CHECK_EQUAL(header.nonce, 0);
	/* The reserved bit is ignored; so are fields without their flag. */
	CHECK(lisp_header_parse(reserved, 8, &header, &cause));
	CHECK_EQUAL(header.flags, 0);
	CHECK(lisp_header_parse(unflagged, 8, &header, &cause));
	CHECK_EQUAL(header.iid, 0);
	CHECK_EQUAL(header.status_bits, 0);
	for (kk = 1; kk < 4; kk++) {
		unsigned char encrypted[8] = { (unsigned char)kk, 0, 0, 0, 0, 0, 0, 0 };

		CHECK(!lisp_header_parse(encrypted, 8, &header, &cause));
		CHECK_EQUAL(cause, LISP_DROP_LISP_ENCRYPTED);
	}
}

static void
drop_causes_have_names(void)
{
	unsigned i, j;

	for (i = 0; i < LISP_DROP_COUNT; i++) {
		CHECK(lisp_drop_name(i) != NULL && lisp_drop_text(i) != NULL);
		for (j = 0; j < i; j++)
			CHECK(strcmp(lisp_drop_name(i), lisp_drop_name(j)) != 0);
	}
	CHECK(lisp_drop_name(LISP_DROP_COUNT) == NULL);
	CHECK(lisp_drop_text(LISP_DROP_COUNT) == NULL);
}

int
main(void)
{
	TEST(both_directions);
	TEST(every_truncation);
	TEST(contradictions);
	TEST(drop_causes_have_names);
	DONE();
}
