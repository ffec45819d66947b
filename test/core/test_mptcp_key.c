/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 and HMAC by published vectors; tokens, sequence numbers and HMACs by connections between two Linux 6.18 hosts. */
#include "tap.h"
#include <mptcp_dsn.h>
#include <mptcp_key.h>
#include <mptcp_sha256.h>

static void
check_hash(const unsigned char *data, size_t length, size_t step, const char *want)
{
	size_t n, at;
	unsigned char *expected = unhex(want, &n), out[32];
	struct mptcp_sha256 state;

	mptcp_sha256_init(&state);
	for (at = 0; at < length; at += step)
		mptcp_sha256_update(&state, data + at, length - at < step ? length - at : step);
	mptcp_sha256_final(&state, out);
	CHECK_BYTES(out, expected, 32);
	free(expected);
}

/* FIPS 180-4's examples. */
static void
sha256(void)
{
	static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	unsigned char *many = malloc(1000000);
	size_t step;

	check_hash((const unsigned char *)"", 0, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	check_hash((const unsigned char *)"abc", 3, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	for (step = 1; step <= 56; step++)
		check_hash((const unsigned char *)two, 56, step, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(many, 'a', 1000000);
	check_hash(many, 1000000, 997, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(many);
}

/* RFC 4231 test cases 1, 2, 4 and 6. */
static void
hmac(void)
{
	static const struct {
		const char *key, *message, *want;
	} cases[] = {
		{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
		{ "0102030405060708090a0b0c0d0e0f10111213141516171819",
		    "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
		    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
	};
	unsigned char key[131], out[32];
	size_t i, key_length, length, n;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned char *k = unhex(cases[i].key, &key_length), *message = unhex(cases[i].message, &length);
		unsigned char *want = unhex(cases[i].want, &n);

		mptcp_hmac(k, key_length, message, length, out);
		CHECK_BYTES(out, want, 32);
		free(k);
		free(message);
		free(want);
	}
	/* A key longer than a block. */
	memset(key, 0xaa, sizeof(key));
	{
		static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
		unsigned char *want = unhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", &n);

		mptcp_hmac(key, sizeof(key), (const unsigned char *)text, strlen(text), out);
		CHECK_BYTES(out, want, 32);
		free(want);
	}
	CHECK(mptcp_hmac_equal((const unsigned char *)"abcd", (const unsigned char *)"abcd", 4));
	CHECK(!mptcp_hmac_equal((const unsigned char *)"abcd", (const unsigned char *)"abcf", 4));
	CHECK(!mptcp_hmac_equal((const unsigned char *)"abcd", (const unsigned char *)"Abcd", 4));
}

/* Keys of the client and the server, and the first data sequence numbers each used. */
static void
tokens(void)
{
	static const struct {
		uint64_t client, server;
		uint32_t server_token;
		uint64_t client_first, server_first;
	} connections[] = {
		{ 0xa77a1d9b440b10f1u, 0x0d73901d7f3b4f8au, 0xe86acd39u, 0x376f97588bcbd9a8u, 0x92f7c7a8610b5cecu },
		{ 0x4f0296d23ca095aeu, 0x36112e701e55c6ccu, 0x23055699u, 0xbb990bb903002363u, 0x84404f9b8143cfcfu },
		{ 0x8a0d54aa1a4635efu, 0x6bea2afac4eed848u, 0xeb49a2d6u, 0x4a9f170856fc4d3bu, 0x2fc4225588037b52u },
		{ 0x84222911aad3fe13u, 0x743ff739202737f7u, 0x248e51c7u, 0x18d07a38d79cb348u, 0x17a6ab506bde8dcfu },
	};
	uint64_t idsn;
	uint32_t token;
	size_t i;

	for (i = 0; i < sizeof(connections) / sizeof(connections[0]); i++) {
		mptcp_key_derive(connections[i].server, &token, &idsn);
		CHECK_EQUAL(token, connections[i].server_token);
		CHECK(idsn + 1 == connections[i].server_first);
		mptcp_key_derive(connections[i].client, &token, &idsn);
		CHECK(idsn + 1 == connections[i].client_first);
	}
}

static void
check_join(uint64_t client, uint64_t server, uint32_t client_nonce, uint32_t server_nonce, const char *synack, const char *ack)
{
	unsigned char out[32], *want;
	size_t n;

	want = unhex(synack, &n);
	CHECK_EQUAL(n, MPTCP_HMAC_SYNACK);
	mptcp_join_hmac(server, client, server_nonce, client_nonce, out);
	CHECK_BYTES(out, want, n);
	free(want);
	want = unhex(ack, &n);
	CHECK_EQUAL(n, MPTCP_HMAC_ACK);
	mptcp_join_hmac(client, server, client_nonce, server_nonce, out);
	CHECK_BYTES(out, want, n);
	free(want);
}

static void
joins(void)
{
	check_join(0xa77a1d9b440b10f1u, 0x0d73901d7f3b4f8au, 0xd5666aef, 0xf94f119b, "3558ad00da57bd81",
	    "6d7e9f64ca1ebe023ec0404040b1f9f1b244450e");
	check_join(0xa77a1d9b440b10f1u, 0x0d73901d7f3b4f8au, 0x82327426, 0xdbe91212, "2a00806681ee9b37",
	    "a5bf381f40591ed9bd946a90f12225b08f9a63d1");
	check_join(0x84222911aad3fe13u, 0x743ff739202737f7u, 0xbb9802c7u, 0xb042c7db, "43a3c66e9d083abf",
	    "b2b43478920e306a9b7cefe335d9e642518dbc09");
}

static void
check_add(uint64_t own, uint64_t peer, uint8_t id, const char *address, uint16_t port, const char *hmac)
{
	size_t length, n;
	unsigned char *bytes = unhex(address, &length), *want = unhex(hmac, &n), out[MPTCP_HMAC_ADD_ADDR];

	mptcp_add_addr_hmac(own, peer, id, bytes, length, port, out);
	CHECK_BYTES(out, want, sizeof(out));
	free(bytes);
	free(want);
}

static void
announcements(void)
{
	check_add(0x0d73901d7f3b4f8au, 0xa77a1d9b440b10f1u, 1, "0a090202", 4000, "489e40064d000467");
	check_add(0x0d73901d7f3b4f8au, 0xa77a1d9b440b10f1u, 2, "fd000002000000000000000000000002", 0, "f97e154105bf1664");
	check_add(0x743ff739202737f7u, 0x84222911aad3fe13u, 1, "0a090202", 4000, "0cc5bba38c0816a8");
}

static void
sequence_numbers(void)
{
	CHECK(mptcp_dsn_before(1, 2) && !mptcp_dsn_before(2, 1) && !mptcp_dsn_before(2, 2));
	CHECK(mptcp_dsn_before(UINT64_MAX, 0) && mptcp_dsn_after(5, UINT64_MAX - 5));
	CHECK(mptcp_ssn_before(UINT32_MAX, 3) && !mptcp_ssn_before(3, UINT32_MAX));
	CHECK(mptcp_dsn_expand(5, 0x1234fffffff0u) == 0x123500000005u);
	CHECK(mptcp_dsn_expand(0xfffffff0u, 0x123500000005u) == 0x1234fffffff0u);
	CHECK(mptcp_dsn_expand(0x80000000u, 0x123400000001u) == 0x123480000000u);
	CHECK(mptcp_dsn_expand(7, 7) == 7);
	CHECK(mptcp_dsn_expand(1, UINT64_MAX) == 1);
	CHECK(mptcp_dsn_expand(UINT32_MAX, 0) == UINT64_MAX);
}

int
main(void)
{
	TEST(sha256);
	TEST(hmac);
	TEST(tokens);
	TEST(joins);
	TEST(announcements);
	TEST(sequence_numbers);
	DONE();
}
