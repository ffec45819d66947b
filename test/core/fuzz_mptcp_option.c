/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of a TCP header: whatever is taken can be built, and is taken again as the same. */
#include "fuzz.h"
#include <mptcp_option.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mptcp_options options, again;
	uint8_t out[256];
	enum mptcp_segment segment;
	size_t length, n;
	unsigned i;

	if (size == 0)
		return (0);
	segment = (enum mptcp_segment)(data[0] % 3);
	mptcp_options_parse(data + 1, size - 1, segment, &options);
	expect(options.count <= MPTCP_OPTIONS_MAX);
	for (length = 0, i = 0; i < options.count; i++) {
		expect(mptcp_options_find(&options, options.option[i].subtype) == &options.option[i]);
		n = mptcp_option_build(&options.option[i], segment, out + length, sizeof(out) - length);
		expect(n >= MPTCP_OPTION_MIN && n <= MPTCP_OPTION_MAX);
		length += n;
	}
	mptcp_options_parse(out, length, segment, &again);
	expect(again.ignored == 0);
	again.ignored = options.ignored;
	expect(memcmp(&options, &again, sizeof(options)) == 0);
	return (0);
}
