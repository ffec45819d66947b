// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_SOCKETS_BINDING_H
#define AMPTCP_SOCKETS_BINDING_H

#include "addon.h"
#include "subflow.h"

namespace amptcp {

void InitDescriptors(Napi::Env env, Napi::Object exports);
void InitListener(Napi::Env env, Napi::Object exports);
void InitRelay(Napi::Env env, Napi::Object exports);
#ifdef __linux__
void InitMptcp(Napi::Env env, Napi::Object exports);
#else
void InitConnector(Napi::Env env, Napi::Object exports);
void InitMptcpControl(Napi::Env env, Napi::Object exports);
void InitInterception(Napi::Env env, Napi::Object exports);
#endif

Napi::Array SubflowsToArray(Napi::Env env, const struct am_subflow *subflows, int count);

} // namespace amptcp

#endif
