// SPDX-License-Identifier: BSD-2-Clause
// mptcp.c for JavaScript.
#include "mptcp.h"

#include <cerrno>

#include "descriptors.h"
#include "event_queue.h"
#include "sockets_binding.h"

namespace amptcp {

namespace {

struct Connected {
	int fd;
	int error;
};

struct Event {
	bool overrun;
	std::string data;
};

struct Connector {
	struct am_connector *connector = nullptr;
	EventQueue<Connected> connected;
	EventQueue<Event> events;
};

Connector *running;

struct am_connector *Running(Napi::Env env)
{
	if (running == nullptr)
		throw SystemError(env, "the connector has not been started", EINVAL);
	return running->connector;
}

void DeliverConnected(Napi::Env env, Napi::Function callback, std::vector<Connected> &batch)
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

void DeliverEvents(Napi::Env env, Napi::Function callback, std::vector<Event> &batch)
{
	bool overrun = false;
	uint32_t count = 0;
	Napi::Array array = Napi::Array::New(env);
	for (Event &event : batch) {
		if (event.overrun)
			overrun = true;
		else
			array.Set(count++, Napi::Buffer<char>::Copy(env, event.data.data(), event.data.size()));
	}
	callback.Call({ array, Napi::Boolean::New(env, overrun) });
}

void Start(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (running != nullptr)
		throw SystemError(env, "the connector has been started already", EALREADY);
	Connector *c = new Connector;
	c->connected.Start(env, info[0].As<Napi::Function>(), "amptcp connected", DeliverConnected);
	c->events.Start(env, info[1].As<Napi::Function>(), "amptcp events", DeliverEvents, true);
	struct am_connector_events on = {
		[](void *context, int fd, int error) { static_cast<Connector *>(context)->connected.Push({ fd, error }); },
		[](void *context, const void *data, size_t length) {
			static_cast<Connector *>(context)->events.Push({ data == nullptr, std::string(static_cast<const char *>(data ? data : ""), length) });
		},
		c,
	};
	int result = am_connector_start(&c->connector, &on);
	if (result < 0) {
		c->connected.Stop();
		c->events.Stop();
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
	running->connected.Stop();
	running->events.Stop();
	delete running;
	running = nullptr;
}

Napi::Value Prepare(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Object p = info[0].As<Napi::Object>();
	struct am_socket_options o;
	memset(&o, 0, sizeof(o));
	struct sockaddr_storage remote;
	std::string address = p.Get("address").As<Napi::String>();
	if (am_address_parse(address.c_str(), 1, &remote) < 0)
		throw SystemError(env, "remote address", EINVAL);
	o.family = remote.ss_family;
	o.mptcp = p.Get("mptcp").ToBoolean();
	o.transparent = p.Get("transparent").ToBoolean();
	if (p.Get("mark").IsNumber())
		o.mark = p.Get("mark").As<Napi::Number>().Uint32Value();
	if (p.Get("congestionControl").IsString())
		snprintf(o.congestion_control, sizeof(o.congestion_control), "%s",
		    p.Get("congestionControl").As<Napi::String>().Utf8Value().c_str());
	if (p.Get("notSentLowat").IsNumber())
		o.notsent_lowat = p.Get("notSentLowat").As<Napi::Number>().Uint32Value();
	if (p.Get("localAddress").IsString()) {
		std::string local = p.Get("localAddress").As<Napi::String>();
		int port = p.Get("localPort").IsNumber() ? p.Get("localPort").As<Napi::Number>().Int32Value() : 0;
		int length = am_address_parse(local.c_str(), port, &o.local);
		if (length < 0 || o.local.ss_family != remote.ss_family)
			throw SystemError(env, "local address", EINVAL);
		o.local_length = length;
	}
	struct sockaddr_storage bound;
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

Napi::Value PortFree(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_storage local;
	std::string address = info[0].As<Napi::String>();
	int length = am_address_parse(address.c_str(), info[1].As<Napi::Number>().Uint32Value(), &local);
	int result = length < 0 ? length : am_port_free(&local, length);
	if (result < 0)
		throw SystemError(env, "looking for a free port", -result);
	return Napi::Boolean::New(env, result == 1);
}

void Connect(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_storage remote;
	std::string address = info[1].As<Napi::String>();
	int length = am_address_parse(address.c_str(), info[2].As<Napi::Number>().Uint32Value(), &remote);
	if (length < 0)
		throw SystemError(env, "remote address", EINVAL);
	int result = am_connect_begin(Running(env), info[0].As<Napi::Number>().Int32Value(),
	    reinterpret_cast<struct sockaddr *>(&remote), length, info[3].As<Napi::Number>().Uint32Value());
	if (result < 0)
		throw SystemError(env, "connect", -result);
}

Napi::Value Info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct am_mptcp_info m;
	if (am_mptcp_info(info[0].As<Napi::Number>().Int32Value(), &m) < 0)
		return env.Undefined();
	Napi::Object result = Napi::Object::New(env);
	result.Set("token", m.token);
	result.Set("fallback", m.fallback != 0);
	result.Set("remoteKeyReceived", m.remote_key_received != 0);
	result.Set("subflows", m.subflows);
	return result;
}

Napi::Value Subflows(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct am_subflow subflows[AM_SUBFLOWS_MAX];
	uint32_t token;
	int count = am_subflows(info[0].As<Napi::Number>().Int32Value(), subflows, AM_SUBFLOWS_MAX, &token);
	if (count < 0)
		return env.Undefined();
	Napi::Object result = Napi::Object::New(env);
	result.Set("token", token);
	result.Set("subflows", SubflowsToArray(env, subflows, count));
	return result;
}

Napi::Value Netlink(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Uint8Array request = info[0].As<Napi::Uint8Array>();
	std::vector<std::string> answers;
	int result = am_netlink_request(Running(env), request.Data(), request.ByteLength(),
	    [](void *context, const void *data, size_t length) {
		    static_cast<std::vector<std::string> *>(context)->emplace_back(static_cast<const char *>(data), length);
	    },
	    &answers);
	if (result < 0)
		throw SystemError(env, "netlink request", -result);
	Napi::Array array = Napi::Array::New(env, answers.size());
	for (size_t i = 0; i < answers.size(); i++)
		array.Set(i, Napi::Buffer<char>::Copy(env, answers[i].data(), answers[i].size()));
	return array;
}

void Subscribe(const Napi::CallbackInfo &info)
{
	int result = am_netlink_subscribe(Running(info.Env()), info[0].As<Napi::Number>().Uint32Value());
	if (result < 0)
		throw SystemError(info.Env(), "subscribing to path manager events", -result);
}

} // namespace

void InitMptcp(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("start", Napi::Function::New(env, Start));
	part.Set("stop", Napi::Function::New(env, Stop));
	part.Set("prepare", Napi::Function::New(env, Prepare));
	part.Set("portFree", Napi::Function::New(env, PortFree));
	part.Set("connect", Napi::Function::New(env, Connect));
	part.Set("info", Napi::Function::New(env, Info));
	part.Set("subflows", Napi::Function::New(env, Subflows));
	part.Set("netlink", Napi::Function::New(env, Netlink));
	part.Set("subscribe", Napi::Function::New(env, Subscribe));
	exports.Set("mptcp", part);
}

} // namespace amptcp
