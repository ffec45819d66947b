/* SPDX-License-Identifier: BSD-2-Clause */
#include "site.h"

static void
too_big_v4(void)
{
	size_t length, made;
	unsigned char *bytes = unhex(TCP4, &length), out[LISP_ICMP_MAX];
	struct lisp_addr source = A("192.0.2.14"), wrong = A("2001:db8::1");
	struct lisp_inner inner, answer;
	enum lisp_drop cause;

	CHECK(lisp_inner_parse(bytes, length, length, true, &inner, &cause));
	made = lisp_icmp_too_big(bytes, &inner, length, &source, 1364, out, sizeof(out));
	CHECK_EQUAL(made, 28 + 40);
	CHECK(lisp_inner_parse(out, made, made, true, &answer, &cause));
	CHECK(is_addr(&answer.flow.src, "192.0.2.14") && is_addr(&answer.flow.dst, "192.0.2.1"));
	CHECK(answer.icmp_error);
	CHECK_EQUAL(lisp_sum_fold(lisp_sum(out + 20, made - 20, 0)), 0);
	CHECK_BYTES(out + 20, "\x03\x04", 2);
	CHECK_BYTES(out + 24, "\0\0\x05\x54", 4);
	CHECK_BYTES(out + 28, bytes, length);
	CHECK_EQUAL(lisp_icmp_too_big(bytes, &inner, length, &source, 1364, out, 67), 0);
	CHECK_EQUAL(lisp_icmp_too_big(bytes, &inner, 27, &source, 1364, out, sizeof(out)), 0);
	CHECK_EQUAL(lisp_icmp_too_big(bytes, &inner, length, &wrong, 1364, out, sizeof(out)), 0);
	/* Never an error about an error, nor about the middle of a packet. */
	CHECK_EQUAL(lisp_icmp_too_big(out, &answer, made, &source, 1364, out, sizeof(out)), 0);
	inner.fragment = true;
	CHECK_EQUAL(lisp_icmp_too_big(bytes, &inner, length, &source, 1364, out, sizeof(out)), 0);
	free(bytes);
}

static void
too_big_v6(void)
{
	size_t length, made;
	unsigned char *bytes = unhex(TCP6, &length), out[LISP_ICMP_MAX];
	struct lisp_addr source = A("2001:db8:1::e");
	struct lisp_inner inner, answer;
	enum lisp_drop cause;

	CHECK(lisp_inner_parse(bytes, length, length, true, &inner, &cause));
	made = lisp_icmp_too_big(bytes, &inner, length, &source, 1300, out, sizeof(out));
	CHECK_EQUAL(made, 48 + 60);
	CHECK(lisp_inner_parse(out, made, made, true, &answer, &cause));
	CHECK(answer.icmp_error);
	CHECK_EQUAL(lisp_sum_fold(lisp_sum(out + 40, made - 40,
	    lisp_sum_pseudo(&source, &inner.flow.src, 58, (uint32_t)(made - 40)))), 0);
	CHECK_BYTES(out + 40, "\x02\0", 2);
	CHECK_BYTES(out + 44, "\0\0\x05\x14", 4);
	CHECK_BYTES(out + 48, bytes, length);
	free(bytes);
}

static void
long_packets_are_quoted_in_part(void)
{
	unsigned char *big = calloc(1, 3000), out[LISP_ICMP_MAX];
	struct lisp_addr source = A("192.0.2.14"), source6 = A("2001:db8:1::e");
	struct lisp_inner inner;
	enum lisp_drop cause;
	size_t length;
	unsigned char *head = unhex(TCP4, &length);

	memcpy(big, head, length);
	lisp_put16(big + 2, 3000);
	fix_v4(big);
	CHECK(lisp_inner_parse(big, 3000, 3000, true, &inner, &cause));
	CHECK_EQUAL(lisp_icmp_too_big(big, &inner, 3000, &source, 1364, out, sizeof(out)), 576);
	free(head);
	head = unhex(TCP6, &length);
	memcpy(big, head, length);
	lisp_put16(big + 4, 3000 - 40);
	CHECK(lisp_inner_parse(big, 3000, 3000, true, &inner, &cause));
	CHECK_EQUAL(lisp_icmp_too_big(big, &inner, 3000, &source6, 1364, out, sizeof(out)), 1280);
	free(head);
	free(big);
}

/* What a router between 203.0.113.2 and 203.0.123.2 says about our outer packet. */
#define	QUOTE4 "4500 05dc 0000 4000 3e11 1234 cb007102 cb007b02 c123 10f5 05c8 0000"
#define	NEED_FRAG "45c0 0038 0001 0000 4001 0000 cb007101 cb007102 0304 0000 0000 0578" QUOTE4
#define	TOO_BIG6 "6000 0000 0038 3a40 20010db800f100000000000000000001 20010db800f100000000000000000002 0200 0000 00000514" \
	"6000 0000 0578 113f 20010db800f100000000000000000002 20010db800f200000000000000000002 c123 10f5 0578 0000"

static unsigned char *
valid(const char *hex, size_t *length)
{
	unsigned char *bytes = unhex(hex, length);

	if (bytes[0] >> 4 == 4) {
		fix_v4(bytes);
		lisp_put16(bytes + 22, lisp_sum_fold(lisp_sum(bytes + 20, *length - 20, 0)));
	} else {
		struct lisp_addr src = lisp_addr_v6(bytes + 8), dst = lisp_addr_v6(bytes + 24);

		lisp_put16(bytes + 42, lisp_sum_fold(lisp_sum(bytes + 40, *length - 40,
		    lisp_sum_pseudo(&src, &dst, 58, (uint32_t)(*length - 40)))));
	}
	return (bytes);
}

static void
underlay_says_too_big(void)
{
	size_t length, whole;
	struct lisp_icmp_report report;
	unsigned char *bytes = valid(NEED_FRAG, &whole);

	lisp_icmp_parse(bytes, whole, &report);
	CHECK_EQUAL(report.kind, LISP_ICMP_TOO_BIG);
	CHECK_EQUAL(report.mtu, 1400);
	CHECK_EQUAL(report.source_port, 0xc123);
	CHECK(is_addr(&report.path.local, "203.0.113.2") && is_addr(&report.path.remote, "203.0.123.2"));
	CHECK(is_addr(&report.reporter, "203.0.113.1"));
	for (length = 0; length < whole; length++) {
		unsigned char *part = cut(bytes, length);

		lisp_icmp_parse(part, length, &report);
		CHECK_EQUAL(report.kind, LISP_ICMP_OTHER);
		if (length >= 20)
			lisp_icmp_parse_message(LISP_AF_V4, part + 20, length - 20, &report);
		CHECK_EQUAL(report.kind, LISP_ICMP_OTHER);
		free(part);
	}
	bytes[50] ^= 1;		/* the checksum no longer holds */
	lisp_icmp_parse(bytes, whole, &report);
	CHECK_EQUAL(report.kind, LISP_ICMP_OTHER);
	free(bytes);
	bytes = valid(TOO_BIG6, &whole);
	lisp_icmp_parse(bytes, whole, &report);
	CHECK_EQUAL(report.kind, LISP_ICMP_TOO_BIG);
	CHECK_EQUAL(report.mtu, 1300);
	CHECK(is_addr(&report.path.remote, "2001:db8:f2::2"));
	for (length = 0; length < whole; length++) {
		unsigned char *part = cut(bytes, length);

		if (length >= 40)
			lisp_icmp_parse_message(LISP_AF_V6, part + 40, length - 40, &report);
		else
			lisp_icmp_parse(part, length, &report);
		CHECK_EQUAL(report.kind, LISP_ICMP_OTHER);
		free(part);
	}
	free(bytes);
}

static void
underlay_says_other_things(void)
{
	size_t length;
	struct lisp_icmp_report report;
	unsigned char *bytes = valid(NEED_FRAG, &length);

	bytes[21] = 1;		/* host unreachable */
	lisp_icmp_parse_message(LISP_AF_V4, bytes + 20, length - 20, &report);
	CHECK_EQUAL(report.kind, LISP_ICMP_UNREACHABLE);
	bytes[20] = 11;		/* time exceeded */
	lisp_icmp_parse_message(LISP_AF_V4, bytes + 20, length - 20, &report);
	CHECK_EQUAL(report.kind, LISP_ICMP_OTHER);
	bytes[20] = 3;
	bytes[51]++;		/* quotes another port */
	lisp_icmp_parse_message(LISP_AF_V4, bytes + 20, length - 20, &report);
	CHECK_EQUAL(report.kind, LISP_ICMP_OTHER);
	free(bytes);
}

static void
plateaus(void)
{
	unsigned at = 65535, steps = 0;

	while (at > 68 && steps++ < 20) {
		CHECK(lisp_icmp_plateau((uint16_t)at) < at);
		at = lisp_icmp_plateau((uint16_t)at);
	}
	CHECK_EQUAL(at, 68);
	CHECK_EQUAL(lisp_icmp_plateau(1500), 1492);
	CHECK_EQUAL(lisp_icmp_plateau(10), 68);
}

int
main(void)
{
	TEST(too_big_v4);
	TEST(too_big_v6);
	TEST(long_packets_are_quoted_in_part);
	TEST(underlay_says_too_big);
	TEST(underlay_says_other_things);
	TEST(plateaus);
	DONE();
}
