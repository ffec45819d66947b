/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"
#include <linux/plane_segments.h>

/* Ten octets of virtio-net header, then a packet: cut it, and join what comes out. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct am_run run;
	static struct am_join join;
	static uint8_t wire[64 * 148 + 131072];
	static const uint8_t lisp[LISP_HEADER_SIZE];
	struct am_vnet vnet;
	struct am_cut cut;
	struct lisp_inner inner, part;
	enum lisp_drop cause;
	uint8_t *packet;
	unsigned runs = 0;

	if (size < AM_VNET_SIZE)
		return (0);
	memcpy(&vnet, data, AM_VNET_SIZE);
	size -= AM_VNET_SIZE;
	packet = malloc(size + 1);
	memcpy(packet, data + AM_VNET_SIZE, size);
	if (lisp_inner_parse(packet, size, size, false, &inner, &cause) && am_cut_start(&cut, packet, &inner, &vnet)) {
		join.niov = 0;
		for (am_run_empty(&run); am_cut_next(&cut, lisp, &run); am_run_empty(&run)) {
			size_t made = 0, at;
			unsigned i;

			expect(run.niov <= AM_SEGMENTS_MAX * 2 && run.segments <= AM_SEGMENTS_MAX && runs++ < 70000);
			for (i = 0; i < run.niov; i++) {
				expect(made + run.iov[i].iov_len <= sizeof(wire));
				memcpy(wire + made, run.iov[i].iov_base, run.iov[i].iov_len);
				made += run.iov[i].iov_len;
			}
			expect(made == run.length);
			for (at = 0; at < made; at += run.segment) {
				size_t left = made - at < run.segment ? made - at : run.segment;

				if (left <= LISP_HEADER_SIZE || !lisp_inner_parse(wire + at + LISP_HEADER_SIZE,
				    left - LISP_HEADER_SIZE, left, false, &part, &cause))
					continue;
				if (!am_join_add(&join, wire + at + LISP_HEADER_SIZE, &part)) {
					am_join_finish(&join);
					join.niov = 0;
					expect(am_join_add(&join, wire + at + LISP_HEADER_SIZE, &part));
				}
			}
			/* What is joined refers to `wire`. */
			if (join.niov != 0)
				am_join_finish(&join);
			join.niov = 0;
		}
	}
	free(packet);
	return (0);
}
