// SPDX-License-Identifier: BSD-2-Clause
// listener.c for JavaScript.
#include "listener.h"

#include <cerrno>
#include <unistd.h>

#include "descriptors.h"
#include "event_queue.h"
#include "sockets_binding.h"

namespace amptcp {
namespace {

struct Listening {
	struct am_listeners *set = nullptr;
	EventQueue<struct am_accepted> queue;
};

Listening *listening;

void Deliver(Napi::Env env, Napi::Function callback, std::vector<struct am_accepted> &batch)
{
	Napi::Array array = Napi::Array::New(env, batch.size());
	for (size_t i = 0; i < batch.size(); i++) {
		char text[64];
		uint16_t port;
		Napi::Object item = Napi::Object::New(env);
		item.Set("descriptor", batch[i].fd);
		am_address_format(&batch[i].client, text, &port);
		item.Set("clientAddress", text);
		item.Set("clientPort", port);
		am_address_format(&batch[i].destination, text, &port);
		item.Set("destinationAddress", text);
		item.Set("destinationPort", port);
		array.Set(i, item);
	}
	callback.Call({ array });
}

void Start(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (listening != nullptr)
		throw SystemError(env, "the listener has been started already", EALREADY);
	Listening *l = new Listening;
	l->queue.Start(env, info[0].As<Napi::Function>(), "amptcp listener", Deliver);
	int result = am_listeners_start(&l->set,
	    [](void *context, const struct am_accepted *accepted) { static_cast<Listening *>(context)->queue.Push(*accepted); }, l);
	if (result < 0) {
		l->queue.Stop();
		delete l;
		throw SystemError(env, "starting the listener", -result);
	}
	listening = l;
}

Listening *Running(Napi::Env env)
{
	if (listening == nullptr)
		throw SystemError(env, "the listener has not been started", EINVAL);
	return listening;
}

void Add(const Napi::CallbackInfo &info)
{
	int result = am_listeners_add(Running(info.Env())->set, info[0].As<Napi::Number>().Int32Value());
	if (result < 0)
		throw SystemError(info.Env(), "adding a listener", -result);
}

void Remove(const Napi::CallbackInfo &info)
{
	int result = am_listeners_remove(Running(info.Env())->set, info[0].As<Napi::Number>().Int32Value());
	if (result < 0)
		throw SystemError(info.Env(), "removing a listener", -result);
}

Napi::Value Counters(const Napi::CallbackInfo &info)
{
	struct am_listener_counters c = {};
	if (listening != nullptr)
		am_listeners_counters(listening->set, &c);
	Napi::Object counters = Napi::Object::New(info.Env());
	counters.Set("accepted", static_cast<double>(c.accepted));
	counters.Set("paused", static_cast<double>(c.paused));
	counters.Set("failed", static_cast<double>(c.failed));
	return counters;
}

void Stop(const Napi::CallbackInfo &)
{
	if (listening == nullptr)
		return;
	am_listeners_stop(listening->set);
	listening->queue.Stop();
	delete listening;
	listening = nullptr;
}

} // namespace

void InitListener(Napi::Env env, Napi::Object exports)
{
	Napi::Object part = Napi::Object::New(env);
	part.Set("start", Napi::Function::New(env, Start));
	part.Set("add", Napi::Function::New(env, Add));
	part.Set("remove", Napi::Function::New(env, Remove));
	part.Set("counters", Napi::Function::New(env, Counters));
	part.Set("stop", Napi::Function::New(env, Stop));
	exports.Set("listener", part);
}

} // namespace amptcp
