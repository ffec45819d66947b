/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_decap.h"

#define	PROTO_TCP	6
#define	PROTO_UDP	17

#define	ECN_NOT_ECT	0
#define	ECN_ECT1	1
#define	ECN_ECT0	2
#define	ECN_CE		3

bool
lisp_decap_tos(uint8_t inner_tos, uint8_t outer_tos, uint8_t *tos)
{
	uint8_t inner = inner_tos & 3, outer = outer_tos & 3, ecn = inner;

	if (outer == ECN_CE) {
		if (inner == ECN_NOT_ECT)
			return (false);
		ecn = ECN_CE;
	} else if (inner == ECN_ECT0 && outer == ECN_ECT1)
		ecn = ECN_ECT1;
	*tos = (uint8_t)((outer_tos & 0xfc) | ecn);
	return (true);
}

static void
drop(struct lisp_decap_plan *plan, enum lisp_drop cause)
{
	plan->verdict = LISP_DROP;
	plan->cause = cause;
}

void
lisp_decap_decide(const struct lisp_tables *tables, const struct lisp_outer *outer, const uint8_t *data, size_t length,
    size_t look, uint64_t now_ms, struct lisp_decap_plan *plan)
{
	const struct lisp_locator *locators = NULL;
	const struct lisp_inner *inner = &plan->inner;
	struct lisp_flow reverse;
	struct lisp_path pinned;
	enum lisp_drop cause = LISP_DROP_NONE;
	uint8_t action;
	unsigned i, count = 0;
	bool found, vouched = false, gleaned;

	memset(plan, 0, sizeof(*plan));
	plan->path_number = LISP_PATH_NONE;
	plan->path.local = outer->dst;
	plan->path.remote = outer->src;
	if (!lisp_tables_is_local_rloc(tables, &outer->dst) || !lisp_addr_is_unicast(&outer->src)) {
		drop(plan, LISP_DROP_OUTER_ADDRESS);
		return;
	}
	if (look > length)
		look = length;
	if (!lisp_header_parse(data, look, &plan->header, &cause)) {
		drop(plan, cause);
		return;
	}
	if (!lisp_inner_parse(data + LISP_HEADER_SIZE, length - LISP_HEADER_SIZE, look - LISP_HEADER_SIZE, true, &plan->inner,
	    &cause)) {
		drop(plan, cause);
		return;
	}
	plan->inner.flow.iid = plan->header.iid;
	/* LISP to this very host inside LISP would be opened again and again. */
	if (inner->flow.proto == PROTO_UDP && inner->flow.dport == LISP_DATA_PORT &&
	    lisp_tables_is_local_rloc(tables, &inner->flow.dst)) {
		drop(plan, LISP_DROP_RECURSION);
		return;
	}
	if (!lisp_tables_is_local_eid(tables, plan->header.iid, &inner->flow.dst)) {
		drop(plan, lisp_tables_serves_iid(tables, plan->header.iid) ? LISP_DROP_NOT_LOCAL : LISP_DROP_IID);
		return;
	}
	if (lisp_tables_is_local_eid(tables, plan->header.iid, &inner->flow.src)) {
		drop(plan, LISP_DROP_SOURCE_LOCAL);
		return;
	}
	plan->path_number = lisp_paths_find(tables->paths, &plan->path);
	if (tables->source_check || tables->glean) {
		found = lisp_mapcache_peek(tables->mapcache, plan->header.iid, &inner->flow.src, &action, &locators,
		    &count) == 0;
		/* Whatever its priority: 255 forbids sending to a locator, not receiving from it. */
		for (i = 0; i < count && !vouched; i++)
			vouched = lisp_addr_equal(&locators[i].rloc, &outer->src);
		if (tables->source_check && !vouched) {
			if (!found || (count == 0 && action == LISP_ACTION_SEND_MAP_REQUEST)) {
				plan->verdict = LISP_MISS;
				plan->cause = LISP_DROP_SOURCE_NO_MAPPING;
			} else
				drop(plan, LISP_DROP_SOURCE_RLOC);
			return;
		}
	}
	if (!lisp_decap_tos(inner->tos, outer->tos, &plan->tos)) {
		drop(plan, LISP_DROP_ECN);
		return;
	}
	plan->ttl = outer->ttl < inner->ttl ? outer->ttl : inner->ttl;
	if (plan->ttl == 0) {
		drop(plan, LISP_DROP_INNER_TTL);
		return;
	}
	if (tables->glean && vouched && !inner->fragment) {
		reverse = lisp_flow_reverse(&inner->flow);
		plan->glean = !lisp_pins_lookup(tables->pins, &reverse, now_ms, &pinned, &gleaned) ||
		    (gleaned && !lisp_path_equal(&pinned, &plan->path));
	}
	plan->verdict = LISP_FORWARD;
	plan->cause = LISP_DROP_NONE;
}

/*
 * Of a train nearly all are this: IPv4 and TCP without options or fragments, in the LISP header nothing but the instance. Octets are
 * compared with what is known instead of being taken apart again; false says nothing about the packet.
 */
static bool
same_tcp_v4(const struct lisp_decap_plan *previous, const uint8_t *data, size_t length, size_t look, struct lisp_decap_plan *plan)
{
	const struct lisp_inner *was = &previous->inner;
	const uint8_t *ip = data + LISP_HEADER_SIZE, *tcp = ip + 20;
	uint32_t total;

	if (was->af != LISP_AF_V4 || was->flow.proto != PROTO_TCP || was->header_length != 20 || was->fragment ||
	    look < LISP_HEADER_SIZE + 40)
		return (false);
	if ((previous->header.flags & (uint8_t)~LISP_FLAG_I) != 0 || data[0] != previous->header.flags ||
	    (data[0] != 0 && lisp_get24(data + 4) != previous->header.iid))
		return (false);
	total = lisp_get16(ip + 2);
	if (ip[0] != 0x45 || (ip[6] & 0x3f) != 0 || ip[7] != 0 || ip[8] == 0 || ip[9] != PROTO_TCP || total < 40 ||
	    total > length - LISP_HEADER_SIZE || memcmp(ip + 12, was->flow.src.bytes, 4) != 0 ||
	    memcmp(ip + 16, was->flow.dst.bytes, 4) != 0 || lisp_get16(tcp) != was->flow.sport ||
	    lisp_get16(tcp + 2) != was->flow.dport || lisp_sum_fold(lisp_sum(ip, 20, 0)) != 0)
		return (false);
	plan->header = previous->header;
	plan->inner = *was;
	plan->inner.length = total;
	plan->inner.tos = ip[1];
	plan->inner.ttl = ip[8];
	plan->inner.df = (ip[6] & 0x40) != 0;
	plan->inner.tcp_flags = tcp[13];
	return (true);
}

bool
lisp_decap_again(const struct lisp_decap_plan *previous, const struct lisp_outer *outer, const uint8_t *data, size_t length,
    size_t look, struct lisp_decap_plan *plan)
{
	enum lisp_drop cause = LISP_DROP_NONE;

	if (previous->verdict != LISP_FORWARD || previous->glean)
		return (false);
	if (look > length)
		look = length;
	if (!same_tcp_v4(previous, data, length, look, plan)) {
		if (!lisp_header_parse(data, look, &plan->header, &cause) || plan->header.iid != previous->header.iid ||
		    !lisp_inner_parse(data + LISP_HEADER_SIZE, length - LISP_HEADER_SIZE, look - LISP_HEADER_SIZE, true,
		    &plan->inner, &cause))
			return (false);
		plan->inner.flow.iid = plan->header.iid;
		if (plan->inner.fragment || previous->inner.fragment ||
		    !lisp_flow_equal(&plan->inner.flow, &previous->inner.flow))
			return (false);
	}
	plan->path = previous->path;
	plan->path_number = previous->path_number;
	plan->glean = false;
	if (!lisp_decap_tos(plan->inner.tos, outer->tos, &plan->tos))
		return (false);
	plan->ttl = outer->ttl < plan->inner.ttl ? outer->ttl : plan->inner.ttl;
	if (plan->ttl == 0)
		return (false);
	plan->verdict = LISP_FORWARD;
	plan->cause = LISP_DROP_NONE;
	return (true);
}

void
lisp_decap_apply(const struct lisp_decap_plan *plan, uint8_t *inner)
{
	LISP_ASSERT(plan->verdict == LISP_FORWARD);
	lisp_inner_rewrite(inner, &plan->inner, plan->tos, plan->ttl);
}

size_t
lisp_outer_parse(const uint8_t *data, size_t length, struct lisp_outer *outer, size_t *payload, enum lisp_drop *cause)
{
	struct lisp_inner ip;
	const uint8_t *udp;
	unsigned size;

	memset(outer, 0, sizeof(*outer));
	if (!lisp_inner_parse(data, length, length, true, &ip, cause)) {
		if (*cause == LISP_DROP_INNER_TRUNCATED)
			*cause = LISP_DROP_OUTER_TRUNCATED;
		return (0);
	}
	*cause = LISP_DROP_OUTER_TRUNCATED;
	if (ip.fragment || ip.flow.proto != PROTO_UDP || ip.flow.dport != LISP_DATA_PORT)
		return (0);
	udp = data + ip.header_length;
	size = lisp_get16(udp + 4);
	if (size < 8 + LISP_HEADER_SIZE || size > ip.length - ip.header_length)
		return (0);
	if (lisp_get16(udp + 6) != 0 &&
	    lisp_sum_fold(lisp_sum(udp, size, lisp_sum_pseudo(&ip.flow.src, &ip.flow.dst, PROTO_UDP, size))) != 0)
		return (0);
	outer->src = ip.flow.src;
	outer->dst = ip.flow.dst;
	outer->sport = ip.flow.sport;
	outer->tos = ip.tos;
	outer->ttl = ip.ttl;
	*payload = size - 8;
	*cause = LISP_DROP_NONE;
	return (ip.header_length + 8u);
}
