/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp_option.h"

#define	DSS_DATA_FIN	0x10	/* F */
#define	DSS_DSN_64	0x08	/* m */
#define	DSS_MAP		0x04	/* M */
#define	DSS_ACK_64	0x02	/* a */
#define	DSS_ACK		0x01	/* A */
#define	ADD_ADDR_ECHO	0x1	/* E */
#define	BACKUP		0x1	/* B of MP_JOIN and MP_PRIO */

static const uint8_t join_size[] = {
	[MPTCP_SEGMENT_SYN] = 12,
	[MPTCP_SEGMENT_SYNACK] = 16,
	[MPTCP_SEGMENT_OTHER] = 24,
};

const char *
mptcp_ignored_name(unsigned cause)
{
	static const char *const names[MPTCP_IGNORED_COUNT] = {
		[MPTCP_IGNORED_NONE] = "none",
		[MPTCP_IGNORED_TRUNCATED] = "truncated",
		[MPTCP_IGNORED_LENGTH] = "length",
		[MPTCP_IGNORED_SUBTYPE] = "subtype",
		[MPTCP_IGNORED_SEGMENT] = "segment",
		[MPTCP_IGNORED_VERSION] = "version",
		[MPTCP_IGNORED_EXTENSION] = "extension",
		[MPTCP_IGNORED_CRYPTO] = "crypto",
		[MPTCP_IGNORED_DUPLICATE] = "duplicate",
	};

	return (cause < MPTCP_IGNORED_COUNT ? names[cause] : NULL);
}

/* The rules about which option may be in which segment: sections 3.1 and 3.2 for a SYN, 3.6 for a reset. */
static bool
allowed(enum mptcp_subtype subtype, enum mptcp_segment segment)
{
	return (segment == MPTCP_SEGMENT_OTHER || subtype == MPTCP_MP_CAPABLE || subtype == MPTCP_MP_JOIN);
}

static enum mptcp_ignored
parse_capable(const uint8_t *data, size_t length, enum mptcp_segment segment, struct mptcp_capable *capable)
{
	capable->version = data[2] & 0x0f;
	/* Other versions have other lengths, so this comes first. */
	if (capable->version != MPTCP_VERSION)
		return (MPTCP_IGNORED_VERSION);
	switch (segment) {
	case MPTCP_SEGMENT_SYN:
		if (length != 4)
			return (MPTCP_IGNORED_LENGTH);
		break;
	case MPTCP_SEGMENT_SYNACK:
		if (length != 12)
			return (MPTCP_IGNORED_LENGTH);
		capable->keys = 1;
		break;
	default:
		if (length != 20 && length != 22 && length != 24)
			return (MPTCP_IGNORED_LENGTH);
		capable->keys = 2;
		capable->has_data = length >= 22;
		capable->has_checksum = length == 24;
		break;
	}
	if (data[3] & MPTCP_CAPABLE_EXTENSION)
		return (MPTCP_IGNORED_EXTENSION);
	if ((data[3] & MPTCP_CAPABLE_SHA256) == 0)
		return (MPTCP_IGNORED_CRYPTO);
	/* Unassigned bits are ignored. */
	capable->flags = data[3] & (MPTCP_CAPABLE_CHECKSUM | MPTCP_CAPABLE_NO_JOIN | MPTCP_CAPABLE_SHA256);
	if (capable->keys > 0)
		capable->sender_key = lisp_get64(data + 4);
	if (capable->keys > 1)
		capable->receiver_key = lisp_get64(data + 12);
	if (capable->has_data)
		capable->data_length = lisp_get16(data + 20);
	if (capable->has_checksum)
		capable->checksum = lisp_get16(data + 22);
	return (MPTCP_IGNORED_NONE);
}

static enum mptcp_ignored
parse_join(const uint8_t *data, size_t length, enum mptcp_segment segment, struct mptcp_join *join)
{
	if (length != join_size[segment])
		return (MPTCP_IGNORED_LENGTH);
	if (segment == MPTCP_SEGMENT_OTHER) {
		memcpy(join->hmac, data + 4, MPTCP_HMAC_ACK);
		return (MPTCP_IGNORED_NONE);
	}
	join->backup = (data[2] & BACKUP) != 0;
	join->address_id = data[3];
	if (segment == MPTCP_SEGMENT_SYN) {
		join->token = lisp_get32(data + 4);
		join->nonce = lisp_get32(data + 8);
	} else {
		memcpy(join->hmac, data + 4, MPTCP_HMAC_SYNACK);
		join->nonce = lisp_get32(data + 12);
	}
	return (MPTCP_IGNORED_NONE);
}

static enum mptcp_ignored
parse_dss(const uint8_t *data, size_t length, struct mptcp_dss *dss)
{
	const uint8_t *p = data + 4;
	size_t least;
	uint8_t flags;

	if (length < 4)
		return (MPTCP_IGNORED_LENGTH);
	flags = data[3];
	dss->has_ack = (flags & DSS_ACK) != 0;
	dss->ack_64 = dss->has_ack && (flags & DSS_ACK_64) != 0;
	dss->has_map = (flags & DSS_MAP) != 0;
	dss->dsn_64 = dss->has_map && (flags & DSS_DSN_64) != 0;
	/* Without a mapping DATA_FIN has no sequence number. */
	dss->data_fin = dss->has_map && (flags & DSS_DATA_FIN) != 0;
	least = 4 + (dss->has_ack ? dss->ack_64 ? 8u : 4u : 0u) + (dss->has_map ? (dss->dsn_64 ? 8u : 4u) + 4u + 2u : 0u);
	dss->has_checksum = dss->has_map && length == least + 2;
	if (length != least && !dss->has_checksum)
		return (MPTCP_IGNORED_LENGTH);
	if (dss->has_ack) {
		dss->ack = dss->ack_64 ? lisp_get64(p) : lisp_get32(p);
		p += dss->ack_64 ? 8 : 4;
	}
	if (dss->has_map) {
		dss->dsn = dss->dsn_64 ? lisp_get64(p) : lisp_get32(p);
		p += dss->dsn_64 ? 8 : 4;
		dss->ssn = lisp_get32(p);
		dss->length = lisp_get16(p + 4);
		if (dss->has_checksum)
			dss->checksum = lisp_get16(p + 6);
	}
	return (MPTCP_IGNORED_NONE);
}

static enum mptcp_ignored
parse_add_addr(const uint8_t *data, size_t length, struct mptcp_add_addr *add)
{
	const uint8_t *p = data + 4;
	size_t rest;

	if (length < 4)
		return (MPTCP_IGNORED_LENGTH);
	add->echo = (data[2] & ADD_ADDR_ECHO) != 0;
	add->address_id = data[3];
	rest = length - 4;
	if (!add->echo) {
		if (rest < sizeof(add->hmac))
			return (MPTCP_IGNORED_LENGTH);
		rest -= sizeof(add->hmac);
	}
	switch (rest) {
	case 4:
	case 4 + 2:
		add->address_length = 4;
		break;
	case 16:
	case 16 + 2:
		add->address_length = 16;
		break;
	default:
		return (MPTCP_IGNORED_LENGTH);
	}
	memcpy(add->address, p, add->address_length);
	p += add->address_length;
	add->has_port = rest > add->address_length;
	if (add->has_port) {
		add->port = lisp_get16(p);
		p += 2;
	}
	if (!add->echo)
		memcpy(add->hmac, p, sizeof(add->hmac));
	return (MPTCP_IGNORED_NONE);
}

enum mptcp_ignored
mptcp_option_parse(const uint8_t *data, size_t length, enum mptcp_segment segment, struct mptcp_option *option)
{
	memset(option, 0, sizeof(*option));
	if (length < 2 || data[1] > length)
		return (MPTCP_IGNORED_TRUNCATED);
	length = data[1];
	if (data[0] != MPTCP_OPTION_KIND || length < MPTCP_OPTION_MIN || length > MPTCP_OPTION_MAX)
		return (MPTCP_IGNORED_LENGTH);
	if (data[2] >> 4 >= MPTCP_SUBTYPES)
		return (MPTCP_IGNORED_SUBTYPE);
	option->subtype = (enum mptcp_subtype)(data[2] >> 4);
	if (!allowed(option->subtype, segment))
		return (MPTCP_IGNORED_SEGMENT);
	switch (option->subtype) {
	case MPTCP_MP_CAPABLE:
		return (parse_capable(data, length, segment, &option->capable));
	case MPTCP_MP_JOIN:
		return (parse_join(data, length, segment, &option->join));
	case MPTCP_DSS:
		return (parse_dss(data, length, &option->dss));
	case MPTCP_ADD_ADDR:
		return (parse_add_addr(data, length, &option->add_addr));
	case MPTCP_REMOVE_ADDR:
		if (length < 4)
			return (MPTCP_IGNORED_LENGTH);
		option->remove_addr.count = (uint8_t)(length - 3);
		memcpy(option->remove_addr.address_id, data + 3, length - 3);
		return (MPTCP_IGNORED_NONE);
	case MPTCP_MP_PRIO:
		if (length != 3)
			return (MPTCP_IGNORED_LENGTH);
		option->prio.backup = (data[2] & BACKUP) != 0;
		return (MPTCP_IGNORED_NONE);
	case MPTCP_MP_FAIL:
		if (length != 12)
			return (MPTCP_IGNORED_LENGTH);
		option->fail.dsn = lisp_get64(data + 4);
		return (MPTCP_IGNORED_NONE);
	case MPTCP_MP_FASTCLOSE:
		if (length != 12)
			return (MPTCP_IGNORED_LENGTH);
		option->fastclose.receiver_key = lisp_get64(data + 4);
		return (MPTCP_IGNORED_NONE);
	case MPTCP_MP_TCPRST:
		if (length != 4)
			return (MPTCP_IGNORED_LENGTH);
		option->rst.flags = data[2] & 0x0f;
		option->rst.reason = data[3];
		return (MPTCP_IGNORED_NONE);
	default:
		return (MPTCP_IGNORED_SUBTYPE);
	}
}

size_t
mptcp_option_size(const struct mptcp_option *option, enum mptcp_segment segment)
{
	const struct mptcp_dss *dss = &option->dss;
	const struct mptcp_add_addr *add = &option->add_addr;

	if (!allowed(option->subtype, segment))
		return (0);
	switch (option->subtype) {
	case MPTCP_MP_CAPABLE:
		if (segment != MPTCP_SEGMENT_OTHER)
			return (segment == MPTCP_SEGMENT_SYN ? 4 : 12);
		return (!option->capable.has_data ? 20 : option->capable.has_checksum ? 24 : 22);
	case MPTCP_MP_JOIN:
		return (join_size[segment]);
	case MPTCP_DSS:
		return (4 + (dss->has_ack ? dss->ack_64 ? 8u : 4u : 0u) +
		    (dss->has_map ? (dss->dsn_64 ? 8u : 4u) + 4u + 2u + (dss->has_checksum ? 2u : 0u) : 0u));
	case MPTCP_ADD_ADDR:
		return (4 + (size_t)add->address_length + (add->has_port ? 2u : 0u) + (add->echo ? 0u : sizeof(add->hmac)));
	case MPTCP_REMOVE_ADDR:
		return (option->remove_addr.count == 0 ? 0 : 3 + (size_t)option->remove_addr.count);
	case MPTCP_MP_PRIO:
		return (3);
	case MPTCP_MP_FAIL:
	case MPTCP_MP_FASTCLOSE:
		return (12);
	case MPTCP_MP_TCPRST:
		return (4);
	default:
		return (0);
	}
}

static void
build_join(const struct mptcp_join *join, enum mptcp_segment segment, uint8_t *out)
{
	if (segment == MPTCP_SEGMENT_OTHER) {
		out[3] = 0;
		memcpy(out + 4, join->hmac, MPTCP_HMAC_ACK);
		return;
	}
	out[2] |= join->backup ? BACKUP : 0;
	out[3] = join->address_id;
	if (segment == MPTCP_SEGMENT_SYN) {
		lisp_put32(out + 4, join->token);
		lisp_put32(out + 8, join->nonce);
	} else {
		memcpy(out + 4, join->hmac, MPTCP_HMAC_SYNACK);
		lisp_put32(out + 12, join->nonce);
	}
}

static void
build_dss(const struct mptcp_dss *dss, uint8_t *out)
{
	uint8_t *p = out + 4;

	out[3] = 0;
	if (dss->has_ack) {
		out[3] |= DSS_ACK | (dss->ack_64 ? DSS_ACK_64 : 0);
		if (dss->ack_64)
			lisp_put64(p, dss->ack);
		else
			lisp_put32(p, (uint32_t)dss->ack);
		p += dss->ack_64 ? 8 : 4;
	}
	if (dss->has_map) {
		out[3] |= DSS_MAP | (dss->dsn_64 ? DSS_DSN_64 : 0) | (dss->data_fin ? DSS_DATA_FIN : 0);
		if (dss->dsn_64)
			lisp_put64(p, dss->dsn);
		else
			lisp_put32(p, (uint32_t)dss->dsn);
		p += dss->dsn_64 ? 8 : 4;
		lisp_put32(p, dss->ssn);
		lisp_put16(p + 4, dss->length);
		if (dss->has_checksum)
			lisp_put16(p + 6, dss->checksum);
	}
}

static void
build_add_addr(const struct mptcp_add_addr *add, uint8_t *out)
{
	uint8_t *p = out + 4;

	LISP_ASSERT(add->address_length == 4 || add->address_length == 16);
	out[2] |= add->echo ? ADD_ADDR_ECHO : 0;
	out[3] = add->address_id;
	memcpy(p, add->address, add->address_length);
	p += add->address_length;
	if (add->has_port) {
		lisp_put16(p, add->port);
		p += 2;
	}
	if (!add->echo)
		memcpy(p, add->hmac, sizeof(add->hmac));
}

size_t
mptcp_option_build(const struct mptcp_option *option, enum mptcp_segment segment, uint8_t *out, size_t room)
{
	size_t size = mptcp_option_size(option, segment);

	if (size == 0 || size > room || size > MPTCP_OPTION_MAX)
		return (0);
	out[0] = MPTCP_OPTION_KIND;
	out[1] = (uint8_t)size;
	out[2] = (uint8_t)(option->subtype << 4);
	switch (option->subtype) {
	case MPTCP_MP_CAPABLE:
		out[2] |= MPTCP_VERSION;
		out[3] = option->capable.flags;
		if (size >= 12)
			lisp_put64(out + 4, option->capable.sender_key);
		if (size >= 20)
			lisp_put64(out + 12, option->capable.receiver_key);
		if (size >= 22)
			lisp_put16(out + 20, option->capable.data_length);
		if (size >= 24)
			lisp_put16(out + 22, option->capable.checksum);
		break;
	case MPTCP_MP_JOIN:
		build_join(&option->join, segment, out);
		break;
	case MPTCP_DSS:
		build_dss(&option->dss, out);
		break;
	case MPTCP_ADD_ADDR:
		build_add_addr(&option->add_addr, out);
		break;
	case MPTCP_REMOVE_ADDR:
		memcpy(out + 3, option->remove_addr.address_id, option->remove_addr.count);
		break;
	case MPTCP_MP_PRIO:
		out[2] |= option->prio.backup ? BACKUP : 0;
		break;
	case MPTCP_MP_FAIL:
		out[3] = 0;
		lisp_put64(out + 4, option->fail.dsn);
		break;
	case MPTCP_MP_FASTCLOSE:
		out[3] = 0;
		lisp_put64(out + 4, option->fastclose.receiver_key);
		break;
	case MPTCP_MP_TCPRST:
		out[2] |= option->rst.flags & 0x0f;
		out[3] = option->rst.reason;
		break;
	default:
		return (0);
	}
	return (size);
}

void
mptcp_options_parse(const uint8_t *data, size_t length, enum mptcp_segment segment, struct mptcp_options *options)
{
	struct mptcp_option *next;
	enum mptcp_ignored cause;
	size_t size;

	memset(options, 0, sizeof(*options));
	for (; length > 0; data += size, length -= size) {
		if (data[0] == 0)	/* end of list */
			return;
		if (data[0] == 1) {	/* padding */
			size = 1;
			continue;
		}
		if (length < 2 || data[1] < 2 || data[1] > length) {
			/* Nothing behind it can be found any more. */
			if (data[0] == MPTCP_OPTION_KIND)
				options->ignored |= 1u << MPTCP_IGNORED_TRUNCATED;
			return;
		}
		size = data[1];
		if (data[0] != MPTCP_OPTION_KIND)
			continue;
		if (options->count == MPTCP_OPTIONS_MAX) {
			options->ignored |= 1u << MPTCP_IGNORED_DUPLICATE;
			continue;
		}
		next = &options->option[options->count];
		cause = mptcp_option_parse(data, size, segment, next);
		if (cause == MPTCP_IGNORED_NONE && mptcp_options_find(options, next->subtype) != NULL)
			cause = MPTCP_IGNORED_DUPLICATE;
		if (cause == MPTCP_IGNORED_NONE)
			options->count++;
		else {
			options->ignored |= (uint16_t)(1u << cause);
			memset(next, 0, sizeof(*next));
		}
	}
}

const struct mptcp_option *
mptcp_options_find(const struct mptcp_options *options, enum mptcp_subtype subtype)
{
	unsigned i;

	for (i = 0; i < options->count; i++)
		if (options->option[i].subtype == subtype)
			return (&options->option[i]);
	return (NULL);
}
