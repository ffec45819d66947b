/* SPDX-License-Identifier: BSD-2-Clause */
#include "plane_segments.h"

#define	TCP	6
#define	UDP	17
#define	TCP_FIN	0x01
#define	TCP_SYN	0x02
#define	TCP_RST	0x04
#define	TCP_PSH	0x08
#define	TCP_URG	0x20
#define	TCP_CWR	0x80

/* A longer packet with an open checksum was never on a wire: it is a super-packet. */
#define	UNCUT	1500

/* ------------------------------------------------------------------ sums */

/*
 * As lisp_sum(), for what is long: in a vector the carries of 32-bit numbers gather in the upper halves of 64-bit ones, which no packet
 * can fill. The core has no such thing, for a kernel's own code has no vectors.
 */
typedef uint64_t wide __attribute__((vector_size(32)));

#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("avx2", "default")))
#endif
static uint64_t
sum_long(const uint8_t *data, size_t length, uint64_t sum)
{
	wide low = { 0 }, high = { 0 }, a, b;
	unsigned i;

	for (; length >= 2 * sizeof(wide); length -= 2 * sizeof(wide), data += 2 * sizeof(wide)) {
		memcpy(&a, data, sizeof(a));
		memcpy(&b, data + sizeof(a), sizeof(b));
		low += (a & 0xffffffffu) + (b & 0xffffffffu);
		high += (a >> 32) + (b >> 32);
	}
	low += high;
	for (i = 0; i < sizeof(wide) / sizeof(uint64_t); i++)
		sum += low[i];
	return (lisp_sum(data, length, sum));
}

/* ------------------------------------------------------------------ cutting */

bool
am_cut_start(struct am_cut *cut, uint8_t *packet, const struct lisp_inner *inner, const struct am_vnet *vnet)
{
	unsigned type = vnet->gso_type & (uint8_t)~AM_GSO_ECN, header;

	memset(cut, 0, sizeof(*cut));
	cut->packet = packet;
	cut->inner = inner;
	if (type == AM_GSO_NONE) {
		cut->transport = inner->length;
		return ((vnet->flags & AM_VNET_NEEDS_CSUM) == 0 || am_finish_checksum(packet, inner->length, vnet));
	}
	if (inner->fragment || vnet->gso_size == 0)
		return (false);
	if (type == AM_GSO_UDP_L4 && inner->flow.proto == UDP)
		header = 8;
	else if (((type == AM_GSO_TCPV4 && inner->af == LISP_AF_V4) || (type == AM_GSO_TCPV6 && inner->af == LISP_AF_V6)) &&
	    inner->flow.proto == TCP) {
		cut->tcp = true;
		header = (packet[inner->header_length + 12] >> 4) * 4u;
		if (header < 20)
			return (false);
	} else
		return (false);
	cut->transport = inner->header_length + header;
	if (cut->transport > inner->length || cut->transport > sizeof(((struct am_run *)NULL)->headers[0]) - LISP_HEADER_SIZE)
		return (false);
	cut->payload = inner->length - cut->transport;
	cut->size = vnet->gso_size;
	return (true);
}

unsigned
am_cut_wire_length(const struct am_cut *cut)
{
	return (cut->transport + (unsigned)(cut->payload < cut->size ? cut->payload : cut->size));
}

unsigned
am_cut_count(const struct am_cut *cut)
{
	return (cut->payload == 0 ? 1 : (unsigned)((cut->payload + cut->size - 1) / cut->size));
}

/* The headers of one segment: lengths, IPv4 identification, sequence number, flags, checksums (RFC 9293, RFC 768). */
static void
segment_headers(const struct am_cut *cut, uint8_t *out, const uint8_t *data, unsigned length, bool last)
{
	const struct lisp_inner *inner = cut->inner;
	unsigned ip = inner->header_length, whole = cut->transport - ip + length;
	uint8_t *transport = out + ip;
	uint64_t sum;
	uint16_t check;

	memcpy(out, cut->packet, cut->transport);
	if (inner->af == LISP_AF_V4) {
		lisp_put16(out + 2, (uint16_t)(ip + whole));
		lisp_put16(out + 4, (uint16_t)(lisp_get16(out + 4) + cut->index));
		lisp_put16(out + 10, 0);
		lisp_put16(out + 10, lisp_sum_fold(lisp_sum(out, ip, 0)));
	} else
		lisp_put16(out + 4, (uint16_t)(ip - 40 + whole));
	sum = lisp_sum_pseudo(&inner->flow.src, &inner->flow.dst, inner->flow.proto, whole);
	if (cut->tcp) {
		lisp_put32(transport + 4, lisp_get32(transport + 4) + (uint32_t)cut->done);
		if (!last)
			transport[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
		if (cut->index != 0)
			transport[13] &= (uint8_t)~TCP_CWR;
		lisp_put16(transport + 16, 0);
		sum = lisp_sum(transport, cut->transport - ip, sum);
		lisp_put16(transport + 16, lisp_sum_fold(sum_long(data, length, sum)));
	} else {
		lisp_put16(transport + 4, (uint16_t)whole);
		lisp_put16(transport + 6, 0);
		sum = lisp_sum(transport, cut->transport - ip, sum);
		check = lisp_sum_fold(sum_long(data, length, sum));
		lisp_put16(transport + 6, check == 0 ? 0xffff : check);
	}
}

void
am_run_empty(struct am_run *run)
{
	run->niov = run->segments = 0;
	run->length = 0;
}

static bool
has_room(const struct am_run *run)
{
	return (run->segments < AM_SEGMENTS_MAX && run->length + run->segment <= AM_UDP_MAX);
}

bool
am_run_open(const struct am_run *run)
{
	return (run->segments != 0 && run->length == (size_t)run->segments * run->segment && has_room(run));
}

bool
am_run_takes(const struct am_run *run, const struct am_cut *cut)
{
	return (am_run_open(run) && cut->size != 0 && run->segment == LISP_HEADER_SIZE + cut->transport + cut->size);
}

bool
am_cut_next(struct am_cut *cut, const uint8_t lisp[LISP_HEADER_SIZE], struct am_run *run)
{
	if (cut->index != 0 && cut->done == cut->payload)
		return (false);
	if (cut->size == 0) {
		cut->index++;
		memcpy(run->headers[0], lisp, LISP_HEADER_SIZE);
		run->iov[0].iov_base = run->headers[0];
		run->iov[0].iov_len = LISP_HEADER_SIZE;
		run->iov[1].iov_base = (void *)(uintptr_t)cut->packet;
		run->iov[1].iov_len = cut->inner->length;
		run->niov = 2;
		run->segments = 1;
		run->length = LISP_HEADER_SIZE + cut->inner->length;
		run->segment = (unsigned)run->length;
		return (true);
	}
	run->segment = LISP_HEADER_SIZE + cut->transport + cut->size;
	do {
		size_t left = cut->payload - cut->done;
		unsigned length = (unsigned)(left < cut->size ? left : cut->size);
		uint8_t *header = run->headers[run->segments];
		const uint8_t *data = cut->packet + cut->transport + cut->done;

		memcpy(header, lisp, LISP_HEADER_SIZE);
		segment_headers(cut, header + LISP_HEADER_SIZE, data, length, left <= cut->size);
		run->iov[run->niov].iov_base = header;
		run->iov[run->niov++].iov_len = LISP_HEADER_SIZE + cut->transport;
		if (length != 0) {
			run->iov[run->niov].iov_base = (void *)(uintptr_t)data;
			run->iov[run->niov++].iov_len = length;
		}
		run->length += LISP_HEADER_SIZE + cut->transport + length;
		run->segments++;
		cut->done += length;
		cut->index++;
	} while (cut->done < cut->payload && has_room(run));
	return (true);
}

bool
am_finish_checksum(uint8_t *packet, size_t length, const struct am_vnet *vnet)
{
	size_t start = vnet->csum_start, at = start + vnet->csum_offset;
	uint16_t check;

	if (start > length || at + 2 > length)
		return (false);
	/* The field holds the pseudo-header's sum already. */
	check = lisp_sum_fold(sum_long(packet + start, length - start, 0));
	/* Zero would mean 'none' to UDP; the other form of zero is the same number. */
	lisp_put16(packet + at, check == 0 ? 0xffff : check);
	return (true);
}

/* ------------------------------------------------------------------ joining */

static bool
checksum_right(const uint8_t *packet, const struct lisp_inner *inner)
{
	uint32_t length = inner->length - inner->header_length;

	return (lisp_sum_fold(sum_long(packet + inner->header_length, length,
	    lisp_sum_pseudo(&inner->flow.src, &inner->flow.dst, TCP, length))) == 0);
}

/* Same headers but for length, identification, checksums, sequence number, PSH and FIN: the rules of the kernel's own GRO. */
static bool
continues(const struct am_join *join, const uint8_t *packet, const struct lisp_inner *inner)
{
	const uint8_t *mine = join->header + AM_VNET_SIZE, *tcp = packet + join->ip, *my_tcp = mine + join->ip;

	if (inner->header_length != join->ip || (mine[0] >> 4) != inner->af)
		return (false);
	if (inner->af == LISP_AF_V4) {
		if (mine[1] != packet[1] || memcmp(mine + 6, packet + 6, 4) != 0 || memcmp(mine + 12, packet + 12, 8) != 0)
			return (false);
	} else if (memcmp(mine, packet, 4) != 0 || memcmp(mine + 6, packet + 6, 34) != 0)
		return (false);
	return (memcmp(tcp, my_tcp, 4) == 0 && lisp_get32(tcp + 4) == join->next_seq && memcmp(tcp + 8, my_tcp + 8, 5) == 0 &&
	    (tcp[13] & ~(TCP_PSH | TCP_FIN)) == (my_tcp[13] & ~(TCP_PSH | TCP_FIN | TCP_CWR)) &&
	    memcmp(tcp + 14, my_tcp + 14, 2) == 0 && memcmp(tcp + 20, my_tcp + 20, join->transport - join->ip - 20) == 0);
}

/*
 * A checksum that is the bare sum of the pseudo-header has not been made yet. One in 65536 finished ones looks the same by
 * chance; making it anew gives what it was.
 */
static void
find_open_checksum(struct am_join *join, const uint8_t *packet, const struct lisp_inner *inner)
{
	unsigned length = inner->length - inner->header_length, offset = inner->flow.proto == TCP ? 16 : 6;
	uint16_t bare;

	join->open_start = 0;
	if ((inner->flow.proto != TCP && inner->flow.proto != UDP) || inner->fragment || length < offset + 2)
		return;
	bare = (uint16_t)~lisp_sum_fold(lisp_sum_pseudo(&inner->flow.src, &inner->flow.dst, inner->flow.proto, length));
	if (lisp_get16(packet + inner->header_length + offset) != bare)
		return;
	join->open_start = inner->header_length;
	join->open_offset = offset;
	join->open_headers = 0;
	if (inner->flow.proto == TCP) {
		unsigned header = (packet[inner->header_length + 12] >> 4) * 4u;

		if (header >= 20 && header < length)
			join->open_headers = inner->header_length + header;
	}
}

bool
am_join_add(struct am_join *join, const uint8_t *packet, const struct lisp_inner *inner)
{
	const uint8_t *tcp = packet + inner->header_length;
	unsigned plain = inner->af == LISP_AF_V4 ? 20 : 40, header, payload;
	bool joinable;

	joinable = inner->flow.proto == TCP && !inner->fragment && inner->header_length == plain &&
	    (inner->tcp_flags & (TCP_SYN | TCP_RST | TCP_URG)) == 0 && (inner->af == LISP_AF_V6 || inner->df);
	header = joinable ? (tcp[12] >> 4) * 4u : 0;
	joinable = joinable && header >= 20 && plain + header < inner->length;
	if (join->niov == 0) {
		join->first = packet;
		join->first_length = inner->length;
		join->packets = 1;
		join->closed = !joinable;
		join->niov = 1;
		find_open_checksum(join, packet, inner);
		if (!joinable)
			return (true);
		payload = inner->length - plain - header;
		join->ip = plain;
		join->transport = plain + header;
		join->size = payload;
		join->payload = payload;
		join->next_seq = lisp_get32(tcp + 4) + payload;
		memcpy(join->header + AM_VNET_SIZE, packet, join->transport);
		join->iov[1].iov_base = (void *)(uintptr_t)(packet + join->transport);
		join->iov[1].iov_len = payload;
		join->niov = 2;
		join->closed = (inner->tcp_flags & (TCP_PSH | TCP_FIN)) != 0;
		return (true);
	}
	if (join->closed || !joinable || plain + header != join->transport)
		return (false);
	payload = inner->length - join->transport;
	if (payload > join->size || join->transport + join->payload + payload > 65535 ||
	    join->niov == sizeof(join->iov) / sizeof(join->iov[0]) || !continues(join, packet, inner))
		return (false);
	/* Joined, the kernel takes the checksum on trust; so it is looked at here. The first one as soon as there is a second. */
	if (join->packets == 1) {
		struct lisp_inner first = *inner;

		first.length = (uint32_t)join->first_length;
		if (!checksum_right(join->first, &first)) {
			join->closed = true;
			return (false);
		}
	}
	if (!checksum_right(packet, inner))
		return (false);
	join->header[AM_VNET_SIZE + join->ip + 13] |= inner->tcp_flags & (TCP_PSH | TCP_FIN);
	join->closed = payload < join->size || (inner->tcp_flags & (TCP_PSH | TCP_FIN)) != 0;
	join->iov[join->niov].iov_base = (void *)(uintptr_t)(packet + join->transport);
	join->iov[join->niov++].iov_len = payload;
	join->payload += payload;
	join->next_seq += payload;
	join->packets++;
	return (true);
}

void
am_join_finish(struct am_join *join)
{
	uint8_t *packet = join->header + AM_VNET_SIZE, *tcp;
	struct am_vnet vnet;
	struct lisp_addr src, dst;
	unsigned length;

	memset(&vnet, 0, sizeof(vnet));
	join->iov[0].iov_base = join->header;
	if (join->packets == 1) {
		/* As it came, checksum and all. */
		if (join->open_start != 0) {
			vnet.flags = AM_VNET_NEEDS_CSUM;
			vnet.csum_start = (uint16_t)join->open_start;
			vnet.csum_offset = (uint16_t)join->open_offset;
		}
		if (join->open_start != 0 && join->open_headers != 0 && join->first_length > UNCUT) {
			vnet.gso_type = join->first[0] >> 4 == LISP_AF_V4 ? AM_GSO_TCPV4 : AM_GSO_TCPV6;
			vnet.hdr_len = (uint16_t)join->open_headers;
			/* How large its segments were to be is lost; these pass everywhere. */
			vnet.gso_size = (uint16_t)(LISP_MTU_MIN_V6 - join->open_headers);
		}
		memcpy(join->header, &vnet, AM_VNET_SIZE);
		join->iov[0].iov_len = AM_VNET_SIZE;
		join->iov[1].iov_base = (void *)(uintptr_t)join->first;
		join->iov[1].iov_len = join->first_length;
		join->niov = 2;
		return;
	}
	tcp = packet + join->ip;
	length = (unsigned)(join->transport - join->ip + join->payload);
	if (packet[0] >> 4 == LISP_AF_V4) {
		lisp_put16(packet + 2, (uint16_t)(join->ip + length));
		lisp_put16(packet + 10, 0);
		lisp_put16(packet + 10, lisp_sum_fold(lisp_sum(packet, join->ip, 0)));
		src = lisp_addr_v4(packet + 12);
		dst = lisp_addr_v4(packet + 16);
		vnet.gso_type = AM_GSO_TCPV4;
	} else {
		lisp_put16(packet + 4, (uint16_t)length);
		src = lisp_addr_v6(packet + 8);
		dst = lisp_addr_v6(packet + 24);
		vnet.gso_type = AM_GSO_TCPV6;
	}
	if (tcp[13] & TCP_CWR)
		vnet.gso_type |= AM_GSO_ECN;
	/* What the field holds for NEEDS_CSUM is the sum itself, not its complement. */
	lisp_put16(tcp + 16, (uint16_t)~lisp_sum_fold(lisp_sum_pseudo(&src, &dst, TCP, length)));
	vnet.flags = AM_VNET_NEEDS_CSUM;
	vnet.hdr_len = (uint16_t)join->transport;
	vnet.gso_size = (uint16_t)join->size;
	vnet.csum_start = (uint16_t)join->ip;
	vnet.csum_offset = 16;
	memcpy(join->header, &vnet, AM_VNET_SIZE);
	join->iov[0].iov_len = AM_VNET_SIZE + join->transport;
}
