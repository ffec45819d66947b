/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_icmp.h"

#define	PROTO_ICMP	1
#define	PROTO_UDP	17
#define	PROTO_ICMPV6	58
#define	QUOTE_V4_MAX	548	/* 576 less IP and ICMP header */

size_t
lisp_icmp_too_big(const uint8_t *data, const struct lisp_inner *inner, size_t available, const struct lisp_addr *source,
    uint16_t mtu, uint8_t *out, size_t room)
{
	size_t quote = available < inner->length ? available : inner->length;

	if (inner->icmp_error || (inner->fragment && !inner->first_fragment) || source->af != inner->af)
		return (0);
	if (inner->af == LISP_AF_V4) {
		if (quote > QUOTE_V4_MAX)
			quote = QUOTE_V4_MAX;
		/* RFC 792: header and 8 octets, or the sender cannot tell the flow. */
		if (quote < inner->header_length + 8u || room < 28 + quote)
			return (0);
		memset(out, 0, 28);
		out[0] = 0x45;
		out[1] = 0xc0;	/* internetwork control, RFC 1812 section 4.3.2.5 */
		lisp_put16(out + 2, (uint16_t)(28 + quote));
		out[8] = 64;
		out[9] = PROTO_ICMP;
		memcpy(out + 12, source->bytes, 4);
		memcpy(out + 16, inner->flow.src.bytes, 4);
		lisp_put16(out + 10, lisp_sum_fold(lisp_sum(out, 20, 0)));
		out[20] = 3;	/* destination unreachable */
		out[21] = 4;	/* fragmentation needed and DF set */
		lisp_put16(out + 26, mtu);
		memcpy(out + 28, data, quote);
		lisp_put16(out + 22, lisp_sum_fold(lisp_sum(out + 20, 8 + quote, 0)));
		return (28 + quote);
	}
	if (quote > LISP_ICMP_MAX - 48)
		quote = LISP_ICMP_MAX - 48;
	if (quote < 48 || room < 48 + quote)
		return (0);
	memset(out, 0, 48);
	out[0] = 0x60;
	lisp_put16(out + 4, (uint16_t)(8 + quote));
	out[6] = PROTO_ICMPV6;
	out[7] = 64;
	memcpy(out + 8, source->bytes, 16);
	memcpy(out + 24, inner->flow.src.bytes, 16);
	out[40] = 2;	/* packet too big */
	lisp_put32(out + 44, mtu);
	memcpy(out + 48, data, quote);
	lisp_put16(out + 42, lisp_sum_fold(lisp_sum(out + 40, 8 + quote,
	    lisp_sum_pseudo(source, &inner->flow.src, PROTO_ICMPV6, (uint32_t)(8 + quote)))));
	return (48 + quote);
}

/* The quoted outer packet: IP and UDP header as this host sent them. Its checksums may have been changed on the way. */
static bool
parse_quote(unsigned af, const uint8_t *data, size_t length, struct lisp_icmp_report *report)
{
	size_t udp;

	if (af == LISP_AF_V4) {
		if (length < 28 || data[0] >> 4 != 4)
			return (false);
		udp = (data[0] & 0x0fu) * 4u;
		if (udp < 20 || length < udp + 8 || data[9] != PROTO_UDP || (lisp_get16(data + 6) & 0x1fff) != 0)
			return (false);
		report->path.local = lisp_addr_v4(data + 12);
		report->path.remote = lisp_addr_v4(data + 16);
	} else {
		udp = 40;
		if (length < udp + 8 || data[0] >> 4 != 6 || data[6] != PROTO_UDP)
			return (false);
		report->path.local = lisp_addr_v6(data + 8);
		report->path.remote = lisp_addr_v6(data + 24);
	}
	report->source_port = lisp_get16(data + udp);
	return (lisp_get16(data + udp + 2) == LISP_DATA_PORT && lisp_addr_is_unicast(&report->path.local) &&
	    lisp_addr_is_unicast(&report->path.remote));
}

void
lisp_icmp_parse_message(unsigned af, const uint8_t *data, size_t length, struct lisp_icmp_report *report)
{
	enum lisp_icmp_kind kind = LISP_ICMP_OTHER;
	uint32_t mtu = 0;

	report->kind = LISP_ICMP_OTHER;
	if (length < 8)
		return;
	if (af == LISP_AF_V4) {
		if (data[0] == 3 && data[1] == 4) {
			kind = LISP_ICMP_TOO_BIG;
			mtu = lisp_get16(data + 6);
		} else if (data[0] == 3)
			kind = LISP_ICMP_UNREACHABLE;
	} else if (af == LISP_AF_V6) {
		if (data[0] == 2) {
			kind = LISP_ICMP_TOO_BIG;
			mtu = lisp_get32(data + 4);
		} else if (data[0] == 1)
			kind = LISP_ICMP_UNREACHABLE;
	}
	if (kind == LISP_ICMP_OTHER || !parse_quote(af, data + 8, length - 8, report))
		return;
	report->mtu = (uint16_t)(mtu > 65535 ? 65535 : mtu);
	report->kind = kind;
}

void
lisp_icmp_parse(const uint8_t *data, size_t length, struct lisp_icmp_report *report)
{
	struct lisp_inner ip;
	enum lisp_drop cause;
	const uint8_t *message;
	size_t size;

	memset(report, 0, sizeof(*report));
	if (!lisp_inner_parse(data, length, length, true, &ip, &cause) || ip.fragment)
		return;
	if (ip.flow.proto != (ip.af == LISP_AF_V4 ? PROTO_ICMP : PROTO_ICMPV6))
		return;
	message = data + ip.header_length;
	size = ip.length - ip.header_length;
	if (lisp_sum_fold(lisp_sum(message, size, ip.af == LISP_AF_V4 ? 0 :
	    lisp_sum_pseudo(&ip.flow.src, &ip.flow.dst, PROTO_ICMPV6, (uint32_t)size))) != 0)
		return;
	report->reporter = ip.flow.src;
	lisp_icmp_parse_message(ip.af, message, size, report);
}

uint16_t
lisp_icmp_plateau(uint16_t length)
{
	static const uint16_t plateaus[] = { 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68 };
	unsigned i;

	for (i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++)
		if (plateaus[i] < length)
			return (plateaus[i]);
	return (68);
}
