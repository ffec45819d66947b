// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_BPF_BINDING_H
#define AMPTCP_BPF_BINDING_H

#include "addon.h"

namespace amptcp {

void InitBpf(Napi::Env env, Napi::Object exports);

} // namespace amptcp

#endif
