/* SPDX-License-Identifier: BSD-2-Clause */
#include "lisp_types.h"

static const char *const drop_names[LISP_DROP_COUNT] = {
#define	LISP_DROP_NAME(symbol, name, text)	[LISP_DROP_##symbol] = name,
	LISP_DROP_CAUSES(LISP_DROP_NAME)
#undef LISP_DROP_NAME
};

static const char *const drop_texts[LISP_DROP_COUNT] = {
#define	LISP_DROP_TEXT(symbol, name, text)	[LISP_DROP_##symbol] = text,
	LISP_DROP_CAUSES(LISP_DROP_TEXT)
#undef LISP_DROP_TEXT
};

const char *
lisp_drop_name(unsigned cause)
{
	return (cause < LISP_DROP_COUNT ? drop_names[cause] : NULL);
}

const char *
lisp_drop_text(unsigned cause)
{
	return (cause < LISP_DROP_COUNT ? drop_texts[cause] : NULL);
}

struct lisp_addr
lisp_addr_v4(const uint8_t bytes[4])
{
	struct lisp_addr addr;

	memset(&addr, 0, sizeof(addr));
	addr.af = LISP_AF_V4;
	memcpy(addr.bytes, bytes, 4);
	return (addr);
}

struct lisp_addr
lisp_addr_v6(const uint8_t bytes[16])
{
	struct lisp_addr addr;

	memset(&addr, 0, sizeof(addr));
	addr.af = LISP_AF_V6;
	memcpy(addr.bytes, bytes, 16);
	return (addr);
}

bool
lisp_addr_equal(const struct lisp_addr *a, const struct lisp_addr *b)
{
	return (a->af == b->af && a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
	    a->words[2] == b->words[2] && a->words[3] == b->words[3]);
}

unsigned
lisp_addr_size(unsigned af)
{
	return (af == LISP_AF_V4 ? 4 : af == LISP_AF_V6 ? 16 : 0);
}

bool
lisp_addr_is_unspecified(const struct lisp_addr *addr)
{
	return ((addr->words[0] | addr->words[1] | addr->words[2] | addr->words[3]) == 0);
}

bool
lisp_addr_is_unicast(const struct lisp_addr *addr)
{
	static const uint8_t v4mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	switch (addr->af) {
	case LISP_AF_V4:
		return (addr->bytes[0] != 0 && (addr->bytes[0] & 0xf0) != 0xe0 && addr->words[0] != 0xffffffffu);
	case LISP_AF_V6:
		/* IPv4-mapped addresses never belong on the wire. */
		return (addr->bytes[0] != 0xff && !lisp_addr_is_unspecified(addr) && memcmp(addr->bytes, v4mapped, 12) != 0);
	default:
		return (false);
	}
}

bool
lisp_addr_is_scoped(const struct lisp_addr *addr)
{
	if (addr->af == LISP_AF_V4)
		return (addr->bytes[0] == 127 || (addr->bytes[0] == 169 && addr->bytes[1] == 254));
	if (addr->af == LISP_AF_V6) {
		static const uint8_t loopback[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };

		return ((addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80) ||
		    memcmp(addr->bytes, loopback, 16) == 0);
	}
	return (false);
}

bool
lisp_prefix_valid(const struct lisp_prefix *prefix)
{
	unsigned size = lisp_addr_size(prefix->addr.af);

	return (size != 0 && prefix->len <= size * 8);
}

void
lisp_prefix_mask(struct lisp_prefix *prefix)
{
	unsigned i, whole = prefix->len / 8;

	for (i = whole; i < 16; i++) {
		if (i == whole && prefix->len % 8 != 0)
			prefix->addr.bytes[i] &= (uint8_t)(0xff << (8 - prefix->len % 8));
		else
			prefix->addr.bytes[i] = 0;
	}
}

bool
lisp_prefix_equal(const struct lisp_prefix *a, const struct lisp_prefix *b)
{
	return (a->len == b->len && lisp_addr_equal(&a->addr, &b->addr));
}

bool
lisp_prefix_contains(const struct lisp_prefix *prefix, const struct lisp_addr *addr)
{
	struct lisp_prefix of;

	if (prefix->addr.af != addr->af)
		return (false);
	memset(&of, 0, sizeof(of));
	of.addr = *addr;
	of.len = prefix->len;
	lisp_prefix_mask(&of);
	return (lisp_addr_equal(&of.addr, &prefix->addr));
}

bool
lisp_flow_equal(const struct lisp_flow *a, const struct lisp_flow *b)
{
	return (a->iid == b->iid && a->sport == b->sport && a->dport == b->dport && a->proto == b->proto &&
	    lisp_addr_equal(&a->src, &b->src) && lisp_addr_equal(&a->dst, &b->dst));
}

struct lisp_flow
lisp_flow_reverse(const struct lisp_flow *flow)
{
	struct lisp_flow reverse = *flow;

	reverse.src = flow->dst;
	reverse.dst = flow->src;
	reverse.sport = flow->dport;
	reverse.dport = flow->sport;
	return (reverse);
}

static inline uint32_t
rotate(uint32_t value, unsigned by)
{
	return ((value << by) | (value >> (32 - by)));
}

/* The mixing steps of MurmurHash3 (public domain): short keys, good in every bit. */
static inline uint32_t
mix(uint32_t hash, uint32_t word)
{
	word *= 0xcc9e2d51u;
	word = rotate(word, 15);
	word *= 0x1b873593u;
	hash ^= word;
	hash = rotate(hash, 13);
	return (hash * 5 + 0xe6546b64u);
}

static inline uint32_t
finish(uint32_t hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6bu;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35u;
	hash ^= hash >> 16;
	return (hash);
}

uint32_t
lisp_hash_words(const uint32_t *words, unsigned count, uint32_t seed)
{
	uint32_t hash = seed;
	unsigned i;

	for (i = 0; i < count; i++)
		hash = mix(hash, words[i]);
	return (finish(hash));
}

uint32_t
lisp_flow_hash(const struct lisp_flow *flow, uint32_t seed)
{
	unsigned i, words = flow->src.af == LISP_AF_V6 ? 4 : 1;
	uint32_t hash = mix(seed, flow->iid);

	hash = mix(hash, ((uint32_t)flow->sport << 16) | flow->dport);
	hash = mix(hash, flow->proto);
	for (i = 0; i < words; i++)
		hash = mix(mix(hash, flow->src.words[i]), flow->dst.words[i]);
	return (finish(hash));
}

bool
lisp_path_equal(const struct lisp_path *a, const struct lisp_path *b)
{
	return (lisp_addr_equal(&a->local, &b->local) && lisp_addr_equal(&a->remote, &b->remote));
}
