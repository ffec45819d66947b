/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RFC 8684 section 3: octets on one side, the value on the other, both directions; every truncation and every length; segments. The
 * octets marked Linux were sent by a Linux 6.18 kernel.
 */
#include "tap.h"
#include <mptcp_option.h>

#define	SYN	MPTCP_SEGMENT_SYN
#define	SYNACK	MPTCP_SEGMENT_SYNACK
#define	OTHER	MPTCP_SEGMENT_OTHER

static const struct {
	const char		*bytes;
	enum mptcp_segment	segment;
	struct mptcp_option	option;
} canonical[] = {
	/* MP_CAPABLE; Linux, without and with checksums */
	{ "1e040101", SYN, { MPTCP_MP_CAPABLE, { .capable = { .version = 1, .flags = MPTCP_CAPABLE_SHA256 } } } },
	{ "1e040181", SYN, { MPTCP_MP_CAPABLE, { .capable = { .version = 1, .flags = MPTCP_CAPABLE_SHA256 | MPTCP_CAPABLE_CHECKSUM } } } },
	{ "1e0c01010d73901d7f3b4f8a", SYNACK, { MPTCP_MP_CAPABLE, { .capable = { .version = 1, .flags = MPTCP_CAPABLE_SHA256,
	    .keys = 1, .sender_key = 0x0d73901d7f3b4f8au } } } },
	{ "1e0c01816bea2afac4eed848", SYNACK, { MPTCP_MP_CAPABLE, { .capable = { .version = 1,
	    .flags = MPTCP_CAPABLE_SHA256 | MPTCP_CAPABLE_CHECKSUM, .keys = 1, .sender_key = 0x6bea2afac4eed848u } } } },
	{ "1e140101a77a1d9b440b10f10d73901d7f3b4f8a", OTHER, { MPTCP_MP_CAPABLE, { .capable = { .version = 1,
	    .flags = MPTCP_CAPABLE_SHA256, .keys = 2, .sender_key = 0xa77a1d9b440b10f1u, .receiver_key = 0x0d73901d7f3b4f8au } } } },
	{ "1e18018184222911aad3fe13743ff739202737f700016a0f", OTHER, { MPTCP_MP_CAPABLE, { .capable = { .version = 1,
	    .flags = MPTCP_CAPABLE_SHA256 | MPTCP_CAPABLE_CHECKSUM, .keys = 2, .has_data = true, .has_checksum = true, .data_length = 1,
	    .checksum = 0x6a0f, .sender_key = 0x84222911aad3fe13u, .receiver_key = 0x743ff739202737f7u } } } },
	/* with data and without checksum, and the bit C */
	{ "1e160121 0102030405060708 1112131415161718 05b4", OTHER, { MPTCP_MP_CAPABLE, { .capable = { .version = 1,
	    .flags = MPTCP_CAPABLE_SHA256 | MPTCP_CAPABLE_NO_JOIN, .keys = 2, .has_data = true, .data_length = 0x5b4,
	    .sender_key = 0x0102030405060708u, .receiver_key = 0x1112131415161718u } } } },
	/* MP_JOIN; Linux */
	{ "1e0c1001e86acd39d5666aef", SYN, { MPTCP_MP_JOIN, { .join = { .address_id = 1, .token = 0xe86acd39, .nonce = 0xd5666aef } } } },
	{ "1e1010013558ad00da57bd81f94f119b", SYNACK, { MPTCP_MP_JOIN, { .join = { .address_id = 1, .nonce = 0xf94f119b,
	    .hmac = { 0x35, 0x58, 0xad, 0x00, 0xda, 0x57, 0xbd, 0x81 } } } } },
	{ "1e1810006d7e9f64ca1ebe023ec0404040b1f9f1b244450e", OTHER, { MPTCP_MP_JOIN, { .join = { .hmac = { 0x6d, 0x7e, 0x9f, 0x64, 0xca,
	    0x1e, 0xbe, 0x02, 0x3e, 0xc0, 0x40, 0x40, 0x40, 0xb1, 0xf9, 0xf1, 0xb2, 0x44, 0x45, 0x0e } } } } },
	{ "1e0c1107e86acd39d5666aef", SYN, { MPTCP_MP_JOIN, { .join = { .backup = true, .address_id = 7, .token = 0xe86acd39,
	    .nonce = 0xd5666aef } } } },
	{ "1e1011ff3558ad00da57bd81f94f119b", SYNACK, { MPTCP_MP_JOIN, { .join = { .backup = true, .address_id = 255, .nonce = 0xf94f119b,
	    .hmac = { 0x35, 0x58, 0xad, 0x00, 0xda, 0x57, 0xbd, 0x81 } } } } },
	/* DSS; Linux: acknowledgement alone, data with acknowledgement of either size, DATA_FIN alone, with checksums */
	{ "1e0820018bcbd9a8", OTHER, { MPTCP_DSS, { .dss = { .has_ack = true, .ack = 0x8bcbd9a8u } } } },
	{ "1e0c2003376f97588bcbd9b3", OTHER, { MPTCP_DSS, { .dss = { .has_ack = true, .ack_64 = true, .ack = 0x376f97588bcbd9b3u } } } },
	{ "1e16200d610b5cec376f97588bcbd9a800000001000b", OTHER, { MPTCP_DSS, { .dss = { .has_ack = true, .ack = 0x610b5cec,
	    .has_map = true, .dsn_64 = true, .dsn = 0x376f97588bcbd9a8u, .ssn = 1, .length = 11 } } } },
	{ "1e1a200f376f97588bcbd9b392f7c7a8610b5cec00000001000b", OTHER, { MPTCP_DSS, { .dss = { .has_ack = true, .ack_64 = true,
	    .ack = 0x376f97588bcbd9b3u, .has_map = true, .dsn_64 = true, .dsn = 0x92f7c7a8610b5cecu, .ssn = 1, .length = 11 } } } },
	{ "1e1a201f92f7c7a8610b840c376f97588bcc00c8000000000001", OTHER, { MPTCP_DSS, { .dss = { .data_fin = true, .has_ack = true,
	    .ack_64 = true, .ack = 0x92f7c7a8610b840cu, .has_map = true, .dsn_64 = true, .dsn = 0x376f97588bcc00c8u, .length = 1 } } } },
	{ "1e18200d88037b524a9f170856fc4d3b00000001000b644e", OTHER, { MPTCP_DSS, { .dss = { .has_ack = true, .ack = 0x88037b52u,
	    .has_map = true, .dsn_64 = true, .dsn = 0x4a9f170856fc4d3bu, .ssn = 1, .length = 11, .has_checksum = true,
	    .checksum = 0x644e } } } },
	{ "1e1c201f2fc422558803a2724a9f170856fc745b000000000001d2ff", OTHER, { MPTCP_DSS, { .dss = { .data_fin = true, .has_ack = true,
	    .ack_64 = true, .ack = 0x2fc422558803a272u, .has_map = true, .dsn_64 = true, .dsn = 0x4a9f170856fc745bu, .length = 1,
	    .has_checksum = true, .checksum = 0xd2ff } } } },
	/* nothing, 32-bit data sequence number, infinite mapping */
	{ "1e042000", OTHER, { MPTCP_DSS, { .dss = { .has_ack = false } } } },
	{ "1e0e2004 89abcdef 00000011 0022", OTHER, { MPTCP_DSS, { .dss = { .has_map = true, .dsn = 0x89abcdefu, .ssn = 0x11,
	    .length = 0x22 } } } },
	{ "1e122005 01020304 89abcdef 7fffffff 0000", OTHER, { MPTCP_DSS, { .dss = { .has_ack = true, .ack = 0x01020304, .has_map = true,
	    .dsn = 0x89abcdefu, .ssn = 0x7fffffff } } } },
	/* ADD_ADDR and its echo; Linux */
	{ "1e1230010a0902020fa0489e40064d000467", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .address_id = 1, .address_length = 4,
	    .has_port = true, .port = 4000, .address = { 10, 9, 2, 2 },
	    .hmac = { 0x48, 0x9e, 0x40, 0x06, 0x4d, 0x00, 0x04, 0x67 } } } } },
	{ "1e0a31010a0902020fa0", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .echo = true, .address_id = 1, .address_length = 4,
	    .has_port = true, .port = 4000, .address = { 10, 9, 2, 2 } } } } },
	{ "1e1c3002fd000002000000000000000000000002f97e154105bf1664", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .address_id = 2,
	    .address_length = 16, .address = { 0xfd, 0, 0, 2, [15] = 2 }, .hmac = { 0xf9, 0x7e, 0x15, 0x41, 0x05, 0xbf, 0x16, 0x64 } } } } },
	{ "1e143102fd000002000000000000000000000002", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .echo = true, .address_id = 2,
	    .address_length = 16, .address = { 0xfd, 0, 0, 2, [15] = 2 } } } } },
	{ "1e103009c0000201 0102030405060708", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .address_id = 9, .address_length = 4,
	    .address = { 192, 0, 2, 1 }, .hmac = { 1, 2, 3, 4, 5, 6, 7, 8 } } } } },
	{ "1e083109c0000201", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .echo = true, .address_id = 9, .address_length = 4,
	    .address = { 192, 0, 2, 1 } } } } },
	{ "1e1e3009 20010db8000000000000000000000001 01bb 0102030405060708", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .address_id = 9,
	    .address_length = 16, .has_port = true, .port = 443, .address = { 0x20, 1, 0x0d, 0xb8, [15] = 1 },
	    .hmac = { 1, 2, 3, 4, 5, 6, 7, 8 } } } } },
	{ "1e163109 20010db8000000000000000000000001 01bb", OTHER, { MPTCP_ADD_ADDR, { .add_addr = { .echo = true, .address_id = 9,
	    .address_length = 16, .has_port = true, .port = 443, .address = { 0x20, 1, 0x0d, 0xb8, [15] = 1 } } } } },
	/* REMOVE_ADDR, MP_PRIO, MP_FASTCLOSE and the first MP_TCPRST from Linux */
	{ "1e044001", OTHER, { MPTCP_REMOVE_ADDR, { .remove_addr = { 1, { 1 } } } } },
	{ "1e0351", OTHER, { MPTCP_MP_PRIO, { .prio = { true } } } },
	{ "1e0350", OTHER, { MPTCP_MP_PRIO, { .prio = { false } } } },
	{ "1e0640030201", OTHER, { MPTCP_REMOVE_ADDR, { .remove_addr = { 3, { 3, 2, 1 } } } } },
	{ "1e0c60000102030405060708", OTHER, { MPTCP_MP_FAIL, { .fail = { 0x0102030405060708u } } } },
	{ "1e0c700036112e701e55c6cc", OTHER, { MPTCP_MP_FASTCLOSE, { .fastclose = { 0x36112e701e55c6ccu } } } },
	{ "1e048000", OTHER, { MPTCP_MP_TCPRST, { .rst = { 0, MPTCP_RST_UNSPECIFIED } } } },
	{ "1e048106", OTHER, { MPTCP_MP_TCPRST, { .rst = { MPTCP_RST_TRANSIENT, MPTCP_RST_MIDDLEBOX } } } },
};
#define	CANONICAL	(sizeof(canonical) / sizeof(canonical[0]))

static bool
same(const struct mptcp_option *a, const struct mptcp_option *b)
{
	unsigned char x[MPTCP_OPTION_MAX], y[MPTCP_OPTION_MAX];
	size_t length;
	enum mptcp_segment segment;

	/* Members rather than memory, because of padding: what both build in every segment, and the members no octet tells. */
	for (segment = SYN; segment <= OTHER; segment++) {
		length = mptcp_option_build(a, segment, x, sizeof(x));
		if (length != mptcp_option_build(b, segment, y, sizeof(y)) || memcmp(x, y, length) != 0)
			return (false);
	}
	if (a->subtype == MPTCP_MP_CAPABLE)
		return (a->capable.version == b->capable.version && a->capable.keys == b->capable.keys);
	return (a->subtype == b->subtype);
}

static void
both_directions(void)
{
	size_t i, length;

	for (i = 0; i < CANONICAL; i++) {
		unsigned char *bytes = unhex(canonical[i].bytes, &length), *out = malloc(length);
		struct mptcp_option option;

		CHECK_EQUAL(mptcp_option_parse(bytes, length, canonical[i].segment, &option), MPTCP_IGNORED_NONE);
		CHECK(same(&option, &canonical[i].option));
		CHECK_EQUAL(mptcp_option_size(&canonical[i].option, canonical[i].segment), length);
		CHECK_EQUAL(mptcp_option_build(&canonical[i].option, canonical[i].segment, out, length), length);
		CHECK_BYTES(out, bytes, length);
		CHECK_EQUAL(mptcp_option_build(&canonical[i].option, canonical[i].segment, out, length - 1), 0);
		free(bytes);
		free(out);
	}
}

/* The octets end early, whatever the option's length says. */
static void
every_truncation(void)
{
	size_t i, length, left;

	for (i = 0; i < CANONICAL; i++) {
		unsigned char *bytes = unhex(canonical[i].bytes, &length);

		for (left = 0; left < length; left++) {
			unsigned char *part = cut(bytes, left);
			struct mptcp_options options;
			struct mptcp_option option;

			CHECK_EQUAL(mptcp_option_parse(part, left, canonical[i].segment, &option), MPTCP_IGNORED_TRUNCATED);
			mptcp_options_parse(part, left, canonical[i].segment, &options);
			CHECK_EQUAL(options.count, 0);
			CHECK_EQUAL(options.ignored, left == 0 ? 0 : 1 << MPTCP_IGNORED_TRUNCATED);
			free(part);
		}
		free(bytes);
	}
}

/* The option says another length, and the octets are there: only lengths of the same subtype pass, with fields of their own. */
static void
every_length(void)
{
	size_t i, length;
	unsigned claimed;

	for (i = 0; i < CANONICAL; i++) {
		unsigned char *bytes = unhex(canonical[i].bytes, &length), whole[256] = { 0 }, out[MPTCP_OPTION_MAX];

		memcpy(whole, bytes, length);
		for (claimed = 0; claimed < 256; claimed++) {
			unsigned char *exact;
			struct mptcp_option option;

			whole[1] = (unsigned char)claimed;
			exact = cut(whole, claimed < 2 ? 2 : claimed);
			if (mptcp_option_parse(exact, claimed < 2 ? 2 : claimed, canonical[i].segment, &option) == MPTCP_IGNORED_NONE) {
				CHECK_EQUAL(mptcp_option_build(&option, canonical[i].segment, out, sizeof(out)), claimed);
				CHECK(claimed == length || option.subtype == MPTCP_MP_CAPABLE || option.subtype == MPTCP_DSS ||
				    option.subtype == MPTCP_ADD_ADDR || option.subtype == MPTCP_REMOVE_ADDR);
			} else
				CHECK(claimed != length);
			free(exact);
		}
		free(bytes);
	}
}

static enum mptcp_ignored
cause_of(const char *text, enum mptcp_segment segment)
{
	size_t length;
	unsigned char *bytes = unhex(text, &length);
	struct mptcp_option option;
	enum mptcp_ignored cause = mptcp_option_parse(bytes, length, segment, &option);

	free(bytes);
	return (cause);
}

static void
what_is_ignored(void)
{
	struct mptcp_option option = { MPTCP_DSS, { .dss = { .has_ack = true } } };
	unsigned char out[MPTCP_OPTION_MAX];
	unsigned cause, other;
	size_t i, length;

	/* Options that belong into no SYN, and forms that belong into another segment. */
	for (i = 0; i < CANONICAL; i++) {
		if (canonical[i].option.subtype > MPTCP_MP_JOIN) {
			CHECK_EQUAL(cause_of(canonical[i].bytes, SYN), MPTCP_IGNORED_SEGMENT);
			CHECK_EQUAL(cause_of(canonical[i].bytes, SYNACK), MPTCP_IGNORED_SEGMENT);
		} else {
			enum mptcp_segment segment;

			for (segment = SYN; segment <= OTHER; segment++)
				CHECK_EQUAL(cause_of(canonical[i].bytes, segment), segment == canonical[i].segment ? MPTCP_IGNORED_NONE :
				    MPTCP_IGNORED_LENGTH);
		}
	}
	CHECK_EQUAL(mptcp_option_build(&option, SYN, out, sizeof(out)), 0);
	/* Version 0 has a key in its SYN (RFC 6824); a later one has what nobody knows. */
	CHECK_EQUAL(cause_of("1e0c0081 0102030405060708", SYN), MPTCP_IGNORED_VERSION);
	CHECK_EQUAL(cause_of("1e040201", SYN), MPTCP_IGNORED_VERSION);
	CHECK_EQUAL(cause_of("1e040141", SYN), MPTCP_IGNORED_EXTENSION);
	CHECK_EQUAL(cause_of("1e040100", SYN), MPTCP_IGNORED_CRYPTO);
	CHECK_EQUAL(cause_of("1e04011f", SYN), MPTCP_IGNORED_NONE);	/* unassigned bits */
	for (i = MPTCP_SUBTYPES; i < 16; i++) {
		unsigned char bytes[4] = { 0x1e, 4, (unsigned char)(i << 4), 0 };
		struct mptcp_option unknown;

		CHECK_EQUAL(mptcp_option_parse(bytes, 4, OTHER, &unknown), MPTCP_IGNORED_SUBTYPE);
	}
	CHECK_EQUAL(cause_of("1f040101", SYN), MPTCP_IGNORED_LENGTH);	/* another kind */
	CHECK_EQUAL(cause_of("1e034001", OTHER), MPTCP_IGNORED_LENGTH);	/* REMOVE_ADDR of nothing */
	CHECK_EQUAL(cause_of("1e32 40 0102030405060708 0102030405060708 0102030405060708 0102030405060708 0102030405060708 0102030405060708",
	    OTHER), MPTCP_IGNORED_LENGTH);	/* more than a TCP header has room for */
	/* DATA_FIN without a mapping has no place in the data sequence. */
	{
		unsigned char *bytes = unhex("1e0820118bcbd9a8", &length);

		CHECK_EQUAL(mptcp_option_parse(bytes, length, OTHER, &option), MPTCP_IGNORED_NONE);
		CHECK(!option.dss.data_fin && option.dss.has_ack && option.dss.ack == 0x8bcbd9a8u);
		free(bytes);
	}
	for (cause = 0; cause < MPTCP_IGNORED_COUNT; cause++)
		for (other = 0; other < cause; other++)
			CHECK(strcmp(mptcp_ignored_name(cause), mptcp_ignored_name(other)) != 0);
	CHECK(mptcp_ignored_name(MPTCP_IGNORED_COUNT) == NULL);
}

/*
 * A TCP header has 40 octets of options, of which timestamps take 12 and one SACK block 8 with 4 in front of it. All that goes with data
 * or with a handshake has to find room beside timestamps; only ADD_ADDR of IPv6 does without them (RFC 8684 section 3.4.1).
 */
static void
what_has_room(void)
{
	static const struct {
		struct mptcp_option	option;
		bool			timestamps, sack;
	} sent[] = {
		{ { MPTCP_MP_JOIN, { .join = { .token = 0 } } }, true, false },		/* third ACK: 24 octets */
		{ { MPTCP_MP_CAPABLE, { .capable = { .flags = MPTCP_CAPABLE_SHA256, .keys = 2 } } }, true, false },
		{ { MPTCP_MP_CAPABLE, { .capable = { .flags = MPTCP_CAPABLE_SHA256, .keys = 2, .has_data = true, .has_checksum = true } } },
		    true, false },
		{ { MPTCP_DSS, { .dss = { .has_ack = true, .ack_64 = true } } }, true, true },
		/* What data carries while something is missing that SACK tells of, and else. */
		{ { MPTCP_DSS, { .dss = { .has_map = true, .length = 1, .has_checksum = true } } }, true, true },
		{ { MPTCP_DSS, { .dss = { .has_ack = true, .ack_64 = true, .has_map = true, .dsn_64 = true, .length = 1,
		    .has_checksum = true } } }, true, false },
		{ { MPTCP_DSS, { .dss = { .has_ack = true, .ack_64 = true, .has_map = true, .dsn_64 = true, .data_fin = true, .length = 1,
		    .has_checksum = true } } }, true, false },
		{ { MPTCP_ADD_ADDR, { .add_addr = { .address_length = 4, .has_port = true } } }, true, false },
		{ { MPTCP_ADD_ADDR, { .add_addr = { .address_length = 16 } } }, true, false },
		{ { MPTCP_ADD_ADDR, { .add_addr = { .address_length = 16, .has_port = true } } }, false, false },
		{ { MPTCP_ADD_ADDR, { .add_addr = { .echo = true, .address_length = 16, .has_port = true } } }, true, false },
		{ { MPTCP_REMOVE_ADDR, { .remove_addr = { .count = 1, .address_id = { 1 } } } }, true, true },
		{ { MPTCP_MP_PRIO, { .prio = { .backup = true } } }, true, true },
		{ { MPTCP_MP_FAIL, { .fail = { .dsn = 1 } } }, true, true },
		{ { MPTCP_MP_FASTCLOSE, { .fastclose = { .receiver_key = 1 } } }, true, true },
		{ { MPTCP_MP_TCPRST, { .rst = { .reason = 1 } } }, true, true },
	};
	size_t i;

	for (i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		size_t size = (mptcp_option_size(&sent[i].option, OTHER) + 3) / 4 * 4;

		CHECK(size != 0 && size <= MPTCP_OPTION_MAX);
		CHECK_EQUAL(size + 12 <= MPTCP_OPTION_MAX, sent[i].timestamps);
		CHECK_EQUAL(size + 12 + 4 + 8 <= MPTCP_OPTION_MAX, sent[i].sack);
	}
}

static void
parse_header(const char *text, enum mptcp_segment segment, struct mptcp_options *options)
{
	size_t length;
	unsigned char *bytes = unhex(text, &length);

	mptcp_options_parse(bytes, length, segment, options);
	free(bytes);
}

/* The options of whole TCP headers, from Linux. */
static void
headers(void)
{
	struct mptcp_options options;
	const struct mptcp_option *option;

	parse_header("020405b40402080a7ade6b04000000000103030a1e040101", SYN, &options);
	CHECK_EQUAL(options.count, 1);
	CHECK_EQUAL(options.ignored, 0);
	CHECK(mptcp_options_find(&options, MPTCP_MP_CAPABLE) == &options.option[0]);
	CHECK(mptcp_options_find(&options, MPTCP_DSS) == NULL);
	/* DSS and MP_PRIO in one segment */
	parse_header("0101080a7e8e170c650de6161e0c200392f7c7a8610b840c1e035101", OTHER, &options);
	CHECK_EQUAL(options.count, 2);
	option = mptcp_options_find(&options, MPTCP_DSS);
	CHECK(option != NULL && option->dss.ack == 0x92f7c7a8610b840cu);
	option = mptcp_options_find(&options, MPTCP_MP_PRIO);
	CHECK(option != NULL && option->prio.backup);
	/* MP_FASTCLOSE and MP_TCPRST in a reset */
	parse_header("0101080a56038dcd5d681c8d1e0c700036112e701e55c6cc1e048000", OTHER, &options);
	CHECK_EQUAL(options.count, 2);
	CHECK(mptcp_options_find(&options, MPTCP_MP_FASTCLOSE) != NULL && mptcp_options_find(&options, MPTCP_MP_TCPRST) != NULL);
	/* The first of a subtype counts, bad ones are passed over, nothing behind the end of the list is looked at. */
	parse_header("1e035101 1e035001 1e04f000 1e044005 00 1e048106", OTHER, &options);
	CHECK_EQUAL(options.count, 2);
	CHECK_EQUAL(options.ignored, 1 << MPTCP_IGNORED_DUPLICATE | 1 << MPTCP_IGNORED_SUBTYPE);
	option = mptcp_options_find(&options, MPTCP_MP_PRIO);
	CHECK(option != NULL && option->prio.backup);
	CHECK(mptcp_options_find(&options, MPTCP_REMOVE_ADDR) != NULL && mptcp_options_find(&options, MPTCP_MP_TCPRST) == NULL);
	/* An option of another kind with an impossible length ends the list. */
	parse_header("0200 1e035101", OTHER, &options);
	CHECK_EQUAL(options.count, 0);
	CHECK_EQUAL(options.ignored, 0);
	/* More than are kept. */
	parse_header("1e0351 1e044005 1e048106 1e042000 1e0c60000102030405060708", OTHER, &options);
	CHECK_EQUAL(options.count, MPTCP_OPTIONS_MAX);
	CHECK_EQUAL(options.ignored, 1 << MPTCP_IGNORED_DUPLICATE);
}

int
main(void)
{
	TEST(both_directions);
	TEST(every_truncation);
	TEST(every_length);
	TEST(what_is_ignored);
	TEST(what_has_room);
	TEST(headers);
	DONE();
}
