/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef AMPTCP_LISP_BINDING_H
#define AMPTCP_LISP_BINDING_H

#include "../common/addon.h"

namespace amptcp {

void InitLisp(Napi::Env env, Napi::Object exports);

} // namespace amptcp

#endif
