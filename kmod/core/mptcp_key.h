/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What follows from the keys of an MPTCP connection, RFC 8684 sections 3.1, 3.2 and 3.4.1. A key is its eight octets as a number in
 * network order; random numbers are the caller's.
 */
#ifndef MPTCP_KEY_H
#define MPTCP_KEY_H

#include "compat.h"

#define	MPTCP_HMAC_SIZE		32
#define	MPTCP_HMAC_SYNACK	8	/* leftmost octets sent in the MP_JOIN of a SYN/ACK */
#define	MPTCP_HMAC_ACK		20	/* and of an ACK */
#define	MPTCP_HMAC_ADD_ADDR	8	/* rightmost octets sent in ADD_ADDR */

/* The key's hash: its first 32 bits are the token, its last 64 the initial data sequence number. The first octet of data is idsn + 1. */
void	mptcp_key_derive(uint64_t key, uint32_t *token, uint64_t *idsn);
/* HMAC-SHA256 (RFC 2104) of any key and message. */
void	mptcp_hmac(const uint8_t *key, size_t key_length, const uint8_t *message, size_t length, uint8_t out[MPTCP_HMAC_SIZE]);
/* What the end with `own_key` and `own_nonce` proves itself with when it joins or is joined. */
void	mptcp_join_hmac(uint64_t own_key, uint64_t peer_key, uint32_t own_nonce, uint32_t peer_nonce, uint8_t out[MPTCP_HMAC_SIZE]);
/* ADD_ADDR from the end with `own_key`; `address` has 4 or 16 octets, port 0 when none is announced. */
void	mptcp_add_addr_hmac(uint64_t own_key, uint64_t peer_key, uint8_t id, const uint8_t *address, size_t address_length,
	    uint16_t port, uint8_t out[MPTCP_HMAC_ADD_ADDR]);
/* Takes as long for a wrong first octet as for a wrong last one. */
bool	mptcp_hmac_equal(const uint8_t *a, const uint8_t *b, size_t length);

#endif /* MPTCP_KEY_H */
