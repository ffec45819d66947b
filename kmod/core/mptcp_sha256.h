/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SHA-256 (FIPS 180-4) for mptcp_key: the kernel's own where there is a kernel, a small one of ours in userland. Like compat.h
 * this header differs between the worlds; it is apart because nothing but MPTCP needs a hash function.
 */
#ifndef MPTCP_SHA256_H
#define MPTCP_SHA256_H

#include "compat.h"

#ifdef _KERNEL
#include <crypto/sha2/sha256.h>

struct mptcp_sha256 {
	SHA256_CTX	kernel;
};

static inline void
mptcp_sha256_init(struct mptcp_sha256 *state)
{
	SHA256_Init(&state->kernel);
}

static inline void
mptcp_sha256_update(struct mptcp_sha256 *state, const uint8_t *data, size_t length)
{
	SHA256_Update(&state->kernel, data, length);
}

static inline void
mptcp_sha256_final(struct mptcp_sha256 *state, uint8_t out[32])
{
	SHA256_Final(out, &state->kernel);
}
#else
struct mptcp_sha256 {
	uint32_t	h[8];
	uint64_t	length;		/* octets so far */
	uint8_t		block[64];
};

void	mptcp_sha256_init(struct mptcp_sha256 *state);
void	mptcp_sha256_update(struct mptcp_sha256 *state, const uint8_t *data, size_t length);
void	mptcp_sha256_final(struct mptcp_sha256 *state, uint8_t out[32]);
#endif

#endif /* MPTCP_SHA256_H */
