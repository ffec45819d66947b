// SPDX-License-Identifier: BSD-2-Clause
// The addon's entry: each part of the native code adds its own object to the exports.
#include "addon.h"

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports)
{
	return exports;
}

NODE_API_MODULE(amptcp, InitAddon)
