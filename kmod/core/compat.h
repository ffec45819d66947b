/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one header that differs between the worlds the core is compiled in: userland (this half) and the FreeBSD kernel.
 * The core includes nothing else of the system. Clock and random numbers are arguments of the core's functions, so that
 * the core has no hidden inputs.
 */
#ifndef LISP_COMPAT_H
#define LISP_COMPAT_H

#ifdef _KERNEL
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/kernel.h>
#include <sys/errno.h>
#include <sys/libkern.h>
#include <sys/malloc.h>
#include <machine/atomic.h>

MALLOC_DECLARE(M_LISP);

/* Zeroed memory or NULL; never sleeps, because tables change under a lock. */
static inline void *
lisp_alloc(size_t size)
{
	return (malloc(size, M_LISP, M_NOWAIT | M_ZERO));
}

static inline void
lisp_free(void *p)
{
	free(p, M_LISP);
}

#define	LISP_ASSERT(condition)	KASSERT((condition), ("lisp core: %s", #condition))

/* Values that many threads change while they hold only the read lock. Relaxed order: they are hints and counters. */
static inline uint32_t
lisp_load32(const uint32_t *p)
{
	return (atomic_load_32(__DECONST(uint32_t *, p)));
}

static inline void
lisp_store32(uint32_t *p, uint32_t value)
{
	atomic_store_32(p, value);
}

static inline uint64_t
lisp_load64(const uint64_t *p)
{
	return (atomic_load_64(__DECONST(uint64_t *, p)));
}

static inline void
lisp_store64(uint64_t *p, uint64_t value)
{
	atomic_store_64(p, value);
}

static inline void
lisp_add64(uint64_t *p, uint64_t value)
{
	atomic_add_64(p, value);
}

#else /* !_KERNEL */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed memory or NULL. Tests replace it to see what a failed allocation does. */
#ifdef LISP_ALLOC_HOOK
void *lisp_alloc(size_t size);
#else
static inline void *
lisp_alloc(size_t size)
{
	return (calloc(1, size));
}
#endif

static inline void
lisp_free(void *p)
{
	free(p);
}

#define	LISP_ASSERT(condition)	assert(condition)

/* Values that many threads change while they hold only the read lock. Relaxed order: they are hints and counters. */
static inline uint32_t
lisp_load32(const uint32_t *p)
{
	return (__atomic_load_n(p, __ATOMIC_RELAXED));
}

static inline void
lisp_store32(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline uint64_t
lisp_load64(const uint64_t *p)
{
	return (__atomic_load_n(p, __ATOMIC_RELAXED));
}

static inline void
lisp_store64(uint64_t *p, uint64_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void
lisp_add64(uint64_t *p, uint64_t value)
{
	__atomic_fetch_add(p, value, __ATOMIC_RELAXED);
}

#endif /* _KERNEL */

/* Unaligned big-endian octets; no bit-fields and no casts of packet memory anywhere in the core. */
static inline uint16_t
lisp_get16(const uint8_t *p)
{
	return ((uint16_t)(((unsigned)p[0] << 8) | p[1]));
}

static inline uint32_t
lisp_get24(const uint8_t *p)
{
	return (((uint32_t)p[0] << 16) | ((uint32_t)p[1] << 8) | p[2]);
}

static inline uint32_t
lisp_get32(const uint8_t *p)
{
	return (((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3]);
}

static inline uint64_t
lisp_get64(const uint8_t *p)
{
	return (((uint64_t)lisp_get32(p) << 32) | lisp_get32(p + 4));
}

static inline void
lisp_put16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static inline void
lisp_put24(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 16);
	p[1] = (uint8_t)(value >> 8);
	p[2] = (uint8_t)value;
}

static inline void
lisp_put32(uint8_t *p, uint32_t value)
{
	lisp_put16(p, (uint16_t)(value >> 16));
	lisp_put16(p + 2, (uint16_t)value);
}

static inline void
lisp_put64(uint8_t *p, uint64_t value)
{
	lisp_put32(p, (uint32_t)(value >> 32));
	lisp_put32(p + 4, (uint32_t)value);
}

#endif /* LISP_COMPAT_H */
