// SPDX-License-Identifier: BSD-2-Clause
// The addon's entry: each part of the native code adds its own object to the exports.
#include "addon.h"
#include "plane_binding.h"
#include "sockets_binding.h"
#ifdef __FreeBSD__
#include "../freebsd/lisp_binding.h"
#endif
#ifdef __linux__
#include "../linux/bpf/bpf_binding.h"
#endif

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports)
{
	amptcp::InitPlane(env, exports);
	amptcp::InitDescriptors(env, exports);
	amptcp::InitListener(env, exports);
	amptcp::InitRelay(env, exports);
#ifdef __FreeBSD__
	amptcp::InitLisp(env, exports);
	amptcp::InitConnector(env, exports);
	amptcp::InitMptcpControl(env, exports);
	amptcp::InitInterception(env, exports);
#endif
#ifdef __linux__
	amptcp::InitMptcp(env, exports);
	amptcp::InitBpf(env, exports);
#endif
	return exports;
}

NODE_API_MODULE(amptcp, InitAddon)
