/* SPDX-License-Identifier: BSD-2-Clause */

/* Octets of packets, and random ones that are the same in every run, for the programs that make frames. */
#ifndef PACKET_H
#define	PACKET_H

#include <stddef.h>
#include <stdint.h>

static uint64_t state = 88172645463325252ull;

static uint32_t
any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return ((uint32_t)(state >> 20));
}

static uint16_t
get16(const uint8_t *p)
{
	return ((uint16_t)(p[0] << 8 | p[1]));
}

static void
put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint32_t
get32(const uint8_t *p)
{
	return ((uint32_t)get16(p) << 16 | get16(p + 2));
}

static void
put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

static uint32_t
add(uint32_t sum, const uint8_t *p, size_t length)
{
	size_t i;

	for (i = 0; i + 1 < length; i += 2)
		sum += get16(p + i);
	if (length % 2 != 0)
		sum += (uint32_t)p[length - 1] << 8;
	return (sum);
}

static uint16_t
finish(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return ((uint16_t)~sum);
}

#endif
