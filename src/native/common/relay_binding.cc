// SPDX-License-Identifier: BSD-2-Clause
// relay.c for JavaScript.
#include "relay.h"

#include "part.h"
#include "sockets_binding.h"

namespace amptcp {
namespace {

const char *const reasons[AM_CLOSE_REASONS] = { "finished", "client-reset", "server-reset", "idle-timeout",
	"half-open-timeout", "killed", "drain", "error" };

/* Most sessions have few subflows: keep what waits for JavaScript small. */
struct Report {
	uint64_t session;
	enum am_close_reason reason;
	int error;
	uint64_t up, down, duration_ms;
	std::vector<struct am_subflow> subflows;
};

struct Relaying {
	struct am_relay *relay = nullptr;
	EventQueue<Report> queue;
	EventQueue<uint64_t> starved;

	void StopThreads() { am_relay_stop(relay); }
	void StopQueues()
	{
		queue.Stop();
		starved.Stop();
	}
};

Part<Relaying> part("relay");

void Deliver(Napi::Env env, Napi::Function callback, std::vector<Report> &batch)
{
	Napi::Array array = Napi::Array::New(env, batch.size());
	for (size_t i = 0; i < batch.size(); i++) {
		const Report &r = batch[i];
		Napi::Object item = Napi::Object::New(env);
		item.Set("session", static_cast<double>(r.session));
		item.Set("reason", reasons[r.reason]);
		if (r.error != 0)
			item.Set("code", am_errno_name(r.error));
		item.Set("up", static_cast<double>(r.up));
		item.Set("down", static_cast<double>(r.down));
		item.Set("durationMs", static_cast<double>(r.duration_ms));
		if (!r.subflows.empty())
			item.Set("subflows", SubflowsToArray(env, r.subflows.data(), r.subflows.size()));
		array.Set(i, item);
	}
	callback.Call({ array });
}

void DeliverStarved(Napi::Env env, Napi::Function callback, std::vector<uint64_t> &batch)
{
	Napi::Array array = Napi::Array::New(env, batch.size());
	for (size_t i = 0; i < batch.size(); i++)
		array.Set(i, static_cast<double>(batch[i]));
	callback.Call({ array });
}

enum am_relay_method Method(const Napi::Value &value)
{
	std::string method = value.As<Napi::String>();
	return method == "splice" ? AM_RELAY_SPLICE : method == "join" ? AM_RELAY_JOIN : AM_RELAY_COPY;
}

void Start(const Napi::CallbackInfo &info)
{
	struct am_relay_config config = { info[0].As<Napi::Number>().Uint32Value(), Method(info[1]), Method(info[2]),
		[](void *context, uint64_t session) { static_cast<Relaying *>(context)->starved.Push(std::move(session)); } };
	part.Start(info.Env(), [&](Relaying &r) {
		r.queue.Start(info.Env(), info[3].As<Napi::Function>(), "amptcp relay", Deliver);
		r.starved.Start(info.Env(), info[4].As<Napi::Function>(), "amptcp relay starved", DeliverStarved);
		return am_relay_start(&r.relay, &config,
		    [](void *context, const struct am_session_report *report) {
			    static_cast<Relaying *>(context)->queue.Push(Report{ report->session, report->reason, report->error,
			        report->up, report->down, report->duration_ms,
			        std::vector<struct am_subflow>(report->subflows, report->subflows + report->subflow_count) });
		    },
		    &r);
	});
}

Napi::Value Run(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct am_relay *relay = part.Running(env).relay;
	struct am_session_options options = { info[2].As<Napi::Number>().Uint32Value(), info[3].As<Napi::Number>().Uint32Value(),
		info[4].As<Napi::Number>().Uint32Value(), info[5].As<Napi::Boolean>() ? 1 : 0 };
	uint64_t session;
	int result = am_relay_run(relay, info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Number>().Int32Value(),
	    &options, &session);
	if (result < 0)
		throw SystemError(env, "relaying a connection", -result);
	return Napi::Number::New(env, static_cast<double>(session));
}

Napi::Value Counters(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	uint64_t up, down;
	if (part.Get() == nullptr ||
	    am_relay_counters(part.Get()->relay, static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()), &up, &down) < 0)
		return env.Undefined();
	Napi::Object counters = Napi::Object::New(env);
	counters.Set("up", static_cast<double>(up));
	counters.Set("down", static_cast<double>(down));
	return counters;
}

void Abort(const Napi::CallbackInfo &info)
{
	std::string wanted = info[1].As<Napi::String>();
	enum am_close_reason reason = AM_CLOSE_KILLED;
	/* Only the reasons for which both sides are reset. */
	for (int i = AM_CLOSE_IDLE_TIMEOUT; i < AM_CLOSE_REASONS; i++)
		if (wanted == reasons[i])
			reason = static_cast<enum am_close_reason>(i);
	if (part.Get() != nullptr)
		am_relay_abort(part.Get()->relay, static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()), reason);
}

Napi::Value Sessions(const Napi::CallbackInfo &info)
{
	return Napi::Number::New(info.Env(), part.Get() == nullptr ? 0 : am_relay_sessions(part.Get()->relay));
}

void Stop(const Napi::CallbackInfo &)
{
	part.Stop();
}

} // namespace

void InitRelay(Napi::Env env, Napi::Object exports)
{
	Napi::Object object = Napi::Object::New(env);
	object.Set("start", Napi::Function::New(env, Start));
	object.Set("run", Napi::Function::New(env, Run));
	object.Set("counters", Napi::Function::New(env, Counters));
	object.Set("abort", Napi::Function::New(env, Abort));
	object.Set("sessions", Napi::Function::New(env, Sessions));
	object.Set("stop", Napi::Function::New(env, Stop));
	exports.Set("relay", object);
}

} // namespace amptcp
