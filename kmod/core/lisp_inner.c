/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_inner.h"

#define	PROTO_HOPOPTS	0
#define	PROTO_ICMP	1
#define	PROTO_TCP	6
#define	PROTO_UDP	17
#define	PROTO_DCCP	33
#define	PROTO_ROUTING	43
#define	PROTO_FRAGMENT	44
#define	PROTO_AH	51
#define	PROTO_ICMPV6	58
#define	PROTO_NONE	59
#define	PROTO_DSTOPTS	60
#define	PROTO_SCTP	132
#define	PROTO_MOBILITY	135
#define	PROTO_UDPLITE	136
#define	PROTO_HIP	139
#define	PROTO_SHIM6	140

#define	EXTENSIONS_MAX	8	/* more is no packet anyone sends in good faith */

static bool
bad(enum lisp_drop *cause, enum lisp_drop why)
{
	*cause = why;
	return (false);
}

/*
 * Ports, or what serves as such. An ICMP echo request has its identifier as source port and the reply has it as destination
 * port, so that a reply is the reverse of its request, like everything that has ports.
 */
static bool
parse_payload(const uint8_t *payload, size_t length, size_t look, struct lisp_inner *inner, enum lisp_drop *cause)
{
	struct lisp_flow *flow = &inner->flow;
	size_t need;

	switch (flow->proto) {
	case PROTO_TCP:
		need = 20;
		break;
	case PROTO_UDP:
	case PROTO_UDPLITE:
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		need = 8;
		break;
	case PROTO_DCCP:
	case PROTO_SCTP:
		need = 4;
		break;
	default:
		return (true);
	}
	if (length < need)
		return (bad(cause, LISP_DROP_INNER_TRUNCATED));
	if (look < need)
		return (bad(cause, LISP_DROP_INNER_HEADER));
	switch (flow->proto) {
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		if (payload[0] == (flow->proto == PROTO_ICMP ? 8 : 128))
			flow->sport = lisp_get16(payload + 4);
		else if (payload[0] == (flow->proto == PROTO_ICMP ? 0 : 129))
			flow->dport = lisp_get16(payload + 4);
		else if (flow->proto == PROTO_ICMP)
			inner->icmp_error = payload[0] == 3 || payload[0] == 4 || payload[0] == 5 || payload[0] == 11 ||
			    payload[0] == 12;
		else
			inner->icmp_error = payload[0] < 128;
		break;
	case PROTO_TCP:
		inner->tcp_flags = payload[13];
		/* FALLTHROUGH */
	default:
		flow->sport = lisp_get16(payload);
		flow->dport = lisp_get16(payload + 2);
		break;
	}
	return (true);
}

static bool
parse_v4(const uint8_t *data, size_t length, size_t look, bool verify, struct lisp_inner *inner, enum lisp_drop *cause)
{
	unsigned header, fragment;

	if (length < 20 || look < 20)
		return (bad(cause, LISP_DROP_INNER_TRUNCATED));
	header = (data[0] & 0x0fu) * 4;
	inner->length = lisp_get16(data + 2);
	if (header < 20 || header > inner->length)
		return (bad(cause, LISP_DROP_INNER_HEADER));
	if (inner->length > length || header > look)
		return (bad(cause, LISP_DROP_INNER_TRUNCATED));
	if (verify && lisp_sum_fold(lisp_sum(data, header, 0)) != 0)
		return (bad(cause, LISP_DROP_INNER_CHECKSUM));
	inner->header_length = (uint16_t)header;
	inner->proto_offset = 9;
	inner->tos = data[1];
	inner->ttl = data[8];
	inner->flow.proto = data[9];
	inner->flow.src = lisp_addr_v4(data + 12);
	inner->flow.dst = lisp_addr_v4(data + 16);
	fragment = lisp_get16(data + 6);
	inner->df = (fragment & 0x4000) != 0;
	inner->fragment = (fragment & 0x3fff) != 0;
	inner->first_fragment = inner->fragment && (fragment & 0x1fff) == 0;
	return (true);
}

/* Extension headers, RFC 8200 section 4. */
static bool
parse_v6(const uint8_t *data, size_t length, size_t look, struct lisp_inner *inner, enum lisp_drop *cause)
{
	unsigned offset = 40, size, count, next;

	if (length < 40 || look < 40)
		return (bad(cause, LISP_DROP_INNER_TRUNCATED));
	inner->length = 40u + lisp_get16(data + 4);
	if (inner->length > length)
		return (bad(cause, LISP_DROP_INNER_TRUNCATED));
	inner->tos = (uint8_t)(((data[0] & 0x0f) << 4) | (data[1] >> 4));
	inner->ttl = data[7];
	inner->df = true;
	inner->flow.src = lisp_addr_v6(data + 8);
	inner->flow.dst = lisp_addr_v6(data + 24);
	inner->proto_offset = 6;
	next = data[6];
	for (count = 0;; count++) {
		switch (next) {
		case PROTO_HOPOPTS:
			if (count != 0)
				return (bad(cause, LISP_DROP_INNER_HEADER));
			/* FALLTHROUGH */
		case PROTO_ROUTING:
		case PROTO_DSTOPTS:
		case PROTO_MOBILITY:
		case PROTO_HIP:
		case PROTO_SHIM6:
		case PROTO_FRAGMENT:
		case PROTO_AH:
			break;
		default:
			inner->flow.proto = (uint8_t)next;
			inner->header_length = (uint16_t)offset;
			return (true);
		}
		if (count == EXTENSIONS_MAX)
			return (bad(cause, LISP_DROP_INNER_HEADER));
		if (offset + 8 > inner->length)
			return (bad(cause, LISP_DROP_INNER_TRUNCATED));
		if (offset + 8 > look)
			return (bad(cause, LISP_DROP_INNER_HEADER));
		if (next == PROTO_FRAGMENT)
			size = 8;
		else if (next == PROTO_AH)
			size = (data[offset + 1] + 2u) * 4;
		else
			size = (data[offset + 1] + 1u) * 8;
		if (offset + size > inner->length)
			return (bad(cause, LISP_DROP_INNER_TRUNCATED));
		inner->proto_offset = (uint16_t)offset;
		if (next == PROTO_FRAGMENT && (lisp_get16(data + offset + 2) & 0xfff9) != 0) {
			inner->fragment = true;
			inner->first_fragment = (lisp_get16(data + offset + 2) & 0xfff8) == 0;
			/* What follows may be the middle of anything. */
			inner->flow.proto = data[offset];
			inner->header_length = (uint16_t)(offset + size);
			return (true);
		}
		next = data[offset];
		offset += size;
	}
}

bool
lisp_inner_parse(const uint8_t *data, size_t length, size_t look, bool verify, struct lisp_inner *inner,
    enum lisp_drop *cause)
{
	const struct lisp_flow *flow = &inner->flow;
	size_t left, seen;

	memset(inner, 0, sizeof(*inner));
	if (look > length)
		look = length;
	if (look < 1)
		return (bad(cause, LISP_DROP_INNER_TRUNCATED));
	inner->af = data[0] >> 4;
	if (inner->af == LISP_AF_V4) {
		if (!parse_v4(data, length, look, verify, inner, cause))
			return (false);
	} else if (inner->af == LISP_AF_V6) {
		if (!parse_v6(data, length, look, inner, cause))
			return (false);
	} else
		return (bad(cause, LISP_DROP_INNER_VERSION));
	if (!lisp_addr_is_unicast(&flow->src) || !lisp_addr_is_unicast(&flow->dst) || lisp_addr_is_scoped(&flow->src) ||
	    lisp_addr_is_scoped(&flow->dst))
		return (bad(cause, LISP_DROP_INNER_ADDRESS));
	if (inner->ttl == 0)
		return (bad(cause, LISP_DROP_INNER_TTL));
	if (inner->fragment)
		return (true);
	left = inner->length - inner->header_length;
	seen = look > inner->header_length ? look - inner->header_length : 0;
	return (parse_payload(data + inner->header_length, left, seen < left ? seen : left, inner, cause));
}

void
lisp_inner_rewrite(uint8_t *data, const struct lisp_inner *inner, uint8_t tos, uint8_t ttl)
{
	if (inner->af == LISP_AF_V6) {
		data[0] = (uint8_t)(0x60 | (tos >> 4));
		data[1] = (uint8_t)((tos << 4) | (data[1] & 0x0f));
		data[7] = ttl;
		return;
	}
	if (data[1] != tos || data[8] != ttl) {
		/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m') */
		uint32_t sum = (uint16_t)~lisp_get16(data + 10);

		sum += (uint16_t)~lisp_get16(data) + (uint32_t)((data[0] << 8) | tos);
		sum += (uint16_t)~lisp_get16(data + 8) + (uint32_t)((ttl << 8) | data[9]);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		data[1] = tos;
		data[8] = ttl;
		lisp_put16(data + 10, (uint16_t)~sum);
	}
}

/* Adds with the carry brought back in at the low end: the sum stays what it is in ones' complement. */
static inline uint64_t
add_around(uint64_t sum, const uint8_t *data)
{
	uint64_t word;

	/* Each word by itself: of a larger memcpy() compilers make a detour over the stack. */
	memcpy(&word, data, sizeof(word));
	sum += word;
	return (sum + (sum < word));
}

/* To below 2^33. */
static inline uint64_t
narrow(uint64_t sum)
{
	return ((sum & 0xffffffffu) + (sum >> 32));
}

/* Sums are kept in memory order and turned around once, in lisp_sum_fold: RFC 1071 section 2(B). */
uint64_t
lisp_sum(const uint8_t *data, size_t length, uint64_t sum)
{
	uint64_t a = 0, b = 0, c = 0, d = 0;
	uint32_t word;
	uint16_t half;

	for (; length >= 64; length -= 64, data += 64) {
		a = add_around(a, data);
		b = add_around(b, data + 8);
		c = add_around(c, data + 16);
		d = add_around(d, data + 24);
		a = add_around(a, data + 32);
		b = add_around(b, data + 40);
		c = add_around(c, data + 48);
		d = add_around(d, data + 56);
	}
	sum += narrow(a) + narrow(b) + narrow(c) + narrow(d);
	for (; length >= 4; length -= 4, data += 4) {
		memcpy(&word, data, 4);
		sum += word;
	}
	if (length >= 2) {
		memcpy(&half, data, 2);
		sum += half;
		data += 2;
		length -= 2;
	}
	if (length != 0) {
		uint8_t last[2] = { data[0], 0 };

		memcpy(&half, last, 2);
		sum += half;
	}
	return (sum);
}

uint16_t
lisp_sum_fold(uint64_t sum)
{
	uint8_t octets[2];
	uint16_t half;

	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	half = (uint16_t)~sum;
	memcpy(octets, &half, 2);
	return (lisp_get16(octets));
}

uint64_t
lisp_sum_pseudo(const struct lisp_addr *src, const struct lisp_addr *dst, uint8_t proto, uint32_t length)
{
	uint8_t rest[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
	unsigned size = lisp_addr_size(src->af);

	lisp_put32(rest, length);
	rest[7] = proto;
	return (lisp_sum(rest, 8, lisp_sum(dst->bytes, size, lisp_sum(src->bytes, size, 0))));
}
