/* SPDX-License-Identifier: BSD-2-Clause */
/* Super-packets of the Linux plane: what is cut is right packet by packet, and joins to what it was. */
#include "site.h"
#include <linux/plane_segments.h>

/* A TCP super-packet with `payload` octets and 12 of options (timestamps), checksum open as a TUN gives it. */
static unsigned char *
super(unsigned af, unsigned payload, unsigned flags, struct lisp_inner *inner, size_t *length)
{
	unsigned ip = af == 4 ? 20 : 40, i;
	unsigned char *packet = calloc(1, ip + 32 + payload), *tcp = packet + ip;
	enum lisp_drop cause;

	*length = ip + 32 + payload;
	if (af == 4) {
		packet[0] = 0x45;
		packet[1] = 2;
		lisp_put16(packet + 2, (uint16_t)*length);
		lisp_put16(packet + 4, 0xfffe);	/* the identification wraps within */
		packet[6] = 0x40;
		packet[8] = 64;
		packet[9] = 6;
		memcpy(packet + 12, "\xc0\0\2\1\xc6\x12\1\x0a", 8);
		fix_v4(packet);
	} else {
		struct lisp_addr a = A("2001:db8:1::1"), b = A("2001:db8:2::a");

		packet[0] = 0x60;
		packet[1] = 0x20;
		packet[3] = 0x77;
		lisp_put16(packet + 4, (uint16_t)(*length - 40));
		packet[6] = 6;
		packet[7] = 64;
		memcpy(packet + 8, a.bytes, 16);
		memcpy(packet + 24, b.bytes, 16);
	}
	lisp_put16(tcp, 33000);
	lisp_put16(tcp + 2, 443);
	lisp_put32(tcp + 4, 0xfffff000u);	/* sequence numbers wrap within */
	lisp_put32(tcp + 8, 77);
	tcp[12] = 0x80;
	tcp[13] = (unsigned char)flags;
	lisp_put16(tcp + 14, 501);
	memcpy(tcp + 20, "\1\1\x08\x0a\1\2\3\4\5\6\7\x08", 12);
	for (i = 0; i < payload; i++)
		tcp[32 + i] = (unsigned char)(i * 7 + (i >> 8));
	if (!lisp_inner_parse(packet, *length, *length, true, inner, &cause))
		abort();
	lisp_put16(tcp + 16, (uint16_t)~lisp_sum_fold(lisp_sum_pseudo(&inner->flow.src, &inner->flow.dst, 6,
	    (uint32_t)(*length - ip))));
	return (packet);
}

static bool
transport_sum_right(const unsigned char *packet, const struct lisp_inner *inner)
{
	uint32_t length = inner->length - inner->header_length;

	return (lisp_sum_fold(lisp_sum(packet + inner->header_length, length,
	    lisp_sum_pseudo(&inner->flow.src, &inner->flow.dst, inner->flow.proto, length))) == 0);
}

/* Cuts, checks each segment by itself, joins. */
static void
cut_and_join(unsigned af, unsigned payload, unsigned size, unsigned flags)
{
	struct lisp_inner inner, part;
	struct am_vnet vnet = { AM_VNET_NEEDS_CSUM, af == 4 ? AM_GSO_TCPV4 : AM_GSO_TCPV6, 0, (uint16_t)size, af == 4 ? 20 : 40, 16 };
	static const uint8_t lisp[LISP_HEADER_SIZE] = { 8, 0, 0, 0, 1, 2, 3, 0 };
	size_t length, made = 0, at = 0, i;
	unsigned char *packet = super(af, payload, flags, &inner, &length), *wire = malloc(length * 12 + 100000);
	unsigned char *joined = malloc(70000);
	struct am_cut cut;
	struct am_run run;
	static struct am_join join;
	enum lisp_drop cause;
	unsigned segments = 0, ip = af == 4 ? 20 : 40;
	bool joinable = true;

	CHECK(am_cut_start(&cut, packet, &inner, &vnet));
	CHECK_EQUAL(am_cut_wire_length(&cut), ip + 32 + (payload < size ? payload : size));
	for (am_run_empty(&run); am_cut_next(&cut, lisp, &run); am_run_empty(&run)) {
		size_t sum = 0;

		CHECK(run.segments <= AM_SEGMENTS_MAX && run.length <= AM_UDP_MAX);
		for (i = 0; i < run.niov; i++) {
			memcpy(wire + made + sum, run.iov[i].iov_base, run.iov[i].iov_len);
			sum += run.iov[i].iov_len;
		}
		CHECK_EQUAL(sum, run.length);
		/* The kernel cuts every `segment` octets; so does this. */
		for (i = 0; i < run.length; i += run.segment) {
			unsigned char *one = wire + made + i + LISP_HEADER_SIZE;
			size_t left = run.length - i < run.segment ? run.length - i : run.segment;
			bool last = segments + 1 == am_cut_count(&cut);

			CHECK_BYTES(wire + made + i, lisp, LISP_HEADER_SIZE);
			CHECK(lisp_inner_parse(one, left - LISP_HEADER_SIZE, left, true, &part, &cause));
			CHECK_EQUAL(part.length, left - LISP_HEADER_SIZE);
			CHECK(transport_sum_right(one, &part));
			CHECK_EQUAL(lisp_get32(one + ip + 4), (uint32_t)(0xfffff000u + segments * size));
			CHECK_EQUAL(part.tcp_flags & 9, last ? flags & 9 : 0);
			CHECK_EQUAL(part.tcp_flags & 0x80, segments == 0 ? flags & 0x80 : 0);
			if (af == 4)
				CHECK_EQUAL(lisp_get16(one + 4), (uint16_t)(0xfffe + segments));
			segments++;
		}
		made += sum;
	}
	CHECK_EQUAL(segments, am_cut_count(&cut));
	join.niov = 0;
	while (at < made && joinable) {
		size_t left = made - at, whole = LISP_HEADER_SIZE + ip + 32 + size;

		left = left < whole ? left : whole;
		CHECK(lisp_inner_parse(wire + at + LISP_HEADER_SIZE, left - LISP_HEADER_SIZE, left, true, &part, &cause));
		joinable = am_join_add(&join, wire + at + LISP_HEADER_SIZE, &part);
		CHECK(joinable);
		at += left;
	}
	am_join_finish(&join);
	for (i = 0, at = 0; i < join.niov; i++) {
		memcpy(joined + at, join.iov[i].iov_base, join.iov[i].iov_len);
		at += join.iov[i].iov_len;
	}
	CHECK_EQUAL(at, AM_VNET_SIZE + length);
	if (segments > 1) {
		struct am_vnet back;

		memcpy(&back, joined, AM_VNET_SIZE);
		CHECK_EQUAL(back.flags, AM_VNET_NEEDS_CSUM);
		CHECK_EQUAL(back.gso_type, vnet.gso_type | (flags & 0x80 ? AM_GSO_ECN : 0));
		CHECK_EQUAL(back.gso_size, size);
		CHECK_EQUAL(back.csum_start, ip);
		CHECK_BYTES(joined + AM_VNET_SIZE, packet, length);
	} else
		CHECK_EQUAL(joined[0], 0);
	free(packet);
	free(wire);
	free(joined);
}

static void
tcp_there_and_back(void)
{
	static const unsigned payloads[] = { 1, 1000, 1399, 1400, 1401, 2800, 2801, 20000, 65483 };
	unsigned i;

	for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		cut_and_join(4, payloads[i], 1400, 0x10);
		cut_and_join(4, payloads[i], 1400, 0x18);
		cut_and_join(6, payloads[i] > 65400 ? 65400 : payloads[i], 1388, 0x91);
	}
	cut_and_join(4, 500, 7, 0x18);
	cut_and_join(6, 5000, 536, 0x98);
}

/* What is left of a super-packet goes into one datagram with the beginning of the next, which is cut as if it came alone. */
static void
a_run_of_two(void)
{
	struct lisp_inner first, second, part;
	size_t length, next_length, i, at;
	/* 44 of these fill a datagram, each with 1,460 octets and a LISP header. */
	unsigned size = 1408, whole = LISP_HEADER_SIZE + 52 + 1408;
	struct am_vnet vnet = { AM_VNET_NEEDS_CSUM, AM_GSO_TCPV4, 0, 1408, 20, 16 };
	static const uint8_t lisp[LISP_HEADER_SIZE] = { 8, 0, 0, 0, 1, 2, 3, 0 };
	unsigned char *packet = super(4, 46 * size, 0x10, &first, &length), *next = super(4, 5 * size + 100, 0x18, &second, &next_length);
	static unsigned char wire[AM_UDP_MAX];
	struct am_cut cut;
	static struct am_run run;
	enum lisp_drop cause;

	CHECK(am_cut_start(&cut, packet, &first, &vnet));
	am_run_empty(&run);
	CHECK(!am_run_open(&run) && !am_run_takes(&run, &cut));
	CHECK(am_cut_next(&cut, lisp, &run));
	CHECK_EQUAL(run.segments, 44);
	CHECK(!am_run_open(&run));
	am_run_empty(&run);
	CHECK(am_cut_next(&cut, lisp, &run));
	CHECK_EQUAL(run.segments, 2);
	CHECK(am_run_open(&run) && !am_cut_next(&cut, lisp, &run));

	CHECK(am_cut_start(&cut, next, &second, &vnet));
	CHECK(am_run_takes(&run, &cut));
	CHECK(am_cut_next(&cut, lisp, &run));
	CHECK_EQUAL(run.segments, 8);
	CHECK_EQUAL(run.segment, whole);
	CHECK_EQUAL(run.length, 7 * whole + LISP_HEADER_SIZE + 52 + 100);
	/* A short segment is the last one of a datagram. */
	CHECK(!am_run_open(&run) && !am_run_takes(&run, &cut));
	for (i = at = 0; i < run.niov; at += run.iov[i++].iov_len)
		memcpy(wire + at, run.iov[i].iov_base, run.iov[i].iov_len);
	CHECK_EQUAL(at, run.length);
	for (i = 0; i < run.segments; i++) {
		unsigned char *one = wire + i * whole + LISP_HEADER_SIZE;
		unsigned index = (unsigned)(i < 2 ? 44 + i : i - 2), left = i == 7 ? 152 : whole - LISP_HEADER_SIZE;

		CHECK(lisp_inner_parse(one, left, left, true, &part, &cause));
		CHECK_EQUAL(part.length, left);
		CHECK(transport_sum_right(one, &part));
		CHECK_EQUAL(lisp_get32(one + 24), (uint32_t)(0xfffff000u + index * size));
	}
	/* Segments of another size start a datagram of their own. */
	CHECK(am_cut_start(&cut, packet, &first, &vnet));
	am_run_empty(&run);
	CHECK(am_cut_next(&cut, lisp, &run));
	am_run_empty(&run);
	CHECK(am_cut_next(&cut, lisp, &run) && am_run_open(&run));
	vnet.gso_size = 1400;
	CHECK(am_cut_start(&cut, next, &second, &vnet) && !am_run_takes(&run, &cut));
	free(packet);
	free(next);
}

static void
udp_super_packets(void)
{
	size_t length, i;
	unsigned char *head = unhex(UDP4, &length), *packet = calloc(1, 28 + 2500);
	struct lisp_inner inner, part;
	struct am_vnet vnet = { AM_VNET_NEEDS_CSUM, AM_GSO_UDP_L4, 28, 1200, 20, 6 };
	uint8_t lisp[LISP_HEADER_SIZE] = { 0 }, one[1300];
	struct am_cut cut;
	struct am_run run;
	enum lisp_drop cause;
	unsigned segments = 0;

	memcpy(packet, head, 28);
	lisp_put16(packet + 2, 2528);
	lisp_put16(packet + 24, 2508);
	fix_v4(packet);
	for (i = 0; i < 2500; i++)
		packet[28 + i] = (unsigned char)i;
	CHECK(lisp_inner_parse(packet, 2528, 2528, true, &inner, &cause));
	CHECK(am_cut_start(&cut, packet, &inner, &vnet));
	CHECK_EQUAL(am_cut_count(&cut), 3);
	for (am_run_empty(&run); am_cut_next(&cut, lisp, &run); am_run_empty(&run))
		for (i = 0; i < run.niov; i += 2) {
			size_t at = run.iov[i].iov_len - LISP_HEADER_SIZE;

			memcpy(one, (unsigned char *)run.iov[i].iov_base + LISP_HEADER_SIZE, at);
			memcpy(one + at, run.iov[i + 1].iov_base, run.iov[i + 1].iov_len);
			CHECK(lisp_inner_parse(one, at + run.iov[i + 1].iov_len, 1300, true, &part, &cause));
			CHECK(transport_sum_right(one, &part));
			CHECK_EQUAL(lisp_get16(one + 24), run.iov[i + 1].iov_len + 8);
			segments++;
		}
	CHECK_EQUAL(segments, 3);
	free(packet);
	free(head);
}

static void
nonsense_from_the_device(void)
{
	size_t length;
	struct lisp_inner inner;
	unsigned char *packet = super(4, 100, 0x10, &inner, &length);
	struct am_cut cut;
	struct am_vnet bad[] = {
		{ 0, AM_GSO_TCPV6, 0, 100, 0, 0 },	/* other family */
		{ 0, AM_GSO_UDP_L4, 0, 100, 0, 0 },	/* other protocol */
		{ 0, AM_GSO_TCPV4, 0, 0, 0, 0 },	/* no size */
		{ 0, 9, 0, 100, 0, 0 },			/* no such type */
		{ 1, 0, 0, 0, 65535, 16 },		/* checksum beyond the end */
		{ 1, 0, 0, 0, 20, 65535 },
		{ 1, 0, 0, 0, 151, 0 },
	};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!am_cut_start(&cut, packet, &inner, &bad[i]));
	packet[32] = 0x40;	/* TCP header of 16 octets */
	CHECK(!am_cut_start(&cut, packet, &inner, &(struct am_vnet){ 0, AM_GSO_TCPV4, 0, 100, 0, 0 }));
	packet[32] = 0xf0;	/* 60 octets, and they are there */
	CHECK(am_cut_start(&cut, packet, &inner, &(struct am_vnet){ 0, AM_GSO_TCPV4, 0, 100, 0, 0 }));
	free(packet);
}

static void
an_open_checksum_is_completed(void)
{
	size_t length;
	struct lisp_inner inner;
	unsigned char *packet = super(6, 99, 0x18, &inner, &length);
	struct am_vnet vnet = { AM_VNET_NEEDS_CSUM, 0, 0, 0, 40, 16 };
	struct am_cut cut;

	CHECK(!transport_sum_right(packet, &inner));
	CHECK(am_cut_start(&cut, packet, &inner, &vnet));
	CHECK(transport_sum_right(packet, &inner));
	free(packet);
}

/* What differs in any way that matters is not joined. */
static void
only_what_continues_is_joined(void)
{
	/* Octets of the second packet that are changed, and whether it may still be joined. */
	static const struct { unsigned at; bool joins; } changes[] = {
		{ 1, false },	/* TOS */
		{ 4, true },	/* identification */
		{ 8, false },	/* TTL */
		{ 12, false },	/* source */
		{ 21, false },	/* port */
		{ 27, false },	/* sequence number */
		{ 31, false },	/* acknowledgement */
		{ 35, false },	/* window */
		{ 47, false },	/* options */
		{ 33, true },	/* PSH set: joins, and is the last */
	};
	unsigned i;

	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct lisp_inner inner, part;
		size_t length;
		unsigned char *first = super(4, 100, 0x10, &inner, &length), *second = super(4, 100, 0x10, &inner, &length);
		static struct am_join join;
		enum lisp_drop cause;
		uint64_t pseudo;

		lisp_put32(second + 24, 0xfffff000u + 100);
		second[changes[i].at] ^= changes[i].at == 33 ? 8 : 4;
		fix_v4(second);
		CHECK(lisp_inner_parse(second, length, length, true, &part, &cause));
		pseudo = lisp_sum_pseudo(&inner.flow.src, &inner.flow.dst, 6, 132);
		lisp_put16(first + 36, 0);
		lisp_put16(first + 36, lisp_sum_fold(lisp_sum(first + 20, 132, pseudo)));
		pseudo = lisp_sum_pseudo(&part.flow.src, &part.flow.dst, 6, 132);
		lisp_put16(second + 36, 0);
		lisp_put16(second + 36, lisp_sum_fold(lisp_sum(second + 20, 132, pseudo)));
		join.niov = 0;
		CHECK(am_join_add(&join, first, &inner));
		CHECK_EQUAL(am_join_add(&join, second, &part), changes[i].joins);
		if (changes[i].joins) {
			CHECK_EQUAL(join.closed, changes[i].at == 33);
			/* A broken checksum is never joined into something that vouches for it. */
			second[60] ^= 1;
			join.niov = 0;
			CHECK(am_join_add(&join, first, &inner));
			CHECK(!am_join_add(&join, second, &part));
			second[60] ^= 1;
			first[60] ^= 1;
			join.niov = 0;
			CHECK(am_join_add(&join, first, &inner));
			CHECK(!am_join_add(&join, second, &part));
		}
		free(first);
		free(second);
	}
}

int
main(void)
{
	TEST(tcp_there_and_back);
	TEST(a_run_of_two);
	TEST(udp_super_packets);
	TEST(nonsense_from_the_device);
	TEST(an_open_checksum_is_completed);
	TEST(only_what_continues_is_joined);
	DONE();
}
