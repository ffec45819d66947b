// SPDX-License-Identifier: BSD-2-Clause
// mptcp.c for JavaScript.
#include "mptcp.h"

#include "connecting.h"
#include "part.h"
#include "sockets_binding.h"

namespace amptcp {

namespace {

struct Event {
	bool overrun;
	std::string data;
};

struct Connector {
	struct am_connector *connector = nullptr;
	EventQueue<Connected> connected;
	EventQueue<Event> events;

	void StopThreads() { am_connector_stop(connector); }
	void StopQueues()
	{
		connected.Stop();
		events.Stop();
	}
};

Part<Connector> part("connector");

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
	part.Start(env, [&](Connector &c) {
		c.connected.Start(env, info[0].As<Napi::Function>(), "amptcp connected", DeliverConnected);
		c.events.Start(env, info[1].As<Napi::Function>(), "amptcp events", DeliverEvents, true);
		struct am_connector_events on = {
			[](void *context, int fd, int error) { static_cast<Connector *>(context)->connected.Push({ fd, error }); },
			[](void *context, const void *data, size_t length) {
				static_cast<Connector *>(context)->events.Push({ data == nullptr, std::string(static_cast<const char *>(data ? data : ""), length) });
			},
			&c,
		};
		return am_connector_start(&c.connector, &on);
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
	if (from.Get("mark").IsNumber())
		options.mark = from.Get("mark").As<Napi::Number>().Uint32Value();
	if (from.Get("notSentLowat").IsNumber())
		options.notsent_lowat = from.Get("notSentLowat").As<Napi::Number>().Uint32Value();
	int fd = am_connect_prepare(&options, &bound);
	return PreparedSocket(info.Env(), fd, bound);
}

Napi::Value PortFree(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct sockaddr_storage local;
	socklen_t length = ToSocketAddress(info[0], info[1], "looking for a free port", &local);
	int result = am_port_free(&local, length);
	if (result < 0)
		throw SystemError(env, "looking for a free port", -result);
	return Napi::Boolean::New(env, result == 1);
}

Napi::Value Connect(const Napi::CallbackInfo &info)
{
	struct am_connector *connector = part.Running(info.Env()).connector;
	int result = ConnectSocket(info, [&](int fd, const struct sockaddr *remote, socklen_t length, uint32_t timeout_ms) {
		return am_connect_begin(connector, fd, remote, length, timeout_ms);
	});
	return Napi::Boolean::New(info.Env(), result == 1);
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
	int result = am_netlink_request(part.Running(env).connector, request.Data(), request.ByteLength(),
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
	int result = am_netlink_subscribe(part.Running(info.Env()).connector, info[0].As<Napi::Number>().Uint32Value());
	if (result < 0)
		throw SystemError(info.Env(), "subscribing to path manager events", -result);
}

} // namespace

void InitMptcp(Napi::Env env, Napi::Object exports)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("start", Napi::Function::New(env, Start));
	object.Set("stop", Napi::Function::New(env, Stop));
	object.Set("prepare", Napi::Function::New(env, Prepare));
	object.Set("portFree", Napi::Function::New(env, PortFree));
	object.Set("connect", Napi::Function::New(env, Connect));
	object.Set("info", Napi::Function::New(env, Info));
	object.Set("subflows", Napi::Function::New(env, Subflows));
	object.Set("netlink", Napi::Function::New(env, Netlink));
	object.Set("subscribe", Napi::Function::New(env, Subscribe));
	exports.Set("mptcp", object);
}

} // namespace amptcp
