// SPDX-License-Identifier: BSD-2-Clause
#ifndef AMPTCP_WATCHER_H
#define AMPTCP_WATCHER_H

#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "event_queue.h"
#include "poller.h"

namespace amptcp {

/*
 * Calls JavaScript while a descriptor has something to read. By a thread and Node-API alone: libuv's own poll handles would tie
 * the addon to one libuv's ABI and its build to Node's headers.
 *
 *	thread:		wait until readable -> Push ----.               .-> wait again
 *	JavaScript:	                                '-> callback() -'
 *
 * The thread does not look again before JavaScript has read, so that readiness told once is one call.
 */
class Watcher {
public:
	/* `unref`: the descriptor alone does not keep the process. */
	static Watcher *Start(Napi::Env env, int fd, Napi::Value callback, bool unref = false)
	{
		auto watcher = std::make_unique<Watcher>();
		int error = am_poller_open(&watcher->poller_);
		if (error >= 0)
			error = am_poller_watch(&watcher->poller_, fd, -1, AM_POLL_IN, watcher.get());
		if (error < 0)
			throw SystemError(env, "watching a descriptor", -error);
		watcher->wake_.Start(env, callback.As<Napi::Function>(), "amptcp watcher", Deliver, unref);
		try {
			watcher->thread_ = std::thread(&Watcher::Run, watcher.get());
		} catch (const std::system_error &e) {
			throw SystemError(env, "a thread that watches a descriptor", e.code().value());
		}
		return watcher.release();
	}

	/* Null: nothing. JavaScript is not called any more when it returns. */
	static void Stop(Watcher *watcher) { delete watcher; }

	~Watcher()
	{
		if (thread_.joinable()) {
			{
				std::lock_guard<std::mutex> lock(turn_->mutex);
				turn_->over = true;
			}
			turn_->done.notify_one();
			am_poller_wake(&poller_);
			thread_.join();
		}
		wake_.Stop();
		am_poller_close(&poller_);
	}

private:
	/* Outlives the watcher where a call is on its way when that is stopped. */
	struct Turn {
		std::mutex mutex;
		std::condition_variable done;
		bool called = false;
		bool over = false;
	};

	/* Of the thread again, whatever becomes of the call. */
	struct Called {
		Turn &turn;
		~Called()
		{
			std::lock_guard<std::mutex> lock(turn.mutex);
			turn.called = false;
			turn.done.notify_one();
		}
	};

	static void Deliver(Napi::Env, Napi::Function callback, std::vector<std::shared_ptr<Turn>> &batch)
	{
		for (const std::shared_ptr<Turn> &turn : batch) {
			/* Written by this thread only. */
			if (turn->over)
				continue;
			Called called{ *turn };
			callback.Call({});
		}
	}

	void Run()
	{
		struct am_poll_event events[2];
		for (;;) {
			int count = am_poller_wait(&poller_, events, 2, -1);
			if (count < 0)
				return;
			{
				std::lock_guard<std::mutex> lock(turn_->mutex);
				if (turn_->over)
					return;
				if (count == 0)
					continue;
				turn_->called = true;
			}
			wake_.Push(turn_);
			std::unique_lock<std::mutex> lock(turn_->mutex);
			turn_->done.wait(lock, [this] { return !turn_->called || turn_->over; });
			if (turn_->over)
				return;
		}
	}

	std::shared_ptr<Turn> turn_ = std::make_shared<Turn>();
	EventQueue<std::shared_ptr<Turn>> wake_;
	struct am_poller poller_ = { -1, -1 };
	std::thread thread_;
};

} // namespace amptcp

#endif
