/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys of the passive side, notes of SYNs, pending joins. */
#include "tap.h"
#include <mptcp_passive.h>

static struct mptcp_tuple
tuple_of(unsigned n)
{
	struct mptcp_tuple tuple = { .local = { 203, 0, 113, 1 }, .remote = { 203, 0, 113, 2 }, .local_port = 5009,
	    .remote_port = (uint16_t)(10000 + n) };

	tuple.remote[2] = (uint8_t)(n >> 16);
	return (tuple);
}

/* Expected: HMAC-SHA256 of the octets in the order of the header's comment, by Python's hmac module. */
static void
passive_key(void)
{
	uint8_t secret[MPTCP_SECRET_SIZE];
	struct mptcp_tuple a = tuple_of(0), b;
	uint64_t key;
	size_t i;

	for (i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	key = mptcp_passive_key(secret, &a, 0x01020304, 0xf1f2f3f4);
	CHECK(key == 0x323715af34a5244fu);
	CHECK(mptcp_passive_key(secret, &a, 0x01020304, 0xf1f2f3f4) == key);
	CHECK(mptcp_passive_key(secret, &a, 0x01020305, 0xf1f2f3f4) != key);
	CHECK(mptcp_passive_key(secret, &a, 0x01020304, 0xf1f2f3f5) != key);
	b = a;
	b.ipv6 = 1;
	CHECK(mptcp_passive_key(secret, &b, 0x01020304, 0xf1f2f3f4) != key);
	b = a;
	b.local_port++;
	CHECK(mptcp_passive_key(secret, &b, 0x01020304, 0xf1f2f3f4) != key);
	secret[31] ^= 1;
	CHECK(mptcp_passive_key(secret, &a, 0x01020304, 0xf1f2f3f4) != key);
}

static void
notes(void)
{
	struct mptcp_note slots[16] = { 0 };
	struct mptcp_notes notes = { .slots = slots, .mask = 15, .seed = 77 };
	struct mptcp_tuple a = tuple_of(1), b;
	uint8_t flags = 0;
	unsigned n, kept = 0;

	CHECK(!mptcp_notes_get(&notes, &a, 5, &flags));
	mptcp_notes_put(&notes, &a, 5, 0x81);
	CHECK(mptcp_notes_get(&notes, &a, 5, &flags));
	CHECK_EQUAL(flags, 0x81);
	CHECK(mptcp_notes_get(&notes, &a, 5, &flags));
	CHECK(!mptcp_notes_get(&notes, &a, 6, &flags));
	b = a;
	b.remote_port++;
	CHECK(!mptcp_notes_get(&notes, &b, 5, &flags));
	b = a;
	b.ipv6 = 1;
	CHECK(!mptcp_notes_get(&notes, &b, 5, &flags));
	/* A SYN of a new attempt takes the place of the old one. */
	mptcp_notes_put(&notes, &a, 9, 1);
	CHECK(!mptcp_notes_get(&notes, &a, 5, &flags));
	CHECK(mptcp_notes_get(&notes, &a, 9, &flags));
	/* Whatever comes, the table stays as it is and only forgets. */
	for (n = 0; n < 1000; n++) {
		b = tuple_of(n);
		mptcp_notes_put(&notes, &b, n, 1);
		CHECK(mptcp_notes_get(&notes, &b, n, &flags));
	}
	for (n = 0; n < 1000; n++) {
		b = tuple_of(n);
		kept += mptcp_notes_get(&notes, &b, n, &flags);
	}
	CHECK_EQUAL(kept, 16);
}

static struct mptcp_pendings pendings;

static void
pending(void)
{
	struct mptcp_tuple a = tuple_of(1), b;
	struct mptcp_pending *p, *q;
	unsigned n, most;
	bool again;

	memset(&pendings, 0, sizeof(pendings));
	pendings.seed = 4711;
	p = mptcp_pendings_add(&pendings, &a, 100, 0xabcd, 7, 1000, 20, &again);
	CHECK(p != NULL && !again);
	CHECK(mptcp_pendings_find(&pendings, &a, 1019) == p);
	/* The same SYN again, and another one. */
	q = mptcp_pendings_add(&pendings, &a, 100, 0xabcd, 7, 1001, 20, &again);
	CHECK(p == q && again);
	q = mptcp_pendings_add(&pendings, &a, 200, 0xabcd, 8, 1001, 20, &again);
	CHECK(q != NULL && !again && q->irs == 200);
	CHECK_EQUAL(pendings.count, 1);
	mptcp_pendings_remove(&pendings, q);
	CHECK(mptcp_pendings_find(&pendings, &a, 1002) == NULL);
	CHECK_EQUAL(pendings.count, 0);
	/* No more than eight of one connection; others have their own. */
	for (n = 0; n < MPTCP_PENDING_MAX; n++) {
		b = tuple_of(n);
		CHECK(mptcp_pendings_add(&pendings, &b, n, 0xabcd, n, 1000, 20, &again) != NULL);
	}
	b = tuple_of(n);
	CHECK(mptcp_pendings_add(&pendings, &b, n, 0xabcd, n, 1000, 20, &again) == NULL);
	CHECK(mptcp_pendings_add(&pendings, &b, n, 0xabce, n, 1000, 20, &again) != NULL);
	CHECK_EQUAL(pendings.count, MPTCP_PENDING_MAX + 1);
	/* Time makes room; what is found too late is gone. */
	CHECK(mptcp_pendings_find(&pendings, &b, 1020) == NULL);
	CHECK_EQUAL(pendings.count, MPTCP_PENDING_MAX);
	CHECK(mptcp_pendings_add(&pendings, &b, n, 0xabcd, n, 1020, 20, &again) != NULL);
	CHECK_EQUAL(pendings.count, 1);
	/* Many connections: bounded, and the newest is always taken. */
	memset(&pendings, 0, sizeof(pendings));
	for (n = 0, most = 0; n < 10000; n++) {
		b = tuple_of(n);
		p = mptcp_pendings_add(&pendings, &b, n, n, n, 1000, 20, &again);
		CHECK(p != NULL && mptcp_pendings_find(&pendings, &b, 1001) == p);
	}
	CHECK_EQUAL(pendings.count, MPTCP_PENDING_BUCKETS * MPTCP_PENDING_WAYS);
	/* The oldest of its bucket went. */
	memset(&pendings, 0, sizeof(pendings));
	for (n = 0, most = 0; n < 1000; n++) {
		b = tuple_of(n);
		(void)mptcp_pendings_add(&pendings, &b, n, n, n, 1000 + n, 2000, &again);
	}
	for (n = 990; n < 1000; n++) {
		b = tuple_of(n);
		most += mptcp_pendings_find(&pendings, &b, 2000) != NULL;
	}
	CHECK_EQUAL(most, 10);
}

static void
proofs(void)
{
	struct mptcp_pending server = { .local_nonce = 0x11223344, .remote_nonce = 0x55667788 };
	struct mptcp_pending client = { .local_nonce = 0x55667788, .remote_nonce = 0x11223344 };
	uint8_t hmac[MPTCP_HMAC_SIZE];

	mptcp_pending_prove(&server, 1, 2);
	mptcp_pending_prove(&client, 2, 1);
	CHECK_BYTES(server.proof, client.expected, sizeof(server.proof));
	CHECK_BYTES(client.proof, server.expected, sizeof(client.proof));
	mptcp_join_hmac(2, 1, 0x55667788, 0x11223344, hmac);
	CHECK_BYTES(server.expected, hmac, sizeof(server.expected));
}

static void
append(void)
{
	static const uint8_t option[] = { 30, 7, 3, 4, 5, 6, 7 };
	uint8_t header[64];
	unsigned length;

	memset(header, 0xee, sizeof(header));
	header[12] = 5 << 4 | 0x1;
	CHECK_EQUAL(mptcp_header_append(header, 40, option, sizeof(option)), 8);
	CHECK_EQUAL(header[12], 7 << 4 | 0x1);
	CHECK_BYTES(header + 20, option, sizeof(option));
	CHECK_EQUAL(header[27], 1);
	CHECK_EQUAL(header[28], 0xee);
	for (length = 0; length < 16; length++) {
		header[12] = (uint8_t)(length << 4);
		CHECK_EQUAL(mptcp_header_append(header, 40, option, sizeof(option)), length >= 5 && length <= 13 ? 8 : 0);
	}
	header[12] = 5 << 4;
	CHECK_EQUAL(mptcp_header_append(header, 7, option, sizeof(option)), 0);
	CHECK_EQUAL(mptcp_header_append(header, 40, option, 0), 0);
	CHECK_EQUAL(header[12], 5 << 4);
}

int
main(void)
{
	TEST(passive_key);
	TEST(notes);
	TEST(pending);
	TEST(proofs);
	TEST(append);
	DONE();
}
