/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_ERRNO_NAME_H
#define AMPTCP_ERRNO_NAME_H

#ifdef __cplusplus
extern "C" {
#endif

/* "ECONNREFUSED" and so on; "EIO" for a number without a name here. Never NULL. */
const char *am_errno_name(int error);

#ifdef __cplusplus
}
#endif

#endif
