/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_ADDON_H
#define AMPTCP_ADDON_H

#include <napi.h>

/* Each part of the addon: one function, called once, which hangs its functions on `exports`. */

#endif
