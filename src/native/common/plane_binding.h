/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_PLANE_BINDING_H
#define AMPTCP_PLANE_BINDING_H

#include "addon.h"

namespace amptcp {

void InitPlane(Napi::Env env, Napi::Object exports);

} // namespace amptcp

#endif
