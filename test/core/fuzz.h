/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fuzz target is one LLVMFuzzerTestOneInput. With clang it is linked with libFuzzer; otherwise fuzz_main.c feeds it mutations of
 * the seeds, which finds less but runs everywhere.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "site.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold of any packet the parser accepts. */
static inline void
expect(bool condition)
{
	if (!condition)
		abort();
}

#endif
