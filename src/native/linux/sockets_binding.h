// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_SOCKETS_BINDING_H
#define AMPTCP_SOCKETS_BINDING_H

#include "addon.h"
#include "mptcp.h"

namespace amptcp {

void InitDescriptors(Napi::Env env, Napi::Object exports);
void InitListener(Napi::Env env, Napi::Object exports);
void InitMptcp(Napi::Env env, Napi::Object exports);
void InitRelay(Napi::Env env, Napi::Object exports);

Napi::Array SubflowsToArray(Napi::Env env, const struct am_subflow *subflows, int count);

} // namespace amptcp

#endif
