/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LISP (RFC 9300) inside the Linux kernel. Two programs in front of the user-space plane:
 *
 *   host's routing -> lisp0 -> [lisp_encapsulate] -> bpf_redirect_neigh -> device towards the RLOC
 *                                     `-> lisp0's queue -> user-space plane -> UDP socket
 *   device of an RLOC -> [lisp_decapsulate] -> lisp0's input -> host's routing
 *                               `-> UDP socket -> user-space plane -> lisp0's input
 *
 * A packet is taken here only when everything about it is plain: TCP or UDP, no IP options, no fragment, mapping or pin
 * known, size fits, all checks passed. Whatever is not goes its ordinary way, and that leads to the user-space plane, which
 * queues, asks, answers with ICMP, or drops and counts the cause. So the semantics of LISP are written once, in kmod/core,
 * and nothing is ever dropped here for a reason of LISP's.
 *
 * Super-packets (TSO, GRO) pass whole in both directions. No BTF, no global data, no function calls but helpers: the
 * loader is bpf_object.c, and old verifiers are served too.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include "lisp_bpf.h"

#define	SECTION(name)	__attribute__((section(name), used))
#define	INLINE		static inline __attribute__((always_inline))
#define	MAP(name, of, key, value, entries, how) \
	struct lisp_bpf_map SECTION("maps") name = { of, key, value, entries, how }

/* The kernel's helpers by number (include/uapi/linux/bpf.h). */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) =
    (void *)BPF_FUNC_map_update_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const bpf_skb_load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to, __u32 length) =
    (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length, __u64 flags) =
    (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 length, __u32 mode, __u64 flags) =
    (void *)BPF_FUNC_skb_adjust_room;
static long (*const bpf_skb_change_head)(struct __sk_buff *skb, __u32 length, __u64 flags) =
    (void *)BPF_FUNC_skb_change_head;
static long (*const bpf_redirect)(__u32 device, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_redirect_neigh)(__u32 device, void *parameters, int length, __u64 flags) =
    (void *)BPF_FUNC_redirect_neigh;
static long (*const bpf_ringbuf_output)(void *ring, const void *data, __u64 size, __u64 flags) =
    (void *)BPF_FUNC_ringbuf_output;

/* Newer than some kernels' headers; a kernel that lacks them refuses the call, and the packet goes to user space. */
#define	ROOM_DECAP_L3_IPV4	(1ULL << 7)
#define	ROOM_DECAP_L3_IPV6	(1ULL << 8)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define	NETWORK16(value)	__builtin_bswap16(value)
#else
#define	NETWORK16(value)	(value)
#endif

#define	ACT_OK		0
#define	ACT_SHOT	2

#define	ETHERTYPE_IPV4	0x0800
#define	ETHERTYPE_IPV6	0x86dd
#define	PROTO_ICMP	1
#define	PROTO_TCP	6
#define	PROTO_UDP	17
#define	PROTO_ICMPV6	58
#define	LISP_DATA_PORT	4341
#define	ETHER_SIZE	14
#define	UDP_LISP_SIZE	16
#define	OUTER_MAX	(40 + UDP_LISP_SIZE)

#define	ECN_MASK	3
#define	ECN_ECT1	1
#define	ECN_ECT0	2
#define	ECN_CE		3

MAP(lisp_config, BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lisp_bpf_config), 1, 0);
MAP(lisp_eids, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct lisp_bpf_prefix), 4, LISP_BPF_MAX_EIDS, BPF_F_NO_PREALLOC);
MAP(lisp_mappings, BPF_MAP_TYPE_LPM_TRIE, sizeof(struct lisp_bpf_prefix), sizeof(struct lisp_bpf_mapping),
    LISP_BPF_MAX_MAPPINGS, BPF_F_NO_PREALLOC);
MAP(lisp_paths, BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lisp_bpf_path), LISP_BPF_MAX_PATHS, 0);
MAP(lisp_path_numbers, BPF_MAP_TYPE_HASH, sizeof(struct lisp_bpf_path_key), 4, LISP_BPF_MAX_PATHS, 0);
MAP(lisp_path_counters, BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct lisp_bpf_path_counters), LISP_BPF_MAX_PATHS, 0);
MAP(lisp_pins, BPF_MAP_TYPE_HASH, sizeof(struct lisp_bpf_flow), 4, LISP_BPF_MAX_PINS, BPF_F_NO_PREALLOC);
MAP(lisp_gleaned, BPF_MAP_TYPE_LRU_HASH, sizeof(struct lisp_bpf_flow), sizeof(struct lisp_bpf_gleaned),
    LISP_BPF_MAX_GLEANED, 0);
MAP(lisp_counters, BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, LISP_BPF_COUNTER_COUNT, 0);
MAP(lisp_events, BPF_MAP_TYPE_RINGBUF, 0, 0, LISP_BPF_EVENTS, 0);

struct inner {
	struct lisp_bpf_flow	flow;	/* as it travels; iid is the caller's */
	__u32	length;			/* as its header says */
	__u32	headers;		/* IP header */
	__u8	tos;
	__u8	ttl;
};

INLINE void
count_packets(__u32 which, __u32 packets)
{
	__u64 *counter = bpf_map_lookup_elem(&lisp_counters, &which);

	if (counter)
		*counter += packets;
}

INLINE void
count(__u32 which)
{
	count_packets(which, 1);
}

INLINE __u32
get16(const __u8 *octets)
{
	return (octets[0] << 8 | octets[1]);
}

INLINE void
put16(__u8 *octets, __u32 value)
{
	octets[0] = value >> 8;
	octets[1] = value;
}

/* Multicast, unspecified, loopback and link-local addresses, in short: what the core would refuse or has to look at. */
INLINE bool
plain_v4(const __u8 *address)
{
	return (address[0] != 0 && address[0] != 127 && address[0] < 224 && (address[0] != 169 || address[1] != 254));
}

INLINE bool
plain_v6(const __u8 *address)
{
	/* Global unicast and unique local (RFC 4291 section 2.4, RFC 4193); everything else begins otherwise. */
	return ((address[0] & 0xe0) == 0x20 || (address[0] & 0xfe) == 0xfc);
}

/* False: not plain, let user space see it. */
INLINE bool
parse_inner(const struct __sk_buff *skb, __u32 offset, struct inner *inner)
{
	struct lisp_bpf_flow *flow = &inner->flow;
	__u8 head[48];

	__builtin_memset(inner, 0, sizeof(*inner));
	/* The shortest plain packet is IPv4 with a UDP header. */
	if (bpf_skb_load_bytes(skb, offset, head, 28) != 0)
		return (false);
	if (head[0] == 0x45) {
		if ((head[6] & 0x3f) != 0 || head[7] != 0 || !plain_v4(head + 12) || !plain_v4(head + 16))
			return (false);
		inner->length = get16(head + 2);
		inner->headers = 20;
		inner->tos = head[1];
		inner->ttl = head[8];
		flow->family = 4;
		flow->protocol = head[9];
		__builtin_memcpy(flow->source, head + 12, 4);
		__builtin_memcpy(flow->destination, head + 16, 4);
		__builtin_memcpy(&flow->source_port, head + 20, 2);
		__builtin_memcpy(&flow->destination_port, head + 22, 2);
	} else if ((head[0] >> 4) == 6) {
		if (bpf_skb_load_bytes(skb, offset + 28, head + 28, 20) != 0)
			return (false);
		if (!plain_v6(head + 8) || !plain_v6(head + 24))
			return (false);
		inner->length = 40 + get16(head + 4);
		inner->headers = 40;
		inner->tos = (head[0] << 4) | (head[1] >> 4);
		inner->ttl = head[7];
		flow->family = 6;
		flow->protocol = head[6];
		__builtin_memcpy(flow->source, head + 8, 16);
		__builtin_memcpy(flow->destination, head + 24, 16);
		__builtin_memcpy(&flow->source_port, head + 40, 2);
		__builtin_memcpy(&flow->destination_port, head + 42, 2);
	} else
		return (false);
	if (inner->ttl == 0)
		return (false);
	if (flow->protocol == PROTO_TCP)
		return (inner->length >= inner->headers + 20);
	/* LISP in LISP may be a packet that goes round: the core knows. */
	return (flow->protocol == PROTO_UDP && inner->length >= inner->headers + 8 &&
	    flow->destination_port != NETWORK16(LISP_DATA_PORT));
}

/*
 * How many packets on the wire a super-packet stands for, and how long the longest of them is, from the size of a segment:
 * gso_segs is not kept by everyone. `offset` is where the inner packet begins. False: look elsewhere.
 */
INLINE bool
segments(const struct __sk_buff *skb, __u32 offset, const struct inner *inner, __u32 *packets, __u32 *wire)
{
	__u32 size = skb->gso_size, headers = inner->headers + 8;
	__u8 data_offset;

	*packets = 1;
	*wire = inner->length;
	if (size == 0)
		return (true);
	if (inner->flow.protocol == PROTO_TCP) {
		if (bpf_skb_load_bytes(skb, offset + inner->headers + 12, &data_offset, 1) != 0)
			return (false);
		headers = inner->headers + (data_offset >> 4) * 4;
	}
	if (inner->length <= headers)
		return (false);
	*packets = (inner->length - headers + size - 1) / size;
	if (*packets > 1)
		*wire = headers + size;
	return (true);
}

INLINE void
prefix_key(struct lisp_bpf_prefix *key, __u32 iid, __u8 family, const __u8 *address)
{
	key->bits = LISP_BPF_PREFIX_BASE + (family == 4 ? 32 : 128);
	key->iid[0] = iid >> 16;
	key->iid[1] = iid >> 8;
	key->iid[2] = iid;
	key->family = family;
	__builtin_memcpy(key->address, address, 16);
}

INLINE __u32
rotate(__u32 value, __u32 by)
{
	return ((value << by) | (value >> (32 - by)));
}

INLINE __u32
mix(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51u;
	word = rotate(word, 15);
	word *= 0x1b873593u;
	hash ^= word;
	hash = rotate(hash, 13);
	return (hash * 5 + 0xe6546b64u);
}

/* As lisp_flow_hash() of kmod/core, with another seed. */
INLINE __u32
flow_hash(const struct lisp_bpf_flow *flow, __u32 seed)
{
	const __u32 *words = (const __u32 *)flow;
	__u32 hash = seed;

#pragma unroll
	for (unsigned i = 0; i < sizeof(*flow) / 4; i++)
		hash = mix(hash, words[i]);
	hash ^= hash >> 16;
	hash *= 0x85ebca6bu;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35u;
	return (hash ^ (hash >> 16));
}

/* `among`: the places that count. Unused ones hold LISP_BPF_NONE, which is no RLOC's number. */
INLINE bool
has_remote(const struct lisp_bpf_mapping *mapping, __u32 remote, __u32 among)
{
#pragma unroll
	for (unsigned i = 0; i < LISP_BPF_LOCATORS; i++)
		if (mapping->remotes[i] == remote)
			return ((among >> i & 1) != 0);
	return (false);
}

/* RFC 9300 section 9: shares by weight among the locators of the best priority; user space worked the shares out. */
INLINE __u32
choose(const struct lisp_bpf_mapping *mapping, __u32 hash)
{
	__u32 at = ((__u64)hash * mapping->total) >> 32;

#pragma unroll
	for (unsigned i = 0; i < LISP_BPF_LOCATORS; i++)
		if (at < mapping->shares[i].end)
			return (mapping->shares[i].path);
	return (LISP_BPF_NONE);
}

INLINE __u32
find_path(const struct lisp_bpf_flow *flow, __u32 hash, __u32 *why)
{
	struct lisp_bpf_gleaned *gleaned;
	struct lisp_bpf_mapping *mapping;
	struct lisp_bpf_path *path;
	struct lisp_bpf_prefix key;
	__u32 *pinned;

	*why = 0;
	pinned = bpf_map_lookup_elem(&lisp_pins, flow);
	if (pinned)
		return (*pinned);
	prefix_key(&key, flow->iid, flow->family, flow->destination);
	mapping = bpf_map_lookup_elem(&lisp_mappings, &key);
	if (!mapping) {
		*why = LISP_BPF_UP_MAPPING;
		return (LISP_BPF_NONE);
	}
	gleaned = bpf_map_lookup_elem(&lisp_gleaned, flow);
	if (gleaned) {
		__u32 number = gleaned->path;

		/* What was learnt holds only as long as the mapping says so: the other site may have moved. */
		path = bpf_map_lookup_elem(&lisp_paths, &number);
		if (path && path->valid && path->up && has_remote(mapping, path->remote_number, mapping->usable))
			return (number);
	}
	if (mapping->total == 0) {
		*why = LISP_BPF_UP_LOCATOR;
		return (LISP_BPF_NONE);
	}
	*why = LISP_BPF_UP_LOCATOR;
	return (choose(mapping, hash));
}

/* Outer IP, UDP and LISP header (RFC 9300 sections 5.1 and 5.2); returns their octets. */
INLINE void
write_outer(__u8 *out, const struct lisp_bpf_path *path, const struct inner *inner, __u32 hash)
{
	__u32 payload = inner->length + UDP_LISP_SIZE, sum = 0;
	__u8 *udp;

	if (path->family == 4) {
		out[0] = 0x45;
		out[1] = inner->tos;
		put16(out + 2, 20 + payload);
		put16(out + 4, 0);
		put16(out + 6, 0x4000);	/* DF: an atomic datagram, RFC 6864 */
		out[8] = inner->ttl;
		out[9] = PROTO_UDP;
		put16(out + 10, 0);
		__builtin_memcpy(out + 12, path->local, 4);
		__builtin_memcpy(out + 16, path->remote, 4);
#pragma unroll
		for (unsigned i = 0; i < 20; i += 2)
			sum += get16(out + i);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		put16(out + 10, ~sum);
		udp = out + 20;
	} else {
		/* The flow label carries the same entropy as the port (RFC 6438). */
		out[0] = 0x60 | (inner->tos >> 4);
		out[1] = (inner->tos << 4) | ((hash >> 16) & 0x0f);
		put16(out + 2, hash);
		put16(out + 4, payload);
		out[6] = PROTO_UDP;
		out[7] = inner->ttl;
		__builtin_memcpy(out + 8, path->local, 16);
		__builtin_memcpy(out + 24, path->remote, 16);
		udp = out + 40;
	}
	put16(udp, 0xc000 | (hash & 0x3fff));
	put16(udp + 2, LISP_DATA_PORT);
	put16(udp + 4, payload);
	put16(udp + 6, 0);	/* RFC 9300 section 5.3, for IPv6 RFC 6935 and 6936 */
	udp[8] = inner->flow.iid ? 0x08 : 0;
	udp[9] = udp[10] = udp[11] = 0;
	udp[12] = inner->flow.iid >> 16;
	udp[13] = inner->flow.iid >> 8;
	udp[14] = inner->flow.iid;
	udp[15] = 0;
}

INLINE int
to_user_space(__u32 why)
{
	count(why);
	return (ACT_OK);
}

SECTION("tcx/egress") int
lisp_encapsulate(struct __sk_buff *skb)
{
	struct lisp_bpf_path_counters *counters;
	struct lisp_bpf_config *config;
	struct lisp_bpf_path *path;
	struct inner inner;
	__u8 outer[OUTER_MAX];
	__u32 zero = 0, number, why, hash, wire, packets;
	__u64 flags;

	config = bpf_map_lookup_elem(&lisp_config, &zero);
	if (!config || config->device == 0)
		return (ACT_OK);
	if (!parse_inner(skb, 0, &inner) || inner.length != skb->len)
		return (to_user_space(LISP_BPF_UP_PACKET));
	inner.flow.iid = config->iid;
	hash = flow_hash(&inner.flow, config->seed);
	number = find_path(&inner.flow, hash, &why);
	if (number == LISP_BPF_NONE)
		return (to_user_space(why));
	path = bpf_map_lookup_elem(&lisp_paths, &number);
	if (!path || !path->valid || path->device == 0)
		return (to_user_space(LISP_BPF_UP_PATH));

	if (!segments(skb, 0, &inner, &packets, &wire))
		return (to_user_space(LISP_BPF_UP_PACKET));
	if (wire > path->mtu || inner.length + path->overhead > 65535)
		return (to_user_space(LISP_BPF_UP_SIZE));

	flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	if (path->family == 4)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	else
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	write_outer(outer, path, &inner, hash);
	if (path->family == 4) {
		if (bpf_skb_adjust_room(skb, 20 + UDP_LISP_SIZE, BPF_ADJ_ROOM_MAC, flags) != 0)
			return (to_user_space(LISP_BPF_UP_PACKET));
		bpf_skb_store_bytes(skb, 0, outer, 20 + UDP_LISP_SIZE, 0);
	} else {
		if (bpf_skb_adjust_room(skb, 40 + UDP_LISP_SIZE, BPF_ADJ_ROOM_MAC, flags) != 0)
			return (to_user_space(LISP_BPF_UP_PACKET));
		bpf_skb_store_bytes(skb, 0, outer, 40 + UDP_LISP_SIZE, 0);
	}
	/* lisp0 has no link-layer header; the redirect wants the place of one. */
	if (bpf_skb_change_head(skb, ETHER_SIZE, 0) != 0) {
		count(LISP_BPF_DROP_NO_MEMORY);
		return (ACT_SHOT);
	}
	counters = bpf_map_lookup_elem(&lisp_path_counters, &number);
	if (counters) {
		counters->packets_sent += packets;
		counters->bytes_sent += inner.length;
	}
	count_packets(LISP_BPF_ENCAPSULATED, packets);
	/* The mark that routed the inner packet into lisp0 must not route the outer one there. */
	skb->mark = 0;
	return (bpf_redirect_neigh(path->device, 0, 0, 0));
}

/* RFC 6040 section 4.2. False: the core drops it. */
INLINE bool
decapsulated_tos(__u8 inner, __u8 outer, __u8 *tos)
{
	__u8 ecn = inner & ECN_MASK, mark = outer & ECN_MASK;

	if (mark == ECN_CE) {
		if (ecn == 0)
			return (false);
		ecn = ECN_CE;
	} else if (mark == ECN_ECT1 && ecn == ECN_ECT0)
		ecn = ECN_ECT1;
	*tos = (outer & ~ECN_MASK) | ecn;
	return (true);
}

INLINE void
glean(const struct inner *inner, __u32 iid, __u32 number)
{
	struct lisp_bpf_gleaned *known, fresh = { .path = number };
	struct lisp_bpf_flow reverse = {
		.source_port = inner->flow.destination_port,
		.destination_port = inner->flow.source_port,
		.protocol = inner->flow.protocol,
		.family = inner->flow.family,
		.iid = iid,
	};

	__builtin_memcpy(reverse.source, inner->flow.destination, 16);
	__builtin_memcpy(reverse.destination, inner->flow.source, 16);
	if (bpf_map_lookup_elem(&lisp_pins, &reverse))
		return;
	fresh.used_ns = bpf_ktime_get_ns();
	known = bpf_map_lookup_elem(&lisp_gleaned, &reverse);
	if (known && known->path == number) {
		known->used_ns = fresh.used_ns;
		return;
	}
	/* Nobody is told: to wake a process for every flow costs more than all the flow's packets do here. The map can be read. */
	if (bpf_map_update_elem(&lisp_gleaned, &reverse, &fresh, BPF_ANY) == 0)
		count(LISP_BPF_GLEANED);
}

/*
 * A router says that what was encapsulated here does not fit (RFC 1191 section 4, RFC 4443 section 3.2). No socket has the
 * source port of such a packet, so nobody else would hear of it. `offset` is where the ICMP message is.
 */
INLINE int
too_big(struct __sk_buff *skb, __u32 offset, __u32 family)
{
	struct lisp_bpf_event event = { .type = LISP_BPF_EVENT_MTU };
	struct lisp_bpf_path_key key = { .family = family };
	__u8 head[8 + 40 + 8];
	const __u8 *quoted = head + 8, *udp;
	__u32 *number;

	if (family == 4) {
		if (bpf_skb_load_bytes(skb, offset, head, 8 + 20 + 8) != 0)
			return (ACT_OK);
		udp = quoted + 20;
		if (head[0] != 3 || head[1] != 4 || quoted[0] != 0x45 || quoted[9] != PROTO_UDP)
			return (ACT_OK);
		event.mtu = get16(head + 6);
		__builtin_memcpy(key.local, quoted + 12, 4);
		__builtin_memcpy(key.remote, quoted + 16, 4);
	} else {
		if (bpf_skb_load_bytes(skb, offset, head, 8 + 40 + 8) != 0)
			return (ACT_OK);
		udp = quoted + 40;
		if (head[0] != 2 || quoted[6] != PROTO_UDP)
			return (ACT_OK);
		event.mtu = get16(head + 4) != 0 ? 65535 : get16(head + 6);
		__builtin_memcpy(key.local, quoted + 8, 16);
		__builtin_memcpy(key.remote, quoted + 24, 16);
	}
	if (get16(udp + 2) != LISP_DATA_PORT)
		return (ACT_OK);
	number = bpf_map_lookup_elem(&lisp_path_numbers, &key);
	if (number) {
		event.path = *number;
		if (bpf_ringbuf_output(&lisp_events, &event, sizeof(event), 0) != 0)
			count(LISP_BPF_EVENTS_LOST);
	}
	return (ACT_OK);
}

INLINE int
decapsulate(struct __sk_buff *skb, const struct lisp_bpf_config *config, __u32 family)
{
	struct lisp_bpf_path_counters *counters;
	struct lisp_bpf_path_key key = { .family = family };
	struct lisp_bpf_mapping *mapping;
	struct lisp_bpf_prefix prefix;
	struct lisp_bpf_path *path;
	struct inner inner;
	__u32 ip = family == 4 ? 20 : 40, *found, number, iid, sum, packets, wire;
	__u8 head[OUTER_MAX], outer_tos, outer_ttl, tos, ttl;
	const __u8 *udp;
	__u64 flags;

	if (family == 4) {
		if (bpf_skb_load_bytes(skb, ETHER_SIZE, head, 20 + UDP_LISP_SIZE) != 0)
			return (ACT_OK);
		if (head[9] == PROTO_ICMP && head[0] == 0x45)
			return (too_big(skb, ETHER_SIZE + 20, 4));
		if (head[9] != PROTO_UDP)
			return (ACT_OK);
		if (head[0] != 0x45 || (head[6] & 0x3f) != 0 || head[7] != 0)
			return (ACT_OK);	/* options or a fragment: whose, the socket will see */
		udp = head + 20;
		outer_tos = head[1];
		outer_ttl = head[8];
		__builtin_memcpy(key.local, head + 16, 4);
		__builtin_memcpy(key.remote, head + 12, 4);
		if (get16(udp + 2) != LISP_DATA_PORT)
			return (ACT_OK);
		if (get16(head + 2) != 20 + get16(udp + 4))
			return (to_user_space(LISP_BPF_DOWN_OUTER));
	} else {
		if (bpf_skb_load_bytes(skb, ETHER_SIZE, head, 40 + UDP_LISP_SIZE) != 0)
			return (ACT_OK);
		if (head[6] == PROTO_ICMPV6)
			return (too_big(skb, ETHER_SIZE + 40, 6));
		if (head[6] != PROTO_UDP)
			return (ACT_OK);
		udp = head + 40;
		outer_tos = (head[0] << 4) | (head[1] >> 4);
		outer_ttl = head[7];
		__builtin_memcpy(key.local, head + 24, 16);
		__builtin_memcpy(key.remote, head + 8, 16);
		if (get16(udp + 2) != LISP_DATA_PORT)
			return (ACT_OK);
		if (get16(head + 4) != get16(udp + 4))
			return (to_user_space(LISP_BPF_DOWN_OUTER));
	}
	found = bpf_map_lookup_elem(&lisp_path_numbers, &key);
	if (!found)
		return (to_user_space(LISP_BPF_DOWN_PATH));
	number = *found;
	path = bpf_map_lookup_elem(&lisp_paths, &number);
	if (!path || !path->valid)
		return (to_user_space(LISP_BPF_DOWN_PATH));
	/* Encrypted payload (RFC 8061), or a header that asks for something (echo-nonce): the core's business. */
	if (udp[8] & 0x23)
		return (to_user_space(LISP_BPF_DOWN_HEADER));
	iid = (udp[8] & 0x08) ? (__u32)udp[12] << 16 | udp[13] << 8 | udp[14] : 0;

	/*
	 * One inner packet fills the outer one exactly. Several datagrams merged into one (UDP segmentation offload of a
	 * sender on this machine) do not, and user space takes them apart.
	 */
	if (!parse_inner(skb, ETHER_SIZE + ip + UDP_LISP_SIZE, &inner) ||
	    inner.length + UDP_LISP_SIZE != get16(udp + 4) || inner.length + UDP_LISP_SIZE + ip + ETHER_SIZE != skb->len)
		return (to_user_space(LISP_BPF_DOWN_INNER));
	prefix_key(&prefix, iid, inner.flow.family, inner.flow.destination);
	if (!bpf_map_lookup_elem(&lisp_eids, &prefix))
		return (to_user_space(LISP_BPF_DOWN_EID));
	__builtin_memcpy(prefix.address, inner.flow.source, 16);
	if (bpf_map_lookup_elem(&lisp_eids, &prefix))
		return (to_user_space(LISP_BPF_DOWN_EID));
	if (!segments(skb, ETHER_SIZE + ip + UDP_LISP_SIZE, &inner, &packets, &wire))
		return (to_user_space(LISP_BPF_DOWN_INNER));
	counters = bpf_map_lookup_elem(&lisp_path_counters, &number);
	mapping = bpf_map_lookup_elem(&lisp_mappings, &prefix);
	if (!mapping || !has_remote(mapping, path->remote_number, ~0U)) {
		if (config->source_check) {
			/*
			 * The socket there hands over a super-packet of a kernel on this machine as one packet and does not say how
			 * many it stands for; the others are counted here.
			 */
			if (counters)
				counters->packets_received += packets - 1;
			count_packets(LISP_BPF_DECAPSULATED, packets - 1);
			return (to_user_space(LISP_BPF_DOWN_SOURCE));
		}
		mapping = 0;
	}
	if (!decapsulated_tos(inner.tos, outer_tos, &tos))
		return (to_user_space(LISP_BPF_DOWN_INNER));
	ttl = outer_ttl < inner.ttl ? outer_ttl : inner.ttl;
	if (ttl == 0)
		return (to_user_space(LISP_BPF_DOWN_INNER));

	flags = BPF_F_ADJ_ROOM_FIXED_GSO;
	if (inner.flow.family == 4 && family == 6)
		flags |= ROOM_DECAP_L3_IPV4;
	if (inner.flow.family == 6 && family == 4)
		flags |= ROOM_DECAP_L3_IPV6;
	if (bpf_skb_adjust_room(skb, family == 4 ? -(20 + UDP_LISP_SIZE) : -(40 + UDP_LISP_SIZE), BPF_ADJ_ROOM_MAC,
	    flags) != 0)
		return (to_user_space(LISP_BPF_DOWN_INNER));
	if (counters) {
		counters->packets_received += packets;
		counters->bytes_received += inner.length;
		counters->last_received_ns = bpf_ktime_get_ns();
	}
	/* Gleaning only chooses among the RLOCs of the mapping. */
	if (config->glean && mapping)
		glean(&inner, iid, number);

	if (tos != inner.tos || ttl != inner.ttl) {
		__u8 field[12];

		if (bpf_skb_load_bytes(skb, ETHER_SIZE, field, 12) != 0) {
			count(LISP_BPF_DROP_NO_MEMORY);
			return (ACT_SHOT);
		}
		if (inner.flow.family == 4) {
			/* RFC 1624, equation 3. */
			sum = (__u16)~get16(field + 10);
			sum += (__u16)~get16(field) + ((__u32)field[0] << 8 | tos);
			sum += (__u16)~get16(field + 8) + ((__u32)ttl << 8 | field[9]);
			sum = (sum & 0xffff) + (sum >> 16);
			sum = (sum & 0xffff) + (sum >> 16);
			field[1] = tos;
			field[8] = ttl;
			put16(field + 10, ~sum);
		} else {
			field[0] = 0x60 | (tos >> 4);
			field[1] = (tos << 4) | (field[1] & 0x0f);
			field[7] = ttl;
		}
		if (bpf_skb_store_bytes(skb, ETHER_SIZE, field, 12, 0) != 0) {
			count(LISP_BPF_DROP_NO_MEMORY);
			return (ACT_SHOT);
		}
	}
	count_packets(LISP_BPF_DECAPSULATED, packets);
	return (bpf_redirect(config->device, BPF_F_INGRESS));
}

SECTION("tcx/ingress") int
lisp_decapsulate(struct __sk_buff *skb)
{
	struct lisp_bpf_config *config;
	__u32 zero = 0;

	/* A tagged packet belongs to the VLAN's own device, which has a program of its own where it carries an RLOC. */
	if (skb->vlan_present)
		return (ACT_OK);
	config = bpf_map_lookup_elem(&lisp_config, &zero);
	if (!config || config->device == 0)
		return (ACT_OK);
	if (skb->protocol == NETWORK16(ETHERTYPE_IPV4))
		return (decapsulate(skb, config, 4));
	if (skb->protocol == NETWORK16(ETHERTYPE_IPV6))
		return (decapsulate(skb, config, 6));
	return (ACT_OK);
}

/* Uses nothing of the kernel that is reserved for other licences. */
char SECTION("license") lisp_license[] = "BSD-2-Clause";
