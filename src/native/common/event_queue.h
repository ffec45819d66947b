// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_EVENT_QUEUE_H
#define AMPTCP_EVENT_QUEUE_H

#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "addon.h"
#include "errno_name.h"

namespace amptcp {

/* Errors reach JavaScript as Error with `code`, as those of node's own modules do. */
inline Napi::Error SystemError(Napi::Env env, const char *what, int error)
{
	const char *name = am_errno_name(error);
	Napi::Error e = Napi::Error::New(env, std::string(what) + ": " + name + ", " + strerror(error));
	e.Set("code", Napi::String::New(env, name));
	e.Set("errno", Napi::Number::New(env, -error));
	return e;
}

/*
 * Events from native threads to one JavaScript function, in batches: a call is made only when the queue was empty,
 * so a storm of events costs JavaScript one call per turn of its loop, not one per event.
 */
template <typename Event> class EventQueue {
public:
	using Deliver = void (*)(Napi::Env env, Napi::Function callback, std::vector<Event> &batch);

	/* `unref`: the queue alone does not keep the process alive. */
	void Start(Napi::Env env, Napi::Function callback, const char *name, Deliver deliver, bool unref = false)
	{
		shared_ = std::make_shared<Shared>();
		shared_->deliver = deliver;
		function_ = Napi::ThreadSafeFunction::New(env, callback, name, 0, 1);
		if (unref)
			function_.Unref(env);
		started_ = true;
	}

	void Push(Event event)
	{
		bool first;
		{
			std::lock_guard<std::mutex> lock(shared_->mutex);
			first = shared_->events.empty();
			shared_->events.push_back(std::move(event));
		}
		if (!first)
			return;
		auto *ref = new std::shared_ptr<Shared>(shared_);
		if (function_.NonBlockingCall(ref, Call) != napi_ok)
			delete ref;
	}

	/* No Push() may come after this: stop the threads first. What is queued is still delivered. */
	void Stop()
	{
		if (started_)
			function_.Release();
		started_ = false;
	}

	bool started() const { return started_; }

private:
	struct Shared {
		std::mutex mutex;
		std::vector<Event> events;
		Deliver deliver;
	};

	static void Call(Napi::Env env, Napi::Function callback, std::shared_ptr<Shared> *ref)
	{
		std::shared_ptr<Shared> shared = *ref;
		delete ref;
		std::vector<Event> batch;
		{
			std::lock_guard<std::mutex> lock(shared->mutex);
			batch.swap(shared->events);
		}
		if (env == nullptr || callback.IsEmpty() || batch.empty())
			return;
		Napi::HandleScope scope(env);
		try {
			shared->deliver(env, callback, batch);
		} catch (const Napi::Error &error) {
			/* Of JavaScript's making: becomes its 'uncaughtException'. While the environment is being torn down
			 * there is nobody to take it any more, and that fails as well. */
			try {
				error.ThrowAsJavaScriptException();
			} catch (...) {
			}
		}
	}

	std::shared_ptr<Shared> shared_;
	Napi::ThreadSafeFunction function_;
	bool started_ = false;
};

} // namespace amptcp

#endif
