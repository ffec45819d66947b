/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_ANCHOR_H
#define	AMPTCP_ANCHOR_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Empties the filter rules of an anchor of pf(4) through a descriptor of /dev/pf that is open for writing: what a process that
 * may not open it can do with one it was handed. Returns 0 or an errno value.
 */
int	anchor_flush(int fd, const char *anchor);

#ifdef __cplusplus
}
#endif

#endif
