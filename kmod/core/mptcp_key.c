/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp_key.h"
#include "mptcp_sha256.h"

#define	BLOCK	64

void
mptcp_key_derive(uint64_t key, uint32_t *token, uint64_t *idsn)
{
	struct mptcp_sha256 state;
	uint8_t octets[8], hash[MPTCP_HMAC_SIZE];

	lisp_put64(octets, key);
	mptcp_sha256_init(&state);
	mptcp_sha256_update(&state, octets, sizeof(octets));
	mptcp_sha256_final(&state, hash);
	*token = lisp_get32(hash);
	*idsn = lisp_get64(hash + sizeof(hash) - 8);
}

void
mptcp_hmac(const uint8_t *key, size_t key_length, const uint8_t *message, size_t length, uint8_t out[MPTCP_HMAC_SIZE])
{
	struct mptcp_sha256 state;
	uint8_t pad[BLOCK], hash[MPTCP_HMAC_SIZE];
	unsigned i;

	memset(pad, 0, sizeof(pad));
	if (key_length > sizeof(pad)) {
		mptcp_sha256_init(&state);
		mptcp_sha256_update(&state, key, key_length);
		mptcp_sha256_final(&state, pad);
	} else
		memcpy(pad, key, key_length);
	for (i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	mptcp_sha256_init(&state);
	mptcp_sha256_update(&state, pad, sizeof(pad));
	mptcp_sha256_update(&state, message, length);
	mptcp_sha256_final(&state, hash);
	for (i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	mptcp_sha256_init(&state);
	mptcp_sha256_update(&state, pad, sizeof(pad));
	mptcp_sha256_update(&state, hash, sizeof(hash));
	mptcp_sha256_final(&state, out);
}

static void
keyed(uint64_t own_key, uint64_t peer_key, const uint8_t *message, size_t length, uint8_t out[MPTCP_HMAC_SIZE])
{
	uint8_t key[16];

	lisp_put64(key, own_key);
	lisp_put64(key + 8, peer_key);
	mptcp_hmac(key, sizeof(key), message, length, out);
}

void
mptcp_join_hmac(uint64_t own_key, uint64_t peer_key, uint32_t own_nonce, uint32_t peer_nonce, uint8_t out[MPTCP_HMAC_SIZE])
{
	uint8_t message[8];

	lisp_put32(message, own_nonce);
	lisp_put32(message + 4, peer_nonce);
	keyed(own_key, peer_key, message, sizeof(message), out);
}

void
mptcp_add_addr_hmac(uint64_t own_key, uint64_t peer_key, uint8_t id, const uint8_t *address, size_t address_length, uint16_t port,
    uint8_t out[MPTCP_HMAC_ADD_ADDR])
{
	uint8_t message[1 + 16 + 2], whole[MPTCP_HMAC_SIZE];

	LISP_ASSERT(address_length == 4 || address_length == 16);
	message[0] = id;
	memcpy(message + 1, address, address_length);
	lisp_put16(message + 1 + address_length, port);
	keyed(own_key, peer_key, message, 1 + address_length + 2, whole);
	memcpy(out, whole + MPTCP_HMAC_SIZE - MPTCP_HMAC_ADD_ADDR, MPTCP_HMAC_ADD_ADDR);
}

bool
mptcp_hmac_equal(const uint8_t *a, const uint8_t *b, size_t length)
{
	unsigned differ = 0;
	size_t i;

	for (i = 0; i < length; i++)
		differ |= (unsigned)(a[i] ^ b[i]);
	return (differ == 0);
}
