// SPDX-License-Identifier: BSD-2-Clause
// connector.c for JavaScript.
#include "connector.h"

#include "addresses.h"
#include "connecting.h"
#include "part.h"
#include "sockets_binding.h"

namespace amptcp {
namespace {

struct Connector {
	struct am_connector *connector = nullptr;
	EventQueue<Connected> connected;

	void StopThreads() { am_connector_stop(connector); }
	void StopQueues() { connected.Stop(); }
};

Part<Connector> part("connector");

void Start(const Napi::CallbackInfo &info)
{
	part.Start(info.Env(), [&](Connector &c) {
		c.connected.Start(info.Env(), info[0].As<Napi::Function>(), "amptcp connected", DeliverConnected);
		return am_connector_start(&c.connector,
		    [](void *context, int fd, int error) { static_cast<Connector *>(context)->connected.Push({ fd, error }); }, &c);
	});
}

void Stop(const Napi::CallbackInfo &)
{
	part.Stop();
}

Napi::Value Prepare(const Napi::CallbackInfo &info)
{
	Napi::Object from = info[0].As<Napi::Object>();
	struct am_socket_options options = {};
	struct sockaddr_storage bound;
	ReadSocketOptions(from, &options);
	options.mptcp = from.Get("mptcp").ToBoolean();
	if (from.Get("fib").IsNumber())
		options.fib = from.Get("fib").As<Napi::Number>().Int32Value();
	if (from.Get("descriptor").IsNumber())
		options.descriptor = from.Get("descriptor").As<Napi::Number>().Int32Value();
	int fd = am_connect_prepare(&options, &bound);
	return PreparedSocket(info.Env(), fd, bound);
}

Napi::Value OpenTransparent(const Napi::CallbackInfo &info)
{
	int fd = am_connect_socket(info[0].As<Napi::Number>().Int32Value() == 6 ? AF_INET6 : AF_INET, info[1].ToBoolean());
	if (fd < 0)
		throw SystemError(info.Env(), "a socket for addresses that are not this host's", -fd);
	return Napi::Number::New(info.Env(), fd);
}

void Connect(const Napi::CallbackInfo &info)
{
	struct am_connector *connector = part.Running(info.Env()).connector;
	ConnectSocket(info, [&](int fd, const struct sockaddr *remote, socklen_t length, uint32_t timeout_ms) {
		return am_connect_begin(connector, fd, remote, length, timeout_ms);
	});
}

Napi::Value Cancel(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(),
	    am_connect_cancel(part.Running(info.Env()).connector, info[0].As<Napi::Number>().Int32Value()) == 1);
}

Napi::Value Subflows(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct am_subflow subflows[AM_SUBFLOWS_MAX];
	uint32_t token;
	int count = am_subflows(info[0].As<Napi::Number>().Int32Value(), subflows, AM_SUBFLOWS_MAX, &token);
	if (count < 0)
		return env.Undefined();
	return SubflowsToArray(env, subflows, count);
}

Napi::Value LiveAddresses(const Napi::CallbackInfo &info)
{
	struct Found {
		Napi::Env env;
		Napi::Array addresses;
		uint32_t count;
	} found = { info.Env(), Napi::Array::New(info.Env()), 0 };
	int result = am_live_addresses(
	    [](void *context, const struct sockaddr_storage *address) {
		    auto *to = static_cast<Found *>(context);
		    char text[64];
		    uint16_t port;
		    am_address_format(address, text, &port);
		    to->addresses.Set(to->count++, Napi::String::New(to->env, text));
	    },
	    &found);
	if (result < 0)
		throw SystemError(info.Env(), "addresses of this host", -result);
	return found.addresses;
}

} // namespace

void InitConnector(Napi::Env env, Napi::Object exports)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("start", Napi::Function::New(env, Start));
	object.Set("openTransparent", Napi::Function::New(env, OpenTransparent));
	object.Set("prepare", Napi::Function::New(env, Prepare));
	object.Set("connect", Napi::Function::New(env, Connect));
	object.Set("cancel", Napi::Function::New(env, Cancel));
	object.Set("subflows", Napi::Function::New(env, Subflows));
	object.Set("stop", Napi::Function::New(env, Stop));
	object.Set("liveAddresses", Napi::Function::New(env, LiveAddresses));
	exports.Set("connector", object);
}

} // namespace amptcp
