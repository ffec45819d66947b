/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lisp_icmp_report report;

	lisp_icmp_parse(data, size, &report);
	if (report.kind != LISP_ICMP_OTHER)
		expect(lisp_addr_size(report.path.local.af) != 0 && report.path.local.af == report.path.remote.af);
	lisp_icmp_parse_message(LISP_AF_V4, data, size, &report);
	lisp_icmp_parse_message(LISP_AF_V6, data, size, &report);
	return (0);
}
