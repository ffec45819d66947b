/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Without libFuzzer: mutated seed packets, from a fixed seed so that a failure comes again. Built with WRITE_SEEDS it writes the seed
 * packets to the directory named, for libFuzzer to start from.
 */
#include "fuzz.h"

static const char *const seeds[] = {
	TCP4, UDP4, TCP6,
	/* virtio-net header, little endian: TCPv4 and TCPv6 in segments of 2 */
	"01 01 2800 0200 1400 1000 45 2a 00 30 12 34 40 00 40 06 0000 c0000201 c612010a 80e801bb 00000001 00000000 5010ffff 00000000 0102030405060708",
	"01 04 3c00 0200 2800 1000 60000000001c0609 20010db8000100000000000000000001 20010db800020000000000000000000a 80e801bb 00000005 00000006 5018ffff 00000000 0102030405060708",
	"00 000000 00000000" TCP4,
	"88 123456 00000100" TCP6,
	"01 02 03 04 05 06 00 000000 00000000" TCP4,
	"4500 004c 0000 4000 4011 0000 cb007102 cb007b02 c123 10f5 0038 0000 00 000000 00000000" TCP4,
	("45c0 0038 0001 0000 4001 0000 cb007101 cb007102 0304 0000 0000 0578"
	"4500 05dc 0000 4000 3e11 1234 cb007102 cb007b02 c123 10f5 05c8 0000"),
	/* segment, and the options of a TCP header */
	"00 020405b40402080a7ade6b04000000000103030a1e040101 1e0c1001e86acd39d5666aef",
	"01 020405b40402080acfce73b97ade6b040103030a1e0c01010d73901d7f3b4f8a 1e1010013558ad00da57bd81f94f119b",
	"02 1e18018184222911aad3fe13743ff739202737f700016a0f 1e1810006d7e9f64ca1ebe023ec0404040b1f9f1b244450e",
	"02 0101080a1d8a5af6dd8331a51e1c200f2fc4225588037b5d4a9f170856fc4d460000000c07d1ca51",
	"02 1e1e3009 20010db8000000000000000000000001 01bb 0102030405060708 1e0a31010a0902020fa0",
	"02 1e0c60000102030405060708 1e0c700036112e701e55c6cc 1e048000 1e035101 1e0640030201",
};

#ifdef WRITE_SEEDS
int
main(int argc, char **argv)
{
	size_t i, length;
	char name[256];

	for (i = 0; argc == 2 && i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		unsigned char *data = unhex(seeds[i], &length);
		FILE *file;

		snprintf(name, sizeof(name), "%s/%zu", argv[1], i);
		if ((file = fopen(name, "w")) == NULL || fwrite(data, 1, length, file) != length || fclose(file) != 0)
			return (1);
		free(data);
	}
	return (0);
}
#else
static uint64_t state = 88172645463325252u;

static uint32_t
rnd(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return ((uint32_t)(state >> 32) % below);
}

int
main(int argc, char **argv)
{
	long runs = argc > 1 && strncmp(argv[1], "-runs=", 6) == 0 ? atol(argv[1] + 6) : 20000;

	for (; runs > 0; runs--) {
		size_t length, i;
		unsigned char *data = unhex(seeds[rnd(sizeof(seeds) / sizeof(seeds[0]))], &length);
		unsigned char *exact;

		/* Targets that take octets as a program want long ones of no particular form. */
		if (rnd(4) == 0) {
			free(data);
			length = rnd(512);
			data = malloc(length == 0 ? 1 : length);
			for (i = 0; i < length; i++)
				data[i] = (unsigned char)rnd(256);
			LLVMFuzzerTestOneInput(data, length);
			free(data);
			continue;
		}
		for (i = rnd(6); i > 0; i--)
			data[rnd((uint32_t)length)] = (unsigned char)rnd(256);
		if (rnd(4) == 0)
			length = rnd((uint32_t)length + 1);
		if (rnd(4) == 0 && length >= 20 && data[0] >> 4 == 4 && (data[0] & 15u) * 4 <= length)
			fix_v4(data);
		exact = cut(data, length);
		LLVMFuzzerTestOneInput(exact, length);
		free(exact);
		free(data);
	}
	return (0);
}
#endif
