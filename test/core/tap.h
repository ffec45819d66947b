/* SPDX-License-Identifier: BSD-2-Clause */
/* A test program prints one TAP line per named test; a failed check names file, line and what it compared, and goes on. */
#ifndef TAP_H
#define TAP_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count __attribute__((unused)), tap_failed __attribute__((unused)), tap_bad __attribute__((unused));

#define	CHECK(condition) do {								\
	if (!(condition)) {								\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);		\
		tap_bad++;								\
	}										\
} while (0)

#define	CHECK_EQUAL(is, want) do {							\
	long long is_ = (long long)(is), want_ = (long long)(want);			\
	if (is_ != want_) {								\
		printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #is, is_, want_);	\
		tap_bad++;								\
	}										\
} while (0)

#define	CHECK_BYTES(is, want, length) do {						\
	if (memcmp((is), (want), (length)) != 0) {					\
		printf("# %s:%d: %s differs from %s\n", __FILE__, __LINE__, #is, #want);	\
		tap_bytes("is  ", (const unsigned char *)(is), (length));		\
		tap_bytes("want", (const unsigned char *)(want), (length));		\
		tap_bad++;								\
	}										\
} while (0)

#define	TEST(function) do {								\
	tap_bad = 0;									\
	function();									\
	tap_count++;									\
	if (tap_bad != 0)								\
		tap_failed++;								\
	printf("%s %d - %s\n", tap_bad == 0 ? "ok" : "not ok", tap_count, #function);	\
	fflush(stdout);									\
} while (0)

#define	DONE() do {									\
	printf("1..%d\n", tap_count);							\
	return (tap_failed != 0);							\
} while (0)

static inline void
tap_bytes(const char *what, const unsigned char *data, size_t length)
{
	size_t i;

	printf("#   %s ", what);
	for (i = 0; i < length; i++)
		printf("%02x", data[i]);
	printf("\n");
}

/* Hex with spaces allowed; the octets end at the very end of a heap block, so that a sanitizer sees one read too many. */
static inline unsigned char *
unhex(const char *text, size_t *length)
{
	size_t digits = 0, i = 0;
	const char *p;
	unsigned char *out;

	for (p = text; *p != '\0'; p++)
		digits += strchr("0123456789abcdefABCDEF", *p) != NULL;
	out = malloc(digits / 2 + (digits == 0));
	for (p = text; *p != '\0'; p++) {
		char pair[3] = { 0, 0, 0 };

		if (strchr("0123456789abcdefABCDEF", *p) == NULL)
			continue;
		pair[0] = *p++;
		pair[1] = *p;
		out[i++] = (unsigned char)strtoul(pair, NULL, 16);
	}
	*length = i;
	return (out);
}

/* A copy of the first `length` octets in a block of exactly that size. */
static inline unsigned char *
cut(const unsigned char *data, size_t length)
{
	unsigned char *copy = malloc(length == 0 ? 1 : length);

	memcpy(copy, data, length);
	return (copy);
}

#endif
