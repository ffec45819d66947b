/* SPDX-License-Identifier: BSD-2-Clause */
#include "mptcp_passive.h"

#define	TUPLE_OCTETS	(1 + 16 + 16 + 2 + 2)

static void
put_tuple(uint8_t out[TUPLE_OCTETS], const struct mptcp_tuple *tuple)
{
	out[0] = tuple->ipv6;
	memcpy(out + 1, tuple->local, 16);
	memcpy(out + 17, tuple->remote, 16);
	lisp_put16(out + 33, tuple->local_port);
	lisp_put16(out + 35, tuple->remote_port);
}

bool
mptcp_tuple_equal(const struct mptcp_tuple *a, const struct mptcp_tuple *b)
{
	return (a->ipv6 == b->ipv6 && a->local_port == b->local_port && a->remote_port == b->remote_port &&
	    memcmp(a->local, b->local, sizeof(a->local)) == 0 && memcmp(a->remote, b->remote, sizeof(a->remote)) == 0);
}

uint64_t
mptcp_passive_key(const uint8_t secret[MPTCP_SECRET_SIZE], const struct mptcp_tuple *tuple, uint32_t iss, uint32_t irs)
{
	uint8_t message[TUPLE_OCTETS + 8], hmac[MPTCP_HMAC_SIZE];

	put_tuple(message, tuple);
	lisp_put32(message + TUPLE_OCTETS, iss);
	lisp_put32(message + TUPLE_OCTETS + 4, irs);
	mptcp_hmac(secret, MPTCP_SECRET_SIZE, message, sizeof(message), hmac);
	return (lisp_get64(hmac));
}

/* Murmur's finalizer over each word. Whoever guesses a collision displaces a note, which costs its connection MPTCP and no more. */
static uint32_t
hash(uint32_t seed, const struct mptcp_tuple *tuple)
{
	uint8_t octets[TUPLE_OCTETS + 3];
	uint32_t h = seed;
	size_t i;

	put_tuple(octets, tuple);
	memset(octets + TUPLE_OCTETS, 0, 3);
	for (i = 0; i < sizeof(octets); i += 4) {
		h ^= lisp_get32(octets + i);
		h = (h ^ (h >> 16)) * 0x85ebca6bu;
		h = (h ^ (h >> 13)) * 0xc2b2ae35u;
		h ^= h >> 16;
	}
	return (h);
}

void
mptcp_notes_put(struct mptcp_notes *notes, const struct mptcp_tuple *tuple, uint32_t irs, uint8_t flags)
{
	struct mptcp_note *note = &notes->slots[hash(notes->seed, tuple) & notes->mask];

	note->tuple = *tuple;
	note->irs = irs;
	note->flags = flags;
	note->used = true;
}

bool
mptcp_notes_get(const struct mptcp_notes *notes, const struct mptcp_tuple *tuple, uint32_t irs, uint8_t *flags)
{
	const struct mptcp_note *note = &notes->slots[hash(notes->seed, tuple) & notes->mask];

	if (!note->used || note->irs != irs || !mptcp_tuple_equal(&note->tuple, tuple))
		return (false);
	*flags = note->flags;
	return (true);
}

struct mptcp_pending *
mptcp_pendings_add(struct mptcp_pendings *pendings, const struct mptcp_tuple *tuple, uint32_t irs, uint32_t token, uint32_t remote_nonce,
    uint64_t now, uint64_t lifetime, bool *again)
{
	struct mptcp_pending *bucket = pendings->slots[hash(pendings->seed, tuple) % MPTCP_PENDING_BUCKETS], *slot = NULL;
	unsigned i, j, same = 0;

	*again = false;
	for (i = 0; i < MPTCP_PENDING_BUCKETS; i++)
		for (j = 0; j < MPTCP_PENDING_WAYS; j++) {
			struct mptcp_pending *other = &pendings->slots[i][j];

			if (other->used && other->deadline <= now)
				mptcp_pendings_remove(pendings, other);
			if (!other->used)
				continue;
			if (!mptcp_tuple_equal(&other->tuple, tuple)) {
				same += other->token == token;
				continue;
			}
			if (other->irs == irs && other->token == token && other->remote_nonce == remote_nonce) {
				*again = true;
				return (other);
			}
			mptcp_pendings_remove(pendings, other);	/* another attempt from the same port */
		}
	if (same >= MPTCP_PENDING_MAX)
		return (NULL);
	for (j = 0; j < MPTCP_PENDING_WAYS && slot == NULL; j++)
		if (!bucket[j].used)
			slot = &bucket[j];
	/* The oldest gives way: whoever fills the table with his own connections' tokens is not to keep out others'. */
	if (slot == NULL) {
		for (slot = bucket, j = 1; j < MPTCP_PENDING_WAYS; j++)
			if (bucket[j].deadline < slot->deadline)
				slot = &bucket[j];
		mptcp_pendings_remove(pendings, slot);
	}
	memset(slot, 0, sizeof(*slot));
	slot->tuple = *tuple;
	slot->irs = irs;
	slot->token = token;
	slot->remote_nonce = remote_nonce;
	slot->deadline = now + lifetime;
	slot->used = true;
	pendings->count++;
	return (slot);
}

struct mptcp_pending *
mptcp_pendings_find(struct mptcp_pendings *pendings, const struct mptcp_tuple *tuple, uint64_t now)
{
	struct mptcp_pending *bucket = pendings->slots[hash(pendings->seed, tuple) % MPTCP_PENDING_BUCKETS];
	unsigned j;

	for (j = 0; j < MPTCP_PENDING_WAYS; j++)
		if (bucket[j].used && mptcp_tuple_equal(&bucket[j].tuple, tuple)) {
			if (bucket[j].deadline > now)
				return (&bucket[j]);
			mptcp_pendings_remove(pendings, &bucket[j]);
			return (NULL);
		}
	return (NULL);
}

void
mptcp_pendings_remove(struct mptcp_pendings *pendings, struct mptcp_pending *pending)
{
	LISP_ASSERT(pending->used && pendings->count > 0);
	memset(pending, 0, sizeof(*pending));
	pendings->count--;
}

void
mptcp_pending_prove(struct mptcp_pending *pending, uint64_t local_key, uint64_t remote_key)
{
	uint8_t hmac[MPTCP_HMAC_SIZE];

	mptcp_join_hmac(local_key, remote_key, pending->local_nonce, pending->remote_nonce, hmac);
	memcpy(pending->proof, hmac, sizeof(pending->proof));
	mptcp_join_hmac(remote_key, local_key, pending->remote_nonce, pending->local_nonce, hmac);
	memcpy(pending->expected, hmac, sizeof(pending->expected));
}

size_t
mptcp_header_append(uint8_t *tcp, size_t room, const uint8_t *option, size_t length)
{
	size_t header = (size_t)(tcp[12] >> 4) * 4, padded = (length + 3) & ~(size_t)3;

	if (length == 0 || header < 20 || header + padded > 60 || padded > room)
		return (0);
	memcpy(tcp + header, option, length);
	memset(tcp + header + length, 1, padded - length);	/* NOP */
	tcp[12] = (uint8_t)(((header + padded) / 4) << 4 | (tcp[12] & 0x0f));
	return (padded);
}
