/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKE_JOIN_H
#define FAKE_JOIN_H

#include <stdint.h>

/* Joins there have been, octets they have moved, joins that have not been ended. */
unsigned fake_join_count(void);
uint64_t fake_join_octets(void);
int fake_join_open(void);

#endif
