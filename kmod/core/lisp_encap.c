/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_encap.h"

#define	PROTO_UDP	17
#define	PORT_BASE	49152u
#define	PORT_COUNT	16384u

uint8_t
lisp_encap_tos(uint8_t inner_tos)
{
	return (inner_tos);
}

size_t
lisp_encap_overhead(const struct lisp_encap_plan *plan)
{
	return (plan->path.remote.af == LISP_AF_V6 ? LISP_OUTER_V6 : LISP_OUTER_V4);
}

/*
 * The local RLOC a packet to `rloc` leaves from: of the same family, with a path that is up. The first choice pairs the
 * mapping's locators with ours in order, so that two providers here and two there are both used without any configuration.
 */
static bool
choose_local(const struct lisp_tables *tables, const struct lisp_addr *rloc, unsigned rank, struct lisp_addr *local)
{
	unsigned i, turn, same = 0;

	for (i = 0; i < tables->nrlocs; i++)
		if (tables->rlocs[i].af == rloc->af)
			same++;
	for (turn = 0; turn < same; turn++) {
		unsigned want = (rank + turn) % same, at = 0;

		for (i = 0; i < tables->nrlocs; i++) {
			struct lisp_path path;

			if (tables->rlocs[i].af != rloc->af || at++ != want)
				continue;
			path.local = tables->rlocs[i];
			path.remote = *rloc;
			if (lisp_paths_usable(tables->paths, &path)) {
				*local = path.local;
				return (true);
			}
		}
	}
	return (false);
}

/* Priority first, then weight by hash: RFC 9300 section 9 ("Routing Locator Selection"), RFC 9301 section 5.4. */
static bool
choose_path(const struct lisp_tables *tables, const struct lisp_locator *locators, unsigned count, uint32_t hash,
    struct lisp_path *path)
{
	struct lisp_addr locals[LISP_MAX_LOCATORS];
	bool usable[LISP_MAX_LOCATORS];
	unsigned i, best = LISP_PRIORITY_UNUSED, rank4 = 0, rank6 = 0, total = 0, ways = 0;
	uint32_t point;

	for (i = 0; i < count; i++) {
		const struct lisp_locator *locator = &locators[i];
		unsigned rank = locator->rloc.af == LISP_AF_V4 ? rank4++ : rank6++;

		usable[i] = locator->up && locator->priority <= best && locator->priority != LISP_PRIORITY_UNUSED &&
		    choose_local(tables, &locator->rloc, rank, &locals[i]);
		if (!usable[i])
			continue;
		if (locator->priority < best) {
			best = locator->priority;
			total = ways = 0;
		}
		total += locator->weight;
		ways++;
	}
	if (ways == 0)
		return (false);
	/* The hash's high bits choose the locator, its low bits the source port. All weights zero: even shares. */
	point = (uint32_t)(((uint64_t)hash * (total != 0 ? total : ways)) >> 32);
	for (i = 0; i < count; i++) {
		unsigned share;

		if (!usable[i] || locators[i].priority != best)
			continue;
		share = total != 0 ? locators[i].weight : 1;
		if (point < share) {
			path->local = locals[i];
			path->remote = locators[i].rloc;
			return (true);
		}
		point -= share;
	}
	LISP_ASSERT(false);
	return (false);
}

static bool
has_locator(const struct lisp_locator *locators, unsigned count, const struct lisp_addr *rloc)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (locators[i].priority != LISP_PRIORITY_UNUSED && locators[i].up &&
		    lisp_addr_equal(&locators[i].rloc, rloc))
			return (true);
	return (false);
}

static void
settle(struct lisp_encap_plan *plan, enum lisp_verdict verdict, enum lisp_drop cause)
{
	plan->verdict = verdict;
	plan->cause = cause;
}

void
lisp_encap_decide(const struct lisp_tables *tables, uint32_t iid, const struct lisp_inner *inner, uint32_t wire_length,
    uint64_t now_ms, struct lisp_encap_plan *plan)
{
	const struct lisp_locator *locators = NULL;
	struct lisp_flow flow = inner->flow;
	uint32_t mtu, least;
	uint8_t action;
	unsigned count;
	bool gleaned = false, found;

	memset(plan, 0, sizeof(*plan));
	flow.iid = iid;
	plan->iid = iid;
	plan->path_number = LISP_PATH_NONE;
	plan->tos = lisp_encap_tos(inner->tos);
	plan->ttl = inner->ttl;
	plan->hash = lisp_flow_hash(&flow, tables->seed);
	plan->source_port = (uint16_t)(PORT_BASE + plan->hash % PORT_COUNT);

	/* What this host has just encapsulated, routed into the device by mistake. */
	if (flow.proto == PROTO_UDP && flow.dport == LISP_DATA_PORT && lisp_tables_is_local_rloc(tables, &flow.src)) {
		settle(plan, LISP_DROP, LISP_DROP_RECURSION);
		return;
	}
	/* Fragments have no ports, so no pin: all fragments of a packet must take one path. */
	plan->pinned = !inner->fragment && lisp_pins_lookup(tables->pins, &flow, now_ms, &plan->path, &gleaned) &&
	    lisp_tables_is_local_rloc(tables, &plan->path.local);
	if (!plan->pinned || gleaned) {
		found = lisp_mapcache_peek(tables->mapcache, iid, &flow.dst, &action, &locators, &count) == 0;
		/* Gleaning chooses among the locators of the mapping there is, never beyond them. */
		if (plan->pinned && (!found || !has_locator(locators, count, &plan->path.remote) ||
		    !lisp_paths_usable(tables->paths, &plan->path)))
			plan->pinned = false;
		if (!found || (count == 0 && action == LISP_ACTION_SEND_MAP_REQUEST)) {
			settle(plan, LISP_MISS, LISP_DROP_NO_MAPPING);
			return;
		}
		if (count == 0) {
			switch (action) {
			case LISP_ACTION_NATIVE:
				settle(plan, LISP_NATIVE, LISP_DROP_NATIVE_FORWARD);
				return;
			case LISP_ACTION_DROP_POLICY:
				settle(plan, LISP_DROP, LISP_DROP_MAPPING_POLICY);
				return;
			case LISP_ACTION_DROP_AUTH:
				settle(plan, LISP_DROP, LISP_DROP_MAPPING_AUTH);
				return;
			default:
				settle(plan, LISP_DROP, LISP_DROP_MAPPING_DROP);
				return;
			}
		}
		if (!plan->pinned && !choose_path(tables, locators, count, plan->hash, &plan->path)) {
			settle(plan, LISP_DROP, LISP_DROP_NO_LOCATOR);
			return;
		}
	}
	/* A destination that is reached through this very device, or is this host, would come round for ever. */
	if (lisp_lpm_lookup(tables->routes, iid, &plan->path.remote) != NULL ||
	    lisp_tables_is_local_eid(tables, iid, &plan->path.remote) ||
	    lisp_tables_is_local_rloc(tables, &plan->path.remote)) {
		settle(plan, LISP_DROP, LISP_DROP_RECURSION);
		return;
	}
	plan->path_number = lisp_paths_find(tables->paths, &plan->path);
	mtu = lisp_paths_mtu(tables->paths, plan->path_number);
	if (mtu == 0 || mtu > tables->underlay_mtu)
		mtu = tables->underlay_mtu;
	/* What every path of the inner family has to take; the outer packet is then fragmented on the way, if it comes to that. */
	least = inner->af == LISP_AF_V4 ? LISP_MTU_MIN_V4 : LISP_MTU_MIN_V6;
	mtu = mtu > lisp_encap_overhead(plan) + least ? mtu - (uint32_t)lisp_encap_overhead(plan) : least;
	plan->mtu = (uint16_t)mtu;
	if (wire_length > mtu)
		settle(plan, LISP_TOO_BIG, LISP_DROP_TOO_BIG);
	else
		settle(plan, LISP_FORWARD, LISP_DROP_NONE);
}

void
lisp_encap_packet(const struct lisp_tables *tables, uint32_t iid, const uint8_t *data, size_t length, size_t look,
    uint64_t now_ms, struct lisp_inner *inner, struct lisp_encap_plan *plan)
{
	enum lisp_drop cause;

	if (!lisp_inner_parse(data, length, look, true, inner, &cause)) {
		memset(plan, 0, sizeof(*plan));
		plan->path_number = LISP_PATH_NONE;
		settle(plan, LISP_DROP, cause);
		return;
	}
	lisp_encap_decide(tables, iid, inner, inner->length, now_ms, plan);
}

void
lisp_encap_write_lisp(const struct lisp_encap_plan *plan, uint8_t *out)
{
	struct lisp_header header;

	memset(&header, 0, sizeof(header));
	if (plan->iid != 0)
		header.flags = LISP_FLAG_I;
	header.iid = plan->iid;
	lisp_header_write(&header, out);
}

void
lisp_encap_write(const struct lisp_encap_plan *plan, size_t inner_length, uint8_t *out)
{
	uint16_t udp_length = (uint16_t)(8 + LISP_HEADER_SIZE + inner_length);
	uint8_t *udp;

	LISP_ASSERT(plan->verdict == LISP_FORWARD && inner_length <= 65535 - LISP_OUTER_MAX);
	memset(out, 0, lisp_encap_overhead(plan));
	if (plan->path.remote.af == LISP_AF_V4) {
		out[0] = 0x45;
		out[1] = plan->tos;
		lisp_put16(out + 2, (uint16_t)(20 + udp_length));
		lisp_put16(out + 6, 0x4000);
		out[8] = plan->ttl;
		out[9] = PROTO_UDP;
		memcpy(out + 12, plan->path.local.bytes, 4);
		memcpy(out + 16, plan->path.remote.bytes, 4);
		lisp_put16(out + 10, lisp_sum_fold(lisp_sum(out, 20, 0)));
		udp = out + 20;
	} else {
		/* The flow label carries the same entropy as the port (RFC 6438). */
		out[0] = (uint8_t)(0x60 | (plan->tos >> 4));
		out[1] = (uint8_t)((plan->tos << 4) | ((plan->hash >> 16) & 0x0f));
		lisp_put16(out + 2, (uint16_t)plan->hash);
		lisp_put16(out + 4, udp_length);
		out[6] = PROTO_UDP;
		out[7] = plan->ttl;
		memcpy(out + 8, plan->path.local.bytes, 16);
		memcpy(out + 24, plan->path.remote.bytes, 16);
		udp = out + 40;
	}
	lisp_put16(udp, plan->source_port);
	lisp_put16(udp + 2, LISP_DATA_PORT);
	lisp_put16(udp + 4, udp_length);
	lisp_encap_write_lisp(plan, udp + 8);
}
