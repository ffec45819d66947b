// SPDX-License-Identifier: BSD-2-Clause
// listener.c for JavaScript.
#include "listener.h"

#include "descriptors.h"
#include "part.h"
#include "sockets_binding.h"

namespace amptcp {
namespace {

struct Listening {
	struct am_listeners *set = nullptr;
	EventQueue<struct am_accepted> queue;

	void StopThreads() { am_listeners_stop(set); }
	void StopQueues() { queue.Stop(); }
};

Part<Listening> part("listener");

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
	part.Start(info.Env(), [&](Listening &l) {
		l.queue.Start(info.Env(), info[0].As<Napi::Function>(), "amptcp listener", Deliver);
		return am_listeners_start(&l.set,
		    [](void *context, const struct am_accepted *accepted) { static_cast<Listening *>(context)->queue.Push(*accepted); },
		    &l);
	});
}

void Add(const Napi::CallbackInfo &info)
{
	int result = am_listeners_add(part.Running(info.Env()).set, info[0].As<Napi::Number>().Int32Value());
	if (result < 0)
		throw SystemError(info.Env(), "adding a listener", -result);
}

void Remove(const Napi::CallbackInfo &info)
{
	int result = am_listeners_remove(part.Running(info.Env()).set, info[0].As<Napi::Number>().Int32Value());
	if (result < 0)
		throw SystemError(info.Env(), "removing a listener", -result);
}

Napi::Value Counters(const Napi::CallbackInfo &info)
{
	struct am_listener_counters c = {};
	if (part.Get() != nullptr)
		am_listeners_counters(part.Get()->set, &c);
	Napi::Object counters = Napi::Object::New(info.Env());
	counters.Set("accepted", static_cast<double>(c.accepted));
	counters.Set("paused", static_cast<double>(c.paused));
	counters.Set("failed", static_cast<double>(c.failed));
	return counters;
}

void Stop(const Napi::CallbackInfo &)
{
	part.Stop();
}

} // namespace

void InitListener(Napi::Env env, Napi::Object exports)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("start", Napi::Function::New(env, Start));
	object.Set("add", Napi::Function::New(env, Add));
	object.Set("remove", Napi::Function::New(env, Remove));
	object.Set("counters", Napi::Function::New(env, Counters));
	object.Set("stop", Napi::Function::New(env, Stop));
	exports.Set("listener", object);
}

} // namespace amptcp
