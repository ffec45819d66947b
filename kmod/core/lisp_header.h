/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The LISP header of data packets, RFC 9300 section 5.1 (figures) and 5.3 (fields):
 *
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |N|L|E|V|I|R|K|K|            Nonce/Map-Version                  |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *   |                 Instance ID/Locator-Status-Bits               |
 *   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
#ifndef LISP_HEADER_H
#define LISP_HEADER_H

#include "lisp_types.h"

#define	LISP_HEADER_SIZE	8

#define	LISP_FLAG_N	0x80	/* nonce present */
#define	LISP_FLAG_L	0x40	/* locator-status-bits present */
#define	LISP_FLAG_E	0x20	/* echo-nonce request; meaningless without N */
#define	LISP_FLAG_V	0x10	/* map-version present; not together with N */
#define	LISP_FLAG_I	0x08	/* instance-id present */
#define	LISP_FLAG_R	0x04	/* reserved: sent as zero, ignored */
#define	LISP_FLAG_KK	0x03	/* encrypted payload, RFC 8061 */

struct lisp_header {
	uint8_t		flags;
	uint32_t	nonce;		/* 24 bits; with V: source and destination map-version, 12 bits each (RFC 9302) */
	uint32_t	iid;		/* 24 bits; 0 without I */
	uint32_t	status_bits;	/* 32 bits, or 8 with I; 0 without L */
};

/* False and a cause when the octets are no LISP header this plane can take. Contradictions are settled as RFC 9300 says: N wins over V. */
bool	lisp_header_parse(const uint8_t *data, size_t length, struct lisp_header *header, enum lisp_drop *cause);
/* Writes LISP_HEADER_SIZE octets; the flags in `header` decide which fields count. */
void	lisp_header_write(const struct lisp_header *header, uint8_t *out);

#endif /* LISP_HEADER_H */
