// SPDX-License-Identifier: BSD-2-Clause
// connector.c for JavaScript.
#include "connector.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "descriptors.h"
#include "event_queue.h"
#include "sockets_binding.h"

namespace amptcp {
namespace {

struct Connected {
	int fd;
	int error;
};

struct Connector {
	struct am_connector *connector = nullptr;
	EventQueue<Connected> queue;
};

Connector *running;

struct am_connector *Running(Napi::Env env)
{
	if (running == nullptr)
		throw SystemError(env, "the connector has not been started", EINVAL);
	return running->connector;
}

void Deliver(Napi::Env env, Napi::Function callback, std::vector<Connected> &batch)
{
	Napi::Array array = Napi::Array::New(env, batch.size());
	for (size_t i = 0; i < batch.size(); i++) {
		Napi::Object item = Napi::Object::New(env);
		item.Set("descriptor", batch[i].fd);
		if (batch[i].error != 0)
			item.Set("error", am_errno_name(batch[i].error));
		array.Set(i, item);
	}
	callback.Call({ array });
}

void Start(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (running != nullptr)
		throw SystemError(env, "the connector has been started already", EALREADY);
	Connector *c = new Connector;
	c->queue.Start(env, info[0].As<Napi::Function>(), "amptcp connected", Deliver);
	int result = am_connector_start(&c->connector,
	    [](void *context, int fd, int error) { static_cast<Connector *>(context)->queue.Push({ fd, error }); }, c);
	if (result < 0) {
		c->queue.Stop();
		delete c;
		throw SystemError(env, "starting the connector", -result);
	}
	running = c;
}

void Stop(const Napi::CallbackInfo &)
{
	if (running == nullptr)
		return;
	am_connector_stop(running->connector);
	running->queue.Stop();
	delete running;
	running = nullptr;
}

Napi::Value Prepare(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Object p = info[0].As<Napi::Object>();
	struct am_socket_options o;
	struct sockaddr_storage remote, bound;
	memset(&o, 0, sizeof(o));
	std::string address = p.Get("address").As<Napi::String>();
	if (am_address_parse(address.c_str(), 1, &remote) < 0)
		throw SystemError(env, "remote address", EINVAL);
	o.family = remote.ss_family;
	o.transparent = p.Get("transparent").ToBoolean();
	if (p.Get("fib").IsNumber())
		o.fib = p.Get("fib").As<Napi::Number>().Int32Value();
	if (p.Get("congestionControl").IsString())
		snprintf(o.congestion_control, sizeof(o.congestion_control), "%s",
		    p.Get("congestionControl").As<Napi::String>().Utf8Value().c_str());
	if (p.Get("localAddress").IsString()) {
		std::string local = p.Get("localAddress").As<Napi::String>();
		int port = p.Get("localPort").IsNumber() ? p.Get("localPort").As<Napi::Number>().Int32Value() : 0;
		int length = am_address_parse(local.c_str(), static_cast<uint16_t>(port), &o.local);
		if (length < 0 || o.local.ss_family != remote.ss_family)
			throw SystemError(env, "local address", EINVAL);
		o.local_length = static_cast<socklen_t>(length);
	}
	int fd = am_connect_prepare(&o, &bound);
	if (fd < 0)
		throw SystemError(env, "preparing a socket", -fd);
	char text[64];
	uint16_t port;
	am_address_format(&bound, text, &port);
	Napi::Object result = Napi::Object::New(env);
	result.Set("descriptor", fd);
	result.Set("localAddress", text);
	result.Set("localPort", port);
	return result;
}

void Connect(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_storage remote;
	std::string address = info[1].As<Napi::String>();
	int length = am_address_parse(address.c_str(), static_cast<uint16_t>(info[2].As<Napi::Number>().Uint32Value()), &remote);
	if (length < 0)
		throw SystemError(env, "remote address", EINVAL);
	int result = am_connect_begin(Running(env), info[0].As<Napi::Number>().Int32Value(),
	    reinterpret_cast<struct sockaddr *>(&remote), static_cast<socklen_t>(length), info[3].As<Napi::Number>().Uint32Value());
	if (result < 0)
		throw SystemError(env, "connect", -result);
}

Napi::Value Cancel(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(),
	    am_connect_cancel(Running(info.Env()), info[0].As<Napi::Number>().Int32Value()) == 1);
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

} // namespace

void InitConnector(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("start", Napi::Function::New(env, Start));
	part.Set("prepare", Napi::Function::New(env, Prepare));
	part.Set("connect", Napi::Function::New(env, Connect));
	part.Set("cancel", Napi::Function::New(env, Cancel));
	part.Set("subflows", Napi::Function::New(env, Subflows));
	part.Set("stop", Napi::Function::New(env, Stop));
	exports.Set("connector", part);
}

} // namespace amptcp
