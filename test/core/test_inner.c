/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap.h"
#include "packets.h"
#include <lisp_inner.h>

static bool
parse(const char *hex, struct lisp_inner *inner, enum lisp_drop *cause)
{
	size_t length;
	unsigned char *bytes = unhex(hex, &length);
	bool fine = lisp_inner_parse(bytes, length, length, true, inner, cause);

	free(bytes);
	return (fine);
}

static enum lisp_drop
refused(const char *hex)
{
	struct lisp_inner inner;
	enum lisp_drop cause = LISP_DROP_NONE;

	return (parse(hex, &inner, &cause) ? LISP_DROP_NONE : cause);
}

static void
tcp_v4(void)
{
	struct lisp_inner inner;
	enum lisp_drop cause = LISP_DROP_NONE;

	CHECK(parse(TCP4, &inner, &cause));
	CHECK_EQUAL(inner.af, 4);
	CHECK_EQUAL(inner.length, 40);
	CHECK_EQUAL(inner.header_length, 20);
	CHECK_EQUAL(inner.ttl, 64);
	CHECK_EQUAL(inner.tos, 0x2a);
	CHECK(inner.df && !inner.fragment && !inner.icmp_error);
	CHECK_EQUAL(inner.tcp_flags, 2);
	CHECK_EQUAL(inner.flow.proto, 6);
	CHECK_EQUAL(inner.flow.sport, 33000);
	CHECK_EQUAL(inner.flow.dport, 443);
	CHECK(is_addr(&inner.flow.src, "192.0.2.1"));
	CHECK(is_addr(&inner.flow.dst, "198.18.1.10"));
}

static void
tcp_v6(void)
{
	struct lisp_inner inner;
	enum lisp_drop cause = LISP_DROP_NONE;

	CHECK(parse(TCP6, &inner, &cause));
	CHECK_EQUAL(inner.af, 6);
	CHECK_EQUAL(inner.length, 60);
	CHECK_EQUAL(inner.header_length, 40);
	CHECK_EQUAL(inner.ttl, 9);
	CHECK_EQUAL(inner.tos, 0xb9);
	CHECK(inner.df && !inner.fragment);
	CHECK_EQUAL(inner.tcp_flags, 0x10);
	CHECK_EQUAL(inner.flow.sport, 33000);
	CHECK(is_addr(&inner.flow.dst, "2001:db8:2::a"));
}

static void
every_truncation(void)
{
	static const char *const packets[] = { TCP4, UDP4, TCP6 };
	size_t i, length, whole;

	for (i = 0; i < 3; i++) {
		unsigned char *bytes = unhex(packets[i], &whole);

		for (length = 0; length < whole; length++) {
			unsigned char *part = cut(bytes, length);
			struct lisp_inner inner;
			enum lisp_drop cause = LISP_DROP_NONE;

			CHECK(!lisp_inner_parse(part, length, length, true, &inner, &cause));
			CHECK_EQUAL(cause, LISP_DROP_INNER_TRUNCATED);
			free(part);
		}
		free(bytes);
	}
}

/* In a kernel only the first octets are at hand; the rest counts by length alone. */
static void
partial_look(void)
{
	size_t whole, look;
	unsigned char *bytes = unhex(TCP6, &whole);

	for (look = 0; look < whole; look++) {
		unsigned char *part = cut(bytes, look);
		struct lisp_inner inner;
		enum lisp_drop cause = LISP_DROP_NONE;

		CHECK(!lisp_inner_parse(part, whole, look, true, &inner, &cause));
		free(part);
	}
	free(bytes);
}

static void
malformed_v4(void)
{
	size_t length;
	unsigned char *bytes = unhex(TCP4, &length);
	struct lisp_inner inner;
	enum lisp_drop cause = LISP_DROP_NONE;

	bytes[11] ^= 1;
	CHECK(!lisp_inner_parse(bytes, length, length, true, &inner, &cause));
	CHECK_EQUAL(cause, LISP_DROP_INNER_CHECKSUM);
	CHECK(lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	bytes[0] = 0x44;
	CHECK(!lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	CHECK_EQUAL(cause, LISP_DROP_INNER_HEADER);
	bytes[0] = 0x4f;	/* 60 octets of header in a packet of 40 */
	CHECK(!lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	CHECK_EQUAL(cause, LISP_DROP_INNER_HEADER);
	bytes[0] = 0x55;
	CHECK(!lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	CHECK_EQUAL(cause, LISP_DROP_INNER_VERSION);
	bytes[0] = 0x45;
	bytes[8] = 0;
	CHECK(!lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	CHECK_EQUAL(cause, LISP_DROP_INNER_TTL);
	free(bytes);
}

static void
addresses_that_are_no_eids(void)
{
	static const char *const sources[] = { "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "255.255.255.255", "127.0.0.1",
	    "169.254.1.1" };
	static const char *const sources6[] = { "::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1" };
	size_t i, length;
	struct lisp_inner inner;
	enum lisp_drop cause;

	for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		unsigned char *bytes = unhex(UDP4, &length);
		struct lisp_addr addr = A(sources[i]);

		memcpy(bytes + 12 + (i & 1) * 4, addr.bytes, 4);
		CHECK(!lisp_inner_parse(bytes, length, length, false, &inner, &cause));
		CHECK_EQUAL(cause, LISP_DROP_INNER_ADDRESS);
		free(bytes);
	}
	for (i = 0; i < sizeof(sources6) / sizeof(sources6[0]); i++) {
		unsigned char *bytes = unhex(TCP6, &length);
		struct lisp_addr addr = A(sources6[i]);

		memcpy(bytes + 8 + (i & 1) * 16, addr.bytes, 16);
		CHECK(!lisp_inner_parse(bytes, length, length, false, &inner, &cause));
		CHECK_EQUAL(cause, LISP_DROP_INNER_ADDRESS);
		free(bytes);
	}
}

static void
fragments_have_no_ports(void)
{
	size_t length;
	unsigned char *bytes = unhex(UDP4, &length);
	struct lisp_inner inner;
	enum lisp_drop cause;

	bytes[6] = 0x20;	/* first, more to come */
	CHECK(lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	CHECK(inner.fragment && inner.first_fragment);
	CHECK_EQUAL(inner.flow.sport, 0);
	CHECK_EQUAL(inner.flow.dport, 0);
	bytes[6] = 0;
	bytes[7] = 5;		/* last */
	CHECK(lisp_inner_parse(bytes, length, length, false, &inner, &cause));
	CHECK(inner.fragment && !inner.first_fragment);
	free(bytes);
	/* IPv6, fragment header with offset 8, then anything at all. */
	CHECK(parse("60 000000 000a 2c 40 20010db8000100000000000000000001 20010db800020000000000000000000a"
	    "06 00 0041 00000001 ffff", &inner, &cause));
	CHECK(inner.fragment && !inner.first_fragment);
	CHECK_EQUAL(inner.flow.proto, 6);
	CHECK_EQUAL(inner.header_length, 48);
	/* An atomic fragment (RFC 6946) is a whole packet: it has ports. */
	CHECK(parse("60 000000 0010 2c 40 20010db8000100000000000000000001 20010db800020000000000000000000a"
	    "11 00 0000 00000001 1388 0035 0008 0000", &inner, &cause));
	CHECK(!inner.fragment);
	CHECK_EQUAL(inner.flow.sport, 5000);
}

static void
extension_headers(void)
{
	struct lisp_inner inner;
	enum lisp_drop cause;
#define	V6(length, next) "60 000000" length next "40 20010db8000100000000000000000001 20010db800020000000000000000000a"

	/* hop-by-hop, routing (16 octets), destination options, then UDP */
	CHECK(parse(V6("0028", "00") "2b00010400000000" "3c010000000000000000000000000000" "1100010400000000" "1388 0035 0008 0000",
	    &inner, &cause));
	CHECK_EQUAL(inner.header_length, 40 + 32);
	CHECK_EQUAL(inner.proto_offset, 40 + 24);
	CHECK_EQUAL(inner.flow.proto, 17);
	CHECK_EQUAL(inner.flow.dport, 53);
	/* authentication header: length in words, less 2 */
	CHECK(parse(V6("0014", "33") "11010000 00000001 00000002" "1388 0035 0008 0000", &inner, &cause));
	CHECK_EQUAL(inner.header_length, 52);
	CHECK_EQUAL(inner.flow.sport, 5000);
	/* no next header */
	CHECK(parse(V6("0000", "3b"), &inner, &cause));
	CHECK_EQUAL(inner.flow.proto, 59);
	/* hop-by-hop not first */
	CHECK_EQUAL(refused(V6("0010", "3c") "0000010400000000" "1100010400000000"), LISP_DROP_INNER_HEADER);
	/* longer than the packet */
	CHECK_EQUAL(refused(V6("0008", "3c") "11ff010400000000"), LISP_DROP_INNER_TRUNCATED);
	CHECK_EQUAL(refused(V6("0004", "3c") "11000104"), LISP_DROP_INNER_TRUNCATED);
	/* nine of them */
	CHECK_EQUAL(refused(V6("0050", "3c") "3c00010400000000" "3c00010400000000" "3c00010400000000" "3c00010400000000"
	    "3c00010400000000" "3c00010400000000" "3c00010400000000" "3c00010400000000" "1100010400000000" "1388003500080000"),
	    LISP_DROP_INNER_HEADER);
}

static void
icmp(void)
{
	struct lisp_inner request, reply;
	struct lisp_flow reverse;
	enum lisp_drop cause;

	CHECK(parse("45000020000100000301 2ebf c0000201c612010a 0800 0000 1234 0001 deadbeef", &request, &cause));
	CHECK(parse("45000020000100000301 2ebf c612010ac0000201 0000 0000 1234 0001 deadbeef", &reply, &cause));
	reverse = lisp_flow_reverse(&request.flow);
	CHECK(lisp_flow_equal(&reverse, &reply.flow));
	CHECK_EQUAL(request.flow.sport, 0x1234);
	CHECK(!request.icmp_error);
	CHECK(parse("45000020000100000301 2ebf c0000201c612010a 0304 0000 0000 0500 deadbeef", &request, &cause));
	CHECK(request.icmp_error);
	CHECK(parse("60 000000 0008 3a 40 20010db8000100000000000000000001 20010db800020000000000000000000a 8000 0000 0007 0001",
	    &request, &cause));
	CHECK_EQUAL(request.flow.sport, 7);
	CHECK(!request.icmp_error);
	CHECK(parse("60 000000 0008 3a 40 20010db8000100000000000000000001 20010db800020000000000000000000a 0200 0000 0000 0500",
	    &request, &cause));
	CHECK(request.icmp_error);
}

static void
padding_behind_the_packet(void)
{
	struct lisp_inner inner;
	enum lisp_drop cause;

	CHECK(parse(UDP4 "00000000000000000000", &inner, &cause));
	CHECK_EQUAL(inner.length, 32);
}

static void
rewriting_keeps_the_checksum_right(void)
{
	size_t length;
	unsigned char *bytes = unhex(TCP4, &length);
	unsigned tos, ttl;
	struct lisp_inner inner;
	enum lisp_drop cause;

	for (tos = 0; tos < 256; tos += 5)
		for (ttl = 1; ttl < 256; ttl += 7) {
			CHECK(lisp_inner_parse(bytes, length, length, true, &inner, &cause));
			lisp_inner_rewrite(bytes, &inner, (uint8_t)tos, (uint8_t)ttl);
			CHECK(lisp_inner_parse(bytes, length, length, true, &inner, &cause));
			CHECK_EQUAL(inner.tos, tos);
			CHECK_EQUAL(inner.ttl, ttl);
		}
	free(bytes);
	bytes = unhex(TCP6, &length);
	CHECK(lisp_inner_parse(bytes, length, length, true, &inner, &cause));
	lisp_inner_rewrite(bytes, &inner, 0x42, 7);
	CHECK_EQUAL(bytes[0], 0x64);
	CHECK_EQUAL(bytes[1], 0x21);	/* the flow label's first bits stay */
	CHECK_EQUAL(bytes[2], 0x23);
	CHECK_EQUAL(bytes[7], 7);
	free(bytes);
}

/* Against the plainest way to write RFC 1071. */
static void
sums(void)
{
	size_t length;

	for (length = 0; length < 400; length++) {
		unsigned char *bytes = malloc(length == 0 ? 1 : length);
		uint32_t plain = 0;
		size_t i;

		for (i = 0; i < length; i++) {
			bytes[i] = (unsigned char)(rand() | (length % 3 == 0 ? 0xff : 0));
			plain += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
			plain = (plain & 0xffff) + (plain >> 16);
		}
		CHECK_EQUAL(lisp_sum_fold(lisp_sum(bytes, length, 0)), (uint16_t)~plain);
		/* In two pieces, the first of even length. */
		i = length / 2 & ~(size_t)1;
		CHECK_EQUAL(lisp_sum_fold(lisp_sum(bytes + i, length - i, lisp_sum(bytes, i, 0))), (uint16_t)~plain);
		free(bytes);
	}
}

int
main(void)
{
	TEST(tcp_v4);
	TEST(tcp_v6);
	TEST(every_truncation);
	TEST(partial_look);
	TEST(malformed_v4);
	TEST(addresses_that_are_no_eids);
	TEST(fragments_have_no_ports);
	TEST(extension_headers);
	TEST(icmp);
	TEST(padding_behind_the_packet);
	TEST(rewriting_keeps_the_checksum_right);
	TEST(sums);
	DONE();
}
